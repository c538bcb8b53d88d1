/* hot_calls.c: PacketCalls, a base class for channels whose calls are those of their endpoint. A
 * call costs the same as on the endpoint: no Python code runs before it. */
#include "python/hot.h"

typedef struct calls {
    PyObject_HEAD core_t *endpoint; /* NULL before _use */
} calls_t;

static core_t *endpoint_of(calls_t *self)
{
    if (self->endpoint == NULL)
        PyErr_SetString(PyExc_RuntimeError, "this channel was not opened");
    return self->endpoint;
}

#define FORWARD(call)                                                                     \
    static PyObject *calls_##call(calls_t *self, PyObject *const *args, Py_ssize_t nargs, \
                                  PyObject *kwnames)                                      \
    {                                                                                     \
        core_t *endpoint = endpoint_of(self);                                             \
        PyObject *result;                                                                 \
        if (endpoint == NULL)                                                             \
            return NULL;                                                                  \
        HOT_ENTER(endpoint);                                                              \
        result = core_##call(endpoint, args, nargs, kwnames);                             \
        HOT_LEAVE();                                                                      \
        return result;                                                                    \
    }

FORWARD(send)
FORWARD(try_send)
FORWARD(send_many)
FORWARD(replace)
FORWARD(recv)
FORWARD(recv_into)
FORWARD(recv_many)
FORWARD(loan_many)

static PyObject *calls_try_recv(calls_t *self, PyObject *unused)
{
    core_t *endpoint = endpoint_of(self);
    PyObject *result;
    if (endpoint == NULL)
        return NULL;
    HOT_ENTER(endpoint);
    result = core_try_recv(endpoint, unused);
    HOT_LEAVE();
    return result;
}

/* Once: calls in progress rely on the endpoint. */
static PyObject *calls_use(calls_t *self, PyObject *endpoint)
{
    if (self->endpoint != NULL || !PyObject_TypeCheck(endpoint, core_type)) {
        PyErr_SetString(PyExc_TypeError, "_use takes an endpoint, once");
        return NULL;
    }
    Py_INCREF(endpoint);
    self->endpoint = (core_t *)endpoint;
    Py_INCREF(Py_None);
    return Py_None;
}

/* --- the type ------------------------------------------------------------------------------- */

static int calls_traverse(calls_t *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->endpoint);
    return 0;
}

static int calls_clear(calls_t *self)
{
    Py_CLEAR(self->endpoint);
    return 0;
}

