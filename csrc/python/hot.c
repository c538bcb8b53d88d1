/* hot.c: shmring._hot, the per-packet calls for CPython, and nothing else. What they do is in
 * channel_end.h; _core_cffi.py is the same for Pythons without this file.
 *
 * Core is the base class of shmring.Channel. Its methods touch shared memory and return; whenever
 * something else has to happen first they call a method that Channel defines, in Python:
 *
 *   _attach_now(what)      the end is not attached, or its worker was replaced, or the channel was
 *                          closed: attach, or raise
 *   _pack_address(to)      a (host, port) pair -> the bytes of an shm_addr_t
 *   _refuse(rc, text)      raise what stands behind an error code
 *   _raise_full(waited, sent, first)     raise RingFull or SendTimeout
 *   _raise_timeout()       raise ReceiveTimeout
 *   _settle()              found no packet, and others select on this channel
 *
 * Threads. The global lock is held throughout, except while sleeping (end_sleep), so no two threads
 * are inside one channel_end_t. The owner reference keeps the segment mapped while a thread sleeps
 * on it and another closes the channel. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "python/channel_end.h"

#define STAMPS 4
#define RECV_MANY_DEFAULT 1024
#define RECV_MANY_MOST (1 << 20)
#define RECV_MANY_BYTES (1u << 20) /* of payload in one call, a longest packet more */

static PyTypeObject *packet_type;
static PyObject *batch_type;
static PyObject *address_unpack;
static PyObject *stamp_objects[STAMPS];

/* Makes *place refer to object. */
static void replace(PyObject **place, PyObject *object)
{
    PyObject *old = *place;
    Py_INCREF(object);
    *place = object;
    Py_XDECREF(old);
}

/* --- arguments ------------------------------------------------------------------------------ */

#define MAX_PARAMETERS 9

typedef struct signature {
    const char *function;
    int positional; /* how many may be given without a name */
    const char *names[MAX_PARAMETERS + 1];
    PyObject *interned[MAX_PARAMETERS];
} signature_t;

static int signature_init(signature_t *s)
{
    for (int i = 0; s->names[i]; i++) {
        s->interned[i] = PyUnicode_InternFromString(s->names[i]);
        if (s->interned[i] == NULL)
            return -1;
    }
    return 0;
}

static int parameter_index(const signature_t *s, PyObject *name)
{
    for (int i = 0; s->names[i]; i++)
        if (name == s->interned[i])
            return i;
    for (int i = 0; s->names[i]; i++)
        if (PyUnicode_CompareWithASCIIString(name, s->names[i]) == 0)
            return i;
    return -1;
}

/* Spreads a vectorcall's arguments over values, NULL where none was given. */
static int bind_arguments(const signature_t *s, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames, PyObject **values)
{
    if (nargs > s->positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)",
                     s->function, s->positional, nargs);
        return -1;
    }
    for (int i = 0; i < nargs; i++)
        values[i] = args[i];
    Py_ssize_t named = kwnames ? PyTuple_Size(kwnames) : 0;
    for (Py_ssize_t k = 0; k < named; k++) {
        PyObject *name = PyTuple_GetItem(kwnames, k);
        int i = parameter_index(s, name);
        if (i < 0 || values[i]) {
            PyErr_Format(PyExc_TypeError,
                         i < 0 ? "%s() got an unexpected keyword argument '%U'"
                               : "%s() got multiple values for argument '%U'",
                         s->function, name);
            return -1;
        }
        values[i] = args[nargs + k];
    }
    return 0;
}

static int require_arguments(const signature_t *s, PyObject *const *values, int required)
{
    for (int i = 0; i < required; i++) {
        if (values[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", s->function,
                         s->names[i]);
            return -1;
        }
    }
    return 0;
}

static int is_given(PyObject *value)
{
    return value && value != Py_None;
}

/* An integer in nanoseconds. bool is refused although it is an int: it is never a time. */
static int as_ns(PyObject *value, const char *what, int64_t *out)
{
    if (PyBool_Check(value) || !PyIndex_Check(value)) {
        PyErr_Format(PyExc_TypeError,
                     "%s must be an int: nanoseconds (seconds times 1_000_000_000), not %R", what,
                     value);
        return -1;
    }
    PyObject *number = PyNumber_Index(value);
    if (number == NULL)
        return -1;
    *out = PyLong_AsLongLong(number);
    Py_DECREF(number);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

static int as_time_ns(PyObject *value, const char *what, int64_t *out)
{
    if (as_ns(value, what, out) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear();
        *out = -1;
    }
    if (*out >= 0)
        return 0;
    PyErr_Format(PyExc_ValueError,
                 "%s is %S ns: a time in the channel's clock is between 0 and 2**63 - 1", what,
                 value);
    return -1;
}

/* timeout= in seconds to a point of CLOCK_MONOTONIC; 0: do not wait. */
static int as_deadline(PyObject *value, int64_t *until_mono_ns)
{
    if (value == Py_None) {
        *until_mono_ns = RT_NEVER_NS;
        return 0;
    }
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(seconds >= 0.0)) {
        PyErr_Format(PyExc_ValueError,
                     "timeout is %R: use seconds, 0 not to wait, None to wait for ever", value);
        return -1;
    }
    if (seconds == 0.0)
        *until_mono_ns = 0;
    else if (seconds > 1e9)
        *until_mono_ns = RT_NEVER_NS;
    else
        *until_mono_ns = rt_mono_ns() + (int64_t)(seconds * 1e9);
    return 0;
}

static int has_passed(int64_t until_mono_ns)
{
    return until_mono_ns == 0 || (until_mono_ns != RT_NEVER_NS && rt_mono_ns() >= until_mono_ns);
}

/* A payload's bytes. bytes objects are read as they are, others through the buffer protocol; in both
 * cases *view is to be released. */
