/* How it works: the sending end handles data, and the peer's reports about it.
 *
 *     first            last_ack                 next
 *     ----|================|====x====x============|- - - - - -
 *         | reported as    |    lost: sent again  |  new: while fewer are in flight than
 *         | received, not  |    before all else   |  flow window and cwnd allow
 *         | yet freed      |                      |
 *         +-- freed by ACKs that are not light
 *
 * How packets become lost:
 *
 *   NAK       the peer found a hole. Packets repeated within the last round trip are left out: the
 *             peer did not know of them when it sent it. The controller gets first losses only.
 *   overdue   the oldest packet is older than an answer takes; so is everything repeated before
 *             that. This finds repeated packets that were lost again, which a libudt receiver does
 *             not report, and, with the last packet sent, the loss of everything before it.
 *   silence   EXP: nothing at all was received. All packets in flight are lost.
 *
 * Losses before the first ACK are repaired, but not reported to the controller: they come from a
 * libudt end that discards arrivals directly after the handshake, and do not describe the path. A
 * controller in its start-up would slow down for seconds.
 *
 * A libudt receiver checks its timers only when a packet comes or 100 ms have passed. A keep-alive
 * after the last packet of a burst makes it see that its ACK is due. */
#include "proto/udt/udt_conn_private.h"

#include <errno.h>

#define HOLD_NS (10 * RT_NS_PER_MS)
#define FIRST_DELIVERY_PPS 16u
#define FIRST_CAPACITY_PPS 1u
#define NUDGE_NS (12 * RT_NS_PER_MS)
#define OVERDUE_MIN_NS (50 * RT_NS_PER_MS)
#define OVERDUE_MAX_DOUBLINGS 4u
#define PROBE_PERIOD 16u
#define NAK_RANGES 64u /* the first of these are reported to the controller */

/* --- what the controller sees -------------------------------------------------------------- */

static uint32_t next_seq(const udt_conn_t *c)
{
    return udt_sndbuf_next_seq(&c->snd.buffer);
}

static uint32_t flight(const udt_conn_t *c)
{
    return (uint32_t)udt_seq_diff(next_seq(c), c->snd.last_ack);
}

/* Arrival stamps may be older than what was reported to the controller before. */
static udt_cc_in_t cc_in(udt_conn_t *c, int64_t at_ns)
{
    udt_sender_t *s = &c->snd;
    if (at_ns > s->cc_ns)
        s->cc_ns = at_ns;
    return (udt_cc_in_t){
        .now_ns = s->cc_ns,
        .rtt_us = c->rtt.rtt_us,
        .rtt_var_us = c->rtt.var_us,
        .rcv_rate_pps = s->delivery_pps,
        .bandwidth_pps = s->capacity_pps,
        .mss_bytes = c->mss_bytes,
        .max_cwnd_packets = c->peer_window,
        .snd_curr_seq = udt_seq_prev(next_seq(c)),
        .snd_last_ack = s->last_ack,
        .backlog_packets = udt_sndbuf_new_packets(&s->buffer) + s->losses.count,
    };
}

/* Call it after each call of the controller. It also ends the effect of a peer's warning. */
static void take_decision(udt_conn_t *c)
{
    udt_sender_t *s = &c->snd;
    uint64_t limit = c->config.max_bandwidth;
    s->period_ps = s->cc.period_ps;
    if (limit > 0) {
        int64_t least_ps = (int64_t)((uint64_t)UDT_CC_PS_PER_S * c->mss_bytes / limit);
        if (s->period_ps < least_ps)
            s->period_ps = least_ps;
    }
}

/* A libudt client, and each side of a rendezvous, accepts data only some time after it has received
 * the handshake that connects it. Before that it loses whole bursts. */
static bool sender_must_hold(const udt_conn_t *c)
{
    return c->setup.is_server || c->config.rendezvous;
}

/* If the application sets the rate, a limit is the rate, also one above the previous rate. */
static void set_fixed_rate(udt_conn_t *c, uint64_t max_bandwidth)
{
    udt_cc_config_t *config = &c->config.cc;
    bool too_much = max_bandwidth > UDT_CC_MOST_RATE_BPS / 8;
    config->rate_bps = too_much ? UDT_CC_MOST_RATE_BPS : max_bandwidth * 8;
    if (c->snd.cc.ops == NULL)
        return;
    udt_cc_in_t in = cc_in(c, c->now_ns);
    udt_cc_init(&c->snd.cc, config, &in);
}