static void calls_dealloc(calls_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    calls_clear(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

#define FAST(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef calls_methods[] = {
    {"send", FAST(calls_send),
     "send($self, data, at=None, *, to=None, source=None, timeout=None)\n--\n\n"
     "Queue one packet and return its sequence number in the channel, an int.\n"
     "\n"
     "data: any C-contiguous bytes-like object of at most `max_payload` bytes. It is copied.\n"
     "at: int, when it should leave, ns in the channel's clock (`now_ns`). None or 0: as soon as\n"
     "    possible. A time that has passed is sent at once and counted as late.\n"
     "to: (host, port), a str with a numeric address and an int. None: the channel's `remote`.\n"
     "source: (host, port), the address of the worker's host that it leaves from, such as\n"
     "    `Packet.local` of the packet that is answered. The port is the channel's or 0. None: "
     "the\n"
     "    kernel's choice. A packet whose source is not an address of that host gets the verdict\n"
     "    ``failed``, with ``EADDRNOTAVAIL``.\n"
     "timeout: float, seconds to wait for room. 0: do not wait. None: no limit.\n"
     "\n"
     "Raises `SendTimeout` (no room in time), `RingFull` (no room, timeout 0), `PayloadTooLarge`,\n"
     "`BadAddress`, `ChannelClosed`, `NoPermission` (a read-only end), `ValueError` (a time that\n"
     "is below 0, in seconds, or more than a year ahead in CLOCK_MONOTONIC), `TypeError` (a time\n"
     "that is not an int)."},
    {"try_send", FAST(calls_try_send),
     "try_send($self, data, at=None, *, to=None, source=None)\n--\n\n"
     "Queue one packet and return its sequence number in the channel, an int. Return None if the\n"
     "ring has no room now. The call does not wait.\n"
     "\n"
     "data: any C-contiguous bytes-like object of at most `max_payload` bytes. It is copied.\n"
     "at: int, when it should leave, ns in the channel's clock (`now_ns`). None or 0: as soon as\n"
     "    possible. A time that has passed is sent at once and counted as late.\n"
     "to: (host, port), a str with a numeric address and an int. None: the channel's `remote`.\n"
     "source: (host, port), the address of the worker's host that it leaves from, such as\n"
     "    `Packet.local` of the packet that is answered. The port is the channel's or 0. None: "
     "the\n"
     "    kernel's choice. A packet whose source is not an address of that host gets the verdict\n"
     "    ``failed``, with ``EADDRNOTAVAIL``.\n"
     "\n"
     "Raises `PayloadTooLarge`, `BadAddress`, `ChannelClosed`, `NoPermission` (a read-only end), "
     "`ValueError` (a\n"
     "time that is below 0, in seconds, or more than a year ahead), `TypeError`."},
    {"send_many", FAST(calls_send_many),
     "send_many($self, packets, *, size=None, sizes=None, offsets=None, at=None, interval_ns=None, "
     "spread_ns=None, to=None, source=None, "
     "timeout=None, sequences=None)\n--\n\n"
     "Queue many packets in one call and return the sequence number of the first.\n"
     "\n"
     "packets: an iterable of bytes-like objects, or one buffer that is split into packets: of "
     "`size`\n"
     "    bytes each; of `sizes`, an integer array or a sequence; at `offsets`, an integer array, "
     "with\n"
     "    `size` or `sizes`. Of a matrix (two dimensions) each row is a packet, or the first "
     "`size` or\n"
     "    `sizes` bytes of it.\n"
     "at: one time for all, ns; the time of the first, with `interval_ns` or `spread_ns`; an "
     "integer\n"
     "    array or a sequence with one time each (0: as soon as possible); None: as soon as "
     "possible.\n"
     "interval_ns: ns from one packet to the next.\n"
     "spread_ns: ns over which all n packets are spread. Packet i is due at\n"
     "    ``at + i * spread_ns // n``.\n"
     "to: (host, port) of all packets, or one for each by `shmring.batch.pack_addresses`.\n"
     "    None: the channel's `remote`.\n"
     "source: (host, port) that all packets leave from, as for `send`, or the result of\n"
     "    `shmring.batch.pack_addresses`, one for each.\n"
     "timeout: seconds to wait for room, for the whole call. 0: do not wait. None: no limit.\n"
     "sequences: writable buffer of 8 bytes per packet that gets their sequence numbers. They "
     "follow\n"
     "    each other without gaps unless another end sends on the channel at the same time.\n"
     "\n"
     "Raises `SendTimeout` (no room in time), `RingFull` (no room, timeout 0), `PayloadTooLarge`,\n"
     "`BadAddress`, `ChannelClosed`, `NoPermission` (a read-only end), `ValueError` (a time that\n"
     "is below 0, in seconds, or more than a year ahead in CLOCK_MONOTONIC), `TypeError` (a time\n"
     "that is not an int). `RingFull.sent` says how many were queued before."},
    {"replace", FAST(calls_replace),
     "replace($self, sequence, data, at=None, *, to=None, source=None, timeout=None)\n--\n\n"
     "Replace a packet that waits with a new one, and return the new sequence number.\n"
     "\n"
     "Either both happen, or the old packet is sent unchanged.\n"
     "\n"
     "sequence: int, what `send` returned for the old packet.\n"
     "data: any C-contiguous bytes-like object of at most `max_payload` bytes. It is copied.\n"
     "at: int, ns in the channel's clock. None: the old packet's deadline.\n"
     "to: (host, port). None: the channel's `remote`.\n"
     "source: (host, port) that it leaves from, as for `send`.\n"
     "timeout: float, seconds to wait for room. 0: do not wait. None: no limit.\n"
     "\n"
     "Raises `TooLate` (the old packet no longer waits), `ShmringOSError` with ``EBUSY`` (the "
     "queue could\n"
     "not be searched within 10 ms), `SendTimeout`, `RingFull`, `PayloadTooLarge`, `BadAddress`,\n"
     "`ChannelClosed`, `NoPermission` (a read-only end), `ValueError`, `TypeError`."},
    {"recv", FAST(calls_recv),
     "recv($self, *, timeout=None)\n--\n\n"
     "Wait for the next packet and return it, a `Packet` whose `data` are bytes.\n"
     "\n"
     "timeout: float, seconds to wait. 0: do not wait. None: no limit.\n"
     "\n"
     "Raises `ReceiveTimeout`, and `ChannelClosed` after the last packet was taken."},
    {"try_recv", (PyCFunction)calls_try_recv, METH_NOARGS,
     "try_recv($self)\n--\n\n"
     "Return the next packet, a `Packet`, or None if there is none now. The call does not wait.\n"
     "\n"
     "Raises `ChannelClosed` after the last packet was taken."},
    {"recv_into", FAST(calls_recv_into),
     "recv_into($self, buffer, *, timeout=None)\n--\n\n"
     "Wait for the next packet and return it with its payload in `buffer`: `Packet.data` is a\n"
     "memoryview of it.\n"
     "\n"
     "buffer: writable. The payload is copied once if it has room for `max_payload` bytes, and "
     "twice\n"
     "    otherwise.\n"
     "timeout: float, seconds to wait. 0: do not wait. None: no limit.\n"
     "\n"
     "Raises `ReceiveTimeout`, `ChannelClosed`, `BufferError` (read-only), and `PayloadTooLarge` "
     "if\n"
     "`buffer` is too short. The packet then stays for the next call."},
    {"recv_many", FAST(calls_recv_many),
     "recv_many($self, max=1024, *, timeout=None, out=None)\n--\n\n"
     "Wait for the first packet, and return all packets that are there, a `PacketBatch`.\n"
     "\n"
     "max: int, the highest number of packets, 1 to 1048576. A call also ends after about a "
     "megabyte.\n"
     "timeout: float, seconds to wait for the first one. 0: do not wait. None: no limit.\n"
     "out: writable buffer for the payloads: one after the other, or in a matrix (two dimensions) "
     "one per\n"
     "    row. Packets that do not fit stay. None: a new one.\n"
     "\n"
     "Raises `ReceiveTimeout`, `ChannelClosed`, and `PayloadTooLarge` if not even the first packet "
     "fits\n"
     "into `out`, or its row."},
    {"loan_many", FAST(calls_loan_many),
     "loan_many($self, max=1024, *, timeout=None)\n--\n\n"
     "Take all packets that are there, up to `max`, without copying them.\n"
     "\n"
     "Returns a `PacketLoan`, whose payloads are views of the receive ring. Use it in a ``with`` "
     "block.\n"
     "max: 1 to 1048576. timeout: seconds to wait for the first packet; None: no limit.\n"
     "\n"
     "Raises as `recv`; `BufferError` if the last loan of this end was not released; "
     "`ShmringOSError`\n"
     "with ``EOPNOTSUPP`` if the channel has shared readers and ``overflow=\"wait\"``."},
    {"_use", (PyCFunction)calls_use, METH_O, "_use($self, endpoint, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot calls_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, calls_dealloc},
    {Py_tp_traverse, calls_traverse},
    {Py_tp_clear, calls_clear},
    {Py_tp_methods, calls_methods},
    {Py_tp_doc, "The per-packet calls of a channel, which are those of its endpoint."},
    {0, NULL},
};

static PyType_Spec calls_spec = {
    .name = "shmring._hot.PacketCalls",
    .basicsize = sizeof(calls_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = calls_slots,
};

int calls_type_init(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&calls_spec);
    if (type == NULL)
        return -1;
    int rc = PyModule_AddObjectRef(module, "PacketCalls", type);
    Py_DECREF(type);
    return rc;
}
