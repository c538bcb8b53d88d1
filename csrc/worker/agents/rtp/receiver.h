/* receiver.h: the receiving side of an RTP channel: from datagrams to frames in the rx ring.
 *
 *   datagram -> header -> source (RFC 3550 A.1) -> slot of the store -> jitter buffer -> rx ring
 *       \          \           \                                            \
 *        malformed  wrong type  foreign, on probation              late, duplicate, overflow
 *
 * The store is fixed memory allocated at open. The jitter buffer keeps the numbers of its slots. */
#ifndef RTP_AGENT_RX_H
#define RTP_AGENT_RX_H

#include "proto/rtp/rtp_jitter_buffer.h"
#include "proto/rtp/rtp_source.h"
#include "shm/rtp_shm.h"
#include "worker/agent.h"
#include "worker/agents/common/receive.h"
#include "worker/agents/rtp/probation.h"

/* A packet in the form that it has in the ring, and its source. */
typedef struct rtp_slot {
    shm_addr_t source;
    shm_addr_t local;
    int64_t time_ns; /* channel's clock */
    uint8_t stamp;
    uint8_t flags; /* of the rx record */
    uint8_t tos;
    uint32_t bytes; /* bytes after head */
    shm_rtp_rx_t head;
    uint8_t body[]; /* CSRC list, extension, media */
} rtp_slot_t;

typedef struct rtp_receiver {
    bool on;
    bool buffered;
    rtp_source_t source;
    probation_t probation;
    rtp_jitter_buffer_t buffer;
    rtp_jitter_buffer_entry_t *entries;
    uint8_t *store;
    uint32_t slot_bytes;
    uint32_t room; /* of a slot's body */
    uint32_t *free_slots;
    uint32_t free_count;

    bool bye_waits; /* for the packets before it */
    uint32_t bye_ssrc;
    uint64_t bye_seq; /* highest number before it */
    int64_t bye_mono_ns;

    uint8_t resync_flags; /* reason for the next resync */
    bool new_source;      /* the next frame delivered is the first of another SSRC */
    bool resync_first;    /* another worker delivered the packets in the ring */
    uint32_t ssrc;        /* of the frame delivered last */
    shm_addr_t from;      /* of the frame delivered last */
    shm_addr_t came_to;   /* likewise: the address of this host; family 0: there is one */
    uint64_t raw_top;     /* as arrived: highest number delivered */
    uint64_t raw_offset;  /* added to it, so that numbers do not decrease */

    agent_receiver_t receiver; /* of the media socket */
} rtp_receiver_t;

#endif
