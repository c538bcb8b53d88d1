/* When work that can wait starts, beside deadlines that cannot. In virtual time: channels are due
 * at a fixed interval, and serving one takes 5 us. */
#include "rt_test.h"

#include "worker/postpone.h"

#define STEP_NS 500 /* how often the loop looks */
#define SERVING_NS (5 * RT_NS_PER_US)
#define BEGIN_NS RT_NS_PER_S

static const postpone_limits_t *const KINDS[] = {&POSTPONE_CONTROL, &POSTPONE_CONTROL_STEP,
                                                  &POSTPONE_HOUSEKEEPING};
enum { KIND_COUNT = sizeof KINDS / sizeof KINDS[0] };

typedef struct start {
    int64_t waited_ns;
    int64_t gap_ns; /* left until the next deadline */
} start_t;

/* Work appears offset_ns after a deadline. Returns when it starts. */
static start_t run(const postpone_limits_t *kind, int64_t interval_ns, int64_t offset_ns)
{
    int64_t since = 0;
    int64_t from = BEGIN_NS + offset_ns;
    for (int64_t now = from;; now += STEP_NS) {
        int64_t into = (now - BEGIN_NS) % interval_ns;
        if (into < SERVING_NS)
            continue; /* the deadline is being served */
        int64_t deadline = now - into + interval_ns;
        if (postpone_ends(kind, &since, now, deadline)) {
            CHECK_EQ(since, 0);
            return (start_t){.waited_ns = now - from, .gap_ns = deadline - now};
        }
    }
}

static void test_nothing_due_nothing_waited_for(void)
{
    for (unsigned k = 0; k < KIND_COUNT; k++) {
        int64_t since = 0;
        CHECK(postpone_ends(KINDS[k], &since, BEGIN_NS, RT_NEVER_NS));
        CHECK_EQ(since, 0);
        CHECK(postpone_fits(KINDS[k], BEGIN_NS, BEGIN_NS, BEGIN_NS + KINDS[k]->worst_cost_ns));
        CHECK(!postpone_fits(KINDS[k], BEGIN_NS, BEGIN_NS, BEGIN_NS + KINDS[k]->worst_cost_ns - 1));
    }
}

/* The first half of the limit. */
static void test_no_start_within_the_worst_cost_of_a_deadline(void)
{
    const int64_t intervals_us[] = {20, 40, 60, 100, 250, 306, 400, 1000, 5000};
    for (unsigned k = 0; k < KIND_COUNT; k++)
        for (unsigned i = 0; i < sizeof intervals_us / sizeof *intervals_us; i++)
            for (int64_t offset = 0; offset < intervals_us[i] * RT_NS_PER_US; offset += 7000) {
                start_t s = run(KINDS[k], intervals_us[i] * RT_NS_PER_US, offset);
                if (s.waited_ns <= KINDS[k]->limit_ns / 2)
                    CHECK(s.gap_ns >= KINDS[k]->worst_cost_ns);
                CHECK(s.waited_ns <= KINDS[k]->limit_ns + SERVING_NS + STEP_NS);
            }
}

static void test_where_it_fits_it_waits_for_one_deadline_at_most(void)
{
    for (unsigned k = 0; k < KIND_COUNT; k++) {
        int64_t interval = KINDS[k]->worst_cost_ns + SERVING_NS + STEP_NS;
        for (int64_t offset = 0; offset < interval; offset += 3000) {
            start_t s = run(KINDS[k], interval, offset);
            CHECK(s.waited_ns <= interval);
            CHECK(s.gap_ns >= KINDS[k]->worst_cost_ns);
        }
    }
}

/* 10,000 and 50,000 packets a second leave no gap that is long enough. The work then starts just
 * after a deadline: it has nearly all of the gap there is. */
static void test_too_short_gaps_are_used_from_their_beginning(void)
{
    for (unsigned k = 0; k < KIND_COUNT; k++) {
        /* Of the housekeeping's limit a gap is a small part, so the last gaps differ little. */
        for (int64_t interval = 20 * RT_NS_PER_US; interval <= 40 * RT_NS_PER_US; interval *= 2) {
            bool many_gaps = KINDS[k]->limit_ns > 100 * interval;
            for (int64_t offset = 0; offset < interval && many_gaps; offset += 1000) {
                start_t s = run(KINDS[k], interval, offset);
                CHECK(s.gap_ns >= interval - SERVING_NS - 2 * RT_NS_PER_US);
                CHECK(s.waited_ns < KINDS[k]->limit_ns);
            }
        }
    }
    for (int64_t offset = 0; offset < 100 * RT_NS_PER_US; offset += 1000) {
        start_t s = run(KINDS[0], 100 * RT_NS_PER_US, offset);
        CHECK(s.gap_ns >= 90 * RT_NS_PER_US);
        CHECK(s.waited_ns < 9 * RT_NS_PER_MS);
    }
}

/* The core is behind: every deadline is over when it is looked at. */
static void test_at_the_limit_it_starts_whatever_is_due(void)
{
    for (unsigned k = 0; k < KIND_COUNT; k++) {
        int64_t since = 0;
        int64_t now = BEGIN_NS;
        while (!postpone_ends(KINDS[k], &since, now, now - RT_NS_PER_MS))
            now += STEP_NS;
        CHECK_EQ(now - BEGIN_NS, KINDS[k]->limit_ns);
    }
}

static void test_each_piece_waits_anew(void)
{
    int64_t since = 0;
    int64_t now = BEGIN_NS;
    int64_t due = now + KINDS[0]->worst_cost_ns;
    CHECK(postpone_ends(KINDS[0], &since, now, due));
    CHECK(!postpone_ends(KINDS[0], &since, now + 1, due));
    CHECK_EQ(since, now + 1);
}

int main(void)
{
    RUN(test_nothing_due_nothing_waited_for);
    RUN(test_no_start_within_the_worst_cost_of_a_deadline);
    RUN(test_where_it_fits_it_waits_for_one_deadline_at_most);
    RUN(test_too_short_gaps_are_used_from_their_beginning);
    RUN(test_at_the_limit_it_starts_whatever_is_due);
    RUN(test_each_piece_waits_anew);
    return rt_test_result();
}
