/* int_view.h: an array of integers from the user, such as NumPy's or the array module's. */
#ifndef INT_VIEW_H
#define INT_VIEW_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "client/int_array.h"

/* Views a one-dimensional array of integers in native byte order. what names it in errors. Release
 * the view if view->obj is set, also after a failure. Returns 0, or -1 with TypeError or
 * BufferError set. */
int int_array_view(PyObject *value, const char *what, Py_buffer *view, int_array_t *out);

#endif
