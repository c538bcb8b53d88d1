#include "python/hot.h"

#include <structmember.h>

static PyTypeObject *packet_type;

typedef struct packet {
    PyObject_HEAD PyObject *data;
    long long timestamp_ns;
    unsigned long long sequence;
    unsigned long long lost_before;
    unsigned char stamp;
    unsigned char flags;
    unsigned char tos;
    shm_addr_t source;
    shm_addr_t local;
} packet_t;

PyObject *packet_make(PyObject *data, const rx_packet_t *from, uint64_t lost_before)
{
    packet_t *p = PyObject_New(packet_t, packet_type);
    if (p == NULL) {
        Py_DECREF(data);
        return NULL;
    }
    p->data = data;
    p->timestamp_ns = from->time_ns;
    p->sequence = from->sequence;
    p->lost_before = lost_before;
    p->stamp = from->stamp < HOT_STAMPS ? from->stamp : 0;
    p->flags = from->flags;
    p->tos = from->tos;
    p->source = from->source;
    p->local = (shm_addr_t){.family = 0};
    if (from->local.family != 0)
        p->local = from->local;
    return (PyObject *)p;
}

static void packet_dealloc(packet_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(self->data);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int stamp_number(PyObject *stamp)
{
    for (int i = 0; i < HOT_STAMPS; i++) {
        int same = PyObject_RichCompareBool(stamp, hot_stamps[i], Py_EQ);
        if (same)
            return same < 0 ? -1 : i;
    }
    PyErr_Format(PyExc_ValueError, "stamp is %R: use one of shmring.types.Stamp", stamp);
    return -1;
}

static PyObject *packet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"data", "timestamp_ns", "stamp", "source", "sequence",
                            "tos",  "lost_before",  "flags", "local",  NULL};
    (void)type;
    PyObject *data, *stamp, *source, *local = NULL;
    rx_packet_t p = {0};
    long long timestamp_ns;
    unsigned long long sequence, lost_before = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLOOK|bKbO:Packet", names, &data, &timestamp_ns,
                                     &stamp, &source, &sequence, &p.tos, &lost_before, &p.flags,
                                     &local))
        return NULL;
    int number = stamp_number(stamp);
    if (number < 0 || as_address(source, &p.source) < 0 ||
        (local != NULL && as_address(local, &p.local) < 0))
        return NULL;
    p.time_ns = timestamp_ns;
    p.sequence = sequence;
    p.stamp = (uint8_t)number;
    Py_INCREF(data);
    return packet_make(data, &p, lost_before);
}

static PyObject *packet_stamp(packet_t *self, void *unused)
{
    (void)unused;
    PyObject *stamp = hot_stamps[self->stamp];
    Py_INCREF(stamp);
    return stamp;
}

static PyObject *packed(const shm_addr_t *address)
{
    return PyBytes_FromStringAndSize((const char *)address, sizeof *address);
}

static PyObject *unpacked(const shm_addr_t *address)
{
    PyObject *raw = packed(address);
    if (raw == NULL)
        return NULL;
    PyObject *pair = PyObject_CallFunctionObjArgs(hot_unpack_address, raw, NULL);
    Py_DECREF(raw);
    return pair;
}

static PyObject *packet_source(packet_t *self, void *unused)
{
    (void)unused;
    return unpacked(&self->source);
}

static PyObject *packet_local(packet_t *self, void *unused)
{
    (void)unused;
    if (self->local.family != 0)
        return unpacked(&self->local);
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *packet_shared_stamp(packet_t *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->flags & SHM_RX_SHARED_STAMP);
}

static PyObject *packet_truncated(packet_t *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->flags & SHM_RX_TRUNCATED);
}

static PyObject *packet_repr(packet_t *self)
{
    PyObject *source = packet_source(self, NULL);
    if (source == NULL)
        return NULL;
    Py_ssize_t bytes = PyObject_Size(self->data);
    PyObject *text = NULL;
    if (bytes >= 0)
        text = PyUnicode_FromFormat("Packet(%zd bytes, timestamp_ns=%lld, stamp=%S, source=%R, "
                                    "sequence=%llu)",
                                    bytes, self->timestamp_ns, hot_stamps[self->stamp], source,
                                    self->sequence);
    Py_DECREF(source);
    return text;
}

