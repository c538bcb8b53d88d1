/* The engine "rtp", receiving: validation, the jitter buffer in the worker, and what reaches the
 * readers when packets are lost, late, doubled, out of order, foreign, or no RTP at all. */
#include "unit/worker/rtp/rtp_test.h"

static wt_worker_t worker;

typedef struct receiver {
    wt_channel_t ch;
    shm_rtp_config_t rtp;
    int peer;
    uint16_t port; /* of the channel */
} receiver_t;

static shm_rtp_config_t listening(shm_rtp_delivery_t delivery)
{
    shm_rtp_config_t c = rtpt_stream();
    c.delivery = (uint8_t)delivery;
    c.min_sequential = 1;
    /* A busy machine sends and receives late. */
    c.first_delay_ns = c.min_delay_ns = 500 * RT_NS_PER_MS;
    c.max_delay_ns = RT_NS_PER_S;
    c.conceal_ns = -1;
    return c;
}

static bool start_with(receiver_t *r, const char *name, void (*change)(shm_config_t *c))
{
    uint16_t port = 0;
    r->peer = wt_udp(&port);
    r->ch = (wt_channel_t){.config = rtpt_config(name, port, SHM_RX, &r->rtp)};
    if (change != NULL)
        change(&r->ch.config);
    if (!wt_open(&worker, &r->ch))
        return false;
    wt_nap_ms(20); /* kernel stamps come a moment after they were asked for */
    r->port = r->ch.segment.status->bound.port;
    return true;
}

static bool start(receiver_t *r, const char *name, shm_rtp_delivery_t delivery)
{
    r->rtp = listening(delivery);
    return start_with(r, name, NULL);
}

static void end(receiver_t *r)
{
    rtpt_close(&worker, &r->ch);
    close(r->peer);
}

static void send_bytes(const receiver_t *r, const void *data, size_t bytes)
{
    rtpt_send_bytes(r->peer, r->port, data, bytes);
}

static void send_fields(const receiver_t *r, const rtp_fields_t *f, const void *media, size_t bytes)
{
    rtpt_send_fields(r->peer, r->port, f, media, bytes);
}

static void send_packet(const receiver_t *r, uint32_t ssrc, int i)
{
    rtpt_send_packet(r->peer, r->port, ssrc, i);
}

static bool get(receiver_t *r, rtpt_got_t *g, int timeout_ms)
{
    return rtpt_get(&r->ch.reader, g, timeout_ms);
}

/* The next record of a stream that is at its end when nothing comes for a second. */
static bool get_more(receiver_t *r, rtpt_got_t *g, bool first)
{
    return get(r, g, first ? WT_TIMEOUT_MS : 1000);
}

static uint64_t ended(const wt_channel_t *ch)
{
    return rtpt_count(ch, SHM_RTP_COUNT_delivered) + rtpt_count(ch, SHM_RTP_COUNT_late) +
           rtpt_count(ch, SHM_RTP_COUNT_duplicates) + rtpt_count(ch, SHM_RTP_COUNT_overflow) +
           rtpt_count(ch, SHM_RTP_COUNT_discarded) + (uint64_t)rtpt_gauge(ch, SHM_RTP_GAUGE_depth);
}

static uint64_t judged(const wt_channel_t *ch)
{
    return rtpt_count(ch, SHM_RTP_COUNT_valid) + rtpt_count(ch, SHM_RTP_COUNT_on_probation) +
           rtpt_count(ch, SHM_RTP_COUNT_foreign) + rtpt_count(ch, SHM_RTP_COUNT_jumps) +
           rtpt_count(ch, SHM_RTP_COUNT_unexpected_pt);
}

/* All that came is somewhere. Gauges and counters of an idle channel are a second behind. */
static void check_conservation(const receiver_t *r)
{
    const wt_channel_t *ch = &r->ch;
    for (int i = 0; i < WT_TIMEOUT_MS / 10; i++) {
        if (ended(ch) == rtpt_count(ch, SHM_RTP_COUNT_valid) &&
            judged(ch) == rtpt_count(ch, SHM_RTP_COUNT_received) &&
            judged(ch) + rtpt_count(ch, SHM_RTP_COUNT_malformed) ==
                wt_counter(ch, SHM_COUNT_rx_received))
            break;
        wt_nap_ms(10);
    }
    CHECK_EQ(ended(ch), rtpt_count(ch, SHM_RTP_COUNT_valid));
    CHECK_EQ(judged(ch), rtpt_count(ch, SHM_RTP_COUNT_received));
    CHECK_EQ(judged(ch) + rtpt_count(ch, SHM_RTP_COUNT_malformed),
             wt_counter(ch, SHM_COUNT_rx_received));
}

