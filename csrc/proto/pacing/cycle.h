/* cycle.h: one payload in every cycle, until it is replaced, grows stale, or is stopped.
 *
 *     renewed -----> [ fresh? ] ----+
 *     writer gone -->               v
 *     deadline ----> [ grid: due? ] emit --> payload | fail-safe payload | nothing
 *
 * A payload is stale stale_after_ns after it was written, and as soon as its writer is gone.
 * Instants are origin_ns + k * period_ns, and k is the number of the cycle. An instant that passes
 * without a send is missed: it is counted and never sent later.
 *
 * Caller's memory, one thread, no clock, no allocation. All times are of one clock that does not go
 * back. */
#ifndef PACING_CYCLE_H
#define PACING_CYCLE_H

#include "proto/pacing/grid.h"

#include <stdbool.h>

typedef enum cycle_on_stale {
    CYCLE_STALE_STOP = 0,     /* send nothing */
    CYCLE_STALE_CONTINUE = 1, /* continue with the last payload */
    CYCLE_STALE_FAILSAFE = 2, /* send the fail-safe payload */
} cycle_on_stale_t;

typedef struct cycle_config {
    int64_t period_ns;      /* above 0 */
    int64_t origin_ns;      /* of the grid, 0 or more */
    int64_t stale_after_ns; /* 0: no age is stale */
    cycle_on_stale_t on_stale;
} cycle_config_t;

typedef struct cycle {
    cycle_config_t config;
    grid_t grid;
    bool running;
    bool fresh; /* false before the first payload */
    bool used;  /* there was a payload */
    int64_t renewed_ns;
    int64_t fresh_until_ns; /* RT_NEVER_NS: not watched now */
    uint64_t stale_times;   /* how often a payload became stale */
} cycle_t;

typedef struct cycle_out {
    int64_t due_ns;  /* instant of the grid */
    uint64_t number; /* of the cycle */
    uint64_t missed; /* cycles before it that were not sent */
    bool stale;
    bool failsafe; /* send the fail-safe payload */
} cycle_out_t;

void cycle_init(cycle_t *c, const cycle_config_t *config);

/* The number of the cycle that contains at_ns; 0 also before the first. */
uint64_t cycle_number_at(const cycle_config_t *config, int64_t at_ns);

/* The first cycle is the first one that is not past. */
void cycle_start(cycle_t *c, int64_t now_ns);

/* As cycle_start, after a predecessor whose last cycle had this number. What passed since is
 * missed. An impossible number counts as none. */
void cycle_resume(cycle_t *c, uint64_t last_number, int64_t now_ns);
void cycle_stop(cycle_t *c);

/* There is a new payload, written at at_ns (at the latest now). */
void cycle_renewed(cycle_t *c, int64_t at_ns, int64_t now_ns);

/* The process that wrote the payload is gone. */
void cycle_writer_gone(cycle_t *c);

/* Returns 1 if a payload is to be sent now, otherwise 0. */
int cycle_emit(cycle_t *c, cycle_out_t *out, int64_t now_ns);

/* When the next payload is due. RT_NEVER_NS: none is. */
int64_t cycle_due_ns(const cycle_t *c);

/* When to call cycle_emit next. RT_NEVER_NS: there is nothing to wait for. */
int64_t cycle_deadline_ns(const cycle_t *c);

#endif
