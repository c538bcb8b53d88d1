/* rtp_test.h: RTP channels of a real worker, and a peer that the test plays with a socket. */
#ifndef RTP_TEST_H
#define RTP_TEST_H

#include "rtp_build.h"
#include "unit/worker/worker_test.h"

#include "proto/rtp/rtp_packet.h"
#include "shm/rtp_shm.h"

#include <time.h>

enum { RTPT_BYTES = 2048 };

typedef struct rtpt_packet {
    rtp_view_t view;
    int64_t at_mono_ns; /* read by the test: a bound from above */
    int bytes;
    uint8_t data[RTPT_BYTES];
} rtpt_packet_t;

/* 8 kHz, 5 ms: 40 samples, a byte each. */
static inline shm_rtp_config_t rtpt_stream(void)
{
    return (shm_rtp_config_t){
        .config_bytes = sizeof(shm_rtp_config_t),
        .clock_rate = 8000,
        .samples_per_packet = 40,
        .bytes_per_packet = 40,
        .ssrc = 0x11223344,
        .first_ts = 1000,
        .first_seq = 65500, /* wraps soon */
    };
}

#define RTPT_STEP_NS (5 * RT_NS_PER_MS)

static inline shm_config_t rtpt_config(const char *name, uint16_t remote_port, unsigned direction,
                                       const shm_rtp_config_t *rtp)
{
    shm_config_t c = wt_config(name, remote_port);
    (void)snprintf(c.engine, sizeof c.engine, "%s", SHM_RTP_ENGINE);
    c.direction = (uint8_t)direction;
    c.engine_bytes =
        (sizeof(shm_rtp_state_t) + SHM_PAGE_BYTES - 1) / SHM_PAGE_BYTES * SHM_PAGE_BYTES;
    memcpy(c.engine_config, rtp, sizeof *rtp);
    return c;
}

static inline shm_rtp_state_t *rtpt_state(const wt_channel_t *ch)
{
    return (shm_rtp_state_t *)(void *)ch->segment.engine;
}

static inline uint64_t rtpt_count(const wt_channel_t *ch, shm_rtp_counter_id_t id)
{
    return rt_load_relaxed(&rtpt_state(ch)->counters[id]);
}

/* The same, with all that the worker has done so far. */
static inline uint64_t rtpt_exact(wt_worker_t *w, const wt_channel_t *ch, shm_rtp_counter_id_t id)
{
    wt_settle(w);
    return rtpt_count(ch, id);
}

static inline int64_t rtpt_gauge(const wt_channel_t *ch, shm_rtp_gauge_id_t id)
{
    return rt_load_relaxed(&rtpt_state(ch)->gauges[id]);
}

/* Waits until a counter has reached a value. */
static inline bool rtpt_count_to(const wt_channel_t *ch, shm_rtp_counter_id_t id, uint64_t value)
{
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && rtpt_count(ch, id) < value; i++)
        wt_nap_ms(10);
    return rtpt_count(ch, id) >= value;
}

static inline bool rtpt_gauge_is(const wt_channel_t *ch, shm_rtp_gauge_id_t id, int64_t value)
{
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && rtpt_gauge(ch, id) != value; i++)
        wt_nap_ms(10);
    return rtpt_gauge(ch, id) == value;
}

static inline shm_rtp_tx_t rtpt_head(shm_rtp_what_t what)
{
    return (shm_rtp_tx_t){.what = (uint8_t)what, .payload_type = SHM_RTP_DEFAULT_PT};
}

static inline int rtpt_push(wt_channel_t *ch, const shm_rtp_tx_t *head, const void *media,
                            size_t bytes, int64_t due_ns, uint64_t *sequence)
{
    static uint8_t record[SHM_MAX_RECORD];
    memcpy(record, head, sizeof *head);
    if (bytes > 0)
        memcpy(record + sizeof *head, media, bytes);
    return wt_push(ch, record, sizeof *head + bytes, due_ns, sequence);
}

static inline int rtpt_frame(wt_channel_t *ch, const void *media, size_t bytes)
{
    shm_rtp_tx_t head = rtpt_head(SHM_RTP_FRAME);
    return rtpt_push(ch, &head, media, bytes, 0, NULL);
}

static inline int rtpt_mark(wt_channel_t *ch, shm_rtp_what_t what)
{
    shm_rtp_tx_t head = rtpt_head(what);
    return rtpt_push(ch, &head, NULL, 0, 0, NULL);
}

