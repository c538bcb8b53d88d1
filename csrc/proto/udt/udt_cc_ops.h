/* udt_cc_ops.h: the interface of a congestion controller to udt_cc.c. */
#ifndef UDT_CC_OPS_H
#define UDT_CC_OPS_H

#include "proto/udt/udt_cc_state.h"
#include "proto/udt/udt_seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UDT_CC_SYN_US 10000 /* UDT's unit of time */
#define UDT_CC_PS_PER_US INT64_C(1000000)
#define UDT_CC_PS_PER_S INT64_C(1000000000000)

typedef enum udt_cc_kind {
    UDT_CC_DAIMD = 0, /* libudt's own: additive increase by the estimated free capacity */
    UDT_CC_FIXED = 1, /* a given rate, whatever happens */
    UDT_CC_BBR = 2,   /* a model of the path: delivery rate and shortest round trip */
    UDT_CC_KINDS
} udt_cc_kind_t;

#define UDT_CC_MOST_RATE_BPS UINT64_C(1000000000000)

typedef struct udt_cc_config {
    udt_cc_kind_t kind;
    uint64_t seed;     /* of all random decisions; any value */
    uint64_t rate_bps; /* UDT_CC_FIXED only: bits per second of whole packets, as MSS counts them
                          (with IP, UDP and UDT headers), 1 .. UDT_CC_MOST_RATE_BPS */
} udt_cc_config_t;

/* The known facts of the connection, which the engine keeps up to date. Before the first ACK, RTT
 * and rates have the protocol's initial values (100 ms, 50 ms, 16 and 1 packets/s). */
typedef struct udt_cc_in {
    int64_t now_ns;  /* of the event; an arrival's own stamp if it has one. Never goes back */
    uint32_t rtt_us; /* smoothed as the protocol prescribes */
    uint32_t rtt_var_us;
    uint32_t rcv_rate_pps;        /* the receiver's arrival rate, smoothed; 0: unknown */
    uint32_t bandwidth_pps;       /* capacity by packet pairs, smoothed; 0: unknown */
    uint32_t mss_bytes;           /* agreed packet size, including IP and UDP headers (28) */
    uint32_t max_cwnd_packets;    /* the window that the peer requested in its handshake */
    uint32_t snd_curr_seq;        /* highest sent; ISN - 1 before the first */
    uint32_t snd_last_ack;        /* oldest unacknowledged, by ACKs of any length; ISN at first */
    uint32_t backlog_packets;     /* ready to leave now if pacing and windows let them: new ones and
                                     ones to resend. 0: the application is the limit */
} udt_cc_in_t;

typedef struct udt_cc udt_cc_t;

/* NULL: the controller ignores the event. */
typedef struct udt_cc_ops {
    void (*init)(udt_cc_t *cc, const udt_cc_config_t *config, const udt_cc_in_t *in);
    void (*on_light_ack)(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t ack);
    void (*on_ack)(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t ack);
    void (*on_loss)(udt_cc_t *cc, const udt_cc_in_t *in, const udt_seq_range_t *lost, size_t n);
    void (*on_timeout)(udt_cc_t *cc, const udt_cc_in_t *in);
    void (*on_packet_sent)(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t first_seq, uint32_t n,
                           bool repeated);
} udt_cc_ops_t;

struct udt_cc {
    const udt_cc_ops_t *ops;
    int64_t period_ps;     /* >= 0; 0: no pacing, the window alone decides */
    uint32_t cwnd_packets; /* >= 1 */
    udt_cc_state_t state;  /* private to the controller */
};

#endif
