/* rx_ring.h: the ring of received packets: one writer (the worker), any number of readers.
 * rx_ring.c explains how it works. */
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
    uint32_t lost_from;   /* sequence: losses before it are counted already */
    uint32_t room_from;   /* sequence: what rx_writer_room last found unread begins there */
    bool shown;           /* since sleepers were last woken */
} rx_writer_t;

typedef struct rx_item {
    const void *payload;
    uint32_t payload_bytes;
    shm_addr_t source;
    shm_addr_t local; /* the address of this host that it came to, of the
                         source's family; family 0: not known */
    int64_t time_ns;
    uint8_t stamp; /* shm_stamp_t */
    uint8_t flags; /* SHM_RX_SHARED_STAMP, SHM_RX_TRUNCATED */
    uint8_t tos;
    uint32_t tag; /* the engine's own */
} rx_item_t;

/* New or taken over: continues at the published cursors. Returns 0, -EPROTO. */
int rx_writer_init(rx_writer_t *w, shm_segment_t *s);

/* Copies one packet in, not visible yet. Returns 0; -ENOBUFS (SHM_OVERFLOW_WAIT only: the slowest
 * reader leaves no room, nothing was written); -EMSGSIZE. */
int rx_writer_put(rx_writer_t *w, const rx_item_t *item);

/* Like rx_writer_put, but the caller fills in the payload: *payload points to its place, and
 * item->payload is ignored. */
int rx_writer_begin(rx_writer_t *w, const rx_item_t *item, uint8_t **payload);

/* Makes the packets that were put visible without waking sleepers. rx_writer_publish wakes them. */
void rx_writer_show(rx_writer_t *w);

/* Makes the packets that were put visible, and wakes. Returns 1 if a system call woke sleepers. */
int rx_writer_publish(rx_writer_t *w);

/* How many packets were removed since the last call before they were read: by the slowest attached
 * reader, or in shared mode by the group, even if it has no reader now. Broadcast without readers:
 * 0. */
uint64_t rx_writer_lost(rx_writer_t *w);

/* How many messages fit for certain without overwriting an unread packet, if each brings up to
 * packets packets that hold up to payload_bytes together. (WAIT mode) An end that becomes a reader
 * after this call, at an older packet, is waited for from the next call on. */
uint32_t rx_writer_room(rx_writer_t *w, uint32_t packets, uint32_t payload_bytes);

/* Empties the ring for every reader. They count nothing as lost. */
void rx_writer_purge(rx_writer_t *w);

/* --- readers: one struct per thread --- */

#define RX_LOAN_NONE 0
#define RX_LOAN_BEGUN 1 /* the next packet is the first that is lent */
#define RX_LOAN_OUT 2

typedef struct rx_reader {
    const shm_rx_cursors_t *cursors;
    shm_rx_cursors_t *shared; /* non-NULL: writable mapping, shared
                                 mode or futex requests possible */
    shm_reader_t *slot;       /* NULL: read-only, or shared mode */
    const uint8_t *data;
    uint32_t units;
    uint32_t max_payload_bytes; /* a record with a larger value is damaged */
    int mode; /* shm_read_mode_t */
    shm_cursor_t cursor; /* reading each */
    shm_cursor_t loan_cursor; /* RX_LOAN_OUT: of the oldest packet that is lent */
    int loan;                 /* RX_LOAN_* */
    bool awaited;             /* the writer waits for this reader */
    uint64_t sequence;   /* 64-bit form, for widening */
    uint64_t lost;
    uint64_t lost_unreported; /* of those, found since the last packet was read */
} rx_reader_t;

/* A packet that was read. Its payload was copied to the caller's buffer. */
typedef struct rx_packet {
    uint64_t sequence;
    int64_t time_ns;
    shm_addr_t source;
    shm_addr_t local;       /* family 0: not known */
    uint32_t payload_bytes; /* of the packet, at most max_payload; the copy
                               is cut at the buffer's size */
    uint32_t tag; /* the engine's own */
    uint8_t stamp;
    uint8_t flags;
    uint8_t tos;
} rx_packet_t;

/* slot: as assigned by the worker, or CTL_NO_SLOT (read-only, shared mode). A new reader of its own
 * starts at the tail (from_oldest 0) or at the oldest packet still held (1). Returns 0, -EINVAL,
 * -EACCES (shared mode through a read-only mapping). */
int rx_reader_init(rx_reader_t *r, const shm_segment_t *s, uint32_t slot, int mode, int from_oldest);

/* Copies the next packet to buffer. payload_bytes is at most the channel's max_payload, whatever
 * the ring contains. *lost_before (may be NULL) gets how many packets were overwritten between the
 * previously read one and this one. Returns 1. 0: there is none, or the cursors move faster than
 * they can be read. */
int rx_reader_next(rx_reader_t *r, void *buffer, uint32_t buffer_bytes, rx_packet_t *packet,
                   uint64_t *lost_before);

/* The same without a copy: *payload is where the payload lies in the ring. It stays there until the
 * writer overwrites it. See rx_reader_loan. */
int rx_reader_next_in_place(rx_reader_t *r, const uint8_t **payload, rx_packet_t *packet);

/* Lends the packets that are read from now on. With SHM_READ_EACH the slot keeps the cursor
 * of the first of them until rx_reader_loan_end if the writer waits for its readers, which spares
 * them. Other writers overwrite them: packets below rx_reader_floor may be gone. One loan at a
 * time. */
void rx_reader_loan(rx_reader_t *r);
void rx_reader_loan_end(rx_reader_t *r);

/* The sequence of the oldest packet that is whole. What was read in place before this call, from
 * packets of this sequence or above, was whole. */
uint64_t rx_reader_floor(const rx_reader_t *r);

/* The cursor to show in the slot. */
static inline shm_cursor_t rx_reader_shown(const rx_reader_t *r)
{
    return r->loan == RX_LOAN_OUT && r->awaited ? r->loan_cursor : r->cursor;
}

/* Packets this reader could still take now. */
uint64_t rx_reader_waiting(const rx_reader_t *r);

/* Waits until a packet is there: spins for spin_ns, then sleeps until until_mono_ns. Returns 0 (try
 * again), -ETIMEDOUT, -EINTR. A read-only end, which may not write, naps for at most 1 ms at a
 * time. */
int rx_reader_wait(rx_reader_t *r, int64_t spin_ns, int64_t until_mono_ns);

#endif
