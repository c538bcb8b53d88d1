#include "base/rt_atomic.h"
#include "base/rt_clock.h"
#include "base/rt_tick.h"
#include "rt_test.h"

#include <time.h>
#include <unistd.h>

enum { LOOKS = 20000 };

/* The slowest tick of a kernel (100 Hz), and as much again for being late. */
#define TICK_NS (20 * RT_NS_PER_MS)

static int64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    CHECK_EQ(clock_gettime(id, &ts), 0);
    return (int64_t)ts.tv_sec * RT_NS_PER_S + ts.tv_nsec;
}

/* Read between two looks at the system's clock it must lie between them. */
static void check_between(int64_t (*read_ns)(void), clockid_t id)
{
    int64_t before = clock_ns(id);
    int64_t got = read_ns();
    int64_t after = clock_ns(id);
    CHECK(before <= got && got <= after);
}

static void test_each_reads_the_clock_it_is_named_after(void)
{
    check_between(rt_mono_ns, CLOCK_MONOTONIC);
    check_between(rt_mono_coarse_ns, CLOCK_MONOTONIC_COARSE);
    check_between(rt_real_ns, CLOCK_REALTIME);
    check_between(rt_tai_ns, CLOCK_TAI);
    check_between(rt_thread_cpu_ns, CLOCK_THREAD_CPUTIME_ID);
}

static void test_the_monotonic_clock_never_goes_back(void)
{
    int64_t last = rt_mono_ns(), first = last;
    for (int i = 0; i < LOOKS; i++) {
        int64_t now = rt_mono_ns();
        CHECK(now >= last);
        last = now;
    }
    CHECK(last > first);
}

static void test_the_coarse_clock_follows_the_fine_one(void)
{
    for (int i = 0; i < LOOKS; i++) {
        int64_t coarse = rt_mono_coarse_ns();
        CHECK(coarse <= rt_mono_ns());
    }
    int64_t least_behind = RT_NS_PER_S; /* a tick may come late on a busy machine; not every one */
    for (int i = 0; i < 10; i++) {
        int64_t behind = rt_mono_ns() - rt_mono_coarse_ns();
        least_behind = behind < least_behind ? behind : least_behind;
        usleep(2000);
    }
    CHECK(least_behind < TICK_NS);
}

static void test_tai_is_ahead_of_utc_by_what_the_kernel_says(void)
{
    int64_t offset = rt_tai_offset_s() * RT_NS_PER_S;
    CHECK(offset >= 0);
    int64_t before = rt_real_ns();
    int64_t tai = rt_tai_ns();
    int64_t after = rt_real_ns();
    CHECK(tai - offset >= before && tai - offset <= after);
}

static void test_the_kernel_tells_of_its_own_time(void)
{
    rt_clock_state_t state = {.max_error_ns = -1};
    CHECK_EQ(rt_clock_state(&state), 0);
    CHECK_EQ(state.tai_offset_s, rt_tai_offset_s());
    CHECK(state.max_error_ns >= 0);
    CHECK(rt_clock_tick_ns() >= RT_NS_PER_MS / 2 && rt_clock_tick_ns() <= 10 * RT_NS_PER_MS);
}

static void test_cpu_time_passes_only_while_running(void)
{
    int64_t start = rt_thread_cpu_ns(), wall = rt_mono_ns();
    usleep(30000);
    int64_t slept = rt_thread_cpu_ns() - start;
    CHECK(slept < (rt_mono_ns() - wall) / 2);
    start = rt_thread_cpu_ns();
    while (rt_thread_cpu_ns() - start < RT_NS_PER_MS)
        rt_cpu_relax();
    CHECK(rt_mono_ns() > wall + slept);
}

static void test_a_tick_answers_within_its_tick_and_never_goes_back(void)
{
    rt_tick_t tick;
    rt_tick_init(&tick);
    int64_t last = 0;
    unsigned steps = 0;
    for (int i = 0; i < LOOKS || steps < 3; i++) {
        int64_t got = rt_tick_mono_ns(&tick);
        CHECK(got >= last);
        CHECK(got <= rt_mono_ns());
        CHECK(got >= tick.coarse_ns);
        steps += got != last;
        last = got;
        if (i > LOOKS)
            usleep(1000);
    }
    CHECK(steps < LOOKS); /* it does spare looks at the clock */
}

int main(void)
{
    RUN(test_each_reads_the_clock_it_is_named_after);
    RUN(test_the_monotonic_clock_never_goes_back);
    RUN(test_the_coarse_clock_follows_the_fine_one);
    RUN(test_tai_is_ahead_of_utc_by_what_the_kernel_says);
    RUN(test_the_kernel_tells_of_its_own_time);
    RUN(test_cpu_time_passes_only_while_running);
    RUN(test_a_tick_answers_within_its_tick_and_never_goes_back);
    return rt_test_result();
}
