/* Sleeping until an instant: never before it, and how much earlier to wake. */
#include "rt_test.h"

#include "base/rt_clock.h"
#include "client/alarm.h"

#include <poll.h>
#include <unistd.h>

static void test_a_timer_is_readable_from_its_time_on(void)
{
    int fd = alarm_open();
    REQUIRE(fd >= 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 0), 0);
    int64_t at = rt_mono_ns() + 2 * RT_NS_PER_MS;
    CHECK_EQ(alarm_set(fd, at), 0);
    CHECK_EQ(poll(&p, 1, 10000), 1);
    CHECK(rt_mono_ns() >= at);
    CHECK_EQ(alarm_set(fd, at + 3600 * RT_NS_PER_S), 0);
    CHECK_EQ(poll(&p, 1, 0), 0); /* a new time clears it */
    CHECK_EQ(alarm_set(fd, 1), 0);
    CHECK_EQ(poll(&p, 1, 10000), 1);
    CHECK_EQ(alarm_set(fd, 0), 0);
    CHECK_EQ(poll(&p, 1, 0), 0);
    close(fd);
}

static void test_a_sleep_ends_at_its_time(void)
{
    int64_t at = rt_mono_ns() + 2 * RT_NS_PER_MS;
    CHECK(alarm_sleep(at) >= at);
    CHECK(alarm_sleep(0) > at);
    at = rt_mono_ns() + 50 * RT_NS_PER_US;
    CHECK(alarm_spin(at) >= at);
    at = rt_mono_ns();
    int64_t after = alarm_spin(at + 3600 * RT_NS_PER_S); /* bounded */
    CHECK(after >= at + ALARM_MOST_EARLY_NS && after < at + 3000 * RT_NS_PER_S);
}

static void test_the_estimate_follows_long_wakes_quickly(void)
{
    int64_t early = 0;
    for (int i = 0; i < 40; i++)
        early = alarm_early_ns(early, 60 * RT_NS_PER_US);
    CHECK(early > 60 * RT_NS_PER_US && early <= 65 * RT_NS_PER_US);
    early = alarm_early_ns(early, 10 * RT_NS_PER_US);
    CHECK(early > 60 * RT_NS_PER_US);
    for (int i = 0; i < 2000; i++)
        early = alarm_early_ns(early, 10 * RT_NS_PER_US);
    CHECK(early >= 15 * RT_NS_PER_US && early < 16 * RT_NS_PER_US);
    for (int i = 0; i < 100; i++)
        early = alarm_early_ns(early, 3600 * RT_NS_PER_S);
    CHECK(early <= ALARM_MOST_EARLY_NS);
}

int main(void)
{
    RUN(test_a_timer_is_readable_from_its_time_on);
    RUN(test_a_sleep_ends_at_its_time);
    RUN(test_the_estimate_follows_long_wakes_quickly);
    return rt_test_result();
}