static int as_payload(PyObject *data, Py_buffer *view, const void **payload, size_t *bytes)
{
    if (PyBytes_CheckExact(data)) {
        view->obj = NULL;
        *payload = PyBytes_AsString(data);
        *bytes = (size_t)PyBytes_Size(data);
        return 0;
    }
    if (PyObject_GetBuffer(data, view, PyBUF_SIMPLE) < 0)
        return -1;
    *payload = view->buf;
    *bytes = (size_t)view->len;
    return 0;
}

/* --- Packet --------------------------------------------------------------------------------- */

typedef struct packet {
    PyObject_HEAD
    PyObject *data;
    long long timestamp_ns;
    unsigned long long sequence;
    unsigned long long lost_before;
    unsigned char stamp;
    unsigned char flags;
    unsigned char tos;
    shm_addr_t source;
} packet_t;

/* Steals data. */
static PyObject *packet_make(PyObject *data, const rx_packet_t *from, uint64_t lost_before)
{
    packet_t *p = PyObject_New(packet_t, packet_type);
    if (p == NULL) {
        Py_DECREF(data);
        return NULL;
    }
    p->data = data;
    p->timestamp_ns = from->time_ns;
    p->sequence = from->sequence;
    p->lost_before = lost_before;
    p->stamp = from->stamp < STAMPS ? from->stamp : 0;
    p->flags = from->flags;
    p->tos = from->tos;
    p->source = from->source;
    return (PyObject *)p;
}

static void packet_dealloc(packet_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(self->data);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int stamp_number(PyObject *stamp)
{
    for (int i = 0; i < STAMPS; i++) {
        int same = PyObject_RichCompareBool(stamp, stamp_objects[i], Py_EQ);
        if (same)
            return same < 0 ? -1 : i;
    }
    PyErr_Format(PyExc_ValueError, "stamp is %R: use one of shmring.Stamp", stamp);
    return -1;
}

static int source_from(PyObject *source, shm_addr_t *out)
{
    Py_ssize_t bytes;
    char *raw;
    if (PyBytes_AsStringAndSize(source, &raw, &bytes) < 0)
        return -1;
    if (bytes != (Py_ssize_t)sizeof *out) {
        PyErr_Format(PyExc_ValueError, "a packed address has %zu bytes, not %zd", sizeof *out,
                     bytes);
        return -1;
    }
    memcpy(out, raw, sizeof *out);
    return 0;
}

static PyObject *packet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"data",  "timestamp_ns", "stamp",       "source",
                            "sequence", "tos",       "lost_before", "flags", NULL};
    (void)type;
    PyObject *data, *stamp, *source;
    rx_packet_t p = {0};
    long long timestamp_ns;
    unsigned long long sequence, lost_before = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLOOK|bKb:Packet", names, &data, &timestamp_ns,
                                     &stamp, &source, &sequence, &p.tos, &lost_before, &p.flags))
        return NULL;
    int number = stamp_number(stamp);
    if (number < 0 || source_from(source, &p.source) < 0)
        return NULL;
    p.time_ns = timestamp_ns;
    p.sequence = sequence;
    p.stamp = (uint8_t)number;
    Py_INCREF(data);
    return packet_make(data, &p, lost_before);
}

static PyObject *packet_stamp(packet_t *self, void *unused)
{
    (void)unused;
    PyObject *stamp = stamp_objects[self->stamp];
    Py_INCREF(stamp);
    return stamp;
}

static PyObject *packed_source(const packet_t *self)
{
    return PyBytes_FromStringAndSize((const char *)&self->source, sizeof self->source);
}

static PyObject *packet_source(packet_t *self, void *unused)
{
    (void)unused;
    PyObject *raw = packed_source(self);
    if (raw == NULL)
        return NULL;
    PyObject *source = PyObject_CallFunctionObjArgs(address_unpack, raw, NULL);
    Py_DECREF(raw);
    return source;
}

static PyObject *packet_shared_stamp(packet_t *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->flags & SHM_RX_SHARED_STAMP);
}

static PyObject *packet_truncated(packet_t *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->flags & SHM_RX_TRUNCATED);
}

static PyObject *packet_repr(packet_t *self)
{
    PyObject *source = packet_source(self, NULL);
    if (source == NULL)
        return NULL;
    Py_ssize_t bytes = PyObject_Size(self->data);
    PyObject *text = NULL;
    if (bytes >= 0)
        text = PyUnicode_FromFormat("Packet(%zd bytes, timestamp_ns=%lld, stamp=%S, source=%R, "
                                    "sequence=%llu)",
                                    bytes, self->timestamp_ns, stamp_objects[self->stamp], source,
                                    self->sequence);
    Py_DECREF(source);
    return text;
}

static int packet_equals(const packet_t *a, const packet_t *b)
{
    if (a->sequence != b->sequence || a->timestamp_ns != b->timestamp_ns || a->stamp != b->stamp ||
        a->flags != b->flags || a->tos != b->tos || a->lost_before != b->lost_before ||
        memcmp(&a->source, &b->source, sizeof a->source) != 0)
        return 0;
    return PyObject_RichCompareBool(a->data, b->data, Py_EQ);
}

static PyObject *packet_compare(PyObject *self, PyObject *other, int op)
{
    if (Py_TYPE(other) != packet_type || (op != Py_EQ && op != Py_NE)) {
        Py_INCREF(Py_NotImplemented);
        return Py_NotImplemented;
    }
    int same = packet_equals((packet_t *)self, (packet_t *)other);
    return same < 0 ? NULL : PyBool_FromLong(same == (op == Py_EQ));
}

static Py_hash_t packet_hash(packet_t *self)
{
    Py_hash_t hash = (Py_hash_t)(self->sequence * 1000003u ^ (uint64_t)self->timestamp_ns);
    return hash == -1 ? -2 : hash;
}

static PyObject *packet_reduce(packet_t *self, PyObject *unused)
{
    (void)unused;
    PyObject *data = PyBytes_FromObject(self->data);
    PyObject *source = packed_source(self);
    PyObject *result = NULL;
    if (data && source)
        result = Py_BuildValue("O(OLOOKbKb)", (PyObject *)packet_type, data, self->timestamp_ns,
                               stamp_objects[self->stamp], source, self->sequence, self->tos,
                               self->lost_before, self->flags);
    Py_XDECREF(data);
    Py_XDECREF(source);
    return result;
}

