/* DAIMD against the formulas of libudt 4.11 with the four changes that udt_cc_daimd.c names, once
 * in numbers worked out by hand, and once step by step against a model that is written down as
 * those formulas are, over random histories. */
#include "proto/udt/udt_cc.h"

#include "base/rt_clock.h"
#include "rt_test.h"

#include <math.h>

#define MS RT_NS_PER_MS
#define ISN 1000u

static uint64_t seed;

static udt_cc_in_t begin(udt_cc_t *cc)
{
    udt_cc_in_t in = {
        .now_ns = 5 * RT_NS_PER_S,
        .rtt_us = 100000,
        .rtt_var_us = 50000,
        .rcv_rate_pps = 16,
        .bandwidth_pps = 1,
        .mss_bytes = 1500,
        .max_cwnd_packets = 8192,
        .snd_curr_seq = ISN - 1,
        .snd_last_ack = ISN,
    };
    CHECK_EQ(udt_cc_init(cc, &(udt_cc_config_t){.kind = UDT_CC_DAIMD, .seed = seed}, &in), 0);
    return in;
}

static void lose(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t first)
{
    udt_cc_on_loss(cc, in, &(udt_seq_range_t){first, first}, 1);
}

static bool near(int64_t period_ps, double us)
{
    bool ok = fabs((double)period_ps / 1e6 - us) <= us * 1e-6 + 1e-6;
    if (!ok)
        printf("       period %g us, wanted %g\n", (double)period_ps / 1e6, us);
    return ok;
}

/* ---- by hand ---- */

static void test_it_begins_with_sixteen_packets_a_microsecond_apart(void)
{
    udt_cc_t cc;
    begin(&cc);
    CHECK_EQ(cc.period_ps, 1000000);
    CHECK_EQ(cc.cwnd_packets, 16);
}

static void test_slow_start_counts_packets_at_most_once_a_syn(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    in.snd_curr_seq = ISN + 15;
    in.now_ns += 9 * MS;
    udt_cc_on_ack(&cc, &in, ISN + 8);
    CHECK_EQ(cc.cwnd_packets, 16);
    in.now_ns += MS;
    udt_cc_on_ack(&cc, &in, ISN + 16);
    CHECK_EQ(cc.cwnd_packets, 16 + 18); /* from ISN - 1 to ISN + 16, both counted */
    in.now_ns += 10 * MS;
    udt_cc_on_ack(&cc, &in, ISN + 50);
    CHECK_EQ(cc.cwnd_packets, 34 + 35);
    CHECK_EQ(cc.period_ps, 1000000);
}

static void test_light_acks_say_nothing(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    in.now_ns += RT_NS_PER_S;
    udt_cc_on_light_ack(&cc, &in, ISN + 64);
    CHECK_EQ(cc.cwnd_packets, 16);
}

static void test_the_peers_window_ends_slow_start(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    in.max_cwnd_packets = 100;
    in.rcv_rate_pps = 5000;
    in.bandwidth_pps = 8333;
    in.now_ns += 10 * MS;
    udt_cc_on_ack(&cc, &in, ISN + 100);
    CHECK_EQ(cc.cwnd_packets, 16 + 102);
    /* P = 200 us; D = 8333 - 5000, limited to a ninth: 925 packets/s, 11.1 Mbit/s, so 10^8;
     * inc = 10^8 * 1.5e-6 / 1500 = 0.1; P = 200 * 10000 / (200 * 0.1 + 10000) */
    CHECK(near(cc.period_ps, 2e6 / 10020));
    in.now_ns += 10 * MS;
    udt_cc_on_ack(&cc, &in, ISN + 150);
    CHECK_EQ(cc.cwnd_packets, 550 + 16); /* 5000 * (0.1 + 0.01) + 16 */
}

static void test_a_loss_in_slow_start_takes_the_receivers_rate(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    in.snd_curr_seq = ISN + 15;
    lose(&cc, &in, ISN + 3);
    CHECK(near(cc.period_ps, ceil(62500 * 1.125))); /* 16 packets/s: nothing was reported as yet */
    lose(&cc, &in, ISN + 5);
    CHECK(near(cc.period_ps, ceil(62500 * 1.125))); /* the same losses */
    in.snd_curr_seq = ISN + 30;
    lose(&cc, &in, ISN + 16);
    CHECK(near(cc.period_ps, ceil(ceil(62500 * 1.125) * 1.125)));
}

