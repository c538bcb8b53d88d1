/* The worker of a local channel dies after each of its stores, amid packets without a deadline,
 * with one, and on an impaired path. Its successor must deliver the rest, deliver nothing twice,
 * and leave each packet in exactly one counter. */
#include "unit/shm/shm_test.h"

#include "unit/worker/each_store.h"

#include "proto/pacing/verdict.h"
#include "shm/shm_engine.h"
#include "worker/channel.h"
#include "worker/channel_memory.h"
#include "worker/uncounted.h"

enum { RING_BYTES = 4096, MAX_PAYLOAD = 16, PACKETS = 6, ROUNDS = 100, LEAST_STATES = 100 };

#define STAYS_NS (60 * RT_NS_PER_S) /* on the path, longer than the test takes */

static worker_t worker;
static deadline_entry_t no_deadlines[2];
static shm_segment_t dying, copy;
static int fds[2];
static wrk_channel_t predecessor;
static char label[80];

static void expect(bool holds, const char *what)
{
    if (!holds)
        rt_test_fail(__FILE__, __LINE__, "%s: %s", label, what);
}

/* --- the worker ---------------------------------------------------------------------------- */

static void open_channel(wrk_channel_t *ch, const shm_segment_t *s, bool takeover)
{
    *ch = (wrk_channel_t){.worker = &worker,
                          .config = s->config,
                          .segment = *s,
                          .stats = s->stats,
                          .socket_fd = -1,
                          .active_index = WRK_INACTIVE,
                          .ops = agent_find(SHM_LOCAL_ENGINE)};
    deadline_node_init(&ch->deadline);
    deadline_node_init(&ch->pressing_deadline);
    rt_store_relaxed(&s->status->epoch, takeover);
    expect(tx_queue_init(&ch->tx, &ch->segment, takeover) == 0, "a tx ring that is not usable");
    expect(rx_writer_init(&ch->rx, &ch->segment) == 0, "an rx ring that is not usable");
    slot_writer_init(&ch->reports, s->report, s->reports, s->config.report_slots,
                     (uint32_t)sizeof(shm_report_t));
    ch->agent = aligned_alloc(RT_LINE_BYTES, (ch->ops->state_bytes + RT_LINE_BYTES - 1) /
                                                 RT_LINE_BYTES * RT_LINE_BYTES);
    memset(ch->agent, 0, ch->ops->state_bytes);
    uncounted_open(ch, takeover);
    expect(ch->ops->open(ch, rt_mono_ns()) == 0, "an agent that does not open");
}

static void close_channel(wrk_channel_t *ch)
{
    ch->ops->close(ch);
    channel_memory_end(ch);
    free(ch->agent);
}

/* As the loop calls it, until everything is sent and what is on the path has left it. */
static void run(wrk_channel_t *ch, bool to_the_end)
{
    for (int round = 0; round < (to_the_end ? ROUNDS : 2); round++) {
        int64_t now = rt_mono_ns() + (to_the_end ? STAYS_NS : 0);
        (void)ch->ops->do_work(ch, now);
        ch->ops->on_deadline(ch, now);
    }
}

static void work_and_die(void)
{
    run(&predecessor, false);
}

/* --- the clients --------------------------------------------------------------------------- */

static void push_packets(const shm_segment_t *s, bool timed)
{
    tx_producer_t producer;
    uint64_t sequence;
    expect(tx_producer_init(&producer, s, 1) == 0, "a producer that does not open");
    for (uint32_t i = 0; i < PACKETS; i++)
        expect(tx_producer_push(&producer, &i, sizeof i, timed && i % 2 ? 1 + i : 0, rt_mono_ns(),
                                NULL, &sequence) == 0,
               "a push that fails");
}

/* Returns how many came, out of all that were ever delivered. */
static uint64_t read_all(const shm_segment_t *s)
{
    rx_reader_t reader;
    rx_packet_t packet;
    uint32_t number = 0, seen = 0;
    uint64_t came = 0;
    expect(rx_reader_init(&reader, s, CTL_NO_SLOT, SHM_READ_EACH, 1) == 0, "no reader");
    while (rx_reader_next(&reader, &number, sizeof number, &packet, NULL) == 1) {
        expect(number < PACKETS && (seen >> number & 1) == 0, "a packet came twice");
        seen |= 1u << number;
        came++;
    }
    expect(reader.lost == 0, "a packet was overwritten");
    return came;
}