static int packet_equals(const packet_t *a, const packet_t *b)
{
    if (a->sequence != b->sequence || a->timestamp_ns != b->timestamp_ns || a->stamp != b->stamp ||
        a->flags != b->flags || a->tos != b->tos || a->lost_before != b->lost_before ||
        memcmp(&a->source, &b->source, sizeof a->source) != 0 ||
        memcmp(&a->local, &b->local, sizeof a->local) != 0)
        return 0;
    return PyObject_RichCompareBool(a->data, b->data, Py_EQ);
}

static PyObject *packet_compare(PyObject *self, PyObject *other, int op)
{
    if (Py_TYPE(other) != packet_type || (op != Py_EQ && op != Py_NE)) {
        Py_INCREF(Py_NotImplemented);
        return Py_NotImplemented;
    }
    int same = packet_equals((packet_t *)self, (packet_t *)other);
    return same < 0 ? NULL : PyBool_FromLong(same == (op == Py_EQ));
}

static Py_hash_t packet_hash(packet_t *self)
{
    Py_hash_t hash = (Py_hash_t)(self->sequence * 1000003u ^ (uint64_t)self->timestamp_ns);
    return hash == -1 ? -2 : hash;
}

static PyObject *packet_reduce(packet_t *self, PyObject *unused)
{
    (void)unused;
    PyObject *data = PyBytes_FromObject(self->data);
    PyObject *source = packed(&self->source);
    PyObject *local = packed(&self->local);
    PyObject *result = NULL;
    if (data && source && local)
        result = Py_BuildValue("O(OLOOKbKbO)", (PyObject *)packet_type, data, self->timestamp_ns,
                               hot_stamps[self->stamp], source, self->sequence, self->tos,
                               self->lost_before, self->flags, local);
    Py_XDECREF(data);
    Py_XDECREF(source);
    Py_XDECREF(local);
    return result;
}

static PyMemberDef packet_members[] = {
    {"data", T_OBJECT_EX, offsetof(packet_t, data), READONLY,
     "payload: bytes, or a memoryview of the buffer given to recv_into"},
    {"timestamp_ns", T_LONGLONG, offsetof(packet_t, timestamp_ns), READONLY,
     "arrival in the channel's clock, ns; stamp says what took it"},
    {"sequence", T_ULONGLONG, offsetof(packet_t, sequence), READONLY,
     "number of the packet in the channel, counted up by 1 from 0"},
    {"lost_before", T_ULONGLONG, offsetof(packet_t, lost_before), READONLY,
     "packets overwritten between the previously read one and this one"},
    {"tos", T_UBYTE, offsetof(packet_t, tos), READONLY,
     "type of service or traffic class it came with; DSCP is tos >> 2"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef packet_getset[] = {
    {"stamp", (getter)packet_stamp, NULL, "what took timestamp_ns: a shmring.types.Stamp", NULL},
    {"source", (getter)packet_source, NULL, "sender: (host, port)", NULL},
    {"local", (getter)packet_local, NULL,
     "address of this host that it came to, (host, port): give it as source= when you answer. "
     "None: "
     "the channel is bound to one address, and sends from it",
     NULL},
    {"shared_stamp", (getter)packet_shared_stamp, NULL,
     "whether one stamp covers several packets that the kernel received as one", NULL},
    {"truncated", (getter)packet_truncated, NULL,
     "whether the datagram was longer than the channel's max_payload", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef packet_methods[] = {
    {"__reduce__", (PyCFunction)packet_reduce, METH_NOARGS, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "Packet[type of data]"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot packet_slots[] = {
    {Py_tp_new, packet_new},
    {Py_tp_dealloc, packet_dealloc},
    {Py_tp_repr, packet_repr},
    {Py_tp_richcompare, packet_compare},
    {Py_tp_hash, packet_hash},
    {Py_tp_members, packet_members},
    {Py_tp_getset, packet_getset},
    {Py_tp_methods, packet_methods},
    {Py_tp_doc, "One received packet."},
    {0, NULL},
};

static PyType_Spec packet_spec = {
    .name = "shmring.Packet",
    .basicsize = sizeof(packet_t),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = packet_slots,
};

int packet_type_init(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&packet_spec);
    if (type == NULL)
        return -1;
    packet_type = (PyTypeObject *)type;
    return PyModule_AddObjectRef(module, "Packet", type);
}
