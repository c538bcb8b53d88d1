/* Two connections of ours over an emulated link, in virtual time: whatever the link does, the bytes
 * that arrive are the bytes that were sent. RT_TEST_SEED, RT_TEST_ROUNDS. */
#include "udt_ends.h"

static world_t w;
static uint64_t seed;

static void begin(uint64_t round)
{
    memset(&w, 0, sizeof w);
    w.seed = seed + round;
    w.now_ns = 5 * SEC;
    w.latency_ns = 30 * US;
}

static bool both_are_connected(world_t *world)
{
    return world->ends[0].conn.state == UDT_CONN_CONNECTED &&
           world->ends[1].conn.state == UDT_CONN_CONNECTED;
}

static bool all_has_arrived(world_t *world)
{
    return world->ends[1].received >= world->ends[0].to_send &&
           world->ends[0].received >= world->ends[1].to_send;
}

static bool both_are_over(world_t *world)
{
    return world->ends[0].conn.state >= UDT_CONN_BROKEN &&
           world->ends[1].conn.state >= UDT_CONN_BROKEN;
}

static void test_a_stream_over_a_clean_link(void)
{
    begin(0);
    for (unsigned i = 0; i < 2; i++)
        open_end(&w, i, default_config(i), (impair_config_t){.delay_ns = 5 * MS});
    w.ends[0].to_send = 3000000;
    udt_conn_connect(&w.ends[0].conn, w.now_ns);
    REQUIRE(run_until(&w, both_are_connected, w.now_ns + SEC));
    int64_t start_ns = w.now_ns;
    REQUIRE(run_until(&w, all_has_arrived, w.now_ns + 20 * SEC));
    CHECK(!w.ends[1].spoilt);
    printf("%.1f Mbit/s\n", 3000000 * 8e3 / (double)(w.now_ns - start_ns));
    CHECK_EQ(counted(&w.ends[0], UDT_COUNT_repeated), 0);
    udt_conn_close(&w.ends[0].conn, w.now_ns);
    REQUIRE(run_until(&w, both_are_over, w.now_ns + SEC));
    CHECK(w.ends[1].events & UDT_EVENT_BROKEN);
    CHECK(w.ends[0].events & UDT_EVENT_CLOSED);
    close_ends(&w);
}

/* --- any link, any ends -------------------------------------------------------------------- */

static impair_config_t some_link(rt_random_t *r)
{
    return (impair_config_t){
        .loss = rt_random_below(r, 3) == 0 ? 0 : rt_random_unit(r) * 0.15,
        .burst_loss = rt_random_below(r, 3) == 0 ? rt_random_unit(r) * 0.1 : 0,
        .burst_packets = 4,
        .duplicate = rt_random_below(r, 2) == 0 ? 0 : rt_random_unit(r) * 0.2,
        .reorder = rt_random_below(r, 2) == 0 ? 0 : rt_random_unit(r) * 0.2,
        .reorder_extra_ns = 1 + rt_random_below(r, 20 * MS),
        .delay_ns = rt_random_below(r, 60 * MS),
        .jitter_ns = rt_random_below(r, 10 * MS),
        .rate_bps = rt_random_below(r, 2) == 0 ? 0 : 2000000 + rt_random_below(r, 100000000),
    };
}

static uint32_t some_number(rt_random_t *r)
{
    switch (rt_random_below(r, 3)) {
    case 0:
        return UDT_SEQ_MASK - rt_random_below(r, 600);
    case 1:
        return rt_random_below(r, 3);
    default:
        return rt_random_below(r, UDT_SEQ_MASK);
    }
}

static udt_conn_config_t some_config(rt_random_t *r, unsigned i)
{
    udt_conn_config_t config = default_config(i);
    config.isn = some_number(r);
    config.mss_bytes = 576 + rt_random_below(r, 1000);
    config.window_packets = 64 + rt_random_below(r, 2000);
    config.receive_packets = 64 + rt_random_below(r, 2000);
    config.send_packets = 128 + rt_random_below(r, 2000);
    config.send_bytes = 80000 + rt_random_below(r, 1000000);
    config.burst_ns = rt_random_below(r, 2) == 0 ? 0 : rt_random_below(r, 2 * MS);
    config.connect_ns = 60 * SEC;
    return config;
}

