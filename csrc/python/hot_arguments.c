#include "python/hot.h"

int as_int(PyObject *value, const char *what, const char *meaning, int64_t *out)
{
    if (PyBool_Check(value) || !PyIndex_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int%s, not %R", what, meaning, value);
        return -1;
    }
    PyObject *number = PyNumber_Index(value);
    if (number == NULL)
        return -1;
    *out = PyLong_AsLongLong(number);
    Py_DECREF(number);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Like as_int, but a number of more than 64 bits becomes -1, which is refused like negative ones.
 */
static int as_natural(PyObject *value, const char *what, const char *meaning, int64_t *out)
{
    if (as_int(value, what, meaning, out) == 0)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_OverflowError))
        return -1;
    PyErr_Clear();
    *out = -1;
    return 0;
}

int as_time_ns(PyObject *value, const char *what, int64_t *out)
{
    if (as_natural(value, what, MEANS_NS, out) < 0)
        return -1;
    if (*out >= 0)
        return 0;
    PyErr_Format(PyExc_ValueError,
                 "%s is %S ns: a time in the channel's clock is between 0 and 2**63 - 1", what,
                 value);
    return -1;
}

int as_sequence(PyObject *value, int64_t *out)
{
    if (as_natural(value, "sequence", ", as send() returned it", out) < 0)
        return -1;
    if (*out >= 0)
        return 0;
    PyErr_Format(PyExc_ValueError,
                 "sequence is %S: packets are counted from 0, see what send() "
                 "returned",
                 value);
    return -1;
}

int as_size(PyObject *value, int64_t *out)
{
    if (as_natural(value, "size", MEANS_BYTES, out) < 0)
        return -1;
    if (*out >= 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "size is %S: it must be 0 to 2**63 - 1 bytes", value);
    return -1;
}

int as_count(PyObject *value, const char *what, int64_t least, int64_t most, int64_t *out)
{
    if (as_natural(value, what, "", out) < 0)
        return -1;
    if (*out >= least && *out <= most)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s is %S: it must be %lld to %lld", what, value,
                 (long long)least, (long long)most);
    return -1;
}

int as_deadline(PyObject *value, int64_t *until_mono_ns)
{
    if (value == Py_None) {
        *until_mono_ns = RT_NEVER_NS;
        return 0;
    }
    double seconds = PyBool_Check(value) ? -1.0 : PyFloat_AsDouble(value);
    if (PyBool_Check(value) || (seconds == -1.0 && PyErr_Occurred())) {
        PyErr_Format(
            PyExc_TypeError,
            "timeout must be seconds, 0 not to wait, or None to wait without a limit, not %R",
            value);
        return -1;
    }
    if (!(seconds >= 0.0)) {
        PyErr_Format(PyExc_ValueError,
                     "timeout is %R: use seconds, 0 not to wait, None to wait without a limit",
                     value);
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

/* Names the allowed types if the value is no buffer at all. */
static int refuse_no_buffer(PyObject *value, const char *what, const char *should, const char *hint)
{
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(value), "__name__");
    if (name)
        PyErr_Format(PyExc_TypeError, "%s must be %s, not %U%s", what, should, name, hint);
    Py_XDECREF(name);
    return -1;
}

int as_writable(PyObject *value, const char *what, Py_buffer *view)
{
    if (!PyObject_CheckBuffer(value))
        return refuse_no_buffer(value, what, "a writable buffer such as a bytearray", "");
    if (PyObject_GetBuffer(value, view, PyBUF_WRITABLE | PyBUF_ND) == 0)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_BufferError))
        return -1;
    PyErr_Clear();
    if (PyObject_GetBuffer(value, view, PyBUF_SIMPLE) < 0)
        return -1;
    PyBuffer_Release(view);
    PyErr_Format(PyExc_BufferError, "%s is read-only: give a writable buffer such as a bytearray",
                 what);
    return -1;
}

int as_payload(PyObject *data, Py_buffer *view, const void **payload, size_t *bytes)
{
    if (PyBytes_CheckExact(data)) {
        view->obj = NULL;
        *payload = PyBytes_AsString(data);
        *bytes = (size_t)PyBytes_Size(data);
        return 0;
    }
    if (!PyObject_CheckBuffer(data))
        return refuse_no_buffer(data, "a payload", "a bytes-like object",
                                PyUnicode_Check(data) ? ": encode it, as in text.encode()" : "");
    if (PyObject_GetBuffer(data, view, PyBUF_SIMPLE) < 0)
        return -1;
    *payload = view->buf;
    *bytes = (size_t)view->len;
    return 0;
}

int as_address(PyObject *source, shm_addr_t *out)
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
