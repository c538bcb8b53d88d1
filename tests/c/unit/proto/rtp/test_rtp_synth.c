#include "proto/rtp/rtp_synth.h"

#include "rt_test.h"

#include <errno.h>

#define SECOND INT64_C(1000000000)

static const uint32_t draws[] = {0x11223344, 0xaabbccdd, 0x99998765};
static rtp_synth_t s;

static void begin(int clock_rate)
{
    rtp_synth_init(&s, clock_rate, 20, draws, SECOND);
}

static void test_bytes_of_the_first_packets(void)
{
    static const uint8_t first[] = {0x80, 0xc8, 0x87, 0x65, 0xaa, 0xbb, 0xcc, 0xdc,
                                    0x44, 0x33, 0x22, 0x11, 0x61, 0x62, 0x63, 0x64};
    uint8_t out[16] = {0x61, 0x62, 0x63, 0x64};
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    TEST_SKIP("the bytes of the SSRC are those of a little-endian machine");
#endif
    begin(8000);
    CHECK_EQ(rtp_synth_next(&s, 4, 200, out, 16, true, SECOND), 16);
    CHECK_MEM_EQ(out, first, 16);
    CHECK_EQ(rtp_synth_next(&s, 4, 200, out, 16, false, SECOND), 16);
    CHECK_MEM_EQ(out, "\x80\x48\x87\x66\xaa\xbb\xcd\x7c\x44\x33\x22\x11\0\0\0\0", 16);
}

static void test_rest_of_the_buffer_is_zeroed(void)
{
    uint8_t out[40];
    for (unsigned in_place = 0; in_place < 2; in_place++) {
        memset(out, 0xff, sizeof out);
        begin(8000);
        CHECK_EQ(rtp_synth_next(&s, 5, 0, out, 30, in_place != 0, SECOND), 17);
        for (unsigned i = 12; i < 17; i++)
            CHECK_EQ(out[i], in_place ? 0xff : 0);
        for (unsigned i = 17; i < 40; i++)
            CHECK_EQ(out[i], i < 30 ? 0 : 0xff);
    }
}

static void test_refusals_change_nothing(void)
{
    uint8_t out[16];
    begin(8000);
    rtp_synth_t before = s;
    CHECK_EQ(rtp_synth_next(&s, 5, 0, out, 16, false, 2 * SECOND), -EMSGSIZE);
    CHECK_EQ(rtp_synth_next(&s, -1, 0, out, 16, true, 2 * SECOND), -EINVAL);
    CHECK_EQ(rtp_synth_next(&s, INT32_MIN, 0, out, 16, true, 2 * SECOND), -EINVAL);
    CHECK_EQ(rtp_synth_next(&s, INT32_MAX, 0, out, 16, true, 2 * SECOND), -EMSGSIZE);
    CHECK_EQ(rtp_synth_next(&s, 0, 0, out, 11, false, 2 * SECOND), -EMSGSIZE);
    CHECK_MEM_EQ(&s, &before, sizeof s);
    CHECK_EQ(rtp_synth_next(&s, 0, 0, out, 12, false, 2 * SECOND), 12);
}

static void test_marker(void)
{
    begin(8000);
    CHECK(rtp_synth_set_marker(&s, false));
    CHECK(!rtp_synth_set_marker(&s, true));
    uint8_t out[12];
    rtp_synth_next(&s, 0, 0, out, 12, false, SECOND);
    CHECK_EQ(out[1], 0x80);
    CHECK(!rtp_synth_set_marker(&s, false));
}

static void test_skip_moves_the_timestamp_only(void)
{
    begin(8000);
    uint64_t ts = s.ts;
    rtp_synth_skip(&s, 3);
    CHECK_EQ(s.ts, ts + 480);
    rtp_synth_skip(&s, -4);
    CHECK_EQ(s.ts, ts - 160);
    CHECK_EQ(s.seq, 0x8765);
    CHECK_EQ(s.last_ns, SECOND);
}

static void test_step_does_not_depend_on_the_rate(void)
{
    uint8_t out[12];
    begin(48000);
    uint64_t ts = s.ts;
    rtp_synth_next(&s, 0, 0, out, 12, false, SECOND);
    CHECK_EQ(s.ts, ts + 160);
}

static void test_resync_adds_the_time_since_the_last_packet(void)
{
    uint8_t out[12];
    begin(48000);
    rtp_synth_next(&s, 0, 0, out, 12, false, 5 * SECOND);
    uint64_t ts = s.ts;
    rtp_synth_resync(&s, 5 * SECOND + 20833); /* 0.999984 units */
    CHECK_EQ(s.ts, ts);
    rtp_synth_resync(&s, 5 * SECOND + 20834);
    CHECK_EQ(s.ts, ts + 1);
    rtp_synth_resync(&s, 6 * SECOND);
    rtp_synth_resync(&s, 6 * SECOND);
    CHECK_EQ(s.ts, ts + 1 + 96000); /* twice: that is how it is */
    ts = s.ts;
    rtp_synth_resync(&s, 5 * SECOND + SECOND * 50 * 365 * 86400);
    CHECK_EQ(s.ts, ts + UINT64_C(48000) * 50 * 365 * 86400);
    begin(-1);
    ts = s.ts;
    rtp_synth_resync(&s, 100 * SECOND);
    CHECK_EQ(s.ts, ts);
}

static void test_batch_is_the_same_as_one_by_one(void)
{
    uint8_t payload[10 * 7];
    uint8_t many[10 * 24];
    uint8_t one[24];
    for (unsigned i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)i;
    for (unsigned with = 0; with < 2; with++) {
        memset(many, 0xee, sizeof many);
        begin(8000);
        s.seq = 65530;
        rtp_synth_t other = s;
        CHECK_EQ(rtp_synth_next_many(&s, 10, 7, 9, with ? payload : NULL, many, 24, SECOND), 10);
        for (unsigned i = 0; i < 10; i++) {
            memcpy(one, payload + (size_t)7 * i, 7);
            CHECK_EQ(rtp_synth_next(&other, 7, 9, one, 19, with != 0, SECOND), 19);
            CHECK_MEM_EQ(many + (size_t)24 * i, one, 19);
            CHECK_EQ(many[24 * i + 19], 0xee);
        }
        CHECK_MEM_EQ(&s, &other, sizeof s);
    }
    CHECK_EQ(rtp_synth_next_many(&s, 10, 13, 9, NULL, many, 24, SECOND), 0);
    CHECK_EQ(rtp_synth_next_many(&s, 10, SIZE_MAX, 9, NULL, many, 24, SECOND), 0);
    CHECK_EQ(rtp_synth_next_many(&s, 10, 0, 9, NULL, many, 11, SECOND), 0);
}

int main(void)
{
    RUN(test_bytes_of_the_first_packets);
    RUN(test_rest_of_the_buffer_is_zeroed);
    RUN(test_refusals_change_nothing);
    RUN(test_marker);
    RUN(test_skip_moves_the_timestamp_only);
    RUN(test_step_does_not_depend_on_the_rate);
    RUN(test_resync_adds_the_time_since_the_last_packet);
    RUN(test_batch_is_the_same_as_one_by_one);
    return rt_test_result();
}
