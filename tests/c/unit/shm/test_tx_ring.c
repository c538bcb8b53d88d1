#include "tx_ring_test.h"

#include <pthread.h>
#include <signal.h>

static void test_init_refuses_what_cannot_send(void)
{
    open_ring();
    tx_producer_t p;
    CHECK_EQ(tx_producer_init(&p, &seg, SHM_WORKER_PRODUCER), -EINVAL);
    CHECK_EQ(tx_producer_init(&p, &seg, SHM_TEST_PRODUCERS), -EINVAL);
    CHECK_EQ(tx_producer_init(&p, &seg, SHM_TEST_PRODUCERS - 1), 0);
    shm_segment_t tap;
    REQUIRE(shm_segment_map(&tap, seg_fd, 0) == 0);
    CHECK_EQ(tx_producer_init(&p, &tap, 1), -EACCES);
    shm_segment_unmap(&tap);
    close_ring();
}

static void test_a_packet_arrives_as_it_was_sent(void)
{
    open_ring();
    const shm_addr_t dest = {.family = 4, .port = 99, .ip = {127, 0, 0, 1}};
    uint64_t sequence;
    CHECK_EQ(tx_ring_next_sequence(&seg), 0);
    CHECK_EQ(
        tx_producer_push(&producer, "hello", 5, 1234, 77, &(tx_route_t){.dest = &dest}, &sequence),
        0);
    CHECK_EQ(sequence, 0);
    CHECK_EQ(tx_ring_next_sequence(&seg), 1);
    CHECK_EQ(tx_ring_waiting(&seg), 1);
    CHECK(tx_queue_pending(&queue));

    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(item.sequence, 0);
    CHECK_EQ(item.due_ns, 1234);
    CHECK_EQ(item.enqueued_mono_ns, 77);
    CHECK_EQ(item.payload_bytes, 5);
    CHECK_EQ(item.producer, 1);
    CHECK_MEM_EQ(&item.dest, &dest, sizeof dest);
    CHECK_MEM_EQ(item.payload, "hello", 5);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK(!tx_queue_pending(&queue));

    tx_item_t again;
    CHECK_EQ(tx_queue_peek(&queue, item.ref, &again), 0);
    CHECK_EQ(tx_queue_take(&queue, item.ref, &again), 0);
    CHECK_MEM_EQ(again.payload, "hello", 5);
    tx_queue_finish(&queue, item.ref);
    CHECK_EQ(tx_ring_waiting(&seg), 1); /* it is not counted yet */
    CHECK_EQ(shm_test_waiting(&queue), 0);
    unsigned moved;
    CHECK_EQ(tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved), 1);
    CHECK_EQ(tx_queue_take(&queue, item.ref, &again), -ESTALE);
    CHECK_EQ(tx_queue_peek(&queue, item.ref, &again), -ESTALE);
    close_ring();
}

static void test_no_deadline_no_destination(void)
{
    open_ring();
    CHECK_EQ(push(0, 0), 0);
    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(item.due_ns, 0);
    CHECK_EQ(item.dest.family, 0);
    CHECK_EQ(item.payload_bytes, 0);
    close_ring();
}

static void test_too_long_a_packet_is_refused(void)
{
    open_ring();
    CHECK_EQ(push(MAX_PAYLOAD, 0), 0);
    CHECK_EQ(push(MAX_PAYLOAD + 1, 0), -EMSGSIZE);
    CHECK(strstr(rt_err_text(), "201") && strstr(rt_err_text(), "200"));
    CHECK_EQ(drain(), 1);
    close_ring();
}

static void test_a_full_ring_refuses_until_room_is_freed(void)
{
    open_ring();
    unsigned pushed = 0;
    while (push(MAX_PAYLOAD, 0) == 0)
        pushed++;
    CHECK(pushed >= 10);
    CHECK_EQ(push(MAX_PAYLOAD, 0), -ENOBUFS);
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].intent), SHM_INTENT_NONE);
    CHECK_EQ(drain(), pushed);
    CHECK_EQ(push(MAX_PAYLOAD, 0), 0);
    close_ring();
}

