#include "python/hot.h"

int as_destination(core_t *self, PyObject *to, const shm_addr_t **dest)
{
    *dest = NULL;
    if (!is_given(to))
        return 0;
    if (to != self->last_to) {
        PyObject *raw = PyObject_CallMethodObjArgs((PyObject *)self, name_pack_address, to, NULL);
        int rc = raw ? as_address(raw, &self->last_dest) : -1;
        Py_XDECREF(raw);
        Py_CLEAR(self->last_to);
        if (rc < 0)
            return -1;
        /* Only an immutable object may be recognised by its identity. */
        if (PyTuple_CheckExact(to)) {
            Py_INCREF(to);
            self->last_to = to;
        }
    }
    *dest = &self->last_dest;
    return 0;
}

int after_failed_send(core_t *self, int rc, int64_t until_mono_ns, uint64_t sent, uint64_t first)
{
    if (rc == -ESTALE)
        return core_call(self, name_attach_now, number_tx);
    if (rc != -ENOBUFS)
        return core_refuse(self, rc);
    if (!has_passed(until_mono_ns))
        return core_sleep(self, ENDPOINT_TX, until_mono_ns);

    PyObject *waited = until_mono_ns ? Py_True : Py_False;
    PyObject *count = PyLong_FromUnsignedLongLong(sent);
    PyObject *sequence = PyLong_FromUnsignedLongLong(first);
    if (count && sequence)
        core_raise(self, name_raise_full, waited, count, sequence);
    Py_XDECREF(count);
    Py_XDECREF(sequence);
    return -1;
}

/* Arguments of both send and replace. The payload's view must be released. */
typedef struct packet_call {
    Py_buffer view;
    const void *payload;
    size_t bytes;
    int64_t due_ns;
    int64_t until_mono_ns;
    const shm_addr_t *dest;
    shm_addr_t own_dest; /* other threads pack theirs while this one waits */
} packet_call_t;

static int packet_call_init(core_t *self, packet_call_t *c, PyObject *data, PyObject *at,
                            PyObject *to, PyObject *timeout)
{
    *c = (packet_call_t){.until_mono_ns = RT_NEVER_NS};
    if ((is_given(at) && as_time_ns(at, "at", &c->due_ns) < 0) ||
        (timeout && as_deadline(timeout, &c->until_mono_ns) < 0) ||
        as_destination(self, to, &c->dest) < 0)
        return -1;
    if (c->dest) {
        c->own_dest = *c->dest;
        c->dest = &c->own_dest;
    }
    return as_payload(data, &c->view, &c->payload, &c->bytes);
}

#define NO_ROOM 2

/* Continues until the call has succeeded (1) or raised (-1): handles the result of one attempt.
 */
static int packet_call_settle(core_t *self, const packet_call_t *c, int rc)
{
    return rc == 0 ? 1 : after_failed_send(self, rc, c->until_mono_ns, 0, 0);
}

static PyObject *packet_call_end(packet_call_t *c, int outcome, uint64_t sequence)
{
    payload_release(&c->view);
    if (outcome == NO_ROOM)
        Py_RETURN_NONE;
    return outcome < 0 ? NULL : PyLong_FromUnsignedLongLong(sequence);
}

signature_t send_signature = {"O|O$OO:send", 1, 2, {"data", "at", "to", "timeout", NULL}, {NULL}};

/* values: data, at, to, timeout. at_once: None if there is no room now. */
static PyObject *send_packet(core_t *self, PyObject *const *values, int at_once)
{
    packet_call_t c;
    if (packet_call_init(self, &c, values[0], values[1], values[2], values[3]) < 0)
        return NULL;
    uint64_t sequence = 0;
    int outcome = 0;
    while (outcome == 0) {
        endpoint_t *end = core_end(self);
        if (end == NULL)
            outcome = -1;
        else {
            int rc = endpoint_send(end, c.payload, c.bytes, c.due_ns, c.dest, &sequence);
            outcome = at_once && rc == -ENOBUFS ? NO_ROOM : packet_call_settle(self, &c, rc);
        }
    }
    return packet_call_end(&c, outcome, sequence);
}

PyObject *core_send(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    if (signature_bind(&send_signature, args, nargs, kwnames, values) < 0)
        return NULL;
    return send_packet(self, values, 0);
}

signature_t try_send_signature = {"O|O$O:try_send", 1, 2, {"data", "at", "to", NULL}, {NULL}};

PyObject *core_try_send(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    if (signature_bind(&try_send_signature, args, nargs, kwnames, values) < 0)
        return NULL;
    return send_packet(self, values, 1);
}

signature_t replace_signature = {
    "OO|O$OO:replace", 2, 3, {"sequence", "data", "at", "to", "timeout", NULL}, {NULL}};

PyObject *core_replace(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    int64_t old = 0;
    if (signature_bind(&replace_signature, args, nargs, kwnames, values) < 0 ||
        as_sequence(values[0], &old) < 0)
        return NULL;

    packet_call_t c;
    if (packet_call_init(self, &c, values[1], values[2], values[3], values[4]) < 0)
        return NULL;
    uint64_t sequence = 0;
    int outcome = 0;
    while (outcome == 0) {
        endpoint_t *end = core_end(self);
        outcome = end ? packet_call_settle(self, &c,
                                           endpoint_replace(end, (uint64_t)old, c.payload, c.bytes,
                                                            !is_given(values[2]), c.due_ns, c.dest,
                                                            &sequence))
                      : -1;
    }
    return packet_call_end(&c, outcome, sequence);
}
