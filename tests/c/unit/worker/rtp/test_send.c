/* The engine "rtp", sending: headers, the grid, blocks, pauses, underruns, and what commands,
 * deaths and hostile clients do to a stream. */
#include "unit/worker/rtp/rtp_test.h"

#include "proto/pacing/verdict.h"

static wt_worker_t worker;

typedef struct sender {
    wt_channel_t ch;
    shm_rtp_config_t rtp;
    int sink;
} sender_t;

static bool start_with(sender_t *s, const char *name, void (*change)(shm_config_t *c))
{
    uint16_t port = 0;
    s->sink = wt_udp(&port);
    s->ch = (wt_channel_t){.config = rtpt_config(name, port, SHM_TX, &s->rtp)};
    if (change != NULL)
        change(&s->ch.config);
    return wt_open(&worker, &s->ch);
}

static bool start(sender_t *s, const char *name)
{
    s->rtp = rtpt_stream();
    return start_with(s, name, NULL);
}

static void end(sender_t *s)
{
    rtpt_close(&worker, &s->ch);
    close(s->sink);
}

/* --- the grid ------------------------------------------------------------------------------ */

static void test_frames_leave_on_the_grid(void)
{
    sender_t s;
    enum { FRAMES = 60 };
    REQUIRE(start(&s, "grid"));
    uint8_t media[40];
    for (int i = 0; i < FRAMES; i++) {
        memset(media, i, sizeof media);
        CHECK_EQ(rtpt_frame(&s.ch, media, sizeof media), 0);
    }
    for (int i = 0; i < FRAMES; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.seq, (uint16_t)(65500 + i));
        CHECK_EQ(p.view.ts, 1000 + 40 * i);
        CHECK_EQ(p.view.ssrc, 0x11223344);
        CHECK_EQ(p.view.payload_type, 0);
        CHECK_EQ(p.view.marker, i == 0);
        CHECK_EQ(p.view.payload_bytes, 40);
        CHECK_EQ(p.data[p.view.payload_offset], i);
    }
    CHECK(rtpt_count_to(&s.ch, SHM_RTP_COUNT_sent, FRAMES));
    shm_report_t reports[FRAMES];
    CHECK_EQ(wt_reports(&s.ch, reports, FRAMES), FRAMES);
    wt_settle(&worker);
    for (int i = 0; i < FRAMES; i++) {
        CHECK_EQ(reports[i].sequence, i);
        CHECK_EQ(reports[i].scheduled_ns - reports[0].scheduled_ns, i * RTPT_STEP_NS);
        CHECK(reports[i].sent_ns >= reports[i].scheduled_ns);
        CHECK_EQ(reports[i].verdict, VERDICT_ON_TIME);
    }
    CHECK_EQ(wt_exact(&worker, &s.ch, SHM_COUNT_tx_sent), FRAMES);
    CHECK_EQ(wt_exact(&worker, &s.ch, SHM_COUNT_tx_bytes), FRAMES * (sizeof(shm_rtp_tx_t) + 40));
    CHECK_EQ(rt_load_relaxed(&s.ch.segment.stats->hists[SHM_HIST_lateness].count), FRAMES);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_sent_octets), FRAMES * 40);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_spurts), 1);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 0);
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_next_seq), (uint16_t)(65500 + FRAMES));
    CHECK_EQ(rtpt_gauge(&s.ch, SHM_RTP_GAUGE_next_due_ns),
             reports[0].scheduled_ns + FRAMES * RTPT_STEP_NS);
    CHECK(rtpt_drained(&s.ch));
    end(&s);
}

static void test_a_rate_that_does_not_divide(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    s.rtp.clock_rate = 44100;
    s.rtp.samples_per_packet = 101;
    REQUIRE(start_with(&s, "rate", NULL));
    enum { FRAMES = 50 };
    for (int i = 0; i < FRAMES; i++)
        CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
    shm_report_t reports[FRAMES];
    CHECK_EQ(wt_reports(&s.ch, reports, FRAMES), FRAMES);
    for (int64_t i = 0; i < FRAMES; i++)
        CHECK_EQ(reports[i].scheduled_ns - reports[0].scheduled_ns, i * 101 * RT_NS_PER_S / 44100);
    end(&s);
}

/* What a client does between its packets does not matter while its queue lasts. */
static void test_a_sender_that_stalls_leaves_no_gap(void)
{
    sender_t s;
    enum { FRAMES = 60, AT_ONCE = 50 };
    REQUIRE(start(&s, "stalls"));
    for (int i = 0; i < AT_ONCE; i++)
        CHECK_EQ(rtpt_frame(&s.ch, &i, sizeof i), 0);
    wt_nap_ms(200);
    for (int i = AT_ONCE; i < FRAMES; i++)
        CHECK_EQ(rtpt_frame(&s.ch, &i, sizeof i), 0);
    for (int i = 0; i < FRAMES; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.ts, 1000 + 40 * i);
        CHECK_EQ(p.view.marker, i == 0);
    }
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 0);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_skipped_times), 0);
    end(&s);
}

