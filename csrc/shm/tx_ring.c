/* tx_ring.c: how the tx ring works (this file: producers, tx_queue.c: the worker).
 *
 *            head                     read                        tail
 *             |                        |                           |
 *     --free--+--done--due later--done-+--committed--claimed--comm.+--free (all zero)--
 *             |   taken in by worker   |    not yet taken in       |
 *
 * Claiming. A producer announces in its own slot which tail value it is about to replace and by how
 * much, then moves the tail with one compare-and-swap. The winner owns the bytes between the old
 * and the new tail. It stores the record's word with state CLAIMED, which contains the length,
 * fills the record, and stores the word again with state COMMITTED. Then it withdraws the
 * announcement. A record never wraps: where it would, the claim covers the rest of the ring as
 * well, a PAD word goes there first, and the record starts at place 0.
 *
 * Halting. A producer may be stopped at any instant, and for long: by a page fault, a signal, a
 * busy core. Packets queued behind its claim do not wait for it. When the worker has waited at a
 * claim for TX_CLAIM_TIMEOUT_NS it notes it as open and continues to read after it. The same time
 * counts for all claims that were there when it began to wait. Before each further record it checks
 * the open claims, and hands out those that were finished meanwhile. So the packets of one producer
 * keep their order (it has one claim at a time), and those of others pass. Space is freed in order:
 * behind an open claim the ring can be used until it is full. A successor finds open claims by
 * their words. At most TX_OPEN_CLAIMS are open. The worker waits for the next one.
 *
 * The word of a claim may still be EMPTY, if its owner halted between the swap and the first store.
 * Then the worker finds out the length and stores the words on behalf of the owner, EMPTY -> PAD
 * and EMPTY -> CLAIMED, by compare-and-swap. The owner stores the same words later. The
 * announcements say how long the claim is: a tail value is unique (its low half is the place, its
 * high half counts packets). Several producers may announce one tail value, but only one of them
 * got it. The claim is the shortest announced length that leads on. A length leads on if a claim
 * with the next sequence starts where it ends:
 *   - the tail is there with that sequence, or a slot announces that tail value,
 *   - or the record there has that sequence: its own, or, if it was moved there, tail_seq in its
 * header. The true length leads on: the next claim was made from its end, and either its
 * announcement stays until its word is written, or no claim was made and the tail is there. A
 * shorter length ends inside the claim, which is all zero while its first word is (each owner's
 * first store is a word at the beginning, T10), and no tail value was ever there. A longer one may
 * lead on as well, if everything after the true end was moved there, because a relocation uses no
 * sequence. So the shortest length that leads on is the true one.
 *
 * Dying. A producer may be killed between the swap and the commit. Then its claim is open like that
 * of any other that halted. The worker looks for the slots that announce its tail value. It waits
 * as long as one of their owners lives. When none does, it moves the word from CLAIMED to ABORTED
 * on behalf of the owner. A slow or stopped producer is never aborted, because it may still write.
 *
 * Replacing. One packet takes the place of another that waits, so that one of the two is sent
 * even if a process dies. The new one is claimed and filled. Its word stays CLAIMED and gets the
 * flag REPLACES, and its header gets the old one's sequence. Then the old one moves from COMMITTED
 * to CANCELLED with the flag REPLACED. Then the new one is committed. The middle step decides: if
 * the owner is dead, the worker commits the claim if a record of that sequence is marked as
 * replaced, and aborts it otherwise. Records with this mark are not freed while such a claim may be
 * undecided. (If two producers replace the same packet at once and one of them is killed, the
 * loser's packet may be sent as well.)
 *
 * Room. The worker zeroes what it frees before it publishes the new head, so that a word at a
 * future record's start reads EMPTY until its owner writes it, and old payload bytes cannot be
 * mistaken for a word. Producers leave reserve_units free: the worker must always be able to move
 * one record from the head to the tail. Otherwise a packet due in an hour would hold up the ring.
 *
 * Sending and cancelling. A record that was taken in stays in its place until it is due. Then the
 * worker moves its word from COMMITTED to SENDING. A client that cancels it moves it from COMMITTED
 * to CANCELLED. Both use compare-and-swap, so one of them wins. The same decides about a record
 * that is being moved (tx_move.c): who cancels it finds the original COMMITTED, or DONE and then
 * its copy, which he may cancel before its mover commits it. After the send the word is DONE. A
 * worker that finds SENDING after the death of another knows that this packet may be on the wire
 * and never sends it again.
 *
 * Why 32-bit sequences in the words are enough: a stale compare-and-swap would need the same
 * sequence and the same place again, that is, 2^32 packets while its caller is stopped between two
 * instructions, and by chance the same place. A swap that failed is repeated only with a word of
 * the same sequence: after a lap another packet may be there.
 *
 * Order (R releases, A acquires; the partner is named):
 *   T1  tail swap            -> A: a thread that sees the new tail sees the intent in the slot
 *   T2  word COMMITTED, R    -> T3 in tx_queue.c: fields and payload are whole
 *   T4  head_place, R in tx_release.c -> T5 here: the bytes are zero before they can be claimed
 *       again
 *   T6  bell, full fence here and in tx_queue_arm_bell: either the worker sees the record or the
 *       producer sees the bell armed.
 *       Ringing is a call, and a producer may be stopped before it makes the call. So the bell says
 *       RINGING from the time a producer took it until the call has returned, and others that
 *       commit meanwhile ring as well. Each arming has a number: a producer that resumes late
 *       reports its ring only to its own arming, and cannot silence a later one.
 *   T7  room, full fence in tx_producer_wait_room, tx_ring_ask_wake, tx_ring_ask_watch and
 *       tx_queue_wake_waiters: likewise
 *   T8  tail, A -> T1: the head loaded next is at least as new as the one that made room for the
 *       claim before this tail; an older one could be a lap behind and promise room that is not
 *       there
 *   T9  cancels, full fence in cancel_at -> A in tx_queue_reap: a thread that sees the count sees
 *       the word
 *   T10 word CLAIMED, R fence after it: a thread that sees EMPTY sees none of the owner's other
 *       stores
 *   T11 finished, R in tx_release.c -> A in tx_ring_waiting: a thread that sees that no packet
 *       waits sees all of them in the counters
 *   T12 original DONE, R in tx_move.c -> A in cancel_pass: a thread that sees that a record was
 *       moved sees its copy whole
 */
