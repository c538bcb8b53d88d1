#include "python/hot.h"

/* --- life ----------------------------------------------------------------------------------- */

static PyObject *core_serve(core_t *self, PyObject *args)
{
    PyObject *owner;
    unsigned long long address;
    if (!PyArg_ParseTuple(args, "OK:_serve", &owner, &address))
        return NULL;
    hot_replace(&self->owner, owner);
    self->end = (endpoint_t *)(uintptr_t)address;
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *core_bind_producer(core_t *self, PyObject *args)
{
    unsigned int slot;
    int bell_fd;
    if (!PyArg_ParseTuple(args, "Ii:_bind_producer", &slot, &bell_fd))
        return NULL;
    endpoint_t *end = core_end(self);
    return end ? PyLong_FromLong(endpoint_attach_producer(end, slot, bell_fd)) : NULL;
}

static PyObject *core_bind_reader(core_t *self, PyObject *args)
{
    unsigned int slot;
    int reader_fd;
    if (!PyArg_ParseTuple(args, "Ii:_bind_reader", &slot, &reader_fd))
        return NULL;
    endpoint_t *end = core_end(self);
    return end ? PyLong_FromLong(endpoint_attach_reader(end, slot, reader_fd)) : NULL;
}

static PyObject *core_shut(core_t *self, PyObject *unused)
{
    (void)unused;
    if (self->end)
        endpoint_shut(self->end);
    self->end = NULL;
    Py_CLEAR(self->owner);
    Py_INCREF(Py_None);
    return Py_None;
}

static int core_traverse(core_t *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->owner);
    Py_VISIT(self->last_to);
    return 0;
}

static int core_clear(core_t *self)
{
    self->end = NULL;
    Py_CLEAR(self->owner);
    Py_CLEAR(self->last_to);
    return 0;
}