static void test_acks_that_come_a_little_early_count(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    in.snd_curr_seq = ISN + 1000;
    int64_t start_ns = in.now_ns;
    for (int64_t i = 1; i <= 10; i++) {
        in.now_ns = start_ns + i * 10 * MS + (i % 2) * RT_NS_PER_MS;
        udt_cc_on_ack(&cc, &in, ISN + (uint32_t)i);
    }
    CHECK_EQ(cc.cwnd_packets, 16 + 2 * 10 + 1);
    in.now_ns += 7 * MS;
    udt_cc_on_ack(&cc, &in, ISN + 11);
    CHECK_EQ(cc.cwnd_packets, 16 + 2 * 10 + 1);
}

static void test_the_window_is_twice_as_wide_until_a_hole_is_filled(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    in.rcv_rate_pps = 5000;
    in.snd_curr_seq = ISN + 100;
    lose(&cc, &in, ISN + 50);
    CHECK_EQ(cc.cwnd_packets, 2 * 550 + 16);
    in.now_ns += 10 * MS;
    in.snd_last_ack = ISN + 50;
    udt_cc_on_ack(&cc, &in, ISN + 50);
    CHECK_EQ(cc.cwnd_packets, 2 * 550 + 16);
    in.now_ns += 10 * MS;
    in.snd_last_ack = ISN + 51;
    udt_cc_on_ack(&cc, &in, ISN + 51);
    CHECK_EQ(cc.cwnd_packets, 550 + 16);
}

static void test_a_timeout_ends_slow_start_and_nothing_else(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    in.rcv_rate_pps = 4000;
    udt_cc_on_timeout(&cc, &in);
    CHECK(near(cc.period_ps, 250));
    in.rcv_rate_pps = 100;
    udt_cc_on_timeout(&cc, &in);
    CHECK(near(cc.period_ps, 250));
}

static void test_without_a_rate_the_window_gives_one(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    in.rcv_rate_pps = 0;
    udt_cc_on_timeout(&cc, &in);
    CHECK(near(cc.period_ps, 110000.0 / 16));
}

static void leave_slow_start(udt_cc_t *cc, udt_cc_in_t *in, uint32_t rate_pps)
{
    in->rcv_rate_pps = rate_pps;
    udt_cc_on_timeout(cc, in);
}

static void test_a_burst_of_naks_halves_the_rate_and_no_more(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    leave_slow_start(&cc, &in, 10000);
    in.snd_curr_seq = ISN + 1000;
    for (uint32_t i = 0; i < 100; i++)
        lose(&cc, &in, ISN + 10 * i);
    /* The first opens the period, four more count; with decRandom 1 each decreases. */
    CHECK(near(cc.period_ps, ceil(ceil(ceil(ceil(ceil(112.5) * 1.125) * 1.125) * 1.125) * 1.125)));
}

static void test_packets_sent_since_open_a_new_period(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    leave_slow_start(&cc, &in, 10000);
    in.snd_curr_seq = ISN + 1000;
    for (uint32_t i = 0; i < 100; i++)
        lose(&cc, &in, ISN + 10 * i);
    int64_t before = cc.period_ps;
    in.snd_curr_seq = ISN + 2000;
    lose(&cc, &in, ISN + 1001);
    CHECK(near(cc.period_ps, ceil((double)before / 1e6 * 1.125)));
}

static void test_the_syn_behind_a_loss_brings_no_increase(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = begin(&cc);
    leave_slow_start(&cc, &in, 10000);
    in.snd_curr_seq = ISN + 1000;
    lose(&cc, &in, ISN);
    int64_t decreased = cc.period_ps;
    in.now_ns += 10 * MS;
    udt_cc_on_ack(&cc, &in, ISN + 100);
    CHECK_EQ(cc.period_ps, decreased);
    in.now_ns += 10 * MS;
    udt_cc_on_ack(&cc, &in, ISN + 200);
    /* 113 us, no free capacity: 0.01 packet a SYN */
    CHECK(near(cc.period_ps, 113.0 * 10000 / (113 * 0.01 + 10000)));
}

/* ---- step by step ---- */

