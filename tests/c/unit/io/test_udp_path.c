/* Where packets leave: interface, MTU, queueing discipline; and what a small MTU means for batches.
 * In a network of its own, with lo's MTU lowered. */
#include "io_test.h"

#include "io/udp_route.h"

enum { MTU = 1500, FITS = MTU - 28, N = 8 };

static uint8_t arena[64 * 1024];

static void send_patterns(udp_t *tx, udp_t *rx, uint32_t len, const udp_addr_t *dest)
{
    udp_tx_t batch[N];
    for (unsigned i = 0; i < N; i++) {
        io_pattern(arena + i * len, len, i);
        batch[i] = (udp_tx_t){.data = arena + i * len, .len = len, .dest = dest};
    }
    CHECK_EQ(io_send_all(tx, batch, N), N);
    CHECK_EQ(io_receive(rx, N, 64), N);
    for (unsigned i = 0; i < io_inbox.count; i++)
        io_is_pattern(&io_inbox.rx[i], len, i);
}

static udp_config_t batch_config(void)
{
    udp_config_t cfg = io_config();
    cfg.want_gso = cfg.want_gro = true;
    cfg.rx_stamps = UDP_RX_STAMPS_KERNEL; /* then shared_stamp tells GRO batches from single ones */
    cfg.rcvbuf_bytes = 4u << 20;
    return cfg;
}

static void test_segments_that_fit_the_known_mtu_go_by_gso(void)
{
    for (int connected = 0; connected < 2; connected++) {
        udp_t tx, rx;
        udp_config_t cfg = batch_config();
        cfg.connected = connected;
        REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
        CHECK_EQ(tx.eff.mtu, MTU);
        send_patterns(&tx, &rx, FITS, NULL);
        CHECK(io_inbox.rx[0].shared_stamp);
        send_patterns(&tx, &rx, FITS + 1, NULL);
        CHECK(!io_inbox.rx[0].shared_stamp);
        CHECK(tx.gso);
        io_close_pair(&tx, &rx);
    }
}

static void test_an_unknown_mtu_is_learnt(void)
{
    udp_t tx, rx;
    udp_config_t cfg = batch_config();
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_close(&tx);
    REQUIRE(io_opened(&tx, &cfg)); /* no remote: each datagram brings its destination */
    CHECK_EQ(tx.eff.mtu, 0);
    send_patterns(&tx, &rx, 2000, &rx.eff.local);
    CHECK(tx.eff.gso);
    CHECK_EQ(tx.gso_segment_max, 1999);
    send_patterns(&tx, &rx, 2000, &rx.eff.local);
    CHECK_EQ(tx.gso_segment_max, 1999);
    send_patterns(&tx, &rx, 1000, &rx.eff.local);
    CHECK(io_inbox.rx[0].shared_stamp);
    io_close_pair(&tx, &rx);
}

static void test_dont_fragment_refuses_what_does_not_fit(void)
{
    const char *hosts[] = {"127.0.0.1", "::1"};
    const uint32_t fits[] = {FITS, FITS - 20};
    for (int h = 0; h < 2; h++) {
        udp_t tx, rx;
        udp_config_t cfg = batch_config();
        cfg.dont_fragment = true;
        REQUIRE(io_pair(&tx, &rx, &cfg, hosts[h]));
        send_patterns(&tx, &rx, fits[h], NULL);
        udp_tx_t batch[3] = {{.data = arena, .len = fits[h] + 1},
                             {.data = arena, .len = fits[h] + 1},
                             {.data = arena, .len = 5}};
        int error;
        CHECK_EQ(udp_send(&tx, batch, 3, &error), 0);
        CHECK_EQ(error, EMSGSIZE);
        CHECK_EQ(udp_send(&tx, batch + 2, 1, &error), 1);
        CHECK_EQ(io_receive(&rx, 1, 1), 1);
        CHECK(tx.eff.gso);
        io_close_pair(&tx, &rx);
    }
}

/* Behind a slow link datagrams wait in the kernel, on the sender's account. So slow that it has not
 * sent them all while the sender is made to wait for the processor. */
