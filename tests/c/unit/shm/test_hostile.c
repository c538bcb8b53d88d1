/* A client that writes whatever it likes into the segment, between and during the calls of the
 * others. It may spoil the channel; it must not make anybody read or write outside of the
 * segment, crash, or loop for ever. The segment lies between two pages that nobody may touch.
 * RT_TEST_SEED repeats one seed. */
#include "shm_test.h"

#include "shm/slot_ring.h"

#include <pthread.h>

enum { MAX_PAYLOAD = 300, REFS = 64, STEPS = 3000, HANG_S = 280 };

static shm_segment_t seg;
static tx_queue_t queue;
static tx_producer_t producer;
static rx_writer_t writer;
static rx_reader_t readers[2];
static slot_writer_t report_writer;
static slot_reader_t report_reader;
static uint64_t refs[REFS];
static bool taken[REFS];
static uint8_t sink[MAX_PAYLOAD];

/* Moves the mapping of *s between two guard pages. */
static void guard(shm_segment_t *s)
{
    uint8_t *room = mmap(NULL, s->bytes + 2 * SHM_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *to = mremap(s->base, s->bytes, s->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, room + SHM_PAGE_BYTES);
    if (to == MAP_FAILED) {
        perror("mremap");
        exit(1);
    }
    ptrdiff_t by = to - s->base;
#define MOVE(part) s->part = (void *)((uint8_t *)s->part + by)
    MOVE(base);
    MOVE(identity);
    MOVE(status);
    MOVE(tx);
    MOVE(rx);
    MOVE(report);
    MOVE(producers);
    MOVE(readers);
    MOVE(stats);
    MOVE(reports);
    MOVE(tx_data);
    MOVE(rx_data);
#undef MOVE
}

static uint64_t random_word(uint64_t *rng)
{
    uint64_t r = rt_test_rand(rng);
    uint32_t seq = shm_cursor_seq(rt_load_relaxed(&seg.tx->tail)) + (uint32_t)(r % 5) - 2;
    switch ((r >> 8) % 8) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return r >> 40; /* small */
    case 3:
    case 4:
        return shm_word(seq, (uint32_t)(r >> 16) % 64, (unsigned)(r >> 24) % 32, (unsigned)(r >> 32) % 9);
    case 5:
        return shm_word(seq, (uint32_t)(r >> 16), (unsigned)(r >> 24), (unsigned)(r >> 32) % 9);
    case 6:
        return shm_cursor(seq, (uint32_t)(r >> 16) % 1200);
    default:
        return rt_test_rand(rng);
    }
}

/* Writes a few words where clients can write: anywhere behind the first page. */
static void scribble(uint64_t *rng, unsigned words)
{
    uint8_t *const parts[] = {(uint8_t *)seg.tx, (uint8_t *)seg.rx, (uint8_t *)seg.producers, seg.tx_data,
                              seg.rx_data, (uint8_t *)seg.reports};
    const size_t sizes[] = {sizeof *seg.tx,
                            sizeof *seg.rx + sizeof *seg.report,
                            (SHM_TEST_PRODUCERS + SHM_TEST_READERS) * sizeof(shm_producer_t),
                            seg.config.tx_bytes,
                            seg.config.rx_bytes,
                            sizeof(shm_report_t)};
    while (words-- > 0) {
        size_t part = rt_test_rand(rng) % (sizeof parts / sizeof parts[0]);
        size_t at = rt_test_rand(rng) % (sizes[part] / 8) * 8;
        rt_store_relaxed((rt_a64_t *)(parts[part] + at), random_word(rng));
    }
}

static void check_item(const tx_item_t *item)
{
    CHECK(item->payload >= seg.tx_data);
    CHECK(item->payload_bytes <= MAX_PAYLOAD);
    CHECK(item->payload + item->payload_bytes <= seg.tx_data + seg.config.tx_bytes);
    memcpy(sink, item->payload, item->payload_bytes);
}

