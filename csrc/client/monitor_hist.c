#include "client/monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUANTILES 4
static const double SHARES[QUANTILES] = {0.5, 0.9, 0.99, 0.999};

static int64_t clamp_ns(int64_t v, int64_t lo, int64_t hi)
{
    return v > hi ? hi : v < lo ? lo : v;
}

static int64_t middle_ns(unsigned bucket)
{
    int64_t lower_ns = rt_hist_lower_ns(bucket);
    return lower_ns + (rt_hist_lower_ns(bucket + 1) - lower_ns - 1) / 2;
}

/* Buckets first .. last. The others are empty. */
typedef struct range {
    unsigned first;
    unsigned last;
} range_t;

/* All of SHARES in one pass, with the results of rt_hist_quantile_ns. Buckets hold `count` entries.
 */
static void quantiles(const monitor_counts_t *b, range_t range, uint64_t count, int64_t lo,
                      int64_t hi, int64_t *out)
{
    uint64_t below = 0;
    unsigned done = 0;
    for (unsigned i = range.first; i <= range.last && done < QUANTILES; i++) {
        if (b->n[i] == 0)
            continue;
        below += b->n[i];
        while (done < QUANTILES && (double)below >= SHARES[done] * (double)count)
            out[done++] = clamp_ns(middle_ns(i), lo, hi);
    }
}

static uint64_t count_of(const monitor_counts_t *b, range_t range)
{
    uint64_t count = 0;
    for (unsigned i = range.first; i <= range.last; i++)
        count += b->n[i];
    return count;
}

/* Lowest value of the first bucket in use, largest of the last one. */
static void edges(const monitor_counts_t *b, range_t range, int64_t *lo, int64_t *hi)
{
    while (range.first < range.last && b->n[range.first] == 0)
        range.first++;
    while (range.last > range.first && b->n[range.last] == 0)
        range.last--;
    *lo = rt_hist_lower_ns(range.first);
    *hi = rt_hist_lower_ns(range.last + 1) - 1;
}

/* --- keeping ---------------------------------------------------------------------------------- */

static int make_room(monitor_hist_t *h)
{
    if (h->total != NULL)
        return 0;
    monitor_counts_t *both = calloc(2, sizeof *both);
    if (both == NULL)
        return -ENOMEM;
    h->total = &both[0];
    h->interval = &both[1];
    h->first = RT_HIST_BUCKETS - 1;
    h->last = 0;
    return 0;
}

/* The writer widens min and max before it counts an entry, so every entry that is counted when they
 * are read is between them. Invalid numbers make the range as wide as possible. */
static void widen(monitor_hist_t *h, const rt_hist_t *from)
{
    unsigned first = rt_hist_index((int64_t)rt_load_relaxed(&from->min_ns));
    unsigned last = rt_hist_index((int64_t)h->max_ns);
    if (first > last) {
        first = 0;
        last = RT_HIST_BUCKETS - 1;
    }
    h->first = first < h->first ? first : h->first;
    h->last = last > h->last ? last : h->last;
}

static void copy_buckets(monitor_hist_t *h, const rt_hist_t *from, bool is_first)
{
    for (unsigned i = h->first; i <= h->last; i++) {
        uint64_t now = rt_load_relaxed(&from->buckets[i]);
        uint64_t before = h->total->n[i];
        h->interval->n[i] = is_first ? 0 : now >= before ? now - before : now;
        h->total->n[i] = now;
    }
    h->interval_used = !is_first;
}

static void empty_interval(monitor_hist_t *h)
{
    if (h->interval_used)
        memset(h->interval, 0, sizeof *h->interval);
    h->interval_used = false;
}

