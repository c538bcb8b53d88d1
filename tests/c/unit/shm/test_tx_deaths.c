/* Producers and workers that died at every interesting instant. The instants are made
 * by hand, word by word; tests/model says that there are no others, tests/c/stress
 * looks for them with kill -9. */
#include "shm_test.h"

#include <sys/wait.h>

enum { RING_BYTES = 4096, UNITS = RING_BYTES / SHM_UNIT_BYTES, MAX_PAYLOAD = 200 };

/* More than the worker's time-out for an unfinished record. */
#define LATER (100 * RT_NS_PER_MS)

static shm_segment_t seg;
static tx_queue_t queue;
static tx_producer_t first, second, third;
static tx_item_t item;
static int seg_fd;
static uint32_t dead_pid;

static void open_at(uint32_t place)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    seg_fd = shm_test_open(&seg, &c);
    shm_test_move_tx(&seg, 0, place);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    CHECK_EQ(tx_producer_init(&first, &seg, 1), 0);
    CHECK_EQ(tx_producer_init(&second, &seg, 2), 0);
    CHECK_EQ(tx_producer_init(&third, &seg, 3), 0);
}

static void close_ring(void)
{
    shm_test_close(&seg, seg_fd);
}

static uint64_t push(tx_producer_t *p, uint32_t bytes)
{
    uint8_t payload[MAX_PAYLOAD] = {0};
    uint64_t sequence = UINT64_MAX;
    CHECK_EQ(tx_producer_push(p, payload, bytes, 0, 1, NULL, &sequence), 0);
    return sequence;
}

/* The producer claims and is never heard of again. */
static void claim_and_die(tx_producer_t *p, uint32_t bytes)
{
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(p, bytes, 0, 1, NULL, &claim), 0);
    memset(claim.payload, 0xff, bytes);
    rt_store_relaxed(&p->slot->owner, dead_pid);
}

/* Announces what another has claimed, as the loser of that race, and dies. */
static void lose_and_die(tx_producer_t *p, shm_cursor_t tail, uint32_t units)
{
    rt_store_relaxed(&p->slot->intent, tail);
    rt_store_relaxed(&p->slot->intent_units, units);
    rt_store_relaxed(&p->slot->owner, dead_pid);
}

static void check_next(int expected, uint64_t sequence)
{
    item.sequence = UINT64_MAX;
    CHECK_EQ(shm_test_next(&queue, LATER, &item), expected);
    if (expected != 0)
        CHECK_EQ(item.sequence, sequence);
}

/* As check_next, however long the worker's time-outs for the dead are. */
static void check_outcome(int expected, uint64_t sequence)
{
    static int64_t now = 1;
    int rc = 0;
    item.sequence = UINT64_MAX;
    for (int i = 0; i < 10 && rc == 0; i++, now += LATER)
        rc = shm_test_next(&queue, now, &item);
    CHECK_EQ(rc, expected);
    CHECK_EQ(item.sequence, sequence);
}

static void send(uint64_t ref)
{
    CHECK_EQ(tx_queue_take(&queue, ref, &item), 0);
    tx_queue_finish(&queue, ref);
}

/* All is sent, freed, zero and counted. */
static void check_empty(void)
{
    unsigned moved;
    while (shm_test_next(&queue, 2 * LATER, &item) == 1)
        send(item.ref);
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    CHECK_EQ(rt_load_relaxed(&seg.tx->head_place),
             shm_cursor_place(rt_load_relaxed(&seg.tx->tail)));
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(rt_load_relaxed(&seg.tx->finished), tx_ring_next_sequence(&seg));
    for (uint32_t at = 0; at < UNITS; at++)
        CHECK_EQ(rt_load_relaxed(tx_word_at(seg.tx_data, at)), 0);
}

/* --- producers ----------------------------------------------------------------------------- */

static void test_a_dead_claim_is_skipped_after_a_while(void)
{
    open_at(0);
    uint64_t a = push(&second, 8);
    claim_and_die(&first, 50);
    uint64_t c = push(&second, 8);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(item.sequence, a);
    send(item.ref);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK_EQ(shm_test_next(&queue, RT_NS_PER_MS, &item), 1);
    CHECK_EQ(item.sequence, c);
    send(item.ref);
    CHECK_EQ(shm_test_next(&queue, RT_NS_PER_MS, &item), 0);
    CHECK_EQ(shm_test_next(&queue, TX_OWNER_CHECK_NS, &item), 0);
    check_outcome(-EOWNERDEAD, a + 1);
    check_empty();
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 1);
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].owner), 0);
    close_ring();
}

