#include "shm_test.h"

#include "shm/tap_ring.h"

enum { ROOM = 4 * TAP_RECORD_MOST };

static _Alignas(4096) uint8_t memory[TAP_LEAST_BYTES];
static uint8_t buffer[ROOM];
static uint8_t payload[SHM_MAX_RECORD];

static void begin(tap_writer_t *w, tap_reader_t *r)
{
    memset(memory, 0, sizeof memory);
    tap_writer_init(w, memory, sizeof memory, 3, RT_CLOCK_MONOTONIC);
    REQUIRE(tap_reader_init(r, memory, sizeof memory) == 0);
}

static void put(tap_writer_t *w, unsigned kind, uint64_t number, uint32_t bytes, unsigned verdict)
{
    tap_record_t record = {.kind = (uint8_t)kind,
                           .number = number,
                           .payload_bytes = bytes,
                           .captured_bytes = bytes,
                           .report = {.sequence = number, .verdict = (uint8_t)verdict}};
    memset(payload, (int)(number & 0xff), bytes);
    tap_writer_put(w, &record, payload, bytes / 3, payload + bytes / 3);
}

static tap_record_t record_at(uint32_t at)
{
    tap_record_t record;
    memcpy(&record, buffer + at, sizeof record);
    return record;
}

/* Checks the batch's records; returns the number of the last. */
static uint64_t check_batch(const tap_batch_t *b, uint64_t first)
{
    uint32_t at = 0;
    uint64_t number = first;
    for (uint32_t i = 0; i < b->records; i++, number++) {
        tap_record_t record = record_at(at);
        CHECK_EQ(record.number, number);
        for (uint32_t k = 0; k < record.captured_bytes; k++)
            if (buffer[at + sizeof record + k] != (uint8_t)number) {
                CHECK_EQ(buffer[at + sizeof record + k], (uint8_t)number);
                break;
            }
        at += record.bytes;
    }
    CHECK_EQ(at, b->bytes);
    return number - 1;
}

static void test_records_come_whole_and_in_order(void)
{
    tap_writer_t w;
    tap_reader_t r;
    tap_batch_t b;
    begin(&w, &r);
    CHECK_EQ(tap_reader_take(&r, buffer, ROOM, &b), 0);
    for (unsigned i = 0; i < 5; i++)
        put(&w, TAP_SENT, i, 11 * i, 0);
    CHECK_EQ(tap_reader_take(&r, buffer, ROOM, &b), 5);
    CHECK_EQ(b.datagrams, 5);
    CHECK_EQ(b.lost_before, 0);
    CHECK_EQ(check_batch(&b, 0), 4);
    CHECK_EQ(tap_reader_take(&r, buffer, ROOM, &b), 0);
}

static void test_batch_tells_what_is_in_it(void)
{
    tap_writer_t w;
    tap_reader_t r;
    tap_batch_t b;
    begin(&w, &r);
    for (unsigned verdict = 0; verdict < 8; verdict++)
        put(&w, verdict < 5 ? TAP_SENT : TAP_NOT_SENT, verdict, 8, verdict);
    put(&w, TAP_SENT, 8, 8, TAP_NO_VERDICT);
    put(&w, TAP_ARRIVED, 9, 8, 1);
    put(&w, TAP_STAMPED, 1, 0, 1);
    put(&w, TAP_MARK, 10, 4, 0);
    CHECK_EQ(tap_reader_take(&r, buffer, ROOM, &b), 12);
    CHECK_EQ(b.datagrams, 10);
    CHECK_EQ(b.late, 5);
    CHECK_EQ(b.marks, 1);
    CHECK_EQ(record_at(b.bytes - (uint32_t)sizeof(tap_record_t) - 8).index, 10);
}

static void test_a_small_buffer_takes_them_in_pieces(void)
{
    tap_writer_t w;
    tap_reader_t r;
    tap_batch_t b;
    begin(&w, &r);
    for (unsigned i = 0; i < 10; i++)
        put(&w, TAP_SENT, i, 64, 0);
    uint32_t three = 3 * (uint32_t)(sizeof(tap_record_t) + 64) + 20;
    uint64_t next = 0;
    while (tap_reader_take(&r, buffer, three, &b) > 0) {
        CHECK(b.records <= 3);
        next = check_batch(&b, next) + 1;
    }
    CHECK_EQ(next, 10);
    CHECK_EQ(r.lost, 0);
}

static void test_the_ring_wraps_with_every_length(void)
{
    tap_writer_t w;
    tap_reader_t r;
    tap_batch_t b;
    begin(&w, &r);
    uint64_t next = 0;
    for (uint64_t n = 0; n < 5000; n++) {
        put(&w, TAP_SENT, n, (uint32_t)(n * 7919 % 3000), 0);
        if (n % 40 != 39)
            continue;
        while (tap_reader_take(&r, buffer, ROOM, &b) > 0)
            next = check_batch(&b, next) + 1;
        CHECK_EQ(next, n + 1);
    }
    put(&w, TAP_SENT, next, SHM_MAX_RECORD, 0);
    CHECK_EQ(tap_reader_take(&r, buffer, TAP_RECORD_MOST, &b), 1);
    CHECK_EQ(check_batch(&b, next), next);
    CHECK_EQ(r.lost, 0);
}

