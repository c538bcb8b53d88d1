#include "python/rtpsynth/proc.h"

#include <string.h>

static PyTypeObject *channel_type;
static PyObject *channel_proc_error;

proc_channel_t *proc_channel_make(proc_t *proc, PyObject *callback)
{
    proc_channel_t *ch = PyObject_New(proc_channel_t, channel_type);
    if (ch == NULL)
        return NULL;
    memset((char *)ch + sizeof(PyObject), 0, sizeof *ch - sizeof(PyObject));
    Py_INCREF((PyObject *)proc);
    Py_INCREF(callback);
    ch->proc = proc;
    ch->callback = callback;
    return ch;
}

static PyObject *channel_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)type, (void)args, (void)kwargs;
    PyErr_SetString(PyExc_TypeError,
                    "RtpProcChannel objects are created by RtpProc.create_channel()");
    return NULL;
}

/* The last reference: it cannot be closed any more, so it is unscheduled. */
static void channel_dealloc(proc_channel_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    engine_remove(self->proc->engine, self);
    Py_XDECREF(self->callback);
    Py_XDECREF(self->exception);
    Py_DECREF((PyObject *)self->proc);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *channel_close(proc_channel_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    engine_t *e = self->proc->engine;
    if (want_arguments("close", nargs, 0) < 0)
        return NULL;
    if (self->is_closed) {
        PyErr_SetString(PyExc_RuntimeError, "channel is already closed");
        return NULL;
    }
    self->is_closed = true;
    engine_remove(e, self);
    self->is_awaited = true;
    int rc = engine_await_channel(e, self);
    self->is_awaited = false;

    PyObject *callback = self->callback;
    PyObject *exception = self->exception;
    self->callback = NULL;
    self->exception = NULL;
    Py_XDECREF(callback);
    if (rc < 0) {
        Py_XDECREF(exception);
        return NULL;
    }
    if (exception == NULL)
        Py_RETURN_NONE;
    raise_from(channel_proc_error, "channel processing callback failed", exception);
    return NULL;
}

static PyObject *channel_id(proc_channel_t *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->id);
}

static PyObject *channel_closed(proc_channel_t *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->is_closed);
}

static PyMethodDef channel_methods[] = {
    {"close", FASTCALL(channel_close),
     "close($self, /)\n--\n\n"
     "Stop calling the callback, and release it.\n\n"
     "Waits while it runs, except in the worker thread itself.\n\n"
     "Raises ChannelProcError if it had failed, RuntimeError if the channel is closed already."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef channel_getset[] = {
    {"id", (getter)channel_id, NULL, "number of the channel, from 1", NULL},
    {"closed", (getter)channel_closed, NULL, "whether close was called", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot channel_slots[] = {
    {Py_tp_new, channel_new},
    {Py_tp_dealloc, channel_dealloc},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_doc, "A callback of RtpProc. Dropping the last reference without close stops it, too."},
    {0, NULL},
};

int add_proc_channel(PyObject *module)
{
    channel_proc_error = add_exception(
        module, "rtpsynth.RtpProc.ChannelProcError",
        "A callback has failed; its exception is the cause of this one.", PyExc_RuntimeError);
    channel_type = add_class(module, "rtpsynth.RtpProc.RtpProcChannel", sizeof(proc_channel_t), 0,
                             channel_slots);
    return channel_proc_error && channel_type ? 0 : -1;
}
