/* What the tests of csrc/io share: sockets on loopback, and an inbox that keeps what was received.
 */
#ifndef IO_TEST_H
#define IO_TEST_H

#include "rt_test.h"

#include "base/rt_err.h"
#include "io/udp_io.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { INBOX_MAX = 4096, INBOX_BYTES = 8 << 20, ARRIVAL_MS = 10000 };

static clock_map_t io_map;
static udp_rx_pool_t *io_pool;

typedef struct inbox {
    unsigned count;
    size_t used;
    udp_rx_t rx[INBOX_MAX]; /* data points into bytes */
    uint8_t *bytes;
} inbox_t;

static inbox_t io_inbox;

/* The first socket of a host that wants kernel stamps has them switched on in the background; until
 * then a packet is stamped when it is read. Waits for that, on sockets that keep them on. */
static udp_t io_stamping_tx, io_stamping_rx;

static bool io_stamped_before_read(void)
{
    udp_tx_t one = {.data = "x", .len = 1};
    udp_rx_t got;
    int error;
    if (udp_send(&io_stamping_tx, &one, 1, &error) != 1)
        return false;
    (void)poll(NULL, 0, 1);
    int64_t read_ns = rt_mono_ns();
    return udp_recv(&io_stamping_rx, &got, 1) == 1 && got.time_ns < read_ns;
}

static inline void io_stamps_on(void)
{
    udp_config_t cfg = udp_config_default();
    cfg.rx_pool = io_pool;
    cfg.clock_map = &io_map;
    cfg.rx_stamps = UDP_RX_STAMPS_KERNEL;
    udp_addr_parse(&cfg.local, "127.0.0.1", 0);
    bool open = udp_open(&io_stamping_rx, &cfg) == 0;
    cfg.remote = io_stamping_rx.eff.local;
    if (!open || udp_open(&io_stamping_tx, &cfg) != 0)
        TEST_SKIP("%s", rt_err_text());
    bool on = false;
    for (int i = 0; i < ARRIVAL_MS && !on; i++)
        on = io_stamped_before_read();
    CHECK(on);
}

static inline void io_setup(void)
{
    if (clock_map_init(&io_map, RT_CLOCK_MONOTONIC) < 0)
        TEST_SKIP("%s", rt_err_text());
    io_pool = udp_rx_pool_create(16, -1);
    io_inbox.bytes = malloc(INBOX_BYTES);
    if (io_pool == NULL || io_inbox.bytes == NULL)
        abort();
    io_stamps_on();
}

static inline void io_teardown(void)
{
    udp_close(&io_stamping_tx);
    udp_close(&io_stamping_rx);
    udp_rx_pool_destroy(io_pool);
    free(io_inbox.bytes);
}

static inline udp_addr_t io_addr(const char *host, uint16_t port)
{
    udp_addr_t addr;
    CHECK_EQ(udp_addr_parse(&addr, host, port), 0);
    return addr;
}

static inline bool io_has_six(void)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

/* The host; where this one has no IPv6, IPv4's in place of "::1". */
static inline const char *io_host(const char *host)
{
    if (strcmp(host, "::1") != 0 || io_has_six())
        return host;
    (void)printf("       no IPv6 here: IPv4 instead\n");
    return "127.0.0.1";
}

static inline udp_config_t io_config(void)
{
    udp_config_t cfg = udp_config_default();
    cfg.rx_pool = io_pool;
    cfg.clock_map = &io_map;
    return cfg;
}

static inline bool io_opened(udp_t *udp, const udp_config_t *cfg)
{
    int rc = udp_open(udp, cfg);
    if (rc < 0)
        rt_test_fail(__FILE__, __LINE__, "udp_open: %d %s", rc, rt_err_text());
    return rc == 0;
}

