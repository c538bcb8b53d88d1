/* tx_move.c: the worker moves a record of the tx ring.
 *
 * Moving the record at the head (relocation) makes room when few packets that are due later come
 * before much finished space:
 *
 *      announce; claim at the tail without using a sequence
 *      word CLAIMED|RELOCATED; copy; the tail's sequence in the copy's header
 *      original COMMITTED -> DONE          (a canceller may win here: then the copy is ABORTED)
 *      copy     CLAIMED   -> COMMITTED     (or here: then it stays CANCELLED)
 *      withdraw the announcement
 *
 * If the worker dies, its successor continues. Before the claim it only withdraws. With a word
 * there it does the rest before it takes anything in. Without one, nobody knows yet whose claim
 * that is, and the rest is done when it is read. No step gives the claimed place up while the
 * record needs it: the reserve has room for one move only, and the record at the head may be due
 * in an hour.
 */
#include "shm/tx_parts.h"

#include <string.h>

int64_t tx_movable_due_ns(tx_queue_t *q, uint64_t word)
{
    tx_item_t item;
    uint64_t seen = q->replay_until_ref > q->read_ref ? q->replay_until_ref : q->read_ref;
    bool waits = shm_word_state(word) == SHM_RECORD_COMMITTED && !tx_was_passed(q, q->head_ref) &&
                 tx_word_fits(q, q->head_ref, word, seen - q->head_ref) &&
                 tx_read_record(q, q->head_ref, word, &item) == 0;
    return waits ? item.due_ns : 0;
}

/* begins_at (tx_claims.c) compares it. Whoever looks for the end of the claim before this one may
 * take these eight bytes for a word. They read as EMPTY, as all of a claim without a word must. */
static void note_tail_seq(rt_a64_t *copy, uint32_t tail_seq)
{
    ((shm_tx_record_t *)(void *)copy)->tail_seq = tail_seq;
}

/* Copies the record at the head to a claim, and marks it as done there. A canceller that finds it
 * done goes on to the copy. */
static bool copy_head(tx_queue_t *q, uint64_t word, rt_a64_t *copy, uint32_t tail_seq)
{
    uint32_t units = shm_word_units(word);
    uint64_t done = shm_word(shm_word_seq(word), units, shm_word_flags(word), SHM_RECORD_DONE);
    rt_store_relaxed(copy, shm_word(shm_word_seq(word), units,
                                    shm_word_flags(word) | SHM_TX_RELOCATED, SHM_RECORD_CLAIMED));
    rt_fence_release(); /* T10 */
    memcpy(copy + 1, tx_word_of(q, q->head_ref) + 1, (size_t)(units - 1) * SHM_UNIT_BYTES);
    note_tail_seq(copy, tail_seq);
    return rt_cas(tx_word_of(q, q->head_ref), &word, done); /* T12 */
}

bool tx_finish_move(tx_queue_t *q, uint32_t to, uint32_t units, uint32_t tail_seq)
{
    rt_a64_t *copy = tx_word_at(q->data, to);
    uint64_t word = rt_load_acquire(tx_word_of(q, q->head_ref));
    uint64_t there = rt_load_relaxed(copy);
    bool moved = shm_word_state(word) == SHM_RECORD_DONE && /* by a worker that died then */
                 shm_word_state(there) == SHM_RECORD_CLAIMED &&
                 shm_word_seq(there) == shm_word_seq(word);
    if (!moved && shm_word_units(word) == units && tx_movable_due_ns(q, word) != 0) {
        moved = copy_head(q, word, copy, tail_seq);
        q->live_units -= moved && units < q->live_units ? units : 0;
        there = rt_load_relaxed(copy);
    }
    if (!moved)
        note_tail_seq(copy, tail_seq);
    uint64_t ended = shm_word(shm_word_seq(there), units, shm_word_flags(there) | SHM_TX_RELOCATED,
                              moved ? SHM_RECORD_COMMITTED : SHM_RECORD_ABORTED);
    if (shm_word_state(there) != SHM_RECORD_CANCELLED)
        (void)rt_cas(copy, &there, ended);
    return moved;
}
