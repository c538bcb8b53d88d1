/* The loss list against an array of marks, one per number, at any place of the circle. */
#include "proto/udt/udt_losslist.h"

#include "rt_test.h"

enum { CAPACITY = 256, BEYOND = 3 * CAPACITY };

static udt_losslist_t l;
static uint64_t memory[CAPACITY / 64];

/* Offset from the origin -> lost. */
static bool model[1 << 16];
static uint32_t origin;
static uint32_t base; /* offset */

static uint32_t seq_of(uint32_t offset)
{
    return udt_seq_skip(origin, offset);
}

static bool in_window(int64_t offset)
{
    return offset >= base && offset < (int64_t)base + CAPACITY;
}

static uint32_t model_set(int64_t first, int64_t last, bool lost)
{
    uint32_t changed = 0;
    for (int64_t i = first; i <= last; i++) {
        if (!in_window(i) || model[i] == lost)
            continue;
        model[i] = lost;
        changed++;
    }
    return changed;
}

static uint32_t model_count(void)
{
    uint32_t n = 0;
    for (uint32_t i = base; i < base + CAPACITY; i++)
        n += model[i];
    return n;
}

static void check_ranges(uint32_t from, uint32_t before)
{
    uint32_t first;
    uint32_t last;
    uint32_t at = from;
    while (udt_losslist_range(&l, seq_of(at), seq_of(before), &first, &last)) {
        uint32_t a = (uint32_t)udt_seq_diff(first, origin);
        uint32_t b = (uint32_t)udt_seq_diff(last, origin);
        REQUIRE(a >= from && a <= b && b < before);
        for (; at < a; at++)
            CHECK(!in_window(at) || !model[at]);
        for (; at <= b; at++)
            CHECK(model[at]);
        CHECK(b + 1 == before || !in_window(b + 1) || !model[b + 1]);
    }
    for (; at < before; at++)
        CHECK(!in_window(at) || !model[at]);
}

static void check_all(uint64_t *random)
{
    uint32_t seq = 0;
    uint32_t expected = base;
    CHECK_EQ(l.count, model_count());
    CHECK_EQ(udt_losslist_first(&l, &seq), l.count > 0);
    if (l.count > 0) {
        while (!model[expected])
            expected++;
        CHECK_EQ(seq, seq_of(expected));
    }
    uint32_t probe = base + (uint32_t)(rt_test_rand(random) % CAPACITY);
    CHECK_EQ(udt_losslist_has(&l, seq_of(probe)), model[probe]);
    uint32_t from = base + (uint32_t)(rt_test_rand(random) % CAPACITY);
    check_ranges(from, from + 1 + (uint32_t)(rt_test_rand(random) % (2 * CAPACITY)));
}

static void run(uint32_t start, uint64_t *random)
{
    origin = start;
    base = CAPACITY; /* so that there is something before it */
    memset(model, 0, sizeof model);
    udt_losslist_init(&l, memory, CAPACITY);
    udt_losslist_start(&l, seq_of(base));
    for (int step = 0; step < 400; step++) {
        int64_t first = (int64_t)base - 40 + (int64_t)(rt_test_rand(random) % (CAPACITY + 80));
        uint64_t longest = rt_test_rand(random) % 3 == 0 ? CAPACITY * 2 : 8;
        int64_t last = first + (int64_t)(rt_test_rand(random) % longest);
        switch (rt_test_rand(random) % 5) {
        case 0:
        case 1:
            CHECK_EQ(udt_losslist_insert(&l, seq_of((uint32_t)first), seq_of((uint32_t)last)),
                     model_set(first, last, true));
            break;
        case 2:
            CHECK_EQ(udt_losslist_remove(&l, seq_of((uint32_t)first), seq_of((uint32_t)last)),
                     model_set(first, last, false));
            break;
        case 3:
            CHECK_EQ(udt_losslist_remove(&l, seq_of((uint32_t)first), seq_of((uint32_t)first)),
                     model_set(first, first, false));
            break;
        default: {
            uint32_t to = base + (uint32_t)(rt_test_rand(random) % 60);
            udt_losslist_advance(&l, seq_of(to));
            udt_losslist_advance(&l, seq_of(to - 5)); /* backwards: nothing */
            for (; base < to; base++)
                model[base] = false;
            break;
        }
        }
        check_all(random);
    }
}

static void test_it_does_what_an_array_of_marks_does(void)
{
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    const uint32_t starts[] = {0,
                               12345,
                               UDT_SEQ_MASK - CAPACITY,
                               UDT_SEQ_MASK - 2 * CAPACITY,
                               UDT_SEQ_MASK - 777,
                               UDT_SEQ_MASK / 2};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        run(starts[i], &random);
    for (int i = 0; i < 40; i++)
        run((uint32_t)rt_test_rand(&random) & UDT_SEQ_MASK, &random);
}

static void test_the_first_one_after_a_jump_over_an_empty_window(void)
{
    uint32_t seq = 7;
    udt_losslist_init(&l, memory, CAPACITY);
    udt_losslist_start(&l, 100);
    CHECK(!udt_losslist_first(&l, &seq));
    CHECK_EQ(seq, 7);
    udt_losslist_advance(&l, 100000);
    CHECK_EQ(udt_losslist_insert(&l, 100010, 100011), 2);
    CHECK(udt_losslist_first(&l, &seq));
    CHECK_EQ(seq, 100010);
    CHECK_EQ(udt_losslist_insert(&l, 100003, 100003), 1);
    CHECK(udt_losslist_first(&l, &seq));
    CHECK_EQ(seq, 100003);
}

static void test_what_lies_outside_the_window_is_not_entered(void)
{
    udt_losslist_init(&l, memory, CAPACITY);
    udt_losslist_start(&l, 1000);
    CHECK_EQ(udt_losslist_insert(&l, 900, 999), 0);
    CHECK_EQ(udt_losslist_insert(&l, 1000 + CAPACITY, 5000), 0);
    CHECK_EQ(udt_losslist_insert(&l, 0, UDT_SEQ_MASK / 3), CAPACITY);
    CHECK_EQ(udt_losslist_remove(&l, 900, 999), 0);
    CHECK_EQ(udt_losslist_remove(&l, 1000, 1000 + 2 * CAPACITY), CAPACITY);
    CHECK_EQ(l.count, 0);
}

static void test_a_turned_round_range_is_nothing(void)
{
    udt_losslist_init(&l, memory, CAPACITY);
    udt_losslist_start(&l, 1000);
    CHECK_EQ(udt_losslist_insert(&l, 1010, 1009), 0);
    CHECK_EQ(udt_losslist_remove(&l, 1010, 1009), 0);
}

static void test_capacities(void)
{
    CHECK_EQ(udt_losslist_capacity(1), 64);
    CHECK_EQ(udt_losslist_capacity(64), 64);
    CHECK_EQ(udt_losslist_capacity(65), 128);
    CHECK_EQ(udt_losslist_capacity(25600), 32768);
    CHECK_EQ(udt_losslist_memory_bytes(32768), 4096);
}

int main(void)
{
    RUN(test_it_does_what_an_array_of_marks_does);
    RUN(test_the_first_one_after_a_jump_over_an_empty_window);
    RUN(test_what_lies_outside_the_window_is_not_entered);
    RUN(test_a_turned_round_range_is_nothing);
    RUN(test_capacities);
    return rt_test_result();
}
