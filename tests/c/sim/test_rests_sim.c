/* Rests of a real-time worker in virtual time: where the schedule has room for them, they make no
 * deadline late, and where it has none, they begin right after a packet.
 *
 *      schedule -> send -> rest ahead (spin_budget) -> spin -> send
 *
 * A sleep takes CPU time before and after it, and its wake-up is late by up to the margin. Checked
 * all along: the account, which counts the sleep without that CPU time, is kept over every window.
 */
#include "base/rt_clock.h"
#include "proto/pacing/spin_budget.h"
#include "rt_test.h"

enum { MOST_SPANS = 1 << 15, SEEDS = 20 };
static const int64_t MARGIN_NS = 20 * RT_NS_PER_US;
static const int64_t SHORTEST_NS = 8 * RT_NS_PER_US; /* time-out */
static const int64_t COST_NS = 10 * RT_NS_PER_US;
static const int64_t MOST_AHEAD_NS = 40 * RT_NS_PER_US; /* as in worker/idle.c */
static const int64_t SPIN_NS = 2 * RT_NS_PER_US;
static const int64_t GAP_NS = 30 * RT_NS_PER_US; /* more than shortest + margin */

static const spin_budget_config_t usual = {
    .limit_permille = 948,
    .window_ns = RT_NS_PER_S,
    .burst_ns = 4 * RT_NS_PER_MS,
    .rest_ns = 10 * RT_NS_PER_US,
    .lag_ns = 10 * RT_NS_PER_MS,
};

/* When the next packet is due, at or after the one before it. */
typedef int64_t (*schedule_t)(uint64_t *state, int64_t number, int64_t due_ns);

typedef struct seen {
    int64_t sent;
    int64_t hit; /* late because of a rest */
    int64_t most_late_ns;
    int64_t rests;
    int64_t forced;
    int64_t off_ns;
    int64_t took_ns;
} seen_t;

static seen_t seen;
static uint64_t seed;

static int64_t draw(uint64_t *state, int64_t n)
{
    return (int64_t)(rt_test_rand(state) % (uint64_t)n);
}

/* Returns when the worker is awake. */
static int64_t rest(spin_budget_t *b, uint64_t *state, int64_t now, int64_t rest_ns)
{
    int64_t woken = now + rest_ns + MARGIN_NS / 2 + draw(state, MARGIN_NS / 2);
    spin_budget_slept(b, now + COST_NS, woken);
    seen.rests++;
    seen.off_ns += woken - now - COST_NS;
    return woken;
}

static void run(schedule_t schedule, int64_t length_ns, uint64_t *state)
{
    spin_budget_t b;
    spin_budget_init(&b, &usual, 0);
    seen = (seen_t){0};
    int64_t now = 0;
    int64_t woken = 0;
    int64_t due = RT_NS_PER_MS;
    while (now < length_ns) {
        if (due <= now) {
            int64_t late = now - due;
            seen.hit += late > 0 && woken == now;
            seen.most_late_ns = late > seen.most_late_ns ? late : seen.most_late_ns;
            now += 1500 + draw(state, 1000);
            due = schedule(state, ++seen.sent, due);
        } else {
            now = due - now < SPIN_NS ? due : now + SPIN_NS;
        }
        int64_t forced = spin_budget_rest_ns(&b, now);
        int64_t rest_ns =
            forced > 0 ? forced : spin_budget_rest_before_ns(&b, now, due, SHORTEST_NS, MARGIN_NS);
        REQUIRE(rest_ns >= 0 && (rest_ns == 0 || forced > 0 || rest_ns >= SHORTEST_NS));
        if (rest_ns == 0)
            continue;
        if (forced == 0 && rest_ns > MOST_AHEAD_NS)
            rest_ns = MOST_AHEAD_NS;
        seen.forced += forced > 0;
        now = rest(&b, state, now, rest_ns);
        woken = now;
    }
    seen.took_ns = now;
    int64_t busy = now - seen.off_ns;
    CHECK(busy <= now / 1000 * b.config.limit_permille + b.config.burst_ns);
}

