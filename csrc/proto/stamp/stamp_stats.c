#include "proto/stamp/stamp_stats.h"

#include "base/rt_err.h"
#include "base/rt_seq.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define REPORTED 1u
#define GONE 2u /* it never left */
#define REPLIED 4u
#define LATE 8u

#define OVERTAKEN_BITS 24
#define JITTER_SHIFT 4

/* The difference of two times fits 64 bits. NTP ends before. */
#define MOST_TIME_NS (INT64_MAX / 2)
/* No delay and no offset is longer, 73 years: sums and differences of four of them fit 64 bits. */
#define MOST_DELAY_NS (INT64_MAX / 4)
#define MOST_CHANGE_NS (UINT64_C(1) << 56) /* 16 of them fit 64 bits */

/* Numbers of a stream begin here, so that one before its first is below it and not negative. */
#define STREAM_BASE (UINT64_C(1) << 32)

size_t stamp_stats_bytes(uint32_t window)
{
    return (size_t)window * sizeof(stamp_probe_t);
}

static void begin(stamp_stats_t *s, uint64_t number)
{
    s->first = s->next = s->head = s->expected = number;
    s->burst = s->tail = 0;
}

int stamp_stats_init(stamp_stats_t *s, const stamp_settings_t *settings, stamp_probe_t *probes,
                     uint32_t sequence)
{
    uint32_t window = settings->window;
    if (window < STAMP_LEAST_WINDOW || window > STAMP_MOST_WINDOW || (window & (window - 1)) != 0)
        return rt_err_set(-EINVAL, "window is %" PRIu32 ": it must be a power of two from %u to %u",
                          window, STAMP_LEAST_WINDOW, STAMP_MOST_WINDOW);
    if (settings->timeout_ns <= 0 || settings->timeout_ns > MOST_DELAY_NS)
        return rt_err_set(-EINVAL, "the time-out is %" PRId64 " ns: it must be above 0",
                          settings->timeout_ns);
    memset(s, 0, sizeof *s);
    memset(probes, 0, stamp_stats_bytes(window));
    s->settings = *settings;
    s->probes = probes;
    begin(s, sequence);
    stamp_stats_forget_offset(s);
    return 0;
}

void stamp_stats_forget_offset(stamp_stats_t *s)
{
    s->offset_low_ns = INT64_MIN;
    s->offset_high_ns = INT64_MAX;
}

static stamp_probe_t *probe(const stamp_stats_t *s, uint64_t number)
{
    return &s->probes[number & (s->settings.window - 1)];
}

static bool is_held(const stamp_stats_t *s, uint64_t number)
{
    return number >= s->first && number < s->next && s->next - number <= s->settings.window;
}

/* --- delays ----------------------------------------------------------------------------------- */

static void add_delay(stamp_delay_t *d, int64_t delay_ns)
{
    if (d->count > 0) {
        int64_t change = delay_ns - d->last_ns;
        uint64_t size = (uint64_t)(change < 0 ? -change : change);
        if (size > MOST_CHANGE_NS)
            size = MOST_CHANGE_NS;
        /* J += (|D| - J) / 16, rounded as in RFC 3550, A.8. */
        d->jitter_16 += size - ((d->jitter_16 + (1u << (JITTER_SHIFT - 1))) >> JITTER_SHIFT);
        if (d->jitter_16 > d->most_jitter_16)
            d->most_jitter_16 = d->jitter_16;
    }
    if (d->count == 0 || delay_ns < d->min_ns)
        d->min_ns = delay_ns;
    if (d->count == 0 || delay_ns > d->max_ns)
        d->max_ns = delay_ns;
    d->negative += delay_ns < 0;
    d->last_ns = delay_ns;
    d->count++;
    rt_hist_add(&d->hist, delay_ns);
    rt_hist_add(&d->recent, delay_ns);
}

static void note_offset(stamp_stats_t *s, const stamp_probe_t *p)
{
    if (p->t3_ns - p->t4_ns > s->offset_low_ns)
        s->offset_low_ns = p->t3_ns - p->t4_ns;
    if (p->t2_ns - p->left_ns < s->offset_high_ns)
        s->offset_high_ns = p->t2_ns - p->left_ns;
}

static bool is_time(int64_t at_ns)
{
    return at_ns > -MOST_TIME_NS && at_ns < MOST_TIME_NS;
}

