#include "client/channel_stats.h"

#include "base/rt_clock.h"
#include "base/rt_seq.h"

/* A worker reports several times a second that it serves a channel. */
#define UNHEARD_NS (1 * RT_NS_PER_S)

void channel_read_counters(const shm_stats_t *stats, uint64_t *out)
{
    for (unsigned i = 0; i < SHM_COUNTER_TOTAL; i++)
        out[i] = rt_load_relaxed(&stats->counters[i]);
}

void channel_copy_hist(rt_hist_t *to, const rt_hist_t *from)
{
    rt_store_relaxed(&to->count, rt_load_relaxed(&from->count));
    rt_store_relaxed(&to->sum_ns, rt_load_relaxed(&from->sum_ns));
    rt_store_relaxed(&to->min_ns, rt_load_relaxed(&from->min_ns));
    rt_store_relaxed(&to->max_ns, rt_load_relaxed(&from->max_ns));
    for (unsigned i = 0; i < RT_HIST_BUCKETS; i++)
        rt_store_relaxed(&to->buckets[i], rt_load_relaxed(&from->buckets[i]));
}

void channel_add_hist(rt_hist_t *to, const rt_hist_t *from)
{
    uint64_t count = rt_load_relaxed(&to->count);
    uint64_t least = rt_load_relaxed(&from->min_ns);
    uint64_t most = rt_load_relaxed(&from->max_ns);
    if (rt_load_relaxed(&from->count) == 0)
        return;
    if (count == 0 || least < rt_load_relaxed(&to->min_ns))
        rt_store_relaxed(&to->min_ns, least);
    if (most > rt_load_relaxed(&to->max_ns))
        rt_store_relaxed(&to->max_ns, most);
    rt_bump(&to->count, rt_load_relaxed(&from->count));
    rt_bump(&to->sum_ns, rt_load_relaxed(&from->sum_ns));
    for (unsigned i = 0; i < RT_HIST_BUCKETS; i++)
        rt_bump(&to->buckets[i], rt_load_relaxed(&from->buckets[i]));
}

uint64_t channel_hist_bucket(const rt_hist_t *h, unsigned bucket)
{
    return rt_load_relaxed(&h->buckets[bucket]);
}

uint64_t channel_shared_lost(const shm_segment_t *s)
{
    const shm_rx_cursors_t *rx = s->rx;
    uint64_t lost = rt_load_acquire(&rx->shared_lost);
    if (s->config.read_mode != SHM_READ_SHARED)
        return lost;
    uint64_t near = rt_load_relaxed(&rx->sequence_high);
    uint64_t head = rt_seq64_near(near, shm_cursor_seq(rt_load_acquire(&rx->shared_head)));
    uint64_t floor = rt_seq64_near(near, shm_cursor_seq(rt_load_acquire(&rx->floor)));
    uint64_t purged = rt_load_relaxed(&rx->purged_sequence);
    uint64_t first = head > purged ? head : purged;
    return floor > first ? lost + (floor - first) : lost;
}

uint64_t channel_reports_awaited(const shm_segment_t *s)
{
    uint64_t reported = rt_load_acquire(&s->report->tail);
    uint64_t finished = rt_load_relaxed(&s->tx->finished);
    return finished > reported ? finished - reported : 0;
}

void channel_report_reader_init(slot_reader_t *reader, const shm_segment_t *s)
{
    slot_reader_init(reader, s->report, s->reports, s->config.report_slots,
                     (uint32_t)sizeof(shm_report_t));
}

int channel_find_report(slot_reader_t *reader, uint64_t sequence, shm_report_t *out)
{
    while (slot_reader_next(reader, out, 1) == 1)
        if (out->sequence == sequence)
            return 1;
    return 0;
}

void channel_late_reader_init(slot_reader_t *reader, const shm_segment_t *s)
{
    slot_reader_init(reader, s->late, s->late_packets, s->config.late_slots,
                     (uint32_t)sizeof(shm_late_packet_t));
}

int64_t channel_now_ns(const shm_segment_t *s)
{
    return s->config.clock == RT_CLOCK_TAI ? rt_tai_ns() : rt_mono_ns();
}

bool channel_is_unheard(const shm_segment_t *s)
{
    uint32_t state = rt_load_acquire(&s->status->state);
    uint64_t heartbeat = rt_load_relaxed(&s->status->heartbeat_mono_ns);
    return (state == SHM_STATE_OPEN || state == SHM_STATE_HELD) &&
           (int64_t)((uint64_t)rt_mono_ns() - heartbeat) > UNHEARD_NS;
}

void channel_gaps_add(channel_gaps_t *g, const shm_report_t *reports, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const shm_report_t *r = &reports[i];
        int64_t late_ns;
        int64_t error_ns;
        if (r->scheduled_ns == 0 || r->sent_ns == 0 ||
            __builtin_sub_overflow(r->sent_ns, r->scheduled_ns, &late_ns)) {
            g->next_sequence = 0;
            continue;
        }
        if (g->next_sequence == r->sequence && r->sequence != 0 &&
            !__builtin_sub_overflow(late_ns, g->late_ns, &error_ns))
            rt_hist_add(&g->errors,
                        error_ns < 0 ? -(error_ns + (error_ns == INT64_MIN)) : error_ns);
        g->next_sequence = r->sequence + 1;
        g->late_ns = late_ns;
    }
}
