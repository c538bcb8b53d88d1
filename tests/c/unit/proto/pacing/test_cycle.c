/* Cycles in virtual time: the grid, what becomes stale and when, and what a successor continues. */
#include "proto/pacing/cycle.h"

#include "base/rt_clock.h"
#include "rt_test.h"

static cycle_t c;
static cycle_out_t out;

static void begin(cycle_on_stale_t on_stale, int64_t stale_after_ns)
{
    cycle_config_t config = {
        .period_ns = 1000, .origin_ns = 300, .stale_after_ns = stale_after_ns, .on_stale = on_stale};
    cycle_init(&c, &config);
    cycle_start(&c, 5000);
}

static void test_nothing_is_due_before_the_first_payload(void)
{
    begin(CYCLE_STALE_CONTINUE, 0);
    CHECK_EQ(cycle_due_ns(&c), RT_NEVER_NS);
    CHECK_EQ(cycle_emit(&c, &out, 9000), 0);
    cycle_renewed(&c, 9000, 9000);
    CHECK_EQ(cycle_due_ns(&c), 9300);
    CHECK_EQ(cycle_emit(&c, &out, 9299), 0);
    CHECK_EQ(cycle_emit(&c, &out, 9300), 1);
    CHECK_EQ(out.due_ns, 9300);
    CHECK_EQ(out.number, 9);
    CHECK_EQ(out.missed, 0);
    CHECK(!out.stale);
    CHECK_EQ(cycle_due_ns(&c), 10300);
}

static void test_missed_cycles_are_counted_and_never_sent(void)
{
    begin(CYCLE_STALE_CONTINUE, 0);
    cycle_renewed(&c, 5000, 5000);
    CHECK_EQ(cycle_emit(&c, &out, 5300), 1);
    CHECK_EQ(cycle_emit(&c, &out, 9800), 1); /* 6300, 7300 and 8300 have passed */
    CHECK_EQ(out.missed, 3);
    CHECK_EQ(out.due_ns, 9300);
    CHECK_EQ(out.number, 9);
    CHECK_EQ(cycle_emit(&c, &out, 9801), 0);
    CHECK_EQ(cycle_due_ns(&c), 10300);
}

static void test_an_old_payload_is_stale_from_its_age_on(void)
{
    begin(CYCLE_STALE_CONTINUE, 2500);
    cycle_renewed(&c, 5000, 5000);
    CHECK_EQ(cycle_deadline_ns(&c), 5300);
    CHECK_EQ(cycle_emit(&c, &out, 5300), 1);
    CHECK_EQ(cycle_emit(&c, &out, 6300), 1);
    CHECK_EQ(cycle_emit(&c, &out, 7300), 1);
    CHECK(!out.stale);
    CHECK_EQ(cycle_deadline_ns(&c), 7500);
    CHECK_EQ(cycle_emit(&c, &out, 7500), 0);
    CHECK_EQ(c.stale_times, 1);
    CHECK_EQ(cycle_emit(&c, &out, 8300), 1);
    CHECK(out.stale);
    CHECK(!out.failsafe);
    cycle_renewed(&c, 8400, 8400);
    CHECK_EQ(cycle_emit(&c, &out, 9300), 1);
    CHECK(!out.stale);
    CHECK_EQ(c.stale_times, 1);
}

static void test_a_gone_writer_makes_its_payload_stale_at_once(void)
{
    begin(CYCLE_STALE_FAILSAFE, 3600);
    cycle_renewed(&c, 5000, 5000);
    cycle_writer_gone(&c);
    CHECK_EQ(cycle_emit(&c, &out, 5300), 1);
    CHECK(out.failsafe);
    cycle_writer_gone(&c);
    CHECK_EQ(c.stale_times, 1);
    cycle_renewed(&c, 5400, 5400);
    CHECK_EQ(cycle_emit(&c, &out, 6300), 1);
    CHECK(!out.failsafe);
}

static void test_a_stopped_grid_misses_nothing(void)
{
    begin(CYCLE_STALE_STOP, 0);
    cycle_renewed(&c, 5000, 5000);
    CHECK_EQ(cycle_emit(&c, &out, 5300), 1);
    cycle_writer_gone(&c);
    CHECK_EQ(cycle_due_ns(&c), RT_NEVER_NS);
    CHECK_EQ(cycle_emit(&c, &out, 20000), 0);
    cycle_renewed(&c, 20100, 20100);
    CHECK_EQ(cycle_due_ns(&c), 20300);
    CHECK_EQ(cycle_emit(&c, &out, 20300), 1);
    CHECK_EQ(out.missed, 0);
    CHECK_EQ(out.number, 20);
    cycle_stop(&c);
    CHECK_EQ(cycle_deadline_ns(&c), RT_NEVER_NS);
    cycle_start(&c, 30000);
    CHECK_EQ(cycle_emit(&c, &out, 30300), 1);
    CHECK_EQ(out.missed, 0);
}

static void test_a_successor_keeps_the_grid_and_counts_the_hole(void)
{
    begin(CYCLE_STALE_CONTINUE, 0);
    cycle_renewed(&c, 5000, 9000);
    cycle_resume(&c, 5, 9000); /* 5300 was the last */
    CHECK_EQ(cycle_emit(&c, &out, 9000), 1);
    CHECK_EQ(out.number, 8); /* 8300, late */
    CHECK_EQ(out.missed, 2);
    CHECK_EQ(cycle_due_ns(&c), 9300);
}

static void test_an_impossible_last_number_counts_as_none(void)
{
    uint64_t numbers[] = {9, 10, 1000, UINT64_MAX, UINT64_MAX / 1000, INT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        begin(CYCLE_STALE_CONTINUE, 0);
        cycle_renewed(&c, 5000, 9000);
        cycle_resume(&c, numbers[i], 9000);
        CHECK_EQ(cycle_due_ns(&c), 9300);
    }
}

static void test_a_payload_from_the_future_was_written_now(void)
{
    begin(CYCLE_STALE_CONTINUE, 1000);
    cycle_renewed(&c, INT64_MAX, 5000);
    CHECK_EQ(c.fresh_until_ns, 6000);
}

int main(void)
{
    RUN(test_nothing_is_due_before_the_first_payload);
    RUN(test_missed_cycles_are_counted_and_never_sent);
    RUN(test_an_old_payload_is_stale_from_its_age_on);
    RUN(test_a_gone_writer_makes_its_payload_stale_at_once);
    RUN(test_a_stopped_grid_misses_nothing);
    RUN(test_a_successor_keeps_the_grid_and_counts_the_hole);
    RUN(test_an_impossible_last_number_counts_as_none);
    RUN(test_a_payload_from_the_future_was_written_now);
    return rt_test_result();
}