static void test_it_starts_when_it_is_told_to(void)
{
    sender_t s;
    REQUIRE(start(&s, "told"));
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
    int64_t at = rt_mono_ns() + 60 * RT_NS_PER_MS;
    CHECK_EQ(rtpt_push(&s.ch, &head, "a", 1, at, NULL), 0);
    CHECK_EQ(rtpt_push(&s.ch, &head, "b", 1, 0, NULL), 0);
    /* Between two slots: the one behind it. */
    CHECK_EQ(rtpt_push(&s.ch, &head, "c", 1, at + 7 * RTPT_STEP_NS - 1, NULL), 0);
    /* Not before then, but there is no earlier slot left. */
    CHECK_EQ(rtpt_push(&s.ch, &head, "d", 1, at, NULL), 0);
    const int slots[] = {0, 1, 7, 8};
    for (int i = 0; i < 4; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.ts, 1000 + 40 * slots[i]);
        CHECK_EQ(p.view.marker, i == 0 || i == 2);
        CHECK_EQ(p.view.seq, (uint16_t)(65500 + i));
        CHECK(p.at_mono_ns >= at + slots[i] * RTPT_STEP_NS);
    }
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_skipped_times), 5);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 0);
    end(&s);
}

/* --- what a record can say ----------------------------------------------------------------- */

static void test_a_block_is_cut(void)
{
    sender_t s;
    enum { BYTES = 40 * 20 + 11 };
    REQUIRE(start(&s, "block"));
    uint8_t media[BYTES];
    for (int i = 0; i < BYTES; i++)
        media[i] = (uint8_t)(i * 7);
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_BLOCK);
    uint64_t sequence = 0;
    CHECK_EQ(rtpt_push(&s.ch, &head, media, BYTES, 0, &sequence), 0);
    CHECK_EQ(rtpt_frame(&s.ch, "next", 4), 0);
    for (int i = 0; i < 22; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.seq, (uint16_t)(65500 + i));
        CHECK_EQ(p.view.ts, 1000 + (i < 21 ? 40 * i : 40 * 20 + 11));
        CHECK_EQ(p.view.marker, i == 0);
        if (i == 21)
            continue;
        CHECK_EQ(p.view.payload_bytes, i < 20 ? 40 : 11);
        CHECK_MEM_EQ(p.data + p.view.payload_offset, media + 40 * i, p.view.payload_bytes);
    }
    shm_report_t reports[22];
    CHECK_EQ(wt_reports(&s.ch, reports, 22), 22);
    for (int i = 0; i < 21; i++)
        CHECK_EQ(reports[i].sequence, sequence);
    CHECK_EQ(reports[21].sequence, sequence + 1);
    CHECK(rtpt_drained(&s.ch));
    end(&s);
}

/* Packets shorter than their header: each header then lies over several packets that have left. */
static void test_a_block_of_tiny_packets(void)
{
    sender_t s;
    REQUIRE(start(&s, "tiny"));
    uint8_t media[30];
    for (int i = 0; i < 30; i++)
        media[i] = (uint8_t)(100 + i);
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_BLOCK);
    head.bytes_per_packet = 1;
    head.samples = 8;
    CHECK_EQ(rtpt_push(&s.ch, &head, media, sizeof media, 0, NULL), 0);
    for (int i = 0; i < 30; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.ts, 1000 + 8 * i);
        CHECK_EQ(p.view.payload_bytes, 1);
        CHECK_EQ(p.data[p.view.payload_offset], 100 + i);
    }
    end(&s);
}

static void test_overrides(void)
{
    sender_t s;
    REQUIRE(start(&s, "overrides"));
    static const uint8_t extension[] = {0xbe, 0xde, 0, 1, 0x10, 0x55, 0, 0, 'm'};
    shm_rtp_tx_t heads[5];
    for (int i = 0; i < 5; i++)
        heads[i] = rtpt_head(SHM_RTP_FRAME);
    heads[0].marker = SHM_RTP_MARKER_CLEAR;
    heads[1].marker = SHM_RTP_MARKER_SET;
    heads[1].payload_type = 101;
    heads[2].samples = 7;
    heads[3].flags = SHM_RTP_EXTENSION;
    for (int i = 0; i < 5; i++)
        CHECK_EQ(rtpt_push(&s.ch, &heads[i], i == 3 ? (const void *)extension : "m",
                           i == 3 ? sizeof extension : 1, 0, NULL),
                 0);
    static const uint32_t ts[] = {1000, 1040, 1080, 1087, 1127};
    for (int i = 0; i < 5; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.ts, ts[i]);
        CHECK_EQ(p.view.marker, i == 1);
        CHECK_EQ(p.view.payload_type, i == 1 ? 101 : 0);
        CHECK_EQ(p.view.has_ext, i == 3);
        CHECK_EQ(p.view.payload_bytes, 1);
        if (i == 3)
            CHECK_MEM_EQ(p.view.data + p.view.ext_offset - 4, extension, sizeof extension);
    }
    CHECK(rtpt_count_to(&s.ch, SHM_RTP_COUNT_sent, 5));
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_sent_octets), 5);
    end(&s);
}

