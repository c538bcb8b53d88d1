/* netflux_test.h: links of a real worker, and a partner that the test plays with a socket. */
#ifndef NETFLUX_TEST_H
#define NETFLUX_TEST_H

#include "unit/worker/worker_test.h"

#include "proto/netflux/nfx_frame.h"
#include "proto/netflux/nfx_stats.h"
#include "netflux_put.h"

enum { NFT_BYTES = 4 };

typedef struct nft_packet {
    int bytes; /* of the payload; < 0: none came */
    uint8_t number;
    uint8_t feedback;
    uint8_t payload[SHM_NETFLUX_MAX_PAYLOAD];
} nft_packet_t;

/* A record of the rx ring. */
typedef struct nft_record {
    shm_netflux_rx_t head;
    rx_packet_t record;
    uint32_t bytes; /* behind the head */
    uint8_t values[SHM_NETFLUX_MAX_PAYLOAD];
} nft_record_t;

/* A value each way every 2 ms, and nothing is watched. */
static inline shm_netflux_config_t nft_link(void)
{
    return (shm_netflux_config_t){
        .config_bytes = sizeof(shm_netflux_config_t),
        .tx_payload_bytes = NFT_BYTES,
        .rx_payload_bytes = NFT_BYTES,
        .settings = {.cycle_ns = 2 * RT_NS_PER_MS},
    };
}

static inline shm_config_t nft_config(const char *name, uint16_t remote_port,
                                      const shm_netflux_config_t *link)
{
    shm_config_t c = wt_config(name, remote_port);
    (void)snprintf(c.engine, sizeof c.engine, "%s", SHM_NETFLUX_ENGINE);
    c.engine_bytes = shm_netflux_bytes(c.producers);
    memcpy(c.engine_config, link, sizeof *link);
    return c;
}

/* --- our side ------------------------------------------------------------------------------ */

static inline void nft_put(wt_channel_t *ch, const void *values, uint32_t bytes)
{
    (void)netflux_put(ch->segment.engine, ch->producer_slot, values, bytes, rt_mono_ns());
}

static inline void nft_put_value(wt_channel_t *ch, uint32_t value)
{
    nft_put(ch, &value, sizeof value);
}

static inline nfx_stats_t *nft_stats(const wt_channel_t *ch)
{
    return (nfx_stats_t *)(void *)shm_netflux_stats(ch->segment.engine);
}

static inline uint64_t nft_count(const wt_channel_t *ch, nfx_counter_id_t id)
{
    return rt_load_relaxed(&nft_stats(ch)->counters[id]);
}

/* The same, with all that the worker has done so far. */
static inline uint64_t nft_exact(wt_worker_t *w, const wt_channel_t *ch, nfx_counter_id_t id)
{
    wt_settle(w);
    return nft_count(ch, id);
}

static inline uint64_t nft_gauge(const wt_channel_t *ch, nfx_gauge_id_t id)
{
    return rt_load_relaxed(&nft_stats(ch)->gauges[id]);
}

/* Waits until a counter has reached a value. */
static inline bool nft_count_to(const wt_channel_t *ch, nfx_counter_id_t id, uint64_t value)
{
    for (int i = 0; i < 1000 && nft_count(ch, id) < value; i++)
        wt_nap_ms(10);
    return nft_count(ch, id) >= value;
}

static inline bool nft_gauge_is(const wt_channel_t *ch, nfx_gauge_id_t id, uint64_t value)
{
    for (int i = 0; i < 1000 && nft_gauge(ch, id) != value; i++)
        wt_nap_ms(10);
    return nft_gauge(ch, id) == value;
}

static inline int nft_ask(wt_worker_t *w, const wt_channel_t *ch, const shm_netflux_request_t *r,
                          const void *rest, size_t bytes)
{
    struct {
        ctl_channel_t channel;
        shm_netflux_request_t request;
        uint8_t rest[2000];
    } body;
    memset(&body, 0, sizeof body);
    memcpy(body.channel.name, ch->config.name, sizeof body.channel.name);
    body.request = *r;
    if (bytes > 0)
        memcpy(body.rest, rest, bytes);
    return wt_ask(w, w->pool, CTL_ENGINE, &body, offsetof(__typeof__(body), rest) + bytes, NULL, 0,
                  NULL, 0, NULL);
}

static inline int nft_set(wt_worker_t *w, const wt_channel_t *ch, shm_netflux_settings_t settings)
{
    return nft_ask(w, ch, &(shm_netflux_request_t){.op = SHM_NETFLUX_SET, .settings = settings},
                   NULL, 0);
}

static inline int nft_send(wt_worker_t *w, const wt_channel_t *ch, uint32_t on)
{
    return nft_ask(w, ch, &(shm_netflux_request_t){.op = SHM_NETFLUX_SEND, .on = on}, NULL, 0);
}

static inline int nft_aim(wt_worker_t *w, const wt_channel_t *ch, shm_addr_t remote)
{
    return nft_ask(w, ch, &(shm_netflux_request_t){.op = SHM_NETFLUX_AIM, .remote = remote}, NULL,
                   0);
}

static inline int nft_failsafe(wt_worker_t *w, const wt_channel_t *ch, uint32_t value)
{
    return nft_ask(w, ch, &(shm_netflux_request_t){.op = SHM_NETFLUX_SET_FAILSAFE}, &value,
                   sizeof value);
}

