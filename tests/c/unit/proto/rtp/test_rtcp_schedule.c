#include "proto/rtp/rtcp_schedule.h"

#include "rt_test.h"

#include <errno.h>
#include <math.h>

#define SECOND INT64_C(1000000000)

static rtcp_schedule_t s;

static void begin(double bandwidth_bps, uint64_t seed)
{
    rtcp_schedule_config_t c = {.bandwidth_bps = bandwidth_bps, .seed = seed};
    rtcp_schedule_init(&s, &c, 0);
}

static void test_interval_by_the_book(void)
{
    begin(8 * 1000, 1); /* 1000 bytes/s */
    s.initial = false;
    s.average_bytes = 100;
    CHECK_EQ(rtcp_schedule_interval_ns(&s), 5 * SECOND); /* small sessions: the minimum */
    /* Receivers share three quarters: 990 of 1000 members. */
    s.members = 1000;
    s.senders = 10;
    CHECK_EQ(rtcp_schedule_interval_ns(&s), 132 * SECOND);
    s.we_sent = true;
    CHECK_EQ(rtcp_schedule_interval_ns(&s), 5 * SECOND); /* 10 senders, a quarter: 4 s */
    s.senders = 20;
    CHECK_EQ(rtcp_schedule_interval_ns(&s), 8 * SECOND);
    /* More than a quarter send: all share all. */
    s.senders = 500;
    CHECK_EQ(rtcp_schedule_interval_ns(&s), 100 * SECOND);
    CHECK_EQ(rtcp_schedule_interval_ns(&s), 100 * SECOND);
}

static void test_first_report_comes_after_half_the_minimum(void)
{
    double sum = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        begin(64000, seed);
        int64_t due_ns = rtcp_schedule_due_ns(&s);
        CHECK(due_ns >= (int64_t)(1.25e9 / 1.21828) && due_ns <= (int64_t)(3.75e9 / 1.21828) + 1);
        sum += (double)due_ns / 500;
    }
    CHECK(fabs(sum - 2.5e9 / 1.21828) < 1e8);
}

static void test_timer_is_reconsidered(void)
{
    begin(8000, 3);
    int64_t due_ns = rtcp_schedule_due_ns(&s);
    rtcp_schedule_members(&s, 10000, 1, false, due_ns);
    CHECK(!rtcp_schedule_expire(&s, due_ns)); /* many have joined: not now */
    CHECK(rtcp_schedule_due_ns(&s) > due_ns + SECOND);
    int64_t later_ns = INT64_C(1000000) * SECOND;
    CHECK(rtcp_schedule_expire(&s, later_ns));
    rtcp_schedule_sent(&s, 100, later_ns);
    CHECK(rtcp_schedule_due_ns(&s) > later_ns);
}

static void test_leaving_members_bring_the_report_forward(void)
{
    begin(8000, 3);
    rtcp_schedule_members(&s, 1000, 0, false, 0);
    rtcp_schedule_sent(&s, 100, 0);
    s.due_ns = 100 * SECOND;
    rtcp_schedule_members(&s, 100, 0, false, 20 * SECOND);
    CHECK_EQ(rtcp_schedule_due_ns(&s), 28 * SECOND);
    CHECK_EQ(s.previous_ns, 18 * SECOND);
}

static void test_sizes_are_averaged(void)
{
    begin(8000, 1);
    s.average_bytes = 128;
    rtcp_schedule_received(&s, 128 + 160 - RTCP_UDP_IP_BYTES);
    CHECK_EQ((int)s.average_bytes, 138);
}

static void test_bye(void)
{
    begin(8000, 1);
    rtcp_schedule_members(&s, 50, 1, true, 0);
    CHECK(rtcp_schedule_leave(&s, 60, SECOND));
    rtcp_schedule_members(&s, 51, 1, true, 0);
    CHECK(!rtcp_schedule_leave(&s, 60, SECOND));
    CHECK(rtcp_schedule_due_ns(&s) > SECOND);
    double average = s.average_bytes;
    rtcp_schedule_received(&s, 10000); /* reports do not count any more */
    CHECK(s.average_bytes == average);
    for (unsigned i = 0; i < 5000; i++)
        rtcp_schedule_bye_heard(&s, 60);
    CHECK_EQ(s.members, 5001);
    CHECK(!rtcp_schedule_expire(&s, rtcp_schedule_due_ns(&s)));
}

/* What all of it is for: n members together keep to the bandwidth. */
static void test_members_keep_to_the_bandwidth_together(void)
{
    enum { MEMBERS = 200 };
    static rtcp_schedule_t all[MEMBERS];
    rtcp_schedule_config_t c = {.bandwidth_bps = 8000};
    uint64_t bytes = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        c.seed = i;
        rtcp_schedule_init(&all[i], &c, 0);
        rtcp_schedule_members(&all[i], MEMBERS, 0, false, 0);
    }
    int64_t end_ns = 2000 * SECOND;
    for (;;) {
        unsigned first = 0;
        for (unsigned i = 1; i < MEMBERS; i++) {
            if (all[i].due_ns < all[first].due_ns)
                first = i;
        }
        int64_t now_ns = all[first].due_ns;
        if (now_ns > end_ns)
            break;
        if (!rtcp_schedule_expire(&all[first], now_ns))
            continue;
        rtcp_schedule_sent(&all[first], 100, now_ns);
        if (now_ns > end_ns / 2)
            bytes += 100 + RTCP_UDP_IP_BYTES;
    }
    /* Nobody sends media, so receivers' three quarters of 1000 bytes/s. */
    double rate = (double)bytes / 1000;
    CHECK(rate > 600 && rate < 900);
}

static void test_a_tiny_bandwidth_does_not_overflow(void)
{
    rtcp_schedule_config_t c = {.bandwidth_bps = 1e-300};
    rtcp_schedule_init(&s, &c, 0);
    CHECK(rtcp_schedule_due_ns(&s) > 0);
}

int main(void)
{
    RUN(test_interval_by_the_book);
    RUN(test_first_report_comes_after_half_the_minimum);
    RUN(test_timer_is_reconsidered);
    RUN(test_leaving_members_bring_the_report_forward);
    RUN(test_sizes_are_averaged);
    RUN(test_bye);
    RUN(test_members_keep_to_the_bandwidth_together);
    RUN(test_a_tiny_bandwidth_does_not_overflow);
    return rt_test_result();
}
