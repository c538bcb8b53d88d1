/* clock_map.h: converts kernel timestamps (CLOCK_REALTIME) to MONOTONIC or TAI.
 *
 * Linux slews REALTIME and MONOTONIC together: their difference D is constant, to the nanosecond,
 * until REALTIME is stepped (settimeofday, a leap second). So D is not averaged but bounded:
 *
 *     m0 = mono,  r = real,  m1 = mono      =>      r - m1 <= D <= r - m0
 *
 * Each such interval is intersected with the known one, and the middle of the result is used.
 * If the intersection is empty, REALTIME was stepped: start again with the newest interval.
 * TAI - REALTIME is the kernel's integer number of seconds and need not be measured.
 *
 * One thread. No system calls but vdso clock reads, except where stated.
 */
#ifndef CLOCK_MAP_H
#define CLOCK_MAP_H

#include "base/rt_clock.h"

#include <stdint.h>

#define CLOCK_MAP_REFRESH_NS (100 * RT_NS_PER_MS)

typedef struct clock_map {
    rt_clock_id_t target;
    int64_t offset_ns; /* CLOCK_REALTIME - target */
    int64_t low_ns;    /* bounds of offset_ns */
    int64_t high_ns;
    int64_t next_refresh_mono_ns;
} clock_map_t;

/* Measures with a few dozen pairs (about 2 us). Returns 0; -EINVAL when target is TAI and the
 * kernel's TAI offset is 0 (not set: times would be REALTIME's, 37 s off), or an unknown
 * clock; text set. */
int clock_map_init(clock_map_t *map, rt_clock_id_t target);

/* Call it from the worker's loop, with its now. It acts at most once every
 * CLOCK_MAP_REFRESH_NS. For TAI it calls adjtimex. Returns 1 if a
 * step was detected, otherwise 0. */
int clock_map_refresh(clock_map_t *map, int64_t now_mono_ns);

/* Measures one pair (about 60 ns), so that a step is detected before the timestamps after it are
 * converted. Does nothing for TAI. Returns 1 when a step was detected, otherwise 0. */
int clock_map_check(clock_map_t *map);

/* The arithmetic of one pair. Pure. Returns 1 when it contradicts the known bounds: a step. */
int clock_map_bounds(clock_map_t *map, int64_t low_ns, int64_t high_ns);

static inline int64_t clock_map_from_real(const clock_map_t *map, int64_t real_ns)
{
    return real_ns - map->offset_ns;
}

/* Now, in the given clock. */
int64_t clock_now_ns(rt_clock_id_t clock);

#endif
