/* How it works
 *
 * A controller with a model of the path, which does not treat each loss as congestion. It follows
 * BBR (Cardwell et al., with versions 2 and 3 for losses and other traffic):
 *
 *     bw        the highest delivery rate of the last two probing cycles: our share of the path
 *     min_rtt   the shortest round trip of the last 10 s: the path without queues
 *     BDP       bw * min_rtt: the data in flight that just keeps the path busy
 *
 * Both come from udt_delivery.h. They cannot be measured at the same time (a higher bandwidth shows
 * only with a full queue, the shortest round trip only with an empty one), so phases alternate:
 *
 *                 pacing   window
 *     STARTUP      2.77    2 BDP      until the rate stops growing for 3 rounds, or much is lost
 *     DRAIN        0.5     2 BDP      until no more than a BDP is in flight
 *     DOWN         0.75    2 BDP      the queue that the probe filled drains
 *     CRUISE       1       2 BDP      2 to 3 s (drawn at random: flows must not probe as one), at
 *                                     most 60 to 90 rounds
 *     REFILL       1       2 BDP      one round: the path is full before the probe begins
 *     UP           1.25    as it was  is there more? A quarter of a BDP is added, which grows as
 *                          + BDP / 4  the rate does, until the rate has stopped growing for two
 *                                     rounds, or much is lost
 *     PROBE_RTT    0.5     0.5 BDP    200 ms, when no round trip came near min_rtt for 10 s
 *
 *     STARTUP -> DRAIN -> DOWN -> CRUISE -> REFILL -> UP -+       PROBE_RTT from any but STARTUP,
 *                          ^------------------------------+       and back to DOWN
 *
 * A round is a round trip, but 10 ms at least. Each window also includes the data that arrives
 * between two ACKs (10 ms), and the data that waits at the receiver after a hole: the engine's
 * window counts those packets, and the model does not.
 *
 * Why shares become equal: a flow with a small share gains much by a quarter more (in a full queue,
 * shares are proportional to the data in flight), so its probe continues, round after round. A flow
 * with nearly all of the path gains nothing, and stops.
 *
 * Loss. A radio link loses a few percent and is not full. So losses count as congestion
 * only if they exceed 2 % by more than chance explains (three standard deviations of a
 * count with that mean), and if round trips have also grown by a tenth (in STARTUP by a
 * quarter and 10 ms). 10 % always count. Then
 *
 *   STARTUP, UP   The path holds no more than was in flight when the newest packet known to have
 *                 arrived left: in_flight_hi. Except in probes, at most 85 % of it is used. The
 *                 rest is room in which others, TCP for example, can grow. In UP in_flight_hi grows
 *                 again, by an eighth a round.
 *   CRUISE        The share has become smaller: bw falls to nine tenths of the arrival rate, or by
 *                 three tenths, whichever is the smaller fall, at most once a round.
 *
 * A probe that ended in losses and gained less than a tenth is repeated after twice the time, up to
 * four times, because TCP on a long path needs many rounds to recover from one loss. Meanwhile bw
 * ages by the clock, every 3 s.
 *
 * Each timeout halves the pacing rate, until a packet arrives from the peer again. */
#include "proto/udt/udt_cc_tables.h"

#include <math.h>

