/* tx_queue.c: the worker's side of the tx ring. This file takes records in and finishes them.
 * tx_item.c reads their headers, tx_release.c frees them, tx_move.c moves them, and tx_takeover.c
 * continues after another worker died. tx_ring.c explains how it works.
 *
 * Places are kept as refs that do not wrap (ref % units is the place). Nothing read from the ring
 * is used before it is checked here: a record must be inside the ring, inside the claimed part, and
 * long enough for its header. A ring that fails the check is emptied up to its tail. Only its
 * clients lose something: the packets in it.
 */
#include "shm/tx_claims.h"
#include "shm/tx_parts.h"
#include "shm/tx_queue.h"

#define SHORTEST_HALT_NS (10 * RT_NS_PER_US) /* worth remembering */

/* --- halts --------------------------------------------------------------------------------- */

/* Remembers that the records of these refs waited for an unfinished claim. */
static void note_halt(tx_queue_t *q, uint64_t from_ref, uint64_t until_ref, int64_t since_mono_ns,
                      int64_t now_mono_ns)
{
    if (now_mono_ns - since_mono_ns < SHORTEST_HALT_NS)
        return;
    q->halts[q->halts_made++ % TX_HALTS] = (tx_halt_t){.from_ref = from_ref,
                                                       .until_ref = until_ref,
                                                       .from_mono_ns = since_mono_ns,
                                                       .until_mono_ns = now_mono_ns};
    if (until_ref > q->halts_until_ref)
        q->halts_until_ref = until_ref;
}

/* --- finishing ----------------------------------------------------------------------------- */

static void finish_word(tx_queue_t *q, uint64_t ref, uint64_t word)
{
    tx_set_state(q, ref, word, SHM_RECORD_DONE);
    if (shm_word_flags(word) & SHM_TX_REPLACED) /* any claim so far may take its place */
        q->replaced_until_ref = tx_queue_tail_ref(q);
    q->live_units -= shm_word_units(word) < q->live_units ? shm_word_units(word) : q->live_units;
    tx_count_finished(q, 1);
}

void tx_queue_finish(tx_queue_t *q, uint64_t ref)
{
    finish_word(q, ref, rt_load_relaxed(tx_word_of(q, ref)));
}

/* --- dead producers ------------------------------------------------------------------------ */

void tx_queue_ask_slots(tx_queue_t *q, tx_slot_alive_t slot_alive, void *of)
{
    q->slot_alive = slot_alive;
    q->slot_alive_of = of;
}

void tx_queue_set_watchers(tx_queue_t *q, tx_ring_watchers_t ring, void *of)
{
    q->ring_watchers = ring;
    q->watchers_of = of;
}

static void forget_claim(tx_queue_t *q, uint32_t slot)
{
    shm_producer_t *p = &q->segment->producers[slot];
    rt_store_relaxed(&p->intent, SHM_INTENT_NONE);
    if (rt_load_relaxed(&p->owner) != TX_OWNER_DEAD)
        return;
    rt_store_release(&p->owner, 0);
    if (q->dead_producers)
        q->dead_producers--;
}

/* A dead owner's announcement is in use as long as a claim made from that tail value may be
 * unfinished: between read cursor and tail, or among those that were passed. At the tail it is not
 * in use: its owner never got that claim. */
static bool claim_is_past(const tx_queue_t *q, shm_cursor_t intent)
{
    uint32_t seq = shm_cursor_seq(intent);
    uint32_t tail_seq = shm_cursor_seq(rt_load_acquire(&q->cursors->tail));
    if (intent == SHM_INTENT_NONE)
        return true;
    bool unread = rt_seq32_diff(seq, q->read_seq) >= 0 && rt_seq32_diff(seq, tail_seq) < 0;
    /* claims that were passed are not found again yet */
    bool replay = q->read_ref < q->replay_until_ref;
    return !unread && !replay && !tx_claims_is_open(q, intent);
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
    if (rt_load_relaxed(&p->owner) != TX_OWNER_DEAD)
        q->dead_producers++;
    rt_store_relaxed(&p->owner, TX_OWNER_DEAD);
    return 0;
}

