/* tx_queue.c: the worker's side of the tx ring; theory of operation in tx_ring.c.
 *
 * Places are kept as refs that do not wrap (ref % units is the place). Nothing read from the ring is
 * used before it was checked here: a record must lie inside the ring, inside what is claimed, and be
 * long enough for what its header says. A ring that fails the check is emptied up to its tail; its
 * clients lose what was in it, nobody else does.
 *
 * Taking over from a dead worker. The segment holds enough to go on: head and read cursor, the span
 * that was being zeroed, the move that was under way, and each record's state. Records between head
 * and read were taken in before; they are passed out again if still COMMITTED, reported as uncertain
 * if SENDING, and stepped over if DONE.
 *
 * Moving a record (relocation) makes room when few packets due later sit in front of much finished
 * space. Its steps, each of which a successor can complete or undo:
 *
 *      claim at the tail without using a sequence; copy; word CLAIMED|RELOCATED
 *      moving = from, to
 *      original COMMITTED -> DONE          (a canceller may win here: then the copy is ABORTED)
 *      copy     CLAIMED   -> COMMITTED
 *      moving = none
 */
#include "shm/tx_queue.h"

#include "base/rt_err.h"
#include "base/rt_futex.h"
#include "base/rt_seq.h"
#include "shm/owner.h"
#include "shm/tx_record.h"

#include <errno.h>
#include <string.h>

#define STUCK_PATIENCE_NS (20 * RT_NS_PER_MS) /* before owners are looked up: a system call each */
#define OWNER_DEAD UINT32_MAX                 /* shm_producer_t.owner: known dead, claim unresolved */
#define MOVING_NONE UINT64_MAX

static uint32_t place_of(const tx_queue_t *q, uint64_t ref)
{
    return (uint32_t)(ref % q->units);
}

static rt_a64_t *word_at(const tx_queue_t *q, uint64_t ref)
{
    return tx_word_at(q->data, place_of(q, ref));
}

static void set_state(tx_queue_t *q, uint64_t ref, uint64_t word, shm_record_state_t state)
{
    rt_store_release(word_at(q, ref),
                     shm_word(shm_word_seq(word), shm_word_units(word), shm_word_flags(word), state));
}

static uint64_t widen(tx_queue_t *q, uint32_t seq)
{
    return rt_seq64_near(q->sequence_high, seq);
}

/* --- reading a record ---------------------------------------------------------------------- */

/* Whether a record of this word can lie at ref within left units. */
static bool word_fits(const tx_queue_t *q, uint64_t ref, uint64_t word, uint64_t left)
{
    uint32_t units = shm_word_units(word);
    return units >= sizeof(shm_tx_record_t) / SHM_UNIT_BYTES && units <= left &&
           place_of(q, ref) + units <= q->units;
}

/* Copies the header of the record at ref. 0, or -EBADMSG when it contradicts its own length. */
static int read_record(tx_queue_t *q, uint64_t ref, uint64_t word, tx_item_t *item)
{
    const shm_tx_record_t *r =
        (const shm_tx_record_t *)(q->data + (size_t)place_of(q, ref) * SHM_UNIT_BYTES);
    unsigned flags = shm_word_flags(word);
    uint32_t payload_bytes = r->payload_bytes;
    bool has_dest = (flags & SHM_TX_HAS_DEST) != 0;

    item->ref = ref;
    item->sequence = widen(q, shm_word_seq(word));
    item->due_ns = flags & SHM_TX_HAS_DUE ? r->time_ns : 0;
    item->enqueued_mono_ns = r->enqueued_mono_ns;
    item->payload_bytes = payload_bytes;
    item->producer = r->producer;
    item->flags = (uint8_t)flags;
    item->payload = (const uint8_t *)(r + 1);
    item->dest.family = 0;
    if (payload_bytes > q->max_payload_bytes ||
        tx_record_units(payload_bytes, has_dest) > shm_word_units(word))
        return -EBADMSG;
    if (!has_dest)
        return 0;
    memcpy(&item->dest, r + 1, sizeof item->dest);
    item->payload += sizeof item->dest;
    return item->dest.family == 4 || item->dest.family == 6 ? 0 : -EBADMSG;
}

/* --- finishing ----------------------------------------------------------------------------- */

static void count_finished(tx_queue_t *q, uint64_t packets)
{
    q->finished += packets;
    rt_store_relaxed(&q->cursors->finished, q->finished);
}

static void finish_word(tx_queue_t *q, uint64_t ref, uint64_t word)
{
    set_state(q, ref, word, SHM_RECORD_DONE);
    q->live_units -= shm_word_units(word) < q->live_units ? shm_word_units(word) : q->live_units;
    count_finished(q, 1);
}

