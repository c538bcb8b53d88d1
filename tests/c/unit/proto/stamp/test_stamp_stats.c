/* One case per rule of stamp_stats.h. test_stamp_stats_model.c has what random paths do. */
#include "proto/stamp/stamp_stats.h"

#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

#define MS INT64_C(1000000)
#define WINDOW 64u

static stamp_stats_t s;
static stamp_probe_t probes[256];
static stamp_counts_t counts;

static void begin(uint32_t first)
{
    stamp_settings_t settings = {.window = WINDOW, .late_ns = 50000, .timeout_ns = 100 * MS};
    REQUIRE(stamp_stats_init(&s, &settings, probes, first) == 0);
}

static int64_t due(uint64_t number)
{
    return (int64_t)(number & UINT32_MAX) * MS;
}

/* Probes that left 1 us after their deadlines, 1 ms apart. */
static void send(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t number = s.next;
        CHECK_EQ(stamp_stats_plan(&s, due(number)), number);
        stamp_stats_sent(&s, number, due(number) + 1000);
    }
}

/* Forth 20 us, 5 us at the reflector, back 30 us. */
static stamp_outcome_t reply(uint32_t sequence, uint32_t reflected)
{
    int64_t left_ns = due(sequence) + 1000;
    stamp_reply_t r = {.sequence = reflected,
                       .request_sequence = sequence,
                       .t1_ns = due(sequence),
                       .t2_ns = left_ns + 20000,
                       .t3_ns = left_ns + 25000};
    return stamp_stats_reply(&s, &r, left_ns + 55000);
}

static void count(void)
{
    stamp_stats_count(&s, &counts);
}

static void test_settings_have_limits(void)
{
    stamp_settings_t bad = {.window = 100, .timeout_ns = 1};
    CHECK_EQ(stamp_stats_init(&s, &bad, probes, 0), -EINVAL);
    CHECK(strstr(rt_err_text(), "window is 100") != NULL);
    bad = (stamp_settings_t){.window = 64};
    CHECK_EQ(stamp_stats_init(&s, &bad, probes, 0), -EINVAL);
    CHECK_EQ(stamp_stats_bytes(64), 64 * 48);
}

static void test_delays_are_measured_from_the_departure(void)
{
    begin(0);
    send(2);
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    CHECK_EQ(reply(1, 1), STAMP_RECEIVED);
    CHECK_EQ(s.forward.min_ns, 20000);
    CHECK_EQ(s.backward.max_ns, 30000);
    CHECK_EQ(s.round.min_ns, 50000);
    CHECK_EQ(s.round.count, 2);
    CHECK_EQ(s.offset_low_ns, -30000);
    CHECK_EQ(s.offset_high_ns, 20000);
    s.offset_ns = 15000;
    stamp_stats_forget_offset(&s);
    send(1);
    CHECK_EQ(reply(2, 2), STAMP_RECEIVED);
    CHECK_EQ(s.forward.min_ns, 5000);
    CHECK_EQ(s.backward.max_ns, 45000);
    CHECK_EQ(s.round.max_ns, 50000);
}

static void test_a_probe_that_left_late_is_counted_and_not_measured(void)
{
    begin(0);
    stamp_stats_plan(&s, due(0));
    stamp_stats_sent(&s, 0, due(0) + 50001);
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    count();
    CHECK_EQ(counts.late, 1);
    CHECK_EQ(counts.received, 1);
    CHECK_EQ(s.round.count, 0);
}

static void test_what_never_left_is_no_loss(void)
{
    begin(0);
    send(1);
    stamp_stats_not_sent(&s, stamp_stats_plan(&s, due(1)), true);
    stamp_stats_not_sent(&s, stamp_stats_plan(&s, due(2)), false);
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    CHECK_EQ(reply(1, 1), STAMP_FOREIGN); /* nobody can answer it */
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.sent, 1);
    CHECK_EQ(counts.failed, 1);
    CHECK_EQ(counts.not_sent, 1);
    CHECK_EQ(counts.lost, 0);
    CHECK_EQ(counts.foreign, 1);
}

