#include "proto/udt/udt_delivery.h"

#include <string.h>

#define MARKS_PER_WINDOW 16u

void udt_delivery_init(udt_delivery_t *d, uint32_t first_seq, int64_t now_ns)
{
    memset(d, 0, sizeof *d);
    d->acked_seq = first_seq;
    d->delivered_ns = now_ns;
    d->first_sent_ns = now_ns;
}

/* Positions before the first unacknowledged one are returned as that one. */
static uint64_t position_of(const udt_delivery_t *d, uint32_t seq)
{
    int32_t ahead = udt_seq_diff(seq, d->acked_seq);
    return ahead > 0 ? d->acked + (uint64_t)ahead : d->acked;
}

/* ---- marks, a ring, oldest first ---- */

static udt_delivery_mark_t *mark_at(udt_delivery_t *d, uint32_t i)
{
    return &d->mark[(d->mark_head + i) % UDT_DELIVERY_MARKS];
}

static void drop_marks(udt_delivery_t *d, uint32_t n)
{
    d->mark_head = (d->mark_head + n) % UDT_DELIVERY_MARKS;
    d->marks -= n;
}

static void drop_every_second_mark(udt_delivery_t *d)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->marks; i += 2)
        *mark_at(d, kept++) = *mark_at(d, i);
    d->marks = kept;
}

static bool mark_is_due(udt_delivery_t *d, uint64_t position)
{
    if (d->marks == 0)
        return true;
    uint64_t since = position - mark_at(d, d->marks - 1)->position;
    return since > (d->sent - d->top) / MARKS_PER_WINDOW;
}

static void set_mark(udt_delivery_t *d, uint64_t position, int64_t now_ns)
{
    if (d->marks == UDT_DELIVERY_MARKS)
        drop_every_second_mark(d);
    *mark_at(d, d->marks++) = (udt_delivery_mark_t){
        .position = position,
        .delivered = udt_delivery_delivered(d),
        .delivered_ns = d->delivered_ns,
        .first_sent_ns = d->first_sent_ns,
        .sent_ns = now_ns,
        .in_flight = (uint32_t)(position + 1 - d->top + d->hole_packets),
        .app_limited = d->app_limited_until > d->top,
    };
}

void udt_delivery_sent(udt_delivery_t *d, uint32_t first_seq, uint32_t n, bool app_limited,
                       int64_t now_ns)
{
    if (d->top == d->sent && d->hole_packets == 0) { /* nothing was on the way: time restarts */
        d->delivered_ns = now_ns;
        d->first_sent_ns = now_ns;
    }
    uint64_t first = position_of(d, first_seq);
    d->sent = first + n;
    if (app_limited)
        d->app_limited_until = d->sent;
    if (mark_is_due(d, first))
        set_mark(d, first, now_ns);
}

/* ---- holes, a ring, lowest first ---- */

static void close_holes_before(udt_delivery_t *d, uint64_t position)
{
    while (d->holes > 0) {
        udt_delivery_hole_t *hole = &d->hole[d->hole_head];
        if (position <= hole->first)
            return;
        uint64_t end = hole->end < position ? hole->end : position;
        d->hole_packets -= end - hole->first;
        hole->first = end;
        if (end < hole->end)
            return;
        d->hole_head = (d->hole_head + 1) % UDT_DELIVERY_HOLES;
        d->holes--;
    }
}

/* If there is no room for one more, the last hole is extended over
 * packets that arrived after it. */
static void add_hole(udt_delivery_t *d, uint64_t first, uint64_t end)
{
    if (d->holes == UDT_DELIVERY_HOLES) {
        udt_delivery_hole_t *last = &d->hole[(d->hole_head + d->holes - 1) % UDT_DELIVERY_HOLES];
        first = last->end;
        last->end = end;
    } else {
        d->hole[(d->hole_head + d->holes++) % UDT_DELIVERY_HOLES] =
            (udt_delivery_hole_t){.first = first, .end = end};
    }
    d->hole_packets += end - first;
    d->reported += end - first;
}

/* A report after the top opens a hole and shows that the packet after it has arrived. Returns
 * whether it did, because a repeated report has no new information. */
