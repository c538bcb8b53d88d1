/* core.h: rtpsynth._core, the compiled module of that drop-in, and what its files share.
 *
 *   module.c        the module
 *   core.c          checks of arguments, classes
 *   synth.c         RtpSynth.py        headers.c   headers.py
 *   utils.c         RtpUtils.py        jbuf*.c     RtpJBuf.py
 *   proc*.c         RtpProc.py         server*.c   RtpServer.py
 *   waits.c         which thread waits for which, of RtpProc and RtpServer
 *
 * Everything here returns -1 or NULL with a Python exception set, unless it says otherwise. Texts
 * about arguments are those of CPython's own argument parser, which the original package uses. */
#ifndef PYTHON_RTPSYNTH_CORE_H
#define PYTHON_RTPSYNTH_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/signature.h"

#include <limits.h>
#include <stdbool.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL
#define FASTCALL_KEYWORDS(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL | METH_KEYWORDS
#define KEYWORDS(f) (PyCFunction)(void (*)(void))(f), METH_VARARGS | METH_KEYWORDS

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

/* Raises TypeError for another number of positional arguments than wanted. */
int refuse_count(const char *function, Py_ssize_t given, Py_ssize_t wanted);

static inline int want_arguments(const char *function, Py_ssize_t given, Py_ssize_t wanted)
{
    return given == wanted ? 0 : refuse_count(function, given, wanted);
}

/* For the constructor of a class without parameters. Keywords are ignored, as in the original. */
int refuse_arguments(PyTypeObject *type, PyObject *args);

/* For modules with their own threads: those of another interpreter would outlive it. */
int want_main_interpreter(const char *module);

/* Adds a class "rtpsynth.MODULE.CLASS" that programs can neither change nor derive from. flags: 0,
 * or Py_TPFLAGS_HAVE_GC. Returns a new reference. */
PyTypeObject *add_class(PyObject *module, const char *name, size_t bytes, unsigned long flags,
                        PyType_Slot *slots);

/* Adds an exception "rtpsynth.MODULE.CLASS". Returns a new reference. */
PyObject *add_exception(PyObject *module, const char *name, const char *doc, PyObject *base);

/* The exception that is set, which is not set any more. New reference, never NULL. */
PyObject *take_exception(void);

/* Raises an exception of this type. Steals its cause. */
void raise_from(PyObject *type, const char *text, PyObject *cause);

/* Stores a new reference to value, or NULL, and releases what was there. */
void replace_object(PyObject **at, PyObject *value);

/* Ends tp_dealloc of a class that the garbage collector does not know. */
void free_object(PyObject *self);

/* The parts of the module. Each adds its functions and classes. */
int add_headers(PyObject *module);
int add_jbuf(PyObject *module);
int add_proc(PyObject *module);
int add_server(PyObject *module);
int add_synth(PyObject *module);
int add_utils(PyObject *module);

#endif
