#include "proto/traffic/traffic_rate.h"

#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

#define S RT_NS_PER_S
#define PPS TRAFFIC_UPPS

static traffic_rate_t steady(uint64_t upps)
{
    return (traffic_rate_t){.phases = {{S, upps, upps}}, .phase_count = 1};
}

/* When packet number n of even traffic is due. */
static int64_t due_ns(const traffic_rate_t *rate, uint64_t n)
{
    traffic_walk_t walk;
    CHECK_EQ(traffic_rate_check(rate), 0);
    traffic_walk_init(&walk, rate);
    walk.area = (traffic_area_t)n * TRAFFIC_PACKET;
    return traffic_walk(&walk, rate);
}

/* So many packets of even traffic are due before a time. */
static uint64_t packets_before(const traffic_rate_t *rate, int64_t until_ns)
{
    traffic_walk_t walk;
    traffic_walk_init(&walk, rate);
    uint64_t n = 0;
    int64_t before_ns = -1;
    for (;;) {
        int64_t at_ns = traffic_walk(&walk, rate);
        CHECK(at_ns >= before_ns);
        if (at_ns >= until_ns)
            return n;
        before_ns = at_ns;
        n++;
        walk.area += TRAFFIC_PACKET;
    }
}

static void test_a_steady_rate_has_no_drift(void)
{
    traffic_rate_t third = steady(3 * PPS);
    CHECK_EQ(due_ns(&third, 0), 0);
    CHECK_EQ(due_ns(&third, 1), 333333333);
    CHECK_EQ(due_ns(&third, 3), S);
    CHECK_EQ(due_ns(&third, UINT64_C(3) * 86400 * 300), INT64_C(86400) * 300 * S);
    traffic_rate_t fast = steady(TRAFFIC_MAX_UPPS);
    CHECK_EQ(due_ns(&fast, 1000000007), 1000000007);
    traffic_rate_t slow = steady(1);
    CHECK_EQ(due_ns(&slow, 1), 1000000 * S);
    CHECK_EQ(due_ns(&slow, 32), RT_NEVER_NS); /* 370 days */
}

static void test_step_by_step_is_the_same_as_at_once(void)
{
    traffic_rate_t rates[] = {
        steady(7 * PPS + 1),
        {.phases = {{S, 10 * PPS, 90 * PPS}, {S / 3, 0, 0}, {S, 5, 777777}},
         .phase_count = 3,
         .repeat = true},
        {.phases = {{S, 90 * PPS, 0}, {S / 3, 0, 50 * PPS}}, .phase_count = 2}};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        traffic_walk_t walk;
        traffic_walk_init(&walk, &rates[i]);
        for (uint64_t n = 0; n < 3000; n++) {
            CHECK_EQ(traffic_walk(&walk, &rates[i]), due_ns(&rates[i], n));
            walk.area += TRAFFIC_PACKET;
        }
    }
}

static void test_a_ramp_integrates_to_its_packets(void)
{
    traffic_rate_t up = {.phases = {{10 * S, 1000 * PPS, 3000 * PPS}}, .phase_count = 1};
    CHECK_EQ(packets_before(&up, 10 * S), 20000);
    CHECK_EQ(packets_before(&up, 5 * S), 7500);
    CHECK_EQ(packets_before(&up, 11 * S), 23000); /* the last rate stays */
    traffic_rate_t down = {.phases = {{10 * S, 3000 * PPS, 0}}, .phase_count = 1};
    CHECK_EQ(packets_before(&down, 10 * S), 15000);
    CHECK_EQ(due_ns(&down, 15000), RT_NEVER_NS); /* and so does a rate of 0 */
    traffic_rate_t from_0 = {.phases = {{2 * S, 0, 100 * PPS}}, .phase_count = 1};
    CHECK_EQ(due_ns(&from_0, 0), 0);
    CHECK_EQ(due_ns(&from_0, 25), S);
    CHECK_EQ(packets_before(&from_0, 2 * S), 100);
}

static void test_long_ramps_are_exact(void)
{
    int64_t hours_ns = 10 * 3600 * S;
    traffic_rate_t long_ramp = {.phases = {{hours_ns, 0, 200000 * PPS}}, .phase_count = 1};
    /* A quarter of the packets is due after half of the time. */
    CHECK_EQ(due_ns(&long_ramp, UINT64_C(900000000)), hours_ns / 2);
    CHECK_EQ(due_ns(&long_ramp, UINT64_C(3600000000)), hours_ns);
}

static void test_steps_and_pauses(void)
{
    traffic_rate_t steps = {.phases = {{S, 10 * PPS, 10 * PPS}, {S, 20 * PPS, 20 * PPS}},
                            .phase_count = 2};
    CHECK_EQ(due_ns(&steps, 9), S * 9 / 10);
    CHECK_EQ(due_ns(&steps, 10), S);
    CHECK_EQ(due_ns(&steps, 30), 2 * S);
    CHECK_EQ(due_ns(&steps, 50), 3 * S);
    traffic_rate_t on_off = {
        .phases = {{S, 10 * PPS, 10 * PPS}, {2 * S, 0, 0}}, .phase_count = 2, .repeat = true};
    CHECK_EQ(due_ns(&on_off, 10), 3 * S);
    CHECK_EQ(packets_before(&on_off, 30 * S), 100);
    /* Half a packet in each round: one in two rounds. */
    traffic_rate_t half = {
        .phases = {{S / 20, 10 * PPS, 10 * PPS}, {S / 20, 0, 0}}, .phase_count = 2, .repeat = true};
    CHECK_EQ(packets_before(&half, 100 * S), 500);
}

static void test_short_rounds_are_skipped(void)
{
    traffic_rate_t rare = {.phases = {{1, 1, 1}, {1, 0, 0}}, .phase_count = 2, .repeat = true};
    CHECK_EQ(due_ns(&rare, 1), 2 * 1000000 * S);
    CHECK_EQ(due_ns(&rare, 20), RT_NEVER_NS);
}

static void test_what_is_refused(void)
{
    traffic_rate_t none = {.phase_count = 0};
    CHECK_EQ(traffic_rate_check(&none), -EINVAL);
    none.phase_count = TRAFFIC_MAX_PHASES + 1;
    CHECK_EQ(traffic_rate_check(&none), -EINVAL);
    traffic_rate_t zero = steady(0);
    CHECK_EQ(traffic_rate_check(&zero), -EINVAL);
    CHECK(strstr(rt_err_text(), "the rate is 0 all the time") != NULL);
    traffic_rate_t fast = steady(TRAFFIC_MAX_UPPS + 1);
    CHECK_EQ(traffic_rate_check(&fast), -EINVAL);
    CHECK(strstr(rt_err_text(), "at most 1e9 are possible") != NULL);
    traffic_rate_t shorter = {.phases = {{0, 1, 1}}, .phase_count = 1};
    CHECK_EQ(traffic_rate_check(&shorter), -EINVAL);
    traffic_rate_t longer = {.phases = {{TRAFFIC_MAX_SPAN_NS + 1, 1, 1}}, .phase_count = 1};
    CHECK_EQ(traffic_rate_check(&longer), -EINVAL);
    CHECK(strstr(rt_err_text(), "it must last 1 ns to 365 days") != NULL);
}

int main(void)
{
    RUN(test_a_steady_rate_has_no_drift);
    RUN(test_step_by_step_is_the_same_as_at_once);
    RUN(test_a_ramp_integrates_to_its_packets);
    RUN(test_long_ramps_are_exact);
    RUN(test_steps_and_pauses);
    RUN(test_short_rounds_are_skipped);
    RUN(test_what_is_refused);
    return rt_test_result();
}