static void core_dealloc(core_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    core_clear(self);
    PyMem_Free(self->scratch);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

#define FAST(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef core_methods[] = {
    {"send", FAST(core_send),
     "send($self, data, at=None, *, to=None, timeout=None)\n--\n\n"
     "Queue one packet and return its sequence number in the channel.\n"
     "\n"
     "data: any C-contiguous bytes-like object of at most `max_payload` bytes; copied.\n"
     "at: when it is to leave, ns in the channel's clock (`now_ns`); None or 0: as soon as "
     "possible.\n"
     "    A time that has passed is sent at once and counted late.\n"
     "to: numeric (host, port); None: the channel's `remote`.\n"
     "timeout: seconds to wait for room; None: for ever.\n"
     "\n"
     "Raises `SendTimeout` (no room in time), `RingFull` (no room, timeout 0), `PayloadTooLarge`,\n"
     "`BadAddress`, `ChannelClosed`, `NoPermission` (a tap), `ValueError` (a time below 0, or "
     "more\n"
     "than a year ahead in CLOCK_MONOTONIC), `TypeError` (a time that is not an int)."},
    {"try_send", FAST(core_try_send),
     "try_send($self, data, at=None, *, to=None)\n--\n\n"
     "Queue one packet as `send` does, or return None if there is no room now."},
    {"send_many", FAST(core_send_many),
     "send_many($self, packets, *, size=None, sizes=None, offsets=None, at=None, interval_ns=None, "
     "to=None, "
     "timeout=None, sequences=None)\n--\n\n"
     "Queue many packets in one call and return the sequence of the first.\n"
     "\n"
     "packets: an iterable of bytes-like objects, or one buffer that is cut into packets: of "
     "`size`\n"
     "    bytes each; of `sizes`, an integer array or a sequence; at `offsets`, an integer array, "
     "with\n"
     "    `size` or `sizes`; or, two-dimensional, one packet per row.\n"
     "at: one time for all, ns; the time of the first, with `interval_ns` between them; an array "
     "or a\n"
     "    sequence with one time each (0: as soon as possible); None: as soon as possible.\n"
     "to, timeout: as in `send`. The timeout covers the whole call.\n"
     "sequences: writable buffer of 8 bytes per packet that gets their sequences. They follow "
     "each\n"
     "    other without gap as long as nobody else sends on the channel at the same time.\n"
     "\n"
     "Raises as `send`; `RingFull.sent` says how many were queued before."},
    {"replace", FAST(core_replace),
     "replace($self, sequence, data, at=None, *, to=None, timeout=None)\n--\n\n"
     "Put a new packet in the place of one that waits, and return its sequence.\n"
     "\n"
     "Either both happen, or the old packet is sent as it was. at: ns; None: the old one's "
     "deadline.\n"
     "to: None: the channel's `remote`.\n"
     "\n"
     "Raises `TooLate` if the old packet does not wait any more, `ShmringOSError` with ``EBUSY`` "
     "as\n"
     "`Channel.cancel`, otherwise as `send`."},
    {"recv", FAST(core_recv),
     "recv($self, timeout=None)\n--\n\n"
     "Take the next packet, waiting `timeout` seconds for it; 0: not at all, None: for ever.\n"
     "\n"
     "Raises `ReceiveTimeout`, `ChannelClosed` (after the last packet was taken)."},
    {"try_recv", (PyCFunction)core_try_recv, METH_NOARGS,
     "try_recv($self)\n--\n\n"
     "Take the next packet, or return None if there is none now. Raises `ChannelClosed`."},
    {"recv_into", FAST(core_recv_into),
     "recv_into($self, buffer, *, timeout=None)\n--\n\n"
     "As `recv`, with the payload in a writable buffer; `Packet.data` is a view of it.\n"
     "\n"
     "Raises also `PayloadTooLarge`; the packet stays for the next call."},
    {"recv_many", FAST(core_recv_many),
     "recv_many($self, max=1024, *, timeout=None, out=None)\n--\n\n"
     "Take all packets that are there, up to `max` or about a megabyte of payload.\n"
     "\n"
     "Waits for the first, as `recv`. max: 1 to 1048576. out: writable buffer for the payloads;\n"
     "packets that do not fit stay.\n"
     "\n"
     "Raises as `recv`; `PayloadTooLarge` if not even the first fits into `out`."},
    {"_put", (PyCFunction)core_put, METH_O, "_put($self, values, /)\n--\n\n"},
    {"_snapshot", (PyCFunction)core_snapshot, METH_O, "_snapshot($self, decode, /)\n--\n\n"},
    {"_serve", (PyCFunction)core_serve, METH_VARARGS, "_serve($self, owner, address, /)\n--\n\n"},
    {"_bind_producer", (PyCFunction)core_bind_producer, METH_VARARGS,
     "_bind_producer($self, slot, bell_fd, /)\n--\n\n"},
    {"_bind_reader", (PyCFunction)core_bind_reader, METH_VARARGS,
     "_bind_reader($self, slot, reader_fd, /)\n--\n\n"},
    {"_shut", (PyCFunction)core_shut, METH_NOARGS, "_shut($self)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot core_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, core_dealloc},
    {Py_tp_traverse, core_traverse},
    {Py_tp_clear, core_clear},
    {Py_tp_methods, core_methods},
    {Py_tp_doc, "The per-packet calls of a channel."},
    {0, NULL},
};

static PyType_Spec core_spec = {
    .name = "shmring._hot.Core",
    .basicsize = sizeof(core_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = core_slots,
};

static int make_names(void)
{
    static const struct {
        PyObject **name;
        const char *text;
    } names[] = {
        {&name_attach_now, "_attach_now"},
        {&name_pack_address, "_pack_address"},
        {&name_refuse, "_refuse"},
        {&name_raise_full, "_raise_full"},
        {&name_raise_timeout, "_raise_timeout"},
        {&name_settle, "_settle"},
        {&name_check_heard, "_check_heard"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *names[i].name = PyUnicode_InternFromString(names[i].text);
        if (*names[i].name == NULL)
            return -1;
    }
    number_tx = PyLong_FromLong(ENDPOINT_TX);
    number_rx = PyLong_FromLong(ENDPOINT_RX);
    return number_tx && number_rx ? 0 : -1;
}

int core_type_init(PyObject *module)
{
    if (make_names() < 0)
        return -1;
    PyObject *type = PyType_FromSpec(&core_spec);
    if (type == NULL)
        return -1;
    int rc = PyModule_AddObjectRef(module, "Core", type);
    Py_DECREF(type);
    return rc;
}
