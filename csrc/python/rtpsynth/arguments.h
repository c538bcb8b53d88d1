/* arguments.h: what the modules of rtpsynth check their arguments with.
 *
 * Everything here returns -1 with a Python exception set, or 0. Messages are those of CPython's own
 * argument parser, which the original package uses. */
#ifndef PYTHON_RTPSYNTH_ARGUMENTS_H
#define PYTHON_RTPSYNTH_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL
#define FASTCALL_KEYWORDS(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL | METH_KEYWORDS

/* A C int from whatever has __index__. */
static inline int as_int(PyObject *value, int *out)
{
    long number = PyLong_AsLong(value);
    if (number == -1 && PyErr_Occurred())
        return -1;
    if (number > INT_MAX || number < INT_MIN) {
        PyErr_SetString(PyExc_OverflowError, number > 0 ? "signed integer is greater than maximum"
                                                        : "signed integer is less than minimum");
        return -1;
    }
    *out = (int)number;
    return 0;
}

/* Exactly wanted positional arguments. */
static inline int want_arguments(const char *function, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes exactly %zd argument%s (%zd given)", function, wanted,
                 wanted == 1 ? "" : "s", given);
    return -1;
}

/* The main interpreter, which ends last. */
static inline bool is_main_interpreter(void)
{
    return PyInterpreterState_GetID(PyInterpreterState_Get()) == 0;
}

/* For modules with threads of their own: those of another interpreter would outlive it. */
static inline int want_main_interpreter(const char *module)
{
    if (is_main_interpreter())
        return 0;
    PyErr_Format(PyExc_ImportError, "%s works in the main interpreter only", module);
    return -1;
}

#define MAX_PARAMETERS 6

/* Parameters of a function that takes keywords. */
typedef struct signature {
    const char *format; /* as for PyArg_ParseTupleAndKeywords, of O alone: "OO|O:name" */
    Py_ssize_t required;
    Py_ssize_t positional; /* how many may be given without a name */
    char *names[MAX_PARAMETERS + 1];
    PyObject *interned[MAX_PARAMETERS];
} signature_t;

/* Once, before use. */
static inline int signature_init(signature_t *s)
{
    for (int i = 0; s->names[i]; i++) {
        s->interned[i] = PyUnicode_InternFromString(s->names[i]);
        if (s->interned[i] == NULL)
            return -1;
    }
    return 0;
}

/* Names that are not interned, and all errors: left to CPython's parser and its messages. */
static int signature_parse(signature_t *s, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames, PyObject **values)
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
    if (rc == 0 &&
        !PyArg_ParseTupleAndKeywords(positional, named, s->format, s->names, values, values + 1,
                                     values + 2, values + 3, values + 4, values + 5))
        rc = -1;
    Py_XDECREF(positional);
    Py_XDECREF(named);
    return rc;
}

/* Spreads a vectorcall's arguments over values, of which there are MAX_PARAMETERS; NULL where none
 * was given. The references are the caller's. */
static inline int signature_bind(signature_t *s, PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames, PyObject **values)
{
    for (int i = 0; i < MAX_PARAMETERS; i++)
        values[i] = NULL;
    if (nargs > s->positional)
        return signature_parse(s, args, nargs, kwnames, values);
    for (Py_ssize_t i = 0; i < nargs; i++)
        values[i] = args[i];
    Py_ssize_t named = kwnames ? PyTuple_Size(kwnames) : 0;
    for (Py_ssize_t k = 0; k < named; k++) {
        PyObject *name = PyTuple_GetItem(kwnames, k);
        int i = 0;
        while (s->names[i] && s->interned[i] != name)
            i++;
        if (s->names[i] == NULL || values[i])
            return signature_parse(s, args, nargs, kwnames, values);
        values[i] = args[nargs + k];
    }
    for (Py_ssize_t i = 0; i < s->required; i++)
        if (values[i] == NULL)
            return signature_parse(s, args, nargs, kwnames, values);
    return 0;
}

#endif