void udt_conn_set_bandwidth(udt_conn_t *c, uint64_t max_bandwidth)
{
    c->config.max_bandwidth = max_bandwidth;
    if (c->config.cc.kind == UDT_CC_FIXED && max_bandwidth > 0)
        set_fixed_rate(c, max_bandwidth);
    take_decision(c);
}

void sender_start(udt_conn_t *c)
{
    udt_sender_t *s = &c->snd;
    s->last_ack = c->isn;
    s->flow_window = c->peer_window;
    s->delivery_pps = FIRST_DELIVERY_PPS;
    s->capacity_pps = FIRST_CAPACITY_PPS;
    s->sent_ns = c->now_ns;
    s->heard_ns = c->now_ns;
    s->scanned_ns = c->now_ns;
    s->pacer = (udt_pacer_t){.next_ns = c->now_ns + (sender_must_hold(c) ? HOLD_NS : 0)};
    s->stopped = true;
    udt_sndbuf_start(&s->buffer, c->isn, UDT_PAYLOAD_BYTES(c->mss_bytes));
    udt_losslist_start(&s->losses, c->isn);
    udt_cc_in_t in = cc_in(c, c->now_ns);
    udt_cc_init(&s->cc, &c->config.cc, &in); /* it was valid at init, so it is now */
    take_decision(c);
}

bool sender_is_done(const udt_conn_t *c)
{
    return udt_sndbuf_is_empty(&c->snd.buffer);
}

static void publish(udt_conn_t *c)
{
    const udt_sender_t *s = &c->snd;
    udt_gauge(c->stats, UDT_GAUGE_period_ps, (uint64_t)s->period_ps);
    udt_gauge(c->stats, UDT_GAUGE_flow_window_packets, s->flow_window);
    udt_gauge(c->stats, UDT_GAUGE_cwnd_packets, s->cc.cwnd_packets);
    udt_gauge(c->stats, UDT_GAUGE_flight_packets, flight(c));
    udt_gauge(c->stats, UDT_GAUGE_rtt_us, c->rtt.rtt_us);
    udt_gauge(c->stats, UDT_GAUGE_rtt_var_us, c->rtt.var_us);
    udt_gauge(c->stats, UDT_GAUGE_capacity_pps, s->capacity_pps);
    udt_gauge(c->stats, UDT_GAUGE_delivery_pps, s->delivery_pps);
}

/* --- ACK ----------------------------------------------------------------------------------- */

/* The newest answers matter: an overflow drops the oldest. */
static void queue_ack2(udt_sender_t *s, uint32_t number)
{
    s->ack2s[s->ack2_to++ % UDT_ACK2_QUEUE] = number;
    if (s->ack2_to - s->ack2_from > UDT_ACK2_QUEUE)
        s->ack2_from = s->ack2_to - UDT_ACK2_QUEUE;
}

static void take_light_ack(udt_conn_t *c, uint32_t seq, int64_t at_ns)
{
    udt_sender_t *s = &c->snd;
    int32_t more = udt_seq_diff(seq, s->last_ack);
    if (more <= 0)
        return;
    s->flow_window -= (uint32_t)more < s->flow_window ? (uint32_t)more : s->flow_window;
    s->last_ack = seq;
    udt_losslist_advance(&s->losses, seq);
    udt_cc_in_t in = cc_in(c, at_ns);
    udt_cc_on_light_ack(&s->cc, &in, seq);
    take_decision(c);
}

static uint32_t smoothed(uint32_t old, uint32_t sample)
{
    return sample == 0 ? old : (uint32_t)(((uint64_t)old * 7 + sample) / 8);
}

static void take_estimates(udt_conn_t *c, const udt_ack_t *ack)
{
    if (ack->rtt_us > 0)
        udt_rtt_sample(&c->rtt, ack->rtt_us);
    c->snd.delivery_pps = smoothed(c->snd.delivery_pps, ack->arrival_pps);
    c->snd.capacity_pps = smoothed(c->snd.capacity_pps, ack->capacity_pps);
}