static PyMemberDef packet_members[] = {
    {"data", T_OBJECT_EX, offsetof(packet_t, data), READONLY,
     "payload: bytes, or a memoryview of the buffer given to recv_into"},
    {"timestamp_ns", T_LONGLONG, offsetof(packet_t, timestamp_ns), READONLY,
     "arrival in the channel's clock, ns; stamp says who took it"},
    {"sequence", T_ULONGLONG, offsetof(packet_t, sequence), READONLY,
     "number of the packet in the channel, counted up by 1 from 0"},
    {"lost_before", T_ULONGLONG, offsetof(packet_t, lost_before), READONLY,
     "packets overwritten between the one read before and this one"},
    {"tos", T_UBYTE, offsetof(packet_t, tos), READONLY,
     "type of service or traffic class it came with; DSCP is tos >> 2"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef packet_getset[] = {
    {"stamp", (getter)packet_stamp, NULL, "who took timestamp_ns: a shmring.Stamp", NULL},
    {"source", (getter)packet_source, NULL, "sender: (host, port)", NULL},
    {"shared_stamp", (getter)packet_shared_stamp, NULL,
     "whether one stamp covers several packets that the kernel received as one", NULL},
    {"truncated", (getter)packet_truncated, NULL,
     "whether the datagram was longer than the channel's max_payload", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef packet_methods[] = {
    {"__reduce__", (PyCFunction)packet_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot packet_slots[] = {
    {Py_tp_new, packet_new},
    {Py_tp_dealloc, packet_dealloc},
    {Py_tp_repr, packet_repr},
    {Py_tp_richcompare, packet_compare},
    {Py_tp_hash, packet_hash},
    {Py_tp_members, packet_members},
    {Py_tp_getset, packet_getset},
    {Py_tp_methods, packet_methods},
    {Py_tp_doc, "One received packet."},
    {0, NULL},
};

static PyType_Spec packet_spec = {
    .name = "shmring.Packet",
    .basicsize = sizeof(packet_t),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = packet_slots,
};

/* --- Core ----------------------------------------------------------------------------------- */

typedef struct core {
    PyObject_HEAD
    PyObject *owner;    /* keeps end and the segment it uses */
    channel_end_t *end; /* NULL before _serve and after _shut */
    PyObject *last_to;  /* the destination packed last, and what came of it */
    shm_addr_t last_dest;
    uint8_t *scratch; /* of recv_many */
} core_t;

static PyObject *name_attach_now, *name_pack_address, *name_refuse, *name_raise_full,
    *name_raise_timeout, *name_settle, *number_tx, *number_rx;

/* The end, or NULL with ChannelClosed set. */
static channel_end_t *core_end(core_t *self)
{
    if (self->end && self->end->segment)
        return self->end;
    PyObject *rc = PyLong_FromLong(-EPIPE);
    if (rc) {
        PyObject *none = PyObject_CallMethodObjArgs((PyObject *)self, name_refuse, rc, Py_None, NULL);
        Py_XDECREF(none);
        Py_DECREF(rc);
    }
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_BrokenPipeError, "the channel is closed");
    return NULL;
}

/* Calls a method that raises; the result is always -1 with an exception set. */
static int raise_through(core_t *self, PyObject *method, PyObject *a, PyObject *b, PyObject *c)
{
    PyObject *none = NULL;
    if (!PyErr_Occurred())
        none = PyObject_CallMethodObjArgs((PyObject *)self, method, a, b, c, NULL);
    if (none) {
        Py_DECREF(none);
        PyErr_SetString(PyExc_SystemError, "a method of Channel that raises has returned");
    }
    return -1;
}

static int refuse(core_t *self, int rc)
{
    PyObject *number = PyLong_FromLong(rc);
    PyObject *text = PyUnicode_DecodeUTF8(rt_err_text(), (Py_ssize_t)strlen(rt_err_text()),
                                          "replace");
    rt_err_clear();
    if (number && text)
        raise_through(self, name_refuse, number, text, NULL);
    Py_XDECREF(number);
    Py_XDECREF(text);
    return -1;
}

static int call_hook(core_t *self, PyObject *method, PyObject *argument)
{
    PyObject *none = PyObject_CallMethodObjArgs((PyObject *)self, method, argument, NULL);
    Py_XDECREF(none);
    return none ? 0 : -1;
}

/* Sleeps a while without the global lock. Returns 0 (look again) or -1: a signal handler raised, or
 * the channel is closed. */
static int core_sleep(core_t *self, int what, int64_t until_mono_ns)
{
    PyObject *owner = self->owner;
    end_sleep_t sleep;
    end_before_sleep(self->end, what, until_mono_ns, &sleep);
    Py_INCREF(owner);
    Py_BEGIN_ALLOW_THREADS
    end_sleep(&sleep);
    Py_END_ALLOW_THREADS
    int rc = PyErr_CheckSignals();
    if (rc == 0 && core_end(self) == NULL)
        rc = -1;
    if (rc == 0)
        end_after_sleep(self->end, &sleep);
    Py_DECREF(owner);
    return rc;
}

/* to=: a destination of its own, or NULL for the channel's remote. */
static int as_destination(core_t *self, PyObject *to, const shm_addr_t **dest)
{
    *dest = NULL;
    if (!is_given(to))
        return 0;
    if (to != self->last_to) {
        PyObject *raw = PyObject_CallMethodObjArgs((PyObject *)self, name_pack_address, to, NULL);
        int rc = raw ? source_from(raw, &self->last_dest) : -1;
        Py_XDECREF(raw);
        Py_CLEAR(self->last_to);
        if (rc < 0)
            return -1;
        /* Only what cannot change may be known again by its identity. */
        if (PyTuple_CheckExact(to)) {
            Py_INCREF(to);
            self->last_to = to;
        }
    }
    *dest = &self->last_dest;
    return 0;
}

/* What to do about an error of a send: 0 try again, -1 an exception is set. */
static int after_failed_send(core_t *self, int rc, int64_t until_mono_ns, uint64_t sent,
                             uint64_t first)
{
    if (rc == -ESTALE)
        return call_hook(self, name_attach_now, number_tx);
    if (rc != -ENOBUFS)
        return refuse(self, rc);
    if (!has_passed(until_mono_ns))
        return core_sleep(self, END_TX, until_mono_ns);

    PyObject *waited = until_mono_ns ? Py_True : Py_False;
    PyObject *count = PyLong_FromUnsignedLongLong(sent);
    PyObject *sequence = PyLong_FromUnsignedLongLong(first);
    if (count && sequence)
        raise_through(self, name_raise_full, waited, count, sequence);
    Py_XDECREF(count);
    Py_XDECREF(sequence);
    return -1;
}

/* What both send and replace are given; the payload's view is to be released. */
typedef struct packet_call {
    Py_buffer view;
    const void *payload;
    size_t bytes;
    int64_t due_ns;
    int64_t until_mono_ns;
    const shm_addr_t *dest;
    shm_addr_t own_dest; /* other threads pack theirs while this one waits */
} packet_call_t;

static int packet_call_init(core_t *self, packet_call_t *c, PyObject *data, PyObject *at,
                            PyObject *to, PyObject *timeout)
{
    *c = (packet_call_t){0};
    if ((is_given(at) && as_time_ns(at, "at", &c->due_ns) < 0) ||
        (timeout && as_deadline(timeout, &c->until_mono_ns) < 0) ||
        as_destination(self, to, &c->dest) < 0)
        return -1;
    if (c->dest) {
        c->own_dest = *c->dest;
        c->dest = &c->own_dest;
    }
    return as_payload(data, &c->view, &c->payload, &c->bytes);
}

/* Goes on until the call succeeded (1) or raised (-1): one attempt, and what its result asks for. */
static int packet_call_settle(core_t *self, const packet_call_t *c, int rc)
{
    return rc == 0 ? 1 : after_failed_send(self, rc, c->until_mono_ns, 0, 0);
}

static PyObject *packet_call_end(packet_call_t *c, int outcome, uint64_t sequence)
{
    if (c->view.obj)
        PyBuffer_Release(&c->view);
    return outcome < 0 ? NULL : PyLong_FromUnsignedLongLong(sequence);
}

static signature_t send_signature = {"send", 2, {"data", "at", "to", "timeout", NULL}, {NULL}};

static PyObject *core_send(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS] = {NULL};
    if (bind_arguments(&send_signature, args, nargs, kwnames, values) < 0 ||
        require_arguments(&send_signature, values, 1) < 0)
        return NULL;

    packet_call_t c;
    if (packet_call_init(self, &c, values[0], values[1], values[2], values[3]) < 0)
        return NULL;
    uint64_t sequence = 0;
    int outcome = 0;
    while (outcome == 0) {
        channel_end_t *end = core_end(self);
        outcome = end ? packet_call_settle(self, &c, end_send(end, c.payload, c.bytes, c.due_ns,
                                                              c.dest, &sequence))
                      : -1;
    }
    return packet_call_end(&c, outcome, sequence);
}

static signature_t replace_signature = {
    "replace", 3, {"sequence", "data", "at", "to", "timeout", NULL}, {NULL}};

static PyObject *core_replace(core_t *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS] = {NULL};
    int64_t old = 0;
    if (bind_arguments(&replace_signature, args, nargs, kwnames, values) < 0 ||
        require_arguments(&replace_signature, values, 2) < 0 ||
        as_time_ns(values[0], "sequence", &old) < 0)
        return NULL;

    packet_call_t c;
    if (packet_call_init(self, &c, values[1], values[2], values[3], values[4]) < 0)
        return NULL;
    uint64_t sequence = 0;
    int outcome = 0;
    while (outcome == 0) {
        channel_end_t *end = core_end(self);
        outcome = end ? packet_call_settle(self, &c,
                                           end_replace(end, (uint64_t)old, c.payload, c.bytes,
                                                       !is_given(values[2]), c.due_ns, c.dest,
                                                       &sequence))
                      : -1;
    }
    return packet_call_end(&c, outcome, sequence);
}

/* --- send_many ------------------------------------------------------------------------------ */

/* Everything of one send_many call. */
typedef struct send_call {
    send_batch_t batch;
    shm_addr_t dest;
    int64_t until_mono_ns;
    PyObject *items; /* tuple of packets; NULL: one buffer */
    Py_buffer data, sizes, offsets, dues, sequences;
    PyObject *due_array; /* made from a sequence of ints */
    PyObject *size_array;
} send_call_t;

static void send_call_clear(send_call_t *c)
{
    Py_buffer *views[] = {&c->data, &c->sizes, &c->offsets, &c->dues, &c->sequences};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (views[i]->obj)
            PyBuffer_Release(views[i]);
    Py_XDECREF(c->items);
    Py_XDECREF(c->due_array);
    Py_XDECREF(c->size_array);
}

/* Width and sign of one of struct's integer formats in native size; 0 for others. */
static uint32_t integer_format(const char *format, Py_ssize_t itemsize, uint32_t *is_signed)
{
    if (*format == '@' || *format == '=' || *format == '<')
        format++;
    if (*format == '\0' || strchr("bhilqnBHILQN", *format) == NULL || format[1] != '\0')
        return 0;
    *is_signed = *format >= 'a';
    return (uint32_t)itemsize;
}

/* Views an array of integers. */
static int as_int_array(PyObject *value, const char *what, Py_buffer *view, int_array_t *out)
{
    if (PyObject_GetBuffer(value, view, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return -1;
    const char *format = view->format ? view->format : "B";
    out->base = view->buf;
    out->stride = view->ndim == 1 ? view->strides[0] : 0;
    out->width = view->ndim == 1 ? integer_format(format, view->itemsize, &out->is_signed) : 0;
    if (out->width)
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "%s is an array of format '%s' with %d dimensions: use integers in one, such as "
                 "numpy.int64 or array(\"q\")",
                 what, format, view->ndim);
    return -1;
}

/* Turns a sequence of ints into an array in a bytes object. */
static PyObject *pack_ints(PyObject *sequence, const char *what)
{
    PyObject *items = PySequence_Tuple(sequence);
    if (items == NULL)
        return NULL;
    Py_ssize_t n = PyTuple_Size(items);
    PyObject *packed = PyBytes_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(int64_t));
    for (Py_ssize_t i = 0; packed && i < n; i++) {
        int64_t v = 0;
        if (as_ns(PyTuple_GetItem(items, i), what, &v) < 0)
            Py_CLEAR(packed);
        else
            memcpy(PyBytes_AsString(packed) + i * (Py_ssize_t)sizeof v, &v, sizeof v);
    }
    Py_DECREF(items);
    return packed;
}

/* Either an array or a sequence of ints. *count gets how many there are. */
static int as_ints(PyObject *value, const char *what, Py_buffer *view, PyObject **packed,
                   int_array_t *out, uint64_t *count)
{
    if (PyObject_CheckBuffer(value)) {
        if (as_int_array(value, what, view, out) < 0)
            return -1;
        *count = (uint64_t)view->shape[0];
        return 0;
    }
    *packed = pack_ints(value, what);
    if (*packed == NULL)
        return -1;
    *out = (int_array_t){PyBytes_AsString(*packed), sizeof(int64_t), sizeof(int64_t), 1};
    *count = (uint64_t)PyBytes_Size(*packed) / sizeof(int64_t);
    return 0;
}

static int check_count(const char *what, uint64_t count, uint64_t wanted)
{
    if (count == wanted)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s has %llu entries for %llu packets", what,
                 (unsigned long long)count, (unsigned long long)wanted);
    return -1;
}

static int batch_by_size(send_call_t *c, int64_t size)
{
    send_batch_t *b = &c->batch;
    if (size < 1 || b->data_bytes % (uint64_t)size != 0) {
        PyErr_Format(PyExc_ValueError, "a buffer of %llu bytes is no whole number of packets of "
                                       "%lld bytes",
                     (unsigned long long)b->data_bytes, (long long)size);
        return -1;
    }
    b->size = size;
    b->count = b->data_bytes / (uint64_t)size;
    return 0;
}

/* sizes= as an array; without offsets= they must add up to the buffer. */
static int batch_by_sizes(send_call_t *c, PyObject *sizes, int has_offsets)
{
    send_batch_t *b = &c->batch;
    if (as_ints(sizes, "sizes", &c->sizes, &c->size_array, &b->sizes, &b->count) < 0)
        return -1;
    int64_t total = 0;
    for (uint64_t i = 0; !has_offsets && i < b->count; i++)
        total += int_at(&b->sizes, i);
    if (has_offsets || total == (int64_t)b->data_bytes)
        return 0;
    PyErr_Format(PyExc_ValueError, "sizes add up to %lld, the buffer has %llu bytes",
                 (long long)total, (unsigned long long)b->data_bytes);
    return -1;
}

/* How the buffer is cut into packets. */
static int batch_cut(send_call_t *c, PyObject *size, PyObject *sizes, PyObject *offsets)
{
    send_batch_t *b = &c->batch;
    if (is_given(offsets)) {
        uint64_t count = 0;
        if (as_int_array(offsets, "offsets", &c->offsets, &b->offsets) < 0)
            return -1;
        count = (uint64_t)c->offsets.shape[0];
        if (is_given(sizes))
            return batch_by_sizes(c, sizes, 1) < 0 ? -1 : check_count("offsets", count, b->count);
        b->count = count;
        if (is_given(size))
            return as_ns(size, "size", &b->size);
    } else if (is_given(sizes)) {
        return batch_by_sizes(c, sizes, 0);
    } else if (is_given(size)) {
        int64_t bytes = 0;
        return as_ns(size, "size", &bytes) < 0 ? -1 : batch_by_size(c, bytes);
    } else if (c->data.ndim == 2) {
        return batch_by_size(c, c->data.shape[1] * c->data.itemsize);
    }
    PyErr_SetString(PyExc_TypeError,
                    "a buffer must be cut into packets: give size=, sizes=, offsets= and sizes=, or "
                    "an array with one row per packet");
    return -1;
}

static int batch_packets(send_call_t *c, PyObject **values)
{
    PyObject *packets = values[0];
    if (!PyObject_CheckBuffer(packets)) {
        if (is_given(values[1]) || is_given(values[2]) || is_given(values[3])) {
            PyErr_SetString(PyExc_TypeError, "size, sizes and offsets go with one buffer, not with "
                                             "a sequence of packets");
            return -1;
        }
        c->items = PySequence_Tuple(packets);
        if (c->items == NULL)
            return -1;
        c->batch.count = (uint64_t)PyTuple_Size(c->items);
        return 0;
    }
    if (PyObject_GetBuffer(packets, &c->data, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    c->batch.data = c->data.buf;
    c->batch.data_bytes = (uint64_t)c->data.len;
    return batch_cut(c, values[1], values[2], values[3]);
}

static int batch_times(send_call_t *c, PyObject *at, PyObject *interval)
{
    send_batch_t *b = &c->batch;
    if (is_given(interval) && as_time_ns(interval, "interval_ns", &b->interval_ns) < 0)
        return -1;
    if (is_given(at) && PySequence_Check(at)) {
        uint64_t count = 0;
        if (as_ints(at, "at", &c->dues, &c->due_array, &b->dues, &count) < 0)
            return -1;
        if (is_given(interval)) {
            PyErr_SetString(PyExc_TypeError, "interval_ns goes with at=start, not with an array");
            return -1;
        }
        return check_count("at", count, b->count);
    }
    if (is_given(at))
        return as_time_ns(at, "at", &b->due_ns);
    if (!is_given(interval))
        return 0;
    PyErr_SetString(PyExc_TypeError, "interval_ns needs at=, the time of the first packet");
    return -1;
}

static int batch_sequences(send_call_t *c, PyObject *sequences)
{
    if (!is_given(sequences))
        return 0;
    if (PyObject_GetBuffer(sequences, &c->sequences, PyBUF_WRITABLE) < 0)
        return -1;
    c->batch.sequences = c->sequences.buf;
    if ((uint64_t)c->sequences.len >= c->batch.count * sizeof(uint64_t))
        return 0;
    PyErr_Format(PyExc_ValueError, "sequences has %zd bytes: %llu packets need 8 each",
                 c->sequences.len, (unsigned long long)c->batch.count);
    return -1;
}

/* Queues the items of a tuple as far as there is room. Returns as end_send; -1 with an exception set
 * is -EFAULT. */
static int send_items(channel_end_t *end, send_call_t *c)
{
    send_batch_t *b = &c->batch;
    int rc = 0;
    while (rc == 0 && b->done < b->count) {
        Py_buffer view;
        const void *payload;
        size_t bytes;
        uint64_t sequence;
        int64_t due_ns = batch_due_ns(b, b->done);
        if (due_ns < 0)
            return -ERANGE;
        if (as_payload(PyTuple_GetItem(c->items, (Py_ssize_t)b->done), &view, &payload, &bytes) < 0)
            return -EFAULT;
        rc = end_send(end, payload, bytes, due_ns, b->dest, &sequence);
        if (view.obj)
            PyBuffer_Release(&view);
        if (rc == 0)
            batch_advance(b, sequence);
    }
    return rc;
}

static int refuse_cut(const send_batch_t *b)
{
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError,
                     "packet %llu does not lie inside the buffer of %llu bytes (%llu were queued "
                     "before it)",
                     (unsigned long long)b->done, (unsigned long long)b->data_bytes,
                     (unsigned long long)b->done);
    return -1;
}

static int send_call_run(core_t *self, send_call_t *c)
{
    send_batch_t *b = &c->batch;
    while (b->done < b->count) {
        channel_end_t *end = core_end(self);
        if (end == NULL)
            return -1;
        int rc = c->items ? send_items(end, c) : end_send_batch(end, b);
        if (rc == -EFAULT)
            return refuse_cut(b);
        if (rc < 0 && after_failed_send(self, rc, c->until_mono_ns, b->done, b->first_sequence) < 0)
            return -1;
    }
    return 0;
}

static signature_t send_many_signature = {
    "send_many",
    1,
    {"packets", "size", "sizes", "offsets", "at", "interval_ns", "to", "timeout", "sequences", NULL},
    {NULL}};

static PyObject *core_send_many(core_t *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS] = {NULL};
    if (bind_arguments(&send_many_signature, args, nargs, kwnames, values) < 0 ||
        require_arguments(&send_many_signature, values, 1) < 0)
        return NULL;

    send_call_t c = {0};
    const shm_addr_t *dest = NULL;
    PyObject *result = NULL;
    if (batch_packets(&c, values) == 0 && batch_times(&c, values[4], values[5]) == 0 &&
        batch_sequences(&c, values[8]) == 0 && as_destination(self, values[6], &dest) == 0 &&
        (values[7] == NULL || as_deadline(values[7], &c.until_mono_ns) == 0)) {
        if (dest) {
            c.dest = *dest;
            c.batch.dest = &c.dest;
        }
        if (c.batch.count == 0)
            PyErr_SetString(PyExc_ValueError, "there are no packets to send");
        else if (send_call_run(self, &c) == 0)
            result = PyLong_FromUnsignedLongLong(c.batch.first_sequence);
    }
    send_call_clear(&c);
    return result;
}

/* --- receiving ------------------------------------------------------------------------------ */

/* Makes sure that a packet lies in end->spare. Returns the end; NULL with an exception set, where
 * at_once, if not NULL, turns "none there and no time left" into 1 without one. */
static channel_end_t *wait_for_packet(core_t *self, int64_t until_mono_ns, int *at_once)
{
    for (;;) {
        channel_end_t *end = core_end(self);
        if (end == NULL)
            return NULL;
        /* Before looking: what arrived before the channel was closed is found below. */
        int stale = !end->rx_ready || !end_in_force(end);
        if (end_may_read(end) && end_peek(end))
            return end;
        if (stale) {
            if (call_hook(self, name_attach_now, number_rx) < 0)
                return NULL;
            continue;
        }
        if (has_passed(until_mono_ns)) {
            if (end->reader_fd >= 0) {
                end_rearm(end);
                if (call_hook(self, name_settle, NULL) < 0 || (end = core_end(self)) == NULL)
                    return NULL;
                if (end_peek(end))
                    return end;
            }
            if (at_once)
                *at_once = 1;
            else
                raise_through(self, name_raise_timeout, NULL, NULL, NULL);
            return NULL;
        }
        if (core_sleep(self, END_RX, until_mono_ns) < 0)
            return NULL;
    }
}

static PyObject *take_packet(channel_end_t *end)
{
    const rx_packet_t *p = &end->spare_packet;
    PyObject *data = PyBytes_FromStringAndSize((const char *)end->spare,
                                               (Py_ssize_t)p->payload_bytes);
    PyObject *packet = data ? packet_make(data, p, end->spare_lost_before) : NULL;
    if (packet)
        end_taken(end);
    return packet;
}

static signature_t recv_signature = {"recv", 1, {"timeout", NULL}, {NULL}};

static PyObject *core_recv(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS] = {NULL};
    int64_t until_mono_ns = RT_NEVER_NS;
    if (bind_arguments(&recv_signature, args, nargs, kwnames, values) < 0 ||
        (values[0] && as_deadline(values[0], &until_mono_ns) < 0))
        return NULL;
    channel_end_t *end = wait_for_packet(self, until_mono_ns, NULL);
    return end ? take_packet(end) : NULL;
}

static PyObject *core_try_recv(core_t *self, PyObject *unused)
{
    (void)unused;
    int none_there = 0;
    channel_end_t *end = wait_for_packet(self, 0, &none_there);
    if (end)
        return take_packet(end);
    if (!none_there)
        return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}

static signature_t recv_into_signature = {"recv_into", 1, {"buffer", "timeout", NULL}, {NULL}};

/* A memoryview of the first bytes of buffer. */
static PyObject *view_of(PyObject *buffer, Py_ssize_t bytes)
{
    PyObject *whole = PyMemoryView_FromObject(buffer);
    PyObject *flat = whole ? PyObject_CallMethod(whole, "cast", "s", "B") : NULL;
    PyObject *part = flat ? PySequence_GetSlice(flat, 0, bytes) : NULL;
    Py_XDECREF(whole);
    Py_XDECREF(flat);
    return part;
}

static int refuse_buffer(core_t *self, const channel_end_t *end, Py_ssize_t bytes)
{
    rt_err_set(-EMSGSIZE,
               "the next packet has %u bytes, the buffer %zd: give a larger one; the packet is kept",
               end->spare_packet.payload_bytes, bytes);
    return refuse(self, -EMSGSIZE);
}

static PyObject *core_recv_into(core_t *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS] = {NULL};
    int64_t until_mono_ns = RT_NEVER_NS;
    if (bind_arguments(&recv_into_signature, args, nargs, kwnames, values) < 0 ||
        require_arguments(&recv_into_signature, values, 1) < 0 ||
        (values[1] && as_deadline(values[1], &until_mono_ns) < 0))
        return NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(values[0], &view, PyBUF_WRITABLE) < 0)
        return NULL;

    PyObject *packet = NULL;
    channel_end_t *end = wait_for_packet(self, until_mono_ns, NULL);
    if (end && end->spare_packet.payload_bytes > view.len) {
        refuse_buffer(self, end, view.len);
    } else if (end) {
        memcpy(view.buf, end->spare, end->spare_packet.payload_bytes);
        PyObject *data = view_of(values[0], (Py_ssize_t)end->spare_packet.payload_bytes);
        packet = data ? packet_make(data, &end->spare_packet, end->spare_lost_before) : NULL;
        if (packet)
            end_taken(end);
    }
    PyBuffer_Release(&view);
    return packet;
}