static void test_a_known_death_is_not_asked_about(void)
{
    open_at(0);
    claim_and_die(&first, 50);
    uint64_t next = push(&second, 8);
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 0);
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 0);
    CHECK(rt_load_relaxed(&seg.producers[1].owner) != 0);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK_EQ(shm_test_next(&queue, 1 + TX_CLAIM_TIMEOUT_NS, &item), 1);
    CHECK_EQ(item.sequence, next);
    send(item.ref);
    CHECK_EQ(shm_test_next(&queue, 1 + TX_CLAIM_TIMEOUT_NS, &item), -EOWNERDEAD);
    check_empty();
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].owner), 0); /* the release swept it */
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].intent), SHM_INTENT_NONE);
    close_ring();
}

static void test_an_idle_slot_is_free_at_once(void)
{
    open_at(0);
    (void)push(&first, 8);
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 1);
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].owner), 0);

    /* Announced and died before it moved the tail. */
    rt_store_relaxed(&second.slot->intent_units, 9);
    rt_store_relaxed(&second.slot->intent, rt_load_relaxed(&seg.tx->tail));
    CHECK_EQ(tx_queue_free_producer(&queue, 2), 1);
    CHECK_EQ(rt_load_relaxed(&seg.producers[2].intent), SHM_INTENT_NONE);

    CHECK_EQ(tx_queue_free_producer(&queue, SHM_WORKER_PRODUCER), 1);
    CHECK_EQ(tx_queue_free_producer(&queue, 100000), 1);
    check_empty();
    close_ring();
}

/* The claim's padding was written, or not yet. */
static void check_padded(bool padding_written, bool half_skipped)
{
    open_at(UNITS - 6);
    claim_and_die(&first, 100);
    if (!padding_written)
        rt_store_relaxed(tx_word_at(seg.tx_data, UNITS - 6), 0);
    if (half_skipped) { /* by a worker that died over it */
        uint32_t units = rt_load_relaxed(&first.slot->intent_units) - 6;
        rt_store_relaxed(tx_word_at(seg.tx_data, 0),
                         shm_word(0, units, SHM_TX_ORPHAN, SHM_RECORD_ABORTED));
        CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    }
    uint64_t next = push(&second, 8);
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 0);
    if (half_skipped)
        check_outcome(-EOWNERDEAD, 0);
    check_outcome(1, next);
    send(item.ref);
    if (!half_skipped)
        check_outcome(-EOWNERDEAD, 0);
    check_empty();
    close_ring();
}

static void test_a_dead_claim_with_padding_is_skipped_whole(void)
{
    check_padded(true, false);
    check_padded(false, false);
    check_padded(true, true);
    check_padded(false, true);
}

static void test_nobody_alive_is_skipped(void)
{
    open_at(0);
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(&second, 40, 0, 1, NULL, &claim), 0);
    lose_and_die(&first, 0, 30);
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 0);
    for (int64_t now = 1; now < 10 * LATER; now += LATER / 10)
        CHECK_EQ(shm_test_next(&queue, now, &item), 0);
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 0); /* its announcement may still be a claim's */
    tx_producer_commit(&second, &claim);
    check_outcome(1, 0);
    send(item.ref);
    check_empty();
    close_ring();
}

/* Two died over the same claim with different lengths; only the winner's is the one that was made.
 * What follows: the tail, a packet, another claim, or one or two packets that were moved there. */
typedef enum follower { NOTHING, PACKET, CLAIM, MOVED, MOVED_TWO } follower_t;

/* As move_head_record does it. Returns the units. */
static uint32_t move_to_tail(uint32_t from)
{
    shm_cursor_t tail = rt_load_relaxed(&seg.tx->tail);
    uint32_t place = shm_cursor_place(tail);
    uint64_t word = rt_load_relaxed(tx_word_at(seg.tx_data, from));
    uint32_t units = shm_word_units(word);
    memcpy(seg.tx_data + 8 * (size_t)place, seg.tx_data + 8 * (size_t)from, 8 * (size_t)units);
    ((shm_tx_record_t *)(void *)(seg.tx_data + 8 * (size_t)place))->tail_seq = shm_cursor_seq(tail);
    rt_store_relaxed(tx_word_at(seg.tx_data, place),
                     shm_word(shm_word_seq(word), units, SHM_TX_RELOCATED, SHM_RECORD_COMMITTED));
    rt_store_relaxed(tx_word_at(seg.tx_data, from),
                     shm_word(shm_word_seq(word), units, 0, SHM_RECORD_DONE));
    rt_store_relaxed(&seg.tx->tail, shm_cursor(shm_cursor_seq(tail), place + units));
    return units;
}

