#include "proto/rtp/rtp_jbuf.h"

#include "rt_test.h"

#include <errno.h>

#define ENTRIES 128u

static rtp_jbuf_t jb;
static rtp_jbuf_entry_t entries[ENTRIES];
static rtp_jbuf_result_t out;

static void begin(uint32_t capacity)
{
    rtp_jbuf_init(&jb, capacity, entries, ENTRIES);
}

/* The item is the sequence number as sent, the timestamp 160 times that. */
static void offer(uint32_t seq)
{
    CHECK_EQ(rtp_jbuf_offer(&jb, (uint16_t)seq, 160 * seq, seq, &out), 0);
}

static void check_ready(uint32_t count, uint64_t first)
{
    CHECK_EQ(out.ready_count, count);
    for (uint32_t i = 0; i < out.ready_count; i++)
        CHECK_EQ(out.ready[i].lseq, first + i);
}

static void start_at(uint32_t capacity, uint32_t seq)
{
    begin(capacity);
    for (uint32_t i = 0; i < capacity; i++)
        offer(seq + i);
    check_ready(capacity, seq);
}

static void test_warm_up_collects_its_capacity(void)
{
    begin(4);
    offer(100);
    offer(102);
    offer(101);
    CHECK_EQ(out.ready_count, 0);
    offer(103);
    check_ready(4, 100);
    CHECK(!out.has_erasure);
    offer(104);
    check_ready(1, 104);
}

static void test_number_0_alone_ends_the_warm_up(void)
{
    begin(4);
    offer(0);
    check_ready(1, 0);
    offer(1);
    check_ready(1, 1);
    begin(4);
    offer(5);
    offer(0);
    CHECK_EQ(out.ready_count, 0);
}

static void test_gap_is_lost_when_the_buffer_is_full(void)
{
    start_at(4, 100);
    offer(105);
    offer(106);
    offer(108);
    CHECK_EQ(out.ready_count, 0);
    offer(109);
    check_ready(2, 105);
    CHECK(out.has_erasure);
    CHECK_EQ(out.erasure.first, 104);
    CHECK_EQ(out.erasure.last, 104);
    CHECK_EQ(out.erasure.ts_diff, 160);
    CHECK_EQ(jb.held, 2); /* behind the second gap */
    offer(107);
    check_ready(3, 107);
    CHECK(!out.has_erasure);
}

static void test_late_and_duplicate(void)
{
    start_at(3, 10);
    offer(12);
    CHECK_EQ(out.dropped_count, 1);
    CHECK_EQ(jb.counters.duplicates, 1);
    offer(11);
    CHECK_EQ(out.dropped_count, 1);
    CHECK_EQ(jb.counters.late, 1);
    offer(15);
    offer(15);
    CHECK_EQ(out.dropped_count, 1);
    CHECK_EQ(out.dropped[0].item, 15);
    CHECK_EQ(jb.counters.duplicates, 2);
}

static void test_erasure_times(void)
{
    begin(1);
    CHECK_EQ(rtp_jbuf_offer(&jb, 0, 0, 0, &out), 0);
    begin(2);
    CHECK_EQ(rtp_jbuf_offer(&jb, 9, 840, 0, &out), 0);
    CHECK_EQ(rtp_jbuf_offer(&jb, 10, 1000, 0, &out), 0);
    check_ready(2, 9);
    CHECK_EQ(rtp_jbuf_offer(&jb, 14, 1640, 0, &out), 0);
    CHECK_EQ(rtp_jbuf_offer(&jb, 15, 1800, 0, &out), 0);
    check_ready(2, 14);
    CHECK_EQ(out.erasure.first, 11);
    CHECK_EQ(out.erasure.last, 13);
    CHECK_EQ(out.erasure.ts_diff, 480);
    /* A product beyond 32 bits. */
    CHECK_EQ(rtp_jbuf_offer(&jb, 40014, 1640 + 160 * 40000, 0, &out), 0);
    CHECK_EQ(rtp_jbuf_offer(&jb, 40015, 1800 + 160 * 40000, 0, &out), 0);
    CHECK_EQ(out.erasure.ts_diff, 160 * 39998);
    /* Timestamps that go back count modulo 2^32. */
    CHECK_EQ(rtp_jbuf_offer(&jb, 40017, 0, 0, &out), 0);
    CHECK_EQ(rtp_jbuf_offer(&jb, 40018, 0, 0, &out), 0);
    CHECK_EQ(out.erasure.ts_diff, (0u - (1800u + 160u * 40000u)) / 2);
}

