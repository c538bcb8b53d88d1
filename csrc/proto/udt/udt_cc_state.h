/* udt_cc_state.h: the state of each congestion controller, in one place so that a connection can
 * hold any of them without allocating. Private to udt_cc_*.c. */
#ifndef UDT_CC_STATE_H
#define UDT_CC_STATE_H

#include "base/rt_random.h"
#include "proto/udt/udt_delivery.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct udt_cc_daimd {
    double period_us;
    double cwnd;
    double last_dec_period_us;
    double avg_nak;
    int64_t next_rate_ns; /* of rate control */
    uint32_t last_ack;
    uint32_t last_dec_seq;
    uint32_t hole_last; /* highest known to be lost */
    uint32_t nak_count;
    uint32_t dec_random;
    uint32_t dec_count;
    bool slow_start;
    bool loss;
    rt_random_t chance;
} udt_cc_daimd_t;

typedef enum udt_bbr_phase {
    UDT_BBR_STARTUP = 0,
    UDT_BBR_DRAIN = 1,
    UDT_BBR_DOWN = 2,
    UDT_BBR_CRUISE = 3,
    UDT_BBR_REFILL = 4,
    UDT_BBR_UP = 5,
    UDT_BBR_PROBE_RTT = 6,
} udt_bbr_phase_t;

typedef struct udt_cc_bbr {
    udt_bbr_phase_t phase;
    uint32_t timeouts; /* consecutive timeouts */
    uint32_t rounds_in_phase;
    uint32_t rounds_since_probe;
    int64_t round_since_ns;
    uint64_t round_end; /* the round ends with the first packet sent after this many arrived */

    double bw_max_pps[2];       /* of this cycle and of the one before */
    int64_t bw_since_ns;        /* beginning of this cycle */
    bool probe_echo;            /* packets sent in UP are not reported yet:
                                   when they are, this cycle ends */
    int64_t min_rtt_ns;         /* 0: unknown */
    int64_t min_rtt_at_ns;      /* when it was last confirmed */
    int64_t probe_rtt_ns;       /* PROBE_RTT: least seen */
    int64_t probe_rtt_until_ns; /* PROBE_RTT: 0: the queue is still draining */

    double full_bw_pps;   /* STARTUP, UP: the rate that growth is measured by */
    uint32_t full_rounds; /* without growth */
    double up_from;       /* UP: in flight when it began */
    double up_from_pps;   /* UP: rate when it began */
    int probe_backoff;         /* factor of the time between probes */
    double probe_spread;  /* the same, random: 1 .. 1.5 */
    int64_t next_probe_ns;

    double in_flight_hi;   /* in flight without much loss; INFINITY: not known */
    double in_flight_peak; /* before the last ACK or NAK */
    uint64_t delivered_seen;
    uint64_t loss_from_lost; /* base of the share of losses */
    uint64_t loss_from_delivered;
    bool queue_seen;    /* since then */
    bool queue_is_long; /* at the last observation */

    rt_random_t chance;
    udt_delivery_t delivery;
} udt_cc_bbr_t;

typedef union udt_cc_state {
    udt_cc_daimd_t daimd;
    udt_cc_bbr_t bbr;
} udt_cc_state_t;

#endif