void tx_queue_finish(tx_queue_t *q, uint64_t ref)
{
    finish_word(q, ref, rt_load_relaxed(word_at(q, ref)));
}

/* --- dead producers ------------------------------------------------------------------------ */

/* The default: the process named in the slot. */
static bool owner_lives(void *of, uint32_t slot)
{
    const tx_queue_t *q = of;
    const shm_producer_t *p = &q->segment->producers[slot];
    return owner_alive(rt_load_relaxed(&p->owner), rt_load_relaxed(&p->owner_start));
}

void tx_queue_ask_slots(tx_queue_t *q, tx_slot_alive_t slot_alive, void *of)
{
    q->slot_alive = slot_alive;
    q->slot_alive_of = of;
}

static bool owner_is_dead(tx_queue_t *q, uint32_t slot)
{
    shm_producer_t *p = &q->segment->producers[slot];
    uint32_t owner = rt_load_relaxed(&p->owner);
    if (slot == SHM_WORKER_PRODUCER || owner == 0 || owner == OWNER_DEAD)
        return true;
    return !q->slot_alive(q->slot_alive_of, slot);
}

static void forget_claim(tx_queue_t *q, uint32_t slot)
{
    shm_producer_t *p = &q->segment->producers[slot];
    rt_store_relaxed(&p->intent, SHM_INTENT_NONE);
    if (rt_load_relaxed(&p->owner) != OWNER_DEAD)
        return;
    rt_store_release(&p->owner, 0);
    if (q->dead_producers)
        q->dead_producers--;
}

/* A dead owner's announcement blocks nothing once the worker has read past it, or when the tail still
 * stands where it wanted to begin: then it never got its claim. */
static bool claim_is_past(const tx_queue_t *q, shm_cursor_t intent)
{
    return intent == SHM_INTENT_NONE || intent == rt_load_acquire(&q->cursors->tail) ||
           rt_seq32_diff(shm_cursor_seq(intent), q->read_seq) < 0;
}

int tx_queue_free_producer(tx_queue_t *q, uint32_t slot)
{
    if (slot == SHM_WORKER_PRODUCER || slot >= q->segment->config.producers)
        return 1;
    shm_producer_t *p = &q->segment->producers[slot];
    if (claim_is_past(q, rt_load_acquire(&p->intent))) {
        rt_store_relaxed(&p->intent, SHM_INTENT_NONE);
        rt_store_release(&p->owner, 0);
        return 1;
    }
    if (rt_load_relaxed(&p->owner) != OWNER_DEAD)
        q->dead_producers++;
    rt_store_relaxed(&p->owner, OWNER_DEAD);
    return 0;
}

static void sweep_dead_producers(tx_queue_t *q)
{
    for (uint32_t i = 1; i < q->segment->config.producers; i++) {
        shm_producer_t *p = &q->segment->producers[i];
        if (rt_load_relaxed(&p->owner) == OWNER_DEAD &&
            claim_is_past(q, rt_load_acquire(&p->intent)))
            forget_claim(q, i);
    }
}

static bool announced(const tx_queue_t *q, shm_cursor_t tail)
{
    for (uint32_t i = 0; i < q->segment->config.producers; i++)
        if (rt_load_acquire(&q->segment->producers[i].intent) == tail)
            return true;
    return false;
}

/* Whether a claim of units at the read cursor is the one that was really made: the tail, another
 * announcement or the next record must start where it ends. Needed only when several dead producers
 * announced the same tail value; exactly one of them got it. The others' claims may end in the middle of
 * its half-written bytes, so a relocated record, which bears a sequence of its own, is no proof yet:
 * what follows behind it decides. */
static bool claim_leads_on(const tx_queue_t *q, uint32_t units, uint32_t next_seq)
{
    shm_cursor_t tail = rt_load_acquire(&q->cursors->tail);
    uint64_t end = q->read_ref + units;
    uint64_t tail_ref = q->read_ref + tx_used_units(place_of(q, q->read_ref),
                                                    shm_cursor_place(tail), q->units);
    while (end <= tail_ref) {
        shm_cursor_t expected = shm_cursor(next_seq, place_of(q, end));
        if (tail == expected || announced(q, expected))
            return true;
        uint64_t word = rt_load_acquire(word_at(q, end));
        if (shm_word_state(word) == SHM_RECORD_EMPTY)
            return false;
        if (shm_word_seq(word) == next_seq)
            return true;
        if (!(shm_word_flags(word) & SHM_TX_RELOCATED) || !word_fits(q, end, word, tail_ref - end))
            return false;
        end += shm_word_units(word);
    }
    return false;
}

typedef struct suspects {
    unsigned dead, alive;
    uint32_t slot; /* of the dead one whose claim leads on, or the only one */
} suspects_t;

