/* traffic.h: packets of several flows in the order of their deadlines, with their payloads.
 * Sans-IO: the caller sends them. The same configuration and seeds give the same packets.
 *
 *   traffic_rate   instants from a rate that changes
 *   traffic_sizes  how long packets are
 *   traffic_flow   one flow
 *
 * A packet is a request of STAMP (proto/stamp/stamp_packet.h): its sequence number in the flow, its
 * deadline as T1, and the number of its flow + 1 as SSID. Bytes after the first 44 are padding, as
 * one TLV of RFC 8972 (Extra Padding) where its head has room. A packet of 16 to 43 bytes is the
 * beginning of a request, which ends behind the SSID or later. A reflector does not answer it.
 *
 * The flow that is due first is at the top of a heap of flow numbers. Its next packet sinks from
 * there, so nothing is ever allocated.
 *
 * One thread at a time. */
#ifndef PROTO_TRAFFIC_H
#define PROTO_TRAFFIC_H

#include "proto/stamp/stamp_packet.h"
#include "proto/traffic/traffic_flow.h"

#define TRAFFIC_MAX_FLOWS 65535u

/* The timestamps in packets. */
typedef struct traffic_clock {
    int64_t ahead_ns; /* what its time is ahead of the clock of the deadlines */
    int64_t error_ns; /* at most */
    bool synchronised;
    uint32_t format; /* stamp_format_t */
} traffic_clock_t;

typedef struct traffic {
    traffic_flow_t *flows;
    uint32_t *heap; /* numbers of flows that have packets */
    uint32_t flow_count;
    uint32_t heap_count;
    int64_t start_ns; /* in the clock of the deadlines, above 0 */
    traffic_clock_t clock;
    bool random_padding; /* otherwise zero */
} traffic_t;

/* flows: with their `config`. heap: as many numbers. Both are the caller's, and in use until the
 * last call. The caller sets start_ns, clock and random_padding before the first batch. Returns 0;
 * -EINVAL with a text. */
int traffic_init(traffic_t *t, traffic_flow_t *flows, uint32_t *heap, uint32_t flow_count);

/* Plans at most max packets, as many as fit into `bytes` (at least TRAFFIC_MOST_BYTES) of payloads,
 * into lanes[0] (IPv4) and lanes[1] (IPv6), each with room for max. Returns how many. 0: no flow
 * has any. */
uint32_t traffic_batch(traffic_t *t, uint8_t *payloads, size_t bytes, uint32_t max,
                       due_lane_t *lanes);

#endif
