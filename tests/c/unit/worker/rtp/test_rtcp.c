/* The engine "rtp", RTCP: reports both ways against a peer that the test plays, goodbyes, repair by
 * NACK in either role, and what hostile RTCP does. */
#include "unit/worker/rtp/rtp_test.h"

#include "proto/rtp/rtcp.h"

static wt_worker_t worker;

#define PEER 0xcafeu
#define OURS 0x11223344u

typedef struct session {
    wt_channel_t ch;
    shm_rtp_config_t rtp;
    int media; /* the peer's sockets; one and the same with mux */
    int rtcp;
    uint16_t media_port; /* of the channel */
    uint16_t rtcp_port;
} session_t;

/* Reports every few tens of milliseconds. */
static shm_rtp_config_t talkative(shm_rtp_rtcp_t rtcp)
{
    shm_rtp_config_t c = rtpt_stream();
    c.rtcp = (uint8_t)rtcp;
    c.rtcp_interval_ns = 40 * RT_NS_PER_MS;
    c.rtcp_bandwidth_bps = 10e6;
    c.min_sequential = 1;
    c.min_delay_ns = c.first_delay_ns = 500 * RT_NS_PER_MS;
    c.max_delay_ns = RT_NS_PER_S;
    (void)snprintf(c.cname, sizeof c.cname, "us@test");
    return c;
}

/* Two sockets on neighbouring ports. */
static bool open_peer_pair(session_t *s, uint16_t *port)
{
    for (int i = 0; i < 100; i++) {
        s->media = wt_udp(port);
        s->rtcp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in at = rtpt_address((uint16_t)(*port + 1));
        if (bind(s->rtcp, (struct sockaddr *)&at, sizeof at) == 0)
            return true;
        close(s->media);
        close(s->rtcp);
    }
    return false;
}

static bool start_with(session_t *s, const char *name, unsigned direction,
                       void (*change)(shm_config_t *c))
{
    uint16_t port = 0;
    bool mux = s->rtp.rtcp == SHM_RTP_RTCP_MUX;
    if (mux)
        s->rtcp = s->media = wt_udp(&port);
    else if (!CHECK(open_peer_pair(s, &port)))
        return false;
    s->ch = (wt_channel_t){.config = rtpt_config(name, port, direction, &s->rtp)};
    if (change != NULL)
        change(&s->ch.config);
    if (!wt_open(&worker, &s->ch))
        return false;
    wt_nap_ms(20);
    s->media_port = s->ch.segment.status->bound.port;
    s->rtcp_port = (uint16_t)(s->media_port + !mux);
    return true;
}

static bool start(session_t *s, const char *name, unsigned direction, shm_rtp_rtcp_t rtcp)
{
    s->rtp = talkative(rtcp);
    return start_with(s, name, direction, NULL);
}

static void end(session_t *s)
{
    rtpt_close(&worker, &s->ch);
    if (s->rtcp != s->media)
        close(s->rtcp);
    close(s->media);
}

/* --- the peer's RTCP ----------------------------------------------------------------------- */

typedef struct compound {
    uint8_t data[RTPT_BYTES];
    int bytes;
    int64_t at_mono_ns;
    bool has_sr, has_rr, has_bye, has_nack;
    rtcp_sender_t sender;
    uint32_t reporter;
    unsigned reports;
    rtcp_report_t report;
    char cname[256];
    uint32_t nack_from;
    uint32_t nack_to;
    unsigned nack_pairs;
    rtcp_nack_pair_t nack;
} compound_t;

static void read_packet(compound_t *c, const rtcp_packet_t *p)
{
    rtcp_sdes_reader_t reader;
    rtcp_sdes_item_t item;
    if (p->type == RTCP_SR) {
        c->has_sr = true;
        rtcp_read_sr(p, &c->sender);
        c->reporter = c->sender.ssrc;
    } else if (p->type == RTCP_RR) {
        c->has_rr = true;
        c->reporter = rtcp_packet_source(p);
    } else if (p->type == RTCP_BYE) {
        c->has_bye = true;
    } else if (p->type == RTCP_RTPFB) {
        c->has_nack = true;
        c->nack_from = rtcp_packet_source(p);
        c->nack_to = rtcp_nack_media_source(p);
        c->nack_pairs = rtcp_nack_pair_count(p);
        c->nack = rtcp_nack_pair(p, 0);
    } else if (p->type == RTCP_SDES) {
        rtcp_sdes_reader_init(&reader, p);
        while (rtcp_sdes_next(&reader, &item) == 1)
            if (item.type == RTCP_SDES_CNAME)
                memcpy(c->cname, item.text, item.bytes);
    }
    if ((p->type == RTCP_SR || p->type == RTCP_RR) && p->count > 0) {
        c->reports = p->count;
        rtcp_read_report(p, 0, &c->report);
    }
}

