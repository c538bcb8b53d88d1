/* The schedule of channels against the plainest possible model of it. */
#include "rt_test.h"

#include "proto/pacing/grid.h"
#include "worker/deadline_heap.h"

enum { NODES = 64 };

static deadline_node_t nodes[NODES];
static deadline_entry_t entries[NODES];
static deadline_heap_t heap;

static void start(void)
{
    deadline_heap_init(&heap, entries, NODES);
    for (int i = 0; i < NODES; i++)
        deadline_node_init(&nodes[i]);
}

static int64_t earliest(void)
{
    int64_t at = RT_NEVER_NS;
    for (int i = 0; i < NODES; i++)
        at = nodes[i].at_mono_ns < at ? nodes[i].at_mono_ns : at;
    return at;
}

static int64_t earliest_besides(const deadline_node_t *node)
{
    int64_t at = RT_NEVER_NS;
    for (int i = 0; i < NODES; i++)
        if (&nodes[i] != node && nodes[i].at_mono_ns < at)
            at = nodes[i].at_mono_ns;
    return at;
}

static void test_empty(void)
{
    start();
    CHECK_EQ(deadline_heap_next_besides_ns(&heap, &nodes[0]), RT_NEVER_NS);
    CHECK_EQ(deadline_heap_next_ns(&heap), RT_NEVER_NS);
    CHECK(deadline_heap_top(&heap) == NULL);
    deadline_heap_set(&heap, &nodes[0], RT_NEVER_NS);
    CHECK_EQ(heap.count, 0);
}

static void test_comes_out_in_order(void)
{
    start();
    uint64_t seed = 11;
    for (int i = 0; i < NODES; i++)
        deadline_heap_set(&heap, &nodes[i], (int64_t)(rt_test_rand(&seed) % 1000));
    int64_t last = -1;
    while (heap.count > 0) {
        deadline_node_t *top = deadline_heap_top(&heap);
        CHECK(top->at_mono_ns >= last);
        CHECK_EQ(top->at_mono_ns, deadline_heap_next_ns(&heap));
        last = top->at_mono_ns;
        deadline_heap_set(&heap, top, RT_NEVER_NS);
        CHECK_EQ(top->index, DEADLINE_NOWHERE);
    }
}

static void test_any_change_keeps_the_earliest_on_top(void)
{
    start();
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 12);
    for (int i = 0; i < 100000; i++) {
        deadline_node_t *node = &nodes[rt_test_rand(&seed) % NODES];
        uint64_t r = rt_test_rand(&seed);
        deadline_heap_set(&heap, node, r % 4 == 0 ? RT_NEVER_NS : (int64_t)(r % 500));
        if (deadline_heap_next_ns(&heap) != earliest()) {
            CHECK_EQ(deadline_heap_next_ns(&heap), earliest());
            return;
        }
        deadline_node_t *other = &nodes[rt_test_rand(&seed) % NODES];
        CHECK_EQ(deadline_heap_next_besides_ns(&heap, node), earliest_besides(node));
        CHECK_EQ(deadline_heap_next_besides_ns(&heap, other), earliest_besides(other));
    }
    for (uint32_t i = 0; i < heap.count; i++) {
        CHECK_EQ(heap.entries[i].node->index, i);
        CHECK_EQ(heap.entries[i].node->at_mono_ns, heap.entries[i].at_mono_ns);
    }
}

/* --- pressing deadlines ---------------------------------------------------------------------- */

enum { OTHERS = NODES - 1 };

#define SERVICE_NS INT64_C(5000)
#define SHORT_NS INT64_C(1000000)
#define LONG_NS INT64_C(22727272)

typedef struct served {
    int64_t pressing_late_ns, others_late_ns; /* the longest wait */
    unsigned pressing, others;
} served_t;

static void note(int64_t late_ns, int64_t *most_ns, unsigned *count)
{
    *most_ns = late_ns > *most_ns ? late_ns : *most_ns;
    ++*count;
}

/* A core in virtual time: node 0 with its period, beside others that are all due at one instant. */
static served_t serve(int64_t short_ns, int64_t service_ns, bool pressing)
{
    static deadline_entry_t pressing_entries[1];
    deadline_heap_t first;
    deadline_node_t also;
    served_t served = {0};
    bool last = false;
    start();
    deadline_heap_init(&first, pressing_entries, 1);
    deadline_node_init(&also);
    for (int i = 0; i < NODES; i++)
        deadline_heap_set(&heap, &nodes[i], i == 0 ? 1 : 0);
    for (int64_t now = 0; now < 100 * LONG_NS; now += service_ns) {
        if (pressing)
            deadline_heap_set(&first, &also, nodes[0].at_mono_ns);
        if (deadline_heap_next_ns(&heap) > now)
            now = deadline_heap_next_ns(&heap);
        last = deadline_pressing_next(&first, last, now);
        deadline_node_t *node = last ? &nodes[0] : deadline_heap_top(&heap);
        int64_t late = now - node->at_mono_ns;
        if (node == &nodes[0])
            note(late, &served.pressing_late_ns, &served.pressing);
        else
            note(late, &served.others_late_ns, &served.others);
        grid_t grid = {.period_ns = node == &nodes[0] ? short_ns : LONG_NS,
                       .due_ns = node->at_mono_ns};
        (void)grid_serve(&grid, now);
        deadline_heap_set(&heap, node, grid.due_ns);
    }
    return served;
}

static void test_a_pressing_deadline_waits_for_one_other_at_most(void)
{
    CHECK(serve(SHORT_NS, SERVICE_NS, false).pressing_late_ns > 50 * SERVICE_NS);
    served_t served = serve(SHORT_NS, SERVICE_NS, true);
    CHECK(served.pressing_late_ns <= SERVICE_NS);
    CHECK(served.others_late_ns <= (OTHERS + 1) * SERVICE_NS); /* a backlog lasts less than 1 ms */
    CHECK(served.pressing >= 2270);
    CHECK(served.others >= 99 * OTHERS);
}

/* The pressing one alone could occupy the core. */
static void test_pressing_deadlines_leave_every_other_turn_to_the_others(void)
{
    served_t served = serve(SERVICE_NS / 2, SERVICE_NS, true);
    CHECK(served.others >= 99 * OTHERS);
    CHECK(served.others_late_ns <= 2 * (OTHERS + 1) * SERVICE_NS);
}

int main(void)
{
    RUN(test_empty);
    RUN(test_comes_out_in_order);
    RUN(test_any_change_keeps_the_earliest_on_top);
    RUN(test_a_pressing_deadline_waits_for_one_other_at_most);
    RUN(test_pressing_deadlines_leave_every_other_turn_to_the_others);
    return rt_test_result();
}
