/* grid.h: when to send.
 *
 *     instants    |         |         |         |         |
 *     sends       x         x           (stall) x  x      x        one in each cell at most,
 *     cells       [---0----)[---1----)[---2----)[3-)[...           at its start or late
 *
 * Instants are origin + k * period, so lateness does not add up. A late send leaves at once. The
 * instants that passed meanwhile are skipped and never sent later. Hence, whatever the stalls:
 *
 *     sends in any span <= span / period + 2
 *
 * Caller's memory, one thread, no clock. */
#ifndef PACING_GRID_H
#define PACING_GRID_H

#include <stdint.h>

typedef struct grid {
    int64_t period_ns; /* above 0 */
    int64_t due_ns;    /* next instant */
} grid_t;

/* Moves the next instant to the first one not before earliest_ns, never back. Returns how many were
 * skipped. */
static inline uint64_t grid_skip_to(grid_t *g, int64_t earliest_ns)
{
    if (g->due_ns >= earliest_ns)
        return 0;
    int64_t periods = (earliest_ns - g->due_ns + g->period_ns - 1) / g->period_ns;
    g->due_ns += periods * g->period_ns;
    return (uint64_t)periods;
}

/* The cell that contains now_ns was served. Returns how many were skipped before it. Call it only
 * if now_ns has reached due_ns. */
static inline uint64_t grid_serve(grid_t *g, int64_t now_ns)
{
    return grid_skip_to(g, now_ns + 1) - 1;
}

#endif
