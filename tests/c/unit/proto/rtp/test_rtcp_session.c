/* Sessions against each other in virtual time: a link with a delay, media every 20 ms. */
#include "proto/rtp/rtcp_session.h"

#include "base/rt_clock.h"
#include "rt_test.h"
#include "rtp_build.h"

#include <errno.h>
#include <math.h>

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define START_NS (1000 * SECOND)
#define REAL_LESS_MONO_NS (INT64_C(1700000000) * SECOND + 123456789)

enum { MAX_PEERS = 100, MAX_FLYING = 1024, MEMBERS = 128, CLOCK_RATE = 8000, PTIME_SAMPLES = 160 };

typedef struct peer {
    rtcp_session_t session;
    rtcp_member_t members[MEMBERS];
    rtp_source_t source;
    rtcp_session_sent_t sent;
    int64_t media_due_ns; /* RT_NEVER_NS: sends none */
    int64_t step_ns;      /* of the wall clock */
    uint32_t ssrc;
    uint64_t rtcp_bytes; /* IP and UDP included */
    uint64_t recovered;
    uint64_t last_lost; /* counts packets, for losing some */
    int64_t last_report_ns;
    int64_t least_gap_ns;
    unsigned byes; /* of the source received */
} peer_t;

typedef struct flying {
    int64_t at_ns;
    unsigned from;
    unsigned to;
    bool is_rtcp;
    uint16_t seq;
    uint32_t ts;
    uint32_t bytes;
    uint8_t data[RTCP_SESSION_ROOM_BYTES];
} flying_t;

static peer_t peers[MAX_PEERS];
static unsigned peer_count;
static flying_t air[MAX_FLYING];
static unsigned in_air;
static int64_t now_ns;
static int64_t delay_ns;
static unsigned lose_every; /* media packet, the first time; 0: none */
static bool resend;         /* what is asked for */
static rtcp_session_got_t got;

static rtcp_session_config_t config_of(unsigned i)
{
    static char cname[MAX_PEERS][16];
    (void)snprintf(cname[i], sizeof cname[i], "p%u@test", i);
    return (rtcp_session_config_t){
        .ssrc = 0x1000 + i,
        .cname = cname[i],
        .bandwidth_bps = 3200,
        .nack_send = true,
        .nack_receive = true,
        .members = peers[i].members,
        .max_members = MEMBERS,
        .seed = i,
    };
}

static void start_peer(unsigned i, const rtcp_session_config_t *config)
{
    peer_t *p = &peers[i];
    rtp_source_config_t source = {.clock_rate = CLOCK_RATE};
    p->ssrc = config->ssrc;
    p->media_due_ns = RT_NEVER_NS;
    p->last_report_ns = 0;
    p->least_gap_ns = RT_NEVER_NS;
    p->rtcp_bytes = 0;
    p->recovered = 0;
    p->step_ns = 0;
    p->byes = 0;
    p->sent = (rtcp_session_sent_t){0};
    rtp_source_init(&p->source, &source);
    rtcp_session_init(&p->session, config, now_ns);
}

static void begin(unsigned count)
{
    now_ns = START_NS;
    peer_count = count;
    in_air = 0;
    delay_ns = 40 * MS;
    lose_every = 0;
    resend = true;
    for (unsigned i = 0; i < count; i++) {
        rtcp_session_config_t config = config_of(i);
        start_peer(i, &config);
    }
}

static flying_t *launch(unsigned from, unsigned to, bool is_rtcp)
{
    if (!CHECK(in_air < MAX_FLYING))
        exit(1);
    flying_t *f = &air[in_air++];
    *f = (flying_t){.at_ns = now_ns + delay_ns, .from = from, .to = to, .is_rtcp = is_rtcp};
    return f;
}

static uint32_t ts_at(int64_t at_ns)
{
    return (uint32_t)rtp_ns_to_units(at_ns - START_NS, CLOCK_RATE);
}

static void send_media(unsigned from, uint16_t seq, uint32_t ts)
{
    for (unsigned to = 0; to < peer_count; to++) {
        if (to == from)
            continue;
        flying_t *f = launch(from, to, false);
        f->seq = seq;
        f->ts = ts;
    }
}

static void send_rtcp(unsigned from, const uint8_t *data, int bytes)
{
    CHECK(bytes > 0 && bytes <= (int)RTCP_SESSION_ROOM_BYTES);
    CHECK_EQ(rtcp_check(data, (size_t)bytes, peers[from].session.config.reduced_size), RTCP_OK);
    peers[from].rtcp_bytes += (uint64_t)bytes + RTCP_UDP_IP_BYTES;
    for (unsigned to = 0; to < peer_count; to++) {
        if (to == from)
            continue;
        flying_t *f = launch(from, to, true);
        f->bytes = (uint32_t)bytes;
        memcpy(f->data, data, (size_t)bytes);
    }
}

