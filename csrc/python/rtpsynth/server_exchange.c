/* server_exchange.c: how it works.
 *
 * A channel has a place, which is the worker's number of its port, and another generation than the
 * previous channel at this place. Every arrival carries both. An arrival that does not match the
 * place's present channel belongs to a former one and is dropped.
 *
 *     rx ring --> dispatch thread --> channels[place], if the generation is the same --> callback
 *
 * The thread looks a channel up under the global lock, directly before it calls it. So a closed
 * channel is never called again. The thread that closes it only has to wait for a call in progress.
 *
 * The lock is taken once for all arrivals, and offered to others after BATCH packets: an
 * interpreter thread that has waited its 5 ms then gets it, though callbacks written in C never
 * check whether another thread wants it. */
#include "python/rtpsynth/server.h"

#include "base/rt_futex.h"
#include "python/rtpsynth/waits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <structmember.h>
#include <sys/socket.h>

#define BATCH 64
/* The thread checks this often when nothing arrives, in case it missed the wake-up to end. */
#define SLICE_NS (100 * RT_NS_PER_MS)
/* This many places (or all) must be free before one is used again, so that its 16-bit generations
 * do not repeat within the time that a packet may wait in a ring. */
#define FREED_AT_LEAST 256u

/* --- places --------------------------------------------------------------------------------- */

