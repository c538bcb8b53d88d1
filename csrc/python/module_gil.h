/* module_gil.h: the compiled modules guard their state with the interpreter's lock. A build of
 * Python that can run without it (3.13t and later) enables it when it loads a module that does not
 * declare otherwise, and these do not. PYTHON_GIL=0 prevents that. */
#ifndef MODULE_GIL_H
#define MODULE_GIL_H

#include <Python.h>

/* Call it first in PyInit_*. Returns 0, or -1 with ImportError set: the lock is disabled. */
static inline int module_needs_gil(const char *name)
{
    PyObject *ask = PySys_GetObject("_is_gil_enabled"); /* borrowed; Python 3.13 and later */
    if (ask == NULL)
        return 0;
    PyObject *enabled = PyObject_CallNoArgs(ask);
    int is_on = enabled == NULL ? -1 : PyObject_IsTrue(enabled);
    Py_XDECREF(enabled);
    if (is_on == 0)
        PyErr_Format(PyExc_ImportError,
                     "%s needs the interpreter's lock, and PYTHON_GIL=0 or -X gil=0 has disabled "
                     "it: leave it at its default",
                     name);
    return is_on == 1 ? 0 : -1;
}

#endif
