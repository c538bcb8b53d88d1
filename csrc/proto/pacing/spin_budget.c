#include "proto/pacing/spin_budget.h"

#include "base/rt_err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define PPM INT64_C(1000000)
#define MIN_WINDOW_NS INT64_C(1000000)
#define MAX_WINDOW_NS INT64_C(1000000000)

void spin_budget_config_init(spin_budget_config_t *config)
{
    *config = (spin_budget_config_t){
        .limit_permille = 930,
        .window_ns = 10000000,
        .burst_ns = 300000,
        .rest_ns = 100000,
    };
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b > 0);
}

/* Rounded down, so that rate * window + burst <= limit * window holds exactly. */
static int64_t rate_ppm(const spin_budget_config_t *c)
{
    return (int64_t)c->limit_permille * 1000 - divide_up(c->burst_ns * PPM, c->window_ns);
}

static int check_config(const spin_budget_config_t *c)
{
    if (c->limit_permille < 100 || c->limit_permille > 990)
        return rt_err_set(-EINVAL, "spin budget limit_permille is %u; set 100 .. 990",
                          c->limit_permille);
    if (c->window_ns < MIN_WINDOW_NS || c->window_ns > MAX_WINDOW_NS)
        return rt_err_set(-EINVAL,
                          "spin budget window_ns is %" PRId64 "; set %" PRId64 " .. %" PRId64,
                          c->window_ns, MIN_WINDOW_NS, MAX_WINDOW_NS);
    int64_t most_burst = c->window_ns * c->limit_permille / 2000;
    if (c->burst_ns <= 0 || c->burst_ns > most_burst)
        return rt_err_set(-EINVAL,
                          "spin budget burst_ns is %" PRId64 "; set 1 .. %" PRId64
                          ", half of what window_ns and limit_permille allow",
                          c->burst_ns, most_burst);
    int64_t most_rest = c->burst_ns * PPM / rate_ppm(c);
    if (c->rest_ns <= 0 || c->rest_ns > most_rest)
        return rt_err_set(-EINVAL,
                          "spin budget rest_ns is %" PRId64 "; set 1 .. %" PRId64
                          ", which empties a full account, or raise burst_ns",
                          c->rest_ns, most_rest);
    return 0;
}

int spin_budget_init(spin_budget_t *b, const spin_budget_config_t *config, int64_t now_mono_ns)
{
    memset(b, 0, sizeof *b);
    if (config != NULL)
        b->config = *config;
    else
        spin_budget_config_init(&b->config);
    int rc = check_config(&b->config);
    if (rc < 0)
        return rc;
    b->rate_ppm = rate_ppm(&b->config);
    b->burst_u = b->config.burst_ns * PPM;
    b->soft_u = b->burst_u / 2;
    b->most_u = b->burst_u + (PPM - b->rate_ppm) * b->config.window_ns;
    b->last_mono_ns = now_mono_ns;
    return 0;
}

void spin_budget_run(spin_budget_t *b, int64_t now_mono_ns)
{
    int64_t ran_ns = now_mono_ns - b->last_mono_ns;
    if (ran_ns <= 0)
        return;
    b->last_mono_ns = now_mono_ns;
    int64_t step = PPM - b->rate_ppm;
    if (ran_ns > (b->most_u - b->level_u) / step)
        b->level_u = b->most_u;
    else
        b->level_u += ran_ns * step;
}

void spin_budget_slept(spin_budget_t *b, int64_t from_mono_ns, int64_t to_mono_ns)
{
    spin_budget_run(b, from_mono_ns);
    int64_t slept_ns = to_mono_ns - b->last_mono_ns;
    if (slept_ns <= 0)
        return;
    b->last_mono_ns = to_mono_ns;
    if (slept_ns > b->level_u / b->rate_ppm)
        b->level_u = 0;
    else
        b->level_u -= slept_ns * b->rate_ppm;
}

int64_t spin_budget_rest_ns(spin_budget_t *b, int64_t now_mono_ns)
{
    spin_budget_run(b, now_mono_ns);
    if (b->level_u < b->burst_u)
        return 0;
    return b->config.rest_ns + divide_up(b->level_u - b->burst_u, b->rate_ppm);
}

int64_t spin_budget_wants_rest_ns(spin_budget_t *b, int64_t now_mono_ns, int64_t free_until_mono_ns)
{
    spin_budget_run(b, now_mono_ns);
    int64_t free_ns = free_until_mono_ns - now_mono_ns;
    if (b->level_u < b->soft_u || free_ns < b->config.rest_ns)
        return 0;
    int64_t empty_ns = divide_up(b->level_u, b->rate_ppm);
    return empty_ns < free_ns ? empty_ns : free_ns;
}