static void test_stale_tail_is_purged(void)
{
    start_at(3, 10);
    offer(500);
    offer(13);
    check_ready(1, 13); /* held is 1: not nearly full */
    offer(501);
    CHECK_EQ(jb.held, 2);
    offer(14);
    check_ready(1, 14);
    offer(15);
    check_ready(1, 15);
    offer(16); /* the third offer with 501 as the tail */
    CHECK_EQ(out.dropped_count, 1);
    CHECK_EQ(out.dropped[0].lseq, 501);
    check_ready(1, 16);
    CHECK_EQ(jb.top_lseq, 500);
    CHECK_EQ(jb.counters.purged, 1);
}

static void test_bad_datagram_ages_the_tail_too(void)
{
    start_at(3, 10);
    offer(500);
    offer(501);
    rtp_jbuf_offer_bad(&jb, &out);
    rtp_jbuf_offer_bad(&jb, &out);
    CHECK_EQ(out.dropped_count, 0);
    rtp_jbuf_offer_bad(&jb, &out);
    CHECK_EQ(out.dropped_count, 1);
    CHECK_EQ(out.dropped[0].lseq, 501);
    CHECK_EQ(jb.counters.parse_errors, 3);
}

static void test_offered_frame_is_dropped_before_the_purged_one(void)
{
    start_at(3, 10);
    offer(500);
    offer(501);
    offer(12);
    offer(12);
    offer(12);
    CHECK_EQ(out.dropped_count, 2);
    CHECK_EQ(out.dropped[0].lseq, 12);
    CHECK_EQ(out.dropped[1].lseq, 501);
}

static void test_wrap(void)
{
    start_at(4, 65533);
    CHECK_EQ(out.ready[3].lseq, 65536);
    CHECK_EQ(jb.counters.wraps, 1);
    offer(65536 + 2);
    offer(65535);
    CHECK_EQ(out.dropped_count, 1); /* from before the wrap: a straggler, not a new cycle */
    CHECK_EQ(out.dropped[0].lseq, 65535);
    offer(65536 + 1);
    check_ready(2, 65537);
    CHECK_EQ(jb.epoch, 65536);
}

static void test_one_packet_moves_the_epoch_for_good(void)
{
    start_at(3, 65100);
    offer(5);
    CHECK_EQ(jb.epoch, 65536);
    CHECK_EQ(jb.top_lseq, 65541);
    offer(65103); /* a straggler from before the wrap, and the next in order */
    check_ready(1, 65103);
    offer(1000); /* no longer near the wrap: extended by the new epoch */
    offer(65104);
    CHECK_EQ(jb.epoch, 65536);
    CHECK_EQ(jb.top_lseq, 65536 + 65104);
}

static void test_straggler_from_before_the_stream_is_late(void)
{
    static const uint16_t early[] = {65535, 65001, 65400};
    for (unsigned i = 0; i < 3; i++) {
        begin(4);
        offer(10);
        offer(early[i]);
        CHECK_EQ(out.dropped_count, 1);
        CHECK_EQ(jb.counters.late, 1);
        offer(11);
        offer(12);
        offer(13);
        check_ready(4, 10);
        CHECK_EQ(jb.epoch, 0);
    }
    begin(4);
    offer(65535); /* the first of all is no straggler */
    CHECK_EQ(out.dropped_count, 0);
    offer(0);
    offer(1);
    offer(2);
    check_ready(4, 65535);
}

