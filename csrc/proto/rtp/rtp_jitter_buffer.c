/* How it works
 *
 * For each packet, transit = arrival - media time, where media time counts from an arbitrary
 * origin: only differences of transits mean something. Three things make them differ:
 *
 *     transit
 *       |          . jitter: above the floor
 *       |    .  .      .  . .    .
 *       | .  . .. .  ..  . . .. . ____ skew: the floor rises or falls on a straight line
 *       |______-------''''''''
 *       +------------------------------> arrival
 *
 * The floor's slope (rtp_skew.h) is subtracted from all transits. What is subtracted (`shift`) is a
 * function of time without jumps, so old and new values in the window stay comparable.
 *
 * What remains goes into the window. Its minimum is the floor, and its percentile minus the floor
 * is the target delay. `offset` = floor + delay is the controlled value: up at once, down
 * slowly. So a lower floor (a faster path) does not shift playout at once either.
 *
 * Only the playout time decides on losses. The missing frames' media times are interpolated
 * between their neighbours, and each becomes an erasure at its own playout time: until then an
 * overtaken frame may still arrive. The record of the last 1024 numbers distinguishes late ones
 * from duplicates, and lost ones from late ones. */
#include "proto/rtp/rtp_jitter_buffer.h"

#include "base/rt_err.h"
#include "base/rt_math.h"
#include "base/rt_seq.h"
#include "rows/rtp.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define DEFAULT_PERCENTILE 0.98
#define LONGEST_NS (60 * RT_NS_PER_S)
#define WARM_UP 16u
#define FAR_SEQ 3000
#define FOLLOWS_WITHIN 100u
#define GAP_AT_ONCE 1000u
#define SEQ_CYCLE UINT64_C(65536)
#define ERASURES_PER_S 1000
#define REORDERED_MOST 16u /* how far back a signal waits for missing packets */

/* ---- configuration ---- */

static int64_t or_default(int64_t value, int64_t value_by_default)
{
    if (value == 0)
        return value_by_default;
    return value < 0 ? 0 : value;
}

int rtp_jitter_buffer_init(rtp_jitter_buffer_t *b, const rtp_jitter_buffer_config_t *config,
                           rtp_jitter_buffer_entry_t *entries, uint32_t entry_count)
{
    memset(b, 0, sizeof *b);
    rtp_jitter_buffer_config_t *c = &b->config;
    *c = *config;
    if (c->percentile == 0.0)
        c->percentile = DEFAULT_PERCENTILE;
    c->min_delay_ns = or_default(c->min_delay_ns, RTP_DEFAULT_min_delay_ns);
    c->max_delay_ns = or_default(c->max_delay_ns, RTP_DEFAULT_max_delay_ns);
    c->first_delay_ns = rt_clamp64(or_default(c->first_delay_ns, RTP_DEFAULT_first_delay_ns),
                                   c->min_delay_ns, c->max_delay_ns);
    c->shrink_ns_per_s = or_default(c->shrink_ns_per_s, RTP_DEFAULT_shrink_ns_per_s);
    c->conceal_ns = or_default(c->conceal_ns, RTP_DEFAULT_conceal_ns);
    c->resync_ns = or_default(c->resync_ns, RTP_DEFAULT_resync_ns);
    b->entries = entries;
    b->entry_count = entry_count;
    rtp_jitter_init(&b->jitter, c->clock_rate);
    if (c->min_delay_ns > c->max_delay_ns)
        return rt_err_set(-EINVAL, "delay between %" PRId64 " and %" PRId64 " ns; take min <= max",
                          c->min_delay_ns, c->max_delay_ns);
    return 0;
}

/* ---- the window of transits ---- */