/* As video has it: several packets of one frame, sent together. */
static void test_packets_of_the_same_time(void)
{
    sender_t s;
    enum { FRAMES = 10, PARTS = 5 };
    REQUIRE(start(&s, "video"));
    for (int i = 0; i < FRAMES * PARTS; i++) {
        shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
        bool last = i % PARTS == PARTS - 1;
        if (!last)
            head.flags = SHM_RTP_SAME_TIME;
        head.marker = last ? SHM_RTP_MARKER_SET : SHM_RTP_MARKER_CLEAR;
        uint8_t media[300] = {(uint8_t)i};
        CHECK_EQ(rtpt_push(&s.ch, &head, media, last ? 100 : 300, 0, NULL), 0);
    }
    for (int i = 0; i < FRAMES * PARTS; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.seq, (uint16_t)(65500 + i));
        CHECK_EQ(p.view.ts, 1000 + 40 * (i / PARTS));
        CHECK_EQ(p.view.marker, i % PARTS == PARTS - 1);
        CHECK_EQ(p.data[p.view.payload_offset], i);
    }
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 0);
    end(&s);
}

/* The same picture, spread: each packet has its own due time, and the
 * next picture its grid time. */
static void test_packets_of_a_picture_that_is_spread(void)
{
    sender_t s;
    enum { FRAMES = 4, PARTS = 5, TOTAL = FRAMES * PARTS };
    const int64_t gap_ns = RTPT_STEP_NS / PARTS;
    REQUIRE(start(&s, "spread"));
    for (int i = 0; i < TOTAL; i++) {
        shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
        int part = i % PARTS;
        if (part != PARTS - 1)
            head.flags = SHM_RTP_SAME_TIME;
        head.offset_ns = (uint32_t)(part * gap_ns);
        CHECK_EQ(rtpt_push(&s.ch, &head, "x", 1, 0, NULL), 0);
    }
    shm_report_t reports[TOTAL];
    CHECK_EQ(wt_reports(&s.ch, reports, TOTAL), TOTAL);
    for (int i = 0; i < TOTAL; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.ts, 1000 + 40 * (i / PARTS));
        CHECK_EQ(reports[i].scheduled_ns - reports[0].scheduled_ns,
                 i / PARTS * RTPT_STEP_NS + i % PARTS * gap_ns);
        CHECK(reports[i].sent_ns >= reports[i].scheduled_ns);
    }
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 0);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_bad_records), 0);
    end(&s);
}

static void test_records_that_make_no_sense(void)
{
    sender_t s;
    REQUIRE(start(&s, "nonsense"));
    static const uint8_t cut_extension[] = {0xbe, 0xde, 0, 9, 0, 0, 0, 0};
    enum { BAD = 9 };
    shm_rtp_tx_t heads[BAD];
    for (int i = 0; i < BAD; i++)
        heads[i] = rtpt_head(SHM_RTP_FRAME);
    heads[0].what = 4;
    heads[1].marker = 3;
    heads[2].payload_type = 128;
    heads[3].flags = 0x80;
    heads[4].samples = 8000u * 86400u + 1;
    heads[5].flags = SHM_RTP_EXTENSION; /* and too short for one */
    heads[6].flags = SHM_RTP_EXTENSION;
    heads[7].what = SHM_RTP_BLOCK;
    heads[7].flags = SHM_RTP_SAME_TIME;
    heads[8].what = SHM_RTP_BLOCK; /* of nothing */
    for (int i = 0; i < BAD; i++)
        CHECK_EQ(rtpt_push(&s.ch, &heads[i], cut_extension,
                           i == 6   ? sizeof cut_extension
                           : i == 8 ? 0
                                    : 3,
                           0, NULL),
                 0);
    CHECK_EQ(wt_push(&s.ch, "short", 5, 0, NULL), 0);
    CHECK_EQ(rtpt_frame(&s.ch, "good", 4), 0);
    rtpt_packet_t p;
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK_EQ(p.view.seq, 65500);
    CHECK_MEM_EQ(p.data + p.view.payload_offset, "good", 4);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_bad_records), BAD + 1);
    CHECK_EQ(wt_exact(&worker, &s.ch, SHM_COUNT_tx_failed), BAD + 1);
    CHECK(wt_count_to(&s.ch, SHM_COUNT_tx_sent, 1));
    CHECK(rtpt_silence(s.sink, 20));
    end(&s);
}

/* --- pauses and underruns ------------------------------------------------------------------ */