/* Where recv_many puts payloads, and from what. */
typedef struct take {
    uint8_t *to;
    uint64_t bytes;
    uint64_t max;
} take_t;

static PyObject *take_batch(core_t *self, channel_end_t *end, const take_t *t, PyObject *out)
{
    uint64_t waiting = end_waiting(end);
    uint64_t most = waiting < t->max ? waiting : t->max;
    PyObject *records = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(most * sizeof(packet_record_t)));
    if (records == NULL)
        return NULL;
    uint64_t used;
    uint64_t n = end_take_many(end, t->to, t->bytes, (packet_record_t *)PyBytes_AsString(records),
                               most, &used);
    if (n == 0) {
        Py_DECREF(records);
        refuse_buffer(self, end, (Py_ssize_t)t->bytes);
        return NULL;
    }
    PyObject *count = PyLong_FromUnsignedLongLong(n);
    PyObject *payload = out ? view_of(out, (Py_ssize_t)used)
                            : PyBytes_FromStringAndSize((const char *)t->to, (Py_ssize_t)used);
    PyObject *batch = NULL;
    if (count && payload)
        batch = PyObject_CallFunctionObjArgs(batch_type, payload, records, count, NULL);
    Py_XDECREF(count);
    Py_XDECREF(payload);
    Py_DECREF(records);
    return batch;
}

