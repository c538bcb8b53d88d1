/* Launch times where the path ignores them: the decision and its reasons. */
#include "io_test.h"

#include "io/udp_private.h"
#include "io/udp_txtime.h"

#include <linux/net_tstamp.h>
#include <time.h>

static void test_two_disciplines_launch_by_time(void)
{
    rt_clock_id_t clock;
    CHECK_EQ(udp_txtime_clock_of("fq", &clock), 0);
    CHECK_EQ(clock, RT_CLOCK_MONOTONIC);
    CHECK_EQ(udp_txtime_clock_of("etf", &clock), 0);
    CHECK_EQ(clock, RT_CLOCK_TAI);
    CHECK_EQ(udp_txtime_clock_of("fq_codel", &clock), -ENOTSUP);
    CHECK_EQ(udp_txtime_clock_of("", &clock), -ENOTSUP);
}

static void test_auto_falls_back_and_says_why(void)
{
    udp_t udp;
    udp_config_t cfg = io_config();
    cfg.txtime = UDP_TXTIME_AUTO;
    REQUIRE(io_opened(&udp, &cfg));
    CHECK(!udp.eff.txtime);
    CHECK(strstr(udp.eff.txtime_reason, "no remote") != NULL);
    udp_close(&udp);

    cfg.remote = io_addr("127.0.0.1", 9);
    REQUIRE(io_opened(&udp, &cfg));
    CHECK(!udp.eff.txtime);
    CHECK(strstr(udp.eff.txtime_reason, "noqueue") != NULL);
    CHECK_STR_EQ(udp.eff.qdisc, "noqueue");
    udp_close(&udp);
}

static void test_required_is_an_error_that_names_the_fix(void)
{
    int fds = io_open_fds();
    udp_t udp;
    udp_config_t cfg = io_config();
    cfg.txtime = UDP_TXTIME_REQUIRE;
    cfg.remote = io_addr("127.0.0.1", 9);
    CHECK_EQ(udp_open(&udp, &cfg), -ENOTSUP);
    io_error_names("noqueue");
    io_error_names("tc qdisc replace dev lo root fq");
    CHECK_EQ(io_open_fds(), fds);
}

static void test_off_gives_no_reason(void)
{
    udp_t udp;
    udp_config_t cfg = io_config();
    cfg.remote = io_addr("127.0.0.1", 9);
    REQUIRE(io_opened(&udp, &cfg));
    CHECK_STR_EQ(udp.eff.txtime_reason, "");
    udp_close(&udp);
}

static void test_the_clocks_must_agree(void)
{
    udp_t udp;
    udp_config_t cfg = io_config();
    REQUIRE(io_opened(&udp, &cfg));
    udp_route_t route = {.ifindex = 1, .device = "lo"};
    (void)snprintf(udp.eff.qdisc, sizeof udp.eff.qdisc, "etf");
    cfg.txtime = UDP_TXTIME_AUTO;
    CHECK_EQ(udp_txtime_enable(&udp, &cfg, &route), 0);
    CHECK(!udp.eff.txtime);
    CHECK(strstr(udp.eff.txtime_reason, "TAI") != NULL);
    udp_close(&udp);
}

/* The control message itself, on an interface that ignores it: every datagram goes, in order, with
 * its own time, stamps and batches beside it. */
static void test_launch_times_go_along_with_each_datagram(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.want_gso = cfg.want_gro = cfg.tx_stamps = true;
    cfg.rx_stamps = UDP_RX_STAMPS_KERNEL;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_route_t route = {.ifindex = 1, .device = "lo"};
    (void)snprintf(tx.eff.qdisc, sizeof tx.eff.qdisc, "fq");
    cfg.txtime = UDP_TXTIME_REQUIRE;
    REQUIRE(udp_txtime_enable(&tx, &cfg, &route) == 0);
    CHECK(tx.eff.txtime);

    uint8_t payload[9][10];
    udp_tx_t batch[9];
    int64_t now_ns = rt_mono_ns();
    for (unsigned i = 0; i < 9; i++) { /* three due together, three times; the last three at once */
        io_pattern(payload[i], 10, i);
        batch[i] = (udp_tx_t){.data = payload[i], .len = 10, .want_stamp = true};
        batch[i].txtime_ns = i < 6 ? now_ns + (int64_t)(i / 3) * RT_NS_PER_MS : 0;
    }
    CHECK_EQ(io_send_all(&tx, batch, 9), 9);
    CHECK_EQ(io_receive(&rx, 9, 64), 9);
    for (unsigned i = 0; i < io_inbox.count; i++) {
        io_is_pattern(&io_inbox.rx[i], 10, i);
        CHECK(io_inbox.rx[i].shared_stamp);
        CHECK_EQ(batch[i].stamp_id, batch[i / 3 * 3].stamp_id);
    }
    udp_tx_stamp_t stamps[4];
    CHECK_EQ(udp_tx_stamps(&tx, stamps, 4), 3);
    CHECK_EQ(io_send_all(&tx, batch, 1), 1);
    CHECK_EQ(io_receive(&rx, 1, 1), 1);
    io_close_pair(&tx, &rx);
}

int main(void)
{
    io_own_network(65536);
    io_setup();
    RUN(test_two_disciplines_launch_by_time);
    RUN(test_auto_falls_back_and_says_why);
    RUN(test_required_is_an_error_that_names_the_fix);
    RUN(test_off_gives_no_reason);
    RUN(test_the_clocks_must_agree);
    RUN(test_launch_times_go_along_with_each_datagram);
    io_teardown();
    return rt_test_result();
}