/* --- delivery ------------------------------------------------------------------------------ */

static void test_frames_at_their_playout_time(void)
{
    receiver_t r;
    enum { FRAMES = 40 };
    REQUIRE(start(&r, "playout", SHM_RTP_AT_PLAYOUT));
    int64_t next = rt_mono_ns();
    for (int i = 0; i < FRAMES; i++) {
        send_packet(&r, 5, i);
        rtpt_pace(&next);
    }
    rtpt_got_t g;
    uint64_t first = 0;
    for (int i = 0; i < FRAMES; i++) {
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(g.head.kind, SHM_RTP_GOT_FRAME);
        CHECK_EQ(rtpt_value(&g), i);
        first = i == 0 ? g.head.seq : first;
        CHECK_EQ(g.head.seq, first + (uint64_t)i);
        CHECK_EQ(g.head.ts, 77 + 40 * i);
        CHECK_EQ(g.head.ssrc, 5);
        CHECK_EQ(g.head.frames, 1);
        CHECK_EQ(g.head.flags, 0);
        CHECK(rt_mono_ns() >= g.head.due_ns);
        CHECK(g.head.due_ns >= g.record.time_ns);
        CHECK(g.head.due_ns <= g.record.time_ns + 2 * RT_NS_PER_S);
        CHECK_EQ(g.record.stamp, SHM_STAMP_KERNEL);
        CHECK_EQ(g.record.source.family, 4);
    }
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_valid, FRAMES));
    CHECK(rtpt_gauge_is(&r.ch, SHM_RTP_GAUGE_remote_ssrc, 5));
    CHECK(rtpt_gauge(&r.ch, SHM_RTP_GAUGE_target_ns) >= 500 * RT_NS_PER_MS);
    CHECK(rtpt_gauge_is(&r.ch, SHM_RTP_GAUGE_highest_seq, 65530 + FRAMES - 1));
    check_conservation(&r);
    end(&r);
}

static void test_a_loss_is_an_erasure(void)
{
    receiver_t r;
    enum { FRAMES = 30 };
    REQUIRE(start(&r, "loss", SHM_RTP_AT_PLAYOUT));
    int64_t next = rt_mono_ns();
    for (int i = 0; i < FRAMES; i++) {
        if (i != 10 && i != 20 && i != 21)
            send_packet(&r, 5, i);
        rtpt_pace(&next);
    }
    uint64_t first = 0;
    for (int i = 0; i < FRAMES;) {
        rtpt_got_t g;
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        first = i == 0 ? g.head.seq : first;
        CHECK_EQ(g.head.ts, 77 + 40 * i);
        if (i == 10 || i == 20 || i == 21) {
            REQUIRE(g.head.kind == SHM_RTP_GOT_ERASURE && g.head.frames > 0);
            CHECK_EQ(g.head.seq, first + (uint64_t)i);
            CHECK_EQ(g.head.ts_span, 40 * g.head.frames);
            CHECK_EQ(g.bytes, 0);
            CHECK_EQ(g.record.stamp, SHM_STAMP_NONE);
            CHECK_EQ(g.head.ssrc, 5);
            i += (int)g.head.frames;
        } else {
            CHECK_EQ(g.head.kind, SHM_RTP_GOT_FRAME);
            CHECK_EQ(rtpt_value(&g), i++);
        }
    }
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_lost, 3));
    CHECK(rtpt_gauge_is(&r.ch, SHM_RTP_GAUGE_cumulative_lost, 3));
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_lost), 3);
    CHECK(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_concealed_ns) >= (uint64_t)(3 * RTPT_STEP_NS));
    end(&r);
}

