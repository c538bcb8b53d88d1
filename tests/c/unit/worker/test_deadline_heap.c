/* The schedule of channels against the plainest possible model of it. */
#include "rt_test.h"

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

int main(void)
{
    RUN(test_empty);
    RUN(test_comes_out_in_order);
    RUN(test_any_change_keeps_the_earliest_on_top);
    return rt_test_result();
}
