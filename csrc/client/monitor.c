/* Reads the words of a channel's segment. */
#include "client/monitor.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "base/rt_seq.h"
#include "client/channel_stats.h"
#include "shm/tx_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
    X(gso, flag, "packets due within 2 us leave in one call")                         \
    X(gro, flag, "packets that the kernel coalesced are received in one call")        \
    X(txtime, flag, "the queueing discipline or the card launches the packets")       \
    X(rx_stamp, , "best arrival timestamp available: 1 user, 2 kernel, 3 hardware")   \
    X(tx_stamp, , "best departure timestamp available: 1 user, 2 kernel, 3 hardware") \
    X(worker_slot, , "slot of the worker in its pool")                                \
    X(heartbeat_mono_ns, ns, "last heartbeat of the worker, CLOCK_MONOTONIC")         \
    X(opened_mono_ns, ns, "time when the channel was opened, CLOCK_MONOTONIC")

/* Words that are computed here. */
#define NOW_WORDS(X)                                                                        \
    X(read_mono_ns, ns, "time of this reading, CLOCK_MONOTONIC")                            \
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
    AT_engine = AT_hists + SHM_HIST_TOTAL * MONITOR_HIST_WORDS,
} word_id_t;

static const monitor_word_t words_of_all[] = {STATUS_WORDS(MONITOR_NOW) NOW_WORDS(MONITOR_NOW)
                                                  SHM_COUNTERS(MONITOR_COUNTER)};
static const monitor_word_t hists_of_all[] = {SHM_HISTOGRAMS(MONITOR_HIST)};

void monitor_common_names(monitor_names_t *out)
{
    *out = (monitor_names_t){words_of_all, sizeof words_of_all / sizeof *words_of_all, hists_of_all,
                             SHM_HIST_TOTAL};
}

/* --- opening ---------------------------------------------------------------------------------- */

static size_t engine_words(const monitor_engine_t *engine)
{
    return engine->names.count + engine->names.hist_count * MONITOR_HIST_WORDS;
}

static int check_engine(const shm_segment_t *s, const monitor_engine_t *engine)
{
    uint64_t needed = engine->bytes(&s->config);
    if (needed <= s->config.engine_bytes)
        return 0;
    return rt_err_set(-EINVAL,
                      "the engine's part has %llu bytes, engine %s needs %llu: the segment is "
                      "damaged; close the channel and open it again",
                      (unsigned long long)s->config.engine_bytes, engine->name,
                      (unsigned long long)needed);
}

size_t monitor_most_words(const shm_segment_t *s)
{
    return AT_engine + engine_words(monitor_engine_of(s->config.engine)) +
           (size_t)MONITOR_READER_WORDS * s->config.readers;
}

int monitor_open(monitor_t *m, int fd)
{
    int rc = shm_segment_map(&m->s, fd, 0);
    if (rc < 0)
        return rc;
    m->engine = monitor_engine_of(m->s.config.engine);
    rc = check_engine(&m->s, m->engine);
    if (rc < 0)
        return rc;
    m->words = monitor_most_words(&m->s);
    m->last = calloc(m->words, sizeof *m->last);
    return m->last ? 0 : rt_err_set(-ENOMEM, "no memory to read a channel");
}

static void forget_histograms(monitor_t *m)
{
    for (unsigned i = 0; i < SHM_HIST_TOTAL + MONITOR_ENGINE_HISTS; i++)
        monitor_hist_forget(&m->hists[i]);
}

void monitor_close(monitor_t *m)
{
    shm_segment_unmap(&m->s);
    forget_histograms(m);
    free(m->base);
    free(m->last);
}

/* --- reading ---------------------------------------------------------------------------------- */

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
        int64_t *row = rows + (size_t)MONITOR_READER_WORDS * found++;
        shm_cursor_t at = rt_load_relaxed(&reader->cursor);
        int32_t ahead = shared ? 0 : rt_seq32_diff(shm_cursor_seq(tail), shm_cursor_seq(at));
        row[MONITOR_READER_SLOT] = i;
        row[MONITOR_READER_PID] = pid;
        row[MONITOR_READER_TAKEN] = (int64_t)rt_load_relaxed(&reader->taken);
        row[MONITOR_READER_LOST] = (int64_t)rt_load_relaxed(&reader->lost);
        row[MONITOR_READER_WAITING] = ahead > 0 ? ahead : 0;
        words[AT_readers_taken] += row[MONITOR_READER_TAKEN];
        words[AT_readers_lost] += row[MONITOR_READER_LOST];
        if (!shared)
            note_unread(s, tail, at, words);
    }
    if (shared && s->config.direction & SHM_RX)
        note_unread(s, tail, rt_load_relaxed(&s->rx->shared_head), words);
    words[AT_readers] = found;
    words[AT_shared_lost] = (int64_t)channel_shared_lost(s);
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
    channel_read_counters(stats, (uint64_t *)words + AT_counters);
}

