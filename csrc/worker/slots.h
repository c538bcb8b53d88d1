/* slots.h: the holders of the producer and reader slots of a channel. Worker's thread.
 *
 * The worker's memory and the kernel decide, never the segment. A client that attaches gets a
 * descriptor of the segment's file with the answer. Its open file description holds a shared lock
 * (F_OFD_SETLK) on one byte for each slot, far behind the file's end. The lock exists before its
 * holder knows the slot, and ends with the last copy of the descriptor, however the holder ends.
 * One system call tests it: also in a successor, across pid namespaces, and whatever /proc shows.
 *
 *   free      held by no process
 *   given     held by a connection
 *   orphaned  its connection hung up, or the worker was replaced, while the lock was held: its
 *             holder may live, write, and come back for it
 *
 * Whether an orphan still lives is checked when needed (its claim is in the ring, or no slot is
 * free), and otherwise for one slot per turn of the housekeeping. The owner words in the segment
 * are only for observing tools.
 *
 * The cost of the checks of a pass is bounded: beyond the bound every holder counts as alive until
 * the next pass. */
#ifndef WRK_SLOTS_H
#define WRK_SLOTS_H

#include "worker/worker.h"

typedef enum wrk_slot_kind {
    WRK_PRODUCERS = 0,
    WRK_READERS = 1,
} wrk_slot_kind_t;

/* Called before the rings are used. takeover: the segment names the slots that a predecessor gave.
 * Returns 0 or -ENOMEM with a text. */
int slots_open(wrk_channel_t *ch, bool takeover);
void slots_close(wrk_channel_t *ch);

/* Gives a slot to process pid: its former one (wanted; CTL_NO_SLOT: none) if it still holds that,
 * or a free one. Returns 0 and *slot, or -EUSERS with a text. */
int slots_give(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t pid, uint32_t wanted,
               uint32_t *slot);

/* A descriptor that holds the locks of both slots (CTL_NO_SLOT: none), to send and close. Returns
 * it, or -errno with a text. */
int slots_lock(wrk_channel_t *ch, uint32_t producer, uint32_t reader);

/* The holder released it. CTL_NO_SLOT is fine. */
void slots_free(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot);

/* The holder's connection is gone: the slot is free, or orphaned as long as the lock is held. */
void slots_hung_up(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot);

/* Whether a process holds this producer slot. of: the channel (tx_slot_alive_t). A system call. */
bool slots_alive(void *of, uint32_t slot);

/* Fails the channel if checks have become too expensive: a process holds very many locks on the
 * segment. After the last of several expensive checks there are no more, and all holders count as
 * alive. */
void slots_check_cost(wrk_channel_t *ch);

/* A turn of the housekeeping: checks at most one orphan. */
void slots_check_orphan(worker_t *w);

#endif
