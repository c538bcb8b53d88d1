#include <rtpjbuf.h>
#include <rtpsynth.h>

#include "rt_test.h"

static unsigned char packets[4096][172];

/* The number stands in the packet twice: as sequence number, and in the first bytes of payload. */
static const unsigned char *packet(unsigned i)
{
    unsigned char *p = packets[i % 4096];
    memset(p, 0, sizeof packets[0]);
    p[0] = 0x80;
    p[2] = (unsigned char)(i >> 8);
    p[3] = (unsigned char)i;
    uint32_t ts = i * 160;
    for (unsigned k = 0; k < 4; k++)
        p[4 + k] = (unsigned char)(ts >> (24 - 8 * k));
    p[11] = 5;
    p[12] = (unsigned char)i;
    return p;
}

static struct rjb_udp_in_r r;

static void offer(void *jb, unsigned i)
{
    r = rtpjbuf_udp_in(jb, packet(i), 172);
    CHECK_EQ(r.error, 0);
}

static unsigned release(struct rtp_frame *list)
{
    unsigned n = 0;
    while (list != NULL) {
        struct rtp_frame *next = list->next;
        if (list->type == RFT_RTP) {
            rtpjbuf_frame_dtor(list);
            n++;
        }
        list = next;
    }
    return n;
}

static void test_frames_carry_what_was_parsed(void)
{
    void *jb = rtpjbuf_ctor(3);
    offer(jb, 100);
    offer(jb, 101);
    CHECK(r.ready == NULL && r.drop == NULL);
    offer(jb, 102);
    const struct rtp_frame *f = r.ready;
    for (unsigned i = 100; i < 103; i++, f = f->next) {
        REQUIRE(f != NULL);
        CHECK_EQ(f->type, RFT_RTP);
        CHECK_EQ(f->rtp.lseq, i);
        CHECK_EQ(f->rtp.info.seq, i);
        CHECK_EQ(f->rtp.info.ts, i * 160);
        CHECK_EQ(f->rtp.info.ssrc, 5);
        CHECK_EQ(f->rtp.info.data_size, 160);
        CHECK_EQ(f->rtp.info.data_offset, 12);
        CHECK_EQ(f->rtp.info.nsamples, 160);
        CHECK_EQ(f->rtp.info.appendable, 1);
        CHECK(f->rtp.info.rtp_profile == &rtp_profiles[0]);
        CHECK(f->rtp.data == packets[i]);
    }
    CHECK(f == NULL);
    CHECK_EQ(release(r.ready), 3);
    rtpjbuf_dtor(jb);
}

static void test_erasure_comes_first_and_is_the_buffers(void)
{
    void *jb = rtpjbuf_ctor(2);
    offer(jb, 9);
    offer(jb, 10);
    CHECK_EQ(release(r.ready), 2);
    offer(jb, 14);
    offer(jb, 15);
    REQUIRE(r.ready != NULL);
    CHECK_EQ(r.ready->type, RFT_ERS);
    CHECK_EQ(r.ready->ers.lseq_start, 11);
    CHECK_EQ(r.ready->ers.lseq_end, 13);
    CHECK_EQ(r.ready->ers.ts_diff, 480);
    CHECK_EQ(release(r.ready), 2);
    rtpjbuf_dtor(jb);
}

static void test_drops_and_purge_age(void)
{
    void *jb = rtpjbuf_ctor(3);
    for (unsigned i = 10; i < 13; i++)
        offer(jb, i);
    CHECK_EQ(release(r.ready), 3);
    offer(jb, 500);
    offer(jb, 501);
    offer(jb, 12);
    CHECK_EQ(release(r.drop), 1);
    offer(jb, 12);
    CHECK_EQ(release(r.drop), 1);
    offer(jb, 12);
    REQUIRE(r.drop != NULL && r.drop->next != NULL);
    CHECK_EQ(r.drop->rtp.lseq, 12);
    CHECK_EQ(r.drop->next->rtp.lseq, 501);
    CHECK_EQ(r.drop->next->rtp.jbcnt, 3);
    CHECK_EQ(release(r.drop), 2);
    rtpjbuf_dtor(jb);
}

