/* How it works
 *
 * UDT's own control, as in libudt 4.11, which every UDT4 program on the other side uses. It sets
 * a rate (period P between packets). The window W only limits the data to one RTT and one SYN
 * (10 ms). It decides at most once each SYN, when an ACK comes:
 *
 *   slow start   W grows by the acknowledged packets; P is nearly 0. It ends when W passes what
 *                the peer allows, at the first NAK or at a timeout: P then comes from the rate at
 *                which packets arrive, as the receiver reports it; a NAK lengthens it by an eighth.
 *   increase     The free capacity D = capacity - 1 / P, from packet pairs. The more is free, the
 *                more packets are added each SYN, in decades of bit/s: D up to 10 Mbit/s 15 bytes'
 *                worth, 100 Mbit/s 150, 1 Gbit/s 1500, ... but at least 0.01 packet. Below the rate
 *                of the last decrease D counts as a ninth of the capacity at most. Otherwise full
 *                speed would return too soon.
 *   decrease     P grows by an eighth. A NAK that reports a packet sent since the last decrease
 *                opens a congestion period; it decreases. Of the further NAKs of the period every
 *                k-th may decrease again, with k drawn at random below the usual number of NAKs of
 *                a period, so that flows through one queue do not all slow down for the same burst.
 *                A period has at most five decreases: the rate falls to 1 / 1.125^5 = 0.55.
 *   freeze       In the SYN after a NAK there is no increase.
 *
 * These points differ from the original:
 *
 *   - There the losses of slow start, hundreds at once, are a separate congestion period: the rate
 *     falls to half of what the path has just carried, and needs seconds to recover. Here they
 *     are one decrease, until a packet sent later is lost.
 *   - Rate control is due each SYN by the clock. ACKs leave a SYN apart. If each must come a SYN
 *     after the last one that counted, every second one is slightly too early.
 *   - While a hole is open nothing is acknowledged for a round trip, and W would stop the rate. So
 *     it is twice as wide until the hole is filled.
 *
 * P is in microseconds, and is rounded up to whole ones by a decrease, as in the original. Rates
 * are whole packets per second there, and so is D. */
#include "proto/udt/udt_cc_tables.h"

#include "base/rt_clock.h"

#include <math.h>

#define SYN_US ((double)UDT_CC_SYN_US)
#define FIRST_CWND 16.0
#define FIRST_PERIOD_US 1.0
#define LEAST_INCREASE 0.01
#define INCREASE_PER_BIT 1.5e-6
#define DECREASE 1.125
#define NAKS_IN_PERIOD 5u
#define MOST_OF_SENT 1.5
#define EARLY_NS (2 * RT_NS_PER_MS) /* an ACK may come this early */

static void publish(udt_cc_t *cc)
{
    udt_cc_daimd_t *s = &cc->state.daimd;
    cc->period_ps = udt_cc_period_ps(s->period_us * (double)UDT_CC_PS_PER_US);
    cc->cwnd_packets = udt_cc_packets(s->cwnd);
}

static void daimd_init(udt_cc_t *cc, const udt_cc_config_t *config, const udt_cc_in_t *in)
{
    udt_cc_daimd_t *s = &cc->state.daimd;
    *s = (udt_cc_daimd_t){
        .period_us = FIRST_PERIOD_US,
        .cwnd = FIRST_CWND,
        .last_dec_period_us = FIRST_PERIOD_US,
        .next_rate_ns = in->now_ns + UDT_CC_SYN_US * RT_NS_PER_US,
        .last_ack = in->snd_curr_seq,
        .hole_last = in->snd_curr_seq,
        .last_dec_seq = udt_seq_add(in->snd_curr_seq, -1),
        .dec_random = 1,
        .slow_start = true,
    };
    rt_random_init(&s->chance, config->seed);
    publish(cc);
}

static void leave_slow_start(udt_cc_daimd_t *s, const udt_cc_in_t *in)
{
    s->slow_start = false;
    if (in->rcv_rate_pps > 0)
        s->period_us = 1e6 / in->rcv_rate_pps;
    else
        s->period_us = (in->rtt_us + SYN_US) / s->cwnd;
}

/* Packets to add each SYN. */
static double increase(const udt_cc_daimd_t *s, const udt_cc_in_t *in)
{
    int64_t free_pps = (int64_t)(in->bandwidth_pps - 1e6 / s->period_us);
    int64_t ninth_pps = in->bandwidth_pps / 9;
    if (s->period_us > s->last_dec_period_us && free_pps > ninth_pps)
        free_pps = ninth_pps;
    if (free_pps <= 0)
        return LEAST_INCREASE;
    double decade_bps = pow(10.0, ceil(log10((double)free_pps * in->mss_bytes * 8.0)));
    return fmax(decade_bps * INCREASE_PER_BIT / in->mss_bytes, LEAST_INCREASE);
}

