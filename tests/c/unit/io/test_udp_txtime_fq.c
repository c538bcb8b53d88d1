/* Launch times where the kernel honours them: fq on lo of a network of our own. */
#include "io_test.h"

#include "io/udp_probe.h"

static void test_packets_leave_when_they_are_due(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.rx_stamps = UDP_RX_STAMPS_KERNEL;
    cfg.txtime = UDP_TXTIME_REQUIRE;
    cfg.tx_stamps = true;
    cfg.local = io_addr("127.0.0.1", 0);
    cfg.remote = io_addr("127.0.0.1", 9);
    REQUIRE(io_opened(&rx, &cfg));
    cfg.remote = rx.eff.local;
    REQUIRE(io_opened(&tx, &cfg));
    CHECK(tx.eff.txtime);
    CHECK_STR_EQ(tx.eff.qdisc, "fq");
    for (int i = 0; i < 5; i++) {
        int64_t due_ns = rt_mono_ns() + 300 * RT_NS_PER_MS;
        udp_tx_t one = {.data = "x", .len = 1, .txtime_ns = due_ns, .want_stamp = true};
        int error;
        CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
        CHECK(rt_mono_ns() < due_ns);
        CHECK_EQ(io_receive(&rx, 1, 1), 1);
        CHECK(io_inbox.rx[0].time_ns >= due_ns - 20 * RT_NS_PER_US);
        CHECK(io_inbox.rx[0].time_ns < due_ns + RT_NS_PER_S);
        udp_tx_stamp_t stamp;
        CHECK_EQ(udp_tx_stamps(&tx, &stamp, 1), 1);
        CHECK_EQ(stamp.id, one.stamp_id);
        CHECK(stamp.time_ns >= due_ns - 20 * RT_NS_PER_US);
    }
    io_close_pair(&tx, &rx);
}

static void test_the_probe_says_so(void)
{
    udp_probe_result_t results[UDP_FEATURES];
    udp_probe(results, "lo");
    CHECK(results[UDP_FEATURE_TXTIME].works);
    CHECK_STR_EQ(results[UDP_FEATURE_TXTIME].reason, "");
}

int main(void)
{
    io_own_network(65536);
    TEST_NEEDS("qdisc fq", system("tc qdisc add dev lo root fq") == 0);
    io_setup();
    RUN(test_packets_leave_when_they_are_due);
    RUN(test_the_probe_says_so);
    io_teardown();
    return rt_test_result();
}
