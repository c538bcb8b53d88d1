#include "proto/stamp/stamp_clock.h"

#include "base/rt_random.h"
#include "rt_test.h"

#define US INT64_C(1000)
#define MS INT64_C(1000000)
#define S INT64_C(1000000000)
#define START_NS (1000 * S)

static stamp_clock_t c;
static rt_random_t dice;

/* The truth: remote = local + offset + rate * (local - START_NS). */
static int64_t true_offset_ns;
static double true_rate;

static int64_t offset_at(int64_t local_ns)
{
    return true_offset_ns + (int64_t)((double)(local_ns - START_NS) * true_rate);
}

static int64_t remote(int64_t local_ns)
{
    return local_ns + offset_at(local_ns);
}

static void begin(uint64_t seed, double drift)
{
    memset(&c, 0, sizeof c);
    c.drift = drift;
    c.margin_ns = 1;
    rt_random_init(&dice, seed);
    true_offset_ns = 1790000000 * S;
    true_rate = 0;
}

/* A delay of at least a us, sometimes much longer. */
static int64_t some_delay_ns(void)
{
    int64_t delay_ns = US + rt_random_below(&dice, 40000);
    return rt_random_below(&dice, 8) == 0 ? delay_ns + rt_random_below(&dice, 20000000) : delay_ns;
}

typedef struct flight {
    uint8_t packet[STAMP_BYTES];
    int64_t t4_ns;
} flight_t;

/* Sends a request at t1_ns and makes the reply that arrives. */
static flight_t exchange(uint32_t sequence, int64_t t1_ns, int64_t out_ns, int64_t held_ns,
                         int64_t back_ns)
{
    flight_t f = {.t4_ns = t1_ns + out_ns + held_ns + back_ns};
    stamp_request_t request = {
        .sequence = sequence,
        .error = stamp_error_from_ns(0, true, STAMP_NTP),
        .t1_ns = t1_ns + 17 * S, /* what T1 says is nothing to the comparison */
    };
    stamp_put_request(f.packet, &request);
    stamp_clock_sent(&c, sequence, stamp_from_ns(request.t1_ns, STAMP_NTP), t1_ns);
    stamp_reflection_t how = {
        .sequence = sequence,
        .request_ttl = 63,
        .error = stamp_error_from_ns(MS, true, STAMP_NTP),
        .t2_ns = remote(t1_ns + out_ns),
        .t3_ns = remote(t1_ns + out_ns + held_ns),
    };
    stamp_reflect(f.packet, sizeof f.packet, &how);
    return f;
}

static stamp_clock_counter_t receive(const flight_t *f)
{
    return stamp_clock_receive(&c, f->packet, sizeof f->packet, f->t4_ns);
}

static bool holds_at(int64_t at_ns)
{
    stamp_offset_t found;
    return stamp_clock_offset(&c, at_ns, &found) && found.low_ns <= offset_at(at_ns) &&
           offset_at(at_ns) <= found.high_ns;
}

static void test_one_exchange_gives_half_the_round_trip(void)
{
    begin(1, 1e-4);
    stamp_offset_t found;
    CHECK(!stamp_clock_offset(&c, START_NS, &found));
    flight_t f = exchange(0, START_NS, 30 * US, 200 * US, 10 * US);
    CHECK_EQ(receive(&f), STAMP_CLOCK_exchanges);
    CHECK(stamp_clock_offset(&c, f.t4_ns, &found));
    CHECK_EQ(found.low_ns, true_offset_ns - 10 * US - 1);
    CHECK_EQ(found.high_ns, true_offset_ns + 30 * US + 1 + 24); /* 100 ppm of 240 us */
    CHECK_EQ(c.round_trip_ns, 40 * US);
    CHECK_EQ(c.shortest_ns, 40 * US);
    CHECK_EQ(c.request_ttl, 63);
    CHECK_EQ(stamp_error_ns(c.error), 1007081);
    CHECK(stamp_clock_offset(&c, f.t4_ns + S, &found)); /* 100 us more after a second */
    CHECK_EQ(found.low_ns, true_offset_ns - 110 * US - 1);
}

