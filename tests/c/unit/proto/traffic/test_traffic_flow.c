#include "proto/traffic/traffic_flow.h"

#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>
#include <math.h>

#define S RT_NS_PER_S
#define MS RT_NS_PER_MS
#define PPS TRAFFIC_UPPS

static traffic_flow_t flow;

static void begin(traffic_flow_config_t config)
{
    if (config.rate.phase_count == 0)
        config.rate = (traffic_rate_t){.phases = {{S, 1000 * PPS, 1000 * PPS}}, .phase_count = 1};
    if (config.sizes.size_count == 0)
        config.sizes = (traffic_sizes_t){.sizes = {{200, 200, 1}}, .size_count = 1};
    if (config.burst == 0)
        config.burst = 1;
    config.lane = DUE_LANE_IPV4;
    memset(&flow, 0, sizeof flow);
    flow.config = config;
    CHECK_EQ(traffic_flow_check(&flow.config), 0);
    traffic_flow_init(&flow);
}

/* When the next packet is due. */
static int64_t next_ns(void)
{
    int64_t due_ns = flow.next_ns;
    if (due_ns != RT_NEVER_NS)
        traffic_flow_next(&flow);
    return due_ns;
}

static uint64_t rest(void)
{
    while (flow.next_ns != RT_NEVER_NS)
        traffic_flow_next(&flow);
    return flow.planned;
}

static void test_a_flow_begins_and_ends(void)
{
    begin((traffic_flow_config_t){.begin_ns = 5 * S, .duration_ns = S});
    CHECK_EQ(flow.next_ns, 5 * S);
    CHECK_EQ(rest(), 1000);
    CHECK_EQ(flow.planned_bytes, 200000);
    begin((traffic_flow_config_t){.count = 17});
    CHECK_EQ(rest(), 17);
    begin((traffic_flow_config_t){.count = 17, .duration_ns = 10 * MS});
    CHECK_EQ(rest(), 10);
}

static void test_bursts(void)
{
    begin((traffic_flow_config_t){.burst = 10, .duration_ns = S});
    for (int i = 0; i < 20; i++)
        CHECK_EQ(next_ns(), i / 10 * 10 * MS);
    CHECK_EQ(rest(), 1000);
    begin((traffic_flow_config_t){.burst = 10, .spacing_ns = 1000, .duration_ns = S});
    for (int i = 0; i < 20; i++)
        CHECK_EQ(next_ns(), i / 10 * 10 * MS + i % 10 * 1000);
    CHECK_EQ(rest(), 1000);
}

static void test_bursts_of_a_poisson_process_do_not_overlap(void)
{
    begin((traffic_flow_config_t){
        .burst = 10, .spacing_ns = 900000, .poisson = true, .duration_ns = 10 * S, .seed = 4});
    int64_t before_ns = 0;
    for (int64_t due_ns = next_ns(); due_ns != RT_NEVER_NS; due_ns = next_ns()) {
        CHECK(due_ns >= before_ns);
        before_ns = due_ns;
    }
}

/* Kolmogorov and Smirnov: the gaps are exponentially distributed. */
static void test_poisson_gaps_are_exponential(void)
{
    enum { N = 20000, BINS = 1000 };
    static uint32_t bins[BINS];
    begin((traffic_flow_config_t){.poisson = true, .seed = 1});
    int64_t before_ns = 0;
    for (int i = 0; i < N; i++) {
        int64_t due_ns = next_ns();
        double share = 1 - exp(-(double)(due_ns - before_ns) / (double)MS);
        bins[(unsigned)(share * BINS)]++;
        before_ns = due_ns;
    }
    double farthest = 0, below = 0;
    for (int i = 0; i < BINS; i++) {
        below += bins[i];
        farthest = fmax(farthest, fabs(below / N - (i + 1.0) / BINS));
    }
    CHECK(farthest < 1.95 / sqrt(N)); /* p = 0.001 */
}

