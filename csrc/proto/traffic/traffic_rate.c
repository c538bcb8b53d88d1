#include "proto/traffic/traffic_rate.h"

#include "base/rt_err.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

static traffic_area_t area_of(const traffic_phase_t *phase)
{
    return (traffic_area_t)(phase->from_upps + phase->to_upps) * (uint64_t)phase->duration_ns;
}

static int check_phase(const traffic_phase_t *phase, uint32_t number)
{
    if (phase->duration_ns < 1 || phase->duration_ns > TRAFFIC_MAX_SPAN_NS)
        return rt_err_set(
            -EINVAL, "phase %" PRIu32 " of the rate lasts %.9g s: it must last 1 ns to 365 days",
            number, (double)phase->duration_ns / 1e9);
    uint64_t most = phase->from_upps > phase->to_upps ? phase->from_upps : phase->to_upps;
    if (most > TRAFFIC_MAX_UPPS)
        return rt_err_set(-EINVAL, "the rate is %.9g packets a second: at most 1e9 are possible",
                          (double)most / 1e6);
    return 0;
}

int traffic_rate_check(const traffic_rate_t *rate)
{
    if (rate->phase_count < 1 || rate->phase_count > TRAFFIC_MAX_PHASES)
        return rt_err_set(-EINVAL, "the rate has %" PRIu32 " phases: it must have 1 to %u",
                          rate->phase_count, TRAFFIC_MAX_PHASES);
    traffic_area_t total = 0;
    for (uint32_t i = 0; i < rate->phase_count; i++) {
        int rc = check_phase(&rate->phases[i], i + 1);
        if (rc != 0)
            return rc;
        total += area_of(&rate->phases[i]);
    }
    if (total == 0 && (rate->repeat || rate->phases[rate->phase_count - 1].to_upps == 0))
        return rt_err_set(-EINVAL, "the rate is 0 all the time: one phase must have 0.000001 "
                                   "packets a second or more");
    return 0;
}

void traffic_walk_init(traffic_walk_t *walk, const traffic_rate_t *rate)
{
    *walk = (traffic_walk_t){0};
    for (uint32_t i = 0; i < rate->phase_count; i++) {
        walk->round_area += area_of(&rate->phases[i]);
        walk->round_ns += rate->phases[i].duration_ns;
    }
}

/* Skips whole rounds, so that a slow rate does not walk through millions of short ones. Returns
 * false if that leads beyond the longest time. */
static bool skip_rounds(traffic_walk_t *walk)
{
    traffic_area_t rounds = walk->area / walk->round_area;
    if (rounds > (uint64_t)(TRAFFIC_MAX_SPAN_NS / walk->round_ns))
        return false;
    walk->area -= rounds * walk->round_area;
    walk->begin_ns += (int64_t)rounds * walk->round_ns;
    return true;
}

/* To the phase in which the packet is due. Returns false if there is none. */
static bool find_phase(traffic_walk_t *walk, const traffic_rate_t *rate)
{
    while (walk->phase < rate->phase_count) {
        const traffic_phase_t *phase = &rate->phases[walk->phase];
        if (walk->area < area_of(phase))
            return true;
        walk->area -= area_of(phase);
        walk->begin_ns += phase->duration_ns;
        walk->phase++;
        if (walk->phase == rate->phase_count && rate->repeat) {
            walk->phase = 0;
            if (!skip_rounds(walk))
                return false;
        }
        if (walk->begin_ns > TRAFFIC_MAX_SPAN_NS)
            return false;
    }
    return rate->phases[rate->phase_count - 1].to_upps > 0;
}

static int64_t in_steady(uint64_t upps, traffic_area_t area)
{
    traffic_area_t ns = area / (2 * upps);
    return ns > (uint64_t)TRAFFIC_MAX_SPAN_NS ? RT_NEVER_NS : (int64_t)ns;
}

/* Solves from * t + (to - from) / duration * t * t / 2 = area / 2 without cancellation. */
static int64_t in_ramp(const traffic_phase_t *phase, traffic_area_t area)
{
    if (area == 0)
        return 0;
    double from = (double)phase->from_upps;
    double slope = ((double)phase->to_upps - from) / (double)phase->duration_ns;
    double below = (double)area;
    double root = sqrt(fmax(0, from * from + slope * below));
    double ns = below / (from + root);
    return ns < (double)phase->duration_ns ? (int64_t)ns : phase->duration_ns - 1;
}

int64_t traffic_walk(traffic_walk_t *walk, const traffic_rate_t *rate)
{
    if (!find_phase(walk, rate))
        return RT_NEVER_NS;
    bool behind = walk->phase == rate->phase_count;
    const traffic_phase_t *phase = &rate->phases[behind ? walk->phase - 1 : walk->phase];
    int64_t ns = behind || phase->from_upps == phase->to_upps
                     ? in_steady(phase->to_upps, walk->area)
                     : in_ramp(phase, walk->area);
    if (ns == RT_NEVER_NS || ns > TRAFFIC_MAX_SPAN_NS - walk->begin_ns)
        return RT_NEVER_NS;
    return walk->begin_ns + ns;
}
