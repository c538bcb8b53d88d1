#include "proto/stamp/stamp_packet.h"

#include "rt_test.h"

#define S INT64_C(1000000000)

static void test_ntp_times_of_known_dates(void)
{
    CHECK(stamp_from_ns(0, STAMP_NTP) == UINT64_C(0x83aa7e8000000000)); /* 2208988800 s */
    CHECK(stamp_from_ns(1000000000 * S + S / 2, STAMP_NTP) == UINT64_C(0xbf45488080000000));
    CHECK(stamp_from_ns(2085978496 * S, STAMP_NTP) == 0); /* 2036-02-07T06:28:16Z, era 1 */
    CHECK(stamp_from_ns(2085978496 * S - 1, STAMP_NTP) == UINT64_C(0xfffffffffffffffc));
    CHECK(stamp_from_ns(-61505152 * S, STAMP_NTP) == UINT64_C(0x8000000000000000));  /* 1968 */
    CHECK(stamp_from_ns(4233462143 * S, STAMP_NTP) == UINT64_C(0x7fffffff00000000)); /* 2104 */
    CHECK_EQ(stamp_to_ns(0, STAMP_NTP), 2085978496 * S);
    CHECK_EQ(stamp_to_ns(UINT64_C(0x8000000000000000), STAMP_NTP), -61505152 * S);
    CHECK_EQ(stamp_to_ns(UINT64_C(0x7fffffff80000000), STAMP_NTP), 4233462143 * S + S / 2);
    CHECK_EQ(stamp_to_ns(UINT64_C(0x83aa7e80ffffffff), STAMP_NTP), S); /* rounds up to it */
}

static void test_ptp_times(void)
{
    CHECK(stamp_from_ns(1000000000 * S + 7, STAMP_PTP) == UINT64_C(0x3b9aca0000000007));
    CHECK_EQ(stamp_to_ns(UINT64_C(0x3b9aca0000000007), STAMP_PTP), 1000000000 * S + 7);
    CHECK_EQ(stamp_to_ns(UINT64_C(0xffffffff3b9ac9ff), STAMP_PTP), 4294967296 * S - 1); /* 2106 */
}

static void test_each_ns_comes_back(void)
{
    uint64_t state = 1;
    for (unsigned i = 0; i < 1000000; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        int64_t ns = (int64_t)(state % (uint64_t)(4233462144 * S));
        if (stamp_to_ns(stamp_from_ns(ns, STAMP_NTP), STAMP_NTP) != ns ||
            stamp_to_ns(stamp_from_ns(ns, STAMP_PTP), STAMP_PTP) != ns) {
            CHECK_EQ(ns, -1);
            return;
        }
    }
    for (int64_t ns = 2085978496 * S - 1000; ns < 2085978496 * S + 1000; ns++)
        CHECK_EQ(stamp_to_ns(stamp_from_ns(ns, STAMP_NTP), STAMP_NTP), ns);
}

static void test_error_estimates_are_never_too_small(void)
{
    stamp_error_t none = stamp_error_from_ns(0, false, STAMP_NTP);
    CHECK_EQ(stamp_error_raw(none), 0x0001);
    CHECK_EQ(stamp_error_ns(none), 1);
    /* 1 ms is 4294967.3 units of 2**-32 s: 132 * 2**15 = 4325376 */
    stamp_error_t ms = stamp_error_from_ns(1000000, true, STAMP_PTP);
    CHECK_EQ(ms.multiplier, 132);
    CHECK_EQ(ms.scale, 15);
    CHECK_EQ(stamp_error_raw(ms), 0xc000 | 15 << 8 | 132);
    CHECK_EQ(stamp_error_ns(ms), 1007081); /* 4325376 / 2**32 s, rounded up */
    int64_t cases[] = {1, 2, 59, 60, 255, 256, 1000, 999999999, S, S + 1, 3600 * S};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stamp_error_t e = stamp_error_from_ns(cases[i], true, STAMP_NTP);
        CHECK(e.multiplier > 0);
        CHECK(stamp_error_ns(e) >= cases[i]);
        CHECK(stamp_error_ns(e) <= cases[i] + cases[i] / 64 + 1);
    }
    stamp_error_t longest = stamp_error_from_ns(INT64_MAX, true, STAMP_NTP);
    CHECK(stamp_error_ns(longest) == INT64_MAX);
    CHECK(stamp_error_ns((stamp_error_t){.scale = 63, .multiplier = 255}) == INT64_MAX);
    CHECK_EQ(stamp_error_ns((stamp_error_t){.scale = 56, .multiplier = 1}), 16777216 * S);
    for (unsigned raw = 0; raw <= UINT16_MAX; raw++)
        if (stamp_error_raw(stamp_error_from_raw((uint16_t)raw)) != raw)
            CHECK_EQ(raw, -1);
}