static int as_most(PyObject *value, uint64_t *out)
{
    int64_t n = RECV_MANY_DEFAULT;
    if (value && as_ns(value, "max", &n) < 0)
        return -1;
    if (n >= 1 && n <= RECV_MANY_MOST) {
        *out = (uint64_t)n;
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "max is %lld packets, must be 1 to %d", (long long)n,
                 RECV_MANY_MOST);
    return -1;
}

/* Memory for the payloads of one recv_many without out=; kept for the next. */
static int take_from_scratch(core_t *self, const channel_end_t *end, take_t *t)
{
    t->bytes = RECV_MANY_BYTES + end->segment->config.max_payload_bytes;
    if (self->scratch == NULL)
        self->scratch = PyMem_Malloc(t->bytes);
    t->to = self->scratch;
    if (t->to == NULL)
        PyErr_NoMemory();
    return t->to ? 0 : -1;
}

static signature_t recv_many_signature = {"recv_many", 1, {"max", "timeout", "out", NULL}, {NULL}};

static PyObject *core_recv_many(core_t *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS] = {NULL};
    int64_t until_mono_ns = RT_NEVER_NS;
    take_t take = {0};
    if (bind_arguments(&recv_many_signature, args, nargs, kwnames, values) < 0 ||
        as_most(values[0], &take.max) < 0 ||
        (values[1] && as_deadline(values[1], &until_mono_ns) < 0))
        return NULL;
    PyObject *out = is_given(values[2]) ? values[2] : NULL;
    Py_buffer view = {0};
    if (out && PyObject_GetBuffer(out, &view, PyBUF_WRITABLE) < 0)
        return NULL;
    take.to = view.buf;
    take.bytes = (uint64_t)view.len;

    PyObject *batch = NULL;
    channel_end_t *end = wait_for_packet(self, until_mono_ns, NULL);
    if (end && (out || take_from_scratch(self, end, &take) == 0))
        batch = take_batch(self, end, &take, out);
    if (out)
        PyBuffer_Release(&view);
    return batch;
}

