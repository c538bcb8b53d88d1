#include "proto/udt/udt_timers.h"

#include "rt_test.h"

#define MS RT_NS_PER_MS
#define SEC RT_NS_PER_S

static void test_silence_breaks_after_46_seconds_on_a_short_path(void)
{
    udt_rtt_t rtt = {.rtt_us = 100, .var_us = 10};
    udt_exp_t e;
    int64_t now_ns = 7 * SEC;
    unsigned silent = 0;
    udt_exp_heard(&e, now_ns);
    CHECK_EQ(udt_exp_deadline_ns(&e, &rtt), now_ns + 300 * MS);
    CHECK_EQ(udt_exp_check(&e, &rtt, now_ns + 300 * MS - 1), UDT_EXP_WAIT);
    for (;;) {
        now_ns = udt_exp_deadline_ns(&e, &rtt);
        udt_exp_verdict_t verdict = udt_exp_check(&e, &rtt, now_ns);
        CHECK(verdict != UDT_EXP_WAIT);
        if (verdict == UDT_EXP_BROKEN)
            break;
        silent++;
    }
    CHECK_EQ(silent, 16);
    CHECK_EQ(now_ns - 7 * SEC, 45900 * MS);
}

static void test_a_long_path_has_longer_intervals(void)
{
    udt_rtt_t rtt = {.rtt_us = 500000, .var_us = 10000};
    udt_exp_t e;
    udt_exp_heard(&e, 0);
    CHECK_EQ(udt_exp_deadline_ns(&e, &rtt), 550 * MS);
    CHECK_EQ(udt_exp_check(&e, &rtt, 550 * MS), UDT_EXP_SILENT);
    CHECK_EQ(udt_exp_deadline_ns(&e, &rtt), 550 * MS + 2 * 540 * MS + 10 * MS);
    udt_exp_heard(&e, SEC);
    CHECK_EQ(udt_exp_deadline_ns(&e, &rtt), SEC + 550 * MS);
}

static void test_picoseconds_are_not_lost(void)
{
    udt_pacer_t p = {.next_ns = 0};
    for (int i = 0; i < 3000; i++)
        udt_pacer_sent(&p, 1333333, 0);
    CHECK_EQ(p.next_ns, 3999999);
    CHECK_EQ(p.rest_ps, 0);
}

static void test_who_is_late_catches_up_on_ten_milliseconds(void)
{
    udt_pacer_t p = {.next_ns = 0};
    unsigned sent = 0;
    for (int64_t now_ns = SEC; p.next_ns <= now_ns; sent++)
        udt_pacer_sent(&p, 1000000000, now_ns); /* 1 ms */
    CHECK_EQ(sent, 11);
}

static void test_an_idle_schedule_waits(void)
{
    udt_pacer_t p = {.next_ns = 0};
    udt_pacer_idle(&p, SEC);
    CHECK_EQ(p.next_ns, SEC);
    udt_pacer_sent(&p, 1000000000, SEC);
    udt_pacer_idle(&p, SEC);
    CHECK_EQ(p.next_ns, SEC + MS);
}

int main(void)
{
    RUN(test_silence_breaks_after_46_seconds_on_a_short_path);
    RUN(test_a_long_path_has_longer_intervals);
    RUN(test_picoseconds_are_not_lost);
    RUN(test_who_is_late_catches_up_on_ten_milliseconds);
    RUN(test_an_idle_schedule_waits);
    return rt_test_result();
}
