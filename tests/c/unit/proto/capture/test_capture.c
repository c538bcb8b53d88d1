/* Captures built here byte by byte, in this machine's byte order and in the other. The link types
 * and headers that are rarely seen are in tests/py/unit/capture. */
#include "proto/capture/capture.h"

#include "base/rt_bytes.h"
#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

#define FRAME_BYTES 33u /* 20 of IPv4, 8 of UDP, a payload of 5 */

static capture_t c;
static uint8_t file[1 << 16];
static size_t file_bytes;
static bool swapped;

static void put32(uint32_t v)
{
    v = swapped ? __builtin_bswap32(v) : v;
    memcpy(file + file_bytes, &v, sizeof v);
    file_bytes += sizeof v;
}

static void put_frame(uint16_t to_port)
{
    uint8_t *p = file + file_bytes;
    memset(p, 0, FRAME_BYTES);
    p[0] = 0x45;
    rt_put16(p + 2, FRAME_BYTES);
    p[9] = 17;
    rt_put32(p + 12, 0x0A000001);
    rt_put32(p + 16, 0x0A000002);
    rt_put16(p + 20, 4000);
    rt_put16(p + 22, to_port);
    rt_put16(p + 24, 13);
    memcpy(p + 28, "hello", 5);
    file_bytes += FRAME_BYTES;
}

static void begin_pcap(uint32_t magic)
{
    file_bytes = 0;
    put32(magic);
    put32(0);
    put32(0);
    put32(0);
    put32(65535);
    put32(CAPTURE_LINK_RAW);
    capture_init(&c, 1);
}

static void put_record(uint32_t seconds, uint32_t fraction, uint16_t to_port)
{
    put32(seconds);
    put32(fraction);
    put32(FRAME_BYTES);
    put32(FRAME_BYTES);
    put_frame(to_port);
}

static void put_block(uint32_t type, const uint32_t *words, uint32_t count)
{
    put32(type);
    put32(12 + 4 * count);
    for (uint32_t i = 0; i < count; i++)
        put32(words[i]);
    put32(12 + 4 * count);
}

static void begin_pcapng(void)
{
    uint32_t section[] = {PCAPNG_BYTE_ORDER, 1, UINT32_MAX, UINT32_MAX};
    uint32_t interface[] = {CAPTURE_LINK_RAW, 0};
    if (swapped)
        interface[0] <<= 16;
    file_bytes = 0;
    put_block(PCAPNG_SECTION, section, 4);
    put_block(PCAPNG_INTERFACE, interface, 2);
    capture_init(&c, 1);
}

static int read_all(capture_record_t *records, uint32_t max, uint32_t *count)
{
    size_t used;
    return capture_read(&c, file, file_bytes, records, max, &used, count);
}

static void test_both_units_and_byte_orders_of_pcap(void)
{
    for (int other = 0; other < 2; other++) {
        capture_record_t r[4];
        uint32_t count;
        swapped = other;
        begin_pcap(0xA1B2C3D4);
        put_record(7, 5, 5004);
        CHECK_EQ(read_all(r, 4, &count), 0);
        CHECK_EQ(count, 1);
        CHECK_EQ(r[0].time_ns, 7000005000);
        CHECK_EQ(r[0].length, 5);
        CHECK(memcmp(file + r[0].offset, "hello", 5) == 0);
        begin_pcap(0xA1B23C4D);
        put_record(7, 5, 5004);
        CHECK_EQ(read_all(r, 4, &count), 0);
        CHECK_EQ(r[0].time_ns, 7000000005);
    }
    swapped = false;
}

static void test_bytes_may_come_one_at_a_time(void)
{
    capture_record_t r;
    size_t at = 0;
    uint32_t found = 0;
    begin_pcap(0xA1B23C4D);
    for (uint32_t i = 0; i < 3; i++)
        put_record(i, 0, 5004);
    for (size_t end = 0; end <= file_bytes; end++) {
        size_t used;
        uint32_t count;
        CHECK_EQ(capture_read(&c, file + at, end - at, &r, 1, &used, &count), 0);
        if (count)
            CHECK_EQ(r.time_ns, found++ * INT64_C(1000000000));
        at += used;
    }
    CHECK_EQ(found, 3);
    CHECK_EQ(at, file_bytes);
    CHECK_EQ(c.flows.count, 1);
    CHECK_EQ(c.flows.flows[0].packets, 3);
}

static void test_a_batch_ends_where_there_is_no_room(void)
{
    capture_record_t r[2];
    uint32_t count;
    begin_pcap(0xA1B23C4D);
    for (uint16_t i = 0; i < 3; i++)
        put_record(i, 0, (uint16_t)(5000 + i));
    CHECK_EQ(read_all(r, 2, &count), 0);
    CHECK_EQ(count, 2);
    CHECK_EQ(r[1].flow, 1);
    CHECK_EQ(c.flows.flows[1].ends.destination_port, 5001);
}