#include "shm/tx_ring.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "base/rt_futex.h"
#include "base/rt_seq.h"
#include "shm/tx_record.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define WALK_TIMEOUT_NS (10 * RT_NS_PER_MS)
#define WALK_LEAST_NAPS 20 /* the time alone may pass while this process has no core */

int tx_producer_init(tx_producer_t *p, const shm_segment_t *s, uint32_t slot)
{
    if (!s->writable)
        return rt_err_set(-EACCES,
                          "this process has the channel read-only: attach without readonly "
                          "to send");
    if (slot == SHM_WORKER_PRODUCER || slot >= s->config.producers)
        return rt_err_set(-EINVAL, "producer slot %u is not between 1 and %u", slot,
                          s->config.producers - 1);
    uint32_t longest = shm_config_longest(&s->config, s->config.tx_bytes);
    *p = (tx_producer_t){
        .cursors = s->tx,
        .slot = &s->producers[slot],
        .data = s->tx_data,
        .units = (uint32_t)(s->config.tx_bytes / SHM_UNIT_BYTES),
        .reserve_units = tx_reserve_units(longest),
        .capacity = s->config.tx_capacity,
        .max_payload_bytes = longest,
        .index = (uint16_t)slot,
        .tail_left = SHM_INTENT_NONE,
    };
    return 0;
}

static bool capacity_left(const tx_producer_t *p, uint32_t seq)
{
    return p->capacity == 0 || (uint32_t)(seq - (uint32_t)p->finished_seen) < p->capacity;
}

static bool space_left(const tx_producer_t *p, uint32_t place, uint32_t take)
{
    return tx_used_units(p->head_seen, place, p->units) + take + p->reserve_units <= p->units;
}

static void read_worker_cursors(tx_producer_t *p)
{
    p->head_seen = rt_load_acquire(&p->cursors->head_place); /* T5, pairs with T4 */
    p->finished_seen = rt_load_relaxed(&p->cursors->finished);
}

/* Whether the claim at tail of take units fits. The cached values of the worker's cache line may be
 * used only if nobody else has moved the tail since: otherwise the
 * cached head may be a lap behind. */
static bool has_room(tx_producer_t *p, shm_cursor_t tail, uint32_t take)
{
    uint32_t seq = shm_cursor_seq(tail);
    uint32_t place = shm_cursor_place(tail);
    if (tail == p->tail_left && space_left(p, place, take) && capacity_left(p, seq))
        return true;
    read_worker_cursors(p);
    return space_left(p, place, take) && capacity_left(p, seq);
}