/* 2026-11-23T12:00:00.25Z is Unix time 1795435200.25: 4004424000.25 s of NTP, 0xeeaea940. Sequence
 * 0x01020304, unsynchronised, 2**15 * 132 units, SSID 0x0506. */
static const uint8_t request_bytes[48] = {
    1, 2, 3, 4, 0xee, 0xae, 0xa9, 0x40, 0x40, 0, 0, 0, 0x0f, 0x84, 5,    6,
    0, 0, 0, 0, 0,    0,    0,    0,    0,    0, 0, 0, 0,    0,    0,    0,
    0, 0, 0, 0, 0,    0,    0,    0,    0,    0, 0, 0, 0xde, 0xad, 0xbe, 0xef, /* padding */
};

/* The reply: received 1 s later, sent 0.5 s after this. Synchronised, 1 unit, TTL 64. */
static const uint8_t reply_bytes[48] = {
    0,    0,    0,    9,    0xee, 0xae, 0xa9, 0x41, 0xc0, 0, 0, 0, 0x80, 0x01, 5,    6,
    0xee, 0xae, 0xa9, 0x41, 0x40, 0,    0,    0,    1,    2, 3, 4, 0xee, 0xae, 0xa9, 0x40,
    0x40, 0,    0,    0,    0x0f, 0x84, 0,    0,    64,   0, 0, 0, 0xde, 0xad, 0xbe, 0xef,
};

#define T1_NS (1795435200 * S + S / 4)

static stamp_request_t the_request(void)
{
    return (stamp_request_t){
        .sequence = 0x01020304,
        .ssid = 0x0506,
        .error = stamp_error_from_ns(1000000, false, STAMP_NTP),
        .t1_ns = T1_NS,
    };
}

static void test_a_request_has_these_bytes(void)
{
    uint8_t out[STAMP_BYTES];
    memset(out, 0xff, sizeof out);
    stamp_request_t request = the_request();
    stamp_put_request(out, &request);
    CHECK_MEM_EQ(out, request_bytes, STAMP_BYTES);
    stamp_request_t read;
    CHECK_EQ(stamp_get_request(request_bytes, sizeof request_bytes, &read), STAMP_FINE);
    CHECK_EQ(read.sequence, request.sequence);
    CHECK_EQ(read.ssid, request.ssid);
    CHECK_EQ(read.t1_ns, request.t1_ns);
    CHECK_EQ(stamp_error_raw(read.error), 0x0f84);
}

static void test_a_reply_has_these_bytes(void)
{
    uint8_t packet[sizeof request_bytes];
    memcpy(packet, request_bytes, sizeof packet);
    stamp_reflection_t how = {
        .sequence = 9,
        .request_ttl = 64,
        .error = stamp_error_from_ns(0, true, STAMP_NTP),
        .t2_ns = T1_NS + S,
        .t3_ns = T1_NS + S + S / 2,
    };
    stamp_reflect(packet, sizeof packet, &how);
    CHECK_MEM_EQ(packet, reply_bytes, sizeof packet);
    stamp_reply_t read;
    CHECK_EQ(stamp_get_reply(reply_bytes, sizeof reply_bytes, &read), STAMP_FINE);
    CHECK_EQ(read.sequence, 9);
    CHECK_EQ(read.request_sequence, 0x01020304);
    CHECK_EQ(read.ssid, 0x0506);
    CHECK_EQ(read.request_ttl, 64);
    CHECK_EQ(stamp_error_raw(read.error), 0x8001);
    CHECK_EQ(stamp_error_raw(read.request_error), 0x0f84);
    CHECK(read.t1_raw == stamp_from_ns(T1_NS, STAMP_NTP));
    CHECK_EQ(read.t1_ns, T1_NS);
    CHECK_EQ(read.t2_ns, T1_NS + S);
    CHECK_EQ(read.t3_ns, T1_NS + S + S / 2);
}

/* As many bytes as the request has. What lies behind it is somebody else's. */
static void test_a_reply_to_the_least_request(void)
{
    for (size_t size = STAMP_LEAST_BYTES; size <= STAMP_BYTES; size++) {
        uint8_t packet[STAMP_BYTES + 1];
        memset(packet, 'x', sizeof packet);
        memcpy(packet, request_bytes, size);
        stamp_reflection_t how = {
            .error = stamp_error_from_ns(0, true, STAMP_NTP), .t2_ns = T1_NS, .t3_ns = T1_NS + 1};
        stamp_reflect(packet, size, &how);
        stamp_reply_t read;
        CHECK_EQ(stamp_get_reply(packet, size, &read), STAMP_FINE);
        CHECK(stamp_is_reply(packet, size));
        for (size_t i = size; i < sizeof packet; i++)
            CHECK_EQ(packet[i], 'x');
    }
}