static void test_in_order_does_not_wait_for_the_clock(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_IN_ORDER)};
    r.rtp.first_delay_ns = r.rtp.min_delay_ns = 2 * RT_NS_PER_S;
    r.rtp.max_delay_ns = 4 * RT_NS_PER_S;
    REQUIRE(start_with(&r, "in-order", NULL));
    rtpt_got_t g;
    for (int i = 0; i < 5; i++) {
        send_packet(&r, 5, i);
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(rtpt_value(&g), i);
        CHECK(g.head.due_ns > rt_mono_ns()); /* long before it is to be played */
    }
    send_packet(&r, 5, 6);
    CHECK(!get(&r, &g, 50));
    send_packet(&r, 5, 5);
    for (int i = 5; i < 7; i++) {
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(rtpt_value(&g), i);
    }
    send_packet(&r, 5, 8);
    REQUIRE(get(&r, &g, WT_TIMEOUT_MS)); /* the playout time ends the wait */
    CHECK_EQ(g.head.kind, SHM_RTP_GOT_ERASURE);
    CHECK_EQ(g.head.frames, 1);
    CHECK(rt_mono_ns() >= g.head.due_ns);
    REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
    CHECK_EQ(rtpt_value(&g), 8);
    end(&r);
}

static void test_as_arrived(void)
{
    receiver_t r;
    REQUIRE(start(&r, "arrived", SHM_RTP_AS_ARRIVED));
    static const int order[] = {0, 1, 3, 2, 2, 7, 8};
    uint64_t first = 0;
    for (int i = 0; i < 7; i++)
        send_packet(&r, 5, order[i]);
    for (int i = 0; i < 7; i++) {
        rtpt_got_t g;
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        first = i == 0 ? g.head.seq : first;
        CHECK_EQ(g.head.kind, SHM_RTP_GOT_FRAME);
        CHECK_EQ(rtpt_value(&g), order[i]);
        CHECK_EQ(g.head.seq, first + (uint64_t)order[i]);
        CHECK_EQ(g.head.due_ns, g.record.time_ns);
    }
    for (int i = 40000; i < 40003; i++)
        send_packet(&r, 5, i); /* a leap, proved by the packet behind it */
    rtpt_got_t g;
    REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
    CHECK_EQ(g.head.kind, SHM_RTP_GOT_RESYNC);
    CHECK_EQ(g.head.flags, SHM_RTP_RESTARTED);
    CHECK(g.head.seq > first + 8);
    uint64_t again = g.head.seq;
    for (int i = 0; i < 2; i++) {
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(rtpt_value(&g), 40001 + i);
        CHECK_EQ(g.head.seq, again + (uint64_t)i);
    }
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_delivered, 9));
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_jumps), 1);
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_resyncs), 1);
    end(&r);
}

static void test_all_of_a_packet_reaches_the_reader(void)
{
    receiver_t r;
    REQUIRE(start(&r, "whole", SHM_RTP_AS_ARRIVED));
    static const uint32_t csrc[] = {0xaabbccdd, 0x01020304};
    static const uint8_t elements[] = {0x31, 0x42, 0x43, 0};
    rtp_fields_t f = {.ssrc = 9,
                      .seq = 4,
                      .ts = 5,
                      .marker = true,
                      .payload_type = 111,
                      .csrc = csrc,
                      .csrc_count = 2,
                      .has_ext = true,
                      .ext_profile = 0xbede,
                      .ext = elements,
                      .ext_bytes = sizeof elements,
                      .padding_bytes = 7};
    send_fields(&r, &f, "media", 5);
    rtpt_got_t g;
    REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
    CHECK(g.head.marker == 1 && g.head.payload_type == 111);
    CHECK_EQ(g.head.csrc_count, 2);
    CHECK_EQ(g.head.extension_profile, 0xbede);
    CHECK_EQ(g.head.extension_bytes, 4);
    REQUIRE(g.bytes == 8 + 4 + 5); /* padding is left out */
    CHECK_EQ(rt_get32(g.body), 0xaabbccdd);
    CHECK_EQ(rt_get32(g.body + 4), 0x01020304);
    CHECK_MEM_EQ(g.body + 8, elements, sizeof elements);
    CHECK_MEM_EQ(g.body + 12, "media", 5);
    end(&r);
}

