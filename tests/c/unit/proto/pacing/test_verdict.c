#include "proto/pacing/verdict.h"
#include "rt_test.h"

static uint64_t seed;

enum { US = 1000, DUE = 1000 * US, TOLERANCE = 50 * US };

typedef struct verdict_case {
    const char *what;
    verdict_times_t times;
    unsigned flags;
    verdict_t verdict;
} verdict_case_t;

#define AT(x) (DUE + (x)*US)
/* enqueued, due, asleep from, woken, start, end, end of the send before; microseconds after DUE. */
#define TIMES(enqueued, asleep, woken, start, end, previous)                       \
    {                                                                              \
        AT(enqueued), DUE, AT(asleep), AT(woken), AT(start), AT(end), AT(previous), 0, 0 \
    }
/* And from when to when its producer, or one before it, had halted. */
#define HALTED(enqueued, asleep, woken, start, end, previous, from, until)                        \
    {                                                                                             \
        AT(enqueued), DUE, AT(asleep), AT(woken), AT(start), AT(end), AT(previous), AT(from), AT(until) \
    }
#define IMMEDIATE(asleep, woken, start, end, previous)                    \
    {                                                                     \
        AT(0), 0, AT(asleep), AT(woken), AT(start), AT(end), AT(previous), 0, 0 \
    }

static const verdict_case_t cases[] = {
    {"exactly at the deadline", TIMES(-900, -800, -60, 0, 4, -900), 0, VERDICT_ON_TIME},
    {"at the end of the tolerance", TIMES(-900, -800, -60, 50, 54, -900), 0, VERDICT_ON_TIME},
    {"ahead, align wire", TIMES(-900, -800, -60, -1, 4, -900), 0, VERDICT_ON_TIME},
    {"enqueued late and still in time", TIMES(20, -500, 30, 40, 44, -900), 0, VERDICT_ON_TIME},
    {"enqueued after it was due", TIMES(100, -500, 120, 121, 125, -900), 0, VERDICT_ENQUEUED_LATE},
    {"enqueued a little late, asleep", TIMES(10, -500, 70, 71, 75, -900), 0, VERDICT_WOKE_LATE},
    {"worker overslept", TIMES(-900, -500, 80, 81, 85, -500), 0, VERDICT_WOKE_LATE},
    {"second packet after oversleeping", TIMES(-900, -500, 80, 86, 90, 85), 0, VERDICT_WOKE_LATE},
    {"worker had to rest", TIMES(-900, -10, 120, 121, 125, -12), 0, VERDICT_WOKE_LATE},
    {"behind a long burst", TIMES(-900, -500, -300, 90, 94, 88), 0, VERDICT_QUEUED_BEHIND},
    {"behind many, the last rest was short", TIMES(-900, 800, 900, 940, 944, 939), 0,
     VERDICT_QUEUED_BEHIND},
    {"core taken away after waking", TIMES(-900, -500, -60, 300, 304, -500), 0, VERDICT_SEND_SLOW},
    {"refused, others sent meanwhile", TIMES(-900, -500, -60, 300, 304, 290), VERDICT_RETRIED,
     VERDICT_SEND_SLOW},
    {"started in time, call took too long", TIMES(-900, -500, -60, 0, 101, -900), 0,
     VERDICT_SEND_SLOW},
    {"call as long as may be", TIMES(-900, -500, -60, 0, 100, -900), 0, VERDICT_ON_TIME},
    {"equal parts: the one listed first", TIMES(40, -500, 80, 80, 84, -900), 0,
     VERDICT_ENQUEUED_LATE},
    {"never slept, never sent", {AT(-900), DUE, 0, 0, AT(80), AT(84), 0, 0, 0}, 0, VERDICT_SEND_SLOW},
    {"its producer had halted", HALTED(-900, 800, 900, 940, 944, 939, -800, 790), 0,
     VERDICT_PRODUCER_HALTED},
    {"behind one that had, then asleep", HALTED(-900, 50, 900, 940, 944, -900, -800, 40), 0,
     VERDICT_WOKE_LATE},
    {"others first, then one that had", HALTED(-900, 950, 950, 960, 964, 959, 500, 940), 0,
     VERDICT_QUEUED_BEHIND},
    {"one that had, and enough time left", HALTED(-900, -500, -60, 1, 4, -900, -800, -300), 0,
     VERDICT_ON_TIME},
    {"immediate, at once", IMMEDIATE(-500, -60, 1, 5, -900), 0, VERDICT_ON_TIME},
    {"immediate, worker asleep", IMMEDIATE(-500, 60, 61, 65, -900), 0, VERDICT_WOKE_LATE},
    {"immediate, behind others", IMMEDIATE(-500, -9, 61, 65, 60), 0, VERDICT_QUEUED_BEHIND},
};

