/* How it works
 *
 * Entries are in a plain sorted array. Frames leave at the front and arrive, nearly always, at the
 * end, so [first, first + held) moves to the right. When it reaches the end, it is moved back to
 * the start. The array is at least twice as long as the held part, so this costs less than one
 * move per entry. An insertion searches from the end and moves higher entries: with tens of entries
 * of 24 bytes this is cheaper than following the pointers of a list.
 *
 *     entries  | free | released: valid until the next call | held, ascending | free |
 *                     ^ result.ready                         ^ first
 *
 * The order of the steps and the odd thresholds (536, 65000, the permanent move of the epoch) are
 * for compatibility: they determine what a corrupted header does to the later stream. Two corner
 * cases in which the original ends the process are made safe:
 *   - a sequence number from before the wrap while nothing has wrapped yet would be extended below
 *     0; such a packet is late;
 *   - when the purge takes the only held frame, the highest accepted number falls back to that of
 *     the last released frame instead of to nothing, so that the late check keeps working.
 */
#include "proto/rtp/rtp_jbuf.h"

#include "proto/rtp/rtp_packet.h"

#include <errno.h>
#include <string.h>

#define SEQ_CYCLE UINT64_C(65536)
#define WRAP_LOW 536u
#define WRAP_HIGH 65000u

enum { LEAST_EVENTS = 4 };

uint32_t rtp_jbuf_entries_for(uint32_t capacity)
{
    if (capacity == 0)
        return 0;
    return capacity > UINT32_MAX / 2 ? UINT32_MAX : 2 * capacity;
}

void rtp_jbuf_init(rtp_jbuf_t *jb, uint32_t capacity, rtp_jbuf_entry_t *entries,
                   uint32_t entry_count)
{
    *jb = (rtp_jbuf_t){
        .entries = entries,
        .entry_count = entry_count,
        .capacity = capacity,
        .last_lseq = RTP_JBUF_NONE,
        .top_lseq = RTP_JBUF_NONE,
    };
}

void rtp_jbuf_grow(rtp_jbuf_t *jb, rtp_jbuf_entry_t *entries, uint32_t entry_count)
{
    memcpy(entries, jb->entries + jb->first, jb->held * sizeof *entries);
    jb->first = 0;
    jb->entries = entries;
    jb->entry_count = entry_count;
}

static bool is_warming_up(const rtp_jbuf_t *jb)
{
    return jb->last_lseq == RTP_JBUF_NONE;
}

static rtp_jbuf_entry_t *highest(rtp_jbuf_t *jb)
{
    return &jb->entries[jb->first + jb->held - 1];
}

/* Before the frames dropped earlier in this call. */
static void drop(rtp_jbuf_t *jb, rtp_jbuf_entry_t entry)
{
    jb->drops[1] = jb->drops[0];
    jb->drops[0] = entry;
    jb->drop_count++;
    jb->counters.dropped++;
}

static void purge_stale_tail(rtp_jbuf_t *jb)
{
    /* capacity 0 wraps to a count that is never reached: that buffer has no bound. */
    if (jb->held == 0 || jb->held < jb->capacity - 1u)
        return;
    rtp_jbuf_entry_t *tail = highest(jb);
    if (++tail->age < jb->capacity)
        return;
    jb->held--;
    jb->top_lseq = jb->held > 0 ? highest(jb)->lseq : jb->last_lseq;
    drop(jb, *tail);
    jb->counters.purged++;
}

/* Returns false if the number is before the start of the stream. */
static bool extend(rtp_jbuf_t *jb, uint16_t seq, uint64_t *lseq)
{
    uint64_t top = jb->top_lseq;
    *lseq = jb->epoch | seq;
    if (top == RTP_JBUF_NONE)
        return true;
    if (top % SEQ_CYCLE < WRAP_LOW && seq > WRAP_HIGH) {
        if (jb->epoch == 0)
            return false;
        *lseq -= SEQ_CYCLE;
    } else if (top > WRAP_HIGH && *lseq < top - WRAP_HIGH) {
        jb->epoch += SEQ_CYCLE;
        *lseq += SEQ_CYCLE;
        jb->counters.wraps++;
    }
    return true;
}

static void make_room_at_end(rtp_jbuf_t *jb)
{
    if (jb->first + jb->held < jb->entry_count)
        return;
    memmove(jb->entries, jb->entries + jb->first, jb->held * sizeof *jb->entries);
    jb->first = 0;
}