static void test_the_two_sides_may_use_different_formats(void)
{
    uint8_t packet[STAMP_BYTES];
    stamp_request_t request = the_request();
    request.error.format = STAMP_PTP;
    stamp_put_request(packet, &request);
    stamp_reflection_t how = {
        .error = stamp_error_from_ns(0, true, STAMP_NTP), .t2_ns = T1_NS, .t3_ns = T1_NS + 1};
    stamp_reflect(packet, sizeof packet, &how);
    stamp_reply_t read;
    CHECK_EQ(stamp_get_reply(packet, sizeof packet, &read), STAMP_FINE);
    CHECK_EQ(read.t1_ns, T1_NS);
    CHECK_EQ(read.t3_ns, T1_NS + 1);
}

static void test_faults(void)
{
    uint8_t packet[sizeof reply_bytes];
    stamp_request_t request;
    stamp_reply_t reply;
    CHECK_EQ(stamp_get_request(request_bytes, STAMP_LEAST_BYTES - 1, &request), STAMP_TOO_SHORT);
    CHECK_EQ(stamp_get_head(request_bytes, STAMP_HEAD_BYTES, &request), STAMP_FINE);
    CHECK_EQ(stamp_get_head(request_bytes, STAMP_HEAD_BYTES - 1, &request), STAMP_TOO_SHORT);
    CHECK_EQ(stamp_get_reply(reply_bytes, STAMP_LEAST_BYTES - 1, &reply), STAMP_TOO_SHORT);
    memcpy(packet, request_bytes, sizeof packet);
    packet[13] = 0;
    CHECK_EQ(stamp_get_request(packet, sizeof packet, &request), STAMP_CORRUPT);
    packet[12] = 0x4f; /* PTP: 0x40000000 ns is more than a second */
    packet[13] = 1;
    CHECK_EQ(stamp_get_request(packet, sizeof packet, &request), STAMP_CORRUPT);
    memcpy(packet, request_bytes, sizeof packet);
    packet[0] = 0x80; /* a sequence number that begins as a receiver report */
    packet[1] = 201;
    CHECK_EQ(stamp_get_request(packet, sizeof packet, &request), STAMP_FINE);
    packet[2] = 0; /* a report */
    packet[3] = sizeof packet / 4 - 1;
    CHECK_EQ(stamp_get_request(packet, sizeof packet, &request), STAMP_CORRUPT);
    memcpy(packet, reply_bytes, sizeof packet);
    packet[37] = 0;
    CHECK_EQ(stamp_get_reply(packet, sizeof packet, &reply), STAMP_CORRUPT);
}

static void test_replies_are_told_from_requests(void)
{
    CHECK(stamp_is_reply(reply_bytes, sizeof reply_bytes));
    CHECK(!stamp_is_reply(request_bytes, sizeof request_bytes));
    CHECK(!stamp_is_reply(reply_bytes, STAMP_LEAST_BYTES - 1));
    uint8_t twamp[STAMP_BYTES];
    memcpy(twamp, request_bytes, sizeof twamp);
    memset(twamp + 14, 'x', sizeof twamp - 14); /* its padding may be anything */
    CHECK(!stamp_is_reply(twamp, sizeof twamp));
    int64_t held_ns[] = {0, 1, STAMP_MAX_HELD_NS};
    stamp_format_t formats[] = {STAMP_NTP, STAMP_PTP};
    for (unsigned i = 0; i < 6; i++) {
        uint8_t packet[STAMP_BYTES];
        memcpy(packet, request_bytes, sizeof packet);
        stamp_reflection_t how = {
            .error = stamp_error_from_ns(0, true, formats[i / 3]),
            .t2_ns = T1_NS,
            .t3_ns = T1_NS + held_ns[i % 3],
        };
        stamp_reflect(packet, sizeof packet, &how);
        CHECK(stamp_is_reply(packet, sizeof packet));
    }
}

int main(void)
{
    RUN(test_ntp_times_of_known_dates);
    RUN(test_ptp_times);
    RUN(test_each_ns_comes_back);
    RUN(test_error_estimates_are_never_too_small);
    RUN(test_a_request_has_these_bytes);
    RUN(test_a_reply_has_these_bytes);
    RUN(test_a_reply_to_the_least_request);
    RUN(test_the_two_sides_may_use_different_formats);
    RUN(test_faults);
    RUN(test_replies_are_told_from_requests);
    return rt_test_result();
}
