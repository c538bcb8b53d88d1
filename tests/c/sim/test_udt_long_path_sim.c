/* One stream over 100 Mbit/s, 50 ms each way, with a queue of one bandwidth-delay product, in
 * virtual time: what has arrived 16 s after the handshake, start-up and all, in percent of the
 * link. Of each datagram's 1472 bytes 1456 are the application's, so 98.9 is all there is. */
#include "udt_ends.h"

#include <string.h>

#define RATE_BPS 100000000
#define RUN_NS (16 * SEC)
#define BUFFER_PACKETS 8192

static world_t w;
static uint64_t seed;

static bool is_connected(world_t *world)
{
    return world->ends[0].conn.state == UDT_CONN_CONNECTED &&
           world->ends[1].conn.state == UDT_CONN_CONNECTED;
}

static bool never(world_t *world)
{
    (void)world;
    return false;
}

static double share_of_link(udt_cc_kind_t kind, double loss)
{
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.now_ns = 5 * SEC;
    w.latency_ns = 60 * US;
    for (unsigned i = 0; i < 2; i++) {
        udt_conn_config_t config = default_config(i);
        config.window_packets = UDT_DEFAULT_WINDOW_PACKETS;
        config.receive_packets = BUFFER_PACKETS;
        config.send_packets = BUFFER_PACKETS + 2;
        config.send_bytes = BUFFER_PACKETS * 1456;
        config.burst_ns = 200 * US;
        config.cc = (udt_cc_config_t){.kind = kind, .seed = seed};
        open_end(&w, i, config,
                 (impair_config_t){.delay_ns = 50 * MS,
                                   .rate_bps = RATE_BPS,
                                   .queue_bytes = RATE_BPS / 8 / 10,
                                   .loss = loss});
    }
    w.ends[0].to_send = UINT64_MAX / 2;
    udt_conn_connect(&w.ends[0].conn, w.now_ns);
    CHECK(run_until(&w, is_connected, w.now_ns + 3 * SEC));
    run_until(&w, never, w.now_ns + RUN_NS);
    CHECK(!w.ends[1].spoilt);
    CHECK_EQ(counted(&w.ends[0], UDT_COUNT_timeouts), 0);
    double share = 100.0 * 8e9 * (double)w.ends[1].received / RATE_BPS / (double)RUN_NS;
    close_ends(&w);
    return share;
}

static void test_the_model_fills_the_link_from_the_start_on(void)
{
    static const double losses[] = {0, 0.001, 0.01};
    static const double bounds[] = {94.5, 88, 75};
    printf("       bbr, loss 0, 0.1, 1 %%:");
    for (unsigned i = 0; i < 3; i++) {
        double share = share_of_link(UDT_CC_BBR, losses[i]);
        printf("  %.1f", share);
        CHECK(share >= bounds[i]);
    }
    printf("\n");
}

static void test_slow_start_of_daimd_costs_seconds_no_more(void)
{
    double share = share_of_link(UDT_CC_DAIMD, 0);
    printf("       daimd, loss 0: %.1f\n", share);
    CHECK(share >= 90);
}

int main(void)
{
    seed = rt_test_env_u64("RT_TEST_SEED", 1);
    printf("seed %" PRIu64 "\n", seed);
    RUN(test_the_model_fills_the_link_from_the_start_on);
    RUN(test_slow_start_of_daimd_costs_seconds_no_more);
    return rt_test_result();
}
