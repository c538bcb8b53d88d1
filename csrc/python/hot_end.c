/* hot_end.c: what the calls of Core share: its end of the channel, and the methods of Endpoint that
 * they call. */
#include "python/hot.h"

#include "client/channel_stats.h"

PyObject *name_attach_now, *name_pack_address, *name_pack_source, *name_refuse, *name_raise_full,
    *name_raise_timeout, *name_settle, *name_check_heard, *number_tx, *number_rx;

endpoint_t *core_end(core_t *self)
{
    if (self->end && self->end->segment)
        return self->end;
    PyObject *rc = PyLong_FromLong(-EPIPE);
    core_raise(self, name_refuse, rc, Py_None, NULL);
    Py_XDECREF(rc);
    return NULL;
}

int core_raise(core_t *self, PyObject *method, PyObject *a, PyObject *b, PyObject *c)
{
    PyObject *none = NULL;
    if (!PyErr_Occurred())
        none = PyObject_CallMethodObjArgs((PyObject *)self, method, a, b, c, NULL);
    if (none) {
        Py_DECREF(none);
        PyErr_SetString(PyExc_SystemError, "a method of Endpoint that raises has returned");
    }
    return -1;
}

int core_refuse(core_t *self, int rc)
{
    PyObject *number = PyLong_FromLong(rc);
    PyObject *text =
        PyUnicode_DecodeUTF8(rt_err_text(), (Py_ssize_t)strlen(rt_err_text()), "replace");
    rt_err_clear();
    if (number && text)
        core_raise(self, name_refuse, number, text, NULL);
    Py_XDECREF(number);
    Py_XDECREF(text);
    return -1;
}

int core_call(core_t *self, PyObject *method, PyObject *argument)
{
    PyObject *none = PyObject_CallMethodObjArgs((PyObject *)self, method, argument, NULL);
    Py_XDECREF(none);
    return none ? 0 : -1;
}

int core_sleep(core_t *self, int what, int64_t until_mono_ns)
{
    if (channel_is_unheard(self->end->segment) &&
        (core_call(self, name_check_heard, NULL) < 0 || core_end(self) == NULL))
        return -1;
    PyObject *owner = self->owner;
    endpoint_sleep_t sleep;
    endpoint_before_sleep(self->end, what, until_mono_ns, &sleep);
    Py_INCREF(owner);
    Py_BEGIN_ALLOW_THREADS endpoint_sleep(&sleep);
    Py_END_ALLOW_THREADS int rc = PyErr_CheckSignals();
    if (rc == 0 && core_end(self) == NULL)
        rc = -1;
    if (rc == 0)
        endpoint_after_sleep(self->end, &sleep);
    Py_DECREF(owner);
    return rc;
}

void hot_replace(PyObject **place, PyObject *object)
{
    PyObject *old = *place;
    Py_INCREF(object);
    *place = object;
    Py_XDECREF(old);
}
