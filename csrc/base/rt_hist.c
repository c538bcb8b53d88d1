#include "base/rt_hist.h"

#include "base/rt_math.h"

void rt_hist_reset(rt_hist_t *h)
{
    rt_store_relaxed(&h->count, 0);
    rt_store_relaxed(&h->sum_ns, 0);
    rt_store_relaxed(&h->min_ns, 0);
    rt_store_relaxed(&h->max_ns, 0);
    for (unsigned i = 0; i < RT_HIST_BUCKETS; i++)
        rt_store_relaxed(&h->buckets[i], 0);
}

int64_t rt_hist_lower_ns(unsigned bucket)
{
    if (bucket < RT_HIST_LINEAR)
        return (int64_t)bucket;
    unsigned octave = RT_HIST_FIRST_OCTAVE + (bucket - RT_HIST_LINEAR) / RT_HIST_PER_OCTAVE;
    unsigned step = (bucket - RT_HIST_LINEAR) % RT_HIST_PER_OCTAVE;
    return (int64_t)(RT_HIST_PER_OCTAVE + step) << (octave - 5);
}

int64_t rt_hist_quantile_ns(const rt_hist_t *h, double q)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < RT_HIST_BUCKETS; i++)
        total += rt_load_relaxed(&h->buckets[i]);
    if (total == 0)
        return 0;

    double target = q * (double)total;
    uint64_t below = 0;
    unsigned bucket = 0;
    for (; bucket < RT_HIST_BUCKETS - 1; bucket++) {
        below += rt_load_relaxed(&h->buckets[bucket]);
        if ((double)below >= target && below > 0)
            break;
    }
    int64_t width_ns = rt_hist_lower_ns(bucket + 1) - rt_hist_lower_ns(bucket);
    int64_t middle_ns = rt_hist_lower_ns(bucket) + (width_ns - 1) / 2;
    return rt_clamp64(middle_ns, (int64_t)rt_load_relaxed(&h->min_ns),
                      (int64_t)rt_load_relaxed(&h->max_ns));
}