/* The next compound that the peer gets; media are passed over. */
static bool get_compound(const session_t *s, compound_t *c, bool reduced, int timeout_ms)
{
    int64_t until = rt_mono_ns() + timeout_ms * RT_NS_PER_MS;
    do {
        memset(c, 0, sizeof *c);
        c->bytes = wt_recv(s->rtcp, c->data, sizeof c->data, timeout_ms);
        c->at_mono_ns = rt_mono_ns();
        if (c->bytes < 0)
            return false;
    } while (!rtcp_is_rtcp(c->data, (size_t)c->bytes) && rt_mono_ns() < until);
    CHECK_EQ(rtcp_check(c->data, (size_t)c->bytes, reduced), RTCP_OK);
    rtcp_reader_t reader;
    rtcp_packet_t packet;
    rtcp_reader_init(&reader, c->data, (size_t)c->bytes);
    while (rtcp_next(&reader, &packet) == 1)
        read_packet(c, &packet);
    return true;
}

static void send_rr(const session_t *s, uint32_t from, const rtcp_report_t *report,
                    const char *cname)
{
    uint8_t data[RTPT_BYTES];
    rtcp_writer_t w;
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_rr(&w, from, report, report != NULL), 0);
    CHECK_EQ(rtcp_put_cname(&w, from, cname, strlen(cname)), 0);
    rtpt_send_bytes(s->rtcp, s->rtcp_port, data, w.used);
}

static void send_sr(const session_t *s, uint64_t ntp, const char *cname)
{
    uint8_t data[RTPT_BYTES];
    rtcp_writer_t w;
    rtcp_sender_t sender = {
        .ssrc = PEER, .ntp = ntp, .rtp_ts = 4242, .packets = 17, .octets = 1700};
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_sr(&w, &sender, NULL, 0), 0);
    CHECK_EQ(rtcp_put_cname(&w, PEER, cname, strlen(cname)), 0);
    rtpt_send_bytes(s->rtcp, s->rtcp_port, data, w.used);
}

static void send_bye(const session_t *s, uint32_t from)
{
    uint8_t data[RTPT_BYTES];
    rtcp_writer_t w;
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_rr(&w, from, NULL, 0), 0);
    CHECK_EQ(rtcp_put_bye(&w, from), 0);
    rtpt_send_bytes(s->rtcp, s->rtcp_port, data, w.used);
}

static void send_nacks(const session_t *s, const rtcp_nack_pair_t *pairs, size_t count)
{
    uint8_t data[RTPT_BYTES];
    rtcp_writer_t w;
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_rr(&w, PEER, NULL, 0), 0);
    CHECK_EQ(rtcp_put_nack(&w, PEER, OURS, pairs, count), 0);
    rtpt_send_bytes(s->rtcp, s->rtcp_port, data, w.used);
}

/* --- reports ------------------------------------------------------------------------------- */

