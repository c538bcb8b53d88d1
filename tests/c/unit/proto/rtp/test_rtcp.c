#include "proto/rtp/rtcp.h"

#include "rt_test.h"
#include "rtp_build.h"

#include <errno.h>

#define SECOND INT64_C(1000000000)
#define SDES_TOOL 6

static uint8_t out[2000];
static rtcp_writer_t w;
static rtcp_reader_t reader;
static rtcp_packet_t packet;

static const rtcp_sender_t sender = {
    .ssrc = 0x11223344,
    .ntp = UINT64_C(0xe0000000c0000000),
    .rtp_ts = 160,
    .packets = 7,
    .octets = 1120,
};
static const rtcp_report_t reports[2] = {
    {.ssrc = 1,
     .fraction_lost = 64,
     .cumulative_lost = -3,
     .highest_seq = 0x10005,
     .jitter = 9,
     .last_sr = 0x22223333,
     .delay_since_sr = 65536},
    {.ssrc = 2, .fraction_lost = 255, .cumulative_lost = 0x7fffff},
};
static void put_bytes(const uint8_t *bytes, size_t size)
{
    memcpy(w.out + w.used, bytes, size);
    w.used += size;
}

static void build_compound(void)
{
    static const rtcp_nack_pair_t pairs[2] = {{100, 0x8001}, {200, 0}};
    static const uint8_t sdes[] = "\x81\xca\0\4\x11\x22\x33\x44\1\5a@b.c\6\0\0\0\0";
    static const uint8_t app[] = "\x9f\xcc\0\4\0\0\0\3ping12345678";
    static const uint8_t bye[] = "\x82\xcb\0\4\x11\x22\x33\x44\0\0\0\5\4done\0\0\0";
    rtcp_writer_init(&w, out, sizeof out);
    CHECK_EQ(rtcp_put_sr(&w, &sender, reports, 2), 0);
    CHECK_EQ(rtcp_put_rr(&w, 8, reports, 1), 0);
    put_bytes(sdes, sizeof sdes - 1);
    CHECK_EQ(rtcp_put_cname(&w, 0x11223344, "a@b", 3), 0);
    put_bytes(app, sizeof app - 1);
    CHECK_EQ(rtcp_put_nack(&w, 4, 5, pairs, 2), 0);
    put_bytes(bye, sizeof bye - 1);
    CHECK_EQ(rtcp_put_bye(&w, 6), 0);
}

static void next_is(rtcp_type_t type, unsigned count)
{
    CHECK_EQ(rtcp_next(&reader, &packet), 1);
    CHECK_EQ(packet.type, type);
    CHECK_EQ(packet.count, count);
}

static void check_report(unsigned i, const rtcp_report_t *expected)
{
    rtcp_report_t r;
    rtcp_read_report(&packet, i, &r);
    CHECK_EQ(r.ssrc, expected->ssrc);
    CHECK_EQ(r.fraction_lost, expected->fraction_lost);
    CHECK_EQ(r.cumulative_lost, expected->cumulative_lost);
    CHECK_EQ(r.highest_seq, expected->highest_seq);
    CHECK_EQ(r.jitter, expected->jitter);
    CHECK_EQ(r.last_sr, expected->last_sr);
    CHECK_EQ(r.delay_since_sr, expected->delay_since_sr);
}

static void test_compound_reads_back(void)
{
    rtcp_sender_t s;
    rtcp_sdes_reader_t sdes;
    rtcp_sdes_item_t item;
    build_compound();
    CHECK_EQ(w.used % 4, 0);
    CHECK_EQ(rtcp_check(out, w.used, false), RTCP_OK);
    rtcp_reader_init(&reader, out, w.used);
    next_is(RTCP_SR, 2);
    rtcp_read_sr(&packet, &s);
    CHECK_EQ(s.ssrc, sender.ssrc);
    CHECK_EQ(s.ntp, sender.ntp);
    CHECK_EQ(s.rtp_ts, sender.rtp_ts);
    CHECK_EQ(s.packets, sender.packets);
    CHECK_EQ(s.octets, sender.octets);
    check_report(0, &reports[0]);
    check_report(1, &reports[1]);
    next_is(RTCP_RR, 1);
    CHECK_EQ(rtcp_packet_source(&packet), 8);
    check_report(0, &reports[0]);
    next_is(RTCP_SDES, 1);
    rtcp_sdes_reader_init(&sdes, &packet);
    CHECK_EQ(rtcp_sdes_next(&sdes, &item), 1);
    CHECK_EQ(item.ssrc, 0x11223344);
    CHECK_EQ(item.type, RTCP_SDES_CNAME);
    CHECK_EQ(item.bytes, 5);
    CHECK_MEM_EQ(item.text, "a@b.c", 5);
    CHECK_EQ(rtcp_sdes_next(&sdes, &item), 1);
    CHECK_EQ(item.type, SDES_TOOL);
    CHECK_EQ(rtcp_sdes_next(&sdes, &item), 0);
    next_is(RTCP_SDES, 1);
    rtcp_sdes_reader_init(&sdes, &packet);
    CHECK_EQ(rtcp_sdes_next(&sdes, &item), 1);
    CHECK_EQ(item.ssrc, 0x11223344);
    CHECK_EQ(item.type, RTCP_SDES_CNAME);
    CHECK_EQ(item.bytes, 3);
    CHECK_MEM_EQ(item.text, "a@b", 3);
    CHECK_EQ(rtcp_sdes_next(&sdes, &item), 0);
    next_is(RTCP_APP, 31);
    next_is(RTCP_RTPFB, RTCP_FMT_NACK);
    CHECK_EQ(rtcp_packet_source(&packet), 4);
    CHECK_EQ(rtcp_nack_media_source(&packet), 5);
    CHECK_EQ(rtcp_nack_pair_count(&packet), 2);
    CHECK_EQ(rtcp_nack_pair(&packet, 0).pid, 100);
    CHECK_EQ(rtcp_nack_pair(&packet, 0).blp, 0x8001);
    CHECK_EQ(rtcp_nack_pair(&packet, 1).pid, 200);
    next_is(RTCP_BYE, 2);
    CHECK_EQ(rtcp_bye_source(&packet, 1), 5);
    next_is(RTCP_BYE, 1);
    CHECK_EQ(rtcp_bye_source(&packet, 0), 6);
    CHECK_EQ(rtcp_next(&reader, &packet), 0);
}

