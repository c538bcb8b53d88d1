/* udt_stats.h: the statistics of a connection. Only the connection writes them, in memory that
 * other processes read meanwhile: no word is torn, but they are not all of one instant. The
 * connection adds to these values and bases no decision on them. */
#ifndef UDT_STATS_H
#define UDT_STATS_H

#include "base/rt_atomic.h"
#include "rows/udt.h"

#include <stdint.h>

/* Room for more counters and gauges without moving what follows. */
#define UDT_COUNTER_SPACE 40u
#define UDT_GAUGE_SPACE 16u

_Static_assert(UDT_COUNTER_TOTAL <= UDT_COUNTER_SPACE && UDT_GAUGE_TOTAL <= UDT_GAUGE_SPACE,
               "udt_stats_t has room for its counters and gauges");

/* All zero: nothing happened yet. */
typedef struct udt_stats {
    rt_a64_t counters[UDT_COUNTER_SPACE];
    rt_a64_t gauges[UDT_GAUGE_SPACE];
} udt_stats_t;

static inline void udt_count(udt_stats_t *stats, udt_counter_id_t id, uint64_t n)
{
    rt_bump(&stats->counters[id], n);
}

static inline void udt_gauge(udt_stats_t *stats, udt_gauge_id_t id, uint64_t value)
{
    rt_store_relaxed(&stats->gauges[id], value);
}

#endif