static void test_capacity_counts_packets(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.tx_capacity = 3;
    open_with(&c);
    for (int lap = 0; lap < 3; lap++) {
        for (int i = 0; i < 3; i++)
            CHECK_EQ(push(8, 0), 0);
        CHECK_EQ(push(8, 0), -ENOBUFS);
        CHECK_EQ(drain(), 3);
    }
    close_ring();
}

/* Every length at every place, and past the end of the 32-bit sequences. */
static void test_wrapping_keeps_order_and_contents(void)
{
    open_ring();
    shm_test_move_tx(&seg, UINT64_C(0x5fffffff0), 17);
    CHECK_EQ(tx_queue_init(&queue, &seg, 1), 0);
    uint64_t sequence = UINT64_C(0x5fffffff0);
    uint32_t in = 0, out = 0;
    uint64_t rng = 7;
    while (out < 20000) {
        uint8_t payload[MAX_PAYLOAD];
        uint32_t bytes = shm_test_length(1, in, MAX_PAYLOAD);
        uint64_t given;
        shm_test_fill(payload, bytes, 1, in);
        while (rt_test_rand(&rng) % 8 &&
               tx_producer_push(&producer, payload, bytes, 0, 1, NULL, &given) == 0) {
            CHECK_EQ(given, sequence + in);
            bytes = shm_test_length(1, ++in, MAX_PAYLOAD);
            shm_test_fill(payload, bytes, 1, in);
        }
        tx_item_t item;
        while (rt_test_rand(&rng) % 8 && shm_test_next(&queue, 1, &item) == 1) {
            uint32_t sender, n;
            CHECK_EQ(item.sequence, sequence + out);
            REQUIRE(shm_test_check(item.payload, item.payload_bytes, MAX_PAYLOAD, &sender, &n));
            REQUIRE(n == out);
            out++;
            CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
            tx_queue_finish(&queue, item.ref);
        }
        unsigned moved;
        (void)tx_queue_release(&queue, 0, 256, 0, &moved);
        CHECK_EQ(shm_test_waiting(&queue), in - out);
        CHECK_EQ(tx_ring_next_sequence(&seg), sequence + in);
    }
    close_ring();
}

static void test_abort_leaves_no_trace_but_its_number(void)
{
    open_ring();
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(&producer, 8, 0, 1, NULL, &claim), 0);
    CHECK_EQ(claim.sequence, 0);
    tx_producer_abort(&producer, &claim);
    CHECK_EQ(push(8, 0), 0);
    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(item.sequence, 1);
    CHECK_EQ(rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_aborted]), 1);
    CHECK_EQ(shm_test_waiting(&queue), 1);
    close_ring();
}

/* Those behind it wait a little, and its own packet comes when it is finished. */
static void test_an_unfinished_claim_is_passed(void)
{
    open_ring();
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(&producer, 8, 0, 1, NULL, &claim), 0);
    tx_producer_t other;
    uint64_t sequence;
    CHECK_EQ(tx_producer_init(&other, &seg, 2), 0);
    CHECK_EQ(push_from(&other, 8, 0, &sequence), 0);
    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK_EQ(shm_test_next(&queue, TX_CLAIM_TIMEOUT_NS, &item), 0);
    int64_t now = 1 + TX_CLAIM_TIMEOUT_NS;
    CHECK_EQ(shm_test_next(&queue, now, &item), 1);
    CHECK_EQ(item.sequence, sequence);
    CHECK_EQ(item.halted_from_mono_ns, 1);
    CHECK_EQ(item.halted_until_mono_ns, now);
    CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
    CHECK_EQ(item.halted_until_mono_ns, now);
    tx_queue_finish(&queue, item.ref);
    for (; now < FOREVER; now += RT_NS_PER_S)
        CHECK_EQ(shm_test_next(&queue, now, &item), 0);
    CHECK(tx_queue_pending(&queue));
    unsigned moved;
    CHECK_EQ(tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved), 0);
    memset(claim.payload, 3, 8);
    tx_producer_commit(&producer, &claim);
    CHECK_EQ(shm_test_next(&queue, FOREVER, &item), 1);
    CHECK_EQ(item.sequence, 0);
    CHECK_EQ(item.payload[7], 3);
    CHECK_EQ(item.halted_from_mono_ns, 1);
    CHECK_EQ(item.halted_until_mono_ns, FOREVER);
    CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
    tx_queue_finish(&queue, item.ref);
    CHECK(!tx_queue_pending(&queue));
    CHECK_EQ(tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved), 2);
    CHECK_EQ(shm_test_waiting(&queue), 0);
    CHECK_EQ(push_from(&other, 8, 0, &sequence), 0);
    CHECK_EQ(shm_test_next(&queue, FOREVER, &item), 1);
    CHECK_EQ(item.halted_until_mono_ns, 0);
    close_ring();
}

