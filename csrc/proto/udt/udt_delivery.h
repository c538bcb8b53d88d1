/* udt_delivery.h: the rate at which packets arrive at the other end, the number in flight, and the
 * round trip, as the sender learns them from UDT's ACKs and NAKs. For controllers with a model of
 * the path.
 *
 * Packets have positions here: 0 is the first of the connection, and they do not wrap.
 *
 *          acked           hole    top        sent
 *     -------|===========..####====|------------>
 *      ACKs  |  arrived, behind    |  on the way
 *      say so|  the first hole     |
 *
 * An ACK stops at the first hole. A NAK says more: the packet after those it reports has just
 * arrived, so all earlier ones that were not reported have, too. This is exact at a NAK, and at an
 * ACK that reaches the top. Then it is an observation. Between these, after an open hole, only
 * filled holes are reported, late and many at a time, and nothing is observed.
 *
 *     in flight = sent - top + packets in open holes (they are repeated at once)
 *     delivered = top - all packets ever reported
 *
 * So delivered counts packets that arrived at the first attempt. Repeated packets would distort it,
 * because their arrival time is unknown. So the rate is below the path's by the share of losses.
 *
 * Each observation is compared with a mark that was set when packets left: the number delivered
 * then, and the time. Marks are set about sixteen times a window, so memory is fixed. The rate is
 *
 *     (delivered now - delivered at the mark) / longer of (time of arrival, time of sending)
 *
 * over at least UDT_DELIVERY_LEAST_INTERVAL_NS, because ACKs come every 10 ms: bursts of the sender
 * cannot raise it (time of sending), nor bunches of ACKs (time of arrival). RTT is never below the
 * true one, and is near it if the marked packet is the newest that arrived.
 *
 * One thread. Caller's memory. Pure arithmetic. */
#ifndef UDT_DELIVERY_H
#define UDT_DELIVERY_H

#include "base/rt_clock.h"
#include "proto/udt/udt_seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UDT_DELIVERY_MARKS 128u
#define UDT_DELIVERY_HOLES 256u
#define UDT_DELIVERY_LEAST_INTERVAL_NS (10 * RT_NS_PER_MS)

typedef struct udt_delivery_mark {
    uint64_t position; /* of the first packet of a batch */
    uint64_t delivered;
    int64_t delivered_ns;
    int64_t first_sent_ns; /* when the newest packet delivered by then was sent */
    int64_t sent_ns;
    uint32_t in_flight;
    bool app_limited;
} udt_delivery_mark_t;

typedef struct udt_delivery_hole {
    uint64_t first;
    uint64_t end; /* after the last */
} udt_delivery_hole_t;

typedef struct udt_delivery {
    uint32_t acked_seq;
    uint64_t acked;
    uint64_t top;
    uint64_t sent;
    uint64_t lost;     /* reported packets, counted at each report */
    uint64_t reported; /* counted at the first report */
    uint64_t hole_packets;
    int64_t delivered_ns; /* of the last observation */
    int64_t first_sent_ns;
    uint64_t app_limited_until; /* position; 0: not limited */
    uint32_t mark_head;
    uint32_t marks;
    uint32_t hole_head;
    uint32_t holes;
    udt_delivery_mark_t mark[UDT_DELIVERY_MARKS];
    udt_delivery_hole_t hole[UDT_DELIVERY_HOLES];
} udt_delivery_t;

typedef struct udt_delivery_sample {
    double rate_pps;         /* 0: too short an interval to tell */
    int64_t rtt_ns;          /* of the marked packet: never too short */
    int64_t rtt_about_ns;    /* of the newest, if packets left evenly between two marks */
    uint64_t delivered_then; /* when the newest packet now delivered was sent */
    uint32_t in_flight_then; /* that one included */
    bool app_limited;
} udt_delivery_sample_t;

/* first_seq: number of the first packet. */
void udt_delivery_init(udt_delivery_t *d, uint32_t first_seq, int64_t now_ns);

/* New packets first_seq .. first_seq + n - 1 have left. app_limited: there were no more to send. */
void udt_delivery_sent(udt_delivery_t *d, uint32_t first_seq, uint32_t n, bool app_limited,
                       int64_t now_ns);

/* An ACK or a NAK. True: an observation, in *sample. */
bool udt_delivery_acked(udt_delivery_t *d, uint32_t ack, int64_t now_ns,
                        udt_delivery_sample_t *sample);
bool udt_delivery_lost(udt_delivery_t *d, const udt_seq_range_t *lost, size_t n, int64_t now_ns,
                       udt_delivery_sample_t *sample);

static inline uint64_t udt_delivery_delivered(const udt_delivery_t *d)
{
    return d->top - d->reported;
}

static inline uint32_t udt_delivery_in_flight(const udt_delivery_t *d)
{
    return (uint32_t)(d->sent - d->top + d->hole_packets);
}

/* Packets that arrived but are not acknowledged, because something before them is missing. */
static inline uint32_t udt_delivery_waiting(const udt_delivery_t *d)
{
    return (uint32_t)(d->top - d->acked - d->hole_packets);
}

#endif