static void work_tx(uint64_t *rng)
{
    tx_item_t item;
    tx_queue_t successor;
    size_t i = rt_test_rand(rng) % REFS;
    unsigned moved, budget = 50;
    switch (rt_test_rand(rng) % 10) {
    case 0:
    case 1:
    case 2:
        if (shm_test_next(&queue, (int64_t)(rt_test_rand(rng) >> 2), &item) == 1) {
            check_item(&item);
            refs[i] = item.ref;
            taken[i] = false;
        }
        break;
    case 3:
    case 4:
        if (!taken[i] && tx_queue_take(&queue, refs[i], &item) == 0) {
            check_item(&item);
            taken[i] = true;
        } else if (taken[i]) {
            tx_queue_finish(&queue, refs[i]);
            taken[i] = false;
        }
        break;
    case 5:
        if (taken[i])
            tx_queue_untake(&queue, refs[i]);
        else if (tx_queue_peek(&queue, refs[i], &item) == 0)
            check_item(&item);
        taken[i] = false;
        break;
    case 6:
        (void)tx_queue_release(&queue, 0, (uint32_t)rt_test_rand(rng), 3, &moved);
        break;
    case 7: {
        uint64_t ref = rt_test_rand(rng) % 2 ? 0 : refs[i];
        int rc;
        while ((rc = tx_queue_waiting_next(&queue, &ref, &budget, &item)) != 0)
            if (rc == 1)
                check_item(&item);
        budget = 50;
        while (tx_queue_reap(&queue, &budget, &item)) {
        }
        break;
    }
    case 8:
        (void)tx_queue_free_producer(&queue, (uint32_t)rt_test_rand(rng) % (SHM_TEST_PRODUCERS + 2));
        tx_queue_arm_bell(&queue);
        (void)tx_queue_pending(&queue);
        tx_queue_disarm_bell(&queue);
        break;
    default:
        if (rt_test_rand(rng) % 16 == 0 && tx_queue_init(&successor, &seg, 1) == 0) {
            queue = successor;
            memset(taken, 0, sizeof taken);
        }
    }
}

static void work_client(uint64_t *rng)
{
    uint64_t sequence;
    switch (rt_test_rand(rng) % 16) {
    case 0:
        (void)tx_ring_waiting(&seg);
        (void)tx_ring_next_sequence(&seg);
        (void)tx_producer_must_ring(&producer);
        (void)tx_producer_wait_room(&producer, 1);
        break;
    case 1:
        /* Naps where a walk is cut short: seldom. */
        if (rt_test_rand(rng) % 512 == 0)
            (void)tx_ring_cancel(&seg, shm_cursor_seq(rt_load_relaxed(&seg.tx->tail)) - 1, NULL);
        break;
    default:
        (void)tx_producer_push(&producer, sink, (uint32_t)rt_test_rand(rng) % (MAX_PAYLOAD + 1), 0, 1, NULL,
                               &sequence);
    }
}

static void work_rx(uint64_t *rng)
{
    rx_reader_t *reader = &readers[rt_test_rand(rng) % 2];
    rx_packet_t packet;
    rx_writer_t successor;
    uint64_t lost;
    rx_item_t item = {.payload = sink,
                      .payload_bytes = (uint32_t)rt_test_rand(rng) % (MAX_PAYLOAD + 1),
                      .source = {.family = rt_test_rand(rng) % 2 ? 4 : 6}};
    switch (rt_test_rand(rng) % 10) {
    case 0:
    case 1:
    case 2:
        (void)rx_writer_put(&writer, &item);
        break;
    case 3:
        (void)rx_writer_publish(&writer);
        (void)rx_writer_lost(&writer);
        (void)rx_writer_room(&writer, 1, MAX_PAYLOAD);
        break;
    case 4:
        if (rt_test_rand(rng) % 8 == 0)
            rx_writer_purge(&writer);
        else if (rt_test_rand(rng) % 8 == 0 && rx_writer_init(&successor, &seg) == 0)
            writer = successor;
        break;
    case 5:
        (void)rx_reader_waiting(reader);
        (void)rx_reader_wait(reader, 0, 1);
        break;
    case 6:
        (void)rx_reader_init(reader, &seg, reader == readers ? 0 : CTL_NO_SLOT,
                             reader == readers ? SHM_READ_EACH : SHM_READ_SHARED, 1);
        break;
    default:
        if (rx_reader_next(reader, sink, sizeof sink, &packet, &lost) == 1)
            CHECK(packet.payload_bytes <= UINT16_MAX);
    }
}