static void test_a_pause_ends_a_talk_spurt(void)
{
    sender_t s;
    REQUIRE(start(&s, "pause"));
    CHECK_EQ(rtpt_frame(&s.ch, "a", 1), 0);
    CHECK_EQ(rtpt_mark(&s.ch, SHM_RTP_PAUSE), 0);
    rtpt_packet_t first, second;
    REQUIRE(rtpt_recv(s.sink, &first, WT_TIMEOUT_MS));
    wt_nap_ms(53);
    CHECK_EQ(rtpt_frame(&s.ch, "b", 1), 0);
    REQUIRE(rtpt_recv(s.sink, &second, WT_TIMEOUT_MS));
    CHECK_EQ(second.view.seq, (uint16_t)(first.view.seq + 1));
    CHECK(second.view.marker);
    CHECK_EQ((second.view.ts - first.view.ts) % 40, 0);
    CHECK(second.view.ts - first.view.ts >= 10 * 40);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 0);
    /* A pause of a stated length, with the next words queued behind it. */
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_PAUSE);
    head.samples = 4000;
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_HOLD), 0);
    CHECK_EQ(rtpt_frame(&s.ch, "c", 1), 0);
    CHECK_EQ(rtpt_push(&s.ch, &head, NULL, 0, 0, NULL), 0);
    CHECK_EQ(rtpt_frame(&s.ch, "d", 1), 0);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_RELEASE), 0);
    REQUIRE(rtpt_recv(s.sink, &first, WT_TIMEOUT_MS));
    REQUIRE(rtpt_recv(s.sink, &second, WT_TIMEOUT_MS));
    CHECK_EQ(second.view.ts - first.view.ts, 4040);
    CHECK(second.view.marker);
    CHECK(rtpt_drained(&s.ch));
    CHECK_EQ(wt_exact(&worker, &s.ch, SHM_COUNT_tx_sent), 4); /* marks are no packets */
    end(&s);
}

static void strict(shm_config_t *c)
{
    c->tolerance_ns = 50 * RT_NS_PER_US;
}

static void test_an_underrun_resumes_on_the_grid(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    REQUIRE(start_with(&s, "underrun", strict));
    rtpt_packet_t before = {.bytes = 0}, after;
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
        REQUIRE(rtpt_recv(s.sink, &after, WT_TIMEOUT_MS));
        CHECK(after.view.marker);
        if (i > 0) {
            uint32_t step = after.view.ts - before.view.ts;
            CHECK(step % 40 == 0 && step >= 40 * 6);
        }
        before = after;
        wt_nap_ms(33);
    }
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 4);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_spurts), 5);
    CHECK(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_skipped_times) >= 4 * 5);
    end(&s);
}

static void test_an_underrun_may_be_caught_up(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    s.rtp.underrun = SHM_RTP_CATCH_UP;
    REQUIRE(start_with(&s, "catch-up", strict));
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 4; j++)
            CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
        wt_nap_ms(40);
    }
    for (int i = 0; i < 12; i++) {
        rtpt_packet_t p;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.ts, 1000 + 40 * i);
        CHECK_EQ(p.view.marker, i == 0);
    }
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_skipped_times), 0);
    CHECK(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns) >= 2);
    end(&s);
}

static void test_an_underrun_may_be_filled(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    s.rtp.underrun = SHM_RTP_FILL;
    s.rtp.fill_byte = 0xff;
    s.rtp.fill_packets = 6;
    REQUIRE(start_with(&s, "filled", strict));
    CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
    rtpt_packet_t p;
    for (int i = 0; i < 7; i++) {
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK_EQ(p.view.seq, (uint16_t)(65500 + i));
        CHECK_EQ(p.view.ts, 1000 + 40 * i);
        CHECK_EQ(p.view.payload_bytes, i == 0 ? 1 : 40);
        if (i > 0)
            CHECK(p.data[12] == 0xff && p.data[51] == 0xff);
    }
    CHECK(rtpt_silence(s.sink, 50));
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_filled), 6);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 1);
    /* What ends it is no underrun; that nothing follows is the next. */
    CHECK_EQ(rtpt_frame(&s.ch, "y", 1), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK(p.view.marker && p.view.ts > 1000 + 40 * 7);
    CHECK_EQ(p.view.seq, (uint16_t)(65500 + 7));
    for (int i = 0; i < 6; i++)
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK(rtpt_silence(s.sink, 50));
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_filled), 12);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 2);
    /* Silence that was asked for is not filled. */
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_HOLD), 0);
    CHECK_EQ(rtpt_frame(&s.ch, "z", 1), 0);
    CHECK_EQ(rtpt_mark(&s.ch, SHM_RTP_PAUSE), 0);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_RELEASE), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK_EQ(p.view.payload_bytes, 1);
    CHECK(rtpt_silence(s.sink, 60));
    end(&s);
}

static void test_a_queue_may_build_up_first(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    s.rtp.start_delay_ns = 500 * RT_NS_PER_MS;
    REQUIRE(start_with(&s, "cushion", strict));
    int64_t began = rt_mono_ns();
    rtpt_packet_t p;
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
        wt_nap_ms(5); /* a little slower than the stream */
    }
    for (int i = 0; i < 10; i++) {
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        CHECK(p.at_mono_ns - began >= 500 * RT_NS_PER_MS);
        CHECK_EQ(p.view.ts, 1000 + 40 * i);
    }
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 0);
    end(&s);
}

