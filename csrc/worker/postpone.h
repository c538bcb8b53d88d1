/* postpone.h: when work that can wait starts, beside deadlines that cannot. Pure.
 *
 * A piece of work starts if its worst cost fits before the next deadline. It waits for such a gap
 * for half of its limit. From then on a smaller and smaller gap is enough, and at the limit it
 * starts whatever is due. So if all gaps are too short, it starts at the beginning of one of the
 * longest, just after a deadline was served, and not shortly before one.
 *
 *     gap that it asks for
 *     worst cost |-----------.
 *                |            `-.
 *                |               `-.
 *              0 +-----------|-----|---- time waited
 *                          half  limit
 */
#ifndef WRK_POSTPONE_H
#define WRK_POSTPONE_H

#include "base/rt_clock.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct postpone_limits {
    int64_t worst_cost_ns;
    int64_t limit_ns;
} postpone_limits_t;

/* A control message may map or unmap a channel's memory. */
static const postpone_limits_t POSTPONE_CONTROL = {.worst_cost_ns = 300 * RT_NS_PER_US,
                                                   .limit_ns = 10 * RT_NS_PER_MS};
/* What messages and hang-ups leave to do in pieces: 256 cancelled packets take about 26 us. */
static const postpone_limits_t POSTPONE_CONTROL_STEP = {.worst_cost_ns = 50 * RT_NS_PER_US,
                                                        .limit_ns = 200 * RT_NS_PER_US};
static const postpone_limits_t POSTPONE_HOUSEKEEPING = {.worst_cost_ns = 50 * RT_NS_PER_US,
                                                        .limit_ns = 100 * RT_NS_PER_MS};

/* Whether a piece that waits since then may start now. */
static inline bool postpone_fits(const postpone_limits_t *l, int64_t since_mono_ns,
                                 int64_t now_mono_ns, int64_t deadline_mono_ns)
{
    int64_t half = l->limit_ns / 2;
    int64_t left = l->limit_ns - (now_mono_ns - since_mono_ns);
    if (left <= 0)
        return true;
    int64_t asks = left >= half ? l->worst_cost_ns : l->worst_cost_ns * left / half;
    return deadline_mono_ns - now_mono_ns >= asks;
}

/* The same for the pieces of one kind, one after the other: each waits anew. *since_mono_ns: since
 * when the next one waits, 0: there is none, or it has not been looked at. */
static inline bool postpone_ends(const postpone_limits_t *l, int64_t *since_mono_ns,
                                 int64_t now_mono_ns, int64_t deadline_mono_ns)
{
    if (*since_mono_ns == 0)
        *since_mono_ns = now_mono_ns;
    if (!postpone_fits(l, *since_mono_ns, now_mono_ns, deadline_mono_ns))
        return false;
    *since_mono_ns = 0;
    return true;
}

#endif
