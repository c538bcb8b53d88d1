/* rt_hist.h: log-linear histogram of durations, 1 ns to 100 s, error at most 1.6 %.
 *
 *   value      0 .. 63          one bucket each
 *   octave k   2^k .. 2^(k+1)   32 buckets of 2^(k-5), for k = 6 .. 36
 *
 * The middle of a bucket is within half its width of every value in it: 2^(k-5) / 2 / 2^k = 1/64.
 * Values below 0 count as 0, values at or above 2^37 ns (137 s) go to the last bucket.
 *
 * One writer (the worker that owns the channel); readers in other processes see no torn
 * bucket, but not all buckets at one instant. The struct is in shared memory.
 */
#ifndef RT_HIST_H
#define RT_HIST_H

#include "base/rt_atomic.h"

#define RT_HIST_LINEAR 64
#define RT_HIST_PER_OCTAVE 32
#define RT_HIST_FIRST_OCTAVE 6
#define RT_HIST_LAST_OCTAVE 36
#define RT_HIST_BUCKETS \
    (RT_HIST_LINEAR + RT_HIST_PER_OCTAVE * (RT_HIST_LAST_OCTAVE - RT_HIST_FIRST_OCTAVE + 1))

typedef struct rt_hist {
    rt_a64_t count;
    rt_a64_t sum_ns; /* of the values as given, negative ones as 0 */
    rt_a64_t min_ns; /* meaningful while count > 0 */
    rt_a64_t max_ns;
    rt_a64_t buckets[RT_HIST_BUCKETS];
} rt_hist_t;

/* Bucket that a value of ns falls into, 0 .. RT_HIST_BUCKETS - 1. */
static inline unsigned rt_hist_index(int64_t ns)
{
    if (ns < RT_HIST_LINEAR)
        return ns < 0 ? 0 : (unsigned)ns;
    unsigned octave = 63u - (unsigned)__builtin_clzll((unsigned long long)ns);
    if (octave > RT_HIST_LAST_OCTAVE)
        return RT_HIST_BUCKETS - 1;
    unsigned step = (unsigned)((uint64_t)ns >> (octave - 5)) - RT_HIST_PER_OCTAVE;
    return RT_HIST_LINEAR + (octave - RT_HIST_FIRST_OCTAVE) * RT_HIST_PER_OCTAVE + step;
}

/* Writer only. */
static inline void rt_hist_add(rt_hist_t *h, int64_t ns)
{
    uint64_t v = ns < 0 ? 0 : (uint64_t)ns;
    uint64_t n = rt_load_relaxed(&h->count);
    if (n == 0 || v < rt_load_relaxed(&h->min_ns))
        rt_store_relaxed(&h->min_ns, v);
    if (v > rt_load_relaxed(&h->max_ns))
        rt_store_relaxed(&h->max_ns, v);
    rt_bump(&h->sum_ns, v);
    rt_bump(&h->buckets[rt_hist_index(ns)], 1);
    rt_store_relaxed(&h->count, n + 1);
}

/* Writer only: back to empty. */
void rt_hist_reset(rt_hist_t *h);

/* Lowest value of a bucket, in ns; bucket = RT_HIST_BUCKETS gives the end of the last one. */
int64_t rt_hist_lower_ns(unsigned bucket);

/* The value below which the share q (0 .. 1) of the entries is: the middle of its bucket, but
 * never outside [min, max]. 0 for an empty histogram. Any thread. */
int64_t rt_hist_quantile_ns(const rt_hist_t *h, double q);

#endif