/* --- commands ------------------------------------------------------------------------------ */

/* Two seconds of packets: it is not at its end before the test comes to what it does to it. */
static const uint8_t long_media[400];

static shm_rtp_tx_t long_block(void)
{
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_BLOCK);
    head.bytes_per_packet = 1;
    return head;
}

static void test_hold_purge_reset(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    REQUIRE(start_with(&s, "hold", NULL));
    rtpt_packet_t p;
    shm_rtp_tx_t block = long_block();
    CHECK_EQ(rtpt_push(&s.ch, &block, long_media, sizeof long_media, 0, NULL), 0);
    for (int i = 0; i < 4; i++)
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_HOLD), 0);
    while (rtpt_recv(s.sink, &p, 50))
        ;
    uint16_t last = p.view.seq;
    uint32_t ts = p.view.ts;
    wt_nap_ms(50);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_RELEASE), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS)); /* the block goes on, at the present */
    CHECK_EQ(p.view.seq, (uint16_t)(last + 1));
    CHECK(p.view.marker && p.view.ts - ts >= 40 * 10 && (p.view.ts - ts) % 40 == 0);
    last = p.view.seq;
    CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_PURGE), 0);
    while (rtpt_recv(s.sink, &p, 20))
        last = p.view.seq;
    CHECK(rtpt_drained(&s.ch));
    CHECK_EQ(wt_exact(&worker, &s.ch, SHM_COUNT_tx_cancelled), 2);
    CHECK_EQ(rtpt_frame(&s.ch, "y", 1), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK(p.view.marker);
    CHECK_EQ(p.view.seq, (uint16_t)(last + 1));
    CHECK(rtpt_count_to(&s.ch, SHM_RTP_COUNT_sent, 2));
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_RESET), 0);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_sent), 0);
    CHECK_EQ(rtpt_frame(&s.ch, "z", 1), 0);
    CHECK(rtpt_count_to(&s.ch, SHM_RTP_COUNT_sent, 1));
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_sent), 1);
    end(&s);
}

static void held(shm_config_t *c)
{
    c->held = 1;
}

static void test_opened_held(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    REQUIRE(start_with(&s, "held", held));
    CHECK_EQ(rtpt_frame(&s.ch, "a", 1), 0);
    CHECK_EQ(rtpt_frame(&s.ch, "b", 1), 0);
    CHECK(rtpt_silence(s.sink, 50));
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_RELEASE), 0);
    rtpt_packet_t p;
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK(p.view.marker && p.view.ts == 1000);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK(!p.view.marker && p.view.ts == 1040);
    end(&s);
}

static void test_cancelled_ones_are_left_out(void)
{
    sender_t s;
    enum { FRAMES = 20 };
    uint64_t sequences[FRAMES + 1];
    REQUIRE(start(&s, "cancel"));
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
    shm_rtp_tx_t block = long_block();
    int64_t at = rt_mono_ns() + RT_NS_PER_S;
    for (int i = 0; i < FRAMES; i++)
        CHECK_EQ(rtpt_push(&s.ch, &head, &i, sizeof i, i == 0 ? at : 0, &sequences[i]), 0);
    CHECK_EQ(rtpt_push(&s.ch, &block, long_media, sizeof long_media, 0, &sequences[FRAMES]), 0);
    for (int i = 1; i < FRAMES; i += 2)
        CHECK_EQ(tx_ring_cancel(&s.ch.segment, sequences[i], NULL), 1);
    wt_ring(&s.ch);
    rtpt_packet_t p;
    for (int i = 0; i < FRAMES / 2; i++) {
        int value = -1;
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
        memcpy(&value, p.data + p.view.payload_offset, sizeof value);
        CHECK_EQ(value, 2 * i);
        CHECK_EQ(p.view.ts, 1000 + 40 * i); /* what is behind moves up */
    }
    for (int i = 0; i < 5; i++) /* a block can be cut short */
        REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK_EQ(tx_ring_cancel(&s.ch.segment, sequences[FRAMES], NULL), 1);
    wt_ring(&s.ch);
    int more = 0;
    while (rtpt_recv(s.sink, &p, 50))
        more++;
    CHECK(more < (int)sizeof long_media - 5);
    CHECK(wt_count_to(&s.ch, SHM_COUNT_tx_cancelled, FRAMES / 2 + 1));
    CHECK(rtpt_drained(&s.ch));
    end(&s);
}

/* Many records that do not wait stay before one that does, since a producer in front of them has
 * halted: more than are looked at in one pass. */
