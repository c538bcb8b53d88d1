/* Options, what became of them, errors and their texts, sockets taken over. */
#include "io_test.h"

#include "base/rt_caps.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void test_defaults_open_any_port(void)
{
    udp_t udp;
    udp_config_t cfg = io_config();
    REQUIRE(io_opened(&udp, &cfg));
    CHECK_EQ(udp.eff.local.sa.sa_family, AF_INET);
    CHECK(udp_addr_is_wildcard(&udp.eff.local));
    CHECK(udp_addr_port(&udp.eff.local) != 0);
    CHECK(!udp.eff.gso && !udp.eff.gro && !udp.eff.txtime);
    CHECK_EQ(udp.eff.rx_stamp, UDP_STAMP_USER);
    CHECK_EQ(udp.eff.tx_stamp, UDP_STAMP_USER);
    CHECK(fcntl(udp.fd, F_GETFD) & FD_CLOEXEC);
    udp_close(&udp);
    CHECK_EQ(udp.fd, -1);
}

static void test_options_reach_the_kernel(void)
{
    const char *hosts[] = {"127.0.0.1", "::1"};
    for (int i = 0; i < 2; i++) {
        udp_t udp;
        udp_config_t cfg = io_config();
        cfg.local = io_addr(io_host(hosts[i]), 0);
        cfg.remote = io_addr(io_host(hosts[i]), 9);
        cfg.connected = cfg.reuse_addr = cfg.reuse_port = cfg.broadcast = true;
        cfg.dont_fragment = cfg.want_gso = cfg.want_gro = cfg.want_tos = cfg.v6only = true;
        cfg.ttl = 7;
        cfg.mcast_ttl = 3;
        cfg.dscp = 46;
        cfg.so_priority = 6;
        cfg.rcvbuf_bytes = 100000;
        cfg.sndbuf_bytes = 50000;
        snprintf(cfg.device, sizeof cfg.device, "lo");
        REQUIRE(io_opened(&udp, &cfg));
        CHECK_EQ(udp.eff.ttl, 7);
        CHECK_EQ(udp.eff.dscp, 46);
        CHECK_EQ(udp.eff.rcvbuf_bytes, 100000);
        CHECK_EQ(udp.eff.sndbuf_bytes, 50000);
        CHECK(udp.eff.gso && udp.eff.gro);
        CHECK(udp.eff.mtu >= 65535);
        CHECK_EQ(udp.eff.egress_ifindex, if_nametoindex("lo"));
        CHECK_STR_EQ(udp.eff.egress_device, "lo");
        int value = 0;
        socklen_t len = sizeof value;
        CHECK_EQ(getsockopt(udp.fd, SOL_SOCKET, SO_PRIORITY, &value, &len), 0);
        CHECK_EQ(value, 6);
        udp_close(&udp);
    }
}

static void test_tos_is_received_when_asked_for(void)
{
    const char *hosts[] = {"127.0.0.1", "::1"};
    for (int i = 0; i < 2; i++) {
        udp_t tx, rx;
        udp_config_t cfg = io_config();
        cfg.dscp = 34;
        cfg.want_tos = true;
        REQUIRE(io_pair(&tx, &rx, &cfg, hosts[i]));
        udp_tx_t one = {.data = "x", .len = 1};
        int error;
        CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
        CHECK_EQ(io_receive(&rx, 1, 1), 1);
        CHECK_EQ(io_inbox.rx[0].tos, 34 << 2);
        io_close_pair(&tx, &rx);
    }
}