static void note_idle(udt_conn_t *c)
{
    udt_sender_t *s = &c->snd;
    if (s->buffer.sent > 0 || s->busy_since_ns == RT_NEVER_NS)
        return;
    uint64_t busy_ns = rt_load_relaxed(&c->stats->gauges[UDT_GAUGE_data_ns]);
    udt_gauge(c->stats, UDT_GAUGE_data_ns, busy_ns + (uint64_t)(c->now_ns - s->busy_since_ns));
    s->busy_since_ns = RT_NEVER_NS;
}

int sender_ack(udt_conn_t *c, const udt_view_t *view, int64_t at_ns)
{
    udt_sender_t *s = &c->snd;
    udt_ack_t ack;
    udt_ack_read(view, &ack);
    if (udt_seq_before(next_seq(c), ack.seq)) {
        udt_count(c->stats, UDT_COUNT_refused_ack, 1);
        return -EPROTO;
    }
    s->heard_ns = c->now_ns;
    s->nudged = false;
    if (ack.form == UDT_ACK_LIGHT) {
        take_light_ack(c, ack.seq, at_ns);
        return 0;
    }
    queue_ack2(s, ack.number);
    if (!udt_seq_before(ack.seq, s->last_ack)) {
        s->flow_window = ack.free_packets;
        s->last_ack = ack.seq;
    }
    if (udt_sndbuf_ack(&s->buffer, ack.seq) == 0)
        return 0;
    s->was_acked = true;
    udt_losslist_advance(&s->losses, ack.seq);
    udt_count(c->stats, UDT_COUNT_acks_received, 1);
    c->events |= UDT_EVENT_WRITABLE;
    take_estimates(c, &ack);
    note_idle(c);
    udt_cc_in_t in = cc_in(c, at_ns);
    udt_cc_on_ack(&s->cc, &in, ack.seq);
    take_decision(c);
    publish(c);
    return 0;
}

/* --- NAK ----------------------------------------------------------------------------------- */

/* Nothing beyond what was sent. A range must not wrap around. */
static bool nak_is_possible(const udt_conn_t *c, const udt_view_t *view)
{
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    while (udt_nak_next(view, &at, &first, &last)) {
        int32_t from = udt_seq_diff(first, c->snd.last_ack);
        int32_t to = udt_seq_diff(last, c->snd.last_ack);
        if (to >= (int32_t)flight(c) || from > to)
            return false;
    }
    return true;
}

/* Packets that were sent again since, or will be, say nothing new about the path: receivers repeat
 * their reports. */
static bool is_news(const udt_conn_t *c, uint32_t seq)
{
    return udt_sndbuf_get(&c->snd.buffer, seq)->sends == 1 &&
           !udt_losslist_has(&c->snd.losses, seq);
}

/* Appends the packets of first .. last that are news, as contiguous ranges. Returns how many ranges
 * there are now. */
static size_t add_news(const udt_conn_t *c, uint32_t first, uint32_t last, uint32_t *budget,
                       udt_seq_range_t *lost, size_t n)
{
    int32_t from = udt_seq_diff(first, c->snd.last_ack);
    int32_t to = udt_seq_diff(last, c->snd.last_ack);
    bool unbroken = false;
    for (int32_t off = from > 0 ? from : 0; off <= to && *budget > 0; off++, --*budget) {
        uint32_t seq = udt_seq_add(c->snd.last_ack, off);
        bool news = is_news(c, seq);
        if (news && unbroken)
            lost[n - 1].last = seq;
        else if (news && n < NAK_RANGES)
            lost[n++] = (udt_seq_range_t){seq, seq};
        unbroken = news && n > 0 && lost[n - 1].last == seq;
    }
    return n;
}

static void report_losses(udt_conn_t *c, const udt_view_t *view, int64_t at_ns)
{
    udt_seq_range_t lost[NAK_RANGES];
    uint32_t budget = flight(c);
    size_t n = 0;
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    while (budget > 0 && udt_nak_next(view, &at, &first, &last))
        n = add_news(c, first, last, &budget, lost, n);
    if (n == 0)
        return;
    udt_cc_in_t in = cc_in(c, at_ns);
    udt_cc_on_loss(&c->snd.cc, &in, lost, n);
    take_decision(c);
}

