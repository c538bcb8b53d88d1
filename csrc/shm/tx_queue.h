/* tx_queue.h: the worker's side of the tx ring. One thread uses it, in the process that serves the channel.
 *
 * The worker takes records in from the read cursor in ring order (tx_queue_next), keeps their due
 * times in a schedule of its own together with the ref, and comes back when a packet is due:
 *
 *      tx_queue_next -> schedule -> tx_queue_take(ref) -> send -> tx_queue_finish(ref)
 *
 * Everything that comes out of the ring has been checked against the ring's bounds and copied. Only
 * the payload is still in shared memory, for the kernel to copy from.
 *
 * A record whose producer has halted over it is passed after TX_CLAIM_PATIENCE_NS, and handed out when it is
 * finished: then its ref and its sequence lie before those handed out last. The packets of one producer stay
 * in their order, for it has one claim at a time.
 *
 * A ref is the record's place counted without wrapping, private to this struct. A ref that lies
 * below the head belongs to a record that was moved or freed: tx_queue_take says -ESTALE, and the
 * caller drops it (a moved record comes again through tx_queue_next with its old sequence). */
#ifndef SHM_TX_QUEUE_H
#define SHM_TX_QUEUE_H

#include "shm/tx_queue_state.h"

/* takeover 0: a fresh segment. takeover 1: repairs what a dead worker left (half-freed space, a
 * half-done relocation) and starts again at the oldest record. Records that were being sent at that
 * moment are never sent again: tx_queue_next passes them out with -EOWNERDEAD.
 * Returns 0, -EPROTO (ring beyond repair). */
int tx_queue_init(tx_queue_t *q, shm_segment_t *s, int takeover);

/* Says who is asked from now on whether a slot's owner lives. Until then every owner counts as living. Call it
 * again after each tx_queue_init. */
void tx_queue_ask_slots(tx_queue_t *q, tx_slot_alive_t slot_alive, void *of);

/* Takes in the next record. *budget is counted down by one for each record looked at, those that are
 * nobody's business any more included. Returns 1 and *item. 0: there is none, the next one is still being
 * written, or *budget is 0 (look again soon). Otherwise this packet cannot be sent. It is finished already, and
 * the caller records its verdict, with sequence, due and enqueue time from *item: -ECANCELED (cancelled by a
 * client), -EOWNERDEAD (claimed by a producer that died, or being sent by a worker that died), -EBADMSG (its
 * header makes no sense). */
int tx_queue_next(tx_queue_t *q, int64_t now_mono_ns, unsigned *budget, tx_item_t *item);

/* News of a living producer that halted before it finished a packet, and was passed by others. Returns
 * whether there are any, once each. */
bool tx_queue_halted(tx_queue_t *q, tx_halted_t *out);

/* Reads a scheduled record again and marks it as being sent. Returns 0 and *item. -ESTALE: it was moved or
 * finished, so forget this ref. -ECANCELED: a client took it back. -EBADMSG: a client wrote over it. These
 * two are finished already, and the caller records the verdict. A client may have changed the sequence and the
 * deadline in *item: the caller goes by what tx_queue_next said of this ref. */
int tx_queue_take(tx_queue_t *q, uint64_t ref, tx_item_t *item);

/* Reads a scheduled record without taking it (to see what could go out in one call with another).
 * Returns as tx_queue_take, but leaves it scheduled and does not finish cancelled ones. */
int tx_queue_peek(const tx_queue_t *q, uint64_t ref, tx_item_t *item);

/* Gives a taken record back to the schedule (the kernel had no room for it). */
void tx_queue_untake(tx_queue_t *q, uint64_t ref);

/* The packet has its verdict. This is cheap: tx_queue_release frees the space. */
void tx_queue_finish(tx_queue_t *q, uint64_t ref);

/* Packets that are finished and not counted: a worker died between the two. Below 0: somebody has overwritten
 * what the answer is made of. Only where each packet of the ring is counted once. Exact, if the caller has counted
 * all that it finished, as soon as tx_queue_is_settled: what a predecessor took in and moved was read again. */
int64_t tx_queue_untold(const tx_queue_t *q);
bool tx_queue_is_settled(const tx_queue_t *q);

/* From now on what is finished and counted so far is as it should be. */
void tx_queue_tell(tx_queue_t *q);

/* Finishes the next record that a client has cancelled, however far in the future it was due. When
 * clients say that they cancelled some, all that was taken in is searched, *budget records (counted
 * down) at most in this call. Returns 1 and *item (record the verdict cancelled: call again), or 0. */
int tx_queue_reap(tx_queue_t *q, unsigned *budget, tx_item_t *item);

/* Steps through the records that were taken in and wait. *ref is 0 for the first. *budget is counted down by
 * one for each record looked at, waiting or not. Returns 1 and *item. 0: this is the end, or *budget is 0 (go on
 * later, with the same *ref). -EBADMSG: a client wrote over the record, which is finished now. The caller
 * records the verdict. */
int tx_queue_waiting_next(tx_queue_t *q, uint64_t *ref, unsigned *budget, tx_item_t *item);

/* Frees finished records at the head, at most max_bytes of zeroing, wakes producers that wait for
 * room, and when few unsent records keep much finished space from being freed, moves up to
 * max_moves of them to the tail: those with a deadline that lies TX_MOVE_AHEAD_NS and more ahead of
 * now_ns (the channel's clock), since whatever is due before goes out soon, in its order. Returns the
 * number of records freed or moved. *moved gets the number moved. */
#define TX_MOVE_AHEAD_NS (5 * RT_NS_PER_MS)
unsigned tx_queue_release(tx_queue_t *q, int64_t now_ns, uint32_t max_bytes, unsigned max_moves,
                          unsigned *moved);

/* Whether a record or a claim waits behind the read cursor, or cancelled ones may wait before it: the
 * check before the worker sleeps. */
int tx_queue_pending(const tx_queue_t *q);

/* How long the worker may sleep while tx_queue_pending says so and tx_queue_next says nothing. */
int64_t tx_queue_nap_ns(const tx_queue_t *q, int64_t now_mono_ns);

/* Bell: arm it before sleeping, and then look at tx_queue_pending once more. Disarm it when awake. */
void tx_queue_arm_bell(tx_queue_t *q);
void tx_queue_disarm_bell(tx_queue_t *q);

/* The owner of this producer slot is dead. Returns 1 when the slot is free now, 0 when a claim of its may
 * still be in the way: then tx_queue_next resolves it and tx_queue_release frees the slot later. */
int tx_queue_free_producer(tx_queue_t *q, uint32_t slot);

#endif
