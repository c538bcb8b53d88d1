/* udt_estimate.h: what a connection measures about its path.
 *
 *   round trip   udt_ack_history: from an ACK sent to its ACK2. udt_rtt: smoothed.
 *   arrival      packets per second, from the gaps between arrivals
 *   capacity     packets per second, from the gap between the two packets of a probe pair, which
 *                the sender sends back to back (numbers 0 and 1 modulo 16)
 *
 * Both rates ignore values far from the median. Packets that were read together and share one
 * receive timestamp count as spread evenly over the gap that ends with the next timestamp.
 *
 * Caller's memory, one thread, no clock. */
#ifndef UDT_ESTIMATE_H
#define UDT_ESTIMATE_H

#include "proto/udt/udt_seq.h"

#define UDT_FIRST_RTT_US 100000u
#define UDT_FIRST_RTT_VAR_US 50000u
#define UDT_MAX_RTT_US 60000000u /* no sample counts as more */

typedef struct udt_rtt {
    uint32_t rtt_us;
    uint32_t var_us;
} udt_rtt_t;

static inline void udt_rtt_init(udt_rtt_t *r)
{
    *r = (udt_rtt_t){.rtt_us = UDT_FIRST_RTT_US, .var_us = UDT_FIRST_RTT_VAR_US};
}

/* The variance first, by the estimate before this sample. */
void udt_rtt_sample(udt_rtt_t *r, uint32_t sample_us);

/* RTT + 4 variances: after this long an answer is overdue. */
static inline int64_t udt_rtt_overdue_ns(const udt_rtt_t *r)
{
    return ((int64_t)r->rtt_us + 4 * (int64_t)r->var_us) * 1000;
}

/* --- ACKs on the way ----------------------------------------------------------------------- */

#define UDT_ACK_HISTORY 512u

typedef struct udt_sent_ack {
    int64_t sent_ns;
    uint32_t number;
    uint32_t seq;
} udt_sent_ack_t;

typedef struct udt_ack_history {
    udt_sent_ack_t acks[UDT_ACK_HISTORY]; /* number modulo 512; number 0 with sent_ns 0: none */
} udt_ack_history_t;

void udt_ack_history_put(udt_ack_history_t *h, uint32_t number, uint32_t seq, int64_t now_ns);

/* Takes out the ACK of that number. false: it is unknown or was overwritten. */
bool udt_ack_history_take(udt_ack_history_t *h, uint32_t number, udt_sent_ack_t *ack);

/* --- rates --------------------------------------------------------------------------------- */

#define UDT_ARRIVAL_SLOTS 16u
#define UDT_PROBE_SLOTS 64u

typedef struct udt_arrivals {
    int64_t gaps_ns[UDT_ARRIVAL_SLOTS];
    int64_t probes_ns[UDT_PROBE_SLOTS];
    uint32_t gap_at;
    uint32_t probe_at;
    int64_t last_ns;   /* arrival stamp of the last packets */
    uint32_t together; /* how many of them shared it */
    int64_t probe_ns;  /* arrival of the first of a pair, 0: none */
    uint32_t probe_seq;
} udt_arrivals_t;

void udt_arrivals_init(udt_arrivals_t *a, int64_t now_ns);

/* A data packet, new or repeated, arrived at arrival_ns. */
void udt_arrivals_packet(udt_arrivals_t *a, uint32_t seq, int64_t arrival_ns);

/* Packets per second; 0: not known. */
uint32_t udt_arrivals_rate_pps(const udt_arrivals_t *a);

/* Packets per second; 1000 until something is known. */
uint32_t udt_arrivals_capacity_pps(const udt_arrivals_t *a);

#endif
