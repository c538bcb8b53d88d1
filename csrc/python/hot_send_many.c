#include "python/hot.h"
#include "proto/pacing/due_lane.h"
#include "python/int_view.h"

/* Plans hand out destinations, which go into the send ring as they are. */
_Static_assert(sizeof(due_address_t) == sizeof(shm_addr_t), "the same bytes");

/* Everything of one send_many call. */
typedef struct send_call {
    send_batch_t batch;
    own_ends_t own;
    int64_t until_mono_ns;
    bool at_once;    /* end where there is no room */
    PyObject *items; /* tuple of packets; NULL: one buffer */
    Py_buffer data, sizes, offsets, dues, sequences, dests, sources;
    PyObject *due_array; /* made from a sequence of ints */
    PyObject *size_array;
} send_call_t;

static void send_call_clear(send_call_t *c)
{
    Py_buffer *views[] = {&c->data,      &c->sizes, &c->offsets, &c->dues,
                          &c->sequences, &c->dests, &c->sources};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        payload_release(views[i]);
    Py_XDECREF(c->items);
    Py_XDECREF(c->due_array);
    Py_XDECREF(c->size_array);
}

/* Turns a sequence of ints into an array in a bytes object. */
static PyObject *pack_ints(PyObject *sequence, const char *what, const char *meaning)
{
    PyObject *items = PySequence_Tuple(sequence);
    if (items == NULL)
        return NULL;
    Py_ssize_t n = PyTuple_Size(items);
    PyObject *packed = PyBytes_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(int64_t));
    for (Py_ssize_t i = 0; packed && i < n; i++) {
        int64_t v = 0;
        if (as_int(PyTuple_GetItem(items, i), what, meaning, &v) < 0) {
            if (PyErr_ExceptionMatches(PyExc_OverflowError))
                PyErr_Format(PyExc_ValueError, "%s: entry %zd, %S, needs more than 64 bits", what,
                             i, PyTuple_GetItem(items, i));
            Py_CLEAR(packed);
            break;
        }
        memcpy(PyBytes_AsString(packed) + i * (Py_ssize_t)sizeof v, &v, sizeof v);
    }
    Py_DECREF(items);
    return packed;
}

/* Either an array or a sequence of ints. *count gets how many there are. */
static int as_ints(PyObject *value, const char *what, const char *meaning, Py_buffer *view,
                   PyObject **packed, int_array_t *out, uint64_t *count)
{
    if (PyObject_CheckBuffer(value)) {
        if (int_array_view(value, what, view, out) < 0)
            return -1;
        *count = (uint64_t)view->shape[0];
        return 0;
    }
    *packed = pack_ints(value, what, meaning);
    if (*packed == NULL)
        return -1;
    *out = (int_array_t){PyBytes_AsString(*packed), sizeof(int64_t), sizeof(int64_t), 1};
    *count = (uint64_t)PyBytes_Size(*packed) / sizeof(int64_t);
    return 0;
}

static int check_count(const char *what, uint64_t count, uint64_t wanted)
{
    if (count == wanted)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s has %llu entries for %llu packets", what,
                 (unsigned long long)count, (unsigned long long)wanted);
    return -1;
}

static int batch_by_size(send_call_t *c, int64_t size)
{
    send_batch_t *b = &c->batch;
    if (size < 1 || b->data_bytes % (uint64_t)size != 0) {
        PyErr_Format(PyExc_ValueError,
                     "buffer length %llu is not a multiple of size=%lld (at least 1)",
                     (unsigned long long)b->data_bytes, (long long)size);
        return -1;
    }
    b->size = size;
    b->count = b->data_bytes / (uint64_t)size;
    return 0;
}

/* A matrix: one packet per row, all of the row or its first bytes. */
static int batch_by_rows(send_call_t *c, PyObject *size, PyObject *sizes)
{
    send_batch_t *b = &c->batch;
    int64_t row_bytes = c->data.shape[1] * c->data.itemsize;
    uint64_t rows = (uint64_t)c->data.shape[0];
    b->size = row_bytes;
    /* ctypes leaves out the strides, although they are asked for. */
    b->row_stride = (uint64_t)(c->data.strides ? c->data.strides[0] : row_bytes);
    b->count = rows;
    if (is_given(size) && as_count(size, "size", 0, row_bytes, &b->size) < 0)
        return -1;
    if (!is_given(sizes))
        return 0;
    if (as_ints(sizes, "sizes", MEANS_BYTES, &c->sizes, &c->size_array, &b->sizes, &b->count) < 0 ||
        check_count("sizes", b->count, rows) < 0)
        return -1;
    for (uint64_t i = 0; i < rows; i++)
        if (int_at(&b->sizes, i) < 0 || int_at(&b->sizes, i) > row_bytes) {
            PyErr_Format(PyExc_ValueError, "sizes: entry %llu is %lld, a row has %lld bytes",
                         (unsigned long long)i, (long long)int_at(&b->sizes, i),
                         (long long)row_bytes);
            return -1;
        }
    return 0;
}