void tx_sweep_dead_producers(tx_queue_t *q)
{
    uint32_t slots = q->segment->config.producers;
    for (uint32_t n = 0; n < TX_SLOTS_PER_SEARCH && n < slots; n++) {
        uint32_t slot = q->next_dead = (q->next_dead + 1) % slots;
        shm_producer_t *p = &q->segment->producers[slot];
        if (slot != SHM_WORKER_PRODUCER && rt_load_relaxed(&p->owner) == TX_OWNER_DEAD &&
            claim_is_past(q, rt_load_acquire(&p->intent)))
            forget_claim(q, slot);
    }
}

/* --- taking in ----------------------------------------------------------------------------- */

/* The record at the read cursor. */
typedef struct unread {
    shm_cursor_t tail;
    uint32_t left; /* units up to the tail */
    uint32_t pad;  /* part of left that pads the ring's end */
    bool replay;   /* a worker that died had taken it in already */
    uint64_t ref;  /* after the padding */
    uint64_t word;
} unread_t;

static void set_read_ref(tx_queue_t *q, uint64_t ref)
{
    q->read_ref = ref;
    if (ref - q->lap_ref >= q->units)
        q->lap_ref += q->units;
}

/* Forgets the worker's own announcement at the read cursor: it is known now who made the claim
 * there. A worker may have died before it made the claim that it announced. */
static void forget_own_claim(tx_queue_t *q)
{
    if (rt_load_relaxed(&q->segment->producers[SHM_WORKER_PRODUCER].intent) ==
        shm_cursor(q->read_seq, tx_place_of(q, q->read_ref)))
        forget_claim(q, SHM_WORKER_PRODUCER);
}

static void advance_read(tx_queue_t *q, uint32_t units, bool uses_sequence)
{
    forget_own_claim(q);
    set_read_ref(q, q->read_ref + units);
    q->read_seq += uses_sequence;
    q->stuck_since_mono_ns = 0;
    /* In a replay the cursor is already behind the records that are handed out again, and must stay
     * there for the next successor. Release: a thread that sees it behind a claim that was passed
     * sees that claim's word. */
    if (q->read_ref >= q->replay_until_ref)
        rt_store_release(&q->cursors->read, shm_cursor(q->read_seq, tx_place_of(q, q->read_ref)));
}

/* Nothing between read cursor and tail can be trusted: start again at the tail. */
static int give_up_on_ring(tx_queue_t *q, shm_cursor_t tail, tx_item_t *item)
{
    uint32_t place = shm_cursor_place(tail);
    uint32_t skipped = tx_used_units(tx_place_of(q, q->read_ref), place, q->units);
    uint32_t packets = shm_cursor_seq(tail) - q->read_seq;
    *item = (tx_item_t){.ref = q->read_ref, .sequence = tx_widen(q, q->read_seq)};
    uint64_t end = q->read_ref + skipped;
    for (uint64_t at = q->read_ref; at < end;) {
        uint64_t part = end - at;
        uint64_t to_end = q->units - tx_place_of(q, at);
        part = part < to_end ? part : to_end;
        part = part < SHM_RECORD_MAX_UNITS ? part : SHM_RECORD_MAX_UNITS;
        rt_store_relaxed(tx_word_of(q, at),
                         shm_word(q->read_seq, (uint32_t)part, 0, SHM_RECORD_DONE));
        at += part;
    }
    forget_claim(q, SHM_WORKER_PRODUCER);
    set_read_ref(q, end);
    q->replay_until_ref = 0;
    q->stuck_since_mono_ns = 0;
    q->read_seq = shm_cursor_seq(tail);
    rt_store_relaxed(&q->cursors->read, tail);
    packets = packets <= q->units ? packets : 0;
    tx_count_finished(q, packets);
    tx_count_lost(q, packets > 1 ? packets - 1 : 0); /* the caller counts the first */
    return tx_note_damage(q);
}

