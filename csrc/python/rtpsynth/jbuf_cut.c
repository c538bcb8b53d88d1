#include "python/rtpsynth/jbuf.h"

#include "python/int_view.h"

#include <string.h>

/* Arrays that belong to one buffer, while it is split. */
typedef struct arrays {
    Py_buffer sizes_view, offsets_view;
    int_array_t sizes, offsets; /* width 0: not given */
    uint64_t size_count, offset_count;
    bool is_one_size;    /* sizes is one number for all */
    PyObject *packed[2]; /* made from sequences of ints */
} arrays_t;

static bool is_given(PyObject *value)
{
    return value && value != Py_None;
}

/* --- arrays of ints ------------------------------------------------------------------------- */

/* array.array("q", ints) */
static PyObject *pack_ints(PyObject *ints)
{
    PyObject *module = PyImport_ImportModule("array");
    PyObject *packed = module ? PyObject_CallMethod(module, "array", "sO", "q", ints) : NULL;
    Py_XDECREF(module);
    return packed;
}

static int view_ints(PyObject *value, const char *what, Py_buffer *view, PyObject **packed,
                     int_array_t *out, uint64_t *count)
{
    if (!PyObject_CheckBuffer(value)) {
        *packed = pack_ints(value);
        if (*packed == NULL)
            return -1;
        value = *packed;
    }
    if (int_array_view(value, what, view, out) < 0)
        return -1;
    *count = (uint64_t)view->shape[0];
    return 0;
}

static int view_one_size(arrays_t *a, PyObject *size)
{
    PyObject *alone = PyTuple_Pack(1, size);
    int rc =
        alone ? view_ints(alone, "sizes", &a->sizes_view, &a->packed[0], &a->sizes, &a->size_count)
              : -1;
    Py_XDECREF(alone);
    a->sizes.stride = 0;
    a->is_one_size = true;
    return rc;
}

static int view_sizes(arrays_t *a, PyObject *sizes)
{
    if (PyLong_Check(sizes))
        return view_one_size(a, sizes);
    return view_ints(sizes, "sizes", &a->sizes_view, &a->packed[0], &a->sizes, &a->size_count);
}

static int arrays_open(arrays_t *a, PyObject *sizes, PyObject *offsets)
{
    if (is_given(sizes) && view_sizes(a, sizes) < 0)
        return -1;
    if (is_given(offsets) && view_ints(offsets, "offsets", &a->offsets_view, &a->packed[1],
                                       &a->offsets, &a->offset_count) < 0)
        return -1;
    return 0;
}

static void arrays_close(arrays_t *a)
{
    if (a->sizes_view.obj)
        PyBuffer_Release(&a->sizes_view);
    if (a->offsets_view.obj)
        PyBuffer_Release(&a->offsets_view);
    Py_XDECREF(a->packed[0]);
    Py_XDECREF(a->packed[1]);
}

/* --- one buffer ----------------------------------------------------------------------------- */

static int require(bool holds, const char *otherwise)
{
    if (!holds)
        PyErr_SetString(PyExc_TypeError, otherwise);
    return holds ? 0 : -1;
}

static int check_size_count(const arrays_t *a, uint64_t wanted)
{
    if (a->sizes.width == 0 || a->is_one_size || a->size_count == wanted)
        return 0;
    PyErr_Format(PyExc_ValueError, "sizes has %llu entries for %llu datagrams",
                 (unsigned long long)a->size_count, (unsigned long long)wanted);
    return -1;
}

static int refuse_place(uint64_t i, int64_t offset, int64_t size, uint64_t bytes)
{
    PyErr_Format(PyExc_ValueError,
                 "datagram %llu (offset %lld, size %lld) is not inside its %llu bytes; "
                 "nothing was taken",
                 (unsigned long long)i, (long long)offset, (long long)size,
                 (unsigned long long)bytes);
    return -1;
}

static int allocate(jbuf_cut_t *cut, uint64_t count)
{
    if (count > PY_SSIZE_T_MAX / (2 * sizeof(rtp_jbuf_event_t)) - UINT32_MAX) {
        PyErr_NoMemory();
        return -1;
    }
    cut->count = (size_t)count;
    cut->in = PyMem_Malloc((count + 1) * sizeof *cut->in);
    if (cut->in == NULL)
        PyErr_NoMemory();
    return cut->in ? 0 : -1;
}

static void put(jbuf_cut_t *cut, uint64_t i, const void *data, uint64_t size)
{
    /* More than 4 GiB is no datagram, nor is one of 0 bytes. Both give the same error. */
    cut->in[i] = (rtp_jbuf_in_t){.data = data, .size = size > UINT32_MAX ? 0 : (uint32_t)size};
}

/* Datagram i at i * stride; sizes[i] of it, or all. */
static int cut_by_stride(jbuf_cut_t *cut, const arrays_t *a, Py_ssize_t stride)
{
    const char *base = cut->data.buf;
    uint64_t bytes = (uint64_t)cut->data.len;
    uint64_t step = (uint64_t)stride;
    if (stride < 1 || bytes % step != 0) {
        PyErr_Format(PyExc_ValueError,
                     "buffer length %llu is not a multiple of the stride or size %zd",
                     (unsigned long long)bytes, stride);
        return -1;
    }
    uint64_t count = bytes / step;
    if (check_size_count(a, count) < 0 || allocate(cut, count) < 0)
        return -1;
    for (uint64_t i = 0; i < count; i++) {
        int64_t size = a->sizes.width ? int_at(&a->sizes, i) : (int64_t)step;
        if (size < 0 || (uint64_t)size > step)
            return refuse_place(i, 0, size, step);
        put(cut, i, base + i * step, (uint64_t)size);
    }
    return 0;
}

