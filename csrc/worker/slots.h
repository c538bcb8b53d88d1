/* slots.h: who holds the producer and reader slots of a channel. Worker's thread.
 *
 * The worker's memory and the kernel decide, never the segment. Whoever
 * attaches gets, with the answer, a descriptor of the segment's file whose open file description
 * holds a shared lock (F_OFD_SETLK) on one byte for each slot, far behind the file's end. The lock
 * is there before its holder knows the slot, and ends with the last copy of the descriptor, however
 * the holder ends. One system call asks for it: in a successor, too, across pid namespaces, and
 * whatever /proc shows.
 *
 *   free      nobody's
 *   given     a connection's
 *   orphaned  its connection hung up, or the worker was replaced, while the lock was held: its
 * holder may live, write, and come back for it
 *
 * Whether an orphan still lives is looked up on need (a claim stands in the way, no slot is free),
 * and otherwise one slot a turn of the housekeeping, however many there are. The owner words in the
 * segment are only for tools that look on.
 *
 * What the looks of a pass may cost is bounded: beyond it whoever is asked for counts as alive until
 * the next pass. */
#ifndef WRK_SLOTS_H
#define WRK_SLOTS_H

#include "worker/worker.h"

typedef enum wrk_slot_kind {
    WRK_PRODUCERS = 0,
    WRK_READERS = 1,
} wrk_slot_kind_t;

/* Before the rings are used. takeover: the segment names those that a predecessor gave. Returns 0
 * or -ENOMEM with a text. */
int slots_open(wrk_channel_t *ch, bool takeover);
void slots_close(wrk_channel_t *ch);

/* Gives a slot to process pid: the one it had (wanted; CTL_NO_SLOT: none), if it still holds that,
 * or a free one. Returns 0 and *slot, or -EUSERS with a text. */
int slots_give(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t pid, uint32_t wanted,
               uint32_t *slot);

/* A descriptor that holds the locks of both slots (CTL_NO_SLOT: none), to be sent and closed.
 * Returns it, or -errno with a text. */
int slots_lock(wrk_channel_t *ch, uint32_t producer, uint32_t reader);

/* The holder let go of it. CTL_NO_SLOT is fine. */
void slots_free(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot);

/* The holder's connection is gone: free, or orphaned as long as the lock is held. */
void slots_hung_up(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot);

/* Whether somebody holds this producer slot; of: the channel (tx_slot_alive_t). A system call. */
bool slots_alive(void *of, uint32_t slot);

/* Fails the channel if looking has become too dear: some process holds a great many locks on the
 * segment. From the last of some dear looks on nobody looks: all count as alive. */
void slots_check(wrk_channel_t *ch);

/* A turn of the housekeeping: looks at one orphan at most. */
void slots_look(worker_t *w);

#endif