/* Marks the unacknowledged packets of first .. last as lost, at most *budget of them. */
static void lose(udt_conn_t *c, uint32_t first, uint32_t last, uint32_t *budget, int64_t at_ns)
{
    udt_sender_t *s = &c->snd;
    int32_t from = udt_seq_diff(first, s->last_ack);
    int32_t to = udt_seq_diff(last, s->last_ack);
    for (int32_t off = from > 0 ? from : 0; off <= to && *budget > 0; off++, --*budget) {
        uint32_t seq = udt_seq_add(s->last_ack, off);
        const udt_snd_packet_t *p = udt_sndbuf_get(&s->buffer, seq);
        bool known = p->sends > 1 && at_ns - p->sent_ns < (int64_t)c->rtt.rtt_us * RT_NS_PER_US;
        if (!known)
            udt_count(c->stats, UDT_COUNT_send_losses, udt_losslist_insert(&s->losses, seq, seq));
    }
}

int sender_nak(udt_conn_t *c, const udt_view_t *view, int64_t at_ns)
{
    if (!nak_is_possible(c, view)) {
        udt_count(c->stats, UDT_COUNT_refused_nak, 1);
        return -EPROTO;
    }
    udt_count(c->stats, UDT_COUNT_naks_received, 1);
    c->snd.heard_ns = c->now_ns;
    if (c->snd.was_acked)
        report_losses(c, view, at_ns);
    /* One packet need not report the same loss twice: the packets in flight bound the work. */
    uint32_t budget = flight(c);
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    while (budget > 0 && udt_nak_next(view, &at, &first, &last))
        lose(c, first, last, &budget, at_ns);
    return 0;
}

/* The peer sees growing queues. The warning holds until the controller decides again. However many
 * warnings come, one packet a second may leave. */
void sender_warned(udt_conn_t *c)
{
    if (c->snd.period_ps < UDT_CC_PS_PER_S)
        c->snd.period_ps += c->snd.period_ps / 8;
}

static void lose_all(udt_conn_t *c)
{
    if (flight(c) == 0)
        return;
    udt_losslist_t *l = &c->snd.losses;
    uint32_t lost = udt_losslist_insert(l, c->snd.last_ack, udt_seq_prev(next_seq(c)));
    udt_count(c->stats, UDT_COUNT_send_losses, lost);
}

/* The peer accepts data now. It has most likely lost everything sent before. */
void sender_release(udt_conn_t *c)
{
    if (c->snd.pacer.next_ns > c->now_ns)
        c->snd.pacer.next_ns = c->now_ns;
    if (sender_must_hold(c))
        lose_all(c);
}

/* --- timers -------------------------------------------------------------------------------- */

void sender_silence(udt_conn_t *c)
{
    udt_sender_t *s = &c->snd;
    if (udt_sndbuf_is_empty(&s->buffer))
        return;
    if (flight(c) == 0 || s->losses.count > 0) {
        c->keepalive_due = true;
        return;
    }
    lose_all(c);
    udt_count(c->stats, UDT_COUNT_timeouts, 1);
    if (!s->was_acked)
        return;
    udt_cc_in_t in = cc_in(c, c->now_ns);
    udt_cc_on_timeout(&s->cc, &in);
    take_decision(c);
}

static int64_t overdue_ns(const udt_conn_t *c)
{
    int64_t ns = udt_rtt_overdue_ns(&c->rtt) + 2 * UDT_SYN_NS;
    return ns > OVERDUE_MIN_NS ? ns : OVERDUE_MIN_NS;
}

/* When the oldest packet becomes overdue: later each time it was sent. */
static int64_t overdue_at_ns(const udt_conn_t *c)
{
    const udt_sender_t *s = &c->snd;
    const udt_snd_packet_t *oldest = udt_sndbuf_get(&s->buffer, s->last_ack);
    if (oldest == NULL || s->losses.count > 0)
        return RT_NEVER_NS;
    unsigned doublings = oldest->sends > 1 ? oldest->sends - 1u : 0;
    if (doublings > OVERDUE_MAX_DOUBLINGS)
        doublings = OVERDUE_MAX_DOUBLINGS;
    int64_t since_ns = oldest->sent_ns > s->scanned_ns ? oldest->sent_ns : s->scanned_ns;
    return since_ns + (overdue_ns(c) << doublings);
}