typedef struct ends {
    unsigned sent, orphans;
    uint64_t orphan;
} ends_t;

/* Everything that comes out until nothing more does. */
static ends_t take_all(void)
{
    static int64_t now = 1;
    ends_t ends = {0};
    for (unsigned quiet = 0; quiet < 40; now += LATER / 10) {
        int rc = shm_test_next(&queue, now, &item);
        quiet = rc == 0 ? quiet + 1 : 0;
        CHECK(rc == 0 || rc == 1 || rc == -EOWNERDEAD);
        if (rc == 1) {
            send(item.ref);
            ends.sent++;
        } else if (rc == -EOWNERDEAD) {
            ends.orphans++;
            ends.orphan = item.sequence;
        }
    }
    return ends;
}

/* said: the winner had come to say its length in the ring; told: the worker knows of the deaths. */
static void check_two_dead(follower_t follower, uint32_t winner_bytes, uint32_t loser_units,
                           bool said, bool told)
{
    open_at(0);
    tx_claim_t claim = {0};
    unsigned packets = 0;
    (void)push(&third, 8);
    uint64_t far = push(&third, 16);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    uint32_t first_units = (uint32_t)queue.read_ref;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    shm_cursor_t tail = rt_load_relaxed(&seg.tx->tail);
    claim_and_die(&second, winner_bytes);
    memset(tx_word_at(seg.tx_data, shm_cursor_place(tail) + 4), said ? 0xff : 0, winner_bytes);
    if (!said)
        memset(tx_word_at(seg.tx_data, shm_cursor_place(tail)), 0, sizeof(shm_tx_record_t));
    lose_and_die(&first, tail, loser_units); /* the lower slot: looked at first */
    if (follower == PACKET)
        packets += push(&third, 8) != 0;
    if (follower == CLAIM)
        CHECK_EQ(tx_producer_claim(&third, 8, 0, 1, NULL, &claim), 0);
    if (follower >= MOVED)
        packets += move_to_tail(0) != 0;
    if (follower == MOVED_TWO)
        packets += move_to_tail(first_units) != 0;
    if (told) {
        CHECK_EQ(tx_queue_free_producer(&queue, 1), 0);
        CHECK_EQ(tx_queue_free_producer(&queue, 2), 0);
    }
    ends_t ends = take_all();
    if (follower == CLAIM) {
        CHECK_EQ(ends.sent, 0);
        tx_producer_commit(&third, &claim);
        ends.sent = take_all().sent;
        packets = 1;
    }
    CHECK_EQ(ends.orphans, 1);
    CHECK_EQ(ends.orphan, far + 1);
    CHECK_EQ(ends.sent, packets);
    if (follower < MOVED)
        send(0);
    if (follower < MOVED_TWO)
        send(first_units);
    check_empty();
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 1);
    CHECK_EQ(tx_queue_free_producer(&queue, 2), 1);
    close_ring();
}

/* Lengths that end in the winner's claim, where it ends, in what follows,
 * where that ends, and behind. */
static void test_of_two_dead_the_winner_is_found(void)
{
    enum { WINNER_BYTES = 40, LEAST = 4, MOST = 9 + 5 + 6 + 3 };
    for (follower_t f = NOTHING; f <= MOVED_TWO; f++)
        for (uint32_t loser = LEAST; loser <= MOST; loser++)
            for (unsigned known = 0; known < 4; known++) {
                check_two_dead(f, WINNER_BYTES, loser, known & 1, known & 2);
                check_two_dead(f, 0, loser, known & 1, known & 2);
            }
}

