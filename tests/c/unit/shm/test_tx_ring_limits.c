/* The tx ring at its limits: places and lengths, open claims, waits that end, and damage. */
#include "tx_ring_test.h"

#include <pthread.h>
#include <signal.h>

/* From every place of an empty ring the longest packet fits, with a destination of its own, in the
 * smallest ring that the configuration allows for it; and a record that ends exactly at the ring's
 * end needs no padding. */
static void test_every_length_from_every_place(void)
{
    static const uint32_t lengths[] = {0, 1, 7, 8, 9, 500, 935, 936};
    const shm_addr_t dest = {.family = 6, .port = 1, .ip = {0xfe, 0x80}};
    const shm_addr_t source = {.family = 4, .port = 7, .ip = {127, 0, 0, 2}};
    uint8_t payload[936];
    shm_config_t c = shm_test_config(RING_BYTES, 936);
    open_with(&c);
    memset(payload, 0x5a, sizeof payload);
    for (uint32_t place = 0; place < UNITS; place++) {
        for (size_t i = 0; i < 4 * sizeof lengths / sizeof lengths[0]; i++) {
            const tx_route_t route = {.dest = i & 1 ? &dest : NULL,
                                      .source = i & 2 ? &source : NULL};
            uint32_t bytes = lengths[i / 4], units = tx_record_units(bytes, (i & 1) + (i >> 1 & 1));
            uint64_t sequence;
            tx_item_t item;
            unsigned moved;
            shm_test_move_tx(&seg, i, place);
            CHECK_EQ(tx_queue_init(&queue, &seg, 1), 0);
            CHECK_EQ(tx_producer_init(&producer, &seg, 1), 0);
            CHECK_EQ(tx_producer_push(&producer, payload, bytes, 0, 1, &route, &sequence), 0);
            uint32_t end = shm_cursor_place(rt_load_relaxed(&seg.tx->tail));
            CHECK_EQ(end, place + units <= UNITS ? (place + units) % UNITS : units);
            REQUIRE(shm_test_next(&queue, 1, &item) == 1);
            CHECK_EQ(item.payload_bytes, bytes);
            CHECK_MEM_EQ(item.payload, payload, bytes);
            CHECK_EQ(item.dest.family, i & 1 ? 6 : 0);
            CHECK_EQ(item.source.family, i & 2 ? 4 : 0);
            if (i & 1)
                CHECK_MEM_EQ(&item.dest, &dest, sizeof dest);
            if (i & 2)
                CHECK_MEM_EQ(&item.source, &source, sizeof source);
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

/* Producers must leave the worker room to move the longest record, padding
 * included, whatever they push. */
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
    CHECK_EQ(shm_test_waiting(&queue), 1);
    close_ring();
}

/* Its producer has not even said how long it is: the cancel waits a while for
 * that, and gives up in the end. */
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
    CHECK_EQ(shm_test_waiting(&queue), 0);
    CHECK_EQ(tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved), 2);
    close_ring();
}

/* As replace() does it: take it back, and only who got it back sends the new one. Over many laps
 * exactly one of each pair leaves, and waiting counts are right at every moment. */
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
        CHECK_EQ(shm_test_waiting(&queue), 0);
        CHECK_EQ(tx_ring_next_sequence(&seg), in);
        budget = 100;
        while (tx_queue_reap(&queue, &budget, &item)) {
        }
        (void)tx_queue_release(&queue, 0, UINT32_MAX, 4, &moved);
    }
    CHECK(replaced > 1000 && late > 500);
    close_ring();
}

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
    tx_queue_finish(&queue, item.ref);
    tx_queue_show_finished(&queue); /* one less counts, no byte is freed yet */
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

typedef struct damage {
    uint64_t word;   /* of the first of two records, 0: as it was */
    uint16_t payload_bytes, family;
    bool ring_lost;  /* both are given up, else the first alone */
} damage_t;

/* What makes no sense costs the channel that packet, or all that lay in the
 * ring; the next ones go out. */
static void check_damage(const damage_t *d, uint32_t place)
{
    const shm_addr_t dest = {.family = 4, .port = 1};
    uint64_t sequence;
    tx_item_t item;
    unsigned moved;
    open_ring();
    shm_test_move_tx(&seg, 0, place);
    CHECK_EQ(tx_queue_init(&queue, &seg, 1), 0);
    CHECK_EQ(tx_producer_push(&producer, "0123456789abcdef", 16, 5, 3, &(tx_route_t){.dest = &dest},
                              &sequence),
             0);
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
    CHECK_EQ(shm_test_waiting(&queue), 0);
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
        /* sequence */
        {.word = SHM_RECORD_COMMITTED | 9u << 16 | UINT64_C(7) << 32, .ring_lost = true},
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
    for (int i = 0; i < ROUNDS; i++, now += TX_CLAIM_TIMEOUT_NS)
        CHECK_EQ(shm_test_next(&queue, now, &item), 0);
    CHECK_EQ(queue.damage, 0); /* its owner may be about to say it */
    now += TX_OWNER_CHECK_NS;
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