/* What a record in this state means for the caller. The record is valid
 * and its fields are in item. */
static int outcome_of(tx_queue_t *q, uint64_t ref, uint64_t word, unsigned state, tx_item_t *item)
{
    switch (state) {
    case SHM_RECORD_COMMITTED:
        return 1;
    case SHM_RECORD_CANCELLED:
        finish_word(q, ref, word);
        return -ECANCELED;
    case SHM_RECORD_SENDING: /* by a worker that died during the send */
        finish_word(q, ref, word);
        return -EOWNERDEAD;
    case SHM_RECORD_ABORTED:
        tx_set_state(q, ref, word, SHM_RECORD_DONE);
        if (shm_word_flags(word) & SHM_TX_RELOCATED)
            return -EAGAIN;
        tx_count_finished(q, 1);
        if (shm_word_flags(word) & SHM_TX_ORPHAN) {
            *item = (tx_item_t){.ref = ref, .sequence = tx_widen(q, shm_word_seq(word))};
            return -EOWNERDEAD;
        }
        rt_bump(&q->segment->stats->counters[SHM_COUNT_tx_aborted], 1);
        return -EAGAIN;
    default: /* DONE, during a takeover */
        return -EAGAIN;
    }
}

/* Like outcome_of, for a finished record that was just read. */
static int hand_out(tx_queue_t *q, uint64_t ref, uint64_t word, tx_item_t *item)
{
    unsigned state = shm_word_state(word);
    bool bare = state == SHM_RECORD_DONE || state == SHM_RECORD_ABORTED;
    if (bare)
        return outcome_of(q, ref, word, state, item);
    q->live_units += shm_word_units(word);
    if (tx_read_record(q, ref, word, item) == 0)
        return outcome_of(q, ref, word, state, item);
    finish_word(q, ref, word);
    return tx_note_damage(q);
}

/* --- claims that are not finished ------------------------------------------------------------- */

/* Stores the words of a claim on behalf of its owner, who has not done so yet. If the owner is
 * faster, it has stored the same words. */
static int write_claim(tx_queue_t *q, const unread_t *u, uint32_t units, bool moves)
{
    uint32_t to_end = q->units - tx_place_of(q, q->read_ref);
    uint32_t pad = units > to_end ? to_end : 0;
    uint64_t record = q->read_ref + pad;
    uint64_t empty = 0;
    if (pad != u->pad && u->pad != 0) { /* overwritten */
        (void)tx_note_damage(q);
        return 0;
    }
    if (pad != u->pad &&
        !rt_cas(tx_word_of(q, q->read_ref), &empty, shm_word(q->read_seq, pad, 0, SHM_RECORD_PAD)))
        return -EAGAIN;
    empty = 0;
    if (moves) { /* no other one is behind it: what take_over counted stays right */
        q->moved_until_ref = record;
        (void)tx_finish_move(q, tx_place_of(q, record), units - pad, q->read_seq);
        return -EAGAIN;
    }
    (void)rt_cas(tx_word_of(q, record), &empty,
                 shm_word(q->read_seq, units - pad, 0, SHM_RECORD_CLAIMED));
    return -EAGAIN;
}

/* Leaves the claim at the read cursor, whose length is known, to its owner. Reading continues after
 * it. */
