#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

/* The heap's own memory is counted, and limited to so many blocks. */
static uint64_t limit = UINT64_MAX;
static uint64_t held;
static uint64_t held_bytes;

static void *counting_malloc(size_t bytes)
{
    if (held == limit)
        return NULL;
    uint64_t *block = malloc(16 + bytes);
    *block = bytes;
    held++;
    held_bytes += bytes;
    return block + 2;
}

static void counting_free(void *memory)
{
    if (memory == NULL)
        return;
    uint64_t *block = (uint64_t *)memory - 2;
    held--;
    held_bytes -= *block;
    free(block);
}

#define malloc counting_malloc
#define free counting_free
#include "proto/pacing/due_heap.c"
#undef malloc
#undef free

static uint64_t seed;

static int push(due_heap_t *h, int64_t due, uint64_t order)
{
    due_entry_t e = {due, order, order * 7};
    return due_heap_push(h, &e);
}

static void expect_pop(due_heap_t *h, int64_t due, uint64_t order)
{
    due_entry_t e = {0};
    CHECK_EQ(due_heap_next_ns(h), due);
    CHECK(due_heap_pop(h, &e));
    CHECK_EQ(e.due_ns, due);
    CHECK_EQ(e.order, order);
    CHECK_EQ(e.ref, order * 7);
}

static void test_empty(void)
{
    due_heap_t h;
    due_entry_t e = {1, 2, 3};
    CHECK_EQ(due_heap_init(&h, 10), 0);
    CHECK(due_heap_peek(&h) == NULL);
    CHECK_EQ(due_heap_next_ns(&h), INT64_MAX);
    CHECK(!due_heap_pop(&h, &e));
    CHECK_EQ(e.ref, 3);
    due_heap_close(&h);
    due_heap_close(&h);
}

static void test_earliest_first_and_first_in_first_out(void)
{
    due_heap_t h;
    CHECK_EQ(due_heap_init(&h, 100), 0);
    int64_t dues[] = {50, 10, 50, 30, 10, INT64_MIN, INT64_MAX, 10, 5, 4, 3, 2, 1, 0};
    for (size_t i = 0; i < sizeof dues / sizeof dues[0]; i++)
        CHECK_EQ(push(&h, dues[i], i), 0);
    expect_pop(&h, INT64_MIN, 5);
    for (int i = 0; i <= 5; i++)
        expect_pop(&h, i, (uint64_t)(13 - i));
    expect_pop(&h, 10, 1);
    expect_pop(&h, 10, 4);
    expect_pop(&h, 10, 7);
    expect_pop(&h, 30, 3);
    expect_pop(&h, 50, 0);
    expect_pop(&h, 50, 2);
    expect_pop(&h, INT64_MAX, 6);
    CHECK_EQ(due_heap_count(&h), 0);
    due_heap_close(&h);
}

static void test_pop_due_waits(void)
{
    due_heap_t h;
    due_entry_t e;
    CHECK_EQ(due_heap_init(&h, 4), 0);
    CHECK_EQ(push(&h, 100, 1), 0);
    CHECK(!due_heap_pop_due(&h, 99, &e));
    CHECK(due_heap_pop_due(&h, 100, &e));
    CHECK(!due_heap_pop_due(&h, 100, &e));
    due_heap_close(&h);
}

static void test_one_far_packet_does_not_spoil_the_order(void)
{
    due_heap_t h;
    CHECK_EQ(due_heap_init(&h, 100000), 0);
    CHECK_EQ(push(&h, INT64_MAX, 0), 0);
    for (uint64_t i = 1; i < 50000; i++)
        CHECK_EQ(push(&h, (int64_t)i, i), 0);
    CHECK_EQ(h.heap_count, 0);
    for (uint64_t i = 1; i < 50000; i++)
        expect_pop(&h, (int64_t)i, i);
    expect_pop(&h, INT64_MAX, 0);
    due_heap_close(&h);
}

