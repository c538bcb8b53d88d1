/* Multicast on one host, in both IP versions: IPv4 over lo, IPv6 over a veth interface, because lo
 * does not bring IPv6 multicast back. */
#include "io_test.h"

static unsigned lo;
static unsigned veth;
static unsigned families = 2; /* 1: IPv4 only */

static unsigned interface_for(const udp_addr_t *group)
{
    return group->sa.sa_family == AF_INET6 ? veth : lo;
}

static udp_config_t receiver_config(const char *group)
{
    udp_config_t cfg = io_config();
    cfg.group_count = 1;
    cfg.groups[0].group = io_addr(group, 0);
    cfg.groups[0].ifindex = interface_for(&cfg.groups[0].group);
    cfg.reuse_addr = true;
    return cfg;
}

static bool open_sender(udp_t *tx, const udp_addr_t *group, uint16_t port, bool loop)
{
    udp_config_t cfg = io_config();
    cfg.remote = *group;
    udp_addr_set_port(&cfg.remote, port);
    cfg.mcast_ifindex = interface_for(group);
    cfg.mcast_ttl = 0; /* does not leave this host */
    cfg.mcast_loop = loop;
    cfg.want_gso = true;
    return io_opened(tx, &cfg);
}

static unsigned send_and_count(udp_t *tx, udp_t *rx, unsigned n)
{
    uint8_t payload[64][32];
    udp_tx_t batch[64];
    for (unsigned i = 0; i < n; i++) {
        io_pattern(payload[i], sizeof payload[i], i);
        batch[i] = (udp_tx_t){.data = payload[i], .len = sizeof payload[i]};
    }
    CHECK_EQ(io_send_all(tx, batch, n), n);
    io_inbox.count = 0;
    io_inbox.used = 0;
    udp_rx_t out[64];
    for (int got; (got = udp_recv(rx, out, 64)) > 0;)
        for (int i = 0; i < got; i++)
            io_keep(&io_inbox, &out[i]);
    for (unsigned i = 0; i < io_inbox.count; i++)
        io_is_pattern(&io_inbox.rx[i], 32, i % n);
    return io_inbox.count;
}

static void test_a_joined_group_is_heard(void)
{
    const char *groups[] = {"239.255.11.1", "ff02::1:1101"};
    for (unsigned g = 0; g < families; g++) {
        udp_t tx, rx;
        udp_config_t cfg = receiver_config(groups[g]);
        REQUIRE(io_opened(&rx, &cfg));
        CHECK_EQ(rx.eff.local.sa.sa_family, cfg.groups[0].group.sa.sa_family);
        REQUIRE(open_sender(&tx, &cfg.groups[0].group, udp_addr_port(&rx.eff.local), true));
        CHECK_EQ(tx.eff.egress_ifindex, cfg.groups[0].ifindex);
        CHECK_EQ(send_and_count(&tx, &rx, 20), 20);
        CHECK_EQ(send_and_count(&tx, &rx, 1), 1);
        io_close_pair(&tx, &rx);
    }
}

/* Linux hands a datagram of any group that anybody on the host has joined to every socket on its
 * port, unless told not to. */
static void test_only_joined_groups_are_heard(void)
{
    const char *groups[] = {"239.255.11.1", "ff02::1:1101"};
    const char *others[] = {"239.255.11.2", "ff02::1:1102"};
    for (unsigned g = 0; g < families; g++) {
        udp_t tx, joined, other;
        udp_config_t cfg = receiver_config(groups[g]);
        REQUIRE(io_opened(&joined, &cfg));
        udp_addr_t group = cfg.groups[0].group;
        cfg = receiver_config(others[g]);
        cfg.local = joined.eff.local;
        REQUIRE(io_opened(&other, &cfg));
        REQUIRE(open_sender(&tx, &group, udp_addr_port(&joined.eff.local), true));
        CHECK_EQ(send_and_count(&tx, &other, 3), 0);
        CHECK_EQ(send_and_count(&tx, &joined, 3), 6);
        udp_close(&other);
        io_close_pair(&tx, &joined);
    }
}