static void media_is_due(unsigned i)
{
    peer_t *p = &peers[i];
    uint16_t seq = (uint16_t)p->sent.packets;
    p->sent.packets++;
    p->sent.octets += PTIME_SAMPLES;
    p->media_due_ns += 20 * MS;
    if (lose_every == 0 || p->sent.packets % lose_every != 0)
        send_media(i, seq, ts_at(now_ns));
}

static void rtcp_is_due(unsigned i)
{
    peer_t *p = &peers[i];
    uint8_t out[RTCP_SESSION_ROOM_BYTES];
    uint64_t nacks = p->session.counters.nack_sent;
    p->sent.rtp_ts = ts_at(now_ns);
    int bytes = rtcp_session_emit(&p->session, &p->sent, &p->source, now_ns,
                                  now_ns + REAL_LESS_MONO_NS + p->step_ns, out, sizeof out);
    CHECK(bytes != 0 || rtcp_session_due_ns(&p->session) > now_ns);
    if (bytes == 0)
        return;
    if (nacks == p->session.counters.nack_sent) {
        if (p->last_report_ns != 0 && now_ns - p->last_report_ns < p->least_gap_ns)
            p->least_gap_ns = now_ns - p->last_report_ns;
        p->last_report_ns = now_ns;
    }
    send_rtcp(i, out, bytes);
}

static void media_arrives(peer_t *p, const flying_t *f)
{
    rtp_view_t view = {.seq = f->seq, .ts = f->ts, .ssrc = peers[f->from].ssrc};
    uint64_t extended;
    rtp_verdict_t verdict = rtp_source_packet(&p->source, &view, now_ns, &extended);
    if (rtcp_session_media(&p->session, verdict, view.ssrc, extended, now_ns))
        p->recovered++;
}

static void rtcp_arrives(peer_t *p, const flying_t *f)
{
    uint8_t *exact = malloc(f->bytes);
    memcpy(exact, f->data, f->bytes);
    CHECK_EQ(rtcp_session_receive(&p->session, exact, f->bytes, now_ns, &p->source, &got), 0);
    free(exact);
    p->byes += got.source_left;
    for (uint32_t i = 0; resend && i < got.resend_count; i++)
        send_media((unsigned)(p - peers), got.resend[i], got.resend[i] * PTIME_SAMPLES);
}

static void land(unsigned at)
{
    flying_t f = air[at];
    in_air--;
    memmove(&air[at], &air[at + 1], (in_air - at) * sizeof air[0]);
    peer_t *p = &peers[f.to];
    if (f.is_rtcp)
        rtcp_arrives(p, &f);
    else
        media_arrives(p, &f);
}

/* Goes on to the next event. Returns false where that lies behind end_ns. */
static bool step(int64_t end_ns)
{
    int64_t next_ns = RT_NEVER_NS;
    unsigned which = 0;
    unsigned flying = MAX_FLYING;
    bool is_media = false;
    for (unsigned i = 0; i < in_air; i++) {
        if (air[i].at_ns < next_ns) {
            next_ns = air[i].at_ns;
            flying = i;
        }
    }
    for (unsigned i = 0; i < peer_count; i++) {
        int64_t rtcp_ns = rtcp_session_due_ns(&peers[i].session);
        int64_t due_ns = rtcp_ns < peers[i].media_due_ns ? rtcp_ns : peers[i].media_due_ns;
        if (due_ns < next_ns) {
            next_ns = due_ns;
            which = i;
            flying = MAX_FLYING;
            is_media = due_ns != rtcp_ns;
        }
    }
    if (next_ns > end_ns)
        return false;
    now_ns = next_ns > now_ns ? next_ns : now_ns;
    if (flying < MAX_FLYING)
        land(flying);
    else if (is_media)
        media_is_due(which);
    else
        rtcp_is_due(which);
    return true;
}

static void run_for(int64_t span_ns)
{
    int64_t end_ns = now_ns + span_ns;
    while (step(end_ns))
        ;
    now_ns = end_ns;
}

static void test_a_compound_needs_its_room(void)
{
    static rtcp_session_t s;
    now_ns = START_NS;
    rtcp_session_config_t good = config_of(0);
    uint8_t out[RTCP_SESSION_ROOM_BYTES];
    rtcp_session_sent_t none = {0};
    rtcp_session_init(&s, &good, now_ns);
    CHECK_EQ(rtcp_session_emit(&s, &none, NULL, now_ns, 0, out, sizeof out - 1), -ENOSPC);
    CHECK_EQ(rtcp_session_leave(&s, &none, NULL, now_ns, 0, out, sizeof out - 1), -ENOSPC);
}

