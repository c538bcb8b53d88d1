#include "proto/pacing/wire_offset.h"
#include "rt_test.h"

static uint64_t seed;

static void test_is_zero_until_learnt(void)
{
    wire_offset_t w = {.count = 0};
    for (unsigned i = 1; i < WIRE_OFFSET_WARM_UP; i++) {
        wire_offset_observe(&w, 2000);
        CHECK_EQ(wire_offset_ns(&w), 0);
    }
    wire_offset_observe(&w, 2000);
    CHECK_EQ(wire_offset_ns(&w), 2000);
}

static void test_outliers_do_not_pull(void)
{
    wire_offset_t w = {.count = 0};
    for (int i = 0; i < 1000; i++)
        wire_offset_observe(&w, i % 10 == 9 ? 100000 : 2000);
    CHECK_EQ(wire_offset_ns(&w), 2000);
    wire_offset_observe(&w, INT64_MAX);
    wire_offset_observe(&w, INT64_MIN);
    CHECK_EQ(wire_offset_ns(&w), 2000);
}

static void test_stays_within_bounds(void)
{
    wire_offset_t w = {.count = 0};
    for (int i = 0; i < 200; i++)
        wire_offset_observe(&w, 80000);
    CHECK_EQ(wire_offset_ns(&w), 50000);
    for (int i = 0; i < 200; i++)
        wire_offset_observe(&w, -300);
    CHECK_EQ(wire_offset_ns(&w), 0);
}

static void test_follows_a_change_within_one_window(void)
{
    wire_offset_t w = {.count = 0};
    for (int i = 0; i < 500; i++)
        wire_offset_observe(&w, 2000);
    for (unsigned i = 0; i < WIRE_OFFSET_WINDOW / 2 + 1; i++)
        wire_offset_observe(&w, 7000);
    CHECK_EQ(wire_offset_ns(&w), 7000);
}

/* As many samples of the window at or above the offset as at or below it. */
static void test_is_the_median_at_each_step(void)
{
    enum { STEPS = 5000 };
    static int64_t samples[STEPS];
    wire_offset_t w = {.count = 0};
    uint64_t state = seed;
    int64_t error_sum = 0;
    for (int i = 0; i < STEPS; i++) {
        samples[i] = 1500 + (int64_t)(rt_test_rand(&state) % 1500);
        if (rt_test_rand(&state) % 50 == 0)
            samples[i] += (int64_t)(rt_test_rand(&state) % 100000);
        if (i >= 200)
            error_sum += samples[i] > wire_offset_ns(&w) ? 1 : -1;
        wire_offset_observe(&w, samples[i]);
        int first = i + 1 > (int)WIRE_OFFSET_WINDOW ? i + 1 - (int)WIRE_OFFSET_WINDOW : 0;
        int count = i + 1 - first;
        if (count < (int)WIRE_OFFSET_WARM_UP)
            continue;
        int above = 0;
        int below = 0;
        for (int k = first; k <= i; k++) {
            above += samples[k] > wire_offset_ns(&w);
            below += samples[k] < wire_offset_ns(&w);
        }
        REQUIRE(2 * above <= count + 1 && 2 * below <= count + 1);
    }
    /* The error on the wire is centred on zero: the signs cancel (standard deviation: about 70). */
    CHECK(error_sum > -400 && error_sum < 400);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_is_zero_until_learnt);
    RUN(test_outliers_do_not_pull);
    RUN(test_stays_within_bounds);
    RUN(test_follows_a_change_within_one_window);
    RUN(test_is_the_median_at_each_step);
    return rt_test_result();
}