static void test_table(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        verdict_t got = verdict_of(&cases[i].times, TOLERANCE, cases[i].flags);
        if (!CHECK_EQ(got, cases[i].verdict))
            printf("       %s\n", cases[i].what);
    }
}

static void test_tolerance_moves_both_limits(void)
{
    verdict_times_t t = TIMES(-900, -500, -60, 300, 700, -900);
    CHECK_EQ(verdict_of(&t, 299 * US, 0), VERDICT_SEND_SLOW);
    CHECK_EQ(verdict_of(&t, 300 * US, 0), VERDICT_SEND_SLOW);
    CHECK_EQ(verdict_of(&t, 400 * US, 0), VERDICT_ON_TIME);
    t.send_start_ns = DUE + 1;
    t.send_end_ns = DUE + 5;
    CHECK_EQ(verdict_of(&t, 0, 0), VERDICT_SEND_SLOW);
    t.send_start_ns = DUE;
    CHECK_EQ(verdict_of(&t, 0, 0), VERDICT_ON_TIME);
}

static int64_t largest(const int64_t *parts, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (parts[i] > parts[best])
            best = i;
    return best;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The definition by running maxima, as the drawing has it, against the function. */
static void test_random_times_follow_the_drawing(void)
{
    static const verdict_t by_part[4] = {VERDICT_ENQUEUED_LATE, VERDICT_WOKE_LATE,
                                         VERDICT_QUEUED_BEHIND, VERDICT_SEND_SLOW};
    uint64_t state = seed;
    unsigned seen[VERDICT_TOTAL] = {0};
    for (int i = 0; i < 200000; i++) {
        verdict_times_t t = {.due_ns = DUE};
        int64_t span = rt_test_rand(&state) % 2 == 0 ? 60 * US : 400 * US;
        t.send_start_ns = DUE + (int64_t)(rt_test_rand(&state) % (uint64_t)(2 * span)) - span / 4;
        t.send_end_ns = t.send_start_ns + (int64_t)(rt_test_rand(&state) % (130 * US));
        uint64_t before = (uint64_t)(2 * span);
        t.enqueued_ns = t.send_start_ns - (int64_t)(rt_test_rand(&state) % before);
        t.woken_ns = t.send_start_ns - (int64_t)(rt_test_rand(&state) % before);
        t.asleep_from_ns = t.woken_ns - (int64_t)(rt_test_rand(&state) % before);
        t.previous_send_end_ns = t.send_start_ns - (int64_t)(rt_test_rand(&state) % before);
        int64_t a = max64(DUE, t.enqueued_ns);
        int64_t b = max64(a, t.asleep_from_ns);
        int64_t c = max64(b, t.woken_ns);
        int64_t d = max64(c, t.previous_send_end_ns);
        int64_t parts[4] = {a - DUE, c - b, b - a + d - c, t.send_start_ns - d};
        bool started_late = t.send_start_ns - DUE > TOLERANCE;
        bool slow = t.send_end_ns - t.send_start_ns > VERDICT_SLOW_SEND_NS;
        verdict_t expected = slow ? VERDICT_SEND_SLOW : VERDICT_ON_TIME;
        if (started_late) {
            REQUIRE(parts[0] + parts[1] + parts[2] + parts[3] == t.send_start_ns - DUE);
            expected = by_part[largest(parts, 4)];
        }
        verdict_t got = verdict_of(&t, TOLERANCE, 0);
        REQUIRE(got == expected);
        REQUIRE(started_late == verdict_is_late(DUE, t.send_start_ns, TOLERANCE));
        seen[got]++;
    }
    for (unsigned v = VERDICT_ON_TIME; v <= VERDICT_QUEUED_BEHIND; v++)
        CHECK(seen[v] > 1000);
    CHECK_EQ(seen[VERDICT_DROPPED_LATE] + seen[VERDICT_CANCELLED] + seen[VERDICT_FAILED], 0);
}

static void test_no_deadline_is_never_late(void)
{
    CHECK(!verdict_is_late(0, INT64_MAX, 0));
    CHECK(!verdict_is_late(100, 150, 50));
    CHECK(verdict_is_late(100, 151, 50));
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_table);
    RUN(test_tolerance_moves_both_limits);
    RUN(test_random_times_follow_the_drawing);
    RUN(test_no_deadline_is_never_late);
    return rt_test_result();
}
