/* How much of a socket is read at once: no more than fits before another channel is due. Nothing
 * here depends on how fast the machine is: times passed on are far away, or over. */
#include "rt_test.h"

#include "worker/agents/common/intake.h"
#include "worker/worker.h"

enum { MOST = 64 };

static worker_t w;
static deadline_entry_t entries[2];
static wrk_channel_t ours;
static wrk_channel_t other;

static void start(int64_t our_deadline_ns, int64_t other_deadline_ns)
{
    w.granted_until_mono_ns = 0;
    deadline_heap_init(&w.deadlines, entries, 2);
    ours.worker = other.worker = &w;
    deadline_node_init(&ours.deadline);
    deadline_node_init(&other.deadline);
    deadline_heap_set(&w.deadlines, &ours.deadline, our_deadline_ns);
    deadline_heap_set(&w.deadlines, &other.deadline, other_deadline_ns);
}

/* What is read costs that much a message: at least, for time goes on. */
static agent_intake_t after_messages_of(int64_t cost_ns)
{
    agent_intake_t in = {.cost_ns = cost_ns};
    for (int i = 0; i < 100; i++) {
        in.from_mono_ns = rt_mono_ns() - 10 * cost_ns;
        agent_intake_end(&in, 10);
    }
    return in;
}

static void test_all_that_is_wanted_where_nothing_is_due(void)
{
    agent_intake_t in = {.cost_ns = 1000};
    start(RT_NEVER_NS, RT_NEVER_NS);
    CHECK_EQ(agent_intake_begin(&in, &ours, MOST), MOST);
    start(1, rt_mono_ns() + RT_NS_PER_S); /* our own deadline is no reason */
    CHECK_EQ(agent_intake_begin(&in, &ours, MOST), MOST);
    in = (agent_intake_t){.cost_ns = 0};
    CHECK_EQ(agent_intake_begin(&in, &ours, MOST), MOST);
}

static void test_one_where_another_channel_is_due(void)
{
    agent_intake_t in = {.cost_ns = 1000};
    start(RT_NEVER_NS, 1);
    CHECK_EQ(agent_intake_begin(&in, &ours, MOST), 1);
    start(RT_NEVER_NS, rt_mono_ns() + 10 * RT_NS_PER_US);
    CHECK(agent_intake_begin(&in, &ours, MOST) <= 10);
}

static void test_more_where_they_have_waited_for_long(void)
{
    agent_intake_t in = {.cost_ns = 1000};
    start(RT_NEVER_NS, 1);
    w.granted_until_mono_ns = rt_mono_ns() + RT_NS_PER_S;
    CHECK_EQ(agent_intake_begin(&in, &ours, MOST), MOST);
}

static void test_few_where_each_takes_long(void)
{
    start(RT_NEVER_NS, RT_NEVER_NS);
    agent_intake_t in = after_messages_of(20 * RT_NS_PER_US);
    CHECK(in.cost_ns >= 19 * RT_NS_PER_US);
    CHECK(agent_intake_begin(&in, &ours, MOST) <= 16);
    in = after_messages_of(RT_NS_PER_S); /* it was stopped meanwhile */
    CHECK(agent_intake_begin(&in, &ours, MOST) >= 10);
    int64_t before = in.cost_ns;
    agent_intake_end(&in, 0);
    CHECK_EQ(in.cost_ns, before);
}

int main(void)
{
    RUN(test_all_that_is_wanted_where_nothing_is_due);
    RUN(test_one_where_another_channel_is_due);
    RUN(test_more_where_they_have_waited_for_long);
    RUN(test_few_where_each_takes_long);
    return rt_test_result();
}
