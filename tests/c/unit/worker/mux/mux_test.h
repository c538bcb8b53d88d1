/* mux_test.h: a client of the engine "mux", for tests of it. */
#ifndef MUX_TEST_H
#define MUX_TEST_H

#include "unit/worker/worker_test.h"

#include "shm/mux_layout.h"
#include "shm/tx_ring.h"

enum { PORTS = 64 };

static wt_worker_t worker;

static inline shm_config_t mux_channel(const char *name, uint32_t ports)
{
    shm_config_t c = wt_config(name, 0);
    mux_config_t mux = {.ports = ports};
    (void)snprintf(c.engine, sizeof c.engine, MUX_ENGINE);
    memcpy(c.engine_config, &mux, sizeof mux);
    c.engine_bytes = mux_bytes(ports);
    c.local = (shm_addr_t){.family = 0};
    c.overflow = SHM_OVERFLOW_WAIT;
    c.tx_stamp = SHM_STAMP_NONE;
    c.reports = SHM_REPORTS_OFF;
    c.report_slots = 0;
    c.max_payload_bytes = SHM_MAX_RECORD;
    c.producers = 2;
    c.readers = 1;
    return c;
}

static inline int ask_raw(wt_worker_t *w, const wt_channel_t *ch, const void *body, size_t bytes, int fd,
                   mux_reply_t *reply)
{
    uint8_t message[sizeof(ctl_channel_t) + CTL_ENGINE_BYTES] = {0};
    memcpy(message, ch->config.name, sizeof ch->config.name);
    memcpy(message + sizeof(ctl_channel_t), body, bytes);
    return wt_ask(w, w->pool, CTL_ENGINE, message, sizeof(ctl_channel_t) + bytes, &fd, fd >= 0,
                  reply, sizeof *reply, NULL);
}

static inline int ask(wt_worker_t *w, const wt_channel_t *ch, mux_request_t request, mux_reply_t *reply)
{
    *reply = (mux_reply_t){.error = -1};
    return ask_raw(w, ch, &request, sizeof request, -1, reply);
}

/* Returns where the port is bound; port number 0: refused. */
static inline shm_addr_t add_at(wt_worker_t *w, const wt_channel_t *ch, uint16_t port, uint16_t generation,
                         shm_addr_t local)
{
    mux_reply_t reply;
    mux_request_t request = {
        .op = MUX_ADD, .port = port, .generation = generation, .address = local};
    CHECK_EQ(ask(w, ch, request, &reply), 0);
    CHECK_EQ(reply.error, 0);
    return reply.address;
}

static inline uint16_t add(const wt_channel_t *ch, uint16_t port, uint16_t generation)
{
    return add_at(&worker, ch, port, generation, wt_loopback(0)).port;
}

static inline void aim(const wt_channel_t *ch, uint16_t port, uint16_t generation, uint16_t to)
{
    mux_reply_t reply;
    mux_request_t request = {
        .op = MUX_AIM, .port = port, .generation = generation, .address = wt_loopback(to)};
    CHECK_EQ(ask(&worker, ch, request, &reply), 0);
    CHECK_EQ(reply.error, 0);
}

static inline void take_away(const wt_channel_t *ch, uint16_t port, uint16_t generation)
{
    mux_reply_t reply;
    mux_request_t request = {.op = MUX_REMOVE, .port = port, .generation = generation};
    CHECK_EQ(ask(&worker, ch, request, &reply), 0);
    CHECK_EQ(reply.error, 0);
}

static inline int push(wt_channel_t *ch, mux_head_t head, const void *data, size_t bytes)
{
    int rc = tx_producer_push_engine(&ch->producer, &head, sizeof head, data, (uint32_t)bytes,
                                     rt_mono_ns());
    wt_ring(ch);
    return rc;
}

static inline uint32_t drained(const wt_channel_t *ch, uint16_t port)
{
    return rt_load_acquire(&mux_drained(ch->segment.engine)[port]);
}

/* Counters of what was drained hold then, too. */
static inline bool drained_to(const wt_channel_t *ch, uint16_t port, uint32_t number)
{
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && drained(ch, port) != number; i++)
        wt_nap_ms(10);
    wt_settle(&worker);
    return drained(ch, port) == number;
}

/* The next arrival; false: none came. */
static inline bool arrival(wt_channel_t *ch, void *buffer, size_t bytes, rx_packet_t *packet)
{
    int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
    while (rx_reader_next(&ch->reader, buffer, (uint32_t)bytes, packet, NULL) != 1) {
        if (rt_mono_ns() > until)
            return false;
        (void)rx_reader_wait(&ch->reader, 0, until);
    }
    return true;
}

static inline void send_to(int fd, const void *data, size_t bytes, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK_EQ(sendto(fd, data, bytes, 0, (struct sockaddr *)&to, sizeof to), (ssize_t)bytes);
}

static inline uint16_t received_from(int fd, void *buffer, size_t bytes, int *length)
{
    struct sockaddr_in from = {0};
    socklen_t size = sizeof from;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    *length = -1;
    if (poll(&p, 1, WT_TIMEOUT_MS) == 1)
        *length = (int)recvfrom(fd, buffer, bytes, 0, (struct sockaddr *)&from, &size);
    return ntohs(from.sin_port);
}

static inline void close_down(wt_worker_t *w, wt_channel_t *ch)
{
    CHECK_EQ(wt_command(w, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

#endif
