/* traffic_rate.h: at which instants the packets of a rate are due. Virtual time: numbers in,
 * numbers out.
 *
 * A rate is a list of phases. In each it changes linearly, so the area below it is the number of
 * packets:
 *
 *     rate   to ______                The packet with the running number x is due where the area
 *              /|     |               from the begin reaches x: x = 0, 1, 2, ... for even traffic,
 *       from  / |     |               sums of exponentially distributed numbers for a Poisson
 *            |  |     |___            process. After the last phase its last rate stays, or the
 *            0  1     2   time        phases begin again.
 *
 * The area is an integer, in units of half of 10**-15 packets (TRAFFIC_PACKET), so rates hold in
 * the long run without a drift. Only the instant within a ramp comes from a double, which is wrong
 * by less than 1 ns in ramps of up to ten hours. */
#ifndef PROTO_TRAFFIC_RATE_H
#define PROTO_TRAFFIC_RATE_H

#include "base/rt_clock.h"

#include <stdbool.h>
#include <stdint.h>

#define TRAFFIC_MAX_PHASES 64u
/* Rates are in millionths of packets per second: up to 10**9 packets a second. */
#define TRAFFIC_UPPS UINT64_C(1000000)
#define TRAFFIC_MAX_UPPS (UINT64_C(1000000000) * TRAFFIC_UPPS)
/* Nothing is due later after its begin. */
#define TRAFFIC_MAX_SPAN_NS (INT64_C(365) * 24 * 3600 * RT_NS_PER_S)
/* One packet, in units of the area. */
#define TRAFFIC_PACKET UINT64_C(2000000000000000)

typedef unsigned __int128 traffic_area_t;

typedef struct traffic_phase {
    int64_t duration_ns; /* 1 .. TRAFFIC_MAX_SPAN_NS */
    uint64_t from_upps;  /* 0 .. TRAFFIC_MAX_UPPS */
    uint64_t to_upps;
} traffic_phase_t;

typedef struct traffic_rate {
    traffic_phase_t phases[TRAFFIC_MAX_PHASES];
    uint32_t phase_count; /* 1 .. TRAFFIC_MAX_PHASES */
    bool repeat;          /* begin again after the last phase */
} traffic_rate_t;

/* A place on the way through a rate. */
typedef struct traffic_walk {
    traffic_area_t area; /* from begin_ns to where the next packet is due */
    traffic_area_t round_area;
    int64_t round_ns;
    int64_t begin_ns; /* of the phase */
    uint32_t phase;   /* phase_count: behind the last one */
} traffic_walk_t;

/* Returns 0, or -EINVAL with a text. */
int traffic_rate_check(const traffic_rate_t *rate);

/* To the begin of a rate that was checked. */
void traffic_walk_init(traffic_walk_t *walk, const traffic_rate_t *rate);

/* Returns when the area since the begin reaches walk->area, which the caller increases: time from
 * the begin, rounded down to ns. RT_NEVER_NS: never, or after TRAFFIC_MAX_SPAN_NS. */
int64_t traffic_walk(traffic_walk_t *walk, const traffic_rate_t *rate);

#endif
