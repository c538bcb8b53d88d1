#include "base/rt_clock.h"
#include "base/rt_hist.h"
#include "rt_test.h"

#include <math.h>

static rt_hist_t hist;

/* 1 ns to 100 s in steps of 0.7 %: every bucket of the range and values near both of its ends. */
static void test_every_value_lies_in_its_bucket(void)
{
    for (double v = 1.0; v <= 100e9; v = v * 1.007 + 0.3) {
        int64_t ns = (int64_t)v;
        unsigned bucket = rt_hist_index(ns);
        REQUIRE(bucket < RT_HIST_BUCKETS);
        CHECK(rt_hist_lower_ns(bucket) <= ns);
        CHECK(ns < rt_hist_lower_ns(bucket + 1));
    }
}

static void test_buckets_follow_each_other(void)
{
    for (unsigned i = 0; i < RT_HIST_BUCKETS; i++) {
        CHECK(rt_hist_lower_ns(i) < rt_hist_lower_ns(i + 1));
        CHECK_EQ(rt_hist_index(rt_hist_lower_ns(i)), i);
        CHECK_EQ(rt_hist_index(rt_hist_lower_ns(i + 1) - 1), i);
    }
}

static void test_values_outside_go_to_the_ends(void)
{
    CHECK_EQ(rt_hist_index(-1), 0);
    CHECK_EQ(rt_hist_index(INT64_MIN), 0);
    CHECK_EQ(rt_hist_index(INT64_C(1) << 37), RT_HIST_BUCKETS - 1);
    CHECK_EQ(rt_hist_index(INT64_MAX), RT_HIST_BUCKETS - 1);
    CHECK(rt_hist_lower_ns(RT_HIST_BUCKETS) > 100 * RT_NS_PER_S);
}

/* One value, three times with neighbours so that [min, max] does not help: at most 1.6 % off. */
static void test_quantile_error_is_small(void)
{
    for (double v = 1.0; v <= 90e9; v = v * 1.013 + 0.3) {
        int64_t ns = (int64_t)v;
        rt_hist_reset(&hist);
        rt_hist_add(&hist, 0);
        for (int i = 0; i < 8; i++)
            rt_hist_add(&hist, ns);
        rt_hist_add(&hist, 100 * RT_NS_PER_S);
        int64_t got = rt_hist_quantile_ns(&hist, 0.5);
        double error = (double)(got > ns ? got - ns : ns - got) / (double)ns;
        if (!CHECK(error <= 0.016)) {
            (void)fprintf(stderr, "  %" PRId64 " came back as %" PRId64 "\n", ns, got);
            return;
        }
    }
}

static void test_quantiles_of_a_ramp(void)
{
    rt_hist_reset(&hist);
    for (int64_t ns = 1; ns <= 100000; ns++)
        rt_hist_add(&hist, ns);
    static const double shares[] = {0.01, 0.25, 0.5, 0.9, 0.99, 0.999};
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        double expected = shares[i] * 100000;
        double got = (double)rt_hist_quantile_ns(&hist, shares[i]);
        CHECK(got >= expected * 0.97 && got <= expected * 1.03);
    }
    CHECK_EQ(rt_hist_quantile_ns(&hist, 0.0), 1);
    CHECK(rt_hist_quantile_ns(&hist, 1.0) <= 100000);
    CHECK(rt_hist_quantile_ns(&hist, 1.0) >= 97000);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Values spread evenly over the decades, as latencies are; each alone, then their quantiles against
 * the sorted list. 3 % is what is promised to users. */
static void test_random_values_against_an_exact_computation(void)
{
    enum { VALUES = 100000 };
    static int64_t values[VALUES];
    uint64_t state = rt_test_env_u64("RT_TEST_SEED", 1);
    rt_hist_reset(&hist);
    for (int i = 0; i < VALUES; i++) {
        double share = (double)(rt_test_rand(&state) >> 11) / 9007199254740992.0;
        values[i] = (int64_t)pow(10.0, share * 11.0); /* 1 ns .. 100 s */
        rt_hist_add(&hist, values[i]);
        unsigned bucket = rt_hist_index(values[i]);
        int64_t low = rt_hist_lower_ns(bucket), high = rt_hist_lower_ns(bucket + 1) - 1;
        REQUIRE(low <= values[i] && values[i] <= high);
        double middle = ((double)low + (double)high) / 2.0;
        REQUIRE(fabs(middle - (double)values[i]) <= 0.03 * (double)values[i]);
    }
    qsort(values, VALUES, sizeof values[0], by_value);
    for (int i = 1; i <= 999; i++) {
        int64_t exact = values[(VALUES * (int64_t)i + 999) / 1000 - 1];
        int64_t got = rt_hist_quantile_ns(&hist, i / 1000.0);
        if (!CHECK(llabs(got - exact) <= exact * 3 / 100))
            (void)fprintf(stderr, "  quantile %d/1000: %" PRId64 " for %" PRId64 "\n", i, got, exact);
    }
    CHECK_EQ(rt_load_relaxed(&hist.count), VALUES);
    CHECK_EQ(rt_load_relaxed(&hist.min_ns), values[0]);
    CHECK_EQ(rt_load_relaxed(&hist.max_ns), values[VALUES - 1]);
}

static void test_counts_sum_and_extremes(void)
{
    rt_hist_reset(&hist);
    CHECK_EQ(rt_hist_quantile_ns(&hist, 0.5), 0);
    rt_hist_add(&hist, 70);
    rt_hist_add(&hist, -5);
    rt_hist_add(&hist, 1000);
    CHECK_EQ(rt_load_relaxed(&hist.count), 3);
    CHECK_EQ(rt_load_relaxed(&hist.sum_ns), 1070);
    CHECK_EQ(rt_load_relaxed(&hist.min_ns), 0);
    CHECK_EQ(rt_load_relaxed(&hist.max_ns), 1000);
    rt_hist_reset(&hist);
    CHECK_EQ(rt_load_relaxed(&hist.count), 0);
    rt_hist_add(&hist, 9);
    CHECK_EQ(rt_load_relaxed(&hist.min_ns), 9);
    CHECK_EQ(rt_hist_quantile_ns(&hist, 0.5), 9);
}

static void test_quantile_stays_between_the_extremes(void)
{
    rt_hist_reset(&hist);
    for (int i = 0; i < 5; i++)
        rt_hist_add(&hist, 1000003);
    for (double q = 0.0; q <= 1.0; q += 0.125)
        CHECK_EQ(rt_hist_quantile_ns(&hist, q), 1000003);
}

int main(void)
{
    RUN(test_every_value_lies_in_its_bucket);
    RUN(test_buckets_follow_each_other);
    RUN(test_values_outside_go_to_the_ends);
    RUN(test_quantile_error_is_small);
    RUN(test_quantiles_of_a_ramp);
    RUN(test_random_values_against_an_exact_computation);
    RUN(test_counts_sum_and_extremes);
    RUN(test_quantile_stays_between_the_extremes);
    return rt_test_result();
}
