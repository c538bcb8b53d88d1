#include "proto/rtp/rtp_packet.h"

#include "rt_test.h"
#include "rtp_build.h"

static rtp_view_t view;

static int parse(const uint8_t *data, size_t size)
{
    /* Exactly that many bytes on the heap: a read beyond them does not go unnoticed. */
    static uint8_t *copy;
    free(copy);
    copy = malloc(size > 0 ? size : 1);
    memcpy(copy, data, size);
    return rtp_packet_parse(copy, size, &view);
}

static void test_fields_of_a_plain_packet(void)
{
    static const uint8_t packet[] = {0x80, 0xc8, 0x87, 0x65, 0xaa, 0xbb, 0xcc, 0xdd,
                                     0x44, 0x33, 0x22, 0x11, 'a',  'b',  'c',  'd'};
    CHECK_EQ(parse(packet, sizeof packet), RTP_PARSE_OK);
    CHECK(view.marker);
    CHECK_EQ(view.payload_type, 72);
    CHECK_EQ(view.seq, 0x8765);
    CHECK_EQ(view.ts, 0xaabbccdd);
    CHECK_EQ(view.ssrc, 0x44332211);
    CHECK_EQ(view.payload_bytes, 4);
    CHECK_MEM_EQ(rtp_view_payload(&view), "abcd", 4);
    CHECK_EQ(view.csrc_count, 0);
    CHECK(!view.has_ext);
    CHECK_EQ(parse(packet, 12), RTP_PARSE_OK);
    CHECK_EQ(view.payload_bytes, 0);
}

static void test_each_fault_has_its_code(void)
{
    uint8_t p[40] = {0x80};
    CHECK_EQ(parse(p, 0), RTP_PARSE_TOO_SHORT);
    CHECK_EQ(parse(p, 11), RTP_PARSE_TOO_SHORT);
    for (unsigned version = 0; version < 4; version++) {
        p[0] = (uint8_t)(version << 6);
        CHECK_EQ(parse(p, 12), version == 2 ? RTP_PARSE_OK : RTP_PARSE_VERSION);
    }
    p[0] = 0x82;
    CHECK_EQ(parse(p, 19), RTP_PARSE_HEADER_CUT);
    CHECK_EQ(parse(p, 20), RTP_PARSE_OK);
    p[0] = 0x92;
    CHECK_EQ(parse(p, 12), RTP_PARSE_EXT_CUT);
    CHECK_EQ(parse(p, 23), RTP_PARSE_EXT_CUT);
    CHECK_EQ(parse(p, 24), RTP_PARSE_OK);
    p[23] = 2;
    CHECK_EQ(parse(p, 31), RTP_PARSE_HEADER_CUT);
    CHECK_EQ(parse(p, 32), RTP_PARSE_OK);
    CHECK_EQ(view.ext_bytes, 8);
    CHECK_EQ(view.payload_offset, 32);
    p[22] = 0xff;
    p[23] = 0xff;
    CHECK_EQ(parse(p, 40), RTP_PARSE_HEADER_CUT);
    memset(p, 0, sizeof p);
    p[0] = 0xa0;
    CHECK_EQ(parse(p, 12), RTP_PARSE_PADDING_CUT);
    CHECK_EQ(parse(p, 13), RTP_PARSE_PADDING_ZERO);
    p[15] = 5;
    CHECK_EQ(parse(p, 16), RTP_PARSE_PADDING_LONG);
    p[15] = 4;
    CHECK_EQ(parse(p, 16), RTP_PARSE_OK);
    CHECK_EQ(view.payload_bytes, 0);
    CHECK_EQ(view.padding_bytes, 4);
    p[15] = 1;
    CHECK_EQ(parse(p, 16), RTP_PARSE_OK);
    CHECK_EQ(view.payload_bytes, 3);
}

static void test_every_code_has_words(void)
{
    for (int code = 0; code > -(int)RTP_PARSE_CODES; code--)
        CHECK(strcmp(rtp_parse_text(code), "unknown error") != 0);
    CHECK_STR_EQ(rtp_parse_text(1), "unknown error");
    CHECK_STR_EQ(rtp_parse_text(-8), "unknown error");
    CHECK_STR_EQ(rtp_parse_text(INT32_MIN), "unknown error");
}