static uint64_t widen(tx_producer_t *p, shm_cursor_t tail)
{
    if (tail != p->tail_left)
        p->sequence_seen = rt_load_relaxed(&p->cursors->sequence_high);
    p->sequence_seen = rt_seq64_near(p->sequence_seen, shm_cursor_seq(tail));
    return p->sequence_seen;
}

static int refuse_size(const tx_producer_t *p, uint32_t payload_bytes)
{
    if (payload_bytes > SHM_MAX_PAYLOAD)
        return rt_err_set(-EMSGSIZE,
                          "payload of %u bytes is longer than any datagram can be (%u): send it in "
                          "parts",
                          payload_bytes, SHM_MAX_PAYLOAD);
    return rt_err_set(
        -EMSGSIZE,
        "payload of %u bytes is longer than this channel's limit of %u: open it with a "
        "larger max_payload (at most %u)",
        payload_bytes, p->max_payload_bytes, SHM_MAX_PAYLOAD);
}

static int refuse_tail(const tx_producer_t *p, shm_cursor_t tail)
{
    return rt_err_set(-EPROTO,
                      "the ring's tail is at unit %u of %u: another process overwrote the segment; "
                      "close the channel and open it again",
                      shm_cursor_place(tail), p->units);
}

/* Also after a lost race: an announcement that stays would make the worker wait for this producer
 * when the winner of the same claim dies. */
static void withdraw(tx_producer_t *p)
{
    rt_store_release(&p->slot->intent, SHM_INTENT_NONE);
}

static unsigned route_flags(const tx_route_t *route)
{
    return (route->dest ? SHM_TX_HAS_DEST : 0u) | (route->source ? SHM_TX_HAS_SOURCE : 0u);
}

/* Returns where the payload begins. */
static uint8_t *put_route(uint8_t *to, const tx_route_t *route)
{
    if (route->dest != NULL) {
        memcpy(to, route->dest, sizeof *route->dest);
        to += sizeof *route->dest;
    }
    if (route->source != NULL) {
        memcpy(to, route->source, sizeof *route->source);
        to += sizeof *route->source;
    }
    return to;
}

int tx_producer_claim(tx_producer_t *p, uint32_t payload_bytes, int64_t due_ns, int64_t now_mono_ns,
                      const tx_route_t *route, tx_claim_t *out)
{
    if (__builtin_expect(payload_bytes > p->max_payload_bytes, 0))
        return refuse_size(p, payload_bytes);

    unsigned flags = due_ns ? SHM_TX_HAS_DUE : 0u;
    if (route != NULL)
        flags |= route_flags(route);
    uint32_t need = tx_record_units(payload_bytes, tx_record_addresses(flags));
    shm_cursor_t tail = rt_load_acquire(&p->cursors->tail); /* T8 */
    uint32_t take, pad;
    for (;;) {
        if (__builtin_expect(shm_cursor_place(tail) >= p->units, 0)) {
            withdraw(p);
            return refuse_tail(p, tail);
        }
        pad = tx_pad_units(shm_cursor_place(tail), need, p->units);
        take = pad + need;
        if (!has_room(p, tail, take)) {
            shm_cursor_t again = rt_load_acquire(&p->cursors->tail); /* T8 */
            if (again == tail) {
                withdraw(p);
                return -ENOBUFS;
            }
            tail = again;
            continue;
        }
        rt_store_relaxed(&p->slot->intent_units, take);
        rt_store_relaxed(&p->slot->intent, tail);
        shm_cursor_t next =
            shm_cursor(shm_cursor_seq(tail) + 1, (shm_cursor_place(tail) + take) % p->units);
        shm_cursor_t expected = tail;
        if (rt_cas(&p->cursors->tail, &expected, next)) { /* T1 */
            out->sequence = widen(p, tail);
            p->tail_left = next;
            break;
        }
        tail = expected;
    }

    uint32_t seq = shm_cursor_seq(tail);
    uint32_t place = shm_cursor_place(tail);
    if (pad) {
        rt_store_relaxed(tx_word_at(p->data, place), shm_word(seq, pad, 0, SHM_RECORD_PAD));
        place = 0;
    }
    shm_tx_record_t *record = (shm_tx_record_t *)(p->data + (size_t)place * SHM_UNIT_BYTES);
    rt_store_relaxed(&record->word, shm_word(seq, need, 0, SHM_RECORD_CLAIMED));
    rt_fence_release(); /* T10 */
    record->time_ns = due_ns;
    record->enqueued_mono_ns = now_mono_ns;
    record->payload_bytes = (uint16_t)payload_bytes;
    record->producer = p->index;
    record->tail_seq = 0;
    out->keeps_due = false;
    out->record = record;
    out->payload = (uint8_t *)(record + 1);
    if (flags & (SHM_TX_HAS_DEST | SHM_TX_HAS_SOURCE))
        out->payload = put_route(out->payload, route);
    out->commit_word = shm_word(seq, need, flags, SHM_RECORD_COMMITTED);
    return 0;
}