static void test_compound_cut_anywhere_is_refused(void)
{
    build_compound();
    for (size_t size = 0; size < w.used; size++) {
        uint8_t *copy = malloc(size > 0 ? size : 1);
        memcpy(copy, out, size);
        /* Whole packets that end at the cut are a compound of their own. */
        rtcp_reader_init(&reader, copy, size);
        int rc;
        while ((rc = rtcp_next(&reader, &packet)) == 1)
            ;
        rtcp_error_t error = rtcp_check(copy, size, false);
        CHECK(size == 0 ? error == RTCP_ERR_SHORT : (rc == 0) == (error == RTCP_OK));
        free(copy);
    }
}

static rtcp_error_t check_bytes(const char *bytes, size_t size)
{
    uint8_t *copy = malloc(size);
    memcpy(copy, bytes, size);
    rtcp_error_t error = rtcp_check(copy, size, false);
    free(copy);
    return error;
}

static void test_each_fault_has_its_error(void)
{
    CHECK_EQ(check_bytes("\x80\xc9\0", 3), RTCP_ERR_SHORT);
    CHECK_EQ(check_bytes("\x40\xc9\0\1\0\0\0\0", 8), RTCP_ERR_VERSION);
    CHECK_EQ(check_bytes("\x80\xca\0\0", 4), RTCP_ERR_FIRST);
    CHECK_EQ(check_bytes("\x80\xcd\0\0", 4), RTCP_ERR_FIRST);
    CHECK_EQ(check_bytes("\x81\xcb\0\1\0\0\0\1", 8), RTCP_OK);
    CHECK_EQ(check_bytes("\x80\xcc\0\2\0\0\0\1PING\x80\xc9\0\1\0\0\0\1", 20), RTCP_OK);
    CHECK_EQ(check_bytes("\x80\xc9\0\2\0\0\0\0", 8), RTCP_ERR_LENGTH);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\0", 9), RTCP_ERR_LENGTH);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x40\xcb\0\0", 12), RTCP_ERR_VERSION);
    CHECK_EQ(check_bytes("\x80\xc9\0\0", 4), RTCP_ERR_BODY);
    CHECK_EQ(check_bytes("\x81\xc9\0\1\0\0\0\0", 8), RTCP_ERR_BODY);
    CHECK_EQ(check_bytes("\x80\xc8\0\1\0\0\0\0", 8), RTCP_ERR_BODY);
    /* padding: of the last packet, fine; too long; 0; not a multiple of 4; of one before the last
     */
    CHECK_EQ(check_bytes("\xa0\xc9\0\2\0\0\0\0\0\0\0\4", 12), RTCP_OK);
    CHECK_EQ(check_bytes("\xa0\xc9\0\2\0\0\0\0\0\0\0\x0c", 12), RTCP_ERR_PADDING);
    CHECK_EQ(check_bytes("\xa0\xc9\0\2\0\0\0\0\0\0\0\0", 12), RTCP_ERR_PADDING);
    CHECK_EQ(check_bytes("\xa0\xc9\0\2\0\0\0\0\0\0\0\3", 12), RTCP_ERR_PADDING);
    CHECK_EQ(check_bytes("\xa0\xc9\0\2\0\0\0\0\0\0\0\4\x80\xcb\0\0", 16), RTCP_ERR_PADDING);
    /* SDES: item longer than the packet; no end; chunk without SSRC */
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x81\xca\0\2\0\0\0\1\1\3ab", 20), RTCP_ERR_BODY);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x81\xca\0\2\0\0\0\1\1\2ab", 20), RTCP_ERR_BODY);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x81\xca\0\2\0\0\0\1\1\1a\0", 20), RTCP_OK);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x81\xca\0\0", 12), RTCP_ERR_BODY);
    /* BYE: sources missing; reason longer than the packet. APP: no name. NACK: no pair. */
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x82\xcb\0\1\0\0\0\1", 16), RTCP_ERR_BODY);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x80\xcb\0\1\4abc", 16), RTCP_ERR_BODY);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x80\xcb\0\1\3abc", 16), RTCP_OK);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x80\xcc\0\1\0\0\0\1", 16), RTCP_ERR_BODY);
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x81\xcd\0\2\0\0\0\1\0\0\0\2", 20), RTCP_ERR_BODY);
    /* What we know nothing of passes. */
    CHECK_EQ(check_bytes("\x80\xc9\0\1\0\0\0\0\x8f\xcf\0\0", 12), RTCP_OK);
}

