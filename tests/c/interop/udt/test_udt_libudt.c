/* Our engine behind a real socket, against the real libudt in another process, over loopback.
 *
 *     engine <-> [ emulated link, both ways ] <-> UDP socket <-> libudt_peer
 *
 * Both roles and rendezvous, streams and messages, with and without loss. */
#include "interop.h"

#include "base/rt_clock.h"
#include "proto/impair/impair.h"
#include "proto/udt/udt_conn.h"
#include "proto/udt/udt_listener.h"
#include "rt_test.h"
#include "udt_app.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS RT_NS_PER_MS
#define SEC RT_NS_PER_S

enum { BATCH = 32, DATAGRAM = 65536, TIMEOUT_S = 60 };

typedef struct scenario {
    const char *name;
    const char *peer; /* what the peer does: serve, connect, meet */
    udt_mode_t mode;
    uint64_t ours; /* bytes or messages from us */
    uint64_t theirs;
    int mss;
    impair_config_t link;
    udt_cc_kind_t cc; /* ours */
    bool is_ipv6;
    bool may_give_up; /* the peer's messages live 0 ms: what is lost once may not come at all */
} scenario_t;

typedef struct side {
    const scenario_t *sc;
    udt_conn_t conn;
    udt_stats_t stats;
    udt_listener_t listener;
    void *own;
    uint8_t *send;
    uint8_t *receive;
    int fd;
    struct sockaddr_storage peer;
    socklen_t peer_bytes;
    impair_t out;
    impair_t in;
    void *out_memory;
    void *in_memory;
    uint64_t sent;
    uint64_t received;
    bool spoilt;
    int64_t done_ns;
} side_t;

static side_t side;

static socklen_t loopback(bool is_ipv6, uint16_t port, struct sockaddr_storage *at)
{
    struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t bytes = is_ipv6 ? sizeof six : sizeof four;
    memset(at, 0, sizeof *at);
    memcpy(at, is_ipv6 ? (void *)&six : (void *)&four, bytes);
    return bytes;
}

/* Both kinds have it in the same place. */
static uint16_t port_of(const struct sockaddr_storage *at)
{
    return ntohs(((const struct sockaddr_in *)(const void *)at)->sin_port);
}