/* --- life of a Core ------------------------------------------------------------------------- */

static PyObject *core_serve(core_t *self, PyObject *args)
{
    PyObject *owner;
    unsigned long long address;
    if (!PyArg_ParseTuple(args, "OK:_serve", &owner, &address))
        return NULL;
    replace(&self->owner, owner);
    self->end = (channel_end_t *)(uintptr_t)address;
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *core_bind_producer(core_t *self, PyObject *args)
{
    unsigned int slot;
    int bell_fd;
    if (!PyArg_ParseTuple(args, "Ii:_bind_producer", &slot, &bell_fd))
        return NULL;
    channel_end_t *end = core_end(self);
    return end ? PyLong_FromLong(end_attach_producer(end, slot, bell_fd)) : NULL;
}

static PyObject *core_bind_reader(core_t *self, PyObject *args)
{
    unsigned int slot;
    int reader_fd;
    if (!PyArg_ParseTuple(args, "Ii:_bind_reader", &slot, &reader_fd))
        return NULL;
    channel_end_t *end = core_end(self);
    return end ? PyLong_FromLong(end_attach_reader(end, slot, reader_fd)) : NULL;
}

static PyObject *core_shut(core_t *self, PyObject *unused)
{
    (void)unused;
    if (self->end)
        end_shut(self->end);
    self->end = NULL;
    Py_CLEAR(self->owner);
    Py_INCREF(Py_None);
    return Py_None;
}

static int core_traverse(core_t *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->owner);
    Py_VISIT(self->last_to);
    return 0;
}