static suspects_t find_claimants(tx_queue_t *q, shm_cursor_t claim)
{
    suspects_t s = {0, 0, 0};
    bool found = false;
    for (uint32_t i = 0; i < q->segment->config.producers; i++) {
        shm_producer_t *p = &q->segment->producers[i];
        if (rt_load_acquire(&p->intent) != claim)
            continue;
        if (!owner_is_dead(q, i)) {
            s.alive++;
            continue;
        }
        uint32_t next_seq = shm_cursor_seq(claim) + (i == SHM_WORKER_PRODUCER ? 0 : 1);
        bool leads = claim_leads_on(q, rt_load_relaxed(&p->intent_units), next_seq);
        if (s.dead++ == 0 || (leads && !found))
            s.slot = i;
        found = found || leads;
    }
    return s;
}

/* Word of the record at the read cursor, behind its padding if it has any. */
static uint64_t unread_word(const tx_queue_t *q)
{
    uint64_t word = rt_load_acquire(word_at(q, q->read_ref));
    if (shm_word_state(word) != SHM_RECORD_PAD)
        return word;
    return rt_load_acquire(tx_word_at(q->data, 0));
}

/* Finishes the claim of units at the read cursor as its dead owner would have with an abort. The word
 * that decides comes last but for the padding, which is the same whoever stores it: a successor that
 * finds only half of this does it again. */
static void abort_claim(tx_queue_t *q, uint32_t units, uint32_t slot)
{
    uint32_t place = place_of(q, q->read_ref);
    uint32_t pad = units > q->units - place ? q->units - place : 0;
    unsigned flags = slot == SHM_WORKER_PRODUCER ? SHM_TX_RELOCATED : SHM_TX_ORPHAN;
    uint64_t word = shm_word(q->read_seq, units - pad, flags, SHM_RECORD_ABORTED);
    if (pad) {
        rt_store_release(tx_word_at(q->data, 0), word);
        word = shm_word(q->read_seq, pad, 0, SHM_RECORD_PAD);
    }
    rt_store_release(tx_word_at(q->data, place), word);
}

/* The record at the read cursor has not been finished for too long. Aborts it when all who may be
 * writing it are dead. Returns whether it did. */
static bool resolve_stuck(tx_queue_t *q)
{
    shm_cursor_t claim = shm_cursor(q->read_seq, place_of(q, q->read_ref));
    suspects_t s = find_claimants(q, claim);
    if (s.alive || s.dead == 0)
        return false;
    /* A live owner may have committed and withdrawn its announcement during the search, and a dead
     * one that had lost the race for the same claim be all that was found. Its commit precedes its
     * withdrawal, so the word tells. */
    unsigned state = shm_word_state(unread_word(q));
    if (state != SHM_RECORD_EMPTY && state != SHM_RECORD_CLAIMED)
        return true;

    uint32_t units = rt_load_relaxed(&q->segment->producers[s.slot].intent_units);
    uint32_t claimed =
        tx_used_units(place_of(q, q->read_ref), shm_cursor_place(q->tail_seen), q->units);
    if (units == 0 || units > claimed || units > SHM_RECORD_MAX_UNITS)
        return false;
    abort_claim(q, units, s.slot);
    return true;
}

/* --- taking in ----------------------------------------------------------------------------- */

static void advance_read(tx_queue_t *q, uint32_t units, bool uses_sequence)
{
    q->read_ref += units;
    q->read_seq += uses_sequence;
    /* In a replay the cursor already stands behind what is passed out again, and must stay there for
     * the next successor. */
    if (q->read_ref >= q->replay_until_ref)
        rt_store_relaxed(&q->cursors->read, shm_cursor(q->read_seq, place_of(q, q->read_ref)));
}

/* Nothing between read cursor and tail can be believed: start again at the tail. */
static int give_up_on_ring(tx_queue_t *q, shm_cursor_t tail, tx_item_t *item)
{
    uint32_t place = shm_cursor_place(tail);
    uint32_t skipped = tx_used_units(place_of(q, q->read_ref), place, q->units);
    uint32_t packets = shm_cursor_seq(tail) - q->read_seq;
    *item = (tx_item_t){.ref = q->read_ref, .sequence = widen(q, q->read_seq)};
    uint64_t end = q->read_ref + skipped;
    for (uint64_t at = q->read_ref; at < end;) {
        uint64_t part = end - at;
        uint64_t to_end = q->units - place_of(q, at);
        part = part < to_end ? part : to_end;
        part = part < SHM_RECORD_MAX_UNITS ? part : SHM_RECORD_MAX_UNITS;
        rt_store_relaxed(word_at(q, at),
                         shm_word(q->read_seq, (uint32_t)part, 0, SHM_RECORD_DONE));
        at += part;
    }
    forget_claim(q, SHM_WORKER_PRODUCER);
    q->read_ref = end;
    q->replay_until_ref = 0;
    q->read_seq = shm_cursor_seq(tail);
    rt_store_relaxed(&q->cursors->read, tail);
    count_finished(q, packets <= q->units ? packets : 0);
    return -EBADMSG;
}