/* Returns false if the number is held already. */
static bool insert(rtp_jbuf_t *jb, const rtp_jbuf_entry_t *entry)
{
    make_room_at_end(jb);
    rtp_jbuf_entry_t *low = &jb->entries[jb->first];
    rtp_jbuf_entry_t *end = low + jb->held;
    rtp_jbuf_entry_t *at = end;
    while (at > low && at[-1].lseq > entry->lseq)
        at--;
    if (at > low && at[-1].lseq == entry->lseq)
        return false;
    if (at < end)
        memmove(at + 1, at, (size_t)(end - at) * sizeof *at);
    else
        jb->top_lseq = entry->lseq;
    *at = *entry;
    jb->held++;
    return true;
}

static uint32_t run_length(const rtp_jbuf_entry_t *low, uint32_t count)
{
    uint32_t n = 1;
    while (n < count && low[n].lseq == low[n - 1].lseq + 1)
        n++;
    return n;
}

static void announce_erasure(rtp_jbuf_t *jb, const rtp_jbuf_entry_t *next, rtp_jbuf_result_t *r)
{
    uint64_t first = jb->last_lseq + 1;
    uint32_t missing = (uint32_t)(next->lseq - first);
    uint32_t span = next->ts - jb->last_ts;
    r->has_erasure = true;
    r->erasure.first = first;
    r->erasure.last = next->lseq - 1;
    r->erasure.ts_diff = (uint32_t)((uint64_t)span * missing / ((uint64_t)missing + 1));
    jb->counters.erasures++;
    jb->counters.erased += next->lseq - first;
}

static void release(rtp_jbuf_t *jb, uint32_t count, bool after_gap, rtp_jbuf_result_t *r)
{
    rtp_jbuf_entry_t *run = &jb->entries[jb->first];
    if (after_gap)
        announce_erasure(jb, run, r);
    r->ready = run;
    r->ready_count = count;
    jb->last_lseq = run[count - 1].lseq;
    jb->last_ts = run[count - 1].ts;
    jb->first += count;
    jb->held -= count;
    jb->counters.delivered += count;
}

static void begin(rtp_jbuf_t *jb, rtp_jbuf_result_t *r)
{
    r->ready_count = 0;
    r->dropped_count = 0;
    r->has_erasure = false;
    jb->drop_count = 0;
    if (jb->held == 0)
        jb->first = 0;
}

static void finish(const rtp_jbuf_t *jb, rtp_jbuf_result_t *r)
{
    r->dropped = jb->drops;
    r->dropped_count = jb->drop_count;
}

static void accept_first(rtp_jbuf_t *jb, const rtp_jbuf_entry_t *entry, rtp_jbuf_result_t *r)
{
    jb->entries[jb->first] = *entry;
    jb->held = 1;
    jb->top_lseq = entry->lseq;
    /* During warm-up last_lseq + 1 is 0, the only number that is released at once then. */
    if (entry->lseq == jb->last_lseq + 1)
        release(jb, 1, false, r);
}

static void accept(rtp_jbuf_t *jb, const rtp_jbuf_entry_t *entry, rtp_jbuf_result_t *r)
{
    if (!insert(jb, entry)) {
        jb->counters.duplicates++;
        drop(jb, *entry);
        return;
    }
    const rtp_jbuf_entry_t *low = &jb->entries[jb->first];
    bool in_order = low->lseq == jb->last_lseq + 1 && !is_warming_up(jb);
    if (in_order || jb->held == jb->capacity)
        release(jb, run_length(low, jb->held), !in_order && !is_warming_up(jb), r);
}

int rtp_jbuf_offer(rtp_jbuf_t *jb, uint16_t seq, uint32_t ts, uint64_t item, rtp_jbuf_result_t *r)
{
    if (rtp_jbuf_is_full(jb))
        return -ENOSPC;
    jb->counters.offered++;
    begin(jb, r);
    purge_stale_tail(jb);

    rtp_jbuf_entry_t entry = {.item = item, .ts = ts};
    bool late = !extend(jb, seq, &entry.lseq);
    if (!is_warming_up(jb) && entry.lseq <= jb->last_lseq)
        late = true;
    if (late) {
        bool again = entry.lseq == jb->last_lseq;
        jb->counters.duplicates += again;
        jb->counters.late += !again;
        drop(jb, entry);
    } else if (jb->held == 0) {
        accept_first(jb, &entry, r);
    } else {
        accept(jb, &entry, r);
    }
    finish(jb, r);
    return 0;
}

