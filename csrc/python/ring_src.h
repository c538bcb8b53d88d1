/* ring_src.h: the C side of shmring._ring (cffi, API mode); ring_cdef.h says what Python sees of
 * it. Besides the library's own functions there are a few that fold into one call what Python would
 * otherwise pay several for, or cannot do itself. */
#include "python/channel_end.h"
#include "python/netflux_end.h"
#include "python/rtp_rows.h"
#include "python/udt_end.h"

#include "base/rt_clock.h"
#include "base/rt_seq.h"
#include "proto/netflux/nfx_stats.h"
#include "proto/rtp/g711.h"
#include "proto/rtp/rtp_packet.h"
#include "proto/rtp/rtp_stream.h"
#include "shm/error_log.h"
#include "shm/rtp_shm.h"
#include "shm/tap_ring.h"

#include <arpa/inet.h>
#include <sys/timerfd.h>

#define RING_COUNTER_NAME(id, unit, text) #id,
static const char *const ring_counter_names[] = {SHM_COUNTERS(RING_COUNTER_NAME) NULL};
#define RING_COUNTER_UNIT(id, unit, text) #unit,
static const char *const ring_counter_units[] = {SHM_COUNTERS(RING_COUNTER_UNIT) NULL};
#define RING_COUNTER_TEXT(id, unit, text) text,
static const char *const ring_counter_texts[] = {SHM_COUNTERS(RING_COUNTER_TEXT) NULL};
#define RING_HIST_NAME(id, text) #id,
static const char *const ring_hist_names[] = {SHM_HISTOGRAMS(RING_HIST_NAME) NULL};
#define RING_HIST_TEXT(id, text) text,
static const char *const ring_hist_texts[] = {SHM_HISTOGRAMS(RING_HIST_TEXT) NULL};

#define RING_RTP_NAME(id, unit, text) #id,
static const char *const ring_rtp_counter_names[] = {SHM_RTP_COUNTERS(RING_RTP_NAME) NULL};
static const char *const ring_rtp_gauge_names[] = {SHM_RTP_GAUGES(RING_RTP_NAME) NULL};
#define RING_RTP_UNIT(id, unit, text) #unit,
static const char *const ring_rtp_counter_units[] = {SHM_RTP_COUNTERS(RING_RTP_UNIT) NULL};
static const char *const ring_rtp_gauge_units[] = {SHM_RTP_GAUGES(RING_RTP_UNIT) NULL};
#define RING_RTP_TEXT(id, unit, text) text,
static const char *const ring_rtp_counter_texts[] = {SHM_RTP_COUNTERS(RING_RTP_TEXT) NULL};
static const char *const ring_rtp_gauge_texts[] = {SHM_RTP_GAUGES(RING_RTP_TEXT) NULL};

#define RING_NFX_COUNTER_NAME(id, unit, text) #id,
static const char *const ring_netflux_counter_names[] = {NFX_COUNTERS(RING_NFX_COUNTER_NAME) NULL};
#define RING_NFX_COUNTER_UNIT(id, unit, text) #unit,
static const char *const ring_netflux_counter_units[] = {NFX_COUNTERS(RING_NFX_COUNTER_UNIT) NULL};
#define RING_NFX_COUNTER_TEXT(id, unit, text) text,
static const char *const ring_netflux_counter_texts[] = {NFX_COUNTERS(RING_NFX_COUNTER_TEXT) NULL};
#define RING_NFX_NAME(id, text) #id,
static const char *const ring_netflux_gauge_names[] = {NFX_GAUGES(RING_NFX_NAME) NULL};
static const char *const ring_netflux_hist_names[] = {NFX_HISTOGRAMS(RING_NFX_NAME) NULL};
#define RING_NFX_TEXT(id, text) text,
static const char *const ring_netflux_gauge_texts[] = {NFX_GAUGES(RING_NFX_TEXT) NULL};
static const char *const ring_netflux_hist_texts[] = {NFX_HISTOGRAMS(RING_NFX_TEXT) NULL};

