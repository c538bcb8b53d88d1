/* Rings of slots: order, what a slow reader lost, what a dead writer left. */
#include "shm_test.h"

#include "shm/slot_ring.h"

enum { SLOTS = 8, WORDS = 10 };

typedef struct slot {
    uint64_t words[WORDS];
} slot_t;

static shm_slot_cursors_t cursors;
static slot_t slots[SLOTS];
static slot_writer_t w;
static slot_reader_t r;
static slot_t got[2 * SLOTS];

static void begin(void)
{
    memset(&cursors, 0, sizeof cursors);
    memset(slots, 0, sizeof slots);
    slot_writer_init(&w, &cursors, slots, SLOTS, sizeof(slot_t));
    slot_reader_init(&r, &cursors, slots, SLOTS, sizeof(slot_t));
}

static uint64_t put(uint64_t value)
{
    slot_t slot;
    for (unsigned i = 0; i < WORDS; i++)
        slot.words[i] = value;
    return slot_writer_put(&w, &slot);
}

static void check_slots(unsigned n, uint64_t first)
{
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < WORDS; k++)
            CHECK_EQ(got[i].words[k], first + i);
}

static void test_slots_come_in_order(void)
{
    begin();
    CHECK_EQ(slot_reader_next(&r, got, 16), 0);
    for (uint64_t i = 0; i < 5; i++)
        CHECK_EQ(put(100 + i), i);
    CHECK_EQ(slot_reader_next(&r, got, 2), 2);
    check_slots(2, 100);
    CHECK_EQ(slot_reader_next(&r, got, 16), 3);
    check_slots(3, 102);
    CHECK_EQ(slot_reader_next(&r, got, 16), 0);
}

static void test_a_slow_reader_knows_what_it_lost(void)
{
    begin();
    for (uint64_t i = 0; i < 20; i++)
        put(i);
    CHECK_EQ(slot_reader_next(&r, got, 16), SLOTS);
    check_slots(SLOTS, 12);
    CHECK_EQ(r.lost, 12);
    slot_reader_init(&r, &cursors, slots, SLOTS, sizeof(slot_t));
    CHECK_EQ(slot_reader_next(&r, got, 16), SLOTS);
    CHECK_EQ(r.lost, 0);
}

static void test_a_slot_being_written_is_not_read(void)
{
    begin();
    for (uint64_t i = 0; i < SLOTS; i++)
        put(i);
    rt_store_relaxed(&cursors.writing, SLOTS + 1);
    CHECK_EQ(slot_reader_next(&r, got, 16), SLOTS - 1);
    check_slots(SLOTS - 1, 1);
    CHECK_EQ(r.lost, 1);
}

static void test_a_successor_goes_on(void)
{
    begin();
    put(0);
    put(1);
    rt_store_relaxed(&cursors.writing, 3); /* died in the third */
    slots[2].words[0] = 77;
    slot_writer_init(&w, &cursors, slots, SLOTS, sizeof(slot_t));
    CHECK_EQ(put(2), 2);
    CHECK_EQ(slot_reader_next(&r, got, 16), 3);
    check_slots(3, 0);
}

static void test_a_slot_is_found_until_it_is_overwritten(void)
{
    begin();
    for (uint64_t i = 0; i < SLOTS; i++)
        put(i);
    CHECK_EQ(slot_writer_at(&w, 0), &slots[0]);
    CHECK_EQ(slot_writer_at(&w, SLOTS - 1), &slots[SLOTS - 1]);
    CHECK_EQ(slot_writer_at(&w, SLOTS), NULL);
    put(SLOTS);
    CHECK_EQ(slot_writer_at(&w, 0), NULL);
    CHECK_EQ(slot_writer_at(&w, SLOTS), &slots[0]);
}

static void test_cursors_somebody_scribbled_over_have_an_end(void)
{
    static const uint64_t tails[] = {1,          SLOTS + 1,        UINT64_MAX / 2,
                                     UINT64_MAX, UINT64_MAX - 100, (uint64_t)INT64_MAX + 1};
    for (unsigned i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        for (unsigned k = 0; k < sizeof tails / sizeof tails[0]; k++) {
            begin();
            rt_store_relaxed(&cursors.tail, tails[i]);
            rt_store_relaxed(&cursors.writing, tails[k]);
            CHECK(slot_reader_next(&r, got, 2 * SLOTS) <= 2 * SLOTS);
            slot_reader_init(&r, &cursors, slots, SLOTS, sizeof(slot_t));
            CHECK(slot_reader_next(&r, got, 2 * SLOTS) <= 2 * SLOTS);
            slot_writer_init(&w, &cursors, slots, SLOTS, sizeof(slot_t));
            put(1);
        }
    }
}

static void test_no_slots_nothing_is_written(void)
{
    memset(&cursors, 0, sizeof cursors);
    slot_writer_init(&w, &cursors, NULL, 0, sizeof(slot_t));
    slot_reader_init(&r, &cursors, NULL, 0, sizeof(slot_t));
    put(1);
    CHECK_EQ(slot_writer_at(&w, 0), NULL);
    CHECK_EQ(slot_reader_next(&r, got, 1), 0);
}

int main(void)
{
    RUN(test_slots_come_in_order);
    RUN(test_a_slow_reader_knows_what_it_lost);
    RUN(test_a_slot_being_written_is_not_read);
    RUN(test_a_successor_goes_on);
    RUN(test_a_slot_is_found_until_it_is_overwritten);
    RUN(test_cursors_somebody_scribbled_over_have_an_end);
    RUN(test_no_slots_nothing_is_written);
    return rt_test_result();
}