static void test_a_lapped_reader_knows_what_it_lost(void)
{
    tap_writer_t w;
    tap_reader_t r;
    tap_batch_t b;
    begin(&w, &r);
    for (uint64_t n = 0; n < 10000; n++)
        put(&w, TAP_SENT, n, 100, 0);
    CHECK(tap_reader_take(&r, buffer, ROOM, &b) > 0);
    uint64_t first = record_at(0).number;
    CHECK_EQ(b.lost_before, first);
    /* Of 1000 or so that the ring holds it must not give up many more than an eighth. */
    uint64_t held = r.ring_bytes / (sizeof(tap_record_t) + 104);
    CHECK(first <= 10000 - held * 13 / 16);
    uint64_t next = check_batch(&b, first) + 1;
    while (tap_reader_take(&r, buffer, ROOM, &b) > 0) {
        CHECK_EQ(b.lost_before, 0);
        next = check_batch(&b, next) + 1;
    }
    CHECK_EQ(next, 10000);
    CHECK_EQ(r.lost, first);
}

static void test_stamps_and_marks_leave_no_gap(void)
{
    tap_writer_t w;
    tap_reader_t r;
    tap_batch_t b;
    begin(&w, &r);
    for (uint64_t n = 0; n < 4000; n++) {
        put(&w, TAP_SENT, n, 64, 0);
        put(&w, TAP_STAMPED, n, 0, 0);
    }
    uint64_t taken = 0;
    while (tap_reader_take(&r, buffer, ROOM, &b) > 0)
        taken += b.datagrams;
    CHECK(r.lost > 0);
    CHECK_EQ(taken + r.lost, 4000);
}

static void test_what_is_no_log_is_refused(void)
{
    tap_reader_t r;
    tap_writer_t w;
    memset(memory, 0, sizeof memory);
    CHECK_EQ(tap_reader_init(&r, memory, sizeof memory), -EPROTO);
    CHECK_EQ(tap_reader_init(&r, memory, 4096), -EINVAL);
    CHECK_EQ(tap_bytes_check(TAP_LEAST_BYTES - 4096), -EINVAL);
    CHECK_EQ(tap_bytes_check(TAP_LEAST_BYTES + 8), -EINVAL);
    CHECK_EQ(tap_bytes_check(TAP_MOST_BYTES + 4096), -EINVAL);
    CHECK_EQ(tap_bytes_check(TAP_MOST_BYTES), 0);
    tap_writer_init(&w, memory, sizeof memory, 1, 0);
    CHECK_EQ(tap_reader_init(&r, memory, sizeof memory - 4096), -EINVAL);
    CHECK_EQ(tap_reader_init(&r, memory, sizeof memory), 0);
    tap_writer_end(&w, TAP_CLOSED);
    CHECK_EQ(rt_load_acquire(&r.head->state), TAP_CLOSED);
}

/* Whatever lies in the memory: a writer goes its way, a reader stays within the ring and comes to
 * an end. */
static void test_scribbled_memory_spoils_the_copy_only(void)
{
    uint64_t rng = rt_test_env_u64("RT_TEST_SEED", 1);
    tap_writer_t w;
    tap_reader_t r;
    tap_batch_t b;
    for (unsigned round = 0; round < 200; round++) {
        begin(&w, &r);
        for (uint64_t n = 0; n < 50 + round * 20; n++)
            put(&w, TAP_SENT, n, (uint32_t)(n % 500), 0);
        uint64_t at = w.at;
        for (unsigned i = 0; i < 64; i++) {
            size_t where = rt_test_rand(&rng) % (i % 2 ? sizeof memory : 1024);
            memory[where] = (uint8_t)rt_test_rand(&rng);
        }
        for (unsigned i = 0; i < 2000 && tap_reader_take(&r, buffer, ROOM, &b) > 0; i++)
            CHECK(b.bytes <= ROOM);
        put(&w, TAP_SENT, 0, 100, 0);
        CHECK(w.at > at && w.place < w.ring_bytes);
    }
}

int main(void)
{
    RUN(test_records_come_whole_and_in_order);
    RUN(test_batch_tells_what_is_in_it);
    RUN(test_a_small_buffer_takes_them_in_pieces);
    RUN(test_the_ring_wraps_with_every_length);
    RUN(test_a_lapped_reader_knows_what_it_lost);
    RUN(test_stamps_and_marks_leave_no_gap);
    RUN(test_what_is_no_log_is_refused);
    RUN(test_scribbled_memory_spoils_the_copy_only);
    return rt_test_result();
}