void rtp_jbuf_offer_bad(rtp_jbuf_t *jb, rtp_jbuf_result_t *r)
{
    jb->counters.offered++;
    jb->counters.parse_errors++;
    begin(jb, r);
    purge_stale_tail(jb);
    finish(jb, r);
}

static void reverse(rtp_jbuf_entry_t *low, uint32_t count)
{
    for (uint32_t i = 0, j = count; i + 1 < j; i++) {
        rtp_jbuf_entry_t held = low[i];
        low[i] = low[--j];
        low[j] = held;
    }
}

/* Newest run first, ascending inside a run: all reversed, then each run reversed back. */
static void reverse_runs(rtp_jbuf_entry_t *low, uint32_t count)
{
    reverse(low, count);
    for (uint32_t at = 0; at < count;) {
        uint32_t n = 1;
        while (at + n < count && low[at + n].lseq + 1 == low[at + n - 1].lseq)
            n++;
        reverse(&low[at], n);
        at += n;
    }
}

void rtp_jbuf_flush(rtp_jbuf_t *jb, rtp_jbuf_result_t *r)
{
    begin(jb, r);
    r->dropped = jb->drops;
    if (jb->held == 0)
        return;
    rtp_jbuf_entry_t *low = &jb->entries[jb->first];
    uint32_t lost = jb->held - 1;
    while (lost > 0 && low[lost - 1].lseq + 1 == low[lost].lseq)
        lost--;
    reverse_runs(low, lost);
    jb->first += lost;
    jb->held -= lost;
    r->dropped = low;
    r->dropped_count = lost;
    jb->counters.dropped += lost;
    jb->counters.flush_lost += lost;
    release(jb, jb->held, low[lost].lseq != jb->last_lseq + 1, r);
}

bool rtp_jbuf_drain(rtp_jbuf_t *jb, rtp_jbuf_result_t *r)
{
    begin(jb, r);
    r->dropped = jb->drops;
    if (jb->held == 0)
        return false;
    const rtp_jbuf_entry_t *low = &jb->entries[jb->first];
    bool after_gap = !is_warming_up(jb) && low->lseq != jb->last_lseq + 1;
    release(jb, run_length(low, jb->held), after_gap, r);
    return true;
}

static rtp_jbuf_event_t entry_event(const rtp_jbuf_entry_t *entry, rtp_jbuf_kind_t kind)
{
    return (rtp_jbuf_event_t){
        .lseq = entry->lseq, .item = entry->item, .ts = entry->ts, .kind = (uint8_t)kind};
}

rtp_jbuf_event_t *rtp_jbuf_put_events(const rtp_jbuf_result_t *r, rtp_jbuf_event_t *to)
{
    for (uint32_t i = 0; i < r->dropped_count; i++)
        *to++ = entry_event(&r->dropped[i], RTP_JBUF_DROPPED);
    if (r->has_erasure)
        *to++ = (rtp_jbuf_event_t){
            .lseq = r->erasure.first,
            .item = r->erasure.last,
            .ts = r->erasure.ts_diff,
            .kind = RTP_JBUF_ERASURE,
        };
    for (uint32_t i = 0; i < r->ready_count; i++)
        *to++ = entry_event(&r->ready[i], RTP_JBUF_FRAME);
    return to;
}

size_t rtp_jbuf_offer_many(rtp_jbuf_t *jb, const rtp_jbuf_in_t *in, size_t count,
                           rtp_jbuf_event_t *events, size_t max_events, size_t *event_count)
{
    rtp_jbuf_event_t *to = events;
    rtp_jbuf_event_t *end = events + max_events;
    size_t taken = 0;
    for (; taken < count; taken++) {
        if ((size_t)(end - to) < (size_t)jb->held + LEAST_EVENTS || rtp_jbuf_is_full(jb))
            break;
        rtp_jbuf_result_t r;
        rtp_view_t view;
        rtp_parse_t error = rtp_packet_parse(in[taken].data, in[taken].size, &view);
        if (error == RTP_PARSE_OK) {
            (void)rtp_jbuf_offer(jb, view.seq, view.ts, in[taken].item, &r);
        } else {
            rtp_jbuf_offer_bad(jb, &r);
            *to++ = (rtp_jbuf_event_t){
                .item = in[taken].item, .kind = RTP_JBUF_ERROR, .error = (int8_t)error};
        }
        to = rtp_jbuf_put_events(&r, to);
    }
    *event_count = (size_t)(to - events);
    return taken;
}