void tx_producer_commit(tx_producer_t *p, tx_claim_t *claim)
{
    rt_store_release(&claim->record->word, claim->commit_word); /* T2, pairs with T3 */
    withdraw(p);
}

void tx_producer_abort(tx_producer_t *p, tx_claim_t *claim)
{
    uint64_t w = claim->commit_word;
    rt_store_release(&claim->record->word,
                     shm_word(shm_word_seq(w), shm_word_units(w), 0, SHM_RECORD_ABORTED));
    withdraw(p);
}

int tx_producer_push(tx_producer_t *p, const void *payload, uint32_t payload_bytes, int64_t due_ns,
                     int64_t now_mono_ns, const tx_route_t *route, uint64_t *sequence)
{
    tx_claim_t claim;
    if (payload_bytes <= p->max_payload_bytes)
        tx_producer_touch(payload, payload_bytes);
    int rc = tx_producer_claim(p, payload_bytes, due_ns, now_mono_ns, route, &claim);
    if (rc < 0)
        return rc;
    memcpy(claim.payload, payload, payload_bytes);
    tx_producer_commit(p, &claim);
    *sequence = claim.sequence;
    return 0;
}

int tx_producer_push_engine(tx_producer_t *p, const void *head, uint32_t head_bytes,
                            const void *data, uint32_t bytes, int64_t now_mono_ns)
{
    tx_claim_t claim;
    if (bytes <= p->max_payload_bytes)
        tx_producer_touch(data, bytes);
    int rc = tx_producer_claim(p, head_bytes + bytes, 0, now_mono_ns, NULL, &claim);
    if (rc < 0)
        return rc;
    memcpy(claim.payload, head, head_bytes);
    if (bytes > 0)
        memcpy(claim.payload + head_bytes, data, bytes);
    claim.commit_word |= (uint64_t)SHM_TX_ENGINE << 8;
    tx_producer_commit(p, &claim);
    return 0;
}

int tx_producer_has_room(tx_producer_t *p)
{
    shm_cursor_t tail = rt_load_acquire(&p->cursors->tail); /* T8 */
    read_worker_cursors(p);
    uint32_t place = shm_cursor_place(tail);
    uint32_t need = tx_record_units(p->max_payload_bytes, 0);
    return space_left(p, place, need + tx_pad_units(place, need, p->units)) &&
           capacity_left(p, shm_cursor_seq(tail));
}

int tx_producer_must_ring(tx_producer_t *p)
{
    rt_fence_full(); /* T6 */
    uint32_t seen = rt_load_relaxed(&p->cursors->bell_armed);
    if ((seen & SHM_BELL_STATE) == SHM_BELL_AWAKE)
        return 0;
    p->ringing = (seen & ~SHM_BELL_STATE) | SHM_BELL_RINGING;
    if ((seen & SHM_BELL_STATE) == SHM_BELL_ARMED)
        (void)rt_cas(&p->cursors->bell_armed, &seen, p->ringing);
    return 1;
}

void tx_producer_rang(tx_producer_t *p)
{
    uint32_t ringing = p->ringing;
    (void)rt_cas(&p->cursors->bell_armed, &ringing, ringing & ~SHM_BELL_STATE);
}

int tx_producer_may_have_room(const tx_producer_t *p)
{
    return rt_load_relaxed(&p->cursors->head_place) != p->head_seen ||
           rt_load_relaxed(&p->cursors->finished) != p->finished_seen;
}

int tx_producer_wait_room(tx_producer_t *p, int64_t until_mono_ns)
{
    uint32_t event = rt_load_relaxed(&p->cursors->room_event);
    rt_store_relaxed(&p->cursors->room_wanted, 1);
    rt_fence_full(); /* T7 */
    if (tx_producer_may_have_room(p))
        return 0;
    return rt_futex_wait(&p->cursors->room_event, event, until_mono_ns);
}