static uint32_t place_of(const rtp_jitter_buffer_window_t *w, int64_t value)
{
    uint32_t low = 0;
    uint32_t high = w->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (w->sorted[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void window_add(rtp_jitter_buffer_window_t *w, int64_t transit_ns)
{
    if (w->count == RTP_JITTER_BUFFER_WINDOW) {
        uint32_t oldest = place_of(w, w->recent[w->next]);
        w->count--;
        memmove(&w->sorted[oldest], &w->sorted[oldest + 1],
                (w->count - oldest) * sizeof w->sorted[0]);
    }
    uint32_t at = place_of(w, transit_ns);
    memmove(&w->sorted[at + 1], &w->sorted[at], (w->count - at) * sizeof w->sorted[0]);
    w->sorted[at] = transit_ns;
    w->count++;
    w->recent[w->next] = transit_ns;
    w->next = (w->next + 1) % RTP_JITTER_BUFFER_WINDOW;
}

static int64_t floor_ns(const rtp_jitter_buffer_t *b)
{
    return b->window.count > 0 ? b->window.sorted[0] : 0;
}

int64_t rtp_jitter_buffer_target_ns(const rtp_jitter_buffer_t *b)
{
    const rtp_jitter_buffer_window_t *w = &b->window;
    if (w->count == 0)
        return b->config.first_delay_ns;
    /* The smallest value that the configured share does not exceed. */
    double share = b->config.percentile * w->count;
    uint32_t below = (uint32_t)share;
    uint32_t at = share > below ? below : below - 1;
    int64_t wanted = w->sorted[at] - w->sorted[0];
    if (w->count < WARM_UP && wanted < b->config.first_delay_ns)
        wanted = b->config.first_delay_ns;
    return rt_clamp64(wanted, b->config.min_delay_ns, b->config.max_delay_ns);
}

int64_t rtp_jitter_buffer_delay_ns(const rtp_jitter_buffer_t *b)
{
    return b->window.count > 0 ? b->offset_ns - floor_ns(b) : 0;
}

static void steer_offset(rtp_jitter_buffer_t *b, int64_t now_ns)
{
    int64_t wanted = floor_ns(b) + rtp_jitter_buffer_target_ns(b);
    int64_t elapsed_ns = rt_clamp64(now_ns - b->offset_at_ns, 0, LONGEST_NS);
    b->offset_at_ns += elapsed_ns;
    if (wanted >= b->offset_ns) {
        b->offset_ns = wanted;
        return;
    }
    int64_t most = (int64_t)((double)elapsed_ns * 1e-9 * (double)b->config.shrink_ns_per_s);
    int64_t down = b->offset_ns - wanted < most ? b->offset_ns - wanted : most;
    b->offset_ns -= down;
}

/* ---- times ---- */

static int64_t media_ns(const rtp_jitter_buffer_t *b, int64_t media)
{
    return rtp_units_to_ns(media - b->origin_media, b->config.clock_rate);
}

static int64_t playout_ns(const rtp_jitter_buffer_t *b, int64_t media)
{
    return media_ns(b, media) + b->shift_ns + b->offset_ns;
}

/* ---- what has been seen ---- */

static bool is_in(const uint64_t *map, uint64_t seq)
{
    return map[seq / 64 % (RTP_JITTER_BUFFER_SEEN / 64)] >> (seq % 64) & 1;
}

static void put_in(uint64_t *map, uint64_t seq, bool value)
{
    uint64_t *word = &map[seq / 64 % (RTP_JITTER_BUFFER_SEEN / 64)];
    *word = (*word & ~(UINT64_C(1) << (seq % 64))) | (uint64_t)value << (seq % 64);
}

static bool is_recorded(const rtp_jitter_buffer_t *b, uint64_t seq)
{
    return seq <= b->top_seq && b->top_seq - seq < RTP_JITTER_BUFFER_SEEN;
}

static bool is_seen(const rtp_jitter_buffer_t *b, uint64_t seq)
{
    return is_recorded(b, seq) && is_in(b->seen, seq);
}

static bool is_signal(const rtp_jitter_buffer_t *b, uint64_t seq)
{
    return is_recorded(b, seq) && is_in(b->signal, seq);
}

static void forget_seen(rtp_jitter_buffer_t *b)
{
    memset(b->seen, 0, sizeof b->seen);
    memset(b->signal, 0, sizeof b->signal);
}

static void mark_seen(rtp_jitter_buffer_t *b, uint64_t seq, bool signal)
{
    if (seq > b->top_seq && seq - b->top_seq >= RTP_JITTER_BUFFER_SEEN)
        forget_seen(b);
    for (uint64_t s = b->top_seq + 1; s < seq && seq - b->top_seq < RTP_JITTER_BUFFER_SEEN; s++) {
        put_in(b->seen, s, false);
        put_in(b->signal, s, false);
    }
    if (seq > b->top_seq)
        b->top_seq = seq;
    if (!is_recorded(b, seq))
        return;
    put_in(b->seen, seq, true);
    put_in(b->signal, seq, signal);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* How many of the numbers from next_seq to before end, which is recorded, are of no signal that
 * came. */
static uint64_t frames_below(const rtp_jitter_buffer_t *b, uint64_t end)
{
    uint64_t frames = end - b->next_seq;
    uint64_t from = larger(b->next_seq, b->top_seq + 1 - RTP_JITTER_BUFFER_SEEN);
    for (uint64_t seq = from; seq < end; seq = (seq / 64 + 1) * 64) {
        uint64_t signals = b->signal[seq / 64 % (RTP_JITTER_BUFFER_SEEN / 64)] >> (seq % 64);
        if (end - seq < 64)
            signals &= (UINT64_C(1) << (end - seq)) - 1;
        frames -= (uint64_t)__builtin_popcountll(signals);
    }
    return frames;
}

/* ---- packets in ---- */

static void give_back(rtp_jitter_buffer_t *b, uint64_t item, rtp_jitter_buffer_reason_t reason,
                      rtp_jitter_buffer_dropped_t *dropped)
{
    uint64_t *const counter[] = {&b->counters.late, &b->counters.duplicates, &b->counters.overflow,
                                 &b->counters.discarded};
    ++*counter[reason];
    dropped->entry[dropped->count].item = item;
    dropped->entry[dropped->count].reason = reason;
    dropped->count++;
}

static void pass_over(rtp_jitter_buffer_t *b, uint64_t seq)
{
    if (!is_seen(b, seq))
        b->counters.lost++;
}

/* Removes what is held at this index. Few signals are before a frame, and few frames before a
 * signal that does not wait for their time. */
static void remove_held(rtp_jitter_buffer_t *b, uint32_t at)
{
    b->signals -= b->entries[at].signal;
    memmove(&b->entries[b->first + 1], &b->entries[b->first], (at - b->first) * sizeof *b->entries);
    b->first++;
    b->held--;
}

static void drop_oldest(rtp_jitter_buffer_t *b, rtp_jitter_buffer_dropped_t *dropped)
{
    const rtp_jitter_buffer_entry_t *head = &b->entries[b->first];
    give_back(b, head->item, RTP_JITTER_BUFFER_OVERFLOW, dropped);
    if (!head->signal) {
        for (; b->next_seq < head->seq && head->seq - b->next_seq < FAR_SEQ; b->next_seq++)
            pass_over(b, b->next_seq);
        b->next_seq = head->seq + 1;
        b->last_media = head->media;
    }
    remove_held(b, b->first);
}

static uint32_t place_among_held(const rtp_jitter_buffer_t *b, uint64_t seq)
{
    uint32_t at = b->held;
    while (at > 0 && b->entries[b->first + at - 1].seq > seq)
        at--;
    return at;
}

static void insert(rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *entry,
                   rtp_jitter_buffer_dropped_t *dropped)
{
    uint32_t at = place_among_held(b, entry->seq);
    /* Received before, but so far below the highest number that it is no longer recorded. */
    if (at > 0 && b->entries[b->first + at - 1].seq == entry->seq) {
        give_back(b, entry->item, RTP_JITTER_BUFFER_DUPLICATE, dropped);
        return;
    }
    if (b->held == b->entry_count) {
        if (at == 0) {
            give_back(b, entry->item, RTP_JITTER_BUFFER_OVERFLOW, dropped);
            return;
        }
        drop_oldest(b, dropped);
        at--;
    }
    if (b->first + b->held == b->entry_count) {
        memmove(b->entries, b->entries + b->first, b->held * sizeof *b->entries);
        b->first = 0;
    }
    rtp_jitter_buffer_entry_t *place = &b->entries[b->first + at];
    memmove(place + 1, place, (b->held - at) * sizeof *place);
    *place = *entry;
    b->held++;
    b->signals += entry->signal;
}

/* The first packet of a timeline. Everything held belongs to the previous one. */
static void start_timeline(rtp_jitter_buffer_t *b, rtp_jitter_buffer_entry_t *entry)
{
    int64_t delay_ns = b->started ? rtp_jitter_buffer_delay_ns(b) : 0;
    if (b->started) {
        /* Advances by more than a cycle, so that numbers never decrease. */
        b->resync_ts_jump = (int32_t)((uint32_t)entry->media - (uint32_t)b->top_media);
        entry->seq = (b->top_seq / SEQ_CYCLE + 2) * SEQ_CYCLE + entry->seq % SEQ_CYCLE;
        b->resync_seq = entry->seq;
    } else {
        b->next_seq = entry->seq;
    }
    b->started = true;
    b->restart = false;
    b->in_late_run = false;
    b->origin_media = entry->media;
    b->top_media = entry->media;
    b->concealed_to = INT64_MIN;
    b->top_seq = entry->seq - 1;
    forget_seen(b);
    memset(&b->window, 0, sizeof b->window);
    rtp_skew_restart(&b->skew, entry->arrival_ns);
    rtp_jitter_break(&b->jitter);
    if (delay_ns < b->config.first_delay_ns)
        delay_ns = b->config.first_delay_ns;
    b->offset_ns = entry->arrival_ns + rt_clamp64(delay_ns, 0, b->config.max_delay_ns);
    b->offset_at_ns = entry->arrival_ns;
    b->shift_ns = 0;
}

static void take_timing(rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *entry)
{
    int64_t transit_ns = entry->arrival_ns - media_ns(b, entry->media);
    rtp_skew_add(&b->skew, transit_ns, entry->arrival_ns);
    b->shift_ns = rtp_skew_shift_ns(&b->skew, entry->arrival_ns);
    window_add(&b->window, transit_ns - b->shift_ns);
    steer_offset(b, entry->arrival_ns);
    rtp_jitter_add(&b->jitter, (uint32_t)entry->media, entry->arrival_ns);
}

/* Whether a frame comes too late for its place. */
static bool is_late(const rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *entry)
{
    if (entry->seq < b->next_seq)
        return b->playing;
    return b->config.mode == RTP_JITTER_BUFFER_DEADLINE &&
           playout_ns(b, entry->media) < entry->arrival_ns;
}

/* Called before it is marked as seen. */
static void uncount_lost(rtp_jitter_buffer_t *b, uint64_t seq)
{
    if (b->playing && seq < b->next_seq && seq > b->counted_from && is_recorded(b, seq))
        b->counters.lost--;
}

static void accept(rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *entry, unsigned flags,
                   rtp_jitter_buffer_dropped_t *dropped)
{
    if (is_seen(b, entry->seq)) {
        give_back(b, entry->item, RTP_JITTER_BUFFER_DUPLICATE, dropped);
        return;
    }
    if (!(flags & RTP_JITTER_BUFFER_NO_TIMING))
        take_timing(b, entry);
    bool late = is_late(b, entry);
    if (late)
        uncount_lost(b, entry->seq);
    mark_seen(b, entry->seq, false);
    if (entry->media > b->top_media)
        b->top_media = entry->media;
    if (late) {
        give_back(b, entry->item, RTP_JITTER_BUFFER_LATE, dropped);
        if (!b->in_late_run)
            b->late_since_ns = entry->arrival_ns;
        b->in_late_run = true;
        return;
    }
    b->in_late_run = false;
    if (entry->seq < b->next_seq)
        b->next_seq = entry->seq;
    if (entry->seq < b->resync_seq)
        b->resync_seq = entry->seq;
    insert(b, entry, dropped);
}

static bool is_far_in_number(const rtp_jitter_buffer_t *b, uint64_t seq)
{
    int64_t step = (int64_t)(seq - b->top_seq);
    return step > FAR_SEQ || step < -FAR_SEQ;
}

/* Before the first frame of a timeline its numbers are not known: a signal gets one between those
 * of the timeline before and of the new one. The number of a signal alone proves no jump: if it is
 * far off, the signal is given out and its number is not recorded. */
static void accept_signal(rtp_jitter_buffer_t *b, rtp_jitter_buffer_entry_t *entry,
                          rtp_jitter_buffer_dropped_t *dropped)
{
    entry->signal = true;
    if (b->restart)
        entry->seq = (b->top_seq / SEQ_CYCLE + 1) * SEQ_CYCLE + entry->seq % SEQ_CYCLE;
    if (b->started && !b->restart && !is_far_in_number(b, entry->seq)) {
        if (is_seen(b, entry->seq)) {
            give_back(b, entry->item, RTP_JITTER_BUFFER_DUPLICATE, dropped);
            return;
        }
        uncount_lost(b, entry->seq);
        mark_seen(b, entry->seq, true);
    }
    insert(b, entry, dropped);
}

/* The first packets of a timeline may have come too early. So while little is known, a frame that
 * no delay waits for is in doubt: if another one comes at its time after it, timing begins anew.
 * Frames that the path held up do not, because they come together. */
static bool is_late_for_early_ones(const rtp_jitter_buffer_t *b, int64_t transit_ns, unsigned flags)
{
    return b->window.count < WARM_UP && !(flags & RTP_JITTER_BUFFER_NO_TIMING) &&
           transit_ns - b->shift_ns - floor_ns(b) > b->config.max_delay_ns;
}

/* Whether numbers or times are outside what any path could cause. A frame that is only late, with a
 * timestamp that fits its number, is not. */
static bool is_far_off(const rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *entry,
                       int64_t transit_ns)
{
    if (is_far_in_number(b, entry->seq))
        return true;
    int64_t off_ns = transit_ns - rtp_skew_shift_ns(&b->skew, entry->arrival_ns) - floor_ns(b);
    if (off_ns < -b->config.resync_ns)
        return true;
    if (off_ns <= b->config.resync_ns)
        return false;
    int64_t seq_step = (int64_t)(entry->seq - b->top_seq);
    int64_t expected = b->top_media + seq_step * (int64_t)b->step;
    int64_t away_ns = rtp_units_to_ns(entry->media - expected, b->config.clock_rate);
    return b->step == 0 || away_ns > b->config.resync_ns / 2 || away_ns < -b->config.resync_ns / 2;
}

static bool follows_suspect(const rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *entry,
                            int64_t transit_ns)
{
    int64_t apart_ns = transit_ns - b->suspect_transit_ns;
    uint64_t seq_step = entry->seq - b->suspect.seq;
    int64_t least_ns = -b->config.resync_ns;
    if (is_late_for_early_ones(b, transit_ns, 0))
        least_ns = (media_ns(b, b->suspect.media) - media_ns(b, entry->media)) / 2;
    return b->has_suspect && seq_step > 0 && seq_step <= FOLLOWS_WITHIN &&
           apart_ns < b->config.resync_ns && apart_ns > least_ns;
}

static void forget_suspect(rtp_jitter_buffer_t *b, rtp_jitter_buffer_dropped_t *dropped)
{
    if (b->has_suspect)
        give_back(b, b->suspect.item, RTP_JITTER_BUFFER_DISCARDED, dropped);
    b->has_suspect = false;
}

static void follow_suspect(rtp_jitter_buffer_t *b, rtp_jitter_buffer_entry_t *entry, unsigned flags,
                           rtp_jitter_buffer_dropped_t *dropped)
{
    rtp_jitter_buffer_entry_t first = b->suspect;
    uint64_t seq_step = entry->seq - first.seq;
    b->has_suspect = false;
    start_timeline(b, &first);
    accept(b, &first, 0, dropped);
    entry->seq = first.seq + seq_step;
    accept(b, entry, flags, dropped);
}

/* Extends numbers to the value nearest to the highest so far. */
static rtp_jitter_buffer_entry_t extend(const rtp_jitter_buffer_t *b,
                                        const rtp_jitter_buffer_in_t *in)
{
    uint64_t seq = SEQ_CYCLE + in->seq;
    int64_t media = in->ts;
    if (b->started) {
        seq = b->top_seq + (uint64_t)(int64_t)(int16_t)(in->seq - (uint16_t)b->top_seq);
        media = b->top_media + rt_seq32_diff(in->ts, (uint32_t)b->top_media);
    }
    return (rtp_jitter_buffer_entry_t){
        .seq = seq, .media = media, .item = in->item, .arrival_ns = in->arrival_ns};
}

void rtp_jitter_buffer_in(rtp_jitter_buffer_t *b, const rtp_jitter_buffer_in_t *in,
                          rtp_jitter_buffer_dropped_t *dropped)
{
    rtp_jitter_buffer_entry_t entry = extend(b, in);
    dropped->count = 0;
    b->counters.received++;
    if (in->flags & RTP_JITTER_BUFFER_SIGNAL) {
        accept_signal(b, &entry, dropped);
        return;
    }
    if (!b->started || b->restart ||
        (b->in_late_run && in->arrival_ns - b->late_since_ns >= b->config.resync_ns)) {
        forget_suspect(b, dropped);
        start_timeline(b, &entry);
        accept(b, &entry, 0, dropped);
        return;
    }
    int64_t transit_ns = in->arrival_ns - media_ns(b, entry.media);
    if (!is_late_for_early_ones(b, transit_ns, in->flags) && !is_far_off(b, &entry, transit_ns)) {
        forget_suspect(b, dropped);
        accept(b, &entry, in->flags, dropped);
    } else if (follows_suspect(b, &entry, transit_ns)) {
        follow_suspect(b, &entry, in->flags, dropped);
    } else {
        forget_suspect(b, dropped);
        b->has_suspect = true;
        b->suspect = entry;
        b->suspect_transit_ns = transit_ns;
    }
}

void rtp_jitter_buffer_restart(rtp_jitter_buffer_t *b)
{
    b->restart = b->started;
}

/* ---- events out ---- */

/* The next output, and its time. */
typedef enum next_kind {
    NEXT_NOTHING,
    NEXT_FRAME,
    NEXT_GAP,
    NEXT_DRY,
    NEXT_RESYNC,
    NEXT_SIGNAL,
} next_kind_t;

typedef struct next {
    next_kind_t kind;
    uint32_t at; /* frame, gap, signal: index of the frame, of the one after it, of the signal */
    uint64_t seq;
    int64_t due_ns;
    int64_t media;   /* gap, dry: its start */
    int64_t step;    /* gap: media time of each missing frame */
    uint64_t frames; /* gap */
} next_t;

static bool is_old(const rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *entry)
{
    return entry->seq < b->resync_seq;
}

/* How many of the missing frames were due before any frame after them came. */
static uint64_t due_before(const rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *head,
                           int64_t step, uint64_t missing)
{
    int64_t step_ns = rtp_units_to_ns(step, b->config.clock_rate);
    int64_t since_ns = head->arrival_ns - playout_ns(b, b->last_media);
    if (step_ns == 0 || since_ns <= step_ns)
        return 1;
    uint64_t gone = (uint64_t)(since_ns / step_ns);
    return gone < missing ? gone : missing;
}

/* How many steps make an erasure: it lasts at least 1 ms. Otherwise a sender whose timestamps
 * hardly move would cause an erasure for each step. */
static int64_t steps_per_erasure(const rtp_jitter_buffer_t *b, int64_t step)
{
    int64_t least = (int64_t)b->config.clock_rate / ERASURES_PER_S;
    return step > 0 && step < least ? (least + step - 1) / step : 1;
}

/* All frames that are missing at the same time are erased together. */
static uint64_t frames_at_once(const rtp_jitter_buffer_t *b, int64_t step, uint64_t missing)
{
    uint64_t frames = step > 0 ? (uint64_t)steps_per_erasure(b, step) : missing;
    return frames < missing ? frames : missing;
}

/* Between frames that join no media time is missing: what was lost carried none, or was another
 * packet of a picture. */
static int64_t missing_span(const rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *head)
{
    int64_t span = head->media - b->last_media;
    return span <= (int64_t)b->step ? 0 : span;
}

static next_t next_gap(const rtp_jitter_buffer_t *b, uint32_t at, uint64_t missing)
{
    const rtp_jitter_buffer_entry_t *head = &b->entries[at];
    int64_t step = missing_span(b, head) / (int64_t)(missing + 1);
    next_t next = {.kind = NEXT_GAP, .at = at, .seq = b->next_seq, .frames = 1, .step = step};
    next.media = step > 0 ? b->last_media + step : head->media;
    next.due_ns = is_old(b, head) ? INT64_MIN : playout_ns(b, next.media);
    if (missing > GAP_AT_ONCE || is_old(b, head))
        next.frames = missing;
    else if (next.media >= b->concealed_to)
        next.frames = larger(due_before(b, head, step, missing), frames_at_once(b, step, missing));
    return next;
}

static next_t next_dry(const rtp_jitter_buffer_t *b)
{
    next_t next = {.kind = NEXT_NOTHING, .due_ns = RT_NEVER_NS};
    if (b->config.mode != RTP_JITTER_BUFFER_DEADLINE || !b->playing || b->step == 0 ||
        b->dry_ns >= b->config.conceal_ns)
        return next;
    next.kind = NEXT_DRY;
    next.media = b->last_media + b->step;
    if (next.media < b->concealed_to)
        next.media = b->concealed_to;
    next.due_ns = playout_ns(b, next.media);
    return next;
}

/* The first frame or signal held, as an index. */
static uint32_t find_held(const rtp_jitter_buffer_t *b, bool signal)
{
    uint32_t at = b->first;
    while (at < b->first + b->held && b->entries[at].signal != signal)
        at++;
    return at;
}

static next_t next_of_media(const rtp_jitter_buffer_t *b)
{
    if (b->resync_seq != 0 && (b->held == 0 || !is_old(b, &b->entries[b->first])))
        return (next_t){.kind = NEXT_RESYNC, .seq = b->resync_seq, .due_ns = INT64_MIN};
    if (b->held == b->signals)
        return next_dry(b);
    uint32_t at = find_held(b, false);
    const rtp_jitter_buffer_entry_t *head = &b->entries[at];
    /* More than a cycle: not a gap, but the start of another timeline before the last one. */
    if (head->seq > b->next_seq && head->seq - b->next_seq < SEQ_CYCLE && b->playing) {
        uint64_t missing = frames_below(b, head->seq);
        if (missing > 0)
            return next_gap(b, at, missing);
    }
    bool at_once = is_old(b, head) || b->config.mode == RTP_JITTER_BUFFER_IN_ORDER;
    return (next_t){.kind = NEXT_FRAME,
                    .at = at,
                    .seq = head->seq,
                    .due_ns = at_once ? INT64_MIN : playout_ns(b, head->media)};
}

/* At once, unless one of the packets just before it may still come. */
static int64_t signal_due_ns(const rtp_jitter_buffer_t *b, const rtp_jitter_buffer_entry_t *signal)
{
    if (is_old(b, signal))
        return INT64_MIN;
    uint64_t from = larger(b->next_seq, signal->seq - REORDERED_MOST);
    for (uint64_t seq = from; seq < signal->seq; seq++)
        if (!is_seen(b, seq))
            return signal->arrival_ns + rtp_jitter_buffer_delay_ns(b);
    return INT64_MIN;
}

static next_t find_next(const rtp_jitter_buffer_t *b)
{
    next_t media = next_of_media(b);
    if (b->signals == 0)
        return media;
    uint32_t at = find_held(b, true);
    const rtp_jitter_buffer_entry_t *signal = &b->entries[at];
    int64_t due_ns = signal_due_ns(b, signal);
    if (media.due_ns < due_ns || (media.due_ns == due_ns && media.seq < signal->seq))
        return media;
    return (next_t){.kind = NEXT_SIGNAL, .at = at, .seq = signal->seq, .due_ns = due_ns};
}

/* Erasures of a dry buffer were losses as far as frames are missing, otherwise a pause. */
static void settle_dry(rtp_jitter_buffer_t *b, uint64_t missing)
{
    if (b->dry_ns == 0)
        return;
    uint64_t dry_ns = (uint64_t)b->dry_ns;
    uint64_t missing_ns = (uint64_t)rtp_units_to_ns((int64_t)b->step, b->config.clock_rate) *
                          (missing < GAP_AT_ONCE ? missing : GAP_AT_ONCE);
    uint64_t lost_ns = missing_ns < dry_ns ? missing_ns : dry_ns;
    b->counters.concealed_ns += lost_ns;
    b->counters.pause_ns += dry_ns - lost_ns;
    b->dry_ns = 0;
}

/* Two equal steps are needed, because a single one may span a pause. */
static void learn_step(rtp_jitter_buffer_t *b, int64_t step)
{
    if (!b->playing || step <= 0 || step > (int64_t)b->config.clock_rate)
        return;
    if (step == b->step_before)
        b->step = (uint32_t)step;
    b->step_before = step;
}

static void give_held(rtp_jitter_buffer_t *b, uint32_t at, rtp_jitter_buffer_event_t *event)
{
    const rtp_jitter_buffer_entry_t *entry = &b->entries[at];
    bool is_timed = !entry->signal && !is_old(b, entry);
    *event = (rtp_jitter_buffer_event_t){
        .kind = RTP_JITTER_BUFFER_FRAME,
        .ts = (uint32_t)entry->media,
        .seq = entry->seq,
        .frames = 1,
        .item = entry->item,
        .due_ns = is_timed ? playout_ns(b, entry->media) : entry->arrival_ns,
        .arrival_ns = entry->arrival_ns,
    };
    remove_held(b, at);
    b->counters.delivered++;
}

static void give_frame(rtp_jitter_buffer_t *b, uint32_t at, rtp_jitter_buffer_event_t *event)
{
    const rtp_jitter_buffer_entry_t *head = &b->entries[at];
    settle_dry(b, 0);
    learn_step(b, head->media - b->last_media);
    if (!b->playing)
        b->counted_from = head->seq;
    b->playing = true;
    b->next_seq = head->seq + 1;
    b->last_media = head->media;
    give_held(b, at, event);
}

/* Returns false if an erasure of the dry buffer has covered that time already. */
static bool give_gap(rtp_jitter_buffer_t *b, const next_t *next, rtp_jitter_buffer_event_t *event)
{
    const rtp_jitter_buffer_entry_t *head = &b->entries[next->at];
    settle_dry(b, frames_below(b, head->seq));
    while (is_signal(b, b->next_seq))
        b->next_seq++;
    int64_t span = next->step * (int64_t)next->frames;
    *event = (rtp_jitter_buffer_event_t){
        .kind = RTP_JITTER_BUFFER_ERASURE,
        .ts = (uint32_t)next->media,
        .seq = b->next_seq,
        .frames = (uint32_t)next->frames,
        .ts_span = (int32_t)span,
        .due_ns = is_old(b, head) ? head->arrival_ns : next->due_ns,
    };
    for (uint64_t i = 0; i < next->frames; b->next_seq++) {
        i += !is_signal(b, b->next_seq);
        pass_over(b, b->next_seq);
    }
    b->last_media += span;
    if (next->media < b->concealed_to)
        return false;
    b->counters.erasures++;
    b->counters.concealed_ns += (uint64_t)rtp_units_to_ns(span, b->config.clock_rate);
    return true;
}

static void give_dry(rtp_jitter_buffer_t *b, const next_t *next, rtp_jitter_buffer_event_t *event)
{
    int64_t span = (int64_t)b->step * steps_per_erasure(b, (int64_t)b->step);
    *event = (rtp_jitter_buffer_event_t){
        .kind = RTP_JITTER_BUFFER_ERASURE,
        .ts = (uint32_t)next->media,
        .seq = b->next_seq,
        .ts_span = (int32_t)span,
        .due_ns = next->due_ns,
    };
    b->concealed_to = next->media + span;
    b->dry_ns += rtp_units_to_ns(span, b->config.clock_rate);
    b->counters.erasures++;
}

static void give_resync(rtp_jitter_buffer_t *b, rtp_jitter_buffer_event_t *event)
{
    *event = (rtp_jitter_buffer_event_t){
        .kind = RTP_JITTER_BUFFER_RESYNC,
        .ts = (uint32_t)b->origin_media,
        .seq = b->resync_seq,
        .ts_span = b->resync_ts_jump,
        .due_ns = playout_ns(b, b->origin_media),
    };
    settle_dry(b, 0);
    b->next_seq = b->resync_seq;
    b->resync_seq = 0;
    b->playing = false;
    b->counters.resyncs++;
}

static bool give(rtp_jitter_buffer_t *b, const next_t *next, rtp_jitter_buffer_event_t *event)
{
    switch (next->kind) {
    case NEXT_FRAME:
        give_frame(b, next->at, event);
        return true;
    case NEXT_SIGNAL:
        give_held(b, next->at, event);
        return true;
    case NEXT_GAP:
        return give_gap(b, next, event);
    case NEXT_DRY:
        give_dry(b, next, event);
        return true;
    case NEXT_RESYNC:
        give_resync(b, event);
        return true;
    case NEXT_NOTHING:
        break;
    }
    return false;
}

int64_t rtp_jitter_buffer_deadline_ns(const rtp_jitter_buffer_t *b)
{
    return find_next(b).due_ns;
}

bool rtp_jitter_buffer_next(rtp_jitter_buffer_t *b, int64_t now_ns,
                            rtp_jitter_buffer_event_t *event)
{
    for (;;) {
        next_t next = find_next(b);
        if (next.kind == NEXT_NOTHING || next.due_ns > now_ns)
            return false;
        if (give(b, &next, event))
            return true;
    }
}
