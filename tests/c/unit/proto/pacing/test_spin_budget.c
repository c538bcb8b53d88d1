#include "base/rt_clock.h"
#include "proto/pacing/spin_budget.h"
#include "rt_test.h"

static uint64_t seed;

/* 93 % over any 10 ms, 90 % in the long run, 3 ms at once, forced rests of 0.1 ms. */
static const spin_budget_config_t usual = {
    .limit_permille = 930,
    .window_ns = 10 * RT_NS_PER_MS,
    .burst_ns = 300 * RT_NS_PER_US,
    .rest_ns = 100 * RT_NS_PER_US,
    .lag_ns = 10 * RT_NS_PER_MS,
};

/* Spans during which the worker was awake, and how much that was before each. */
enum { MAX_SPANS = 4000 };
typedef struct history {
    int count;
    int64_t from[MAX_SPANS];
    int64_t to[MAX_SPANS];
    int64_t busy_before[MAX_SPANS];
} history_t;

static history_t history;

static void note_busy(int64_t from, int64_t to)
{
    int n = history.count;
    if (n > 0 && history.to[n - 1] == from) {
        history.to[n - 1] = to;
        return;
    }
    history.from[n] = from;
    history.to[n] = to;
    history.busy_before[n] =
        n > 0 ? history.busy_before[n - 1] + history.to[n - 1] - history.from[n - 1] : 0;
    history.count++;
}

/* busy - rate * time is largest between the begin of one busy span and the end of another. */
static bool keeps_bucket(const spin_budget_t *b, int64_t lag)
{
    for (int i = 0; i < history.count; i++)
        for (int j = i; j < history.count; j++) {
            int64_t busy =
                history.busy_before[j] + history.to[j] - history.from[j] - history.busy_before[i];
            int64_t span = history.to[j] - history.from[i];
            if (busy * 1000000 >
                span * b->rate_ppm + b->config.burst_ns * 1000000 + (1000000 - b->rate_ppm) * lag)
                return false;
        }
    return true;
}

static int64_t busy_until(int64_t t)
{
    int low = 0;
    int high = history.count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (history.from[middle] < t)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return 0;
    int64_t end = history.to[low - 1] < t ? history.to[low - 1] : t;
    return history.busy_before[low - 1] + end - history.from[low - 1];
}

static bool keeps_window(const spin_budget_t *b, int64_t window, int64_t lag)
{
    for (int i = 0; i < history.count; i++) {
        int64_t begins[2] = {history.from[i], history.to[i] - window};
        for (int k = 0; k < 2; k++) {
            int64_t busy = busy_until(begins[k] + window) - busy_until(begins[k]);
            if (busy * 1000000 >
                window * b->config.limit_permille * 1000 + (1000000 - b->rate_ppm) * lag)
                return false;
        }
    }
    return true;
}

static void test_never_sleeping_worker_rests_little_and_often(void)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 0);
    CHECK_EQ(b.rate_ppm, 900000);
    history.count = 0;
    int64_t now = 0;
    int64_t longest_rest = 0;
    while (now < RT_NS_PER_S) {
        note_busy(now, now + 1000);
        now += 1000;
        int64_t rest = spin_budget_rest_ns(&b, now);
        if (rest > 0) {
            spin_budget_slept(&b, now, now + rest);
            now += rest;
        }
        if (rest > longest_rest)
            longest_rest = rest;
    }
    int64_t busy = busy_until(RT_NS_PER_S);
    CHECK(busy <= RT_NS_PER_S * 93 / 100);
    CHECK(busy >= RT_NS_PER_S * 89 / 100);
    CHECK(longest_rest >= 100000 && longest_rest <= 100200);
    CHECK(keeps_bucket(&b, 1000));
    CHECK(keeps_window(&b, 10 * RT_NS_PER_MS, 1000));
}

static void test_first_run_may_use_the_whole_burst(void)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 5000);
    CHECK_EQ(spin_budget_rest_ns(&b, 5000 + 2999999), 0);
    CHECK_EQ(spin_budget_rest_ns(&b, 5000 + 3000000), 100000);
}

