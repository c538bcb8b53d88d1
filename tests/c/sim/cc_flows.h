/* Bulk transfers through one bottleneck, in virtual time: UDT with any of our controllers, and a
 * simple TCP with Reno's or CUBIC's window, for controllers to be judged beside each other.
 *
 *     flow 0 --+                                        +--> receiver 0
 *     flow 1 --+--> [ loss | queue | rate | delay ] ----+--> receiver 1     data
 *       ...    |                                        |      ...
 *              +<--------------[ delay ]<---------------+                   ACKs, NAKs
 *
 * The UDT flow is no engine: it has what controllers react to, with the protocol's own timing. ACKs
 * every 10 ms and light ones every 64 packets, nothing new behind a hole, a NAK for each gap when
 * it is seen, and again when it is overdue (unless the receiver is to be like libudt), rates from
 * packet intervals and probe pairs, RTT by ACK2, the EXP timer.
 *
 * The TCP flow acknowledges each packet, with perfect knowledge of what arrived (as good SACK), and
 * has slow start, one reduction a window, and a retransmission timeout. No pacing, as Linux without
 * fq. CUBIC as in RFC 9438, with its Reno-friendly region. */
#ifndef CC_FLOWS_H
#define CC_FLOWS_H

#include "base/rt_clock.h"
#include "proto/impair/impair.h"
#include "proto/udt/udt_cc.h"
#include "rt_test.h"

#include <math.h>

enum {
    CC_RING = 1 << 15,
    CC_MASK = CC_RING - 1,
    CC_MSS = 1500,
    CC_CONTROL_BYTES = 68,
    CC_FLOWS = 12,
    CC_INTERVALS = 16,
    CC_PROBES = 64,
    CC_ACK_HISTORY = 1024,
    CC_FLOW_WINDOW = 8192,
};

#define CC_ISN UINT32_C(0x7ffff000) /* the numbers wrap during each run */
#define CC_SYN_NS (10 * RT_NS_PER_MS)

typedef enum cc_message_kind {
    CC_DATA,
    CC_ACK,
    CC_LIGHT_ACK,
    CC_NAK,
    CC_ACK2,
    CC_TCP_DATA,
    CC_TCP_ACK
} cc_message_kind_t;

typedef struct cc_message {
    cc_message_kind_t kind;
    uint32_t flow;
    uint32_t seq;  /* data: its number; ACK: the next one wanted; NAK: first */
    uint32_t last; /* NAK: last; TCP ACK: the packet that caused it */
    uint32_t ack_number;
    uint32_t rtt_us;
    uint32_t rate_pps;
    uint32_t bandwidth_pps;
} cc_message_t;

/* ---- one bottleneck ---- */

typedef struct cc_net {
    impair_t data;
    impair_t back;
    void *data_memory;
    void *back_memory;
    int64_t delay_ns;
    double ser_ns; /* of one data packet */
    int64_t now_ns;
    uint64_t passed;
    double queue_ns_sum;
    double queue_ns_max;
} cc_net_t;

static void *cc_open_link(impair_t *link, impair_config_t config)
{
    config.max_datagram_bytes = CC_MSS;
    config.store_bytes = 64 << 20;
    size_t bytes = impair_memory_bytes(&config);
    void *memory = malloc(bytes);
    CHECK_EQ(impair_init(link, &config, memory, bytes), 0);
    return memory;
}

static void cc_net_open(cc_net_t *net, const impair_config_t *data)
{
    *net = (cc_net_t){.delay_ns = data->delay_ns, .ser_ns = CC_MSS * 8e9 / (double)data->rate_bps};
    net->data_memory = cc_open_link(&net->data, *data);
    net->back_memory = cc_open_link(&net->back, (impair_config_t){.delay_ns = data->delay_ns});
}

static void cc_net_close(cc_net_t *net)
{
    free(net->data_memory);
    free(net->back_memory);
}

static void cc_net_send(cc_net_t *net, const cc_message_t *m)
{
    static uint8_t wire[CC_MSS];
    bool data = m->kind == CC_DATA || m->kind == CC_TCP_DATA;
    bool forward = data || m->kind == CC_ACK2;
    memcpy(wire, m, sizeof *m);
    CHECK(impair_offer(forward ? &net->data : &net->back,
                       &(impair_in_t){.data = wire, .len = data ? CC_MSS : CC_CONTROL_BYTES},
                       net->now_ns) >= 0);
}