static bool announced_by_known_dead(const tx_queue_t *q)
{
    shm_cursor_t claim = shm_cursor(q->read_seq, place_of(q, q->read_ref));
    for (uint32_t i = 1; q->dead_producers && i < q->segment->config.producers; i++) {
        const shm_producer_t *p = &q->segment->producers[i];
        if (rt_load_relaxed(&p->owner) == OWNER_DEAD && rt_load_relaxed(&p->intent) == claim)
            return true;
    }
    return false;
}

/* Whether the record at the read cursor is worth another look at once. */
static bool wait_or_resolve(tx_queue_t *q, int64_t now_mono_ns)
{
    if (q->stuck_since_mono_ns == 0)
        q->stuck_since_mono_ns = now_mono_ns;
    bool patient = now_mono_ns - q->stuck_since_mono_ns < STUCK_PATIENCE_NS;
    if (patient && !announced_by_known_dead(q))
        return false;
    q->stuck_since_mono_ns = now_mono_ns;
    return resolve_stuck(q);
}

/* What a record in this state means for the caller; the record is sound and its fields are in item. */
static int outcome_of(tx_queue_t *q, uint64_t ref, uint64_t word, unsigned state, tx_item_t *item)
{
    switch (state) {
    case SHM_RECORD_COMMITTED:
        return 1;
    case SHM_RECORD_CANCELLED:
        finish_word(q, ref, word);
        return -ECANCELED;
    case SHM_RECORD_SENDING: /* by a worker that died over it */
        finish_word(q, ref, word);
        return -EOWNERDEAD;
    case SHM_RECORD_ABORTED:
        set_state(q, ref, word, SHM_RECORD_DONE);
        if (shm_word_flags(word) & SHM_TX_RELOCATED)
            return -EAGAIN;
        count_finished(q, 1);
        if (shm_word_flags(word) & SHM_TX_ORPHAN) {
            *item = (tx_item_t){.ref = ref, .sequence = widen(q, shm_word_seq(word))};
            return -EOWNERDEAD;
        }
        rt_bump(&q->segment->stats->counters[SHM_COUNT_tx_aborted], 1);
        return -EAGAIN;
    default: /* DONE, during a takeover */
        return -EAGAIN;
    }
}

/* One record at the read cursor, whose tail distance is left > 0. As tx_queue_next, or -EAGAIN: nothing
 * for the caller, look again. */
static int next_record(tx_queue_t *q, shm_cursor_t tail, uint32_t left, int64_t now_mono_ns,
                       tx_item_t *item)
{
    bool replay = q->read_ref < q->replay_until_ref;
    uint64_t ref = q->read_ref;
    uint32_t pad = 0;
    uint64_t word = rt_load_acquire(word_at(q, ref)); /* T3, pairs with T2 */
    if (shm_word_state(word) == SHM_RECORD_PAD) {
        pad = q->units - place_of(q, ref);
        if (pad > left)
            return give_up_on_ring(q, tail, item);
        if (replay || pad == left) { /* its record was relocated, or is finished and freed */
            advance_read(q, pad, false);
            return -EAGAIN;
        }
        ref += pad;
        word = rt_load_acquire(word_at(q, ref)); /* T3 */
    }

    unsigned state = shm_word_state(word);
    if (!replay && (state == SHM_RECORD_EMPTY || state == SHM_RECORD_CLAIMED)) {
        return wait_or_resolve(q, now_mono_ns) ? -EAGAIN : 0;
    }
    bool relocated = (shm_word_flags(word) & SHM_TX_RELOCATED) != 0;
    bool in_order = replay || relocated || shm_word_seq(word) == q->read_seq;
    bool known = state >= SHM_RECORD_COMMITTED && state <= SHM_RECORD_ABORTED &&
                 state != SHM_RECORD_PAD && state != SHM_RECORD_DONE;
    bool done = replay && state == SHM_RECORD_DONE && shm_word_units(word) > 0 &&
                shm_word_units(word) <= left - pad;
    if (!done && (!known || !in_order || !word_fits(q, ref, word, left - pad)))
        return give_up_on_ring(q, tail, item);

    q->stuck_since_mono_ns = 0;
    if (rt_load_relaxed(&q->segment->producers[SHM_WORKER_PRODUCER].intent) ==
        shm_cursor(q->read_seq, place_of(q, q->read_ref)))
        forget_claim(q, SHM_WORKER_PRODUCER);
    bool readable = done || state == SHM_RECORD_ABORTED || read_record(q, ref, word, item) == 0;
    if (!relocated && !replay) {
        q->sequence_high = widen(q, shm_word_seq(word));
        rt_store_relaxed(&q->cursors->sequence_high, q->sequence_high);
    }
    /* Its sequence lies before the read cursor's, so take_over took it for finished. */
    if (relocated && !replay && state != SHM_RECORD_ABORTED && ref < q->moved_until_ref)
        q->finished--;
    advance_read(q, pad + shm_word_units(word), !relocated && !replay);
    if (!done && state != SHM_RECORD_ABORTED)
        q->live_units += shm_word_units(word);
    if (readable)
        return outcome_of(q, ref, word, state, item);
    finish_word(q, ref, word);
    return -EBADMSG;
}

