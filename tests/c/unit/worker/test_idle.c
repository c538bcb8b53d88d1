/* Rests that the budget of a real-time worker wants: between two deadlines, not across one. And for
 * what a worker stays awake. */
#include "rt_test.h"

#include "base/rt_clock.h"
#include "worker/idle.h"

#define AWAKE_NS (40 * RT_NS_PER_MS)        /* more than half of what the budget allows */
#define AWAKE_LONGER_NS (70 * RT_NS_PER_MS) /* nearly all of it */

static shm_worker_page_t page;

static idle_t awake_for(int64_t awake_ns, bool bounded, int64_t now_mono_ns)
{
    idle_t idle;
    page = (shm_worker_page_t){.magic = 0};
    idle_init(&idle, &page, bounded, now_mono_ns - awake_ns);
    return idle;
}

static void test_a_rest_is_taken_where_it_fits(void)
{
    int64_t now = rt_mono_ns();
    idle_t idle = awake_for(AWAKE_NS, true, now);
    CHECK(idle_rest_ahead(&idle, now, now + RT_NS_PER_MS));
    CHECK_EQ(rt_load_relaxed(&page.sleeps), 1);
    CHECK_EQ(rt_load_relaxed(&page.forced_rests), 0);
    CHECK_EQ(idle.asleep_from_mono_ns, now);
}

static void test_no_rest_before_a_near_deadline(void)
{
    int64_t now = rt_mono_ns();
    idle_t idle = awake_for(AWAKE_LONGER_NS, true, now);
    CHECK(!idle_rest_ahead(&idle, now, now + RT_NS_PER_US));
    CHECK(!idle_rest_ahead(&idle, now, now - RT_NS_PER_US));
    CHECK_EQ(rt_load_relaxed(&page.sleeps), 0);
}

static void test_a_wake_up_may_take_as_long_as_it_did_before(void)
{
    int64_t now = rt_mono_ns();
    idle_t idle = awake_for(AWAKE_NS, true, now);
    int64_t needed = idle.sleep_cost_ns * 3 / 4 + idle_margin_ns(&idle);
    CHECK(!idle_rest_ahead(&idle, now, now + needed - 1));
    CHECK_EQ(rt_load_relaxed(&page.sleeps), 0);
    CHECK(idle_rest_ahead(&idle, now, now + needed));
}

/* A forced rest would look at no deadline. */
static void test_a_budget_that_is_nearly_used_up_asks_for_less_spare_time(void)
{
    int64_t now = rt_mono_ns();
    idle_t idle = awake_for(AWAKE_LONGER_NS, true, now);
    CHECK(idle_rest_ahead(&idle, now, now + 30 * RT_NS_PER_US));
    CHECK_EQ(rt_load_relaxed(&page.sleeps), 1);
}

static void test_a_long_rest_gives_back_what_the_worker_used(void)
{
    int64_t now = rt_mono_ns();
    idle_t idle = awake_for(AWAKE_LONGER_NS, true, now);
    spin_budget_run(&idle.budget, now);
    int64_t before_u = idle.budget.level_u;
    CHECK(idle_rest_ahead(&idle, now, now + RT_NS_PER_MS));
    CHECK(idle.budget.level_u < before_u);
    CHECK(idle.sleep_cost_ns > 0);
}

/* What is received, and what is sent at short notice, waits for its end. */
static void test_no_rest_ahead_is_long(void)
{
    int64_t least = RT_NS_PER_S;
    for (int i = 0; i < 20; i++) { /* the wake-ups of a busy machine are late */
        int64_t now = rt_mono_ns();
        idle_t idle = awake_for(AWAKE_LONGER_NS, true, now);
        REQUIRE(idle_rest_ahead(&idle, now, now + RT_NS_PER_MS));
        int64_t took = idle.woken_mono_ns - now;
        least = took < least ? took : least;
    }
    CHECK(least < 300 * RT_NS_PER_US);
}

static void test_a_forced_rest_is_a_sleep(void)
{
    int64_t now = rt_mono_ns();
    idle_t idle = awake_for(2 * AWAKE_LONGER_NS, true, now);
    CHECK(idle_forced_rest(&idle, now));
    CHECK_EQ(rt_load_relaxed(&page.forced_rests), 1);
    CHECK(idle.woken_mono_ns - now >= 10 * RT_NS_PER_US);
    idle_t rested = awake_for(0, true, rt_mono_ns());
    CHECK(!idle_forced_rest(&rested, rt_mono_ns()));
}

static void test_no_rest_that_nothing_asks_for(void)
{
    int64_t now = rt_mono_ns();
    idle_t rested = awake_for(0, true, now);
    CHECK(!idle_rest_ahead(&rested, now, now + RT_NS_PER_MS));
    idle_t unbounded = awake_for(AWAKE_NS, false, now);
    CHECK(!idle_rest_ahead(&unbounded, now, now + RT_NS_PER_MS));
    idle_t far = awake_for(AWAKE_NS, true, now);
    CHECK(!idle_rest_ahead(&far, now, now + RT_NS_PER_MS + 1));
    CHECK(!idle_rest_ahead(&far, now, RT_NEVER_NS));
    CHECK_EQ(rt_load_relaxed(&page.sleeps), 0);
}

/* Serves arrivals and packets that a program sends at once, by turns or not, each so long after the
 * one before. Returns how many of them found the worker awake. */
static unsigned served_awake(const uint32_t kinds[2], int64_t each_ns)
{
    int64_t now = rt_mono_ns();
    idle_t idle = awake_for(0, false, now);
    unsigned awake = 0;
    for (unsigned i = 0; i < 200; i++) {
        int64_t asleep = 0;
        for (int64_t at = now; at < now + each_ns && asleep == 0; at += RT_NS_PER_US)
            asleep = idle_sleep_ns(&idle, at, now + RT_NS_PER_S);
        awake += asleep == 0;
        now += each_ns;
        idle_note_came(&idle, kinds[i % 2]);
        idle_note_event(&idle, now);
    }
    return awake;
}

static void test_answers_that_come_soon_find_the_worker_awake(void)
{
    const uint32_t by_turns[2] = {IDLE_ARRIVED, IDLE_SENT};
    CHECK(served_awake(by_turns, 100 * RT_NS_PER_US) > 150);
    CHECK_EQ(served_awake(by_turns, 500 * RT_NS_PER_US), 0);
}

static void test_nobody_waits_awake_for_a_stream_in_one_direction(void)
{
    const uint32_t arrivals[2] = {IDLE_ARRIVED, IDLE_ARRIVED};
    CHECK_EQ(served_awake(arrivals, 100 * RT_NS_PER_US), 0);
    CHECK(served_awake(arrivals, 30 * RT_NS_PER_US) > 150); /* sleeping would not pay */
}

int main(void)
{
    RUN(test_a_rest_is_taken_where_it_fits);
    RUN(test_no_rest_before_a_near_deadline);
    RUN(test_a_wake_up_may_take_as_long_as_it_did_before);
    RUN(test_a_budget_that_is_nearly_used_up_asks_for_less_spare_time);
    RUN(test_a_long_rest_gives_back_what_the_worker_used);
    RUN(test_no_rest_ahead_is_long);
    RUN(test_a_forced_rest_is_a_sleep);
    RUN(test_no_rest_that_nothing_asks_for);
    RUN(test_answers_that_come_soon_find_the_worker_awake);
    RUN(test_nobody_waits_awake_for_a_stream_in_one_direction);
    return rt_test_result();
}
