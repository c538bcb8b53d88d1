/* shm_test.h: a channel segment of this process's own, without a file system name, and packets
 * whose contents tell who sent them. For the tests of csrc/shm. */
#ifndef SHM_TEST_H
#define SHM_TEST_H

#include "rt_test.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "shm/ctl_msg.h"
#include "shm/rx_ring.h"
#include "shm/shm_segment.h"
#include "shm/tx_queue.h"
#include "shm/tx_record.h"
#include "shm/tx_ring.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SHM_TEST_PRODUCERS = 8, SHM_TEST_READERS = 8 };

/* Whether the process named in a producer's slot lives. One that nobody has waited for yet does. */
static inline bool shm_test_alive(void *of, uint32_t slot)
{
    const shm_segment_t *s = of;
    uint32_t pid = rt_load_relaxed(&s->producers[slot].owner);
    return pid != 0 && pid <= INT_MAX && kill((pid_t)pid, 0) == 0;
}

/* A queue that knows of deaths, as a worker's. */
static inline int shm_test_queue_init(tx_queue_t *q, shm_segment_t *s, int takeover)
{
    int rc = tx_queue_init(q, s, takeover);
    tx_queue_ask_slots(q, shm_test_alive, s);
    return rc;
}

/* As tx_queue_next, whatever it takes. */
static inline int shm_test_next(tx_queue_t *q, int64_t now_mono_ns, tx_item_t *item)
{
    unsigned budget = UINT_MAX;
    return tx_queue_next(q, now_mono_ns, &budget, item);
}

/* What observers see after the worker has counted what it finished. */
static inline uint64_t shm_test_waiting(tx_queue_t *q)
{
    tx_queue_show_finished(q);
    return tx_ring_waiting(q->segment);
}

static inline shm_config_t shm_test_config(uint64_t ring_bytes, uint32_t max_payload_bytes)
{
    shm_config_t c;
    shm_config_init(&c);
    strcpy(c.name, "test");
    strcpy(c.name_space, "test");
    strcpy(c.pool, "test");
    c.tx_bytes = c.rx_bytes = ring_bytes;
    c.max_payload_bytes = max_payload_bytes;
    c.producers = SHM_TEST_PRODUCERS;
    c.readers = SHM_TEST_READERS;
    c.report_slots = 8;
    return c;
}

/* Makes and maps a segment; every producer slot belongs to this process. Ends the program when that
 * fails: nothing else can be tested then. */
static inline int shm_test_open(shm_segment_t *s, const shm_config_t *c)
{
    int fd = memfd_create("shm_test", MFD_CLOEXEC);
    if (fd < 0 || shm_segment_format(s, fd, c, 42) < 0) {
        (void)fprintf(stderr, "no segment: %s\n", rt_err_text());
        exit(1);
    }
    for (uint32_t i = 1; i < c->producers; i++)
        rt_store_relaxed(&s->producers[i].owner, (uint32_t)getpid());
    return fd;
}

static inline void shm_test_close(shm_segment_t *s, int fd)
{
    shm_segment_unmap(s);
    close(fd);
}

/* Length and bytes of packet number n of a sender: anything torn, mixed or lost shows. */
static inline uint32_t shm_test_length(uint32_t sender, uint32_t n, uint32_t max)
{
    uint64_t state = (uint64_t)sender << 32 | n;
    uint32_t least = 2 * sizeof(uint32_t);
    return least + (uint32_t)(rt_test_rand(&state) % (max - least + 1));
}

static inline void shm_test_fill(uint8_t *payload, uint32_t bytes, uint32_t sender, uint32_t n)
{
    memcpy(payload, &sender, sizeof sender);
    memcpy(payload + sizeof sender, &n, sizeof n);
    for (uint32_t i = 2 * sizeof n; i < bytes; i++)
        payload[i] = (uint8_t)(sender * 31 + n * 7 + i);
}

/* Whether a payload is whole; says whose it is. */
static inline bool shm_test_check(const uint8_t *payload, uint32_t bytes, uint32_t max,
                                  uint32_t *sender, uint32_t *n)
{
    if (bytes < 2 * sizeof *n)
        return false;
    memcpy(sender, payload, sizeof *sender);
    memcpy(n, payload + sizeof *sender, sizeof *n);
    if (bytes != shm_test_length(*sender, *n, max))
        return false;
    for (uint32_t i = 2 * sizeof *n; i < bytes; i++)
        if (payload[i] != (uint8_t)(*sender * 31 + *n * 7 + i))
            return false;
    return true;
}

/* Moves an empty tx ring to a place and sequence of the test's choice.
 * Start the queue with takeover. */
static inline void shm_test_move_tx(shm_segment_t *s, uint64_t sequence, uint32_t place)
{
    rt_store_relaxed(&s->tx->tail, shm_cursor((uint32_t)sequence, place));
    rt_store_relaxed(&s->tx->read, shm_cursor((uint32_t)sequence, place));
    rt_store_relaxed(&s->tx->head_place, place);
    rt_store_relaxed(&s->tx->sequence_high, sequence);
    rt_store_relaxed(&s->tx->finished, sequence);
}

#endif