/* ---- UDT ---- */

typedef struct cc_udt_sender {
    udt_cc_t cc;
    udt_cc_in_t in;
    uint32_t flow_window; /* packets, as the peer last reported */
    uint8_t resend[CC_RING];
    uint32_t to_resend;
    int64_t next_ps; /* earliest departure of the next packet */
    bool probe;      /* the next one is the second of a pair */
    uint32_t freed;  /* acknowledged by a longer ACK */
    int64_t heard_ns;
    uint32_t exp_count;
    uint64_t sent;
    uint64_t resent;
    uint64_t timeouts;
} cc_udt_sender_t;

typedef struct cc_udt_receiver {
    bool as_libudt;
    uint8_t got[CC_RING];
    int64_t nak_ns[CC_RING];
    uint32_t curr;      /* highest received */
    uint32_t wanted;    /* first not received */
    uint32_t told;      /* by the last ACK */
    uint32_t confirmed; /* by the last ACK2 */
    uint32_t ack_number;
    int64_t ack_due_ns;
    int64_t last_full_ns; /* ACK with rates */
    int64_t last_ack_ns;
    uint32_t since_ack;
    uint32_t light_acks;
    int64_t rtt_ns;
    int64_t rtt_var_ns;
    int64_t sent_ns[CC_ACK_HISTORY];
    uint32_t sent_ack[CC_ACK_HISTORY];
    int64_t arrival_ns;
    int64_t probe_ns;
    int64_t intervals[CC_INTERVALS];
    int64_t probes[CC_PROBES];
    uint32_t interval_at;
    uint32_t probe_at;
} cc_udt_receiver_t;

/* ---- TCP ---- */

typedef struct cc_tcp {
    bool cubic;
    double cwnd;
    double ssthresh;
    double w_max;
    double k_s;
    double reno_cwnd;
    int64_t epoch_ns;
    uint8_t state[CC_RING]; /* CC_TCP_* of each outstanding packet */
    int64_t sent_ns[CC_RING];
    uint32_t una;
    uint32_t next;
    uint32_t highest; /* delivered */
    uint32_t scan;    /* all before it have been looked at for losses */
    uint32_t recover;
    bool recovering;
    uint32_t pipe;
    uint32_t lost;
    int64_t srtt_ns;
    int64_t rto_ns; /* when it runs out */
    uint8_t got[CC_RING];
    uint32_t wanted;
} cc_tcp_t;

enum { CC_TCP_OUT, CC_TCP_SACKED, CC_TCP_LOST };

typedef struct cc_flow {
    uint32_t id;
    bool is_tcp;
    int64_t start_ns;
    uint64_t delivered; /* different packets that arrived */
    cc_udt_sender_t s;
    cc_udt_receiver_t r;
    cc_tcp_t tcp;
} cc_flow_t;

static int cc_compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Rate from the intervals near their median, 0 if fewer than least are. */
static uint32_t cc_filtered_pps(const int64_t *intervals, uint32_t n, uint32_t least)
{
    int64_t sorted[CC_PROBES];
    memcpy(sorted, intervals, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, cc_compare_ns);
    int64_t median = sorted[n / 2];
    int64_t sum = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (sorted[i] > median / 8 && sorted[i] < median * 8) {
            sum += sorted[i];
            used++;
        }
    }
    return used > least && sum > 0 ? (uint32_t)ceil(1e9 * used / (double)sum) : 0;
}

static void cc_udt_open(cc_flow_t *f, const udt_cc_config_t *config)
{
    cc_udt_sender_t *s = &f->s;
    s->in = (udt_cc_in_t){
        .now_ns = f->start_ns,
        .rtt_us = 100000,
        .rtt_var_us = 50000,
        .rcv_rate_pps = 16,
        .bandwidth_pps = 1,
        .mss_bytes = CC_MSS,
        .max_cwnd_packets = CC_FLOW_WINDOW,
        .snd_curr_seq = udt_seq_add(CC_ISN, -1),
        .snd_last_ack = CC_ISN,
        .backlog_packets = 1000,
    };
    s->flow_window = CC_FLOW_WINDOW;
    s->freed = CC_ISN;
    s->exp_count = 1;
    s->heard_ns = f->start_ns;
    s->next_ps = f->start_ns * 1000;
    CHECK_EQ(udt_cc_init(&s->cc, config, &s->in), 0);
    cc_udt_receiver_t *r = &f->r;
    r->curr = udt_seq_add(CC_ISN, -1);
    r->wanted = r->told = r->confirmed = CC_ISN;
    r->ack_number = 1;
    r->ack_due_ns = f->start_ns + CC_SYN_NS;
    r->light_acks = 1;
    r->rtt_ns = 100 * RT_NS_PER_MS;
    r->rtt_var_ns = 50 * RT_NS_PER_MS;
    for (int i = 0; i < CC_INTERVALS; i++)
        r->intervals[i] = RT_NS_PER_S;
    for (int i = 0; i < CC_PROBES; i++)
        r->probes[i] = RT_NS_PER_MS;
}

