#include "proto/pacing/spin_budget.h"

#define PPM INT64_C(1000000)

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b > 0);
}

/* Rounded down, so that rate * window + burst <= limit * window holds exactly. */
static int64_t rate_ppm(const spin_budget_config_t *c)
{
    return (int64_t)c->limit_permille * 1000 - divide_up(c->burst_ns * PPM, c->window_ns);
}

void spin_budget_init(spin_budget_t *b, const spin_budget_config_t *config, int64_t now_mono_ns)
{
    *b = (spin_budget_t){
        .config = *config,
        .rate_ppm = rate_ppm(config),
        .burst_u = config->burst_ns * PPM,
        .last_mono_ns = now_mono_ns,
    };
    b->soft_u = b->burst_u / 2;
    b->most_u = b->burst_u + (PPM - b->rate_ppm) * config->lag_ns;
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

/* The gap that a rest ahead of a deadline asks for. Levels in ns, so that the product fits. */
static int64_t asks_ns(const spin_budget_t *b, int64_t whole_ns)
{
    int64_t left_ns = (b->burst_u - b->level_u) / PPM;
    int64_t quarter_ns = (b->burst_u - b->soft_u) / (2 * PPM) + 1;
    return left_ns >= quarter_ns ? whole_ns : whole_ns * left_ns / quarter_ns;
}

int64_t spin_budget_rest_before_ns(spin_budget_t *b, int64_t now_mono_ns, int64_t next_mono_ns,
                                   int64_t shortest_ns, int64_t margin_ns)
{
    spin_budget_run(b, now_mono_ns);
    int64_t gap_ns = next_mono_ns - now_mono_ns;
    if (b->level_u < b->soft_u || gap_ns <= 0 || gap_ns < asks_ns(b, shortest_ns + margin_ns))
        return 0;
    int64_t fits_ns = gap_ns - margin_ns;
    int64_t empty_ns = divide_up(b->level_u, b->rate_ppm);
    int64_t rest_ns = empty_ns < fits_ns ? empty_ns : fits_ns;
    return rest_ns > shortest_ns ? rest_ns : shortest_ns;
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
