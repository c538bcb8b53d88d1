#include "rt_test.h"

#include "worker/agents/common/schedule.h"

#include <errno.h>
#include <stdint.h>

enum { PACKETS = 1000, UNITS = sizeof(shm_tx_record_t) / SHM_UNIT_BYTES };

static uint8_t ring[PACKETS * sizeof(shm_tx_record_t)] __attribute__((aligned(RT_LINE_BYTES)));
static tx_queue_t queue = {.data = ring, .units = PACKETS * UNITS};
static agent_schedule_t schedule;

static void set_up(void)
{
    CHECK_EQ(agent_schedule_init(&schedule, PACKETS), 0);
    queue.head_ref = 0;
    queue.read_ref = PACKETS * UNITS;
}

static void put(unsigned place, shm_record_state_t state)
{
    rt_store_relaxed((rt_a64_t *)(ring + place * sizeof(shm_tx_record_t)),
                     shm_word(place, UNITS, SHM_TX_HAS_DUE, state));
}

static int push(uint64_t ref, int64_t due_ns, uint64_t order)
{
    const due_entry_t entry = {.due_ns = due_ns, .order = order, .ref = ref};
    return agent_schedule_push(&schedule, &queue, &entry);
}

/* A client that queues packets for the far future and takes them back, again and again. */
static void test_entries_of_what_was_taken_back_do_not_fill_it(void)
{
    set_up();
    for (unsigned i = 0; i < PACKETS; i++)
        put(i, SHM_RECORD_DONE);
    put(7, SHM_RECORD_COMMITTED);
    CHECK_EQ(push(7 * UNITS, 5, 0), 0);
    unsigned refused = 0;
    for (uint64_t i = 1; i <= 100 * PACKETS; i++)
        refused += push(8 * UNITS, 1000000 - (int64_t)(i % 977), i) != 0;
    CHECK_EQ(refused, 0);
    CHECK(agent_schedule_count(&schedule) <= 2 * PACKETS);
    due_entry_t first;
    CHECK(agent_schedule_pop_due(&schedule, 5, &first));
    CHECK_EQ(first.ref, 7 * UNITS);
    agent_schedule_close(&schedule);
}

/* All that can wait, then as many entries without a packet: nothing is lost, and order holds. */
static void test_a_sweep_keeps_packets_and_their_order(void)
{
    set_up();
    for (unsigned i = 0; i < PACKETS; i++) {
        put(i, i == 8 ? SHM_RECORD_DONE : SHM_RECORD_COMMITTED);
        CHECK_EQ(push((uint64_t)i * UNITS, 10 * (1 + (int64_t)(i * 7919 % PACKETS)), i), 0);
    }
    for (uint64_t i = 0; i < 3 * PACKETS; i++)
        CHECK_EQ(push(8 * UNITS, INT64_MAX / 4, PACKETS + i), 0);
    due_entry_t entry;
    int64_t before = 0;
    unsigned packets = 0, misplaced = 0;
    while (agent_schedule_pop_due(&schedule, INT64_MAX, &entry)) {
        misplaced += entry.due_ns < before;
        before = entry.due_ns;
        packets += entry.ref != 8 * UNITS;
    }
    CHECK_EQ(packets, PACKETS - 1);
    CHECK_EQ(misplaced, 0);
    CHECK_EQ(agent_schedule_next_ns(&schedule), INT64_MAX);
    agent_schedule_close(&schedule);
}

/* More than the ring is said to hold: only a client that passes over the limit gets there. */
static void test_more_packets_than_can_wait_are_refused(void)
{
    set_up();
    put(0, SHM_RECORD_COMMITTED);
    unsigned taken = 0;
    for (uint64_t i = 0; i < 10 * PACKETS; i++)
        taken += push(0, 1000, i) == 0;
    CHECK(taken < 5 * PACKETS);
    CHECK_EQ(push(0, 1, 0), -ENOSPC);
    agent_schedule_close(&schedule);
}

int main(void)
{
    RUN(test_entries_of_what_was_taken_back_do_not_fill_it);
    RUN(test_a_sweep_keeps_packets_and_their_order);
    RUN(test_more_packets_than_can_wait_are_refused);
    return rt_test_result();
}