/* One that came later is waited for by itself. */
static void test_claims_that_halt_together_are_passed_together(void)
{
    tx_producer_t halted[4], other;
    tx_claim_t claim;
    tx_item_t item;
    uint64_t sequence;
    open_ring();
    CHECK_EQ(tx_producer_init(&other, &seg, 5), 0);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(tx_producer_init(&halted[i], &seg, 1 + i), 0);
        if (i == 3)
            CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
        CHECK_EQ(tx_producer_claim(&halted[i], 8, 0, 1, NULL, &claim), 0);
        if (i > 1)
            CHECK_EQ(push_from(&other, 8, 0, &sequence), 0);
    }
    CHECK_EQ(shm_test_next(&queue, 1 + TX_CLAIM_TIMEOUT_NS, &item), 1);
    CHECK_EQ(item.sequence, 3);
    CHECK_EQ(shm_test_next(&queue, 1 + TX_CLAIM_TIMEOUT_NS, &item), 0);
    CHECK_EQ(shm_test_next(&queue, 1 + 2 * TX_CLAIM_TIMEOUT_NS, &item), 1);
    CHECK_EQ(item.sequence, sequence);
    close_ring();
}

static void test_cancel_wins_before_taking_and_loses_after(void)
{
    open_ring();
    uint64_t a, b, c;
    CHECK_EQ(push_from(&producer, 8, 111, &a), 0);
    CHECK_EQ(push_from(&producer, 8, 222, &b), 0);
    CHECK_EQ(push_from(&producer, 8, 333, &c), 0);
    int64_t due = 0;
    CHECK_EQ(tx_ring_cancel(&seg, a, &due), 1); /* not taken in yet */
    CHECK_EQ(due, 111);
    CHECK_EQ(tx_ring_cancel(&seg, a, NULL), 0);
    CHECK_EQ(tx_ring_cancel(&seg, c + 1, NULL), 0);

    tx_item_t item, second, third;
    CHECK_EQ(shm_test_next(&queue, 1, &item), -ECANCELED);
    CHECK_EQ(item.sequence, a);
    CHECK_EQ(item.due_ns, 111);
    CHECK_EQ(shm_test_next(&queue, 1, &second), 1);
    CHECK_EQ(shm_test_next(&queue, 1, &third), 1);
    CHECK_EQ(tx_ring_cancel(&seg, b, &due), 1); /* scheduled */
    CHECK_EQ(tx_queue_peek(&queue, second.ref, &item), -ECANCELED);
    CHECK_EQ(tx_queue_take(&queue, second.ref, &item), -ECANCELED);
    CHECK_EQ(item.sequence, b);
    CHECK_EQ(tx_queue_take(&queue, second.ref, &item), -ESTALE);
    CHECK_EQ(tx_queue_take(&queue, third.ref, &item), 0);
    CHECK_EQ(tx_ring_cancel(&seg, c, &due), 0); /* being sent */
    tx_queue_untake(&queue, third.ref);
    CHECK_EQ(tx_ring_cancel(&seg, c, &due), 1); /* given back to the schedule */
    CHECK_EQ(tx_queue_take(&queue, third.ref, &item), -ECANCELED);
    CHECK_EQ(shm_test_waiting(&queue), 0);
    close_ring();
}