static void test_a_reply_may_come_before_its_report(void)
{
    begin(0);
    stamp_stats_plan(&s, due(0));
    stamp_stats_plan(&s, due(1));
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    CHECK_EQ(reply(1, 1), STAMP_RECEIVED);
    CHECK_EQ(s.round.count, 0);
    stamp_stats_sent(&s, 0, due(0) + 1000);
    CHECK_EQ(s.round.count, 1);
    stamp_stats_not_sent(&s, 1, true); /* so the reply was a guess */
    count();
    CHECK_EQ(counts.received, 1);
    CHECK_EQ(counts.foreign, 1);
}

static void test_a_missing_report_is_no_loss(void)
{
    begin(0);
    stamp_stats_plan(&s, due(0));
    stamp_stats_plan(&s, due(1));
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.unreported, 2);
    CHECK_EQ(counts.sent, 1); /* known from its reply */
    CHECK_EQ(counts.received, 1);
    CHECK_EQ(counts.lost, 0);
}

static void test_the_direction_of_a_loss(void)
{
    begin(0);
    send(10);
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    /* 1 and 2 do not get there, the reply to 3 is lost. */
    CHECK_EQ(reply(4, 2), STAMP_RECEIVED);
    CHECK_EQ(reply(5, 3), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.lost, 7);
    CHECK_EQ(counts.lost_forward, 2);
    CHECK_EQ(counts.lost_backward, 1); /* 6 .. 9 have no direction */
    CHECK_EQ(counts.bursts, 2);
    CHECK_EQ(counts.longest_burst, 4);
}

static void test_a_stateless_reflector_tells_no_direction(void)
{
    begin(0);
    send(10);
    for (unsigned i = 0; i < 10; i += 2)
        CHECK_EQ(reply(i, i), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.lost, 5);
    CHECK_EQ(counts.lost_forward + counts.lost_backward, 0);
    begin(0); /* the same replies of one that is known to count */
    s.settings.reflector_counts = true;
    send(10);
    for (unsigned i = 0; i < 10; i += 2)
        CHECK_EQ(reply(i, i), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.lost_backward, 4);
}

static void test_a_reflector_that_counted_others_before(void)
{
    begin(0);
    send(6);
    CHECK_EQ(reply(0, 1000), STAMP_RECEIVED);
    CHECK_EQ(reply(3, 1001), STAMP_RECEIVED);
    CHECK_EQ(reply(5, 1003), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.lost_forward, 2);
    CHECK_EQ(counts.lost_backward, 1);
}

static void test_a_restarted_reflector_begins_anew(void)
{
    begin(0);
    send(40);
    for (unsigned i = 0; i < 20; i++)
        if (i != 7) /* lost on the way back */
            CHECK_EQ(reply(i, i), STAMP_RECEIVED);
    for (unsigned i = 30; i < 40; i++) /* dead from 20 to 29 */
        CHECK_EQ(reply(i, i - 30), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.restarts, 1);
    CHECK_EQ(counts.lost, 11);
    CHECK_EQ(counts.lost_forward, 10);
    CHECK_EQ(counts.lost_backward, 1);
}

static void test_duplicates_have_a_direction(void)
{
    begin(0);
    send(3);
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    CHECK_EQ(reply(0, 0), STAMP_DUPLICATE); /* the same reply twice */
    CHECK_EQ(reply(1, 1), STAMP_RECEIVED);
    CHECK_EQ(reply(1, 2), STAMP_DUPLICATE); /* two replies to one probe */
    CHECK_EQ(reply(2, 3), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.duplicates, 2);
    CHECK_EQ(counts.duplicates_forward, 1);
    CHECK_EQ(counts.duplicates_backward, 1);
    CHECK_EQ(counts.lost, 0);
    CHECK_EQ(s.round.count, 3);
}

static void test_reordering_has_an_extent_and_a_direction(void)
{
    begin(0);
    send(6);
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    CHECK_EQ(reply(2, 1), STAMP_RECEIVED);
    CHECK_EQ(reply(3, 2), STAMP_RECEIVED);
    CHECK_EQ(reply(1, 3), STAMP_RECEIVED); /* it reached the reflector late: 2 and 3 came before */
    CHECK_EQ(reply(5, 5), STAMP_RECEIVED);
    CHECK_EQ(reply(4, 4), STAMP_RECEIVED); /* its reply was overtaken */
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.reordered, 2);
    CHECK_EQ(counts.reordered_forward, 1);
    CHECK_EQ(counts.reordered_backward, 1);
    CHECK_EQ(counts.most_extent, 2);
    CHECK_EQ(s.extents.count, 2);
    CHECK_EQ(counts.lost, 0);
}