/* Packets that arrive in a round trip and a SYN: at most as many as were sent. */
static double a_round_trip(const udt_cc_daimd_t *s, const udt_cc_in_t *in)
{
    double per_us = fmin(in->rcv_rate_pps / 1e6, MOST_OF_SENT / s->period_us);
    return per_us * (in->rtt_us + SYN_US);
}

static bool has_hole(const udt_cc_daimd_t *s, const udt_cc_in_t *in)
{
    return !udt_seq_before(s->hole_last, in->snd_last_ack);
}

/* Each SYN by the clock, not one SYN after the last ACK that counted: ACKs are a SYN apart when
 * they leave, and every second one comes a little early. */
static bool is_time_for_rate(udt_cc_daimd_t *s, int64_t now_ns)
{
    if (now_ns < s->next_rate_ns)
        return false;
    if (s->next_rate_ns < now_ns - EARLY_NS)
        s->next_rate_ns = now_ns - EARLY_NS;
    s->next_rate_ns += UDT_CC_SYN_US * RT_NS_PER_US;
    return true;
}

static void daimd_on_ack(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t ack)
{
    udt_cc_daimd_t *s = &cc->state.daimd;
    if (!is_time_for_rate(s, in->now_ns))
        return;
    if (s->slow_start) {
        s->cwnd += udt_seq_diff(ack, s->last_ack) + 1; /* one more than is new, as in libudt */
        s->last_ack = ack;
        if (s->cwnd > in->max_cwnd_packets)
            leave_slow_start(s, in);
    } else {
        s->cwnd = a_round_trip(s, in) * (has_hole(s, in) ? 2 : 1) + FIRST_CWND;
    }
    if (!s->slow_start) {
        if (!s->loss)
            s->period_us = s->period_us * SYN_US / (s->period_us * increase(s, in) + SYN_US);
        s->loss = false;
    }
    publish(cc);
}

static void begin_congestion_period(udt_cc_daimd_t *s, const udt_cc_in_t *in)
{
    s->last_dec_period_us = s->period_us;
    s->period_us = ceil(s->period_us * DECREASE);
    s->avg_nak = ceil(s->avg_nak * 0.875 + s->nak_count * 0.125);
    s->nak_count = 1;
    s->dec_count = 1;
    s->last_dec_seq = in->snd_curr_seq;
    s->dec_random = (uint32_t)fmax(ceil(s->avg_nak * rt_random_unit(&s->chance)), 1.0);
}

/* The rate is what the path carries, now that its queue is full: one decrease empties it. */
static void leave_slow_start_by_loss(udt_cc_daimd_t *s, const udt_cc_in_t *in)
{
    bool known = in->rcv_rate_pps > 0;
    leave_slow_start(s, in);
    begin_congestion_period(s, in);
    if (known)
        s->dec_count = NAKS_IN_PERIOD;
}

static void continue_congestion_period(udt_cc_daimd_t *s, const udt_cc_in_t *in)
{
    if (s->dec_count >= NAKS_IN_PERIOD)
        return;
    s->dec_count++;
    s->nak_count++;
    if (s->nak_count % s->dec_random != 0)
        return;
    s->period_us = ceil(s->period_us * DECREASE);
    s->last_dec_seq = in->snd_curr_seq;
}

/* Nothing is acknowledged for a round trip, until the hole is filled. */
static void open_window_over_hole(udt_cc_daimd_t *s, const udt_cc_in_t *in, uint32_t last)
{
    s->hole_last = last;
    s->cwnd = fmax(s->cwnd, 2 * a_round_trip(s, in) + FIRST_CWND);
}

static void daimd_on_loss(udt_cc_t *cc, const udt_cc_in_t *in, const udt_seq_range_t *lost,
                          size_t n)
{
    udt_cc_daimd_t *s = &cc->state.daimd;
    s->loss = true;
    if (s->slow_start)
        leave_slow_start_by_loss(s, in);
    else if (udt_seq_before(s->last_dec_seq, lost[0].first))
        begin_congestion_period(s, in);
    else
        continue_congestion_period(s, in);
    open_window_over_hole(s, in, lost[n - 1].last);
    publish(cc);
}

static void daimd_on_timeout(udt_cc_t *cc, const udt_cc_in_t *in)
{
    udt_cc_daimd_t *s = &cc->state.daimd;
    if (s->slow_start)
        leave_slow_start(s, in);
    publish(cc);
}

const udt_cc_ops_t udt_cc_daimd_ops = {
    .init = daimd_init,
    .on_ack = daimd_on_ack,
    .on_loss = daimd_on_loss,
    .on_timeout = daimd_on_timeout,
};
