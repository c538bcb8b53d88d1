/* Which packets of a batch leave in the next call, in virtual time. */
#include "rt_test.h"

#include "worker/agents/common/send.h"

enum { JOIN_NS = 2000 };

static udp_t udp = {.gso = true, .gso_segment_max = 1472};
static agent_batch_t batch;

/* Packets that start at these times and have these lengths. */
static void fill(unsigned count, const int64_t *starts_ns, const uint32_t *lengths)
{
    batch.count = count;
    for (unsigned i = 0; i < count; i++) {
        batch.start_mono_ns[i] = starts_ns[i];
        batch.messages[i] = (udp_tx_t){.data = "", .len = lengths[i]};
    }
}

#define FILL(starts, lengths) fill(sizeof(starts) / sizeof *(starts), (starts), (lengths))

static const uint32_t SAME[] = {64, 64, 64, 64, 64};

static unsigned next(unsigned at, int64_t now_ns)
{
    return agent_next_call(&udp, &batch, at, JOIN_NS, now_ns);
}

static void test_what_is_near_joins_the_first(void)
{
    static const int64_t STARTS[] = {10000, 11000, 12000, 12001, 20000};
    FILL(STARTS, SAME);
    CHECK_EQ(next(0, 9000), 3);
    CHECK_EQ(next(3, 16000), 1);
    CHECK_EQ(next(4, 19000), 1);
}

static void test_what_has_started_leaves_whatever_its_size(void)
{
    static const int64_t STARTS[] = {10000, 11000, 12000, 30000};
    static const uint32_t LENGTHS[] = {64, 1400, 200, 64};
    FILL(STARTS, LENGTHS);
    CHECK_EQ(next(0, 12000), 3);
    CHECK_EQ(next(3, 12500), 1);
    CHECK_EQ(next(0, 30000), 4);
}

/* It could not leave in the same message, and would be early. */
static void test_another_size_does_not_join(void)
{
    static const int64_t STARTS[] = {10000, 10500, 11000};
    static const uint32_t LENGTHS[] = {64, 1400, 1400};
    FILL(STARTS, LENGTHS);
    CHECK_EQ(next(0, 9000), 1);
    CHECK_EQ(next(1, 10400), 2);
    CHECK_EQ(next(1, 10500), 2);
}

static void test_the_last_message_of_overdue_ones_takes_others_along(void)
{
    static const int64_t STARTS[] = {10000, 11000, 21000, 22001, 23000};
    static const uint32_t LENGTHS[] = {64, 1400, 1400, 1400, 1400};
    FILL(STARTS, LENGTHS);
    CHECK_EQ(next(0, 20000), 3);
    CHECK_EQ(next(0, 20001), 4);
}

static void test_nothing_joins_where_the_kernel_takes_no_segments(void)
{
    static const int64_t STARTS[] = {10000, 10001};
    udp_t plain = {.gso = false};
    FILL(STARTS, SAME);
    CHECK_EQ(agent_next_call(&plain, &batch, 0, JOIN_NS, 9000), 1);
    CHECK_EQ(agent_next_call(&plain, &batch, 0, JOIN_NS, 10001), 2);
}

static void test_all_leave_where_nothing_waits(void)
{
    static const int64_t STARTS[] = {10000, 50000, 0};
    FILL(STARTS, SAME);
    CHECK_EQ(agent_next_call(&udp, &batch, 0, 0, 9000), 3);
    CHECK_EQ(agent_next_call(&udp, &batch, 1, 0, 9000), 2);
}

int main(void)
{
    RUN(test_what_is_near_joins_the_first);
    RUN(test_what_has_started_leaves_whatever_its_size);
    RUN(test_another_size_does_not_join);
    RUN(test_the_last_message_of_overdue_ones_takes_others_along);
    RUN(test_nothing_joins_where_the_kernel_takes_no_segments);
    RUN(test_all_leave_where_nothing_waits);
    return rt_test_result();
}
