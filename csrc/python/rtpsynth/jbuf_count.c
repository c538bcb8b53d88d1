#include "python/rtpsynth/jbuf.h"

#include <string.h>

bool jbuf_is_counting;
uint64_t jbuf_created[JBUF_CLASSES], jbuf_freed[JBUF_CLASSES];

static const char *const class_names[JBUF_CLASSES] = {
    "RTPInfo", "RTPPacket", "ERSFrame", "RTPFrameUnion", "RTPFrame", "FrameWrapper", "RtpJBuf",
};

static PyObject *set_counting(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (want_arguments("_set_dealloc_counting", nargs, 1) < 0)
        return NULL;
    int is_true = PyObject_IsTrue(args[0]);
    if (is_true < 0)
        return NULL;
    jbuf_is_counting = is_true;
    return Py_NewRef(Py_None);
}

static PyObject *get_counting(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    (void)args;
    if (want_arguments("_get_dealloc_counting", nargs, 0) < 0)
        return NULL;
    return PyBool_FromLong(jbuf_is_counting);
}

static PyObject *reset_counts(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    (void)args;
    if (want_arguments("_reset_dealloc_counts", nargs, 0) < 0)
        return NULL;
    memset(jbuf_created, 0, sizeof jbuf_created);
    memset(jbuf_freed, 0, sizeof jbuf_freed);
    return Py_NewRef(Py_None);
}

static int put_count(PyObject *counts, const char *class_name, const char *what, uint64_t value)
{
    PyObject *key = PyUnicode_FromFormat("%s_%s", class_name, what);
    PyObject *number = PyLong_FromUnsignedLongLong(value);
    int rc = key && number ? PyDict_SetItem(counts, key, number) : -1;
    Py_XDECREF(key);
    Py_XDECREF(number);
    return rc;
}

static PyObject *get_counts(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    (void)args;
    if (want_arguments("_get_dealloc_counts", nargs, 0) < 0)
        return NULL;
    PyObject *counts = PyDict_New();
    for (int i = 0; counts && i < JBUF_CLASSES; i++) {
        if (put_count(counts, class_names[i], "created", jbuf_created[i]) < 0 ||
            put_count(counts, class_names[i], "freed", jbuf_freed[i]) < 0)
            Py_CLEAR(counts);
    }
    return counts;
}

PyMethodDef jbuf_count_methods[] = {
    {"_set_dealloc_counting", FASTCALL(set_counting),
     "_set_dealloc_counting($module, flag, /)\n--\n\n"
     "Switch the counting of objects on or off, in the whole process."},
    {"_get_dealloc_counting", FASTCALL(get_counting), "_get_dealloc_counting($module, /)\n--\n\n"},
    {"_reset_dealloc_counts", FASTCALL(reset_counts), "_reset_dealloc_counts($module, /)\n--\n\n"},
    {"_get_dealloc_counts", FASTCALL(get_counts),
     "_get_dealloc_counts($module, /)\n--\n\n"
     "X_created and X_freed for each class X, counted while counting was on."},
    {NULL, NULL, 0, NULL},
};