/* --- looking at the ring from outside ------------------------------------------------------ */

typedef struct walk {
    uint32_t place;
    uint32_t left; /* units up to the tail */
    uint32_t head; /* where it began */
    uint64_t word;
} walk_t;

/* Steps to the next record between head and tail. The worker may free records during the walk.
 * Their words then read EMPTY and the walk ends, which the caller takes as "gone". A length below
 * the shortest record also ends it, unless it is padding: so the length of the ring bounds the
 * steps. */
RT_RACY static bool walk_next(const shm_segment_t *s, uint32_t units, walk_t *w)
{
    uint32_t step = shm_word_units(w->word);
    bool pads = shm_word_state(w->word) == SHM_RECORD_PAD && w->place + step == units;
    if (step > w->left || (step < TX_RECORD_LEAST_UNITS && !pads))
        return false;
    w->place = (w->place + step) % units;
    w->left -= step;
    if (w->left == 0)
        return false;
    w->word = rt_load_acquire(tx_word_at(s->tx_data, w->place)); /* T12 */
    return true;
}

RT_RACY static bool walk_start(const shm_segment_t *s, uint32_t units, walk_t *w)
{
    shm_cursor_t tail = rt_load_acquire(&s->tx->tail);
    uint32_t head = rt_load_acquire(&s->tx->head_place);
    uint32_t end = shm_cursor_place(tail);
    if (head >= units || end >= units)
        return false;
    w->place = w->head = head;
    w->left = tx_used_units(head, end, units);
    if (w->left == 0)
        return false;
    w->word = rt_load_acquire(tx_word_at(s->tx_data, w->place));
    return true;
}

/* Notes in the claim's word that it takes the place of another packet: if its owner dies now, the
 * worker commits it if that packet was cancelled for it, and aborts it otherwise. */
static void offer(tx_claim_t *claim, uint32_t old_seq, int64_t old_due_ns)
{
    uint64_t has_due = (uint64_t)SHM_TX_HAS_DUE << 8;
    if (claim->keeps_due) {
        claim->record->time_ns = old_due_ns;
        claim->commit_word =
            old_due_ns ? claim->commit_word | has_due : claim->commit_word & ~has_due;
    }
    claim->record->tail_seq = old_seq;
    uint64_t w = claim->commit_word;
    rt_store_release(&claim->record->word,
                     shm_word(shm_word_seq(w), shm_word_units(w),
                              shm_word_flags(w) | SHM_TX_REPLACES, SHM_RECORD_CLAIMED));
}

static bool is_unfinished_copy(uint64_t word)
{
    return shm_word_state(word) == SHM_RECORD_CLAIMED && (shm_word_flags(word) & SHM_TX_RELOCATED);
}

/* The copy of a record that is being moved, too: its mover may be stopped or dead. Until the copy
 * is finished its original is at the head. So a walk that began at this head found the original
 * done, and the copy is whole. One that halted for laps may find a copy whose original waits. */
static bool can_be_cancelled(const shm_segment_t *s, const walk_t *w)
{
    return shm_word_state(w->word) == SHM_RECORD_COMMITTED ||
           (is_unfinished_copy(w->word) && rt_load_acquire(&s->tx->head_place) == w->head);
}

/* Returns 1 if the record at this place of the walk is cancelled; 0: the worker was faster, or no
 * record can be there. w->word is as found last. It may be that of another record: who halts
 * before the swap may continue laps later. instead: the claim that takes its place, NULL: none. */
RT_RACY static int cancel_at(const shm_segment_t *s, walk_t *w, tx_claim_t *instead,
                             int64_t *due_ns)
{
    const shm_tx_record_t *record =
        (const shm_tx_record_t *)(s->tx_data + (size_t)w->place * SHM_UNIT_BYTES);
    uint32_t sequence = shm_word_seq(w->word);
    if ((w->place + sizeof *record / SHM_UNIT_BYTES) * SHM_UNIT_BYTES > s->config.tx_bytes)
        return 0;
    while (shm_word_seq(w->word) == sequence && can_be_cancelled(s, w)) {
        int64_t due = rt_read_once(&record->time_ns);
        if (instead)
            offer(instead, sequence, due);
        uint64_t cancelled = shm_word(sequence, shm_word_units(w->word),
                                      shm_word_flags(w->word) | (instead ? SHM_TX_REPLACED : 0u),
                                      SHM_RECORD_CANCELLED);
        if (!rt_cas(tx_word_at(s->tx_data, w->place), &w->word, cancelled)) /* T12 */
            continue;
        rt_fence_full(); /* T9 */
        rt_fetch_add(&s->tx->cancels, 1);
        if (due_ns)
            *due_ns = due;
        return 1;
    }
    return 0;
}