static void test_reduced_size_and_mux(void)
{
    CHECK_EQ(rtcp_check((const uint8_t *)"\x80\xca\0\0", 4, true), RTCP_OK);
    CHECK(rtcp_is_rtcp((const uint8_t *)"\x80\xc8", 2));
    CHECK(rtcp_is_rtcp((const uint8_t *)"\x81\xcd", 2));
    CHECK(!rtcp_is_rtcp((const uint8_t *)"\x80\x80", 2)); /* PCMU with its marker */
    CHECK(!rtcp_is_rtcp((const uint8_t *)"\x80\xe0", 2)); /* payload type 96 with its marker */
    CHECK(!rtcp_is_rtcp((const uint8_t *)"\x00\xc8", 2)); /* STUN */
    CHECK(!rtcp_is_rtcp((const uint8_t *)"\x80", 1));
}

static void test_what_does_not_fit_leaves_no_trace(void)
{
    static const char text[256] = "";
    rtcp_writer_init(&w, out, 27);
    CHECK_EQ(rtcp_put_sr(&w, &sender, NULL, 0), -ENOSPC);
    CHECK_EQ(w.used, 0);
    CHECK_EQ(rtcp_put_rr(&w, 1, NULL, 0), 0);
    CHECK_EQ(rtcp_put_cname(&w, 1, "name@a.b", 8), -ENOSPC);
    CHECK_EQ(w.used, 8);
    CHECK_EQ(rtcp_put_rr(&w, 1, NULL, 0), 0);
    CHECK_EQ(rtcp_put_rr(&w, 1, NULL, 0), 0);
    CHECK_EQ(rtcp_put_bye(&w, 1), -ENOSPC);
    CHECK_EQ(w.used, 24);
    rtcp_writer_init(&w, out, sizeof out);
    CHECK_EQ(rtcp_put_rr(&w, 1, NULL, 32), -EINVAL);
    CHECK_EQ(rtcp_put_sr(&w, &sender, NULL, 32), -EINVAL);
    CHECK_EQ(rtcp_put_cname(&w, 1, text, 256), -EINVAL);
    CHECK_EQ(rtcp_put_nack(&w, 1, 2, NULL, 0), -EINVAL);
    CHECK_EQ(w.used, 0);
}

static void test_nacks_are_packed(void)
{
    static const uint16_t seqs[] = {65530, 65531, 10, 11, 30, 40, 40};
    rtcp_nack_pair_t pairs[7];
    CHECK_EQ(rtcp_nack_pack(seqs, 7, pairs), 3);
    CHECK_EQ(pairs[0].pid, 65530);
    CHECK_EQ(pairs[0].blp, 1 | 1 << 15);
    CHECK_EQ(pairs[1].pid, 11);
    CHECK_EQ(pairs[1].blp, 0);
    CHECK_EQ(pairs[2].pid, 30);
    CHECK_EQ(pairs[2].blp, 1 << 9);
}

static void test_ntp_times(void)
{
    CHECK_EQ(rtcp_ntp_from_real_ns(0), UINT64_C(2208988800) << 32);
    CHECK_EQ((uint32_t)rtcp_ntp_from_real_ns(SECOND / 2), 0x80000000);
    CHECK_EQ(rtcp_ntp_mid(UINT64_C(0x1111222233334444)), 0x22223333);
    uint64_t random = 11;
    for (unsigned i = 0; i < 1000; i++) {
        /* up to 2100: beyond the end of NTP's first era, in 2036 */
        int64_t ns = (int64_t)(rt_test_rand(&random) % UINT64_C(4102444800000000000));
        CHECK_EQ(rtp_real_ns_from_ntp(rtcp_ntp_from_real_ns(ns)), ns);
    }
    CHECK_EQ(rtcp_ns_to_mid(SECOND), 65536);
    CHECK_EQ(rtcp_ns_to_mid(-1), 0);
    CHECK_EQ(rtcp_ns_to_mid(70000 * SECOND), UINT32_MAX);
}

int main(void)
{
    RUN(test_compound_reads_back);
    RUN(test_compound_cut_anywhere_is_refused);
    RUN(test_each_fault_has_its_error);
    RUN(test_reduced_size_and_mux);
    RUN(test_what_does_not_fit_leaves_no_trace);
    RUN(test_nacks_are_packed);
    RUN(test_ntp_times);
    return rt_test_result();
}