static bool is_delay(int64_t ns)
{
    return ns > -MOST_DELAY_NS && ns < MOST_DELAY_NS;
}

/* Called when report and reply are both there. */
static void measure(stamp_stats_t *s, const stamp_probe_t *p)
{
    int64_t forth_ns = p->t2_ns - p->left_ns;
    int64_t inside_ns = p->t3_ns - p->t2_ns;
    int64_t back_ns = p->t4_ns - p->t3_ns;
    int64_t total_ns = p->t4_ns - p->left_ns;
    if (!is_delay(forth_ns) || !is_delay(back_ns) || inside_ns < 0 || total_ns < inside_ns) {
        s->counts.impossible++;
        return;
    }
    note_offset(s, p);
    if (p->flags & LATE)
        return;
    add_delay(&s->forward, forth_ns - s->offset_ns);
    add_delay(&s->backward, back_ns + s->offset_ns);
    add_delay(&s->round, total_ns - inside_ns);
}

/* --- the fate of probes, in their order ------------------------------------------------------- */

static void end_burst(stamp_stats_t *s)
{
    if (s->burst == 0)
        return;
    s->counts.bursts++;
    if (s->burst > s->counts.longest_burst)
        s->counts.longest_burst = s->burst;
    rt_hist_add(&s->burst_sizes, (int64_t)s->burst);
    s->burst = 0;
}

static void settle_head(stamp_stats_t *s)
{
    const stamp_probe_t *p = probe(s, s->head++);
    bool reported = p->flags & REPORTED;
    if (p->flags & GONE)
        return;
    if (!reported) {
        s->counts.unreported++;
        s->counts.sent += (p->flags & REPLIED) != 0;
    }
    if (p->flags & REPLIED) {
        end_burst(s);
    } else if (reported) {
        s->counts.lost++;
        s->burst++;
        s->tail += s->head > s->expected;
    }
}

static bool is_settled(const stamp_stats_t *s, const stamp_probe_t *p, int64_t now_ns)
{
    if (p->flags & GONE)
        return true;
    if (!(p->flags & REPORTED))
        return false;
    return (p->flags & REPLIED) || now_ns - p->left_ns > s->settings.timeout_ns;
}

void stamp_stats_settle(stamp_stats_t *s, int64_t now_ns)
{
    while (s->head < s->next && is_settled(s, probe(s, s->head), now_ns))
        settle_head(s);
}

void stamp_stats_finish(stamp_stats_t *s)
{
    while (s->head < s->next)
        settle_head(s);
    end_burst(s);
}

static void note_time(stamp_stats_t *s, int64_t at_ns)
{
    if (s->began_ns == 0 || at_ns < s->began_ns)
        s->began_ns = at_ns;
    if (at_ns > s->ended_ns)
        s->ended_ns = at_ns;
}

/* --- what this host did ----------------------------------------------------------------------- */

uint64_t stamp_stats_plan(stamp_stats_t *s, int64_t due_ns)
{
    if (s->next - s->head == s->settings.window)
        settle_head(s);
    *probe(s, s->next) = (stamp_probe_t){.due_ns = due_ns};
    s->counts.planned++;
    return s->next++;
}

/* The probe that a report is about, or NULL. */
static stamp_probe_t *unreported(stamp_stats_t *s, uint64_t number)
{
    if (!is_held(s, number) || number < s->head)
        return NULL;
    stamp_probe_t *p = probe(s, number);
    return p->flags & (REPORTED | GONE) ? NULL : p;
}

void stamp_stats_sent(stamp_stats_t *s, uint64_t number, int64_t left_ns)
{
    stamp_probe_t *p = unreported(s, number);
    if (p == NULL || !is_time(left_ns))
        return;
    p->left_ns = left_ns;
    p->flags |= REPORTED;
    note_time(s, left_ns);
    s->counts.sent++;
    if (left_ns - p->due_ns > s->settings.late_ns) {
        p->flags |= LATE;
        s->counts.late++;
    }
    if (p->flags & REPLIED)
        measure(s, p);
}

void stamp_stats_not_sent(stamp_stats_t *s, uint64_t number, bool failed)
{
    stamp_probe_t *p = unreported(s, number);
    if (p == NULL)
        return;
    if (p->flags & REPLIED) { /* somebody guessed it */
        s->counts.received--;
        s->counts.foreign++;
    }
    p->flags |= GONE;
    *(failed ? &s->counts.failed : &s->counts.not_sent) += 1;
}