typedef struct model {
    double P, W, lastDecP;
    double avgNAK;
    uint32_t nakCount, decRandom, decCount;
    uint32_t lastAck, lastDecSeq;
    uint32_t holeLast;
    bool slow, loss;
    int64_t nextRC;
    rt_random_t u;
} model_t;

static void model_init(model_t *m, const udt_cc_in_t *in)
{
    memset(m, 0, sizeof *m);
    m->P = 1;
    m->W = 16;
    m->slow = true;
    m->lastAck = (ISN + UDT_SEQ_MASK) & UDT_SEQ_MASK; /* ISN - 1 */
    m->lastDecSeq = (ISN + UDT_SEQ_MASK - 1) & UDT_SEQ_MASK;
    m->lastDecP = 1;
    m->decRandom = 1;
    m->nextRC = in->now_ns + 10 * MS;
    m->holeLast = m->lastAck;
    rt_random_init(&m->u, seed);
}

/* Both ends counted, on the circle. */
static uint32_t model_length(uint32_t from, uint32_t to)
{
    return from <= to ? to - from + 1 : (uint32_t)(to + (UINT64_C(1) << 31) - from + 1);
}

static bool model_after(uint32_t a, uint32_t b)
{
    int64_t d = (int64_t)a - (int64_t)b;
    if (d < -0x3fffffff)
        d += INT64_C(1) << 31;
    else if (d > 0x3fffffff)
        d -= INT64_C(1) << 31;
    return d > 0;
}

static void model_on_ack(model_t *m, const udt_cc_in_t *in, uint32_t A)
{
    double R = in->rcv_rate_pps, B = in->bandwidth_pps, RTT = in->rtt_us, MSS = in->mss_bytes;
    const double RC = 10000;
    if (in->now_ns < m->nextRC)
        return;
    m->nextRC = (m->nextRC > in->now_ns - 2 * MS ? m->nextRC : in->now_ns - 2 * MS) + 10 * MS;
    if (m->slow) {
        m->W += model_length(m->lastAck, A);
        m->lastAck = A;
        if (m->W <= in->max_cwnd_packets)
            return;
        m->slow = false;
        m->P = R > 0 ? 1e6 / R : (RTT + RC) / m->W;
    } else {
        m->W = fmin(R / 1e6, 1.5 / m->P) * (RTT + RC) *
                   (model_after(in->snd_last_ack, m->holeLast) ? 1 : 2) +
               16;
    }
    if (m->loss) {
        m->loss = false;
        return;
    }
    double D = trunc(B - 1e6 / m->P);
    if (m->P > m->lastDecP && floor(B / 9) < D)
        D = floor(B / 9);
    double inc = 0.01;
    if (D > 0)
        inc = fmax(0.01, pow(10.0, ceil(log10(D * MSS * 8))) * 1.5e-6 / MSS);
    m->P = m->P * RC / (m->P * inc + RC);
}

static void model_on_loss(model_t *m, const udt_cc_in_t *in, uint32_t f)
{
    double R = in->rcv_rate_pps;
    bool first = false;
    if (m->slow) {
        m->slow = false;
        m->P = R > 0 ? 1e6 / R : (in->rtt_us + 10000.0) / m->W;
        first = true;
    }
    m->loss = true;
    m->holeLast = f;
    if (first || model_after(f, m->lastDecSeq)) {
        m->lastDecP = m->P;
        m->P = ceil(1.125 * m->P);
        m->avgNAK = ceil(0.875 * m->avgNAK + 0.125 * m->nakCount);
        m->nakCount = 1;
        m->decCount = 1;
        m->lastDecSeq = in->snd_curr_seq;
        double drawn = ceil(m->avgNAK * rt_random_unit(&m->u));
        m->decRandom = drawn < 1 ? 1 : (uint32_t)drawn;
        if (first && R > 0)
            m->decCount = 5;
    } else if (m->decCount < 5) {
        m->decCount++;
        m->nakCount++;
        if (m->nakCount % m->decRandom == 0) {
            m->P = ceil(1.125 * m->P);
            m->lastDecSeq = in->snd_curr_seq;
        }
    }
    m->W = fmax(m->W, 2 * (fmin(R / 1e6, 1.5 / m->P) * (in->rtt_us + 10000.0)) + 16);
}

static void model_on_timeout(model_t *m, const udt_cc_in_t *in)
{
    double R = in->rcv_rate_pps;
    if (m->slow)
        m->P = R > 0 ? 1e6 / R : (in->rtt_us + 10000.0) / m->W;
    m->slow = false;
}

