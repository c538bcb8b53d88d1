#include "proto/rtp/rtp_source.h"

#include "rt_test.h"

#include <errno.h>

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)

static rtp_source_t s;
static uint64_t extended;

static void begin(rtp_source_config_t config)
{
    rtp_source_init(&s, &config);
}

static rtp_verdict_t feed_at(uint32_t ssrc, uint32_t seq, int64_t now_ns)
{
    rtp_view_t view = {.ssrc = ssrc, .seq = (uint16_t)seq, .ts = seq * 160};
    return rtp_source_packet(&s, &view, now_ns, &extended);
}

static rtp_verdict_t feed(uint32_t seq)
{
    return feed_at(1, seq, SECOND + seq * 20 * MS);
}

static void test_two_in_order_prove_a_source(void)
{
    begin((rtp_source_config_t){0});
    CHECK_EQ(feed(100), RTP_SOURCE_PROBATION);
    CHECK(!rtp_source_is_proved(&s));
    CHECK_EQ(feed(105), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed(106), RTP_SOURCE_STARTED);
    CHECK_EQ(extended, 65536 + 106);
    CHECK_EQ(feed(107), RTP_SOURCE_VALID);
    CHECK_EQ(s.counters.valid, 2);
    CHECK_EQ(s.counters.on_probation, 2);
}

static void test_probation_can_be_longer_or_none(void)
{
    begin((rtp_source_config_t){.min_sequential = 1});
    CHECK_EQ(feed(100), RTP_SOURCE_STARTED);
    begin((rtp_source_config_t){.min_sequential = 4});
    CHECK_EQ(feed(1), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed(2), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed(3), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed(4), RTP_SOURCE_STARTED);
}

static void start_at(uint32_t seq)
{
    begin((rtp_source_config_t){.clock_rate = 8000});
    (void)feed(seq);
    CHECK_EQ(feed(seq + 1), RTP_SOURCE_STARTED);
}

static void test_wrap_extends_and_stragglers_do_not(void)
{
    start_at(65533);
    CHECK_EQ(feed(65536 + 1), RTP_SOURCE_VALID);
    CHECK_EQ(extended, 2 * 65536 + 1);
    CHECK_EQ(feed(65535), RTP_SOURCE_VALID);
    CHECK_EQ(extended, 65536 + 65535);
    CHECK_EQ(feed(65536 + 2), RTP_SOURCE_VALID);
    CHECK_EQ(extended, 2 * 65536 + 2);
    rtcp_report_t report;
    CHECK(rtp_source_report(&s, 2 * SECOND, &report));
    CHECK_EQ(report.highest_seq, 65536 + 2);
}

static void test_straggler_from_before_the_start_stays_positive(void)
{
    start_at(0);
    CHECK_EQ(feed(65535), RTP_SOURCE_VALID);
    CHECK_EQ(extended, 65535);
}

static void test_one_jump_is_ignored_and_two_are_a_restart(void)
{
    start_at(100);
    CHECK_EQ(feed(40000), RTP_SOURCE_JUMP);
    CHECK_EQ(feed(102), RTP_SOURCE_VALID);
    CHECK_EQ(feed(50000), RTP_SOURCE_JUMP);
    CHECK_EQ(feed(50001), RTP_SOURCE_RESTARTED);
    CHECK_EQ(extended, 65536 + 50001);
    CHECK_EQ(rtp_source_lost(&s), 0);
    CHECK_EQ(s.counters.restarts, 1);
    CHECK_EQ(s.counters.jumps, 2);
}