static void test_two_know_each_other(void)
{
    begin(2);
    peers[0].media_due_ns = now_ns;
    peers[1].media_due_ns = now_ns + 7 * MS;
    run_for(60 * SECOND);
    for (unsigned i = 0; i < 2; i++) {
        const rtcp_session_t *s = &peers[i].session;
        CHECK_EQ(rtcp_session_members(s), 2);
        CHECK_EQ(rtcp_session_senders(s), 2);
        const rtcp_member_t *other = rtcp_session_source(s);
        REQUIRE(other != NULL);
        CHECK_EQ(other->ssrc, peers[1 - i].ssrc);
        CHECK_STR_EQ(other->cname, peers[1 - i].session.cname);
        /* The clock pair: media time and wall clock of one instant, and when we heard of it. */
        CHECK(other->sr_ns > 0 && other->sr.packets > 0);
        int64_t sent_ns = rtp_real_ns_from_ntp(other->sr.ntp) - REAL_LESS_MONO_NS;
        CHECK_EQ(other->sr_ns - sent_ns, delay_ns);
        CHECK_EQ(other->sr.rtp_ts, ts_at(sent_ns));
        CHECK_EQ(other->sr.octets, other->sr.packets * PTIME_SAMPLES);
        CHECK(llabs(s->reported.rtt_ns - 2 * delay_ns) < MS);
        CHECK(s->reported.mono_ns > now_ns - 10 * SECOND);
        CHECK_EQ(s->reported.report.cumulative_lost, 0);
        CHECK(s->reported.report.jitter <= 1);
        CHECK(s->counters.sr_received >= 6 && s->counters.rr_received <= 1);
        CHECK_EQ(s->counters.malformed, 0);
        CHECK_EQ(s->counters.received, s->counters.sr_received + s->counters.rr_received);
    }
}

static void test_round_trip_is_measured_whatever_the_wall_clock_does(void)
{
    static const int64_t delays_ns[] = {0, 100000, 5 * MS, 150 * MS, 900 * MS};
    for (size_t i = 0; i < sizeof delays_ns / sizeof delays_ns[0]; i++) {
        begin(2);
        delay_ns = delays_ns[i];
        peers[0].media_due_ns = now_ns;
        peers[1].media_due_ns = now_ns;
        for (unsigned n = 0; n < 40; n++) {
            run_for(SECOND);
            peers[0].step_ns += 3600 * SECOND;
        }
        CHECK(llabs(peers[0].session.reported.rtt_ns - 2 * delay_ns) < MS);
        CHECK(llabs(peers[1].session.reported.rtt_ns - 2 * delay_ns) < MS);
        int64_t retry_ns = peers[0].session.nack.config.retry_ns;
        CHECK(retry_ns >= peers[0].session.reported.rtt_ns && retry_ns >= 50 * MS);
    }
}

static void test_a_report_that_names_no_sr_of_ours_gives_no_round_trip(void)
{
    uint8_t data[64];
    rtcp_writer_t w;
    rtcp_report_t report = {.ssrc = 0x1000, .last_sr = 0x12345678, .fraction_lost = 7};
    begin(2);
    peers[0].media_due_ns = now_ns;
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_rr(&w, 9, &report, 1), 0);
    CHECK_EQ(rtcp_session_receive(&peers[0].session, data, w.used, now_ns, NULL, &got), 0);
    CHECK(got.is_about_us);
    CHECK_EQ(peers[0].session.reported.rtt_ns, -1);
    CHECK_EQ(peers[0].session.reported.report.fraction_lost, 7);
}

