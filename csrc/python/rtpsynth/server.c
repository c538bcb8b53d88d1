#include "python/rtpsynth/server.h"

#include "python/module_gil.h"

#include "python/rtpsynth/arguments.h"

/* A longer queue is refused like one that cannot be allocated, whatever its channel's memory holds.
 */
#define LONGEST_QUEUE (UINT64_C(1) << 31)
#define DEFAULT_TICK_HZ 200
#define DEFAULT_QUEUE 32

PyObject *queue_full_error;

/* Functions of _mux, set by configure(). */
static PyObject *open_mux, *try_bind;

static PyTypeObject *server_type;

static int refuse_stopped(void)
{
    PyErr_SetString(PyExc_RuntimeError, SERVER_STOPPED);
    return -1;
}

/* --- life ----------------------------------------------------------------------------------- */

static PyObject *server_make(PyTypeObject *type, unsigned int tick_hz)
{
    PyObject *mux = PyObject_CallFunctionObjArgs(open_mux, NULL);
    PyObject *exchange = mux ? PyObject_GetAttrString(mux, "exchange") : NULL;
    server_t *self = exchange ? (server_t *)PyType_GenericAlloc(type, 0) : NULL;
    if (self == NULL) {
        Py_XDECREF(exchange);
        Py_XDECREF(mux);
        return NULL;
    }
    self->mux = mux;
    self->exchange = (exchange_t *)(void *)exchange;
    self->tick_ns = (unsigned long)(RT_NS_PER_S / tick_hz);
    if (self->tick_ns == 0)
        self->tick_ns = 1;
    return (PyObject *)self;
}

static PyObject *server_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"tick_hz", NULL};
    unsigned int tick_hz = DEFAULT_TICK_HZ;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|I:RtpServer", names, &tick_hz))
        return NULL;
    if (tick_hz > 0)
        return server_make(type, tick_hz);
    PyErr_SetString(PyExc_ValueError, "tick_hz must be > 0");
    return NULL;
}

/* No channel is open, because it would refer to the server. The thread closes the worker's side:
 * this may be a garbage collection in the middle of anything, with locks held. */
static void server_dealloc(server_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->exchange != NULL && !self->exchange->stopping)
        exchange_stop(self->exchange);
    Py_CLEAR(self->exchange);
    Py_CLEAR(self->mux);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *server_shutdown(server_t *self, PyObject *args)
{
    if (!PyArg_ParseTuple(args, ":shutdown"))
        return NULL;
    exchange_t *x = self->exchange;
    bool first = !x->stopping;
    exchange_stop(x);
    if (first)
        exchange_leave_all(x);
    if (!x->forked) {
        PyObject *none = PyObject_CallMethod(self->mux, "close", NULL);
        if (none == NULL)
            return NULL;
        Py_DECREF(none);
    }
    if (exchange_wait(x, NULL) < 0)
        return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}

/* --- create_channel ------------------------------------------------------------------------- */

typedef struct wish {
    PyObject *callback;
    const char *host; /* NULL: the family's wildcard address */
    int port;
    unsigned long long queue_size;
    PyObject *family_given;
    int family;
    shm_addr_t address;
} wish_t;

static int check_queue_size(unsigned long long queue_size)
{
    if (queue_size != 0 && (queue_size & (queue_size - 1)) == 0)
        return 0;
    PyErr_SetString(PyExc_ValueError, queue_size == 0 ? "queue_size must be > 0"
                                                      : "queue_size must be a power of two");
    return -1;
}

static int check_wish(wish_t *w)
{
    if (!PyCallable_Check(w->callback)) {
        PyErr_SetString(PyExc_TypeError, "pkt_in must be callable");
        return -1;
    }
    if (check_queue_size(w->queue_size) < 0 || address_family(w->family_given, &w->family) < 0 ||
        address_check_port(w->port) < 0)
        return -1;
    const char *host = w->host;
    if (host == NULL)
        host = w->family == AF_INET6 ? "::" : "0.0.0.0";
    return address_resolve(&w->address, host, w->port, w->family);
}

/* Errors are reported in the original's order: those of socket and bind come before the report that
 * the server is shut down, though no port is needed any more. */
static int refuse_for_good(const wish_t *w)
{
    PyObject *pair = address_pair(&w->address);
    PyObject *none = pair ? PyObject_CallFunctionObjArgs(try_bind, pair, NULL) : NULL;
    Py_XDECREF(pair);
    if (none == NULL)
        return -1;
    Py_DECREF(none);
    if (w->queue_size > LONGEST_QUEUE)
        PyErr_NoMemory();
    else
        refuse_stopped();
    return -1;
}

/* Opens the port. The channel has its place: datagrams that arrive before this returns are handed
 * to it. */
static int open_port(channel_t *channel, const shm_addr_t *address)
{
    mux_request_t request = {.op = MUX_ADD,
                             .port = channel->place,
                             .generation = channel->generation,
                             .address = *address};
    mux_reply_t reply;
    int rc = server_request(channel->server, &request, &reply);
    if (server_refuse_request(channel->exchange) < 0 || rc < 0)
        return -1;
    if (reply.error != 0) {
        errno = reply.error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    channel->family = address_family_of(&reply.address);
    channel->local_addr = address_pair(&reply.address);
    return channel->local_addr != NULL ? 0 : -1;
}

static void take_back(channel_t *channel)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    if (channel_close_port(channel) < 0)
        PyErr_Clear(); /* the error that is raised already comes first */
    PyErr_Restore(kind, value, trace);
}

