#include "base/rt_clock.h"

#include "base/rt_atomic.h"

#include <errno.h>
#include <sys/timex.h>
#include <time.h>

static int64_t read_clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * RT_NS_PER_S + ts.tv_nsec;
}

int64_t rt_mono_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

int64_t rt_mono_coarse_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC_COARSE);
}

int64_t rt_real_ns(void)
{
    return read_clock_ns(CLOCK_REALTIME);
}

int64_t rt_tai_ns(void)
{
    return read_clock_ns(CLOCK_TAI);
}

int rt_tai_offset_s(void)
{
    struct timex tx = {.modes = 0};
    return adjtimex(&tx) < 0 ? 0 : (int)tx.tai;
}

int rt_clock_state(rt_clock_state_t *state)
{
    struct timex tx = {.modes = 0};
    if (adjtimex(&tx) < 0)
        return -errno;
    *state = (rt_clock_state_t){
        .synchronised = (tx.status & STA_UNSYNC) == 0,
        .tai_offset_s = (int)tx.tai,
        .max_error_ns = tx.maxerror * RT_NS_PER_US,
    };
    return 0;
}

int64_t rt_clock_tick_ns(void)
{
    struct timespec ts;
    clock_getres(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * RT_NS_PER_S + ts.tv_nsec;
}

int64_t rt_thread_cpu_ns(void)
{
    return read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "32-bit atomics must need no lock: they cross processes");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2,
               "64-bit atomics must need no lock: they cross processes");