static void test_loss_and_jitter_are_reported(void)
{
    begin(2);
    peers[0].session.config.nack_receive = false;
    peers[1].session.config.nack_receive = false;
    peers[0].media_due_ns = now_ns;
    lose_every = 8;
    run_for(20 * SECOND);
    uint64_t packets_before = peers[0].sent.packets;
    /* From here on each second packet takes 10 ms longer: a transit that goes 80 units up and
     * down; the estimate tends to 80. */
    for (unsigned i = 0; i < 2000; i++) {
        delay_ns = 40 * MS + (i % 2) * 10 * MS;
        run_for(20 * MS);
    }
    const rtcp_session_reported_t *r = &peers[0].session.reported;
    CHECK(r->report.fraction_lost >= 24 && r->report.fraction_lost <= 40); /* 32 is an eighth */
    double share = (double)r->report.cumulative_lost / (double)peers[0].sent.packets;
    CHECK(share > 0.10 && share < 0.13);
    CHECK(r->report.jitter > 60 && r->report.jitter <= 81);
    CHECK(r->report.highest_seq > packets_before);
    CHECK_EQ(r->report.ssrc, peers[0].ssrc);
    /* The receiver sends no media: RR of it, and no block about it. */
    CHECK_EQ(peers[0].session.counters.sr_received, 0);
    CHECK_EQ(peers[1].session.reported.mono_ns, 0);
    CHECK_EQ(peers[1].session.reported.rtt_ns, -1);
    CHECK_EQ(rtcp_session_senders(&peers[1].session), 1);
    CHECK_EQ(rtcp_session_senders(&peers[0].session), 1);
}

static void test_sr_only_while_we_send(void)
{
    begin(2);
    peers[0].media_due_ns = now_ns;
    run_for(30 * SECOND);
    uint64_t srs = peers[1].session.counters.sr_received;
    CHECK(srs >= 3);
    CHECK_EQ(peers[1].session.counters.rr_received, 0);
    peers[0].media_due_ns = RT_NEVER_NS;
    run_for(60 * SECOND);
    /* Two more at most: for the interval that was cut short, and the one behind it. */
    CHECK(peers[1].session.counters.sr_received <= srs + 2);
    CHECK(peers[1].session.counters.rr_received >= 5);
    CHECK_EQ(rtcp_session_senders(&peers[1].session), 0);
    CHECK_EQ(rtcp_session_members(&peers[1].session), 2);
    /* And no block about one who sends nothing. */
    int64_t last_ns = peers[0].session.reported.mono_ns;
    run_for(30 * SECOND);
    CHECK_EQ(peers[0].session.reported.mono_ns, last_ns);
}

static double rate_of(unsigned members, int64_t span_ns)
{
    begin(members);
    peers[0].media_due_ns = members > 1 && members < 10 ? now_ns : RT_NEVER_NS;
    run_for(span_ns / 2);
    uint64_t before = 0;
    uint64_t after = 0;
    for (unsigned i = 0; i < members; i++)
        before += peers[i].rtcp_bytes;
    run_for(span_ns);
    for (unsigned i = 0; i < members; i++)
        after += peers[i].rtcp_bytes;
    return (double)(after - before) * 8 * 1e9 / (double)span_ns;
}

static void test_schedule_keeps_to_the_bandwidth(void)
{
    CHECK(rate_of(1, 1000 * SECOND) <= 3200);
    CHECK(peers[0].least_gap_ns >= (int64_t)(2.5e9 / 1.21828));
    CHECK(rate_of(2, 1000 * SECOND) <= 3200);
    CHECK(peers[0].least_gap_ns >= (int64_t)(2.5e9 / 1.21828));
    /* Nobody sends, so the receivers' three quarters of 3200 bit/s. */
    double rate = rate_of(100, 300 * SECOND);
    CHECK(rate > 1500 && rate < 3200);
    for (unsigned i = 0; i < 100; i++) {
        CHECK_EQ(rtcp_session_members(&peers[i].session), 100);
        CHECK_EQ(peers[i].session.counters.timed_out, 0);
    }
}

static int leave(unsigned i, uint8_t *out)
{
    peer_t *p = &peers[i];
    return rtcp_session_leave(&p->session, &p->sent, &p->source, now_ns, now_ns + REAL_LESS_MONO_NS,
                              out, RTCP_SESSION_ROOM_BYTES);
}