/* --- the reflector's own numbers -------------------------------------------------------------- */

static uint64_t lost_backward(const stamp_stats_t *s)
{
    uint64_t made = s->reflected_next - s->reflected_base;
    return s->backward_before + (made > s->reflected ? made - s->reflected : 0);
}

static void begin_reflector(stamp_stats_t *s, uint32_t base)
{
    s->reflected_base = s->reflected_next = STREAM_BASE + base;
    s->reflected = 0;
    s->restart_seen = false;
}

/* Whether the reflector began anew: a lower number than before at a later time, twice in a row. A
 * reflector with several threads may do it once. */
static bool has_restarted(stamp_stats_t *s, const stamp_reply_t *r, uint64_t reflected)
{
    if (!s->settings.reflector_counts || reflected >= s->reflected_next) {
        s->restart_seen = false;
        return false;
    }
    if (r->t3_ns <= s->reflected_t3_ns)
        return false;
    bool again = s->restart_seen && r->sequence - s->restart_at < s->settings.window;
    s->restart_seen = true;
    s->restart_at = r->sequence + 1;
    return again;
}

/* Returns whether the reply was overtaken on the way back. */
static bool note_reflected(stamp_stats_t *s, const stamp_reply_t *r)
{
    if (r->sequence != r->request_sequence)
        s->settings.reflector_counts = true;
    uint32_t before = r->request_sequence - (uint32_t)s->first;
    if (s->reflected_next == 0) /* it counted other packets before ours if it is ahead of us */
        begin_reflector(s, r->sequence > before ? r->sequence - before : 0);
    uint64_t reflected = rt_seq64_near(s->reflected_next, r->sequence);
    if (has_restarted(s, r, reflected)) {
        s->reflected--; /* the first of the two */
        s->backward_before = lost_backward(s);
        s->counts.restarts++;
        begin_reflector(s, 0);
        reflected = rt_seq64_near(s->reflected_next, r->sequence);
        s->reflected = 1;
    }
    s->reflected++;
    if (reflected < s->reflected_next)
        return true;
    s->reflected_next = reflected + 1;
    s->reflected_t3_ns = r->t3_ns;
    return false;
}

/* --- replies ---------------------------------------------------------------------------------- */

static void note_order(stamp_stats_t *s, uint64_t number, bool back)
{
    uint32_t arrival = s->arrivals++;
    if (number >= s->expected) {
        uint64_t oldest = s->next > s->settings.window ? s->next - s->settings.window : 0;
        for (uint64_t i = s->expected > oldest ? s->expected : oldest; i < number; i++)
            probe(s, i)->overtaken = arrival & ((1u << OVERTAKEN_BITS) - 1);
        s->expected = number + 1;
        s->tail = s->head > s->expected ? s->head - s->expected : 0;
        return;
    }
    uint64_t extent = (arrival - probe(s, number)->overtaken) & ((1u << OVERTAKEN_BITS) - 1);
    s->counts.reordered++;
    *(back ? &s->counts.reordered_backward : &s->counts.reordered_forward) += 1;
    if (extent > s->counts.most_extent)
        s->counts.most_extent = extent;
    rt_hist_add(&s->extents, (int64_t)extent);
}

static bool is_ours(const stamp_probe_t *p, const stamp_reply_t *r)
{
    return r->t1_ns == p->due_ns && !(p->flags & GONE);
}

static stamp_outcome_t duplicate(stamp_stats_t *s, const stamp_probe_t *p, const stamp_reply_t *r)
{
    s->counts.duplicates++;
    if (p->reflected == r->sequence) {
        s->counts.duplicates_backward++;
    } else { /* the reflector answered twice: it got the probe twice */
        s->counts.duplicates_forward++;
        note_reflected(s, r);
    }
    return STAMP_DUPLICATE;
}

static stamp_outcome_t take(stamp_stats_t *s, uint64_t number, const stamp_reply_t *r,
                            int64_t t4_ns)
{
    stamp_probe_t *p = probe(s, number);
    if (!is_ours(p, r)) {
        s->counts.foreign++;
        return STAMP_FOREIGN;
    }
    if (p->flags & REPLIED)
        return duplicate(s, p, r);
    note_order(s, number, note_reflected(s, r));
    p->flags |= REPLIED;
    p->reflected = r->sequence;
    if (number < s->head) {
        s->counts.overdue += (p->flags & REPORTED) != 0;
        return STAMP_OVERDUE;
    }
    p->t2_ns = r->t2_ns;
    p->t3_ns = r->t3_ns;
    p->t4_ns = t4_ns;
    s->counts.received++;
    if (p->flags & REPORTED)
        measure(s, p);
    return STAMP_RECEIVED;
}