static void test_a_full_send_buffer_says_try_again(void)
{
    if (system("tc qdisc add dev lo root tbf rate 400kbit burst 3000 limit 1000000 2>/dev/null") !=
        0) {
        (void)printf("a slow link is left out: tc or tbf is missing\n");
        return;
    }
    for (int gso = 0; gso < 2; gso++) {
        udp_t tx, rx;
        udp_config_t cfg = batch_config();
        cfg.want_gso = gso;
        cfg.sndbuf_bytes = 20000;
        REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
        enum { MANY = 200, LEN = 200 };
        udp_tx_t batch[MANY];
        for (unsigned i = 0; i < MANY; i++) {
            io_pattern(arena + i * LEN, LEN, i);
            batch[i] = (udp_tx_t){.data = arena + i * LEN, .len = LEN};
        }
        int error;
        int sent = udp_send(&tx, batch, MANY, &error);
        CHECK_EQ(error, EAGAIN);
        CHECK(sent > 0 && sent < MANY);
        CHECK_EQ(tx.gso, gso);
        struct pollfd writable = {.fd = tx.fd, .events = POLLOUT};
        for (unsigned done = (unsigned)sent; done < MANY;) {
            CHECK_EQ(poll(&writable, 1, ARRIVAL_MS), 1);
            done += (unsigned)udp_send(&tx, batch + done, MANY - done, &error);
        }
        CHECK_EQ(io_receive(&rx, MANY, 64), MANY);
        for (unsigned i = 0; i < io_inbox.count; i++)
            io_is_pattern(&io_inbox.rx[i], LEN, i);
        io_close_pair(&tx, &rx);
    }
    CHECK_EQ(system("tc qdisc del dev lo root"), 0);
}

static void test_routes_are_found(void)
{
    udp_route_t route;
    udp_addr_t dest = io_addr("127.0.0.1", 0);
    CHECK_EQ(udp_route_find(&route, &dest, NULL, 0), 0);
    CHECK_STR_EQ(route.device, "lo");
    CHECK_EQ(route.ifindex, if_nametoindex("lo"));
    CHECK_EQ(route.mtu, MTU);
    dest = io_addr("::1", 0);
    CHECK_EQ(udp_route_find(&route, &dest, NULL, 0), 0);
    CHECK_STR_EQ(route.device, "lo");
    dest = io_addr("192.0.2.1", 0); /* no other interface here */
    CHECK_EQ(udp_route_find(&route, &dest, NULL, 0), -ENETUNREACH);
    CHECK_EQ(udp_route_of_interface(&route, 12345), -ENODEV);
}

static void test_the_queueing_discipline_is_found(void)
{
    char kind[16];
    unsigned lo = if_nametoindex("lo");
    CHECK_EQ(udp_qdisc_kind(lo, kind), 0);
    CHECK_STR_EQ(kind, "noqueue");
    CHECK_EQ(udp_qdisc_kind(12345, kind), -ENOENT);
    if (system("tc qdisc add dev lo root pfifo 2>/dev/null") != 0) {
        (void)printf("other queueing disciplines are left out: tc or pfifo is missing\n");
        return;
    }
    CHECK_EQ(udp_qdisc_kind(lo, kind), 0);
    CHECK_STR_EQ(kind, "pfifo");
    CHECK_EQ(system("tc qdisc del dev lo root"), 0);

    if (system("ip link add mq0 numtxqueues 2 type veth peer name mq1 2>/dev/null && "
               "ip link set mq0 up && ip link set mq1 up && "
               "tc qdisc add dev mq0 root handle 7: mq 2>/dev/null") != 0) {
        (void)printf("multi-queue interfaces are left out: ip, tc, veth or mq is missing\n");
        return;
    }
    unsigned mq0 = if_nametoindex("mq0");
    CHECK_EQ(system("tc qdisc replace dev mq0 parent 7:1 bfifo && "
                    "tc qdisc replace dev mq0 parent 7:2 bfifo"),
             0);
    CHECK_EQ(udp_qdisc_kind(mq0, kind), 0);
    CHECK_STR_EQ(kind, "bfifo"); /* what stands behind the root counts */
    CHECK_EQ(system("tc qdisc replace dev mq0 parent 7:2 pfifo"), 0);
    CHECK_EQ(udp_qdisc_kind(mq0, kind), 0);
    CHECK_STR_EQ(kind, "mixed");
}

int main(void)
{
    io_own_network(MTU);
    io_setup();
    RUN(test_segments_that_fit_the_known_mtu_go_by_gso);
    RUN(test_an_unknown_mtu_is_learnt);
    RUN(test_dont_fragment_refuses_what_does_not_fit);
    RUN(test_a_full_send_buffer_says_try_again);
    RUN(test_routes_are_found);
    RUN(test_the_queueing_discipline_is_found);
    io_teardown();
    return rt_test_result();
}
