#include "proto/rtp/rtp_stream.h"

#include "base/rt_err.h"
#include "proto/rtp/rtp_packet.h"
#include "rt_test.h"

#include <errno.h>

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)

static rtp_stream_t s;
static uint8_t header[RTP_HEADER_BYTES];
static rtp_view_t view;

static void begin(uint32_t rate, uint32_t samples)
{
    rtp_stream_config_t c = {
        .clock_rate = rate,
        .samples_per_packet = samples,
        .ssrc = 7,
        .first_ts = 4294967290u,
        .first_seq = 65535,
        .payload_type = 96,
    };
    rtp_stream_init(&s, &c);
}

static int64_t next(uint32_t samples)
{
    int64_t due_ns = rtp_stream_next(&s, samples, 100, header);
    CHECK_EQ(rtp_packet_parse(header, sizeof header, &view), RTP_PARSE_OK);
    return due_ns;
}

static void test_packets_stand_on_the_grid(void)
{
    begin(8000, 160);
    CHECK_EQ(rtp_stream_due_ns(&s), RT_NEVER_NS);
    rtp_stream_start(&s, 5 * SECOND);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(rtp_stream_due_ns(&s), 5 * SECOND + i * 20 * MS);
        CHECK_EQ(next(0), 5 * SECOND + i * 20 * MS);
        CHECK_EQ(view.seq, (uint16_t)(65535 + i));
        CHECK_EQ(view.ts, 4294967290u + 160 * i);
        CHECK_EQ(view.ssrc, 7);
        CHECK_EQ(view.payload_type, 96);
        CHECK_EQ(view.marker, i == 0);
    }
    CHECK_EQ(s.packets, 100);
    CHECK_EQ(s.octets, 10000);
}

static void test_no_rate_drifts(void)
{
    static const uint32_t rates[] = {11025, 44100, 90000, 7, 2147483647, 48000};
    for (unsigned k = 0; k < 6; k++) {
        uint32_t step = rates[k] / 50 + 1;
        begin(rates[k], step);
        rtp_stream_start(&s, 0);
        for (unsigned i = 0; i < 100000; i++)
            (void)next(0);
        /* Rounded down from the exact quotient, however many packets came before. */
        unsigned __int128 exact = (unsigned __int128)step * 100000 * 1000000000 / rates[k];
        CHECK_EQ(rtp_stream_due_ns(&s), (int64_t)exact);
    }
}

static void test_samples_of_a_packet_time(void)
{
    CHECK_EQ(rtp_stream_samples(8000, 20 * MS), 160);
    CHECK_EQ(rtp_stream_samples(48000, 5 * MS / 2), 120);
    CHECK_EQ(rtp_stream_samples(11025, 5 * MS / 2), 28);
    CHECK_EQ(rtp_stream_samples(44100, 20 * MS), 882);
    CHECK_EQ(rtp_stream_samples(1, 1), 1);
    CHECK_EQ(rtp_stream_samples(8000, -1), 1);
    CHECK_EQ(rtp_stream_samples(2147483647, 86400 * SECOND), UINT32_MAX);
}

static void test_silence_ends_on_the_same_grid(void)
{
    begin(8000, 160);
    rtp_stream_start(&s, SECOND);
    (void)next(0);
    (void)next(0);
    CHECK_EQ(rtp_stream_resume(&s, SECOND + 40 * MS), 0); /* not yet past */
    (void)next(0);
    CHECK(!view.marker);
    CHECK_EQ(rtp_stream_resume(&s, SECOND + 1005 * MS), 48); /* 60 ms was next, 1020 it is */
    CHECK_EQ(next(0), SECOND + 1020 * MS);
    CHECK(view.marker);
    CHECK_EQ(view.seq, (uint16_t)(65535 + 3));
    CHECK_EQ(view.ts, 4294967290u + 160 * 51);
    CHECK_EQ(s.skipped_times, 48);
    CHECK_EQ(s.spurts, 2);
    (void)next(0);
    CHECK(!view.marker);
}

static void test_resume_at_any_rate_meets_the_first_slot(void)
{
    uint64_t random = 9;
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t rate = 1 + (uint32_t)(rt_test_rand(&random) % 200000);
        uint32_t step = 1 + (uint32_t)(rt_test_rand(&random) % (rate / 10 + 1));
        begin(rate, step);
        rtp_stream_start(&s, 0);
        (void)next(0);
        int64_t at_ns = (int64_t)(rt_test_rand(&random) % (uint64_t)(100 * SECOND));
        int64_t before_ns = rtp_stream_due_ns(&s);
        uint64_t slots = rtp_stream_resume(&s, at_ns);
        CHECK(rtp_stream_due_ns(&s) >= at_ns);
        CHECK_EQ(s.position, (slots + 1) * step);
        if (slots > 0) {
            s.position -= step;
            CHECK(rtp_stream_due_ns(&s) < at_ns);
        } else {
            CHECK(before_ns >= at_ns);
        }
    }
}

static void test_timestamp_of_an_instant(void)
{
    begin(90000, 3000);
    CHECK_EQ(rtp_stream_ts_at(&s, 77), 4294967290u);
    rtp_stream_start(&s, SECOND);
    CHECK_EQ(rtp_stream_ts_at(&s, SECOND), 4294967290u);
    CHECK_EQ(rtp_stream_ts_at(&s, 2 * SECOND), 4294967290u + 90000u);
    for (unsigned i = 0; i < 50; i++) {
        int64_t due_ns = next(0);
        CHECK(view.ts - rtp_stream_ts_at(&s, due_ns) <= 1); /* due times are rounded down */
    }
}

static void test_packets_of_their_own_length(void)
{
    begin(48000, 960);
    rtp_stream_start(&s, 0);
    CHECK_EQ(next(480), 0);
    CHECK_EQ(next(2880), 10 * MS);
    CHECK_EQ(next(0), 70 * MS);
    CHECK_EQ(view.ts, 4294967290u + 3360);
}

static void test_a_stream_without_markers(void)
{
    rtp_stream_config_t c = {.clock_rate = 8000, .samples_per_packet = 160, .no_marker = true};
    rtp_stream_init(&s, &c);
    rtp_stream_start(&s, 0);
    (void)next(0);
    CHECK(!view.marker);
}

int main(void)
{
    RUN(test_packets_stand_on_the_grid);
    RUN(test_no_rate_drifts);
    RUN(test_samples_of_a_packet_time);
    RUN(test_silence_ends_on_the_same_grid);
    RUN(test_resume_at_any_rate_meets_the_first_slot);
    RUN(test_timestamp_of_an_instant);
    RUN(test_packets_of_their_own_length);
    RUN(test_a_stream_without_markers);
    return rt_test_result();
}