static void test_a_probe_is_lost_after_the_timeout(void)
{
    begin(0);
    send(3);
    CHECK_EQ(reply(1, 0), STAMP_RECEIVED);
    stamp_stats_settle(&s, due(0) + 1000 + 100 * MS);
    count();
    CHECK_EQ(counts.lost, 0);
    stamp_stats_settle(&s, due(0) + 1001 + 100 * MS);
    count();
    CHECK_EQ(counts.lost, 1);
    CHECK_EQ(s.head, 2); /* 2 may still come */
    CHECK_EQ(reply(0, 1), STAMP_OVERDUE);
    CHECK_EQ(reply(2, 2), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.lost, 1);
    CHECK_EQ(counts.overdue, 1);
    CHECK_EQ(counts.lost_forward + counts.lost_backward, 0); /* it did come */
    CHECK_EQ(counts.received, 2);
}

static void test_the_window_is_bounded(void)
{
    begin(0);
    send(WINDOW + 10);
    count();
    CHECK_EQ(counts.lost, 10);
    CHECK_EQ(reply(9, 0), STAMP_TOO_OLD);
    CHECK_EQ(reply(10, 0), STAMP_RECEIVED);
    CHECK_EQ(reply(WINDOW + 9, 1), STAMP_RECEIVED);
    CHECK_EQ(reply(WINDOW + 10, 2), STAMP_FOREIGN);
    count();
    CHECK_EQ(counts.too_old, 1);
}

static void test_hostile_replies_change_nothing_else(void)
{
    begin(0);
    send(4);
    stamp_reply_t r = {.request_sequence = 1, .t1_ns = due(1) + 1};
    CHECK_EQ(stamp_stats_reply(&s, &r, due(2)), STAMP_FOREIGN); /* T1 is not ours */
    r = (stamp_reply_t){.request_sequence = 0x80000000u, .t1_ns = due(1)};
    CHECK_EQ(stamp_stats_reply(&s, &r, due(2)), STAMP_FOREIGN); /* never sent */
    r = (stamp_reply_t){.request_sequence = 1, .t1_ns = due(1), .t2_ns = INT64_MIN};
    CHECK_EQ(stamp_stats_reply(&s, &r, due(2)), STAMP_FOREIGN);
    r = (stamp_reply_t){.request_sequence = 1, .t1_ns = due(1), .t2_ns = 9, .t3_ns = 8};
    CHECK_EQ(stamp_stats_reply(&s, &r, due(2)), STAMP_RECEIVED); /* T3 before T2 */
    r = (stamp_reply_t){.request_sequence = 2, .t1_ns = due(2), .t2_ns = due(2), .t3_ns = due(9)};
    CHECK_EQ(stamp_stats_reply(&s, &r, due(3)),
             STAMP_RECEIVED); /* it kept it longer than it took */
    r = (stamp_reply_t){.sequence = 0xffffffffu,
                        .request_sequence = 3,
                        .t1_ns = due(3),
                        .t2_ns = INT64_MAX / 2 - 1,
                        .t3_ns = INT64_MAX / 2 - 1};
    CHECK_EQ(stamp_stats_reply(&s, &r, due(4)), STAMP_RECEIVED); /* a delay of centuries */
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.foreign, 3);
    CHECK_EQ(counts.impossible, 3);
    CHECK_EQ(counts.received, 3);
    CHECK_EQ(counts.lost, 1);
    CHECK_EQ(s.round.count, 0);
}

static void test_jitter_is_that_of_rfc_3550(void)
{
    begin(0);
    send(3);
    int64_t forward_ns[] = {20000, 36000, 36000};
    for (uint32_t i = 0; i < 3; i++) {
        int64_t t2_ns = due(i) + 1000 + forward_ns[i];
        stamp_reply_t r = {
            .sequence = i, .request_sequence = i, .t1_ns = due(i), .t2_ns = t2_ns, .t3_ns = t2_ns};
        CHECK_EQ(stamp_stats_reply(&s, &r, t2_ns + 10000), STAMP_RECEIVED);
    }
    CHECK_EQ(s.forward.jitter_16, 16000 - 1000); /* 16000/16 = 1000 ns, then 1000 - 1000/16 */
    CHECK_EQ(s.forward.most_jitter_16, 16000);
    CHECK_EQ(s.backward.jitter_16, 0);
}