int tx_queue_next(tx_queue_t *q, int64_t now_mono_ns, unsigned *budget, tx_item_t *item)
{
    for (; *budget > 0; --*budget) {
        uint32_t place = place_of(q, q->read_ref);
        if (shm_cursor_place(q->tail_seen) == place) {
            shm_cursor_t tail = rt_load_acquire(&q->cursors->tail); /* pairs with T1 */
            if (shm_cursor_place(tail) == place || shm_cursor_place(tail) >= q->units)
                return 0; /* empty, or a tail that makes no sense and serves nobody */
            q->tail_seen = tail;
        }
        uint32_t left = tx_used_units(place, shm_cursor_place(q->tail_seen), q->units);
        int rc = next_record(q, q->tail_seen, left, now_mono_ns, item);
        if (rc == 0)
            return 0;
        if (rc != -EAGAIN) {
            --*budget;
            return rc;
        }
    }
    return 0;
}

int tx_queue_pending(const tx_queue_t *q)
{
    if (q->search_ref != q->search_end || rt_load_acquire(&q->cursors->cancels) != q->cancels_seen)
        return 1;
    return shm_cursor_place(rt_load_acquire(&q->cursors->tail)) != place_of(q, q->read_ref);
}

/* --- scheduled records --------------------------------------------------------------------- */

int tx_queue_peek(const tx_queue_t *q, uint64_t ref, tx_item_t *item)
{
    if (ref < q->head_ref || ref >= q->read_ref)
        return -ESTALE;
    uint64_t word = rt_load_acquire(word_at(q, ref));
    if (shm_word_state(word) == SHM_RECORD_CANCELLED)
        return -ECANCELED;
    if (shm_word_state(word) != SHM_RECORD_COMMITTED ||
        !word_fits(q, ref, word, q->read_ref - ref))
        return -ESTALE;
    return read_record((tx_queue_t *)q, ref, word, item) < 0 ? -ESTALE : 0;
}

int tx_queue_take(tx_queue_t *q, uint64_t ref, tx_item_t *item)
{
    int rc = tx_queue_peek(q, ref, item);
    if (rc == -ESTALE)
        return rc;
    uint64_t word = rt_load_acquire(word_at(q, ref));
    uint64_t sending = shm_word(shm_word_seq(word), shm_word_units(word), shm_word_flags(word),
                                SHM_RECORD_SENDING);
    /* It may have been cancelled since the look before: a swap must not start from that. */
    bool waits = rc == 0 && shm_word_state(word) == SHM_RECORD_COMMITTED;
    if (waits && rt_cas(word_at(q, ref), &word, sending))
        return 0;
    if (shm_word_state(word) != SHM_RECORD_CANCELLED || !word_fits(q, ref, word, q->read_ref - ref))
        return -ESTALE;
    (void)read_record(q, ref, word, item);
    finish_word(q, ref, word);
    return -ECANCELED;
}

void tx_queue_untake(tx_queue_t *q, uint64_t ref)
{
    set_state(q, ref, rt_load_relaxed(word_at(q, ref)), SHM_RECORD_COMMITTED);
}

/* The word of the record at *ref, which moves behind it; false: no sound record lies there. */
static bool step_over(const tx_queue_t *q, uint64_t *ref, uint64_t end_ref, uint64_t *word)
{
    *ref = *ref > q->head_ref ? *ref : q->head_ref;
    if (*ref >= end_ref)
        return false;
    *word = rt_load_acquire(word_at(q, *ref));
    uint32_t units = shm_word_units(*word);
    if (units == 0 || units > end_ref - *ref)
        return false;
    *ref += units;
    return true;
}

