/* What the sender learns of the path: rates, round trips and packets on the way, from ACKs and NAKs
 * as UDT sends them. The path here is known, so each answer can be checked. */
#include "proto/udt/udt_delivery.h"

#include "rt_test.h"

#include <math.h>

#define MS RT_NS_PER_MS
#define ISN UINT32_C(0x7ffffff0)

static uint64_t seed;
static udt_delivery_t d;
static udt_delivery_sample_t sample;

static uint32_t seq(uint32_t position)
{
    return udt_seq_add(ISN, (int32_t)position);
}

static void sent(uint32_t first, uint32_t n, int64_t now_ns)
{
    udt_delivery_sent(&d, seq(first), n, false, now_ns);
}

static bool acked(uint32_t position, int64_t now_ns)
{
    return udt_delivery_acked(&d, seq(position), now_ns, &sample);
}

static bool lost(uint32_t first, uint32_t last, int64_t now_ns)
{
    udt_seq_range_t range = {seq(first), seq(last)};
    return udt_delivery_lost(&d, &range, 1, now_ns, &sample);
}

static bool about(double value, double wanted, double share)
{
    bool ok = fabs(value - wanted) <= wanted * share;
    if (!ok)
        printf("       %g, wanted %g within %g %%\n", value, wanted, share * 100);
    return ok;
}

/* ---- what is on the way ---- */

static void test_acks_and_naks_tell_what_arrived(void)
{
    udt_delivery_init(&d, ISN, 0);
    sent(0, 100, 0);
    CHECK_EQ(udt_delivery_in_flight(&d), 100);
    CHECK(acked(10, 20 * MS));
    CHECK_EQ(udt_delivery_in_flight(&d), 90);
    CHECK_EQ(udt_delivery_delivered(&d), 10);
    CHECK(lost(40, 42, 30 * MS)); /* so 43 came, and 10 .. 39 before it */
    CHECK_EQ(udt_delivery_delivered(&d), 41);
    CHECK_EQ(udt_delivery_waiting(&d), 31);
    CHECK_EQ(udt_delivery_in_flight(&d), 3 + 56);
    CHECK(!acked(40, 31 * MS)); /* known before */
    CHECK_EQ(udt_delivery_waiting(&d), 1);
    CHECK(!acked(42, 80 * MS)); /* two of three filled */
    CHECK_EQ(udt_delivery_in_flight(&d), 1 + 56);
    CHECK(acked(100, 90 * MS));
    CHECK_EQ(udt_delivery_in_flight(&d), 0);
    CHECK_EQ(udt_delivery_waiting(&d), 0);
    CHECK_EQ(udt_delivery_delivered(&d), 97); /* at their first attempt */
}

static void test_a_repeated_report_opens_no_second_hole(void)
{
    udt_delivery_init(&d, ISN, 0);
    sent(0, 100, 0);
    CHECK(lost(10, 19, 20 * MS));
    CHECK(!lost(10, 19, 40 * MS));
    CHECK(!lost(12, 12, 40 * MS));
    CHECK_EQ(udt_delivery_in_flight(&d), 10 + 79);
    CHECK_EQ(d.lost, 21);
    CHECK(lost(15, 29, 50 * MS)); /* the part behind the top is new */
    CHECK_EQ(udt_delivery_in_flight(&d), 19 + 69);
}

static void test_nonsense_changes_nothing(void)
{
    udt_delivery_init(&d, ISN, 0);
    sent(0, 10, 0);
    CHECK(acked(5, 20 * MS));
    CHECK(!acked(5, 30 * MS));
    CHECK(!acked(3, 30 * MS));
    CHECK(!lost(0, 3, 30 * MS));
    CHECK(!lost(8, 9, 30 * MS)); /* nothing behind it can have told of it */
    CHECK_EQ(udt_delivery_in_flight(&d), 5);
}

static void test_more_holes_than_there_is_room_for(void)
{
    udt_delivery_init(&d, ISN, 0);
    sent(0, 10000, 0);
    uint64_t before = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(lost(10 * i, 10 * i + 1, 20 * MS));
        CHECK(udt_delivery_delivered(&d) >= before);
        before = udt_delivery_delivered(&d);
    }
    CHECK_EQ(d.top, 9993);
    CHECK(udt_delivery_in_flight(&d) <= 10000);
    CHECK_EQ(udt_delivery_delivered(&d), 1 + 8 * (UDT_DELIVERY_HOLES - 1));
    CHECK(acked(10000, 40 * MS));
    CHECK_EQ(udt_delivery_in_flight(&d), 0);
    CHECK_EQ(d.holes, 0);
}

/* ---- rates and round trips ---- */

/* A path of 1000 packets/s and 50 ms, an ACK every 10 ms for what has arrived by then. */
static void run_steadily(int64_t *now_ms, uint32_t *position, uint32_t ms)
{
    for (uint32_t i = 0; i < ms; i++, ++*now_ms) {
        sent((*position)++, 1, *now_ms * MS);
        if (*now_ms % 10 == 0 && *now_ms >= 50)
            acked((uint32_t)*now_ms - 49, *now_ms * MS);
    }
}

static void test_a_steady_path_is_measured_exactly(void)
{
    int64_t now_ms = 0;
    uint32_t position = 0;
    udt_delivery_init(&d, ISN, 0);
    run_steadily(&now_ms, &position, 500);
    CHECK(about(sample.rate_pps, 1000, 0.02));
    CHECK(sample.rtt_ns >= 50 * MS && sample.rtt_ns <= 54 * MS);
    CHECK(about(sample.in_flight_then, 50, 0.25)); /* up to ten have arrived and are not told of */
    CHECK(!sample.app_limited);
}

