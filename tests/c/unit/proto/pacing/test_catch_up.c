/* Catching up in virtual time: a worker that sends whatever may start,
 * and sleeps until the next may. */
#include "proto/pacing/catch_up.h"
#include "rt_test.h"

#include <math.h>

enum { MOST = 4096 };
static const int64_t US = 1000;
static const int64_t MS = 1000000;

static int64_t due[MOST];
static int64_t left[MOST];
static uint64_t seed;

/* How late each call of the worker is, 0 .. jitter_ns. */
static int64_t late_by(int64_t jitter_ns)
{
    return jitter_ns > 0 ? (int64_t)(rt_test_rand(&seed) % (uint64_t)jitter_ns) : 0;
}

/* Sends due[0 .. n), each with a deadline on another clock, from now_ns on. hole_at: before this
 * packet the worker stands still for hole_ns. */
static void run(double factor, int n, int hole_at, int64_t hole_ns, int64_t jitter_ns)
{
    const int64_t shift = -12345;
    catch_up_t c;
    catch_up_init(&c, factor);
    int64_t now = due[0] + shift - MS;
    for (int i = 0; i < n; i++) {
        if (i == hole_at)
            now = due[i] + shift + hole_ns;
        int64_t start = catch_up_start_ns(&c, due[i], due[i] + shift, now);
        CHECK(start >= due[i] + shift);
        if (start > now) {
            now = start + late_by(jitter_ns);
            start = catch_up_start_ns(&c, due[i], due[i] + shift, now);
        }
        CHECK(start <= now);
        left[i] = now - shift;
        catch_up_leave(&c, due[i], start);
    }
}

static void schedule(int n, int64_t gap_ns)
{
    for (int i = 0; i < n; i++)
        due[i] = 1000 * MS + i * gap_ns;
}

static const double FACTORS[] = {1.01, 1.25, 1.5, 2, 3, 4, 10};

/* Between the hole and the schedule no window as long as the schedule's gap has
 * more than `factor` packets. */
static void test_no_window_has_more_than_its_share(void)
{
    static const int64_t gaps[] = {4630, 10007, 100 * 1000, 1000000, 20000000};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (size_t f = 0; f < sizeof FACTORS / sizeof *FACTORS; f++) {
            schedule(MOST, gaps[g]);
            run(FACTORS[f], MOST, 100, 37 * gaps[g] + 11, 0);
            int64_t least = (int64_t)((double)gaps[g] / FACTORS[f]);
            for (int i = 101; i < MOST; i++)
                CHECK(left[i] - left[i - 1] >= least - 1);
            int most = (int)ceil(FACTORS[f]);
            for (int i = 100; i + most < MOST; i++) /* gaps are rounded down */
                CHECK(left[i + most] - left[i] >= gaps[g] - most);
        }
}

static void test_it_ends_in_time(void)
{
    for (size_t f = 0; f < sizeof FACTORS / sizeof *FACTORS; f++) {
        schedule(MOST, MS);
        run(FACTORS[f], MOST, 10, 20 * MS, 0);
        double lasts = 20.0 * FACTORS[f] / (FACTORS[f] - 1);
        int end = 10 + (int)lasts + 2;
        CHECK_EQ(left[9], due[9]);
        CHECK_EQ(left[10], due[10] + 20 * MS);
        CHECK(left[end - 5] > due[end - 5]);
        for (int i = end; i < MOST; i++)
            CHECK_EQ(left[i], due[i]);
        for (int i = 11; i < MOST; i++)
            CHECK(left[i] - due[i] <= left[i - 1] - due[i - 1]);
    }
}

static void test_off_and_at_the_first_packet(void)
{
    catch_up_t c;
    catch_up_init(&c, 0);
    CHECK(!catch_up_is_on(&c));
    catch_up_init(&c, 2);
    CHECK(catch_up_is_on(&c));
    CHECK_EQ(catch_up_start_ns(&c, 5 * MS, 7 * MS, 6 * MS), 7 * MS);
    CHECK_EQ(catch_up_start_ns(&c, 5 * MS, 7 * MS, 9 * MS), 9 * MS);
}

/* Packets of one instant are one group: they leave together, also after a hole. */
static void test_packets_of_one_instant_stay_together(void)
{
    for (int i = 0; i < 100; i++)
        due[i] = 1000 * MS + i / 10 * MS;
    run(2, 100, 20, 3 * MS, 0);
    for (int i = 1; i < 100; i++)
        CHECK_EQ(left[i] == left[i - 1], i % 10 != 0);
    CHECK_EQ(left[30] - left[20], MS / 2);
}