/* More lengths than one round of the search holds, the winner's among the longest. */
static void test_of_many_dead_the_winner_is_found(void)
{
    enum { SLOTS = 100 };
    shm_config_t c = shm_test_config(65536, 8000);
    c.producers = SLOTS;
    seg_fd = shm_test_open(&seg, &c);
    for (uint32_t winner_bytes = 0; winner_bytes < 400; winner_bytes += 40) {
        CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
        CHECK_EQ(tx_producer_init(&first, &seg, SLOTS - 1), 0);
        CHECK_EQ(tx_producer_init(&third, &seg, 1), 0);
        shm_cursor_t tail = rt_load_relaxed(&seg.tx->tail);
        tx_claim_t claim;
        CHECK_EQ(tx_producer_claim(&first, winner_bytes, 0, 1, NULL, &claim), 0);
        rt_store_relaxed(&claim.record->word, 0);
        rt_store_relaxed(&first.slot->owner, dead_pid);
        for (uint32_t i = 2; i < SLOTS - 1; i++) {
            tx_producer_t loser = {.slot = &seg.producers[i]};
            lose_and_die(&loser, tail, 4 + 50 - i / 2 % 50);
        }
        uint64_t next;
        CHECK_EQ(tx_producer_push(&third, "x", 1, 0, 1, NULL, &next), 0);
        ends_t ends = take_all();
        CHECK_EQ(ends.sent, 1);
        CHECK_EQ(ends.orphans, 1);
        CHECK_EQ(ends.orphan + 1, next);
        for (uint32_t i = 1; i < SLOTS; i++)
            rt_store_relaxed(&seg.producers[i].intent, SHM_INTENT_NONE);
    }
    unsigned moved;
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    close_ring();
}

static unsigned asked;

static bool count_and_deny(void *of, uint32_t slot)
{
    (void)of;
    (void)slot;
    asked++;
    return true;
}

/* A client announces the claim at hand, and what would follow it, in all slots there are, with
 * lengths of all kinds; the ring is full of moved records behind it. No look costs more than some
 * slots and no question. */
static void test_forged_announcements_cost_little(void)
{
    shm_config_t c = shm_test_config(1 << 20, 1000);
    c.producers = SHM_MAX_SLOTS;
    seg_fd = shm_test_open(&seg, &c);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 0), 0);
    tx_queue_ask_slots(&queue, count_and_deny, NULL);
    CHECK_EQ(tx_producer_init(&first, &seg, 1), 0);
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(&first, 8, 0, 1, NULL, &claim), 0);
    rt_store_relaxed(&claim.record->word, 0);
    uint32_t place = shm_cursor_place(rt_load_relaxed(&seg.tx->tail));
    for (; place + 4 < (1 << 20) / SHM_UNIT_BYTES; place += 4)
        rt_store_relaxed(tx_word_at(seg.tx_data, place),
                         shm_word(7, 4, SHM_TX_RELOCATED, SHM_RECORD_COMMITTED));
    rt_store_relaxed(&seg.tx->tail, shm_cursor(1, place));
    for (uint32_t i = 1; i < SHM_MAX_SLOTS; i++) {
        rt_store_relaxed(&seg.producers[i].intent_units, 6 + i);
        rt_store_relaxed(&seg.producers[i].intent, 0);
        rt_store_relaxed(&seg.producers[i].owner, (uint32_t)getpid());
    }
    int64_t now = 1;
    enum { LOOKS = 5000 };
    int64_t began = rt_thread_cpu_ns();
    for (unsigned i = 0; i < LOOKS; i++, now += TX_CLAIM_TIMEOUT_NS) {
        unsigned budget = 256;
        CHECK_EQ(tx_queue_next(&queue, now, &budget, &item), 0);
    }
    int64_t took = (rt_thread_cpu_ns() - began) / LOOKS;
    CHECK_EQ(asked, 0);
    CHECK(queue.read_ref == 0);
    CHECK(took < 50 * RT_NS_PER_US); /* as a rule some 1; before it was milliseconds */
    (void)printf("a look took %" PRId64 " ns of processor time\n", took);
    close_ring();
}

/* One slot that passes for alive is asked about once in a while, and only it. */
static void test_a_living_owner_is_asked_seldom(void)
{
    open_at(0);
    tx_claim_t claim;
    asked = 0;
    tx_queue_ask_slots(&queue, count_and_deny, NULL);
    rt_store_relaxed(&second.slot->owner, (uint32_t)getpid());
    CHECK_EQ(tx_producer_claim(&second, 40, 0, 1, NULL, &claim), 0);
    for (int64_t now = 1; now < RT_NS_PER_S; now += 10 * RT_NS_PER_US)
        CHECK_EQ(shm_test_next(&queue, now, &item), 0);
    CHECK(asked > 0 && asked <= RT_NS_PER_S / TX_OWNER_CHECK_NS);
    tx_producer_commit(&second, &claim);
    check_outcome(1, 0);
    send(item.ref);
    check_empty();
    close_ring();
}

