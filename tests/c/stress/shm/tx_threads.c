/* Several producers, a canceller and the worker's side of one tx ring, as threads, so that
 * ThreadSanitizer can watch. Packets leave in random order; a few stay long enough to be moved.
 * Every packet must be sent whole and once or be cancelled, each producer's in order of taking in,
 * and nobody may sleep for ever. */
#include "unit/shm/shm_test.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

enum { PRODUCERS = 4, RING_BYTES = 16384, MAX_PAYLOAD = 400, WINDOW = 24, ASLEEP_MS = 20000 };

static shm_segment_t seg;
static int bell;
static uint32_t per_producer;
static atomic_bool all_pushed;
static atomic_ullong cancelled;
static uint64_t seed;

static void *produce(void *arg)
{
    uint32_t slot = (uint32_t)(uintptr_t)arg;
    tx_producer_t p;
    uint8_t payload[MAX_PAYLOAD];
    CHECK_EQ(tx_producer_init(&p, &seg, slot), 0);
    for (uint32_t n = 0; n < per_producer; n++) {
        uint32_t bytes = shm_test_length(slot, n, MAX_PAYLOAD);
        uint64_t sequence;
        int rc;
        shm_test_fill(payload, bytes, slot, n);
        while ((rc = tx_producer_push(&p, payload, bytes, n % 7, 1, NULL, &sequence)) == -ENOBUFS)
            if (!CHECK_EQ(tx_producer_wait_room(&p, rt_mono_ns() + ASLEEP_MS * RT_NS_PER_MS), 0))
                return NULL;
        CHECK_EQ(rc, 0);
        if (tx_producer_must_ring(&p)) {
            CHECK_EQ(eventfd_write(bell, 1), 0);
            tx_producer_rang(&p);
        }
    }
    return NULL;
}

static void *cancel_some(void *arg)
{
    (void)arg;
    uint64_t rng = seed ^ 99;
    while (!atomic_load(&all_pushed)) {
        uint64_t next = tx_ring_next_sequence(&seg);
        uint64_t back = 1 + rt_test_rand(&rng) % 60;
        if (next > back && tx_ring_cancel(&seg, next - back, NULL) == 1)
            atomic_fetch_add(&cancelled, 1);
        usleep(50);
    }
    return NULL;
}

typedef struct worker {
    tx_queue_t queue;
    uint64_t scheduled[WINDOW];
    unsigned waiting;
    uint32_t next_n[PRODUCERS + 1];
    uint64_t sent, ended_cancelled, moved;
} worker_t;

/* The window's i-th packet goes out; a packet that was moved comes in again. */
static void send_one(worker_t *w, unsigned i)
{
    tx_item_t item;
    uint64_t ref = w->scheduled[i];
    w->scheduled[i] = w->scheduled[--w->waiting];
    int rc = tx_queue_take(&w->queue, ref, &item);
    if (rc == -ECANCELED)
        w->ended_cancelled++;
    if (rc < 0)
        return;
    uint32_t slot, n;
    if (CHECK(shm_test_check(item.payload, item.payload_bytes, MAX_PAYLOAD, &slot, &n)))
        CHECK_EQ(item.due_ns, n % 7);
    tx_queue_finish(&w->queue, ref);
    w->sent++;
}

static bool take_in(worker_t *w)
{
    tx_item_t item;
    int rc = shm_test_next(&w->queue, rt_mono_ns(), &item);
    if (rc == 0)
        return false;
    CHECK(rc == 1 || rc == -ECANCELED);
    if (rc == -ECANCELED)
        w->ended_cancelled++;
    uint32_t slot, n;
    if (CHECK(shm_test_check(item.payload, item.payload_bytes, MAX_PAYLOAD, &slot, &n)) &&
        !(item.flags & SHM_TX_RELOCATED))
        CHECK_EQ(n, w->next_n[slot]++);
    if (rc == 1)
        w->scheduled[w->waiting++] = item.ref;
    return true;
}

static void sleep_on_bell(worker_t *w)
{
    struct pollfd p = {.fd = bell, .events = POLLIN};
    eventfd_t rings;
    tx_queue_arm_bell(&w->queue);
    if (!tx_queue_pending(&w->queue)) {
        CHECK_EQ(poll(&p, 1, ASLEEP_MS), 1);
        (void)eventfd_read(bell, &rings);
    }
    tx_queue_disarm_bell(&w->queue);
}

static void serve(worker_t *w, uint64_t total)
{
    uint64_t rng = seed;
    tx_item_t item;
    while (w->sent + w->ended_cancelled < total) {
        bool came = w->waiting < WINDOW && take_in(w);
        /* The first of the window is due last: it is there to be moved. */
        if (w->waiting == WINDOW || (!came && w->waiting > 0))
            send_one(w, w->waiting > 1 && rt_test_rand(&rng) % 200 ? w->waiting - 1 : 0);
        unsigned budget = 32, moved;
        while (tx_queue_reap(&w->queue, &budget, &item))
            w->ended_cancelled++;
        (void)tx_queue_release(&w->queue, -RT_NS_PER_S, 4096, 2, &moved);
        w->moved += moved;
        if (!came && w->waiting == 0 && w->sent + w->ended_cancelled < total)
            sleep_on_bell(w);
    }
}

static void test_every_packet_leaves_once(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    int fd = shm_test_open(&seg, &c);
    bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    static worker_t w;
    CHECK_EQ(tx_queue_init(&w.queue, &seg, 0), 0);

    pthread_t producers[PRODUCERS], canceller;
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        REQUIRE(pthread_create(&producers[i], NULL, produce, (void *)(i + 1)) == 0);
    REQUIRE(pthread_create(&canceller, NULL, cancel_some, NULL) == 0);
    serve(&w, (uint64_t)PRODUCERS * per_producer);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i], NULL);
    atomic_store(&all_pushed, true);
    pthread_join(canceller, NULL);

    for (int i = 1; i <= PRODUCERS; i++)
        CHECK_EQ(w.next_n[i], per_producer);
    CHECK_EQ(w.ended_cancelled, atomic_load(&cancelled));
    CHECK_EQ(tx_ring_waiting(&seg), 0);
    CHECK_EQ(rt_load_relaxed(&seg.stats->counters[SHM_COUNT_tx_corrupt]), 0);
    CHECK(w.moved > 0);
    (void)printf("sent %" PRIu64 ", cancelled %" PRIu64 ", moved %" PRIu64 "\n", w.sent, w.ended_cancelled,
                 w.moved);
    close(bell);
    shm_test_close(&seg, fd);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    per_producer = (uint32_t)rt_test_env_u64("RT_TEST_ROUNDS", 20000);
    (void)printf("seed %" PRIu64 "\n", seed);
    (void)fflush(stdout);
    RUN(test_every_packet_leaves_once);
    return rt_test_result();
}