static void test_goodbye(void)
{
    uint8_t out[RTCP_SESSION_ROOM_BYTES];
    begin(2);
    CHECK_EQ(leave(1, out), 0); /* it never said anything */
    CHECK_EQ(rtcp_session_due_ns(&peers[1].session), RT_NEVER_NS);
    begin(2);
    peers[0].media_due_ns = now_ns;
    peers[1].media_due_ns = now_ns;
    run_for(20 * SECOND);
    int bytes = leave(0, out);
    REQUIRE(bytes > 0);
    send_rtcp(0, out, bytes);
    CHECK_EQ(rtcp_session_due_ns(&peers[0].session), RT_NEVER_NS);
    CHECK_EQ(leave(0, out), 0);
    int64_t left_ns = now_ns + delay_ns;
    peers[0].media_due_ns = now_ns + 20 * MS;
    run_for(SECOND); /* stragglers of its media do not bring it back */
    peers[0].media_due_ns = RT_NEVER_NS;
    rtcp_session_t *s = &peers[1].session;
    CHECK_EQ(peers[1].byes, 1);
    CHECK_EQ(s->counters.bye_received, 1);
    CHECK_EQ(rtcp_session_members(s), 1);
    CHECK_EQ(rtcp_session_senders(s), 1);
    REQUIRE(rtcp_session_source(s) != NULL);
    CHECK_EQ(rtcp_session_source(s)->bye_ns, left_ns);
    /* The facts stay, whatever time goes by. */
    run_for(200 * SECOND);
    REQUIRE(rtcp_session_source(s) != NULL);
    CHECK_EQ(rtcp_session_source(s)->bye_ns, left_ns);
    CHECK_STR_EQ(rtcp_session_source(s)->cname, peers[0].session.cname);
    /* It comes back. */
    rtcp_session_join(&peers[0].session, now_ns);
    peers[0].media_due_ns = now_ns;
    run_for(20 * SECOND);
    CHECK_EQ(rtcp_session_members(s), 2);
    CHECK_EQ(rtcp_session_source(s)->bye_ns, 0);
    CHECK(rtcp_session_source(s)->sr_ns > now_ns - 10 * SECOND);
}

static void test_goodbyes_of_many_are_spread(void)
{
    uint8_t out[RTCP_SESSION_ROOM_BYTES];
    begin(60);
    run_for(200 * SECOND);
    CHECK_EQ(rtcp_session_members(&peers[0].session), 60);
    for (unsigned i = 0; i < 60; i++) {
        peers[i].rtcp_bytes = 0;
        if (i > 0)
            CHECK_EQ(leave(i, out), 0);
    }
    run_for(2 * SECOND);
    uint64_t early = peers[0].session.counters.bye_received;
    CHECK(early < 59);
    run_for(300 * SECOND);
    CHECK_EQ(peers[0].session.counters.bye_received, 59);
    CHECK_EQ(rtcp_session_members(&peers[0].session), 1);
    CHECK_EQ(peers[0].session.counters.timed_out, 0);
    CHECK_EQ(rtcp_session_due_ns(&peers[1].session), RT_NEVER_NS);
}

static void test_silent_members_time_out(void)
{
    begin(3);
    peers[0].media_due_ns = now_ns;
    run_for(30 * SECOND);
    CHECK_EQ(rtcp_session_members(&peers[1].session), 3);
    peer_count = 2; /* the third is cut off */
    run_for(20 * SECOND);
    CHECK_EQ(rtcp_session_members(&peers[1].session), 3);
    run_for(20 * SECOND);
    CHECK_EQ(rtcp_session_members(&peers[1].session), 2);
    CHECK_EQ(peers[1].session.counters.timed_out, 1);
    /* So does the source, whose facts stay. */
    now_ns += 100 * SECOND;
    peer_count = 0;
    in_air = 0;
    peers[1].sent.rtp_ts = 0;
    rtcp_is_due(1);
    CHECK_EQ(rtcp_session_members(&peers[1].session), 1);
    REQUIRE(rtcp_session_source(&peers[1].session) != NULL);
    CHECK_STR_EQ(rtcp_session_source(&peers[1].session)->cname, "p0@test");
}

static void test_one_packet_makes_no_member(void)
{
    uint8_t data[200];
    rtcp_writer_t w;
    begin(1);
    rtcp_session_t *s = &peers[0].session;
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_rr(&w, 77, NULL, 0), 0);
    CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, NULL, &got), 0);
    CHECK_EQ(rtcp_session_members(s), 1);
    CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, NULL, &got), 0);
    CHECK_EQ(rtcp_session_members(s), 2);
    CHECK_EQ(rtcp_put_bye(&w, 77), 0);
    CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, NULL, &got), 0);
    CHECK(!got.source_left);
    CHECK_EQ(rtcp_session_members(s), 1);
}