static uint32_t random_seq_under_way(rt_random_t *chance, const udt_cc_in_t *in)
{
    uint32_t n = (uint32_t)(udt_seq_diff(in->snd_curr_seq, in->snd_last_ack) + 1);
    return udt_seq_add(in->snd_last_ack, (int32_t)rt_random_below(chance, n));
}

static void wander(rt_random_t *chance, udt_cc_in_t *in)
{
    in->now_ns += rt_random_below(chance, 12) * MS + rt_random_below(chance, 1000000);
    in->snd_curr_seq = udt_seq_add(in->snd_curr_seq, 1 + (int32_t)rt_random_below(chance, 200));
    in->rtt_us = (7 * in->rtt_us + rt_random_below(chance, 300000)) / 8;
    in->rcv_rate_pps = (7 * in->rcv_rate_pps + rt_random_below(chance, 20000)) / 8;
    in->bandwidth_pps = (7 * in->bandwidth_pps + rt_random_below(chance, 100000)) / 8;
    if (rt_random_below(chance, 500) == 0)
        in->rcv_rate_pps = 0;
}

static void one_history(uint32_t loss_in)
{
    udt_cc_t cc;
    model_t m;
    rt_random_t chance;
    udt_cc_in_t in = begin(&cc);
    rt_random_init(&chance, seed + 1);
    in.snd_last_ack = udt_seq_add(in.snd_last_ack, 0);
    in.max_cwnd_packets = 100 + rt_random_below(&chance, 8000);
    model_init(&m, &in);
    for (int step = 0; step < 2000; step++) {
        wander(&chance, &in);
        uint32_t seq = random_seq_under_way(&chance, &in);
        if (rt_random_below(&chance, loss_in) == 0) {
            lose(&cc, &in, seq);
            model_on_loss(&m, &in, seq);
        } else if (rt_random_below(&chance, 100) == 0) {
            udt_cc_on_timeout(&cc, &in);
            model_on_timeout(&m, &in);
        } else {
            in.snd_last_ack = seq;
            udt_cc_on_ack(&cc, &in, seq);
            model_on_ack(&m, &in, seq);
        }
        bool same = near(cc.period_ps, m.P) && cc.cwnd_packets == (uint32_t)m.W;
        CHECK(same);
        if (!same)
            return;
    }
}

static void test_random_histories_follow_the_formulas(void)
{
    for (int round = 0; round < 200; round++) {
        one_history(2u + (uint32_t)round % 40u);
        seed++;
    }
}

static void test_the_same_seed_makes_the_same_choices(void)
{
    udt_cc_t a;
    udt_cc_t b;
    udt_cc_in_t in = begin(&a);
    begin(&b);
    in.snd_curr_seq = ISN;
    for (uint32_t i = 0; i < 1000; i++) {
        in.snd_curr_seq = udt_seq_add(in.snd_curr_seq, 3);
        lose(&a, &in, udt_seq_add(ISN, (int32_t)(3 * i / 2)));
        lose(&b, &in, udt_seq_add(ISN, (int32_t)(3 * i / 2)));
        CHECK_EQ(a.period_ps, b.period_ps);
    }
    CHECK(a.period_ps > 0); /* decreased for a thousand packets, and still a number */
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_it_begins_with_sixteen_packets_a_microsecond_apart);
    RUN(test_slow_start_counts_packets_at_most_once_a_syn);
    RUN(test_light_acks_say_nothing);
    RUN(test_the_peers_window_ends_slow_start);
    RUN(test_a_loss_in_slow_start_takes_the_receivers_rate);
    RUN(test_acks_that_come_a_little_early_count);
    RUN(test_the_window_is_twice_as_wide_until_a_hole_is_filled);
    RUN(test_a_timeout_ends_slow_start_and_nothing_else);
    RUN(test_without_a_rate_the_window_gives_one);
    RUN(test_a_burst_of_naks_halves_the_rate_and_no_more);
    RUN(test_packets_sent_since_open_a_new_period);
    RUN(test_the_syn_behind_a_loss_brings_no_increase);
    RUN(test_random_histories_follow_the_formulas);
    RUN(test_the_same_seed_makes_the_same_choices);
    return rt_test_result();
}