static void test_purge_of_the_only_frame_keeps_the_late_check(void)
{
    for (uint32_t capacity = 1; capacity <= 2; capacity++) {
        begin(capacity);
        offer(0);
        check_ready(1, 0);
        offer(1);
        check_ready(1, 1);
        offer(100);
        for (uint32_t i = 0; i < capacity; i++)
            rtp_jbuf_offer_bad(&jb, &out);
        CHECK_EQ(out.dropped_count, 1);
        CHECK_EQ(jb.held, 0);
        offer(1);
        CHECK_EQ(out.dropped_count, 1);
        CHECK_EQ(jb.counters.duplicates, 1);
        offer(2);
        check_ready(1, 2);
    }
}

static void test_capacity_1_releases_what_is_in_order_only(void)
{
    begin(1);
    offer(7);
    CHECK_EQ(out.ready_count, 0);
    offer(8);
    CHECK_EQ(out.dropped_count, 1);
    CHECK_EQ(out.dropped[0].lseq, 7);
    CHECK_EQ(out.ready_count, 0);
    rtp_jbuf_flush(&jb, &out);
    check_ready(1, 8);
    offer(9);
    check_ready(1, 9);
}

static void test_capacity_0_never_gives_up(void)
{
    static rtp_jbuf_entry_t longer[4096];
    CHECK_EQ(rtp_jbuf_entries_for(0), 0);
    begin(0);
    for (uint32_t i = 0; i < 4000; i++) {
        if (rtp_jbuf_is_full(&jb)) {
            CHECK_EQ(rtp_jbuf_offer(&jb, 1, 1, 1, &out), -ENOSPC);
            rtp_jbuf_grow(&jb, longer, 4096);
        }
        offer(100 + 2 * i);
        CHECK_EQ(out.ready_count + out.dropped_count, 0);
    }
    CHECK_EQ(jb.held, 4000);
}

static void test_flush_gives_the_last_run_and_drops_the_others(void)
{
    start_at(10, 100);
    static const uint32_t sent[] = {112, 113, 115, 117, 118, 119};
    for (unsigned i = 0; i < 6; i++)
        offer(sent[i]);
    rtp_jbuf_flush(&jb, &out);
    check_ready(3, 117);
    CHECK(out.has_erasure);
    CHECK_EQ(out.erasure.first, 110);
    CHECK_EQ(out.erasure.last, 116);
    CHECK_EQ(out.erasure.ts_diff, 7 * 160);
    CHECK_EQ(out.dropped_count, 3);
    CHECK_EQ(out.dropped[0].lseq, 115);
    CHECK_EQ(out.dropped[1].lseq, 112);
    CHECK_EQ(out.dropped[2].lseq, 113);
    rtp_jbuf_flush(&jb, &out);
    CHECK_EQ(out.ready_count + out.dropped_count, 0);
    CHECK(!out.has_erasure);
    offer(120);
    check_ready(1, 120);
}

static void test_flush_in_warm_up_erases_from_0(void)
{
    begin(10);
    offer(5);
    offer(6);
    rtp_jbuf_flush(&jb, &out);
    check_ready(2, 5);
    CHECK(out.has_erasure);
    CHECK_EQ(out.erasure.first, 0);
    CHECK_EQ(out.erasure.last, 4);
    CHECK_EQ(out.erasure.ts_diff, 5 * 160 * 5 / 6);
}

static void test_drain_loses_nothing(void)
{
    start_at(10, 100);
    static const uint32_t sent[] = {112, 113, 115};
    for (unsigned i = 0; i < 3; i++)
        offer(sent[i]);
    CHECK(rtp_jbuf_drain(&jb, &out));
    check_ready(2, 112);
    CHECK_EQ(out.erasure.first, 110);
    CHECK(rtp_jbuf_drain(&jb, &out));
    check_ready(1, 115);
    CHECK_EQ(out.erasure.first, 114);
    CHECK(!rtp_jbuf_drain(&jb, &out));
    CHECK_EQ(jb.counters.dropped, 0);
    begin(10);
    offer(5);
    CHECK(rtp_jbuf_drain(&jb, &out));
    CHECK(!out.has_erasure);
}