/* sizes= as an array; without offsets= they must add up to the buffer. */
static int batch_by_sizes(send_call_t *c, PyObject *sizes, int has_offsets)
{
    send_batch_t *b = &c->batch;
    if (as_ints(sizes, "sizes", MEANS_BYTES, &c->sizes, &c->size_array, &b->sizes, &b->count) < 0)
        return -1;
    uint64_t total = 0; /* a sum that wrapped around is found packet by packet */
    for (uint64_t i = 0; !has_offsets && i < b->count; i++)
        total += (uint64_t)int_at(&b->sizes, i);
    if (has_offsets || total == b->data_bytes)
        return 0;
    PyErr_Format(PyExc_ValueError, "sizes add up to %lld, the buffer has %llu bytes",
                 (long long)total, (unsigned long long)b->data_bytes);
    return -1;
}

/* Splits the buffer into packets. */
static int batch_cut(send_call_t *c, PyObject *size, PyObject *sizes, PyObject *offsets)
{
    send_batch_t *b = &c->batch;
    if (is_given(offsets)) {
        uint64_t count = 0;
        if (int_array_view(offsets, "offsets", &c->offsets, &b->offsets) < 0)
            return -1;
        count = (uint64_t)c->offsets.shape[0];
        if (is_given(sizes))
            return batch_by_sizes(c, sizes, 1) < 0 ? -1 : check_count("offsets", count, b->count);
        b->count = count;
        if (is_given(size))
            return as_size(size, &b->size);
    } else if (c->data.ndim == 2) {
        return batch_by_rows(c, size, sizes);
    } else if (is_given(sizes)) {
        return batch_by_sizes(c, sizes, 0);
    } else if (is_given(size)) {
        int64_t bytes = 0;
        return as_size(size, &bytes) < 0 ? -1 : batch_by_size(c, bytes);
    }
    PyErr_SetString(
        PyExc_TypeError,
        "a buffer must be split into packets: give size=, sizes=, offsets= and sizes=, or "
        "an array with one row per packet");
    return -1;
}

static PyObject *items_of(PyObject *packets)
{
    PyObject *iterator = PyUnicode_Check(packets) ? NULL : PyObject_GetIter(packets);
    if (iterator == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "packets must be an iterable of bytes-like objects, or one buffer, not %R",
                     packets);
        return NULL;
    }
    PyObject *items = PySequence_Tuple(iterator);
    Py_DECREF(iterator);
    return items;
}

/* The memory of the packets. It has no gaps, except between the rows of a matrix. */
static int batch_memory(send_call_t *c, int has_offsets)
{
    const Py_buffer *v = &c->data;
    c->batch.data = v->buf;
    c->batch.data_bytes = (uint64_t)v->len;
    if (PyBuffer_IsContiguous(v, 'C'))
        return 0;
    if (v->ndim != 2 || has_offsets || v->strides[1] != v->itemsize ||
        v->strides[0] < v->shape[1] * v->itemsize) {
        PyErr_SetString(PyExc_BufferError, "packets must be a C-contiguous buffer, or a matrix "
                                           "whose rows are contiguous and in ascending order");
        return -1;
    }
    c->batch.data_bytes = (uint64_t)((v->shape[0] - 1) * v->strides[0] + v->shape[1] * v->itemsize);
    return 0;
}

static int batch_packets(send_call_t *c, PyObject *const *values)
{
    PyObject *packets = values[0];
    if (!PyObject_CheckBuffer(packets)) {
        if (is_given(values[1]) || is_given(values[2]) || is_given(values[3])) {
            PyErr_SetString(PyExc_TypeError, "size, sizes and offsets go with one buffer, not with "
                                             "a sequence of packets");
            return -1;
        }
        c->items = items_of(packets);
        if (c->items == NULL)
            return -1;
        c->batch.count = (uint64_t)PyTuple_Size(c->items);
        return 0;
    }
    int has_offsets = is_given(values[3]);
    if (PyObject_GetBuffer(packets, &c->data, PyBUF_FORMAT | PyBUF_STRIDES) < 0 ||
        batch_memory(c, has_offsets) < 0)
        return -1;
    return batch_cut(c, values[1], values[2], values[3]);
}