#define FIRST_WINDOW 32.0         /* packets, before anything is known */
#define SLACK 16.0                /* packets, in windows */
#define FIRST_RTT_NS RT_NS_PER_MS /* spreads the first window */
#define STARTUP_GAIN 2.77
#define DRAIN_GAIN 0.5
#define DOWN_GAIN 0.75
#define UP_GAIN 1.25
#define PROBE_RTT_GAIN 0.5
#define WINDOW_GAIN 2.0
#define UP_EXCESS 0.25
#define STARTUP_GROWTH 1.25
#define STARTUP_FULL_ROUNDS 3u
#define UP_GROWTH 1.04
#define UP_FULL_ROUNDS 2u
#define MOST_UP_ROUNDS 8u
#define AT_LIMIT 0.9
#define HI_GROWTH 0.125 /* a round trip */
#define LOSS_SHARE 0.02
#define LOSS_SHARE_WITHOUT_QUEUE 0.1
#define QUEUE_SEEN 1.1
#define QUEUE_IS_LONG 1.25 /* and the time between two ACKs */
#define LOSS_SIGMAS 3.0
#define LOSS_WINDOW 500u /* packets */
#define LOSS_DECREASE 0.7
#define ARRIVING_KEPT 0.9
#define HEADROOM 0.85
#define MIN_RTT_EXPIRES_NS (10 * RT_NS_PER_S)
#define MIN_RTT_CONFIRM 1.03 /* a round trip this near confirms it */
#define PROBE_RTT_NS (200 * RT_NS_PER_MS)
#define PROBE_EVERY_NS (2 * RT_NS_PER_S)
#define BW_AGES_NS (3 * RT_NS_PER_S)
#define PROBE_WON 1.1
#define MAX_PROBE_BACKOFF 4
#define MOST_CRUISE_ROUNDS 60.0
#define LEAST_CRUISE_ROUNDS 4.0
#define MOST_TIMEOUTS 6u
#define LEAST_A_ROUND 2.0 /* packets */

static const double pacing_gain[] = {
    [UDT_BBR_STARTUP] = STARTUP_GAIN,
    [UDT_BBR_DRAIN] = DRAIN_GAIN,
    [UDT_BBR_DOWN] = DOWN_GAIN,
    [UDT_BBR_CRUISE] = 1.0,
    [UDT_BBR_REFILL] = 1.0,
    [UDT_BBR_UP] = UP_GAIN,
    [UDT_BBR_PROBE_RTT] = PROBE_RTT_GAIN,
};

static const double window_gain[] = {
    [UDT_BBR_STARTUP] = WINDOW_GAIN,      [UDT_BBR_DRAIN] = WINDOW_GAIN,
    [UDT_BBR_DOWN] = WINDOW_GAIN,         [UDT_BBR_CRUISE] = WINDOW_GAIN,
    [UDT_BBR_REFILL] = WINDOW_GAIN,       [UDT_BBR_UP] = WINDOW_GAIN,
    [UDT_BBR_PROBE_RTT] = PROBE_RTT_GAIN,
};

/* ---- the model ---- */

static double seconds(int64_t ns)
{
    return (double)ns / (double)RT_NS_PER_S;
}

static double bw_pps(const udt_cc_bbr_t *s)
{
    return fmax(s->bw_max_pps[0], s->bw_max_pps[1]);
}

static double bdp(const udt_cc_bbr_t *s)
{
    return bw_pps(s) * seconds(s->min_rtt_ns);
}

static bool uses_headroom(const udt_cc_bbr_t *s)
{
    return s->phase == UDT_BBR_REFILL || s->phase == UDT_BBR_UP;
}

/* Packets that may be in flight. */
static double window(const udt_cc_bbr_t *s)
{
    double per_ack = bw_pps(s) * UDT_CC_SYN_US / 1e6;
    if (s->phase == UDT_BBR_STARTUP)
        per_ack *= WINDOW_GAIN;
    double slack = s->min_rtt_ns == 0 ? FIRST_WINDOW : SLACK;
    double packets = window_gain[s->phase] * bdp(s) + per_ack + slack;
    if (s->phase == UDT_BBR_UP)
        packets = fmax(s->up_from, bdp(s) + per_ack) + UP_EXCESS * bdp(s) + SLACK / 4;
    double most = uses_headroom(s) ? s->in_flight_hi : s->in_flight_hi * HEADROOM;
    return fmin(packets, most);
}

/* The engine also counts packets that wait at the receiver, and those that will wait until an open
 * hole is filled. Nothing is reported about them for a round trip. */