/* Bound to a port of the kernel's choice. */
static int open_udp(bool is_ipv6, uint16_t *port)
{
    int fd = socket(is_ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_storage own;
    socklen_t length = loopback(is_ipv6, 0, &own);
    int space = 4 << 20;
    CHECK_EQ(bind(fd, (struct sockaddr *)&own, length), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&own, &length), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
    *port = port_of(&own);
    return fd;
}

static void *open_link(impair_t *link, impair_config_t config, uint64_t seed)
{
    config.seed = seed;
    size_t bytes = impair_memory_bytes(&config);
    void *memory = malloc(bytes);
    CHECK_EQ(impair_init(link, &config, memory, bytes), 0);
    return memory;
}

static void open_side(const scenario_t *sc, uint16_t peer_port, int fd)
{
    udt_conn_config_t config = {
        .mode = sc->mode,
        .rendezvous = strcmp(sc->peer, "meet") == 0,
        .socket_id = 424242,
        .isn = UDT_SEQ_MASK - 100,
        .mss_bytes = (uint32_t)sc->mss,
        .window_packets = UDT_DEFAULT_WINDOW_PACKETS,
        .send_bytes = 4 << 20,
        .send_packets = 4096,
        .receive_packets = UDT_DEFAULT_BUFFER_PACKETS,
        .linger_ns = 30 * SEC,
        .connect_ns = 20 * SEC,
        .burst_ns = MS / 5,
        .peer_address = {127, 0, 0, 1},
        .cc = {.kind = sc->cc, .rate_bps = 100000000},
    };
    if (sc->is_ipv6)
        memcpy(config.peer_address, &in6addr_loopback, sizeof config.peer_address);
    memset(&side, 0, sizeof side);
    side.sc = sc;
    side.fd = fd;
    side.peer_bytes = loopback(sc->is_ipv6, peer_port, &side.peer);
    side.own = calloc(1, udt_conn_memory_bytes(&config));
    side.send = malloc(config.send_bytes);
    side.receive = malloc(udt_conn_receive_bytes(&config));
    udt_conn_memory_t memory = {.own = side.own, .send = side.send, .receive = side.receive};
    int64_t now_ns = rt_mono_ns();
    CHECK_EQ(udt_conn_init(&side.conn, &config, &memory, &side.stats, now_ns), 0);
    udt_listener_init(&side.listener, sc->mode, &(udt_secret_t){{1, 2}});
    side.out_memory = open_link(&side.out, sc->link, 1);
    side.in_memory = open_link(&side.in, sc->link, 2);
    if (strcmp(sc->peer, "connect") != 0)
        udt_conn_connect(&side.conn, now_ns);
}

static void close_side(void)
{
    free(side.own);
    free(side.send);
    free(side.receive);
    free(side.out_memory);
    free(side.in_memory);
    (void)close(side.fd);
}

/* --- datagrams ----------------------------------------------------------------------------- */

static void offer(impair_t *link, const void *data, size_t size, int64_t now_ns)
{
    (void)impair_offer(link, &(impair_in_t){.data = data, .len = (uint32_t)size}, now_ns);
}

static void listen_to(const uint8_t *data, size_t size, int64_t now_ns)
{
    udt_address_t from = {.ip = {127, 0, 0, 1}, .port = port_of(&side.peer)};
    uint8_t reply[UDT_HANDSHAKE_BYTES];
    udt_handshake_t request;
    switch (udt_listener_receive(&side.listener, data, size, &from, now_ns, reply, &request)) {
    case UDT_LISTENER_REPLY:
        offer(&side.out, reply, sizeof reply, now_ns);
        break;
    case UDT_LISTENER_REQUEST:
        if (side.conn.state == UDT_CONN_OPENED)
            CHECK_EQ(udt_conn_accept(&side.conn, &request, now_ns), 0);
        else
            udt_conn_answer_again(&side.conn);
        break;
    case UDT_LISTENER_IGNORE:
        break;
    }
}

static void receive_all(void)
{
    static uint8_t data[DATAGRAM];
    ssize_t n;
    while ((n = recv(side.fd, data, sizeof data, 0)) >= 0 || errno == ECONNREFUSED) {
        if (n > 0)
            offer(&side.in, data, (size_t)n, rt_mono_ns());
    }
    int64_t now_ns = rt_mono_ns();
    impair_out_t in;
    while (impair_emit(&side.in, &in, 1, now_ns) == 1) {
        bool to_listener = in.len >= 16 && rt_get32(in.data + 12) == 0;
        if (to_listener && strcmp(side.sc->peer, "connect") == 0)
            listen_to(in.data, in.len, now_ns);
        else
            udt_conn_receive(&side.conn, in.data, in.len, now_ns, now_ns);
    }
}

static void send_due(int64_t now_ns)
{
    impair_out_t due;
    while (impair_emit(&side.out, &due, 1, now_ns) == 1)
        (void)sendto(side.fd, due.data, due.len, 0, (struct sockaddr *)&side.peer, side.peer_bytes);
}

static void emit_all(void)
{
    static uint8_t datagram[DATAGRAM];
    udt_out_t out[BATCH];
    size_t n;
    do {
        int64_t now_ns = rt_mono_ns();
        n = udt_conn_emit(&side.conn, out, BATCH, now_ns);
        for (size_t i = 0; i < n; i++) {
            memcpy(datagram, out[i].head, out[i].head_bytes);
            if (out[i].payload_bytes > 0)
                memcpy(datagram + out[i].head_bytes, out[i].payload, out[i].payload_bytes);
            offer(&side.out, datagram, out[i].head_bytes + out[i].payload_bytes, now_ns);
        }
        send_due(now_ns);
    } while (n == BATCH);
}

static void wait_for_more(void)
{
    int64_t at_ns = udt_conn_deadline_ns(&side.conn);
    int64_t links_ns[2] = {impair_deadline_ns(&side.in), impair_deadline_ns(&side.out)};
    for (int i = 0; i < 2; i++)
        at_ns = links_ns[i] < at_ns ? links_ns[i] : at_ns;
    int64_t wait_ns = at_ns - rt_mono_ns();
    if (wait_ns > 100 * MS)
        wait_ns = 100 * MS;
    if (wait_ns < 0)
        wait_ns = 0;
    struct timespec ts = {.tv_nsec = wait_ns};
    struct pollfd p = {.fd = side.fd, .events = POLLIN};
    (void)ppoll(&p, 1, &ts, NULL);
}

/* --- the application ----------------------------------------------------------------------- */

static void write_stream(void)
{
    uint8_t block[16384];
    while (side.sent < side.sc->ours) {
        uint64_t left = side.sc->ours - side.sent;
        uint32_t n = left < sizeof block ? (uint32_t)left : (uint32_t)sizeof block;
        for (uint32_t i = 0; i < n; i++)
            block[i] = interop_byte(side.sent + i);
        int64_t taken = udt_conn_send(&side.conn, block, n, rt_mono_ns());
        if (taken <= 0)
            return;
        side.sent += (uint64_t)taken;
    }
}

static void write_messages(void)
{
    static uint8_t message[INTEROP_MAX_MESSAGE];
    while (side.sent < side.sc->ours) {
        uint32_t n = interop_message(side.sent, message);
        if (app_send_message(&side.conn, message, n, -1, true, rt_mono_ns()) < 0)
            return;
        side.sent++;
    }
}

static void read_stream(void)
{
    static uint8_t block[65536];
    size_t n;
    while ((n = app_read(&side.conn, block, sizeof block, rt_mono_ns())) > 0) {
        for (size_t i = 0; i < n; i++)
            side.spoilt |= block[i] != interop_byte(side.received + i);
        side.received += n;
    }
}

static void read_messages(void)
{
    static uint8_t message[INTEROP_MAX_MESSAGE];
    static uint8_t want[INTEROP_MAX_MESSAGE];
    size_t n;
    while ((n = app_read(&side.conn, message, sizeof message, rt_mono_ns())) > 0) {
        uint64_t number;
        memcpy(&number, message, sizeof number);
        if (side.sc->may_give_up && number > side.received && number < side.sc->theirs)
            side.received = number;
        uint32_t expected = interop_message(side.received++, want);
        side.spoilt |= n != expected || memcmp(message, want, n) != 0;
    }
}

static void run_application(void)
{
    bool is_stream = side.sc->mode == UDT_MODE_STREAM;
    if (side.conn.state == UDT_CONN_CONNECTED)
        (is_stream ? write_stream : write_messages)();
    if (side.conn.state >= UDT_CONN_CONNECTED)
        (is_stream ? read_stream : read_messages)();
    bool done = side.sent == side.sc->ours && side.received == side.sc->theirs &&
                udt_sndbuf_is_empty(&side.conn.snd.buffer);
    if (!done || side.conn.state != UDT_CONN_CONNECTED)
        return;
    /* libudt's recvmsg may lose what it has acknowledged when the other side closes meanwhile, so
     * it goes first. */
    if (side.done_ns == 0)
        side.done_ns = rt_mono_ns();
    if (rt_mono_ns() > side.done_ns + 10 * SEC)
        udt_conn_close(&side.conn, rt_mono_ns());
}

/* --- one scenario -------------------------------------------------------------------------- */

#ifndef LIBUDT_PEER
#define LIBUDT_PEER ""
#endif

static pid_t start_peer(const scenario_t *sc, uint16_t own_port, uint16_t peer_port)
{
    char args[5][24];
    (void)snprintf(args[0], sizeof args[0], "%u", peer_port);
    (void)snprintf(args[1], sizeof args[1], "%u", own_port);
    (void)snprintf(args[2], sizeof args[2], "%" PRIu64, sc->theirs);
    (void)snprintf(args[3], sizeof args[3], "%" PRIu64, sc->ours);
    (void)snprintf(args[4], sizeof args[4], "%d", sc->mss);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    execl(LIBUDT_PEER, "libudt_peer", sc->peer, sc->mode == UDT_MODE_STREAM ? "stream" : "message",
          args[0], args[1], args[2], args[3], args[4], sc->may_give_up ? "0" : "-1",
          sc->is_ipv6 ? "6" : "4", (char *)NULL);
    _exit(3);
}

static int wait_for_peer(pid_t pid)
{
    int status = -1;
    int64_t until_ns = rt_mono_ns() + 10 * SEC;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (rt_mono_ns() > until_ns) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            break;
        }
        receive_all();
        emit_all();
        (void)usleep(1000);
    }
    return status;
}