static uint32_t cc_unacked(const cc_udt_sender_t *s)
{
    return (uint32_t)(udt_seq_diff(s->in.snd_curr_seq, s->in.snd_last_ack) + 1);
}

static bool cc_udt_may_send(const cc_udt_sender_t *s)
{
    uint32_t window = s->cc.cwnd_packets;
    if (window > s->flow_window)
        window = s->flow_window;
    return s->to_resend > 0 || cc_unacked(s) < window;
}

static uint32_t cc_udt_take(cc_udt_sender_t *s)
{
    if (s->to_resend == 0)
        return s->in.snd_curr_seq = udt_seq_add(s->in.snd_curr_seq, 1);
    uint32_t seq = s->in.snd_last_ack;
    while (!s->resend[seq & CC_MASK])
        seq = udt_seq_add(seq, 1);
    s->resend[seq & CC_MASK] = 0;
    s->to_resend--;
    return seq;
}

static void cc_udt_send(cc_flow_t *f, cc_net_t *net)
{
    cc_udt_sender_t *s = &f->s;
    bool repeated = s->to_resend > 0;
    uint32_t seq = cc_udt_take(s);
    cc_net_send(net, &(cc_message_t){.kind = CC_DATA, .flow = f->id, .seq = seq});
    s->sent++;
    s->resent += repeated;
    udt_cc_on_packet_sent(&s->cc, &s->in, seq, 1, repeated);
    int64_t now_ps = net->now_ns * 1000;
    s->next_ps = (s->next_ps > now_ps - 1000 ? s->next_ps : now_ps) + s->cc.period_ps;
    s->probe = !repeated && seq % 16 == 0;
}

static void cc_udt_free(cc_udt_sender_t *s, uint32_t ack)
{
    for (uint32_t seq = s->in.snd_last_ack; seq != ack; seq = udt_seq_add(seq, 1)) {
        s->to_resend -= s->resend[seq & CC_MASK];
        s->resend[seq & CC_MASK] = 0;
    }
    s->in.snd_last_ack = ack;
}

static void cc_smooth_rtt(uint32_t *rtt, uint32_t *var, uint32_t sample)
{
    uint32_t off = sample > *rtt ? sample - *rtt : *rtt - sample;
    *var = (3 * *var + off) / 4;
    *rtt = (7 * *rtt + sample) / 8;
}

static void cc_udt_ack(cc_flow_t *f, cc_net_t *net, const cc_message_t *m)
{
    cc_udt_sender_t *s = &f->s;
    cc_net_send(net, &(cc_message_t){.kind = CC_ACK2, .flow = f->id, .ack_number = m->ack_number});
    if (udt_seq_diff(m->seq, s->in.snd_last_ack) > 0)
        cc_udt_free(s, m->seq);
    if (udt_seq_diff(m->seq, s->freed) <= 0)
        return;
    s->freed = m->seq;
    cc_smooth_rtt(&s->in.rtt_us, &s->in.rtt_var_us, m->rtt_us);
    if (m->rate_pps > 0)
        s->in.rcv_rate_pps = (7 * s->in.rcv_rate_pps + m->rate_pps) / 8;
    if (m->bandwidth_pps > 0)
        s->in.bandwidth_pps = (7 * s->in.bandwidth_pps + m->bandwidth_pps) / 8;
    udt_cc_on_ack(&s->cc, &s->in, m->seq);
}