/* Senders that each queue in order, but look ahead by different times. */
static void test_interleaved_senders_stay_out_of_the_heap(void)
{
    static const int64_t ahead[DUE_HEAP_RUNS] = {1000000, 50000, 7, 300};
    due_heap_t h;
    CHECK_EQ(due_heap_init(&h, 100000), 0);
    uint64_t order = 0;
    int64_t last = 0;
    for (int64_t now = 0; now < 20000; now += 4) {
        for (unsigned i = 0; i < DUE_HEAP_RUNS; i++)
            CHECK_EQ(push(&h, now + ahead[i], order++), 0);
        CHECK_EQ(h.heap_count, 0);
        due_entry_t e;
        while (due_heap_pop_due(&h, now, &e)) {
            REQUIRE(e.due_ns >= last);
            last = e.due_ns;
        }
    }
    due_heap_close(&h);
}

static void test_runs_and_heap_share_their_memory(void)
{
    enum { ENTRIES = 50000 };
    due_heap_t h;
    CHECK_EQ(due_heap_init(&h, ENTRIES), 0);
    uint64_t state = seed;
    for (uint64_t i = 0; i < ENTRIES; i++)
        CHECK_EQ(push(&h, (int64_t)(rt_test_rand(&state) >> 1), i), 0);
    CHECK(h.heap_count > ENTRIES / 2);
    uint64_t bytes = held_bytes;
    due_entry_t e;
    for (uint64_t i = 0; i < ENTRIES; i++) {
        REQUIRE(due_heap_pop(&h, &e));
        e.due_ns = INT64_MAX;
        e.order = ENTRIES + i;
        REQUIRE(due_heap_push(&h, &e) == 0);
    }
    CHECK(held_bytes <= bytes + 2 * 24 * (DUE_HEAP_CHUNK_ENTRIES + 1));
    CHECK(held_bytes <= due_heap_most_bytes(ENTRIES));
    due_heap_close(&h);
}

static void test_limits(void)
{
    due_heap_t h;
    CHECK_EQ(due_heap_init(&h, 0), -EINVAL);
    CHECK(strstr(rt_err_text(), "0 entries") != NULL);
    CHECK_EQ(due_heap_init(&h, UINT64_MAX), -EINVAL);
    CHECK_EQ(due_heap_init(&h, 2), 0);
    CHECK_EQ(push(&h, 1, 1), 0);
    CHECK_EQ(push(&h, 2, 2), 0);
    CHECK_EQ(push(&h, 0, 3), -ENOSPC);
    expect_pop(&h, 1, 1);
    CHECK_EQ(push(&h, 0, 4), 0);
    expect_pop(&h, 0, 4);
    expect_pop(&h, 2, 2);
    due_heap_close(&h);
}

static void test_out_of_memory_changes_nothing(void)
{
    due_heap_t h;
    limit = 5;
    CHECK_EQ(due_heap_init(&h, 1000000), 0);
    uint64_t state = seed;
    uint64_t pushed = 0;
    int rc = 0;
    while ((rc = push(&h, (int64_t)(rt_test_rand(&state) % 1000000), pushed)) == 0)
        pushed++;
    CHECK_EQ(rc, -ENOMEM);
    CHECK_EQ(due_heap_count(&h), pushed);
    int64_t last = INT64_MIN;
    due_entry_t e;
    for (; due_heap_pop(&h, &e); pushed--) {
        REQUIRE(e.due_ns >= last);
        last = e.due_ns;
    }
    CHECK_EQ(pushed, 0);
    due_heap_close(&h);
    CHECK_EQ(held, 0);
    limit = 0;
    CHECK_EQ(due_heap_init(&h, 1000000), -ENOMEM);
    due_heap_close(&h);
    limit = UINT64_MAX;
}

/* --- against a sorted array --------------------------------------------------------------- */

enum { MODEL_MAX = 6000 };
static due_entry_t model[MODEL_MAX];
static int model_count;

static bool before(const due_entry_t *a, const due_entry_t *b)
{
    return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->order < b->order);
}

static void model_insert(const due_entry_t *e)
{
    int at = model_count++;
    for (; at > 0 && before(e, &model[at - 1]); at--)
        model[at] = model[at - 1];
    model[at] = *e;
}

/* Different senders: in order, in order with an offset, random, backwards, few distinct times. */
static int64_t next_due(uint64_t *state, unsigned style, int64_t now)
{
    int64_t r = (int64_t)(rt_test_rand(state) % 1000);
    switch (style) {
    case 0:
        return now + 5000;
    case 1:
        return now + (r % 2 == 0 ? 100 : 50000);
    case 2:
        return now + r * 100;
    case 3:
        return 1000000 - now;
    default:
        return r % 3;
    }
}