static void test_dropout_and_misorder_limits(void)
{
    start_at(10000);
    CHECK_EQ(feed(10001 + 2999), RTP_SOURCE_VALID);
    CHECK_EQ(feed(13000 + 3000), RTP_SOURCE_JUMP);
    CHECK_EQ(feed(13000 - 99), RTP_SOURCE_VALID);
    CHECK_EQ(feed(13000 - 100), RTP_SOURCE_JUMP);
    begin((rtp_source_config_t){.max_dropout = 10, .max_misorder = 3});
    (void)feed(5);
    (void)feed(6);
    CHECK_EQ(feed(15), RTP_SOURCE_VALID);
    CHECK_EQ(feed(25), RTP_SOURCE_JUMP);
    CHECK_EQ(feed(13), RTP_SOURCE_VALID);
    CHECK_EQ(feed(12), RTP_SOURCE_JUMP);
}

static void test_new_ssrc_takes_over_when_it_is_proved(void)
{
    start_at(100);
    CHECK_EQ(feed_at(2, 7, 2 * SECOND), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed_at(1, 102, 2 * SECOND), RTP_SOURCE_VALID);
    CHECK_EQ(feed_at(3, 8, 2 * SECOND), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed_at(2, 9, 2 * SECOND), RTP_SOURCE_PROBATION); /* 8 did not come */
    CHECK_EQ(feed_at(2, 10, 2 * SECOND), RTP_SOURCE_CHANGED);
    CHECK_EQ(extended, 65536 + 10);
    CHECK_EQ(s.current.ssrc, 2);
    CHECK_EQ(feed_at(2, 11, 2 * SECOND), RTP_SOURCE_VALID);
    CHECK_EQ(s.counters.changes, 1);
}

static void test_a_flood_of_sources_keeps_nobody_out(void)
{
    uint32_t made_up = 12345;
    uint32_t seq = 0;
    begin((rtp_source_config_t){0});
    for (; seq < 100 && !rtp_source_is_proved(&s); seq++) {
        for (int i = 0; i < 300; i++) {
            made_up = made_up * 1664525u + 1013904223u;
            CHECK(feed_at(made_up, made_up >> 16, SECOND) == RTP_SOURCE_PROBATION);
        }
        (void)feed_at(9, seq, SECOND);
    }
    CHECK(rtp_source_is_proved(&s));
    CHECK_EQ(s.current.ssrc, 9);
}

static void test_sources_in_turns_are_proved(void)
{
    begin((rtp_source_config_t){0});
    CHECK_EQ(feed_at(1, 100, SECOND), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed_at(2, 200, SECOND), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed_at(1, 101, SECOND), RTP_SOURCE_STARTED);
}

static void test_new_ssrc_waits_for_the_silence_of_the_current(void)
{
    begin((rtp_source_config_t){.switch_silence_ns = SECOND});
    (void)feed_at(1, 1, SECOND);
    (void)feed_at(1, 2, SECOND);
    CHECK_EQ(feed_at(2, 50, SECOND), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed_at(2, 51, SECOND), RTP_SOURCE_FOREIGN);
    CHECK_EQ(feed_at(2, 52, 2 * SECOND - 1), RTP_SOURCE_FOREIGN);
    CHECK_EQ(feed_at(2, 53, 2 * SECOND), RTP_SOURCE_CHANGED);
    CHECK_EQ(extended, 65536 + 53);
    CHECK_EQ(feed_at(2, 54, 2 * SECOND), RTP_SOURCE_VALID);
    CHECK_EQ(rtp_source_lost(&s), 0);
}

static void test_fixed_ssrc_takes_no_other(void)
{
    begin((rtp_source_config_t){.ssrc_fixed = true, .ssrc = 9});
    CHECK_EQ(feed_at(1, 1, SECOND), RTP_SOURCE_FOREIGN);
    CHECK_EQ(feed_at(9, 1, SECOND), RTP_SOURCE_PROBATION);
    CHECK_EQ(feed_at(9, 2, SECOND), RTP_SOURCE_STARTED);
    for (uint32_t i = 0; i < 10; i++)
        CHECK_EQ(feed_at(1, i, 100 * SECOND), RTP_SOURCE_FOREIGN);
}

