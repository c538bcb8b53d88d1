/* probation.h: the packets of a source that is not validated yet (RFC 3550 appendix A.1).
 *
 * One packet does not show that a stream has begun. It is kept until the next ones follow, and
 * then goes to the readers before them, so that a stream loses nothing at its beginning. The
 * packets of one source are kept at a time, each with the next sequence number: another packet on
 * probation takes their place. */
#ifndef RTP_AGENT_PROBATION_H
#define RTP_AGENT_PROBATION_H

#include "proto/rtp/rtp_packet.h"
#include "worker/agent.h"

#include <stdbool.h>
#include <stdint.h>

#define PROBATION_MOST 8u

typedef struct probation {
    rx_item_t items[PROBATION_MOST]; /* oldest first */
    uint8_t *store;                  /* a place per item */
    uint32_t place_bytes;            /* longer packets are not kept */
    uint32_t room;                   /* items, at most PROBATION_MOST */
    uint32_t count;
    uint32_t ssrc;
    uint16_t last_seq;
} probation_t;

/* min_sequential: packets that validate a source. Takes memory of the channel. Returns 0, or
 * -ENOMEM with a text. */
int probation_init(probation_t *p, wrk_channel_t *ch, unsigned min_sequential,
                   uint32_t place_bytes);

/* Keeps a copy of a packet on probation. */
void probation_keep(probation_t *p, const rx_item_t *item, const rtp_view_t *v);

/* v validated its source at time_ns. Returns how many kept packets come right before it. They
 * stay valid until the next probation_keep. The others are dropped. */
unsigned probation_end(probation_t *p, const rtp_view_t *v, int64_t time_ns);

#endif
