#include "proto/pacing/wake_margin.h"

#include "base/rt_err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MAX_MARGIN_NS INT64_C(1000000000)
#define MIN_MEMORY 64u
#define MAX_MEMORY (1u << 20)

void wake_margin_config_init(wake_margin_config_t *config)
{
    *config = (wake_margin_config_t){
        .min_ns = 20000,
        .max_ns = 200000,
        .quantile_permille = 995,
        .memory = 1024,
        .warm_up = 32,
    };
}

static int check_config(const wake_margin_config_t *c)
{
    if (c->min_ns <= 0 || c->min_ns > c->max_ns || c->max_ns > MAX_MARGIN_NS)
        return rt_err_set(-EINVAL,
                          "wake margin bounds are %" PRId64 " .. %" PRId64
                          " ns; set 0 < min_ns <= max_ns <= %" PRId64,
                          c->min_ns, c->max_ns, MAX_MARGIN_NS);
    if (c->quantile_permille < 500 || c->quantile_permille > 999)
        return rt_err_set(-EINVAL, "wake margin quantile_permille is %u; set 500 .. 999",
                          c->quantile_permille);
    if (c->memory < MIN_MEMORY || c->memory > MAX_MEMORY)
        return rt_err_set(-EINVAL, "wake margin memory is %u latencies; set %u .. %u", c->memory,
                          MIN_MEMORY, MAX_MEMORY);
    return 0;
}

int wake_margin_init(wake_margin_t *m, const wake_margin_config_t *config)
{
    memset(m, 0, sizeof *m);
    if (config != NULL)
        m->config = *config;
    else
        wake_margin_config_init(&m->config);
    int rc = check_config(&m->config);
    if (rc < 0)
        return rc;
    m->bucket_ns = (m->config.max_ns + WAKE_MARGIN_BUCKETS - 2) / (WAKE_MARGIN_BUCKETS - 1);
    m->margin_ns = m->config.max_ns;
    return 0;
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