static void test_a_packet_of_pcapng(void)
{
    for (int other = 0; other < 2; other++) {
        capture_record_t r[2];
        uint32_t count;
        swapped = other;
        begin_pcapng();
        put32(PCAPNG_PACKET);
        put32(32 + 36);
        put32(0);
        put32(0);
        put32(12);
        put32(FRAME_BYTES);
        put32(FRAME_BYTES);
        put_frame(5004);
        file_bytes += 3;
        put32(32 + 36);
        CHECK_EQ(read_all(r, 2, &count), 0);
        CHECK_EQ(count, 1);
        CHECK_EQ(r[0].time_ns, 12000);
    }
    swapped = false;
}

static void test_damage_is_refused_with_its_place(void)
{
    capture_record_t r;
    uint32_t count;
    begin_pcap(0xA1B23C4D);
    put_record(1, 0, 5004);
    put32(2);
    put32(0);
    put32(CAPTURE_MAX_FRAME_BYTES + 1);
    put32(CAPTURE_MAX_FRAME_BYTES + 1);
    CHECK_EQ(read_all(&r, 1, &count), 0);
    CHECK_EQ(count, 1);
    capture_init(&c, 1);
    capture_record_t two[2];
    CHECK_EQ(read_all(two, 2, &count), -EBADMSG);
    CHECK_EQ(count, 1);
    CHECK(strstr(rt_err_text(), "262145 bytes") != NULL);

    begin_pcapng();
    uint32_t packet[] = {9, 0, 0, 0, 0};
    put_block(PCAPNG_PACKET, packet, 5);
    CHECK_EQ(read_all(&r, 1, &count), -EBADMSG);
    CHECK(strstr(rt_err_text(), "the interface of a packet is 9") != NULL);
}

static void test_a_block_that_nobody_needs_may_be_longer_than_the_buffer(void)
{
    capture_record_t r;
    size_t used;
    uint32_t count;
    begin_pcapng();
    put32(0x0BAD);
    put32(1 << 30);
    put32(0);
    CHECK_EQ(capture_read(&c, file, file_bytes, &r, 1, &used, &count), 0);
    CHECK_EQ(used, file_bytes);
    CHECK_EQ(c.file.skipped_bytes, 12);
    while (c.file.skip_bytes > 0) {
        uint64_t left = c.file.skip_bytes;
        size_t piece = left < sizeof file ? (size_t)left : sizeof file;
        CHECK_EQ(capture_read(&c, file, piece, &r, 1, &used, &count), 0);
        REQUIRE(c.file.skip_bytes == left - piece);
    }
    CHECK_EQ(c.file.skipped_bytes, 0);
    CHECK_EQ(c.file.taken_bytes, 48 + (UINT64_C(1) << 30));
}

static void test_fates(void)
{
    capture_frame_t f = {.data = file,
                         .captured_bytes = FRAME_BYTES,
                         .original_bytes = FRAME_BYTES,
                         .link = CAPTURE_LINK_RAW};
    capture_datagram_t d;
    file_bytes = 0;
    put_frame(5004);
    CHECK_EQ(capture_udp(&f, &d), CAPTURE_FATE_udp);
    f.captured_bytes = FRAME_BYTES - 1;
    CHECK_EQ(capture_udp(&f, &d), CAPTURE_FATE_truncated);
    f.original_bytes = FRAME_BYTES - 1;
    CHECK_EQ(capture_udp(&f, &d), CAPTURE_FATE_malformed);
    f.captured_bytes = f.original_bytes = FRAME_BYTES;
    file[6] = 0x20;
    CHECK_EQ(capture_udp(&f, &d), CAPTURE_FATE_fragment);
    file[9] = 6;
    CHECK_EQ(capture_udp(&f, &d), CAPTURE_FATE_not_udp);
    f.link = 9999;
    CHECK_EQ(capture_udp(&f, &d), CAPTURE_FATE_other_link);
}

static void test_flows_end_at_their_limit(void)
{
    capture_init(&c, 7);
    capture_ends_t ends = {.family = 4};
    for (uint32_t i = 0; i < CAPTURE_MAX_FLOWS; i++) {
        memcpy(ends.source, &i, sizeof i);
        REQUIRE(capture_flow_find(&c.flows, &ends) == i);
    }
    CHECK_EQ(capture_flow_find(&c.flows, &ends), CAPTURE_MAX_FLOWS - 1);
    ends.family = 6;
    CHECK_EQ(capture_flow_find(&c.flows, &ends), -1);
}

int main(void)
{
    RUN(test_both_units_and_byte_orders_of_pcap);
    RUN(test_bytes_may_come_one_at_a_time);
    RUN(test_a_batch_ends_where_there_is_no_room);
    RUN(test_a_packet_of_pcapng);
    RUN(test_damage_is_refused_with_its_place);
    RUN(test_a_block_that_nobody_needs_may_be_longer_than_the_buffer);
    RUN(test_fates);
    RUN(test_flows_end_at_their_limit);
    return rt_test_result();
}
