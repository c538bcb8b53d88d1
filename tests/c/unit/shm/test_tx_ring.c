#include "shm_test.h"

#include <pthread.h>
#include <signal.h>

enum { RING_BYTES = 4096, UNITS = RING_BYTES / SHM_UNIT_BYTES, MAX_PAYLOAD = 200, SECONDS = 1000 };

#define FOREVER (SECONDS * RT_NS_PER_S)

static shm_segment_t seg;
static tx_queue_t queue;
static tx_producer_t producer;
static int seg_fd;

static void open_with(const shm_config_t *c)
{
    seg_fd = shm_test_open(&seg, c);
    CHECK_EQ(tx_queue_init(&queue, &seg, 0), 0);
    CHECK_EQ(tx_producer_init(&producer, &seg, 1), 0);
}

static void open_ring(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    open_with(&c);
}

static void close_ring(void)
{
    shm_test_close(&seg, seg_fd);
}

static int push_from(tx_producer_t *p, uint32_t bytes, int64_t due_ns, uint64_t *sequence)
{
    uint8_t payload[MAX_PAYLOAD + 1] = {1};
    return tx_producer_push(p, payload, bytes, due_ns, 5, NULL, sequence);
}

static int push(uint32_t bytes, int64_t due_ns)
{
    uint64_t sequence;
    return push_from(&producer, bytes, due_ns, &sequence);
}

/* Sends and frees all that is there. Returns how many packets. */
static unsigned drain(void)
{
    unsigned sent = 0, moved;
    tx_item_t item;
    while (shm_test_next(&queue, 1, &item) == 1) {
        CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
        tx_queue_finish(&queue, item.ref);
        sent++;
    }
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    return sent;
}

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
    CHECK_EQ(tx_producer_push(&producer, "hello", 5, 1234, 77, &dest, &sequence), 0);
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
    CHECK_EQ(tx_ring_waiting(&seg), 0);
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
        CHECK_EQ(tx_ring_waiting(&seg), in - out);
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
    CHECK_EQ(tx_ring_waiting(&seg), 1);
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
    CHECK_EQ(shm_test_next(&queue, TX_CLAIM_PATIENCE_NS, &item), 0);
    int64_t now = 1 + TX_CLAIM_PATIENCE_NS;
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
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(push_from(&other, 8, 0, &sequence), 0);
    CHECK_EQ(shm_test_next(&queue, FOREVER, &item), 1);
    CHECK_EQ(item.halted_until_mono_ns, 0);
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
    CHECK_EQ(tx_ring_waiting(&seg), 0);
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
    CHECK_EQ(tx_ring_waiting(&seg), N - 2);

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
    CHECK_EQ(tx_ring_wait_verdict(&seg, RT_NEVER_NS), 0); /* nothing waits */
    CHECK_EQ(push(8, 0), 0);
    CHECK_EQ(tx_ring_wait_verdict(&seg, rt_mono_ns() + RT_NS_PER_MS), -ETIMEDOUT);
    pthread_t thread;
    rt_store_relaxed(&seg.tx->room_wanted, 0);
    REQUIRE(pthread_create(&thread, NULL, free_room_later, NULL) == 0);
    while (tx_ring_waiting(&seg))
        CHECK_EQ(tx_ring_wait_verdict(&seg, rt_mono_ns() + 10 * RT_NS_PER_S), 0);
    pthread_join(thread, NULL);
    close_ring();
}

/* The padding at the ring's end may be all that a call frees. Whoever waits for just that must hear. */
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

/* A packet due in an hour sits at the head; the others come and go. Whatever the longest packet of the
 * ring, it must not be in the way. */
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
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    for (uint32_t at = 0; at < ring_bytes / SHM_UNIT_BYTES; at++)
        CHECK_EQ(rt_load_relaxed(tx_word_at(seg.tx_data, at)), 0);
    close_ring();
}

static void test_a_packet_of_the_far_future_is_moved_out_of_the_way(void)
{
    check_far_future(4096, 200, 8);
    check_far_future(4096, 200, 200);
    check_far_future(4096, 960, 8); /* the longest packet such a ring takes */
    check_far_future(4096, 960, 960);
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
    CHECK_EQ(tx_ring_waiting(&seg), 1);
    int64_t due;
    CHECK_EQ(tx_ring_cancel(&seg, 0, &due), 1);
    CHECK_EQ(due, FOREVER);
    CHECK_EQ(shm_test_next(&queue, 1, &item), -ECANCELED);
    CHECK_EQ(item.sequence, 0);
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    close_ring();
}