/* One pass from head to tail. *whole: 0 if an unfinished claim, the worker's freeing or a long halt
 * cut it short. */
static int cancel_pass(const shm_segment_t *s, uint32_t sequence, tx_claim_t *instead,
                       int64_t *due_ns, bool *whole)
{
    uint32_t units = (uint32_t)(s->config.tx_bytes / SHM_UNIT_BYTES);
    walk_t w = {.left = 0};
    bool decided = false; /* then a copy of it is given up */
    for (bool more = walk_start(s, units, &w); more && !decided; more = walk_next(s, units, &w)) {
        if (shm_word_seq(w.word) != sequence)
            continue;
        if (cancel_at(s, &w, instead, due_ns))
            return 1;
        if (shm_word_seq(w.word) != sequence || is_unfinished_copy(w.word))
            return 0;
        decided = shm_word_state(w.word) == SHM_RECORD_CANCELLED;
    }
    *whole = w.left == 0 || decided;
    return 0;
}

static int refuse_walk(void)
{
    return rt_err_set(
        -EBUSY,
        "the queue could not be searched within %d ms: a packet in it is not finished, or was "
        "overwritten; try again, and if it stays so, close the channel and open it again",
        (int)(WALK_TIMEOUT_NS / RT_NS_PER_MS));
}

/* The worker may move the record to the tail during the walk. A second complete walk finds it or
 * its unfinished copy there, because a record is moved at most once per lap. A walk that was cut
 * short is repeated until the worker has written the length of the claim that cut it short, but not
 * forever: the claim may have been overwritten. */
static int take_back(const shm_segment_t *s, uint64_t sequence, tx_claim_t *instead,
                     int64_t *due_ns)
{
    const struct timespec nap = {.tv_nsec = 100000};
    int64_t until_mono_ns = 0;
    int naps = 0;
    for (int whole_walks = 0; whole_walks < 2;) {
        bool whole = false;
        if (cancel_pass(s, (uint32_t)sequence, instead, due_ns, &whole))
            return 1;
        whole_walks += whole;
        if (whole)
            continue;
        if (until_mono_ns == 0)
            until_mono_ns = rt_mono_ns() + WALK_TIMEOUT_NS;
        if (naps++ >= WALK_LEAST_NAPS && rt_mono_ns() > until_mono_ns)
            return refuse_walk();
        nanosleep(&nap, NULL);
    }
    return 0;
}

int tx_ring_cancel(const shm_segment_t *s, uint64_t sequence, int64_t *due_ns)
{
    return take_back(s, sequence, NULL, due_ns);
}

int tx_producer_replace(tx_producer_t *p, const shm_segment_t *s, tx_claim_t *claim, uint64_t old,
                        int keep_due)
{
    claim->keeps_due = keep_due != 0;
    int taken_back = take_back(s, old, claim, NULL);
    if (taken_back == 1)
        tx_producer_commit(p, claim);
    else
        tx_producer_abort(p, claim);
    return taken_back;
}

uint64_t tx_ring_next_sequence(const shm_segment_t *s)
{
    uint64_t near = rt_load_relaxed(&s->tx->sequence_high);
    return rt_seq64_near(near, shm_cursor_seq(rt_load_acquire(&s->tx->tail)));
}

uint64_t tx_ring_waiting(const shm_segment_t *s)
{
    uint64_t finished = rt_load_acquire(&s->tx->finished); /* T11 */
    uint64_t next = tx_ring_next_sequence(s);
    return next > finished ? next - finished : 0;
}

uint32_t tx_ring_ask_wake(const shm_segment_t *s)
{
    uint32_t event = rt_load_relaxed(&s->tx->room_event);
    rt_store_relaxed(&s->tx->room_wanted, 1);
    rt_fence_full(); /* T7 */
    return event;
}

void tx_ring_ask_watch(const shm_segment_t *s)
{
    rt_store_relaxed(&s->tx->watch_wanted, 1);
    rt_fence_full(); /* T7 */
}

int tx_ring_sleep(const shm_segment_t *s, uint32_t asked, int64_t until_mono_ns)
{
    return rt_futex_wait(&s->tx->room_event, asked, until_mono_ns);
}
