#include "python/signature.h"

int signature_init(signature_t *s)
{
    for (int i = 0; s->names[i]; i++) {
        s->interned[i] = PyUnicode_InternFromString(s->names[i]);
        if (s->interned[i] == NULL)
            return -1;
    }
    return 0;
}

/* For names that are not interned, and for all errors: left to
 * CPython's parser and its messages. */
static int parse(signature_t *s, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                 PyObject **values)
{
    PyObject *positional = PyTuple_New(nargs);
    PyObject *named = PyDict_New();
    int rc = positional && named ? 0 : -1;
    for (Py_ssize_t i = 0; rc == 0 && i < nargs; i++) {
        Py_INCREF(args[i]);
        rc = PyTuple_SetItem(positional, i, args[i]);
    }
    Py_ssize_t count = kwnames ? PyTuple_Size(kwnames) : 0;
    for (Py_ssize_t i = 0; rc == 0 && i < count; i++)
        rc = PyDict_SetItem(named, PyTuple_GetItem(kwnames, i), args[nargs + i]);
    _Static_assert(MAX_PARAMETERS == 11, "one pointer for each value that a format may have");
    if (rc == 0 &&
        !PyArg_ParseTupleAndKeywords(positional, named, s->format, s->names, values, values + 1,
                                     values + 2, values + 3, values + 4, values + 5, values + 6,
                                     values + 7, values + 8, values + 9, values + 10))
        rc = -1;
    Py_XDECREF(positional);
    Py_XDECREF(named);
    return rc;
}

/* Returns whether all arguments could be bound. Compares only interned names. */
static int bind_interned(const signature_t *s, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames, PyObject **values)
{
    for (Py_ssize_t i = 0; i < nargs; i++)
        values[i] = args[i];
    Py_ssize_t named = kwnames ? PyTuple_Size(kwnames) : 0;
    for (Py_ssize_t k = 0; k < named; k++) {
        PyObject *name = PyTuple_GetItem(kwnames, k);
        int i = 0;
        while (s->names[i] && s->interned[i] != name)
            i++;
        if (s->names[i] == NULL || values[i])
            return 0;
        values[i] = args[nargs + k];
    }
    for (Py_ssize_t i = 0; i < s->required; i++)
        if (values[i] == NULL)
            return 0;
    return 1;
}

int signature_bind(signature_t *s, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                   PyObject **values)
{
    for (int i = 0; i < MAX_PARAMETERS; i++)
        values[i] = NULL;
    if (nargs <= s->positional && bind_interned(s, args, nargs, kwnames, values))
        return 0;
    return parse(s, args, nargs, kwnames, values);
}
