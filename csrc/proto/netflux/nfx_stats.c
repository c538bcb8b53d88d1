#include "proto/netflux/nfx_stats.h"

void nfx_stats_reset(nfx_stats_t *stats)
{
    for (unsigned i = 0; i < NFX_COUNTER_SPACE; i++)
        rt_store_relaxed(&stats->counters[i], 0);
    for (unsigned i = 0; i < NFX_HIST_TOTAL; i++)
        rt_hist_reset(&stats->hists[i]);
}
