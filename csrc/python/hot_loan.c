/* hot_loan.c: packets that Python reads where they lie in the ring. A Loan exports that memory. It
 * counts what is exported, and cannot end before all of it was released. */
#include "python/hot.h"

static PyTypeObject *loan_type;

typedef struct loan {
    PyObject_HEAD core_t *core;
    PyObject *owner;   /* keeps end and the segment it uses; NULL after the end */
    endpoint_t *end;   /* NULL: a copy was lent */
    PyObject *records; /* bytes: packet_record_t */
    PyObject *copy;    /* bytes: of the one packet that had left the ring already */
    Py_ssize_t exports;
} loan_t;

static int loan_export(loan_t *self, Py_buffer *view, int flags)
{
    int rc = -1;
    HOT_ENTER_BOTH(self, self->core);
    if (self->owner == NULL)
        PyErr_SetString(PyExc_ValueError, "the loan was released");
    else if (self->copy)
        rc = PyBuffer_FillInfo(view, (PyObject *)self, PyBytes_AsString(self->copy),
                               PyBytes_Size(self->copy), 1, flags);
    else
        rc = PyBuffer_FillInfo(view, (PyObject *)self, (void *)(uintptr_t)self->end->rx.data,
                               (Py_ssize_t)self->end->rx.units * SHM_UNIT_BYTES, 1, flags);
    self->exports += rc == 0;
    HOT_LEAVE_BOTH();
    return rc;
}

static void loan_unexport(loan_t *self, Py_buffer *view)
{
    (void)view;
    HOT_ENTER(self);
    self->exports--;
    HOT_LEAVE();
}

/* How many packets the worker may have overwritten, from the oldest on. */
static uint64_t loan_overwritten(const loan_t *self)
{
    if (self->end == NULL)
        return 0;
    return endpoint_loan_overwritten(self->end,
                                     (const packet_record_t *)PyBytes_AsString(self->records),
                                     (uint64_t)PyBytes_Size(self->records) / sizeof(packet_record_t));
}

static PyObject *loan_get_overwritten(loan_t *self, void *unused)
{
    (void)unused;
    PyObject *count = NULL;
    HOT_ENTER_BOTH(self, self->core);
    if (self->owner == NULL)
        PyErr_SetString(PyExc_ValueError, "the loan was released");
    else
        count = PyLong_FromUnsignedLongLong(loan_overwritten(self));
    HOT_LEAVE_BOTH();
    return count;
}

/* Without exports, and once. */
static void loan_give_back(loan_t *self)
{
    PyObject *owner = self->owner;
    if (owner && self->end)
        endpoint_loan_end(self->end);
    self->end = NULL;
    self->owner = NULL;
    Py_XDECREF(owner);
}

/* end(): how many packets were overwritten. Raises BufferError. */
static PyObject *loan_end(loan_t *self, PyObject *unused)
{
    (void)unused;
    PyObject *count = NULL;
    HOT_ENTER_BOTH(self, self->core);
    if (self->exports > 0)
        PyErr_SetString(PyExc_BufferError,
                        "views of the lent packets are still in use: release them first (memoryview."
                        "release()), and drop arrays made from them");
    else
        count = PyLong_FromUnsignedLongLong(loan_overwritten(self));
    if (count)
        loan_give_back(self);
    HOT_LEAVE_BOTH();
    return count;
}

