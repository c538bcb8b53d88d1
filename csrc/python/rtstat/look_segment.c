/* Segment: a channel's segment, mapped for reading. */
#include "python/rtstat/look.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "base/rt_seq.h"
#include "shm/tx_ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <unistd.h>

/* --- words ------------------------------------------------------------------------------------ */

/* Words of shm_status_t, by the names they have there. id, unit, meaning. */
#define STATUS_WORDS(X)                                                               \
    X(state, , "0 new, 1 open, 2 held, 3 closed, 4 failed")                           \
    X(epoch, workers, "workers that have served the channel")                         \
    X(worker_pid, , "process of the worker")                                          \
    X(cpu, , "core of the worker; -1: not pinned")                                    \
    X(sched_policy, , "scheduling policy of the worker: 0 other, 1 fifo")             \
    X(sched_priority, , "real-time priority of the worker")                           \
    X(error, errno, "errno behind the state failed; 0: none")                         \
    X(socket_fd, , "number of the socket inside the worker")                          \
    X(rcvbuf_bytes, bytes, "receive buffer of the socket in force")                   \
    X(sndbuf_bytes, bytes, "send buffer of the socket in force")                      \
    X(gso, flag, "packets due together leave in one call")                            \
    X(gro, flag, "packets that the kernel coalesced are received in one call")        \
    X(txtime, flag, "the queueing discipline or the card launches the packets")       \
    X(rx_stamp, , "best arrival timestamp available: 1 user, 2 kernel, 3 hardware")   \
    X(tx_stamp, , "best departure timestamp available: 1 user, 2 kernel, 3 hardware") \
    X(worker_slot, , "slot of the worker in its pool")                                \
    X(heartbeat_mono_ns, ns, "last heartbeat of the worker, CLOCK_MONOTONIC")         \
    X(opened_mono_ns, ns, "time when the channel was opened, CLOCK_MONOTONIC")

/* Words that are computed here. */
#define NOW_WORDS(X)                                                                        \
    X(looked_mono_ns, ns, "time of this look, CLOCK_MONOTONIC")                             \
    X(reset_mono_ns, ns, "last reset of the counters, CLOCK_MONOTONIC; 0: never")           \
    X(scheduled, packets, "packets in the worker that wait for their deadline")             \
    X(wake_margin_ns, ns, "time before a deadline at which the worker wakes")               \
    X(wire_offset_ns, ns, "time before the deadline at which align=wire sends")             \
    X(tx_waiting, packets, "packets queued without a verdict")                              \
    X(tx_next_sequence, packets, "packets queued since the channel was opened")             \
    X(tx_used_bytes, bytes, "bytes in use in the tx ring")                                  \
    X(rx_unread_bytes, bytes, "bytes in the rx ring that the slowest reader has not taken") \
    X(rx_unread, packets, "packets that the slowest reader has not taken")                  \
    X(readers, readers, "readers attached")                                                 \
    X(readers_taken, packets, "packets taken by the attached readers")                      \
    X(readers_lost, packets, "packets overwritten before an attached reader took them")     \
    X(shared_lost, packets, "packets overwritten before any shared reader took them")       \
    X(producers, producers, "producers attached")                                           \
    X(reports, reports, "reports written since the channel was opened")

typedef enum word_id {
#define WORD_ID(id, unit, text) AT_##id,
    STATUS_WORDS(WORD_ID) NOW_WORDS(WORD_ID)
#undef WORD_ID
        AT_counters,
    AT_hists = AT_counters + SHM_COUNTER_TOTAL,
    AT_engine = AT_hists + SHM_HIST_TOTAL * LOOK_HIST_WORD_TOTAL,
} word_id_t;

static const look_word_t plain_words[] = {
    STATUS_WORDS(LOOK_NOW) NOW_WORDS(LOOK_NOW) SHM_COUNTERS(LOOK_COUNTER)};
#define HIST(id, text) {#id, "ns", "", text, true},
static const look_word_t hists[] = {SHM_HISTOGRAMS(HIST)};

