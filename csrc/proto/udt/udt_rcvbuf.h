/* udt_rcvbuf.h: received packets, one per slot, until the application has read them.
 *
 *          head                                        head + capacity
 *     ------|==========================|---x--xx-x------|------
 *           | ready: all arrived, or   | ahead: with    |  no room
 *           | given up by the sender   | holes          |
 *
 *     slots   state, size and flags of each packet (this struct's memory)
 *     bytes   their payloads, slot_bytes each, adjacent (the caller's; may be memory that the
 *             application reads)
 *
 * A packet is copied once, from the datagram into its slot, even out of order.
 *
 * Stream mode: the ready packets are the stream. Message mode: a message is delivered as soon as
 * all its packets have arrived, in the order of sequence numbers. A message with the in-order flag
 * is delivered only when it is ready. Parts of messages among the ready packets whose rest was
 * dropped are skipped, but a message that fills the whole buffer is delivered as far as it arrived.
 *
 * Caller's memory, one thread, no clock. */
#ifndef UDT_RCVBUF_H
#define UDT_RCVBUF_H

#include "proto/udt/udt_packet.h"

typedef struct udt_rcv_slot {
    uint32_t word1;
    uint16_t bytes;
    uint8_t state;
    uint8_t unused;
} udt_rcv_slot_t;

typedef struct udt_rcvbuf {
    uint8_t *bytes;
    udt_rcv_slot_t *slots;
    uint32_t slot_bytes;
    uint32_t capacity;
    bool is_stream;
    uint32_t head;        /* slot of the first packet that is not read */
    uint32_t head_seq;    /* its sequence number */
    uint32_t ready;       /* packets from head on */
    uint32_t held;        /* packets from head on up to the furthest that arrived */
    uint32_t read_bytes;  /* of the first packet, stream mode */
    uint32_t early;       /* whole messages ahead that may be delivered */
    uint32_t ends;        /* ready packets that are the last of a message */
    uint64_t ready_bytes; /* stream mode: to be read */
} udt_rcvbuf_t;

typedef struct udt_rcvbuf_config {
    bool is_stream;
    uint8_t *bytes;      /* udt_rcvbuf_data_bytes of them */
    uint32_t slot_bytes; /* longest payload */
    uint32_t capacity;   /* 32 .. 2^20 */
    bool memory_is_zero; /* fresh from the kernel: not touched before it is needed */
} udt_rcvbuf_config_t;

size_t udt_rcvbuf_memory_bytes(uint32_t capacity);
size_t udt_rcvbuf_data_bytes(uint32_t capacity, uint32_t slot_bytes);

/* memory: aligned to 8. The caller owns it and config->bytes. Both are in use until the caller
 * stops using the buffer. */
void udt_rcvbuf_init(udt_rcvbuf_t *b, const udt_rcvbuf_config_t *config, void *memory);

/* Before the first packet: its number. */
void udt_rcvbuf_start(udt_rcvbuf_t *b, uint32_t isn);

/* --- the protocol's side ------------------------------------------------------------------- */

/* Packets after the ready ones for which there is room. */
static inline uint32_t udt_rcvbuf_available(const udt_rcvbuf_t *b)
{
    return b->capacity - b->ready - 1;
}

/* Number after the last ready packet. */
static inline uint32_t udt_rcvbuf_ready_seq(const udt_rcvbuf_t *b)
{
    return udt_seq_skip(b->head_seq, b->ready);
}

/* Stores a packet of a view of data. Returns 1, 0 (it is there already, or its message was
 * dropped), -ERANGE (old), -ENOBUFS (no room for one that far ahead), -EMSGSIZE (longer than a
 * slot). */
int udt_rcvbuf_put(udt_rcvbuf_t *b, const udt_view_t *view);

/* Everything before seq has arrived or was dropped: it becomes ready. A seq that is not ahead
 * changes nothing. Returns how many packets became ready. */
uint32_t udt_rcvbuf_make_ready(udt_rcvbuf_t *b, uint32_t seq);

/* The sender dropped a message: its packets in first .. last are neither read nor stored if they
 * still come. Only packets with the message's number are affected. Others in the range stay. */
void udt_rcvbuf_give_up(udt_rcvbuf_t *b, const udt_drop_t *drop);

/* --- the application's side ---------------------------------------------------------------- */

/* Stream mode: takes bytes out. Returns how many, 0: nothing to read. */
size_t udt_rcvbuf_read(udt_rcvbuf_t *b, void *out, size_t room);

typedef struct udt_message {
    uint32_t slot;    /* of its first packet */
    uint32_t off;     /* that packet's distance from head */
    uint32_t packets; /* that it consists of */
    uint32_t number;
    uint64_t bytes;
} udt_message_t;

/* Message mode: the next message to read. Returns 1, or 0: there is none. Removes packets from the
 * head that cannot become a message. */
int udt_rcvbuf_message(udt_rcvbuf_t *b, udt_message_t *message);

/* Piece i, i < message->packets, of it. Returns its size. */
uint32_t udt_rcvbuf_message_piece(const udt_rcvbuf_t *b, const udt_message_t *message, uint32_t i,
                                  const uint8_t **at);

/* The message will be read over some time: the protocol's functions may be called before
 * udt_rcvbuf_message_done. The sender cannot drop it any more. */
void udt_rcvbuf_message_keep(udt_rcvbuf_t *b, const udt_message_t *message);

/* It was read. Call this directly after udt_rcvbuf_message or udt_rcvbuf_message_keep. */
void udt_rcvbuf_message_done(udt_rcvbuf_t *b, const udt_message_t *message);

/* Whether there is anything to read. */
bool udt_rcvbuf_is_readable(udt_rcvbuf_t *b);

#endif