static double window_for_engine(const udt_cc_bbr_t *s)
{
    double packets = window(s) + udt_delivery_waiting(&s->delivery);
    if (s->delivery.hole_packets > 0)
        packets += 2 * bdp(s) + bw_pps(s) * UDT_CC_SYN_US / 1e6;
    return packets;
}

/* A lower bound before there is a model, and in any state. If the whole first window was lost, the
 * shortest round trip is that of repeated packets, and much too long. */
static double least_pps(const udt_cc_bbr_t *s, uint32_t rtt_us)
{
    if (s->min_rtt_ns == 0)
        return FIRST_WINDOW / seconds(FIRST_RTT_NS);
    double rtt_s = fmin(seconds(s->min_rtt_ns), rtt_us / 1e6);
    return LEAST_A_ROUND / fmax(rtt_s, UDT_CC_SYN_US / 1e6);
}

/* After a hole the engine's window is wide, and arrivals are not reported: a queue that existed has
 * most likely overflowed. */
static double gain(const udt_cc_bbr_t *s)
{
    bool overflows = s->delivery.hole_packets > 0 && s->queue_is_long;
    return s->phase == UDT_BBR_STARTUP && overflows ? 1.0 : pacing_gain[s->phase];
}

static void publish(udt_cc_t *cc, const udt_cc_in_t *in)
{
    udt_cc_bbr_t *s = &cc->state.bbr;
    double pps = fmax(bw_pps(s) * gain(s), least_pps(s, in->rtt_us));
    double period_ps = (double)UDT_CC_PS_PER_S / pps * (double)(1u << s->timeouts);
    cc->period_ps = udt_cc_period_ps(period_ps);
    cc->cwnd_packets = udt_cc_packets(window_for_engine(s));
}

/* ---- loss ---- */

/* Only packets that leave from now on count: in_flight packets are not reported yet. */
static void restart_loss_share(udt_cc_bbr_t *s, uint32_t in_flight)
{
    s->loss_from_lost = s->delivery.lost;
    s->loss_from_delivered = udt_delivery_delivered(&s->delivery) + in_flight;
    s->queue_seen = false;
}

static void watch_queue(udt_cc_bbr_t *s, int64_t rtt_ns)
{
    if ((double)rtt_ns > (double)s->min_rtt_ns * QUEUE_SEEN)
        s->queue_seen = true;
    s->queue_is_long = (double)rtt_ns > (double)s->min_rtt_ns * QUEUE_IS_LONG + UDT_CC_SYN_US * 1e3;
}

static bool much_is_lost(udt_cc_bbr_t *s)
{
    uint64_t delivered = udt_delivery_delivered(&s->delivery);
    if (delivered < s->loss_from_delivered) {
        s->loss_from_lost = s->delivery.lost;
        return false;
    }
    double lost = (double)(s->delivery.lost - s->loss_from_lost);
    bool queue = s->phase == UDT_BBR_STARTUP ? s->queue_is_long : s->queue_seen;
    double share = queue ? LOSS_SHARE : LOSS_SHARE_WITHOUT_QUEUE;
    double expected = share * (lost + (double)(delivered - s->loss_from_delivered));
    return lost > expected + LOSS_SIGMAS * sqrt(expected) + 1;
}

/* Long quiet times must not hide the present losses. */
static void forget_old_loss(udt_cc_bbr_t *s)
{
    uint64_t delivered = udt_delivery_delivered(&s->delivery);
    if (delivered > s->loss_from_delivered + LOSS_WINDOW)
        restart_loss_share(s, 0);
}

/* ---- phases ---- */

static void begin_round(udt_cc_bbr_t *s, int64_t now_ns)
{
    s->round_end = udt_delivery_delivered(&s->delivery);
    s->round_since_ns = now_ns;
}

static void enter(udt_cc_bbr_t *s, udt_bbr_phase_t phase, int64_t now_ns)
{
    s->phase = phase;
    s->rounds_in_phase = 0;
    begin_round(s, now_ns);
    restart_loss_share(s, udt_delivery_in_flight(&s->delivery));
}