static void describe(uint64_t round, bool rendezvous, udt_mode_t mode)
{
    printf("round %" PRIu64 ": %s, %s, kind %u, now %.1f s\n", round,
           rendezvous ? "rendezvous" : "client", mode == UDT_MODE_STREAM ? "stream" : "messages",
           w.ends[0].config.cc.kind, (double)w.now_ns / 1e9);
    for (unsigned i = 0; i < 2; i++) {
        const end_t *e = &w.ends[i];
        printf("  end %u: state %d error %d, sent %" PRIu64 " received %" PRIu64
               " messages %" PRIu64 "/%" PRIu64 ", repeated %" PRIu64 " timeouts %" PRIu64
               " overdue %" PRIu64 " loss %.3f delay %.1f ms\n",
               i, (int)e->conn.state, (int)e->conn.error, e->sent, e->received, e->messages_sent,
               e->messages_received, counted(e, UDT_COUNT_repeated), counted(e, UDT_COUNT_timeouts),
               counted(e, UDT_COUNT_overdue), e->link.config.loss,
               (double)e->link.config.delay_ns / 1e6);
    }
}

static bool all_messages_have_arrived(world_t *world)
{
    return world->ends[1].messages_received >= world->ends[0].to_send &&
           world->ends[0].messages_received >= world->ends[1].to_send;
}

static void check_gentle(const end_t *e)
{
    CHECK_EQ(counted(e, UDT_COUNT_refused_parse), 0);
    CHECK_EQ(counted(e, UDT_COUNT_refused_ack), 0);
    CHECK_EQ(counted(e, UDT_COUNT_refused_nak), 0);
    CHECK_EQ(counted(e, UDT_COUNT_refused_drop), 0);
    CHECK_EQ(counted(e, UDT_COUNT_refused_data), 0);
}

static void one_round(uint64_t round, udt_mode_t mode)
{
    rt_random_t r;
    int failures = atomic_load(&rt_test_failure_count);
    begin(round);
    rt_random_init(&r, w.seed);
    bool rendezvous = rt_random_below(&r, 3) == 0;
    udt_cc_kind_t kind = (udt_cc_kind_t)(round % UDT_CC_KINDS);
    bool is_stream = mode == UDT_MODE_STREAM;
    for (unsigned i = 0; i < 2; i++) {
        udt_conn_config_t config = some_config(&r, i);
        config.mode = mode;
        config.rendezvous = rendezvous;
        config.cc = (udt_cc_config_t){.kind = kind, .seed = w.seed, .rate_bps = 20000000};
        open_end(&w, i, config, some_link(&r));
        end_t *e = &w.ends[i];
        e->to_send = rt_random_below(&r, is_stream ? 600000 : 60);
        e->portion = rt_random_below(&r, 2) == 0 ? 0 : 1 + rt_random_below(&r, 3000);
        e->read_portion = rt_random_below(&r, 2) == 0 ? 0 : 1 + rt_random_below(&r, 8000);
        e->read_pause_ns = e->read_portion > 0 ? rt_random_below(&r, 2 * MS) + 1 : 0;
        e->any_order = rt_random_below(&r, 2) == 0;
    }
    udt_conn_connect(&w.ends[0].conn, w.now_ns);
    if (rendezvous)
        udt_conn_connect(&w.ends[1].conn, w.now_ns);
    CHECK(run_until(&w, both_are_connected, w.now_ns + 60 * SEC));
    CHECK(run_until(&w, is_stream ? all_has_arrived : all_messages_have_arrived,
                    w.now_ns + 600 * SEC));
    udt_conn_close(&w.ends[0].conn, w.now_ns);
    udt_conn_close(&w.ends[1].conn, w.now_ns);
    CHECK(run_until(&w, both_are_over, w.now_ns + 200 * SEC));
    for (unsigned i = 0; i < 2; i++) {
        CHECK(!w.ends[i].spoilt);
        CHECK_EQ(w.ends[i].received, is_stream ? w.ends[!i].to_send : 0);
        for (uint64_t k = 0; !is_stream && k < w.ends[!i].to_send; k++)
            CHECK_EQ(w.ends[i].seen[k], 1);
        check_gentle(&w.ends[i]);
    }
    if (atomic_load(&rt_test_failure_count) > failures)
        describe(round, rendezvous, mode);
    close_ends(&w);
}

