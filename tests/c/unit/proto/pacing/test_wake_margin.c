#include "proto/pacing/wake_margin.h"
#include "rt_test.h"

static uint64_t seed;

static void start(wake_margin_t *m)
{
    wake_margin_config_t config = wake_margin_config_default();
    wake_margin_init(m, &config);
}

static void observe_many(wake_margin_t *m, int64_t latency_ns, int times)
{
    for (int i = 0; i < times; i++)
        wake_margin_observe(m, latency_ns);
}

static void test_is_careful_until_warm(void)
{
    wake_margin_t m;
    start(&m);
    CHECK_EQ(wake_margin_ns(&m), 200000);
    observe_many(&m, 30000, 31);
    CHECK_EQ(wake_margin_ns(&m), 200000);
    wake_margin_observe(&m, 30000);
    CHECK(wake_margin_ns(&m) > 30000 && wake_margin_ns(&m) <= 30000 + m.bucket_ns);
}

static void test_stays_within_bounds(void)
{
    wake_margin_t m;
    start(&m);
    observe_many(&m, 0, 100);
    CHECK_EQ(wake_margin_ns(&m), 20000);
    observe_many(&m, INT64_MAX, 100);
    CHECK_EQ(wake_margin_ns(&m), 200000);
}

static void test_lone_outlier_does_not_move_it(void)
{
    wake_margin_t m;
    start(&m);
    observe_many(&m, 30000, 1000);
    int64_t before = wake_margin_ns(&m);
    wake_margin_observe(&m, 190000);
    CHECK_EQ(wake_margin_ns(&m), before);
    observe_many(&m, 30000, 1000);
    CHECK_EQ(wake_margin_ns(&m), before);
}

static void test_cut_short_sleeps_do_not_count(void)
{
    wake_margin_t m;
    start(&m);
    observe_many(&m, -1, 1000);
    CHECK_EQ(m.seen, 0);
    CHECK_EQ(wake_margin_ns(&m), 200000);
}

static void test_grows_quickly_and_shrinks_slowly(void)
{
    wake_margin_t m;
    start(&m);
    observe_many(&m, 30000, 5000);
    int grown_after = 0;
    while (wake_margin_ns(&m) < 90000 && grown_after < 1000) {
        wake_margin_observe(&m, 90000);
        grown_after++;
    }
    CHECK(grown_after <= 11);
    observe_many(&m, 90000, 500);
    int shrunk_after = 0;
    while (wake_margin_ns(&m) > 40000 && shrunk_after < 100000) {
        wake_margin_observe(&m, 30000);
        shrunk_after++;
    }
    CHECK(shrunk_after >= 2000);
    CHECK(shrunk_after <= 20000);
}

/* The inequality of the header, against latencies kept in a list of our own. */
static void test_guarantee_holds_at_each_step(void)
{
    enum { MEMORY = 200, STEPS = 20000 };
    wake_margin_config_t config = wake_margin_config_default();
    config.memory = MEMORY;
    config.quantile_permille = 980;
    wake_margin_t m;
    wake_margin_init(&m, &config);
    uint64_t state = seed;
    uint32_t late = 0;
    for (int i = 0; i < STEPS; i++) {
        int64_t latency = (int64_t)(rt_test_rand(&state) % 40000) + 10000;
        if (i / 3000 % 2 == 1)
            latency += 70000;
        if (rt_test_rand(&state) % 300 == 0)
            latency *= 5;
        late += i > 100 && latency > wake_margin_ns(&m);
        wake_margin_observe(&m, latency);
        int64_t margin = wake_margin_ns(&m);
        uint64_t total = 0;
        uint64_t above = 0;
        for (unsigned b = 0; b < WAKE_MARGIN_BUCKETS; b++) {
            total += m.counts[b];
            if ((int64_t)(b + 1) * m.bucket_ns > margin)
                above += m.counts[b];
        }
        REQUIRE(total == m.total && total < 2 * MEMORY);
        REQUIRE(margin >= config.min_ns && margin <= config.max_ns);
        REQUIRE(margin == config.max_ns || above * 1000 <= total * 20);
    }
    printf("       %u of %d wake-ups later than the margin\n", late, STEPS);
    CHECK(late <= STEPS * 3 / 100);
}

static void test_smallest_bounds_work(void)
{
    wake_margin_config_t config = wake_margin_config_default();
    config.min_ns = 1;
    config.max_ns = 1;
    wake_margin_t m;
    wake_margin_init(&m, &config);
    observe_many(&m, 5, 100);
    CHECK_EQ(wake_margin_ns(&m), 1);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_is_careful_until_warm);
    RUN(test_stays_within_bounds);
    RUN(test_lone_outlier_does_not_move_it);
    RUN(test_cut_short_sleeps_do_not_count);
    RUN(test_grows_quickly_and_shrinks_slowly);
    RUN(test_guarantee_holds_at_each_step);
    RUN(test_smallest_bounds_work);
    return rt_test_result();
}
