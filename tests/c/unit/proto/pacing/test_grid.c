#include "proto/pacing/grid.h"

#include "rt_test.h"

static void test_punctual_service_moves_by_one_period(void)
{
    grid_t g = {.period_ns = 1000, .due_ns = 5000};
    CHECK_EQ(grid_serve(&g, 5000), 0);
    CHECK_EQ(g.due_ns, 6000);
    CHECK_EQ(grid_serve(&g, 6999), 0);
    CHECK_EQ(g.due_ns, 7000);
}

static void test_lateness_does_not_add_up(void)
{
    grid_t g = {.period_ns = 1000, .due_ns = 0};
    for (int64_t k = 0; k < 1000000; k++)
        (void)grid_serve(&g, g.due_ns + k % 1000);
    CHECK_EQ(g.due_ns, 1000000000);
}

static void test_what_passed_is_skipped(void)
{
    grid_t g = {.period_ns = 1000, .due_ns = 0};
    CHECK_EQ(grid_serve(&g, 999), 0);
    CHECK_EQ(grid_serve(&g, 2000), 1);
    CHECK_EQ(g.due_ns, 3000);
    CHECK_EQ(grid_serve(&g, 10500), 7);
    CHECK_EQ(g.due_ns, 11000);
}

static void test_skipping_never_goes_back(void)
{
    grid_t g = {.period_ns = 1000, .due_ns = 5000};
    CHECK_EQ(grid_skip_to(&g, 4000), 0);
    CHECK_EQ(g.due_ns, 5000);
    CHECK_EQ(grid_skip_to(&g, 5000), 0);
    CHECK_EQ(grid_skip_to(&g, 5001), 1);
    CHECK_EQ(g.due_ns, 6000);
    CHECK_EQ(grid_skip_to(&g, 8000), 2);
    CHECK_EQ(g.due_ns, 8000);
}

/* Whatever the stalls: sends in any span <= span / period + 2, one in each cell, all cells counted.
 */
static void test_random_stalls_never_burst(void)
{
    enum { SENDS = 20000 };
    static int64_t sent_ns[SENDS];
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    grid_t g = {.period_ns = 1000, .due_ns = 0};
    uint64_t skipped = 0;
    int64_t now_ns = 0;
    for (int i = 0; i < SENDS; i++) {
        uint64_t r = rt_test_rand(&random);
        now_ns = (now_ns > g.due_ns ? now_ns : g.due_ns) + (int64_t)(r % 700);
        if (r >> 32 & 1)
            now_ns += (int64_t)(r >> 33) % 20000;
        sent_ns[i] = now_ns;
        skipped += grid_serve(&g, now_ns);
        CHECK(g.due_ns > now_ns && g.due_ns <= now_ns + 1000);
        CHECK_EQ((uint64_t)(g.due_ns / 1000), skipped + (uint64_t)i + 1);
    }
    for (int i = 0, from = 0; i < SENDS; i++) {
        while (sent_ns[i] - sent_ns[from] > 5000)
            from++;
        CHECK(i - from + 1 <= 5 + 2);
    }
}

int main(void)
{
    RUN(test_punctual_service_moves_by_one_period);
    RUN(test_lateness_does_not_add_up);
    RUN(test_what_passed_is_skipped);
    RUN(test_skipping_never_goes_back);
    RUN(test_random_stalls_never_burst);
    return rt_test_result();
}