/* More producers than can be passed: the next one is waited for, and nothing is lost. */
static void test_only_so_many_claims_are_passed(void)
{
    enum { SLOTS = TX_OPEN_CLAIMS + 8 };
    static tx_producer_t producers[SLOTS];
    static tx_claim_t claims[SLOTS];
    shm_config_t c = shm_test_config(65536, 200);
    c.producers = SLOTS;
    seg_fd = shm_test_open(&seg, &c);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 0), 0);
    for (uint32_t i = 1; i < SLOTS; i++) {
        CHECK_EQ(tx_producer_init(&producers[i], &seg, i), 0);
        rt_store_relaxed(&producers[i].slot->owner, (uint32_t)getpid());
        CHECK_EQ(tx_producer_claim(&producers[i], 8, 0, 1, NULL, &claims[i]), 0);
    }
    for (int64_t now = 1; now < RT_NS_PER_S; now += RT_NS_PER_MS)
        CHECK_EQ(shm_test_next(&queue, now, &item), 0);
    CHECK_EQ(queue.open_count, TX_OPEN_CLAIMS);
    CHECK_EQ(queue.read_seq, TX_OPEN_CLAIMS);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0); /* a successor finds them by their words */
    CHECK_EQ(tx_ring_waiting(&seg), SLOTS - 1);
    CHECK_EQ(shm_test_next(&queue, RT_NS_PER_S, &item), 0);
    CHECK_EQ(queue.open_count, TX_OPEN_CLAIMS);
    for (uint32_t i = SLOTS - 1; i > 0; i--)
        tx_producer_commit(&producers[i], &claims[i]);
    CHECK_EQ(take_all().sent, SLOTS - 1);
    CHECK_EQ(queue.open_count, 0);
    CHECK_EQ(shm_test_waiting(&queue), 0);
    close_ring();
}

static void test_a_failed_push_withdraws_what_it_announced(void)
{
    open_at(0);
    while (true) {
        uint8_t payload[MAX_PAYLOAD] = {0};
        uint64_t sequence;
        rt_store_relaxed(&first.slot->intent, 5); /* of a race it lost */
        if (tx_producer_push(&first, payload, MAX_PAYLOAD, 0, 1, NULL, &sequence) == -ENOBUFS)
            break;
    }
    CHECK_EQ(rt_load_relaxed(&first.slot->intent), SHM_INTENT_NONE);
    rt_store_relaxed(&first.slot->intent, 5);
    shm_cursor_t tail = rt_load_relaxed(&seg.tx->tail);
    rt_store_relaxed(&seg.tx->tail, shm_cursor(1, UNITS));
    uint64_t sequence;
    CHECK_EQ(tx_producer_push(&first, "", 0, 0, 1, NULL, &sequence), -EPROTO);
    CHECK_EQ(rt_load_relaxed(&first.slot->intent), SHM_INTENT_NONE);
    rt_store_relaxed(&seg.tx->tail, tail);
    check_empty();
    close_ring();
}

/* --- workers --------------------------------------------------------------------------------- */

static void test_a_successor_sends_what_was_not_being_sent(void)
{
    open_at(UNITS - 30);
    uint64_t refs[6];
    for (int i = 0; i < 6; i++)
        (void)push(&first, 40);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
        refs[i] = item.ref;
    }
    send(refs[0]);                                      /* 0: done */
    CHECK_EQ(tx_queue_take(&queue, refs[2], &item), 0); /* 2: being sent */
    CHECK_EQ(tx_ring_cancel(&seg, 3, NULL), 1);         /* 3: cancelled, not noticed yet */

    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    CHECK_EQ(shm_test_waiting(&queue), 5);
    check_next(1, 1);
    uint64_t again = item.ref;
    check_next(-EOWNERDEAD, 2);
    check_next(-ECANCELED, 3);
    check_next(1, 4);
    send(item.ref);
    check_next(1, 5);
    send(item.ref);
    check_next(0, 0);
    send(again);
    check_empty();
    close_ring();
}

