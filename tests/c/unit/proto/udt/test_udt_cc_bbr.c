/* The model-based controller on a path that is written out here: so many packets a second, so much
 * time to and fro, an ACK each 10 ms for all that arrived. Losses, queues and other flows are in
 * the simulation (tests/c/sim). */
#include "proto/udt/udt_cc.h"

#include "base/rt_clock.h"
#include "rt_test.h"

#include <math.h>

#define MS RT_NS_PER_MS
#define SEC RT_NS_PER_S
#define ISN UINT32_C(0x7fffff00)

typedef struct path {
    udt_cc_t cc;
    udt_cc_in_t in;
    double rate_pps;
    int64_t rtt_ns;
    double app_pps; /* what the application gives; 0: as much as may be sent */
    double sent;    /* by the pace; the fraction is owed */
    double queue;
    double arrived;
    double told; /* of arrived, when rtt ago */
    double history[4096];
    uint32_t acked;
    int64_t ms;
} path_t;

static path_t p;

static void open_path(double rate_pps, int64_t rtt_ms)
{
    memset(&p, 0, sizeof p);
    p.rate_pps = rate_pps;
    p.rtt_ns = rtt_ms * MS;
    p.in = (udt_cc_in_t){
        .now_ns = SEC,
        .rtt_us = 100000,
        .rtt_var_us = 50000,
        .rcv_rate_pps = 16,
        .bandwidth_pps = 1,
        .mss_bytes = 1500,
        .max_cwnd_packets = 25600,
        .snd_curr_seq = ISN - 1,
        .snd_last_ack = ISN,
    };
    CHECK_EQ(udt_cc_init(&p.cc, &(udt_cc_config_t){.kind = UDT_CC_BBR, .seed = 1}, &p.in), 0);
}

static uint32_t unacked(void)
{
    return (uint32_t)(udt_seq_diff(p.in.snd_curr_seq, p.in.snd_last_ack) + 1);
}

static void send_for_a_ms(void)
{
    double due = 1e9 / (double)p.cc.period_ps;
    bool limited = p.app_pps > 0 && p.app_pps / 1000 < due;
    p.sent += limited ? p.app_pps / 1000 : due;
    uint32_t n = 0;
    uint32_t first = udt_seq_add(p.in.snd_curr_seq, 1);
    while (p.sent >= 1 && unacked() < p.cc.cwnd_packets) {
        p.in.snd_curr_seq = udt_seq_add(p.in.snd_curr_seq, 1);
        p.sent--;
        n++;
    }
    p.sent = fmin(p.sent, 2);
    p.queue += n;
    p.in.backlog_packets = limited ? 0 : 1000;
    if (n > 0)
        udt_cc_on_packet_sent(&p.cc, &p.in, first, n, false);
}

/* The queue is at the near end; what leaves it is told of one RTT later, at each tenth ms. */
static void run_ms(int ms)
{
    for (int i = 0; i < ms; i++) {
        p.in.now_ns += MS;
        p.ms++;
        send_for_a_ms();
        double served = fmin(p.queue, p.rate_pps / 1000);
        p.queue -= served;
        p.arrived += served;
        p.history[p.ms % 4096] = p.arrived;
        int64_t then = p.ms - p.rtt_ns / MS;
        if (then < 0 || p.ms % 10 != 0)
            continue;
        uint32_t ack = (uint32_t)(p.history[then % 4096] + 1e-6);
        if (ack == p.acked)
            continue;
        p.acked = ack;
        p.in.snd_last_ack = udt_seq_add(ISN, (int32_t)ack);
        udt_cc_on_ack(&p.cc, &p.in, p.in.snd_last_ack);
    }
}

static double pace_pps(void)
{
    return (double)UDT_CC_PS_PER_S / (double)p.cc.period_ps;
}

static const udt_cc_bbr_t *model(void)
{
    return &p.cc.state.bbr;
}

static void test_the_model_finds_rate_and_round_trip(void)
{
    open_path(5000, 40);
    run_ms(3000);
    CHECK(model()->phase != UDT_BBR_STARTUP && model()->phase != UDT_BBR_DRAIN);
    CHECK(model()->bw_max_pps[0] > 4800 && model()->bw_max_pps[0] < 5200);
    CHECK(model()->min_rtt_ns >= 40 * MS && model()->min_rtt_ns <= 45 * MS);
    CHECK(p.queue < 200);
}