/* All but the histograms. Returns how many words it has. */
static size_t read_words(const shm_segment_t *s, const monitor_engine_t *engine, int64_t *words)
{
    size_t readers_at = AT_engine + engine_words(engine);
    words[AT_read_mono_ns] = rt_mono_ns();
    read_status(s, words);
    read_tx(s, words);
    read_stats(s, words);
    engine->read(s, words + AT_engine);
    return readers_at + (size_t)MONITOR_READER_WORDS * read_readers(s, words, words + readers_at);
}

static int check_whole(const shm_segment_t *s)
{
    return shm_segment_torn(s) ? rt_err_set(-EPROTO, "its file was cut short") : 0;
}

int monitor_look(const shm_segment_t *s, int64_t *row)
{
    const monitor_engine_t *engine = monitor_engine_of(s->config.engine);
    int rc = check_engine(s, engine);
    if (rc < 0)
        return rc;
    memset(row, 0, monitor_most_words(s) * sizeof *row);
    size_t count = read_words(s, engine, row);
    rc = check_whole(s);
    return rc < 0 ? rc : (int)count;
}

int monitor_look_engine(const shm_segment_t *s, int64_t *words)
{
    const monitor_engine_t *engine = monitor_engine_of(s->config.engine);
    int rc = check_engine(s, engine);
    if (rc < 0)
        return rc;
    memset(words, 0, engine_words(engine) * sizeof *words);
    engine->read(s, words);
    rc = check_whole(s);
    return rc < 0 ? rc : (int)engine->names.count;
}

const rt_hist_t *monitor_hist(const shm_segment_t *s, unsigned number)
{
    const monitor_engine_t *engine = monitor_engine_of(s->config.engine);
    if (number < SHM_HIST_TOTAL)
        return &s->stats->hists[number];
    number -= SHM_HIST_TOTAL;
    return number < engine->names.hist_count ? engine->hist(s, number) : NULL;
}

static int read_histograms(monitor_t *m, int64_t *words)
{
    const monitor_names_t *own = &m->engine->names;
    int64_t *engines = words + AT_engine + own->count;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < SHM_HIST_TOTAL; i++)
        rc = monitor_hist_read(&m->hists[i], &m->s.stats->hists[i], !m->used,
                               words + AT_hists + i * MONITOR_HIST_WORDS);
    for (unsigned i = 0; rc == 0 && i < own->hist_count; i++)
        rc = monitor_hist_read(&m->hists[SHM_HIST_TOTAL + i], m->engine->hist(&m->s, i), !m->used,
                               engines + i * MONITOR_HIST_WORDS);
    return rc;
}

/* The counters were reset: nothing from before counts. */
static void notice_reset(monitor_t *m)
{
    uint64_t reset = rt_load_relaxed(&m->s.stats->reset_mono_ns);
    if (reset == m->reset_mono_ns)
        return;
    m->reset_mono_ns = reset;
    if (!m->used)
        return;
    forget_histograms(m);
    free(m->base);
    m->base = NULL;
}

static void subtract_base(const monitor_t *m, int64_t *words)
{
    if (m->base == NULL)
        return;
    for (unsigned i = AT_counters; i < AT_counters + SHM_COUNTER_TOTAL; i++)
        words[i] -= m->base[i];
    unsigned first = AT_engine + m->engine->first_counter;
    for (unsigned i = first; i < first + m->engine->counters; i++)
        words[i] -= m->base[i];
}

int monitor_read(monitor_t *m, int64_t *row)
{
    int64_t *words = m->last;
    notice_reset(m);
    size_t count = read_words(&m->s, m->engine, words);
    int rc = read_histograms(m, words);
    rc = rc < 0 ? rc : check_whole(&m->s);
    if (rc < 0)
        return rc;
    m->used = true;
    memcpy(row, words, count * sizeof *row);
    subtract_base(m, row);
    return (int)count;
}

int monitor_buckets(const monitor_t *m, unsigned number, bool interval, uint64_t *out)
{
    size_t count = SHM_HIST_TOTAL + m->engine->names.hist_count;
    if (number >= count)
        return rt_err_set(-EINVAL, "histogram %u: this channel has %zu", number, count);
    monitor_hist_copy(&m->hists[number], interval, out);
    return 0;
}

int monitor_rebase(monitor_t *m)
{
    if (m->base == NULL)
        m->base = malloc(m->words * sizeof *m->base);
    if (m->base == NULL)
        return -ENOMEM;
    memcpy(m->base, m->last, m->words * sizeof *m->base);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < SHM_HIST_TOTAL + MONITOR_ENGINE_HISTS; i++)
        rc = monitor_hist_rebase(&m->hists[i]);
    return rc;
}
