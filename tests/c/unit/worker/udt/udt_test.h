/* udt_test.h: a client of the engines "udt-port" and "udt", and a worker process to serve it. */
#ifndef UDT_TEST_H
#define UDT_TEST_H

#include "unit/worker/worker_test.h"

#include "proto/udt/udt_packet.h"
#include "shm/tx_ring.h"
#include "shm/udt_shm.h"

enum { TIMEOUT_S = 10 };

static wt_worker_t worker;
static unsigned names;

/* --- a client ------------------------------------------------------------------------------ */

static inline void name_it(shm_config_t *c, const char *what)
{
    (void)snprintf(c->name, sizeof c->name, "%s-%u", what, ++names);
}

static inline shm_config_t port_config(uint32_t listens, uint32_t backlog)
{
    shm_config_t c = wt_config("port", 0);
    shm_udt_port_config_t port = {
        .config_bytes = sizeof port, .max_sockets = 2000, .listens = listens, .backlog = backlog};
    name_it(&c, "port");
    (void)snprintf(c.engine, sizeof c.engine, SHM_UDT_PORT_ENGINE);
    memcpy(c.engine_config, &port, sizeof port);
    c.engine_bytes = SHM_PAGE_BYTES;
    c.tx_stamp = SHM_STAMP_NONE;
    c.reports = SHM_REPORTS_OFF;
    c.report_slots = 0;
    c.gso = c.gro = 1;
    c.producers = 2;
    c.readers = 1;
    c.rx_bytes = 65536;
    c.tx_bytes = 16384;
    return c;
}

static inline shm_udt_config_t udt_config(const wt_channel_t *port, uint8_t mode)
{
    shm_udt_config_t u = {.config_bytes = sizeof u, .mode = mode, .burst_ns = -1};
    (void)snprintf(u.port, sizeof u.port, "%s", port->config.name);
    return u;
}

static inline shm_config_t channel_config(const shm_udt_config_t *u, uint16_t remote)
{
    shm_config_t c = wt_config("udt", remote);
    name_it(&c, "udt");
    (void)snprintf(c.engine, sizeof c.engine, SHM_UDT_ENGINE);
    memcpy(c.engine_config, u, sizeof *u);
    c.engine_bytes = SHM_PAGE_BYTES;
    c.local = (shm_addr_t){.family = 0};
    c.overflow = SHM_OVERFLOW_WAIT;
    c.tx_stamp = SHM_STAMP_NONE;
    c.reports = SHM_REPORTS_OFF;
    c.report_slots = 0;
    c.max_payload_bytes = SHM_MAX_RECORD;
    c.producers = 2;
    c.readers = 1;
    c.rx_bytes = c.tx_bytes = 1 << 20;
    return c;
}

static inline const shm_udt_port_state_t *port_state(const wt_channel_t *port)
{
    return (const shm_udt_port_state_t *)(const void *)port->segment.engine;
}

static inline const shm_udt_state_t *state_of(const wt_channel_t *ch)
{
    return (const shm_udt_state_t *)(const void *)ch->segment.engine;
}

static inline uint64_t port_counter(const wt_channel_t *port, shm_udt_port_counter_id_t id)
{
    return rt_load_relaxed(&port_state(port)->counters[id]);
}

static inline bool open_port(wt_channel_t *port, uint32_t listens, uint32_t backlog)
{
    port->config = port_config(listens, backlog);
    return wt_open(&worker, port);
}

static inline uint16_t bound_port(const wt_channel_t *port)
{
    return port->segment.status->bound.port;
}

static inline bool open_udt(wt_channel_t *ch, const shm_udt_config_t *u, uint16_t remote)
{
    ch->config = channel_config(u, remote);
    return wt_open(&worker, ch);
}

/* Returns the result of OPEN; the channel is of no use where it is not 0. */
static inline int try_open(wt_channel_t *ch)
{
    int rc = wt_segment(ch) ? wt_send_open(&worker, ch, 0) : -ENOMEM;
    if (rc < 0)
        wt_drop(ch);
    return rc;
}