static PyObject *create(server_t *self, const wish_t *w)
{
    exchange_t *x = self->exchange;
    bool fits = w->queue_size <= LONGEST_QUEUE;
    channel_t *channel = channel_new((PyObject *)self, x, w->callback, (uint32_t)w->queue_size);
    if (channel == NULL)
        return NULL;
    if (exchange_enter(x, channel) == 0) {
        if (open_port(channel, &w->address) == 0) {
            if (fits)
                return (PyObject *)channel;
            PyErr_NoMemory();
        }
        take_back(channel);
    }
    Py_DECREF((PyObject *)channel);
    return NULL;
}

static PyObject *server_create_channel(server_t *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"pkt_in", "bind_host", "bind_port", "queue_size", "bind_family", NULL};
    wish_t w = {.queue_size = DEFAULT_QUEUE};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|ziKO:create_channel", names, &w.callback,
                                     &w.host, &w.port, &w.queue_size, &w.family_given) ||
        check_wish(&w) < 0)
        return NULL;
    if (self->exchange->stopping) {
        refuse_for_good(&w);
        return NULL;
    }
    return create(self, &w);
}

static PyObject *server_tick_ns(server_t *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(self->tick_ns);
}

static PyMethodDef server_methods[] = {
    {"create_channel", (PyCFunction)(void (*)(void))server_create_channel,
     METH_VARARGS | METH_KEYWORDS,
     "create_channel($self, pkt_in, bind_host=None, bind_port=0, queue_size=32, "
     "bind_family=None)\n--\n\n"
     "Bind a UDP port and return its RtpChannel. pkt_in(data, (host, port), rtime_ns) is called "
     "for\n"
     "each datagram, on the server's thread; rtime_ns is its arrival, CLOCK_MONOTONIC."},
    {"shutdown", (PyCFunction)server_shutdown, METH_VARARGS,
     "shutdown($self, /)\n--\n\n"
     "Close every port for good. Returns when no callback runs any more."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef server_getset[] = {
    {"tick_ns", (getter)server_tick_ns, NULL, "10**9 // tick_hz; nothing waits for a tick", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot server_slots[] = {
    {Py_tp_new, server_new},
    {Py_tp_dealloc, server_dealloc},
    {Py_tp_methods, server_methods},
    {Py_tp_getset, server_getset},
    {Py_tp_doc,
     "RtpServer(tick_hz=200)\n--\n\nMany UDP ports in a worker process, and one thread that "
     "calls back."},
    {0, NULL},
};

static PyType_Spec server_spec = {
    .name = "rtpsynth.RtpServer.RtpServer",
    .basicsize = sizeof(server_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = server_slots,
};

/* --- module --------------------------------------------------------------------------------- */

/* configure(open_mux, try_bind): functions of rtpsynth._mux that this module calls. */
static PyObject *configure(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *open, *bind;
    if (!PyArg_ParseTuple(args, "OO:configure", &open, &bind) ||
        want_main_interpreter("rtpsynth.RtpServer") < 0)
        return NULL;
    Py_INCREF(open);
    Py_INCREF(bind);
    Py_XDECREF(open_mux);
    Py_XDECREF(try_bind);
    open_mux = open;
    try_bind = bind;
    Py_INCREF(Py_None);
    return Py_None;
}

/* shared_bytes(places): the size of the engine's part of a channel with this many ports. */
static PyObject *shared_bytes(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned int places;
    if (!PyArg_ParseTuple(args, "I:shared_bytes", &places))
        return NULL;
    return PyLong_FromUnsignedLongLong(mux_bytes(places));
}

static PyMethodDef module_methods[] = {
    {"shared_bytes", shared_bytes, METH_VARARGS, "shared_bytes($module, places, /)\n--\n\n"},
    {"configure", configure, METH_VARARGS, "configure($module, open_mux, try_bind, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

/* Single-phase initialisation, so that an interpreter with its own lock refuses it: types and names
 * are static. */
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rtpsynth._server",
    .m_doc = "The classes of rtpsynth.RtpServer, in C.",
    .m_size = -1,
    .m_methods = module_methods,
};

static int add_server_type(PyObject *module)
{
    server_type = (PyTypeObject *)PyType_FromSpec(&server_spec);
    if (server_type == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "RtpServer", (PyObject *)server_type);
}

static int add_error(PyObject *module)
{
    queue_full_error = PyErr_NewExceptionWithDoc(
        "rtpsynth.RtpServer.RtpQueueFullError",
        "The channel's output queue is full: the packet was not queued.", NULL, NULL);
    if (queue_full_error == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "RtpQueueFullError", queue_full_error);
}

PyMODINIT_FUNC PyInit__server(void)
{
    if (module_needs_gil("rtpsynth._server") < 0)
        return NULL;
    if (want_main_interpreter("rtpsynth.RtpServer") < 0)
        return NULL;
    PyObject *module = PyModule_Create(&module_def);
    if (module == NULL)
        return NULL;
    if (add_server_type(module) < 0 || add_error(module) < 0 || channel_type_init(module) < 0 ||
        exchange_type_init(module) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