static void test_bounds_that_contradict_each_other_show_a_clock_that_moved(void)
{
    begin(0);
    send(2);
    CHECK_EQ(reply(0, 0), STAMP_RECEIVED);
    int64_t left_ns = due(1) + 1000;
    stamp_reply_t r = {.sequence = 1,
                       .request_sequence = 1,
                       .t1_ns = due(1),
                       .t2_ns = left_ns + 20000 + 5 * MS,
                       .t3_ns = left_ns + 25000 + 5 * MS};
    CHECK_EQ(stamp_stats_reply(&s, &r, left_ns + 55000), STAMP_RECEIVED);
    CHECK(s.offset_low_ns > s.offset_high_ns);
    CHECK_EQ(s.round.max_ns, 50000); /* needs no clock */
}

static stamp_outcome_t arrive(uint32_t sequence, int64_t delay_ns)
{
    return stamp_stats_arrival(&s, sequence, due(sequence), due(sequence) + delay_ns);
}

static void test_a_stream_of_somebody_else(void)
{
    begin(0);
    CHECK_EQ(arrive(500, 10), STAMP_RECEIVED); /* we came later */
    CHECK_EQ(arrive(499, 99), STAMP_TOO_OLD);
    CHECK_EQ(arrive(503, 30), STAMP_RECEIVED);
    CHECK_EQ(arrive(502, 20), STAMP_RECEIVED);
    CHECK_EQ(arrive(502, 20), STAMP_DUPLICATE);
    stamp_stats_settle(&s, due(503) + 101 * MS);
    count();
    CHECK_EQ(counts.sent, 4);
    CHECK_EQ(counts.lost, 1);
    CHECK_EQ(counts.received, 3);
    CHECK_EQ(counts.reordered, 1);
    CHECK_EQ(counts.duplicates, 1);
    CHECK_EQ(s.forward.max_ns, 30);
    CHECK_EQ(arrive(501, 40), STAMP_OVERDUE);
}

static void test_a_stream_that_begins_anew_is_believed_the_second_time(void)
{
    begin(0);
    for (uint32_t i = 0xfffffff0u; i != 16; i++) /* over the wrap */
        CHECK_EQ(arrive(i, 10), STAMP_RECEIVED);
    CHECK_EQ(arrive(1u << 31, 10), STAMP_FOREIGN);
    CHECK_EQ(arrive(16, 10), STAMP_RECEIVED);
    CHECK_EQ(arrive(100000, 10), STAMP_FOREIGN);
    CHECK_EQ(arrive(100001, 10), STAMP_RECEIVED);
    CHECK_EQ(arrive(100002, 10), STAMP_RECEIVED);
    stamp_stats_finish(&s);
    count();
    CHECK_EQ(counts.restarts, 1);
    CHECK_EQ(counts.lost, 0);
    CHECK_EQ(counts.received, 33 + 2);
}

int main(void)
{
    RUN(test_settings_have_limits);
    RUN(test_delays_are_measured_from_the_departure);
    RUN(test_a_probe_that_left_late_is_counted_and_not_measured);
    RUN(test_what_never_left_is_no_loss);
    RUN(test_a_reply_may_come_before_its_report);
    RUN(test_a_missing_report_is_no_loss);
    RUN(test_the_direction_of_a_loss);
    RUN(test_a_stateless_reflector_tells_no_direction);
    RUN(test_a_reflector_that_counted_others_before);
    RUN(test_a_restarted_reflector_begins_anew);
    RUN(test_duplicates_have_a_direction);
    RUN(test_reordering_has_an_extent_and_a_direction);
    RUN(test_a_probe_is_lost_after_the_timeout);
    RUN(test_the_window_is_bounded);
    RUN(test_hostile_replies_change_nothing_else);
    RUN(test_jitter_is_that_of_rfc_3550);
    RUN(test_bounds_that_contradict_each_other_show_a_clock_that_moved);
    RUN(test_a_stream_of_somebody_else);
    RUN(test_a_stream_that_begins_anew_is_believed_the_second_time);
    return rt_test_result();
}