static void reports_of_a_sender(shm_rtp_rtcp_t rtcp)
{
    session_t s;
    enum { FRAMES = 60 };
    REQUIRE(start(&s, "sr", SHM_TX, rtcp));
    for (int i = 0; i < FRAMES; i++)
        CHECK_EQ(rtpt_frame(&s.ch, "0123456789", 10), 0);
    compound_t c;
    do
        REQUIRE(get_compound(&s, &c, false, WT_TIMEOUT_MS));
    while (!c.has_sr || c.sender.packets < 10);
    CHECK_EQ(c.sender.ssrc, OURS);
    CHECK_STR_EQ(c.cname, "us@test");
    CHECK_EQ(c.sender.octets, 10 * c.sender.packets);
    CHECK_EQ(c.reports, 0);
    int64_t said = rtp_real_ns_from_ntp(c.sender.ntp);
    int64_t ago = rt_real_ns() - said;
    CHECK(ago > -RT_NS_PER_MS && ago < 5 * RT_NS_PER_S);
    /* At that moment so many packets had left, one each 40 units. */
    int32_t ahead = (int32_t)(c.sender.rtp_ts - 1000) - 40 * (int32_t)c.sender.packets;
    CHECK(ahead >= -80 && ahead < 8000);

    wt_nap_ms(15);
    rtcp_report_t about_us = {
        .ssrc = OURS,
        .fraction_lost = 51,
        .cumulative_lost = -3,
        .highest_seq = 0x1ffff,
        .jitter = 99,
        .last_sr = rtcp_ntp_mid(c.sender.ntp),
        .delay_since_sr = rtcp_ns_to_mid(rt_mono_ns() - c.at_mono_ns),
    };
    send_rr(&s, PEER, &about_us, "them@test");
    CHECK(rtpt_gauge_is(&s.ch, SHM_RTP_GAUGE_reported_fraction_lost, 51));
    int64_t rtt = rtpt_gauge(&s.ch, SHM_RTP_GAUGE_rtt_ns);
    CHECK(rtt >= 0 && rtt < 2 * RT_NS_PER_S);
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_reported_lost), -3);
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_reported_highest_seq), 0x1ffff);
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_reported_jitter_units), 99);
    CHECK_STR_EQ(rtpt_state(&s.ch)->remote_cname, "them@test");
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_rtcp_rr_received), 1);
    CHECK(rtpt_gauge_is(&s.ch, SHM_RTP_GAUGE_members, 2));
    CHECK(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_rtcp_sent) > 0);
    /* Silent for two intervals: no sender any more. */
    do
        REQUIRE(get_compound(&s, &c, false, WT_TIMEOUT_MS));
    while (!c.has_rr);
    CHECK_EQ(c.reporter, OURS);
    end(&s);
}

static void test_reports_of_a_sender(void)
{
    reports_of_a_sender(SHM_RTP_RTCP_MUX);
    reports_of_a_sender(SHM_RTP_RTCP_NEXT_PORT);
}

static void reports_of_a_receiver(shm_rtp_rtcp_t rtcp)
{
    session_t s;
    REQUIRE(start(&s, "rr", SHM_RX, rtcp));
    CHECK_EQ(s.media_port % 2 == 0 || rtcp == SHM_RTP_RTCP_MUX, 1);
    uint64_t ntp = rtcp_ntp_from_real_ns(rt_real_ns());
    int64_t next = rt_mono_ns();
    for (int i = 0; i < 40; i++) {
        if (i % 10 != 5)
            rtpt_send_packet(s.media, s.media_port, PEER, i);
        if (i == 3)
            send_sr(&s, ntp, "them@test");
        rtpt_pace(&next);
    }
    int64_t sr_sent = rt_mono_ns();
    compound_t c;
    uint32_t fractions = 0;
    do {
        REQUIRE(get_compound(&s, &c, false, WT_TIMEOUT_MS));
        CHECK(c.has_rr && !c.has_sr);
        CHECK_EQ(c.reporter, OURS);
        CHECK_STR_EQ(c.cname, "us@test");
        fractions += c.reports > 0 ? c.report.fraction_lost : 0;
    } while (c.reports == 0 || c.report.highest_seq != 65530 + 39);
    CHECK_EQ(c.report.ssrc, PEER);
    CHECK_EQ(c.report.cumulative_lost, 4);
    CHECK(fractions > 0);
    CHECK_EQ(c.report.last_sr, rtcp_ntp_mid(ntp));
    CHECK(c.report.delay_since_sr > 0);
    CHECK(c.report.delay_since_sr <=
          rtcp_ns_to_mid(c.at_mono_ns - sr_sent + 40 * RTPT_STEP_NS + RT_NS_PER_S));
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_sr_ntp), (int64_t)ntp);
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_sr_rtp_ts), 4242);
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_sr_packets), 17);
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_sr_octets), 1700);
    CHECK_STR_EQ(rtpt_state(&s.ch)->remote_cname, "them@test");
    end(&s);
}

static void test_reports_of_a_receiver(void)
{
    reports_of_a_receiver(SHM_RTP_RTCP_NEXT_PORT);
    reports_of_a_receiver(SHM_RTP_RTCP_MUX);
}

static void no_remote(shm_config_t *c)
{
    c->remote.family = 0;
}

