/* rt_tick.h: CLOCK_MONOTONIC for "when did this last happen", used so often that reading the clock
 * (20 to 30 ns) would cost more than the work itself.
 *
 * Each call reads the kernel's tick (5 ns), and the clock itself only when the tick has moved. So
 * the answer is exact for the first event of a tick (1 to 10 ms), and the others get its time. It
 * never goes back. One thread. */
#ifndef RT_TICK_H
#define RT_TICK_H

#include "base/rt_clock.h"

typedef struct rt_tick {
    int64_t coarse_ns; /* the tick that exact_ns was read in */
    int64_t exact_ns;
} rt_tick_t;

static inline void rt_tick_init(rt_tick_t *t)
{
    t->coarse_ns = -1;
    t->exact_ns = 0;
}

static inline int64_t rt_tick_mono_ns(rt_tick_t *t)
{
    int64_t coarse_ns = rt_mono_coarse_ns();
    if (coarse_ns != t->coarse_ns) {
        t->coarse_ns = coarse_ns;
        t->exact_ns = rt_mono_ns();
    }
    return t->exact_ns;
}

#endif
