#include "io/udp_probe.h"

#include "base/rt_err.h"
#include "io/udp_private.h"
#include "io/udp_txtime.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#define DATAGRAMS 4
#define DATAGRAM_BYTES 100
#define WAIT_MS 100
#define STAMP_TRIES 10
#define STAMP_TRY_MS 5

static const char *const NAMES[UDP_FEATURES] = {
    [UDP_FEATURE_IPV6] = "ipv6",
    [UDP_FEATURE_GSO] = "gso",
    [UDP_FEATURE_GRO] = "gro",
    [UDP_FEATURE_RX_STAMPS] = "rx_stamps",
    [UDP_FEATURE_TX_STAMPS] = "tx_stamps",
    [UDP_FEATURE_TX_STAMP_IDS] = "tx_stamp_ids",
    [UDP_FEATURE_BUFFERS] = "buffers",
    [UDP_FEATURE_TAI] = "tai",
    [UDP_FEATURE_TXTIME] = "txtime",
    [UDP_FEATURE_HW_STAMPS] = "hw_stamps",
};

static void verdict(udp_probe_result_t *result, bool works, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void verdict(udp_probe_result_t *result, bool works, const char *fmt, ...)
{
    result->works = works;
    result->reason[0] = '\0';
    if (works)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(result->reason, sizeof result->reason, fmt, ap);
    va_end(ap);
}

/* A sender and a receiver on loopback with everything switched on. */
typedef struct pair {
    clock_map_t map;
    udp_rx_pool_t *pool;
    udp_t tx;
    udp_t rx;
} pair_t;

static void close_pair(pair_t *pair)
{
    udp_close(&pair->tx);
    udp_close(&pair->rx);
    udp_rx_pool_destroy(pair->pool);
}

static int open_pair(pair_t *pair)
{
    pair->tx.fd = pair->rx.fd = -1;
    pair->tx.rx_pool = pair->rx.rx_pool = NULL;
    pair->pool = udp_rx_pool_create(1, -1);
    int rc = pair->pool == NULL ? -errno : clock_map_init(&pair->map, RT_CLOCK_MONOTONIC);
    udp_config_t cfg = udp_config_default();
    cfg.clock_map = &pair->map;
    cfg.want_gso = cfg.want_gro = cfg.tx_stamps = true;
    cfg.rx_stamps = UDP_RX_STAMPS_KERNEL;
    rc = rc ? rc : udp_addr_parse(&cfg.local, "127.0.0.1", 0);
    cfg.rx_pool = pair->pool;
    rc = rc ? rc : udp_open(&pair->rx, &cfg);
    if (rc == 0) {
        cfg.remote = pair->rx.eff.local;
        rc = udp_open(&pair->tx, &cfg);
    }
    return rc;
}

/* Where no socket of the host had arrivals stamped so far, the kernel begins some time after it was
 * asked to: its switch is in the code, and a kernel thread patches that. */
static void await_rx_stamps(pair_t *pair)
{
    for (int tries = 0; tries < STAMP_TRIES; tries++) {
        udp_tx_t tx = {.data = "", .len = 1};
        udp_rx_t rx = {.stamp = UDP_STAMP_USER};
        int error;
        (void)udp_send(&pair->tx, &tx, 1, &error);
        struct pollfd ready = {.fd = pair->rx.fd, .events = POLLIN};
        poll(&ready, 1, STAMP_TRY_MS);
        if (udp_recv(&pair->rx, &rx, 1) == 1 && rx.stamp == UDP_STAMP_KERNEL)
            return;
        poll(NULL, 0, STAMP_TRY_MS);
    }
}

static void judge_exchange(pair_t *pair, udp_probe_result_t *results)
{
    uint8_t data[DATAGRAM_BYTES] = {0};
    udp_tx_t tx[DATAGRAMS];
    await_rx_stamps(pair);
    for (unsigned i = 0; i < DATAGRAMS; i++)
        tx[i] = (udp_tx_t){.data = data, .len = sizeof data, .want_stamp = true};
    int error;
    int sent = udp_send(&pair->tx, tx, DATAGRAMS, &error);
    if (sent != DATAGRAMS)
        rt_err_set(-error, "sending over loopback: %s; is the interface lo up?", strerror(error));

    struct pollfd ready = {.fd = pair->rx.fd, .events = POLLIN};
    poll(&ready, 1, sent == DATAGRAMS ? WAIT_MS : 0);
    udp_rx_t rx[DATAGRAMS];
    int got = udp_recv(&pair->rx, rx, DATAGRAMS);
    udp_tx_stamp_t stamps[DATAGRAMS];
    int stamped = udp_tx_stamps(&pair->tx, stamps, DATAGRAMS);

    const char *why = sent == DATAGRAMS ? "the kernel did not do it" : rt_err_text();
    verdict(&results[UDP_FEATURE_GSO], sent == DATAGRAMS && pair->tx.eff.gso, "%s (Linux 4.18)",
            why);
    verdict(&results[UDP_FEATURE_GRO], got > 1 && rx[0].shared_stamp, "%s (Linux 5.0)", why);
    verdict(&results[UDP_FEATURE_RX_STAMPS], got > 0 && rx[0].stamp == UDP_STAMP_KERNEL, "%s", why);
    verdict(&results[UDP_FEATURE_TX_STAMPS], stamped > 0 && stamps[0].id == tx[0].stamp_id, "%s",
            why);
    verdict(&results[UDP_FEATURE_TX_STAMP_IDS], pair->tx.own_stamp_ids, "needs Linux 6.13");
}

static void probe_exchange(udp_probe_result_t *results)
{
    pair_t pair;
    if (open_pair(&pair) == 0) {
        judge_exchange(&pair, results);
    } else {
        for (int i = UDP_FEATURE_GSO; i <= UDP_FEATURE_TX_STAMP_IDS; i++)
            verdict(&results[i], false, "%s", rt_err_text());
    }
    close_pair(&pair);
}

static void probe_ipv6(udp_probe_result_t *result)
{
    udp_t udp;
    udp_config_t cfg = udp_config_default();
    int rc = udp_addr_parse(&cfg.local, "::1", 0);
    rc = rc ? rc : udp_open(&udp, &cfg);
    verdict(result, rc == 0, "%s", rt_err_text());
    if (rc == 0)
        udp_close(&udp);
}

static void probe_buffers(udp_probe_result_t *result)
{
    const uint32_t wanted_bytes = 1u << 26;
    udp_t udp;
    udp_config_t cfg = udp_config_default();
    cfg.rcvbuf_bytes = wanted_bytes;
    int rc = udp_open(&udp, &cfg);
    uint32_t got_bytes = rc == 0 ? udp.eff.rcvbuf_bytes : 0;
    verdict(result, got_bytes >= wanted_bytes,
            "a receive buffer of %u bytes became %u; give the worker CAP_NET_ADMIN or raise "
            "net.core.rmem_max",
            wanted_bytes, got_bytes);
    if (rc == 0)
        udp_close(&udp);
}

/* Opens a socket that must launch by time on this interface. Returns 0, or -errno and the text. */
static int try_txtime(const char *device, rt_clock_id_t clock)
{
    clock_map_t map;
    udp_t udp;
    udp_config_t cfg = udp_config_default();
    cfg.clock = clock;
    cfg.clock_map = &map;
    cfg.txtime = UDP_TXTIME_REQUIRE;
    snprintf(cfg.device, sizeof cfg.device, "%s", device);
    int rc = clock_map_init(&map, clock);
    rc = rc ? rc : udp_open(&udp, &cfg);
    if (rc == 0)
        udp_close(&udp);
    return rc;
}

static void probe_txtime(udp_probe_result_t *result, const char *device)
{
    char qdisc[16] = "";
    rt_clock_id_t clock;
    unsigned ifindex = if_nametoindex(device);
    bool launches = ifindex != 0 && udp_qdisc_kind(ifindex, qdisc) == 0 &&
                    udp_txtime_clock_of(qdisc, &clock) == 0;
    if (ifindex == 0)
        verdict(result, false, "no interface \"%s\"", device);
    else if (!launches)
        verdict(result, false, "%s has queueing discipline %s; tc qdisc replace dev %s root fq",
                device, qdisc[0] == '\0' ? "unknown" : qdisc, device);
    else
        verdict(result, try_txtime(device, clock) == 0, "%s", rt_err_text());
}

void udp_probe(udp_probe_result_t results[UDP_FEATURES], const char *device)
{
    for (int i = 0; i < UDP_FEATURES; i++)
        results[i] = (udp_probe_result_t){.name = NAMES[i]};
    probe_ipv6(&results[UDP_FEATURE_IPV6]);
    probe_exchange(results);
    probe_buffers(&results[UDP_FEATURE_BUFFERS]);
    verdict(&results[UDP_FEATURE_TAI], rt_tai_offset_s() != 0,
            "the kernel's TAI offset is 0; ptp4l/phc2sys or chrony (leapsectz) sets it");
    if (device[0] == '\0') {
        verdict(&results[UDP_FEATURE_TXTIME], false, "no interface named");
        verdict(&results[UDP_FEATURE_HW_STAMPS], false, "no interface named");
        return;
    }
    probe_txtime(&results[UDP_FEATURE_TXTIME], device);
    bool hardware = phc_index_of(device) >= 0;
    verdict(&results[UDP_FEATURE_HW_STAMPS], hardware, "%s", rt_err_text());
}
