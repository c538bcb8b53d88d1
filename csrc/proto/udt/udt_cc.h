/* udt_cc.h: congestion control of one UDT connection, as a table of functions.
 *
 *                   what happens                          what it decides
 *     engine  -- on_ack, on_loss, on_timeout, -->  [ controller ]  --> period_ps      --> pacing
 *                on_packet_sent, with what is                      --> cwnd_packets   --> window
 *                known of the path (udt_cc_in_t)
 *
 * The engine calls, and after each call reads period_ps and cwnd_packets anew:
 *
 *   udt_cc_on_light_ack    a 4-byte ACK that moves snd_last_ack forward
 *   udt_cc_on_ack          a longer ACK that frees packets (the first not repeated), after in's
 *                          RTT and rates have been brought up to date from it
 *   udt_cc_on_loss         each valid NAK that reports packets which were sent once, and not
 *                          reported before; before these go to the list of what to resend
 *   udt_cc_on_timeout      the EXP timer ran out while packets are unacknowledged; those are in the
 *                          list of what to resend already
 *   udt_cc_on_packet_sent  packets have left: new ones or repeated ones, a whole batch in one call
 *
 * and keeps to what they say:
 *
 *   period_ps              between the starts of two packets, new and repeated alike. The second of
 *                          a probe pair leaves at once, and its own period comes on top of the
 *                          first one's: the mean is kept. A limit of the user's (UDT_MAXBW) or the
 *                          delay warning of a peer only ever makes the period longer: both are the
 *                          engine's affair.
 *   cwnd_packets           a new packet may leave while unacknowledged ones are fewer than this and
 *                          fewer than the flow window. Repeated packets do not ask.
 *
 * Nobody needs to be told of received packets (how often they are acknowledged is fixed by the
 * protocol) nor of the end: all state lies in udt_cc_t, which is the caller's memory. One thread,
 * no clock, no allocation, no system call. Chance, where a controller needs it, comes from a seed.
 *
 * A controller is added by adding its state to udt_cc_state.h and its table to udt_cc.c. */
#ifndef UDT_CC_H
#define UDT_CC_H

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
    UDT_CC_CTCP = 1,  /* a window as TCP Reno's */
    UDT_CC_FIXED = 2, /* a given rate, whatever happens */
    UDT_CC_BBR = 3,   /* a model of the path: delivery rate and shortest round trip */
    UDT_CC_KINDS
} udt_cc_kind_t;

#define UDT_CC_MOST_RATE_BPS UINT64_C(1000000000000)

typedef struct udt_cc_config {
    udt_cc_kind_t kind;
    uint64_t seed;     /* of all chance; any value */
    uint64_t rate_bps; /* UDT_CC_FIXED only: bits per second of whole packets, as MSS counts them
                          (with IP, UDP and UDT headers), 1 .. UDT_CC_MOST_RATE_BPS */
} udt_cc_config_t;

/* What is known of the connection; the engine's, kept up to date by it. Before the first ACK RTT
 * and rates have the protocol's initial values (100 ms, 50 ms, 16 and 1 packets/s). */
typedef struct udt_cc_in {
    int64_t now_ns;  /* of the event; an arrival's own stamp if it has one. Never goes back */
    uint32_t rtt_us; /* smoothed as the protocol says */
    uint32_t rtt_var_us;
    uint32_t rcv_rate_pps;        /* the receiver's arrival rate, smoothed; 0: unknown */
    uint32_t bandwidth_pps;       /* capacity by packet pairs, smoothed; 0: unknown */
    uint32_t mss_bytes;           /* agreed packet size, IP and UDP headers (28) included */
    uint32_t max_cwnd_packets;    /* the window the peer asked for in its handshake */
    uint32_t flow_window_packets; /* what the peer said last */
    uint32_t snd_curr_seq;        /* highest sent; ISN - 1 before the first */
    uint32_t snd_last_ack;        /* oldest unacknowledged, by ACKs of any length; ISN at first */
    uint32_t backlog_packets;     /* ready to leave now if pacing and windows let them: new ones and
                                     ones to resend. 0: the application is the limit */
} udt_cc_in_t;

typedef struct udt_cc udt_cc_t;

/* NULL: the controller does not care. */
typedef struct udt_cc_ops {
    const char *name; /* for users: "daimd", "ctcp", "fixed", "bbr" */
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

/* The table of a kind, NULL for a number that is none. */
const udt_cc_ops_t *udt_cc_ops(udt_cc_kind_t kind);

/* The kind that has this name, or -EINVAL with a text that names those there are. */
int udt_cc_kind_by_name(const char *name);

/* in: as the connection begins, with now_ns. Returns 0, or -EINVAL with a text. */
int udt_cc_init(udt_cc_t *cc, const udt_cc_config_t *config, const udt_cc_in_t *in);

/* ack: every packet before it has arrived; in->snd_last_ack is it, or a later one. */
static inline void udt_cc_on_light_ack(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t ack)
{
    if (cc->ops->on_light_ack != NULL)
        cc->ops->on_light_ack(cc, in, ack);
}

static inline void udt_cc_on_ack(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t ack)
{
    if (cc->ops->on_ack != NULL)
        cc->ops->on_ack(cc, in, ack);
}

/* lost: ranges in the NAK's own order, n >= 1, none of them beyond snd_curr_seq; a controller
 * stands those that lie before snd_last_ack, and those that were reported before. */
static inline void udt_cc_on_loss(udt_cc_t *cc, const udt_cc_in_t *in, const udt_seq_range_t *lost,
                                  size_t n)
{
    if (cc->ops->on_loss != NULL)
        cc->ops->on_loss(cc, in, lost, n);
}

static inline void udt_cc_on_timeout(udt_cc_t *cc, const udt_cc_in_t *in)
{
    if (cc->ops->on_timeout != NULL)
        cc->ops->on_timeout(cc, in);
}

/* first_seq and the n - 1 behind it left at now_ns; in->snd_curr_seq counts them, in's
 * backlog_packets does not. */
static inline void udt_cc_on_packet_sent(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t first_seq,
                                         uint32_t n, bool repeated)
{
    if (cc->ops->on_packet_sent != NULL)
        cc->ops->on_packet_sent(cc, in, first_seq, n, repeated);
}

#endif