/* The worker's own lateness does not add up: it still reaches the schedule. */
static void test_a_late_worker_reaches_the_schedule(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    schedule(MOST, 100 * US);
    run(1.5, MOST, 50, 20 * MS, 300 * US);
    for (int i = 51; i < MOST; i++)
        CHECK(left[i] >= left[i - 1]);
    int on_schedule = 0;
    for (int i = MOST - 500; i < MOST; i++)
        on_schedule += left[i] - due[i] < MS;
    CHECK(on_schedule > 400);
}

/* Random schedules and holes: the order is kept, nothing is early, gaps keep their share. */
static void test_random_schedules(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    for (int round = 0; round < 200; round++) {
        int64_t at = 1000 * MS;
        for (int i = 0; i < 200; i++)
            due[i] = at += (int64_t)(rt_test_rand(&seed) % 3000) * US;
        double factor = 1.0 + (double)(1 + rt_test_rand(&seed) % 400) / 100;
        run(factor, 200, 50, (int64_t)(rt_test_rand(&seed) % 100) * MS, 0);
        for (int i = 51; i < 200; i++) {
            CHECK(left[i] >= due[i]);
            CHECK(left[i] - left[i - 1] >= (int64_t)((double)(due[i] - due[i - 1]) / factor) - 1);
        }
    }
}

/* A packet that a program queued too late does not hold up those behind it. */
static void test_a_packet_queued_late_holds_nothing_up(void)
{
    catch_up_t c;
    catch_up_init(&c, 2);
    int64_t now = 10000 * MS;
    int64_t start = catch_up_start_ns(&c, MS, MS, now);
    CHECK_EQ(start, now);
    catch_up_leave(&c, now, start); /* due 10 s ago, and queued now */
    CHECK_EQ(catch_up_start_ns(&c, now - MS, now - MS, now), now);
    CHECK_EQ(catch_up_start_ns(&c, now + MS, now + MS, now), now + MS);
}

/* A gapped video stream in the leaky bucket of SMPTE ST 2110-21: 1920 packets in 0.96 of 20 ms. The
 * worker is a little late with every call, later with some, and has holes. */
static void test_a_narrow_stream_stays_narrow_after_holes(void)
{
    enum { EACH = 1920, PICTURES = 250 };
    const int64_t period = 20 * MS;
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    catch_up_t c;
    catch_up_init(&c, 1.05);
    double level = 0;
    double most = 0;
    int64_t before = 0;
    int64_t now = 0;
    int on_schedule = 0;
    for (int i = 0; i < PICTURES * EACH; i++) {
        int64_t at = 1000 * MS + i / EACH * period + i % EACH * (period * 24 / 25) / EACH;
        if (i % EACH == 300 && i / EACH % 20 == 0)
            now += (int64_t)(rt_test_rand(&seed) % 5000) * US; /* 5 ms need 105 */
        int64_t start = catch_up_start_ns(&c, at, at, now);
        if (start > now)
            now = start + late_by(i % 50 == 0 ? 25 * US : 2 * US);
        start = catch_up_start_ns(&c, at, at, now);
        CHECK(start <= now && now >= at);
        catch_up_leave(&c, at, start);
        level -= (double)(now - before) * 1.1 * EACH / (double)period;
        level = (level > 0 ? level : 0) + 1;
        most = level > most ? level : most;
        before = now;
        on_schedule += now - at < 40 * US;
    }
    CHECK(most <= 4);
    CHECK(on_schedule > PICTURES * EACH / 2);
    printf("       %.1f packets at most, %.1f %% on schedule\n", most,
           100.0 * on_schedule / (PICTURES * EACH));
}

/* Every call takes longer than three gaps. */
static void test_a_slow_worker_falls_behind_by_a_bounded_time(void)
{
    catch_up_t c;
    catch_up_init(&c, 1.05);
    int64_t now = 1000 * MS;
    int64_t most = 0;
    int i = 0;
    while (now < 3000 * MS) {
        int sent = 0;
        for (;; i++, sent++) {
            int64_t at = 1000 * MS + i * 5 * US;
            int64_t start = catch_up_start_ns(&c, at, at, now);
            if (start > now)
                break;
            catch_up_leave(&c, at, start);
            most = now - at > most ? now - at : most;
        }
        now += 50 * US;
    }
    CHECK(most < 8 * MS);
}

int main(void)
{
    RUN(test_no_window_has_more_than_its_share);
    RUN(test_it_ends_in_time);
    RUN(test_off_and_at_the_first_packet);
    RUN(test_packets_of_one_instant_stay_together);
    RUN(test_a_late_worker_reaches_the_schedule);
    RUN(test_random_schedules);
    RUN(test_a_narrow_stream_stays_narrow_after_holes);
    RUN(test_a_slow_worker_falls_behind_by_a_bounded_time);
    RUN(test_a_packet_queued_late_holds_nothing_up);
    return rt_test_result();
}