static void enter_down(udt_cc_bbr_t *s, int64_t now_ns)
{
    s->probe_echo = s->phase == UDT_BBR_UP;
    enter(s, UDT_BBR_DOWN, now_ns);
    s->rounds_since_probe = 0;
    s->probe_spread = 1 + rt_random_unit(&s->chance) / 2;
    int64_t wait_ns = (int64_t)((double)PROBE_EVERY_NS * s->probe_spread);
    s->next_probe_ns = now_ns + wait_ns * s->probe_backoff;
}

static bool is_time_to_probe(const udt_cc_bbr_t *s, int64_t now_ns)
{
    double rounds = fmax(fmin(bdp(s), MOST_CRUISE_ROUNDS), LEAST_CRUISE_ROUNDS);
    return now_ns >= s->next_probe_ns || s->rounds_since_probe >= rounds * s->probe_spread;
}

/* The path is full. This much was in flight just before that. */
static void limit_in_flight(udt_cc_bbr_t *s, const udt_delivery_sample_t *sample)
{
    double least = LOSS_DECREASE * fmin(WINDOW_GAIN * bdp(s), s->in_flight_hi);
    s->in_flight_hi = fmax(fmax(sample->in_flight_then, least), SLACK);
}

static void limit_bw(udt_cc_bbr_t *s, double pps)
{
    s->bw_max_pps[0] = fmin(s->bw_max_pps[0], pps);
    s->bw_max_pps[1] = fmin(s->bw_max_pps[1], pps);
}

/* Counts the rounds in which the rate grew by less than this. */
static void watch_growth(udt_cc_bbr_t *s, double growth)
{
    double bw = bw_pps(s);
    s->full_rounds++;
    if (bw < s->full_bw_pps * growth)
        return;
    s->full_bw_pps = bw;
    s->full_rounds = 0;
}

static void enter_up(udt_cc_bbr_t *s, int64_t now_ns)
{
    s->full_bw_pps = 0;
    s->full_rounds = 0;
    s->up_from = s->in_flight_peak;
    s->up_from_pps = bw_pps(s);
    enter(s, UDT_BBR_UP, now_ns);
}

/* If there is no rate of this cycle, the previous one stays: the application was the limit. */
static void begin_bw_cycle(udt_cc_bbr_t *s, int64_t now_ns)
{
    s->probe_echo = false;
    s->bw_since_ns = now_ns;
    if (!(s->bw_max_pps[0] > 0))
        return;
    s->bw_max_pps[1] = s->bw_max_pps[0];
    s->bw_max_pps[0] = 0;
}

static void end_of_round(udt_cc_bbr_t *s, const udt_delivery_sample_t *sample, int64_t now_ns)
{
    begin_round(s, now_ns);
    s->rounds_in_phase++;
    s->rounds_since_probe++;
    forget_old_loss(s);
    if (s->probe_echo || (s->phase == UDT_BBR_CRUISE && now_ns - s->bw_since_ns > BW_AGES_NS))
        begin_bw_cycle(s, now_ns);
    if (s->phase == UDT_BBR_STARTUP && !sample->app_limited) {
        watch_growth(s, STARTUP_GROWTH);
        if (s->full_rounds >= STARTUP_FULL_ROUNDS)
            enter(s, UDT_BBR_DRAIN, now_ns);
    } else if (s->phase == UDT_BBR_UP) {
        watch_growth(s, UP_GROWTH);
    } else if (s->phase == UDT_BBR_REFILL) {
        enter_up(s, now_ns);
    }
}

static void probe_up(udt_cc_bbr_t *s, uint64_t arrived, int64_t now_ns)
{
    if (s->in_flight_peak >= AT_LIMIT * s->in_flight_hi)
        s->in_flight_hi += (double)arrived * HI_GROWTH;
    bool full = s->in_flight_peak >= AT_LIMIT * window(s);
    if (s->full_rounds >= UP_FULL_ROUNDS && (full || s->rounds_in_phase >= MOST_UP_ROUNDS)) {
        s->probe_backoff = 1;
        enter_down(s, now_ns);
    }
}

