/* server_channel.c: RtpChannel.
 *
 * A queue of queue_size packets is a count: packets ever queued, minus those that the worker has
 * finished. The worker's cache line is read only if the queue may be full by the value seen last.
 */
#include "python/rtpsynth/server.h"

#include <errno.h>

static PyTypeObject *channel_type;
static PyObject *queue_full_error;

static int refuse(const char *text)
{
    PyErr_SetString(PyExc_RuntimeError, text);
    return -1;
}

/* --- making --------------------------------------------------------------------------------- */

static PyObject *channel_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type;
    (void)args;
    (void)kwargs;
    PyErr_SetString(PyExc_TypeError,
                    "RtpChannel objects are created by RtpServer.create_channel()");
    return NULL;
}

channel_t *channel_make(server_t *server, PyObject *callback, uint32_t queue_size)
{
    channel_t *channel = (channel_t *)PyType_GenericAlloc(channel_type, 0);
    if (channel == NULL)
        return NULL;
    Py_INCREF((PyObject *)server);
    Py_INCREF(callback);
    channel->server = server;
    channel->exchange = server->exchange;
    channel->callback = callback;
    channel->queue_size = queue_size;
    return channel;
}

static void channel_dealloc(channel_t *self)
{
    Py_CLEAR(self->callback);
    Py_CLEAR(self->local_addr);
    Py_CLEAR(self->last_address);
    Py_CLEAR(self->server);
    free_object((PyObject *)self);
}

/* --- sending -------------------------------------------------------------------------------- */

static int check_may_send(const channel_t *self)
{
    if (self->closed)
        return refuse("channel is closed");
    return self->aimed ? 0 : refuse("channel target is not set");
}

static int refuse_full(const channel_t *self)
{
    if (exchange_check(self->exchange) == 0)
        PyErr_SetString(queue_full_error, "channel output queue is full");
    return -1;
}

/* A count can lag behind when another process overwrote a record. It is corrected as soon as
 * nothing waits at all. */
static bool queue_is_full(channel_t *self)
{
    if (self->pushed - self->drained_seen < self->queue_size)
        return false;
    exchange_t *x = self->exchange;
    bool none_waits = tx_ring_waiting(x->segment) == 0;
    self->drained_seen = none_waits ? self->pushed : rt_load_acquire(&x->drained[self->place]);
    return self->pushed - self->drained_seen >= self->queue_size;
}

static int queue_packet(channel_t *self, const char *data, Py_ssize_t bytes)
{
    exchange_t *x = self->exchange;
    if (x->stopping)
        return refuse(SERVER_STOPPED);
    if (queue_is_full(self))
        return refuse_full(self);
    if (bytes > MUX_MAX_DATAGRAM)
        return 0; /* lost, like any that is too long for the network */
    mux_head_t head = {.number = self->pushed, .port = self->place, .generation = self->generation};
    if (mux_endpoint_send(x->end, &head, data, (uint32_t)bytes) < 0)
        return refuse_full(self);
    self->pushed++;
    return 0;
}

static PyObject *channel_send_pkt(channel_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (want_arguments("send_pkt", nargs, 1) < 0 || check_may_send(self) < 0)
        return NULL;
    PyObject *data = PyObject_Bytes(args[0]); /* of bytes: the same object */
    /* The conversion to bytes may close the channel. */
    int rc = data != NULL ? check_may_send(self) : -1;
    if (rc == 0)
        rc = queue_packet(self, PyBytes_AsString(data), PyBytes_Size(data));
    Py_XDECREF(data);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* --- target --------------------------------------------------------------------------------- */

static int check_may_aim(const channel_t *self)
{
    if (self->closed)
        return refuse("channel is closed");
    return self->exchange->stopping ? refuse(SERVER_STOPPED) : 0;
}

/* Asks for the address first: the name is resolved without the lock, and the channel may be closed
 * meanwhile. */
static PyObject *channel_set_target(channel_t *self, PyObject *args)
{
    const char *host;
    int port;
    PyObject *mux = self->server->mux;
    if (!PyArg_ParseTuple(args, "si:set_target", &host, &port) || check_may_aim(self) < 0)
        return NULL;
    PyObject *target = PyObject_CallMethod(mux, "resolve", "yii", host, port, self->family);
    PyObject *none = target && check_may_aim(self) == 0
                         ? PyObject_CallMethod(mux, "aim", "IO", channel_tag(self), target)
                         : NULL;
    Py_XDECREF(target);
    if (none)
        self->aimed = true;
    return none;
}

/* --- closing -------------------------------------------------------------------------------- */

int channel_close_port(channel_t *self)
{
    exchange_leave(self->exchange, self);
    PyObject *none = PyObject_CallMethod(self->server->mux, "close_port", "I", channel_tag(self));
    exchange_free_place(self->exchange, self->place);
    Py_XDECREF(none);
    return none ? 0 : -1;
}

static PyObject *channel_close(channel_t *self, PyObject *args)
{
    if (!PyArg_ParseTuple(args, ":close"))
        return NULL;
    if (self->closed) {
        refuse("channel is already closed");
        return NULL;
    }
    exchange_t *x = self->exchange;
    self->closed = true;
    if (x->stopping) {
        refuse("Server has been shutdown");
        return NULL;
    }
    if (channel_close_port(self) < 0 || exchange_wait(x, self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* --- attributes ----------------------------------------------------------------------------- */

static PyObject *channel_local_addr(channel_t *self, void *closure)
{
    (void)closure;
    return Py_NewRef(self->local_addr);
}

static PyObject *channel_closed(channel_t *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(self->closed);
}

static PyMethodDef channel_methods[] = {
    {"send_pkt", FASTCALL(channel_send_pkt),
     "send_pkt($self, data, /)\n--\n\n"
     "Queue one datagram for the target. Never waits. Raises RtpQueueFullError if the queue is "
     "full."},
    {"set_target", (PyCFunction)channel_set_target, METH_VARARGS,
     "set_target($self, host, port, /)\n--\n\n"
     "Set the target of packets from now on. host is resolved in the channel's address family."},
    {"close", (PyCFunction)channel_close, METH_VARARGS,
     "close($self, /)\n--\n\n"
     "Release the port. Its callback is not called any more. Packets that wait are dropped."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef channel_getset[] = {
    {"local_addr", (getter)channel_local_addr, NULL, "(host, port) bound to", NULL},
    {"closed", (getter)channel_closed, NULL, "whether close() was called", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot channel_slots[] = {
    {Py_tp_new, channel_refuse_new},
    {Py_tp_dealloc, channel_dealloc},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_doc, "One UDP port of an RtpServer."},
    {0, NULL},
};

int add_server_channel(PyObject *module)
{
    queue_full_error =
        add_exception(module, "rtpsynth.RtpServer.RtpQueueFullError",
                      "The channel's output queue is full: the packet was not queued.", NULL);
    channel_type =
        add_class(module, "rtpsynth.RtpServer.RtpChannel", sizeof(channel_t), 0, channel_slots);
    return queue_full_error && channel_type ? 0 : -1;
}
