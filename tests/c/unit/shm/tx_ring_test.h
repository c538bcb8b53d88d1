/* tx_ring_test.h: one tx ring with both its ends, for tests of it. */
#ifndef TX_RING_TEST_H
#define TX_RING_TEST_H

#include "shm_test.h"

enum { RING_BYTES = 4096, UNITS = RING_BYTES / SHM_UNIT_BYTES, MAX_PAYLOAD = 200, SECONDS = 1000 };

#define FOREVER (SECONDS * RT_NS_PER_S)

static shm_segment_t seg;
static tx_queue_t queue;
static tx_producer_t producer;
static int seg_fd;

static inline void open_with(const shm_config_t *c)
{
    seg_fd = shm_test_open(&seg, c);
    CHECK_EQ(tx_queue_init(&queue, &seg, 0), 0);
    CHECK_EQ(tx_producer_init(&producer, &seg, 1), 0);
}

static inline void open_ring(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    open_with(&c);
}

static inline void close_ring(void)
{
    shm_test_close(&seg, seg_fd);
}

static inline int push_from(tx_producer_t *p, uint32_t bytes, int64_t due_ns, uint64_t *sequence)
{
    uint8_t payload[MAX_PAYLOAD + 1] = {1};
    return tx_producer_push(p, payload, bytes, due_ns, 5, NULL, sequence);
}

static inline int push(uint32_t bytes, int64_t due_ns)
{
    uint64_t sequence;
    return push_from(&producer, bytes, due_ns, &sequence);
}

/* Sends and frees all that is there. Returns how many packets. */
static inline unsigned drain(void)
{
    unsigned sent = 0, moved;
    tx_item_t item;
    while (shm_test_next(&queue, 1, &item) == 1) {
        CHECK_EQ(tx_queue_take(&queue, item.ref, &item), 0);
        tx_queue_finish(&queue, item.ref);
        sent++;
    }
    (void)tx_queue_release(&queue, 0, UINT32_MAX, 0, &moved);
    return sent;
}

#endif
