/* tx_claims.h: claims that their producers have not finished: how long they are, who owns them, and
 * which of them the worker has passed. Part of tx_queue.c. tx_ring.c explains them ("Halting",
 * "Dying").
 *
 * Everything here is done in small steps of TX_SLOTS_PER_SEARCH slots, so that a client with
 * announcements in a thousand slots cannot hold up the worker. */
#ifndef SHM_TX_CLAIMS_H
#define SHM_TX_CLAIMS_H

#include "shm/tx_queue_state.h"

/* Looks for the length of the claim at the read cursor, whose word is empty. Returns units,
 * including padding at the ring's end, and *moves. 0: it is not known yet. */
uint32_t tx_claims_search(tx_queue_t *q, bool *moves);

/* Whether this announcement belongs to a claim that was passed. */
bool tx_claims_is_open(const tx_queue_t *q, shm_cursor_t announced);

/* One step to find out that the owner of a passed claim is dead. Then its word becomes ABORTED,
 * with flag ORPHAN, or COMMITTED if it has taken another's place. Returns whether a claim was
 * resolved. */
bool tx_claims_resolve(tx_queue_t *q, int64_t now_mono_ns);

/* Whether a passed claim is about to take another packet's place. */
bool tx_claims_replace(const tx_queue_t *q);

/* Notes the halted owner of a claim for tx_queue_halted. */
void tx_claims_note_halted(tx_queue_t *q, const tx_open_claim_t *o, int64_t now_mono_ns);

#endif