static void test_streams_over_any_link(void)
{
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 80);
    for (uint64_t i = 0; i < rounds; i++)
        one_round(i, UDT_MODE_STREAM);
}

static void test_messages_over_any_link(void)
{
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 80);
    for (uint64_t i = 0; i < rounds; i++)
        one_round(10000 + i, UDT_MODE_MESSAGE);
}

/* --- single troubles ----------------------------------------------------------------------- */

static void open_both(udt_mode_t mode, impair_config_t link)
{
    for (unsigned i = 0; i < 2; i++) {
        udt_conn_config_t config = default_config(i);
        config.mode = mode;
        config.cc = (udt_cc_config_t){.kind = UDT_CC_FIXED, .rate_bps = 50000000};
        open_end(&w, i, config, link);
    }
}

static void connect_both(void)
{
    udt_conn_connect(&w.ends[0].conn, w.now_ns);
    CHECK(run_until(&w, both_are_connected, w.now_ns + 3 * SEC));
}

static bool never(world_t *world)
{
    (void)world;
    return false;
}

static void pass(int64_t ns)
{
    run_until(&w, never, w.now_ns + ns);
}

static void test_all_numbers_go_round(void)
{
    begin(1);
    open_both(UDT_MODE_MESSAGE, (impair_config_t){.delay_ns = MS, .loss = 0.02});
    w.ends[0].conn.isn = UDT_SEQ_MASK - 50;
    w.ends[0].config.isn = UDT_SEQ_MASK - 50;
    connect_both();
    for (unsigned i = 0; i < 2; i++) {
        w.ends[i].conn.snd.buffer.message = UDT_MESSAGE_MASK - 20;
        w.ends[i].conn.rcv.ack_number = UDT_SEQ_MASK - 5;
        w.ends[i].to_send = 100;
    }
    CHECK(run_until(&w, all_messages_have_arrived, w.now_ns + 100 * SEC));
    for (unsigned i = 0; i < 2; i++) {
        CHECK(w.ends[i].conn.rcv.ack_number < 10000);
        CHECK(udt_sndbuf_next_seq(&w.ends[i].conn.snd.buffer) < 10000);
        CHECK(w.ends[i].conn.snd.buffer.message < 100);
        CHECK(!w.ends[i].spoilt);
        check_gentle(&w.ends[i]);
    }
    close_ends(&w);
}

/* What has outlived its time is given up; what is given up holds up nothing. */
static void test_messages_that_outlive_their_time(void)
{
    begin(2);
    open_both(UDT_MODE_MESSAGE, (impair_config_t){.delay_ns = 20 * MS, .loss = 0.05});
    connect_both();
    w.ends[0].ttl_ms = 30;
    w.ends[0].to_send = 300;
    pass(60 * SEC);
    CHECK_EQ(w.ends[0].messages_sent, 300);
    CHECK(udt_sndbuf_is_empty(&w.ends[0].conn.snd.buffer));
    CHECK(!w.ends[1].spoilt);
    CHECK(w.ends[1].messages_received >= 20 && w.ends[1].messages_received < 300);
    CHECK(counted(&w.ends[1], UDT_COUNT_drops_received) > 0);
    check_gentle(&w.ends[1]);
    w.ends[0].ttl_ms = -1;
    w.ends[0].to_send = 310;
    udt_conn_emit(&w.ends[0].conn, NULL, 0, w.now_ns);
    run_application(&w, &w.ends[0]);
    pass(60 * SEC);
    for (uint64_t k = 300; k < 310; k++)
        CHECK_EQ(w.ends[1].seen[k], 1);
    close_ends(&w);
}