/* interval_ns= or spread_ns=. *what gets the name of the one that is given, NULL: neither. */
static int batch_span(send_call_t *c, PyObject *interval, PyObject *spread, const char **what)
{
    send_batch_t *b = &c->batch;
    *what = is_given(interval) ? "interval_ns" : is_given(spread) ? "spread_ns" : NULL;
    if (is_given(interval) && is_given(spread)) {
        PyErr_SetString(PyExc_TypeError, "interval_ns and spread_ns are both given: leave out one");
        return -1;
    }
    b->span_packets = is_given(spread) ? b->count : 1;
    return *what ? as_time_ns(is_given(spread) ? spread : interval, *what, &b->span_ns) : 0;
}

static int batch_times(send_call_t *c, PyObject *at, PyObject *interval, PyObject *spread)
{
    send_batch_t *b = &c->batch;
    const char *span = NULL;
    if (batch_span(c, interval, spread, &span) < 0)
        return -1;
    if (is_given(at) && PySequence_Check(at)) {
        uint64_t count = 0;
        if (as_ints(at, "at", MEANS_NS, &c->dues, &c->due_array, &b->dues, &count) < 0)
            return -1;
        if (span != NULL) {
            PyErr_Format(PyExc_TypeError, "%s goes with at=start, not with an array", span);
            return -1;
        }
        return check_count("at", count, b->count);
    }
    if (is_given(at))
        return as_time_ns(at, "at", &b->due_ns);
    if (span == NULL)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s needs at=, the time of the first packet", span);
    return -1;
}

static int batch_sequences(send_call_t *c, PyObject *sequences)
{
    if (!is_given(sequences))
        return 0;
    if (as_writable(sequences, "sequences", &c->sequences) < 0)
        return -1;
    c->batch.sequences = c->sequences.buf;
    if ((uint64_t)c->sequences.len >= c->batch.count * sizeof(uint64_t))
        return 0;
    PyErr_Format(PyExc_ValueError, "sequences has %zd bytes: %llu packets need 8 each",
                 c->sequences.len, (unsigned long long)c->batch.count);
    return -1;
}

/* A buffer with an address for each packet. */
static int batch_addresses(const send_call_t *c, const char *what, PyObject *given, Py_buffer *view,
                           const uint8_t **out)
{
    if (c->items) {
        PyErr_Format(PyExc_TypeError,
                     "%s= as a buffer of addresses goes with packets in one buffer, not with a "
                     "sequence of packets",
                     what);
        return -1;
    }
    if (PyObject_GetBuffer(given, view, PyBUF_SIMPLE) < 0)
        return -1;
    *out = view->buf;
    if ((uint64_t)view->len / sizeof(shm_addr_t) >= c->batch.count)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s has %zd bytes: %llu packets need %zu each", what, view->len,
                 (unsigned long long)c->batch.count, sizeof(shm_addr_t));
    return -1;
}

/* One address for all packets, or a buffer with one for each. */
static int batch_route(core_t *self, send_call_t *c, PyObject *to, PyObject *source)
{
    send_batch_t *b = &c->batch;
    int rc = is_given(to) && PyObject_CheckBuffer(to)
                 ? batch_addresses(c, "to", to, &c->dests, &b->dests)
                 : as_destination(self, to, &c->own, &b->route);
    if (rc < 0)
        return -1;
    return is_given(source) && PyObject_CheckBuffer(source)
               ? batch_addresses(c, "source", source, &c->sources, &b->sources)
               : as_source(self, source, &c->own, &b->route);
}

/* Queues the items of a tuple as far as there is room. Returns as end_send; -1 with an exception
 * set is -EFAULT. */
static int send_items(core_t *self, send_call_t *c)
{
    send_batch_t *b = &c->batch;
    int rc = 0;
    while (rc == 0 && b->done < b->count) {
        Py_buffer view;
        const void *payload;
        size_t bytes;
        uint64_t sequence;
        int64_t due_ns = send_batch_due_ns(b, b->done);
        if (due_ns < 0)
            return -ERANGE;
        if (as_payload(PyTuple_GetItem(c->items, (Py_ssize_t)b->done), &view, &payload, &bytes) < 0)
            return -EFAULT;
        endpoint_t *end = core_end(self); /* a buffer's own code may have closed the channel */
        rc = end ? endpoint_send(end, payload, bytes, due_ns, &b->route, &sequence) : -EFAULT;
        payload_release(&view);
        if (rc == 0)
            send_batch_advance(b, sequence);
    }
    return rc;
}

static int refuse_cut(const send_batch_t *b)
{
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError,
                     "packet %llu is not inside the buffer of %llu bytes (%llu were queued "
                     "before it)",
                     (unsigned long long)b->done, (unsigned long long)b->data_bytes,
                     (unsigned long long)b->done);
    return -1;
}