/* In 10 000 windows of 5 ms there are 5 packets each: as many of each count as Poisson says. */
static void test_poisson_counts(void)
{
    enum { WINDOWS = 10000, MOST = 14 };
    static uint32_t in_window[WINDOWS];
    begin((traffic_flow_config_t){.poisson = true, .duration_ns = WINDOWS * 5 * MS, .seed = 2});
    for (int64_t due_ns = next_ns(); due_ns != RT_NEVER_NS; due_ns = next_ns())
        in_window[due_ns / (5 * MS)]++;
    double seen[MOST] = {0};
    for (int i = 0; i < WINDOWS; i++)
        seen[in_window[i] < MOST ? in_window[i] : MOST - 1]++;
    double chi2 = 0, share = exp(-5), left = 1;
    for (int k = 0; k < MOST; k++) {
        double expected = (k < MOST - 1 ? share : left) * WINDOWS;
        chi2 += (seen[k] - expected) * (seen[k] - expected) / expected;
        left -= share;
        share *= 5.0 / (k + 1);
    }
    CHECK(chi2 < 34.5); /* 13 degrees of freedom, p = 0.001 */
}

static void test_a_poisson_process_follows_a_ramp(void)
{
    traffic_rate_t up = {.phases = {{100 * S, 0, 2000 * PPS}}, .phase_count = 1};
    begin((traffic_flow_config_t){.rate = up, .poisson = true, .duration_ns = 100 * S, .seed = 3});
    uint64_t first_half = 0;
    for (int64_t due_ns = next_ns(); due_ns != RT_NEVER_NS; due_ns = next_ns())
        first_half += due_ns < 50 * S;
    CHECK(first_half > 25000 - 500 && first_half < 25000 + 500); /* 3 sigma */
    CHECK(flow.planned > 100000 - 1000 && flow.planned < 100000 + 1000);
}

static void test_the_seed_decides(void)
{
    traffic_flow_config_t config = {.poisson = true, .seed = 7};
    int64_t first_ns[100];
    begin(config);
    for (int i = 0; i < 100; i++)
        first_ns[i] = next_ns();
    begin(config);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(next_ns(), first_ns[i]);
    config.seed = 8;
    begin(config);
    CHECK(next_ns() != first_ns[0]);
}

static void refuses(traffic_flow_config_t change, const char *text)
{
    begin((traffic_flow_config_t){0});
    traffic_flow_config_t c = flow.config;
    c.burst = change.burst;
    c.spacing_ns = change.spacing_ns;
    c.begin_ns = change.begin_ns;
    c.duration_ns = change.duration_ns;
    c.lane = change.lane;
    CHECK_EQ(traffic_flow_check(&c), -EINVAL);
    CHECK(strstr(rt_err_text(), text) != NULL);
}

static void test_what_is_refused(void)
{
    refuses((traffic_flow_config_t){.burst = 0}, "burst is 0 packets");
    refuses((traffic_flow_config_t){.burst = 65537}, "burst is 65537 packets");
    refuses((traffic_flow_config_t){.burst = 2, .spacing_ns = -1}, "spacing of the packets");
    refuses((traffic_flow_config_t){.burst = 2, .spacing_ns = INT64_MAX}, "spacing of the packets");
    refuses((traffic_flow_config_t){.burst = 2, .spacing_ns = MS + 1},
            "it must be at most 1000000 ns at 1000 packets a second");
    refuses((traffic_flow_config_t){.burst = 1, .begin_ns = -1}, "the begin of a flow is -1e-09 s");
    refuses((traffic_flow_config_t){.burst = 1, .duration_ns = INT64_MAX}, "the duration");
    refuses((traffic_flow_config_t){.burst = 1, .lane = 3}, "lane 3");
}

int main(void)
{
    RUN(test_a_flow_begins_and_ends);
    RUN(test_bursts);
    RUN(test_bursts_of_a_poisson_process_do_not_overlap);
    RUN(test_poisson_gaps_are_exponential);
    RUN(test_poisson_counts);
    RUN(test_a_poisson_process_follows_a_ramp);
    RUN(test_the_seed_decides);
    RUN(test_what_is_refused);
    return rt_test_result();
}