static void tell_interval(monitor_hist_t *h, range_t range, uint64_t max_before_ns)
{
    uint64_t count = count_of(h->interval, range);
    if (count == 0)
        return;
    int64_t lo, hi;
    edges(h->interval, range, &lo, &hi);
    if (hi > (int64_t)h->max_ns || h->max_ns > max_before_ns)
        hi = (int64_t)h->max_ns;
    h->words[MONITOR_HIST_interval_count] = (int64_t)count;
    h->words[MONITOR_HIST_interval_max_ns] = hi;
    quantiles(h->interval, range, count, lo, hi, &h->words[MONITOR_HIST_interval_p50_ns]);
}

static void tell_total(monitor_hist_t *h, range_t range, int64_t min_ns)
{
    monitor_counts_t rest;
    const monitor_counts_t *buckets = h->total;
    int64_t lo = min_ns;
    int64_t hi = (int64_t)h->max_ns;
    if (h->base) {
        for (unsigned i = range.first; i <= range.last; i++)
            rest.n[i] = h->total->n[i] - h->base->n[i];
        buckets = &rest;
    }
    uint64_t count = count_of(buckets, range);
    if (count == 0)
        return;
    if (h->base) {
        edges(buckets, range, &lo, &hi);
        hi = hi > (int64_t)h->max_ns ? (int64_t)h->max_ns : hi;
    }
    h->words[MONITOR_HIST_count] = (int64_t)count;
    h->words[MONITOR_HIST_sum_ns] = (int64_t)(h->sum_ns - h->base_sum_ns);
    h->words[MONITOR_HIST_min_ns] = lo;
    h->words[MONITOR_HIST_max_ns] = hi;
    quantiles(buckets, range, count, lo, hi, &h->words[MONITOR_HIST_p50_ns]);
}

static void tell_again(monitor_hist_t *h)
{
    empty_interval(h);
    for (unsigned i = MONITOR_HIST_interval_count; i < MONITOR_HIST_WORDS; i++)
        h->words[i] = 0;
}

static void tell(monitor_hist_t *h, const rt_hist_t *from, bool is_first)
{
    uint64_t max_before_ns = h->max_ns;
    h->sum_ns = rt_load_relaxed(&from->sum_ns);
    h->max_ns = rt_load_relaxed(&from->max_ns);
    widen(h, from);
    copy_buckets(h, from, is_first);
    range_t range = {h->first, h->last};
    memset(h->words, 0, sizeof h->words);
    tell_total(h, range, (int64_t)rt_load_relaxed(&from->min_ns));
    if (h->interval_used)
        tell_interval(h, range, max_before_ns);
}

int monitor_hist_read(monitor_hist_t *h, const rt_hist_t *from, bool is_first, int64_t *words)
{
    uint64_t count = rt_load_relaxed(&from->count);
    if (count == 0 && h->total == NULL) {
        memset(words, 0, sizeof h->words);
        return 0;
    }
    if (make_room(h) < 0)
        return -ENOMEM;
    if (h->told && count == h->count)
        tell_again(h);
    else
        tell(h, from, is_first);
    h->count = count;
    h->told = true;
    memcpy(words, h->words, sizeof h->words);
    return 0;
}

void monitor_hist_forget(monitor_hist_t *h)
{
    free(h->total); /* also frees the interval */
    free(h->base);
    *h = (monitor_hist_t){0};
}

int monitor_hist_rebase(monitor_hist_t *h)
{
    if (h->total == NULL)
        return 0;
    if (h->base == NULL)
        h->base = malloc(sizeof *h->base);
    if (h->base == NULL)
        return -ENOMEM;
    *h->base = *h->total;
    h->base_sum_ns = h->sum_ns;
    h->told = false;
    return 0;
}

void monitor_hist_copy(const monitor_hist_t *h, bool interval, uint64_t *out)
{
    const monitor_counts_t *b = interval ? h->interval : h->total;
    for (unsigned i = 0; i < RT_HIST_BUCKETS; i++) {
        out[i] = b ? b->n[i] : 0;
        if (h->base && !interval)
            out[i] -= h->base->n[i];
    }
}
