/* tx_queue.h: the worker's side of the tx ring. One thread uses it, in the
 * process that serves the channel.
 *
 * The worker takes records in from the read cursor in ring order (tx_queue_next), keeps their due
 * times with their refs in a schedule of its own, and comes back when a packet is due:
 *
 *      tx_queue_next -> schedule -> tx_queue_take(ref) -> send -> tx_queue_finish(ref)
 *
 * Everything that comes out of the ring has been checked against the ring's bounds and copied. Only
 * the payload is still in shared memory, for the kernel to copy from.
 *
 * A record whose producer has halted over it is passed after TX_CLAIM_TIMEOUT_NS, and handed out
 * when it is finished: then its ref and its sequence are lower than those of records handed out
 * before it. The packets of one producer stay in their order, because it has one claim at a time.
 *
 * A ref is the record's place counted without wrapping, private to this struct. A ref below the
 * head belongs to a record that was moved or freed: tx_queue_take returns -ESTALE, and the caller
 * drops it (a moved record comes again through tx_queue_next with its old sequence). */
#ifndef SHM_TX_QUEUE_H
#define SHM_TX_QUEUE_H

#include "shm/tx_queue_state.h"

/* takeover 0: a fresh segment. takeover 1: repairs what a dead worker left (half-freed space, a
 * half-done relocation) and starts again at the oldest record. Records that were being sent at that
 * moment are never sent again: tx_queue_next returns -EOWNERDEAD for them. Returns 0, -EPROTO (ring
 * beyond repair). */
int tx_queue_init(tx_queue_t *q, shm_segment_t *s, int takeover);

/* Sets the function that tells whether a slot's owner lives. Until then every owner counts as
 * living. Call it again after each tx_queue_init. */
void tx_queue_ask_slots(tx_queue_t *q, tx_slot_alive_t slot_alive, void *of);

/* Sets the function that tx_queue_wake_waiters calls if a client asked for it with
 * tx_ring_ask_watch. Call it again after each tx_queue_init. */
void tx_queue_set_watchers(tx_queue_t *q, tx_ring_watchers_t ring, void *of);

/* Takes in the next record. *budget is counted down by one for each record it examines, also for
 * those that need no action any more. Returns 1 and *item. 0: there is none, the next one is still
 * being written, or *budget is 0 (try again soon). Otherwise this packet cannot be sent. It is
 * finished already, and the caller records its verdict, with sequence, due and enqueue time from
 * *item: -ECANCELED (cancelled by a client), -EOWNERDEAD (claimed by a producer that died, or being
 * sent by a worker that died), -EBADMSG (its header is invalid). */
int tx_queue_next(tx_queue_t *q, int64_t now_mono_ns, unsigned *budget, tx_item_t *item);

/* Reports a living producer that halted before it finished a packet, and was passed by others.
 * Returns whether there is one. Each is reported once. */
bool tx_queue_halted(tx_queue_t *q, tx_halted_t *out);

/* Reads a scheduled record again and marks it as being sent. Returns 0 and *item. -ESTALE: it was
 * moved or finished, so forget this ref. -ECANCELED: a client took it back. -EBADMSG: a client
 * overwrote it. In these two cases it is finished already, and the caller records the verdict. A
 * client may have changed the sequence and the deadline in *item: the caller uses those that
 * tx_queue_next gave for this ref. */
int tx_queue_take(tx_queue_t *q, uint64_t ref, tx_item_t *item);

/* Reads a scheduled record without taking it (to see whether it could be sent in one call with
 * another). Returns like tx_queue_take, but leaves it scheduled and
 * does not finish cancelled ones. */
int tx_queue_peek(const tx_queue_t *q, uint64_t ref, tx_item_t *item);

/* Returns a taken record to the schedule (the kernel had no room for it). */
void tx_queue_untake(tx_queue_t *q, uint64_t ref);

/* The packet has its verdict. This is cheap: tx_queue_release frees the space. */
void tx_queue_finish(tx_queue_t *q, uint64_t ref);

/* Shows to observers and producers how many packets are finished. The caller has counted them:
 * whoever sees that no packet waits also finds each of them in the counters. tx_queue_release does
 * it, too. */
void tx_queue_show_finished(tx_queue_t *q);

/* Packets that are finished but not counted, because a worker died between the two steps. Below 0:
 * the numbers that this is computed from were overwritten. Only valid if each packet of the ring is
 * counted once. If the caller has counted all that it finished, it is exact as soon as
 * tx_queue_is_settled: then the records that a predecessor took in and
 * moved have been read again. */
int64_t tx_queue_uncounted(const tx_queue_t *q);
bool tx_queue_is_settled(const tx_queue_t *q);

/* Makes the present difference between finished and counted packets the base of
 * tx_queue_uncounted. */
void tx_queue_mark_counted(tx_queue_t *q);

/* Finishes the next record that a client has cancelled, even if it was due far in the future. When
 * clients report cancellations, it searches all records taken in, at most *budget (counted down) in
 * this call. Returns 1 and *item (record the verdict cancelled: call again), or 0. */
int tx_queue_reap(tx_queue_t *q, unsigned *budget, tx_item_t *item);

/* Steps through the records that were taken in and wait. *ref is 0 for the first. *budget is
 * counted down by one for each record it examines, waiting or not. Returns 1 and *item. 0: this is
 * the end, or *budget is 0 (continue later with the same *ref). -EBADMSG: a client overwrote the
 * record, which is finished now. The caller records the verdict. */
int tx_queue_waiting_next(tx_queue_t *q, uint64_t *ref, unsigned *budget, tx_item_t *item);

/* Shows what is finished, frees finished records at the head, at most max_bytes of zeroing, and
 * wakes producers that wait for room. If few unsent records keep much finished space from being
 * freed, it moves up to max_moves of them to the tail: those with a deadline at least
 * TX_MOVE_AHEAD_NS ahead of now_ns (the channel's clock), because records due earlier leave soon,
 * in their order. Returns the number of records freed or moved. *moved gets the number moved. */
#define TX_MOVE_AHEAD_NS (5 * RT_NS_PER_MS)
unsigned tx_queue_release(tx_queue_t *q, int64_t now_ns, uint32_t max_bytes, unsigned max_moves,
                          unsigned *moved);

/* Wakes whoever sleeps on the room event, and makes a system call only if somebody does.
 * tx_queue_release calls it. Call it after anything else that a client may wait for: a report that
 * came late, the end of a connection. */
void tx_queue_wake_waiters(tx_queue_t *q);

/* Whether a record or a claim waits after the read cursor, or cancelled ones may wait before it.
 * The worker checks this before it sleeps. */
int tx_queue_pending(const tx_queue_t *q);

/* How long the worker may sleep while tx_queue_pending is true and
 * tx_queue_next returns nothing. */
int64_t tx_queue_nap_ns(const tx_queue_t *q, int64_t now_mono_ns);

/* Bell: arm it before sleeping, and then check tx_queue_pending once more. Disarm it after waking
 * up. */
void tx_queue_arm_bell(tx_queue_t *q);
void tx_queue_disarm_bell(tx_queue_t *q);

/* The owner of this producer slot is dead. Returns 1 if the slot is free now, 0 if one of its
 * claims may still be in the ring: then tx_queue_next resolves it and tx_queue_release frees the
 * slot later. */
int tx_queue_free_producer(tx_queue_t *q, uint32_t slot);

#endif
