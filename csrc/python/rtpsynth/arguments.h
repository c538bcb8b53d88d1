/* arguments.h: the argument checks of the modules of rtpsynth.
 *
 * Everything here returns -1 with a Python exception set, or 0. Messages are those of CPython's own
 * argument parser, which the original package uses. */
#ifndef PYTHON_RTPSYNTH_ARGUMENTS_H
#define PYTHON_RTPSYNTH_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/signature.h"

#include <limits.h>
#include <stdbool.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL
#define FASTCALL_KEYWORDS(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL | METH_KEYWORDS

/* A C int from any object with __index__. */
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

/* For modules with their own threads: those of another interpreter would outlive it. */
static inline int want_main_interpreter(const char *module)
{
    if (is_main_interpreter())
        return 0;
    PyErr_Format(PyExc_ImportError, "%s works in the main interpreter only", module);
    return -1;
}

#endif
