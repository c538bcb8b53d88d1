#include "proto/rtp/rtp_packet.h"

#include "rt_test.h"

#include <errno.h>

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
        int total = rtp_packet_build(&f, payload, bytes, out, sizeof out);
        CHECK_EQ(rtp_packet_build(&f, payload, bytes, out, (size_t)total), total);
        CHECK_EQ(rtp_packet_build(&f, payload, bytes, out, (size_t)total - 1), -EMSGSIZE);
        REQUIRE(parse(out, (size_t)total) == RTP_PARSE_OK);
        CHECK_EQ(view.seq, f.seq);
        CHECK_EQ(view.ts, f.ts);
        CHECK_EQ(view.ssrc, f.ssrc);
        CHECK_EQ(view.payload_type, f.payload_type);
        CHECK_EQ(view.marker, f.marker);
        CHECK_EQ(view.csrc_count, f.csrc_count);
        for (unsigned i = 0; i < f.csrc_count; i++)
            CHECK_EQ(rtp_view_csrc(&view, i), csrc[i]);
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

static void test_fields_out_of_range_are_refused(void)
{
    uint8_t out[64];
    uint8_t ext[8] = {0};
    CHECK_EQ(rtp_packet_build(&(rtp_fields_t){.payload_type = 128}, NULL, 0, out, 64), -EINVAL);
    CHECK_EQ(rtp_packet_build(&(rtp_fields_t){.csrc_count = 1}, NULL, 0, out, 64), -EINVAL);
    rtp_fields_t f = {.has_ext = true, .ext = ext, .ext_bytes = 3};
    CHECK_EQ(rtp_packet_build(&f, NULL, 0, out, 64), -EINVAL);
    CHECK_EQ(rtp_packet_build(&(rtp_fields_t){0}, NULL, SIZE_MAX, out, 64), -EMSGSIZE);
    memset(out, 0xff, sizeof out);
    CHECK_EQ(rtp_packet_build(&(rtp_fields_t){0}, NULL, 4, out, 64), 16);
    CHECK_MEM_EQ(out + 12, "\0\0\0\0\xff", 5);
}

static void build_and_parse(const rtp_fields_t *f)
{
    uint8_t out[1200];
    int total = rtp_packet_build(f, "payload", 7, out, sizeof out);
    CHECK(total > 0);
    CHECK_EQ(parse(out, (size_t)total), RTP_PARSE_OK);
}

static void test_extension_elements_in_both_forms(void)
{
    for (unsigned two_byte = 0; two_byte < 2; two_byte++) {
        uint8_t room[64];
        rtp_ext_writer_t w;
        rtp_fields_t f = {0};
        rtp_ext_element_t e;
        rtp_ext_reader_t reader;
        rtp_ext_writer_init(&w, two_byte != 0, room, sizeof room);
        CHECK_EQ(rtp_ext_add(&w, 1, "abc", 3), 0);
        CHECK_EQ(rtp_ext_add(&w, 14, "0123456789abcdef", 16), 0);
        CHECK_EQ(rtp_ext_add(&w, 7, "z", 1), 0);
        rtp_ext_finish(&w, &f);
        CHECK_EQ(f.ext_bytes % 4, 0);
        build_and_parse(&f);
        CHECK_EQ(rtp_ext_reader_init(&reader, &view), 0);
        CHECK_EQ(rtp_ext_next(&reader, &e), 1);
        CHECK_EQ(e.id, 1);
        CHECK_EQ(e.bytes, 3);
        CHECK_MEM_EQ(e.data, "abc", 3);
        CHECK_EQ(rtp_ext_next(&reader, &e), 1);
        CHECK_EQ(e.bytes, 16);
        CHECK_EQ(rtp_ext_next(&reader, &e), 1);
        CHECK_EQ(e.id, 7);
        CHECK_EQ(rtp_ext_next(&reader, &e), 0);
        CHECK_EQ(rtp_ext_find(&view, 14, &e), 1);
        CHECK_MEM_EQ(e.data, "0123456789abcdef", 16);
        CHECK_EQ(rtp_ext_find(&view, 2, &e), 0);
    }
}