static void test_far_behind_what_does_not_wait(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    enum { CANCELLED = 3000, PURGED = 3 };
    uint64_t sequence;
    rtpt_packet_t p;
    tx_claim_t claim;
    REQUIRE(start_with(&s, "far-behind", held));
    wt_channel_t halted = s.ch;
    CHECK_EQ(wt_attach(&worker, worker.pool, &halted, NULL), 0);
    CHECK_EQ(tx_producer_claim(&halted.producer, 8, 0, rt_mono_ns(), NULL, &claim), 0);
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
    for (int i = 0; i < CANCELLED; i++) {
        REQUIRE(rtpt_push(&s.ch, &head, "a", 1, 0, &sequence) == 0);
        CHECK_EQ(tx_ring_cancel(&s.ch.segment, sequence, NULL), 1);
    }
    CHECK_EQ(rtpt_frame(&s.ch, "z", 1), 0);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_RELEASE), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK_EQ(p.data[p.view.payload_offset], 'z');
    CHECK(wt_count_to(&s.ch, SHM_COUNT_tx_cancelled, CANCELLED));
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_HOLD), 0);
    for (int i = 0; i < PURGED; i++)
        CHECK_EQ(rtpt_frame(&s.ch, "b", 1), 0);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_PURGE), 0);
    CHECK_EQ(wt_exact(&worker, &s.ch, SHM_COUNT_tx_cancelled), CANCELLED + PURGED);
    tx_producer_abort(&halted.producer, &claim);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_RELEASE), 0);
    CHECK(rtpt_drained(&s.ch));
    close(halted.locks_fd);
    end(&s);
}

/* Nobody waits for a slot that nobody wants any more. */
static void test_what_is_taken_back_gives_its_slot_back(void)
{
    sender_t s;
    rtpt_packet_t p;
    uint64_t far;
    REQUIRE(start(&s, "far"));
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
    int64_t hour = rt_mono_ns() + 3600 * RT_NS_PER_S;
    CHECK_EQ(rtpt_push(&s.ch, &head, "far", 3, hour, &far), 0); /* it opens the grid */
    wt_nap_ms(20);
    CHECK_EQ(tx_ring_cancel(&s.ch.segment, far, NULL), 1);
    CHECK_EQ(rtpt_frame(&s.ch, "a", 1), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK(p.view.marker && p.view.ts == 1000);
    CHECK_EQ(rtpt_push(&s.ch, &head, "far", 3, hour, &far), 0);
    wt_nap_ms(20);
    CHECK_EQ(tx_ring_cancel(&s.ch.segment, far, NULL), 1);
    CHECK_EQ(rtpt_frame(&s.ch, "b", 1), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    head = rtpt_head(SHM_RTP_PAUSE);
    head.samples = 8000 * 3600;
    CHECK_EQ(rtpt_push(&s.ch, &head, NULL, 0, 0, NULL), 0);
    CHECK_EQ(rtpt_frame(&s.ch, "far", 3), 0);
    wt_nap_ms(20);
    CHECK_EQ(wt_command(&worker, &s.ch, CTL_PURGE), 0);
    CHECK(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_skipped_times) < 1000);
    CHECK_EQ(rtpt_frame(&s.ch, "c", 1), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK(p.view.marker);
    CHECK(rtpt_drained(&s.ch));
    end(&s);
}

static void drop_late(shm_config_t *c)
{
    c->late = SHM_LATE_DROP;
    c->tolerance_ns = 300 * RT_NS_PER_MS;
}

static void test_late_ones_may_be_dropped(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    s.rtp.underrun = SHM_RTP_CATCH_UP;
    REQUIRE(start_with(&s, "drop", drop_late));
    CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
    rtpt_packet_t p;
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    wt_nap_ms(800);
    shm_rtp_tx_t block = long_block();
    CHECK_EQ(rtpt_push(&s.ch, &block, long_media, sizeof long_media, 0, NULL), 0);
    REQUIRE(rtpt_recv(s.sink, &p, WT_TIMEOUT_MS));
    CHECK_EQ(p.view.seq, 65501);        /* a packet that was not sent has no number */
    CHECK(p.view.ts >= 1000 + 40 * 95); /* half a second, and some for a nap that is rounded */
    CHECK(wt_count_to(&s.ch, SHM_COUNT_tx_dropped_late, 94));
    CHECK(rtpt_drained(&s.ch));
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_skipped_times),
             wt_exact(&worker, &s.ch, SHM_COUNT_tx_dropped_late));
    end(&s);
}

static void test_failed_sends(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    s.ch = (wt_channel_t){.config = rtpt_config("fails", 0, SHM_TX, &s.rtp)};
    REQUIRE(wt_open(&worker, &s.ch));
    CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
    CHECK(wt_count_to(&s.ch, SHM_COUNT_tx_failed, 1));
    shm_report_t report = {0};
    CHECK_EQ(wt_reports(&s.ch, &report, 1), 1);
    CHECK_EQ(report.verdict, VERDICT_FAILED);
    CHECK_EQ(report.error, EDESTADDRREQ);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_sent), 0);
    rtpt_close(&worker, &s.ch);
}

static void lossy(shm_config_t *c)
{
    c->impair_tx.loss = 0.3;
    c->impair_tx.seed = 5;
}

