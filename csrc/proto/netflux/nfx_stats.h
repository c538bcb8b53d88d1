/* nfx_stats.h: the statistics of a link. Only its session writes them, in memory that other
 * processes read meanwhile: no word is torn, but they are not all of one instant. The session adds
 * to these values and bases no decision on them.
 *
 * Intervals of the partner are per number: the time between two accepted datagrams divided by the
 * difference of their numbers. So the mean is the partner's cycle, however much is lost on the way.
 * `gap` is the plain time between two of them. A watchdog must be longer than its maximum. */
#ifndef NFX_STATS_H
#define NFX_STATS_H

#include "base/rt_hist.h"
#include "rows/netflux.h"

/* Room for more counters and gauges without moving what follows. */
#define NFX_COUNTER_SPACE 32u
#define NFX_GAUGE_SPACE 16u

_Static_assert(NFX_COUNTER_TOTAL <= NFX_COUNTER_SPACE && NFX_GAUGE_TOTAL <= NFX_GAUGE_SPACE,
               "nfx_stats_t has room for its counters and gauges");

/* All zero: nothing happened yet. */
typedef struct nfx_stats {
    rt_a64_t counters[NFX_COUNTER_SPACE];
    rt_a64_t gauges[NFX_GAUGE_SPACE];
    rt_hist_t hists[NFX_HIST_TOTAL];
} nfx_stats_t;

static inline void nfx_count(nfx_stats_t *stats, nfx_counter_id_t id, uint64_t n)
{
    rt_bump(&stats->counters[id], n);
}

static inline void nfx_gauge(nfx_stats_t *stats, nfx_gauge_id_t id, uint64_t value)
{
    rt_store_relaxed(&stats->gauges[id], value);
}

/* Writer only: sets counters and histograms to zero. Gauges describe the present and stay. */
void nfx_stats_reset(nfx_stats_t *stats);

#endif