static void test_many_at_once_is_the_same_as_one_by_one(void)
{
    static uint8_t bytes[300][20];
    static rtp_jbuf_in_t in[300];
    static rtp_jbuf_event_t events[1000];
    uint64_t random = 7;
    for (unsigned i = 0; i < 300; i++) {
        uint16_t seq = (uint16_t)(i + rt_test_rand(&random) % 8);
        bytes[i][0] = i % 50 == 49 ? 0 : 0x80;
        bytes[i][2] = (uint8_t)(seq >> 8);
        bytes[i][3] = (uint8_t)seq;
        in[i] = (rtp_jbuf_in_t){.data = bytes[i], .size = 20, .item = i};
    }
    begin(5);
    size_t taken = 0;
    uint64_t frames = 0;
    uint64_t dropped = 0;
    uint64_t errors = 0;
    uint64_t erasures = 0;
    while (taken < 300) {
        size_t n;
        size_t step = rtp_jbuf_offer_many(&jb, in + taken, 300 - taken, events, 20, &n);
        REQUIRE(step > 0);
        taken += step;
        CHECK(n <= 20);
        for (size_t i = 0; i < n; i++) {
            frames += events[i].kind == RTP_JBUF_FRAME;
            dropped += events[i].kind == RTP_JBUF_DROPPED;
            erasures += events[i].kind == RTP_JBUF_ERASURE;
            if (events[i].kind == RTP_JBUF_ERROR) {
                errors++;
                CHECK_EQ(events[i].error, -2);
                CHECK_EQ(events[i].item % 50, 49);
            }
        }
    }
    CHECK_EQ(frames, jb.counters.delivered);
    CHECK_EQ(dropped, jb.counters.dropped);
    CHECK_EQ(errors, jb.counters.parse_errors);
    CHECK_EQ(erasures, jb.counters.erasures);
    CHECK_EQ(frames + dropped + errors + jb.held, 300);

    rtp_jbuf_t one = jb;
    begin(5);
    for (unsigned i = 0; i < 300; i++) {
        if (bytes[i][0] == 0)
            rtp_jbuf_offer_bad(&jb, &out);
        else
            CHECK_EQ(rtp_jbuf_offer(&jb, (uint16_t)(bytes[i][2] << 8 | bytes[i][3]), 0, i, &out),
                     0);
    }
    CHECK_MEM_EQ(&one.counters, &jb.counters, sizeof jb.counters);
}

static void test_no_room_for_events_takes_nothing(void)
{
    uint8_t packet[12] = {0x80};
    rtp_jbuf_in_t in = {.data = packet, .size = 12};
    rtp_jbuf_event_t events[4];
    size_t n;
    begin(5);
    CHECK_EQ(rtp_jbuf_offer_many(&jb, &in, 1, events, 3, &n), 0);
    CHECK_EQ(n, 0);
    CHECK_EQ(rtp_jbuf_offer_many(&jb, &in, 1, events, 4, &n), 1);
    CHECK_EQ(n, 1);
}

int main(void)
{
    RUN(test_warm_up_collects_its_capacity);
    RUN(test_number_0_alone_ends_the_warm_up);
    RUN(test_gap_is_lost_when_the_buffer_is_full);
    RUN(test_late_and_duplicate);
    RUN(test_erasure_times);
    RUN(test_stale_tail_is_purged);
    RUN(test_bad_datagram_ages_the_tail_too);
    RUN(test_offered_frame_is_dropped_before_the_purged_one);
    RUN(test_wrap);
    RUN(test_one_packet_moves_the_epoch_for_good);
    RUN(test_straggler_from_before_the_stream_is_late);
    RUN(test_purge_of_the_only_frame_keeps_the_late_check);
    RUN(test_capacity_1_releases_what_is_in_order_only);
    RUN(test_capacity_0_never_gives_up);
    RUN(test_flush_gives_the_last_run_and_drops_the_others);
    RUN(test_flush_in_warm_up_erases_from_0);
    RUN(test_drain_loses_nothing);
    RUN(test_many_at_once_is_the_same_as_one_by_one);
    RUN(test_no_room_for_events_takes_nothing);
    return rt_test_result();
}
