#include "shm/tx_claims.h"

#include "base/rt_seq.h"

static const shm_producer_t *slot_at(const tx_queue_t *q, uint32_t slot)
{
    return &q->segment->producers[slot];
}

static uint32_t slots_of(const tx_queue_t *q)
{
    return q->segment->config.producers;
}

/* Where the step that begins at slot from ends. */
static uint32_t step_end(const tx_queue_t *q, uint32_t from)
{
    uint32_t left = slots_of(q) - from;
    return from + (left < TX_SLOTS_PER_SEARCH ? left : TX_SLOTS_PER_SEARCH);
}

/* --- the length of an unfinished claim ------------------------------------------------------- */

/* The tail as it was directly after the claim, if the claim had this length. */
static shm_cursor_t tail_behind(const tx_queue_t *q, const tx_length_t *length)
{
    return shm_cursor(q->read_seq + (length->moves ? 0 : 1),
                      tx_place_of(q, q->read_ref + length->units));
}

static uint32_t key_of(const tx_length_t *length)
{
    return 2 * length->units + length->moves + 1;
}

static void note_length(tx_search_t *s, tx_length_t length)
{
    uint32_t key = key_of(&length);
    unsigned at = s->count;
    if (key <= s->above)
        return;
    while (at > 0 && key_of(&s->found[at - 1]) > key)
        at--;
    if (at > 0 && key_of(&s->found[at - 1]) == key)
        return;
    s->more = s->more || s->count == TX_LENGTHS;
    if (at == TX_LENGTHS)
        return;
    s->count += s->count < TX_LENGTHS;
    for (unsigned i = s->count - 1; i > at; i--)
        s->found[i] = s->found[i - 1];
    s->found[at] = length;
}

static void collect_lengths(tx_queue_t *q, tx_search_t *s)
{
    shm_cursor_t claim = shm_cursor(q->read_seq, tx_place_of(q, q->read_ref));
    uint64_t most = tx_queue_tail_ref(q) - q->read_ref;
    for (uint32_t end = step_end(q, s->next_slot); s->next_slot < end; s->next_slot++) {
        const shm_producer_t *p = slot_at(q, s->next_slot);
        if (rt_load_acquire(&p->intent) != claim)
            continue;
        uint32_t units = rt_load_relaxed(&p->intent_units);
        if (units >= TX_RECORD_LEAST_UNITS && units <= most)
            note_length(
                s, (tx_length_t){.units = units, .moves = s->next_slot == SHM_WORKER_PRODUCER});
    }
}

/* Whether the ring itself shows that a claim was made from this tail value: it is still the tail,
 * or the record that begins there has its sequence. The read may hit memory that the owner is
 * writing: then the word of its claim is no longer empty, and write_claim finds that out. */
RT_RACY static bool begins_at(const tx_queue_t *q, shm_cursor_t tail_then, uint64_t ref)
{
    if (rt_load_acquire(&q->cursors->tail) == tail_then)
        return true;
    uint64_t end = tx_queue_tail_ref(q);
    if (ref >= end)
        return false;
    uint64_t word = rt_load_acquire(tx_word_of(q, ref));
    if (shm_word_state(word) == SHM_RECORD_EMPTY)
        return false;
    if (!(shm_word_flags(word) & SHM_TX_RELOCATED))
        return shm_word_seq(word) == shm_cursor_seq(tail_then);
    const shm_tx_record_t *r = (const shm_tx_record_t *)(const void *)tx_word_of(q, ref);
    return tx_word_fits(q, ref, word, end - ref) &&
           rt_read_once(&r->tail_seq) == shm_cursor_seq(tail_then);
}

static void ask_ring(const tx_queue_t *q, tx_search_t *s)
{
    for (unsigned i = 0; i < s->count; i++)
        s->found[i].leads = s->found[i].leads || begins_at(q, tail_behind(q, &s->found[i]),
                                                           q->read_ref + s->found[i].units);
}

/* Asks the slots for lengths whose end is announced as the beginning of another claim. */
static void ask_slots(const tx_queue_t *q, tx_search_t *s)
{
    for (uint32_t end = step_end(q, s->next_slot); s->next_slot < end; s->next_slot++) {
        shm_cursor_t intent = rt_load_acquire(&slot_at(q, s->next_slot)->intent);
        for (unsigned i = 0; intent != SHM_INTENT_NONE && i < s->count; i++)
            s->found[i].leads = s->found[i].leads || intent == tail_behind(q, &s->found[i]);
    }
}

/* The first, and shortest, length that leads on. NULL: none. Then the search starts again, above
 * the lengths that were found if there are more. */
static const tx_length_t *choose(tx_search_t *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->found[i].leads)
            return &s->found[i];
    *s = (tx_search_t){.above = s->more ? key_of(&s->found[s->count - 1]) : 0};
    return NULL;
}

uint32_t tx_claims_search(tx_queue_t *q, bool *moves)
{
    tx_search_t *s = &q->search;
    if (!s->know_lengths) {
        collect_lengths(q, s);
        if (s->next_slot < slots_of(q))
            return 0;
        /* Before the slots are asked and after it: a producer that announces and claims meanwhile
         * is seen by one of the three, because its announcement stays until its word is written. */
        ask_ring(q, s);
        s->know_lengths = true;
        s->next_slot = 0;
    }
    ask_slots(q, s);
    if (s->next_slot < slots_of(q))
        return 0;
    ask_ring(q, s);
    const tx_length_t *length = choose(s);
    if (length == NULL)
        return 0;
    *moves = length->moves;
    uint32_t units = length->units;
    *s = (tx_search_t){0};
    return units;
}