static void cc_udt_nak(cc_flow_t *f, const cc_message_t *m)
{
    cc_udt_sender_t *s = &f->s;
    udt_seq_range_t lost = {m->seq, m->last};
    udt_cc_on_loss(&s->cc, &s->in, &lost, 1);
    for (uint32_t seq = m->seq;; seq = udt_seq_add(seq, 1)) {
        if (udt_seq_diff(seq, s->in.snd_last_ack) >= 0 && !s->resend[seq & CC_MASK]) {
            s->resend[seq & CC_MASK] = 1;
            s->to_resend++;
        }
        if (seq == m->last)
            break;
    }
}

static void cc_udt_from_receiver(cc_flow_t *f, cc_net_t *net, const cc_message_t *m)
{
    cc_udt_sender_t *s = &f->s;
    bool blocked = !cc_udt_may_send(s);
    s->in.now_ns = net->now_ns;
    s->heard_ns = net->now_ns;
    s->exp_count = 1;
    if (m->kind == CC_ACK) {
        cc_udt_ack(f, net, m);
    } else if (m->kind == CC_NAK) {
        cc_udt_nak(f, m);
    } else if (udt_seq_diff(m->seq, s->in.snd_last_ack) > 0) {
        cc_udt_free(s, m->seq);
        udt_cc_on_light_ack(&s->cc, &s->in, m->seq);
    }
    if (blocked && s->next_ps < net->now_ns * 1000)
        s->next_ps = net->now_ns * 1000;
}

static int64_t cc_udt_exp_ns(const cc_udt_sender_t *s)
{
    int64_t n = s->exp_count;
    int64_t wait = n * (s->in.rtt_us + 4 * (int64_t)s->in.rtt_var_us) * 1000 + CC_SYN_NS;
    int64_t least = n * 300 * RT_NS_PER_MS;
    return s->heard_ns + (wait > least ? wait : least);
}

static void cc_udt_expire(cc_flow_t *f, cc_net_t *net)
{
    cc_udt_sender_t *s = &f->s;
    s->heard_ns = net->now_ns;
    s->exp_count++;
    s->in.now_ns = net->now_ns;
    if (cc_unacked(s) == 0)
        return;
    s->timeouts++;
    if (s->to_resend == 0) {
        s->to_resend = cc_unacked(s);
        for (uint32_t i = 0; i < s->to_resend; i++)
            s->resend[udt_seq_add(s->in.snd_last_ack, (int32_t)i) & CC_MASK] = 1;
    }
    udt_cc_on_timeout(&s->cc, &s->in);
}

static void cc_udt_send_ack(cc_flow_t *f, cc_net_t *net, bool light)
{
    cc_udt_receiver_t *r = &f->r;
    cc_message_t m = {.kind = CC_LIGHT_ACK, .flow = f->id, .seq = r->wanted};
    if (r->wanted == r->confirmed)
        return;
    if (!light) {
        if (r->wanted == r->told && net->now_ns - r->last_ack_ns < r->rtt_ns + 4 * r->rtt_var_ns)
            return;
        m.kind = CC_ACK;
        m.ack_number = r->ack_number++;
        m.rtt_us = (uint32_t)(r->rtt_ns / 1000);
        if (net->now_ns - r->last_full_ns >= CC_SYN_NS) {
            r->last_full_ns = net->now_ns;
            m.rate_pps = cc_filtered_pps(r->intervals, CC_INTERVALS, 8);
            m.bandwidth_pps = cc_filtered_pps(r->probes, CC_PROBES, 0);
        }
        r->told = r->wanted;
        r->last_ack_ns = net->now_ns;
        r->sent_ns[m.ack_number % CC_ACK_HISTORY] = net->now_ns;
        r->sent_ack[m.ack_number % CC_ACK_HISTORY] = r->wanted;
    }
    cc_net_send(net, &m);
}

static void cc_udt_send_nak(cc_flow_t *f, cc_net_t *net, uint32_t first, uint32_t last)
{
    for (uint32_t seq = first; udt_seq_diff(seq, last) <= 0; seq = udt_seq_add(seq, 1))
        f->r.nak_ns[seq & CC_MASK] = net->now_ns;
    cc_net_send(net, &(cc_message_t){.kind = CC_NAK, .flow = f->id, .seq = first, .last = last});
}

static void cc_udt_repeat_naks(cc_flow_t *f, cc_net_t *net)
{
    cc_udt_receiver_t *r = &f->r;
    int64_t overdue_ns = net->now_ns - (r->rtt_ns + 4 * r->rtt_var_ns);
    for (uint32_t seq = r->wanted; udt_seq_diff(seq, r->curr) < 0; seq = udt_seq_add(seq, 1)) {
        if (!r->got[seq & CC_MASK] && r->nak_ns[seq & CC_MASK] < overdue_ns)
            cc_udt_send_nak(f, net, seq, seq);
    }
}