static void test_sleep_counts_as_long_as_it_was(void)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 0);
    CHECK_EQ(spin_budget_rest_ns(&b, 3000000), 100000);
    spin_budget_slept(&b, 3000000, 3050000);
    CHECK_EQ(b.level_u, (300000 - 45000) * INT64_C(1000000));
    CHECK_EQ(spin_budget_rest_ns(&b, 3050000), 0);
    spin_budget_slept(&b, 3050000, 9000000);
    CHECK_EQ(b.level_u, 0);
}

static void test_time_asleep_is_awake_until_it_starts(void)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 0);
    spin_budget_slept(&b, 1000000, 1000000);
    CHECK_EQ(b.level_u, 100000 * INT64_C(1000000));
}

static void test_clock_going_back_changes_nothing(void)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 1000000);
    spin_budget_run(&b, 2000000);
    int64_t level = b.level_u;
    spin_budget_run(&b, 5);
    spin_budget_slept(&b, 6, 7);
    CHECK_EQ(b.level_u, level);
    CHECK_EQ(b.last_mono_ns, 2000000);
}

static void test_standstill_of_hours_costs_one_short_rest(void)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 0);
    int64_t rest = spin_budget_rest_ns(&b, 100 * 3600 * RT_NS_PER_S);
    CHECK(rest > 100000 && rest <= 1211112 + 1);
    spin_budget_slept(&b, 100 * 3600 * RT_NS_PER_S, INT64_MAX);
    CHECK_EQ(b.level_u, 0);
}

static void test_early_rest_is_only_advised_where_it_fits(void)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 0);
    CHECK_EQ(spin_budget_wants_rest_ns(&b, 1499999, RT_NEVER_NS), 0);
    CHECK_EQ(spin_budget_wants_rest_ns(&b, 1500000, RT_NEVER_NS), 166667);
    CHECK_EQ(spin_budget_wants_rest_ns(&b, 1500000, 1500000 + 120000), 120000);
    CHECK_EQ(spin_budget_wants_rest_ns(&b, 1500000, 1500000 + 99999), 0);
    CHECK_EQ(spin_budget_wants_rest_ns(&b, 1500000, 0), 0);
}

static spin_budget_config_t random_config(uint64_t *state)
{
    spin_budget_config_t c = usual;
    if (rt_test_rand(state) % 2 == 0)
        return c;
    c.limit_permille = 300 + (uint32_t)(rt_test_rand(state) % 690);
    c.window_ns = 1000000 + (int64_t)(rt_test_rand(state) % 20000000);
    int64_t most = c.window_ns * c.limit_permille / 2000;
    c.burst_ns = 1 + (int64_t)(rt_test_rand(state) % (uint64_t)most);
    c.rest_ns = 1 + (int64_t)(rt_test_rand(state) % (uint64_t)c.burst_ns);
    c.lag_ns = 300000 + (int64_t)(rt_test_rand(state) % 10000000); /* the longest loop, or more */
    return c;
}

/* Random loops and sleeps, sleeps that end too late or too early, rests taken early or not. */
static void check_random_workload(uint64_t *state)
{
    spin_budget_config_t config = random_config(state);
    spin_budget_t b;
    spin_budget_init(&b, &config, 0);
    uint64_t longest_loop = 100 + rt_test_rand(state) % 300000;
    bool eager = rt_test_rand(state) % 2 == 0;
    uint64_t sleepy = 1 + rt_test_rand(state) % 50;
    int64_t lag = 0;
    int64_t now = 0;
    history.count = 0;
    while (history.count < 600 && now < 200 * RT_NS_PER_MS) {
        int64_t loop = 1 + (int64_t)(rt_test_rand(state) % longest_loop);
        note_busy(now, now + loop);
        now += loop;
        int64_t rest = spin_budget_rest_ns(&b, now);
        int64_t bound = config.rest_ns + (loop * (1000000 - b.rate_ppm)) / b.rate_ppm + 1;
        REQUIRE(rest == 0 || (rest >= config.rest_ns && rest <= bound));
        int64_t asleep = rest;
        if (rest > 0) {
            lag = loop > lag ? loop : lag;
            asleep += (int64_t)(rt_test_rand(state) % 100000);
        } else if (eager) {
            int64_t free_ns = (int64_t)(rt_test_rand(state) % 1000000);
            asleep = rt_test_rand(state) % 2 == 0
                         ? spin_budget_wants_rest_ns(&b, now, now + free_ns)
                         : spin_budget_rest_before_ns(&b, now, now + free_ns, free_ns / 4, 0);
            REQUIRE(asleep >= 0 && asleep <= free_ns);
        }
        if (asleep == 0 && rt_test_rand(state) % 100 < sleepy)
            asleep = (int64_t)(rt_test_rand(state) % 400000);
        if (asleep > 0)
            spin_budget_slept(&b, now, now + asleep);
        now += asleep;
    }
    CHECK(keeps_bucket(&b, lag));
    CHECK(keeps_window(&b, config.window_ns, lag));
    CHECK(keeps_window(&b, 3 * config.window_ns + 12345, lag));
}

