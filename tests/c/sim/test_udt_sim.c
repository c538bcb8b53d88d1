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
        printf("  end %u: state %d error %d, sent %" PRIu64 " received %" PRIu64 " messages %" PRIu64
               "/%" PRIu64 ", repeated %" PRIu64 " timeouts %" PRIu64 " overdue %" PRIu64
               " loss %.3f delay %.1f ms\n",
               i, (int)e->conn.state, (int)e->conn.error, e->sent, e->received, e->messages_sent,
               e->messages_received, counted(e, UDT_COUNT_repeated),
               counted(e, UDT_COUNT_timeouts), counted(e, UDT_COUNT_overdue), e->link.config.loss,
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
        check_gentle(&w.ends[i]);
    }
    if (atomic_load(&rt_test_failure_count) > failures)
        describe(round, rendezvous, mode);
    close_ends(&w);
}

static void test_streams_over_any_link(void)
{
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 60);
    for (uint64_t i = 0; i < rounds; i++)
        one_round(i, UDT_MODE_STREAM);
}

static void test_messages_over_any_link(void)
{
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 60);
    for (uint64_t i = 0; i < rounds; i++)
        one_round(10000 + i, UDT_MODE_MESSAGE);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_a_stream_over_a_clean_link);
    RUN(test_streams_over_any_link);
    RUN(test_messages_over_any_link);
    return rt_test_result();
}