static const char *const ring_udt_counter_names[] = {UDT_COUNTERS(RING_COUNTER_NAME) NULL};
static const char *const ring_udt_counter_units[] = {UDT_COUNTERS(RING_COUNTER_UNIT) NULL};
static const char *const ring_udt_counter_texts[] = {UDT_COUNTERS(RING_COUNTER_TEXT) NULL};
static const char *const ring_udt_gauge_names[] = {UDT_GAUGES(RING_HIST_NAME) NULL};
static const char *const ring_udt_gauge_texts[] = {UDT_GAUGES(RING_HIST_TEXT) NULL};
static const char *const ring_udt_port_names[] = {SHM_UDT_PORT_COUNTERS(RING_COUNTER_NAME) NULL};
static const char *const ring_udt_port_units[] = {SHM_UDT_PORT_COUNTERS(RING_COUNTER_UNIT) NULL};
static const char *const ring_udt_port_texts[] = {SHM_UDT_PORT_COUNTERS(RING_COUNTER_TEXT) NULL};

/* All counters into out, SHM_COUNTER_TOTAL of them. */
static void ring_read_counters(const shm_stats_t *stats, uint64_t *out)
{
    for (unsigned i = 0; i < SHM_COUNTER_TOTAL; i++)
        out[i] = rt_load_relaxed(&stats->counters[i]);
}

/* Likewise of an RTP channel; counters: SHM_RTP_COUNTER_TOTAL, gauges: SHM_RTP_GAUGE_TOTAL of them. */
static void ring_read_rtp(const shm_rtp_state_t *state, uint64_t *counters, int64_t *gauges)
{
    for (unsigned i = 0; i < SHM_RTP_COUNTER_TOTAL; i++)
        counters[i] = rt_load_relaxed(&state->counters[i]);
    for (unsigned i = 0; i < SHM_RTP_GAUGE_TOTAL; i++)
        gauges[i] = rt_load_relaxed(&state->gauges[i]);
}

/* Likewise of a Netflux channel; counters: NFX_COUNTER_TOTAL, gauges: NFX_GAUGE_TOTAL of them. */
static const nfx_stats_t *ring_read_netflux(uint8_t *engine, uint64_t *counters, uint64_t *gauges)
{
    const nfx_stats_t *stats = (const nfx_stats_t *)(const void *)shm_netflux_stats(engine);
    for (unsigned i = 0; i < NFX_COUNTER_TOTAL; i++)
        counters[i] = rt_load_relaxed(&stats->counters[i]);
    for (unsigned i = 0; i < NFX_GAUGE_TOTAL; i++)
        gauges[i] = rt_load_relaxed(&stats->gauges[i]);
    return stats;
}

static uint64_t ring_netflux_published(const uint8_t *engine)
{
    return rt_load_acquire(&shm_netflux_head(engine)->published);
}

/* What the source calls itself, into out[256]; "" while it is being written. */
static void ring_read_rtp_cname(const shm_rtp_state_t *state, char *out)
{
    uint32_t before = rt_load_acquire(&state->cname_changes); /* N2: pairs with N1 in the worker */
    memcpy(out, state->remote_cname, sizeof state->remote_cname);
    rt_fence_acquire();
    if (before % 2 != 0 || rt_load_relaxed(&state->cname_changes) != before)
        out[0] = 0;
    out[sizeof state->remote_cname - 1] = 0;
}

static void ring_copy_hist(rt_hist_t *to, const rt_hist_t *from)
{
    rt_store_relaxed(&to->count, rt_load_relaxed(&from->count));
    rt_store_relaxed(&to->sum_ns, rt_load_relaxed(&from->sum_ns));
    rt_store_relaxed(&to->min_ns, rt_load_relaxed(&from->min_ns));
    rt_store_relaxed(&to->max_ns, rt_load_relaxed(&from->max_ns));
    for (unsigned i = 0; i < RT_HIST_BUCKETS; i++)
        rt_store_relaxed(&to->buckets[i], rt_load_relaxed(&from->buckets[i]));
}

static uint64_t ring_hist_bucket(const rt_hist_t *h, unsigned bucket)
{
    return rt_load_relaxed(&h->buckets[bucket]);
}