/* Waits until nothing waits. */
static inline bool rtpt_drained(const wt_channel_t *ch)
{
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && tx_ring_waiting(&ch->segment) > 0; i++)
        wt_nap_ms(10);
    return tx_ring_waiting(&ch->segment) == 0;
}

/* The next datagram, which must be RTP. */
static inline bool rtpt_recv(int fd, rtpt_packet_t *p, int timeout_ms)
{
    p->bytes = wt_recv(fd, p->data, sizeof p->data, timeout_ms);
    p->at_mono_ns = rt_mono_ns();
    if (p->bytes < 0)
        return false;
    CHECK_EQ(rtp_packet_parse(p->data, (size_t)p->bytes, &p->view), RTP_PARSE_OK);
    return true;
}

static inline bool rtpt_silence(int fd, int ms)
{
    uint8_t byte;
    return wt_recv(fd, &byte, 1, ms) == -ETIMEDOUT;
}

/* --- the peer's side ----------------------------------------------------------------------- */

static inline struct sockaddr_in rtpt_address(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline void rtpt_send_bytes(int fd, uint16_t port, const void *data, size_t bytes)
{
    struct sockaddr_in to = rtpt_address(port);
    CHECK(sendto(fd, data, bytes, 0, (struct sockaddr *)&to, sizeof to) == (ssize_t)bytes);
}

static inline void rtpt_send_fields(int fd, uint16_t port, const rtp_fields_t *f, const void *media,
                                    size_t bytes)
{
    uint8_t packet[RTPT_BYTES];
    size_t n = rtp_build(f, media, bytes, packet, sizeof packet);
    if (CHECK(n > 0))
        rtpt_send_bytes(fd, port, packet, n);
}

/* Packet i of a stream: number, time and content follow from it. */
static inline void rtpt_send_packet(int fd, uint16_t port, uint32_t ssrc, int i)
{
    rtp_fields_t f = {.ssrc = ssrc, .seq = (uint16_t)(65530 + i), .ts = 77 + 40 * (uint32_t)i};
    rtpt_send_fields(fd, port, &f, &i, sizeof i);
}

/* Sleeps to the next slot. */
static inline void rtpt_pace(int64_t *next)
{
    *next += RTPT_STEP_NS;
    int64_t left = *next - rt_mono_ns();
    if (left > 0)
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)left}, NULL);
}

/* A record of the rx ring. */
typedef struct rtpt_got {
    shm_rtp_rx_t head;
    rx_packet_t record;
    uint32_t bytes; /* behind the head */
    uint8_t body[RTPT_BYTES];
} rtpt_got_t;

/* The next record; false: none within timeout_ms. */
static inline bool rtpt_get(rx_reader_t *reader, rtpt_got_t *g, int timeout_ms)
{
    uint8_t buffer[sizeof g->head + sizeof g->body];
    int64_t until = rt_mono_ns() + timeout_ms * RT_NS_PER_MS;
    while (rx_reader_next(reader, buffer, sizeof buffer, &g->record, NULL) == 0) {
        if (rt_mono_ns() >= until)
            return false;
        (void)rx_reader_wait(reader, 0, until);
    }
    if (!CHECK(g->record.payload_bytes >= sizeof g->head))
        return false;
    memcpy(&g->head, buffer, sizeof g->head);
    g->bytes = g->record.payload_bytes - (uint32_t)sizeof g->head;
    memcpy(g->body, buffer + sizeof g->head, g->bytes);
    return true;
}

/* What rtpt_send_packet put into it. */
static inline int rtpt_value(const rtpt_got_t *g)
{
    int value = -1;
    CHECK_EQ(g->bytes, sizeof value);
    memcpy(&value, g->body, sizeof value);
    return value;
}

/* Kills the worker; another one takes the channel over. */
static inline void rtpt_replace_worker(wt_worker_t *w, wt_channel_t *ch)
{
    CHECK_EQ(kill(w->pid, SIGKILL), 0);
    (void)wt_wait(w);
    wt_forget(w);
    REQUIRE(wt_launch(w, NULL));
    ctl_pong_t pong;
    CHECK_EQ(wt_reply(w, w->pool, 0, &pong, sizeof pong, NULL, NULL), 0);
    CHECK_EQ(wt_send_open(w, ch, CTL_OPEN_TAKEOVER), 0);
}

/* Ends what was opened by wt_open. */
static inline void rtpt_close(wt_worker_t *w, wt_channel_t *ch)
{
    CHECK_EQ(wt_command(w, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

#endif