static int take_place(exchange_t *x, uint16_t *place)
{
    bool none_fresh = x->fresh == x->places;
    if (x->freed_count >= FREED_AT_LEAST || (none_fresh && x->freed_count > 0)) {
        *place = x->freed[x->freed_first];
        x->freed_first = (x->freed_first + 1) % x->places;
        x->freed_count--;
        return 0;
    }
    if (none_fresh) {
        errno = EMFILE;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    *place = (uint16_t)x->fresh++;
    return 0;
}

int exchange_enter(exchange_t *x, channel_t *channel)
{
    if (take_place(x, &channel->place) < 0)
        return -1;
    channel->generation = ++x->generations[channel->place];
    Py_INCREF((PyObject *)channel);
    x->channels[channel->place] = channel;
    return 0;
}

void exchange_leave(exchange_t *x, channel_t *channel)
{
    if (x->channels[channel->place] != channel)
        return;
    x->channels[channel->place] = NULL;
    Py_CLEAR(channel->callback);
    Py_DECREF((PyObject *)channel);
}

void exchange_free_place(exchange_t *x, uint16_t place)
{
    x->freed[(x->freed_first + x->freed_count) % x->places] = place;
    x->freed_count++;
}

void exchange_leave_all(exchange_t *x)
{
    for (uint32_t i = 0; i < x->fresh; i++)
        if (x->channels[i] != NULL)
            exchange_leave(x, x->channels[i]);
}

/* --- its end -------------------------------------------------------------------------------- */

int exchange_check(const exchange_t *x)
{
    uint32_t state = rt_load_acquire(&x->segment->status->state);
    if (state == SHM_STATE_FAILED)
        PyErr_SetString(PyExc_RuntimeError,
                        "the worker process of this RtpServer has failed for good");
    else if (x->stopping || state == SHM_STATE_CLOSED)
        PyErr_SetString(PyExc_RuntimeError, SERVER_STOPPED);
    else
        return 0;
    return -1;
}

/* --- waiting for the thread ----------------------------------------------------------------- */

static void wake_thread(exchange_t *x)
{
    rt_futex_wake_all(&x->segment->rx->data_event);
}

void exchange_stop(exchange_t *x)
{
    x->stopping = true;
    wake_thread(x);
}

static bool is_over(const exchange_t *x, const channel_t *channel)
{
    return channel != NULL ? x->running != channel : x->finished;
}

int exchange_wait(exchange_t *x, const channel_t *channel)
{
    waiting_t waiting;
    wait_begin(&waiting, x->thread);
    int rc = 0;
    while (rc == 0 && !x->forked && !is_over(x, channel) && !waits_for_us(x->thread)) {
        if (channel == NULL)
            wake_thread(x);
        rc = turns_wait(&x->turns);
    }
    wait_end(&waiting);
    return rc;
}

/* --- calling back --------------------------------------------------------------------------- */

/* Never later than now, never earlier than the previous one, never 0. The stamp is the kernel's,
 * converted from a clock that may be set. */
static int64_t rtime_of(exchange_t *x, int64_t stamp_ns)
{
    int64_t now = rt_mono_ns();
    int64_t at = stamp_ns < now ? stamp_ns : now;
    x->last_rtime_ns = at > x->last_rtime_ns ? at : x->last_rtime_ns;
    return x->last_rtime_ns;
}

/* The sender of an arrival as a pair; nearly always the previous one. Borrowed. */
static PyObject *address_of(channel_t *channel, const shm_addr_t *source)
{
    if (channel->last_address != NULL && memcmp(&channel->last_source, source, sizeof *source) == 0)
        return channel->last_address;
    char host[INET6_ADDRSTRLEN] = "";
    (void)inet_ntop(source->family == 6 ? AF_INET6 : AF_INET, source->ip, host, sizeof host);
    PyObject *pair = Py_BuildValue("(si)", host, (int)source->port);
    if (pair == NULL)
        return NULL;
    channel->last_source = *source;
    replace_object(&channel->last_address, pair);
    Py_DECREF(pair);
    return pair;
}

/* Creating the arguments may start the garbage collector, whose finalizers may close the channel:
 * only afterwards is it known whether to call it. */
static void call(exchange_t *x, channel_t *channel, const rx_packet_t *p)
{
    PyObject *data = PyBytes_FromStringAndSize((const char *)x->buffer, p->payload_bytes);
    PyObject *address = address_of(channel, &p->source);
    PyObject *rtime = PyLong_FromLongLong(rtime_of(x, p->time_ns));
    Py_XINCREF(address);
    PyObject *callback = channel->callback;
    Py_XINCREF(callback);
    if (callback != NULL && data != NULL && address != NULL && rtime != NULL)
        Py_XDECREF(PyObject_CallFunctionObjArgs(callback, data, address, rtime, NULL));
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(callback);
    Py_XDECREF(callback);
    Py_XDECREF(data);
    Py_XDECREF(address);
    Py_XDECREF(rtime);
}

static channel_t *find_channel(const exchange_t *x, uint32_t tag)
{
    uint16_t place = mux_tag_port(tag);
    channel_t *channel = place < x->places ? x->channels[place] : NULL;
    bool same = channel != NULL && channel->generation == mux_tag_generation(tag);
    return same ? channel : NULL;
}

/* Hands one arrival to its channel. Returns false if there is none. */
static bool dispatch_one(exchange_t *x)
{
    rx_packet_t packet;
    if (!mux_endpoint_take(x->end, x->buffer, &packet))
        return false;
    channel_t *channel = find_channel(x, packet.tag);
    if (channel == NULL)
        return true;
    Py_INCREF((PyObject *)channel);
    x->running = channel;
    call(x, channel, &packet);
    x->running = NULL;
    Py_DECREF((PyObject *)channel);
    turns_signal(&x->turns);
    return true;
}

static void rest(exchange_t *x, unsigned found)
{
    PyThreadState *state = PyEval_SaveThread();
    if (found < BATCH)
        mux_endpoint_wait(x->end, rt_mono_ns() + SLICE_NS);
    PyEval_RestoreThread(state);
}

static PyObject *exchange_run(exchange_t *x, PyObject *unused)
{
    (void)unused;
    x->thread = PyThread_get_thread_ident();
    while (!x->stopping) {
        unsigned found = 0;
        while (found < BATCH && !x->stopping && dispatch_one(x))
            found++;
        if (!x->stopping)
            rest(x, found);
    }
    x->thread = 0;
    x->finished = true;
    turns_signal(&x->turns);
    Py_RETURN_NONE;
}

/* --- life ----------------------------------------------------------------------------------- */

static int make_tables(exchange_t *x, uint32_t places)
{
    x->places = places;
    x->channels = PyMem_Calloc(places, sizeof(channel_t *));
    x->generations = PyMem_Calloc(places, sizeof *x->generations);
    x->freed = PyMem_Calloc(places, sizeof *x->freed);
    x->buffer = PyMem_Malloc(SHM_MAX_RECORD);
    if (x->channels != NULL && x->generations != NULL && x->freed != NULL && x->buffer != NULL)
        return 0;
    PyErr_NoMemory();
    return -1;
}

/* Exchange(owner, address, places): the end of a channel with engine mux is at address as long as
 * owner is referenced. It is attached as producer and reader. */
static PyObject *exchange_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    PyObject *owner;
    unsigned long long address;
    unsigned int places;
    if (!PyArg_ParseTuple(args, "OKI:Exchange", &owner, &address, &places))
        return NULL;
    exchange_t *x = (exchange_t *)PyType_GenericAlloc(type, 0);
    if (x == NULL)
        return NULL;
    Py_INCREF(owner);
    x->owner = owner;
    x->end = (endpoint_t *)(uintptr_t)address;
    x->segment = x->end->segment;
    if (places == 0 || x->segment->config.engine_bytes < mux_bytes(places)) {
        PyErr_Format(PyExc_ValueError, "the channel has no room for %u places", places);
    } else if (make_tables(x, places) == 0) {
        x->drained = mux_drained(x->segment->engine);
        x->last_rtime_ns = 1;
        return (PyObject *)x;
    }
    Py_DECREF((PyObject *)x);
    return NULL;
}

