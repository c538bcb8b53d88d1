/* What taps copy and when: after the call that sends, and no more than keeps deadlines. Nothing
 * here depends on how fast the machine is: deadlines are far away, or over. */
#include "rt_test.h"

#include "worker/agents/common/send.h"
#include "worker/agents/common/tap.h"
#include "worker/tap.h"

#include <errno.h>
#include <stdlib.h>

enum { CHANNELS = 4, TAPS = 4, LARGE = 65000, SMALL = 64 };
#define LOG_BYTES (TAP_HEAD_BYTES + (UINT64_C(2) << 20))

static worker_t w;
static deadline_entry_t entries[CHANNELS + 1];
static wrk_channel_t channels[CHANNELS];
static wrk_channel_t other; /* has no tap */
static shm_stats_t stats;
static wrk_tap_t taps[CHANNELS][TAPS];
static uint8_t payload[LARGE];
static udp_t udp;
static int64_t own_deadline_in_ns; /* 0: none */

static int64_t own_deadline(const wrk_channel_t *ch)
{
    (void)ch;
    return own_deadline_in_ns == 0 ? RT_NEVER_NS : rt_mono_ns() + own_deadline_in_ns;
}

static const agent_ops_t OPS = {.deadline_ns = own_deadline};

static void prepare(wrk_channel_t *ch)
{
    *ch = (wrk_channel_t){.worker = &w, .stats = &stats, .ops = &OPS};
    deadline_node_init(&ch->deadline);
}

/* tap_count taps on each of channel_count channels. */
static void start(unsigned channel_count, unsigned tap_count, int64_t other_deadline_ns)
{
    own_deadline_in_ns = 0;
    w.turn_of = NULL;
    w.granted_until_mono_ns = 0;
    deadline_heap_init(&w.deadlines, entries, CHANNELS + 1);
    prepare(&other);
    deadline_heap_set(&w.deadlines, &other.deadline, other_deadline_ns);
    for (unsigned c = 0; c < channel_count; c++) {
        prepare(&channels[c]);
        for (unsigned t = 0; t < tap_count; t++) {
            wrk_tap_t *tap = &taps[c][t];
            void *memory = tap->memory != NULL ? tap->memory : aligned_alloc(4096, LOG_BYTES);
            REQUIRE(memory != NULL);
            memset(memory, 0, TAP_HEAD_BYTES);
            *tap = (wrk_tap_t){.next = channels[c].taps,
                               .memory = memory,
                               .what = CTL_TAP_TX | CTL_TAP_RX,
                               .snap_bytes = SHM_MAX_RECORD};
            tap_writer_init(&tap->writer, memory, LOG_BYTES, 1, RT_CLOCK_MONOTONIC);
            channels[c].taps = tap;
        }
    }
    tap_begin_pass(&w);
}

static void put(wrk_channel_t *ch, uint32_t bytes)
{
    tap_record_t record = {.kind = TAP_SENT, .payload_bytes = bytes};
    wrk_tap_put(ch, &record, payload, bytes, NULL);
}

typedef struct found {
    uint64_t records;
    uint64_t bytes; /* of payloads */
} found_t;

static found_t read_all(unsigned channel_count, unsigned tap_count)
{
    static uint8_t buffer[TAP_RECORD_MOST];
    found_t all = {0};
    for (unsigned c = 0; c < channel_count; c++)
        for (unsigned t = 0; t < tap_count; t++) {
            tap_reader_t reader;
            tap_batch_t batch;
            if (!CHECK_EQ(tap_reader_init(&reader, taps[c][t].memory, LOG_BYTES), 0))
                return all;
            while (tap_reader_take(&reader, buffer, sizeof buffer, &batch) > 0) {
                tap_record_t record;
                for (uint32_t at = 0; at < batch.bytes; at += record.bytes) {
                    memcpy(&record, buffer + at, sizeof record);
                    all.bytes += record.captured_bytes;
                }
                all.records += batch.datagrams;
            }
            CHECK_EQ(reader.lost, 0);
        }
    return all;
}

static void put_on_all(unsigned channel_count, uint32_t bytes, unsigned times)
{
    for (unsigned c = 0; c < channel_count; c++) {
        w.turn_of = &channels[c];
        for (unsigned i = 0; i < times; i++)
            put(&channels[c], bytes);
    }
}

/* --- how much -------------------------------------------------------------------------------- */

static void test_where_nothing_is_due_all_is_copied(void)
{
    start(CHANNELS, TAPS, RT_NEVER_NS);
    put_on_all(CHANNELS, LARGE, 10);
    found_t found = read_all(CHANNELS, TAPS);
    CHECK_EQ(found.records, CHANNELS * TAPS * 10);
    CHECK_EQ(found.bytes, CHANNELS * TAPS * 10 * (uint64_t)LARGE);
    start(1, 1, rt_mono_ns() + 100 * RT_NS_PER_S);
    put_on_all(1, LARGE, 10);
    CHECK_EQ(read_all(1, 1).bytes, 10 * (uint64_t)LARGE);
}

static void test_a_deadline_goes_before_copies_of_one_tap(void)
{
    start(1, 1, 1);
    put_on_all(1, LARGE, 10);
    found_t found = read_all(1, 1);
    CHECK_EQ(found.records, 10);
    CHECK_EQ(found.bytes, WRK_TAP_PASS_BYTES);
}

