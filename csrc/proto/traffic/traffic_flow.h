/* traffic_flow.h: the packets of one flow, each with its deadline and size. */
#ifndef PROTO_TRAFFIC_FLOW_H
#define PROTO_TRAFFIC_FLOW_H

#include "proto/pacing/due_lane.h"
#include "proto/traffic/traffic_rate.h"
#include "proto/traffic/traffic_sizes.h"

#define TRAFFIC_MAX_BURST 65536u

typedef struct traffic_flow_config {
    traffic_rate_t rate; /* of packets, also if they come in bursts */
    traffic_sizes_t sizes;
    bool poisson;        /* exponentially distributed gaps. Otherwise packets are evenly spaced */
    uint32_t burst;      /* so many packets at each instant, 1 .. TRAFFIC_MAX_BURST */
    int64_t spacing_ns;  /* between the packets of a burst. 0: they are due together */
    int64_t begin_ns;    /* after the start, 0 .. TRAFFIC_MAX_SPAN_NS */
    int64_t duration_ns; /* from the begin, .. TRAFFIC_MAX_SPAN_NS. 0: no end */
    uint64_t count;      /* packets. 0: no limit */
    uint64_t seed;
    uint32_t lane; /* DUE_LANE_* */
    due_address_t to;
} traffic_flow_config_t;

typedef struct traffic_flow {
    traffic_flow_config_t config;
    rt_random_t gap_chance;
    rt_random_t size_chance;
    rt_random_t padding_chance;
    traffic_walk_t walk;
    traffic_cycle_t cycle;
    int64_t event_ns;  /* instant of the burst, after the start */
    uint32_t in_burst; /* number of the next packet in it */
    uint32_t next_bytes;
    int64_t next_ns; /* when the next packet is due, after the start. RT_NEVER_NS: none */
    uint64_t planned;
    uint64_t planned_bytes;
} traffic_flow_t;

/* Checks every field. Returns 0, or -EINVAL with a text that names field, value and limit. */
int traffic_flow_check(const traffic_flow_config_t *config);

/* flow->config was checked. */
void traffic_flow_init(traffic_flow_t *flow);

/* The packet at next_ns is planned: goes to the next one. */
void traffic_flow_next(traffic_flow_t *flow);

#endif