static int pass_claim(tx_queue_t *q, const unread_t *u, int64_t now_mono_ns)
{
    if (q->open_count == TX_OPEN_CLAIMS)
        return 0;
    /* In a replay the padding before it was read as a record of its own. */
    bool padded = u->replay && q->pad_ref + (q->units - tx_place_of(q, q->pad_ref)) == u->ref;
    uint64_t start = padded ? q->pad_ref : u->ref - u->pad;
    int64_t since = q->stuck_since_mono_ns != 0 ? q->stuck_since_mono_ns : now_mono_ns;
    uint32_t seq = shm_word_seq(u->word);
    q->open[q->open_count++] = (tx_open_claim_t){
        .ref = u->ref,
        .word = u->word,
        .announced = shm_cursor(seq, tx_place_of(q, start)),
        .since_mono_ns = since,
        .ask_mono_ns = since + TX_OWNER_CHECK_NS,
        .slot = TX_NO_SLOT,
        .next_slot = SHM_WORKER_PRODUCER + 1,
    };
    note_halt(q, u->ref, q->read_ref + u->left, since, now_mono_ns);
    if (!u->replay) {
        q->sequence_high = tx_widen(q, seq);
        rt_store_relaxed(&q->cursors->sequence_high, q->sequence_high);
    }
    advance_read(q, u->pad + shm_word_units(u->word), !u->replay);
    return -EAGAIN;
}

/* The time to wait is one for all claims that were there when it began. */
static bool claim_timed_out(tx_queue_t *q, int64_t now_mono_ns)
{
    if (q->stuck_since_mono_ns == 0) {
        q->stuck_since_mono_ns = now_mono_ns;
        q->search = (tx_search_t){0};
        if (q->read_ref >= q->there_until_ref) {
            q->there_until_ref = tx_queue_tail_ref(q);
            q->there_since_mono_ns = now_mono_ns;
        }
    }
    return now_mono_ns - q->there_since_mono_ns >= TX_CLAIM_TIMEOUT_NS;
}

/* A passed claim that was finished meanwhile, if there is one. Like tx_queue_next. */
static int next_passed(tx_queue_t *q, int64_t now_mono_ns, tx_item_t *item)
{
    for (unsigned i = 0; i < q->open_count; i++) {
        tx_open_claim_t o = q->open[i];
        uint64_t word = rt_load_acquire(tx_word_of(q, o.ref)); /* T3 */
        unsigned state = shm_word_state(word);
        bool fits = shm_word_seq(word) == shm_word_seq(o.word) &&
                    shm_word_units(word) == shm_word_units(o.word);
        if (fits && state == SHM_RECORD_CLAIMED) {
            q->open[i].word = word; /* it may say by now that it takes another's place */
            continue;
        }
        if (o.slot != TX_NO_SLOT)
            tx_claims_note_halted(q, &o, now_mono_ns);
        q->open[i] = q->open[--q->open_count];
        note_halt(q, o.ref, o.ref + shm_word_units(o.word), o.since_mono_ns, now_mono_ns);
        bool ended = state == SHM_RECORD_COMMITTED || state == SHM_RECORD_CANCELLED ||
                     state == SHM_RECORD_ABORTED;
        if (fits && ended)
            return hand_out(q, o.ref, word, item);
        *item = (tx_item_t){.ref = o.ref, .sequence = tx_widen(q, shm_word_seq(o.word))};
        finish_word(q, o.ref, o.word);
        return tx_note_damage(q);
    }
    return 0;
}

/* Called after a round of the search that found no length. A producer announces a claim before it
 * makes it, so the first rounds find it. Later ones fail only if the
 * announcement was overwritten. */
static void note_unknown_claim(tx_queue_t *q, int64_t now_mono_ns)
{
    bool round_is_over = !q->search.know_lengths && q->search.next_slot == 0;
    if (round_is_over && now_mono_ns - q->stuck_since_mono_ns >= TX_OWNER_CHECK_NS)
        (void)tx_note_damage(q);
}

/* The record at the read cursor is not finished. */
static int unfinished(tx_queue_t *q, const unread_t *u, int64_t now_mono_ns, tx_item_t *item)
{
    bool relocated = (shm_word_flags(u->word) & SHM_TX_RELOCATED) != 0;
    bool says = shm_word_state(u->word) == SHM_RECORD_CLAIMED;
    bool in_order = u->replay || shm_word_seq(u->word) == q->read_seq;
    if (says && (relocated || !in_order || !tx_word_fits(q, u->ref, u->word, u->left - u->pad)))
        return give_up_on_ring(q, u->tail, item);
    if (!says && u->replay)
        return give_up_on_ring(q, u->tail, item);
    if (!u->replay && !claim_timed_out(q, now_mono_ns))
        return 0;
    if (says) { /* behind those that were finished: its producer may have passed one itself */
        int rc = next_passed(q, now_mono_ns, item);
        return rc != 0 ? rc : pass_claim(q, u, now_mono_ns);
    }
    bool moves = false;
    uint32_t units = tx_claims_search(q, &moves);
    if (units == 0)
        note_unknown_claim(q, now_mono_ns);
    return units != 0 ? write_claim(q, u, units, moves) : 0;
}

