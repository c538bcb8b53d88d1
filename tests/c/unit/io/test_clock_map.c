#include "io_test.h"

static clock_map_t unknown_map(void)
{
    return (clock_map_t){
        .target = RT_CLOCK_MONOTONIC, .low_ns = INT64_MIN / 4, .high_ns = INT64_MAX / 4};
}

static void test_bounds_close_in_on_the_offset(void)
{
    const int64_t offset_ns = 1700000000 * RT_NS_PER_S + 123;
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    clock_map_t map = unknown_map();
    for (int i = 0; i < 1000; i++) {
        int64_t before_ns = (int64_t)(rt_test_rand(&seed) % 500);
        int64_t after_ns = (int64_t)(rt_test_rand(&seed) % 500);
        CHECK_EQ(clock_map_bounds(&map, offset_ns - after_ns, offset_ns + before_ns), 0);
        CHECK(map.low_ns <= offset_ns && offset_ns <= map.high_ns);
    }
    CHECK(map.high_ns - map.low_ns < 20);
    CHECK(llabs(map.offset_ns - offset_ns) < 20);
}

static void test_a_step_is_noticed_and_followed(void)
{
    const int64_t offset_ns = 1000 * RT_NS_PER_S;
    const int64_t steps_ns[] = {RT_NS_PER_S, -RT_NS_PER_S, 37 * RT_NS_PER_S, 1000, -1000};
    for (size_t i = 0; i < sizeof steps_ns / sizeof steps_ns[0]; i++) {
        clock_map_t map = unknown_map();
        clock_map_bounds(&map, offset_ns - 100, offset_ns + 100);
        int64_t moved_ns = offset_ns + steps_ns[i];
        CHECK_EQ(clock_map_bounds(&map, moved_ns - 50, moved_ns + 50), 1);
        CHECK_EQ(map.offset_ns, moved_ns);
        CHECK_EQ(clock_map_from_real(&map, moved_ns + 5), 5);
    }
}

static void test_the_monotonic_map_is_tight_and_stays(void)
{
    clock_map_t map;
    REQUIRE(clock_map_init(&map, RT_CLOCK_MONOTONIC) == 0);
    for (int i = 0; i < 100000; i++)
        clock_map_check(&map);
    CHECK(map.high_ns - map.low_ns < 20 * RT_NS_PER_US);
    int64_t before_ns = rt_mono_ns();
    int64_t mapped_ns = clock_map_from_real(&map, rt_real_ns());
    int64_t after_ns = rt_mono_ns();
    int64_t slack_ns = map.high_ns - map.low_ns;
    CHECK(before_ns - slack_ns <= mapped_ns && mapped_ns <= after_ns + slack_ns);
}

static void test_refresh_keeps_to_its_rate(void)
{
    clock_map_t map;
    REQUIRE(clock_map_init(&map, RT_CLOCK_MONOTONIC) == 0);
    int64_t now_ns = rt_mono_ns();
    clock_map_refresh(&map, now_ns);
    CHECK_EQ(map.next_refresh_mono_ns, now_ns + CLOCK_MAP_REFRESH_NS);
    map.low_ns = map.high_ns = map.offset_ns = 42; /* as if the time had been set since */
    CHECK_EQ(clock_map_refresh(&map, now_ns + 1), 0);
    CHECK_EQ(clock_map_refresh(&map, now_ns + CLOCK_MAP_REFRESH_NS), 1);
}

static void test_tai_needs_the_kernels_offset(void)
{
    clock_map_t map;
    int rc = clock_map_init(&map, RT_CLOCK_TAI);
    if (rt_tai_offset_s() == 0) {
        CHECK_EQ(rc, -EINVAL);
        io_error_names("TAI offset is 0");
        io_error_names("ptp4l");
    } else {
        CHECK_EQ(rc, 0);
        CHECK_EQ(clock_map_from_real(&map, 0), (int64_t)rt_tai_offset_s() * RT_NS_PER_S);
    }
    CHECK_EQ(clock_map_init(&map, (rt_clock_id_t)9), -EINVAL);
    io_error_names("clock 9");
}

int main(void)
{
    RUN(test_bounds_close_in_on_the_offset);
    RUN(test_a_step_is_noticed_and_followed);
    RUN(test_the_monotonic_map_is_tight_and_stays);
    RUN(test_refresh_keeps_to_its_rate);
    RUN(test_tai_needs_the_kernels_offset);
    return rt_test_result();
}
