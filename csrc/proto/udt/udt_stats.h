/* udt_stats.h: what is known of a connection. Written by its connection only; made to lie in memory
 * that other processes read while it is written: each word is whole, not all of them of one
 * instant. The connection adds to what lies there and bases no decision on it. */
#ifndef UDT_STATS_H
#define UDT_STATS_H

#include "base/rt_atomic.h"

#include <stdint.h>

/* One table for enum, labels and documentation: id, unit, meaning. */
#define UDT_COUNTERS(X)                                                                    \
    X(sent, packets, "of data, repeated ones too")                                         \
    X(sent_bytes, bytes, "of the application in new packets of data")                      \
    X(repeated, packets, "of sent: not for the first time")                                \
    X(received, packets, "of data, also those that were not taken")                        \
    X(received_bytes, bytes, "of the application in packets taken")                        \
    X(duplicates, packets, "of received: there already, or of a message given up")         \
    X(no_room, packets, "of received: too far ahead of what was read")                     \
    X(send_losses, packets, "of ours that became lost, by NAK or by silence")              \
    X(receive_losses, packets, "found missing between received ones")                      \
    X(acks_sent, packets, "but light ones")                                                \
    X(light_acks_sent, packets, "")                                                        \
    X(acks_received, packets, "that acknowledged something new")                           \
    X(naks_sent, packets, "")                                                              \
    X(naks_received, packets, "")                                                          \
    X(keepalives_sent, packets, "")                                                        \
    X(drops_sent, packets, "requests to give up a message whose time had passed")          \
    X(drops_received, packets, "")                                                         \
    X(timeouts, times, "nothing was heard for the time allowed, with data unacknowledged") \
    X(overdue, packets, "of send_losses: no NAK came, nor an ACK in the time it takes")    \
    X(refused_parse, packets, "that are not UDT's")                                        \
    X(refused_id, packets, "for another socket")                                           \
    X(refused_state, packets, "that do not fit the state of the connection")               \
    X(refused_handshake, packets, "handshakes with values that cannot be")                 \
    X(refused_data, packets, "of data longer than agreed")                                 \
    X(refused_ack, packets, "ACKs of packets that were never sent")                        \
    X(refused_nak, packets, "NAKs of packets that were never sent")                        \
    X(refused_drop, packets, "requests to give up what cannot be given up")                \
    X(refused_ack2, packets, "for ACKs that were never sent, or long ago")

typedef enum udt_counter_id {
#define UDT_COUNTER_ID(id, unit, text) UDT_COUNT_##id,
    UDT_COUNTERS(UDT_COUNTER_ID)
#undef UDT_COUNTER_ID
        UDT_COUNTER_TOTAL
} udt_counter_id_t;

#define UDT_GAUGES(X)                                                               \
    X(period_ps, "between the starts of two packets, picoseconds")                  \
    X(flow_window_packets, "what the peer has room for")                            \
    X(cwnd_packets, "what congestion control lets be unacknowledged")               \
    X(flight_packets, "sent and not acknowledged")                                  \
    X(rtt_us, "round trip, smoothed")                                               \
    X(rtt_var_us, "its deviation, smoothed")                                        \
    X(capacity_pps, "of the path we send on, packets per second, as the peer says") \
    X(delivery_pps, "arrival rate at the peer, packets per second, as it says")     \
    X(mss_bytes, "agreed size of a packet, IP and UDP headers (28) included")       \
    X(data_ns, "time with data unacknowledged")

typedef enum udt_gauge_id {
#define UDT_GAUGE_ID(id, text) UDT_GAUGE_##id,
    UDT_GAUGES(UDT_GAUGE_ID)
#undef UDT_GAUGE_ID
        UDT_GAUGE_TOTAL
} udt_gauge_id_t;

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