bool tx_queue_halted(tx_queue_t *q, tx_halted_t *out)
{
    bool news = q->halted_unreported;
    q->halted_unreported = false;
    *out = q->halted;
    return news;
}

/* --- the next record -------------------------------------------------------------------------- */

/* Whether this record can be where it was found. */
static bool is_sound(const tx_queue_t *q, const unread_t *u)
{
    unsigned state = shm_word_state(u->word);
    uint32_t units = shm_word_units(u->word);
    uint32_t left = u->left - u->pad;
    bool relocated = (shm_word_flags(u->word) & SHM_TX_RELOCATED) != 0;
    if (u->replay && state == SHM_RECORD_DONE)
        return units > 0 && units <= left;
    bool known = state == SHM_RECORD_COMMITTED || state == SHM_RECORD_SENDING ||
                 state == SHM_RECORD_CANCELLED || state == SHM_RECORD_ABORTED;
    bool in_order = u->replay || relocated || shm_word_seq(u->word) == q->read_seq;
    return known && in_order && tx_word_fits(q, u->ref, u->word, left);
}

static int take_in_record(tx_queue_t *q, const unread_t *u, int64_t now_mono_ns, tx_item_t *item)
{
    unsigned state = shm_word_state(u->word);
    bool relocated = (shm_word_flags(u->word) & SHM_TX_RELOCATED) != 0;
    if (q->stuck_since_mono_ns != 0)
        note_halt(q, u->ref, q->read_ref + u->left, q->stuck_since_mono_ns, now_mono_ns);
    if (!relocated && !u->replay) {
        q->sequence_high = tx_widen(q, shm_word_seq(u->word));
        rt_store_relaxed(&q->cursors->sequence_high, q->sequence_high);
    }
    /* Its sequence is before the read cursor's, so take_over counted it as finished. */
    if (relocated && !u->replay && state != SHM_RECORD_ABORTED && u->ref < q->moved_until_ref)
        q->finished--;
    advance_read(q, u->pad + shm_word_units(u->word), !relocated && !u->replay);
    return hand_out(q, u->ref, u->word, item);
}

/* Takes one record at the read cursor, where left, the distance to the tail, is > 0. Returns like
 * tx_queue_next, or -EAGAIN: nothing for the caller, try again. */
static int next_record(tx_queue_t *q, shm_cursor_t tail, uint32_t left, int64_t now_mono_ns,
                       tx_item_t *item)
{
    unread_t u = {.tail = tail,
                  .left = left,
                  .replay = q->read_ref < q->replay_until_ref,
                  .ref = q->read_ref,
                  .word = rt_load_acquire(tx_word_of(q, q->read_ref))}; /* T3, pairs with T2 */
    if (shm_word_state(u.word) == SHM_RECORD_PAD) {
        u.pad = q->units - tx_place_of(q, u.ref);
        if (u.pad > left)
            return give_up_on_ring(q, tail, item);
        if (u.replay || u.pad == left) { /* its record was relocated, or is finished and freed */
            q->pad_ref = u.ref;
            advance_read(q, u.pad, false);
            return -EAGAIN;
        }
        u.ref += u.pad;
        u.word = rt_load_acquire(tx_word_of(q, u.ref)); /* T3 */
    }
    unsigned state = shm_word_state(u.word);
    if (state == SHM_RECORD_EMPTY || state == SHM_RECORD_CLAIMED)
        return unfinished(q, &u, now_mono_ns, item);
    if (!is_sound(q, &u))
        return give_up_on_ring(q, tail, item);
    /* After the word was read, T3: its producer may have finished a claim
     * that was passed just before. */
    int rc = next_passed(q, now_mono_ns, item);
    return rc != 0 ? rc : take_in_record(q, &u, now_mono_ns, item);
}