static void exchange_dealloc(exchange_t *x)
{
    PyMem_Free(x->channels);
    PyMem_Free(x->generations);
    PyMem_Free(x->freed);
    PyMem_Free(x->buffer);
    Py_CLEAR(x->owner);
    free_object((PyObject *)x);
}

static PyObject *exchange_stop_method(exchange_t *x, PyObject *unused)
{
    (void)unused;
    exchange_stop(x);
    Py_RETURN_NONE;
}

/* forget(): for a child after fork. The thread belongs to the parent, and so does the state of its
 * work. */
static PyObject *exchange_forget(exchange_t *x, PyObject *unused)
{
    (void)unused;
    x->stopping = x->forked = x->finished = true;
    x->running = NULL;
    waits_forget();
    Py_RETURN_NONE;
}

static PyObject *exchange_check_method(exchange_t *x, PyObject *unused)
{
    (void)unused;
    return exchange_check(x) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef exchange_methods[] = {
    {"run", (PyCFunction)exchange_run, METH_NOARGS,
     "run($self, /)\n--\n\nHand arrivals to their channels until stop(). For one thread."},
    {"stop", (PyCFunction)exchange_stop_method, METH_NOARGS, "stop($self, /)\n--\n\n"},
    {"forget", (PyCFunction)exchange_forget, METH_NOARGS, "forget($self, /)\n--\n\n"},
    {"check", (PyCFunction)exchange_check_method, METH_NOARGS,
     "check($self, /)\n--\n\nRaise RuntimeError if the server is over."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef exchange_members[] = {
    {"stopping", T_BOOL, offsetof(exchange_t, stopping), READONLY, "whether stop was called"},
    {NULL, 0, 0, 0, NULL},
};

/* shared_bytes(places): the size of the engine's part of a channel with this many ports. */
static PyObject *shared_bytes(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned int places;
    if (!PyArg_ParseTuple(args, "I:shared_bytes", &places))
        return NULL;
    return PyLong_FromUnsignedLongLong(mux_bytes(places));
}

static PyMethodDef functions[] = {
    {"shared_bytes", shared_bytes, METH_VARARGS, "shared_bytes($module, places, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot exchange_slots[] = {
    {Py_tp_new, exchange_new},
    {Py_tp_dealloc, exchange_dealloc},
    {Py_tp_methods, exchange_methods},
    {Py_tp_members, exchange_members},
    {Py_tp_doc, "Exchange(owner, address, places, /)\n--\n\nThe rings of a server and its places."},
    {0, NULL},
};

int add_exchange(PyObject *module)
{
    if (PyModule_AddFunctions(module, functions) < 0)
        return -1;
    return add_class(module, "rtpsynth.RtpServer.Exchange", sizeof(exchange_t), 0, exchange_slots)
               ? 0
               : -1;
}