static bool has_ipv6(void)
{
    struct sockaddr_storage own;
    socklen_t length = loopback(true, 0, &own);
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&own, length) == 0;
    if (fd >= 0)
        (void)close(fd);
    return has;
}

static void run_scenario(const scenario_t *sc)
{
    if (sc->is_ipv6 && !has_ipv6()) {
        printf("  %s: left out, this machine has no ::1\n", sc->name);
        return;
    }
    uint16_t own_port;
    uint16_t peer_port;
    int fd = open_udp(sc->is_ipv6, &own_port);
    (void)close(open_udp(sc->is_ipv6, &peer_port)); /* free a moment ago, so most likely still */
    open_side(sc, peer_port, fd);
    pid_t pid = start_peer(sc, own_port, peer_port);
    int64_t start_ns = rt_mono_ns();
    while (side.conn.state < UDT_CONN_BROKEN && rt_mono_ns() < start_ns + TIMEOUT_S * SEC) {
        receive_all();
        run_application();
        emit_all();
        wait_for_more();
    }
    run_application(); /* what came before the peer's goodbye */
    double seconds = (double)(rt_mono_ns() - start_ns) / 1e9;
    int status = wait_for_peer(pid);
    int failures = atomic_load(&rt_test_failure_count);
    CHECK_EQ(status, 0);
    CHECK_EQ(side.sent, sc->ours);
    if (!sc->may_give_up)
        CHECK_EQ(side.received, sc->theirs);
    CHECK(!side.spoilt);
    printf("  %s: %.2f s, received %" PRIu64 " drops %" PRIu64
           ", state %d error %d, repeated %" PRIu64 " timeouts %" PRIu64 " overdue %" PRIu64 "\n",
           sc->name, seconds, side.received,
           rt_load_relaxed(&side.stats.counters[UDT_COUNT_drops_received]), (int)side.conn.state,
           (int)side.conn.error, rt_load_relaxed(&side.stats.counters[UDT_COUNT_repeated]),
           rt_load_relaxed(&side.stats.counters[UDT_COUNT_timeouts]),
           rt_load_relaxed(&side.stats.counters[UDT_COUNT_overdue]));
    if (atomic_load(&rt_test_failure_count) > failures)
        fprintf(stderr, "in %s: sent %" PRIu64 ", received %" PRIu64 ", errno-like %d\n", sc->name,
                side.sent, side.received, (int)side.conn.error);
    close_side();
}