static uint64_t counter(const shm_segment_t *s, shm_counter_id_t id)
{
    return rt_load_relaxed(&s->stats->counters[id]);
}

static void balance(const shm_segment_t *s)
{
    uint64_t came = read_all(s);
    uint64_t sent = 0;
    for (unsigned v = 0; v < VERDICT_TOTAL; v++)
        if (verdict_is_sent((verdict_t)v))
            sent += counter(s, (shm_counter_id_t)(SHM_COUNT_tx_on_time + v));
    uint64_t failed = counter(s, SHM_COUNT_tx_failed);
    uint64_t gone = counter(s, SHM_COUNT_impair_rx_lost) + counter(s, SHM_COUNT_rx_lost_takeover);
    (void)snprintf(label + strlen(label), sizeof label - strlen(label),
                   " sent %u failed %u came %u gone %u", (unsigned)sent, (unsigned)failed,
                   (unsigned)came, (unsigned)gone);
    expect(sent + failed == PACKETS, "a packet is in no counter, or in two");
    expect(counter(s, SHM_COUNT_tx_sent) == sent, "tx_sent is not the sum of the verdicts");
    expect(came + gone >= sent, "a packet that was sent is neither delivered nor counted as lost");
    expect(came + gone <= sent + failed, "a packet is delivered, and counted as lost");
}

/* --- deaths -------------------------------------------------------------------------------- */

static void succeed(long state)
{
    static wrk_channel_t successor;
    (void)snprintf(label, sizeof label, "state %ld", state);
    memcpy(copy.base, dying.base, dying.bytes);
    open_channel(&successor, &copy, true);
    run(&successor, true);
    uncounted_count(&successor, rt_mono_ns());
    expect(tx_ring_waiting(&copy) == 0, "a packet waits for ever");
    close_channel(&successor);
    balance(&copy);
}

static void die_at_each_store(const shm_config_t *config, bool timed)
{
    fds[0] = shm_test_open(&dying, config);
    fds[1] = shm_test_open(&copy, config);
    open_channel(&predecessor, &dying, false);
    push_packets(&dying, timed);
    long states = each_store(work_and_die, dying.base, dying.bytes, succeed);
    TEST_NEEDS("ptrace", states >= 0);
    CHECK(states > LEAST_STATES);
}

static void end(void)
{
    close_channel(&predecessor);
    shm_test_close(&dying, fds[0]);
    shm_test_close(&copy, fds[1]);
}

static shm_config_t local_config(void)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    (void)snprintf(c.engine, sizeof c.engine, "%s", SHM_LOCAL_ENGINE);
    c.direction = SHM_DUPLEX;
    c.reports = SHM_REPORTS_ALL;
    return c;
}

static void test_each_packet_is_in_one_counter(void)
{
    shm_config_t c = local_config();
    die_at_each_store(&c, true);
    CHECK_EQ(read_all(&dying), PACKETS);
    end();
}

/* Some are lost on the path, some leave it at once, and some are still on it. */
static void test_the_same_on_an_impaired_path(void)
{
    shm_config_t c = local_config();
    c.impair_rx =
        (shm_impair_t){.loss = 0.3, .reorder = 0.3, .reorder_extra_ns = STAYS_NS, .seed = 3};
    die_at_each_store(&c, false);
    uint64_t came = read_all(&dying);
    uint64_t lost = counter(&dying, SHM_COUNT_impair_rx_lost);
    CHECK(came > 0 && lost > 0 && came + lost < PACKETS);
    end();
}

int main(void)
{
    deadline_heap_init(&worker.deadlines, no_deadlines, 2);
    RUN(test_each_packet_is_in_one_counter);
    RUN(test_the_same_on_an_impaired_path);
    return rt_test_result();
}