bool stamp_stats_expects(const stamp_stats_t *s, uint32_t sequence, int64_t t1_ns, bool answered)
{
    uint64_t number = rt_seq64_near(s->next, sequence);
    const stamp_probe_t *p = probe(s, number);
    return is_held(s, number) && p->due_ns == t1_ns && answered == ((p->flags & REPLIED) != 0);
}

stamp_outcome_t stamp_stats_reply(stamp_stats_t *s, const stamp_reply_t *r, int64_t t4_ns)
{
    uint64_t number = rt_seq64_near(s->next, r->request_sequence);
    bool sane = is_time(r->t1_ns) && is_time(r->t2_ns) && is_time(r->t3_ns) && is_time(t4_ns);
    if (!sane || number < s->first || number >= s->next) {
        s->counts.foreign++;
        return STAMP_FOREIGN;
    }
    if (!is_held(s, number)) {
        s->counts.too_old++;
        return STAMP_TOO_OLD;
    }
    return take(s, number, r, t4_ns);
}

void stamp_stats_count(const stamp_stats_t *s, stamp_counts_t *out)
{
    *out = s->counts;
    if (!s->settings.reflector_counts) {
        out->duplicates_forward = out->duplicates_backward = 0;
        out->reordered_forward = out->reordered_backward = 0;
        return;
    }
    uint64_t placed = out->overdue + s->tail;
    uint64_t rest = out->lost > placed ? out->lost - placed : 0;
    uint64_t back = lost_backward(s);
    out->lost_backward = back < rest ? back : rest;
    out->lost_forward = rest - out->lost_backward;
}

/* --- streams of others ------------------------------------------------------------------------ */

static void plan_assumed(stamp_stats_t *s, int64_t t1_ns)
{
    uint64_t number = stamp_stats_plan(s, t1_ns);
    probe(s, number)->left_ns = t1_ns;
    probe(s, number)->flags = REPORTED;
    s->counts.sent++;
}

/* Finds the number of a sequence. Returns false if it is not believed. */
static bool find_in_stream(stamp_stats_t *s, uint32_t sequence, uint64_t *number)
{
    *number = rt_seq64_near(s->next, sequence);
    bool near = *number + s->settings.window > s->next && *number < s->next + s->settings.window;
    if (s->counts.planned > 0 && near) {
        s->stream_seen = false;
        return true;
    }
    bool follows = s->stream_seen && s->stream_at == sequence;
    if (s->counts.planned > 0 && !follows) {
        s->stream_seen = true;
        s->stream_at = sequence + 1;
        return false;
    }
    s->counts.restarts += s->counts.planned > 0;
    stamp_stats_finish(s);
    *number = STREAM_BASE + sequence;
    begin(s, *number);
    return true;
}

stamp_outcome_t stamp_stats_arrival(stamp_stats_t *s, uint32_t sequence, int64_t t1_ns,
                                    int64_t t4_ns)
{
    uint64_t number;
    if (!is_time(t1_ns) || !is_time(t4_ns) || !find_in_stream(s, sequence, &number)) {
        s->counts.foreign++;
        return STAMP_FOREIGN;
    }
    while (s->next <= number)
        plan_assumed(s, t1_ns);
    if (!is_held(s, number)) {
        s->counts.too_old++;
        return STAMP_TOO_OLD;
    }
    note_time(s, t4_ns);
    stamp_probe_t *p = probe(s, number);
    if (p->flags & REPLIED) {
        s->counts.duplicates++;
        return STAMP_DUPLICATE;
    }
    note_order(s, number, false);
    p->flags |= REPLIED;
    if (number < s->head) {
        s->counts.overdue++;
        return STAMP_OVERDUE;
    }
    s->counts.received++;
    int64_t delay_ns = t4_ns - t1_ns;
    if (is_delay(delay_ns))
        add_delay(&s->forward, delay_ns - s->offset_ns);
    else
        s->counts.impossible++;
    return STAMP_RECEIVED;
}