static void test_ranges_of_elements(void)
{
    uint8_t room[260];
    uint8_t data[256] = {0};
    rtp_ext_writer_t w;
    rtp_ext_writer_init(&w, false, room, sizeof room);
    CHECK_EQ(rtp_ext_add(&w, 0, data, 1), -EINVAL);
    CHECK_EQ(rtp_ext_add(&w, 15, data, 1), -EINVAL);
    CHECK_EQ(rtp_ext_add(&w, 1, data, 0), -EINVAL);
    CHECK_EQ(rtp_ext_add(&w, 1, data, 17), -EINVAL);
    rtp_ext_writer_init(&w, true, room, sizeof room);
    CHECK_EQ(rtp_ext_add(&w, 255, data, 0), 0);
    CHECK_EQ(rtp_ext_add(&w, 256, data, 0), -EINVAL);
    CHECK_EQ(rtp_ext_add(&w, 1, data, 256), -EINVAL);
    CHECK_EQ(rtp_ext_add(&w, 1, data, 255), 0);
    CHECK_EQ(rtp_ext_add(&w, 1, data, 0), -ENOSPC);
    rtp_ext_writer_init(&w, false, room, 7); /* one whole word */
    CHECK_EQ(rtp_ext_add(&w, 1, data, 4), -ENOSPC);
    CHECK_EQ(rtp_ext_add(&w, 1, data, 3), 0);
}

static int count_elements(uint16_t profile, const uint8_t *ext, size_t bytes, int *end)
{
    rtp_fields_t f = {.has_ext = true, .ext_profile = profile, .ext = ext, .ext_bytes = bytes};
    rtp_ext_reader_t reader;
    rtp_ext_element_t e;
    int n = 0;
    build_and_parse(&f);
    *end = rtp_ext_reader_init(&reader, &view);
    if (*end < 0)
        return 0;
    while ((*end = rtp_ext_next(&reader, &e)) == 1)
        n++;
    CHECK_EQ(rtp_ext_next(&reader, &e), 0); /* it stays at the end */
    return n;
}

static void test_broken_extensions(void)
{
    int end;
    static const uint8_t cut[] = {0x10, 1, 0x2f, 1};
    CHECK_EQ(count_elements(0xbede, cut, 4, &end), 1);
    CHECK_EQ(end, -EBADMSG);
    static const uint8_t stop[] = {0x10, 1, 0xf0, 0x20};
    CHECK_EQ(count_elements(0xbede, stop, 4, &end), 1);
    CHECK_EQ(end, 0);
    static const uint8_t padding_with_length[] = {0x10, 1, 0x01, 0x20, 0x20, 2, 0, 0};
    CHECK_EQ(count_elements(0xbede, padding_with_length, 8, &end), 1);
    CHECK_EQ(end, 0);
    static const uint8_t padded[] = {0, 0x10, 1, 0};
    CHECK_EQ(count_elements(0xbede, padded, 4, &end), 1);
    CHECK_EQ(end, 0);
    static const uint8_t no_length[] = {1, 1, 5, 9};
    CHECK_EQ(count_elements(0x1000, no_length, 4, &end), 1);
    CHECK_EQ(end, -EBADMSG);
    static const uint8_t too_long[] = {1, 3, 5, 9};
    CHECK_EQ(count_elements(0x100f, too_long, 4, &end), 0);
    CHECK_EQ(end, -EBADMSG);
    CHECK_EQ(count_elements(0x1234, padded, 4, &end), 0);
    CHECK_EQ(end, -ENOENT);
    CHECK_EQ(count_elements(0xbede, NULL, 0, &end), 0);
    CHECK_EQ(end, 0);
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

static void test_table_of_headers(void)
{
    static const uint8_t block[] = {0x80, 0x80, 0, 7, 0, 0, 0, 9, 0, 0, 0, 3, 'x',
                                    0x40, 0,    0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const uint64_t offsets[] = {0, 13, 0};
    const uint32_t sizes[] = {13, 12, 5};
    rtp_header_row_t rows[3];
    CHECK_EQ(rtp_packet_parse_many(block, offsets, sizes, 3, rows), 1);
    CHECK_EQ(rows[0].seq, 7);
    CHECK_EQ(rows[0].ts, 9);
    CHECK_EQ(rows[0].ssrc, 3);
    CHECK_EQ(rows[0].marker, 1);
    CHECK_EQ(rows[0].payload_offset, 12);
    CHECK_EQ(rows[0].payload_bytes, 1);
    CHECK_EQ(rows[1].error, RTP_PARSE_VERSION);
    CHECK_EQ(rows[1].size, 12);
    CHECK_EQ(rows[2].error, RTP_PARSE_TOO_SHORT);
}

int main(void)
{
    RUN(test_fields_of_a_plain_packet);
    RUN(test_each_fault_has_its_code);
    RUN(test_every_code_has_words);
    RUN(test_built_packets_read_back);
    RUN(test_fields_out_of_range_are_refused);
    RUN(test_extension_elements_in_both_forms);
    RUN(test_ranges_of_elements);
    RUN(test_broken_extensions);
    RUN(test_samples_of_payloads);
    RUN(test_static_payload_types);
    RUN(test_table_of_headers);
    return rt_test_result();
}
