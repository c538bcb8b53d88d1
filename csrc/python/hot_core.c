#include "python/hot.h"

PyTypeObject *core_type;

/* Whether another attempt of a sender that found no room may succeed. */
static PyObject *core_may_have_room(core_t *self, PyObject *unused)
{
    (void)unused;
    endpoint_t *end = core_end(self);
    if (end == NULL)
        return NULL;
    return PyBool_FromLong(!endpoint_may_send(end) || tx_producer_may_have_room(&end->tx));
}

/* Spins for a packet that usually comes soon, before a task waits for the doorbell. Returns whether
 * there is one. */
static PyObject *core_spin(core_t *self, PyObject *unused)
{
    (void)unused;
    endpoint_t *end = core_end(self);
    if (end == NULL)
        return NULL;
    endpoint_before_loop(end, &self->loop_wait);
    int found = 0;
    if (self->loop_wait.spin_ns > 0) {
        endpoint_sleep_t wait = self->loop_wait;
        PyObject *owner = self->owner;
        Py_INCREF(owner);
        Py_BEGIN_ALLOW_THREADS found = endpoint_spin(&wait);
        Py_END_ALLOW_THREADS Py_DECREF(owner);
    }
    return PyBool_FromLong(found);
}

/* The wait that began with core_spin has ended. */
static PyObject *core_waited(core_t *self, PyObject *unused)
{
    (void)unused;
    if (self->end)
        endpoint_after_sleep(self->end, &self->loop_wait);
    Py_INCREF(Py_None);
    return Py_None;
}

/* An event loop that is awake looks for packets by itself. Otherwise it waits for the doorbell. */
static PyObject *core_polls(core_t *self, PyObject *on)
{
    endpoint_t *end = core_end(self);
    if (end == NULL)
        return NULL;
    endpoint_poll_on(end, on == Py_True);
    Py_INCREF(Py_None);
    return Py_None;
}

/* --- life ----------------------------------------------------------------------------------- */

