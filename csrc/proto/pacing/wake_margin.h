/* wake_margin.h: how long before a deadline a sleeping worker must ask to be woken.
 *
 *      asked_for          woken_at      deadline
 *          |<-- latency -->|<-- spin -->|
 *          |<--------- margin --------->|
 *
 * Too small a margin makes packets late, too large a one burns the core. The margin is a high
 * quantile of the recent wake-up latencies: latencies are counted in buckets, and all counts
 * are halved whenever their sum reaches 2 * memory, so that old ones fade.
 *
 * Guarantee, after every call, over the latencies still counted (after warm-up):
 *
 *      min_ns <= margin <= max_ns
 *      margin == max_ns   or   #(latency > margin) * 1000 <= #(all) * (1000 - quantile_permille)
 *
 * Quick to grow: about memory * (1 - q) latencies above the margin raise it (10 of 1024 with the
 * defaults). Slow to shrink: the larger ones must fade below 1 - q first, a few thousand wake-ups.
 * A single outlier does not move it.
 *
 * One thread. Caller's memory. Pure arithmetic, no clock. */
#ifndef WAKE_MARGIN_H
#define WAKE_MARGIN_H

#include <stdint.h>

#define WAKE_MARGIN_BUCKETS 128u

typedef struct wake_margin_config {
    int64_t min_ns;             /* > 0; default 20 us */
    int64_t max_ns;             /* >= min_ns, <= 1 s; default 200 us */
    uint32_t quantile_permille; /* 500 .. 999; default 995 */
    uint32_t memory;            /* latencies, 64 .. 2^20; default 1024 */
    uint32_t warm_up;           /* latencies before anything is believed: max_ns until then; 32 */
} wake_margin_config_t;

typedef struct wake_margin {
    wake_margin_config_t config;
    int64_t bucket_ns;
    int64_t margin_ns;
    uint64_t seen;
    uint32_t total;
    uint32_t counts[WAKE_MARGIN_BUCKETS]; /* the last one: longer than max_ns */
} wake_margin_t;

wake_margin_config_t wake_margin_config_default(void);

void wake_margin_init(wake_margin_t *m, const wake_margin_config_t *config);

/* One sleep that ended by its timeout: latency_ns = woken_at - asked_for. Negative values (the
 * sleep was cut short by a bell or a signal) are ignored. */
void wake_margin_observe(wake_margin_t *m, int64_t latency_ns);

/* The present margin. */
static inline int64_t wake_margin_ns(const wake_margin_t *m)
{
    return m->margin_ns;
}

#endif