static void loan_dealloc(loan_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    HOT_ENTER(self->core);
    loan_give_back(self);
    HOT_LEAVE();
    Py_DECREF((PyObject *)self->core);
    Py_XDECREF(self->records);
    Py_XDECREF(self->copy);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* --- loan_many ------------------------------------------------------------------------------ */

static loan_t *loan_new(core_t *core)
{
    loan_t *loan = PyObject_New(loan_t, loan_type);
    if (loan == NULL)
        return NULL;
    Py_INCREF((PyObject *)core);
    loan->core = core;
    Py_INCREF(core->owner);
    loan->owner = core->owner;
    loan->end = NULL;
    loan->records = NULL;
    loan->copy = NULL;
    loan->exports = 0;
    return loan;
}

static int refuse_loan(core_t *self, int rc)
{
    if (rc != -EBUSY)
        return core_refuse(self, rc);
    PyErr_SetString(PyExc_BufferError,
                    "the last loan of this end was not released: one at a time");
    return -1;
}

/* Fills loan, which is new. Returns how many packets it has, 0: others took them, or -1. */
static int64_t loan_fill(core_t *self, endpoint_t *end, loan_t *loan, uint64_t max)
{
    uint64_t waiting = endpoint_waiting(end);
    uint64_t most = waiting < max ? waiting : max;
    PyObject *records =
        PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(most * sizeof(packet_record_t)));
    bool in_spare = false;
    if (records == NULL)
        return -1;
    int64_t n = endpoint_loan(end, (packet_record_t *)PyBytes_AsString(records), most, &in_spare);
    loan->records = PyBytes_FromStringAndSize(PyBytes_AsString(records),
                                              n > 0 ? n * (int64_t)sizeof(packet_record_t) : 0);
    Py_DECREF(records);
    if (n <= 0)
        return n < 0 ? refuse_loan(self, (int)n) : 0;
    if (in_spare)
        loan->copy = PyBytes_FromStringAndSize((const char *)end->spare,
                                               (Py_ssize_t)end->spare_packet.payload_bytes);
    else
        loan->end = end;
    if (loan->records == NULL || (in_spare && loan->copy == NULL))
        return -1;
    if (in_spare)
        endpoint_taken(end);
    return n;
}

/* None was lent. Others took them, or the ring's cursors promise packets that cannot be taken: then
 * there is nothing to sleep on, but the time and signals count. */
static int after_no_loan(core_t *self, endpoint_t *end, int64_t until_mono_ns)
{
    if (!has_passed(until_mono_ns))
        return core_sleep(self, ENDPOINT_RX, until_mono_ns);
    return endpoint_waiting(end) ? core_raise(self, name_raise_timeout, NULL, NULL, NULL) : 0;
}

signature_t loan_many_signature = {"|O$O:loan_many", 0, 1, {"max", "timeout", NULL}, {NULL}};

PyObject *core_loan_many(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[MAX_PARAMETERS];
    int64_t until_mono_ns = RT_NEVER_NS, n = 0;
    uint64_t max;
    if (signature_bind(&loan_many_signature, args, nargs, kwnames, values) < 0 ||
        as_most(values[0], &max) < 0 || (values[1] && as_deadline(values[1], &until_mono_ns) < 0))
        return NULL;
    loan_t *loan = NULL;
    endpoint_t *end = core_end(self);
    if (end == NULL || (endpoint_loan_is_out(end) && refuse_loan(self, -EBUSY) < 0))
        return NULL;
    while (n == 0) {
        end = wait_for_loan(self, until_mono_ns);
        Py_XDECREF((PyObject *)loan);
        loan = end ? loan_new(self) : NULL;
        if (loan == NULL)
            return NULL;
        n = loan_fill(self, end, loan, max);
        if (n == 0 && after_no_loan(self, end, until_mono_ns) < 0)
            n = -1;
    }
    PyObject *packets = NULL;
    PyObject *count = n > 0 ? PyLong_FromLongLong(n) : NULL;
    if (count)
        packets = PyObject_CallFunctionObjArgs(hot_loan_class, (PyObject *)loan, loan->records,
                                               count, NULL);
    Py_XDECREF(count);
    Py_DECREF((PyObject *)loan);
    return packets;
}

/* --- the type ------------------------------------------------------------------------------- */

static PyGetSetDef loan_getset[] = {
    {"overwritten", (getter)loan_get_overwritten, NULL,
     "packets that may have been overwritten, from the oldest on", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef loan_methods[] = {
    {"end", (PyCFunction)loan_end, METH_NOARGS, "end($self)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot loan_slots[] = {
    {Py_tp_dealloc, loan_dealloc},
    {Py_tp_getset, loan_getset},
    {Py_tp_methods, loan_methods},
    {Py_bf_getbuffer, loan_export},
    {Py_bf_releasebuffer, loan_unexport},
    {Py_tp_doc, "The memory of lent packets."},
    {0, NULL},
};

static PyType_Spec loan_spec = {
    .name = "shmring._hot.Loan",
    .basicsize = sizeof(loan_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = loan_slots,
};

int loan_type_init(PyObject *module)
{
    loan_type = (PyTypeObject *)PyType_FromSpec(&loan_spec);
    return loan_type ? PyModule_AddObjectRef(module, "Loan", (PyObject *)loan_type) : -1;
}