/* What is due soon, or as soon as possible, goes out in its order: behind what came later it never gets. */
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

/* --- places and lengths ---------------------------------------------------------------------- */

/* From every place of an empty ring the longest packet fits, with a destination of its own, in the smallest
 * ring that the configuration allows for it; and a record that ends exactly at the ring's end needs no
 * padding. */
static void test_every_length_from_every_place(void)
{
    static const uint32_t lengths[] = {0, 1, 7, 8, 9, 500, 959, 960};
    const shm_addr_t dest = {.family = 6, .port = 1, .ip = {0xfe, 0x80}};
    uint8_t payload[960];
    shm_config_t c = shm_test_config(RING_BYTES, 960);
    open_with(&c);
    memset(payload, 0x5a, sizeof payload);
    for (uint32_t place = 0; place < UNITS; place++) {
        for (size_t i = 0; i < 2 * sizeof lengths / sizeof lengths[0]; i++) {
            uint32_t bytes = lengths[i / 2], units = tx_record_units(bytes, i % 2);
            uint64_t sequence;
            tx_item_t item;
            unsigned moved;
            shm_test_move_tx(&seg, i, place);
            CHECK_EQ(tx_queue_init(&queue, &seg, 1), 0);
            CHECK_EQ(tx_producer_init(&producer, &seg, 1), 0);
            CHECK_EQ(tx_producer_push(&producer, payload, bytes, 0, 1, i % 2 ? &dest : NULL, &sequence), 0);
            uint32_t end = shm_cursor_place(rt_load_relaxed(&seg.tx->tail));
            CHECK_EQ(end, place + units <= UNITS ? (place + units) % UNITS : units);
            REQUIRE(shm_test_next(&queue, 1, &item) == 1);
            CHECK_EQ(item.payload_bytes, bytes);
            CHECK_MEM_EQ(item.payload, payload, bytes);
            CHECK_EQ(item.dest.family, i % 2 ? 6 : 0);
            CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
            tx_queue_finish(&queue, item.ref);
            (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
            CHECK_EQ(rt_load_relaxed(&seg.tx->head_place), end);
        }
    }
    for (uint32_t at = 0; at < UNITS; at++)
        CHECK_EQ(rt_load_relaxed(tx_word_at(seg.tx_data, at)), 0);
    close_ring();
}

static uint8_t longest[SHM_MAX_PAYLOAD];

static void test_every_length_up_to_the_longest_datagram(void)
{
    shm_config_t c = shm_test_config(65u * SHM_PAGE_BYTES, SHM_MAX_PAYLOAD);
    open_with(&c);
    for (uint32_t i = 0; i < sizeof longest; i++)
        longest[i] = (uint8_t)(i * 7 + i / 256);
    for (uint32_t bytes = 0; bytes <= SHM_MAX_PAYLOAD;
         bytes += bytes < 300 || bytes >= SHM_MAX_PAYLOAD - 40 ? 1 : 37) {
        uint64_t sequence;
        tx_item_t item;
        unsigned moved;
        REQUIRE(tx_producer_push(&producer, longest, bytes, 0, 1, NULL, &sequence) == 0);
        REQUIRE(shm_test_next(&queue, 1, &item) == 1);
        CHECK_EQ(item.sequence, sequence);
        CHECK_EQ(item.payload_bytes, bytes);
        CHECK_MEM_EQ(item.payload, longest, bytes);
        CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
        tx_queue_finish(&queue, item.ref);
        (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    }
    uint64_t sequence;
    CHECK_EQ(tx_producer_push(&producer, longest, SHM_MAX_PAYLOAD + 1, 0, 1, NULL, &sequence), -EMSGSIZE);
    CHECK_EQ(tx_producer_push(&producer, longest, UINT32_MAX, 0, 1, NULL, &sequence), -EMSGSIZE);
    close_ring();
}

/* Producers must leave the worker room to move the longest record, padding included, whatever they push. */
static void test_the_reserve_stays_free(void)
{
    for (uint32_t place = 0; place < UNITS; place += 7) {
        open_ring();
        shm_test_move_tx(&seg, 0, place);
        CHECK_EQ(tx_queue_init(&queue, &seg, 1), 0);
        uint64_t rng = place;
        unsigned refused = 0;
        while (refused < 20)
            refused += push((uint32_t)(rt_test_rand(&rng) % (MAX_PAYLOAD + 1)), 0) == -ENOBUFS;
        while (push(0, 0) == 0) { /* the shortest fills what is left */
        }
        uint32_t tail = shm_cursor_place(rt_load_relaxed(&seg.tx->tail));
        CHECK(tx_used_units(place, tail, UNITS) + tx_reserve_units(MAX_PAYLOAD) <= UNITS);
        (void)drain();
        close_ring();
    }
}

/* --- cancelling ------------------------------------------------------------------------------ */

/* A claim that somebody has open says how long it is: what lies behind it can be cancelled. */
static void test_cancelling_around_an_open_claim(void)
{
    open_ring();
    uint64_t before, behind;
    tx_producer_t other;
    tx_claim_t open_claim;
    CHECK_EQ(tx_producer_init(&other, &seg, 2), 0);
    CHECK_EQ(push_from(&producer, 8, 1, &before), 0);
    CHECK_EQ(tx_producer_claim(&other, 8, 0, 1, NULL, &open_claim), 0);
    CHECK_EQ(push_from(&producer, 8, 77, &behind), 0);
    CHECK_EQ(tx_ring_cancel(&seg, before, NULL), 1);
    CHECK_EQ(tx_ring_cancel(&seg, open_claim.sequence, NULL), 0);
    int64_t due = 0;
    CHECK_EQ(tx_ring_cancel(&seg, behind, &due), 1);
    CHECK_EQ(due, 77);
    memset(open_claim.payload, 0, 8);
    tx_producer_commit(&other, &open_claim);
    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), -ECANCELED);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(shm_test_next(&queue, 1, &item), -ECANCELED);
    CHECK_EQ(tx_ring_waiting(&seg), 1);
    close_ring();
}