/* Like next_record, but 0 also if there is none. */
static int next_unread(tx_queue_t *q, int64_t now_mono_ns, tx_item_t *item)
{
    uint32_t place = tx_place_of(q, q->read_ref);
    if (shm_cursor_place(q->tail_seen) == place) {
        shm_cursor_t tail = rt_load_acquire(&q->cursors->tail); /* pairs with T1 */
        if (shm_cursor_place(tail) >= q->units) {               /* it serves nobody */
            (void)tx_note_damage(q);
            return 0;
        }
        if (shm_cursor_place(tail) == place)
            return 0;
        q->tail_seen = tail;
    }
    uint32_t left = tx_used_units(place, shm_cursor_place(q->tail_seen), q->units);
    return next_record(q, q->tail_seen, left, now_mono_ns, item);
}

int tx_queue_next(tx_queue_t *q, int64_t now_mono_ns, unsigned *budget, tx_item_t *item)
{
    while (*budget > 0) {
        int rc = next_unread(q, now_mono_ns, item);
        if (rc == 0)
            rc = next_passed(q, now_mono_ns, item);
        if (rc == 0 && !tx_claims_resolve(q, now_mono_ns))
            return 0;
        --*budget;
        if (rc != 0 && rc != -EAGAIN)
            return rc;
    }
    return 0;
}

int tx_queue_pending(const tx_queue_t *q)
{
    if (q->search_ref != q->search_end || rt_load_acquire(&q->cursors->cancels) != q->cancels_seen)
        return 1;
    return q->open_count > 0 ||
           shm_cursor_place(rt_load_acquire(&q->cursors->tail)) != tx_place_of(q, q->read_ref);
}

/* It may be passed soon. After a long search without result the worker can wait longer. */
int64_t tx_queue_nap_ns(const tx_queue_t *q, int64_t now_mono_ns)
{
    bool soon = q->stuck_since_mono_ns != 0 && q->open_count < TX_OPEN_CLAIMS &&
                now_mono_ns - q->stuck_since_mono_ns < TX_OWNER_CHECK_NS;
    return soon ? TX_CLAIM_TIMEOUT_NS : TX_OWNER_CHECK_NS;
}

/* --- scheduled records --------------------------------------------------------------------- */

static bool is_held(const tx_queue_t *q, uint64_t ref)
{
    return ref >= q->head_ref && ref < q->read_ref;
}

/* What a scheduled record with this word is. Only the worker makes one DONE (finished or moved),
 * and clients only cancel it: any other word was overwritten. */
static int check_scheduled(tx_queue_t *q, uint64_t ref, uint64_t word, tx_item_t *item)
{
    unsigned state = shm_word_state(word);
    if (state == SHM_RECORD_DONE)
        return -ESTALE;
    bool fits = tx_word_fits(q, ref, word, q->read_ref - ref);
    if (fits && state == SHM_RECORD_CANCELLED)
        return -ECANCELED;
    if (fits && state == SHM_RECORD_COMMITTED && tx_read_record(q, ref, word, item) == 0)
        return 0;
    *item = (tx_item_t){.ref = ref, .sequence = tx_widen(q, shm_word_seq(word))};
    return -EBADMSG;
}

int tx_queue_peek(const tx_queue_t *q, uint64_t ref, tx_item_t *item)
{
    if (!is_held(q, ref))
        return -ESTALE;
    return check_scheduled((tx_queue_t *)q, ref, rt_load_acquire(tx_word_of(q, ref)), item);
}