static void test_a_dual_stack_socket_hears_ipv4(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.local = io_addr("::", 0);
    cfg.ttl = 9;
    cfg.want_gro = true;
    REQUIRE(io_opened(&rx, &cfg));
    cfg = io_config();
    cfg.want_gso = true;
    cfg.remote = io_addr("127.0.0.1", udp_addr_port(&rx.eff.local));
    REQUIRE(io_opened(&tx, &cfg));
    udp_tx_t batch[8];
    for (int i = 0; i < 8; i++)
        batch[i] = (udp_tx_t){.data = "v4", .len = 2};
    CHECK_EQ(io_send_all(&tx, batch, 8), 8);
    CHECK_EQ(io_receive(&rx, 8, 8), 8);
    CHECK(IN6_IS_ADDR_V4MAPPED(&io_inbox.rx[0].source.v6.sin6_addr));
    udp_tx_t reply = {.data = "back", .len = 4, .dest = &io_inbox.rx[0].source};
    int error;
    CHECK_EQ(udp_send(&rx, &reply, 1, &error), 1);
    udp_rx_t out;
    CHECK(io_readable(&tx, ARRIVAL_MS));
    tx.rx_pool = io_pool;
    CHECK_EQ(udp_recv(&tx, &out, 1), 1);
    io_close_pair(&tx, &rx);
}

static void test_a_sender_is_connected_where_that_works(void)
{
    udp_t udp;
    udp_config_t cfg = io_config();
    cfg.sends_only = true;
    cfg.local = io_addr("127.0.0.1", 0);
    cfg.remote = io_addr("127.0.0.1", 9);
    REQUIRE(io_opened(&udp, &cfg));
    CHECK(udp.connected);
    udp_close(&udp);

    cfg.local = io_addr("0.0.0.0", 0); /* would keep a source address that may go away */
    REQUIRE(io_opened(&udp, &cfg));
    CHECK(!udp.connected);
    udp_close(&udp);

    cfg.local = io_addr("127.0.0.1", 0);
    cfg.remote = io_addr("192.0.2.1", 9); /* no way there from loopback, today */
    REQUIRE(io_opened(&udp, &cfg));
    CHECK(!udp.connected);
    udp_close(&udp);
}

/* ---- errors ----------------------------------------------------------------------------- */

static void check_refused(const udp_config_t *cfg, int error, const char *names)
{
    udp_t udp;
    int fds = io_open_fds();
    CHECK_EQ(udp_open(&udp, cfg), error);
    CHECK_EQ(udp.fd, -1);
    io_error_names(names);
    CHECK_EQ(io_open_fds(), fds);
}

static void test_values_out_of_range_are_named(void)
{
    udp_config_t cfg = io_config();
    cfg.ttl = 256;
    check_refused(&cfg, -EINVAL, "ttl 256 is outside 1..255");
    cfg = io_config();
    cfg.ttl = 0;
    check_refused(&cfg, -EINVAL, "ttl 0");
    cfg = io_config();
    cfg.mcast_ttl = -2;
    check_refused(&cfg, -EINVAL, "mcast_ttl -2");
    cfg = io_config();
    cfg.dscp = 64;
    check_refused(&cfg, -EINVAL, "dscp 64 is outside 0..63");
    cfg = io_config();
    cfg.so_priority = 16;
    check_refused(&cfg, -EINVAL, "so_priority 16");
    cfg = io_config();
    cfg.rcvbuf_bytes = UINT32_MAX;
    check_refused(&cfg, -EINVAL, "rcvbuf_bytes 4294967295 is above 1073741824");
    cfg = io_config();
    cfg.group_count = 9;
    check_refused(&cfg, -EINVAL, "at most 8");
    cfg = io_config();
    cfg.clock = (rt_clock_id_t)7;
    check_refused(&cfg, -EINVAL, "clock 7");
    cfg = io_config();
    memset(cfg.device, 'x', sizeof cfg.device);
    check_refused(&cfg, -EINVAL, "device name");
}

