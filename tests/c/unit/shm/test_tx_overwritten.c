/* Clients that write over records: each packet still gets a verdict, or is counted, and nobody who
 * looks for a packet is held up for long. */
#include "shm_test.h"

#include <time.h>

enum { RING_BYTES = 4096, MAX_PAYLOAD = 200, PACKETS = 5, MIDDLE = 2, LONG_RING_BYTES = 8 << 20 };

#define FOREVER (1000 * RT_NS_PER_S)
#define RECORD_UNITS 5u /* of a packet of 8 bytes */

static shm_segment_t seg;
static tx_queue_t queue;
static tx_producer_t producer;
static tx_item_t items[PACKETS];
static int seg_fd;

static void open_ring(uint64_t bytes)
{
    shm_config_t c = shm_test_config(bytes, MAX_PAYLOAD);
    seg_fd = shm_test_open(&seg, &c);
    CHECK_EQ(tx_queue_init(&queue, &seg, 0), 0);
    CHECK_EQ(tx_producer_init(&producer, &seg, 1), 0);
}

static void close_ring(void)
{
    shm_test_close(&seg, seg_fd);
}

static void push(void)
{
    uint64_t sequence;
    CHECK_EQ(tx_producer_push(&producer, "8 bytes", 8, FOREVER, 5, NULL, &sequence), 0);
}

static void open_with_packets(void)
{
    open_ring(RING_BYTES);
    for (unsigned i = 0; i < PACKETS; i++) {
        push();
        CHECK_EQ(shm_test_next(&queue, 1, &items[i]), 1);
    }
}

static rt_a64_t *word_of(unsigned packet)
{
    return tx_word_at(seg.tx_data, tx_place_of(&queue, items[packet].ref));
}

static uint64_t in_state(unsigned packet, unsigned state)
{
    uint64_t word = rt_load_relaxed(word_of(packet));
    return shm_word(shm_word_seq(word), shm_word_units(word), shm_word_flags(word),
                    (shm_record_state_t)state);
}

static uint64_t corrupt(void)
{
    return rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_corrupt]);
}

static void release(void)
{
    unsigned moved;
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
}

static void send(unsigned packet)
{
    tx_item_t item;
    CHECK_EQ(tx_queue_take(&queue, items[packet].ref, &item), 0);
    tx_queue_finish(&queue, items[packet].ref);
}

static void send_all_but(unsigned packet)
{
    for (unsigned i = 0; i < PACKETS; i++)
        if (i != packet)
            send(i);
    release();
}

static void check_all_counted(void)
{
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(rt_load_relaxed(&seg.tx->finished), tx_ring_next_sequence(&seg));
    CHECK_EQ(rt_load_relaxed(&seg.tx->head_place), shm_cursor_place(rt_load_relaxed(&seg.tx->tail)));
}

/* --- scheduled packets ----------------------------------------------------------------------- */

static void test_a_packet_in_an_impossible_state_gets_a_verdict(void)
{
    static const unsigned states[] = {SHM_RECORD_EMPTY, SHM_RECORD_CLAIMED, SHM_RECORD_SENDING,
                                      SHM_RECORD_PAD,   SHM_RECORD_ABORTED, 8,
                                      255};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        tx_item_t item;
        open_with_packets();
        rt_store_relaxed(word_of(MIDDLE), in_state(MIDDLE, states[i]));
        CHECK_EQ(tx_queue_peek(&queue, items[MIDDLE].ref, &item), -EBADMSG);
        CHECK_EQ(queue.damage, 0);
        CHECK_EQ(tx_queue_take(&queue, items[MIDDLE].ref, &item), -EBADMSG);
        CHECK_EQ(item.ref, items[MIDDLE].ref);
        CHECK_EQ(queue.damage, 1);
        CHECK_EQ(tx_queue_take(&queue, items[MIDDLE].ref, &item), -ESTALE); /* one verdict */
        send_all_but(MIDDLE);
        check_all_counted();
        CHECK_EQ(queue.damage, 1);
        CHECK_EQ(corrupt(), 0); /* the caller counts what it gave a verdict */
        close_ring();
    }
}

/* Where the next record begins is unknown then, so the ring is not
 * emptied: that is counted as well. */