static void test_a_peer_that_vanishes(void)
{
    begin(3);
    open_both(UDT_MODE_STREAM, (impair_config_t){.delay_ns = MS});
    connect_both();
    w.ends[0].to_send = 100000;
    run_until(&w, all_has_arrived, w.now_ns + 10 * SEC);
    w.ends[0].cut = w.ends[1].cut = true;
    w.ends[0].to_send = 200000;
    run_application(&w, &w.ends[0]);
    int64_t cut_ns = w.now_ns;
    CHECK(run_until(&w, both_are_over, w.now_ns + 100 * SEC));
    CHECK(w.now_ns - cut_ns > 45 * SEC && w.now_ns - cut_ns < 60 * SEC);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(w.ends[i].conn.state, UDT_CONN_BROKEN);
        CHECK_EQ(w.ends[i].conn.error, UDT_ECONNLOST);
        CHECK(w.ends[i].events & UDT_EVENT_BROKEN);
    }
    CHECK(counted(&w.ends[0], UDT_COUNT_timeouts) >= 15);
    close_ends(&w);
}

static void test_a_silence_shorter_than_that_is_survived(void)
{
    begin(4);
    open_both(UDT_MODE_STREAM, (impair_config_t){.delay_ns = MS});
    connect_both();
    w.ends[0].to_send = 5000000;
    run_application(&w, &w.ends[0]);
    pass(100 * MS);
    w.ends[0].cut = w.ends[1].cut = true;
    pass(30 * SEC);
    w.ends[0].cut = w.ends[1].cut = false;
    CHECK(run_until(&w, all_has_arrived, w.now_ns + 200 * SEC));
    CHECK(!w.ends[1].spoilt);
    close_ends(&w);
}

static void test_an_idle_connection_lives_on_few_packets(void)
{
    begin(5);
    open_both(UDT_MODE_STREAM, (impair_config_t){.delay_ns = MS});
    connect_both();
    pass(600 * SEC);
    uint64_t keepalives = counted(&w.ends[0], UDT_COUNT_keepalives_sent) +
                          counted(&w.ends[1], UDT_COUNT_keepalives_sent);
    CHECK(keepalives > 500 && keepalives < 2100);
    CHECK(w.ends[0].conn.state == UDT_CONN_CONNECTED && w.ends[1].conn.state == UDT_CONN_CONNECTED);
    close_ends(&w);
}

static void test_a_reader_that_pauses(void)
{
    begin(6);
    open_both(UDT_MODE_STREAM, (impair_config_t){.delay_ns = 10 * MS, .loss = 0.01});
    connect_both();
    w.ends[0].to_send = 6000000;
    w.ends[1].next_read_ns = w.now_ns + 90 * SEC;
    w.ends[1].read_pause_ns = MS;
    pass(80 * SEC);
    uint32_t held = w.ends[1].conn.rcv.buffer.ready;
    CHECK(held >= 1000 && held <= 1023);
    CHECK_EQ(w.ends[0].conn.state, UDT_CONN_CONNECTED);
    CHECK(run_until(&w, all_has_arrived, w.now_ns + 300 * SEC));
    CHECK(!w.ends[1].spoilt);
    close_ends(&w);
}

/* Whoever can write to the port, but does not know what is in flight. */
static void forge(uint64_t *random)
{
    end_t *e = &w.ends[rt_test_rand(random) % 2];
    uint8_t data[100];
    size_t size = 16 + 4 * (rt_test_rand(random) % 20);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)rt_test_rand(random);
    data[0] = 0x80;
    data[1] = (uint8_t)(rt_test_rand(random) % 10);
    if (data[1] == UDT_TYPE_SHUTDOWN) /* that one needs no number */
        data[1] = UDT_TYPE_ACK;
    rt_put32(data + 12, e->config.socket_id);
    udt_conn_receive(&e->conn, data, size, w.now_ns, w.now_ns);
}