static void work_reports(uint64_t *rng)
{
    shm_report_t reports[4] = {0};
    (void)slot_writer_put(&report_writer, reports);
    (void)slot_reader_next(&report_reader, reports, (unsigned)rt_test_rand(rng) % 5);
    if (rt_test_rand(rng) % 64 == 0) {
        slot_writer_init(&report_writer, seg.report, seg.reports, seg.config.report_slots,
                         (uint32_t)sizeof(shm_report_t));
        slot_reader_init(&report_reader, seg.report, seg.reports, seg.config.report_slots,
                         (uint32_t)sizeof(shm_report_t));
    }
}

static int open_all(uint64_t *rng)
{
    shm_config_t c = shm_test_config(rt_test_rand(rng) % 2 ? 4096 : 8192, MAX_PAYLOAD);
    c.overflow = rt_test_rand(rng) % 2 ? SHM_OVERFLOW_OLDEST : SHM_OVERFLOW_WAIT;
    c.read_mode = rt_test_rand(rng) % 2 ? SHM_READ_EACH : SHM_READ_SHARED;
    c.tx_capacity = c.rx_capacity = rt_test_rand(rng) % 2 ? 0 : 7;
    int fd = shm_test_open(&seg, &c);
    guard(&seg);
    CHECK_EQ(tx_queue_init(&queue, &seg, 0), 0);
    CHECK_EQ(tx_producer_init(&producer, &seg, 1), 0);
    CHECK_EQ(rx_writer_init(&writer, &seg), 0);
    CHECK_EQ(rx_reader_init(&readers[0], &seg, 0, SHM_READ_EACH, 0), 0);
    CHECK_EQ(rx_reader_init(&readers[1], &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    slot_writer_init(&report_writer, seg.report, seg.reports, seg.config.report_slots,
                     (uint32_t)sizeof(shm_report_t));
    slot_reader_init(&report_reader, seg.report, seg.reports, seg.config.report_slots,
                     (uint32_t)sizeof(shm_report_t));
    memset(refs, 0, sizeof refs);
    memset(taken, 0, sizeof taken);
    return fd;
}

static void close_all(int fd)
{
    munmap(seg.base - SHM_PAGE_BYTES, SHM_PAGE_BYTES);
    munmap(seg.base + seg.bytes, SHM_PAGE_BYTES);
    shm_test_close(&seg, fd);
}

static void work(uint64_t *rng)
{
    work_tx(rng);
    work_client(rng);
    work_rx(rng);
    work_reports(rng);
}

static uint64_t first_seed, rounds;

static void test_scribbling_between_the_calls(void)
{
    for (uint64_t seed = first_seed; seed < first_seed + rounds; seed++) {
        uint64_t rng = seed;
        int fd = open_all(&rng);
        unsigned every = 1 + (unsigned)(rt_test_rand(&rng) % 200);
        for (int step = 0; step < STEPS; step++) {
            if (rt_test_rand(&rng) % every == 0)
                scribble(&rng, 1 + (unsigned)(rt_test_rand(&rng) % 4));
            work(&rng);
        }
        close_all(fd);
    }
}

#ifndef RT_TSAN /* the races are the point */
static atomic_bool stop;

static void *scribble_thread(void *arg)
{
    uint64_t rng = *(uint64_t *)arg;
    while (!atomic_load(&stop)) {
        scribble(&rng, 1);
        for (uint64_t n = rt_test_rand(&rng) % 300; n > 0; n--)
            rt_cpu_relax();
    }
    return NULL;
}

static void test_scribbling_during_the_calls(void)
{
    for (uint64_t seed = first_seed; seed < first_seed + rounds; seed++) {
        uint64_t rng = seed, other = ~seed;
        int fd = open_all(&rng);
        pthread_t thread;
        atomic_store(&stop, false);
        REQUIRE(pthread_create(&thread, NULL, scribble_thread, &other) == 0);
        for (int step = 0; step < STEPS; step++)
            work(&rng);
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
        close_all(fd);
    }
}
#endif

int main(void)
{
    first_seed = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    rounds = rt_test_env_u64("RT_TEST_ROUNDS", 100);
    (void)printf("seeds %" PRIu64 " .. %" PRIu64 "\n", first_seed, first_seed + rounds - 1);
    (void)fflush(stdout);
    (void)alarm(HANG_S);
    RUN(test_scribbling_between_the_calls);
#ifndef RT_TSAN
    RUN(test_scribbling_during_the_calls);
#endif
    return rt_test_result();
}
