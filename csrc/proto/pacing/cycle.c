#include "proto/pacing/cycle.h"

#include "base/rt_clock.h"

void cycle_init(cycle_t *c, const cycle_config_t *config)
{
    *c = (cycle_t){
        .config = *config,
        .grid = {.period_ns = config->period_ns, .due_ns = config->origin_ns},
        .fresh_until_ns = RT_NEVER_NS,
    };
}

/* --- the grid ------------------------------------------------------------------------------- */

uint64_t cycle_number_at(const cycle_config_t *config, int64_t at_ns)
{
    if (at_ns < config->origin_ns)
        return 0;
    return (uint64_t)((at_ns - config->origin_ns) / config->period_ns);
}

void cycle_start(cycle_t *c, int64_t now_ns)
{
    c->running = true;
    (void)grid_skip_to(&c->grid, now_ns);
}

void cycle_resume(cycle_t *c, uint64_t last_number, int64_t now_ns)
{
    if (last_number <= cycle_number_at(&c->config, now_ns))
        c->grid.due_ns = c->config.origin_ns + (int64_t)(last_number + 1) * c->config.period_ns;
    else
        (void)grid_skip_to(&c->grid, now_ns);
    c->running = true;
}

void cycle_stop(cycle_t *c)
{
    c->running = false;
}

/* --- the payload ---------------------------------------------------------------------------- */

static bool is_silent(const cycle_t *c)
{
    return !c->used || (!c->fresh && c->config.on_stale == CYCLE_STALE_STOP);
}

static void become_stale(cycle_t *c)
{
    c->stale_times += c->fresh;
    c->fresh = false;
    c->fresh_until_ns = RT_NEVER_NS;
}

void cycle_renewed(cycle_t *c, int64_t at_ns, int64_t now_ns)
{
    if (c->running && is_silent(c)) /* what should not be sent was not missed */
        (void)grid_skip_to(&c->grid, now_ns);
    c->used = true;
    c->fresh = true;
    c->renewed_ns = at_ns < now_ns ? at_ns : now_ns;
    if (c->config.stale_after_ns > 0)
        c->fresh_until_ns = c->renewed_ns + c->config.stale_after_ns;
}

void cycle_writer_gone(cycle_t *c)
{
    become_stale(c);
}

/* --- sending -------------------------------------------------------------------------------- */

int64_t cycle_due_ns(const cycle_t *c)
{
    return c->running && !is_silent(c) ? c->grid.due_ns : RT_NEVER_NS;
}

int64_t cycle_deadline_ns(const cycle_t *c)
{
    int64_t due = cycle_due_ns(c);
    return due < c->fresh_until_ns ? due : c->fresh_until_ns;
}

int cycle_emit(cycle_t *c, cycle_out_t *out, int64_t now_ns)
{
    if (c->fresh_until_ns <= now_ns)
        become_stale(c);
    int64_t due = cycle_due_ns(c);
    if (now_ns < due)
        return 0;
    uint64_t missed = grid_serve(&c->grid, now_ns);
    due += (int64_t)missed * c->config.period_ns;
    *out = (cycle_out_t){
        .due_ns = due,
        .number = cycle_number_at(&c->config, due),
        .missed = missed,
        .stale = !c->fresh,
        .failsafe = !c->fresh && c->config.on_stale == CYCLE_STALE_FAILSAFE,
    };
    return 1;
}