static void test_a_long_hole_is_not_followed_by_a_long_rest(void)
{
    spin_budget_t b;
    spin_budget_config_t config = usual;
    config.window_ns = RT_NS_PER_S;
    config.lag_ns = RT_NS_PER_MS;
    spin_budget_init(&b, &config, 0);
    int64_t rest = spin_budget_rest_ns(&b, 100 * RT_NS_PER_MS);
    CHECK(rest >= 100000 && rest <= 100000 + 80000);
}

/* The account is 0.1 a ns and 300 us deep: half of it after 1.5 ms, three quarters after 2.25. */
static void test_the_gap_that_a_rest_asks_for_shrinks(void)
{
    static const struct {
        int64_t now;
        int64_t asks;
    } steps[] = {
        {1500000, 50000}, {2000000, 50000}, {2250000, 50000}, {2625000, 25000}, {2925000, 5000}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        spin_budget_t b;
        spin_budget_init(&b, &usual, 0);
        int64_t now = steps[i].now;
        int64_t most = steps[i].asks + 2;
        CHECK_EQ(spin_budget_rest_before_ns(&b, now, now + steps[i].asks - 2, 10000, 40000), 0);
        CHECK_EQ(spin_budget_rest_before_ns(&b, now, now + most, 10000, 40000),
                 most > 50000 ? most - 40000 : 10000);
    }
}

static void test_a_rest_before_a_deadline_takes_what_is_there(void)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 0);
    CHECK_EQ(spin_budget_rest_before_ns(&b, 1499999, RT_NEVER_NS, 10000, 40000), 0);
    CHECK_EQ(spin_budget_rest_before_ns(&b, 1500000, 1500000 + 100000, 10000, 40000), 60000);
    CHECK_EQ(spin_budget_rest_before_ns(&b, 1500000, RT_NEVER_NS, 10000, 40000), 166667);
    CHECK_EQ(spin_budget_rest_before_ns(&b, 1500000, 1500000, 10000, 40000), 0);
    CHECK_EQ(spin_budget_rest_before_ns(&b, 4000000, 0, 10000, 40000), 0);
    CHECK_EQ(spin_budget_rest_before_ns(&b, 4000000, 4000001, 10000, 40000), 10000);
}

static void test_guarantee_holds_for_random_workloads(void)
{
    for (uint64_t round = 0; round < rt_test_env_u64("RT_TEST_ROUNDS", 60); round++) {
        uint64_t state = seed + round;
        int before = atomic_load(&rt_test_failure_count);
        check_random_workload(&state);
        if (atomic_load(&rt_test_failure_count) != before) {
            printf("failed with RT_TEST_SEED=%" PRIu64 "\n", seed + round);
            return;
        }
    }
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_never_sleeping_worker_rests_little_and_often);
    RUN(test_first_run_may_use_the_whole_burst);
    RUN(test_sleep_counts_as_long_as_it_was);
    RUN(test_time_asleep_is_awake_until_it_starts);
    RUN(test_clock_going_back_changes_nothing);
    RUN(test_standstill_of_hours_costs_one_short_rest);
    RUN(test_early_rest_is_only_advised_where_it_fits);
    RUN(test_a_long_hole_is_not_followed_by_a_long_rest);
    RUN(test_the_gap_that_a_rest_asks_for_shrinks);
    RUN(test_a_rest_before_a_deadline_takes_what_is_there);
    RUN(test_guarantee_holds_for_random_workloads);
    return rt_test_result();
}