#define CLEAN         \
    {                 \
        .delay_ns = 0 \
    }
#define BAD                                                                           \
    {                                                                                 \
        .loss = 0.02, .duplicate = 0.02, .reorder = 0.02, .reorder_extra_ns = 2 * MS, \
        .delay_ns = 3 * MS                                                            \
    }

static void test_scenarios(void)
{
    static const scenario_t scenarios[] = {
        {"stream, we connect", "serve", UDT_MODE_STREAM, 3000000, 3000000, 1500, CLEAN,
         UDT_CC_DAIMD, false, false},
        {"stream, we accept", "connect", UDT_MODE_STREAM, 3000000, 3000000, 1500, CLEAN,
         UDT_CC_DAIMD, false, false},
        {"stream, rendezvous", "meet", UDT_MODE_STREAM, 3000000, 3000000, 1500, CLEAN, UDT_CC_DAIMD,
         false, false},
        {"messages, we connect", "serve", UDT_MODE_MESSAGE, 200, 200, 1500, CLEAN, UDT_CC_DAIMD,
         false, false},
        {"messages, we accept", "connect", UDT_MODE_MESSAGE, 200, 200, 1500, CLEAN, UDT_CC_DAIMD,
         false, false},
        {"messages, rendezvous", "meet", UDT_MODE_MESSAGE, 200, 200, 1500, CLEAN, UDT_CC_DAIMD,
         false, false},
        {"stream, MSS 9000", "serve", UDT_MODE_STREAM, 3000000, 3000000, 9000, CLEAN, UDT_CC_DAIMD,
         false, false},
        {"stream, bad link, we connect", "serve", UDT_MODE_STREAM, 500000, 500000, 1500, BAD,
         UDT_CC_DAIMD, false, false},
        {"stream, bad link, we accept", "connect", UDT_MODE_STREAM, 500000, 500000, 1500, BAD,
         UDT_CC_DAIMD, false, false},
        {"stream, bad link, rendezvous", "meet", UDT_MODE_STREAM, 500000, 500000, 1500, BAD,
         UDT_CC_DAIMD, false, false},
        {"stream, bad link, ours alone, BBR", "serve", UDT_MODE_STREAM, 3000000, 0, 1500, BAD,
         UDT_CC_BBR, false, false},
        {"stream, bad link, ours alone, fixed", "serve", UDT_MODE_STREAM, 3000000, 0, 1500, BAD,
         UDT_CC_FIXED, false, false},
        {"messages, bad link, we connect", "serve", UDT_MODE_MESSAGE, 40, 40, 1500, BAD,
         UDT_CC_DAIMD, false, false},
        {"messages, bad link, we accept", "connect", UDT_MODE_MESSAGE, 40, 40, 1500, BAD,
         UDT_CC_DAIMD, false, false},
        {"messages out of time, bad link", "serve", UDT_MODE_MESSAGE, 0, 60, 1500, BAD,
         UDT_CC_DAIMD, false, true},
        {"stream, IPv6, we connect", "serve", UDT_MODE_STREAM, 1000000, 1000000, 1500, CLEAN,
         UDT_CC_DAIMD, true, false},
        {"stream, IPv6, we accept", "connect", UDT_MODE_STREAM, 1000000, 1000000, 1500, CLEAN,
         UDT_CC_DAIMD, true, false},
        {"messages, IPv6, rendezvous", "meet", UDT_MODE_MESSAGE, 50, 50, 1500, CLEAN, UDT_CC_DAIMD,
         true, false},
        {"messages, MSS 200", "connect", UDT_MODE_MESSAGE, 50, 50, 200, CLEAN, UDT_CC_BBR, false,
         false},
    };
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        run_scenario(&scenarios[i]);
}

static void need_peer(void)
{
    const char *ci = getenv("CI");
    if (LIBUDT_PEER[0] != '\0')
        return;
    CHECK(ci == NULL || strcmp(ci, "true") != 0);
    if (rt_test_result() == 0)
        TEST_NEEDS("libudt", false);
}

int main(void)
{
    need_peer();
    if (rt_test_result() != 0)
        return rt_test_result();
    RUN(test_scenarios);
    return rt_test_result();
}
