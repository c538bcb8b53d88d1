/* Writers of an out box, its worker, and readers of the in box, as threads, so that ThreadSanitizer
 * can watch. Nothing torn is ever read; tickets and publications never go back; each writer's
 * values come in order; and when all is quiet, the last ticket is what lies there. */
#include "unit/shm/shm_test.h"

#include "netflux_put.h"

#include <pthread.h>

enum { WRITERS = 3, READERS = 2, SIZE = 200 };

static _Alignas(4096) uint8_t engine[1 << 17];
static uint64_t rounds;
static atomic_uint writers_left;
static atomic_bool worker_done;
static uint64_t last_ticket[WRITERS + 1];

static bool whole(const uint8_t *values, uint32_t *sender, uint32_t *n)
{
    uint8_t expected[SIZE];
    memcpy(sender, values, 4);
    memcpy(n, values + 4, 4);
    shm_test_fill(expected, SIZE, *sender, *n);
    return memcmp(values, expected, SIZE) == 0;
}

static void *write_values(void *arg)
{
    uint32_t slot = (uint32_t)(uintptr_t)arg;
    uint8_t values[SIZE];
    uint64_t ticket = 0;
    for (uint32_t n = 1; n <= rounds; n++) {
        shm_test_fill(values, SIZE, slot, n);
        uint64_t drawn = netflux_put(engine, slot, values, SIZE, n);
        CHECK(drawn > ticket);
        ticket = drawn;
    }
    last_ticket[slot] = ticket;
    atomic_fetch_sub(&writers_left, 1);
    return NULL;
}

static void *read_in_box(void *arg)
{
    uint64_t last = 0, found = 0;
    (void)arg;
    while (!atomic_load(&worker_done) || found == 0) {
        uint8_t values[SIZE];
        shm_netflux_rx_t head;
        uint32_t stamp, sender, n;
        if (shm_netflux_snapshot(engine, &head, &stamp, values, SIZE) != 1)
            continue;
        CHECK(head.published >= last);
        last = head.published;
        CHECK(whole(values, &sender, &n));
        CHECK_EQ(n, (uint32_t)head.published);
        CHECK_EQ(stamp, (uint32_t)head.published);
        found++;
    }
    return NULL;
}

/* What the worker does, at once and without end: peeks, and publishes. */
static void serve(void)
{
    uint64_t last = 0, peeked = 0, passed = 0;
    uint32_t last_n[WRITERS + 1] = {0}, published = 0;
    while (atomic_load(&writers_left) > 0 || peeked == 0) {
        uint8_t values[SIZE];
        int64_t at;
        uint64_t ticket;
        uint32_t slot, sender, n;
        int rc = shm_netflux_peek(engine, WRITERS + 1, values, SIZE, &at, &ticket, &slot);
        CHECK(rc == 1 || rc == 0 || rc == -EAGAIN);
        passed += rc == -EAGAIN;
        if (rc == 1 && CHECK(whole(values, &sender, &n))) {
            peeked++;
            CHECK_EQ(sender, slot);
            CHECK_EQ(at, n);
            CHECK(ticket >= last);
            CHECK(n >= last_n[sender]);
            last = ticket;
            last_n[sender] = n;
        }
        shm_netflux_rx_t head = {.kind = SHM_NETFLUX_VALUES};
        shm_test_fill(values, SIZE, 9, ++published);
        shm_netflux_publish(engine, &head, published, values, SIZE);
        CHECK_EQ(head.published, published);
    }
    (void)printf("peeked %" PRIu64 ", passed by %" PRIu64 ", published %u\n", peeked, passed,
                 published);
}

static void test_nothing_is_torn_and_the_last_ticket_wins(void)
{
    pthread_t writers[WRITERS], readers[READERS];
    rounds = rt_test_env_u64("RT_TEST_ROUNDS", 100000);
    atomic_store(&writers_left, WRITERS);
    for (uintptr_t i = 0; i < READERS; i++)
        REQUIRE(pthread_create(&readers[i], NULL, read_in_box, NULL) == 0);
    for (uintptr_t i = 0; i < WRITERS; i++)
        REQUIRE(pthread_create(&writers[i], NULL, write_values, (void *)(i + 1)) == 0);
    serve();
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);

    uint64_t best = 0;
    for (int i = 1; i <= WRITERS; i++)
        best = last_ticket[i] > best ? last_ticket[i] : best;
    CHECK_EQ(best, WRITERS * rounds);
    uint8_t values[SIZE];
    int64_t at;
    uint64_t ticket;
    uint32_t slot, sender, n;
    CHECK_EQ(shm_netflux_peek(engine, WRITERS + 1, values, SIZE, &at, &ticket, &slot), 1);
    CHECK_EQ(ticket, best);
    CHECK(whole(values, &sender, &n));
    CHECK_EQ(n, (uint32_t)rounds);

    atomic_store(&worker_done, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
}

int main(void)
{
    RUN(test_nothing_is_torn_and_the_last_ticket_wins);
    return rt_test_result();
}