static void cc_udt_ack_timer(cc_flow_t *f, cc_net_t *net)
{
    cc_udt_receiver_t *r = &f->r;
    cc_udt_send_ack(f, net, false);
    if (!r->as_libudt)
        cc_udt_repeat_naks(f, net);
    r->ack_due_ns = net->now_ns + CC_SYN_NS;
    r->since_ack = 0;
    r->light_acks = 1;
}

static void cc_udt_time_arrival(cc_udt_receiver_t *r, uint32_t seq, int64_t now_ns)
{
    r->intervals[r->interval_at++ % CC_INTERVALS] = now_ns - r->arrival_ns;
    r->arrival_ns = now_ns;
    if (seq % 16 == 0)
        r->probe_ns = now_ns;
    else if (seq % 16 == 1)
        r->probes[r->probe_at++ % CC_PROBES] = now_ns - r->probe_ns;
}

static void cc_udt_data(cc_flow_t *f, cc_net_t *net, const cc_message_t *m)
{
    cc_udt_receiver_t *r = &f->r;
    uint32_t seq = m->seq;
    r->since_ack++;
    cc_udt_time_arrival(r, seq, net->now_ns);
    if (udt_seq_diff(seq, r->wanted) >= 0 && !r->got[seq & CC_MASK]) {
        r->got[seq & CC_MASK] = 1;
        f->delivered++;
        if (udt_seq_diff(seq, r->curr) > 1)
            cc_udt_send_nak(f, net, udt_seq_add(r->curr, 1), udt_seq_add(seq, -1));
        if (udt_seq_diff(seq, r->curr) > 0)
            r->curr = seq;
        while (r->got[r->wanted & CC_MASK]) {
            r->got[r->wanted & CC_MASK] = 0;
            r->wanted = udt_seq_add(r->wanted, 1);
        }
    }
    if (net->now_ns < r->ack_due_ns && r->since_ack >= 64 * r->light_acks) {
        cc_udt_send_ack(f, net, true);
        r->light_acks++;
    }
}

static void cc_udt_ack2(cc_flow_t *f, cc_net_t *net, const cc_message_t *m)
{
    cc_udt_receiver_t *r = &f->r;
    uint32_t slot = m->ack_number % CC_ACK_HISTORY;
    int64_t rtt_ns = net->now_ns - r->sent_ns[slot];
    int64_t off_ns = rtt_ns > r->rtt_ns ? rtt_ns - r->rtt_ns : r->rtt_ns - rtt_ns;
    r->rtt_var_ns = (3 * r->rtt_var_ns + off_ns) / 4;
    r->rtt_ns = (7 * r->rtt_ns + rtt_ns) / 8;
    if (udt_seq_diff(r->sent_ack[slot], r->confirmed) > 0)
        r->confirmed = r->sent_ack[slot];
}

/* ---- TCP ---- */

static void cc_tcp_open(cc_flow_t *f)
{
    cc_tcp_t *t = &f->tcp;
    t->cwnd = 10;
    t->ssthresh = 1e9;
    t->rto_ns = f->start_ns + RT_NS_PER_S;
}

static void cc_tcp_transmit(cc_flow_t *f, cc_net_t *net, uint32_t seq)
{
    cc_tcp_t *t = &f->tcp;
    t->state[seq & CC_MASK] = CC_TCP_OUT;
    t->sent_ns[seq & CC_MASK] = net->now_ns;
    t->pipe++;
    cc_net_send(net, &(cc_message_t){.kind = CC_TCP_DATA, .flow = f->id, .seq = seq});
}

static void cc_tcp_send(cc_flow_t *f, cc_net_t *net)
{
    cc_tcp_t *t = &f->tcp;
    for (uint32_t seq = t->una; t->lost > 0 && t->pipe < t->cwnd && seq < t->next; seq++) {
        if (t->state[seq & CC_MASK] != CC_TCP_LOST)
            continue;
        t->lost--;
        cc_tcp_transmit(f, net, seq);
    }
    while (t->pipe < t->cwnd && t->next - t->una < CC_RING / 2)
        cc_tcp_transmit(f, net, t->next++);
}