static PyObject *core_serve(core_t *self, PyObject *args)
{
    PyObject *owner;
    unsigned long long address;
    if (!PyArg_ParseTuple(args, "OK:_serve", &owner, &address))
        return NULL;
    hot_replace(&self->owner, owner);
    self->end = (endpoint_t *)(uintptr_t)address;
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *core_bind(core_t *self, PyObject *address)
{
    endpoint_t *end = core_end(self);
    if (end == NULL)
        return NULL;
    attachment_t *attachment = PyLong_AsVoidPtr(address);
    if (attachment == NULL)
        return NULL;
    int rc = attachment_bind(attachment, end);
    if (rc < 0) {
        core_refuse(self, rc);
        return NULL;
    }
    Py_INCREF(Py_None);
    return Py_None;
}

/* Wakes the worker after something was cancelled. */
static PyObject *core_ring_bell(core_t *self, PyObject *unused)
{
    (void)unused;
    endpoint_t *end = core_end(self);
    if (end == NULL)
        return NULL;
    if (end->tx_ready)
        endpoint_ring_bell(end);
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *core_shut(core_t *self, PyObject *unused)
{
    (void)unused;
    if (self->end)
        endpoint_shut(self->end);
    self->end = NULL;
    Py_CLEAR(self->owner);
    Py_INCREF(Py_None);
    return Py_None;
}

static int core_traverse(core_t *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->owner);
    Py_VISIT(self->to.from);
    Py_VISIT(self->source.from);
    return 0;
}

static int core_clear(core_t *self)
{
    self->end = NULL;
    Py_CLEAR(self->owner);
    Py_CLEAR(self->to.from);
    Py_CLEAR(self->source.from);
    return 0;
}

static void core_dealloc(core_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    core_clear(self);
    PyMem_Free(self->scratch);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* The methods, each inside the end's critical section. */
#define GUARDED_FAST(call)                                                               \
    static PyObject *guarded_##call(core_t *self, PyObject *const *args, Py_ssize_t nargs, \
                                    PyObject *kwnames)                                     \
    {                                                                                      \
        PyObject *result;                                                                  \
        HOT_ENTER(self);                                                                   \
        result = core_##call(self, args, nargs, kwnames);                                  \
        HOT_LEAVE();                                                                       \
        return result;                                                                     \
    }

#define GUARDED(call)                                               \
    static PyObject *guarded_##call(core_t *self, PyObject *argument) \
    {                                                                 \
        PyObject *result;                                             \
        HOT_ENTER(self);                                              \
        result = core_##call(self, argument);                         \
        HOT_LEAVE();                                                  \
        return result;                                                \
    }

GUARDED_FAST(send)
GUARDED_FAST(try_send)
GUARDED_FAST(send_many)
GUARDED_FAST(batch)
GUARDED_FAST(replace)
GUARDED_FAST(recv)
GUARDED_FAST(recv_into)
GUARDED_FAST(recv_many)
GUARDED_FAST(loan_many)
GUARDED(try_recv)
GUARDED(queue)
GUARDED(queued)
GUARDED(put)
GUARDED(snapshot)
GUARDED(tick)
GUARDED(spin)
GUARDED(waited)
GUARDED(polls)
GUARDED(may_have_room)
GUARDED(serve)
GUARDED(bind)
GUARDED(ring_bell)
GUARDED(shut)

#define FAST(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef core_methods[] = {
    {"send", FAST(guarded_send),
     "send($self, data, at=None, *, to=None, source=None, timeout=None)\n--\n\n"},
    {"try_send", FAST(guarded_try_send),
     "try_send($self, data, at=None, *, to=None, source=None)\n--\n\n"},
    {"send_many", FAST(guarded_send_many),
     "send_many($self, packets, *, size=None, sizes=None, offsets=None, at=None, interval_ns=None, "
     "spread_ns=None, to=None, source=None, "
     "timeout=None, sequences=None)\n--\n\n"},
    {"batch", FAST(guarded_batch),
     "batch($self, packets, *, size=None, sizes=None, offsets=None, at=None, interval_ns=None, "
     "spread_ns=None, to=None, source=None, "
     "sequences=None)\n--\n\n"},
    {"queue", (PyCFunction)guarded_queue, METH_O, "queue($self, batch, /)\n--\n\n"},
    {"queued", (PyCFunction)guarded_queued, METH_O, "queued($self, batch, /)\n--\n\n"},
    {"replace", FAST(guarded_replace),
     "replace($self, sequence, data, at=None, *, to=None, source=None, timeout=None)\n--\n\n"},
    {"recv", FAST(guarded_recv), "recv($self, *, timeout=None)\n--\n\n"},
    {"try_recv", (PyCFunction)guarded_try_recv, METH_NOARGS, "try_recv($self)\n--\n\n"},
    {"recv_into", FAST(guarded_recv_into), "recv_into($self, buffer, *, timeout=None)\n--\n\n"},
    {"recv_many", FAST(guarded_recv_many),
     "recv_many($self, max=1024, *, timeout=None, out=None)\n--\n\n"},
    {"loan_many", FAST(guarded_loan_many), "loan_many($self, max=1024, *, timeout=None)\n--\n\n"},
    {"put", (PyCFunction)guarded_put, METH_O, "put($self, values, /)\n--\n\n"},
    {"tick", (PyCFunction)guarded_tick, METH_O, "tick($self, until_ns, /)\n--\n\n"},
    {"snapshot", (PyCFunction)guarded_snapshot, METH_O, "snapshot($self, decode, /)\n--\n\n"},
    {"spin", (PyCFunction)guarded_spin, METH_NOARGS, "spin($self)\n--\n\n"},
    {"waited", (PyCFunction)guarded_waited, METH_NOARGS, "waited($self)\n--\n\n"},
    {"polls", (PyCFunction)guarded_polls, METH_O, "polls($self, on, /)\n--\n\n"},
    {"may_have_room", (PyCFunction)guarded_may_have_room, METH_NOARGS,
     "may_have_room($self)\n--\n\n"},
    {"_serve", (PyCFunction)guarded_serve, METH_VARARGS,
     "_serve($self, owner, address, /)\n--\n\n"},
    {"_bind", (PyCFunction)guarded_bind, METH_O, "_bind($self, attachment, /)\n--\n\n"},
    {"_ring_bell", (PyCFunction)guarded_ring_bell, METH_NOARGS, "_ring_bell($self)\n--\n\n"},
    {"_shut", (PyCFunction)guarded_shut, METH_NOARGS, "_shut($self)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot core_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, core_dealloc},
    {Py_tp_traverse, core_traverse},
    {Py_tp_clear, core_clear},
    {Py_tp_methods, core_methods},
    {Py_tp_doc, "The per-packet calls of an endpoint."},
    {0, NULL},
};

static PyType_Spec core_spec = {
    .name = "shmring._hot.Core",
    .basicsize = sizeof(core_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = core_slots,
};

static int make_names(void)
{
    static const struct {
        PyObject **name;
        const char *text;
    } names[] = {
        {&name_attach_now, "attach_now"},   {&name_pack_address, "pack_address"},
        {&name_pack_source, "pack_source"}, {&name_refuse, "refuse"},
        {&name_raise_full, "raise_full"},   {&name_raise_timeout, "raise_timeout"},
        {&name_settle, "settle"},           {&name_check_heard, "check_heard"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *names[i].name = PyUnicode_InternFromString(names[i].text);
        if (*names[i].name == NULL)
            return -1;
    }
    number_tx = PyLong_FromLong(ENDPOINT_TX);
    number_rx = PyLong_FromLong(ENDPOINT_RX);
    return number_tx && number_rx ? 0 : -1;
}

int core_type_init(PyObject *module)
{
    if (make_names() < 0)
        return -1;
    core_type = (PyTypeObject *)PyType_FromSpec(&core_spec);
    return core_type ? PyModule_AddObjectRef(module, "Core", (PyObject *)core_type) : -1;
}