/* Each takeover dies when it has passed out a little more than the one before. */
static void test_successors_may_die_during_the_replay(void)
{
    open_at(100);
    enum { N = 8 };
    for (int i = 0; i < N; i++)
        (void)push(&first, 60);
    for (int i = 0; i < N - 2; i++)
        CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    for (int life = 0; life <= N; life++) {
        CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
        CHECK_EQ(shm_test_waiting(&queue), N);
        for (int i = 0; i < life; i++)
            check_next(1, (uint64_t)i);
    }
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    check_empty();
    CHECK_EQ(tx_ring_next_sequence(&seg), N);
    close_ring();
}

static void test_half_freed_space_is_freed(void)
{
    open_at(UNITS - 12);
    for (int i = 0; i < 5; i++)
        (void)push(&first, 40);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
        send(item.ref);
    }
    uint32_t end = (uint32_t)(queue.read_ref % UNITS);
    rt_store_relaxed(&seg.tx->freeing_to, (uint64_t)end + 1);
    /* up to the ring's end, no further */
    memset(seg.tx_data + (size_t)(UNITS - 12) * 8, 0, 12 * 8);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    CHECK_EQ(rt_load_relaxed(&seg.tx->head_place), end);
    CHECK_EQ(rt_load_relaxed(&seg.tx->freeing_to), 0);
    check_next(1, 3);
    send(item.ref);
    check_empty();

    /* Died when the head was published already. */
    rt_store_relaxed(&seg.tx->freeing_to, (uint64_t)rt_load_relaxed(&seg.tx->head_place) + 1);
    (void)push(&first, 8);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    check_next(1, 5);
    send(item.ref);
    check_empty();
    close_ring();
}

static void test_an_abort_that_was_read_is_counted_once(void)
{
    open_at(0);
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(&first, 8, 0, 1, NULL, &claim), 0);
    uint32_t units = rt_load_relaxed(&first.slot->intent_units);
    tx_producer_abort(&first, &claim);
    rt_store_relaxed(&seg.tx->read, shm_cursor(1, units)); /* the last the dead worker did */
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    check_next(0, 0);
    check_empty();
    close_ring();
}

static void test_takeover_of_a_spoilt_ring_is_refused(void)
{
    open_at(0);
    (void)push(&first, 8);
    rt_store_relaxed(&seg.tx->head_place, UNITS);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), -EPROTO);
    rt_store_relaxed(&seg.tx->head_place, 0);
    rt_store_relaxed(&seg.tx->read, shm_cursor(0, UNITS));
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), -EPROTO);
    rt_store_relaxed(&seg.tx->read, shm_cursor(0, 100)); /* past the tail */
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), -EPROTO);
    CHECK(strstr(rt_err_text(), "test") != NULL);
    rt_store_relaxed(&seg.tx->read, shm_cursor(0, 0));
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    check_empty();
    close_ring();
}

static void test_slots_of_the_known_dead_survive_a_takeover(void)
{
    open_at(0);
    claim_and_die(&first, 8);
    CHECK_EQ(tx_queue_free_producer(&queue, 1), 0);
    CHECK_EQ(shm_test_queue_init(&queue, &seg, 1), 0);
    check_outcome(-EOWNERDEAD, 0);
    check_empty();
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].owner), 0);
    close_ring();
}

int main(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        return 1;
    dead_pid = (uint32_t)pid;

    RUN(test_a_dead_claim_is_skipped_after_a_while);
    RUN(test_a_known_death_is_not_asked_about);
    RUN(test_an_idle_slot_is_free_at_once);
    RUN(test_a_dead_claim_with_padding_is_skipped_whole);
    RUN(test_nobody_alive_is_skipped);
    RUN(test_of_two_dead_the_winner_is_found);
    RUN(test_of_many_dead_the_winner_is_found);
    RUN(test_forged_announcements_cost_little);
    RUN(test_a_living_owner_is_asked_seldom);
    RUN(test_only_so_many_claims_are_passed);
    RUN(test_a_failed_push_withdraws_what_it_announced);
    RUN(test_a_successor_sends_what_was_not_being_sent);
    RUN(test_successors_may_die_during_the_replay);
    RUN(test_half_freed_space_is_freed);
    RUN(test_an_abort_that_was_read_is_counted_once);
    RUN(test_takeover_of_a_spoilt_ring_is_refused);
    RUN(test_slots_of_the_known_dead_survive_a_takeover);
    return rt_test_result();
}
