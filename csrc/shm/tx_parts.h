/* tx_parts.h: what the files of the worker's side share: tx_item.c, tx_move.c, tx_queue.c,
 * tx_release.c, tx_takeover.c. */
#ifndef SHM_TX_PARTS_H
#define SHM_TX_PARTS_H

#include "base/rt_seq.h"
#include "shm/tx_queue_state.h"

#include <errno.h>

static inline void tx_set_state(tx_queue_t *q, uint64_t ref, uint64_t word,
                                shm_record_state_t state)
{
    rt_store_release(tx_word_of(q, ref), shm_word(shm_word_seq(word), shm_word_units(word),
                                                  shm_word_flags(word), state));
}

/* Returns -EBADMSG. Damage affects only its own channel: the worker that serves the queue checks
 * the count. */
static inline int tx_note_damage(tx_queue_t *q)
{
    q->damage += q->damage < UINT32_MAX;
    return -EBADMSG;
}

static inline uint64_t tx_widen(const tx_queue_t *q, uint32_t seq)
{
    return rt_seq64_near(q->sequence_high, seq);
}

/* tx_queue_show_finished shows it to others. */
static inline void tx_count_finished(tx_queue_t *q, uint64_t packets)
{
    q->finished += packets;
}

/* Packets that end without a known number: a client overwrote their records. */
static inline void tx_count_lost(tx_queue_t *q, uint64_t packets)
{
    rt_bump(&q->segment->stats->counters[SHM_COUNT_tx_corrupt], packets);
}

/* Whether the record there was passed, and not handed out since. Until then nothing else handles
 * it. */
static inline bool tx_was_passed(const tx_queue_t *q, uint64_t ref)
{
    for (unsigned i = 0; i < q->open_count; i++)
        if (q->open[i].ref == ref)
            return true;
    return false;
}

/* Copies the header of the record at ref, each field once. Returns 0, or -EBADMSG if it
 * contradicts its own length. */
int tx_read_record(tx_queue_t *q, uint64_t ref, uint64_t word, tx_item_t *item);

/* Frees slots of the known dead whose claims are resolved. Looks at some slots in each call. */
void tx_sweep_dead_producers(tx_queue_t *q);

/* The deadline of the record at the head, or 0 if it may not be moved: packets without a deadline
 * keep the order of their records. */
int64_t tx_movable_due_ns(tx_queue_t *q, uint64_t word);

/* Moves the record at the head into the worker's own claim at that place, of that length, made from
 * a tail with that sequence. A dead worker may have left the claim at any step. It is aborted if
 * the record may not be moved or has another length. Returns whether the record was moved. */
bool tx_finish_move(tx_queue_t *q, uint32_t to, uint32_t units, uint32_t tail_seq);

void tx_zero_span(tx_queue_t *q, uint32_t from, uint32_t to);
void tx_wake_producers(tx_queue_t *q);

#endif