static void cc_tcp_grow(cc_tcp_t *t, int64_t now_ns)
{
    if (t->recovering)
        return;
    if (t->cwnd < t->ssthresh) {
        t->cwnd += 1;
        return;
    }
    if (!t->cubic) {
        t->cwnd += 1 / t->cwnd;
        return;
    }
    if (t->epoch_ns == 0) {
        t->epoch_ns = now_ns;
        t->w_max = fmax(t->w_max, t->cwnd);
        t->k_s = cbrt((t->w_max - t->cwnd) / 0.4);
        t->reno_cwnd = t->cwnd;
    }
    double elapsed_s = (double)(now_ns - t->epoch_ns + t->srtt_ns) / 1e9;
    double target = 0.4 * pow(elapsed_s - t->k_s, 3) + t->w_max;
    t->reno_cwnd += 3 * 0.3 / 1.7 / t->cwnd;
    target = fmin(fmax(target, t->reno_cwnd), 1.5 * t->cwnd);
    if (target > t->cwnd)
        t->cwnd += (target - t->cwnd) / t->cwnd;
}

static void cc_tcp_reduce(cc_tcp_t *t)
{
    t->w_max = t->cwnd < t->w_max ? t->cwnd * 0.85 : t->cwnd;
    t->ssthresh = fmax(t->cwnd * (t->cubic ? 0.7 : 0.5), 2);
    t->cwnd = t->ssthresh;
    t->epoch_ns = 0;
    t->recovering = true;
    t->recover = t->next;
}

/* What was sent before something that has arrived, and three packets behind it, is lost. Repeated
 * ones are given a round trip. */
static void cc_tcp_find_losses(cc_tcp_t *t, int64_t now_ns)
{
    for (uint32_t seq = t->una; seq + 3 <= t->highest; seq++) {
        if (t->state[seq & CC_MASK] != CC_TCP_OUT ||
            (seq < t->scan && now_ns - t->sent_ns[seq & CC_MASK] < 2 * t->srtt_ns))
            continue;
        t->state[seq & CC_MASK] = CC_TCP_LOST;
        t->pipe--;
        t->lost++;
        if (!t->recovering)
            cc_tcp_reduce(t);
    }
    if (t->highest >= 3 && t->scan < t->highest - 2)
        t->scan = t->highest - 2;
}

static void cc_tcp_settle(cc_tcp_t *t, uint32_t seq)
{
    uint8_t *state = &t->state[seq & CC_MASK];
    if (*state == CC_TCP_OUT)
        t->pipe--;
    else if (*state == CC_TCP_LOST)
        t->lost--;
    *state = CC_TCP_SACKED;
}

static void cc_tcp_ack(cc_flow_t *f, cc_net_t *net, const cc_message_t *m)
{
    cc_tcp_t *t = &f->tcp;
    if (m->last >= t->una) {
        int64_t rtt_ns = net->now_ns - t->sent_ns[m->last & CC_MASK];
        t->srtt_ns = t->srtt_ns == 0 ? rtt_ns : (7 * t->srtt_ns + rtt_ns) / 8;
        cc_tcp_settle(t, m->last);
        if (m->last > t->highest)
            t->highest = m->last;
    }
    while (t->una < m->seq)
        cc_tcp_settle(t, t->una++);
    if (t->recovering && t->una >= t->recover)
        t->recovering = false;
    bool holes = t->una + 3 <= t->highest;
    if (holes && (t->lost > 0 || t->recovering || t->state[t->una & CC_MASK] == CC_TCP_OUT))
        cc_tcp_find_losses(t, net->now_ns);
    cc_tcp_grow(t, net->now_ns);
    t->rto_ns = net->now_ns + 2 * t->srtt_ns + 200 * RT_NS_PER_MS;
    cc_tcp_send(f, net);
}

static void cc_tcp_timeout(cc_flow_t *f, cc_net_t *net)
{
    cc_tcp_t *t = &f->tcp;
    t->rto_ns = net->now_ns + RT_NS_PER_S;
    if (t->next == t->una) {
        cc_tcp_send(f, net);
        return;
    }
    for (uint32_t seq = t->una; seq < t->next; seq++) {
        if (t->state[seq & CC_MASK] != CC_TCP_OUT)
            continue;
        t->state[seq & CC_MASK] = CC_TCP_LOST;
        t->lost++;
    }
    t->pipe = 0;
    cc_tcp_reduce(t);
    t->cwnd = 1;
    t->recovering = false;
    cc_tcp_send(f, net);
}