static int refuse_address(const send_batch_t *b)
{
    PyErr_Format(PyExc_ValueError,
                 "to: the address of packet %llu is not of the channel's family, or has port 0 "
                 "(%llu were queued before it)",
                 (unsigned long long)b->done, (unsigned long long)b->done);
    return -1;
}

static int refuse_source(const send_batch_t *b)
{
    PyErr_Format(PyExc_ValueError, "%s (packet %llu; %llu were queued before it)", rt_err_text(),
                 (unsigned long long)b->done, (unsigned long long)b->done);
    return -1;
}

static int send_call_run(core_t *self, send_call_t *c)
{
    send_batch_t *b = &c->batch;
    while (b->done < b->count) {
        endpoint_t *end = core_end(self);
        if (end == NULL)
            return -1;
        int rc = c->items ? send_items(self, c) : endpoint_send_batch(end, b);
        if (rc == -EFAULT)
            return refuse_cut(b);
        if (rc == -EAFNOSUPPORT)
            return refuse_address(b);
        if (rc == -EADDRNOTAVAIL)
            return refuse_source(b);
        if (rc == -ENOBUFS && c->at_once)
            return 0;
        if (rc < 0 && after_failed_send(self, rc, c->until_mono_ns, b->done, b->first_sequence) < 0)
            return -1;
    }
    return 0;
}

/* values: packets, size, sizes, offsets, at, interval_ns, spread_ns, to, source, sequences,
 * timeout. */
static int send_call_init(core_t *self, send_call_t *c, PyObject *const *values)
{
    if (batch_packets(c, values) < 0 || batch_times(c, values[4], values[5], values[6]) < 0 ||
        batch_sequences(c, values[9]) < 0 || batch_route(self, c, values[7], values[8]) < 0 ||
        (values[10] && as_deadline(values[10], &c->until_mono_ns) < 0))
        return -1;
    if (c->batch.count == 0)
        PyErr_SetString(PyExc_ValueError, "there are no packets to send");
    return c->batch.count == 0 ? -1 : 0;
}

signature_t send_many_signature = {"O|$OOOOOOOOOO:send_many",
                                   1,
                                   1,
                                   {"packets", "size", "sizes", "offsets", "at", "interval_ns",
                                    "spread_ns", "to", "source", "sequences", "timeout", NULL},
                                   {NULL}};

PyObject *core_send_many(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    if (signature_bind(&send_many_signature, args, nargs, kwnames, values) < 0)
        return NULL;
    send_call_t c = {.until_mono_ns = RT_NEVER_NS};
    PyObject *result = NULL;
    if (send_call_init(self, &c, values) == 0 && send_call_run(self, &c) == 0)
        result = PyLong_FromUnsignedLongLong(c.batch.first_sequence);
    send_call_clear(&c);
    return result;
}

signature_t batch_signature = {"O|$OOOOOOOOO:batch",
                               1,
                               1,
                               {"packets", "size", "sizes", "offsets", "at", "interval_ns",
                                "spread_ns", "to", "source", "sequences", NULL},
                               {NULL}};

/* --- for event loops ------------------------------------------------------------------------ */

/* A batch that goes on when there is room again. It keeps the buffers until it is released. */
#define BATCH_NAME "shmring._hot.batch"

static void batch_release(PyObject *capsule)
{
    send_call_t *c = PyCapsule_GetPointer(capsule, BATCH_NAME);
    send_call_clear(c);
    PyMem_Free(c);
}

static PyObject *batch_make(core_t *self, PyObject *const *values)
{
    send_call_t *c = PyMem_Calloc(1, sizeof *c);
    if (c == NULL)
        return PyErr_NoMemory();
    c->at_once = true;
    PyObject *capsule =
        send_call_init(self, c, values) < 0 ? NULL : PyCapsule_New(c, BATCH_NAME, batch_release);
    if (capsule == NULL) {
        send_call_clear(c);
        PyMem_Free(c);
    }
    return capsule;
}

PyObject *core_batch(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS] = {NULL};
    if (signature_bind(&batch_signature, args, nargs, kwnames, values) < 0)
        return NULL;
    return batch_make(self, values);
}

PyObject *core_queue(core_t *self, PyObject *batch)
{
    send_call_t *c = PyCapsule_GetPointer(batch, BATCH_NAME);
    if (c == NULL || send_call_run(self, c) < 0)
        return NULL;
    return PyBool_FromLong(c->batch.done == c->batch.count);
}

PyObject *core_queued(core_t *self, PyObject *batch)
{
    (void)self;
    const send_call_t *c = PyCapsule_GetPointer(batch, BATCH_NAME);
    if (c == NULL)
        return NULL;
    return Py_BuildValue("KK", (unsigned long long)c->batch.done,
                         (unsigned long long)c->batch.first_sequence);
}