/* Datagram i at offsets[i], or directly after the one before it. */
static int cut_by_sizes(jbuf_cut_t *cut, const arrays_t *a)
{
    const char *base = cut->data.buf;
    uint64_t bytes = (uint64_t)cut->data.len;
    uint64_t end = 0;
    uint64_t count = a->offsets.width ? a->offset_count : a->size_count;
    if (check_size_count(a, count) < 0 || allocate(cut, count) < 0)
        return -1;
    for (uint64_t i = 0; i < cut->count; i++) {
        int64_t size = int_at(&a->sizes, i);
        int64_t offset = a->offsets.width ? int_at(&a->offsets, i) : (int64_t)end;
        if (size < 0 || offset < 0 || (uint64_t)offset > bytes ||
            (uint64_t)size > bytes - (uint64_t)offset)
            return refuse_place(i, offset, size, bytes);
        put(cut, i, base + offset, (uint64_t)size);
        end = (uint64_t)offset + (uint64_t)size;
    }
    if (a->offsets.width || end == bytes)
        return 0;
    PyErr_Format(PyExc_ValueError, "sizes add up to %llu, the buffer has %llu bytes",
                 (unsigned long long)end, (unsigned long long)bytes);
    return -1;
}

static int as_stride(PyObject *value, Py_ssize_t *stride)
{
    *stride = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    return *stride == -1 && PyErr_Occurred() ? -1 : 0;
}

static int cut_buffer(jbuf_cut_t *cut, const arrays_t *a, PyObject *stride)
{
    Py_ssize_t step = 0;
    if (is_given(stride)) {
        if (as_stride(stride, &step) < 0 ||
            require(a->offsets.width == 0, "give stride=, or offsets= and sizes=, not both") < 0)
            return -1;
        return cut_by_stride(cut, a, step);
    }
    if (a->offsets.width)
        return require(a->sizes.width != 0, "offsets= needs sizes=") < 0 ? -1
                                                                         : cut_by_sizes(cut, a);
    if (cut->data.ndim == 2)
        return cut_by_stride(cut, a, cut->data.shape[1] * cut->data.itemsize);
    if (a->is_one_size)
        return cut_by_stride(cut, a, (Py_ssize_t)int_at(&a->sizes, 0));
    return require(a->sizes.width != 0,
                   "a buffer must be split into datagrams: give sizes=, offsets= and sizes=, "
                   "stride=, or an array with one row per datagram") < 0
               ? -1
               : cut_by_sizes(cut, a);
}

/* --- a sequence of datagrams ---------------------------------------------------------------- */

/* A tuple of bytes. */
static PyObject *as_datagrams(PyObject *sequence)
{
    PyObject *given = PySequence_Tuple(sequence);
    Py_ssize_t count = given ? PyTuple_Size(given) : 0;
    PyObject *items = given ? PyTuple_New(count) : NULL;
    for (Py_ssize_t i = 0; items && i < count; i++) {
        PyObject *datagram = jbuf_as_datagram(PyTuple_GetItem(given, i));
        if (datagram == NULL)
            Py_CLEAR(items);
        else
            PyTuple_SetItem(items, i, datagram);
    }
    Py_XDECREF(given);
    return items;
}

static int cut_sequence(jbuf_cut_t *cut, PyObject *sequence)
{
    cut->items = as_datagrams(sequence);
    if (cut->items == NULL || allocate(cut, (uint64_t)PyTuple_Size(cut->items)) < 0)
        return -1;
    for (size_t i = 0; i < cut->count; i++) {
        PyObject *datagram = PyTuple_GetItem(cut->items, (Py_ssize_t)i);
        put(cut, i, PyBytes_AsString(datagram), (uint64_t)PyBytes_Size(datagram));
    }
    return 0;
}

/* -------------------------------------------------------------------------------------------- */

int jbuf_cut_open(jbuf_cut_t *cut, PyObject *data, PyObject *sizes, PyObject *offsets,
                  PyObject *stride)
{
    *cut = (jbuf_cut_t){0};
    if (!PyObject_CheckBuffer(data)) {
        bool is_plain = !is_given(sizes) && !is_given(offsets) && !is_given(stride);
        return require(is_plain, "sizes, offsets and stride go with one buffer, not with a "
                                 "sequence of datagrams") < 0
                   ? -1
                   : cut_sequence(cut, data);
    }
    arrays_t arrays = {0};
    int rc = PyObject_GetBuffer(data, &cut->data, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS);
    if (rc == 0)
        rc = arrays_open(&arrays, sizes, offsets);
    if (rc == 0)
        rc = cut_buffer(cut, &arrays, stride);
    arrays_close(&arrays);
    return rc;
}

void jbuf_cut_close(jbuf_cut_t *cut)
{
    PyMem_Free(cut->in);
    if (cut->data.obj)
        PyBuffer_Release(&cut->data);
    Py_XDECREF(cut->items);
}