static int core_clear(core_t *self)
{
    self->end = NULL;
    Py_CLEAR(self->owner);
    Py_CLEAR(self->last_to);
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

#define FAST(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef core_methods[] = {
    {"send", FAST(core_send),
     "send($self, data, at=None, *, to=None, timeout=0.0)\n--\n\n"
     "Queue one packet and return its sequence; see shmring.Channel."},
    {"send_many", FAST(core_send_many),
     "send_many($self, packets, *, size=None, sizes=None, offsets=None, at=None, interval_ns=None, to=None, "
     "timeout=0.0, sequences=None)\n--\n\n"
     "Queue many packets and return the sequence of the first; see shmring.Channel."},
    {"replace", FAST(core_replace),
     "replace($self, sequence, data, at=None, *, to=None, timeout=0.0)\n--\n\n"
     "Put a new packet in the place of one that waits; see shmring.Channel."},
    {"recv", FAST(core_recv),
     "recv($self, timeout=None)\n--\n\n"
     "Take the next packet; see shmring.Channel."},
    {"try_recv", (PyCFunction)core_try_recv, METH_NOARGS,
     "try_recv($self)\n--\n\n"
     "Take the next packet, or return None if there is none now."},
    {"recv_into", FAST(core_recv_into),
     "recv_into($self, buffer, *, timeout=None)\n--\n\n"
     "Take the next packet into a buffer; see shmring.Channel."},
    {"recv_many", FAST(core_recv_many),
     "recv_many($self, max=1024, *, timeout=None, out=None)\n--\n\n"
     "Take many packets at once; see shmring.Channel."},
    {"_serve", (PyCFunction)core_serve, METH_VARARGS, "_serve($self, owner, address)\n--\n\n"},
    {"_bind_producer", (PyCFunction)core_bind_producer, METH_VARARGS,
     "_bind_producer($self, slot, bell_fd)\n--\n\n"},
    {"_bind_reader", (PyCFunction)core_bind_reader, METH_VARARGS,
     "_bind_reader($self, slot, reader_fd)\n--\n\n"},
    {"_shut", (PyCFunction)core_shut, METH_NOARGS, "_shut($self)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot core_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, core_dealloc},
    {Py_tp_traverse, core_traverse},
    {Py_tp_clear, core_clear},
    {Py_tp_methods, core_methods},
    {Py_tp_doc, "The per-packet calls of a channel."},
    {0, NULL},
};

static PyType_Spec core_spec = {
    .name = "shmring._hot.Core",
    .basicsize = sizeof(core_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = core_slots,
};

/* --- module --------------------------------------------------------------------------------- */

/* configure(stamps, unpack_address, batch): objects of shmring that this module makes or calls. */
static PyObject *configure(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *stamps, *unpack, *batch;
    if (!PyArg_ParseTuple(args, "O!OO:configure", &PyTuple_Type, &stamps, &unpack, &batch))
        return NULL;
    if (PyTuple_Size(stamps) != STAMPS) {
        PyErr_Format(PyExc_ValueError, "there are %d kinds of stamps, not %zd", STAMPS,
                     PyTuple_Size(stamps));
        return NULL;
    }
    for (int i = 0; i < STAMPS; i++)
        replace(&stamp_objects[i], PyTuple_GetItem(stamps, i));
    replace(&address_unpack, unpack);
    replace(&batch_type, batch);
    Py_INCREF(Py_None);
    return Py_None;
}

static PyMethodDef module_methods[] = {
    {"configure", configure, METH_VARARGS, "configure($module, stamps, unpack_address, batch)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

/* One phase, so that an interpreter of its own lock refuses it: types and names are static. */
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shmring._hot",
    .m_doc = "The per-packet calls of shmring.Channel, in C.",
    .m_size = -1,
    .m_methods = module_methods,
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **keep)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL)
        return -1;
    if (keep) {
        Py_INCREF(type);
        *keep = (PyTypeObject *)type;
    }
    int rc = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return rc;
}

static int make_names(void)
{
    static const struct {
        PyObject **name;
        const char *text;
    } names[] = {
        {&name_attach_now, "_attach_now"},     {&name_pack_address, "_pack_address"},
        {&name_refuse, "_refuse"},             {&name_raise_full, "_raise_full"},
        {&name_raise_timeout, "_raise_timeout"}, {&name_settle, "_settle"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *names[i].name = PyUnicode_InternFromString(names[i].text);
        if (*names[i].name == NULL)
            return -1;
    }
    number_tx = PyLong_FromLong(END_TX);
    number_rx = PyLong_FromLong(END_RX);
    return number_tx && number_rx ? 0 : -1;
}

static int init_signatures(void)
{
    signature_t *all[] = {&send_signature, &replace_signature,   &send_many_signature,
                          &recv_signature, &recv_into_signature, &recv_many_signature};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (signature_init(all[i]) < 0)
            return -1;
    return 0;
}

PyMODINIT_FUNC PyInit__hot(void)
{
    PyObject *module = PyModule_Create(&module_def);
    if (module == NULL)
        return NULL;
    if (make_names() < 0 || init_signatures() < 0 ||
        add_type(module, "Packet", &packet_spec, &packet_type) < 0 ||
        add_type(module, "Core", &core_spec, NULL) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