/* Where no remote is configured, reports go to where the media come from. */
static void test_a_receiver_learns_its_remote(void)
{
    session_t s = {.rtp = talkative(SHM_RTP_RTCP_MUX)};
    REQUIRE(start_with(&s, "learns", SHM_RX, no_remote));
    compound_t c;
    CHECK(!get_compound(&s, &c, false, 100));
    for (int i = 0; i < 3; i++)
        rtpt_send_packet(s.media, s.media_port, PEER, i);
    REQUIRE(get_compound(&s, &c, false, WT_TIMEOUT_MS));
    CHECK(c.has_rr);
    end(&s);
}

static void test_members_come_and_go(void)
{
    session_t s;
    REQUIRE(start(&s, "members", SHM_RX, SHM_RTP_RTCP_MUX));
    for (uint32_t i = 1; i <= 5; i++)
        send_rr(&s, i, NULL, "x");
    CHECK(rtpt_gauge_is(&s.ch, SHM_RTP_GAUGE_members, 6));
    send_rr(&s, OURS, NULL, "x"); /* our own, looped back */
    send_bye(&s, 1);
    CHECK(rtpt_gauge_is(&s.ch, SHM_RTP_GAUGE_members, 5));
    /* More than are told apart: no harm. */
    uint64_t before = rtpt_count(&s.ch, SHM_RTP_COUNT_rtcp_rr_received);
    for (uint32_t i = 1; i <= 500; i++) {
        send_rr(&s, i, NULL, "x");
        if (i % 50 == 0)
            CHECK(rtpt_count_to(&s.ch, SHM_RTP_COUNT_rtcp_rr_received, before + i));
    }
    CHECK(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_members) <= 65);
    end(&s);
}

/* --- goodbyes ------------------------------------------------------------------------------ */

static void test_the_source_says_goodbye(void)
{
    session_t s;
    REQUIRE(start(&s, "bye", SHM_RX, SHM_RTP_RTCP_MUX));
    rtpt_got_t g;
    rtpt_send_packet(s.media, s.media_port, PEER, 0);
    REQUIRE(rtpt_get(&s.ch.reader, &g, WT_TIMEOUT_MS));
    send_bye(&s, 77); /* somebody else */
    send_bye(&s, PEER);
    do
        REQUIRE(rtpt_get(&s.ch.reader, &g, WT_TIMEOUT_MS));
    while (g.head.kind == SHM_RTP_GOT_ERASURE);
    CHECK_EQ(g.head.kind, SHM_RTP_GOT_BYE);
    CHECK_EQ(g.head.ssrc, PEER);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_rtcp_bye_received), 2);
    CHECK(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_bye_mono_ns) > 0);
    end(&s);
}

static void test_a_goodbye_overtakes_no_frame(void)
{
    session_t s;
    REQUIRE(start(&s, "byelast", SHM_RX, SHM_RTP_RTCP_MUX));
    rtpt_got_t g;
    int frames = 0;
    for (int i = 0; i < 5; i++)
        rtpt_send_packet(s.media, s.media_port, PEER, i);
    send_bye(&s, PEER);
    do {
        REQUIRE(rtpt_get(&s.ch.reader, &g, WT_TIMEOUT_MS));
        frames += g.head.kind == SHM_RTP_GOT_FRAME;
    } while (g.head.kind != SHM_RTP_GOT_BYE);
    CHECK_EQ(frames, 5);
    CHECK_EQ(g.head.ssrc, PEER);
    end(&s);
}

static void held(shm_config_t *c)
{
    c->held = 1;
}

static void test_we_say_goodbye(void)
{
    session_t s;
    compound_t c;
    s.rtp = talkative(SHM_RTP_RTCP_MUX);
    REQUIRE(start_with(&s, "leave", SHM_TX, held));
    CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
    CHECK_EQ(rtpt_mark(&s.ch, SHM_RTP_BYE), 0);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_RELEASE), 0);
    do
        REQUIRE(get_compound(&s, &c, false, WT_TIMEOUT_MS));
    while (!c.has_bye);
    CHECK(c.has_sr && c.sender.packets == 1);
    CHECK(!get_compound(&s, &c, false, 200)); /* who left is silent */
    CHECK_EQ(rtpt_frame(&s.ch, "y", 1), 0);   /* and comes back with the next word */
    do
        REQUIRE(get_compound(&s, &c, false, WT_TIMEOUT_MS));
    while (!c.has_sr);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_CLOSE), 0);
    do
        REQUIRE(get_compound(&s, &c, false, WT_TIMEOUT_MS));
    while (!c.has_bye);
    CHECK_EQ(c.reporter, OURS);
    wt_drop(&s.ch);
    close(s.media);
}