/* A receiver on host and a sender with it as remote. */
static inline bool io_pair(udp_t *tx, udp_t *rx, const udp_config_t *base, const char *host)
{
    udp_config_t cfg = *base;
    cfg.local = io_addr(io_host(host), 0);
    cfg.connected = false;
    tx->fd = -1;
    tx->rx_pool = NULL;
    if (!io_opened(rx, &cfg))
        return false;
    cfg.remote = rx->eff.local;
    cfg.connected = base->connected;
    if (io_opened(tx, &cfg))
        return true;
    udp_close(rx);
    return false;
}

static inline void io_close_pair(udp_t *tx, udp_t *rx)
{
    udp_close(tx);
    udp_close(rx);
}

static inline bool io_readable(const udp_t *udp, int ms)
{
    struct pollfd p = {.fd = udp->fd, .events = POLLIN};
    return poll(&p, 1, ms) > 0 && (p.revents & POLLIN) != 0;
}

static inline void io_keep(inbox_t *inbox, const udp_rx_t *rx)
{
    if (inbox->count == INBOX_MAX || inbox->used + rx->len > INBOX_BYTES)
        return;
    udp_rx_t *kept = &inbox->rx[inbox->count++];
    *kept = *rx;
    kept->data = inbox->bytes + inbox->used;
    if (rx->len > 0)
        memcpy(inbox->bytes + inbox->used, rx->data, rx->len);
    inbox->used += rx->len;
}

/* Receives into io_inbox, at most `step` a call, until `want` are there or nothing comes any more.
 */
static inline unsigned io_receive(udp_t *udp, unsigned want, unsigned step)
{
    static udp_rx_t out[1024];
    io_inbox.count = 0;
    io_inbox.used = 0;
    while (io_inbox.count < want) {
        int got = udp_recv(udp, out, step);
        CHECK(got >= 0 && (unsigned)(got < 0 ? 0 : got) <= step);
        for (int i = 0; i < got; i++)
            io_keep(&io_inbox, &out[i]);
        if (got == 0 && !io_readable(udp, ARRIVAL_MS))
            break;
        if (got < 0)
            break;
    }
    return io_inbox.count;
}

/* Content of datagram number `index`: so that mixed up and cut ones are seen. */
static inline void io_pattern(uint8_t *bytes, size_t len, unsigned index)
{
    uint64_t seed = index + 1;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t r = rt_test_rand(&seed);
        memcpy(bytes + i, &r, len - i < 8 ? len - i : 8);
    }
}

static inline bool io_is_pattern(const udp_rx_t *rx, size_t len, unsigned index)
{
    static uint8_t want[65536];
    io_pattern(want, len, index);
    return CHECK_EQ(rx->len, len) && CHECK_MEM_EQ(rx->data, want, len);
}

/* Sends all of the batch, waiting when the kernel has no room. Returns the number that went. */
static inline unsigned io_send_all(udp_t *udp, udp_tx_t *batch, unsigned n)
{
    unsigned done = 0;
    while (done < n) {
        int error;
        done += (unsigned)udp_send(udp, batch + done, n - done, &error);
        if (error != 0 && error != EAGAIN) {
            rt_test_fail(__FILE__, __LINE__, "udp_send: %s", strerror(error));
            break;
        }
    }
    return done;
}

/* Gives this process a network of its own: only lo, up, with the given MTU. Skips without the
 * right. */
static inline void io_own_network(int lo_mtu)
{
    TEST_NEEDS("netns", unshare(CLONE_NEWNET) == 0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = {.ifr_name = "lo"};
    ifr.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
    bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
    ifr.ifr_mtu = lo_mtu;
    TEST_NEEDS("netns", up && ioctl(fd, SIOCSIFMTU, &ifr) == 0);
    close(fd);
}

static inline int io_open_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static inline bool io_error_names(const char *part)
{
    bool found = strstr(rt_err_text(), part) != NULL;
    if (!found)
        rt_test_fail(__FILE__, __LINE__, "\"%s\" is not in the error text \"%s\"", part,
                     rt_err_text());
    return found;
}

#endif
