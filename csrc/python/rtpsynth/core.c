#include "python/rtpsynth/core.h"

int refuse_count(const char *function, Py_ssize_t given, Py_ssize_t wanted)
{
    PyErr_Format(PyExc_TypeError, "%s() takes exactly %zd argument%s (%zd given)", function, wanted,
                 wanted == 1 ? "" : "s", given);
    return -1;
}

int refuse_arguments(PyTypeObject *type, PyObject *args)
{
    if (PyTuple_Size(args) == 0)
        return 0;
    PyObject *name = PyType_GetName(type);
    if (name)
        PyErr_Format(PyExc_TypeError, "%U() takes no arguments", name);
    Py_XDECREF(name);
    return -1;
}

int want_main_interpreter(const char *module)
{
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0)
        return 0;
    PyErr_Format(PyExc_ImportError, "%s works in the main interpreter only", module);
    return -1;
}

PyTypeObject *add_class(PyObject *module, const char *name, size_t bytes, unsigned long flags,
                        PyType_Slot *slots)
{
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)bytes,
        .flags = (unsigned)(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | flags),
        .slots = slots,
    };
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (type && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}

PyObject *add_exception(PyObject *module, const char *name, const char *doc, PyObject *base)
{
    PyObject *type = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
    if (type && PyModule_AddType(module, (PyTypeObject *)type) < 0)
        Py_CLEAR(type);
    return type;
}

PyObject *take_exception(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

void raise_from(PyObject *type, const char *text, PyObject *cause)
{
    PyErr_SetString(type, text);
    PyObject *error = take_exception();
    PyException_SetCause(error, cause);
    PyErr_SetObject(type, error);
    Py_DECREF(error);
}

void replace_object(PyObject **at, PyObject *value)
{
    PyObject *old = *at;
    Py_XINCREF(value);
    *at = value;
    Py_XDECREF(old);
}

void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}
