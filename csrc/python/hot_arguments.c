#include "python/hot.h"

int signature_init(signature_t *s)
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

static int require_arguments(const signature_t *s, PyObject *const *values)
{
    for (int i = 0; i < s->required; i++) {
        if (values[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", s->function,
                         s->names[i]);
            return -1;
        }
    }
    return 0;
}

int signature_bind(const signature_t *s, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                   PyObject **values)
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
    return require_arguments(s, values);
}

/* bool is refused although it is an int: it is never a time. */
int as_ns(PyObject *value, const char *what, int64_t *out)
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

int as_time_ns(PyObject *value, const char *what, int64_t *out)
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

int as_deadline(PyObject *value, int64_t *until_mono_ns)
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

int as_payload(PyObject *data, Py_buffer *view, const void **payload, size_t *bytes)
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