static void test_addresses_that_do_not_fit_are_named(void)
{
    udp_config_t cfg = io_config();
    cfg.local = io_addr("127.0.0.1", 0);
    cfg.remote = io_addr("::1", 5);
    check_refused(&cfg, -EINVAL, "[::1]:5");
    cfg.remote = io_addr("127.0.0.1", 0);
    check_refused(&cfg, -EINVAL, "port 0");
    cfg = io_config();
    cfg.connected = true;
    check_refused(&cfg, -EINVAL, "remote");
    cfg = io_config();
    cfg.group_count = 1;
    cfg.groups[0].group = io_addr("10.0.0.1", 0);
    check_refused(&cfg, -EINVAL, "10.0.0.1:0 is not a multicast address");
    cfg.groups[0].group = io_addr("ff02::1", 0);
    cfg.local = io_addr("127.0.0.1", 0);
    check_refused(&cfg, -EINVAL, "different IP versions");
}

static void test_stamps_need_the_right_clock_map(void)
{
    udp_config_t cfg = io_config();
    cfg.clock_map = NULL;
    cfg.rx_stamps = UDP_RX_STAMPS_KERNEL;
    check_refused(&cfg, -EINVAL, "clock map");
    cfg = io_config();
    cfg.tx_stamps = true;
    cfg.clock = RT_CLOCK_TAI;
    check_refused(&cfg, -EINVAL, "clock map");
}

static void test_what_the_kernel_refuses_is_named_with_a_fix(void)
{
    udp_t first;
    udp_config_t cfg = io_config();
    cfg.local = io_addr("127.0.0.1", 0);
    REQUIRE(io_opened(&first, &cfg));
    cfg.local = first.eff.local;
    char text[UDP_ADDR_TEXT_BYTES];
    udp_addr_format(&cfg.local, text);
    check_refused(&cfg, -EADDRINUSE, text);
    io_error_names("choose another port or 0");
    udp_close(&first);

    cfg.local = io_addr("192.0.2.1", 0);
    check_refused(&cfg, -EADDRNOTAVAIL, "192.0.2.1:0");
    cfg = io_config();
    cfg.local = io_addr("fe80::1", 0);
    check_refused(&cfg, -EINVAL, "needs its interface");
    cfg = io_config();
    cfg.remote = io_addr("fe80::1", 5000);
    check_refused(&cfg, -EINVAL, "fe80::1%eth0");
    cfg = io_config();
    snprintf(cfg.device, sizeof cfg.device, "no-such-if");
    check_refused(&cfg, -ENODEV, "no-such-if");
    cfg = io_config();
    cfg.remote = io_addr("127.255.255.255", 9);
    cfg.connected = true;
    check_refused(&cfg, -EACCES, "broadcast = true");
    cfg = io_config();
    cfg.group_count = 1;
    cfg.groups[0] = (udp_group_t){.group = io_addr("239.1.1.1", 0), .ifindex = 999999};
    check_refused(&cfg, -ENODEV, "239.1.1.1");
}