/* The record ends here, unsent. */
static int end_scheduled(tx_queue_t *q, uint64_t ref, uint64_t word, int why, tx_item_t *item)
{
    if (why == -ECANCELED)
        (void)tx_read_record(q, ref, word, item);
    else
        (void)tx_note_damage(q);
    finish_word(q, ref, word);
    return why;
}

/* The record to take is no longer as it was scheduled. */
static __attribute__((noinline, cold)) int refuse_scheduled(tx_queue_t *q, uint64_t ref,
                                                            uint64_t word, tx_item_t *item)
{
    int rc = check_scheduled(q, ref, word, item);
    if (rc == -ESTALE)
        return rc;
    return end_scheduled(q, ref, word, rc == -ECANCELED ? rc : -EBADMSG, item);
}

int tx_queue_take(tx_queue_t *q, uint64_t ref, tx_item_t *item)
{
    if (!is_held(q, ref))
        return -ESTALE;
    uint64_t word = rt_load_acquire(tx_word_of(q, ref));
    uint64_t sending = shm_word(shm_word_seq(word), shm_word_units(word), shm_word_flags(word),
                                SHM_RECORD_SENDING);
    bool waits = shm_word_state(word) == SHM_RECORD_COMMITTED &&
                 tx_word_fits(q, ref, word, q->read_ref - ref);
    if (waits && tx_read_record(q, ref, word, item) == 0 &&
        rt_cas(tx_word_of(q, ref), &word, sending))
        return 0;
    return refuse_scheduled(q, ref, word, item);
}

void tx_queue_untake(tx_queue_t *q, uint64_t ref)
{
    tx_set_state(q, ref, rt_load_relaxed(tx_word_of(q, ref)), SHM_RECORD_COMMITTED);
}

/* The word of the record at *ref. *ref moves past it. false: no valid record is there. */
static bool step_over(const tx_queue_t *q, uint64_t *ref, uint64_t end_ref, uint64_t *word)
{
    *ref = *ref > q->head_ref ? *ref : q->head_ref;
    if (*ref >= end_ref)
        return false;
    *word = rt_load_acquire(tx_word_of(q, *ref));
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
        if (shm_word_state(word) != SHM_RECORD_CANCELLED || tx_was_passed(q, ref) ||
            !tx_word_fits(q, ref, word, q->read_ref - ref))
            continue;
        (void)tx_read_record(q, ref, word, item);
        finish_word(q, ref, word);
        return 1;
    }
    return 0;
}

/* Whether the record needs no action: it is padding, or has or gets its verdict elsewhere. */
static bool is_passed_by(const tx_queue_t *q, uint64_t ref, uint64_t word)
{
    unsigned state = shm_word_state(word);
    return state == SHM_RECORD_DONE || state == SHM_RECORD_PAD || state == SHM_RECORD_CANCELLED ||
           tx_was_passed(q, ref);
}

int tx_queue_waiting_next(tx_queue_t *q, uint64_t *ref, unsigned *budget, tx_item_t *item)
{
    *ref = *ref > q->head_ref ? *ref : q->head_ref;
    while (*budget > 0 && *ref < q->read_ref) {
        uint64_t word;
        --*budget;
        if (!step_over(q, ref, q->read_ref, &word)) {
            (void)tx_note_damage(q);
            return 0;
        }
        uint64_t at = *ref - shm_word_units(word);
        if (is_passed_by(q, at, word))
            continue;
        int rc = check_scheduled(q, at, word, item);
        return rc == 0 ? 1 : end_scheduled(q, at, word, rc, item);
    }
    return 0;
}

/* --- bell ---------------------------------------------------------------------------------- */

void tx_queue_arm_bell(tx_queue_t *q)
{
    q->bell_number += SHM_BELL_STATE + 1;
    rt_store_relaxed(&q->cursors->bell_armed, q->bell_number | SHM_BELL_ARMED);
    rt_fence_full(); /* T6: pairs with tx_producer_must_ring */
}

void tx_queue_disarm_bell(tx_queue_t *q)
{
    rt_store_relaxed(&q->cursors->bell_armed, q->bell_number | SHM_BELL_AWAKE);
}