static void move_on(udt_cc_bbr_t *s, uint64_t arrived, int64_t now_ns)
{
    double in_flight = udt_delivery_in_flight(&s->delivery);
    double empty = fmin(bdp(s), s->in_flight_hi * HEADROOM) + SLACK / 4;
    switch (s->phase) {
    case UDT_BBR_DRAIN:
        if (in_flight <= bdp(s) + SLACK / 4)
            enter_down(s, now_ns);
        break;
    case UDT_BBR_DOWN:
        if (is_time_to_probe(s, now_ns))
            enter(s, UDT_BBR_REFILL, now_ns);
        else if (in_flight <= empty)
            enter(s, UDT_BBR_CRUISE, now_ns);
        break;
    case UDT_BBR_CRUISE:
        if (is_time_to_probe(s, now_ns))
            enter(s, UDT_BBR_REFILL, now_ns);
        break;
    case UDT_BBR_UP:
        probe_up(s, arrived, now_ns);
        break;
    case UDT_BBR_PROBE_RTT:
        if (s->probe_rtt_until_ns == 0 && in_flight <= window(s))
            s->probe_rtt_until_ns = now_ns + PROBE_RTT_NS;
        break;
    case UDT_BBR_STARTUP:
    case UDT_BBR_REFILL:
        break;
    }
}

/* ---- the shortest round trip ---- */

static void leave_probe_rtt(udt_cc_bbr_t *s, int64_t now_ns)
{
    if (s->probe_rtt_ns > 0)
        s->min_rtt_ns = s->probe_rtt_ns;
    s->min_rtt_at_ns = now_ns;
    enter_down(s, now_ns);
}

static void watch_min_rtt(udt_cc_bbr_t *s, int64_t rtt_ns, int64_t now_ns)
{
    if (rtt_ns > 0 && (s->min_rtt_ns == 0 || rtt_ns <= s->min_rtt_ns)) {
        s->min_rtt_ns = rtt_ns;
        s->min_rtt_at_ns = now_ns;
    } else if (rtt_ns > 0 && (double)rtt_ns <= (double)s->min_rtt_ns * MIN_RTT_CONFIRM) {
        s->min_rtt_at_ns = now_ns;
    }
    if (s->phase == UDT_BBR_PROBE_RTT) {
        if (rtt_ns > 0 && (s->probe_rtt_ns == 0 || rtt_ns < s->probe_rtt_ns))
            s->probe_rtt_ns = rtt_ns;
        if (s->probe_rtt_until_ns != 0 && now_ns >= s->probe_rtt_until_ns && s->rounds_in_phase > 0)
            leave_probe_rtt(s, now_ns);
    } else if (s->phase != UDT_BBR_STARTUP && now_ns - s->min_rtt_at_ns > MIN_RTT_EXPIRES_NS) {
        enter(s, UDT_BBR_PROBE_RTT, now_ns);
        s->probe_rtt_ns = 0;
        s->probe_rtt_until_ns = 0;
    }
}

/* ---- what happens ---- */

static void bbr_init(udt_cc_t *cc, const udt_cc_config_t *config, const udt_cc_in_t *in)
{
    udt_cc_bbr_t *s = &cc->state.bbr;
    *s = (udt_cc_bbr_t){
        .phase = UDT_BBR_STARTUP,
        .round_since_ns = in->now_ns,
        .min_rtt_at_ns = in->now_ns,
        .in_flight_hi = INFINITY,
        .probe_backoff = 1,
    };
    rt_random_init(&s->chance, config->seed);
    udt_delivery_init(&s->delivery, udt_seq_add(in->snd_curr_seq, 1), in->now_ns);
    publish(cc, in);
}