static inline void close_down(wt_channel_t *ch)
{
    CHECK_EQ(wt_command(&worker, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

static inline int ask_raw(const wt_channel_t *ch, const void *body, size_t bytes)
{
    uint8_t message[sizeof(ctl_channel_t) + CTL_ENGINE_BYTES] = {0};
    memcpy(message, ch->config.name, sizeof ch->config.name);
    memcpy(message + sizeof(ctl_channel_t), body, bytes);
    return wt_ask(&worker, worker.pool, CTL_ENGINE, message, sizeof(ctl_channel_t) + bytes, NULL, 0,
                  NULL, 0, NULL);
}

static inline int ask_port(const wt_channel_t *port, shm_udt_port_command_t c)
{
    return ask_raw(port, &c, sizeof c);
}

static inline int ask(const wt_channel_t *ch, uint32_t op, int64_t value)
{
    shm_udt_command_t c = {.op = op, .value = value};
    return ask_raw(ch, &c, sizeof c);
}

/* The next record; false: none came. */
static inline bool arrival(wt_channel_t *ch, void *buffer, uint32_t bytes, rx_packet_t *packet)
{
    int64_t until = rt_mono_ns() + TIMEOUT_S * RT_NS_PER_S;
    while (rx_reader_next(&ch->reader, buffer, bytes, packet, NULL) != 1) {
        if (rt_mono_ns() > until)
            return false;
        (void)rx_reader_wait(&ch->reader, 0, until);
    }
    return true;
}

/* The kind of the next record, its upper bytes in *error; -1: none came. */
static inline int got(wt_channel_t *ch, uint32_t *error)
{
    static uint8_t buffer[SHM_MAX_RECORD];
    rx_packet_t packet;
    if (!arrival(ch, buffer, sizeof buffer, &packet))
        return -1;
    if (error != NULL)
        *error = packet.tag >> 8;
    return (int)(packet.tag & 0xff);
}

static inline bool request_of(wt_channel_t *port, shm_udt_request_t *request)
{
    rx_packet_t packet;
    return arrival(port, request, sizeof *request, &packet) &&
           packet.payload_bytes == sizeof *request;
}

static inline bool accept_udt(wt_channel_t *port, wt_channel_t *ch, shm_udt_config_t u)
{
    shm_udt_request_t request;
    if (!request_of(port, &request))
        return false;
    u.accepts = request.number;
    return open_udt(ch, &u, 0) && got(ch, NULL) == SHM_UDT_GOT_CONNECTED;
}

/* Two ports of one worker, and a connection from the first to the second. */
typedef struct pair {
    wt_channel_t from_port;
    wt_channel_t to_port;
    wt_channel_t from;
    wt_channel_t to;
} pair_t;

static inline bool connect_pair(pair_t *p, uint8_t mode)
{
    memset(p, 0, sizeof *p);
    CHECK(open_port(&p->from_port, 0, 1));
    CHECK(open_port(&p->to_port, mode, 8));
    shm_udt_config_t u = udt_config(&p->from_port, mode);
    CHECK(open_udt(&p->from, &u, bound_port(&p->to_port)));
    bool accepted = accept_udt(&p->to_port, &p->to, udt_config(&p->to_port, mode));
    CHECK(accepted);
    int first = got(&p->from, NULL);
    CHECK_EQ(first, SHM_UDT_GOT_CONNECTED);
    CHECK_EQ(rt_load_relaxed(&state_of(&p->from)->state), SHM_UDT_CONNECTED);
    CHECK_EQ(rt_load_relaxed(&state_of(&p->from)->peer_id),
             rt_load_relaxed(&state_of(&p->to)->socket_id));
    return accepted && first == SHM_UDT_GOT_CONNECTED;
}

static inline void drop_pair(pair_t *p)
{
    close_down(&p->from);
    close_down(&p->to);
    close_down(&p->from_port);
    close_down(&p->to_port);
}

static inline uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 11) * 13);
}

/* One record of a connection. Returns as tx_producer_push_engine. */
static inline int udt_queue(tx_producer_t *p, shm_udt_tx_t head, const void *data, uint32_t bytes)
{
    return tx_producer_push_engine(p, &head, sizeof head, data, bytes, rt_mono_ns());
}

/* Queues as much of the stream as the ring takes now. Returns the bytes. */
static inline uint64_t push_stream(wt_channel_t *ch, uint64_t offset, uint64_t end, uint32_t piece)
{
    static uint8_t data[SHM_MAX_RECORD];
    uint64_t from = offset;
    while (offset < end) {
        uint32_t n = end - offset < piece ? (uint32_t)(end - offset) : piece;
        for (uint32_t i = 0; i < n; i++)
            data[i] = byte_at(offset + i);
        if (udt_queue(&ch->producer, (shm_udt_tx_t){.ttl_ms = -1}, data, n) != 0)
            break;
        offset += n;
    }
    wt_ring(ch);
    return offset - from;
}

/* Takes what has come. Returns the bytes; counts what is wrong of them. */
static inline uint64_t pull_stream(wt_channel_t *ch, uint64_t offset, uint64_t *wrong, int *kind)
{
    static uint8_t data[SHM_MAX_RECORD];
    rx_packet_t packet;
    uint64_t from = offset;
    *kind = SHM_UDT_GOT_BYTES;
    while (*kind == SHM_UDT_GOT_BYTES &&
           rx_reader_next(&ch->reader, data, sizeof data, &packet, NULL) == 1) {
        *kind = (int)(packet.tag & 0xff);
        for (uint32_t i = 0; i < packet.payload_bytes; i++)
            *wrong += data[i] != byte_at(offset + i);
        offset += packet.payload_bytes;
    }
    return offset - from;
}