/* --- who it belongs to ------------------------------------------------------------------------ */

bool tx_claims_is_open(const tx_queue_t *q, shm_cursor_t announced)
{
    for (unsigned i = 0; i < q->open_count; i++)
        if (q->open[i].announced == announced)
            return true;
    return false;
}

static bool announces(const tx_queue_t *q, const tx_open_claim_t *o, uint32_t slot)
{
    return rt_load_acquire(&slot_at(q, slot)->intent) == o->announced;
}

static bool known_dead(const tx_queue_t *q, uint32_t slot)
{
    uint32_t owner = rt_load_relaxed(&slot_at(q, slot)->owner);
    return owner == 0 || owner == TX_OWNER_DEAD;
}

void tx_claims_note_halted(tx_queue_t *q, const tx_open_claim_t *o, int64_t now_mono_ns)
{
    q->halted_unreported = true;
    q->halted = (tx_halted_t){.slot = o->slot,
                              .pid = rt_load_relaxed(&slot_at(q, o->slot)->owner),
                              .sequence = rt_seq64_near(q->sequence_high, shm_word_seq(o->word)),
                              .halted_ns = now_mono_ns - o->since_mono_ns};
}

static void note_halt_once(tx_queue_t *q, tx_open_claim_t *o, int64_t now_mono_ns)
{
    o->slot = o->next_slot;
    tx_claims_note_halted(q, o, now_mono_ns);
}

/* Continues the check of those that announce the claim. A few owners are asked per call, which is
 * one system call each. Returns whether all slots were checked and none of them has a living owner.
 * The owner's announcement stays as long as the word is unfinished. */
static bool all_are_dead(tx_queue_t *q, tx_open_claim_t *o, int64_t now_mono_ns)
{
    unsigned asked = 0;
    for (uint32_t end = step_end(q, o->next_slot); o->next_slot < end; o->next_slot++) {
        if (!announces(q, o, o->next_slot) || known_dead(q, o->next_slot))
            continue;
        if (now_mono_ns < o->ask_mono_ns || asked++ == TX_OWNERS_PER_SEARCH)
            return false;
        if (!q->slot_alive(q->slot_alive_of, o->next_slot))
            continue;
        o->ask_mono_ns = now_mono_ns + TX_OWNER_CHECK_NS;
        if (o->slot == TX_NO_SLOT)
            note_halt_once(q, o, now_mono_ns);
        return false;
    }
    return o->next_slot == slots_of(q);
}

bool tx_claims_replace(const tx_queue_t *q)
{
    for (unsigned i = 0; i < q->open_count; i++) {
        uint64_t word = rt_load_acquire(tx_word_of(q, q->open[i].ref));
        if (shm_word_state(word) == SHM_RECORD_CLAIMED && (shm_word_flags(word) & SHM_TX_REPLACES))
            return true;
    }
    return false;
}

/* Clears the mark at ref: one claim has taken the place of that packet. Do this only after that
 * claim is committed. If a worker died between the two, it would leave a claim without a mark, and
 * its successor would abort it. */
static void unmark(tx_queue_t *q, uint64_t ref)
{
    uint64_t word = rt_load_relaxed(tx_word_of(q, ref));
    (void)rt_cas(tx_word_of(q, ref), &word, word & ~((uint64_t)SHM_TX_REPLACED << 8));
}

/* Looks for the packet whose place this claim was to take, in one part of the records that were
 * read. Returns 1: it was cancelled for that and is at walk_ref; 0: it
 * was not; -1: not known yet. */
static int has_replaced(tx_queue_t *q, tx_open_claim_t *o)
{
    const shm_tx_record_t *r = (const shm_tx_record_t *)(const void *)tx_word_of(q, o->ref);
    uint32_t old_seq = rt_read_once(&r->tail_seq);
    if (o->walk_until == 0)
        o->walk_until = tx_queue_tail_ref(q);
    if (q->read_ref < o->walk_until && q->open_count < TX_OPEN_CLAIMS)
        return -1; /* it may have been moved behind the records that were read */
    if (o->walk_ref < q->head_ref)
        o->walk_ref = q->head_ref;
    for (unsigned n = 0; n < TX_RECORDS_PER_SEARCH; n++) {
        uint64_t ref = o->walk_ref;
        uint64_t word = ref < q->read_ref ? rt_load_acquire(tx_word_of(q, ref)) : 0;
        if (shm_word_units(word) == 0)
            return 0;
        if ((shm_word_flags(word) & SHM_TX_REPLACED) && shm_word_seq(word) == old_seq)
            return 1;
        o->walk_ref += shm_word_units(word);
    }
    return -1;
}

bool tx_claims_resolve(tx_queue_t *q, int64_t now_mono_ns)
{
    if (q->open_count == 0)
        return false;
    tx_open_claim_t *o = &q->open[q->open_turn++ % q->open_count];
    if (!all_are_dead(q, o, now_mono_ns))
        return false;
    uint64_t word = o->word;
    unsigned flags = shm_word_flags(word) & ~SHM_TX_REPLACES;
    int replaced = flags != shm_word_flags(word) ? has_replaced(q, o) : 0;
    if (replaced < 0)
        return false;
    uint64_t ended =
        shm_word(shm_word_seq(word), shm_word_units(word), replaced ? flags : SHM_TX_ORPHAN,
                 replaced ? SHM_RECORD_COMMITTED : SHM_RECORD_ABORTED);
    o->next_slot = SHM_WORKER_PRODUCER + 1;
    if (!rt_cas(tx_word_of(q, o->ref), &word, ended))
        return false;
    if (replaced)
        unmark(q, o->walk_ref);
    return true;
}