static void cc_tcp_data(cc_flow_t *f, cc_net_t *net, const cc_message_t *m)
{
    cc_tcp_t *t = &f->tcp;
    if (m->seq >= t->wanted && !t->got[m->seq & CC_MASK]) {
        t->got[m->seq & CC_MASK] = 1;
        f->delivered++;
        while (t->got[t->wanted & CC_MASK])
            t->got[t->wanted++ & CC_MASK] = 0;
    }
    cc_net_send(
        net, &(cc_message_t){.kind = CC_TCP_ACK, .flow = f->id, .seq = t->wanted, .last = m->seq});
}

/* ---- all together ---- */

static void cc_deliver(cc_flow_t *flows, cc_net_t *net, const cc_message_t *m)
{
    cc_flow_t *f = &flows[m->flow];
    switch (m->kind) {
    case CC_DATA:
        cc_udt_data(f, net, m);
        break;
    case CC_ACK2:
        cc_udt_ack2(f, net, m);
        break;
    case CC_TCP_DATA:
        cc_tcp_data(f, net, m);
        break;
    case CC_TCP_ACK:
        cc_tcp_ack(f, net, m);
        break;
    case CC_ACK:
    case CC_LIGHT_ACK:
    case CC_NAK:
        cc_udt_from_receiver(f, net, m);
        break;
    }
}

static int64_t cc_earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t cc_send_due_ns(const cc_flow_t *f, int64_t now_ns)
{
    if (!cc_udt_may_send(&f->s))
        return RT_NEVER_NS;
    int64_t due_ns = f->s.probe ? 0 : (f->s.next_ps + 999) / 1000;
    return due_ns > now_ns ? due_ns : now_ns;
}

static int64_t cc_flow_next_ns(const cc_flow_t *f, int64_t now_ns)
{
    if (now_ns < f->start_ns)
        return f->start_ns;
    if (f->is_tcp)
        return f->tcp.next == 0 ? now_ns : f->tcp.rto_ns;
    return cc_earlier(cc_send_due_ns(f, now_ns), cc_earlier(f->r.ack_due_ns, cc_udt_exp_ns(&f->s)));
}

static void cc_flow_run(cc_flow_t *f, cc_net_t *net)
{
    if (net->now_ns < f->start_ns)
        return;
    if (f->is_tcp) {
        if (f->tcp.next == 0)
            cc_tcp_send(f, net);
        else if (f->tcp.rto_ns <= net->now_ns)
            cc_tcp_timeout(f, net);
        return;
    }
    f->s.in.now_ns = net->now_ns;
    if (f->r.ack_due_ns <= net->now_ns)
        cc_udt_ack_timer(f, net);
    if (cc_udt_exp_ns(&f->s) <= net->now_ns)
        cc_udt_expire(f, net);
    if (cc_send_due_ns(f, net->now_ns) <= net->now_ns)
        cc_udt_send(f, net);
}

static void cc_net_emit(cc_flow_t *flows, cc_net_t *net)
{
    impair_out_t out;
    cc_message_t m;
    while (impair_emit(&net->data, &out, 1, net->now_ns)) {
        double queue_ns = (double)(out.held_ns - net->delay_ns) - net->ser_ns;
        net->passed++;
        net->queue_ns_sum += queue_ns;
        net->queue_ns_max = fmax(net->queue_ns_max, queue_ns);
        memcpy(&m, out.data, sizeof m);
        cc_deliver(flows, net, &m);
    }
    while (impair_emit(&net->back, &out, 1, net->now_ns)) {
        memcpy(&m, out.data, sizeof m);
        cc_deliver(flows, net, &m);
    }
}

static void cc_run_until(cc_flow_t *flows, uint32_t n, cc_net_t *net, int64_t end_ns)
{
    for (;;) {
        int64_t next = cc_earlier(impair_deadline_ns(&net->data), impair_deadline_ns(&net->back));
        for (uint32_t i = 0; i < n; i++)
            next = cc_earlier(next, cc_flow_next_ns(&flows[i], net->now_ns));
        if (next > end_ns)
            break;
        if (next > net->now_ns)
            net->now_ns = next;
        cc_net_emit(flows, net);
        for (uint32_t i = 0; i < n; i++)
            cc_flow_run(&flows[i], net);
    }
    net->now_ns = end_ns;
}

#endif
