#include "python/rtpsynth/server.h"

/* A longer queue is refused like one that cannot be allocated, whatever its channel's memory holds.
 */
#define LONGEST_QUEUE (UINT64_C(1) << 31)
#define DEFAULT_TICK_HZ 200
#define DEFAULT_QUEUE 32

static PyObject *open_mux; /* _mux.open_mux */

/* --- life ----------------------------------------------------------------------------------- */

static PyObject *server_make(PyTypeObject *type, unsigned int tick_hz)
{
    PyObject *mux = PyObject_CallNoArgs(open_mux);
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
    if (self->exchange != NULL && !self->exchange->stopping)
        exchange_stop(self->exchange);
    Py_CLEAR(self->exchange);
    Py_CLEAR(self->mux);
    free_object((PyObject *)self);
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
    Py_RETURN_NONE;
}

/* --- create_channel ------------------------------------------------------------------------- */

/* Opens the port. The channel has its place: datagrams that arrive before this returns are handed
 * to it. */
static int open_port(channel_t *channel, PyObject *address)
{
    PyObject *opened =
        PyObject_CallMethod(channel->server->mux, "open_port", "IO", channel_tag(channel), address);
    if (opened == NULL || !PyArg_ParseTuple(opened, "iO", &channel->family, &channel->local_addr)) {
        Py_XDECREF(opened);
        return -1;
    }
    Py_INCREF(channel->local_addr);
    Py_DECREF(opened);
    return 0;
}

static void take_back(channel_t *channel)
{
    PyObject *error = take_exception();
    if (channel_close_port(channel) < 0)
        PyErr_Clear(); /* the error that is raised already comes first */
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

static PyObject *create(server_t *self, PyObject *callback, uint64_t queue_size, PyObject *address)
{
    channel_t *channel = channel_make(self, callback, (uint32_t)queue_size);
    if (channel == NULL)
        return NULL;
    if (exchange_enter(self->exchange, channel) == 0) {
        if (open_port(channel, address) == 0) {
            if (queue_size <= LONGEST_QUEUE)
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
    PyObject *callback, *family = Py_None;
    const char *host = NULL; /* the family's wildcard address */
    int port = 0;
    unsigned long long queue_size = DEFAULT_QUEUE;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|ziKO:create_channel", names, &callback, &host,
                                     &port, &queue_size, &family))
        return NULL;
    PyObject *address =
        PyObject_CallMethod(self->mux, "check", "OyiKO", callback, host, port, queue_size, family);
    PyObject *channel = NULL;
    if (address && !self->exchange->stopping)
        channel = create(self, callback, queue_size, address);
    else if (address && queue_size > LONGEST_QUEUE)
        PyErr_NoMemory();
    else if (address)
        PyErr_SetString(PyExc_RuntimeError, SERVER_STOPPED);
    Py_XDECREF(address);
    return channel;
}

static PyObject *server_tick_ns(server_t *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(self->tick_ns);
}

static PyMethodDef server_methods[] = {
    {"create_channel", KEYWORDS(server_create_channel),
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

/* configure_server(open_mux): before the first RtpServer. */
static PyObject *configure(PyObject *module, PyObject *open)
{
    (void)module;
    if (want_main_interpreter("rtpsynth.RtpServer") < 0)
        return NULL;
    replace_object(&open_mux, open);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"configure_server", configure, METH_O, "configure_server($module, open_mux, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

int add_server(PyObject *module)
{
    if (PyModule_AddFunctions(module, functions) < 0 || add_server_channel(module) < 0 ||
        add_exchange(module) < 0)
        return -1;
    return add_class(module, "rtpsynth.RtpServer.RtpServer", sizeof(server_t), 0, server_slots)
               ? 0
               : -1;
}
