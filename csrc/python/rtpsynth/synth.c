/* synth.c: the generator of RTP packets, for RtpSynth.py. rtp_synth.h does the arithmetic.
 * This file handles arguments, results, and the source of random numbers.
 *
 * The global lock is held throughout, because a packet takes less time than releasing and retaking
 * it. */
#include "python/rtpsynth/core.h"

#include "base/rt_clock.h"
#include "base/rt_tick.h"
#include "proto/rtp/rtp_packet.h"
#include "proto/rtp/rtp_synth.h"

#include <limits.h>
#include <string.h>
#include <sys/random.h>

typedef struct synth {
    PyObject_HEAD bool ready; /* __init__ has run */
    rtp_synth_t core;
    rt_tick_t tick;
} synth_t;

/* The original makes packets in a work area of plen and this many bytes. */
#define HEADROOM_BYTES 32

static signature_t next_pkt_signature = {
    "OO|O:next_pkt", 2, 3, {"plen", "pt", "pload", NULL}, {NULL}};
static signature_t next_pkts_signature = {
    "OOO|OO:next_pkts", 3, 5, {"n", "payload", "pt", "out", "stride", NULL}, {NULL}};

/* --- random numbers ------------------------------------------------------------------------- */

static PyObject *randfunc; /* NULL: the system's entropy */

static PyObject *set_randfunc(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    if (want_arguments("set_randfunc", nargs, 1) < 0)
        return NULL;
    if (args[0] != Py_None && !PyCallable_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "set_randfunc expects a callable or None");
        return NULL;
    }
    replace_object(&randfunc, args[0] == Py_None ? NULL : args[0]);
    Py_RETURN_NONE;
}

/* Without an argument, or with the number of bits for functions that want it, such as getrandbits.
 */
static PyObject *call_randfunc(PyObject *function)
{
    PyObject *drawn = PyObject_CallNoArgs(function);
    if (drawn == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        drawn = PyObject_CallFunction(function, "i", 32);
    }
    if (drawn && !PyLong_Check(drawn)) {
        PyErr_Format(PyExc_TypeError, "randfunc returned %R, not an int", drawn);
        Py_CLEAR(drawn);
    }
    return drawn;
}

static int draw(PyObject *function, uint32_t *out)
{
    PyObject *drawn = call_randfunc(function);
    if (drawn == NULL)
        return -1;
    unsigned long long number = PyLong_AsUnsignedLongLong(drawn);
    Py_DECREF(drawn);
    *out = (uint32_t)number;
    return number == (unsigned long long)-1 && PyErr_Occurred() ? -1 : 0;
}

static int draw_all(uint32_t draws[RTP_SYNTH_DRAWS])
{
    size_t bytes = RTP_SYNTH_DRAWS * sizeof *draws;
    if (randfunc == NULL) {
        if (getrandom(draws, bytes, 0) == (ssize_t)bytes)
            return 0;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    PyObject *function = randfunc; /* it may install another */
    Py_INCREF(function);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < RTP_SYNTH_DRAWS; i++)
        rc = draw(function, &draws[i]);
    Py_DECREF(function);
    if (rc < 0 && PyErr_ExceptionMatches(PyExc_Exception)) /* KeyboardInterrupt stays */
        raise_from(PyExc_RuntimeError, "randfunc failed", take_exception());
    return rc;
}

/* --- life ----------------------------------------------------------------------------------- */

/* Keywords are ignored, as in the original. */
static int synth_init(synth_t *self, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    int clock_rate;
    int ptime_ms;
    uint32_t draws[RTP_SYNTH_DRAWS];
    if (want_arguments("RtpSynth", PyTuple_Size(args), 2) < 0 ||
        as_int(PyTuple_GetItem(args, 0), &clock_rate) < 0 ||
        as_int(PyTuple_GetItem(args, 1), &ptime_ms) < 0 || draw_all(draws) < 0)
        return -1;
    rtp_synth_init(&self->core, clock_rate, ptime_ms, draws, rt_mono_ns());
    rt_tick_init(&self->tick);
    self->ready = true;
    return 0;
}

