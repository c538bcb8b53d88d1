/* One writer that overwrites as fast as it can, readers of every kind beside it, as threads under
 * ThreadSanitizer. No torn packet may be accepted, no shared packet may go to two readers, and what
 * a reader took and what it was told it lost must add up to what was written. */
#include "unit/shm/shm_test.h"

#include <pthread.h>

enum {
    RING_BYTES = 8192,
    MAX_PAYLOAD = 300,
    BROADCAST = 2,
    SHARED = 2,
    ASLEEP_MS = 50,
    WRITER = 7
};

static shm_segment_t seg;
static int seg_fd;
static uint32_t packets;
static uint8_t *taken_by; /* shared readers: how many took each packet */
static uint64_t seed;
static atomic_llong last_published_mono_ns = INT64_MAX;

static void *write_all(void *arg)
{
    (void)arg;
    rx_writer_t w;
    uint64_t rng = seed;
    CHECK_EQ(rx_writer_init(&w, &seg), 0);
    for (uint32_t n = 0; n < packets; n++) {
        uint8_t payload[MAX_PAYLOAD];
        uint32_t bytes = shm_test_length(WRITER, n, MAX_PAYLOAD);
        shm_test_fill(payload, bytes, WRITER, n);
        rx_item_t item = {.payload = payload,
                          .payload_bytes = bytes,
                          .source = {.family = n % 2 ? 4 : 6, .port = (uint16_t)n},
                          .time_ns = n};
        CHECK_EQ(rx_writer_put(&w, &item), 0);
        if (rt_test_rand(&rng) % 4 == 0)
            (void)rx_writer_publish(&w);
        if (rt_test_rand(&rng) % 2000 == 0) { /* let everybody catch up and fall asleep */
            (void)rx_writer_publish(&w);
            usleep(1000);
        }
    }
    (void)rx_writer_publish(&w);
    atomic_store(&last_published_mono_ns, rt_mono_ns());
    return NULL;
}

static bool check_packet(const uint8_t *payload, const rx_packet_t *packet)
{
    uint32_t sender, n;
    return CHECK(shm_test_check(payload, packet->payload_bytes, MAX_PAYLOAD, &sender, &n)) &&
           CHECK_EQ(n, packet->sequence) && CHECK_EQ(packet->time_ns, n) &&
           CHECK_EQ(packet->source.port, (uint16_t)n) &&
           CHECK_EQ(packet->source.family, n % 2 ? 4 : 6);
}

static bool all_written(void)
{
    return shm_cursor_seq(rt_load_acquire(&seg.rx->tail)) == packets;
}

/* A sleep that ends by its limit is a lost wake-up if packets that were published before still
 * wait. If another reader of the group took them, nothing waits. */
static bool wait_for_more(rx_reader_t *r, uint64_t *rng)
{
    if (all_written())
        return rx_reader_waiting(r) > 0;
    int64_t spin_ns = rt_test_rand(rng) % 2 ? 10 * RT_NS_PER_US : 0;
    int64_t until_mono_ns = rt_mono_ns() + ASLEEP_MS * RT_NS_PER_MS;
    int rc = rx_reader_wait(r, spin_ns, until_mono_ns);
    return CHECK(rc == 0 || rx_reader_waiting(r) == 0 ||
                 atomic_load(&last_published_mono_ns) >= until_mono_ns);
}

static void *read_each(void *arg)
{
    bool tap = arg != NULL;
    shm_segment_t map;
    rx_reader_t r;
    uint8_t payload[MAX_PAYLOAD];
    uint64_t rng = seed ^ (uintptr_t)&r, taken = 0, told = 0, next = 0;
    if (!CHECK_EQ(shm_segment_map(&map, seg_fd, !tap), 0))
        return NULL;
    CHECK_EQ(rx_reader_init(&r, &map, tap ? CTL_NO_SLOT : 0, SHM_READ_EACH, 1), 0);
    next = r.sequence;
    uint64_t first = next;
    do {
        rx_packet_t packet;
        uint64_t lost;
        while (rx_reader_next(&r, payload, sizeof payload, &packet, &lost) == 1) {
            if (!check_packet(payload, &packet))
                return NULL;
            CHECK_EQ(packet.sequence, next + lost);
            next = packet.sequence + 1;
            told += lost;
            taken++;
        }
    } while (wait_for_more(&r, &rng));
    CHECK_EQ(first + taken + told, packets);
    CHECK_EQ(r.lost, told);
    (void)printf("%s: took %" PRIu64 ", lost %" PRIu64 "\n", tap ? "tap" : "each", taken,
                 told);
    shm_segment_unmap(&map);
    return NULL;
}

static atomic_ullong shared_taken;

static void *read_shared(void *arg)
{
    rx_reader_t r;
    uint8_t payload[MAX_PAYLOAD];
    uint64_t rng = seed ^ (uintptr_t)&r;
    CHECK_EQ(rx_reader_init(&r, &seg, 1 + (uint32_t)(uintptr_t)arg, SHM_READ_SHARED, 0), 0);
    do {
        rx_packet_t packet;
        while (rx_reader_next(&r, payload, sizeof payload, &packet, NULL) == 1) {
            if (!check_packet(payload, &packet))
                return NULL;
            CHECK_EQ(__atomic_fetch_add(&taken_by[packet.sequence], 1, __ATOMIC_RELAXED), 0);
            atomic_fetch_add(&shared_taken, 1);
        }
    } while (wait_for_more(&r, &rng));
    return NULL;
}

static void test_nothing_torn_nothing_twice_nothing_uncounted(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    seg_fd = shm_test_open(&seg, &c);
    taken_by = calloc(packets, 1);
    pthread_t threads[1 + BROADCAST + SHARED];
    int n = 0;
    for (uintptr_t i = 0; i < SHARED; i++)
        REQUIRE(pthread_create(&threads[n++], NULL, read_shared, (void *)i) == 0);
    for (uintptr_t i = 0; i < BROADCAST; i++)
        REQUIRE(pthread_create(&threads[n++], NULL, read_each, (void *)i) == 0);
    REQUIRE(pthread_create(&threads[n++], NULL, write_all, NULL) == 0);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    uint64_t taken = atomic_load(&shared_taken), lost = rt_load_relaxed(&seg.rx->shared_lost);
    CHECK_EQ(taken + lost, packets);
    (void)printf("shared: took %" PRIu64 ", lost %" PRIu64 "\n", taken, lost);
    free(taken_by);
    shm_test_close(&seg, seg_fd);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    packets = (uint32_t)rt_test_env_u64("RT_TEST_ROUNDS", 200000);
    (void)printf("seed %" PRIu64 "\n", seed);
    (void)fflush(stdout);
    RUN(test_nothing_torn_nothing_twice_nothing_uncounted);
    return rt_test_result();
}
