#include "client/alarm.h"

#include "base/rt_atomic.h"
#include "base/rt_clock.h"
#include "base/rt_err.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>

#define RESERVE_NS (5 * RT_NS_PER_US)

static struct timespec as_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / RT_NS_PER_S, .tv_nsec = ns % RT_NS_PER_S};
}

int alarm_open(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return fd >= 0 ? fd : rt_err_set(-errno, "timerfd_create: no timer can be made");
}

int alarm_set(int fd, int64_t at_mono_ns)
{
    const struct itimerspec at = {.it_value = as_timespec(at_mono_ns > 0 ? at_mono_ns : 0)};
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) < 0 ? -errno : 0;
}

int64_t alarm_spin(int64_t until_mono_ns)
{
    int64_t now = rt_mono_ns();
    int64_t end = now + ALARM_MOST_EARLY_NS;
    while (now < until_mono_ns && now < end) {
        rt_cpu_relax();
        now = rt_mono_ns();
    }
    return now;
}

int64_t alarm_sleep(int64_t until_mono_ns)
{
    const struct timespec until = as_timespec(until_mono_ns > 0 ? until_mono_ns : 0);
    int slack_ns = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0); /* 50 us of a usual thread */
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    if (slack_ns > 0)
        (void)prctl(PR_SET_TIMERSLACK, slack_ns, 0, 0, 0);
    return rt_mono_ns();
}

int64_t alarm_early_ns(int64_t early_ns, int64_t took_ns)
{
    int64_t wanted = took_ns + RESERVE_NS;
    wanted = wanted < ALARM_MOST_EARLY_NS ? wanted : ALARM_MOST_EARLY_NS;
    return early_ns + (wanted - early_ns) / (wanted > early_ns ? 4 : 64);
}
