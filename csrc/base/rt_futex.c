#include "base/rt_futex.h"

#include "base/rt_clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int rt_futex_wait(rt_a32_t *word, uint32_t value, int64_t until_mono_ns)
{
    struct timespec until = {
        .tv_sec = (time_t)(until_mono_ns / RT_NS_PER_S),
        .tv_nsec = (long)(until_mono_ns % RT_NS_PER_S),
    };
    /* WAIT_BITSET rather than WAIT: only it takes an absolute CLOCK_MONOTONIC time. */
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value,
                      until_mono_ns == RT_NEVER_NS ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
    if (rc == 0 || errno == EAGAIN)
        return 0;
    return -errno;
}

int rt_futex_wake_all(rt_a32_t *word)
{
    long rc = syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    return rc < 0 ? 0 : (int)rc;
}