static void test_the_best_of_each_direction_is_kept(void)
{
    begin(1, 0);
    flight_t a = exchange(0, START_NS, 2 * US, 0, 900 * US);
    flight_t b = exchange(1, START_NS + S, 700 * US, 0, 3 * US);
    receive(&a);
    receive(&b);
    stamp_offset_t found;
    CHECK(stamp_clock_offset(&c, b.t4_ns, &found));
    CHECK_EQ(found.low_ns, true_offset_ns - 3 * US - 1);
    CHECK_EQ(found.high_ns, true_offset_ns + 2 * US + 1);
}

static void test_strangers_and_duplicates_do_not_count(void)
{
    begin(1, 1e-4);
    flight_t f = exchange(5, START_NS, US, 0, US);
    flight_t forged = f;
    forged.packet[28 + 7] ^= 1; /* T1 */
    CHECK_EQ(receive(&forged), STAMP_CLOCK_unmatched);
    forged = f;
    forged.packet[27] ^= 1; /* sequence */
    CHECK_EQ(receive(&forged), STAMP_CLOCK_unmatched);
    CHECK_EQ(stamp_clock_receive(&c, f.packet, STAMP_LEAST_BYTES - 1, f.t4_ns), STAMP_CLOCK_malformed);
    CHECK(!c.known);
    CHECK_EQ(receive(&f), STAMP_CLOCK_exchanges);
    CHECK_EQ(receive(&f), STAMP_CLOCK_unmatched);
    flight_t old = exchange(6, START_NS + S, US, 0, US);
    (void)exchange(6 + STAMP_CLOCK_WAITING, START_NS + 2 * S, US, 0, US);
    CHECK_EQ(receive(&old), STAMP_CLOCK_unmatched);
    CHECK_EQ(c.counters[STAMP_CLOCK_exchanges], 1);
    CHECK_EQ(c.counters[STAMP_CLOCK_unmatched], 4);
}

static void test_impossible_times_do_not_count(void)
{
    begin(1, 1e-4);
    flight_t before = exchange(0, START_NS, US, 0, -2 * US); /* arrives before it was sent */
    CHECK_EQ(receive(&before), STAMP_CLOCK_impossible);
    flight_t back = exchange(1, START_NS, 5 * US, -US, 9 * US); /* T3 before T2 */
    CHECK_EQ(receive(&back), STAMP_CLOCK_impossible);
    flight_t longer = exchange(2, START_NS, US, S, US); /* held for longer than it was away */
    longer.t4_ns -= S;
    CHECK_EQ(receive(&longer), STAMP_CLOCK_impossible);
    CHECK(!c.known);
}

static void test_a_step_begins_anew(void)
{
    begin(1, 1e-4);
    flight_t a = exchange(0, START_NS, US, 0, US);
    receive(&a);
    true_offset_ns += MS;
    flight_t b = exchange(1, START_NS + S, 100 * US, 0, 50 * US);
    CHECK_EQ(receive(&b), STAMP_CLOCK_steps);
    CHECK(holds_at(b.t4_ns));
    CHECK_EQ(c.counters[STAMP_CLOCK_steps], 1);
    CHECK_EQ(c.counters[STAMP_CLOCK_exchanges], 2);
    CHECK_EQ(c.since_ns, b.t4_ns);
    CHECK_EQ(c.shortest_ns, 150 * US);
}

