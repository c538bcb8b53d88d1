/* Deadlines at the ends of what 64 bits hold: sums and differences of them must not overflow
 * anywhere between the ring and the report. In a build with UBSan an overflow ends the
 * worker, and with it the test. */
#include "unit/worker/rtp/rtp_test.h"

#include "proto/pacing/verdict.h"

enum { PAST = 3, FUTURE = 2, ALL = PAST + FUTURE };

static const int64_t DUES[ALL] = {INT64_MIN, INT64_MIN + 1, -1, INT64_MAX, INT64_MAX - 1};

static wt_worker_t worker;
static int sink;
static uint16_t port;

static void push_all(wt_channel_t *ch, uint64_t *sequences)
{
    for (unsigned i = 0; i < ALL; i++)
        CHECK_EQ(wt_push(ch, &DUES[i], sizeof DUES[i], DUES[i], &sequences[i]), 0);
}

static void check_arrivals(void)
{
    unsigned seen = 0;
    for (unsigned i = 0; i < PAST; i++) {
        int64_t due = 0;
        CHECK_EQ(wt_recv(sink, &due, sizeof due, WT_TIMEOUT_MS), (int)sizeof due);
        for (unsigned n = 0; n < PAST; n++)
            seen |= due == DUES[n] ? 1u << n : 0;
    }
    CHECK_EQ(seen, (1u << PAST) - 1);
}

/* Each deadline is told as the one that it was taken for: just behind 0, or far ahead. */
static void check_reports(wt_channel_t *ch, verdict_t of_past)
{
    shm_report_t reports[ALL];
    REQUIRE(wt_reports(ch, reports, ALL) == ALL);
    for (unsigned i = 0; i < ALL; i++) {
        bool past = reports[i].scheduled_ns < rt_mono_ns();
        CHECK_EQ(reports[i].verdict, past ? of_past : VERDICT_CANCELLED);
        CHECK_EQ(reports[i].scheduled_ns, past ? 1 : INT64_MAX / 2);
    }
}

static void close_channel(wt_channel_t *ch)
{
    CHECK_EQ(rt_load_acquire(&ch->segment.status->state), SHM_STATE_OPEN);
    CHECK_EQ(wt_command(&worker, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

/* Those ahead are taken back one by one, and all at once. */
static void take_back_the_rest(wt_channel_t *ch, const uint64_t *sequences)
{
    wt_settle(&worker); /* what was sent is counted before it leaves the ring */
    CHECK_EQ(tx_ring_waiting(&ch->segment), FUTURE);
    CHECK_EQ(tx_ring_cancel(&ch->segment, sequences[PAST], NULL), 1);
    wt_ring(ch);
    CHECK(wt_count_to(ch, SHM_COUNT_tx_cancelled, 1));
    CHECK_EQ(wt_command(&worker, ch, CTL_PURGE), 0);
    CHECK_EQ(wt_exact(&worker, ch, SHM_COUNT_tx_cancelled), FUTURE);
    CHECK_EQ(tx_ring_waiting(&ch->segment), 0);
}

static void check_sent(const char *name, uint8_t clock, uint8_t align)
{
    uint64_t sequences[ALL];
    wt_channel_t ch = {.config = wt_config(name, port)};
    ch.config.clock = clock;
    ch.config.align = align;
    REQUIRE(wt_open(&worker, &ch));
    push_all(&ch, sequences);
    check_arrivals();
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, PAST));
    take_back_the_rest(&ch, sequences);
    check_reports(&ch, VERDICT_ENQUEUED_LATE);
    close_channel(&ch);
}

static void test_sent_in_every_clock(void)
{
    check_sent("monotonic", RT_CLOCK_MONOTONIC, SHM_ALIGN_START);
    if (rt_tai_offset_s() != 0) /* else the channel is refused */
        check_sent("tai", RT_CLOCK_TAI, SHM_ALIGN_START);
    check_sent("wire", RT_CLOCK_MONOTONIC, SHM_ALIGN_WIRE);
}

/* They wait while the channel is held, and are scheduled anew when it is released. */
static void test_held_and_dropped(void)
{
    uint64_t sequences[ALL];
    wt_channel_t ch = {.config = wt_config("dropped", port)};
    ch.config.held = 1;
    ch.config.late = SHM_LATE_DROP;
    REQUIRE(wt_open(&worker, &ch));
    push_all(&ch, sequences);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_dropped_late, PAST));
    CHECK_EQ(wt_command(&worker, &ch, CTL_HOLD), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    take_back_the_rest(&ch, sequences);
    check_reports(&ch, VERDICT_DROPPED_LATE);
    close_channel(&ch);
}

/* One deadline takes another's place, at both ends. */
static void test_replaced(void)
{
    wt_channel_t ch = {.config = wt_config("replaced", port)};
    REQUIRE(wt_open(&worker, &ch));
    for (unsigned i = 0; i < 2; i++) {
        int64_t now = rt_mono_ns();
        uint64_t old = 0;
        tx_claim_t claim;
        CHECK_EQ(wt_push(&ch, "far", 3, INT64_MAX, &old), 0);
        CHECK_EQ(tx_producer_claim(&ch.producer, 3, INT64_MIN, now, NULL, &claim), 0);
        memcpy(claim.payload, "new", 3);
        CHECK_EQ(tx_producer_replace(&ch.producer, &ch.segment, &claim, old, i == 0), 1);
        wt_ring(&ch);
        CHECK(wt_count_to(&ch, SHM_COUNT_tx_cancelled, i + 1));
    }
    char got[4];
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS), 3); /* the one that did not keep it */
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 1);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 1);
    close_channel(&ch);
}

/* A frame's deadline names the slot where its stream begins. */
static void test_frames(void)
{
    for (unsigned i = 0; i < ALL; i++) {
        shm_rtp_config_t stream = rtpt_stream();
        wt_channel_t ch = {.config = rtpt_config("frames", port, SHM_TX, &stream)};
        shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
        char got[RTPT_BYTES];
        REQUIRE(wt_open(&worker, &ch));
        CHECK_EQ(rtpt_push(&ch, &head, "x", 1, DUES[i], NULL), 0);
        if (i < PAST)
            CHECK(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS) > 0);
        wt_settle(&worker);
        CHECK_EQ(wt_command(&worker, &ch, CTL_PURGE), 0);
        CHECK_EQ(tx_ring_waiting(&ch.segment), 0);
        close_channel(&ch);
    }
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    sink = wt_udp(&port);
    RUN(test_sent_in_every_clock);
    RUN(test_held_and_dropped);
    RUN(test_replaced);
    RUN(test_frames);
    close(sink);
    wt_stop(&worker);
    return rt_test_result();
}