static void test_built_packets_read_back(void)
{
    uint64_t random = 3;
    for (unsigned round = 0; round < 3000; round++) {
        uint32_t csrc[15];
        uint8_t ext[64];
        uint8_t payload[64];
        uint8_t out[300];
        for (unsigned i = 0; i < 15; i++)
            csrc[i] = (uint32_t)rt_test_rand(&random);
        for (unsigned i = 0; i < 64; i++)
            ext[i] = payload[i] = (uint8_t)rt_test_rand(&random);
        uint64_t r = rt_test_rand(&random);
        rtp_fields_t f = {
            .ts = (uint32_t)rt_test_rand(&random),
            .ssrc = (uint32_t)rt_test_rand(&random),
            .seq = (uint16_t)r,
            .payload_type = (uint8_t)(r >> 16 & 127),
            .marker = (r >> 23 & 1) != 0,
            .csrc_count = (uint8_t)(r >> 24 & 15),
            .csrc = csrc,
            .has_ext = (r >> 28 & 1) != 0,
            .ext_profile = (uint16_t)(r >> 32),
            .ext = ext,
            .ext_bytes = 4 * (r >> 48 & 15),
            .padding_bytes = (uint8_t)(r >> 52 & 31),
        };
        size_t bytes = r >> 57 & 63;
        REQUIRE(parse(out, rtp_build(&f, payload, bytes, out, sizeof out)) == RTP_PARSE_OK);
        CHECK_EQ(view.seq, f.seq);
        CHECK_EQ(view.ts, f.ts);
        CHECK_EQ(view.ssrc, f.ssrc);
        CHECK_EQ(view.payload_type, f.payload_type);
        CHECK_EQ(view.marker, f.marker);
        CHECK_EQ(view.csrc_count, f.csrc_count);
        for (unsigned i = 0; i < f.csrc_count; i++)
            CHECK_EQ(rtp_csrc(&view, i), csrc[i]);
        CHECK_EQ(view.has_ext, f.has_ext);
        if (f.has_ext) {
            CHECK_EQ(view.ext_profile, f.ext_profile);
            CHECK_EQ(view.ext_bytes, f.ext_bytes);
            CHECK_MEM_EQ(view.data + view.ext_offset, ext, f.ext_bytes);
        }
        CHECK_EQ(view.padding_bytes, f.padding_bytes);
        CHECK_EQ(view.payload_bytes, bytes);
        CHECK_MEM_EQ(rtp_view_payload(&view), payload, bytes);
    }
}

static int32_t samples(unsigned pt, size_t bytes)
{
    static uint8_t payload[200];
    bool appendable;
    int32_t n = rtp_payload_samples(pt, payload, bytes, &appendable);
    CHECK_EQ(appendable, pt != 18 || bytes % 10 == 0);
    return n;
}

static void test_samples_of_payloads(void)
{
    CHECK_EQ(samples(0, 160), 160);
    CHECK_EQ(samples(8, 1), 1);
    CHECK_EQ(samples(9, 160), 160);
    CHECK_EQ(samples(18, 20), 160);
    CHECK_EQ(samples(18, 22), 240);
    CHECK_EQ(samples(18, 2), 80);
    CHECK_EQ(samples(3, 66), 320);
    CHECK_EQ(samples(3, 65), 160);
    CHECK_EQ(samples(3, 32), 0);
    CHECK_EQ(samples(0, 0), RTP_SAMPLES_UNKNOWN);
    CHECK_EQ(samples(96, 160), RTP_SAMPLES_UNKNOWN);
    CHECK_EQ(samples(10, 160), RTP_SAMPLES_UNKNOWN);
    bool appendable;
    uint8_t g723[49] = {0};
    CHECK_EQ(rtp_payload_samples(4, g723, 24, &appendable), 240);
    CHECK_EQ(rtp_payload_samples(4, g723, 25, &appendable), 480); /* cut off, but counts */
    g723[24] = 1;
    g723[44] = 2;
    CHECK_EQ(rtp_payload_samples(4, g723, 48, &appendable), 720);
    g723[48] = 3;
    CHECK_EQ(rtp_payload_samples(4, g723, 49, &appendable), RTP_SAMPLES_UNKNOWN);
}

static void test_static_payload_types(void)
{
    CHECK_EQ(rtp_payload_formats[0].clock_rate, 8000);
    CHECK_EQ(rtp_payload_formats[1].kind, RTP_KIND_RES);
    CHECK_EQ(rtp_payload_formats[6].clock_rate, 16000);
    CHECK_EQ(rtp_payload_formats[11].channels, 2);
    CHECK_EQ(rtp_payload_formats[14].clock_rate, 90000);
    CHECK_EQ(rtp_payload_formats[14].channels, 2);
    CHECK_EQ(rtp_payload_formats[17].sample_rate, 22050);
    for (unsigned pt = 19; pt < 128; pt++)
        CHECK_EQ(rtp_payload_formats[pt].clock_rate, 0);
}

int main(void)
{
    RUN(test_fields_of_a_plain_packet);
    RUN(test_each_fault_has_its_code);
    RUN(test_every_code_has_words);
    RUN(test_built_packets_read_back);
    RUN(test_samples_of_payloads);
    RUN(test_static_payload_types);
    return rt_test_result();
}
