/* One writer that overwrites as fast as it can and readers beside it, as threads under
 * ThreadSanitizer. No torn record may be accepted, and what a reader took and what it was told it
 * lost must add up to what was written. */
#include "unit/shm/shm_test.h"

#include "shm/tap_ring.h"

#include <pthread.h>

enum { READERS = 3, MAX_PAYLOAD = 900, ROOM = 2 * TAP_RECORD_MOST };

static _Alignas(4096) uint8_t memory[TAP_LEAST_BYTES];
static uint32_t datagrams;
static uint64_t seed;
static atomic_bool done;

static void *write_all(void *arg)
{
    tap_writer_t *w = arg;
    uint64_t rng = seed;
    for (uint32_t n = 0; n < datagrams; n++) {
        uint8_t payload[MAX_PAYLOAD];
        uint32_t bytes = shm_test_length(1, n, MAX_PAYLOAD);
        shm_test_fill(payload, bytes, 1, n);
        tap_record_t record = {.kind = TAP_SENT,
                               .number = n,
                               .payload_bytes = bytes,
                               .captured_bytes = bytes,
                               .report = {.sequence = n}};
        tap_writer_put(w, &record, payload, bytes / 2, payload + bytes / 2);
        if (rt_test_rand(&rng) % 64 == 0) {
            tap_record_t stamp = {.kind = TAP_STAMPED, .number = n};
            tap_writer_put(w, &stamp, NULL, 0, NULL);
        }
        if (rt_test_rand(&rng) % 500 == 0)
            usleep(100);
    }
    atomic_store(&done, true);
    return NULL;
}

static uint64_t check_records(const uint8_t *buffer, const tap_batch_t *b, uint64_t next)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < b->records; i++) {
        tap_record_t record;
        uint32_t sender = 0, n = 0;
        memcpy(&record, buffer + at, sizeof record);
        at += record.bytes;
        if (record.kind == TAP_STAMPED)
            continue;
        CHECK_EQ(record.kind, TAP_SENT);
        CHECK_EQ(record.number, next);
        CHECK(shm_test_check(buffer + at - record.bytes + sizeof record, record.captured_bytes,
                             MAX_PAYLOAD, &sender, &n));
        CHECK_EQ(n, record.number);
        next++;
    }
    CHECK_EQ(at, b->bytes);
    return next;
}

static void *read_all(void *arg)
{
    uintptr_t which = (uintptr_t)arg;
    uint64_t taken = 0, lost = 0, next = 0;
    uint8_t *buffer = malloc(ROOM);
    tap_reader_t r;
    if (!CHECK(buffer != NULL && tap_reader_init(&r, memory, sizeof memory) == 0))
        return NULL;
    for (;;) {
        bool last = atomic_load(&done);
        tap_batch_t b;
        while (tap_reader_take(&r, buffer, ROOM, &b) > 0) {
            next = check_records(buffer, &b, next + b.lost_before);
            taken += b.datagrams;
            lost += b.lost_before;
        }
        if (last)
            break;
        usleep((unsigned)which * 2000);
    }
    /* What was overwritten behind the last record read has no record to tell it. */
    CHECK_EQ(lost, r.lost);
    lost += rt_load_relaxed(&r.head->datagrams) - r.next_index;
    CHECK_EQ(taken + lost, datagrams);
    (void)printf("reader %u: took %" PRIu64 ", lost %" PRIu64 "\n", (unsigned)which, taken, lost);
    free(buffer);
    return NULL;
}

static void test_nothing_torn_nothing_uncounted(void)
{
    tap_writer_t w;
    pthread_t threads[1 + READERS];
    tap_writer_init(&w, memory, sizeof memory, 1, 0);
    for (uintptr_t i = 0; i < READERS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, read_all, (void *)i) == 0);
    REQUIRE(pthread_create(&threads[READERS], NULL, write_all, &w) == 0);
    for (int i = 0; i <= READERS; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    datagrams = (uint32_t)rt_test_env_u64("RT_TEST_ROUNDS", 200000);
    (void)printf("seed %" PRIu64 "\n", seed);
    (void)fflush(stdout);
    RUN(test_nothing_torn_nothing_uncounted);
    return rt_test_result();
}