static void test_reap_finds_cancelled_records_far_from_their_time(void)
{
    open_ring();
    enum { N = 10 };
    tx_item_t item;
    for (uint64_t i = 0; i < N; i++)
        CHECK_EQ(push(8, FOREVER), 0);
    for (uint64_t i = 0; i < N; i++)
        CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    unsigned budget = 100;
    CHECK_EQ(tx_queue_reap(&queue, &budget, &item), 0);
    CHECK_EQ(budget, 100);
    CHECK_EQ(tx_ring_cancel(&seg, 3, NULL), 1);
    CHECK_EQ(tx_ring_cancel(&seg, 7, NULL), 1);
    CHECK(tx_queue_pending(&queue));
    unsigned found = 0;
    for (int call = 0; call < 2 * N && tx_queue_pending(&queue); call++) {
        budget = 2; /* a little at a time */
        while (tx_queue_reap(&queue, &budget, &item)) {
            CHECK(item.sequence == 3 || item.sequence == 7);
            found++;
        }
    }
    CHECK_EQ(found, 2);
    CHECK(!tx_queue_pending(&queue));
    CHECK_EQ(shm_test_waiting(&queue), N - 2);

    uint64_t ref = 0;
    unsigned waiting = 0;
    budget = UINT_MAX;
    while (tx_queue_waiting_next(&queue, &ref, &budget, &item)) {
        CHECK(item.sequence != 3 && item.sequence != 7);
        waiting++;
    }
    CHECK_EQ(waiting, N - 2);
    close_ring();
}

static void test_a_cancel_that_was_not_counted_is_noticed_at_the_head(void)
{
    open_ring();
    tx_item_t item;
    CHECK_EQ(push(8, FOREVER), 0);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    rt_a64_t *word = tx_word_at(seg.tx_data, 0);
    uint64_t w = rt_load_relaxed(word);
    rt_store_relaxed(word, shm_word(shm_word_seq(w), shm_word_units(w), shm_word_flags(w),
                                    SHM_RECORD_CANCELLED)); /* and its client died */
    unsigned moved, budget = 10;
    CHECK_EQ(tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved), 0);
    CHECK(tx_queue_pending(&queue));
    CHECK_EQ(tx_queue_reap(&queue, &budget, &item), 1);
    CHECK_EQ(item.sequence, 0);
    CHECK_EQ(tx_queue_reap(&queue, &budget, &item), 0);
    CHECK_EQ(tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved), 1);
    CHECK(!tx_queue_pending(&queue));
    close_ring();
}

static void test_packets_may_finish_in_any_order(void)
{
    open_ring();
    enum { N = 12 };
    uint64_t refs[N];
    tx_item_t item;
    for (int i = 0; i < N; i++)
        CHECK_EQ(push(8, 0), 0);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
        refs[i] = item.ref;
    }
    unsigned freed = 0, moved;
    for (int i = N - 1; i >= 0; i--) {
        CHECK_EQ(freed, 0); /* all behind one that is not finished */
        CHECK_EQ(tx_queue_take(&queue, refs[i], &item), 0);
        tx_queue_finish(&queue, refs[i]);
        freed += tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    }
    CHECK_EQ(freed, N);
    for (uint32_t at = 0; at < UNITS; at++)
        CHECK_EQ(rt_load_relaxed(tx_word_at(seg.tx_data, at)), 0);
    close_ring();
}