int tx_queue_reap(tx_queue_t *q, unsigned *budget, tx_item_t *item)
{
    if (q->search_ref == q->search_end) {
        uint64_t cancels = rt_load_acquire(&q->cursors->cancels); /* T9 */
        if (cancels == q->cancels_seen || *budget == 0)
            return 0;
        --*budget;
        q->cancels_seen = cancels;
        q->search_ref = q->head_ref;
        q->search_end = q->read_ref;
    }
    for (; *budget > 0; --*budget) {
        uint64_t word;
        if (!step_over(q, &q->search_ref, q->search_end, &word)) {
            q->search_ref = q->search_end;
            return 0;
        }
        uint64_t ref = q->search_ref - shm_word_units(word);
        if (shm_word_state(word) != SHM_RECORD_CANCELLED ||
            !word_fits(q, ref, word, q->read_ref - ref))
            continue;
        (void)read_record(q, ref, word, item);
        finish_word(q, ref, word);
        return 1;
    }
    return 0;
}

int tx_queue_waiting_next(tx_queue_t *q, uint64_t *ref, tx_item_t *item)
{
    uint64_t word;
    while (step_over(q, ref, q->read_ref, &word)) {
        uint64_t at = *ref - shm_word_units(word);
        if (shm_word_state(word) == SHM_RECORD_COMMITTED &&
            word_fits(q, at, word, q->read_ref - at) && read_record(q, at, word, item) == 0)
            return 1;
    }
    return 0;
}

/* --- freeing ------------------------------------------------------------------------------- */

static void zero_span(tx_queue_t *q, uint32_t from, uint32_t to)
{
    if (to < from) {
        memset(q->data + (size_t)from * SHM_UNIT_BYTES, 0, (size_t)(q->units - from) * SHM_UNIT_BYTES);
        from = 0;
    }
    memset(q->data + (size_t)from * SHM_UNIT_BYTES, 0, (size_t)(to - from) * SHM_UNIT_BYTES);
}

static void free_up_to(tx_queue_t *q, uint64_t ref)
{
    uint32_t to = place_of(q, ref);
    rt_store_relaxed(&q->cursors->freeing_to, (uint64_t)to + 1);
    rt_fence_release(); /* a successor that sees zeroes also sees how far they were meant to go */
    zero_span(q, place_of(q, q->head_ref), to);
    rt_store_release(&q->cursors->head_place, to); /* T4, pairs with T5 */
    rt_store_relaxed(&q->cursors->freeing_to, 0);
    q->head_ref = ref;
}

/* The first ref from head on that is not finished, at most max_bytes away. */
static uint64_t end_of_finished(tx_queue_t *q, uint32_t max_bytes, unsigned *records)
{
    uint64_t ref = q->head_ref;
    uint64_t limit = q->head_ref + max_bytes / SHM_UNIT_BYTES;
    while (ref < q->read_ref && ref < limit) {
        uint64_t word = rt_load_relaxed(word_at(q, ref));
        unsigned state = shm_word_state(word);
        uint32_t units = shm_word_units(word);
        bool finished = state == SHM_RECORD_DONE || state == SHM_RECORD_PAD;
        if (!finished || units == 0 || ref + units > q->read_ref)
            break;
        ref += units;
        *records += state == SHM_RECORD_DONE;
    }
    return ref;
}

static void wake_producers(tx_queue_t *q)
{
    rt_fetch_add(&q->cursors->room_event, 1);
    rt_futex_wake_all(&q->cursors->room_event);
}

static void tell_of_room(tx_queue_t *q)
{
    rt_fence_full(); /* T7 */
    if (rt_load_relaxed(&q->cursors->room_wanted) && rt_exchange(&q->cursors->room_wanted, 0))
        wake_producers(q);
}

/* --- relocation ---------------------------------------------------------------------------- */

/* Worth it when a producer's longest claim may not fit and less than half of what is used still waits.
 * Such a claim takes up to reserve_units, and as much must stay free. */
static bool must_move(const tx_queue_t *q)
{
    shm_cursor_t tail = rt_load_relaxed(&q->cursors->tail);
    uint32_t used = tx_used_units(place_of(q, q->head_ref), shm_cursor_place(tail), q->units);
    return used + 2 * tx_reserve_units(q->max_payload_bytes) > q->units &&
           q->live_units < used / 2 && q->head_ref < q->read_ref;
}

/* Claims units at the tail, announced in the worker's own slot, without using a sequence. Returns the
 * place of the record, or UINT32_MAX when the reserve is used up. */
static uint32_t claim_for_move(tx_queue_t *q, uint32_t need)
{
    shm_producer_t *slot = &q->segment->producers[SHM_WORKER_PRODUCER];
    shm_cursor_t tail = rt_load_relaxed(&q->cursors->tail);
    for (;;) {
        uint32_t place = shm_cursor_place(tail);
        if (place >= q->units)
            return UINT32_MAX;
        uint32_t pad = tx_pad_units(place, need, q->units);
        uint32_t used = tx_used_units(place_of(q, q->head_ref), place, q->units);
        bool behind = used < q->read_ref - q->head_ref; /* overwritten: it never is */
        if (behind || used + pad + need >= q->units)
            return UINT32_MAX;
        rt_store_relaxed(&slot->intent_units, pad + need);
        rt_store_relaxed(&slot->intent, tail);
        shm_cursor_t next = shm_cursor(shm_cursor_seq(tail), (place + pad + need) % q->units);
        if (!rt_cas(&q->cursors->tail, &tail, next))
            continue;
        if (pad == 0)
            return place;
        rt_store_relaxed(tx_word_at(q->data, place),
                         shm_word(shm_cursor_seq(tail), pad, 0, SHM_RECORD_PAD));
        return 0;
    }
}

