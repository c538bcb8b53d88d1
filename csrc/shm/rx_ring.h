/* rx_ring.h: the ring of arrived packets: one writer (the worker), any number of readers.
 * Theory of operation stands in rx_ring.c. */
#ifndef SHM_RX_RING_H
#define SHM_RX_RING_H

#include "shm/shm_segment.h"

/* --- writer: the worker's thread only --- */

typedef struct rx_writer {
    shm_segment_t *segment;
    shm_rx_cursors_t *cursors;
    uint8_t *data;
    uint32_t units;
    uint32_t capacity; /* packets, 0: by bytes only */
    uint32_t max_payload_bytes;
    int wait_for_readers; /* SHM_OVERFLOW_WAIT */
    shm_cursor_t tail;    /* private; published by rx_writer_publish */
    shm_cursor_t floor;
    uint64_t sequence;    /* 64-bit sequence of the tail */
    uint32_t lost_from;   /* sequence: what was removed before it is counted */
    bool shown;           /* since sleepers were woken last */
} rx_writer_t;

typedef struct rx_item {
    const void *payload;
    uint32_t payload_bytes;
    shm_addr_t source;
    int64_t time_ns;
    uint8_t stamp; /* shm_stamp_t */
    uint8_t flags; /* SHM_RX_SHARED_STAMP, SHM_RX_TRUNCATED */
    uint8_t tos;
    uint32_t tag; /* the engine's own */
} rx_item_t;

/* Fresh or taken over: goes on where the published cursors stand. Returns 0, -EPROTO. */
int rx_writer_init(rx_writer_t *w, shm_segment_t *s);

/* Copies one packet in, not yet visible. Returns 0; -ENOBUFS (SHM_OVERFLOW_WAIT only: the slowest
 * reader leaves no room, nothing was written), -EMSGSIZE. */
int rx_writer_put(rx_writer_t *w, const rx_item_t *item);

/* As rx_writer_put, but the caller fills in the payload: *payload gets where, item->payload is not
 * looked at. */
int rx_writer_begin(rx_writer_t *w, const rx_item_t *item, uint8_t **payload);

/* Makes what was put visible to those who look; rx_writer_publish wakes those who sleep. */
void rx_writer_show(rx_writer_t *w);

/* Makes what was put visible, and wakes. Returns 1 if sleepers were woken by a system call. */
int rx_writer_publish(rx_writer_t *w);

/* How many of the packets that were removed to make room since the last call somebody who reads had
 * not taken yet: the slowest attached reader, or in shared mode the group, whether anybody of it is
 * there or not. Broadcast without readers: 0. */
uint64_t rx_writer_lost(rx_writer_t *w);

/* How many messages fit for certain without overwriting a packet that somebody has not taken, if each
 * brings up to packets packets that hold up to payload_bytes together. (WAIT mode) */
uint32_t rx_writer_room(const rx_writer_t *w, uint32_t packets, uint32_t payload_bytes);

/* Empties the ring for every reader (they count nothing as lost). */
void rx_writer_purge(rx_writer_t *w);

/* --- readers: one struct per thread --- */

typedef struct rx_reader {
    const shm_rx_cursors_t *cursors;
    shm_rx_cursors_t *shared; /* non-NULL: writable mapping, shared mode or futex requests possible */
    shm_reader_t *slot;       /* NULL: a tap, or shared mode */
    const uint8_t *data;
    uint32_t units;
    uint32_t max_payload_bytes; /* a record that says more is damaged */
    int mode; /* shm_read_mode_t */
    shm_cursor_t cursor; /* broadcast */
    uint64_t sequence;   /* 64-bit form, for widening */
    uint64_t lost;
    uint64_t lost_untold; /* of those, found since a packet was read last */
} rx_reader_t;

/* A packet as read; payload was copied to the caller's buffer. */
typedef struct rx_packet {
    uint64_t sequence;
    int64_t time_ns;
    shm_addr_t source;
    uint32_t payload_bytes; /* of the packet, at most max_payload; the copy is cut at the buffer's size */
    uint32_t tag; /* the engine's own */
    uint8_t stamp;
    uint8_t flags;
    uint8_t tos;
} rx_packet_t;

/* slot: as assigned by the worker, or CTL_NO_SLOT (tap, shared mode). A new broadcast reader starts at
 * the tail: from_oldest 0, or at the oldest packet still held: 1. Returns 0, -EINVAL, -EACCES (shared
 * mode through a read-only mapping). */
int rx_reader_init(rx_reader_t *r, const shm_segment_t *s, uint32_t slot, int mode, int from_oldest);

/* Copies the next packet to buffer. payload_bytes is at most the channel's max_payload, whatever lies in
 * the ring. Returns 1; 0 nothing there, or somebody else moves the cursors faster than they can be read; *lost_before (may be NULL) gets how
 * many packets were overwritten between the one read before and this one. */
int rx_reader_next(rx_reader_t *r, void *buffer, uint32_t buffer_bytes, rx_packet_t *packet,
                   uint64_t *lost_before);

/* Length of the next packet without taking it; -EAGAIN: nothing there. For sizing a buffer; the
 * packet may be gone (overwritten, taken by another) when it is then read. */
int rx_reader_peek_bytes(rx_reader_t *r);

/* Packets this reader could still take now. */
uint64_t rx_reader_waiting(const rx_reader_t *r);

/* Waits until a packet is there: spins for spin_ns, then sleeps until until_mono_ns. Returns 0 (look
 * again), -ETIMEDOUT, -EINTR. A tap, which may not write, naps for at most 1 ms at a time. */
int rx_reader_wait(rx_reader_t *r, int64_t spin_ns, int64_t until_mono_ns);

#endif
