/* udt_sndbuf.h: the bytes to send, and the packets they were cut into.
 *
 *     bytes (a ring, the caller's; may be memory that the application writes)
 *
 *          freed             cut                  written
 *     -------|================|--------------------|------------ ring ends --
 *            | in packets     | stream: not cut    |   free
 *            |                | yet                |
 *     packets (a ring of descriptors, ours)
 *
 *          first              next                end
 *     -------|================|--------------------|---
 *            | sent,          | message mode:      |
 *            | unacknowledged | cut, not yet sent  |
 *
 * Nothing is copied here: the caller writes into the ring, and packets point into it until they are
 * acknowledged. No packet wraps at the end of the ring, so each is contiguous.
 *
 * Stream mode: bytes are cut into packets at their first transmission, so that waiting bytes leave
 * in full packets, whatever the sizes of the writes. Every packet is a separate message. A receiver
 * in stream mode ignores that.
 * Message mode: a message is cut when it is written. Its packets have one number and flags for
 * first, middle and last.
 *
 * A packet keeps its sequence number, its bytes and its flags for all transmissions.
 *
 * Caller's memory, one thread, no clock. */
#ifndef UDT_SNDBUF_H
#define UDT_SNDBUF_H

#include "proto/udt/udt_packet.h"

typedef struct udt_snd_packet {
    int64_t sent_ns; /* last transmission */
    int64_t born_ns; /* when its message was given */
    uint32_t at;     /* in the ring of bytes */
    uint32_t word1;  /* of its header */
    int32_t ttl_ms;  /* -1: forever */
    uint16_t bytes;
    uint8_t sends; /* transmissions; stays at 255 */
    uint8_t unused;
} udt_snd_packet_t;

_Static_assert(sizeof(udt_snd_packet_t) == 32, "a descriptor without holes");

typedef struct udt_sndbuf {
    uint8_t *bytes;
    udt_snd_packet_t *packets;
    uint32_t size;          /* of the ring of bytes */
    uint32_t mask;          /* of the ring of packets */
    uint32_t max_packets;   /* unacknowledged ones, sent or not */
    uint32_t payload_bytes; /* of a full packet */
    bool is_stream;
    uint32_t message;  /* number of the next one */
    uint32_t write_at; /* in the ring of bytes */
    uint32_t cut_at;
    uint32_t used;  /* freed .. written, in bytes */
    uint32_t uncut; /* cut .. written, in bytes */
    uint32_t first; /* sequence number of the first unacknowledged packet */
    uint32_t sent;  /* packets from first on that were sent, or passed over */
    uint32_t count; /* packets from first on */
} udt_sndbuf_t;

typedef struct udt_sndbuf_config {
    bool is_stream;
    uint8_t *bytes;
    uint32_t size;        /* 1 .. 2^31 */
    uint32_t max_packets; /* 1 .. 2^20 */
} udt_sndbuf_config_t;

/* Memory for the descriptors of that many packets. */
size_t udt_sndbuf_memory_bytes(uint32_t max_packets);

/* memory: aligned to 8; both it and config->bytes are the caller's, in use until the caller stops
 * using the buffer. */
void udt_sndbuf_init(udt_sndbuf_t *b, const udt_sndbuf_config_t *config, void *memory);

/* Before the first bytes: number of the first packet, and how many bytes a packet may have. */
void udt_sndbuf_start(udt_sndbuf_t *b, uint32_t isn, uint32_t payload_bytes);

/* --- the application's side ---------------------------------------------------------------- */

/* The bytes that can be written now; in message mode the longest message that can be given now. */
uint32_t udt_sndbuf_free_bytes(const udt_sndbuf_t *b);

/* The longest message that could ever be given. */
uint32_t udt_sndbuf_max_message_bytes(const udt_sndbuf_t *b);

/* Message mode: the next bytes are one message. ttl_ms: -1 forever. Returns 0, -EINVAL (0 bytes),
 * -EMSGSIZE (longer than can ever be given), -ENOSPC (more than can be given now). */
int udt_sndbuf_commit_message(udt_sndbuf_t *b, uint32_t bytes, int32_t ttl_ms, bool in_order,
                              int64_t now_ns);

/* Stream mode: copies bytes into the ring. Returns how many there was room for. */
uint32_t udt_sndbuf_write(udt_sndbuf_t *b, const void *data, uint32_t bytes);

/* Message mode: copies bytes to skip bytes after the place of the next ones; together not more than
 * are free. For a message that comes in pieces. Then commit it. */
void udt_sndbuf_copy_at(udt_sndbuf_t *b, uint32_t skip, const void *data, uint32_t bytes);

/* --- the protocol's side ------------------------------------------------------------------- */

/* Packets that were never sent: in stream mode as many as the waiting bytes fill, the last one in
 * part. */
uint32_t udt_sndbuf_new_packets(const udt_sndbuf_t *b);

/* The next packet to be sent for the first time, counted as sent by this call; its number is
 * *seq. NULL: nothing to send, or, in stream mode, no descriptor free. */
udt_snd_packet_t *udt_sndbuf_next(udt_sndbuf_t *b, uint32_t *seq);

/* A packet that was sent and is not acknowledged; NULL for any other number. */
udt_snd_packet_t *udt_sndbuf_get(const udt_sndbuf_t *b, uint32_t seq);

/* All before seq has arrived. Returns how many packets were freed by that; 0 also where seq is not
 * among those sent. */
uint32_t udt_sndbuf_ack(udt_sndbuf_t *b, uint32_t seq);

/* The packets from seq, which was sent, to the end of its message; those of them not sent yet count
 * as sent from now on. Returns the last one's number. */
uint32_t udt_sndbuf_pass_over(udt_sndbuf_t *b, uint32_t seq);

/* Number of the next new packet. */
static inline uint32_t udt_sndbuf_next_seq(const udt_sndbuf_t *b)
{
    return udt_seq_skip(b->first, b->sent);
}

/* Nothing is left that is not acknowledged. */
static inline bool udt_sndbuf_is_empty(const udt_sndbuf_t *b)
{
    return b->used == 0;
}

static inline const uint8_t *udt_sndbuf_payload(const udt_sndbuf_t *b, const udt_snd_packet_t *p)
{
    return b->bytes + p->at;
}

#endif