static bool may_move(tx_queue_t *q, uint64_t word, int64_t now_ns)
{
    tx_item_t item;
    return shm_word_state(word) == SHM_RECORD_COMMITTED &&
           word_fits(q, q->head_ref, word, q->read_ref - q->head_ref) &&
           read_record(q, q->head_ref, word, &item) == 0 && item.due_ns != 0 &&
           item.due_ns > now_ns && item.due_ns - now_ns >= TX_MOVE_AHEAD_NS;
}

static bool move_head_record(tx_queue_t *q, int64_t now_ns)
{
    uint64_t word = rt_load_acquire(word_at(q, q->head_ref));
    if (!may_move(q, word, now_ns))
        return false;
    if (rt_load_relaxed(&q->segment->producers[SHM_WORKER_PRODUCER].intent) != SHM_INTENT_NONE)
        return false; /* a dead predecessor's move still stands unread */

    uint32_t units = shm_word_units(word);
    uint32_t from = place_of(q, q->head_ref);
    uint32_t to = claim_for_move(q, units);
    if (to == UINT32_MAX) {
        rt_store_relaxed(&q->segment->producers[SHM_WORKER_PRODUCER].intent, SHM_INTENT_NONE);
        return false;
    }
    unsigned flags = shm_word_flags(word) | SHM_TX_RELOCATED;
    uint32_t seq = shm_word_seq(word);
    rt_a64_t *copy = tx_word_at(q->data, to);
    memcpy(copy + 1, tx_word_at(q->data, from) + 1, (size_t)(units - 1) * SHM_UNIT_BYTES);
    rt_store_release(copy, shm_word(seq, units, flags, SHM_RECORD_CLAIMED));
    rt_store_release(&q->cursors->moving, (uint64_t)from << 32 | to);
    uint64_t done = shm_word(seq, units, shm_word_flags(word), SHM_RECORD_DONE);
    bool mine = rt_cas(word_at(q, q->head_ref), &word, done);
    rt_store_release(copy, shm_word(seq, units, flags,
                                    mine ? SHM_RECORD_COMMITTED : SHM_RECORD_ABORTED));
    rt_store_release(&q->cursors->moving, MOVING_NONE);
    rt_store_release(&q->segment->producers[SHM_WORKER_PRODUCER].intent, SHM_INTENT_NONE);
    if (mine)
        q->live_units -= units < q->live_units ? units : q->live_units;
    return mine;
}

/* A client that died before it could count what it had cancelled must not leave a record at the head
 * that is neither sent nor moved before its time. */
static void notice_cancelled_head(tx_queue_t *q)
{
    if (q->head_ref == q->read_ref || q->search_ref != q->search_end)
        return;
    if (shm_word_state(rt_load_acquire(word_at(q, q->head_ref))) == SHM_RECORD_CANCELLED)
        q->cancels_seen = rt_load_relaxed(&q->cursors->cancels) - 1;
}

unsigned tx_queue_release(tx_queue_t *q, int64_t now_ns, uint32_t max_bytes, unsigned max_moves,
                          unsigned *moved)
{
    unsigned freed = 0;
    uint64_t old_head = q->head_ref;
    *moved = 0;
    for (;;) {
        uint64_t end = end_of_finished(q, max_bytes, &freed);
        if (end != q->head_ref)
            free_up_to(q, end);
        if (*moved >= max_moves || !must_move(q) || !move_head_record(q, now_ns))
            break;
        (*moved)++;
    }
    notice_cancelled_head(q);
    if (q->dead_producers)
        sweep_dead_producers(q);
    if (q->head_ref != old_head || q->finished != q->finished_told) {
        q->finished_told = q->finished;
        tell_of_room(q);
    }
    return freed + *moved;
}

/* --- bell ---------------------------------------------------------------------------------- */

void tx_queue_arm_bell(tx_queue_t *q)
{
    rt_store_relaxed(&q->cursors->bell_armed, 1);
    rt_fence_full(); /* T6: pairs with tx_producer_must_ring */
}

void tx_queue_disarm_bell(tx_queue_t *q)
{
    rt_store_relaxed(&q->cursors->bell_armed, 0);
}

/* --- start and takeover -------------------------------------------------------------------- */