static void test_a_reply_that_was_overtaken_still_helps(void)
{
    begin(1, 1e-4);
    true_rate = 9e-5;
    flight_t slow = exchange(0, START_NS, US, 0, 500 * MS);
    flight_t fast = exchange(1, START_NS + 100 * MS, 200 * US, 0, US);
    CHECK_EQ(receive(&fast), STAMP_CLOCK_exchanges);
    CHECK_EQ(receive(&slow), STAMP_CLOCK_exchanges);
    CHECK(holds_at(slow.t4_ns));
    flight_t late = exchange(2, START_NS + 700 * MS, US, 0, US);
    flight_t overtaken = exchange(3, START_NS + 650 * MS, US, 0, US);
    receive(&late);
    stamp_offset_t before, after;
    stamp_clock_offset(&c, late.t4_ns, &before);
    CHECK_EQ(receive(&overtaken), STAMP_CLOCK_exchanges);
    stamp_clock_offset(&c, late.t4_ns, &after);
    CHECK(after.low_ns >= before.low_ns && after.high_ns <= before.high_ns);
    CHECK(holds_at(late.t4_ns));
}

static void test_the_rate_is_found(void)
{
    begin(3, 1e-4);
    true_rate = 4.2e-5;
    double low, high;
    stamp_clock_rate(&c, &low, &high);
    CHECK(low == -1e-4 && high == 1e-4);
    for (uint32_t i = 0; i < 12000; i++) {
        flight_t f =
            exchange(i, START_NS + i * 10 * MS, some_delay_ns(), 200 * US, some_delay_ns());
        receive(&f);
    }
    stamp_clock_rate(&c, &low, &high);
    CHECK(low <= true_rate && true_rate <= high);
    CHECK(high - low < 5e-6); /* some us at both ends, in 30 s */
}

/* Any delays, rates up to the limit, lost, duplicated and overtaken replies, and steps: what is
 * said holds after each reply and until the next. After a step it holds as soon as it was noticed,
 * and a step of 100 ms is noticed by the next reply. */
static void test_the_truth_is_always_inside(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin(seed, 1e-4);
        true_rate = (rt_random_unit(&dice) * 2 - 1) * 0.999e-4;
        flight_t kept = {.t4_ns = 0};
        int64_t now_ns = START_NS;
        uint64_t steps = 0, wrong = 0;
        bool answered = false; /* since the last step */
        for (uint32_t i = 0; i < 25000; i++) {
            now_ns += 100 * US + rt_random_below(&dice, 20000000);
            if (answered && rt_random_below(&dice, 5000) == 0) {
                true_offset_ns += rt_random_below(&dice, 2) ? 100 * MS : -100 * MS;
                steps++;
                answered = false;
                kept.t4_ns = 0;
            }
            flight_t f = exchange(i, now_ns, some_delay_ns(), 200 * US, some_delay_ns());
            now_ns = f.t4_ns;
            if (rt_random_below(&dice, 10) == 0)
                continue; /* lost */
            if (kept.t4_ns == 0 && rt_random_below(&dice, 10) == 0) {
                kept = f; /* comes later, when it has long been overtaken */
                continue;
            }
            receive(&f);
            answered = true;
            wrong += !holds_at(f.t4_ns) || !holds_at(f.t4_ns + S);
            if (rt_random_below(&dice, 10) == 0)
                receive(&f);
            if (kept.t4_ns != 0 && rt_random_below(&dice, 10) == 0) {
                receive(&kept);
                kept.t4_ns = 0;
                wrong += !holds_at(f.t4_ns);
            }
        }
        if (wrong != 0 || c.counters[STAMP_CLOCK_steps] != steps)
            rt_test_fail(__FILE__, __LINE__,
                         "seed %" PRIu64 ": %" PRIu64 " wrong, %" PRIu64 " steps of %" PRIu64, seed,
                         wrong, c.counters[STAMP_CLOCK_steps], steps);
        CHECK_EQ(c.counters[STAMP_CLOCK_impossible], 0);
    }
}

/* The stamp of a reply that arrived when the time of day was set may be early, so that the bounds
 * exclude the truth without a contradiction. */
