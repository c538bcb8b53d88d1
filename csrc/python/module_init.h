/* module_init.h: how the compiled modules start.
 *
 * Builds of Python that can run without the interpreter's lock (3.13t and later) enable it when
 * they load a module that does not declare otherwise. PYTHON_GIL=0 prevents that. A module
 * whose objects have their own locks says so with MODULE_HAS_LOCKS. The others refuse to start
 * without the interpreter's lock.
 *
 * Types and names are static, so an interpreter with a lock of its own cannot load a module. */
#ifndef MODULE_INIT_H
#define MODULE_INIT_H

#include <Python.h>

#define MODULE_HAS_LOCKS 1
#define MODULE_NEEDS_GIL 0

/* Of later versions than the limited API that the modules are built for. */
#define MODULE_SLOT_INTERPRETERS 3 /* Py_mod_multiple_interpreters, from 3.12 on */
#define MODULE_SLOT_GIL 4          /* Py_mod_gil, from 3.13 on */

/* Room for the slots of one module. */
typedef PyModuleDef_Slot module_slots_t[4];

/* Fills the slots of a definition, for PyInit_* to return with PyModuleDef_Init. */
static inline void module_slots(module_slots_t slots, int (*exec)(PyObject *), int locks)
{
    int n = 0;
    slots[n++] = (PyModuleDef_Slot){Py_mod_exec, (void *)exec};
    if (Py_Version >= 0x030c0000)
        slots[n++] = (PyModuleDef_Slot){MODULE_SLOT_INTERPRETERS, (void *)0}; /* not supported */
    if (Py_Version >= 0x030d0000 && locks == MODULE_HAS_LOCKS)
        slots[n++] = (PyModuleDef_Slot){MODULE_SLOT_GIL, (void *)1}; /* not used */
    slots[n] = (PyModuleDef_Slot){0, NULL};
}

/* The body of an exec function. fill adds everything to the module, once per process: a second
 * import, and interpreters that share the lock of the first, get the same objects. contents: NULL
 * at first. Returns 0, or -1 with an exception set. */
static inline int module_fill_once(PyObject *module, PyObject **contents, int (*fill)(PyObject *))
{
    PyObject *dict = PyModule_GetDict(module); /* borrowed */
    if (*contents != NULL)
        return PyDict_Merge(dict, *contents, 0);
    if (fill(module) < 0)
        return -1;
    Py_INCREF(dict);
    *contents = dict;
    return 0;
}

/* Returns 0, or -1 with ImportError set: the lock is disabled. */
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
                     "it: leave it at its default, and Python enables the lock at this import",
                     name);
    return is_on == 1 ? 0 : -1;
}

#endif