/* Its producer has not even said how long it is: the cancel waits a while for that, and gives up in the end. */
static void test_a_claim_without_a_word_hides_what_lies_behind_it(void)
{
    open_ring();
    uint64_t behind;
    tx_producer_t other;
    tx_claim_t claim;
    CHECK_EQ(tx_producer_init(&other, &seg, 2), 0);
    CHECK_EQ(tx_producer_claim(&other, 8, 0, 1, NULL, &claim), 0);
    rt_store_relaxed(&claim.record->word, 0);
    CHECK_EQ(push_from(&producer, 8, 77, &behind), 0);
    CHECK_EQ(tx_ring_cancel(&seg, behind, NULL), -EBUSY);
    tx_item_t item; /* the worker finds out and writes it there */
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK_EQ(shm_test_next(&queue, RT_NS_PER_MS, &item), 1);
    CHECK_EQ(tx_ring_cancel(&seg, behind, NULL), 1);
    CHECK_EQ(shm_test_next(&queue, RT_NS_PER_MS, &item), 0);
    tx_producer_abort(&other, &claim);
    CHECK_EQ(shm_test_next(&queue, RT_NS_PER_MS, &item), 0);
    CHECK_EQ(rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_aborted]), 1);
    unsigned budget = 10, moved;
    CHECK_EQ(tx_queue_reap(&queue, &budget, &item), 1);
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved), 2);
    close_ring();
}

/* As replace() does it: take it back, and only who got it back sends the new one. Over many laps exactly one
 * of each pair leaves, and waiting counts are right at every moment. */
