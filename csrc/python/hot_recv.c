#include "python/hot.h"

#define RECV_MANY_DEFAULT 1024
#define RECV_MANY_MOST (1 << 20)
#define RECV_MANY_BYTES (1u << 20) /* payload of one call, plus at most one longest packet */

/* Where a packet is wanted, and where it is. */
typedef struct place {
    uint8_t *to; /* of the caller */
    uint64_t bytes;
    int found; /* ENDPOINT_IN_* */
    bool stay; /* leave it in the ring */
} place_t;

static int attach_reader(core_t *self, int64_t until_mono_ns)
{
    PyObject *until = PyLong_FromLongLong(until_mono_ns);
    PyObject *none = until ? PyObject_CallMethodObjArgs((PyObject *)self, name_attach_now,
                                                        number_rx, until, NULL)
                           : NULL;
    Py_XDECREF(until);
    Py_XDECREF(none);
    return none ? 0 : -1;
}

/* Waits for a packet. Returns the end, or NULL with an exception set. If at_once is not NULL, "no
 * packet and no time left" sets it to 1 and raises nothing. */
static endpoint_t *wait_for_place(core_t *self, int64_t until_mono_ns, int *at_once, place_t *place)
{
    for (bool tried = false;; tried = true) {
        endpoint_t *end = core_end(self);
        if (end == NULL)
            return NULL;
        int rc = place->found = place->stay ? endpoint_poll_loan(end)
                                            : endpoint_poll_into(end, place->to, place->bytes);
        if (rc > 0)
            return end;
        if (rc == -ESTALE && !(tried && has_passed(until_mono_ns))) {
            if (attach_reader(self, until_mono_ns) < 0)
                return NULL;
            continue;
        }
        if (has_passed(until_mono_ns)) {
            if (rc != -ESTALE && end->reader_fd >= 0) {
                endpoint_rearm(end);
                if (core_call(self, name_settle, NULL) < 0 || (end = core_end(self)) == NULL)
                    return NULL;
                place->found = ENDPOINT_IN_SPARE;
                if (place->stay ? endpoint_waiting(end) > 0 : endpoint_peek(end))
                    return end;
            }
            if (at_once)
                *at_once = 1;
            else
                core_raise(self, name_raise_timeout, NULL, NULL, NULL);
            return NULL;
        }
        if (core_sleep(self, ENDPOINT_RX, until_mono_ns) < 0)
            return NULL;
    }
}

/* The same, for a packet in end->spare. */
endpoint_t *hot_wait_for_packet(core_t *self, int64_t until_mono_ns, int *at_once)
{
    place_t spare = {0};
    return wait_for_place(self, until_mono_ns, at_once, &spare);
}

endpoint_t *wait_for_loan(core_t *self, int64_t until_mono_ns)
{
    place_t ring = {.stay = true};
    return wait_for_place(self, until_mono_ns, NULL, &ring);
}

static PyObject *take_packet(endpoint_t *end)
{
    const rx_packet_t *p = &end->spare_packet;
    PyObject *data =
        PyBytes_FromStringAndSize((const char *)end->spare, (Py_ssize_t)p->payload_bytes);
    PyObject *packet = data ? packet_make(data, p, end->spare_lost_before) : NULL;
    if (packet)
        endpoint_taken(end);
    return packet;
}

signature_t recv_signature = {"|$O:recv", 0, 0, {"timeout", NULL}, {NULL}};

/* recv(1024) is a size to those who know sockets, and a time to others. */
static PyObject *refuse_positional(void)
{
    PyErr_SetString(PyExc_TypeError, "recv() takes no size, because a packet always comes whole, "
                                     "and its timeout only by name: recv(timeout=1.0)");
    return NULL;
}

PyObject *core_recv(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    int64_t until_mono_ns = RT_NEVER_NS;
    if (nargs > 0)
        return refuse_positional();
    if (signature_bind(&recv_signature, args, nargs, kwnames, values) < 0 ||
        (values[0] && as_deadline(values[0], &until_mono_ns) < 0))
        return NULL;
    endpoint_t *end = hot_wait_for_packet(self, until_mono_ns, NULL);
    return end ? take_packet(end) : NULL;
}

PyObject *core_try_recv(core_t *self, PyObject *unused)
{
    (void)unused;
    int none_there = 0;
    endpoint_t *end = hot_wait_for_packet(self, 0, &none_there);
    if (end)
        return take_packet(end);
    if (!none_there)
        return NULL;
    Py_INCREF(Py_None);
    return Py_None;
}

signature_t recv_into_signature = {"O|$O:recv_into", 1, 1, {"buffer", "timeout", NULL}, {NULL}};

/* A memoryview of the bytes of buffer. Fails for what memoryview.cast cannot read, such as records
 * of NumPy. */
static PyObject *bytes_of(PyObject *buffer)
{
    PyObject *whole = PyMemoryView_FromObject(buffer);
    PyObject *flat = whole ? PyObject_CallMethod(whole, "cast", "s", "B") : NULL;
    Py_XDECREF(whole);
    return flat;
}

/* A memoryview of the first bytes of buffer. */
static PyObject *view_of(PyObject *buffer, Py_ssize_t bytes)
{
    PyObject *flat = bytes_of(buffer);
    PyObject *part = flat ? PySequence_GetSlice(flat, 0, bytes) : NULL;
    Py_XDECREF(flat);
    return part;
}

static int refuse_buffer(core_t *self, const endpoint_t *end, Py_ssize_t bytes)
{
    rt_err_set(
        -EMSGSIZE,
        "the next packet has %u bytes, the buffer %zd: give a larger one; the packet is kept",
        end->spare_packet.payload_bytes, bytes);
    return core_refuse(self, -EMSGSIZE);
}