/* A picture every 20 ms: packets 9 us apart for up to 14 ms, and then nothing. */
static int64_t pictures(uint64_t *state, int64_t number, int64_t due_ns)
{
    (void)number;
    int64_t period = 20 * RT_NS_PER_MS;
    int64_t in_ns = due_ns % period;
    if (in_ns + 9000 < 12 * RT_NS_PER_MS + draw(state, 2 * RT_NS_PER_MS))
        return due_ns + 9000;
    return due_ns - in_ns + period;
}

/* 1500 packets that are up to 12 us apart, and a gap of up to 5 ms. */
static int64_t bursts(uint64_t *state, int64_t number, int64_t due_ns)
{
    bool ends = number % 1500 == 0;
    return due_ns +
           (ends ? 2 * RT_NS_PER_MS + draw(state, 3 * RT_NS_PER_MS) : 8000 + draw(state, 4000));
}

static int64_t ticks(uint64_t *state, int64_t number, int64_t due_ns)
{
    (void)state;
    (void)number;
    return due_ns + RT_NS_PER_MS;
}

/* Every packet in its own time, one gap in eight is long enough. */
static int64_t uneven(uint64_t *state, int64_t number, int64_t due_ns)
{
    (void)number;
    bool roomy = draw(state, 8) == 0;
    return due_ns + 4000 + (roomy ? GAP_NS + draw(state, GAP_NS) : draw(state, 12000));
}

/* 50,000 a second. */
static int64_t even(uint64_t *state, int64_t number, int64_t due_ns)
{
    (void)state;
    (void)number;
    return due_ns + 20000;
}

static int64_t saturated(uint64_t *state, int64_t number, int64_t due_ns)
{
    (void)state;
    (void)number;
    return due_ns;
}

static void check_no_deadline_is_hit(const char *name, schedule_t schedule)
{
    for (uint64_t i = 0; i < SEEDS; i++) {
        uint64_t state = seed + i;
        run(schedule, 2 * RT_NS_PER_S, &state);
        bool good = seen.hit == 0 && seen.forced == 0 && seen.rests > 0;
        CHECK(good);
        if (!good) {
            printf("failed with RT_TEST_SEED=%" PRIu64 "\n", seed + i);
            break;
        }
    }
    printf("       %s: %" PRId64 " sent, %" PRId64 " rests, %" PRId64 " hit\n", name, seen.sent,
           seen.rests, seen.hit);
}

static void test_rests_are_taken_in_the_gaps_that_are_there(void)
{
    check_no_deadline_is_hit("pictures", pictures);
    check_no_deadline_is_hit("bursts", bursts);
    check_no_deadline_is_hit("1 kHz", ticks);
    check_no_deadline_is_hit("uneven", uneven);
}

static void test_without_a_gap_a_rest_begins_right_after_a_packet(void)
{
    uint64_t state = seed;
    run(even, 5 * RT_NS_PER_S, &state);
    /* 18 us from the end of a send until the next deadline, one packet a rest */
    CHECK(seen.most_late_ns <= SHORTEST_NS + MARGIN_NS - 20000 + 2500 + SPIN_NS);
    CHECK(seen.hit <= seen.rests);
    CHECK(seen.hit * 100 <= seen.sent * 9);
    CHECK_EQ(seen.forced, 0);
    printf("       50 kpps: %.1f %% late, by up to %.1f us\n",
           100 * (double)seen.hit / (double)seen.sent, (double)seen.most_late_ns / 1e3);
}

static void test_a_worker_with_no_time_to_lose_rests_for_short_times(void)
{
    uint64_t state = seed;
    run(saturated, 2 * RT_NS_PER_S, &state);
    CHECK_EQ(seen.forced, seen.rests);
    CHECK(seen.off_ns >= 50 * RT_NS_PER_MS);
    CHECK(seen.off_ns <= 120 * RT_NS_PER_MS); /* the account begins empty */
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_rests_are_taken_in_the_gaps_that_are_there);
    RUN(test_without_a_gap_a_rest_begins_right_after_a_packet);
    RUN(test_a_worker_with_no_time_to_lose_rests_for_short_times);
    return rt_test_result();
}
