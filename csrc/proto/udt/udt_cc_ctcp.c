/* Theory of operation
 *
 * A window like that of TCP Reno, for paths on which a transfer must behave like one more TCP:
 *
 *     W |        /|                slow start: W doubles each round trip, up to the threshold
 *       |       / |    /|    /|    avoidance:  W grows by one packet each round trip
 *       |      /  |  /  |  /  |    loss:       threshold = half of the data in flight, W = that
 *       |  __/    |/    |/    |/   timeout:    the same, and W restarts at two packets
 *       +---------------------------->
 *
 * UDT acknowledges by time (10 ms) and by 64 packets, not every second packet, so W grows by what
 * an ACK covers rather than by the number of ACKs (RFC 3465).
 *
 * Recovery differs: TCP's duplicate ACKs report that packets after the hole arrive, and each allows
 * another packet. UDT's ACKs report nothing until the hole is filled, one round trip later. So the
 * window is opened at once by the packets that will arrive meanwhile, and pacing ensures that no
 * more than the new window is sent in that time:
 *
 *     window = in flight when the NAK came + threshold        period = RTT / threshold
 *
 * The ACK of all that was in flight ends recovery and its pacing. From then on ACKs are the clock,
 * as in TCP. Losses among those packets belong to the same congestion and do not halve again. */
#include "proto/udt/udt_cc_tables.h"

#define FIRST_CWND 16.0
#define LEAST_THRESHOLD 2.0
#define CWND_AFTER_TIMEOUT 2.0

static double least(double a, double b)
{
    return a < b ? a : b;
}

static void publish(udt_cc_t *cc, const udt_cc_in_t *in)
{
    udt_cc_ctcp_t *s = &cc->state.ctcp;
    double window = s->recovering ? s->recovery_window : s->cwnd;
    cc->cwnd_packets = udt_cc_packets(window);
    double spread_ps = in->rtt_us * (double)UDT_CC_PS_PER_US / s->threshold;
    cc->period_ps = s->recovering ? udt_cc_period_ps(spread_ps) : 0;
}

static void ctcp_init(udt_cc_t *cc, const udt_cc_config_t *config, const udt_cc_in_t *in)
{
    (void)config;
    cc->state.ctcp = (udt_cc_ctcp_t){
        .cwnd = FIRST_CWND,
        .threshold = in->max_cwnd_packets,
        .acked = in->snd_last_ack,
    };
    publish(cc, in);
}

/* A window that is not made use of says nothing of the path: it does not grow. */
static void grow(udt_cc_ctcp_t *s, const udt_cc_in_t *in, double newly_acked)
{
    if (udt_cc_unacked(in) + newly_acked < s->cwnd / 2)
        return;
    if (s->cwnd < s->threshold) {
        double step = least(newly_acked, s->threshold - s->cwnd);
        s->cwnd += step;
        newly_acked -= step;
    }
    s->cwnd += newly_acked / s->cwnd;
    s->cwnd = least(s->cwnd, in->max_cwnd_packets);
}

static void ctcp_on_any_ack(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t ack)
{
    udt_cc_ctcp_t *s = &cc->state.ctcp;
    int32_t newly_acked = udt_seq_diff(ack, s->acked);
    if (newly_acked <= 0)
        return;
    s->acked = ack;
    if (!s->recovering)
        grow(s, in, newly_acked);
    else if (udt_seq_before(s->recovery_end, ack))
        s->recovering = false;
    publish(cc, in);
}

static void begin_recovery(udt_cc_ctcp_t *s, const udt_cc_in_t *in)
{
    double under_way = udt_cc_unacked(in);
    s->threshold = under_way / 2 > LEAST_THRESHOLD ? under_way / 2 : LEAST_THRESHOLD;
    s->recovery_window = under_way + s->threshold;
    s->recovery_end = in->snd_curr_seq;
    s->recovering = true;
    s->cwnd = s->threshold;
}

static void ctcp_on_loss(udt_cc_t *cc, const udt_cc_in_t *in, const udt_seq_range_t *lost, size_t n)
{
    (void)lost;
    (void)n;
    if (cc->state.ctcp.recovering || udt_cc_unacked(in) == 0)
        return;
    begin_recovery(&cc->state.ctcp, in);
    publish(cc, in);
}

/* All that is unacknowledged will be repeated, without asking the window: pacing holds it back. */
static void ctcp_on_timeout(udt_cc_t *cc, const udt_cc_in_t *in)
{
    udt_cc_ctcp_t *s = &cc->state.ctcp;
    begin_recovery(s, in);
    s->cwnd = CWND_AFTER_TIMEOUT;
    s->recovery_window = CWND_AFTER_TIMEOUT;
    publish(cc, in);
}

const udt_cc_ops_t udt_cc_ctcp_ops = {
    .name = "ctcp",
    .init = ctcp_init,
    .on_light_ack = ctcp_on_any_ack,
    .on_ack = ctcp_on_any_ack,
    .on_loss = ctcp_on_loss,
    .on_timeout = ctcp_on_timeout,
};