/* Sends that many bytes from one to the other; what came before it counts. */
static inline void stream(wt_channel_t *from, wt_channel_t *to, uint64_t bytes)
{
    uint64_t sent = 0, came = 0, wrong = 0;
    int kind = SHM_UDT_GOT_BYTES;
    int64_t until = rt_mono_ns() + 4 * TIMEOUT_S * RT_NS_PER_S;
    while (came < bytes && kind == SHM_UDT_GOT_BYTES && rt_mono_ns() < until) {
        sent += push_stream(from, sent, bytes, 30000);
        uint64_t n = pull_stream(to, came, &wrong, &kind);
        came += n;
        if (n == 0)
            (void)rx_reader_wait(&to->reader, 0, rt_mono_ns() + 10 * RT_NS_PER_MS);
    }
    CHECK_EQ(came, bytes);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(kind, SHM_UDT_GOT_BYTES);
}

/* --- messages ------------------------------------------------------------------------------ */

/* Queues a message in records of at most piece bytes. */
static inline bool push_message(wt_channel_t *ch, uint32_t number, uint32_t bytes, uint32_t piece,
                                shm_udt_tx_t head)
{
    static uint8_t data[SHM_MAX_RECORD];
    uint32_t flags = head.flags;
    int64_t until = rt_mono_ns() + 2 * TIMEOUT_S * RT_NS_PER_S;
    for (uint32_t at = 0; at < bytes;) {
        uint32_t n = bytes - at < piece ? bytes - at : piece;
        for (uint32_t i = 0; i < n; i++)
            data[i] = byte_at((uint64_t)number * 1000 + at + i);
        head.flags = flags | (at + n < bytes ? SHM_UDT_MORE : 0);
        int rc = udt_queue(&ch->producer, head, data, n);
        wt_ring(ch);
        if (rc == 0)
            at += n;
        else if (rc != -ENOBUFS || rt_mono_ns() > until)
            return false;
        else
            (void)tx_producer_wait_room(&ch->producer, rt_mono_ns() + 10 * RT_NS_PER_MS);
    }
    return true;
}

/* The next message. Returns its bytes, 0: none came, or something else did; counts wrong bytes of
 * message number. */
static inline uint64_t pull_message(wt_channel_t *ch, uint32_t number, uint64_t *wrong,
                                    unsigned *pieces)
{
    static uint8_t data[SHM_MAX_RECORD];
    rx_packet_t packet;
    uint64_t bytes = 0;
    *pieces = 0;
    do {
        if (!arrival(ch, data, sizeof data, &packet))
            return 0;
        if (packet.tag != SHM_UDT_GOT_PIECE && packet.tag != SHM_UDT_GOT_MESSAGE)
            return 0;
        for (uint32_t i = 0; i < packet.payload_bytes; i++)
            *wrong += data[i] != byte_at((uint64_t)number * 1000 + bytes + i);
        bytes += packet.payload_bytes;
        (*pieces)++;
    } while (packet.tag == SHM_UDT_GOT_PIECE);
    return bytes;
}

/* --- successors ---------------------------------------------------------------------------- */

static inline void kill_and_replace(void)
{
    (void)kill(worker.pid, SIGKILL);
    (void)wt_wait(&worker);
    wt_forget(&worker);
    CHECK(wt_launch(&worker, NULL));
    ctl_pong_t pong;
    CHECK_EQ(wt_reply(&worker, worker.pool, 0, &pong, sizeof pong, NULL, NULL), 0);
}

static inline void take_over(wt_channel_t *ch)
{
    CHECK_EQ(wt_send_open(&worker, ch, CTL_OPEN_TAKEOVER), 0);
    ctl_attach_t ask_again = {.what = CTL_ATTACH_PRODUCER | CTL_ATTACH_READER,
                              .producer = ch->producer_slot,
                              .reader = ch->reader_slot};
    memcpy(ask_again.channel.name, ch->config.name, sizeof ask_again.channel.name);
    ctl_attached_t attached;
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_ATTACH, &ask_again, sizeof ask_again, NULL, 0,
                    &attached, sizeof attached, NULL),
             0);
}

/* --- strangers ----------------------------------------------------------------------------- */

static inline void send_to(int fd, const void *data, size_t bytes, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK_EQ(sendto(fd, data, bytes, 0, (struct sockaddr *)&to, sizeof to), (ssize_t)bytes);
}

static inline bool port_counts_to(const wt_channel_t *port, shm_udt_port_counter_id_t id,
                                  uint64_t n)
{
    for (int i = 0; i < 1000 && port_counter(port, id) < n; i++)
        wt_nap_ms(10);
    return port_counter(port, id) >= n;
}

#endif
