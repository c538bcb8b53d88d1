#include "proto/pacing/wake_margin.h"

wake_margin_config_t wake_margin_config_default(void)
{
    return (wake_margin_config_t){
        .min_ns = 20000,
        .max_ns = 200000,
        .quantile_permille = 995,
        .memory = 1024,
        .warm_up = 32,
    };
}

void wake_margin_init(wake_margin_t *m, const wake_margin_config_t *config)
{
    *m = (wake_margin_t){
        .config = *config,
        .bucket_ns = (config->max_ns + WAKE_MARGIN_BUCKETS - 2) / (WAKE_MARGIN_BUCKETS - 1),
        .margin_ns = config->max_ns,
    };
}

/* Integer halving drops a count of one, so lone outliers fade first. */
static void fade(wake_margin_t *m)
{
    m->total = 0;
    for (unsigned i = 0; i < WAKE_MARGIN_BUCKETS; i++) {
        m->counts[i] /= 2;
        m->total += m->counts[i];
    }
}

static int64_t learnt_margin(const wake_margin_t *m)
{
    uint64_t allowed = (uint64_t)m->total * (1000u - m->config.quantile_permille) / 1000u;
    uint64_t above = 0;
    unsigned bucket = WAKE_MARGIN_BUCKETS - 1;
    while (bucket > 0 && above + m->counts[bucket] <= allowed)
        above += m->counts[bucket--];
    int64_t margin = (int64_t)(bucket + 1) * m->bucket_ns;
    if (margin < m->config.min_ns)
        return m->config.min_ns;
    return margin < m->config.max_ns ? margin : m->config.max_ns;
}

void wake_margin_observe(wake_margin_t *m, int64_t latency_ns)
{
    if (latency_ns < 0)
        return;
    int64_t bucket = latency_ns / m->bucket_ns;
    m->counts[bucket < WAKE_MARGIN_BUCKETS ? bucket : WAKE_MARGIN_BUCKETS - 1]++;
    m->total++;
    m->seen++;
    if (m->total >= 2 * m->config.memory)
        fade(m);
    if (m->seen >= m->config.warm_up)
        m->margin_ns = learnt_margin(m);
}