static void test_report_counts_loss_per_interval(void)
{
    rtcp_report_t r;
    begin((rtp_source_config_t){.clock_rate = 8000});
    CHECK(!rtp_source_report(&s, SECOND, &r));
    (void)feed(0);
    (void)feed(1);
    for (uint32_t i = 2; i <= 100; i++) {
        if (i % 4 != 0)
            (void)feed(i);
    }
    (void)feed(101);
    CHECK(rtp_source_report(&s, SECOND, &r));
    CHECK_EQ(r.ssrc, 1);
    CHECK_EQ(r.highest_seq, 101);
    CHECK_EQ(r.cumulative_lost, 25); /* 1 .. 101 expected, from the end of probation on */
    CHECK_EQ(r.fraction_lost, 25 * 256 / 101);
    CHECK_EQ(r.last_sr, 0);
    CHECK_EQ(r.delay_since_sr, 0);
    (void)feed(102);
    CHECK(rtp_source_report(&s, SECOND, &r));
    CHECK_EQ(r.fraction_lost, 0);
    CHECK_EQ(r.cumulative_lost, 25);
    (void)feed(102);
    (void)feed(102);
    CHECK(rtp_source_report(&s, SECOND, &r));
    CHECK_EQ(r.fraction_lost, 0);
    CHECK_EQ(r.cumulative_lost, 23); /* duplicates count as received: so says the RFC */
}

static void test_report_names_the_last_sender_report(void)
{
    rtcp_report_t r;
    start_at(5);
    rtp_source_sr(&s, 99, UINT64_C(0x1111222233334444), SECOND);
    CHECK(rtp_source_report(&s, SECOND, &r));
    CHECK_EQ(r.last_sr, 0);
    rtp_source_sr(&s, 1, UINT64_C(0x1111222233334444), SECOND);
    CHECK(rtp_source_report(&s, SECOND + SECOND / 2, &r));
    CHECK_EQ(r.last_sr, 0x22223333);
    CHECK_EQ(r.delay_since_sr, 32768);
}

/* Appendix A.8 in its own words, at arrival times that are whole clock units. */
static void test_jitter_is_the_rfcs(void)
{
    rtp_jitter_t j;
    uint64_t random = 5;
    uint32_t transit = 0;
    uint32_t expected = 0;
    rtp_jitter_init(&j, 8000);
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t units = i * 160 + (uint32_t)(rt_test_rand(&random) % 200) + 100000;
        uint32_t ts = 4294900000u + i * 160;
        rtp_jitter_add(&j, ts, (int64_t)units * 125000);
        int32_t d = (int32_t)((units - ts) - transit);
        transit = units - ts;
        if (i > 0)
            expected += (uint32_t)(d < 0 ? -d : d) - ((expected + 8) >> 4);
        CHECK_EQ(rtp_jitter_units(&j), expected >> 4);
    }
    CHECK(rtp_jitter_ns(&j) / 125000 - (int64_t)rtp_jitter_units(&j) <= 1);
    rtp_jitter_break(&j);
    uint32_t before = rtp_jitter_units(&j);
    rtp_jitter_add(&j, 5, INT64_C(1) << 60);
    CHECK_EQ(rtp_jitter_units(&j), before);
}

int main(void)
{
    RUN(test_two_in_order_prove_a_source);
    RUN(test_probation_can_be_longer_or_none);
    RUN(test_wrap_extends_and_stragglers_do_not);
    RUN(test_straggler_from_before_the_start_stays_positive);
    RUN(test_one_jump_is_ignored_and_two_are_a_restart);
    RUN(test_dropout_and_misorder_limits);
    RUN(test_new_ssrc_takes_over_when_it_is_proved);
    RUN(test_a_flood_of_sources_keeps_nobody_out);
    RUN(test_sources_in_turns_are_proved);
    RUN(test_new_ssrc_waits_for_the_silence_of_the_current);
    RUN(test_fixed_ssrc_takes_no_other);
    RUN(test_report_counts_loss_per_interval);
    RUN(test_report_names_the_last_sender_report);
    RUN(test_jitter_is_the_rfcs);
    return rt_test_result();
}