/* --- repair -------------------------------------------------------------------------------- */

static void asks_for_what_is_missing(bool reduced)
{
    session_t s = {.rtp = talkative(SHM_RTP_RTCP_MUX)};
    s.rtp.flags = (uint8_t)(SHM_RTP_NACK_RECEIVE | (reduced ? SHM_RTP_REDUCED_SIZE : 0));
    s.rtp.rtcp_interval_ns = 60 * RT_NS_PER_S; /* no report goes with it */
    s.rtp.nack_first_wait_ns = 500 * RT_NS_PER_MS;
    s.rtp.nack_retry_ns = s.rtp.nack_give_up_ns = 20 * RT_NS_PER_S;
    s.rtp.min_delay_ns = s.rtp.first_delay_ns = s.rtp.max_delay_ns = 2 * RT_NS_PER_S;
    REQUIRE(start_with(&s, "asks", SHM_RX, NULL));
    /* 7 shows that 4, 5 and 6 are missing, all at one moment; 5 is only late. */
    static const int order[] = {0, 1, 2, 3, 7, 5, 8, 9};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        rtpt_send_packet(s.media, s.media_port, PEER, order[i]);
    compound_t c;
    do
        REQUIRE(get_compound(&s, &c, reduced, WT_TIMEOUT_MS));
    while (!c.has_nack);
    CHECK_EQ(c.has_rr, !reduced);
    CHECK_EQ(c.nack_to, PEER);
    CHECK_EQ(c.nack_from, OURS);
    REQUIRE(c.nack_pairs == 1);
    CHECK_EQ(c.nack.pid, 65534);
    CHECK_EQ(c.nack.blp, 2);
    rtpt_send_packet(s.media, s.media_port, PEER, 4);
    rtpt_send_packet(s.media, s.media_port, PEER, 6);
    rtpt_got_t g;
    for (int i = 0; i < 10; i++) {
        REQUIRE(rtpt_get(&s.ch.reader, &g, WT_TIMEOUT_MS));
        CHECK_EQ(rtpt_value(&g), i);
        CHECK_EQ(g.head.flags, i == 4 || i == 6 ? SHM_RTP_RECOVERED : 0);
    }
    CHECK(rtpt_count_to(&s.ch, SHM_RTP_COUNT_nack_recovered, 2));
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_nack_missing), 3);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_nack_requested), 2);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_lost), 0);
    end(&s);
}

static void test_asks_for_what_is_missing(void)
{
    asks_for_what_is_missing(false);
    asks_for_what_is_missing(true);
}

static void test_sends_again_what_is_asked_for(void)
{
    session_t s = {.rtp = talkative(SHM_RTP_RTCP_NEXT_PORT)};
    s.rtp.flags = SHM_RTP_NACK_SEND;
    s.rtp.history_packets = 16;
    enum { FRAMES = 20 };
    REQUIRE(start_with(&s, "again", SHM_TX, NULL));
    static rtpt_packet_t sent[FRAMES];
    uint8_t media[10 * 40];
    memset(media, 7, sizeof media);
    shm_rtp_tx_t block = rtpt_head(SHM_RTP_BLOCK);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(rtpt_frame(&s.ch, &i, sizeof i), 0);
    CHECK_EQ(rtpt_push(&s.ch, &block, media, sizeof media, 0, NULL), 0);
    for (int i = 0; i < FRAMES; i++)
        REQUIRE(rtpt_recv(s.media, &sent[i], WT_TIMEOUT_MS));
    CHECK(rtpt_count_to(&s.ch, SHM_RTP_COUNT_sent, FRAMES));
    const rtcp_nack_pair_t asked[] = {
        {.pid = sent[8].view.seq, .blp = 0x5}, /* 8, 9, 11 */
        {.pid = sent[8].view.seq},             /* which was sent a moment ago */
        {.pid = sent[0].view.seq},             /* not kept any more */
    };
    send_nacks(&s, asked, 3);
    static const int expected[] = {8, 9, 11};
    for (int i = 0; i < 3; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.media, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.bytes, sent[expected[i]].bytes);
        CHECK_MEM_EQ(p.data, sent[expected[i]].data, (size_t)p.bytes);
    }
    CHECK(rtpt_silence(s.media, 50));
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_nack_heard), 5);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_nack_resent), 3);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_nack_gone), 2);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_sent), FRAMES);
    /* As much as one likes may be asked for; not so much is sent. */
    const rtcp_nack_pair_t all = {.pid = sent[4].view.seq, .blp = 0x7fff};
    int64_t began = rt_mono_ns();
    for (int i = 0; i < 200; i++)
        send_nacks(&s, &all, 1);
    int again = 0;
    rtpt_packet_t p;
    while (rtpt_recv(s.media, &p, 100))
        again++;
    int64_t ms = (rt_mono_ns() - began) / RT_NS_PER_MS;
    CHECK(again > 0 && again <= 33 + 2 * ms);
    end(&s);
}