static void test_a_burst_does_not_raise_the_rate(void)
{
    /* 100 packets sent in 100 ms arrive together, held up by 50 ms of silence: 100 in 150 ms at
     * most, though the last ones came 1 ms apart. */
    udt_delivery_init(&d, ISN, 0);
    for (uint32_t i = 0; i < 100; i++)
        sent(i, 1, i * MS);
    for (uint32_t i = 10; i <= 100; i += 10) {
        if (!acked(i, 150 * MS + i / 10 * MS))
            continue;
        CHECK(sample.rate_pps <= 1000);
    }
    CHECK(sample.rate_pps > 300);
}

static void test_intervals_too_short_to_tell_give_no_rate(void)
{
    udt_delivery_init(&d, ISN, 0);
    sent(0, 1000, 0);
    CHECK(acked(500, 9 * MS));
    CHECK(sample.rate_pps == 0.0);
    CHECK_EQ(sample.rtt_ns, 9 * MS);
}

static void test_a_pause_is_no_slow_path(void)
{
    int64_t now_ms = 0;
    uint32_t position = 0;
    udt_delivery_init(&d, ISN, 0);
    run_steadily(&now_ms, &position, 300);
    CHECK(acked(position, (now_ms + 50) * MS));
    int64_t again_ms = now_ms + 60000;
    for (uint32_t i = 0; i < 100; i++)
        sent(position + i, 1, (again_ms + i) * MS);
    CHECK(acked(position + 90, (again_ms + 140) * MS));
    CHECK(about(sample.rate_pps, 90.0 / 0.14, 0.05));
}

static void test_what_the_application_held_back_is_said(void)
{
    udt_delivery_init(&d, ISN, 0);
    udt_delivery_sent(&d, seq(0), 10, true, 0);
    sent(10, 10, 5 * MS);
    CHECK(acked(20, 60 * MS));
    CHECK(sample.app_limited);
    sent(20, 10, 61 * MS);
    CHECK(acked(30, 120 * MS));
    CHECK(!sample.app_limited);
}

/* Every packet takes rtt, each is lost with some probability: the receiver reports gaps, and a hole
 * is filled a round trip and a half behind its loss. */
static void test_random_losses_leave_rate_and_round_trip_right(void)
{
    enum { PACKETS = 20000, RTT_MS = 40 };
    static bool gone[PACKETS];
    static uint32_t filled_at[PACKETS];
    uint64_t state = seed;
    for (uint32_t i = 0; i < PACKETS; i++)
        gone[i] = i > 0 && rt_test_rand(&state) % 50 == 0;
    udt_delivery_init(&d, ISN, 0);
    uint32_t wanted = 0;
    uint32_t reported_from = UINT32_MAX;
    double least = 1e9;
    double most = 0;
    int64_t least_rtt = INT64_MAX;
    uint64_t news = 0;
    for (uint32_t ms = 0; ms < PACKETS; ms++) {
        sent(ms, 1, ms * MS);
        uint32_t arrived = ms - RTT_MS;
        if (ms < RTT_MS)
            continue;
        bool told = false;
        if (gone[arrived]) {
            filled_at[arrived] = ms + 3 * RTT_MS / 2;
            if (reported_from == UINT32_MAX)
                reported_from = arrived;
        } else if (reported_from != UINT32_MAX) {
            told = lost(reported_from, arrived - 1, ms * MS);
            reported_from = UINT32_MAX;
        }
        while (wanted <= arrived &&
               (!gone[wanted] || (filled_at[wanted] != 0 && ms >= filled_at[wanted])))
            wanted++;
        if (ms % 10 == 0 && acked(wanted, ms * MS))
            told = true;
        if (!told || ms < 1000 || sample.rate_pps == 0.0)
            continue;
        news++;
        least = fmin(least, sample.rate_pps);
        most = fmax(most, sample.rate_pps);
        least_rtt = sample.rtt_ns < least_rtt ? sample.rtt_ns : least_rtt;
        CHECK(udt_delivery_in_flight(&d) <= 3 * RTT_MS + 20);
    }
    CHECK(news > 500);
    CHECK(most <= 1060 && least >= 700);
    CHECK(least_rtt >= RTT_MS * MS && least_rtt <= (RTT_MS + 2) * MS);
}

/* ---- memory ---- */

static void test_a_window_that_only_grows_stays_within_its_marks(void)
{
    udt_delivery_init(&d, ISN, 0);
    for (uint32_t i = 0; i < 200000; i++) {
        sent(5 * i, 5, i * INT64_C(100000));
        CHECK(d.marks <= UDT_DELIVERY_MARKS);
    }
    CHECK(acked(500000, 30 * RT_NS_PER_S));
    CHECK(d.marks > 8);
    CHECK(about(sample.rate_pps, 500000 / 30.0, 0.1));
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_acks_and_naks_tell_what_arrived);
    RUN(test_a_repeated_report_opens_no_second_hole);
    RUN(test_nonsense_changes_nothing);
    RUN(test_more_holes_than_there_is_room_for);
    RUN(test_a_steady_path_is_measured_exactly);
    RUN(test_a_burst_does_not_raise_the_rate);
    RUN(test_intervals_too_short_to_tell_give_no_rate);
    RUN(test_a_pause_is_no_slow_path);
    RUN(test_what_the_application_held_back_is_said);
    RUN(test_random_losses_leave_rate_and_round_trip_right);
    RUN(test_a_window_that_only_grows_stays_within_its_marks);
    return rt_test_result();
}
