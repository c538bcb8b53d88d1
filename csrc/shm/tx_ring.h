/* tx_ring.h: the producers' side of the tx ring. tx_ring.c explains how it works.
 *
 * One tx_producer_t per thread: its slot announces one claim at a time. Never waits, never calls
 * the kernel, except in tx_producer_wait_room and tx_ring_sleep. */
#ifndef SHM_TX_RING_H
#define SHM_TX_RING_H

#include "shm/shm_segment.h"

typedef struct tx_producer {
    shm_tx_cursors_t *cursors;
    shm_producer_t *slot;
    uint8_t *data;
    uint32_t units;          /* of the ring */
    uint32_t reserve_units;  /* kept free for the worker's relocations */
    uint32_t capacity;       /* packets, 0: by bytes only */
    uint32_t max_payload_bytes;
    uint16_t index; /* of the slot */
    /* Last seen values of the worker's cache line: avoids reading it while there is enough room. */
    uint32_t head_seen;
    uint64_t finished_seen;
    shm_cursor_t tail_left; /* where this producer left the tail: if it
                               moved, other producers claimed */
    uint64_t sequence_seen;
    uint32_t ringing; /* state in which tx_producer_must_ring left the bell */
} tx_producer_t;

/* Where one packet goes, and from which address of this host. */
typedef struct tx_route {
    const shm_addr_t *dest;   /* NULL: the channel's remote */
    const shm_addr_t *source; /* NULL: the kernel chooses it. Its port is ignored */
} tx_route_t;

/* A claimed record. payload points into the ring, payload_bytes long. */
typedef struct tx_claim {
    shm_tx_record_t *record;
    uint8_t *payload;
    uint64_t commit_word;
    uint64_t sequence;
    bool keeps_due; /* replaces another, and gets its deadline */
} tx_claim_t;

/* slot: as the worker assigned it (ATTACH). Returns 0, -EINVAL. */
int tx_producer_init(tx_producer_t *p, const shm_segment_t *s, uint32_t slot);

/* Reads a byte of each page of a payload, so that missing pages (of a file mapping) are loaded
 * before the claim, not while it is open. */
static inline void tx_producer_touch(const void *payload, size_t bytes)
{
    const volatile uint8_t *p = payload;
    for (size_t at = 0; at < bytes; at += SHM_PAGE_BYTES)
        (void)p[at];
    if (bytes > 0)
        (void)p[bytes - 1];
}

/* Reserves a record. due_ns is the deadline in the channel's clock, or 0 for as soon as possible.
 * route may be NULL. Returns 0, -ENOBUFS (ring full: wait for room), -EMSGSIZE
 * (longer than max_payload_bytes) or -EPROTO (segment overwritten). The caller fills payload, then
 * commits or aborts. Between the two it must not wait for anything: the memory that it copies from
 * was touched before (tx_producer_touch). */
int tx_producer_claim(tx_producer_t *p, uint32_t payload_bytes, int64_t due_ns, int64_t now_mono_ns,
                      const tx_route_t *route, tx_claim_t *out);
void tx_producer_commit(tx_producer_t *p, tx_claim_t *claim);
void tx_producer_abort(tx_producer_t *p, tx_claim_t *claim);

/* Instead of commit: the claimed packet, complete already, takes the place of one that waits.
 * keep_due: it gets the deadline of the old one. Returns 1: the old one is cancelled and the new
 * one committed. 0: the old one no longer waits, and the claim is aborted. -EBUSY: as
 * tx_ring_cancel, and the claim is aborted. One of the two packets is sent, even if a process dies
 * during the call. */
int tx_producer_replace(tx_producer_t *p, const shm_segment_t *s, tx_claim_t *claim, uint64_t old,
                        int keep_due);

/* Claim, copy, commit. Returns 0 and the sequence in *sequence, or as tx_producer_claim. */
int tx_producer_push(tx_producer_t *p, const void *payload, uint32_t payload_bytes, int64_t due_ns,
                     int64_t now_mono_ns, const tx_route_t *route, uint64_t *sequence);

/* The same for a record of the channel's engine (SHM_TX_ENGINE): the engine's head, then bytes of
 * data, sent as soon as possible. data may be NULL if bytes is 0. Returns as tx_producer_claim. */
int tx_producer_push_engine(tx_producer_t *p, const void *head, uint32_t head_bytes, const void *data,
                            uint32_t bytes, int64_t now_mono_ns);

/* 1: the longest record without addresses would find room now. 0: tx_producer_wait_room waits
 * for more room than was found here. */
int tx_producer_has_room(tx_producer_t *p);

/* After one or several commits: 1 if the worker sleeps and this caller must ring it (write 1 to the
 * channel's eventfd, then tx_producer_rang), otherwise 0. Others that commit before the call to
 * tx_producer_rang ring, too. */
int tx_producer_must_ring(tx_producer_t *p);

/* The caller rang, so others need not. Without this call they ring until the worker wakes up. */
void tx_producer_rang(tx_producer_t *p);

/* 1: since the last attempt of this producer the worker has freed space or finished a packet. */
int tx_producer_may_have_room(const tx_producer_t *p);

/* Sleeps until room was freed after the failed claim, at most until until_mono_ns. Returns 0 (try
 * again), -ETIMEDOUT, -EINTR. */
int tx_producer_wait_room(tx_producer_t *p, int64_t until_mono_ns);

/* Cancels a packet that waits. Any writable mapping, any thread. Returns 1: it gets the verdict
 * cancelled. *due_ns (may be NULL) gets its deadline. 0: too late, or there is no such packet.
 * -EBUSY: for 10 ms a part of the ring could not be searched, because something in it was
 * unfinished or overwritten. Otherwise it does not wait, and the ring's length bounds the steps.
 * Afterwards ring the worker as after a commit. A sleeping worker that is not rung gives the
 * verdict within a second. */
int tx_ring_cancel(const shm_segment_t *s, uint64_t sequence, int64_t *due_ns);

/* Packets queued that have no verdict yet. Any thread. */
uint64_t tx_ring_waiting(const shm_segment_t *s);

/* Waiting for the worker: for verdicts, reports, room, or whatever else it wakes for with
 * tx_queue_wake_waiters. Call tx_ring_ask_wake, check what you wait for, and then sleep. Any
 * writable mapping, any thread. tx_ring_sleep returns 0 (check again), -ETIMEDOUT, -EINTR. */
uint32_t tx_ring_ask_wake(const shm_segment_t *s);
int tx_ring_sleep(const shm_segment_t *s, uint32_t asked, int64_t until_mono_ns);

/* The same for a watcher (ctl_msg.h): asks the worker to ring the watchers' bells once, at the next
 * such event. Call it, check what you wait for, and then wait for the bell. */
void tx_ring_ask_watch(const shm_segment_t *s);

/* The sequence number of the next packet. */
uint64_t tx_ring_next_sequence(const shm_segment_t *s);

#endif