static void lossy(shm_config_t *c)
{
    c->impair_tx.loss = 0.15;
    c->impair_tx.seed = 11;
}

/* Two channels of this engine over a bad link. */
static void test_two_channels_repair_each_others_losses(void)
{
    enum { FRAMES = 200 };
    session_t from = {.rtp = talkative(SHM_RTP_RTCP_MUX)},
              to = {.rtp = talkative(SHM_RTP_RTCP_MUX)};
    to.rtp.ssrc = PEER;
    to.rtp.flags = SHM_RTP_NACK_RECEIVE;
    to.rtp.min_delay_ns = to.rtp.first_delay_ns = to.rtp.max_delay_ns = 2 * RT_NS_PER_S;
    to.rtp.nack_give_up_ns = 2 * RT_NS_PER_S;
    to.rtp.nack_first_wait_ns = 2 * RT_NS_PER_MS;
    to.rtp.nack_retry_ns = 20 * RT_NS_PER_MS;
    to.rtp.nack_max_requests = 100;
    REQUIRE(start_with(&to, "to", SHM_RX, no_remote));
    from.rtp.flags = SHM_RTP_NACK_SEND;
    from.media = from.rtcp = -1;
    from.ch = (wt_channel_t){.config = rtpt_config("from", to.media_port, SHM_TX, &from.rtp)};
    lossy(&from.ch.config);
    REQUIRE(wt_open(&worker, &from.ch));
    for (int i = 0; i < FRAMES; i++)
        CHECK_EQ(rtpt_frame(&from.ch, &i, sizeof i), 0);
    rtpt_got_t g;
    int frames = 0, recovered = 0, last = -1;
    while (last < FRAMES - 1 && rtpt_get(&to.ch.reader, &g, 4000)) {
        if (g.head.kind != SHM_RTP_GOT_FRAME)
            continue;
        CHECK(rtpt_value(&g) > last);
        last = rtpt_value(&g);
        recovered += (g.head.flags & SHM_RTP_RECOVERED) != 0;
        frames++;
    }
    CHECK(wt_exact(&worker, &from.ch, SHM_COUNT_impair_tx_lost) > 10);
    CHECK(frames > FRAMES - 5); /* nobody asks for what is lost at the end */
    CHECK(recovered > 10);
    CHECK(rtpt_exact(&worker, &from.ch, SHM_RTP_COUNT_nack_resent) >= (uint64_t)recovered);
    CHECK(rtpt_exact(&worker, &to.ch, SHM_RTP_COUNT_nack_recovered) == (uint64_t)recovered);
    rtpt_close(&worker, &from.ch);
    end(&to);
}

/* --- hostile ------------------------------------------------------------------------------- */

static size_t hostile_compound(uint64_t *seed, uint8_t *data)
{
    rtcp_writer_t w;
    rtcp_report_t reports[4];
    rtcp_nack_pair_t pairs[8];
    for (size_t i = 0; i < sizeof reports; i++)
        ((uint8_t *)reports)[i] = (uint8_t)rt_test_rand(seed);
    for (size_t i = 0; i < sizeof pairs; i++)
        ((uint8_t *)pairs)[i] = (uint8_t)rt_test_rand(seed);
    reports[0].ssrc = OURS;
    for (int i = 0; i < 4; i++)
        reports[i].cumulative_lost %= 1 << 20;
    rtcp_sender_t sender = {.ssrc = PEER, .ntp = rt_test_rand(seed)};
    rtcp_writer_init(&w, data, RTPT_BYTES);
    (void)rtcp_put_sr(&w, &sender, reports, rt_test_rand(seed) % 4);
    (void)rtcp_put_nack(&w, PEER, OURS, pairs, 8);
    if (rt_test_rand(seed) % 4 == 0) {
        (void)rtcp_put_bye(&w, PEER);
        (void)rtcp_put_bye(&w, OURS);
    }
    for (uint64_t n = rt_test_rand(seed) % 5; n > 0; n--)
        data[rt_test_rand(seed) % w.used] = (uint8_t)rt_test_rand(seed);
    return rt_test_rand(seed) % 3 == 0 ? rt_test_rand(seed) % w.used : w.used;
}

