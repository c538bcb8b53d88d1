/* headers.c: the header fields of many packets as rows of one table, for headers.py.
 *
 * A row is laid out here and described in headers.py (HEADER_STRUCT, and the NumPy type made from
 * it). */
#include "python/rtpsynth/core.h"

#include "proto/rtp/rtp_packet.h"
#include "python/int_view.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct header_row {
    uint32_t ts;
    uint32_t ssrc;
    uint32_t data_offset;
    uint32_t data_size;
    uint16_t seq;
    uint8_t version;
    uint8_t padding;
    uint8_t extension;
    uint8_t cc;
    uint8_t marker;
    uint8_t payload_type;
    int8_t error; /* rtp_parse_t */
    uint8_t unused[3];
} header_row_t;

_Static_assert(sizeof(header_row_t) == 28, "HEADER_STRUCT of headers.py");

/* --- the table ------------------------------------------------------------------------------ */

typedef struct parse_call {
    Py_buffer data;
    Py_buffer offsets_view, sizes_view;
    int_array_t offsets; /* where each packet begins; width 0: at i * stride */
    int_array_t sizes;   /* bytes of each; width 0: size */
    Py_ssize_t stride;
    Py_ssize_t size;
    Py_ssize_t count;
} parse_call_t;

static void release(Py_buffer *view)
{
    if (view->obj)
        PyBuffer_Release(view);
}

static void parse_call_clear(parse_call_t *c)
{
    release(&c->data);
    release(&c->offsets_view);
    release(&c->sizes_view);
}

static int take_ints(PyObject *source, const char *what, Py_buffer *view, int_array_t *out,
                     Py_ssize_t *count)
{
    if (source == Py_None)
        return 0;
    if (int_array_view(source, what, view, out) < 0)
        return -1;
    if (*count >= 0 && view->shape[0] != *count) {
        PyErr_Format(PyExc_ValueError, "there are %zd %s, and %zd packets", view->shape[0], what,
                     *count);
        return -1;
    }
    *count = view->shape[0];
    return 0;
}

static void fill_row(header_row_t *row, const uint8_t *data, size_t size)
{
    rtp_view_t view;
    memset(row, 0, sizeof *row);
    row->error = (int8_t)rtp_packet_parse(data, size, &view);
    if (row->error == RTP_PARSE_TOO_SHORT)
        return;
    row->version = data[0] >> 6;
    row->padding = data[0] >> 5 & 1;
    row->extension = data[0] >> 4 & 1;
    row->cc = data[0] & 0x0f;
    row->marker = data[1] >> 7;
    row->payload_type = data[1] & 0x7f;
    row->seq = rt_get16(data + 2);
    row->ts = rt_get32(data + 4);
    row->ssrc = rt_get32(data + 8);
    if (row->error == RTP_PARSE_OK) {
        row->data_offset = view.payload_offset;
        row->data_size = view.payload_bytes;
    }
}

static int fill_rows(const parse_call_t *c, header_row_t *rows)
{
    int64_t limit = c->data.len;
    int64_t at = 0;
    for (Py_ssize_t i = 0; i < c->count; i++, at += c->stride) {
        int64_t offset = c->offsets.width ? int_at(&c->offsets, (uint64_t)i) : at;
        int64_t size = c->sizes.width ? int_at(&c->sizes, (uint64_t)i) : c->size;
        if (offset < 0 || size < 0 || offset > limit || size > limit - offset) {
            PyErr_Format(PyExc_ValueError,
                         "packet %zd: %lld bytes at %lld are not within the %lld bytes of the "
                         "buffer",
                         i, (long long)size, (long long)offset, (long long)limit);
            return -1;
        }
        fill_row(&rows[i], (const uint8_t *)c->data.buf + offset, (size_t)size);
    }
    return 0;
}

static PyObject *make_rows(const parse_call_t *c)
{
    Py_ssize_t bytes;
    if (__builtin_mul_overflow(c->count, (Py_ssize_t)sizeof(header_row_t), &bytes))
        return PyErr_NoMemory();
    PyObject *rows = PyByteArray_FromStringAndSize(NULL, bytes);
    if (rows && fill_rows(c, (header_row_t *)(void *)PyByteArray_AsString(rows)) < 0)
        Py_CLEAR(rows);
    return rows;
}

/* parse(buffer, offsets or None, sizes or None, stride, size, count): count is -1 if the arrays
 * give it. */
static PyObject *parse(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *buffer, *offsets, *sizes;
    parse_call_t c = {0};
    if (!PyArg_ParseTuple(args, "OOOnnn:parse_headers", &buffer, &offsets, &sizes, &c.stride,
                          &c.size, &c.count))
        return NULL;
    PyObject *rows = NULL;
    if (PyObject_GetBuffer(buffer, &c.data, PyBUF_SIMPLE) == 0 &&
        take_ints(offsets, "offsets", &c.offsets_view, &c.offsets, &c.count) == 0 &&
        take_ints(sizes, "sizes", &c.sizes_view, &c.sizes, &c.count) == 0)
        rows = make_rows(&c);
    parse_call_clear(&c);
    return rows;
}

static PyMethodDef functions[] = {
    {"parse_headers", parse, METH_VARARGS,
     "parse_headers($module, buffer, offsets, sizes, stride, size, count, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

int add_headers(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