static void check_against_model(uint64_t round)
{
    uint64_t state = seed + round;
    due_heap_t h;
    CHECK_EQ(due_heap_init(&h, MODEL_MAX), 0);
    model_count = 0;
    unsigned style = (unsigned)(round % 6);
    uint64_t order = 0;
    for (int step = 0; step < 15000; step++) {
        bool filling = step / 3000 % 2 == 0;
        bool pushing = rt_test_rand(&state) % 100 < (filling ? 75u : 25u);
        if (pushing && model_count < MODEL_MAX) {
            unsigned s = style == 5 ? (unsigned)(rt_test_rand(&state) % 5) : style;
            due_entry_t e = {next_due(&state, s, step), order, ~order};
            order++;
            REQUIRE(due_heap_push(&h, &e) == 0);
            model_insert(&e);
        } else if (!pushing && model_count > 0) {
            due_entry_t e;
            REQUIRE(due_heap_pop(&h, &e));
            REQUIRE(memcmp(&e, &model[0], sizeof e) == 0);
            model_count--;
            memmove(&model[0], &model[1], (size_t)model_count * sizeof model[0]);
        }
        REQUIRE(due_heap_count(&h) == (uint64_t)model_count);
        const due_entry_t *min = due_heap_peek(&h);
        REQUIRE((min == NULL) == (model_count == 0));
        REQUIRE(min == NULL || memcmp(min, &model[0], sizeof *min) == 0);
    }
    due_heap_close(&h);
    CHECK_EQ(held, 0);
}

static void test_random_against_a_sorted_array(void)
{
    for (uint64_t round = 0; round < rt_test_env_u64("RT_TEST_ROUNDS", 12); round++) {
        int before_count = atomic_load(&rt_test_failure_count);
        check_against_model(round);
        if (atomic_load(&rt_test_failure_count) != before_count) {
            printf("failed in round %" PRIu64 " of seed %" PRIu64 "\n", round, seed);
            return;
        }
    }
}

/* --- a million ---------------------------------------------------------------------------- */

enum { MILLION = 1000000, MEMORY_LIMIT = 24 << 20 };

/* Times are printed, not judged: the machine may be busy. */
static void check_million(const char *what, bool in_order)
{
    due_heap_t h;
    CHECK_EQ(due_heap_init(&h, MILLION), 0);
    uint64_t state = seed;
    int64_t begin = rt_mono_ns();
    for (uint64_t i = 0; i < MILLION; i++) {
        uint64_t r = in_order ? i * 1000 : rt_test_rand(&state) >> 1;
        due_entry_t e = {(int64_t)r, i, i};
        REQUIRE(due_heap_push(&h, &e) == 0);
    }
    int64_t pushed = rt_mono_ns();
    due_entry_t last = {INT64_MIN, 0, 0};
    due_entry_t e;
    uint64_t popped = 0;
    uint64_t memory = held_bytes;
    while (due_heap_pop(&h, &e)) {
        REQUIRE(before(&last, &e));
        last = e;
        popped++;
    }
    int64_t end = rt_mono_ns();
    CHECK_EQ(popped, MILLION);
    CHECK(memory <= MEMORY_LIMIT);
    printf("       %s: push %.1f ns, pop %.1f ns, %.2f MiB\n", what,
           (double)(pushed - begin) / MILLION, (double)(end - pushed) / MILLION,
           (double)memory / (1 << 20));
    due_heap_close(&h);
}

static void test_a_million_in_order(void)
{
    check_million("in order", true);
}

static void test_a_million_at_random(void)
{
    check_million("at random", false);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_empty);
    RUN(test_earliest_first_and_first_in_first_out);
    RUN(test_pop_due_waits);
    RUN(test_one_far_packet_does_not_spoil_the_order);
    RUN(test_interleaved_senders_stay_out_of_the_heap);
    RUN(test_runs_and_heap_share_their_memory);
    RUN(test_limits);
    RUN(test_out_of_memory_changes_nothing);
    RUN(test_random_against_a_sorted_array);
    RUN(test_a_million_in_order);
    RUN(test_a_million_at_random);
    return rt_test_result();
}