static void small(shm_config_t *c)
{
    c->max_payload_bytes = (uint32_t)sizeof(shm_rtp_rx_t) + 20;
}

static void test_long_packets_are_cut(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_AT_PLAYOUT)};
    REQUIRE(start_with(&r, "cut", small));
    static const uint8_t media[200] = {1, 2, 3};
    static const uint32_t csrc[15] = {1};
    rtp_fields_t f = {.ssrc = 9, .seq = 1, .ts = 40};
    send_fields(&r, &f, media, sizeof media);
    rtp_fields_t too_much = {.ssrc = 9, .seq = 2, .ts = 80, .csrc = csrc, .csrc_count = 15};
    send_fields(&r, &too_much, media, 1);
    rtpt_got_t g;
    REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
    CHECK_EQ(g.bytes, 20);
    CHECK(g.record.flags & SHM_RX_TRUNCATED);
    CHECK(wt_count_to(&r.ch, SHM_COUNT_rx_truncated, 2));
    end(&r);
}

static void test_every_reader_gets_the_same(void)
{
    receiver_t r;
    REQUIRE(start(&r, "two", SHM_RTP_AT_PLAYOUT));
    wt_channel_t other = r.ch;
    REQUIRE(wt_attach(&worker, worker.pool, &other, NULL) == 0);
    for (int i = 0; i < 10; i++)
        send_packet(&r, 5, i);
    for (int i = 0; i < 10; i++) {
        rtpt_got_t one, two;
        REQUIRE(get(&r, &one, WT_TIMEOUT_MS));
        REQUIRE(rtpt_get(&other.reader, &two, WT_TIMEOUT_MS));
        CHECK_EQ(rtpt_value(&one), i);
        CHECK_MEM_EQ(&one.head, &two.head, sizeof one.head);
    }
    end(&r);
}

/* --- trouble ------------------------------------------------------------------------------- */

/* Loss, doubles and reordering by chance: frames come out in order, each once, and nothing is
 * unaccounted for. */
static void test_a_bad_network(void)
{
    receiver_t r;
    enum { FRAMES = 300, AHEAD = 3 };
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    (void)printf("       seed %llu\n", (unsigned long long)seed);
    REQUIRE(start(&r, "bad", SHM_RTP_AT_PLAYOUT));
    int64_t next = rt_mono_ns();
    int held = -1, sent = 0, lost = 0;
    for (int i = 0; i < FRAMES; i++) {
        uint64_t chance = rt_test_rand(&seed) % 100;
        if (i > 0 && chance < 5) {
            lost++;
        } else if (i > 0 && chance < 15 && held < 0) {
            held = i; /* overtaken by the next one */
        } else {
            send_packet(&r, 5, i);
            sent++;
            if (chance > 90) {
                send_packet(&r, 5, i);
                sent++;
            }
            if (held >= 0) {
                send_packet(&r, 5, held);
                sent++;
                held = -1;
            }
        }
        rtpt_pace(&next);
    }
    lost += held >= 0;
    rtpt_got_t g;
    int delivered = 0, missing = 0, dry = 0;
    uint64_t expected = 0;
    while (get_more(&r, &g, delivered == 0)) {
        if (g.head.kind == SHM_RTP_GOT_ERASURE) {
            dry += (g.head.flags & SHM_RTP_DRY) != 0;
            missing += (int)g.head.frames;
            continue;
        }
        REQUIRE(g.head.kind == SHM_RTP_GOT_FRAME);
        CHECK(delivered == 0 || g.head.seq >= expected);
        CHECK_EQ((g.head.ts - 77) / 40, rtpt_value(&g));
        expected = g.head.seq + 1;
        delivered++;
    }
    CHECK(delivered > FRAMES / 2);
    check_conservation(&r);
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_delivered), delivered);
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_valid), sent);
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_erasures) > 0, lost > 0);
    CHECK(missing + dry > 0);
    end(&r);
}

