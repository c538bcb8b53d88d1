#include "rx_ring_test.h"

/* Takes one without copying it; its number, or -1. */
static int64_t lend_numbered(const uint8_t **payload)
{
    uint32_t sender, n;
    if (rx_reader_next_in_place(&reader, payload, &packet) == 0)
        return -1;
    if (!CHECK(shm_test_check(*payload, packet.payload_bytes, MAX_PAYLOAD, &sender, &n)))
        return -1;
    return n;
}

static void test_a_waiting_writer_spares_what_is_lent(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    const uint8_t *payload, *first;
    c.overflow = SHM_OVERFLOW_WAIT;
    open_with(&c);
    uint32_t n = 0;
    while (put_numbered(n) == 0)
        n++;
    rx_writer_publish(&writer);
    rx_reader_loan(&reader);
    CHECK_EQ(lend_numbered(&first), 0);
    for (uint32_t i = 1; i < n; i++)
        CHECK_EQ(lend_numbered(&payload), i);
    CHECK_EQ(lend_numbered(&payload), -1);
    CHECK_EQ(put_numbered(n), -ENOBUFS); /* all was read, and all is lent */
    CHECK_EQ(rx_reader_floor(&reader), 0);
    rx_reader_loan_end(&reader);
    CHECK_EQ(put_numbered(n), 0);
    CHECK(rx_reader_floor(&reader) > 0);
    close_ring();
}

static void test_a_lent_packet_that_is_overwritten_lies_below_the_floor(void)
{
    const uint8_t *payload;
    open_ring();
    for (uint32_t i = 0; i < 4; i++)
        CHECK_EQ(put_numbered(i), 0);
    rx_writer_publish(&writer);
    rx_reader_loan(&reader);
    for (uint32_t i = 0; i < 4; i++)
        CHECK_EQ(lend_numbered(&payload), i);
    uint32_t n = 4;
    while (shm_cursor_seq(rt_load_relaxed(&seg.rx->floor)) < 3)
        CHECK_EQ(put_numbered(n++), 0);
    rx_writer_publish(&writer);
    CHECK_EQ(rx_reader_floor(&reader), 3);
    /* This writer waits for nobody, so the slot shows what was read,
     * and none of it counts as lost. */
    CHECK_EQ(rt_load_relaxed(&seg.readers[0].cursor), reader.cursor);
    CHECK_EQ(read_numbered(&reader, NULL), 4);
    rx_reader_loan_end(&reader);
    CHECK_EQ(rt_load_relaxed(&seg.readers[0].cursor), reader.cursor);
    close_ring();
}

static void test_shared_readers_lend_different_packets(void)
{
    rx_reader_t two;
    const uint8_t *payload;
    open_ring();
    CHECK_EQ(rx_reader_init(&reader, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    CHECK_EQ(rx_reader_init(&two, &seg, CTL_NO_SLOT, SHM_READ_SHARED, 0), 0);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ(put_numbered(i), 0);
    rx_writer_publish(&writer);
    rx_reader_loan(&reader);
    CHECK_EQ(lend_numbered(&payload), 0);
    CHECK_EQ(read_numbered(&two, NULL), 1);
    CHECK_EQ(lend_numbered(&payload), 2);
    rx_reader_loan_end(&reader);
    close_ring();
}

int main(void)
{
    RUN(test_a_waiting_writer_spares_what_is_lent);
    RUN(test_a_lent_packet_that_is_overwritten_lies_below_the_floor);
    RUN(test_shared_readers_lend_different_packets);
    return rt_test_result();
}