/* The next record; false: none within 10 s. */
static inline bool nft_get(wt_channel_t *ch, nft_record_t *r)
{
    uint8_t buffer[sizeof r->head + sizeof r->values];
    int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
    while (rx_reader_next(&ch->reader, buffer, sizeof buffer, &r->record, NULL) == 0) {
        if (!CHECK(rt_mono_ns() < until))
            return false;
        (void)rx_reader_wait(&ch->reader, 0, until);
    }
    if (!CHECK(r->record.payload_bytes >= sizeof r->head))
        return false;
    memcpy(&r->head, buffer, sizeof r->head);
    r->bytes = r->record.payload_bytes - (uint32_t)sizeof r->head;
    memcpy(r->values, buffer + sizeof r->head, r->bytes);
    return true;
}

/* The next record of this kind; what comes before it is passed over. */
static inline bool nft_get_kind(wt_channel_t *ch, shm_netflux_kind_t kind, nft_record_t *r)
{
    do {
        if (!nft_get(ch, r))
            return false;
    } while (r->head.kind != kind);
    return true;
}

static inline bool nft_get_is(wt_channel_t *ch, shm_netflux_kind_t kind, nft_record_t *r)
{
    return nft_get(ch, r) && CHECK_EQ(r->head.kind, kind);
}

/* --- the partner's side -------------------------------------------------------------------- */

static inline nft_packet_t nft_recv_within(int fd, int timeout_ms)
{
    uint8_t data[2048];
    nft_packet_t p = {.bytes = wt_recv(fd, data, sizeof data, timeout_ms)};
    if (p.bytes < 0)
        return p;
    CHECK(p.bytes >= (int)NFX_HEADER_BYTES && p.bytes <= (int)NFX_MAX_DATAGRAM_BYTES);
    p.bytes -= (int)NFX_HEADER_BYTES;
    p.number = data[0];
    p.feedback = data[1];
    memcpy(p.payload, data + NFX_HEADER_BYTES, (size_t)p.bytes);
    return p;
}

static inline nft_packet_t nft_recv(int fd)
{
    nft_packet_t p = nft_recv_within(fd, WT_TIMEOUT_MS);
    CHECK(p.bytes >= 0);
    return p;
}

static inline uint32_t nft_value(const nft_packet_t *p)
{
    uint32_t value = UINT32_MAX;
    CHECK_EQ(p->bytes, NFT_BYTES);
    memcpy(&value, p->payload, sizeof value);
    return value;
}

/* Reads until a datagram has these values; bytes < 0: none came. */
static inline nft_packet_t nft_recv_value(int fd, uint32_t value)
{
    int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
    nft_packet_t p = {.bytes = -1};
    while (CHECK(rt_mono_ns() < until)) {
        p = nft_recv(fd);
        if (p.bytes < 0 || nft_value(&p) == value)
            return p;
    }
    p.bytes = -1;
    return p;
}

/* Reads until a datagram has this feedback; bytes < 0: none came. */
static inline nft_packet_t nft_recv_feedback(int fd, uint8_t feedback)
{
    int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
    nft_packet_t p = {.bytes = -1};
    while (CHECK(rt_mono_ns() < until)) {
        p = nft_recv(fd);
        if (p.bytes < 0 || p.feedback == feedback)
            return p;
    }
    p.bytes = -1;
    return p;
}

/* Reads what waits already. */
static inline void nft_drain(int fd)
{
    uint8_t data[2048];
    while (recv(fd, data, sizeof data, MSG_DONTWAIT) >= 0) {
    }
}

static inline bool nft_silence(int fd, int ms)
{
    uint8_t byte;
    return wt_recv(fd, &byte, 1, ms) == -ETIMEDOUT;
}

static inline void nft_send_bytes(int fd, const shm_addr_t *to, const void *data, size_t bytes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    memcpy(&at.sin_addr, to->ip, 4);
    CHECK_EQ(sendto(fd, data, bytes, 0, (struct sockaddr *)&at, sizeof at), bytes);
}

static inline void nft_send_value(int fd, const shm_addr_t *to, uint8_t number, uint8_t feedback,
                                  uint32_t value)
{
    uint8_t data[NFX_HEADER_BYTES + sizeof value] = {number, feedback};
    memcpy(data + NFX_HEADER_BYTES, &value, sizeof value);
    nft_send_bytes(fd, to, data, sizeof data);
}

/* --- life ---------------------------------------------------------------------------------- */

static inline shm_addr_t nft_bound(const wt_channel_t *ch)
{
    return ch->segment.status->bound;
}

static inline void nft_close(wt_worker_t *w, wt_channel_t *ch)
{
    CHECK_EQ(wt_command(w, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

/* Stops the worker: what comes now waits for its successor. */
static inline void nft_stop_worker(const wt_worker_t *w)
{
    int status = 0;
    CHECK_EQ(kill(w->pid, SIGSTOP), 0);
    CHECK_EQ(waitpid(w->pid, &status, WUNTRACED), w->pid);
    CHECK(WIFSTOPPED(status));
}

/* Kills the worker; another one takes the channel over. */
static inline bool nft_replace_worker(wt_worker_t *w, wt_channel_t *ch)
{
    CHECK_EQ(kill(w->pid, SIGKILL), 0);
    (void)wt_wait(w);
    wt_forget(w);
    ctl_pong_t pong;
    return CHECK(wt_launch(w, NULL)) &&
           CHECK_EQ(wt_reply(w, w->pool, 0, &pong, sizeof pong, NULL, NULL), 0) &&
           CHECK_EQ(wt_send_open(w, ch, CTL_OPEN_TAKEOVER), 0);
}

#endif