static void test_replacing_sends_one_of_two(void)
{
    open_ring();
    uint64_t rng = 5, old = 0, in = 0;
    unsigned replaced = 0, late = 0, moved, budget;
    uint64_t refs[4];
    bool taken[4];
    unsigned held = 0;
    for (int i = 0; i < 4000; i++) {
        tx_item_t item;
        CHECK_EQ(push_from(&producer, 40, 1000 + i, &old), 0);
        in++;
        if (rt_test_rand(&rng) % 2) {
            REQUIRE(shm_test_next(&queue, 1, &item) == 1);
            CHECK_EQ(item.sequence, old);
            refs[held] = item.ref;
            taken[held] = rt_test_rand(&rng) % 2;
            if (taken[held++])
                CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
        }
        uint64_t given;
        int64_t due;
        if (tx_ring_cancel(&seg, old, &due) == 1) {
            CHECK_EQ(due, 1000 + i);
            CHECK_EQ(push_from(&producer, 40, due + 1, &given), 0);
            CHECK_EQ(given, old + 1);
            in++;
            replaced++;
        } else {
            late++;
        }
        /* All that waits goes now: the taken one is finished, the others are taken. */
        unsigned sent = 0;
        while (held > 0) {
            uint64_t ref = refs[--held];
            int rc = taken[held] ? 0 : tx_queue_take(&queue, ref, &item);
            if (rc == 0) {
                tx_queue_finish(&queue, ref);
                sent++;
            }
        }
        int rc;
        while ((rc = shm_test_next(&queue, 1, &item)) != 0) {
            if (rc == -ECANCELED)
                continue;
            CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
            tx_queue_finish(&queue, item.ref);
            sent++;
        }
        CHECK_EQ(sent, 1);
        CHECK_EQ(tx_ring_waiting(&seg), 0);
        CHECK_EQ(tx_ring_next_sequence(&seg), in);
        budget = 100;
        while (tx_queue_reap(&queue, &budget, &item)) {
        }
        (void)tx_queue_release(&queue, 0, UINT32_MAX, 4, &moved);
    }
    CHECK(replaced > 1000 && late > 500);
    close_ring();
}

/* --- room ------------------------------------------------------------------------------------ */

static void test_room_that_came_before_the_wait_ends_it_at_once(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    c.tx_capacity = 2;
    open_with(&c);
    CHECK_EQ(push(8, 0), 0);
    CHECK_EQ(push(8, 0), 0);
    CHECK_EQ(push(8, 0), -ENOBUFS);
    tx_item_t item;
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
    tx_queue_finish(&queue, item.ref); /* one less counts, no byte is freed yet */
    CHECK_EQ(tx_producer_wait_room(&producer, RT_NEVER_NS), 0);
    CHECK_EQ(push(8, 0), 0);
    CHECK_EQ(push(8, 0), -ENOBUFS);
    CHECK_EQ(tx_producer_wait_room(&producer, rt_mono_ns() - 1), -ETIMEDOUT);
    (void)drain();
    CHECK_EQ(tx_producer_wait_room(&producer, RT_NEVER_NS), 0);
    close_ring();
}

static void on_signal(int number)
{
    (void)number;
}

static atomic_bool interrupted;

static void *interrupt_until_stopped(void *arg)
{
    pthread_t sleeper = *(pthread_t *)arg;
    while (!atomic_load(&interrupted)) {
        (void)pthread_kill(sleeper, SIGUSR1);
        usleep(500);
    }
    return NULL;
}

static void test_a_signal_ends_the_wait_for_room(void)
{
    open_ring();
    struct sigaction act = {.sa_handler = on_signal};
    CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
    while (push(MAX_PAYLOAD, 0) == 0) {
    }
    pthread_t self = pthread_self(), thread;
    REQUIRE(pthread_create(&thread, NULL, interrupt_until_stopped, &self) == 0);
    CHECK_EQ(tx_producer_wait_room(&producer, rt_mono_ns() + 20 * RT_NS_PER_S), -EINTR);
    atomic_store(&interrupted, true);
    pthread_join(thread, NULL);
    close_ring();
}

/* --- damage ---------------------------------------------------------------------------------- */

typedef struct damage {
    uint64_t word;   /* of the first of two records, 0: as it was */
    uint16_t payload_bytes, family;
    bool ring_lost;  /* both are given up, else the first alone */
} damage_t;

/* What makes no sense costs the channel that packet, or all that lay in the ring; the next ones go out. */
static void check_damage(const damage_t *d, uint32_t place)
{
    const shm_addr_t dest = {.family = 4, .port = 1};
    uint64_t sequence;
    tx_item_t item;
    unsigned moved;
    open_ring();
    shm_test_move_tx(&seg, 0, place);
    CHECK_EQ(tx_queue_init(&queue, &seg, 1), 0);
    CHECK_EQ(tx_producer_push(&producer, "0123456789abcdef", 16, 5, 3, &dest, &sequence), 0);
    CHECK_EQ(push(8, 0), 0);
    shm_tx_record_t *r = (shm_tx_record_t *)(seg.tx_data + (size_t)place * SHM_UNIT_BYTES);
    if (d->word)
        rt_store_relaxed(&r->word, d->word);
    if (d->payload_bytes)
        r->payload_bytes = d->payload_bytes;
    if (d->family)
        ((shm_addr_t *)(r + 1))->family = d->family;

    CHECK_EQ(shm_test_next(&queue, 1, &item), -EBADMSG);
    CHECK_EQ(item.sequence, 0);
    if (!d->ring_lost) {
        CHECK_EQ(item.due_ns, 5);
        CHECK_EQ(item.enqueued_mono_ns, 3);
        CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
        CHECK_EQ(item.sequence, 1);
        CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
        tx_queue_finish(&queue, item.ref);
    }
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(queue.damage, 1);
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    for (uint32_t at = 0; at < UNITS; at++)
        CHECK_EQ(rt_load_relaxed(tx_word_at(seg.tx_data, at)), 0);
    CHECK_EQ(push(MAX_PAYLOAD, 0), 0);
    CHECK_EQ(drain(), 1);
    close_ring();
}

