/* Messages between two cores. "ipc" is the minimum: slots of one cache line, one producer, one
 * consumer. A slot's own sequence shows that it is full, and the consumer publishes its position
 * every 64 messages. "ring" is the product's tx ring with its claims, records of any length, commit
 * words and zeroing. */
#include "bench/bench.h"

#include "base/rt_atomic.h"
#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "shm/tx_queue.h"
#include "shm/tx_ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 4096u
#define SLOT_BYTES 56u
#define HEAD_EVERY 64u
#define RING_BYTES (1u << 20)

typedef struct plain_slot {
    rt_a64_t full; /* index of the message in it, plus 1 */
    uint8_t message[SLOT_BYTES];
} plain_slot_t;

typedef struct plain_ring {
    _Alignas(RT_LINE_BYTES) rt_a64_t head;
    _Alignas(RT_LINE_BYTES) plain_slot_t slots[SLOTS];
} plain_ring_t;

typedef struct job {
    uint64_t count;
    uint32_t bytes;
    plain_ring_t *plain;
    shm_segment_t *segment;
} job_t;

static void *plain_produce(void *arg)
{
    job_t *j = arg;
    uint8_t message[SLOT_BYTES] = {0};
    uint64_t head = 0;
    bench_pin(0);
    for (uint64_t i = 0; i < j->count; i++) {
        plain_slot_t *slot = &j->plain->slots[i % SLOTS];
        while (i - head >= SLOTS)
            head = rt_load_acquire(&j->plain->head); /* pairs with H */
        memcpy(message, &i, sizeof i);
        memcpy(slot->message, message, j->bytes);
        rt_store_release(&slot->full, i + 1); /* F */
    }
    return NULL;
}

static uint64_t plain_consume(job_t *j)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < j->count; i++) {
        const plain_slot_t *slot = &j->plain->slots[i % SLOTS];
        uint64_t value;
        while (rt_load_acquire(&slot->full) != i + 1) /* pairs with F */
            rt_cpu_relax();
        memcpy(&value, slot->message, sizeof value);
        sum += value;
        if (i % HEAD_EVERY == HEAD_EVERY - 1)
            rt_store_release(&j->plain->head, i + 1); /* H */
    }
    return sum;
}

static void *ring_produce(void *arg)
{
    job_t *j = arg;
    uint8_t message[SLOT_BYTES] = {0};
    tx_producer_t p;
    bench_pin(0);
    if (tx_producer_init(&p, j->segment, 1) < 0)
        bench_fail(rt_err_text());
    for (uint64_t i = 0; i < j->count; i++) {
        uint64_t sequence;
        memcpy(message, &i, sizeof i);
        while (tx_producer_push(&p, message, j->bytes, 0, 0, NULL, &sequence) < 0)
            rt_cpu_relax();
    }
    return NULL;
}

static uint64_t ring_consume(job_t *j)
{
    tx_queue_t q;
    if (tx_queue_init(&q, j->segment, 0) < 0)
        bench_fail(rt_err_text());
    uint64_t sum = 0;
    for (uint64_t i = 0; i < j->count;) {
        tx_item_t item;
        unsigned moved;
        unsigned budget = 256;
        int got = 0;
        while (tx_queue_next(&q, 0, &budget, &item) == 1) {
            uint64_t value;
            memcpy(&value, item.payload, sizeof value);
            sum += value;
            tx_queue_finish(&q, item.ref);
            got++;
        }
        i += (uint64_t)got;
        if (got)
            tx_queue_release(&q, 0, RING_BYTES, 0, &moved);
    }
    return sum;
}

static int run(const char *name, job_t *j, void *(*produce)(void *), uint64_t (*consume)(job_t *))
{
    if (j->bytes < sizeof(uint64_t) || j->bytes > SLOT_BYTES) {
        errno = EINVAL;
        bench_fail("--bytes must be 8 to 56");
    }
    pthread_t producer;
    bench_pin(1);
    int64_t start = rt_mono_ns();
    if (pthread_create(&producer, NULL, produce, j) != 0)
        bench_fail("pthread_create");
    uint64_t sum = consume(j);
    int64_t elapsed_ns = rt_mono_ns() - start;
    pthread_join(producer, NULL);
    if (sum != j->count * (j->count - 1) / 2) {
        fprintf(stderr, "shmring-floor: messages were lost or changed\n");
        return 1;
    }
    bench_print_value(name, "rate", (double)j->count * 1e9 / (double)elapsed_ns, "pps");
    return 0;
}

int bench_ipc(int argc, char **argv)
{
    job_t j = {.count = (uint64_t)bench_option(argc, argv, "--count", 10000000),
               .bytes = (uint32_t)bench_option(argc, argv, "--bytes", 32)};
    j.plain = aligned_alloc(RT_LINE_BYTES, sizeof *j.plain);
    if (j.plain == NULL)
        bench_fail("memory");
    memset(j.plain, 0, sizeof *j.plain);
    int rc = run("ipc", &j, plain_produce, plain_consume);
    free(j.plain);
    return rc;
}

static void make_segment(shm_segment_t *s)
{
    shm_config_t c;
    shm_config_init(&c);
    strcpy(c.name, "ipc");
    strcpy(c.name_space, "bench");
    strcpy(c.pool, "bench");
    c.tx_bytes = RING_BYTES;
    c.max_payload_bytes = 1500;
    int fd = memfd_create("shmring-bench", MFD_CLOEXEC);
    if (fd < 0)
        bench_fail("memfd_create");
    if (shm_segment_format(s, fd, &c, 1) < 0) {
        fprintf(stderr, "shmring-floor: %s\n", rt_err_text());
        exit(1);
    }
    close(fd);
}

int bench_ring(int argc, char **argv)
{
    shm_segment_t segment;
    make_segment(&segment);
    job_t j = {.count = (uint64_t)bench_option(argc, argv, "--count", 10000000),
               .bytes = (uint32_t)bench_option(argc, argv, "--bytes", 32),
               .segment = &segment};
    int rc = run("ring", &j, ring_produce, ring_consume);
    shm_segment_unmap(&segment);
    return rc;
}
