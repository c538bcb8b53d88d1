/* waits.h: which thread waits for which other, so that callbacks never wait for each other in a
 * circle.
 *
 * A callback of an RtpServer may wait, in close or shutdown, for a callback of another server or of
 * RtpProc, and that one for the first. All such waits are in one dictionary of the interpreter,
 * {waiting thread: awaited thread}, which the modules share. A thread that finds itself at the end
 * of its own chain continues without waiting. It checks repeatedly, because a wait that cannot be
 * left (RtpProc.create_channel) may close the circle later.
 *
 * All functions need the global lock. If there is no memory, a wait is in no chain. */
#ifndef PYTHON_RTPSYNTH_WAITS_H
#define PYTHON_RTPSYNTH_WAITS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#define WAITS_KEY "rtpsynth.waits"
/* A circle of other threads, which they have not noticed yet, has no end. */
#define WAITS_LONGEST_CHAIN 64

/* Borrowed. NULL: it cannot be created. */
static inline PyObject *waits_table(void)
{
    PyObject *shared = PyInterpreterState_GetDict(PyInterpreterState_Get());
    PyObject *table = shared ? PyDict_GetItemString(shared, WAITS_KEY) : NULL;
    if (shared == NULL || table != NULL)
        return table;
    table = PyDict_New();
    if (table && PyDict_SetItemString(shared, WAITS_KEY, table) < 0)
        Py_CLEAR(table);
    Py_XDECREF(table); /* the interpreter's dictionary has a reference */
    return table;
}

/* The thread that this one waits for, or 0. */
static inline unsigned long waits_of(unsigned long thread)
{
    PyObject *table = waits_table();
    PyObject *key = table ? PyLong_FromUnsignedLong(thread) : NULL;
    PyObject *awaited = key ? PyDict_GetItemWithError(table, key) : NULL;
    unsigned long result = awaited ? PyLong_AsUnsignedLong(awaited) : 0;
    Py_XDECREF(key);
    PyErr_Clear();
    return result;
}

/* Records that the calling thread waits for awaited, 0: for none. */
static inline void waits_set(unsigned long awaited)
{
    PyObject *table = waits_table();
    PyObject *key = table ? PyLong_FromUnsignedLong(PyThread_get_thread_ident()) : NULL;
    PyObject *value = key && awaited ? PyLong_FromUnsignedLong(awaited) : NULL;
    if (value)
        (void)PyDict_SetItem(table, key, value);
    else if (key && PyDict_Contains(table, key) > 0)
        (void)PyDict_DelItem(table, key);
    Py_XDECREF(key);
    Py_XDECREF(value);
    PyErr_Clear();
}

/* Returns the argument for waits_end: the thread that this thread waited for already when a signal
 * handler began to wait as well. */
static inline unsigned long waits_begin(unsigned long awaited)
{
    unsigned long before = waits_of(PyThread_get_thread_ident());
    waits_set(awaited);
    return before;
}

/* Keeps an exception that is set. */
static inline void waits_end(unsigned long before)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    waits_set(before);
    PyErr_Restore(kind, value, trace);
}

/* Whether that thread is the calling one, or waits for it directly or through others. */
static inline bool waits_for_us(unsigned long thread)
{
    unsigned long us = PyThread_get_thread_ident();
    for (int i = 0; i < WAITS_LONGEST_CHAIN && thread != 0; i++) {
        if (thread == us)
            return true;
        thread = waits_of(thread);
    }
    return false;
}

/* For a child after fork: the threads belong to the parent. */
static inline void waits_forget(void)
{
    PyObject *table = waits_table();
    if (table)
        PyDict_Clear(table);
    PyErr_Clear();
}

#endif