static void test_collisions_are_counted(void)
{
    uint8_t data[300];
    rtcp_writer_t w;
    begin(1);
    rtcp_session_t *s = &peers[0].session;
    rtcp_sender_t sender = {.ssrc = s->config.ssrc, .ntp = UINT64_C(1) << 40};
    rtcp_report_t report = {.ssrc = s->config.ssrc};
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_sr(&w, &sender, &report, 1), 0);
    CHECK_EQ(rtcp_put_cname(&w, s->config.ssrc, "a@b.c", 5), 0);
    CHECK_EQ(rtcp_put_bye(&w, s->config.ssrc), 0);
    CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, &peers[0].source, &got), 0);
    CHECK(got.has_our_ssrc && !got.is_about_us && !got.source_left);
    CHECK_EQ(s->counters.collisions, 1);
    CHECK_EQ(rtcp_session_members(s), 1);
    CHECK(!rtcp_session_media(s, RTP_SOURCE_VALID, s->config.ssrc, 70000, now_ns));
    CHECK_EQ(s->counters.collisions, 2);
    CHECK(rtcp_session_source(s) == NULL);
    /* Two others with one SSRC. */
    for (unsigned i = 0; i < 3; i++) {
        rtcp_writer_init(&w, data, sizeof data);
        CHECK_EQ(rtcp_put_rr(&w, 5, NULL, 0), 0);
        CHECK_EQ(rtcp_put_cname(&w, 5, i < 2 ? "a@b.c" : "d@e.f", 5), 0);
        CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, NULL, &got), 0);
        CHECK_EQ(s->counters.collisions, i < 2 ? 2 : 3);
    }
}

static void check_nacks(const rtcp_session_t *s)
{
    const rtp_nack_counters_t *c = &s->nack.counters;
    CHECK_EQ(c->missing, c->recovered + c->reordered + c->given_up + s->nack.count);
}

static void test_what_is_asked_for_comes_again(void)
{
    for (unsigned reduced = 0; reduced < 2; reduced++) {
        begin(2);
        peers[0].session.config.reduced_size = reduced;
        peers[1].session.config.reduced_size = reduced;
        peers[0].media_due_ns = now_ns;
        lose_every = 10;
        run_for(60 * SECOND);
        lose_every = 0;
        run_for(SECOND);
        const rtcp_session_t *s = &peers[1].session;
        check_nacks(s);
        CHECK_EQ(s->nack.counters.missing, 300);
        /* One that sends no media knows no round trip (here 80 ms): it asks again after 50 ms. */
        CHECK_EQ(s->nack.counters.recovered, 300);
        CHECK_EQ(peers[1].recovered, 300);
        CHECK_EQ(s->nack.counters.given_up, 0);
        CHECK_EQ(peers[0].session.counters.nack_heard, s->nack.counters.requested);
        CHECK_EQ(peers[0].session.counters.nack_dropped, 0);
        CHECK(s->counters.nack_sent >= 300);
        /* Repeated repairs are duplicates: more received than expected. */
        CHECK(rtp_source_lost(&peers[1].source) <= 0);
        CHECK_EQ(rtcp_session_members(&peers[0].session), 2);
    }
}

static void test_retries_wait_for_a_round_trip(void)
{
    begin(2);
    peers[0].media_due_ns = now_ns;
    peers[1].media_due_ns = now_ns;
    run_for(20 * SECOND); /* both know it: 80 ms */
    lose_every = 10;
    run_for(20 * SECOND);
    lose_every = 0;
    run_for(SECOND);
    const rtp_nack_counters_t *c = &peers[1].session.nack.counters;
    CHECK_EQ(c->recovered, c->missing);
    /* Once each, but where the request and the repair cross. */
    CHECK(c->requested <= c->missing + c->missing / 10);
}

static void test_what_never_comes_is_given_up(void)
{
    begin(2);
    resend = false;
    peers[0].media_due_ns = now_ns;
    lose_every = 10;
    run_for(30 * SECOND);
    lose_every = 0;
    run_for(2 * SECOND);
    const rtcp_session_t *s = &peers[1].session;
    check_nacks(s);
    CHECK_EQ(s->nack.counters.missing, 150);
    CHECK_EQ(s->nack.counters.given_up, 150);
    CHECK_EQ(s->nack.counters.requested, 450);
    CHECK_EQ(s->nack.count, 0);
    CHECK_EQ(peers[0].session.counters.nack_heard, 450);
    /* Those played are not asked for. */
    begin(2);
    peers[0].media_due_ns = now_ns;
    lose_every = 10;
    run_for(400 * MS);
    rtcp_session_forget_before(&peers[1].session, UINT64_C(1) << 40);
    CHECK_EQ(peers[1].session.nack.count, 0);
}

