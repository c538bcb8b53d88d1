/* hot.h: shmring._hot, the per-packet calls, and how their results reach other libraries.
 * client/endpoint.h describes what the calls do.
 *
 *   hot.c            the module, and the objects that shmring gives to it
 *   hot_arguments.c  arguments of a vectorcall
 *   hot_packet.c     Packet
 *   hot_end.c        what the calls of Core share
 *   hot_core.c       Core, the base class of the endpoint (shmring/_endpoint.py)
 *   hot_calls.c      PacketCalls, a base class of shmring.Channel: its endpoint's calls
 *   hot_send.c       Core.send, Core.replace
 *   hot_send_many.c  Core.send_many, batches of event loops
 *   hot_recv.c       Core.recv, try_recv, recv_into, recv_many
 *   hot_tick.c       Core.tick: the next tick of a grid
 *   hot_loan.c       Core.loan_many, and Loan: the memory of the lent packets
 *   hot_arrow.c      batches as columns of Arrow
 *   hot_dlpack.c     batches as tensors
 *   hot_netflux.c    Core.put, Core.snapshot: what a cyclic link writes and reads
 *
 * Core's methods touch shared memory and return. If something else has to happen first, they call a
 * method that Endpoint defines in Python:
 *
 *   attach_now(what)       the end is not attached, or its worker was replaced, or the channel was
 *                          closed: attach, or raise
 *   attach_now(what, until_ns)          the same; return after that time if no worker answers
 *   pack_address(to)       a (host, port) pair -> the bytes of an shm_addr_t
 *   pack_source(source)    the same, for the address of this host that a packet leaves from
 *   refuse(rc, text)       raise the exception of an error code
 *   raise_full(waited, sent, first)     raise RingFull or SendTimeout
 *   raise_timeout()        raise ReceiveTimeout
 *   settle()               found no packet, and another thread selects on this channel
 *   check_heard()          for a second no worker has reported that it serves the channel
 *
 * Threads. One thread at a time uses an endpoint_t, except while sleeping (endpoint_sleep). The
 * interpreter's lock sees to that, or without it the critical section of Core (HOT_ENTER). Either
 * may pass to another thread during any call of Python. The owner reference keeps the segment
 * mapped while a thread sleeps on it and another closes the channel.
 *
 * Everything here returns -1 or NULL with a Python exception set, unless it says otherwise. */
#ifndef HOT_H
#define HOT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/rt_err.h"
#include "python/signature.h"
#include "client/attachment.h"

#include <errno.h>

/* What is done between these two, one thread does at a time for one object: other calls of Python,
 * and sleeping, let others in. With the interpreter's lock there is nothing to do. */
#ifdef Py_GIL_DISABLED
#define HOT_ENTER(object) Py_BEGIN_CRITICAL_SECTION((PyObject *)(object))
#define HOT_LEAVE() Py_END_CRITICAL_SECTION()
#define HOT_ENTER_BOTH(a, b) Py_BEGIN_CRITICAL_SECTION2((PyObject *)(a), (PyObject *)(b))
#define HOT_LEAVE_BOTH() Py_END_CRITICAL_SECTION2()
#else
#define HOT_ENTER(object) {
#define HOT_LEAVE() }
#define HOT_ENTER_BOTH(a, b) {
#define HOT_LEAVE_BOTH() }
#endif

/* --- hot.c ---------------------------------------------------------------------------------- */

#define HOT_STAMPS 4

/* Objects of shmring, set by configure(). */
extern PyObject *hot_stamps[HOT_STAMPS];
extern PyObject *hot_unpack_address;
extern PyObject *hot_batch_class;
extern PyObject *hot_loan_class;

/* Makes *place refer to object. */
void hot_replace(PyObject **place, PyObject *object);

/* --- hot_arguments.c ------------------------------------------------------------------------ */

static inline int is_given(PyObject *value)
{
    return value && value != Py_None;
}

/* An integer. bool is refused although it is an int, because it is never meant. what names the
 * value in errors, meaning follows "an int" there. Raises OverflowError for more than 64 bits. */
int as_int(PyObject *value, const char *what, const char *meaning, int64_t *out);

#define MEANS_NS ": nanoseconds (seconds times 1_000_000_000, see now_ns())"
#define MEANS_BYTES ": bytes"

/* A time, 0 or above. */
int as_time_ns(PyObject *value, const char *what, int64_t *out);

/* The number of a packet, 0 or above. */
int as_sequence(PyObject *value, int64_t *out);

/* A number of bytes that is called size, 0 or above. */
int as_size(PyObject *value, int64_t *out);

/* least to most; least >= 0. */
int as_count(PyObject *value, const char *what, int64_t least, int64_t most, int64_t *out);

/* timeout= in seconds to a time of CLOCK_MONOTONIC; 0: do not wait; RT_NEVER_NS: no limit. */
int as_deadline(PyObject *value, int64_t *until_mono_ns);

static inline int has_passed(int64_t until_mono_ns)
{
    return until_mono_ns == 0 || (until_mono_ns != RT_NEVER_NS && rt_mono_ns() >= until_mono_ns);
}

/* A C-contiguous buffer to write to, with its shape. Release it. */
int as_writable(PyObject *value, const char *what, Py_buffer *view);

/* A payload's bytes, through the buffer protocol or, for bytes, directly. Call payload_release
 * afterwards in both cases. */
int as_payload(PyObject *data, Py_buffer *view, const void **payload, size_t *bytes);

static inline void payload_release(Py_buffer *view)
{
    if (view->obj)
        PyBuffer_Release(view);
}

/* The bytes of an shm_addr_t in a bytes object. */
int as_address(PyObject *raw, shm_addr_t *out);

