/* udt_stats.h: the statistics of a connection. Only the connection writes them, in memory that
 * other processes read meanwhile: no word is torn, but they are not all of one instant. The
 * connection adds to these values and bases no decision on them. */
#ifndef UDT_STATS_H
#define UDT_STATS_H

#include "base/rt_atomic.h"

#include <stdint.h>

/* One table for enum, labels and documentation: id, unit, meaning. */
#define UDT_COUNTERS(X)                                                                         \
    X(sent, packets, "data packets sent, retransmissions included")                             \
    X(sent_bytes, bytes, "application bytes in new data packets")                               \
    X(repeated, packets, "data packets retransmitted")                                          \
    X(received, packets, "data packets received, discarded ones included")                      \
    X(received_bytes, bytes, "application bytes in accepted data packets")                      \
    X(duplicates, packets, "data packets received again, or of a message given up")             \
    X(no_room, packets, "data packets discarded because the receive buffer was full")           \
    X(send_losses, packets, "data packets of ours lost, by NAK or timeout")                     \
    X(receive_losses, packets, "data packets found missing between received ones")              \
    X(acks_sent, packets, "full ACKs sent")                                                     \
    X(light_acks_sent, packets, "light ACKs sent")                                              \
    X(acks_received, packets, "ACKs received that acknowledged new data")                       \
    X(naks_sent, packets, "NAKs sent")                                                          \
    X(naks_received, packets, "NAKs received")                                                  \
    X(keepalives_sent, packets, "keepalives sent")                                              \
    X(drops_sent, packets, "requests sent to drop a message whose time had passed")             \
    X(drops_received, packets, "requests received to drop a message")                           \
    X(timeouts, times, "times nothing was heard for the allowed time with data unacknowledged") \
    X(overdue, packets, "lost data packets for which neither NAK nor ACK came in time")         \
    X(refused_parse, packets, "packets that are not UDT packets")                               \
    X(refused_id, packets, "packets for another socket")                                        \
    X(refused_state, packets, "packets that do not fit the state of the connection")            \
    X(refused_handshake, packets, "malformed handshakes")                                       \
    X(refused_data, packets, "data packets longer than agreed")                                 \
    X(refused_ack, packets, "ACKs of packets that were never sent")                             \
    X(refused_nak, packets, "NAKs of packets that were never sent")                             \
    X(refused_drop, packets, "invalid requests to drop a message")                              \
    X(refused_ack2, packets, "ACK2s for ACKs that were never sent, or sent long ago")

typedef enum udt_counter_id {
#define UDT_COUNTER_ID(id, unit, text) UDT_COUNT_##id,
    UDT_COUNTERS(UDT_COUNTER_ID)
#undef UDT_COUNTER_ID
        UDT_COUNTER_TOTAL
} udt_counter_id_t;

/* Rows: id, unit, the number that stands for "not known" if there is one, meaning. */
#define UDT_GAUGES(X)                                                                    \
    X(period_ps, ps, , "time between the starts of two packets")                         \
    X(flow_window_packets, packets, , "packets that the peer has room for")              \
    X(cwnd_packets, packets, , "packets that congestion control lets be unacknowledged") \
    X(flight_packets, packets, , "packets sent and not acknowledged")                    \
    X(rtt_us, us, , "smoothed round-trip time")                                          \
    X(rtt_var_us, us, , "smoothed deviation of the round-trip time")                     \
    X(capacity_pps, pps, , "capacity of the path we send on, as the peer reports")       \
    X(delivery_pps, pps, , "arrival rate at the peer, as the peer reports")              \
    X(mss_bytes, bytes, , "agreed packet size, IP and UDP headers (28) included")        \
    X(data_ns, ns, , "time with data unacknowledged")

typedef enum udt_gauge_id {
#define UDT_GAUGE_ID(id, unit, none, text) UDT_GAUGE_##id,
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