static void become_overdue(udt_conn_t *c, uint32_t seq)
{
    if (udt_losslist_insert(&c->snd.losses, seq, seq) == 0)
        return;
    udt_count(c->stats, UDT_COUNT_send_losses, 1);
    udt_count(c->stats, UDT_COUNT_overdue, 1);
}

static void find_overdue(udt_conn_t *c)
{
    udt_sender_t *s = &c->snd;
    uint32_t last = udt_seq_prev(next_seq(c));
    int64_t before_ns = c->now_ns - overdue_ns(c);
    s->scanned_ns = c->now_ns;
    for (uint32_t seq = s->last_ack; udt_seq_before(seq, last); seq = udt_seq_next(seq)) {
        const udt_snd_packet_t *p = udt_sndbuf_get(&s->buffer, seq);
        if (seq == s->last_ack || (p->sends > 1 && p->sent_ns <= before_ns))
            become_overdue(c, seq);
    }
    const udt_snd_packet_t *p = udt_sndbuf_get(&s->buffer, last);
    if (p->sent_ns <= before_ns)
        become_overdue(c, last);
}

static bool may_send_new(const udt_conn_t *c)
{
    const udt_sender_t *s = &c->snd;
    uint32_t window = s->flow_window < s->cc.cwnd_packets ? s->flow_window : s->cc.cwnd_packets;
    return flight(c) < window && udt_sndbuf_new_packets(&s->buffer) > 0;
}

static bool has_to_send(const udt_conn_t *c)
{
    return c->snd.losses.count > 0 || may_send_new(c);
}

static int64_t nudge_at_ns(const udt_conn_t *c)
{
    const udt_sender_t *s = &c->snd;
    if (s->nudged || s->buffer.sent == 0 || has_to_send(c))
        return RT_NEVER_NS;
    int64_t since_ns = s->sent_ns > s->heard_ns ? s->sent_ns : s->heard_ns;
    return since_ns + NUDGE_NS;
}

void sender_check(udt_conn_t *c)
{
    if (c->now_ns >= overdue_at_ns(c))
        find_overdue(c);
    if (c->now_ns >= nudge_at_ns(c)) {
        c->snd.nudged = true;
        c->keepalive_due = true;
    }
}

/* --- emission ------------------------------------------------------------------------------ */

static bool has_expired(const udt_conn_t *c, const udt_snd_packet_t *p)
{
    return p->ttl_ms >= 0 && (c->now_ns - p->born_ns) / RT_NS_PER_MS > p->ttl_ms;
}

static void note_sent(udt_conn_t *c, udt_snd_packet_t *p)
{
    p->sent_ns = c->now_ns;
    if (p->sends < UINT8_MAX)
        p->sends++;
    c->snd.sent_ns = c->now_ns;
    if (c->snd.busy_since_ns == RT_NEVER_NS)
        c->snd.busy_since_ns = c->now_ns;
}

static void put_data(udt_conn_t *c, udt_outbox_t *box, uint32_t seq, udt_snd_packet_t *p)
{
    udt_out_t *out = outbox_next(box);
    uint32_t since_opened_us = (uint32_t)((c->now_ns - c->opened_ns) / RT_NS_PER_US);
    udt_put_data_header(out->head, seq, p->word1, since_opened_us, c->peer_id);
    out->head_bytes = UDT_HEADER_BYTES;
    out->payload = udt_sndbuf_payload(&c->snd.buffer, p);
    out->payload_bytes = p->bytes;
    note_sent(c, p);
    udt_count(c->stats, UDT_COUNT_sent, 1);
}

/* The message of seq has expired: the peer need not wait for the rest of it. */
static void put_drop(udt_conn_t *c, udt_outbox_t *box, uint32_t seq, udt_snd_packet_t *p)
{
    udt_sender_t *s = &c->snd;
    udt_drop_t drop = {.message = udt_message_of(p->word1), .first = seq};
    drop.last = udt_sndbuf_pass_over(&s->buffer, seq);
    udt_losslist_remove(&s->losses, drop.first, drop.last);
    note_sent(c, p);
    udt_out_t *out = outbox_next(box);
    out->head_bytes = (uint32_t)udt_put_drop(out->head, &drop, c->peer_id);
    udt_count(c->stats, UDT_COUNT_drops_sent, 1);
}