static bool open_hole(udt_delivery_t *d, uint64_t first, uint64_t end)
{
    if (first < d->top)
        first = d->top;
    if (end <= first || end >= d->sent)
        return false;
    add_hole(d, first, end);
    d->top = end + 1;
    return true;
}

/* ---- observations ---- */

/* The mark to measure from: the newest that is far enough back, or the oldest one. */
static void drop_needless_marks(udt_delivery_t *d, int64_t now_ns)
{
    while (d->marks > 1) {
        const udt_delivery_mark_t *next = mark_at(d, 1);
        if (next->position >= d->top ||
            now_ns - next->delivered_ns < UDT_DELIVERY_LEAST_INTERVAL_NS)
            return;
        drop_marks(d, 1);
    }
}

/* Its place in the ring, -1 if there is none. */
static int newest_delivered_mark(udt_delivery_t *d)
{
    int newest = -1;
    while ((uint32_t)(newest + 1) < d->marks && mark_at(d, (uint32_t)newest + 1)->position < d->top)
        newest++;
    return newest;
}

/* When the newest packet that arrived was sent, by the marks around it. */
static int64_t sent_about_ns(udt_delivery_t *d, uint32_t newest)
{
    const udt_delivery_mark_t *before = mark_at(d, newest);
    if (newest + 1 == d->marks)
        return before->sent_ns;
    const udt_delivery_mark_t *after = mark_at(d, newest + 1);
    double way =
        (double)(d->top - 1 - before->position) / (double)(after->position - before->position);
    return before->sent_ns + (int64_t)(way * (double)(after->sent_ns - before->sent_ns));
}

static double rate_since(const udt_delivery_t *d, const udt_delivery_mark_t *from,
                         int64_t newest_sent_ns, int64_t now_ns)
{
    int64_t arriving_ns = now_ns - from->delivered_ns;
    int64_t sending_ns = newest_sent_ns - from->first_sent_ns;
    int64_t interval_ns = arriving_ns > sending_ns ? arriving_ns : sending_ns;
    if (interval_ns < UDT_DELIVERY_LEAST_INTERVAL_NS)
        return 0;
    uint64_t packets = udt_delivery_delivered(d) - from->delivered;
    return (double)packets * (double)RT_NS_PER_S / (double)interval_ns;
}

static bool observe(udt_delivery_t *d, int64_t now_ns, udt_delivery_sample_t *sample)
{
    drop_needless_marks(d, now_ns);
    int place = newest_delivered_mark(d);
    if (place < 0)
        return false;
    const udt_delivery_mark_t *newest = mark_at(d, (uint32_t)place);
    const udt_delivery_mark_t *from = mark_at(d, 0);
    *sample = (udt_delivery_sample_t){
        .rate_pps = rate_since(d, from, newest->sent_ns, now_ns),
        .rtt_ns = now_ns - newest->sent_ns,
        .rtt_about_ns = now_ns - sent_about_ns(d, (uint32_t)place),
        .delivered_then = newest->delivered,
        .in_flight_then = newest->in_flight,
        .app_limited = from->app_limited || newest->app_limited,
    };
    d->delivered_ns = now_ns;
    d->first_sent_ns = newest->sent_ns;
    return true;
}

bool udt_delivery_acked(udt_delivery_t *d, uint32_t ack, int64_t now_ns,
                        udt_delivery_sample_t *sample)
{
    uint64_t position = position_of(d, ack);
    if (position <= d->acked)
        return false;
    close_holes_before(d, position);
    d->acked = position;
    d->acked_seq = ack;
    if (position <= d->top)
        return false;
    d->top = position;
    return observe(d, now_ns, sample);
}

bool udt_delivery_lost(udt_delivery_t *d, const udt_seq_range_t *lost, size_t n, int64_t now_ns,
                       udt_delivery_sample_t *sample)
{
    bool news = false;
    for (size_t i = 0; i < n; i++) {
        uint64_t first = position_of(d, lost[i].first);
        uint64_t end = position_of(d, udt_seq_add(lost[i].last, 1));
        if (end <= first)
            continue;
        d->lost += end - first;
        news |= open_hole(d, first, end);
    }
    return news && observe(d, now_ns, sample);
}
