#include "proto/capture/capture_plan.h"

#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

#define MOST 8u

static capture_t c;
static int64_t due_ns[DUE_LANES][MOST];
static uint32_t offsets[DUE_LANES][MOST], lengths[DUE_LANES][MOST];
static due_address_t to[DUE_LANES][MOST];
static due_lane_t lanes[DUE_LANES];

/* Flow 0 goes to lane IPv4, flow 1 to lane IPv6, flow 2 nowhere. */
static void begin(void)
{
    due_address_t here = {{4}};
    memset(&c.flows, 0, sizeof c.flows);
    c.flows.count = 3;
    capture_route(&c, 0, DUE_LANE_IPV4, &here);
    capture_route(&c, 1, DUE_LANE_IPV6, &here);
    for (unsigned i = 0; i < DUE_LANES; i++)
        lanes[i] = (due_lane_t){due_ns[i], offsets[i], lengths[i], to[i], 0, NULL};
}

static capture_record_t at(int64_t time_ns, uint32_t flow)
{
    return (capture_record_t){.time_ns = time_ns, .offset = 7, .length = 100, .flow = flow};
}

static void test_times_are_scaled_from_the_first(void)
{
    begin();
    capture_plan_t p = {.scale = 0.5, .start_ns = 1000};
    int64_t first = INT64_C(1700000000000000001);
    capture_record_t r[] = {at(first - 9, 2), at(first, 0), at(first + 10, 1), at(first - 5, 0)};
    CHECK_EQ(capture_plan_batch(&p, &c, r, 4, lanes), 0);
    CHECK_EQ(lanes[0].count, 2);
    CHECK_EQ(lanes[1].count, 1);
    CHECK_EQ(due_ns[0][0], 1000);
    CHECK_EQ(due_ns[1][0], 1005);
    CHECK_EQ(due_ns[0][1], 1000);
    CHECK_EQ(p.planned, 3);
    CHECK_EQ(to[0][0].packed[0], 4);
}

static void test_a_round_follows_after_the_mean_gap(void)
{
    begin();
    capture_plan_t p = {.scale = 1, .start_ns = 1};
    capture_record_t r[] = {at(0, 0), at(10, 0), at(40, 0)};
    CHECK_EQ(capture_plan_batch(&p, &c, r, 3, lanes), 0);
    CHECK_EQ(capture_plan_next_round(&p), 0);
    CHECK_EQ(capture_plan_batch(&p, &c, r, 3, lanes), 0);
    CHECK_EQ(due_ns[0][0], 1 + 60);
    CHECK_EQ(due_ns[0][2], 1 + 100);
}

static void test_one_packet_has_no_gap(void)
{
    begin();
    capture_plan_t p = {.scale = 1, .start_ns = 1};
    capture_record_t r = at(5, 0);
    CHECK_EQ(capture_plan_batch(&p, &c, &r, 1, lanes), 0);
    CHECK_EQ(capture_plan_next_round(&p), -EDOM);
    p.pace = CAPTURE_BY_COUNT;
    CHECK_EQ(capture_plan_next_round(&p), 0);
}

static void test_even_rates_have_no_seam(void)
{
    begin();
    capture_plan_t p = {.pace = CAPTURE_BY_COUNT, .interval_ns = 10, .start_ns = 100};
    capture_record_t r[] = {at(0, 0), at(0, 0)};
    CHECK_EQ(capture_plan_batch(&p, &c, r, 2, lanes), 0);
    CHECK_EQ(capture_plan_next_round(&p), 0);
    CHECK_EQ(capture_plan_batch(&p, &c, r, 2, lanes), 0);
    CHECK_EQ(due_ns[0][0], 120);
    capture_plan_t bits = {.pace = CAPTURE_BY_BITS, .interval_ns = 1, .start_ns = 100};
    capture_record_t both[] = {at(0, 0), at(0, 1), at(0, 0)};
    CHECK_EQ(capture_plan_batch(&bits, &c, both, 3, lanes), 0);
    CHECK_EQ(due_ns[1][0], 100 + 8 * 128);
    CHECK_EQ(due_ns[0][1], 100 + 8 * (128 + 148));
    capture_plan_t at_once = {.pace = CAPTURE_AT_ONCE, .start_ns = 100};
    CHECK_EQ(capture_plan_batch(&at_once, &c, both, 3, lanes), 0);
    CHECK_EQ(due_ns[0][1], 0);
}

static void test_times_beyond_a_year_are_refused(void)
{
    begin();
    capture_plan_t p = {.scale = 1, .start_ns = 1};
    capture_record_t r[] = {at(0, 0), at(CAPTURE_MAX_SPAN_NS + 1000, 0)};
    CHECK_EQ(capture_plan_batch(&p, &c, r, 2, lanes), -ERANGE);
    CHECK_EQ(lanes[0].count, 1);
    CHECK(strstr(rt_err_text(), "packet 2") != NULL);
    capture_record_t ends[] = {at(INT64_MIN, 0), at(INT64_MAX, 0)};
    capture_plan_t wide = {.scale = 1, .start_ns = 1};
    CHECK_EQ(capture_plan_batch(&wide, &c, ends, 2, lanes), -ERANGE);
    capture_plan_t backwards = {.scale = 1, .start_ns = 1};
    capture_record_t turned[] = {ends[1], ends[0]};
    CHECK_EQ(capture_plan_batch(&backwards, &c, turned, 2, lanes), 0);
    CHECK_EQ(due_ns[0][1], 1);
}

int main(void)
{
    RUN(test_times_are_scaled_from_the_first);
    RUN(test_a_round_follows_after_the_mean_gap);
    RUN(test_one_packet_has_no_gap);
    RUN(test_even_rates_have_no_seam);
    RUN(test_times_beyond_a_year_are_refused);
    return rt_test_result();
}
