/* signature.h: parameters of a compiled function that takes keywords. */
#ifndef PYTHON_SIGNATURE_H
#define PYTHON_SIGNATURE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define MAX_PARAMETERS 11

typedef struct signature {
    const char *format; /* as for PyArg_ParseTupleAndKeywords, with O only: "OO|O$O:name" */
    Py_ssize_t required;
    Py_ssize_t positional; /* how many may be given without a name */
    char *names[MAX_PARAMETERS + 1];
    PyObject *interned[MAX_PARAMETERS];
} signature_t;

/* Call it once, before use. Returns 0, or -1 with an exception set. */
int signature_init(signature_t *s);

/* Stores a vectorcall's arguments in values, an array of MAX_PARAMETERS; NULL for those not given.
 * The references stay the caller's. Returns 0, or -1 with the exception that CPython's own parser
 * raises. */
int signature_bind(signature_t *s, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                   PyObject **values);

#endif
