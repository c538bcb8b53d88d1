/* rx_ring_test.h: a ring with a writer and a reader, and packets with numbers. */
#ifndef RX_RING_TEST_H
#define RX_RING_TEST_H

#include "shm_test.h"

enum { RING_BYTES = 4096, UNITS = RING_BYTES / SHM_UNIT_BYTES, MAX_PAYLOAD = 200 };

static shm_segment_t seg;
static rx_writer_t writer;
static rx_reader_t reader;
static rx_packet_t packet;
static uint8_t buffer[MAX_PAYLOAD];
static int seg_fd;

static inline void open_with(const shm_config_t *c)
{
    seg_fd = shm_test_open(&seg, c);
    CHECK_EQ(rx_writer_init(&writer, &seg), 0);
    CHECK_EQ(rx_reader_init(&reader, &seg, 0, SHM_READ_EACH, 0), 0);
    rt_store_relaxed(&seg.readers[0].owner, (uint32_t)getpid());
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

static inline int put(uint32_t bytes)
{
    static const uint8_t payload[MAX_PAYLOAD + 1];
    rx_item_t item = {.payload = payload, .payload_bytes = bytes, .source = {.family = 4}};
    return rx_writer_put(&writer, &item);
}

static inline int put_numbered(uint32_t n)
{
    uint8_t payload[MAX_PAYLOAD];
    uint32_t bytes = shm_test_length(1, n, MAX_PAYLOAD);
    shm_test_fill(payload, bytes, 1, n);
    rx_item_t item = {
        .payload = payload, .payload_bytes = bytes, .source = {.family = n % 3 ? 4 : 6}, .time_ns = n};
    return rx_writer_put(&writer, &item);
}

/* Reads one; its number, or -1. */
static inline int64_t read_numbered(rx_reader_t *r, uint64_t *lost)
{
    uint32_t sender, n;
    if (rx_reader_next(r, buffer, sizeof buffer, &packet, lost) == 0)
        return -1;
    if (!CHECK(shm_test_check(buffer, packet.payload_bytes, MAX_PAYLOAD, &sender, &n)))
        return -1;
    CHECK_EQ(packet.time_ns, n);
    CHECK_EQ(packet.source.family, n % 3 ? 4 : 6);
    return n;
}

#endif
