#include "python/rtpsynth/jbuf.h"

#include "python/int_view.h"

#include <string.h>

/* Integers for each datagram of a buffer, while it is split. */
typedef struct ints {
    Py_buffer view;
    PyObject *packed;  /* made from a sequence */
    int_array_t array; /* width 0: not given */
    uint64_t count;
    bool is_one; /* one number for all datagrams */
} ints_t;

typedef struct arrays {
    ints_t sizes, offsets;
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

static int ints_open(ints_t *ints, PyObject *value, const char *what)
{
    if (!PyObject_CheckBuffer(value)) {
        ints->packed = pack_ints(value);
        if (ints->packed == NULL)
            return -1;
        value = ints->packed;
    }
    if (int_array_view(value, what, &ints->view, &ints->array) < 0)
        return -1;
    ints->count = (uint64_t)ints->view.shape[0];
    return 0;
}

static void ints_close(ints_t *ints)
{
    if (ints->view.obj)
        PyBuffer_Release(&ints->view);
    Py_XDECREF(ints->packed);
}

static int open_sizes(ints_t *sizes, PyObject *value)
{
    if (!PyLong_Check(value))
        return ints_open(sizes, value, "sizes");
    PyObject *alone = PyTuple_Pack(1, value);
    int rc = alone ? ints_open(sizes, alone, "sizes") : -1;
    Py_XDECREF(alone);
    sizes->array.stride = 0;
    sizes->is_one = true;
    return rc;
}

static int arrays_open(arrays_t *a, PyObject *sizes, PyObject *offsets)
{
    if (is_given(sizes) && open_sizes(&a->sizes, sizes) < 0)
        return -1;
    return is_given(offsets) ? ints_open(&a->offsets, offsets, "offsets") : 0;
}

static void arrays_close(arrays_t *a)
{
    ints_close(&a->sizes);
    ints_close(&a->offsets);
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
    if (a->sizes.array.width == 0 || a->sizes.is_one || a->sizes.count == wanted)
        return 0;
    PyErr_Format(PyExc_ValueError, "sizes has %llu entries for %llu datagrams",
                 (unsigned long long)a->sizes.count, (unsigned long long)wanted);
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

static int allocate(jbuf_split_t *split, uint64_t count)
{
    if (count > PY_SSIZE_T_MAX / (2 * sizeof(rtp_jbuf_event_t)) - UINT32_MAX) {
        PyErr_NoMemory();
        return -1;
    }
    split->count = (size_t)count;
    split->in = PyMem_Malloc((count + 1) * sizeof *split->in);
    if (split->in == NULL)
        PyErr_NoMemory();
    return split->in ? 0 : -1;
}

static void put(jbuf_split_t *split, uint64_t i, const void *data, uint64_t size)
{
    /* More than 4 GiB is no datagram, nor is one of 0 bytes. Both give the same error. */
    split->in[i] = (rtp_jbuf_in_t){.data = data, .size = size > UINT32_MAX ? 0 : (uint32_t)size};
}

/* Datagram i at i * stride; sizes[i] of it, or all. */
static int split_by_stride(jbuf_split_t *split, const arrays_t *a, Py_ssize_t stride)
{
    const char *base = split->data.buf;
    uint64_t bytes = (uint64_t)split->data.len;
    uint64_t step = (uint64_t)stride;
    if (stride < 1 || bytes % step != 0) {
        PyErr_Format(PyExc_ValueError,
                     "buffer length %llu is not a multiple of the stride or size %zd",
                     (unsigned long long)bytes, stride);
        return -1;
    }
    uint64_t count = bytes / step;
    if (check_size_count(a, count) < 0 || allocate(split, count) < 0)
        return -1;
    for (uint64_t i = 0; i < count; i++) {
        int64_t size = a->sizes.array.width ? int_at(&a->sizes.array, i) : (int64_t)step;
        if (size < 0 || (uint64_t)size > step)
            return refuse_place(i, 0, size, step);
        put(split, i, base + i * step, (uint64_t)size);
    }
    return 0;
}

/* Datagram i at offsets[i], or directly after the one before it. */
static int split_by_sizes(jbuf_split_t *split, const arrays_t *a)
{
    const char *base = split->data.buf;
    uint64_t bytes = (uint64_t)split->data.len;
    uint64_t end = 0;
    uint64_t count = a->offsets.array.width ? a->offsets.count : a->sizes.count;
    if (check_size_count(a, count) < 0 || allocate(split, count) < 0)
        return -1;
    for (uint64_t i = 0; i < split->count; i++) {
        int64_t size = int_at(&a->sizes.array, i);
        int64_t offset = a->offsets.array.width ? int_at(&a->offsets.array, i) : (int64_t)end;
        if (size < 0 || offset < 0 || (uint64_t)offset > bytes ||
            (uint64_t)size > bytes - (uint64_t)offset)
            return refuse_place(i, offset, size, bytes);
        put(split, i, base + offset, (uint64_t)size);
        end = (uint64_t)offset + (uint64_t)size;
    }
    if (a->offsets.array.width || end == bytes)
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

static int split_buffer(jbuf_split_t *split, const arrays_t *a, PyObject *stride)
{
    Py_ssize_t step = 0;
    if (is_given(stride)) {
        if (as_stride(stride, &step) < 0 ||
            require(a->offsets.array.width == 0, "give stride=, or offsets= and sizes=, not both") <
                0)
            return -1;
        return split_by_stride(split, a, step);
    }
    if (a->offsets.array.width)
        return require(a->sizes.array.width != 0, "offsets= needs sizes=") < 0
                   ? -1
                   : split_by_sizes(split, a);
    if (split->data.ndim == 2)
        return split_by_stride(split, a, split->data.shape[1] * split->data.itemsize);
    if (a->sizes.is_one)
        return split_by_stride(split, a, (Py_ssize_t)int_at(&a->sizes.array, 0));
    return require(a->sizes.array.width != 0,
                   "a buffer must be split into datagrams: give sizes=, offsets= and sizes=, "
                   "stride=, or an array with one row per datagram") < 0
               ? -1
               : split_by_sizes(split, a);
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

static int split_sequence(jbuf_split_t *split, PyObject *sequence)
{
    split->items = as_datagrams(sequence);
    if (split->items == NULL || allocate(split, (uint64_t)PyTuple_Size(split->items)) < 0)
        return -1;
    for (size_t i = 0; i < split->count; i++) {
        PyObject *datagram = PyTuple_GetItem(split->items, (Py_ssize_t)i);
        put(split, i, PyBytes_AsString(datagram), (uint64_t)PyBytes_Size(datagram));
    }
    return 0;
}

/* -------------------------------------------------------------------------------------------- */

int jbuf_split_open(jbuf_split_t *split, PyObject *data, PyObject *sizes, PyObject *offsets,
                    PyObject *stride)
{
    *split = (jbuf_split_t){0};
    if (!PyObject_CheckBuffer(data)) {
        bool is_plain = !is_given(sizes) && !is_given(offsets) && !is_given(stride);
        return require(is_plain, "sizes, offsets and stride go with one buffer, not with a "
                                 "sequence of datagrams") < 0
                   ? -1
                   : split_sequence(split, data);
    }
    arrays_t arrays = {0};
    int rc = PyObject_GetBuffer(data, &split->data, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS);
    if (rc == 0)
        rc = arrays_open(&arrays, sizes, offsets);
    if (rc == 0)
        rc = split_buffer(split, &arrays, stride);
    arrays_close(&arrays);
    return rc;
}

void jbuf_split_close(jbuf_split_t *split)
{
    PyMem_Free(split->in);
    if (split->data.obj)
        PyBuffer_Release(&split->data);
    Py_XDECREF(split->items);
}
