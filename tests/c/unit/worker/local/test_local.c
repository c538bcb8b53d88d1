/* The engine "local": what is pushed comes out of the same channel's rx ring, with a verdict. */
#include "unit/worker/worker_test.h"

#include "shm/shm_engine.h"

enum { MANY = 500 };

static wt_worker_t worker;

static shm_config_t local_config(const char *name)
{
    shm_config_t c = wt_config(name, 0);
    (void)snprintf(c.engine, sizeof c.engine, "%s", SHM_LOCAL_ENGINE);
    c.local = (shm_addr_t){0};
    c.reports = SHM_REPORTS_ALL;
    c.report_slots = 2048;
    return c;
}

static bool next(wt_channel_t *ch, rx_packet_t *packet, uint32_t *value)
{
    uint8_t data[2048];
    int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
    while (rx_reader_next(&ch->reader, data, sizeof data, packet, NULL) == 0) {
        if (rt_mono_ns() >= until)
            return false;
        (void)rx_reader_wait(&ch->reader, 0, rt_mono_ns() + RT_NS_PER_MS);
    }
    memcpy(value, data, sizeof *value);
    return true;
}

static void close_channel(wt_channel_t *ch)
{
    CHECK_EQ(wt_command(&worker, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

static void test_packets_come_at_their_deadlines(void)
{
    wt_channel_t ch = {.config = local_config("timed")};
    REQUIRE(wt_open(&worker, &ch));
    int64_t due = rt_mono_ns() + 30 * RT_NS_PER_MS;
    uint32_t sent[] = {3, 1, 2};
    CHECK_EQ(wt_push(&ch, &sent[0], sizeof sent[0], due + RT_NS_PER_MS, NULL), 0);
    CHECK_EQ(wt_push(&ch, &sent[1], sizeof sent[1], 0, NULL), 0);
    CHECK_EQ(wt_push(&ch, &sent[2], sizeof sent[2], due, NULL), 0);
    const int64_t least[] = {0, due, due + RT_NS_PER_MS};
    for (uint32_t i = 0; i < 3; i++) {
        rx_packet_t packet;
        uint32_t value = 0;
        REQUIRE(next(&ch, &packet, &value));
        CHECK_EQ(value, i + 1);
        CHECK_EQ(packet.sequence, i);
        CHECK_EQ(packet.stamp, SHM_STAMP_USER);
        CHECK_EQ(packet.source.family, 0);
        CHECK(packet.time_ns >= least[i]);
        CHECK(packet.time_ns <= rt_mono_ns());
    }
    shm_report_t reports[3];
    CHECK_EQ(wt_reports(&ch, reports, 3), 3);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_on_time), 3);
    CHECK_EQ(wt_counter(&ch, SHM_COUNT_rx_received), 3);
    close_channel(&ch);
}

/* Packets that are due together are one batch, and share a timestamp. */
static void test_packets_due_together_are_published_together(void)
{
    wt_channel_t ch = {.config = local_config("batch")};
    REQUIRE(wt_open(&worker, &ch));
    int64_t due = rt_mono_ns() + 30 * RT_NS_PER_MS;
    for (uint32_t i = 0; i < 10; i++)
        CHECK_EQ(wt_push(&ch, &i, sizeof i, due, NULL), 0);
    shm_report_t reports[10];
    CHECK_EQ(wt_reports(&ch, reports, 10), 10);
    int64_t first = 0;
    for (uint32_t i = 0; i < 10; i++) {
        rx_packet_t packet;
        uint32_t value = 0;
        REQUIRE(next(&ch, &packet, &value));
        CHECK_EQ(value, i);
        first = i == 0 ? packet.time_ns : first;
        if (reports[0].batch == 10) /* queued in time, on whatever machine this is */
            CHECK_EQ(packet.time_ns, first);
    }
    close_channel(&ch);
}

/* The rx ring holds 16 packets: more wait in the tx ring, in order, and none is overwritten. */
static void test_a_slow_reader_holds_packets_back(void)
{
    wt_channel_t ch = {.config = local_config("wait")};
    ch.config.overflow = SHM_OVERFLOW_WAIT;
    ch.config.rx_capacity = 16;
    REQUIRE(wt_open(&worker, &ch));
    for (uint32_t i = 0; i < MANY; i++)
        CHECK_EQ(wt_push(&ch, &i, sizeof i, i % 2 ? 1 : 0, NULL), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_retries, 3));
    CHECK(wt_exact(&worker, &ch, SHM_COUNT_tx_sent) <= 16);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        rx_packet_t packet;
        uint32_t value = 0;
        REQUIRE(next(&ch, &packet, &value));
        CHECK_EQ(packet.sequence, i);
        seen += value;
    }
    CHECK_EQ(seen, (uint64_t)MANY * (MANY - 1) / 2);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, MANY));
    CHECK_EQ(wt_counter(&ch, SHM_COUNT_rx_overwritten), 0);
    CHECK_EQ(wt_counter(&ch, SHM_COUNT_tx_failed), 0);
    close_channel(&ch);
}

static void push_many(wt_channel_t *ch, uint32_t from, int64_t due_ns)
{
    for (uint32_t i = from; i < from + MANY; i++)
        CHECK_EQ(wt_push(ch, &i, sizeof i, due_ns, NULL), 0);
}

