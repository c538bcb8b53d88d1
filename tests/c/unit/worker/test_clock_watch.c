#include "rt_test.h"

#include "worker/channels.h"
#include "worker/clock_watch.h"

#include <string.h>
#include <unistd.h>

#define DUE_TAI_NS (1000 * RT_NS_PER_S)

static worker_t w;
static deadline_entry_t entries[2];

static int64_t due(const wrk_channel_t *ch)
{
    return DUE_TAI_NS + wrk_clock_shift_ns(ch);
}

static const agent_ops_t OPS = {.engine = "test", .deadline_ns = due};

/* As the worker knew the clocks before somebody set the time by so much. */
static void know_clocks_of_before(int64_t step_ns)
{
    clock_map_t *mono = &w.clocks[RT_CLOCK_MONOTONIC];
    CHECK_EQ(clock_map_init(mono, RT_CLOCK_MONOTONIC), 0);
    mono->offset_ns -= step_ns;
    mono->low_ns -= step_ns;
    mono->high_ns -= step_ns;
    mono->next_refresh_mono_ns = rt_mono_ns() + RT_NS_PER_S;
    w.clocks[RT_CLOCK_TAI] = (clock_map_t){.target = RT_CLOCK_TAI, .offset_ns = -37 * RT_NS_PER_S};
}

static void check_step(int64_t step_ns)
{
    wrk_channel_t ch = {.worker = &w, .ops = &OPS, .config.clock = RT_CLOCK_TAI};
    wrk_channel_t *channels[] = {&ch};
    deadline_heap_init(&w.deadlines, entries, 2);
    deadline_node_init(&ch.deadline);
    w.channels = channels;
    w.channel_count = 1;
    know_clocks_of_before(step_ns);
    wrk_reschedule(&ch);
    int64_t before = ch.deadline.at_mono_ns;
    clock_watch_refresh(&w, rt_mono_ns()); /* not due for long */
    CHECK_EQ(ch.deadline.at_mono_ns, before);
    clock_watch_stepped(&w, rt_mono_ns());
    int64_t moved = before - ch.deadline.at_mono_ns - step_ns;
    CHECK(moved > -RT_NS_PER_MS && moved < RT_NS_PER_MS);
    CHECK_EQ(deadline_heap_next_ns(&w.deadlines), ch.deadline.at_mono_ns);
}

static void test_deadlines_move_with_the_time_that_was_set(void)
{
    check_step(3600 * RT_NS_PER_S);
    check_step(-RT_NS_PER_S);
}

static void test_the_watch_is_quiet_while_nobody_sets_the_time(void)
{
    memset(&w, 0, sizeof w);
    CHECK_EQ(poller_open(&w.poller), 0);
    CHECK_EQ(clock_watch_open(&w), 0);
    CHECK_EQ(poller_wait(&w.poller, 0), 0);
    close(w.clock_set.fd);
    poller_close(&w.poller);
}

int main(void)
{
    RUN(test_deadlines_move_with_the_time_that_was_set);
    RUN(test_the_watch_is_quiet_while_nobody_sets_the_time);
    return rt_test_result();
}