static void test_a_source_must_prove_itself(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_AS_ARRIVED)};
    r.rtp.min_sequential = 3;
    REQUIRE(start_with(&r, "probation", NULL));
    for (int i = 0; i < 5; i++)
        send_packet(&r, 5, i);
    send_packet(&r, 6, 0);
    send_packet(&r, 7, 0);
    send_packet(&r, 5, 5);
    for (int i = 0; i < 6; i++) { /* the first two were kept */
        rtpt_got_t g;
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(rtpt_value(&g), i);
    }
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_on_probation, 2));
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_valid), 6);
    CHECK_EQ(rtpt_gauge(&r.ch, SHM_RTP_GAUGE_cumulative_lost), 0);
    end(&r);
}

/* Only packets right before the one that validates the source belong to it. */
static void test_what_does_not_lead_to_a_source_is_dropped(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_AS_ARRIVED)};
    r.rtp.min_sequential = 3;
    REQUIRE(start_with(&r, "stray", NULL));
    send_packet(&r, 5, 1);
    send_packet(&r, 5, 2);
    send_packet(&r, 6, 3);
    for (int i = 10; i < 14; i++)
        send_packet(&r, 5, i);
    for (int i = 10; i < 14; i++) {
        rtpt_got_t g;
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(rtpt_value(&g), i);
    }
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_on_probation, 3));
    end(&r);
}

static void test_another_source_takes_over(void)
{
    receiver_t r;
    REQUIRE(start(&r, "change", SHM_RTP_AT_PLAYOUT));
    int64_t next = rt_mono_ns();
    for (int i = 0; i < 30; i++) {
        send_packet(&r, i < 15 ? 5 : 6, i < 15 ? i : i + 1000);
        rtpt_pace(&next);
    }
    rtpt_got_t g;
    int frames = 0, resyncs = 0;
    uint64_t last = 0;
    while (frames < 30 && get(&r, &g, WT_TIMEOUT_MS)) {
        CHECK(g.head.seq >= last);
        last = g.head.seq;
        if (g.head.kind == SHM_RTP_GOT_RESYNC) {
            CHECK_EQ(frames, 15);
            CHECK_EQ(g.head.flags, SHM_RTP_NEW_SOURCE);
            CHECK_EQ(g.head.ssrc, 6);
            resyncs++;
        }
        if (g.head.kind != SHM_RTP_GOT_FRAME)
            continue;
        CHECK_EQ(g.head.ssrc, frames < 15 ? 5 : 6);
        CHECK_EQ(g.head.flags, frames == 15 ? SHM_RTP_NEW_SOURCE : 0);
        frames++;
    }
    CHECK_EQ(frames, 30);
    CHECK_EQ(resyncs, 1);
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_source_changes, 1));
    end(&r);
}

static void test_foreign_sources_stay_out(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_AS_ARRIVED)};
    r.rtp.flags = SHM_RTP_FIXED_SOURCE;
    r.rtp.expected_ssrc = 5;
    REQUIRE(start_with(&r, "fixed", NULL));
    for (int i = 0; i < 10; i++)
        send_packet(&r, 4 + (uint32_t)i % 3, i / 3);
    rtpt_got_t g;
    for (int i = 0; i < 3; i++) {
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(g.head.ssrc, 5);
    }
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_foreign, 7));
    CHECK(!get(&r, &g, 20));
    end(&r);
}

static void test_running_dry(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_AT_PLAYOUT)};
    r.rtp.conceal_ns = 50 * RT_NS_PER_MS;
    REQUIRE(start_with(&r, "dry", NULL));
    int64_t next = rt_mono_ns();
    for (int i = 0; i < 10; i++) {
        send_packet(&r, 5, i);
        rtpt_pace(&next);
    }
    rtpt_got_t g;
    int frames = 0, dry = 0;
    while (get_more(&r, &g, frames == 0)) {
        frames += g.head.kind == SHM_RTP_GOT_FRAME;
        if (g.head.kind == SHM_RTP_GOT_ERASURE) {
            CHECK_EQ(g.head.flags, SHM_RTP_DRY);
            CHECK_EQ(g.head.frames, 0);
            CHECK_EQ(g.head.ts_span, 40);
            dry++;
        }
    }
    CHECK_EQ(frames, 10);
    CHECK_EQ(dry, 10);
    end(&r);
}

