/* The table, and the two controllers that are simple: a fixed rate, and a window as TCP Reno's. */
#include "proto/udt/udt_cc.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

#define ISN UINT32_C(0x7ffffff0) /* the numbers wrap soon */

static udt_cc_in_t start_of_connection(void)
{
    return (udt_cc_in_t){
        .now_ns = RT_NS_PER_S,
        .rtt_us = 100000,
        .rtt_var_us = 50000,
        .rcv_rate_pps = 16,
        .bandwidth_pps = 1,
        .mss_bytes = 1500,
        .max_cwnd_packets = 8192,
        .snd_curr_seq = ISN - 1,
        .snd_last_ack = ISN,
    };
}

static udt_cc_in_t begin(udt_cc_t *cc, udt_cc_kind_t kind)
{
    udt_cc_in_t in = start_of_connection();
    udt_cc_config_t config = {.kind = kind, .rate_bps = 1};
    CHECK_EQ(udt_cc_init(cc, &config, &in), 0);
    return in;
}

/* ---- the table ---- */

static void test_what_is_no_kind_is_refused(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = start_of_connection();
    CHECK_EQ(udt_cc_init(&cc, &(udt_cc_config_t){.kind = UDT_CC_KINDS}, &in), -EINVAL);
    CHECK(strstr(rt_err_text(), "0 .. 2") != NULL);
    CHECK_EQ(udt_cc_init(&cc, &(udt_cc_config_t){.kind = (udt_cc_kind_t)-1}, &in), -EINVAL);
}

static void test_all_begin_with_something_to_send(void)
{
    for (int kind = 0; kind < UDT_CC_KINDS; kind++) {
        udt_cc_t cc;
        begin(&cc, (udt_cc_kind_t)kind);
        CHECK(cc.cwnd_packets >= 2);
        CHECK(cc.period_ps >= 0);
    }
}

/* ---- fixed ---- */

static void test_a_fixed_rate_is_kept_whatever_happens(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = start_of_connection();
    udt_cc_config_t config = {.kind = UDT_CC_FIXED, .rate_bps = 12000000};
    CHECK_EQ(udt_cc_init(&cc, &config, &in), 0);
    in.snd_curr_seq = udt_seq_add(ISN, 99);
    udt_cc_on_packet_sent(&cc, &in, ISN, 100, false);
    udt_cc_on_loss(&cc, &in, &(udt_seq_range_t){ISN, ISN}, 1);
    udt_cc_on_timeout(&cc, &in);
    udt_cc_on_light_ack(&cc, &in, ISN + 1);
    udt_cc_on_ack(&cc, &in, ISN + 1);
    CHECK_EQ(cc.period_ps, UDT_CC_PS_PER_S / 1000);
    CHECK_EQ(cc.cwnd_packets, 8192);
}

static void test_a_fixed_rate_has_bounds(void)
{
    udt_cc_t cc;
    udt_cc_in_t in = start_of_connection();
    udt_cc_config_t config = {.kind = UDT_CC_FIXED};
    CHECK_EQ(udt_cc_init(&cc, &config, &in), -EINVAL);
    CHECK(strstr(rt_err_text(), "rate is 0") != NULL);
    config.rate_bps = UINT64_C(1000000000001);
    CHECK_EQ(udt_cc_init(&cc, &config, &in), -EINVAL);
    config.rate_bps = UINT64_C(1000000000000);
    CHECK_EQ(udt_cc_init(&cc, &config, &in), 0);
    CHECK_EQ(cc.period_ps, 12000);
    config.rate_bps = 1;
    CHECK_EQ(udt_cc_init(&cc, &config, &in), 0);
    CHECK_EQ(cc.period_ps, 1000 * UDT_CC_PS_PER_S);
}

int main(void)
{
    RUN(test_what_is_no_kind_is_refused);
    RUN(test_all_begin_with_something_to_send);
    RUN(test_a_fixed_rate_is_kept_whatever_happens);
    RUN(test_a_fixed_rate_has_bounds);
    return rt_test_result();
}
