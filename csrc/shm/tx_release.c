/* tx_release.c: the worker frees finished records of the tx ring, and decides which are moved
 * because they prevent it (tx_move.c). */
#include "shm/tx_claims.h"
#include "shm/tx_parts.h"
#include "shm/tx_queue.h"

#include "base/rt_futex.h"

#include <string.h>

#define MOVE_ATTEMPTS 8u      /* at the tail, while others move it */
#define RELEASE_RECORDS 4096u /* looked at in one step */

/* --- freeing ------------------------------------------------------------------------------- */

void tx_zero_span(tx_queue_t *q, uint32_t from, uint32_t to)
{
    if (to < from) {
        memset(q->data + (size_t)from * SHM_UNIT_BYTES, 0,
               (size_t)(q->units - from) * SHM_UNIT_BYTES);
        from = 0;
    }
    memset(q->data + (size_t)from * SHM_UNIT_BYTES, 0, (size_t)(to - from) * SHM_UNIT_BYTES);
}

static void free_up_to(tx_queue_t *q, uint64_t ref)
{
    uint32_t to = tx_place_of(q, ref);
    rt_store_relaxed(&q->cursors->freeing_to, (uint64_t)to + 1);
    rt_fence_release(); /* a successor that sees zeroes also sees how far they were meant to go */
    tx_zero_span(q, tx_place_of(q, q->head_ref), to);
    rt_store_release(&q->cursors->head_place, to); /* T4, pairs with T5 */
    rt_store_release(&q->cursors->freeing_to, 0);  /* not before the head is published */
    q->head_ref = ref;
}

/* Whether it no longer matters for any claim if some packet was replaced. */
static bool is_decided(const tx_queue_t *q)
{
    return q->read_ref >= q->replaced_until_ref && !tx_claims_replace(q);
}

/* Padding is freed with its record: a producer that halted before it stored either word stores both
 * when it continues. */
static bool is_finished(const tx_queue_t *q, uint64_t ref, uint64_t word)
{
    if (shm_word_state(word) == SHM_RECORD_DONE)
        return !(shm_word_flags(word) & SHM_TX_REPLACED) || is_decided(q);
    if (shm_word_state(word) != SHM_RECORD_PAD)
        return false;
    uint64_t behind = ref + shm_word_units(word);
    if (behind >= q->read_ref) /* in a replay the two are read one by one */
        return q->read_ref >= q->replay_until_ref;
    return shm_word_state(rt_load_acquire(tx_word_of(q, behind))) != SHM_RECORD_CLAIMED; /* T3 */
}

/* A record that tx_queue_next has not handed out stays, whatever its state. */
static uint64_t before_open_claims(const tx_queue_t *q, uint64_t ref)
{
    for (unsigned i = 0; i < q->open_count; i++)
        ref = q->open[i].ref < ref ? q->open[i].ref : ref;
    return ref;
}

/* The first ref from head on that is not finished, at most limit. */
static uint64_t end_of_finished(tx_queue_t *q, uint64_t limit, unsigned *records)
{
    uint64_t ref = q->head_ref;
    for (unsigned n = 0; n < RELEASE_RECORDS && ref < q->read_ref && ref < limit; n++) {
        uint64_t word = rt_load_relaxed(tx_word_of(q, ref));
        uint32_t units = shm_word_units(word);
        bool can_be = units > 0 && ref + units <= q->read_ref;
        if (!can_be)
            (void)tx_note_damage(q); /* nothing after it is freed any more */
        if (!can_be || !is_finished(q, ref, word))
            break;
        ref += units;
        *records += shm_word_state(word) == SHM_RECORD_DONE;
    }
    return ref;
}

void tx_wake_producers(tx_queue_t *q)
{
    rt_fetch_add(&q->cursors->room_event, 1);
    rt_futex_wake_all(&q->cursors->room_event);
}

void tx_queue_wake_waiters(tx_queue_t *q)
{
    rt_fence_full(); /* T7 */
    if (rt_load_relaxed(&q->cursors->room_wanted) && rt_exchange(&q->cursors->room_wanted, 0))
        tx_wake_producers(q);
    if (rt_load_relaxed(&q->cursors->watch_wanted) && rt_exchange(&q->cursors->watch_wanted, 0) &&
        q->ring_watchers)
        q->ring_watchers(q->watchers_of);
}

/* --- relocation ---------------------------------------------------------------------------- */

/* Moving is worth it if a producer's longest claim may not fit and less than half of the used space
 * still waits. Such a claim takes up to reserve_units, and as much must stay free. */
static bool must_move(const tx_queue_t *q)
{
    shm_cursor_t tail = rt_load_relaxed(&q->cursors->tail);
    uint32_t used = tx_used_units(tx_place_of(q, q->head_ref), shm_cursor_place(tail), q->units);
    return used + 2 * tx_reserve_units(q->max_payload_bytes) > q->units &&
           q->live_units < used / 2 && q->head_ref < q->read_ref;
}

