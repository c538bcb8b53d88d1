/* A channel whose packets the kernel has no room for: a slow device holds them, which fills
 * the socket's send buffer. They go back where they came from, whatever a client does to them
 * meanwhile, and packets without a deadline keep their places. */
#include "unit/worker/worker_test.h"

#include <sched.h>
#include <stdlib.h>

enum { OVERDUE = 200, UNDATED = 300, PAYLOAD = 200 };

static wt_worker_t worker;

static bool run(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c) */
}

static shm_config_t slow_config(const char *name, uint16_t port)
{
    shm_config_t c = wt_config(name, port);
    c.sndbuf_bytes = 8192;
    c.tx_stamp = SHM_STAMP_NONE;
    c.reports = SHM_REPORTS_ALL;
    c.report_slots = 2048;
    return c;
}

static bool push_numbers(wt_channel_t *ch, uint32_t from, uint32_t to, int64_t due_ns)
{
    uint8_t data[PAYLOAD] = {0};
    bool all = true;
    for (uint32_t i = from; i < to; i++) {
        memcpy(data, &i, sizeof i);
        all &= wt_push(ch, data, sizeof data, due_ns, NULL) == 0;
    }
    return all;
}

/* What a hostile client may do to packets that wait: take the deadline out of their headers. */
static unsigned clear_deadlines(const wt_channel_t *ch)
{
    uint32_t units = (uint32_t)(ch->config.tx_bytes / SHM_UNIT_BYTES);
    unsigned cleared = 0;
    for (uint32_t at = rt_load_acquire(&ch->segment.tx->head_place); at < units;) {
        rt_a64_t *word = (rt_a64_t *)(ch->segment.tx_data + (size_t)at * SHM_UNIT_BYTES);
        uint64_t seen = rt_load_acquire(word);
        if (shm_word_units(seen) == 0)
            break;
        uint64_t undated = shm_word(shm_word_seq(seen), shm_word_units(seen),
                                    shm_word_flags(seen) & ~SHM_TX_HAS_DUE, SHM_RECORD_COMMITTED);
        if (shm_word_state(seen) == SHM_RECORD_COMMITTED &&
            (shm_word_flags(seen) & SHM_TX_HAS_DUE) && rt_cas(word, &seen, undated))
            cleared++;
        at += shm_word_units(seen);
    }
    return cleared;
}

static uint64_t with_verdict(const wt_channel_t *ch)
{
    return wt_counter(ch, SHM_COUNT_tx_sent) + wt_counter(ch, SHM_COUNT_tx_failed) +
           wt_counter(ch, SHM_COUNT_tx_corrupt);
}

static void await_verdicts(const wt_channel_t *ch, uint64_t packets)
{
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && with_verdict(ch) < packets; i++)
        wt_nap_ms(10);
    CHECK_EQ(with_verdict(ch), packets);
}

static void test_deadlines_taken_out_of_waiting_packets(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = slow_config("hostile", port)};
    ch.config.held = 1;
    REQUIRE(wt_open(&worker, &ch));
    CHECK(push_numbers(&ch, 0, OVERDUE, 1));
    CHECK(push_numbers(&ch, OVERDUE, OVERDUE + UNDATED, 0));
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_retries, 1));
    CHECK(clear_deadlines(&ch) > 0);
    await_verdicts(&ch, OVERDUE + UNDATED);
    CHECK(wt_counter(&ch, SHM_COUNT_tx_corrupt) > 0);
    CHECK(wt_counter(&ch, SHM_COUNT_tx_sent) >= UNDATED);
    CHECK_EQ(rt_load_acquire(&ch.segment.status->state), SHM_STATE_OPEN);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

/* The ring is kept nearly full, so that the worker would make room by moving what lies at the
 * head. */
static void test_packets_without_a_deadline_keep_their_order(void)
{
    enum { PACKETS = 1500 };
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = slow_config("order", port)};
    ch.config.tx_bytes = 65536;
    ch.config.max_payload_bytes = PAYLOAD;
    REQUIRE(wt_open(&worker, &ch));
    uint32_t queued = 0, came = 0, misplaced = 0;
    int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
    while (came < PACKETS && rt_mono_ns() < until) {
        while (queued < PACKETS && push_numbers(&ch, queued, queued + 1, 0))
            queued++;
        uint8_t data[PAYLOAD];
        uint32_t number = 0;
        if (wt_recv(sink, data, sizeof data, queued < PACKETS ? 0 : 100) != PAYLOAD)
            continue;
        memcpy(&number, data, sizeof number);
        misplaced += number != came++;
    }
    CHECK_EQ(came, PACKETS);
    CHECK_EQ(misplaced, 0);
    CHECK(wt_counter(&ch, SHM_COUNT_tx_retries) > 0);
    CHECK_EQ(wt_counter(&ch, SHM_COUNT_tx_relocated), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

int main(void)
{
    TEST_NEEDS("netns", unshare(CLONE_NEWNET) == 0);
    TEST_NEEDS("qdisc tbf",
               run("ip link set lo up 2>/dev/null") &&
                   run("tc qdisc add dev lo root tbf rate 4mbit burst 2k limit 8m 2>/dev/null"));
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_deadlines_taken_out_of_waiting_packets);
    RUN(test_packets_without_a_deadline_keep_their_order);
    wt_stop(&worker);
    return rt_test_result();
}
