/* What each wrapper does to the word, and the three orders the product leans on, as litmus
 * tests. A machine that never reorders proves nothing by passing them; one that does, and a
 * wrapper that is too weak, fail. */
#include "base/rt_atomic.h"
#include "rt_test.h"

#include <pthread.h>
#include <sched.h>

static uint64_t rounds;

static void test_words_are_plain_words(void)
{
    CHECK_EQ(sizeof(rt_a32_t), 4);
    CHECK_EQ(sizeof(rt_a64_t), 8);
    CHECK_EQ(sizeof(rt_ai64_t), 8);
    rt_a32_t a;
    rt_a64_t b;
    CHECK(atomic_is_lock_free(&a));
    CHECK(atomic_is_lock_free(&b));
}

static void test_a_swap_says_what_it_found(void)
{
    rt_a64_t word;
    rt_store_relaxed(&word, 1);
    uint64_t expected = 2;
    CHECK(!rt_cas(&word, &expected, 3));
    CHECK_EQ(expected, 1);
    CHECK_EQ(rt_load_relaxed(&word), 1);
    CHECK(rt_cas(&word, &expected, UINT64_MAX));
    CHECK_EQ(expected, 1);
    CHECK_EQ(rt_load_acquire(&word), UINT64_MAX);
}

static void test_the_others_return_what_was_there(void)
{
    rt_a32_t word;
    rt_store_release(&word, UINT32_MAX);
    CHECK_EQ(rt_exchange(&word, 7), UINT32_MAX);
    CHECK_EQ(rt_fetch_add(&word, UINT32_MAX), 7); /* minus one, as counters go down */
    CHECK_EQ(rt_load_relaxed(&word), 6);
    rt_bump(&word, 4);
    CHECK_EQ(rt_load_relaxed(&word), 10);
    rt_cpu_relax();
}

static void test_racy_copies_copy(void)
{
    uint8_t from[100], to[102];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i + 1);
    for (size_t n = 0; n <= sizeof from; n++) {
        memset(to, 0, sizeof to);
        rt_copy_racy(to + 1, from, n);
        CHECK_EQ(to[0], 0);
        CHECK_MEM_EQ(to + 1, from, n);
        CHECK_EQ(to[n + 1], 0);
    }
}

/* --- two threads, in step with each other ----------------------------------------------------- */

typedef struct pair {
    _Alignas(RT_LINE_BYTES) rt_a64_t x;
    _Alignas(RT_LINE_BYTES) rt_a64_t y;
    _Alignas(RT_LINE_BYTES) rt_a64_t round; /* both: at this round */
    rt_a64_t seen_by_other;
    uint64_t plain;
} pair_t;

static pair_t shared;

/* Waits a moment; now and then lets others run, who may be the one waited for. */
static void wait_a_bit(unsigned *looks)
{
    if (++*looks % 1000 == 0)
        (void)sched_yield();
    rt_cpu_relax();
}

/* Both have to come here before either goes on. */
static void meet(uint64_t n)
{
    unsigned looks = 0;
    rt_fetch_add(&shared.round, 1);
    rt_fence_full();
    while (rt_load_acquire(&shared.round) < 2 * n)
        wait_a_bit(&looks);
}

static void start_over(void *(*other)(void *), pthread_t *thread)
{
    rt_store_relaxed(&shared.x, 0);
    rt_store_relaxed(&shared.y, 0);
    rt_store_relaxed(&shared.round, 0);
    CHECK_EQ(pthread_create(thread, NULL, other, NULL), 0);
}

static void *raise_y(void *arg)
{
    (void)arg;
    for (uint64_t n = 1; n <= rounds; n++) {
        meet(2 * n - 1);
        rt_store_relaxed(&shared.y, n);
        rt_fence_full();
        rt_store_release(&shared.seen_by_other, rt_load_relaxed(&shared.x));
        meet(2 * n);
    }
    return NULL;
}

/* Bell, room and data wishes: each writes its flag and then reads the other's. */
static void test_with_full_fences_one_of_two_sees_the_other(void)
{
    pthread_t thread;
    uint64_t both_missed = 0;
    start_over(raise_y, &thread);
    for (uint64_t n = 1; n <= rounds; n++) {
        meet(2 * n - 1);
        rt_store_relaxed(&shared.x, n);
        rt_fence_full();
        uint64_t seen = rt_load_relaxed(&shared.y);
        meet(2 * n);
        both_missed += seen < n && rt_load_acquire(&shared.seen_by_other) < n;
    }
    pthread_join(thread, NULL);
    CHECK_EQ(both_missed, 0);
}

static void *publish_plain(void *arg)
{
    (void)arg;
    for (uint64_t n = 1; n <= rounds; n++) {
        unsigned looks = 0;
        while (rt_load_acquire(&shared.y) != n - 1)
            wait_a_bit(&looks);
        shared.plain = n; /* a plain store: whole and visible by the release alone */
        rt_store_release(&shared.x, n);
    }
    return NULL;
}

static void test_release_hands_over_what_came_before(void)
{
    pthread_t thread;
    uint64_t stale = 0;
    start_over(publish_plain, &thread);
    for (uint64_t n = 1; n <= rounds; n++) {
        unsigned looks = 0;
        while (rt_load_acquire(&shared.x) != n)
            wait_a_bit(&looks);
        stale += shared.plain != n;
        rt_store_release(&shared.y, n);
    }
    pthread_join(thread, NULL);
    CHECK_EQ(stale, 0);
}

static void *overwrite(void *arg)
{
    (void)arg;
    for (uint64_t n = 1; n <= rounds; n++) {
        rt_store_relaxed(&shared.x, n); /* the floor */
        rt_fence_release();
        rt_store_relaxed(&shared.y, n); /* the new record's bytes */
    }
    return NULL;
}

/* The rx ring's order: whoever saw a byte of the new record sees the floor that went before it. */
static void test_fences_order_floor_and_bytes(void)
{
    pthread_t thread;
    uint64_t torn = 0;
    start_over(overwrite, &thread);
    for (uint64_t bytes = 0; bytes < rounds;) {
        bytes = rt_load_relaxed(&shared.y);
        rt_fence_acquire();
        torn += rt_load_relaxed(&shared.x) < bytes;
    }
    pthread_join(thread, NULL);
    CHECK_EQ(torn, 0);
}

int main(void)
{
    rounds = rt_test_env_u64("RT_TEST_ROUNDS", 5000);
    RUN(test_words_are_plain_words);
    RUN(test_a_swap_says_what_it_found);
    RUN(test_the_others_return_what_was_there);
    RUN(test_racy_copies_copy);
    RUN(test_with_full_fences_one_of_two_sees_the_other);
    RUN(test_release_hands_over_what_came_before);
    RUN(test_fences_order_floor_and_bytes);
    return rt_test_result();
}