/* Packets that the reader in this slot has before it; broadcast mode. */
static uint32_t ring_reader_waiting(const shm_segment_t *s, uint32_t slot)
{
    uint32_t tail = shm_cursor_seq(rt_load_acquire(&s->rx->tail));
    int32_t ahead = rt_seq32_diff(tail, shm_cursor_seq(rt_load_acquire(&s->readers[slot].cursor)));
    return ahead > 0 ? (uint32_t)ahead : 0;
}

/* Packets overwritten before any shared reader took them, with those that no reader has come across
 * yet where the channel is one of shared reading. What a reader is stepping over at this moment may be
 * missing; nothing counts twice. */
static uint64_t ring_shared_lost(const shm_segment_t *s)
{
    const shm_rx_cursors_t *rx = s->rx;
    uint64_t lost = rt_load_acquire(&rx->shared_lost);
    if (s->config.read_mode != SHM_READ_SHARED)
        return lost;
    uint64_t near = rt_load_relaxed(&rx->sequence_high);
    uint64_t head = rt_seq64_near(near, shm_cursor_seq(rt_load_acquire(&rx->shared_head)));
    uint64_t floor = rt_seq64_near(near, shm_cursor_seq(rt_load_acquire(&rx->floor)));
    uint64_t purged = rt_load_relaxed(&rx->purged_sequence);
    uint64_t start = head > purged ? head : purged;
    return floor > start ? lost + (floor - start) : lost;
}

/* Packets that have their verdict and whose report is not in the ring yet, because it waits for the
 * kernel's stamp. Meaningful where every packet is reported; one given up by its sender counts too. */
static uint64_t ring_reports_awaited(const shm_segment_t *s)
{
    uint64_t reported = rt_load_acquire(&s->report->tail);
    uint64_t finished = rt_load_relaxed(&s->tx->finished);
    return finished > reported ? finished - reported : 0;
}

/* Reads shm_late_packet_t, the oldest still held first. */
static void ring_late_reader_init(slot_reader_t *reader, const shm_segment_t *s)
{
    slot_reader_init(reader, s->late, s->late_packets, s->config.late_slots,
                     (uint32_t)sizeof(shm_late_packet_t));
}

static uint64_t ring_suppressed(const shm_recorder_t *shared)
{
    return rt_load_relaxed(&shared->cursors.suppressed);
}

static uint64_t ring_other_errors(const shm_error_log_t *shared)
{
    return rt_load_relaxed(&shared->others);
}

/* Now, in the clock that the channel counts in. */
static int64_t ring_now_ns(const shm_segment_t *s)
{
    return s->config.clock == RT_CLOCK_TAI ? rt_tai_ns() : rt_mono_ns();
}

/* Of the log of a tap: tap_state_t, rt_clock_id_t, and how many datagrams a reader that has taken all
 * there is will not be told of, for no record follows those that were overwritten. */
static uint32_t ring_tap_state(const tap_reader_t *r)
{
    return rt_load_acquire(&r->head->state);
}
static uint32_t ring_tap_clock(const tap_reader_t *r)
{
    return r->head->clock;
}
static uint64_t ring_tap_untold(const tap_reader_t *r)
{
    uint64_t datagrams = rt_load_relaxed(&r->head->datagrams);
    return datagrams > r->next_index ? datagrams - r->next_index : 0;
}

/* The ones' complement sum of data as 16-bit words in network order (RFC 1071), 0 to 0xffff. */
static uint32_t ring_sum16(const uint8_t *data, uint64_t bytes)
{
    uint64_t sum = 0;
    uint64_t at = 0;
    for (; at + 4 <= bytes; at += 4) {
        uint32_t word;
        memcpy(&word, data + at, sizeof word);
        sum += word;
    }
    uint8_t rest[4] = {0};
    memcpy(rest, data + at, bytes - at);
    uint32_t last;
    memcpy(&last, rest, sizeof last);
    sum += last;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)sum); /* the sum may be taken in either order of bytes */
}

/* A descriptor that becomes readable every period_ns; Python has none before 3.13. */
static int ring_timer_open(int64_t period_ns)
{
    struct timespec period = {period_ns / RT_NS_PER_S, (long)(period_ns % RT_NS_PER_S)};
    struct itimerspec spec = {period, period};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0)
        return rt_err_set(-errno, "making a timer descriptor failed");
    timerfd_settime(fd, 0, &spec, NULL);
    return fd;
}