/* Claims units at the tail, announced in the worker's own slot, without using a sequence. Returns
 * the place of the record, or UINT32_MAX if the reserve is used up or
 * producers were always faster. */
static uint32_t claim_for_move(tx_queue_t *q, uint32_t need, uint32_t *tail_seq)
{
    shm_producer_t *slot = &q->segment->producers[SHM_WORKER_PRODUCER];
    shm_cursor_t tail = rt_load_relaxed(&q->cursors->tail);
    for (unsigned attempt = 0; attempt < MOVE_ATTEMPTS; attempt++) {
        uint32_t place = shm_cursor_place(tail);
        if (place >= q->units)
            return UINT32_MAX;
        uint32_t pad = tx_pad_units(place, need, q->units);
        uint32_t used = tx_used_units(tx_place_of(q, q->head_ref), place, q->units);
        bool behind = used < q->read_ref - q->head_ref; /* overwritten: it never is */
        if (behind || used + pad + need >= q->units)
            return UINT32_MAX;
        rt_store_relaxed(&slot->intent_units, pad + need);
        rt_store_relaxed(&slot->intent, tail);
        shm_cursor_t next = shm_cursor(shm_cursor_seq(tail), (place + pad + need) % q->units);
        if (!rt_cas(&q->cursors->tail, &tail, next))
            continue;
        *tail_seq = shm_cursor_seq(tail);
        if (pad == 0)
            return place;
        rt_store_relaxed(tx_word_at(q->data, place), shm_word(*tail_seq, pad, 0, SHM_RECORD_PAD));
        return 0;
    }
    return UINT32_MAX;
}

static bool move_head_record(tx_queue_t *q, int64_t now_ns)
{
    uint64_t word = rt_load_acquire(tx_word_of(q, q->head_ref));
    int64_t due_ns = tx_movable_due_ns(q, word);
    rt_a64_t *announced = &q->segment->producers[SHM_WORKER_PRODUCER].intent;
    if (due_ns == 0 || due_ns <= now_ns || due_ns - now_ns < TX_MOVE_AHEAD_NS)
        return false;
    if (rt_load_relaxed(announced) != SHM_INTENT_NONE)
        return false; /* a dead predecessor's move is still unread */

    uint32_t units = shm_word_units(word);
    uint32_t tail_seq = 0;
    uint32_t to = claim_for_move(q, units, &tail_seq);
    bool moved = to != UINT32_MAX && tx_finish_move(q, to, units, tail_seq);
    rt_store_release(announced, SHM_INTENT_NONE);
    return moved;
}

/* Covers a client that died before it could count its cancellation: it must not leave a record at
 * the head that is neither sent nor moved before its time. */
static void notice_cancelled_head(tx_queue_t *q)
{
    if (q->head_ref == q->read_ref || q->search_ref != q->search_end)
        return;
    if (shm_word_state(rt_load_acquire(tx_word_of(q, q->head_ref))) == SHM_RECORD_CANCELLED)
        q->cancels_seen = rt_load_relaxed(&q->cursors->cancels) - 1;
}

/* Everything that was read is freed. If nothing is unread (a packet that was moved may be), every
 * packet must have been finished. If one was not, a client marked it as done. */
static void count_vanished(tx_queue_t *q)
{
    uint64_t next = tx_widen(q, q->read_seq);
    shm_cursor_t tail = rt_load_relaxed(&q->cursors->tail);
    if (q->finished == next || shm_cursor_place(tail) != tx_place_of(q, q->read_ref))
        return;
    uint64_t missing = next > q->finished ? next - q->finished : 0;
    tx_count_lost(q, missing < q->units ? missing : q->units);
    (void)tx_note_damage(q);
    tx_count_finished(q, next - q->finished);
}

void tx_queue_show_finished(tx_queue_t *q)
{
    if (rt_load_relaxed(&q->cursors->finished) != q->finished) /* producers read this cache line */
        rt_store_release(&q->cursors->finished, q->finished);  /* T11 */
}

unsigned tx_queue_release(tx_queue_t *q, int64_t now_ns, uint32_t max_bytes, unsigned max_moves,
                          unsigned *moved)
{
    unsigned freed = 0;
    uint64_t old_head = q->head_ref;
    uint64_t limit = before_open_claims(q, q->head_ref + max_bytes / SHM_UNIT_BYTES);
    *moved = 0;
    for (;;) {
        uint64_t end = end_of_finished(q, limit, &freed);
        if (end != q->head_ref)
            free_up_to(q, end);
        if (*moved >= max_moves || !must_move(q) || !move_head_record(q, now_ns))
            break;
        (*moved)++;
    }
    if (q->head_ref == q->read_ref)
        count_vanished(q);
    notice_cancelled_head(q);
    if (q->dead_producers)
        tx_sweep_dead_producers(q);
    tx_queue_show_finished(q);
    if (q->head_ref != old_head || q->finished != q->finished_announced) {
        q->finished_announced = q->finished;
        tx_queue_wake_waiters(q);
    }
    return freed + *moved;
}