static void test_sixteen_taps_have_one_budget(void)
{
    start(CHANNELS, TAPS, 1);
    put_on_all(CHANNELS, LARGE, 10);
    found_t found = read_all(CHANNELS, TAPS);
    CHECK_EQ(found.records, CHANNELS * TAPS * 10);
    CHECK_EQ(found.bytes, WRK_TAP_PASS_BYTES);
    tap_begin_pass(&w);
    put_on_all(CHANNELS, LARGE, 10);
    CHECK_EQ(read_all(CHANNELS, TAPS).bytes, 2 * WRK_TAP_PASS_BYTES);
}

static void test_small_packets_are_copied_whole_whatever_is_due(void)
{
    start(CHANNELS, TAPS, 1);
    put_on_all(CHANNELS, SMALL, WRK_TAP_PASS_BYTES / SMALL / (CHANNELS * TAPS));
    CHECK_EQ(read_all(CHANNELS, TAPS).bytes, WRK_TAP_PASS_BYTES);
}

/* 20 us, or less by the time it looks: 40 KB at most, in addition to those of the pass. */
static void test_a_near_deadline_is_no_room_for_large_copies(void)
{
    start(1, TAPS, rt_mono_ns() + 20 * RT_NS_PER_US);
    put_on_all(1, LARGE, 1);
    CHECK_EQ(read_all(1, TAPS).records, TAPS);
    CHECK_EQ(read_all(1, TAPS).bytes, WRK_TAP_PASS_BYTES);
}

static void test_the_own_next_deadline_counts_unless_it_is_over(void)
{
    start(1, TAPS, RT_NEVER_NS);
    own_deadline_in_ns = 20 * RT_NS_PER_US;
    put_on_all(1, LARGE, 1);
    CHECK_EQ(read_all(1, TAPS).bytes, WRK_TAP_PASS_BYTES);
    start(1, TAPS, RT_NEVER_NS);
    own_deadline_in_ns = -RT_NS_PER_S; /* a stream that is never idle */
    put_on_all(1, LARGE, 1);
    CHECK_EQ(read_all(1, TAPS).bytes, TAPS * LARGE);
}

/* The deadline that is being served is in the heap until it is over: that of a UDT port, too, whose
 * turn it is while it sends packets of a tapped connection. */
static void test_the_deadline_that_is_being_served_does_not_count(void)
{
    start(1, TAPS, 1);
    w.turn_of = &other;
    for (unsigned i = 0; i < 2; i++)
        put(&channels[0], LARGE);
    CHECK_EQ(read_all(1, TAPS).bytes, 2 * TAPS * LARGE);
}

/* --- when ------------------------------------------------------------------------------------ */

static uint64_t written(void)
{
    const tap_head_t *head = taps[0][0].writer.head;
    return rt_load_relaxed(&head->writing) + rt_load_relaxed(&head->tail);
}

static unsigned calls;
static uint64_t written_before[4];

/* The call that sends. Takes two, is interrupted, and takes the rest. */
static int send_two(wrk_channel_t *ch, const udp_tx_t *messages, unsigned count, int *error)
{
    (void)ch;
    CHECK(messages[0].data == payload);
    written_before[calls++ % 4] = written();
    *error = 0;
    return count < 2 ? (int)count : 2;
}

static void packets_left(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                         int64_t end_mono_ns)
{
    static udp_tx_t messages[AGENT_BATCH];
    (void)first;
    for (unsigned i = 0; i < count; i++)
        messages[i] = (udp_tx_t){.data = payload, .len = SMALL};
    agent_tap_left(ch, &udp, messages, count, start_mono_ns, end_mono_ns);
}

static void test_the_copy_is_made_after_the_call_that_sends(void)
{
    static agent_batch_t batch;
    static agent_ledger_t ledger;
    static agent_path_t path;
    agent_block_t block = {0};
    const agent_way_t way = {
        .udp = &udp, .put = send_two, .path = &path, .ledger = &ledger, .block = &block};
    const agent_outcomes_t outcomes = {.left = packets_left};
    start(1, 1, RT_NEVER_NS);
    for (unsigned i = 0; i < 3; i++)
        batch.messages[i] = (udp_tx_t){.data = payload, .len = SMALL};
    batch.count = 3;
    agent_send(&channels[0], &way, &batch, &outcomes);
    CHECK_EQ(calls, 2);
    const uint64_t record = sizeof(tap_record_t) + SMALL;
    CHECK_EQ(written_before[0], 0);          /* nothing before the first call */
    CHECK_EQ(written_before[1], 4 * record); /* those of the first call, in writing and in tail */
    CHECK_EQ(written(), 6 * record);
}

int main(void)
{
    RUN(test_where_nothing_is_due_all_is_copied);
    RUN(test_a_deadline_goes_before_copies_of_one_tap);
    RUN(test_sixteen_taps_have_one_budget);
    RUN(test_small_packets_are_copied_whole_whatever_is_due);
    RUN(test_a_near_deadline_is_no_room_for_large_copies);
    RUN(test_the_own_next_deadline_counts_unless_it_is_over);
    RUN(test_the_deadline_that_is_being_served_does_not_count);
    RUN(test_the_copy_is_made_after_the_call_that_sends);
    for (unsigned c = 0; c < CHANNELS; c++)
        for (unsigned t = 0; t < TAPS; t++)
            free(taps[c][t].memory);
    return rt_test_result();
}