/* Returns the head behind what was being freed. */
static uint32_t complete_freeing(tx_queue_t *q, uint32_t head)
{
    uint64_t freeing_to = rt_load_acquire(&q->cursors->freeing_to);
    if (freeing_to == 0 || freeing_to > q->units)
        return head;
    uint32_t to = (uint32_t)freeing_to - 1;
    zero_span(q, head, to);
    rt_store_release(&q->cursors->head_place, to);
    rt_store_relaxed(&q->cursors->freeing_to, 0);
    return to;
}

static void complete_move(tx_queue_t *q)
{
    uint64_t moving = rt_load_acquire(&q->cursors->moving);
    uint32_t from = (uint32_t)(moving >> 32);
    uint32_t to = (uint32_t)moving;
    if (moving != MOVING_NONE && from < q->units && to < q->units) {
        uint64_t copy = rt_load_relaxed(tx_word_at(q->data, to));
        unsigned original = shm_word_state(rt_load_acquire(tx_word_at(q->data, from)));
        bool gone = original == SHM_RECORD_DONE || original == SHM_RECORD_EMPTY;
        if (shm_word_state(copy) == SHM_RECORD_CLAIMED)
            rt_store_release(tx_word_at(q->data, to),
                             shm_word(shm_word_seq(copy), shm_word_units(copy), shm_word_flags(copy),
                                      gone ? SHM_RECORD_COMMITTED : SHM_RECORD_ABORTED));
    }
    /* Last: a successor of this successor may have to do it again. */
    rt_store_release(&q->cursors->moving, MOVING_NONE);
}

/* Packets between head and read cursor that have no verdict yet, so that the count of finished ones can
 * be made exact whatever instant the last worker died at. */
static uint64_t count_waiting(const tx_queue_t *q)
{
    uint64_t waiting = 0;
    for (uint64_t ref = q->head_ref; ref < q->replay_until_ref;) {
        uint64_t word = rt_load_relaxed(word_at(q, ref));
        unsigned state = shm_word_state(word);
        bool relocated = (shm_word_flags(word) & SHM_TX_RELOCATED) != 0;
        if (shm_word_units(word) == 0)
            break;
        waiting += state == SHM_RECORD_COMMITTED || state == SHM_RECORD_SENDING ||
                   state == SHM_RECORD_CANCELLED || (state == SHM_RECORD_ABORTED && !relocated);
        ref += shm_word_units(word);
    }
    return waiting;
}

static int take_over(tx_queue_t *q)
{
    shm_cursor_t tail = rt_load_acquire(&q->cursors->tail);
    shm_cursor_t read = rt_load_relaxed(&q->cursors->read);
    uint32_t head = rt_load_relaxed(&q->cursors->head_place);
    if (head >= q->units || shm_cursor_place(tail) >= q->units || shm_cursor_place(read) >= q->units)
        return rt_err_set(-EPROTO,
                          "tx ring of channel \"%s\" has a cursor outside of its %u units: it was "
                          "overwritten; close the channel and open it again",
                          q->segment->config.name, q->units);
    head = complete_freeing(q, head);
    complete_move(q);
    uint32_t behind = tx_used_units(head, shm_cursor_place(tail), q->units);
    uint32_t seen = tx_used_units(head, shm_cursor_place(read), q->units);
    if (seen > behind)
        return rt_err_set(-EPROTO,
                          "tx ring of channel \"%s\" was read past its tail: it was overwritten; close "
                          "the channel and open it again",
                          q->segment->config.name);
    q->head_ref = q->read_ref = head;
    q->replay_until_ref = q->head_ref + seen;
    q->moved_until_ref = q->head_ref + behind;
    q->tail_seen = tail;
    q->read_seq = shm_cursor_seq(read);
    q->sequence_high = rt_load_relaxed(&q->cursors->sequence_high);
    uint64_t next = rt_seq64_near(q->sequence_high, q->read_seq);
    q->finished = next - count_waiting(q);
    rt_store_relaxed(&q->cursors->finished, q->finished);
    for (uint32_t i = 1; i < q->segment->config.producers; i++)
        q->dead_producers += rt_load_relaxed(&q->segment->producers[i].owner) == OWNER_DEAD;
    wake_producers(q); /* the dead worker may have taken their wish and not woken them */
    return 0;
}

int tx_queue_init(tx_queue_t *q, shm_segment_t *s, int takeover)
{
    *q = (tx_queue_t){
        .segment = s,
        .cursors = s->tx,
        .data = s->tx_data,
        .units = (uint32_t)(s->config.tx_bytes / SHM_UNIT_BYTES),
        .max_payload_bytes = shm_config_longest(&s->config, s->config.tx_bytes),
        .slot_alive = owner_lives,
        .slot_alive_of = q,
    };
    return takeover ? take_over(q) : 0;
}
