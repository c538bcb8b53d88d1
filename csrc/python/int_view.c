#include "python/int_view.h"

/* Width and sign of one of struct's integer formats in native size; 0 for others. */
static uint32_t integer_format(const char *format, Py_ssize_t itemsize, uint32_t *is_signed)
{
    if (*format == '@' || *format == '=' || *format == '<')
        format++;
    if (*format == '\0' || strchr("bhilqnBHILQN", *format) == NULL || format[1] != '\0')
        return 0;
    *is_signed = *format >= 'a';
    return (uint32_t)itemsize;
}

int int_array_view(PyObject *value, const char *what, Py_buffer *view, int_array_t *out)
{
    if (PyObject_GetBuffer(value, view, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return -1;
    const char *format = view->format ? view->format : "B";
    *out = (int_array_t){.base = view->buf};
    if (view->ndim == 1) /* ctypes leaves out the strides, although they are asked for */
        out->stride = view->strides ? view->strides[0] : view->itemsize;
    out->width = view->ndim == 1 ? integer_format(format, view->itemsize, &out->is_signed) : 0;
    if (out->width)
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "%s is an array of format '%s' with %d dimensions: use integers in one, such as "
                 "numpy.int64 or array(\"q\")",
                 what, format, view->ndim);
    return -1;
}