static int is_ready(const synth_t *self)
{
    if (self->ready)
        return 1;
    PyErr_SetString(PyExc_RuntimeError, "RtpSynth handle is not initialized");
    return 0;
}

/* --- one packet ----------------------------------------------------------------------------- */

static int check_plen(int plen)
{
    if (plen > -HEADROOM_BYTES && plen <= INT_MAX - HEADROOM_BYTES)
        return 0;
    PyErr_SetString(PyExc_ValueError, "invalid packet length");
    return -1;
}

static int check_payload(int plen, Py_ssize_t payload_bytes)
{
    if (payload_bytes > (Py_ssize_t)plen + HEADROOM_BYTES) {
        PyErr_SetString(PyExc_ValueError, "payload is larger than packet buffer");
        return -1;
    }
    if (plen < 0) {
        PyErr_SetString(PyExc_RuntimeError, "rsynth_next_pkt_pa() failed");
        return -1;
    }
    return 0;
}

/* payload NULL: zeroes. Otherwise it is cut to plen, or padded with zeroes. */
static PyObject *make_packet(synth_t *self, int plen, int pt, const char *payload,
                             Py_ssize_t payload_bytes)
{
    if (check_payload(plen, payload_bytes) < 0)
        return NULL;
    size_t kept = (size_t)plen;
    if (payload && payload_bytes < plen)
        kept = (size_t)payload_bytes;
    PyObject *packet = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)RTP_HEADER_BYTES + plen);
    if (packet == NULL)
        return NULL;
    uint8_t *out = (uint8_t *)PyBytes_AsString(packet);
    size_t length = RTP_HEADER_BYTES + kept;
    rtp_synth_next_many(&self->core, 1, kept, pt, (const uint8_t *)payload, out, length,
                        rt_tick_mono_ns(&self->tick));
    memset(out + length, 0, (size_t)plen - kept);
    return packet;
}

static PyObject *make_packet_of(synth_t *self, int plen, int pt, PyObject *pload)
{
    if (PyBytes_CheckExact(pload))
        return make_packet(self, plen, pt, PyBytes_AsString(pload), PyBytes_Size(pload));
    if (PyByteArray_CheckExact(pload))
        return make_packet(self, plen, pt, PyByteArray_AsString(pload), PyByteArray_Size(pload));
    PyObject *bytes = PyObject_Bytes(pload);
    if (bytes == NULL)
        return NULL;
    PyObject *packet = make_packet(self, plen, pt, PyBytes_AsString(bytes), PyBytes_Size(bytes));
    Py_DECREF(bytes);
    return packet;
}

static PyObject *synth_next_pkt(synth_t *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    PyObject *bound[MAX_PARAMETERS];
    PyObject *pload = NULL;
    int plen;
    int pt;
    if (!is_ready(self))
        return NULL;
    if (kwnames || nargs < 2 || nargs > 3) {
        if (signature_bind(&next_pkt_signature, args, nargs, kwnames, bound) < 0)
            return NULL;
        args = bound;
        pload = bound[2];
    } else if (nargs == 3) {
        pload = args[2];
    }
    if (as_int(args[0], &plen) < 0 || as_int(args[1], &pt) < 0 || check_plen(plen) < 0)
        return NULL;
    if (pload == NULL || pload == Py_None)
        return make_packet(self, plen, pt, NULL, 0);
    return make_packet_of(self, plen, pt, pload);
}

/* --- many packets --------------------------------------------------------------------------- */

/* Everything of one next_pkts call. */
typedef struct batch {
    Py_ssize_t count;
    Py_ssize_t plen;
    Py_ssize_t stride;
    int pt;
    Py_buffer payload; /* obj NULL: zeroes */
    Py_buffer out;
    PyObject *result; /* owned */
} batch_t;

