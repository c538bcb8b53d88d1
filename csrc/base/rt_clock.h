/* rt_clock.h: the only place that reads a clock for the product's own code. All values are
 * signed nanoseconds; INT64_MAX stands for "never". Any thread. */
#ifndef RT_CLOCK_H
#define RT_CLOCK_H

#include "rows/clock.h"

#include <stdbool.h>
#include <stdint.h>

#define RT_NS_PER_S INT64_C(1000000000)
#define RT_NS_PER_MS INT64_C(1000000)
#define RT_NS_PER_US INT64_C(1000)
#define RT_NEVER_NS INT64_MAX

int64_t rt_mono_ns(void);

/* The monotonic clock as of the kernel's last tick: up to 10 ms old, and cheap. See rt_tick.h. */
int64_t rt_mono_coarse_ns(void);
int64_t rt_real_ns(void);

/* Meaningful only while the kernel knows the TAI offset: see rt_tai_offset_s. */
int64_t rt_tai_ns(void);

/* The kernel's TAI - UTC offset in seconds; 0 means that no program (ptp4l, chrony) has set it and
 * that CLOCK_TAI equals CLOCK_REALTIME, which is why channels refuse TAI then. */
int rt_tai_offset_s(void);

/* What the kernel knows about its own time of day. */
typedef struct rt_clock_state {
    bool synchronised;    /* a program (ptp4l/phc2sys, chrony, ntpd) disciplines it */
    int tai_offset_s;     /* see rt_tai_offset_s */
    int64_t max_error_ns; /* as reported by that program; grows without reports */
} rt_clock_state_t;

/* Cold. Returns 0 or -errno. */
int rt_clock_state(rt_clock_state_t *state);

/* Cold. Length of the kernel's tick: 1 to 10 ms. */
int64_t rt_clock_tick_ns(void);

/* CPU time that this thread has used, for the share of a core that a worker takes. */
int64_t rt_thread_cpu_ns(void);

#endif