static void test_a_packet_whose_length_cannot_be_gets_a_verdict(void)
{
    static const uint64_t words[] = {0, UINT64_MAX, SHM_RECORD_COMMITTED | 3u << 16,
                                     SHM_RECORD_COMMITTED | 60u << 16, SHM_RECORD_CANCELLED | 60u << 16};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        tx_item_t item;
        open_with_packets();
        rt_store_relaxed(word_of(MIDDLE), words[i]);
        CHECK_EQ(tx_queue_take(&queue, items[MIDDLE].ref, &item), -EBADMSG);
        CHECK_EQ(tx_queue_take(&queue, items[MIDDLE].ref, &item), -ESTALE);
        CHECK_EQ(queue.damage, 1);
        send_all_but(MIDDLE);
        CHECK_EQ(tx_ring_waiting(&seg), 0);
        close_ring();
    }
}

static void test_a_header_that_is_spoilt_gets_a_verdict(void)
{
    tx_item_t item;
    open_with_packets();
    ((shm_tx_record_t *)(void *)word_of(MIDDLE))->payload_bytes = UINT16_MAX;
    CHECK_EQ(tx_queue_take(&queue, items[MIDDLE].ref, &item), -EBADMSG);
    CHECK_EQ(queue.damage, 1);
    send_all_but(MIDDLE);
    check_all_counted();
    close_ring();
}

static void test_refs_of_nothing_that_is_held_are_stale(void)
{
    tx_item_t item;
    open_with_packets();
    CHECK_EQ(tx_queue_peek(&queue, items[PACKETS - 1].ref + RECORD_UNITS, &item), -ESTALE);
    CHECK_EQ(tx_queue_take(&queue, UINT64_MAX, &item), -ESTALE);
    send_all_but(PACKETS);
    for (unsigned i = 0; i < PACKETS; i++)
        CHECK_EQ(tx_queue_take(&queue, items[i].ref, &item), -ESTALE);
    CHECK_EQ(queue.damage, 0);
    check_all_counted();
    close_ring();
}

/* The walk of engines that do not schedule by refs. */
static void test_the_walk_hands_out_what_was_overwritten(void)
{
    tx_item_t item;
    uint64_t ref = 0;
    unsigned budget = 100;
    open_with_packets();
    rt_store_relaxed(word_of(MIDDLE), in_state(MIDDLE, SHM_RECORD_SENDING));
    for (unsigned i = 0; i < PACKETS; i++) {
        int expected = i == MIDDLE ? -EBADMSG : 1;
        CHECK_EQ(tx_queue_waiting_next(&queue, &ref, &budget, &item), expected);
        CHECK_EQ(item.sequence, i);
    }
    CHECK_EQ(tx_queue_waiting_next(&queue, &ref, &budget, &item), 0);
    CHECK_EQ(queue.damage, 1);
    CHECK_EQ(budget, 100 - PACKETS);
    send_all_but(MIDDLE);
    check_all_counted();
    close_ring();
}

/* --- what nobody asks about any more ---------------------------------------------------------- */

/* What the worker has finished looks the same, so this is noticed when the ring is empty. */
static void test_packets_that_a_client_marks_as_done_are_counted(void)
{
    static const unsigned states[] = {SHM_RECORD_DONE, SHM_RECORD_PAD};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        tx_item_t item;
        open_with_packets();
        rt_store_relaxed(word_of(0), in_state(0, states[i]));
        release();
        CHECK_EQ(tx_queue_take(&queue, items[0].ref, &item), -ESTALE);
        CHECK_EQ(corrupt(), 0);
        send_all_but(0);
        CHECK_EQ(corrupt(), 1);
        CHECK_EQ(queue.damage, 1);
        check_all_counted();
        release();
        CHECK_EQ(corrupt(), 1);
        close_ring();
    }
}

/* A client writes over a packet that is being sent: it ends once, however
 * the words stand afterwards. */
