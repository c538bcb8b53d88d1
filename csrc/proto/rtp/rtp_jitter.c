#include "proto/rtp/rtp_jitter.h"

/* A longer step between two packets of one source is not jitter. */
#define MAX_STEP_NS INT64_C(60000000000)

void rtp_jitter_init(rtp_jitter_t *j, uint32_t clock_rate)
{
    *j = (rtp_jitter_t){.clock_rate = clock_rate};
}

void rtp_jitter_break(rtp_jitter_t *j)
{
    j->started = false;
}

static int64_t size_of(int64_t v)
{
    return v < 0 ? -v : v;
}

static void take_difference(rtp_jitter_t *j, uint32_t transit, uint32_t ts, int64_t arrival_ns)
{
    int64_t step_ns = rtp_units_to_ns((int32_t)(ts - j->last_ts), j->clock_rate);
    int64_t d_ns = size_of(arrival_ns - j->last_arrival_ns - step_ns);
    if (d_ns > MAX_STEP_NS)
        return;
    int64_t d_units = size_of((int32_t)(transit - j->last_transit));
    j->units_q4 += (uint32_t)d_units - ((j->units_q4 + 8) >> 4);
    j->ns_q4 += (uint64_t)d_ns - ((j->ns_q4 + 8) >> 4);
}

void rtp_jitter_add(rtp_jitter_t *j, uint32_t ts, int64_t arrival_ns)
{
    if (j->clock_rate == 0)
        return;
    uint32_t transit = (uint32_t)rtp_ns_to_units(arrival_ns, j->clock_rate) - ts;
    if (j->started)
        take_difference(j, transit, ts, arrival_ns);
    j->started = true;
    j->last_transit = transit;
    j->last_ts = ts;
    j->last_arrival_ns = arrival_ns;
}
