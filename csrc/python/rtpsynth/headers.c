/* headers.c: the header fields of many packets as rows of one table, for headers.py.
 *
 * A row is laid out here and described in headers.py (HEADER_STRUCT, and the NumPy type made from
 * it). */
#include "python/rtpsynth/core.h"

#include "proto/rtp/rtp_packet.h"

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

/* --- arrays of integers, of any width ------------------------------------------------------- */

typedef struct ints {
    Py_buffer view; /* obj NULL: there is no array */
    bool is_signed;
} ints_t;

static void ints_clear(ints_t *a)
{
    if (a->view.obj)
        PyBuffer_Release(&a->view);
}

static int ints_take(ints_t *a, PyObject *source, const char *what, Py_ssize_t *count)
{
    if (source == Py_None)
        return 0;
    if (PyObject_GetBuffer(source, &a->view, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return -1;
    const char *format = a->view.format ? a->view.format : "B";
    const char *code = *format == '@' || *format == '=' || *format == '<' ? format + 1 : format;
    if (*code == '\0' || code[1] != '\0' || !strchr("bhilqnBHILQN", *code) || a->view.ndim != 1) {
        PyErr_Format(PyExc_TypeError,
                     "%s is an array of format '%s' with %d dimensions: use integers in one", what,
                     format, a->view.ndim);
        return -1;
    }
    a->is_signed = *code >= 'a';
    if (*count >= 0 && a->view.shape[0] != *count) {
        PyErr_Format(PyExc_ValueError, "there are %zd %s, and %zd packets", a->view.shape[0], what,
                     *count);
        return -1;
    }
    *count = a->view.shape[0];
    return 0;
}

/* Item i. A value that cannot be an offset or size becomes -1. */
static int64_t ints_get(const ints_t *a, Py_ssize_t i)
{
    const char *at = (const char *)a->view.buf + i * a->view.strides[0];
    int64_t whole = 0;
    int32_t word;
    int16_t half;
    switch (a->view.itemsize) {
    case 8:
        memcpy(&whole, at, 8);
        return whole;
    case 4:
        memcpy(&word, at, 4);
        return a->is_signed ? word : (int64_t)(uint32_t)word;
    case 2:
        memcpy(&half, at, 2);
        return a->is_signed ? half : (int64_t)(uint16_t)half;
    default:
        return a->is_signed ? (int64_t)(int8_t)*at : (int64_t)(uint8_t)*at;
    }
}

/* --- the table ------------------------------------------------------------------------------ */

typedef struct parse_call {
    Py_buffer data;
    ints_t offsets; /* where each packet begins; none: at i * stride */
    ints_t sizes;   /* bytes of each; none: size */
    Py_ssize_t stride;
    Py_ssize_t size;
    Py_ssize_t count;
} parse_call_t;

static void parse_call_clear(parse_call_t *c)
{
    if (c->data.obj)
        PyBuffer_Release(&c->data);
    ints_clear(&c->offsets);
    ints_clear(&c->sizes);
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
    row->seq = rtp_get16(data + 2);
    row->ts = rtp_get32(data + 4);
    row->ssrc = rtp_get32(data + 8);
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
        int64_t offset = c->offsets.view.obj ? ints_get(&c->offsets, i) : at;
        int64_t size = c->sizes.view.obj ? ints_get(&c->sizes, i) : c->size;
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
        ints_take(&c.offsets, offsets, "offsets", &c.count) == 0 &&
        ints_take(&c.sizes, sizes, "sizes", &c.count) == 0)
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