static void test_own_datagrams_stay_away_without_loop(void)
{
    udp_t tx, rx;
    udp_config_t cfg = receiver_config("239.255.11.3");
    REQUIRE(io_opened(&rx, &cfg));
    REQUIRE(open_sender(&tx, &cfg.groups[0].group, udp_addr_port(&rx.eff.local), false));
    uint8_t one = 1;
    udp_tx_t note = {.data = &one, .len = 1};
    int error;
    CHECK_EQ(udp_send(&tx, &note, 1, &error), 1);
    /* lo itself brings every packet back once; the loop option rules the second copy. */
    unsigned got = 0;
    udp_rx_t out[4];
    for (int n; (n = udp_recv(&rx, out, 4)) > 0;)
        got += (unsigned)n;
    CHECK(got <= 1);
    io_close_pair(&tx, &rx);
}

static void test_an_interface_may_be_named_by_its_address(void)
{
    udp_t tx, rx;
    udp_config_t cfg = receiver_config("239.255.11.4");
    cfg.groups[0].ifindex = 0;
    cfg.groups[0].iface_v4_be = htonl(INADDR_LOOPBACK);
    REQUIRE(io_opened(&rx, &cfg));
    udp_config_t sender = io_config();
    sender.remote = cfg.groups[0].group;
    udp_addr_set_port(&sender.remote, udp_addr_port(&rx.eff.local));
    sender.mcast_iface_v4_be = htonl(INADDR_LOOPBACK);
    sender.mcast_ttl = 0;
    REQUIRE(io_opened(&tx, &sender));
    CHECK_EQ(tx.eff.egress_ifindex, lo);
    CHECK_EQ(send_and_count(&tx, &rx, 5), 5);
    io_close_pair(&tx, &rx);

    sender.mcast_iface_v4_be = htonl(0xc0000201); /* 192.0.2.1: nobody's */
    CHECK_EQ(udp_open(&tx, &sender), -EADDRNOTAVAIL);
    io_error_names("192.0.2.1");
}

static void test_eight_groups_can_be_joined(void)
{
    udp_t rx;
    udp_config_t cfg = receiver_config("239.255.12.0");
    cfg.group_count = UDP_MAX_GROUPS;
    for (unsigned i = 0; i < UDP_MAX_GROUPS; i++) {
        char host[32];
        (void)snprintf(host, sizeof host, "239.255.12.%u", i + 1);
        cfg.groups[i] = (udp_group_t){.group = io_addr(host, 0), .ifindex = lo};
    }
    REQUIRE(io_opened(&rx, &cfg));
    for (unsigned i = 0; i < UDP_MAX_GROUPS; i++) {
        udp_t tx;
        REQUIRE(open_sender(&tx, &cfg.groups[i].group, udp_addr_port(&rx.eff.local), true));
        CHECK_EQ(send_and_count(&tx, &rx, 2), 2);
        udp_close(&tx);
    }
    udp_close(&rx);
}

int main(void)
{
    io_own_network(65536);
    lo = if_nametoindex("lo");
    if (!TEST_HAS("ipv6", system("ip link add mc0 type veth peer name mc1 && "
                                 "ip link set mc0 up && ip link set mc1 up && "
                                 "ip -6 addr add fe80::77/64 dev mc0 nodad") == 0))
        families = 1;
    veth = if_nametoindex("mc0");
    io_setup();
    RUN(test_a_joined_group_is_heard);
    RUN(test_only_joined_groups_are_heard);
    RUN(test_own_datagrams_stay_away_without_loop);
    RUN(test_an_interface_may_be_named_by_its_address);
    RUN(test_eight_groups_can_be_joined);
    io_teardown();
    return rt_test_result();
}