static void test_a_step_of_our_own_clock_begins_anew(void)
{
    begin(1, 1e-4);
    flight_t wrong = exchange(0, START_NS, 20 * MS, 0, 10 * MS);
    wrong.t4_ns -= 15 * MS;
    CHECK_EQ(receive(&wrong), STAMP_CLOCK_exchanges);
    CHECK(!holds_at(wrong.t4_ns));
    flight_t open = exchange(1, START_NS + 100 * MS, 20 * MS, 0, 10 * MS);
    flight_t next = exchange(2, START_NS + 200 * MS, 20 * MS, 0, 10 * MS);
    stamp_clock_restart(&c, START_NS + 150 * MS);
    CHECK_EQ(receive(&open), STAMP_CLOCK_unmatched);
    CHECK_EQ(receive(&next), STAMP_CLOCK_exchanges);
    CHECK(holds_at(next.t4_ns));
    CHECK_EQ(c.since_ns, next.t4_ns);
    CHECK_EQ(c.counters[STAMP_CLOCK_steps], 0);
}

static void test_a_long_way_at_a_high_rate(void)
{
    begin(1, 1e-4);
    flight_t first = exchange(0, START_NS, S, 0, S);
    for (uint32_t i = 1; i < 20000 + 1024; i++) /* 10000 a second, queued ahead */
        (void)exchange(i, START_NS + i * 100 * US, S, 0, S);
    CHECK_EQ(receive(&first), STAMP_CLOCK_exchanges);
    CHECK(holds_at(first.t4_ns));
}

static void test_all_times_may_be_asked_for(void)
{
    begin(1, 1e-4);
    flight_t f = exchange(0, START_NS, US, 0, US);
    receive(&f);
    CHECK(holds_at(START_NS));
    stamp_offset_t found;
    CHECK(stamp_clock_offset(&c, INT64_MIN, &found) && found.low_ns < found.high_ns);
    CHECK(stamp_clock_offset(&c, INT64_MAX, &found) && found.low_ns < found.high_ns);
}

static void test_a_batch_says_what_was_known_after_each(void)
{
    begin(1, 1e-4);
    uint8_t payload[3 * STAMP_BYTES];
    uint64_t offset[3];
    uint32_t length[6] = {STAMP_BYTES, 0, STAMP_BYTES, 0, STAMP_BYTES, 0};
    int64_t time_ns[3];
    for (uint32_t i = 0; i < 3; i++) {
        flight_t f = exchange(i, START_NS + i * MS, 50 * US, 0, 40 * US - i * 10 * US);
        memcpy(payload + i * STAMP_BYTES, f.packet, STAMP_BYTES);
        offset[i] = i * STAMP_BYTES;
        time_ns[i] = f.t4_ns;
    }
    offset[0] = 3 * STAMP_BYTES; /* beyond the payload */
    stamp_arrivals_t in = {
        .payload = payload,
        .payload_bytes = sizeof payload,
        .count = 3,
        .stride = 8,
        .offset = offset,
        .length = length,
        .time_ns = time_ns,
    };
    stamp_offset_t after[3];
    stamp_clock_receive_batch(&c, &in, after);
    CHECK(after[0].low_ns > after[0].high_ns);
    CHECK_EQ(after[1].low_ns, true_offset_ns - 30 * US - 1);
    CHECK_EQ(after[2].low_ns, true_offset_ns - 20 * US - 1);
    CHECK_EQ(after[2].at_ns, time_ns[2]);
    CHECK_EQ(c.counters[STAMP_CLOCK_malformed], 1);
}

int main(void)
{
    RUN(test_one_exchange_gives_half_the_round_trip);
    RUN(test_the_best_of_each_direction_is_kept);
    RUN(test_strangers_and_duplicates_do_not_count);
    RUN(test_impossible_times_do_not_count);
    RUN(test_a_step_begins_anew);
    RUN(test_a_reply_that_was_overtaken_still_helps);
    RUN(test_the_rate_is_found);
    RUN(test_the_truth_is_always_inside);
    RUN(test_a_step_of_our_own_clock_begins_anew);
    RUN(test_a_long_way_at_a_high_rate);
    RUN(test_all_times_may_be_asked_for);
    RUN(test_a_batch_says_what_was_known_after_each);
    return rt_test_result();
}