/* A call delivers 64 packets of the path. More that are overdue are no reason to block the sender
 * while the rx ring has room for them. */
static void test_a_backlog_on_the_path_with_room_blocks_nobody(void)
{
    wt_channel_t ch = {.config = local_config("backlog")};
    ch.config.overflow = SHM_OVERFLOW_WAIT;
    ch.config.rx_capacity = 4 * MANY;
    ch.config.impair_rx.delay_ns = 30 * RT_NS_PER_MS;
    REQUIRE(wt_open(&worker, &ch));
    push_many(&ch, 0, 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, MANY));
    push_many(&ch, MANY, rt_mono_ns() + 40 * RT_NS_PER_MS);
    wt_settle(&worker);
    CHECK_EQ(kill(worker.pid, SIGSTOP), 0); /* all of them become due meanwhile */
    wt_nap_ms(80);
    CHECK_EQ(kill(worker.pid, SIGCONT), 0);
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        rx_packet_t packet;
        uint32_t value = 0;
        REQUIRE(next(&ch, &packet, &value));
        CHECK_EQ(value, i);
    }
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 2 * MANY);
    CHECK_EQ(wt_counter(&ch, SHM_COUNT_tx_retries), 0);
    close_channel(&ch);
}

/* The path delivers what the rx ring has room for. Without room the sender is blocked. */
static void test_a_slow_reader_holds_packets_back_on_the_path(void)
{
    wt_channel_t ch = {.config = local_config("stuck")};
    ch.config.overflow = SHM_OVERFLOW_WAIT;
    ch.config.rx_capacity = 16;
    ch.config.impair_rx.delay_ns = RT_NS_PER_MS;
    REQUIRE(wt_open(&worker, &ch));
    push_many(&ch, 0, 0);
    wt_nap_ms(20);
    push_many(&ch, MANY, 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_retries, 3));
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        rx_packet_t packet;
        uint32_t value = 0;
        REQUIRE(next(&ch, &packet, &value));
        CHECK_EQ(value, i);
    }
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, 2 * MANY));
    CHECK_EQ(wt_counter(&ch, SHM_COUNT_rx_overwritten), 0);
    close_channel(&ch);
}

static void test_purge_ends_what_a_slow_reader_holds_back(void)
{
    wt_channel_t ch = {.config = local_config("purge")};
    ch.config.overflow = SHM_OVERFLOW_WAIT;
    ch.config.rx_capacity = 16;
    REQUIRE(wt_open(&worker, &ch));
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(wt_push(&ch, &i, sizeof i, 0, NULL), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_retries, 1));
    CHECK_EQ(wt_command(&worker, &ch, CTL_PURGE), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_cancelled, 84));
    uint32_t last = 4711;
    CHECK_EQ(wt_push(&ch, &last, sizeof last, 0, NULL), 0);
    rx_packet_t packet;
    uint32_t value = 0;
    REQUIRE(next(&ch, &packet, &value));
    CHECK_EQ(value, last);
    close_channel(&ch);
}

/* What a client writes past the API: a destination is ignored. */
static void test_a_destination_is_ignored(void)
{
    wt_channel_t ch = {.config = local_config("dest")};
    REQUIRE(wt_open(&worker, &ch));
    shm_addr_t to = wt_loopback(9);
    uint32_t sent = 7, value = 0;
    uint64_t sequence;
    rx_packet_t packet;
    CHECK_EQ(tx_producer_push(&ch.producer, &sent, sizeof sent, 0, rt_mono_ns(),
                              &(tx_route_t){.dest = &to}, &sequence),
             0);
    wt_ring(&ch);
    REQUIRE(next(&ch, &packet, &value));
    CHECK_EQ(value, sent);
    CHECK_EQ(packet.source.family, 0);
    close_channel(&ch);
}

static int refusal(shm_config_t config, int socket_fd)
{
    wt_channel_t ch = {.config = config};
    if (!wt_segment(&ch))
        return 0;
    ch.socket_fd = socket_fd;
    int rc = wt_send_open(&worker, &ch, 0);
    wt_drop(&ch);
    return rc;
}

static void test_what_it_cannot_do_is_refused(void)
{
    uint16_t port = 0;
    shm_config_t one_way = local_config("one-way");
    one_way.direction = SHM_TX;
    CHECK_EQ(refusal(one_way, -1), -EINVAL);
    CHECK_EQ(refusal(local_config("socket"), wt_udp(&port)), -EINVAL);
    shm_config_t impaired = local_config("impaired");
    impaired.impair_tx.loss = 0.5;
    CHECK_EQ(refusal(impaired, -1), -EINVAL);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_packets_come_at_their_deadlines);
    RUN(test_packets_due_together_are_published_together);
    RUN(test_a_slow_reader_holds_packets_back);
    RUN(test_a_backlog_on_the_path_with_room_blocks_nobody);
    RUN(test_a_slow_reader_holds_packets_back_on_the_path);
    RUN(test_purge_ends_what_a_slow_reader_holds_back);
    RUN(test_a_destination_is_ignored);
    RUN(test_what_it_cannot_do_is_refused);
    wt_stop(&worker);
    return rt_test_result();
}
