#include <SPMCQueue.h>

#include "rt_test.h"

#include <pthread.h>
#include <sched.h>

#define CONSUMERS 3
#define ITEMS 200000u

static void test_capacity(void)
{
    CHECK(create_queue(0) == NULL);
    CHECK(create_queue(3) == NULL);
    CHECK(create_queue(SIZE_MAX) == NULL);
    CHECK(create_queue((SIZE_MAX >> 1) + 1) == NULL);
    CHECK(create_queue((size_t)1 << 60) == NULL);
    for (size_t capacity = 1; capacity <= 64; capacity *= 2) {
        SPMCQueue *q = create_queue(capacity);
        REQUIRE(q != NULL);
        for (size_t i = 0; i < capacity; i++)
            CHECK(try_push(q, (void *)(uintptr_t)i));
        CHECK(!try_push(q, NULL));
        destroy_queue(q);
    }
}

static void test_order(void)
{
    void *out[8];
    void *one = &out;
    SPMCQueue *q = create_queue(4);
    CHECK(!try_pop(q, &one));
    CHECK(one == &out);
    CHECK_EQ(try_pop_many(q, out, 8), 0);
    for (uintptr_t round = 0; round < 100; round++) {
        for (uintptr_t i = 0; i < 4; i++)
            CHECK(try_push(q, (void *)(4 * round + i)));
        CHECK(try_pop(q, &one));
        CHECK_EQ(one, (void *)(4 * round));
        CHECK_EQ(try_pop_many(q, out, 0), 0);
        CHECK_EQ(try_pop_many(q, out, 2), 2);
        CHECK_EQ(out[1], (void *)(4 * round + 2));
        CHECK_EQ(try_pop_many(q, out, 8), 1);
        CHECK_EQ(out[0], (void *)(4 * round + 3));
    }
    destroy_queue(q);
}

static SPMCQueue *shared;
static uint64_t *values;
static uint8_t taken[ITEMS];
static atomic_bool is_over;

/* What a popped pointer points to was written just before the push. */
static void *consume(void *arg)
{
    uintptr_t *count = arg;
    void *batch[7];
    uint64_t last = 0;
    for (;;) {
        bool over = atomic_load(&is_over);
        size_t n = try_pop_many(shared, batch, 1 + *count % 7);
        if (n == 0 && over)
            return NULL;
        if (n == 0)
            (void)sched_yield();
        for (size_t i = 0; i < n; i++) {
            uint64_t index = (uint64_t)((uint64_t *)batch[i] - values);
            if (*(uint64_t *)batch[i] != index * 3 + 1 || (*count > 0 && index <= last))
                CHECK_EQ(*(uint64_t *)batch[i], index * 3 + 1);
            last = index;
            taken[index]++;
            ++*count;
        }
    }
}

static void test_every_item_is_taken_once(void)
{
    pthread_t threads[CONSUMERS];
    uintptr_t counts[CONSUMERS] = {0};
    values = calloc(ITEMS, sizeof *values);
    shared = create_queue(64);
    for (unsigned i = 0; i < CONSUMERS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, consume, &counts[i]) == 0);
    for (uint64_t i = 0; i < ITEMS; i++) {
        values[i] = i * 3 + 1;
        while (!try_push(shared, &values[i]))
            (void)sched_yield();
    }
    atomic_store(&is_over, true);
    uintptr_t total = 0;
    for (unsigned i = 0; i < CONSUMERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        total += counts[i];
    }
    CHECK_EQ(total, ITEMS);
    for (uint64_t i = 0; i < ITEMS; i++) {
        if (taken[i] != 1) {
            CHECK_EQ(taken[i], 1);
            break;
        }
    }
    destroy_queue(shared);
    free(values);
}

int main(void)
{
    RUN(test_capacity);
    RUN(test_order);
    RUN(test_every_item_is_taken_once);
    return rt_test_result();
}