static void test_release_zeroes_at_most_what_it_may(void)
{
    open_ring();
    for (int i = 0; i < 10; i++)
        CHECK_EQ(push(8, 0), 0);
    tx_item_t item;
    while (shm_test_next(&queue, 1, &item) == 1) {
        CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
        tx_queue_finish(&queue, item.ref);
    }
    unsigned moved, freed, calls = 0, all = 0;
    while ((freed = tx_queue_release(&queue, 0, 80, 0, &moved)) > 0) {
        CHECK(freed <= 3);
        all += freed;
        calls++;
    }
    CHECK_EQ(all, 10);
    CHECK(calls >= 4);
    close_ring();
}

static void test_a_tail_out_of_bounds_is_reported(void)
{
    open_ring();
    rt_store_relaxed(&seg.tx->tail, shm_cursor(0, UNITS));
    CHECK_EQ(push(8, 0), -EPROTO);
    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK_EQ(tx_ring_cancel(&seg, 0, NULL), 0);
    CHECK_EQ(tx_queue_init(&queue, &seg, 1), -EPROTO);
    close_ring();
}

static void test_only_one_rings_the_bell(void)
{
    open_ring();
    CHECK_EQ(push(8, 0), 0);
    CHECK_EQ(tx_producer_must_ring(&producer), 0);
    tx_queue_arm_bell(&queue);
    CHECK(tx_queue_pending(&queue));
    CHECK_EQ(tx_producer_must_ring(&producer), 1);
    tx_producer_rang(&producer);
    CHECK_EQ(tx_producer_must_ring(&producer), 0);
    tx_queue_arm_bell(&queue);
    tx_queue_disarm_bell(&queue);
    CHECK_EQ(tx_producer_must_ring(&producer), 0);
    close_ring();
}

static void *free_room_later(void *arg)
{
    (void)arg;
    while (rt_load_relaxed(&seg.tx->room_wanted) == 0)
        usleep(100);
    usleep(2000);
    (void)drain();
    return NULL;
}

static void test_waiting_for_room_ends_when_there_is_some(void)
{
    open_ring();
    while (push(MAX_PAYLOAD, 0) == 0) {
    }
    CHECK_EQ(tx_producer_wait_room(&producer, rt_mono_ns() + RT_NS_PER_MS), -ETIMEDOUT);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, free_room_later, NULL) == 0);
    while (push(MAX_PAYLOAD, 0) == -ENOBUFS)
        CHECK_EQ(tx_producer_wait_room(&producer, rt_mono_ns() + 10 * RT_NS_PER_S), 0);
    pthread_join(thread, NULL);
    close_ring();
}

static void test_waiting_for_verdicts_ends_with_each_of_them(void)
{
    open_ring();
    CHECK_EQ(push(8, 0), 0);
    uint32_t asked = tx_ring_ask_wake(&seg);
    CHECK_EQ(tx_ring_sleep(&seg, asked, rt_mono_ns() + RT_NS_PER_MS), -ETIMEDOUT);
    tx_queue_wake_waiters(&queue);
    CHECK_EQ(tx_ring_sleep(&seg, asked, RT_NEVER_NS), 0); /* told meanwhile */
    tx_queue_wake_waiters(&queue);
    CHECK_EQ(tx_ring_ask_wake(&seg), asked + 1); /* nobody had asked: no event, no system call */
    pthread_t thread;
    rt_store_relaxed(&seg.tx->room_wanted, 0);
    REQUIRE(pthread_create(&thread, NULL, free_room_later, NULL) == 0);
    asked = tx_ring_ask_wake(&seg);
    for (; tx_ring_waiting(&seg); asked = tx_ring_ask_wake(&seg))
        CHECK_EQ(tx_ring_sleep(&seg, asked, rt_mono_ns() + 10 * RT_NS_PER_S), 0);
    pthread_join(thread, NULL);
    close_ring();
}

/* The padding at the ring's end may be all that a call frees. Whoever
 * waits for just that must hear. */