static void test_a_packet_overwritten_while_it_is_sent_ends_once(void)
{
    tx_item_t item;
    open_with_packets();
    send_all_but(MIDDLE);
    CHECK_EQ(tx_queue_take(&queue, items[MIDDLE].ref, &item), 0);
    rt_store_relaxed(word_of(MIDDLE), in_state(MIDDLE, SHM_RECORD_DONE));
    tx_queue_finish(&queue, items[MIDDLE].ref);
    release();
    check_all_counted();
    CHECK_EQ(corrupt(), 0);
    CHECK_EQ(queue.damage, 0);
    close_ring();
}

/* A ring that makes no sense is emptied up to its tail: all that was in it is counted. */
static void test_all_packets_of_a_ring_that_is_given_up_are_counted(void)
{
    tx_item_t item;
    open_ring(RING_BYTES);
    for (unsigned i = 0; i < PACKETS; i++)
        push();
    rt_store_relaxed(tx_word_at(seg.tx_data, 0), UINT64_MAX);
    CHECK_EQ(shm_test_next(&queue, 1, &item), -EBADMSG);
    CHECK_EQ(corrupt(), PACKETS - 1);
    CHECK_EQ(shm_test_next(&queue, 1, &item), 0);
    release();
    check_all_counted();
    CHECK_EQ(queue.damage, 1);
    close_ring();
}

/* --- looking for a packet --------------------------------------------------------------------- */

static int64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * RT_NS_PER_S + t.tv_nsec;
}

/* A ring that seems full of records of so many units, and behind them
 * one that nobody ever finishes. */
static void forge_ring(uint32_t each)
{
    uint32_t units = LONG_RING_BYTES / SHM_UNIT_BYTES;
    open_ring(LONG_RING_BYTES);
    uint32_t at = 0;
    for (; at + each < units; at += each)
        rt_store_relaxed(tx_word_at(seg.tx_data, at), shm_word(0, each, 0, SHM_RECORD_DONE));
    rt_store_relaxed(&seg.tx->tail, shm_cursor(1, units - 1));
    if (at < units - 1)
        rt_store_relaxed(tx_word_at(seg.tx_data, at), 0);
}

static void test_a_ring_that_is_cut_short_costs_little(void)
{
    static const uint32_t lengths[] = {1, TX_RECORD_LEAST_UNITS};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        forge_ring(lengths[i]);
        int64_t before = cpu_ns();
        CHECK_EQ(tx_ring_cancel(&seg, 77, NULL), -EBUSY);
        CHECK(cpu_ns() - before < RT_NS_PER_S / 2);
        CHECK(strstr(rt_err_text(), "10 ms") != NULL);
        close_ring();
    }
}

static void test_a_replacement_that_finds_nothing_in_time_is_given_up(void)
{
    tx_producer_t other;
    tx_claim_t open_claim, claim;
    open_ring(RING_BYTES);
    CHECK_EQ(tx_producer_init(&other, &seg, 2), 0);
    CHECK_EQ(tx_producer_claim(&other, 8, 0, 1, NULL, &open_claim), 0);
    rt_store_relaxed(&open_claim.record->word, 0);
    push();
    CHECK_EQ(tx_producer_claim(&producer, 8, 0, 1, NULL, &claim), 0);
    CHECK_EQ(tx_producer_replace(&producer, &seg, &claim, 1, 1), -EBUSY);
    CHECK_EQ(shm_word_state(rt_load_relaxed(&claim.record->word)), SHM_RECORD_ABORTED);
    CHECK_EQ(rt_load_relaxed(&seg.producers[1].intent), SHM_INTENT_NONE);
    close_ring();
}

int main(void)
{
    RUN(test_a_packet_in_an_impossible_state_gets_a_verdict);
    RUN(test_a_packet_whose_length_cannot_be_gets_a_verdict);
    RUN(test_a_header_that_is_spoilt_gets_a_verdict);
    RUN(test_refs_of_nothing_that_is_held_are_stale);
    RUN(test_the_walk_hands_out_what_was_overwritten);
    RUN(test_packets_that_a_client_marks_as_done_are_counted);
    RUN(test_a_packet_overwritten_while_it_is_sent_ends_once);
    RUN(test_all_packets_of_a_ring_that_is_given_up_are_counted);
    RUN(test_a_ring_that_is_cut_short_costs_little);
    RUN(test_a_replacement_that_finds_nothing_in_time_is_given_up);
    return rt_test_result();
}