static void test_through_an_emulated_link(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    enum { FRAMES = 100 };
    REQUIRE(start_with(&s, "link", lossy));
    shm_rtp_tx_t block = rtpt_head(SHM_RTP_BLOCK);
    static const uint8_t media[FRAMES];
    block.bytes_per_packet = 1;
    block.samples = 8;
    CHECK_EQ(rtpt_push(&s.ch, &block, media, sizeof media, 0, NULL), 0);
    CHECK(wt_count_to(&s.ch, SHM_COUNT_tx_sent, FRAMES));
    wt_settle(&worker);
    int came = 0;
    rtpt_packet_t p;
    while (rtpt_recv(s.sink, &p, 100)) {
        CHECK_EQ(p.view.ts, 1000 + 8 * (uint16_t)(p.view.seq - 65500));
        came++;
    }
    CHECK(came > FRAMES / 3 && came < FRAMES);
    CHECK(wt_count_to(&s.ch, SHM_COUNT_impair_tx_lost, (uint64_t)(FRAMES - came)));
    CHECK_EQ(wt_exact(&worker, &s.ch, SHM_COUNT_tx_sent), FRAMES);
    end(&s);
}

/* --- configuration ------------------------------------------------------------------------- */

static void refuse(const shm_config_t *config, const char *word)
{
    wt_channel_t ch = {.config = *config};
    REQUIRE(wt_segment(&ch));
    CHECK(wt_send_open(&worker, &ch, 0) < 0);
    if (!CHECK(strstr(worker.text, word) != NULL))
        (void)fprintf(stderr, "  \"%s\" is not in: %s\n", word, worker.text);
    wt_drop(&ch);
}

static void test_bad_opens_are_refused(void)
{
    shm_rtp_config_t rtp = rtpt_stream();
    shm_config_t c = rtpt_config("bad", 9, SHM_TX, &rtp);
    c.engine_bytes = 0;
    refuse(&c, "shared memory");
    rtp.clock_rate = 0;
    c = rtpt_config("bad", 9, SHM_TX, &rtp);
    refuse(&c, "clock_rate");
}

/* --- deaths -------------------------------------------------------------------------------- */

/* Reads all that the peer gets until it is quiet; checks that no number came twice. Returns the
 * packets. */
static int check_stream(int sink, uint16_t *next, uint32_t *last_ts, int *gaps, int quiet_ms)
{
    rtpt_packet_t p;
    int packets = 0;
    while (rtpt_recv(sink, &p, quiet_ms)) {
        uint16_t ahead = (uint16_t)(p.view.seq - *next);
        CHECK(ahead < 1000); /* neither twice nor back */
        *gaps += ahead;
        *next = (uint16_t)(p.view.seq + 1);
        CHECK_EQ((p.view.ts - 1000) % 8, 0);
        CHECK(packets == 0 || (int32_t)(p.view.ts - *last_ts) > 0);
        CHECK_EQ(p.view.ssrc, 0x11223344);
        *last_ts = p.view.ts;
        packets++;
    }
    return packets;
}

/* One packet a millisecond, blocks and frames, through the deaths of several workers. */
static void test_a_stream_survives_its_workers(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    s.rtp.samples_per_packet = 8;
    s.rtp.bytes_per_packet = 8;
    enum { ROUNDS = 8, BLOCKS = 10, IN_BLOCK = 120, BATCH = 64 };
    REQUIRE(start_with(&s, "survivor", NULL));
    static uint8_t media[8 * IN_BLOCK];
    shm_rtp_tx_t block = rtpt_head(SHM_RTP_BLOCK);
    for (int i = 0; i < BLOCKS; i++) {
        memset(media, i, sizeof media);
        CHECK_EQ(rtpt_push(&s.ch, &block, media, sizeof media, 0, NULL), 0);
        for (int j = 0; j < 20; j++)
            CHECK_EQ(rtpt_frame(&s.ch, media, 8), 0);
    }
    uint16_t next = 65500;
    uint32_t last_ts = 0;
    int gaps = 0, packets = 0;
    for (int i = 0; i < ROUNDS; i++) {
        wt_nap_ms(40 + 13 * i);
        rtpt_replace_worker(&worker, &s.ch);
        packets += check_stream(s.sink, &next, &last_ts, &gaps, 0);
    }
    while (tx_ring_waiting(&s.ch.segment) > 0) /* the sink's buffer may be small */
        packets += check_stream(s.sink, &next, &last_ts, &gaps, 300);
    packets += check_stream(s.sink, &next, &last_ts, &gaps, 300);
    CHECK(gaps <=
          ROUNDS * BATCH); /* what was being sent: one, or a batch of a worker that was late */
    CHECK(packets + gaps <= BLOCKS * (IN_BLOCK + 20));
    CHECK(packets >= BLOCKS * (IN_BLOCK + 20) - ROUNDS * BATCH - ROUNDS);
    /* One timeline: what is missing is at its end, where a frame died with a worker before it had a
     * number. */
    CHECK_EQ(last_ts, 1000 + 8 * (uint32_t)(packets + gaps - 1));
    /* What a worker had just sent when it died nobody counted: a batch at most. */
    uint64_t counted = rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_sent);
    CHECK(counted <= (uint64_t)(packets + gaps) && counted + ROUNDS * BATCH >= (uint64_t)packets);
    CHECK_EQ(rtpt_exact(&worker, &s.ch, SHM_RTP_COUNT_underruns), 0);
    end(&s);
}

