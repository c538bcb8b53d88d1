#include "python/hot.h"

/* Sets *to from an address, with the method of Endpoint that packs it. Returns 1, or 0 if there is
 * none: other threads pack theirs while this one waits, so the caller keeps a copy. */
static int as_packed(core_t *self, packed_t *last, PyObject *method, PyObject *from, shm_addr_t *to)
{
    if (!is_given(from))
        return 0;
    if (from != last->from) {
        PyObject *raw = PyObject_CallMethodObjArgs((PyObject *)self, method, from, NULL);
        int rc = raw ? as_address(raw, &last->address) : -1;
        Py_XDECREF(raw);
        Py_CLEAR(last->from);
        if (rc < 0)
            return -1;
        /* Only an immutable object may be recognised by its identity. */
        if (PyTuple_CheckExact(from)) {
            Py_INCREF(from);
            last->from = from;
        }
    }
    *to = last->address;
    return 1;
}

int as_destination(core_t *self, PyObject *to, own_ends_t *own, tx_route_t *route)
{
    int given = as_packed(self, &self->to, name_pack_address, to, &own->dest);
    route->dest = given > 0 ? &own->dest : NULL;
    return given < 0 ? -1 : 0;
}

int as_source(core_t *self, PyObject *source, own_ends_t *own, tx_route_t *route)
{
    int given = as_packed(self, &self->source, name_pack_source, source, &own->source);
    route->source = given > 0 ? &own->source : NULL;
    return given < 0 ? -1 : 0;
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
    tx_route_t route;
    own_ends_t own;
} packet_call_t;

/* values: data, at, to, source, timeout. */
static int packet_call_init(core_t *self, packet_call_t *c, PyObject *const *values)
{
    c->view.obj = NULL;
    c->due_ns = 0;
    c->until_mono_ns = RT_NEVER_NS;
    if ((is_given(values[1]) && as_time_ns(values[1], "at", &c->due_ns) < 0) ||
        (values[4] && as_deadline(values[4], &c->until_mono_ns) < 0) ||
        as_destination(self, values[2], &c->own, &c->route) < 0 ||
        as_source(self, values[3], &c->own, &c->route) < 0)
        return -1;
    return as_payload(values[0], &c->view, &c->payload, &c->bytes);
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

signature_t send_signature = {
    "O|O$OOO:send", 1, 2, {"data", "at", "to", "source", "timeout", NULL}, {NULL}};

/* values: data, at, to, source, timeout. at_once: None if there is no room now. */
static PyObject *send_packet(core_t *self, PyObject *const *values, int at_once)
{
    packet_call_t c;
    if (packet_call_init(self, &c, values) < 0)
        return NULL;
    uint64_t sequence = 0;
    int outcome = 0;
    while (outcome == 0) {
        endpoint_t *end = core_end(self);
        if (end == NULL)
            outcome = -1;
        else {
            int rc = endpoint_send(end, c.payload, c.bytes, c.due_ns, &c.route, &sequence);
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

signature_t try_send_signature = {
    "O|O$OO:try_send", 1, 2, {"data", "at", "to", "source", NULL}, {NULL}};

PyObject *core_try_send(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    if (signature_bind(&try_send_signature, args, nargs, kwnames, values) < 0)
        return NULL;
    return send_packet(self, values, 1);
}

signature_t replace_signature = {
    "OO|O$OOO:replace", 2, 3, {"sequence", "data", "at", "to", "source", "timeout", NULL}, {NULL}};

PyObject *core_replace(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    int64_t old = 0;
    if (signature_bind(&replace_signature, args, nargs, kwnames, values) < 0 ||
        as_sequence(values[0], &old) < 0)
        return NULL;

    packet_call_t c;
    if (packet_call_init(self, &c, values + 1) < 0)
        return NULL;
    uint64_t sequence = 0;
    int outcome = 0;
    while (outcome == 0) {
        endpoint_t *end = core_end(self);
        outcome = end ? packet_call_settle(self, &c,
                                           endpoint_replace(end, (uint64_t)old, c.payload, c.bytes,
                                                            !is_given(values[2]), c.due_ns,
                                                            &c.route, &sequence))
                      : -1;
    }
    return packet_call_end(&c, outcome, sequence);
}