static void test_requests_are_bounded(void)
{
    uint8_t data[1400];
    rtcp_writer_t w;
    rtcp_nack_pair_t pairs[300];
    begin(2);
    rtcp_session_t *s = &peers[0].session;
    for (unsigned i = 0; i < 300; i++)
        pairs[i] = (rtcp_nack_pair_t){(uint16_t)(17 * i), 0xffff};
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_rr(&w, 5, NULL, 0), 0);
    CHECK_EQ(rtcp_put_nack(&w, 5, s->config.ssrc, pairs, 300), 0);
    CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, NULL, &got), 0);
    CHECK_EQ(got.resend_count, RTCP_SESSION_MAX_RESEND);
    for (unsigned i = 0; i < got.resend_count; i++)
        CHECK_EQ(got.resend[i], i);
    CHECK_EQ(s->counters.nack_heard, 300 * 17);
    CHECK_EQ(s->counters.nack_dropped, 300 * 17 - RTCP_SESSION_MAX_RESEND);
    /* About somebody else's media; and where we keep nothing. */
    rtcp_writer_init(&w, data, sizeof data);
    CHECK_EQ(rtcp_put_rr(&w, 5, NULL, 0), 0);
    CHECK_EQ(rtcp_put_nack(&w, 5, 6, pairs, 1), 0);
    CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, NULL, &got), 0);
    CHECK_EQ(got.resend_count, 0);
    s->config.nack_send = false;
    CHECK_EQ(rtcp_put_nack(&w, 5, s->config.ssrc, pairs, 1), 0);
    CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, NULL, &got), 0);
    CHECK_EQ(got.resend_count, 0);
    CHECK_EQ(s->counters.nack_heard, 301 * 17);
    /* A gap of 200, each a pair of its own: 64 at a time, 5 ms apart. */
    begin(2);
    s = &peers[1].session;
    for (unsigned i = 0; i < 200; i++)
        (void)rtcp_session_media(s, RTP_SOURCE_VALID, peers[0].ssrc, 70000 + 18 * i, now_ns);
    CHECK_EQ(s->nack.count, RTP_NACK_MAX_MISSING);
    run_for(40 * MS);
    CHECK_EQ(s->nack.counters.requested, RTP_NACK_MAX_MISSING);
    CHECK_EQ(s->counters.nack_sent, RTP_NACK_MAX_MISSING / 64);
}

static void test_a_restart_forgets_what_was_missing(void)
{
    begin(1);
    rtcp_session_t *s = &peers[0].session;
    (void)rtcp_session_media(s, RTP_SOURCE_STARTED, 5, 70000, now_ns);
    (void)rtcp_session_media(s, RTP_SOURCE_VALID, 5, 70003, now_ns);
    CHECK_EQ(s->nack.count, 2);
    (void)rtcp_session_media(s, RTP_SOURCE_JUMP, 5, 1, now_ns);
    CHECK_EQ(s->nack.count, 2);
    (void)rtcp_session_media(s, RTP_SOURCE_RESTARTED, 5, 66000, now_ns);
    CHECK_EQ(s->nack.count, 0);
    (void)rtcp_session_media(s, RTP_SOURCE_VALID, 5, 66002, now_ns);
    (void)rtcp_session_media(s, RTP_SOURCE_CHANGED, 6, 90000, now_ns);
    CHECK_EQ(s->nack.count, 0);
    CHECK_EQ(s->source_ssrc, 6);
    CHECK_EQ(rtcp_session_senders(s), 2);
    check_nacks(s);
}

static void test_a_flood_of_sources_is_bounded(void)
{
    static uint8_t data[60000];
    uint64_t random = 5;
    begin(2);
    rtcp_session_t *s = &peers[0].session;
    peers[1].media_due_ns = now_ns;
    run_for(20 * SECOND);
    for (unsigned i = 0; i < 50; i++) {
        rtcp_writer_t w;
        rtcp_writer_init(&w, data, sizeof data);
        while (rtcp_put_rr(&w, (uint32_t)rt_test_rand(&random), NULL, 0) == 0 &&
               rtcp_put_cname(&w, (uint32_t)rt_test_rand(&random), "x@y", 3) == 0)
            ;
        CHECK_EQ(rtcp_session_receive(s, data, w.used, now_ns, NULL, &got), 0);
        CHECK(rtcp_session_members(s) <= MEMBERS + 1);
    }
    CHECK(s->counters.unlisted > 100000);
    CHECK(rtcp_session_members(s) > MEMBERS / 2);
    CHECK(rtcp_schedule_interval_ns(&s->schedule) < INT64_C(200000) * SECOND);
    /* A source that proved itself by media finds its place all the same. */
    for (uint32_t ssrc = 1; ssrc < 1000; ssrc++) {
        (void)rtcp_session_media(s, RTP_SOURCE_CHANGED, ssrc, 70000, now_ns);
        CHECK(rtcp_session_source(s) != NULL);
        CHECK_EQ(s->members.count, MEMBERS);
    }
}