static void test_missing_rights_are_named(void)
{
    pid_t child = fork();
    if (child == 0) {
        if (!TEST_HAS("unprivileged", setresuid(65534, 65534, 65534) == 0))
            _exit(0);
        udp_config_t cfg = io_config();
        cfg.local = io_addr("127.0.0.1", 1);
        check_refused(&cfg, -EACCES, "CAP_NET_BIND_SERVICE");
        cfg = io_config();
        cfg.so_priority = 7;
        check_refused(&cfg, -EPERM, "CAP_NET_ADMIN");
        cfg = io_config();
        cfg.rcvbuf_bytes = 1u << 28;
        udp_t udp;
        if (CHECK_EQ(udp_open(&udp, &cfg), 0))
            CHECK(udp.eff.rcvbuf_bytes < 1u << 28); /* cut down, and says so */
        _exit(rt_test_result());
    }
    int status = -1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

static void test_running_out_of_descriptors_is_named(void)
{
    struct rlimit saved, none;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    none = saved;
    none.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    udp_t udp;
    udp_config_t cfg = io_config();
    int rc = udp_open(&udp, &cfg);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    CHECK_EQ(rc, -EMFILE);
    io_error_names("limit of 0 open files");
    io_error_names("ulimit -n");
}

/* ---- taking over ------------------------------------------------------------------------ */

static void test_a_socket_survives_its_owner(void)
{
    udp_t tx, rx, heir;
    udp_config_t cfg = io_config();
    cfg.want_gro = true;
    cfg.rx_stamps = UDP_RX_STAMPS_KERNEL;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_tx_t one = {.data = "kept", .len = 4};
    int error;
    CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    int fd = dup(rx.fd);
    udp_close(&rx); /* its worker is gone; the duplicate keeps socket and queue */
    cfg.local = io_addr("127.0.0.1", udp_addr_port(&rx.eff.local));
    REQUIRE(udp_adopt(&heir, fd, &cfg) == 0);
    CHECK(udp_addr_equal(&heir.eff.local, &cfg.local));
    CHECK_EQ(io_receive(&heir, 1, 8), 1);
    CHECK_MEM_EQ(io_inbox.rx[0].data, "kept", 4);
    CHECK_EQ(io_inbox.rx[0].stamp, UDP_STAMP_KERNEL);
    CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    CHECK_EQ(io_receive(&heir, 1, 8), 1);
    io_close_pair(&tx, &heir);
}

static void test_taking_over_twice_changes_nothing(void)
{
    udp_t udp, heir;
    udp_config_t cfg = io_config();
    cfg.local = io_addr("127.0.0.1", 0);
    cfg.remote = io_addr("127.0.0.1", 9);
    cfg.connected = cfg.reuse_addr = cfg.dont_fragment = cfg.tx_stamps = true;
    cfg.ttl = 5;
    cfg.rcvbuf_bytes = 65536;
    cfg.group_count = 1;
    cfg.groups[0] =
        (udp_group_t){.group = io_addr("239.255.7.7", 0), .ifindex = if_nametoindex("lo")};
    REQUIRE(io_opened(&udp, &cfg));
    REQUIRE(udp_adopt(&heir, dup(udp.fd), &cfg) == 0);
    CHECK_EQ(memcmp(&heir.eff, &udp.eff, sizeof heir.eff), 0);
    CHECK_EQ(heir.next_stamp_id, 1);
    io_close_pair(&udp, &heir);
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    CHECK_EQ(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* Programs set up the socket that they pass in: mDNS and SSDP share their port. */
static void test_what_its_owner_set_stays(void)
{
    static const struct {
        int level, name, value;
    } set[] = {
        {SOL_SOCKET, SO_REUSEADDR, 1}, {SOL_SOCKET, SO_REUSEPORT, 1},
        {SOL_SOCKET, SO_BROADCAST, 1}, {SOL_IP, IP_MULTICAST_LOOP, 0},
        {SOL_IP, IP_MULTICAST_TTL, 7}, {SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
        {SOL_IP, IP_TTL, 9},
    };
    const udp_addr_t local = io_addr("127.0.0.1", 0);
    udp_config_t cfg = io_config();
    udp_t udp;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (unsigned i = 0; i < sizeof set / sizeof set[0]; i++)
        CHECK_EQ(setsockopt(fd, set[i].level, set[i].name, &set[i].value, sizeof(int)), 0);
    CHECK_EQ(bind(fd, &local.sa, sizeof local.v4), 0);
    REQUIRE(udp_adopt(&udp, fd, &cfg) == 0);
    for (unsigned i = 0; i < sizeof set / sizeof set[0]; i++)
        CHECK_EQ(option_of(fd, set[i].level, set[i].name), set[i].value);
    udp_close(&udp);
}

/* Whoever passed a socket in keeps it, so it gets nothing that he could not set himself. What a
 * former worker has set holds. */
static void test_no_capability_is_used_for_a_foreign_socket(void)
{
    udp_t udp, heir;
    udp_config_t cfg = io_config();
    rt_caps_t caps = rt_caps_get();
    if (!TEST_HAS("netns", caps.permitted & RT_CAP(CAP_NET_ADMIN)))
        return;
    rt_caps_t lowered = {.permitted = caps.permitted};
    REQUIRE(rt_caps_set(&lowered) == 0);
    cfg.local = io_addr("127.0.0.1", 0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(fd, &cfg.local.sa, udp_addr_len(&cfg.local)) == 0);
    cfg.rcvbuf_bytes = 1u << 30;
    REQUIRE(udp_adopt(&heir, dup(fd), &cfg) == 0);
    CHECK(heir.eff.rcvbuf_bytes < cfg.rcvbuf_bytes);
    udp_close(&heir);
    cfg.so_priority = 15;
    CHECK_EQ(udp_adopt(&heir, fd, &cfg), -EPERM);
    cfg.rcvbuf_bytes = 64u << 20;
    REQUIRE(io_opened(&udp, &cfg));
    CHECK_EQ(udp.eff.rcvbuf_bytes, cfg.rcvbuf_bytes);
    REQUIRE(udp_adopt(&heir, dup(udp.fd), &cfg) == 0);
    CHECK_EQ(memcmp(&heir.eff, &udp.eff, sizeof heir.eff), 0);
    io_close_pair(&udp, &heir);
    CHECK_EQ(rt_caps_set(&caps), 0);
}

static void test_drops_of_the_socket_are_known_to_its_heir(void)
{
    udp_t tx, rx, heir;
    udp_config_t cfg = io_config();
    cfg.rcvbuf_bytes = 4096;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    uint8_t payload[500] = {0};
    udp_tx_t one = {.data = payload, .len = sizeof payload};
    int error;
    for (int i = 0; i < 100; i++)
        CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    uint64_t drops = udp_drops_refresh(&rx);
    CHECK(drops > 0);
    REQUIRE(udp_adopt(&heir, dup(rx.fd), &cfg) == 0);
    CHECK_EQ(heir.kernel_drops, drops);
    udp_close(&heir);
    io_close_pair(&tx, &rx);
}

static void test_only_fitting_sockets_are_taken_over(void)
{
    int fds = io_open_fds();
    udp_t udp;
    udp_config_t cfg = io_config();
    CHECK_EQ(udp_adopt(&udp, open("/dev/null", O_RDONLY | O_CLOEXEC), &cfg), -ENOTSOCK);
    CHECK_EQ(udp_adopt(&udp, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), &cfg), -EPROTOTYPE);
    io_error_names("not a UDP socket");
    CHECK_EQ(udp_adopt(&udp, socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), &cfg), -EPROTOTYPE);
    CHECK_EQ(udp_adopt(&udp, socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), &cfg), -EINVAL);
    io_error_names("not bound");
    CHECK_EQ(udp_adopt(&udp, -1, &cfg), -EBADF);

    udp_t other;
    REQUIRE(io_opened(&other, &cfg));
    cfg.local = io_addr("127.0.0.1", udp_addr_port(&other.eff.local) ^ 1);
    CHECK_EQ(udp_adopt(&udp, dup(other.fd), &cfg), -EINVAL);
    io_error_names("is bound to");
    cfg.local = io_addr("::1", udp_addr_port(&other.eff.local));
    CHECK_EQ(udp_adopt(&udp, dup(other.fd), &cfg), -EINVAL);
    udp_close(&other);
    CHECK_EQ(io_open_fds(), fds);
}

/* ---- another remote --------------------------------------------------------------------- */

static void test_the_remote_can_change(void)
{
    for (int connected = 0; connected < 2; connected++) {
        for (int fixed_port = 0; fixed_port < 2; fixed_port++) {
            udp_t tx, a, b;
            udp_config_t cfg = io_config();
            cfg.local = io_addr("127.0.0.1", 0);
            REQUIRE(io_opened(&a, &cfg));
            REQUIRE(io_opened(&b, &cfg));
            cfg.connected = connected;
            cfg.remote = a.eff.local;
            cfg.local = io_addr("0.0.0.0", 0);
            if (fixed_port) { /* borrow one that is free */
                REQUIRE(io_opened(&tx, &cfg));
                udp_addr_set_port(&cfg.local, udp_addr_port(&tx.eff.local));
                udp_close(&tx);
            }
            REQUIRE(io_opened(&tx, &cfg));
            uint16_t port = udp_addr_port(&tx.eff.local);
            cfg.remote = b.eff.local;
            CHECK_EQ(udp_set_remote(&tx, &cfg), 0);
            udp_tx_t one = {.data = "b", .len = 1};
            int error;
            CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
            CHECK_EQ(io_receive(&b, 1, 1), 1);
            CHECK_EQ(udp_addr_port(&io_inbox.rx[0].source), port);
            CHECK_EQ(udp_addr_port(&tx.eff.local), port);
            udp_rx_t none;
            CHECK_EQ(udp_recv(&a, &none, 1), 0);

            cfg.remote = io_addr("::1", 9);
            CHECK_EQ(udp_set_remote(&tx, &cfg), -EINVAL);
            CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
            CHECK_EQ(io_receive(&b, 1, 1), 1);
            udp_close(&tx);
            io_close_pair(&a, &b);
        }
    }
}

static void test_a_failed_change_keeps_the_peer(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.connected = true;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    cfg.local = tx.eff.local;
    cfg.remote = io_addr("127.255.255.255", 9);
    CHECK_EQ(udp_set_remote(&tx, &cfg), -EACCES);
    udp_tx_t one = {.data = "x", .len = 1};
    int error;
    CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    CHECK_EQ(io_receive(&rx, 1, 1), 1);
    io_close_pair(&tx, &rx);
}

static void test_opening_and_closing_leaves_nothing_open(void)
{
    int fds = io_open_fds();
    for (int i = 0; i < 50; i++) {
        udp_t tx, rx;
        udp_config_t cfg = io_config();
        cfg.connected = cfg.tx_stamps = cfg.want_gso = cfg.want_gro = true;
        cfg.rx_stamps = UDP_RX_STAMPS_HARDWARE;
        cfg.txtime = UDP_TXTIME_AUTO;
        REQUIRE(io_pair(&tx, &rx, &cfg, i % 2 == 0 ? "127.0.0.1" : "::1"));
        io_close_pair(&tx, &rx);
    }
    CHECK_EQ(io_open_fds(), fds);
}

int main(void)
{
    io_setup();
    RUN(test_defaults_open_any_port);
    RUN(test_options_reach_the_kernel);
    RUN(test_tos_is_received_when_asked_for);
    RUN(test_a_dual_stack_socket_hears_ipv4);
    RUN(test_a_sender_is_connected_where_that_works);
    RUN(test_values_out_of_range_are_named);
    RUN(test_addresses_that_do_not_fit_are_named);
    RUN(test_stamps_need_the_right_clock_map);
    RUN(test_what_the_kernel_refuses_is_named_with_a_fix);
    RUN(test_missing_rights_are_named);
    RUN(test_running_out_of_descriptors_is_named);
    RUN(test_a_socket_survives_its_owner);
    RUN(test_taking_over_twice_changes_nothing);
    RUN(test_what_its_owner_set_stays);
    RUN(test_no_capability_is_used_for_a_foreign_socket);
    RUN(test_drops_of_the_socket_are_known_to_its_heir);
    RUN(test_only_fitting_sockets_are_taken_over);
    RUN(test_the_remote_can_change);
    RUN(test_a_failed_change_keeps_the_peer);
    RUN(test_opening_and_closing_leaves_nothing_open);
    io_teardown();
    return rt_test_result();
}