/* The second packet of a probe pair leaves at once, and the pause after it counts for both. */
static void pace(udt_conn_t *c, uint32_t seq, bool is_new)
{
    udt_sender_t *s = &c->snd;
    bool was_second = s->pair;
    s->pair = is_new && seq % PROBE_PERIOD == 0;
    if (!s->pair)
        udt_pacer_sent(&s->pacer, was_second ? 2 * s->period_ps : s->period_ps, c->now_ns);
}

/* New packets that were not reported to the controller yet. */
typedef struct fresh {
    uint32_t first;
    uint32_t count;
} fresh_t;

static void report_sent(udt_conn_t *c, fresh_t *fresh)
{
    if (fresh->count == 0)
        return;
    udt_cc_in_t in = cc_in(c, c->now_ns);
    udt_cc_on_packet_sent(&c->snd.cc, &in, fresh->first, fresh->count, false);
    take_decision(c);
    fresh->count = 0;
}

static bool emit_lost(udt_conn_t *c, udt_outbox_t *box)
{
    udt_sender_t *s = &c->snd;
    uint32_t seq;
    if (!udt_losslist_first(&s->losses, &seq))
        return false;
    udt_snd_packet_t *p = udt_sndbuf_get(&s->buffer, seq);
    s->scanned_ns = c->now_ns; /* the wait for overdue packets starts again */
    if (has_expired(c, p)) {
        put_drop(c, box, seq, p);
        return true;
    }
    udt_losslist_remove(&s->losses, seq, seq);
    put_data(c, box, seq, p);
    udt_count(c->stats, UDT_COUNT_repeated, 1);
    udt_cc_in_t in = cc_in(c, c->now_ns);
    udt_cc_on_packet_sent(&s->cc, &in, seq, 1, true);
    take_decision(c);
    pace(c, seq, false);
    return true;
}

/* Returns false if no new packet may be sent. */
static bool emit_new(udt_conn_t *c, udt_outbox_t *box, fresh_t *fresh)
{
    udt_sender_t *s = &c->snd;
    uint32_t seq;
    if (!may_send_new(c))
        return false;
    udt_snd_packet_t *p = udt_sndbuf_next(&s->buffer, &seq);
    if (has_expired(c, p)) {
        report_sent(c, fresh);
        put_drop(c, box, seq, p);
        return true;
    }
    put_data(c, box, seq, p);
    udt_count(c->stats, UDT_COUNT_sent_bytes, p->bytes);
    pace(c, seq, true);
    if (fresh->count++ == 0)
        fresh->first = seq;
    return true;
}

static void emit_data(udt_conn_t *c, udt_outbox_t *box)
{
    udt_sender_t *s = &c->snd;
    fresh_t fresh = {0};
    int64_t until_ns = s->pacer.next_ns <= c->now_ns ? c->now_ns + c->config.burst_ns : c->now_ns;
    while (!outbox_is_full(box) && (s->pair || s->pacer.next_ns <= until_ns)) {
        if (!emit_lost(c, box) && !emit_new(c, box, &fresh))
            break;
    }
    report_sent(c, &fresh);
    s->stopped = !has_to_send(c);
}

void sender_emit(udt_conn_t *c, udt_outbox_t *box)
{
    udt_sender_t *s = &c->snd;
    while (s->ack2_from != s->ack2_to && !outbox_is_full(box))
        conn_put_control(c, box, UDT_TYPE_ACK2, s->ack2s[s->ack2_from++ % UDT_ACK2_QUEUE]);
    if (s->stopped)
        udt_pacer_idle(&s->pacer, c->now_ns);
    emit_data(c, box);
    publish(c);
}

int64_t sender_deadline_ns(const udt_conn_t *c)
{
    const udt_sender_t *s = &c->snd;
    if (s->ack2_from != s->ack2_to)
        return c->now_ns;
    int64_t at_ns = rt_min64(overdue_at_ns(c), nudge_at_ns(c));
    if (has_to_send(c))
        at_ns = rt_min64(at_ns, s->pair ? c->now_ns : s->pacer.next_ns);
    return at_ns;
}