/* --- hot_packet.c --------------------------------------------------------------------------- */

/* Adds Packet to the module. */
int packet_type_init(PyObject *module);

/* Steals data. */
PyObject *packet_make(PyObject *data, const rx_packet_t *from, uint64_t lost_before);

/* --- hot_core.c ----------------------------------------------------------------------------- */

/* An address as the caller gave it, and its result. */
typedef struct packed {
    PyObject *from; /* NULL: none */
    shm_addr_t address;
} packed_t;

typedef struct core {
    PyObject_HEAD PyObject *owner; /* keeps end and the segment it uses */
    endpoint_t *end;               /* NULL before _serve and after _shut */
    packed_t to;                   /* the destination and the source that were packed last */
    packed_t source;
    uint8_t *scratch; /* of recv_many */
    endpoint_sleep_t loop_wait; /* of the event loop's task that waited last */
    int64_t early_ns; /* learnt: how early ticks must be shown to this process */
} core_t;

extern PyTypeObject *core_type;

/* Names of the methods above, and ENDPOINT_TX and ENDPOINT_RX as Python integers. */
extern PyObject *name_attach_now, *name_pack_address, *name_pack_source, *name_refuse,
    *name_raise_full, *name_raise_timeout, *name_settle, *name_check_heard, *number_tx, *number_rx;

/* Adds Core to the module. */
int core_type_init(PyObject *module);

/* The end, or NULL with ChannelClosed set. */
endpoint_t *core_end(core_t *self);

/* Calls a method that returns nothing. argument may be NULL. */
int core_call(core_t *self, PyObject *method, PyObject *argument);

/* Calls a method that raises; arguments from the first NULL on are left out. -1. */
int core_raise(core_t *self, PyObject *method, PyObject *a, PyObject *b, PyObject *c);

/* Raises the exception of rc, with the text recorded last. -1. */
int core_refuse(core_t *self, int rc);

/* Sleeps for a while without the global lock. Returns 0 (try again) or -1: a signal handler raised,
 * or the channel is closed. what: ENDPOINT_TX waits for room, ENDPOINT_RX for a packet. */
int core_sleep(core_t *self, int what, int64_t until_mono_ns);

/* --- hot_calls.c ---------------------------------------------------------------------------- */

/* Adds PacketCalls to the module. */
int calls_type_init(PyObject *module);

/* --- hot_send.c ----------------------------------------------------------------------------- */

extern signature_t send_signature, try_send_signature, replace_signature;

/* to= and source=. The addresses are copied to own, which the route points to. */
typedef struct own_ends {
    shm_addr_t dest;
    shm_addr_t source;
} own_ends_t;
int as_destination(core_t *self, PyObject *to, own_ends_t *own, tx_route_t *route);
int as_source(core_t *self, PyObject *source, own_ends_t *own, tx_route_t *route);

/* Handles an error of a send: 0 try again, -1 an exception is set. sent, first: what a batch had
 * queued before. */
int after_failed_send(core_t *self, int rc, int64_t until_mono_ns, uint64_t sent, uint64_t first);

PyObject *core_send(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *core_try_send(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *core_replace(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* --- hot_send_many.c ------------------------------------------------------------------------ */

extern signature_t send_many_signature, batch_signature;

PyObject *core_send_many(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* The arguments of send_many, without the timeout, as a batch that is queued bit by bit. */
PyObject *core_batch(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* Queues the packets of a batch for which there is room. True: all are queued. */
PyObject *core_queue(core_t *self, PyObject *batch);

/* How many packets of a batch were queued, and the sequence of the first. */
PyObject *core_queued(core_t *self, PyObject *batch);

/* --- hot_recv.c ----------------------------------------------------------------------------- */

extern signature_t recv_signature, recv_into_signature, recv_many_signature;

/* max=: how many packets to take at most. value may be NULL. */
int as_most(PyObject *value, uint64_t *out);

/* Waits until there is a packet to lend. Returns the end, or NULL with an exception set. */
endpoint_t *wait_for_loan(core_t *self, int64_t until_mono_ns);

PyObject *core_recv(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *core_try_recv(core_t *self, PyObject *unused);
PyObject *core_recv_into(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *core_recv_many(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* --- hot_loan.c ----------------------------------------------------------------------------- */

extern signature_t loan_many_signature;

/* Adds Loan to the module. */
int loan_type_init(PyObject *module);

PyObject *core_loan_many(core_t *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* --- hot_arrow.c, hot_dlpack.c -------------------------------------------------------------- */

/* Functions of the module. A description is a tuple as in shmring/_arrow.py. Each returns a
 * capsule, payload_column two buffers. */
PyObject *arrow_schema(PyObject *module, PyObject *description);
PyObject *arrow_array(PyObject *module, PyObject *description);
PyObject *arrow_stream(PyObject *module, PyObject *description);
PyObject *payload_column(PyObject *module, PyObject *args);
PyObject *dlpack(PyObject *module, PyObject *args);

/* --- hot_netflux.c -------------------------------------------------------------------------- */

/* put(values): into the out box. snapshot(decode): a tuple of the in box's content, or None. decode
 * converts bytes to values. With None they stay bytes. */
PyObject *core_put(core_t *self, PyObject *values);
PyObject *core_snapshot(core_t *self, PyObject *decode);
PyObject *core_tick(core_t *self, PyObject *until_ns);

/* Waits for a packet in end->spare. Returns the end, or NULL with an exception set. If at_once is
 * not NULL, "no packet and no time left" sets it to 1 and raises nothing. */
endpoint_t *hot_wait_for_packet(core_t *self, int64_t until_mono_ns, int *at_once);

#endif
