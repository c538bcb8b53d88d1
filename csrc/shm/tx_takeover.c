/* tx_takeover.c: initialises the worker's side of the tx ring.
 *
 * Taking over from a dead worker. The segment holds enough to continue: head and read cursor, the
 * span that was being zeroed, the announced move, and each record's state. Records between
 * head and read were taken in before. They are handed out again if still COMMITTED, reported as
 * uncertain if SENDING, and skipped if DONE.
 */
#include "shm/tx_parts.h"
#include "shm/tx_queue.h"

#include "base/rt_err.h"

/* Returns the head after the space that was being freed. */
static uint32_t complete_freeing(tx_queue_t *q, uint32_t head)
{
    uint64_t freeing_to = rt_load_acquire(&q->cursors->freeing_to);
    if (freeing_to == 0 || freeing_to > q->units)
        return head;
    uint32_t to = (uint32_t)freeing_to - 1;
    tx_zero_span(q, head, to);
    rt_store_release(&q->cursors->head_place, to);
    rt_store_release(&q->cursors->freeing_to, 0);
    return to;
}

/* Finishes the announced move if its claim has a word. An announcement at the tail is withdrawn:
 * the claim was not made. Any other may be that of a lost race, and stays until the claim made
 * there is read. */
static void complete_move(tx_queue_t *q, shm_cursor_t tail)
{
    rt_a64_t *announced = &q->segment->producers[SHM_WORKER_PRODUCER].intent;
    shm_cursor_t from = rt_load_relaxed(announced);
    uint32_t to = shm_cursor_place(from);
    if (from == SHM_INTENT_NONE || to >= q->units)
        return;
    uint64_t word = rt_load_acquire(tx_word_at(q->data, to));
    if (shm_word_state(word) == SHM_RECORD_PAD) {
        to = 0;
        word = rt_load_acquire(tx_word_at(q->data, to));
    }
    uint32_t units = shm_word_units(word);
    bool own = (shm_word_flags(word) & SHM_TX_RELOCATED) && units >= TX_RECORD_LEAST_UNITS &&
               to + units <= q->units;
    if (own && shm_word_state(word) == SHM_RECORD_CLAIMED)
        (void)tx_finish_move(q, to, units, shm_cursor_seq(from));
    if (own || from == tail) /* last: a successor of this successor may have to do the rest again */
        rt_store_release(announced, SHM_INTENT_NONE);
}

/* Packets between head and read cursor that have no verdict yet. With it the count of finished
 * packets is exact, at whatever instant the last worker died. */
static uint64_t count_waiting(const tx_queue_t *q)
{
    uint64_t waiting = 0;
    for (uint64_t ref = q->head_ref; ref < q->replay_until_ref;) {
        uint64_t word = rt_load_relaxed(tx_word_of(q, ref));
        unsigned state = shm_word_state(word);
        bool relocated = (shm_word_flags(word) & SHM_TX_RELOCATED) != 0;
        if (shm_word_units(word) == 0)
            break;
        bool own = state == SHM_RECORD_ABORTED || state == SHM_RECORD_CLAIMED;
        waiting += state == SHM_RECORD_COMMITTED || state == SHM_RECORD_SENDING ||
                   state == SHM_RECORD_CANCELLED || (own && !relocated);
        ref += shm_word_units(word);
    }
    return waiting;
}

static int take_over(tx_queue_t *q)
{
    shm_cursor_t tail = rt_load_acquire(&q->cursors->tail);
    shm_cursor_t read = rt_load_relaxed(&q->cursors->read);
    uint32_t head = rt_load_relaxed(&q->cursors->head_place);
    if (head >= q->units || shm_cursor_place(tail) >= q->units ||
        shm_cursor_place(read) >= q->units)
        return rt_err_set(-EPROTO,
                          "tx ring of channel \"%s\" has a cursor outside its %u units: it was "
                          "overwritten; close the channel and open it again",
                          q->segment->config.name, q->units);
    head = complete_freeing(q, head);
    uint32_t behind = tx_used_units(head, shm_cursor_place(tail), q->units);
    uint32_t seen = tx_used_units(head, shm_cursor_place(read), q->units);
    if (seen > behind)
        return rt_err_set(
            -EPROTO,
            "tx ring of channel \"%s\" was read past its tail: it was overwritten; close "
            "the channel and open it again",
            q->segment->config.name);
    q->head_ref = q->read_ref = head;
    q->replay_until_ref = q->head_ref + seen;
    q->moved_until_ref = q->replaced_until_ref = q->head_ref + behind;
    q->tail_seen = tail;
    q->read_seq = shm_cursor_seq(read);
    q->sequence_high = rt_load_relaxed(&q->cursors->sequence_high);
    complete_move(q, tail);
    uint64_t next = rt_seq64_near(q->sequence_high, q->read_seq);
    q->finished = next - count_waiting(q);
    rt_store_relaxed(&q->cursors->finished, q->finished);
    for (uint32_t i = 1; i < q->segment->config.producers; i++)
        q->dead_producers += rt_load_relaxed(&q->segment->producers[i].owner) == TX_OWNER_DEAD;
    tx_wake_producers(q); /* the dead worker may have cleared their request without waking them */
    return 0;
}

static bool all_alive(void *of, uint32_t slot)
{
    (void)of;
    (void)slot;
    return true;
}

int tx_queue_init(tx_queue_t *q, shm_segment_t *s, int takeover)
{
    *q = (tx_queue_t){
        .segment = s,
        .cursors = s->tx,
        .data = s->tx_data,
        .units = (uint32_t)(s->config.tx_bytes / SHM_UNIT_BYTES),
        .bell_number = rt_load_relaxed(&s->tx->bell_armed) & ~SHM_BELL_STATE,
        .max_payload_bytes = shm_config_longest(&s->config, s->config.tx_bytes),
        .slot_alive = all_alive,
    };
    return takeover ? take_over(q) : 0;
}
