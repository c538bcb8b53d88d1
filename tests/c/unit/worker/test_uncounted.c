/* A worker died between the end of a packet in the ring and its count: the next one counts it. */
#include "unit/worker/worker_test.h"

static wt_worker_t worker;

/* Whoever killed the worker may have overwritten one of its counters since. */
static bool succeed(wt_channel_t *ch, shm_counter_id_t id, uint64_t value)
{
    (void)kill(worker.pid, SIGKILL);
    (void)waitpid(worker.pid, NULL, 0);
    close(worker.pool);
    rt_store_relaxed(&ch->segment.stats->counters[id], value);
    return wt_launch(&worker, NULL) &&
           wt_reply(&worker, worker.pool, 0, NULL, 0, NULL, NULL) == 0 &&
           wt_send_open(&worker, ch, CTL_OPEN_TAKEOVER) == 0 &&
           wt_attach(&worker, worker.pool, ch, NULL) == 0;
}

static void send_some(wt_channel_t *ch, uint64_t packets)
{
    uint64_t before = wt_counter(ch, SHM_COUNT_tx_sent);
    for (uint64_t i = 0; i < packets; i++)
        CHECK_EQ(wt_push(ch, "x", 1, 0, NULL), 0);
    CHECK(wt_count_to(ch, SHM_COUNT_tx_sent, before + packets));
}

/* Some turns of the housekeeping. */
static void expect_failed(wt_channel_t *ch, uint64_t failed)
{
    CHECK(wt_count_to(ch, SHM_COUNT_tx_failed, failed));
    wt_nap_ms(200);
    CHECK_EQ(wt_exact(&worker, ch, SHM_COUNT_tx_failed), failed);
}

enum { MANY = 330 }; /* a batch of 64 from each of five workers that died in a row, and more */

static void test_what_a_dead_worker_did_not_count_is_counted(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("uncounted", port)};
    REQUIRE(wt_start(&worker, NULL));
    REQUIRE(wt_open(&worker, &ch));
    send_some(&ch, 5);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_on_time, 3)); /* two were not counted */
    expect_failed(&ch, 2);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 3);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_sent, 1)); /* two were counted by their verdict alone */
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 3);
    send_some(&ch, 1);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_on_time, 4)); /* all were */
    expect_failed(&ch, 2);

    CHECK_EQ(wt_command(&worker, &ch, CTL_RESET), 0);
    send_some(&ch, 4);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_on_time, 4));
    expect_failed(&ch, 0);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_on_time, 3));
    expect_failed(&ch, 1);
    send_some(&ch, MANY);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_on_time, 3));
    expect_failed(&ch, 1 + MANY);
    wt_drop(&ch);
    wt_stop(&worker);
    close(sink);
}

/* What a client wrote over the counters is not taken for packets. */
static void test_counters_that_cannot_be_are_let_be(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("scribbled", port)};
    REQUIRE(wt_start(&worker, NULL));
    REQUIRE(wt_open(&worker, &ch));
    send_some(&ch, 3);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_on_time, 1000));
    expect_failed(&ch, 0);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_on_time, 10));
    expect_failed(&ch, 0);
    send_some(&ch, 1);
    REQUIRE(succeed(&ch, SHM_COUNT_tx_on_time, 10)); /* of 11 since */
    expect_failed(&ch, 1);
    wt_drop(&ch);
    wt_stop(&worker);
    close(sink);
}

int main(void)
{
    RUN(test_what_a_dead_worker_did_not_count_is_counted);
    RUN(test_counters_that_cannot_be_are_let_be);
    return rt_test_result();
}