static void test_forged_control_packets_do_no_harm(void)
{
    uint64_t random = seed;
    begin(7);
    open_both(UDT_MODE_STREAM, (impair_config_t){.delay_ns = 5 * MS, .loss = 0.01});
    connect_both();
    w.ends[0].to_send = w.ends[1].to_send = 2000000;
    for (int i = 0; i < 5000; i++) {
        forge(&random);
        pass(100 * US);
    }
    CHECK(run_until(&w, all_has_arrived, w.now_ns + 300 * SEC));
    CHECK(!w.ends[0].spoilt && !w.ends[1].spoilt);
    CHECK(counted(&w.ends[0], UDT_COUNT_refused_ack) > 0);
    CHECK(counted(&w.ends[0], UDT_COUNT_refused_nak) > 0);
    CHECK(counted(&w.ends[0], UDT_COUNT_refused_drop) > 0);
    close_ends(&w);
}

static void test_closing_delivers_what_was_given(void)
{
    begin(8);
    open_both(UDT_MODE_STREAM, (impair_config_t){.delay_ns = 30 * MS, .loss = 0.05});
    connect_both();
    w.ends[0].to_send = 300000;
    run_application(&w, &w.ends[0]);
    CHECK_EQ(w.ends[0].sent, 300000);
    udt_conn_close(&w.ends[0].conn, w.now_ns);
    CHECK(run_until(&w, both_are_over, w.now_ns + 100 * SEC));
    CHECK_EQ(w.ends[1].received, 300000);
    CHECK(!w.ends[1].spoilt);
    close_ends(&w);
}

/* The peer is told three times; if it hears none of them, silence tells it. */
static void test_a_goodbye_that_is_lost(void)
{
    begin(9);
    open_both(UDT_MODE_STREAM, (impair_config_t){.delay_ns = MS});
    connect_both();
    pass(2 * SEC); /* a server waits less for the first word */
    w.ends[0].cut = true;
    udt_conn_close(&w.ends[0].conn, w.now_ns);
    CHECK(run_until(&w, both_are_over, w.now_ns + 100 * SEC));
    CHECK_EQ(w.ends[0].conn.state, UDT_CONN_CLOSED);
    CHECK_EQ(w.ends[1].conn.error, UDT_ECONNLOST);
    close_ends(&w);
}

/* A fixed rate over a long path with loss: what the engine, with no controller to blame, makes of
 * it. */
static void test_losses_cost_little_more_than_themselves(void)
{
    begin(10);
    for (unsigned i = 0; i < 2; i++) {
        udt_conn_config_t config = default_config(i);
        config.window_packets = config.send_packets = config.receive_packets = 8192;
        config.send_bytes = 8192 * 1456;
        config.burst_ns = MS / 2;
        config.cc = (udt_cc_config_t){.kind = UDT_CC_FIXED, .rate_bps = 100000000};
        open_end(&w, i, config, (impair_config_t){.delay_ns = 50 * MS, .loss = i == 0 ? 0.01 : 0});
    }
    connect_both();
    w.ends[0].to_send = UINT64_C(1) << 40;
    pass(2 * SEC);
    uint64_t before = w.ends[1].received;
    pass(10 * SEC);
    double mbps = (double)(w.ends[1].received - before) * 8 / 10e6;
    printf("  1 %% loss, 100 ms, 100 Mbit/s given: %.1f Mbit/s of payload\n", mbps);
    CHECK(mbps > 93);
    CHECK(counted(&w.ends[1], UDT_COUNT_duplicates) < counted(&w.ends[0], UDT_COUNT_sent) / 1000);
    CHECK_EQ(counted(&w.ends[0], UDT_COUNT_timeouts), 0);
    close_ends(&w);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_a_stream_over_a_clean_link);
    RUN(test_streams_over_any_link);
    RUN(test_messages_over_any_link);
    RUN(test_all_numbers_go_round);
    RUN(test_messages_that_outlive_their_time);
    RUN(test_a_peer_that_vanishes);
    RUN(test_a_silence_shorter_than_that_is_survived);
    RUN(test_an_idle_connection_lives_on_few_packets);
    RUN(test_a_reader_that_pauses);
    RUN(test_forged_control_packets_do_no_harm);
    RUN(test_closing_delivers_what_was_given);
    RUN(test_a_goodbye_that_is_lost);
    RUN(test_losses_cost_little_more_than_themselves);
    return rt_test_result();
}