static void test_errors(void)
{
    struct rtp_info info;
    void *jb = rtpjbuf_ctor(3);
    r = rtpjbuf_udp_in(jb, (const unsigned char *)"", 0);
    CHECK_EQ(r.error, RTP_PARSER_PTOOSHRT);
    r = rtpjbuf_udp_in(jb, (const unsigned char *)"\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    CHECK_EQ(r.error, RTP_PARSER_IHDRVER);
    CHECK_EQ(rtp_packet_parse_raw((const unsigned char *)"\xa0\0\0\0\0\0\0\0\0\0\0\0\0", 13, &info),
             RTP_PARSER_IPS);
    CHECK_EQ(info.data_size, 0);
    CHECK_EQ(info.nsamples, RTP_NSAMPLES_UNKNOWN);
    CHECK_EQ(info.appendable, 1);
    CHECK_STR_EQ(rtp_parser_strerror(RTP_PARSER_OK), "no error");
    CHECK_STR_EQ(rtp_parser_strerror(RJB_ENOMEM), "out of memory");
    CHECK_STR_EQ(rtp_parser_strerror(RTP_PARSER_NOTPARSED), "unknown error");
    CHECK_STR_EQ(rtp_parser_strerror(-99), "unknown error");
    struct rtpjbuf_counters c;
    rtpjbuf_get_counters(jb, &c);
    CHECK_EQ(c.parse_errors, 2);
    rtpjbuf_dtor(jb);
}

static void test_two_kinds_of_flush(void)
{
    for (unsigned gentle = 0; gentle < 2; gentle++) {
        void *jb = rtpjbuf_ctor(10);
        offer(jb, 5);
        offer(jb, 7);
        offer(jb, 8);
        if (!gentle) {
            r = rtpjbuf_flush(jb);
            CHECK_EQ(r.ready->type, RFT_ERS);
            CHECK_EQ(r.ready->ers.lseq_start, 0);
            CHECK_EQ(release(r.ready), 2);
            CHECK_EQ(release(r.drop), 1);
        } else {
            r = rtpjbuf_drain(jb);
            CHECK_EQ(r.ready->type, RFT_RTP);
            CHECK_EQ(release(r.ready), 1);
            r = rtpjbuf_drain(jb);
            CHECK_EQ(r.ready->type, RFT_ERS);
            CHECK_EQ(release(r.ready), 2);
            r = rtpjbuf_drain(jb);
        }
        CHECK(gentle == 0 || r.ready == NULL);
        rtpjbuf_dtor(jb);
    }
}

/* Capacities without a bound, and beyond what memory holds, start small. */
static void test_odd_capacities(void)
{
    static const unsigned capacities[] = {0, 1, 2, 5000, 4294967295u};
    for (unsigned k = 0; k < 5; k++) {
        uint64_t random = 1;
        uint64_t back = 0;
        void *jb = rtpjbuf_ctor(capacities[k]);
        REQUIRE(jb != NULL);
        for (unsigned i = 0; i < 4000; i++) {
            offer(jb, (unsigned)(i * 3 + rt_test_rand(&random) % 40));
            back += release(r.ready) + release(r.drop);
        }
        if (capacities[k] == 0 || capacities[k] > 4000)
            CHECK(back < 4000);
        r = rtpjbuf_flush(jb);
        back += release(r.ready) + release(r.drop);
        CHECK_EQ(back, 4000);
        rtpjbuf_dtor(jb);
    }
    void *jb = rtpjbuf_ctor(50);
    for (unsigned i = 0; i < 40; i++)
        offer(jb, 2 * i + 2);
    rtpjbuf_dtor(jb); /* what it holds goes with it */
    rtpjbuf_dtor(NULL);
}

static void test_headers_overlay_the_wire(void)
{
    static const unsigned char wire[] = {0xb3, 0x92, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2};
    rtp_hdr_t h;
    memcpy(&h, wire, sizeof h);
    CHECK_EQ(sizeof(rtp_hdr_t), 12);
    CHECK_EQ(h.version, 2);
    CHECK_EQ(h.p, 1);
    CHECK_EQ(h.x, 1);
    CHECK_EQ(h.cc, 3);
    CHECK_EQ(h.mbt, 1);
    CHECK_EQ(h.pt, 18);
    CHECK_EQ(RTP_HDR_LEN(&h), 24);
    CHECK_EQ(SEQ_DIST(65535, 2), 3);
    static const struct {
        uint32_t a;
        uint32_t b;
        bool less;
    } pairs[] = {
        {1, 2, true},           {2, 1, false},           {2, 2, false},
        {0xfffffff0u, 5, true}, {0x80000000u, 0, false}, /* just between: neither is less */
        {0, 0x80000000u, false}};
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(ts_less(pairs[i].a, pairs[i].b), pairs[i].less);
}

int main(void)
{
    RUN(test_frames_carry_what_was_parsed);
    RUN(test_erasure_comes_first_and_is_the_buffers);
    RUN(test_drops_and_purge_age);
    RUN(test_errors);
    RUN(test_two_kinds_of_flush);
    RUN(test_odd_capacities);
    RUN(test_headers_overlay_the_wire);
    return rt_test_result();
}