static void batch_clear(batch_t *b)
{
    if (b->payload.obj)
        PyBuffer_Release(&b->payload);
    if (b->out.obj)
        PyBuffer_Release(&b->out);
    Py_XDECREF(b->result);
}

static int batch_take_plen(batch_t *b, PyObject *number)
{
    int plen;
    if (as_int(number, &plen) < 0)
        return -1;
    b->plen = plen;
    if (plen >= 0 && plen <= INT_MAX - HEADROOM_BYTES)
        return 0;
    PyErr_Format(PyExc_ValueError, "a payload of %d bytes: use 0 to %d", plen,
                 INT_MAX - HEADROOM_BYTES);
    return -1;
}

/* A length, or count payloads of one length one after the other. */
static int batch_take_payload(batch_t *b, PyObject *payload)
{
    if (!PyObject_CheckBuffer(payload))
        return batch_take_plen(b, payload);
    if (PyObject_GetBuffer(payload, &b->payload, PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    if (b->payload.ndim == 0) { /* a NumPy scalar, which is also a number */
        PyBuffer_Release(&b->payload);
        return batch_take_plen(b, payload);
    }
    Py_ssize_t bytes = b->payload.len;
    b->plen = b->count > 0 ? bytes / b->count : 0;
    if (b->plen * b->count != bytes || (b->payload.ndim > 1 && b->payload.shape[0] != b->count)) {
        PyErr_Format(PyExc_ValueError,
                     "%zd bytes of payload in %zd rows are not %zd payloads of one length", bytes,
                     b->payload.shape[0], b->count);
        return -1;
    }
    if (b->plen <= INT_MAX - HEADROOM_BYTES)
        return 0;
    PyErr_Format(PyExc_ValueError, "payloads of %zd bytes: at most %d", b->plen,
                 INT_MAX - HEADROOM_BYTES);
    return -1;
}

static int batch_take_stride(batch_t *b, PyObject *stride)
{
    Py_ssize_t packet = b->plen + (Py_ssize_t)RTP_HEADER_BYTES;
    b->stride = packet;
    if (stride != Py_None)
        b->stride = PyNumber_AsSsize_t(stride, PyExc_OverflowError);
    else if (b->out.obj && b->out.ndim > 1 && b->out.shape[0] > 0)
        b->stride = b->out.len / b->out.shape[0];
    if (b->stride == -1 && PyErr_Occurred())
        return -1;
    if (b->stride >= packet)
        return 0;
    PyErr_Format(PyExc_ValueError, "a stride of %zd bytes is shorter than a packet of %zd",
                 b->stride, packet);
    return -1;
}

static int batch_check_out(const batch_t *b, Py_ssize_t needed)
{
    const char *from = b->payload.buf;
    const char *to = b->out.buf;
    if (needed > b->out.len) {
        PyErr_Format(PyExc_ValueError,
                     "out has %zd bytes, %zd packets with a stride of %zd take %zd", b->out.len,
                     b->count, b->stride, needed);
        return -1;
    }
    if (b->payload.obj && from < to + b->out.len && to < from + b->payload.len) {
        PyErr_SetString(PyExc_ValueError, "payload and out are the same memory");
        return -1;
    }
    return 0;
}

static int batch_make_out(batch_t *b)
{
    Py_ssize_t bytes;
    if (__builtin_mul_overflow(b->count, b->stride, &bytes)) {
        PyErr_NoMemory();
        return -1;
    }
    b->result = PyByteArray_FromStringAndSize(NULL, bytes);
    if (b->result == NULL || PyObject_GetBuffer(b->result, &b->out, PyBUF_WRITABLE) < 0)
        return -1;
    if (b->stride > b->plen + (Py_ssize_t)RTP_HEADER_BYTES)
        memset(b->out.buf, 0, (size_t)bytes);
    return 0;
}

static int batch_take(batch_t *b, PyObject *n, PyObject *payload, PyObject *out, PyObject *stride)
{
    b->count = PyNumber_AsSsize_t(n, PyExc_OverflowError);
    if (b->count == -1 && PyErr_Occurred())
        return -1;
    if (b->count < 0) {
        PyErr_Format(PyExc_ValueError, "n is %zd: use 0 or more", b->count);
        return -1;
    }
    if (batch_take_payload(b, payload) < 0)
        return -1;
    if (out == Py_None)
        return batch_take_stride(b, stride) < 0 ? -1 : batch_make_out(b);
    if (PyObject_GetBuffer(out, &b->out, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0 ||
        batch_take_stride(b, stride) < 0)
        return -1;
    b->result = out;
    Py_INCREF(out);
    Py_ssize_t needed = 0;
    if (b->count > 0 &&
        (__builtin_mul_overflow(b->count - 1, b->stride, &needed) ||
         __builtin_add_overflow(needed, b->plen + (Py_ssize_t)RTP_HEADER_BYTES, &needed)))
        needed = PY_SSIZE_T_MAX;
    return batch_check_out(b, needed);
}

static PyObject *synth_next_pkts(synth_t *self, PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames)
{
    PyObject *v[MAX_PARAMETERS];
    batch_t b = {0};
    if (!is_ready(self) || signature_bind(&next_pkts_signature, args, nargs, kwnames, v) < 0 ||
        as_int(v[2], &b.pt) < 0)
        return NULL;
    PyObject *result = NULL;
    if (batch_take(&b, v[0], v[1], v[3] ? v[3] : Py_None, v[4] ? v[4] : Py_None) == 0) {
        rtp_synth_next_many(&self->core, (size_t)b.count, (size_t)b.plen, b.pt, b.payload.buf,
                            b.out.buf, (size_t)b.stride, rt_mono_ns());
        result = b.result;
        b.result = NULL;
    }
    batch_clear(&b);
    return result;
}

/* --- numbers -------------------------------------------------------------------------------- */

static PyObject *synth_set_mbt(synth_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (!is_ready(self) || want_arguments("set_mbt", nargs, 1) < 0)
        return NULL;
    PyObject *number = PyNumber_Index(args[0]);
    if (number == NULL)
        return NULL;
    unsigned long long bits = PyLong_AsUnsignedLongLongMask(number);
    Py_DECREF(number);
    return PyLong_FromLong(rtp_synth_set_marker(&self->core, (bits & 1) != 0));
}

static int want_int(PyObject *value, Py_ssize_t position)
{
    if (PyLong_Check(value))
        return 0;
    PyObject *name =
        value == Py_None ? PyUnicode_FromString("None") : PyType_GetName(Py_TYPE(value));
    if (name)
        PyErr_Format(PyExc_TypeError, "resync() argument %zd must be int, not %U", position, name);
    Py_XDECREF(name);
    return -1;
}

/* The numbers of the two-argument form are ignored, as in the original. */
static PyObject *synth_resync(synth_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (!is_ready(self) || (nargs != 0 && want_arguments("resync", nargs, 2) < 0))
        return NULL;
    for (Py_ssize_t i = 0; i < nargs; i++)
        if (want_int(args[i], i + 1) < 0)
            return NULL;
    rtp_synth_resync(&self->core, rt_mono_ns());
    Py_RETURN_NONE;
}

static PyObject *synth_skip(synth_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    int packets;
    if (!is_ready(self) || want_arguments("skip", nargs, 1) < 0 || as_int(args[0], &packets) < 0)
        return NULL;
    rtp_synth_skip(&self->core, packets);
    Py_RETURN_NONE;
}

/* There is nothing to free: packets are bytes objects. */
static PyObject *synth_pkt_free(synth_t *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void)self;
    if (want_arguments("pkt_free", nargs, 1) < 0)
        return NULL;
    if (!PyLong_Check(args[0]) && !PyCapsule_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "pkt_free expects a capsule or integer pointer");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- the class --------------------------------------------------------------- */

static PyMethodDef synth_methods[] = {
    {"next_pkt", FASTCALL_KEYWORDS(synth_next_pkt),
     "next_pkt($self, plen, pt, pload=None)\n--\n\n"
     "Return the next packet, bytes of length 12 + plen.\n\n"
     "plen: bytes of payload, 0 or more. pt: payload type (its low 7 bits).\n"
     "pload: the payload, bytes or what bytes() accepts; cut to plen, or padded with zeroes.\n"
     "None: zeroes.\n\n"
     "Raises ValueError for a payload of more than plen + 32 bytes. After an exception the next\n"
     "packet is the one that failed."},
    {"next_pkts", FASTCALL_KEYWORDS(synth_next_pkts),
     "next_pkts($self, n, payload, pt, out=None, stride=None)\n--\n\n"
     "Write the next n packets, all of one size, to one buffer, as n calls of next_pkt make "
     "them.\n\n"
     "payload: the payload length of each packet, all zeroes; or n payloads of one length\n"
     "after each other in a contiguous buffer, such as bytes or an array of shape (n, length).\n"
     "out: writable contiguous buffer; its bytes between packets stay unchanged. None: a\n"
     "new bytearray of n * stride bytes.\n"
     "stride: bytes from one packet to the next, 12 + length or more. None: the length of a row\n"
     "if out has two dimensions, otherwise 12 + length.\n\n"
     "Returns out. Raises ValueError if payload or out do not fit n packets; then nothing has\n"
     "changed."},
    {"set_mbt", FASTCALL(synth_set_mbt),
     "set_mbt($self, new, /)\n--\n\n"
     "Set the marker of the next packet to the lowest bit of new; return the previous value."},
    {"resync", FASTCALL(synth_resync),
     "resync($self, ts=0, seq=0, /)\n--\n\n"
     "Move the timestamp by the time since the last packet, at srate units a second.\n\n"
     "Give both numbers or none. They are ignored."},
    {"skip", FASTCALL(synth_skip),
     "skip($self, npkts, /)\n--\n\n"
     "Move the timestamp by that many packets, back if negative. The sequence number stays."},
    {"pkt_free", FASTCALL(synth_pkt_free),
     "pkt_free($self, packet, /)\n--\n\n"
     "Does nothing: packets are bytes. packet: a capsule or an int, otherwise TypeError."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot synth_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, synth_init},
    {Py_tp_methods, synth_methods},
    {Py_tp_doc,
     "RtpSynth(srate, ptime, /, **ignored)\n--\n\n"
     "A generator of the RTP packets of one source (RFC 3550 section 5.1).\n\n"
     "srate: units of the timestamp a second, for resync. ptime: milliseconds a packet;\n"
     "the timestamp moves by 8 * ptime a packet, whatever srate is. The first packet has\n"
     "the marker. SSRC, first timestamp and first sequence number are drawn from the\n"
     "system's entropy, or from what set_randfunc installed.\n\n"
     "One thread at a time uses an object, the others wait."},
    {0, NULL},
};

static PyMethodDef functions[] = {
    {"set_randfunc", FASTCALL(set_randfunc),
     "set_randfunc(function, /)\n--\n\n"
     "Draw the numbers of all later RtpSynth objects from function; None: the system's "
     "entropy.\n\n"
     "Called three times for each: SSRC, first timestamp, first sequence number. Called without "
     "an\n"
     "argument, and, if that raises TypeError, with the number of bits, 32. Its result is an int\n"
     "0 .. 2**64 - 1 (its low 32 bits). An exception in it becomes the cause of a\n"
     "RuntimeError from RtpSynth()."},
    {NULL, NULL, 0, NULL},
};

int add_synth(PyObject *module)
{
    if (signature_init(&next_pkt_signature) < 0 || signature_init(&next_pkts_signature) < 0 ||
        PyModule_AddFunctions(module, functions) < 0)
        return -1;
    return add_class(module, "rtpsynth.RtpSynth.RtpSynth", sizeof(synth_t), 0, synth_slots) ? 0
                                                                                            : -1;
}
