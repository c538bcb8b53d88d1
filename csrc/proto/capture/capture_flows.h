/* capture_flows.h: the flows of a capture (source, destination and their ports) with what passed on
 * each, in memory of fixed size. One thread at a time. */
#ifndef PROTO_CAPTURE_FLOWS_H
#define PROTO_CAPTURE_FLOWS_H

#include "proto/capture/capture_udp.h"
#include "proto/pacing/due_lane.h"

#define CAPTURE_MAX_FLOWS 65536u
#define CAPTURE_FLOW_SLOTS 131072u /* a power of two, twice as many as flows */
/* So many places are searched: who knows the hash can make a file slow, but only so much. */
#define CAPTURE_FLOW_PROBES 256u

typedef struct capture_flow {
    capture_ends_t ends;
    due_address_t to;
    uint64_t packets;
    uint64_t payload_bytes;
    int64_t first_ns;
    int64_t last_ns;
    uint32_t lane; /* where to send it, DUE_LANE_* */
} capture_flow_t;

/* All zero but `seed`: empty. */
typedef struct capture_flows {
    uint64_t seed; /* random, so that a file cannot be made for the worst case */
    uint32_t count;
    uint32_t slots[CAPTURE_FLOW_SLOTS]; /* index + 1, 0: free */
    capture_flow_t flows[CAPTURE_MAX_FLOWS];
} capture_flows_t;

/* The index of a flow, which is added if it is new. -1: there is no room. */
int64_t capture_flow_find(capture_flows_t *t, const capture_ends_t *ends);

/* Counts a datagram of flow `index`. */
void capture_flow_count(capture_flows_t *t, uint32_t index, uint32_t payload_bytes,
                        int64_t time_ns);

#endif