/* One row per attached reader. */
typedef enum reader_word {
    READER_SLOT,
    READER_PID,
    READER_TAKEN,
    READER_LOST,
    READER_WAITING,
    READER_WORDS
} reader_word_t;

/* --- the type --------------------------------------------------------------------------------- */

typedef struct segment {
    PyObject_HEAD shm_segment_t s; /* base NULL: not mapped */
    const look_engine_t *engine;
    look_hist_t hists[SHM_HIST_TOTAL + LOOK_ENGINE_HISTS];
    size_t words;  /* most words in a look */
    int64_t *base; /* words as they were at rebase(); NULL: never */
    int64_t *last; /* as they were at the last look, before base was subtracted */
    uint64_t reset_mono_ns;
    bool looked;
} segment_t;

static void forget_histograms(segment_t *self)
{
    for (unsigned i = 0; i < SHM_HIST_TOTAL + LOOK_ENGINE_HISTS; i++)
        look_hist_forget(&self->hists[i]);
}

static void segment_dealloc(segment_t *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    shm_segment_unmap(&self->s);
    forget_histograms(self);
    free(self->base);
    free(self->last);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

static int map_segment(segment_t *self, int fd)
{
    int rc = shm_segment_map(&self->s, fd, 0);
    if (rc < 0)
        return rc;
    self->engine = look_engine_of(self->s.config.engine);
    uint64_t needed = self->engine->bytes(&self->s.config);
    if (needed > self->s.config.engine_bytes)
        return rt_err_set(-EINVAL,
                          "the engine's part has %llu bytes, engine %s needs %llu: the segment is "
                          "damaged; close the channel and open it again",
                          (unsigned long long)self->s.config.engine_bytes, self->engine->name,
                          (unsigned long long)needed);
    self->words = AT_engine + self->engine->words + (size_t)READER_WORDS * self->s.config.readers;
    self->last = calloc(self->words, sizeof *self->last);
    return self->last ? 0 : rt_err_set(-ENOMEM, "no memory for a look at a channel");
}

static PyObject *segment_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    int fd = look_open(args, kwargs);
    if (fd < 0)
        return NULL;
    segment_t *self = (segment_t *)PyType_GenericAlloc(type, 0);
    int rc = self ? map_segment(self, fd) : 0;
    close(fd);
    if (rc < 0) {
        look_refuse(rc);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* --- a look ----------------------------------------------------------------------------------- */

static int64_t signed_or_none(uint32_t v)
{
    return v == UINT32_MAX ? -1 : (int64_t)v;
}

static uint64_t used_units(uint64_t ring_bytes, uint32_t from, uint32_t to)
{
    uint32_t units = (uint32_t)(ring_bytes / SHM_UNIT_BYTES);
    if (from >= units || to >= units)
        return 0;
    return to >= from ? to - from : units - (from - to);
}

static void read_status(const shm_segment_t *s, int64_t *words)
{
#define READ(id, unit, text) words[AT_##id] = (int64_t)rt_load_relaxed(&s->status->id);
    STATUS_WORDS(READ)
#undef READ
    words[AT_cpu] = signed_or_none((uint32_t)words[AT_cpu]);
    words[AT_socket_fd] = signed_or_none((uint32_t)words[AT_socket_fd]);
    words[AT_worker_slot] = signed_or_none((uint32_t)words[AT_worker_slot]);
}

static void read_tx(const shm_segment_t *s, int64_t *words)
{
    shm_cursor_t tail = rt_load_acquire(&s->tx->tail);
    uint32_t head = rt_load_relaxed(&s->tx->head_place);
    int64_t producers = 0;
    uint32_t slots = s->config.direction & SHM_TX ? s->config.producers : 0;
    words[AT_tx_waiting] = (int64_t)tx_ring_waiting(s);
    words[AT_tx_next_sequence] = (int64_t)tx_ring_next_sequence(s);
    words[AT_tx_used_bytes] =
        (int64_t)(used_units(s->config.tx_bytes, head, shm_cursor_place(tail)) * SHM_UNIT_BYTES);
    for (uint32_t i = SHM_WORKER_PRODUCER + 1; i < slots; i++)
        producers += rt_load_relaxed(&s->producers[i].owner) != 0;
    words[AT_producers] = producers;
}

/* How far a cursor is behind the tail. */
static void note_unread(const shm_segment_t *s, shm_cursor_t tail, shm_cursor_t at, int64_t *words)
{
    int32_t ahead = rt_seq32_diff(shm_cursor_seq(tail), shm_cursor_seq(at));
    if (ahead <= words[AT_rx_unread])
        return;
    uint64_t units = used_units(s->config.rx_bytes, shm_cursor_place(at), shm_cursor_place(tail));
    words[AT_rx_unread] = ahead;
    words[AT_rx_unread_bytes] = (int64_t)(units * SHM_UNIT_BYTES);
}

/* Fills one row per attached reader; returns their number. */
static uint32_t read_readers(const shm_segment_t *s, int64_t *words, int64_t *rows)
{
    bool shared = s->config.read_mode == SHM_READ_SHARED;
    shm_cursor_t tail = rt_load_acquire(&s->rx->tail);
    uint32_t found = 0;
    uint32_t slots = s->config.direction & SHM_RX ? s->config.readers : 0;
    words[AT_rx_unread] = words[AT_rx_unread_bytes] = 0;
    words[AT_readers_taken] = words[AT_readers_lost] = 0;
    for (uint32_t i = 0; i < slots; i++) {
        const shm_reader_t *reader = &s->readers[i];
        uint32_t pid = rt_load_relaxed(&reader->owner);
        if (pid == 0)
            continue;
        int64_t *row = rows + (size_t)READER_WORDS * found++;
        shm_cursor_t at = rt_load_relaxed(&reader->cursor);
        int32_t ahead = shared ? 0 : rt_seq32_diff(shm_cursor_seq(tail), shm_cursor_seq(at));
        row[READER_SLOT] = i;
        row[READER_PID] = pid;
        row[READER_TAKEN] = (int64_t)rt_load_relaxed(&reader->taken);
        row[READER_LOST] = (int64_t)rt_load_relaxed(&reader->lost);
        row[READER_WAITING] = ahead > 0 ? ahead : 0;
        words[AT_readers_taken] += row[READER_TAKEN];
        words[AT_readers_lost] += row[READER_LOST];
        if (!shared)
            note_unread(s, tail, at, words);
    }
    if (shared && s->config.direction & SHM_RX)
        note_unread(s, tail, rt_load_relaxed(&s->rx->shared_head), words);
    words[AT_readers] = found;
    words[AT_shared_lost] = (int64_t)rt_load_relaxed(&s->rx->shared_lost);
    return found;
}

static void read_stats(const shm_segment_t *s, int64_t *words)
{
    const shm_stats_t *stats = s->stats;
    words[AT_reset_mono_ns] = (int64_t)rt_load_relaxed(&stats->reset_mono_ns);
    words[AT_scheduled] = (int64_t)rt_load_relaxed(&stats->scheduled);
    words[AT_wake_margin_ns] = rt_load_relaxed(&stats->wake_margin_ns);
    words[AT_wire_offset_ns] = rt_load_relaxed(&stats->wire_offset_ns);
    words[AT_reports] = (int64_t)rt_load_relaxed(&s->report->tail);
    for (unsigned i = 0; i < SHM_COUNTER_TOTAL; i++)
        words[AT_counters + i] = (int64_t)rt_load_relaxed(&stats->counters[i]);
}

static int read_histograms(segment_t *self, int64_t *words)
{
    const look_engine_t *engine = self->engine;
    int64_t *engines = words + AT_engine + engine->words - engine->hists * LOOK_HIST_WORD_TOTAL;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < SHM_HIST_TOTAL; i++)
        rc = look_hist_update(&self->hists[i], &self->s.stats->hists[i], !self->looked,
                              words + AT_hists + i * LOOK_HIST_WORD_TOTAL);
    for (unsigned i = 0; rc == 0 && i < engine->hists; i++)
        rc = look_hist_update(&self->hists[SHM_HIST_TOTAL + i], engine->hist(&self->s, i),
                              !self->looked, engines + i * LOOK_HIST_WORD_TOTAL);
    return rc;
}

/* The counters were reset: nothing from before counts. */
static void notice_reset(segment_t *self)
{
    uint64_t reset = rt_load_relaxed(&self->s.stats->reset_mono_ns);
    if (reset == self->reset_mono_ns)
        return;
    self->reset_mono_ns = reset;
    if (!self->looked)
        return;
    forget_histograms(self);
    free(self->base);
    self->base = NULL;
}

static void subtract_base(const segment_t *self, int64_t *words)
{
    if (self->base == NULL)
        return;
    for (unsigned i = AT_counters; i < AT_counters + SHM_COUNTER_TOTAL; i++)
        words[i] -= self->base[i];
    unsigned first = AT_engine + self->engine->first_counter;
    for (unsigned i = first; i < first + self->engine->counters; i++)
        words[i] -= self->base[i];
}

static PyObject *segment_look(segment_t *self, PyObject *unused)
{
    (void)unused;
    const look_engine_t *engine = self->engine;
    int64_t *words = self->last;
    notice_reset(self);
    words[AT_looked_mono_ns] = rt_mono_ns();
    read_status(&self->s, words);
    read_tx(&self->s, words);
    read_stats(&self->s, words);
    engine->read(&self->s, words + AT_engine);
    uint32_t readers = read_readers(&self->s, words, words + AT_engine + engine->words);
    if (read_histograms(self, words) < 0)
        return PyErr_NoMemory();
    if (shm_segment_torn(&self->s))
        return look_refuse(rt_err_set(-EPROTO, "its file was cut short"));
    self->looked = true;

    size_t count = AT_engine + engine->words + (size_t)readers * READER_WORDS;
    PyObject *row =
        PyBytes_FromStringAndSize((const char *)words, (Py_ssize_t)(count * sizeof *words));
    if (row)
        subtract_base(self, (int64_t *)(void *)PyBytes_AsString(row));
    return row;
}

/* --- other than words ------------------------------------------------------------------------- */

static PyObject *segment_rebase(segment_t *self, PyObject *unused)
{
    (void)unused;
    if (self->base == NULL)
        self->base = malloc(self->words * sizeof *self->base);
    if (self->base == NULL)
        return PyErr_NoMemory();
    memcpy(self->base, self->last, self->words * sizeof *self->base);
    for (unsigned i = 0; i < SHM_HIST_TOTAL + LOOK_ENGINE_HISTS; i++)
        if (look_hist_rebase(&self->hists[i]) < 0)
            return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *segment_buckets(segment_t *self, PyObject *args)
{
    unsigned int i;
    int interval;
    if (!PyArg_ParseTuple(args, "Ip:buckets", &i, &interval))
        return NULL;
    if (i >= SHM_HIST_TOTAL + self->engine->hists)
        return PyErr_Format(PyExc_IndexError, "histogram %u: this channel has %u", i,
                            SHM_HIST_TOTAL + self->engine->hists);
    return look_hist_list(&self->hists[i], interval != 0);
}

/* (host, port), None for no address. IPv6 hosts include their zone. */
static PyObject *address(const shm_addr_t *from)
{
    shm_addr_t a = *from;
    char host[INET6_ADDRSTRLEN];
    char zone[IF_NAMESIZE];
    if (a.family != 4 && a.family != 6)
        return Py_NewRef(Py_None);
    inet_ntop(a.family == 4 ? AF_INET : AF_INET6, a.ip, host, sizeof host);
    if (a.family == 4 || a.scope == 0)
        return Py_BuildValue("(si)", host, (int)a.port);
    if (if_indextoname(a.scope, zone) == NULL)
        return Py_BuildValue("(Ni)", PyUnicode_FromFormat("%s%%%u", host, a.scope), (int)a.port);
    return Py_BuildValue("(Ni)", PyUnicode_FromFormat("%s%%%s", host, zone), (int)a.port);
}

/* Everything that is no number, and the configuration. */
static PyObject *segment_facts(segment_t *self, PyObject *unused)
{
    (void)unused;
    const shm_config_t *c = &self->s.config;
    const shm_status_t *st = self->s.status;
#define TEXT(field) look_text(field, sizeof(field))
    return Py_BuildValue(
        "{sN sN sN sN sN sN sN sN sN sN sN sB sB sB sB sB sB sB sI sK sK sI sI sI sL sK sK sy#}",
        "name", TEXT(c->name), "namespace", TEXT(c->name_space), "pool", TEXT(c->pool), "engine",
        TEXT(c->engine), "device", TEXT(c->device), "local", address(&st->bound), "remote",
        address(&c->remote), "interface", TEXT(st->interface), "qdisc", TEXT(st->qdisc),
        "txtime_reason", TEXT(st->txtime_reason), "failure", TEXT(st->reason), "direction", c->direction, "read_mode",
        c->read_mode, "overflow", c->overflow, "late", c->late, "align", c->align, "clock",
        c->clock, "reports", c->reports, "producers", c->producers - 1, "tx_bytes",
        (unsigned long long)c->tx_bytes, "rx_bytes", (unsigned long long)c->rx_bytes, "tx_capacity",
        c->tx_capacity, "rx_capacity", c->rx_capacity, "readers", c->readers, "tolerance_ns",
        (long long)c->tolerance_ns, "segment_bytes", (unsigned long long)self->s.bytes,
        "segment_id", (unsigned long long)self->s.segment_id, "engine_config",
        (const char *)c->engine_config, (Py_ssize_t)sizeof c->engine_config);
#undef TEXT
}

static PyMethodDef segment_methods[] = {
    {"look", (PyCFunction)(void (*)(void))segment_look, METH_NOARGS, "look($self, /)\n--\n\n"},
    {"facts", (PyCFunction)(void (*)(void))segment_facts, METH_NOARGS, "facts($self, /)\n--\n\n"},
    {"rebase", (PyCFunction)(void (*)(void))segment_rebase, METH_NOARGS,
     "rebase($self, /)\n--\n\n"},
    {"buckets", (PyCFunction)(void (*)(void))segment_buckets, METH_VARARGS,
     "buckets($self, index, interval, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot segment_slots[] = {
    {Py_tp_new, (void *)segment_new},
    {Py_tp_dealloc, (void *)segment_dealloc},
    {Py_tp_methods, segment_methods},
    {Py_tp_doc, "Segment(path, /)\n--\n\nA channel's segment, mapped for reading."},
    {0, NULL},
};

static PyType_Spec segment_spec = {
    .name = "rtstat._look.Segment",
    .basicsize = (int)sizeof(segment_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = segment_slots,
};

static PyObject *channel_words(void)
{
    PyObject *list = PyList_New(0);
    bool ok =
        list && look_add_words(list, plain_words, sizeof plain_words / sizeof *plain_words) == 0;
    for (unsigned i = 0; ok && i < SHM_HIST_TOTAL; i++)
        ok = look_add_hist(list, hists[i].name, hists[i].text) == 0;
    if (!ok)
        Py_CLEAR(list);
    return list;
}

static PyObject *histogram_names(void)
{
    PyObject *list = PyList_New(0);
    for (unsigned i = 0; list && i < SHM_HIST_TOTAL; i++)
        if (look_add_word(list, &hists[i]) < 0)
            Py_CLEAR(list);
    return list;
}

static int add(PyObject *module, const char *name, PyObject *value)
{
    int rc = value ? PyModule_AddObjectRef(module, name, value) : -1;
    Py_XDECREF(value);
    return rc;
}

int look_segment_init(PyObject *module)
{
    if (add(module, "Segment", PyType_FromSpec(&segment_spec)) < 0 ||
        add(module, "CHANNEL_WORDS", channel_words()) < 0 ||
        add(module, "CHANNEL_HISTOGRAMS", histogram_names()) < 0 ||
        add(module, "ENGINE_WORDS", look_engine_words()) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "READER_WORDS", READER_WORDS);
}