static void test_damaged_records_do_not_stop_the_ring(void)
{
    static const damage_t damages[] = {
        {.payload_bytes = MAX_PAYLOAD + 1},
        {.payload_bytes = 17}, /* longer than its own record */
        {.payload_bytes = UINT16_MAX},
        {.family = 5},
        {.word = SHM_RECORD_COMMITTED | 9u << 16 | UINT64_C(7) << 32, .ring_lost = true}, /* sequence */
        {.word = SHM_RECORD_COMMITTED | 3u << 16, .ring_lost = true},      /* no header fits */
        {.word = SHM_RECORD_COMMITTED | 60u << 16, .ring_lost = true},     /* past the tail */
        {.word = SHM_RECORD_COMMITTED | 0xffffu << 16, .ring_lost = true}, /* past the ring */
        {.word = 200 | 9u << 16, .ring_lost = true},                       /* no such state */
        {.word = SHM_RECORD_DONE | 9u << 16, .ring_lost = true},
        {.word = SHM_RECORD_PAD | 4u << 16, .ring_lost = true}, /* padding leads past the tail */
        {.word = UINT64_MAX, .ring_lost = true},
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++)
        for (uint32_t place = 0; place < 100; place += 33)
            check_damage(&damages[i], place);
}

/* Each look at something that cannot be is counted, so that looking comes to an end. */
static void test_what_cannot_be_and_stays_is_counted(void)
{
    tx_item_t item;
    unsigned moved, budget = 10;
    open_ring();
    CHECK_EQ(push(8, 0), 0);
    CHECK_EQ(push(8, 0), 0);
    shm_cursor_t tail = rt_load_relaxed(&seg.tx->tail);
    rt_store_relaxed(&seg.tx->tail, shm_cursor(2, UNITS)); /* outside */
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    CHECK_EQ(queue.damage, 2);
    rt_store_relaxed(&seg.tx->tail, tail);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    CHECK_EQ(queue.damage, 2);

    rt_store_relaxed(tx_word_at(seg.tx_data, 0), 0); /* of one that waits */
    uint64_t ref = 0;
    CHECK_EQ(tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved), 0);
    CHECK_EQ(queue.damage, 3);
    CHECK_EQ(tx_queue_waiting_next(&queue, &ref, &budget, &item), 0);
    CHECK_EQ(budget, 9);
    CHECK_EQ(queue.damage, 4);
    close_ring();
}

/* A claim at the read cursor that nobody announces, while all owners live. */
static void test_a_claim_that_nobody_announces_is_counted(void)
{
    enum { ROUNDS = 20 };
    tx_item_t item;
    tx_claim_t claim;
    open_ring();
    CHECK_EQ(tx_producer_claim(&producer, 8, 0, 5, NULL, &claim), 0);
    rt_store_relaxed(&claim.record->word, 0);
    rt_store_relaxed(&seg.producers[1].intent_units, UNITS); /* cannot be */
    int64_t now = 1;
    for (int i = 0; i < ROUNDS; i++, now += TX_CLAIM_PATIENCE_NS)
        CHECK_EQ(shm_test_next(&queue, now, &item), 0);
    CHECK_EQ(queue.damage, 0); /* its owner may be about to say it */
    now += TX_OWNER_PATIENCE_NS;
    for (int i = 0; i < ROUNDS; i++)
        CHECK_EQ(shm_test_next(&queue, now, &item), 0);
    CHECK(queue.damage >= ROUNDS / 4);
    close_ring();
}