/* Noise of every kind beside a good stream. */
static void test_hostile_datagrams(void)
{
    receiver_t r;
    enum { DATAGRAMS = 20000, GOOD_EVERY = 100 };
    REQUIRE(start(&r, "hostile", SHM_RTP_AS_ARRIVED));
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    int good = 0;
    for (int i = 0; i < DATAGRAMS; i++) {
        uint8_t noise[128];
        for (size_t j = 0; j < sizeof noise; j++)
            noise[j] = (uint8_t)rt_test_rand(&seed);
        if (i % 2)
            noise[0] = (uint8_t)(0x80 | (noise[0] & 0x3f));
        send_bytes(&r, noise, rt_test_rand(&seed) % sizeof noise);
        if (i % GOOD_EVERY == 0)
            send_packet(&r, 5, good++);
        if (i % 200 == 199)
            CHECK(wt_count_to(&r.ch, SHM_COUNT_rx_received, (uint64_t)(i + 1 + good)));
    }
    rtpt_got_t g;
    int came = 0;
    while (get(&r, &g, 200))
        came += g.head.kind == SHM_RTP_GOT_FRAME && g.head.ssrc == 5;
    CHECK(came > 0); /* a lucky pair of noises may have taken over for a moment */
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_received) +
                 rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_malformed),
             DATAGRAMS + good);
    CHECK(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_malformed) > DATAGRAMS / 4);
    ctl_pong_t pong;
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_PING, NULL, 0, NULL, 0, &pong, sizeof pong, NULL), 0);
    end(&r);
}

/* Numbers, times and sources at random into the jitter buffer. */
static void test_hostile_streams(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_AT_PLAYOUT)};
    r.rtp.max_frames = 16;
    enum { PACKETS = 20000 };
    REQUIRE(start_with(&r, "leaps", NULL));
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 2);
    for (int i = 0; i < PACKETS; i++) {
        uint64_t x = rt_test_rand(&seed);
        rtp_fields_t f = {.ssrc = x % 50 == 0 ? 6 : 5,
                          .seq = (uint16_t)(x % 7 == 0 ? x >> 16 : (uint64_t)i),
                          .ts = (uint32_t)(x % 11 == 0 ? x >> 24 : 40 * (uint64_t)i),
                          .payload_type = (uint8_t)(x % 128)};
        send_fields(&r, &f, "x", 1);
        if (i % 200 == 199)
            CHECK(wt_count_to(&r.ch, SHM_COUNT_rx_received, (uint64_t)i + 1));
    }
    rtpt_got_t g;
    while (get_more(&r, &g, false))
        CHECK(g.head.kind <= SHM_RTP_GOT_RESYNC);
    check_conservation(&r);
    CHECK(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_unexpected_pt) > 0);
    end(&r);
}

static void lossy(shm_config_t *c)
{
    c->impair_rx.loss = 0.2;
    c->impair_rx.delay_ns = 20 * RT_NS_PER_MS;
    c->impair_rx.seed = 3;
}

static void test_through_an_emulated_link(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_AT_PLAYOUT)};
    enum { FRAMES = 60 };
    REQUIRE(start_with(&r, "link", lossy));
    int64_t next = rt_mono_ns();
    for (int i = 0; i < FRAMES; i++) {
        send_packet(&r, 5, i);
        rtpt_pace(&next);
    }
    rtpt_got_t g;
    int frames = 0, missing = 0;
    while (get_more(&r, &g, frames == 0)) {
        frames += g.head.kind == SHM_RTP_GOT_FRAME;
        missing += g.head.kind == SHM_RTP_GOT_ERASURE ? (int)g.head.frames : 0;
    }
    CHECK(frames > FRAMES / 2 && frames < FRAMES);
    CHECK(missing > 0 && frames + missing <= FRAMES);
    end(&r);
}

static void fussy(shm_config_t *c)
{
    c->connect = 1;
}

static void test_only_the_remote_is_heard(void)
{
    receiver_t r = {.rtp = listening(SHM_RTP_AS_ARRIVED)};
    REQUIRE(start_with(&r, "connected", fussy));
    uint16_t port;
    int stranger = wt_udp(&port);
    uint8_t packet[12];
    rtp_put_header(packet, false, 0, 1, 2, 3);
    rtpt_send_bytes(stranger, r.port, packet, sizeof packet);
    send_packet(&r, 5, 0);
    rtpt_got_t g;
    REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
    CHECK_EQ(g.head.ssrc, 5);
    close(stranger);
    end(&r);
}