static void test_startup_is_a_matter_of_few_round_trips(void)
{
    open_path(50000, 40);
    run_ms(700);
    CHECK(model()->bw_max_pps[0] > 40000);
}

static void test_phases_follow_each_other(void)
{
    static const bool may_follow[7][7] = {
        [UDT_BBR_STARTUP] = {[UDT_BBR_DRAIN] = true},
        [UDT_BBR_DRAIN] = {[UDT_BBR_DOWN] = true},
        [UDT_BBR_DOWN] = {[UDT_BBR_CRUISE] = true, [UDT_BBR_REFILL] = true},
        [UDT_BBR_CRUISE] = {[UDT_BBR_REFILL] = true},
        [UDT_BBR_REFILL] = {[UDT_BBR_UP] = true},
        [UDT_BBR_UP] = {[UDT_BBR_DOWN] = true},
        [UDT_BBR_PROBE_RTT] = {[UDT_BBR_DOWN] = true},
    };
    open_path(3000, 50);
    udt_bbr_phase_t before = model()->phase;
    unsigned probes = 0;
    for (int i = 0; i < 30000; i++) {
        run_ms(1);
        udt_bbr_phase_t now = model()->phase;
        if (now == before)
            continue;
        CHECK(may_follow[before][now] || now == UDT_BBR_PROBE_RTT);
        probes += now == UDT_BBR_UP;
        before = now;
    }
    CHECK(probes >= 8 && probes <= 16); /* every 2 to 3 s */
}

static void test_a_slower_application_leaves_the_model_alone(void)
{
    open_path(5000, 40);
    run_ms(3000);
    double bw = model()->bw_max_pps[0];
    p.app_pps = 50;
    run_ms(60000);
    CHECK(fmax(model()->bw_max_pps[0], model()->bw_max_pps[1]) > 0.8 * bw);
    p.app_pps = 0;
    run_ms(500);
    CHECK(p.queue < 1000);
    CHECK(pace_pps() > 2000);
}

static void test_a_longer_way_is_noticed_after_a_while(void)
{
    open_path(2000, 30);
    run_ms(5000);
    CHECK(model()->min_rtt_ns <= 35 * MS);
    p.rtt_ns = 90 * MS;
    run_ms(15000);
    CHECK(model()->min_rtt_ns >= 90 * MS && model()->min_rtt_ns <= 110 * MS);
    CHECK(model()->bw_max_pps[0] > 1800);
}

static void test_timeouts_halve_the_pace_until_something_is_heard(void)
{
    open_path(5000, 40);
    run_ms(3000);
    int64_t before = p.cc.period_ps;
    udt_cc_on_timeout(&p.cc, &p.in);
    CHECK_EQ(p.cc.period_ps, 2 * before);
    for (int i = 0; i < 20; i++)
        udt_cc_on_timeout(&p.cc, &p.in);
    CHECK_EQ(p.cc.period_ps, 64 * before);
    run_ms(100);
    CHECK(p.cc.period_ps < 3 * before);
}

static void test_no_report_stops_it(void)
{
    open_path(5000, 40);
    run_ms(3000);
    for (int i = 0; i < 20000; i++) {
        run_ms(1);
        uint32_t n = unacked();
        if (n < 4)
            continue;
        uint32_t first = udt_seq_add(p.in.snd_last_ack, (int32_t)(n / 2));
        udt_cc_on_loss(&p.cc, &p.in, &(udt_seq_range_t){first, udt_seq_add(first, 0)}, 1);
        CHECK(p.cc.cwnd_packets >= 1);
        CHECK(p.cc.period_ps > 0 && p.cc.period_ps <= 50 * 1000 * UDT_CC_PS_PER_US);
    }
}

static void test_it_fits_a_connection(void)
{
    CHECK(sizeof(udt_cc_t) <= 16 * 1024);
}

int main(void)
{
    RUN(test_the_model_finds_rate_and_round_trip);
    RUN(test_startup_is_a_matter_of_few_round_trips);
    RUN(test_phases_follow_each_other);
    RUN(test_a_slower_application_leaves_the_model_alone);
    RUN(test_a_longer_way_is_noticed_after_a_while);
    RUN(test_timeouts_halve_the_pace_until_something_is_heard);
    RUN(test_no_report_stops_it);
    RUN(test_it_fits_a_connection);
    return rt_test_result();
}