static void take_rate(udt_cc_bbr_t *s, const udt_delivery_sample_t *sample)
{
    if (sample->rate_pps > bw_pps(s) || !sample->app_limited)
        s->bw_max_pps[0] = fmax(s->bw_max_pps[0], sample->rate_pps);
}

static void take_sample(udt_cc_bbr_t *s, const udt_delivery_sample_t *sample, int64_t now_ns)
{
    uint64_t delivered = udt_delivery_delivered(&s->delivery);
    uint64_t arrived = delivered - s->delivered_seen;
    s->delivered_seen = delivered;
    s->in_flight_peak = (double)(udt_delivery_in_flight(&s->delivery) + arrived);
    take_rate(s, sample);
    watch_queue(s, sample->rtt_about_ns);
    if (sample->delivered_then >= s->round_end &&
        now_ns - s->round_since_ns >= UDT_DELIVERY_LEAST_INTERVAL_NS)
        end_of_round(s, sample, now_ns);
    watch_min_rtt(s, sample->rtt_ns, now_ns);
    move_on(s, arrived, now_ns);
}

static void bbr_on_any_ack(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t ack)
{
    udt_cc_bbr_t *s = &cc->state.bbr;
    udt_delivery_sample_t sample;
    s->timeouts = 0;
    if (udt_delivery_acked(&s->delivery, ack, in->now_ns, &sample))
        take_sample(s, &sample, in->now_ns);
    publish(cc, in);
}

static void react_to_loss(udt_cc_bbr_t *s, const udt_delivery_sample_t *sample, int64_t now_ns)
{
    if (s->phase == UDT_BBR_STARTUP) {
        limit_in_flight(s, sample);
        enter(s, UDT_BBR_DRAIN, now_ns);
    } else if (s->phase == UDT_BBR_UP) {
        limit_in_flight(s, sample);
        bool won = bw_pps(s) >= s->up_from_pps * PROBE_WON;
        s->probe_backoff = won ? 1 : s->probe_backoff < MAX_PROBE_BACKOFF ? 2 * s->probe_backoff : MAX_PROBE_BACKOFF;
        enter_down(s, now_ns);
    } else if (s->phase == UDT_BBR_CRUISE || s->phase == UDT_BBR_REFILL) {
        limit_bw(s, fmax(bw_pps(s) * LOSS_DECREASE, sample->rate_pps * ARRIVING_KEPT));
        restart_loss_share(s, udt_delivery_in_flight(&s->delivery));
    }
}

static void bbr_on_loss(udt_cc_t *cc, const udt_cc_in_t *in, const udt_seq_range_t *lost, size_t n)
{
    udt_cc_bbr_t *s = &cc->state.bbr;
    udt_delivery_sample_t sample;
    s->timeouts = 0;
    if (udt_delivery_lost(&s->delivery, lost, n, in->now_ns, &sample)) {
        take_sample(s, &sample, in->now_ns);
        if (much_is_lost(s))
            react_to_loss(s, &sample, in->now_ns);
    }
    publish(cc, in);
}

static void bbr_on_timeout(udt_cc_t *cc, const udt_cc_in_t *in)
{
    udt_cc_bbr_t *s = &cc->state.bbr;
    if (s->timeouts < MOST_TIMEOUTS)
        s->timeouts++;
    publish(cc, in);
}

static void bbr_on_packet_sent(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t first_seq, uint32_t n,
                               bool repeated)
{
    if (!repeated)
        udt_delivery_sent(&cc->state.bbr.delivery, first_seq, n, in->backlog_packets == 0,
                          in->now_ns);
}

const udt_cc_ops_t udt_cc_bbr_ops = {
    .init = bbr_init,
    .on_light_ack = bbr_on_any_ack,
    .on_ack = bbr_on_any_ack,
    .on_loss = bbr_on_loss,
    .on_timeout = bbr_on_timeout,
    .on_packet_sent = bbr_on_packet_sent,
};