/* --- life ---------------------------------------------------------------------------------- */

static void test_a_successor_begins_with_a_resync(void)
{
    receiver_t r;
    REQUIRE(start(&r, "successor", SHM_RTP_AT_PLAYOUT));
    rtpt_got_t g;
    for (int i = 0; i < 5; i++)
        send_packet(&r, 5, i);
    for (int i = 0; i < 5; i++) {
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(rtpt_value(&g), i);
    }
    for (int round = 1; round < 4; round++) {
        send_packet(&r, 5, 10 * round); /* lost with the old worker, most of the time */
        CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_received, 5 + 6 * (uint64_t)(round - 1) + 1));
        rtpt_replace_worker(&worker, &r.ch);
        for (int i = 1; i < 6; i++)
            send_packet(&r, 5, 10 * round + i);
        REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        while (g.head.kind == SHM_RTP_GOT_ERASURE ||
               (g.head.kind == SHM_RTP_GOT_FRAME && rtpt_value(&g) == 10 * round))
            REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
        CHECK_EQ(g.head.kind, SHM_RTP_GOT_RESYNC);
        CHECK_EQ(g.head.ts, 77 + 40 * (10 * round + 1));
        for (int i = 1; i < 6; i++) {
            REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
            CHECK_EQ(g.head.kind, SHM_RTP_GOT_FRAME);
            CHECK_EQ(rtpt_value(&g), 10 * round + i);
        }
    }
    end(&r);
}

static void test_hold_stops_reception(void)
{
    receiver_t r;
    REQUIRE(start(&r, "hold", SHM_RTP_AS_ARRIVED));
    rtpt_got_t g;
    send_packet(&r, 5, 0);
    REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
    CHECK_EQ(wt_command(&worker, &r.ch, CTL_HOLD), 0);
    send_packet(&r, 5, 1);
    CHECK(!get(&r, &g, 50));
    CHECK_EQ(wt_command(&worker, &r.ch, CTL_RELEASE), 0);
    REQUIRE(get(&r, &g, WT_TIMEOUT_MS));
    CHECK_EQ(rtpt_value(&g), 1);
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_received, 2));
    CHECK_EQ(wt_command(&worker, &r.ch, CTL_RESET), 0);
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_received), 0);
    CHECK_EQ(rtpt_exact(&worker, &r.ch, SHM_RTP_COUNT_valid), 0);
    send_packet(&r, 5, 2);
    CHECK(rtpt_count_to(&r.ch, SHM_RTP_COUNT_valid, 1));
    end(&r);
}

static void test_what_playout_does_not_go_with(void)
{
    shm_rtp_config_t rtp = rtpt_stream();
    wt_channel_t ch = {.config = rtpt_config("waits", 9, SHM_RX, &rtp)};
    ch.config.overflow = SHM_OVERFLOW_WAIT;
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&worker, &ch, 0), -EINVAL);
    CHECK(strstr(worker.text, "oldest") != NULL);
    wt_drop(&ch);
}

int main(void)
{
    if (!CHECK(wt_start(&worker, NULL)))
        return rt_test_result();
    RUN(test_frames_at_their_playout_time);
    RUN(test_a_loss_is_an_erasure);
    RUN(test_in_order_does_not_wait_for_the_clock);
    RUN(test_as_arrived);
    RUN(test_all_of_a_packet_reaches_the_reader);
    RUN(test_long_packets_are_cut);
    RUN(test_every_reader_gets_the_same);
    RUN(test_a_bad_network);
    RUN(test_a_source_must_prove_itself);
    RUN(test_what_does_not_lead_to_a_source_is_dropped);
    RUN(test_another_source_takes_over);
    RUN(test_foreign_sources_stay_out);
    RUN(test_running_dry);
    RUN(test_hostile_datagrams);
    RUN(test_hostile_streams);
    RUN(test_through_an_emulated_link);
    RUN(test_only_the_remote_is_heard);
    RUN(test_a_successor_begins_with_a_resync);
    RUN(test_hold_stops_reception);
    RUN(test_what_playout_does_not_go_with);
    wt_stop(&worker);
    return rt_test_result();
}