static PyObject *take_into(core_t *self, endpoint_t *end, const place_t *place, PyObject *buffer)
{
    const rx_packet_t from = end->spare_packet;
    uint64_t lost_before = end->spare_lost_before;
    if (place->found == ENDPOINT_IN_SPARE)
        memcpy(place->to, end->spare, from.payload_bytes);
    PyObject *data = view_of(buffer, (Py_ssize_t)from.payload_bytes);
    PyObject *packet = data ? packet_make(data, &from, lost_before) : NULL;
    /* Making a memoryview may start a garbage collection, whose finalizers may close this channel.
     */
    end = core_end(self);
    if (end && packet && place->found == ENDPOINT_IN_SPARE)
        endpoint_taken(end);
    else if (end && packet)
        endpoint_rearm_if_empty(end);
    else if (end && place->found == ENDPOINT_IN_BUFFER)
        endpoint_put_back(end, place->to, &from, lost_before);
    if (end == NULL)
        Py_CLEAR(packet);
    return packet;
}

PyObject *core_recv_into(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    int64_t until_mono_ns = RT_NEVER_NS;
    if (signature_bind(&recv_into_signature, args, nargs, kwnames, values) < 0 ||
        (values[1] && as_deadline(values[1], &until_mono_ns) < 0))
        return NULL;
    Py_buffer view;
    if (as_writable(values[0], "buffer", &view) < 0)
        return NULL;

    PyObject *packet = NULL;
    place_t place = {.to = view.buf, .bytes = (uint64_t)view.len};
    endpoint_t *end = wait_for_place(self, until_mono_ns, NULL, &place);
    if (end && end->spare_packet.payload_bytes > view.len)
        refuse_buffer(self, end, view.len);
    else if (end)
        packet = take_into(self, end, &place, values[0]);
    PyBuffer_Release(&view);
    return packet;
}

/* The destination of the payloads of recv_many. */
typedef struct take {
    uint8_t *to;
    uint64_t bytes;
    uint64_t row_bytes; /* 0: not a matrix */
    uint64_t max;
    PyObject *view; /* of the bytes of out; NULL: the payloads are copied to a new object */
} take_t;

static PyObject *take_batch(core_t *self, endpoint_t *end, const take_t *t)
{
    uint64_t waiting = endpoint_waiting(end);
    uint64_t most = waiting < t->max ? waiting : t->max;
    PyObject *records =
        PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(most * sizeof(packet_record_t)));
    if (records == NULL)
        return NULL;
    uint64_t used;
    uint64_t n = endpoint_take_many(end, t->to, t->bytes, t->row_bytes,
                                    (packet_record_t *)PyBytes_AsString(records), most, &used);
    if (n == 0) {
        Py_DECREF(records);
        refuse_buffer(self, end, (Py_ssize_t)(t->row_bytes ? t->row_bytes : t->bytes));
        return NULL;
    }
    PyObject *count = PyLong_FromUnsignedLongLong(n);
    PyObject *payload = t->view
                            ? PySequence_GetSlice(t->view, 0, (Py_ssize_t)used)
                            : PyBytes_FromStringAndSize((const char *)t->to, (Py_ssize_t)used);
    PyObject *batch = NULL;
    if (count && payload)
        batch = PyObject_CallFunctionObjArgs(hot_batch_class, payload, records, count, NULL);
    Py_XDECREF(count);
    Py_XDECREF(payload);
    Py_DECREF(records);
    return batch;
}

int as_most(PyObject *value, uint64_t *out)
{
    int64_t n = RECV_MANY_DEFAULT;
    if (value && as_count(value, "max", 1, RECV_MANY_MOST, &n) < 0)
        return -1;
    *out = (uint64_t)n;
    return 0;
}

/* Memory for the payloads of one recv_many without out=; kept for the next. */
static int take_from_scratch(core_t *self, const endpoint_t *end, take_t *t)
{
    t->bytes = RECV_MANY_BYTES + end->segment->config.max_payload_bytes;
    if (self->scratch == NULL)
        self->scratch = PyMem_Malloc(t->bytes);
    t->to = self->scratch;
    if (t->to == NULL)
        PyErr_NoMemory();
    return t->to ? 0 : -1;
}

/* Sets t from out=, before a packet is taken: whatever is wrong with out, none is lost. */
static int take_into_out(PyObject *out, Py_buffer *view, take_t *t)
{
    if (as_writable(out, "out", view) < 0)
        return -1;
    t->view = bytes_of(out);
    if (t->view == NULL) {
        PyBuffer_Release(view);
        return -1;
    }
    t->to = view->buf;
    t->bytes = (uint64_t)view->len;
    if (view->ndim == 2)
        t->row_bytes = (uint64_t)(view->shape[1] * view->itemsize);
    return 0;
}

signature_t recv_many_signature = {
    "|O$OO:recv_many", 0, 1, {"max", "timeout", "out", NULL}, {NULL}};

PyObject *core_recv_many(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    int64_t until_mono_ns = RT_NEVER_NS;
    take_t take = {0};
    if (signature_bind(&recv_many_signature, args, nargs, kwnames, values) < 0 ||
        as_most(values[0], &take.max) < 0 ||
        (values[1] && as_deadline(values[1], &until_mono_ns) < 0))
        return NULL;
    Py_buffer view = {0};
    if (is_given(values[2]) && take_into_out(values[2], &view, &take) < 0)
        return NULL;

    PyObject *batch = NULL;
    endpoint_t *end = hot_wait_for_packet(self, until_mono_ns, NULL);
    if (end && (take.view || take_from_scratch(self, end, &take) == 0))
        batch = take_batch(self, end, &take);
    if (take.view) {
        Py_DECREF(take.view);
        PyBuffer_Release(&view);
    }
    return batch;
}