/* Records that do not wait cost budget, too, and the walk goes on where it stopped. */
static void test_the_walk_over_records_that_wait_has_a_budget(void)
{
    enum { N = 40, BUDGET = 7 };
    tx_item_t item;
    uint64_t ref = 0;
    open_ring();
    for (int i = 0; i < N; i++) {
        CHECK_EQ(push(8, FOREVER), 0);
        CHECK_EQ(shm_test_next(&queue, 1, &item), 1);
    }
    for (unsigned i = 0; i < N - 1; i++)
        CHECK_EQ(tx_ring_cancel(&seg, i, NULL), 1);
    for (unsigned looked = 0; looked + BUDGET < N; looked += BUDGET) {
        unsigned budget = BUDGET;
        CHECK_EQ(tx_queue_waiting_next(&queue, &ref, &budget, &item), 0);
        CHECK_EQ(budget, 0);
    }
    unsigned budget = BUDGET;
    CHECK_EQ(tx_queue_waiting_next(&queue, &ref, &budget, &item), 1);
    CHECK_EQ(item.sequence, N - 1);
    budget = BUDGET;
    CHECK_EQ(tx_queue_waiting_next(&queue, &ref, &budget, &item), 0);
    CHECK_EQ(budget, BUDGET);
    CHECK_EQ(queue.damage, 0);
    close_ring();
}

/* Record headers at the very end of the ring that would be read across it. */
static void test_a_cancel_does_not_read_past_the_end(void)
{
    open_ring();
    rt_store_relaxed(&seg.tx->head_place, UNITS - 1);
    rt_store_relaxed(&seg.tx->tail, shm_cursor(1, 0));
    rt_store_relaxed(tx_word_at(seg.tx_data, UNITS - 1), shm_word(0, 1, 0, SHM_RECORD_COMMITTED));
    CHECK_EQ(tx_ring_cancel(&seg, 0, NULL), -EBUSY);
    rt_store_relaxed(&seg.tx->head_place, UNITS);
    CHECK_EQ(tx_ring_cancel(&seg, 0, NULL), 0);
    close_ring();
}

/* The ring of a direction that is not used may be too small for the channel's longest packet. */
static void test_what_can_never_fit_is_refused(void)
{
    shm_config_t c = shm_test_config(1 << 16, 10000);
    c.direction = SHM_RX;
    c.tx_bytes = 4096;
    shm_segment_t s;
    int fd = shm_test_open(&s, &c);
    tx_producer_t p;
    CHECK_EQ(tx_producer_init(&p, &s, 1), 0);
    static const uint8_t payload[10000];
    uint64_t sequence = 0;
    CHECK_EQ(tx_producer_push(&p, payload, 10000, 0, 1, NULL, &sequence), -EMSGSIZE);
    CHECK_EQ(tx_producer_push(&p, payload, 900, 0, 1, NULL, &sequence), 0);
    shm_test_close(&s, fd);
}

int main(void)
{
    RUN(test_what_can_never_fit_is_refused);
    RUN(test_init_refuses_what_cannot_send);
    RUN(test_a_packet_arrives_as_it_was_sent);
    RUN(test_no_deadline_no_destination);
    RUN(test_too_long_a_packet_is_refused);
    RUN(test_a_full_ring_refuses_until_room_is_freed);
    RUN(test_capacity_counts_packets);
    RUN(test_wrapping_keeps_order_and_contents);
    RUN(test_abort_leaves_no_trace_but_its_number);
    RUN(test_an_unfinished_claim_is_passed);
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
    RUN(test_every_length_from_every_place);
    RUN(test_every_length_up_to_the_longest_datagram);
    RUN(test_the_reserve_stays_free);
    RUN(test_cancelling_around_an_open_claim);
    RUN(test_a_claim_without_a_word_hides_what_lies_behind_it);
    RUN(test_replacing_sends_one_of_two);
    RUN(test_room_that_came_before_the_wait_ends_it_at_once);
    RUN(test_a_signal_ends_the_wait_for_room);
    RUN(test_damaged_records_do_not_stop_the_ring);
    RUN(test_what_cannot_be_and_stays_is_counted);
    RUN(test_a_claim_that_nobody_announces_is_counted);
    RUN(test_the_walk_over_records_that_wait_has_a_budget);
    RUN(test_a_cancel_does_not_read_past_the_end);
    return rt_test_result();
}