static void test_freeing_padding_alone_wakes(void)
{
    open_ring();
    uint32_t longest = tx_record_units(MAX_PAYLOAD, false);
    shm_test_move_tx(&seg, 0, UNITS - 4 - (longest - 1));
    CHECK_EQ(tx_queue_init(&queue, &seg, 1), 0);
    CHECK_EQ(push(0, 0), 0);           /* four units, up to longest - 1 before the end */
    CHECK_EQ(push(MAX_PAYLOAD, 0), 0); /* padding, then place 0 */
    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
    tx_queue_finish(&queue, item.ref);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    unsigned moved;
    CHECK_EQ(tx_queue_release(&queue, 0, 32, 0, &moved), 1);
    uint32_t event = rt_load_relaxed(&seg.tx->room_event);
    rt_store_relaxed(&seg.tx->room_wanted, 1);
    (void)tx_queue_release(&queue, 0, 32, 0, &moved);
    CHECK_EQ(rt_load_relaxed(&seg.tx->head_place), 0);
    CHECK(rt_load_relaxed(&seg.tx->room_event) != event);
    close_ring();
}

/* A packet due in an hour sits at the head; the others come and go. Whatever the longest packet of
 * the ring, it must not be in the way. */
static void check_far_future(uint64_t ring_bytes, uint32_t max_payload, uint32_t bytes)
{
    shm_config_t c = shm_test_config(ring_bytes, max_payload);
    open_with(&c);
    uint8_t payload[4096];
    uint64_t far, sequence;
    memset(payload, 9, sizeof payload);
    CHECK_EQ(tx_producer_push(&producer, "later", 5, FOREVER, 1, NULL, &far), 0);
    tx_item_t item;
    uint64_t far_ref = 0;
    unsigned moves = 0, moved;
    for (int i = 0; i < 5000; i++) {
        int rc = tx_producer_push(&producer, payload, bytes, 0, 1, NULL, &sequence);
        if (!CHECK_EQ(rc, 0))
            break;
        while (shm_test_next(&queue, 1, &item) == 1) {
            if (item.sequence == far) {
                far_ref = item.ref;
                continue;
            }
            CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
            tx_queue_finish(&queue, item.ref);
        }
        (void)tx_queue_release(&queue, 0, UINT32_MAX, 4, &moved);
        moves += moved;
    }
    CHECK(moves > 0);
    while (shm_test_next(&queue, 1, &item) == 1)
        far_ref = item.ref;
    CHECK_EQ(tx_queue_take(&queue, far_ref, &item), 0);
    CHECK_EQ(item.sequence, far);
    CHECK_EQ(item.due_ns, FOREVER);
    CHECK_MEM_EQ(item.payload, "later", 5);
    tx_queue_finish(&queue, far_ref);
    CHECK_EQ(shm_test_waiting(&queue), 0);
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    for (uint32_t at = 0; at < ring_bytes / SHM_UNIT_BYTES; at++)
        CHECK_EQ(rt_load_relaxed(tx_word_at(seg.tx_data, at)), 0);
    close_ring();
}

static void test_a_packet_of_the_far_future_is_moved_out_of_the_way(void)
{
    check_far_future(4096, 200, 8);
    check_far_future(4096, 200, 200);
    check_far_future(4096, 936, 8); /* the longest packet such a ring takes */
    check_far_future(4096, 936, 936);
    check_far_future(65536, 100, 50);
}

static void test_a_moved_packet_can_be_cancelled(void)
{
    open_ring();
    CHECK_EQ(push(8, FOREVER), 0);
    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    uint64_t old_ref = item.ref;
    unsigned moved = 0;
    while (moved == 0) {
        REQUIRE(push(100, 0) == 0);
        REQUIRE(shm_test_next(&queue, 1, &item) == 1);
        CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
        tx_queue_finish(&queue, item.ref);
        (void)tx_queue_release(&queue, 0, UINT32_MAX, 1, &moved);
    }
    CHECK_EQ(tx_queue_take(&queue, old_ref, &item), -ESTALE);
    CHECK_EQ(shm_test_waiting(&queue), 1);
    int64_t due;
    CHECK_EQ(tx_ring_cancel(&seg, 0, &due), 1);
    CHECK_EQ(due, FOREVER);
    CHECK_EQ(shm_test_next(&queue, 1, &item), -ECANCELED);
    CHECK_EQ(item.sequence, 0);
    CHECK_EQ(shm_test_waiting(&queue), 0);
    close_ring();
}