static void test_a_state_that_was_overwritten(void)
{
    sender_t s = {.rtp = rtpt_stream()};
    REQUIRE(start_with(&s, "scribbled", NULL));
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    for (int round = 0; round < 4; round++) {
        CHECK_EQ(rtpt_frame(&s.ch, "x", 1), 0);
        CHECK(wt_count_to(&s.ch, SHM_COUNT_tx_sent, (uint64_t)round + 1));
        uint64_t *words = (uint64_t *)(void *)s.ch.segment.engine;
        for (size_t i = 0; i < 13; i++)
            words[i] =
                round == 1 ? UINT64_MAX : rt_test_rand(&seed) >> (round == 2 ? 1 : 8 * round);
        rtpt_replace_worker(&worker, &s.ch);
        int64_t at = rt_mono_ns() + 5 * RT_NS_PER_MS;
        shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
        CHECK_EQ(rtpt_push(&s.ch, &head, "y", 1, at, NULL), 0);
        wt_nap_ms(50); /* it may be due at any time now; the worker is alive */
        CHECK_EQ(wt_command(&worker, &s.ch, CTL_PURGE), 0);
        CHECK_EQ(wt_command(&worker, &s.ch, CTL_RESET), 0);
        rt_store_relaxed(&rtpt_state(&s.ch)->current, 0);
        rtpt_replace_worker(&worker, &s.ch);
        CHECK_EQ(wt_command(&worker, &s.ch, CTL_RESET), 0);
        for (int i = 0; i < round + 1; i++)
            CHECK_EQ(rtpt_frame(&s.ch, "z", 1), 0);
        CHECK(wt_count_to(&s.ch, SHM_COUNT_tx_sent, (uint64_t)round + 1));
    }
    end(&s);
}

static void test_hostile_records_spoil_only_themselves(void)
{
    sender_t good = {.rtp = rtpt_stream()};
    REQUIRE(start_with(&good, "good", NULL));
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    for (int round = 0; round < 10; round++) {
        sender_t bad = {.rtp = rtpt_stream()};
        REQUIRE(start_with(&bad, "hostile", strict));
        for (int i = 0; i < 300; i++) {
            uint8_t record[64];
            for (size_t j = 0; j < sizeof record; j++)
                record[j] = (uint8_t)rt_test_rand(&seed);
            if (i % 2 == 0) {
                record[0] %= 4;
                record[1] %= 3;
                record[2] = (uint8_t)SHM_RTP_DEFAULT_PT;
                record[3] &= i % 4 == 0 ? 0 : SHM_RTP_TX_FLAGS;
                memset(record + 4, 0, i % 8 == 0 ? 4 : 3);
            }
            int64_t due = i % 3 ? 0 : (int64_t)(rt_test_rand(&seed) >> (i % 40));
            (void)wt_push(&bad.ch, record, rt_test_rand(&seed) % sizeof record, due, NULL);
        }
        CHECK_EQ(rtpt_frame(&good.ch, "ok", 2), 0);
        rtpt_packet_t p;
        CHECK(rtpt_recv(good.sink, &p, WT_TIMEOUT_MS));
        wt_nap_ms(20);
        end(&bad);
    }
    end(&good);
}

int main(void)
{
    if (!CHECK(wt_start(&worker, NULL)))
        return rt_test_result();
    RUN(test_frames_leave_on_the_grid);
    RUN(test_a_rate_that_does_not_divide);
    RUN(test_a_sender_that_stalls_leaves_no_gap);
    RUN(test_it_starts_when_it_is_told_to);
    RUN(test_a_block_is_cut);
    RUN(test_a_block_of_tiny_packets);
    RUN(test_overrides);
    RUN(test_packets_of_the_same_time);
    RUN(test_packets_of_a_picture_that_is_spread);
    RUN(test_records_that_make_no_sense);
    RUN(test_a_pause_ends_a_talk_spurt);
    RUN(test_an_underrun_resumes_on_the_grid);
    RUN(test_an_underrun_may_be_caught_up);
    RUN(test_an_underrun_may_be_filled);
    RUN(test_a_queue_may_build_up_first);
    RUN(test_hold_purge_reset);
    RUN(test_opened_held);
    RUN(test_cancelled_ones_are_left_out);
    RUN(test_far_behind_what_does_not_wait);
    RUN(test_what_is_taken_back_gives_its_slot_back);
    RUN(test_late_ones_may_be_dropped);
    RUN(test_failed_sends);
    RUN(test_through_an_emulated_link);
    RUN(test_bad_opens_are_refused);
    RUN(test_a_stream_survives_its_workers);
    RUN(test_a_state_that_was_overwritten);
    RUN(test_hostile_records_spoil_only_themselves);
    wt_stop(&worker);
    return rt_test_result();
}