static void test_hostile_compounds(void)
{
    static const struct {
        const char *data;
        uint8_t bytes;
        int error;
    } bad[] = {
        {"\x80\xc9\0", 3, RTCP_ERR_SHORT},
        {"\x40\xc9\0\1\0\0\0\0", 8, RTCP_ERR_VERSION},
        {"\x80\xca\0\0", 4, RTCP_ERR_FIRST},
        {"\x80\xc9\0\2\0\0\0\0", 8, RTCP_ERR_LENGTH},
        {"\x9f\xc9\0\1\0\0\0\0", 8, RTCP_ERR_BODY},
        {"\x80\xc8\0\1\0\0\0\0", 8, RTCP_ERR_BODY},
        {"\xa0\xc9\0\2\0\0\0\0\0\0\0\0", 12, RTCP_ERR_PADDING},
        {"\x80\xc9\0\1\0\0\0\0\x81\xca\0\2\0\0\0\1\1\3ab", 20, RTCP_ERR_BODY},
        {"\x80\xc9\0\1\0\0\0\0\x82\xcb\0\1\0\0\0\1", 16, RTCP_ERR_BODY},
        {"\x80\xc9\0\1\0\0\0\0\x81\xcd\0\2\0\0\0\1\0\0\0\2", 20, RTCP_ERR_BODY},
    };
    begin(1);
    rtcp_session_t *s = &peers[0].session;
    size_t count = sizeof bad / sizeof bad[0];
    for (size_t i = 0; i < count; i++) {
        uint8_t *exact = malloc(bad[i].bytes);
        memcpy(exact, bad[i].data, bad[i].bytes);
        CHECK_EQ(rtcp_session_receive(s, exact, bad[i].bytes, now_ns, NULL, &got), bad[i].error);
        free(exact);
    }
    CHECK_EQ(s->counters.malformed, count);
    CHECK_EQ(s->counters.received, 0);
    CHECK_EQ(s->members.count, 0);
    /* Sound, and of no use: an APP, feedback and types that we do not know, an empty name. */
    const char odd[] = "\x80\xc9\0\1\0\0\0\7"
                       "\x80\xcc\0\2\0\0\0\7ping"
                       "\x8f\xcd\0\2\0\0\0\7\0\0\0\1"
                       "\x81\xce\0\2\0\0\0\7\0\0\0\1"
                       "\x80\xcf\0\0"
                       "\x81\xca\0\2\0\0\0\7\1\0\0\0";
    CHECK_EQ(rtcp_session_receive(s, (const uint8_t *)odd, sizeof odd - 1, now_ns, NULL, &got), 0);
    CHECK_EQ(s->counters.app_received, 1);
    CHECK_EQ(s->counters.other_received, 3);
    CHECK_EQ(rtcp_session_members(s), 1);
}

static void test_compound_cut_anywhere(void)
{
    uint8_t out[RTCP_SESSION_ROOM_BYTES];
    begin(2);
    peers[0].media_due_ns = now_ns;
    run_for(20 * SECOND);
    int bytes = leave(0, out);
    REQUIRE(bytes > 0);
    for (int cut = 0; cut < bytes; cut++) {
        uint8_t *exact = malloc(cut > 0 ? (size_t)cut : 1);
        memcpy(exact, out, (size_t)cut);
        (void)rtcp_session_receive(&peers[1].session, exact, (size_t)cut, now_ns, &peers[1].source,
                                   &got);
        CHECK(!got.source_left);
        free(exact);
    }
    CHECK_EQ(
        rtcp_session_receive(&peers[1].session, out, (size_t)bytes, now_ns, &peers[1].source, &got),
        0);
    CHECK(got.source_left);
}

int main(void)
{
    RUN(test_a_compound_needs_its_room);
    RUN(test_two_know_each_other);
    RUN(test_round_trip_is_measured_whatever_the_wall_clock_does);
    RUN(test_a_report_that_names_no_sr_of_ours_gives_no_round_trip);
    RUN(test_loss_and_jitter_are_reported);
    RUN(test_sr_only_while_we_send);
    RUN(test_schedule_keeps_to_the_bandwidth);
    RUN(test_goodbye);
    RUN(test_goodbyes_of_many_are_spread);
    RUN(test_silent_members_time_out);
    RUN(test_one_packet_makes_no_member);
    RUN(test_collisions_are_counted);
    RUN(test_what_is_asked_for_comes_again);
    RUN(test_retries_wait_for_a_round_trip);
    RUN(test_what_never_comes_is_given_up);
    RUN(test_requests_are_bounded);
    RUN(test_a_restart_forgets_what_was_missing);
    RUN(test_a_flood_of_sources_is_bounded);
    RUN(test_hostile_compounds);
    RUN(test_compound_cut_anywhere);
    return rt_test_result();
}