/* Waits until so many compounds were heard, sound or not. */
static bool all_heard(const session_t *s, uint64_t compounds)
{
    uint64_t heard = 0;
    for (int i = 0; i < WT_TIMEOUT_MS && heard < compounds; i++) {
        if (i > 0)
            wt_nap_ms(1);
        heard = rtpt_count(&s->ch, SHM_RTP_COUNT_rtcp_received) +
                rtpt_count(&s->ch, SHM_RTP_COUNT_rtcp_malformed);
    }
    return heard == compounds;
}

static void test_hostile_rtcp(void)
{
    session_t s = {.rtp = talkative(SHM_RTP_RTCP_NEXT_PORT)};
    s.rtp.flags = SHM_RTP_NACK_SEND | SHM_RTP_NACK_RECEIVE | SHM_RTP_REDUCED_SIZE;
    enum { COMPOUNDS = 10000 };
    REQUIRE(start_with(&s, "hostile", SHM_DUPLEX, NULL));
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    for (int i = 0; i < 20; i++) {
        rtpt_send_packet(s.media, s.media_port, PEER, i);
        CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
    }
    int64_t began = rt_mono_ns();
    for (uint64_t i = 1; i <= COMPOUNDS; i++) {
        uint8_t data[RTPT_BYTES];
        rtpt_send_bytes(s.rtcp, s.rtcp_port, data, hostile_compound(&seed, data));
        if (i % 50 == 0)
            CHECK(all_heard(&s, i));
    }
    CHECK(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_rtcp_malformed) > 0);
    uint64_t ms = (uint64_t)((rt_mono_ns() - began) / RT_NS_PER_MS);
    CHECK(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_nack_resent) <= 33 + 2 * ms);
    wt_settle(&worker);
    end(&s);
}

static void test_a_successor_goes_on_reporting(void)
{
    session_t s;
    REQUIRE(start(&s, "heir", SHM_DUPLEX, SHM_RTP_RTCP_NEXT_PORT));
    compound_t c;
    for (int round = 0; round < 3; round++) {
        /* First what is reported on: after two reports without media we are no sender any more. */
        rtpt_send_packet(s.media, s.media_port, PEER, 100 * round);
        CHECK(rtpt_count_to(&s.ch, SHM_RTP_COUNT_valid, (uint64_t)round + 1));
        CHECK_EQ(rtpt_frame(&s.ch, "0123456789", 10), 0);
        do
            REQUIRE(get_compound(&s, &c, false, WT_TIMEOUT_MS));
        while (!c.has_sr || c.reports == 0 || (int)c.sender.packets <= round);
        CHECK_EQ(c.sender.packets, round + 1);
        CHECK_EQ(c.sender.octets, 10 * (round + 1));
        CHECK_EQ(c.report.ssrc, PEER);
        rtpt_replace_worker(&worker, &s.ch);
    }
    end(&s);
}

int main(void)
{
    if (!CHECK(wt_start(&worker, NULL)))
        return rt_test_result();
    RUN(test_reports_of_a_sender);
    RUN(test_reports_of_a_receiver);
    RUN(test_a_receiver_learns_its_remote);
    RUN(test_members_come_and_go);
    RUN(test_the_source_says_goodbye);
    RUN(test_a_goodbye_overtakes_no_frame);
    RUN(test_we_say_goodbye);
    RUN(test_asks_for_what_is_missing);
    RUN(test_sends_again_what_is_asked_for);
    RUN(test_two_channels_repair_each_others_losses);
    RUN(test_hostile_rtcp);
    RUN(test_a_successor_goes_on_reporting);
    wt_stop(&worker);
    return rt_test_result();
}
