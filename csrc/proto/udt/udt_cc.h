/* udt_cc.h: congestion control of one UDT connection, as a table of functions.
 *
 *                   what happens                          what it decides
 *     engine  -- on_ack, on_loss, on_timeout, -->  [ controller ]  --> period_ps      --> pacing
 *                on_packet_sent, with what is                      --> cwnd_packets   --> window
 *                known of the path (udt_cc_in_t)
 *
 * The engine calls these functions, and reads period_ps and cwnd_packets after each call:
 *
 *   udt_cc_on_light_ack    a 4-byte ACK that moves snd_last_ack forward
 *   udt_cc_on_ack          a longer ACK that frees packets (the first not repeated), after in's
 *                          RTT and rates have been brought up to date from it
 *   udt_cc_on_loss         each valid NAK that reports packets which were sent once, and not
 *                          reported before; before these go to the list of packets to resend
 *   udt_cc_on_timeout      the EXP timer ran out while packets are unacknowledged; those are
 *                          already in the list of packets to resend
 *   udt_cc_on_packet_sent  packets have left: new ones or repeated ones, a whole batch in one call
 *
 * and obeys these values:
 *
 *   period_ps              between the starts of two packets, new and repeated alike. The second of
 *                          a probe pair leaves at once, and its own period comes on top of the
 *                          first one's: the mean is kept. The user's limit (UDT_MAXBW) and a peer's
 *                          delay warning only make the period longer. The engine handles
 *                          both.
 *   cwnd_packets           a new packet may leave while unacknowledged ones are fewer than this and
 *                          fewer than the flow window. Repeated packets always may.
 *
 * The controller needs no calls for received packets (the protocol fixes how often they are
 * acknowledged) or for the end: all state is in udt_cc_t, which is the caller's memory. One thread,
 * no clock, no allocation, no system call. Random numbers of a controller come from a seed.
 *
 * A controller is added by adding its state to udt_cc_state.h and its table to udt_cc.c. */
#ifndef UDT_CC_H
#define UDT_CC_H

#include "proto/udt/udt_cc_ops.h"

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
 * tolerates those before snd_last_ack, and those that were reported before. */
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

/* first_seq and the n - 1 after it left at now_ns; in->snd_curr_seq counts them, in's
 * backlog_packets does not. */
static inline void udt_cc_on_packet_sent(udt_cc_t *cc, const udt_cc_in_t *in, uint32_t first_seq,
                                         uint32_t n, bool repeated)
{
    if (cc->ops->on_packet_sent != NULL)
        cc->ops->on_packet_sent(cc, in, first_seq, n, repeated);
}

#endif