/* What is due soon, or as soon as possible, goes out in its order: behind
 * what came later it never gets. */
static void test_only_what_is_due_much_later_is_moved(void)
{
    static const struct {
        int64_t due_ns;
        bool moves;
    } rows[] = {{0, false},
                {INT64_MIN, false},
                {1, false},
                {RT_NS_PER_S, false},
                {RT_NS_PER_S + TX_MOVE_AHEAD_NS - 1, false},
                {RT_NS_PER_S + TX_MOVE_AHEAD_NS, true},
                {INT64_MAX, true}};
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        open_ring();
        tx_item_t item;
        unsigned moved = 0;
        CHECK_EQ(push(8, rows[row].due_ns), 0);
        CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
        for (unsigned i = 0; i < 40 && moved == 0; i++) {
            if (push(100, 0) < 0)
                break;
            REQUIRE(shm_test_next(&queue, 1, &item) == 1);
            CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
            tx_queue_finish(&queue, item.ref);
            (void)tx_queue_release(&queue, RT_NS_PER_S, UINT32_MAX, 1, &moved);
        }
        CHECK_EQ(moved > 0, rows[row].moves);
        close_ring();
    }
}

/* A call looks at no more records than its budget says, whatever became of them. */
static void test_a_look_has_a_budget(void)
{
    open_ring();
    tx_item_t item;
    tx_claim_t claim;
    for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(tx_producer_claim(&producer, 8, 0, 1, NULL, &claim), 0);
        tx_producer_abort(&producer, &claim);
    }
    CHECK_EQ(push(8, 0), 0);
    unsigned budget = 4;
    CHECK_EQ(tx_queue_next(&queue, 1, &budget, &item), 0);
    CHECK_EQ(budget, 0);
    CHECK_EQ(tx_queue_next(&queue, 1, &budget, &item), 0);
    CHECK_EQ(queue.read_seq, 4);
    budget = 100;
    CHECK_EQ(tx_queue_next(&queue, 1, &budget, &item), 1);
    CHECK_EQ(item.sequence, 10);
    CHECK_EQ(budget, 93);
    CHECK_EQ(tx_queue_next(&queue, 1, &budget, &item), 0);
    CHECK_EQ(budget, 93);
    close_ring();
}

int main(void)
{
    RUN(test_init_refuses_what_cannot_send);
    RUN(test_a_packet_arrives_as_it_was_sent);
    RUN(test_no_deadline_no_destination);
    RUN(test_too_long_a_packet_is_refused);
    RUN(test_a_full_ring_refuses_until_room_is_freed);
    RUN(test_capacity_counts_packets);
    RUN(test_wrapping_keeps_order_and_contents);
    RUN(test_abort_leaves_no_trace_but_its_number);
    RUN(test_an_unfinished_claim_is_passed);
    RUN(test_claims_that_halt_together_are_passed_together);
    RUN(test_cancel_wins_before_taking_and_loses_after);
    RUN(test_reap_finds_cancelled_records_far_from_their_time);
    RUN(test_a_cancel_that_was_not_counted_is_noticed_at_the_head);
    RUN(test_packets_may_finish_in_any_order);
    RUN(test_release_zeroes_at_most_what_it_may);
    RUN(test_a_tail_out_of_bounds_is_reported);
    RUN(test_only_one_rings_the_bell);
    RUN(test_waiting_for_room_ends_when_there_is_some);
    RUN(test_waiting_for_verdicts_ends_with_each_of_them);
    RUN(test_freeing_padding_alone_wakes);
    RUN(test_a_packet_of_the_far_future_is_moved_out_of_the_way);
    RUN(test_a_moved_packet_can_be_cancelled);
    RUN(test_only_what_is_due_much_later_is_moved);
    RUN(test_a_look_has_a_budget);
    return rt_test_result();
}
