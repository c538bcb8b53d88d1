#include "proto/udt/udt_estimate.h"

#include "base/rt_clock.h"
#include "rt_test.h"

#define US RT_NS_PER_US

static void test_the_variance_is_reckoned_before_the_mean(void)
{
    udt_rtt_t r;
    udt_rtt_init(&r);
    CHECK_EQ(udt_rtt_overdue_ns(&r), 300000 * US);
    udt_rtt_sample(&r, 20000);
    CHECK_EQ(r.var_us, (3 * 50000 + 80000) / 4);
    CHECK_EQ(r.rtt_us, (7 * 100000 + 20000) / 8);
    udt_rtt_sample(&r, UINT32_MAX);
    CHECK(r.rtt_us < UDT_MAX_RTT_US && r.var_us < UDT_MAX_RTT_US);
}

static void test_steady_samples_are_what_comes_out(void)
{
    udt_rtt_t r;
    udt_rtt_init(&r);
    for (int i = 0; i < 100; i++)
        udt_rtt_sample(&r, 1234);
    CHECK(r.rtt_us >= 1234 && r.rtt_us < 1250 && r.var_us < 20);
}

static udt_ack_history_t history;

static void test_an_ack_is_found_once(void)
{
    udt_sent_ack_t ack;
    memset(&history, 0, sizeof history);
    CHECK(!udt_ack_history_take(&history, 0, &ack));
    udt_ack_history_put(&history, 1, 50, 7);
    udt_ack_history_put(&history, 2, 60, 8);
    CHECK(udt_ack_history_take(&history, 1, &ack));
    CHECK_EQ(ack.seq, 50);
    CHECK_EQ(ack.sent_ns, 7);
    CHECK(!udt_ack_history_take(&history, 1, &ack));
    CHECK(!udt_ack_history_take(&history, 3, &ack));
    CHECK(udt_ack_history_take(&history, 2, &ack));
}

static void test_old_acks_make_room(void)
{
    udt_sent_ack_t ack;
    memset(&history, 0, sizeof history);
    for (uint32_t i = 1; i <= UDT_ACK_HISTORY + 1; i++)
        udt_ack_history_put(&history, i, i, 1);
    CHECK(!udt_ack_history_take(&history, 1, &ack));
    CHECK(udt_ack_history_take(&history, UDT_ACK_HISTORY + 1, &ack));
    CHECK(udt_ack_history_take(&history, 2, &ack));
}

static udt_arrivals_t a;

static void test_nothing_known_gives_the_first_values(void)
{
    udt_arrivals_init(&a, 1000);
    CHECK_EQ(udt_arrivals_rate_pps(&a), 1);
    CHECK_EQ(udt_arrivals_capacity_pps(&a), 1000);
}

static void test_a_steady_row_is_measured_exactly(void)
{
    udt_arrivals_init(&a, 1000);
    for (uint32_t i = 1; i < 2000; i++)
        udt_arrivals_packet(&a, i, 1000 + i * 250 * US);
    CHECK_EQ(udt_arrivals_rate_pps(&a), 4000);
    CHECK_EQ(udt_arrivals_capacity_pps(&a), 4000);
}

static void test_pauses_are_left_out(void)
{
    int64_t now_ns = 1000;
    udt_arrivals_init(&a, now_ns);
    for (uint32_t i = 1; i < 200; i++) {
        now_ns += i % 5 == 0 ? 500000 * US : 100 * US;
        udt_arrivals_packet(&a, i, now_ns);
    }
    CHECK_EQ(udt_arrivals_rate_pps(&a), 10000);
}

static void test_a_wild_row_has_no_rate(void)
{
    int64_t now_ns = 1000;
    udt_arrivals_init(&a, now_ns);
    for (uint32_t i = 0; i < 200; i++) {
        now_ns += US << (i % 4 * 6);
        udt_arrivals_packet(&a, i, now_ns);
    }
    CHECK_EQ(udt_arrivals_rate_pps(&a), 0);
}

static void test_packets_with_one_stamp_are_spread_over_the_gap(void)
{
    int64_t now_ns = 1000;
    uint32_t seq = 0;
    udt_arrivals_init(&a, now_ns);
    for (uint32_t batch = 0; batch < 100; batch++) {
        now_ns += 1000 * US;
        for (uint32_t i = 0; i < 40; i++)
            udt_arrivals_packet(&a, seq++, now_ns);
    }
    CHECK_EQ(udt_arrivals_rate_pps(&a), 40000);
    CHECK_EQ(udt_arrivals_capacity_pps(&a), 1000); /* no pair was ever seen apart */
}

static void test_pairs_tell_the_capacity(void)
{
    int64_t now_ns = 1000;
    udt_arrivals_init(&a, now_ns);
    for (uint32_t i = 16; i < 16 * 100; i++) {
        now_ns += i % 16 == 1 ? 12 * US : 400 * US;
        udt_arrivals_packet(&a, i, now_ns);
    }
    CHECK_EQ(udt_arrivals_capacity_pps(&a), 83334); /* rounded up */
}

static void test_a_pair_with_its_first_one_missing_is_none(void)
{
    int64_t now_ns = 1000;
    udt_arrivals_init(&a, now_ns);
    udt_arrivals_packet(&a, 16, now_ns += 100 * US);
    for (uint32_t i = 33; i < 3300; i += 16)
        udt_arrivals_packet(&a, i, now_ns += 100 * US);
    CHECK_EQ(udt_arrivals_capacity_pps(&a), 1000);
}

int main(void)
{
    RUN(test_the_variance_is_reckoned_before_the_mean);
    RUN(test_steady_samples_are_what_comes_out);
    RUN(test_an_ack_is_found_once);
    RUN(test_old_acks_make_room);
    RUN(test_nothing_known_gives_the_first_values);
    RUN(test_a_steady_row_is_measured_exactly);
    RUN(test_pauses_are_left_out);
    RUN(test_a_wild_row_has_no_rate);
    RUN(test_packets_with_one_stamp_are_spread_over_the_gap);
    RUN(test_pairs_tell_the_capacity);
    RUN(test_a_pair_with_its_first_one_missing_is_none);
    return rt_test_result();
}
