/* The engines "udt-port" and "udt" in a worker process: connections are made, refused, used, closed
 * and lost; and what a hostile client or network cannot do to them. */
#include "worker_test.h"

#include "proto/udt/udt_packet.h"
#include "shm/udt_send.h"

enum { PATIENCE_S = 10 };

static wt_worker_t worker;
static unsigned names;

/* --- a client ------------------------------------------------------------------------------ */

static void name_it(shm_config_t *c, const char *what)
{
    (void)snprintf(c->name, sizeof c->name, "%s-%u", what, ++names);
}

static shm_config_t port_config(uint32_t listens, uint32_t backlog)
{
    shm_config_t c = wt_config("port", 0);
    shm_udt_port_config_t port = {.config_bytes = sizeof port,
                                  .max_sockets = 2000,
                                  .listens = listens,
                                  .backlog = backlog};
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

static shm_udt_config_t udt_config(const wt_channel_t *port, uint8_t mode)
{
    shm_udt_config_t u = {.config_bytes = sizeof u, .mode = mode, .burst_ns = -1};
    (void)snprintf(u.port, sizeof u.port, "%s", port->config.name);
    return u;
}

static shm_config_t channel_config(const shm_udt_config_t *u, uint16_t remote)
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

static const shm_udt_port_state_t *port_state(const wt_channel_t *port)
{
    return (const shm_udt_port_state_t *)(const void *)port->segment.engine;
}

static const shm_udt_state_t *state_of(const wt_channel_t *ch)
{
    return (const shm_udt_state_t *)(const void *)ch->segment.engine;
}

static uint64_t port_counter(const wt_channel_t *port, shm_udt_port_counter_id_t id)
{
    return rt_load_relaxed(&port_state(port)->counters[id]);
}

static bool open_port(wt_channel_t *port, uint32_t listens, uint32_t backlog)
{
    port->config = port_config(listens, backlog);
    return wt_open(&worker, port);
}

static uint16_t bound_port(const wt_channel_t *port)
{
    return port->segment.status->bound.port;
}

static bool open_udt(wt_channel_t *ch, const shm_udt_config_t *u, uint16_t remote)
{
    ch->config = channel_config(u, remote);
    return wt_open(&worker, ch);
}

/* Returns the result of OPEN; the channel is of no use where it is not 0. */
static int try_open(wt_channel_t *ch)
{
    int rc = wt_segment(ch) ? wt_send_open(&worker, ch, 0) : -ENOMEM;
    if (rc < 0)
        wt_drop(ch);
    return rc;
}

static void close_down(wt_channel_t *ch)
{
    CHECK_EQ(wt_command(&worker, ch, CTL_CLOSE), 0);
    wt_drop(ch);
}

static int ask_raw(const wt_channel_t *ch, const void *body, size_t bytes)
{
    uint8_t message[sizeof(ctl_channel_t) + CTL_ENGINE_BYTES] = {0};
    memcpy(message, ch->config.name, sizeof ch->config.name);
    memcpy(message + sizeof(ctl_channel_t), body, bytes);
    return wt_ask(&worker, worker.pool, CTL_ENGINE, message, sizeof(ctl_channel_t) + bytes, NULL, 0,
                  NULL, 0, NULL);
}

static int ask_port(const wt_channel_t *port, shm_udt_port_command_t c)
{
    return ask_raw(port, &c, sizeof c);
}

static int ask(const wt_channel_t *ch, uint32_t op, int64_t value)
{
    shm_udt_command_t c = {.op = op, .value = value};
    return ask_raw(ch, &c, sizeof c);
}

/* The next record; false: none came. */
static bool arrival(wt_channel_t *ch, void *buffer, uint32_t bytes, rx_packet_t *packet)
{
    int64_t until = rt_mono_ns() + PATIENCE_S * RT_NS_PER_S;
    while (rx_reader_next(&ch->reader, buffer, bytes, packet, NULL) != 1) {
        if (rt_mono_ns() > until)
            return false;
        (void)rx_reader_wait(&ch->reader, 0, until);
    }
    return true;
}

/* The kind of the next record, its upper bytes in *error; -1: none came. */
static int got(wt_channel_t *ch, uint32_t *error)
{
    static uint8_t buffer[SHM_MAX_RECORD];
    rx_packet_t packet;
    if (!arrival(ch, buffer, sizeof buffer, &packet))
        return -1;
    if (error != NULL)
        *error = packet.tag >> 8;
    return (int)(packet.tag & 0xff);
}

static bool request_of(wt_channel_t *port, shm_udt_request_t *request)
{
    rx_packet_t packet;
    return arrival(port, request, sizeof *request, &packet) &&
           packet.payload_bytes == sizeof *request;
}

static bool accept_udt(wt_channel_t *port, wt_channel_t *ch, shm_udt_config_t u)
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

static bool connect_pair(pair_t *p, uint8_t mode)
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

static void drop_pair(pair_t *p)
{
    close_down(&p->from);
    close_down(&p->to);
    close_down(&p->from_port);
    close_down(&p->to_port);
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 11) * 13);
}

/* Queues as much of the stream as the ring takes now. Returns the bytes. */
static uint64_t push_stream(wt_channel_t *ch, uint64_t offset, uint64_t end, uint32_t piece)
{
    static uint8_t data[SHM_MAX_RECORD];
    uint64_t from = offset;
    while (offset < end) {
        uint32_t n = end - offset < piece ? (uint32_t)(end - offset) : piece;
        for (uint32_t i = 0; i < n; i++)
            data[i] = byte_at(offset + i);
        if (udt_send(&ch->producer, (shm_udt_tx_t){.ttl_ms = -1}, data, n, rt_mono_ns()) != 0)
            break;
        offset += n;
    }
    wt_ring(ch);
    return offset - from;
}

/* Takes what has come. Returns the bytes; counts what is wrong of them. */
static uint64_t pull_stream(wt_channel_t *ch, uint64_t offset, uint64_t *wrong, int *kind)
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
static void stream(wt_channel_t *from, wt_channel_t *to, uint64_t bytes)
{
    uint64_t sent = 0, came = 0, wrong = 0;
    int kind = SHM_UDT_GOT_BYTES;
    int64_t until = rt_mono_ns() + 4 * PATIENCE_S * RT_NS_PER_S;
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

/* --- connecting ---------------------------------------------------------------------------- */

static void test_streams_go_both_ways(void)
{
    pair_t p;
    if (connect_pair(&p, SHM_UDT_STREAM)) {
        stream(&p.from, &p.to, 5000000);
        stream(&p.to, &p.from, 5000000);
        stream(&p.from, &p.to, 1);
    }
    CHECK_EQ(port_counter(&p.to_port, SHM_UDT_PORT_COUNT_accepted), 1);
    CHECK_EQ(rt_load_relaxed(&port_state(&p.to_port)->sockets), 1);
    drop_pair(&p);
}

static void test_a_port_without_a_listener_answers_nobody(void)
{
    wt_channel_t port, other, ch;
    uint32_t error = 0;
    CHECK(open_port(&port, 0, 1));
    CHECK(open_port(&other, 0, 1));
    shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
    u.connect_ns = 300 * RT_NS_PER_MS;
    CHECK(open_udt(&ch, &u, bound_port(&other)));
    CHECK_EQ(got(&ch, &error), SHM_UDT_GOT_FAILED);
    CHECK_EQ(error, 1001);
    CHECK_EQ(rt_load_relaxed(&state_of(&ch)->state), SHM_UDT_BROKEN);
    CHECK_EQ(rt_load_relaxed(&state_of(&ch)->error), 1001);
    CHECK(port_counter(&other, SHM_UDT_PORT_COUNT_unknown) > 0);
    CHECK_EQ(rt_load_relaxed(&port_state(&port)->sockets), 0);
    close_down(&ch);
    close_down(&port);
    close_down(&other);
}

static void test_an_application_may_refuse(void)
{
    wt_channel_t port, listener, ch;
    shm_udt_request_t request = {0};
    uint32_t error = 0;
    CHECK(open_port(&port, 0, 1));
    CHECK(open_port(&listener, SHM_UDT_STREAM, 8));
    shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
    CHECK(open_udt(&ch, &u, bound_port(&listener)));
    CHECK(request_of(&listener, &request));
    CHECK_EQ(request.socket_id, rt_load_relaxed(&state_of(&ch)->socket_id));
    CHECK_EQ(request.mss_bytes, 1500);
    shm_udt_port_command_t no = {.op = SHM_UDT_REFUSE, .number = request.number};
    CHECK_EQ(ask_port(&listener, no), 0);
    CHECK_EQ(got(&ch, &error), SHM_UDT_GOT_FAILED);
    CHECK_EQ(error, 1002);
    CHECK_EQ(ask_port(&listener, no), -ENOENT);
    CHECK_EQ(port_counter(&listener, SHM_UDT_PORT_COUNT_refused), 1);
    CHECK_EQ(rt_load_relaxed(&port_state(&listener)->waiting), 0);

    wt_channel_t late;
    u = udt_config(&listener, SHM_UDT_STREAM);
    u.accepts = request.number;
    late.config = channel_config(&u, 0);
    CHECK_EQ(try_open(&late), -ENOENT);
    close_down(&ch);
    close_down(&port);
    close_down(&listener);
}

static void test_another_mode_is_refused(void)
{
    wt_channel_t port, listener, ch;
    uint32_t error = 0;
    CHECK(open_port(&port, 0, 1));
    CHECK(open_port(&listener, SHM_UDT_STREAM, 8));
    shm_udt_config_t u = udt_config(&port, SHM_UDT_MESSAGES);
    CHECK(open_udt(&ch, &u, bound_port(&listener)));
    CHECK_EQ(got(&ch, &error), SHM_UDT_GOT_FAILED);
    CHECK_EQ(error, 1002);
    CHECK(port_counter(&listener, SHM_UDT_PORT_COUNT_bad_version) > 0);
    close_down(&ch);
    close_down(&port);
    close_down(&listener);
}

static void test_a_full_backlog_refuses(void)
{
    wt_channel_t port, listener, ch[3];
    shm_udt_request_t requests[2];
    uint32_t error = 0;
    CHECK(open_port(&port, 0, 1));
    CHECK(open_port(&listener, SHM_UDT_STREAM, 2));
    shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
    for (int i = 0; i < 2; i++) {
        CHECK(open_udt(&ch[i], &u, bound_port(&listener)));
        CHECK(request_of(&listener, &requests[i]));
    }
    CHECK(requests[0].number != requests[1].number);
    CHECK_EQ(rt_load_relaxed(&port_state(&listener)->waiting), 2);
    CHECK(open_udt(&ch[2], &u, bound_port(&listener)));
    CHECK_EQ(got(&ch[2], &error), SHM_UDT_GOT_FAILED);
    CHECK_EQ(error, 1002);

    /* Who stops listening sends the others away. */
    CHECK_EQ(ask_port(&listener, (shm_udt_port_command_t){.op = SHM_UDT_UNLISTEN}), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(got(&ch[i], &error), SHM_UDT_GOT_FAILED);
        CHECK_EQ(error, 1002);
    }
    CHECK_EQ(port_counter(&listener, SHM_UDT_PORT_COUNT_refused), 3);
    for (int i = 0; i < 3; i++)
        close_down(&ch[i]);
    close_down(&port);
    close_down(&listener);
}

static void test_a_port_listens_when_told_to(void)
{
    wt_channel_t port;
    CHECK(open_port(&port, 0, 1));
    shm_udt_port_command_t c = {.op = SHM_UDT_LISTEN, .mode = SHM_UDT_MESSAGES, .backlog = 4};
    CHECK_EQ(ask_port(&port, c), 0);
    CHECK_EQ(rt_load_relaxed(&port_state(&port)->listens), SHM_UDT_MESSAGES);
    CHECK_EQ(ask_port(&port, c), -EBUSY);
    CHECK_EQ(ask_port(&port, (shm_udt_port_command_t){.op = SHM_UDT_UNLISTEN}), 0);
    CHECK_EQ(rt_load_relaxed(&port_state(&port)->listens), 0);
    c.backlog = 0;
    CHECK_EQ(ask_port(&port, c), -EINVAL);
    c.backlog = SHM_UDT_MAX_BACKLOG; /* more than the rx ring holds */
    CHECK_EQ(ask_port(&port, c), -EINVAL);
    c = (shm_udt_port_command_t){.op = SHM_UDT_LISTEN, .mode = 3, .backlog = 4};
    CHECK_EQ(ask_port(&port, c), -EINVAL);
    CHECK_EQ(ask_port(&port, (shm_udt_port_command_t){.op = 99}), -EINVAL);
    close_down(&port);
}

static void test_a_rendezvous_needs_no_listener(void)
{
    wt_channel_t ports[2], ch[2];
    CHECK(open_port(&ports[0], 0, 1));
    CHECK(open_port(&ports[1], 0, 1));
    for (int i = 0; i < 2; i++) {
        shm_udt_config_t u = udt_config(&ports[i], SHM_UDT_STREAM);
        u.rendezvous = 1;
        CHECK(open_udt(&ch[i], &u, bound_port(&ports[1 - i])));
    }
    for (int i = 0; i < 2; i++)
        CHECK_EQ(got(&ch[i], NULL), SHM_UDT_GOT_CONNECTED);
    stream(&ch[0], &ch[1], 300000);
    stream(&ch[1], &ch[0], 300000);
    for (int i = 0; i < 2; i++) {
        close_down(&ch[i]);
        close_down(&ports[i]);
    }
}

static void test_both_ends_on_one_port(void)
{
    wt_channel_t port, from, to;
    CHECK(open_port(&port, SHM_UDT_STREAM, 4));
    shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
    CHECK(open_udt(&from, &u, bound_port(&port)));
    CHECK(accept_udt(&port, &to, u));
    CHECK_EQ(got(&from, NULL), SHM_UDT_GOT_CONNECTED);
    stream(&from, &to, 1000000);
    close_down(&from);
    close_down(&to);
    close_down(&port);
}

static void test_ipv6_and_ipv4_on_one_port(void)
{
    wt_channel_t port, listener, from[2], to[2];
    listener.config = port_config(SHM_UDT_STREAM, 4);
    listener.config.local = (shm_addr_t){.family = 6};
    CHECK(wt_open(&worker, &listener));
    port.config = port_config(0, 1);
    port.config.local = (shm_addr_t){.family = 6};
    CHECK(wt_open(&worker, &port));
    shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
    for (int i = 0; i < 2; i++) {
        from[i].config = channel_config(&u, bound_port(&listener));
        if (i == 1)
            from[i].config.remote = (shm_addr_t){
                .family = 6, .port = bound_port(&listener), .ip = {[15] = 1}};
        CHECK(wt_open(&worker, &from[i]));
        CHECK(accept_udt(&listener, &to[i], udt_config(&listener, SHM_UDT_STREAM)));
        CHECK_EQ(got(&from[i], NULL), SHM_UDT_GOT_CONNECTED);
        stream(&from[i], &to[i], 200000);
        CHECK_EQ(state_of(&to[i])->peer.family, i == 0 ? 4 : 6);
    }
    for (int i = 0; i < 2; i++) {
        close_down(&from[i]);
        close_down(&to[i]);
    }
    close_down(&port);
    close_down(&listener);
}

/* --- streams ------------------------------------------------------------------------------- */

static void set_link(shm_config_t *c, double loss, int64_t delay_ns, uint64_t seed)
{
    c->impair_tx = c->impair_rx = (shm_impair_t){
        .loss = loss, .reorder = loss, .duplicate = loss, .delay_ns = delay_ns, .seed = seed};
}

static void test_a_stream_survives_a_bad_link(void)
{
    pair_t p = {0};
    p.from_port.config = port_config(0, 1);
    set_link(&p.from_port.config, 0.01, RT_NS_PER_MS, 3);
    CHECK(wt_open(&worker, &p.from_port));
    CHECK(open_port(&p.to_port, SHM_UDT_STREAM, 8));
    shm_udt_config_t u = udt_config(&p.from_port, SHM_UDT_STREAM);
    u.connect_ns = PATIENCE_S * RT_NS_PER_S;
    CHECK(open_udt(&p.from, &u, bound_port(&p.to_port)));
    CHECK(accept_udt(&p.to_port, &p.to, udt_config(&p.to_port, SHM_UDT_STREAM)));
    CHECK_EQ(got(&p.from, NULL), SHM_UDT_GOT_CONNECTED);
    stream(&p.from, &p.to, 1000000);
    stream(&p.to, &p.from, 1000000);
    CHECK(wt_counter(&p.from_port, SHM_COUNT_impair_tx_lost) > 0 ||
          wt_count_to(&p.from_port, SHM_COUNT_impair_tx_lost, 1));
    drop_pair(&p);
}

/* What is not read stays where it is; the sender's ring fills up, and nothing is lost. */
static void test_who_does_not_read_stops_the_sender(void)
{
    pair_t p = {0};
    uint64_t end = 1u << 30, sent = 0, came = 0, wrong = 0;
    int kind = 0;
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    int64_t until = rt_mono_ns() + PATIENCE_S * RT_NS_PER_S;
    for (int still = 0; still < 30 && rt_mono_ns() < until;) {
        uint64_t n = push_stream(&p.from, sent, end, 60000);
        still = n == 0 ? still + 1 : 0;
        sent += n;
        wt_nap_ms(10);
    }
    /* Two rings of 1 MiB, a send buffer and a receive buffer of 8192 packets. */
    CHECK(sent > 12000000 && sent < 40000000);
    until = rt_mono_ns() + 4 * PATIENCE_S * RT_NS_PER_S;
    while (came < sent && rt_mono_ns() < until) {
        uint64_t n = pull_stream(&p.to, came, &wrong, &kind);
        came += n;
        if (n == 0)
            (void)rx_reader_wait(&p.to.reader, 0, rt_mono_ns() + 10 * RT_NS_PER_MS);
    }
    CHECK_EQ(came, sent);
    CHECK_EQ(wrong, 0);
    drop_pair(&p);
}

static void test_a_hundred_connections_share_two_ports(void)
{
    enum { N = 100 };
    static wt_channel_t from[N], to[N];
    wt_channel_t port, listener;
    CHECK(open_port(&port, 0, 1));
    CHECK(open_port(&listener, SHM_UDT_STREAM, 8));
    for (int i = 0; i < N; i++) {
        shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
        from[i].config = channel_config(&u, bound_port(&listener));
        from[i].config.rx_bytes = from[i].config.tx_bytes = 65536;
        from[i].config.max_payload_bytes = 8192;
        CHECK(wt_open(&worker, &from[i]));
        CHECK(accept_udt(&listener, &to[i], udt_config(&listener, SHM_UDT_STREAM)));
        CHECK_EQ(got(&from[i], NULL), SHM_UDT_GOT_CONNECTED);
    }
    CHECK_EQ(rt_load_relaxed(&port_state(&listener)->sockets), N);
    for (int i = 0; i < N; i++)
        (void)push_stream(&from[i], 0, (uint64_t)i + 1, 1000);
    for (int i = 0; i < N; i++) {
        uint64_t came = 0, wrong = 0;
        int kind = 0;
        int64_t until = rt_mono_ns() + PATIENCE_S * RT_NS_PER_S;
        while (came < (uint64_t)i + 1 && rt_mono_ns() < until) {
            came += pull_stream(&to[i], came, &wrong, &kind);
            wt_nap_ms(1);
        }
        CHECK_EQ(came, i + 1);
        CHECK_EQ(wrong, 0);
    }
    for (int i = 0; i < N; i++) {
        close_down(&from[i]);
        close_down(&to[i]);
    }
    CHECK_EQ(rt_load_relaxed(&port_state(&port)->sockets), 0);
    close_down(&port);
    close_down(&listener);
}

/* --- messages ------------------------------------------------------------------------------ */

/* Queues a message in records of at most piece bytes. */
static bool push_message(wt_channel_t *ch, uint32_t number, uint32_t bytes, uint32_t piece,
                         shm_udt_tx_t head)
{
    static uint8_t data[SHM_MAX_RECORD];
    uint32_t flags = head.flags;
    int64_t until = rt_mono_ns() + 2 * PATIENCE_S * RT_NS_PER_S;
    for (uint32_t at = 0; at < bytes;) {
        uint32_t n = bytes - at < piece ? bytes - at : piece;
        for (uint32_t i = 0; i < n; i++)
            data[i] = byte_at((uint64_t)number * 1000 + at + i);
        head.flags = flags | (at + n < bytes ? SHM_UDT_MORE : 0);
        int rc = udt_send(&ch->producer, head, data, n, rt_mono_ns());
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
static uint64_t pull_message(wt_channel_t *ch, uint32_t number, uint64_t *wrong, unsigned *pieces)
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

static void test_messages_keep_their_bounds(void)
{
    static const uint32_t sizes[] = {1, 1456, 1457, 20000, 65000, 300000, 3, 5000000};
    pair_t p = {0};
    uint64_t wrong = 0;
    unsigned pieces = 0;
    shm_udt_tx_t head = {.ttl_ms = -1, .flags = SHM_UDT_IN_ORDER};
    CHECK(connect_pair(&p, SHM_UDT_MESSAGES));
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CHECK(push_message(&p.from, i, sizes[i], 50000, head));
        CHECK_EQ(pull_message(&p.to, i, &wrong, &pieces), sizes[i]);
        CHECK_EQ(pieces, (sizes[i] + SHM_MAX_RECORD - 1) / SHM_MAX_RECORD);
    }
    CHECK_EQ(wrong, 0);
    drop_pair(&p);
}

/* What cannot be sent as a message is dropped as a whole, what follows it goes out. */
static void test_impossible_messages_are_dropped(void)
{
    pair_t p = {0};
    uint64_t wrong = 0;
    unsigned pieces = 0;
    shm_udt_tx_t head = {.ttl_ms = -1, .flags = SHM_UDT_IN_ORDER};
    CHECK(connect_pair(&p, SHM_UDT_MESSAGES));
    CHECK(push_message(&p.from, 0, 13000000, 60000, head)); /* longer than the send buffer */
    CHECK_EQ(udt_send(&p.from.producer, head, NULL, 0, rt_mono_ns()), 0);
    CHECK(push_message(&p.from, 1, 10, 60000, head));
    CHECK_EQ(pull_message(&p.to, 1, &wrong, &pieces), 10);
    CHECK_EQ(wrong, 0);
    CHECK(wt_count_to(&p.from, SHM_COUNT_tx_failed, 2));
    drop_pair(&p);
}

/* The messages whose time is over never come, the others do, in their order. */
static void test_messages_outlive_their_time(void)
{
    pair_t p = {0};
    uint64_t wrong = 0;
    unsigned pieces = 0;
    shm_udt_tx_t for_ever = {.ttl_ms = -1, .flags = SHM_UDT_IN_ORDER};
    shm_udt_tx_t mortal = {.ttl_ms = 1, .flags = SHM_UDT_IN_ORDER};
    CHECK(connect_pair(&p, SHM_UDT_MESSAGES));
    CHECK_EQ(ask(&p.from, SHM_UDT_SET_BANDWIDTH, 1000000), 0);
    CHECK(push_message(&p.from, 0, 200000, 60000, for_ever)); /* takes 0.2 s */
    for (uint32_t i = 1; i <= 5; i++)
        CHECK(push_message(&p.from, i, 5000, 60000, mortal));
    CHECK(push_message(&p.from, 6, 5000, 60000, for_ever));
    CHECK_EQ(pull_message(&p.to, 0, &wrong, &pieces), 200000);
    CHECK_EQ(pull_message(&p.to, 6, &wrong, &pieces), 5000);
    CHECK_EQ(wrong, 0);
    drop_pair(&p);
}

/* --- the end ------------------------------------------------------------------------------- */

static void test_close_lingers_until_all_is_there(void)
{
    pair_t p = {0};
    uint64_t end = 4000000, sent = 0, came = 0, wrong = 0;
    int kind = SHM_UDT_GOT_BYTES;
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    int64_t until = rt_mono_ns() + 4 * PATIENCE_S * RT_NS_PER_S;
    while (sent < end && rt_mono_ns() < until) {
        sent += push_stream(&p.from, sent, end, 30000);
        wt_nap_ms(1);
    }
    CHECK_EQ(sent, end);
    CHECK_EQ(ask(&p.from, SHM_UDT_CLOSE, 60 * RT_NS_PER_S), 0);
    (void)push_stream(&p.from, sent, sent + 100, 100); /* too late */
    while (kind == SHM_UDT_GOT_BYTES && rt_mono_ns() < until) {
        came += pull_stream(&p.to, came, &wrong, &kind);
        wt_nap_ms(1);
    }
    CHECK_EQ(came, end);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(kind, SHM_UDT_GOT_BROKEN);
    CHECK_EQ(rt_load_relaxed(&state_of(&p.to)->error), 2001);
    CHECK_EQ(got(&p.from, NULL), SHM_UDT_GOT_CLOSED);
    CHECK_EQ(rt_load_relaxed(&state_of(&p.from)->state), SHM_UDT_CLOSED);
    CHECK(wt_count_to(&p.from, SHM_COUNT_tx_failed, 1));
    drop_pair(&p);
}

static void test_linger_has_an_end(void)
{
    pair_t p = {0};
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    CHECK_EQ(wt_command(&worker, &p.to_port, CTL_HOLD), 0); /* the peer is deaf */
    (void)push_stream(&p.from, 0, 900000, 30000);
    CHECK_EQ(ask(&p.from, SHM_UDT_CLOSE, -1), -EINVAL);
    CHECK_EQ(ask(&p.from, SHM_UDT_CLOSE, 200 * RT_NS_PER_MS), 0);
    CHECK_EQ(rt_load_relaxed(&state_of(&p.from)->state), SHM_UDT_CLOSING);
    CHECK_EQ(got(&p.from, NULL), SHM_UDT_GOT_CLOSED);
    CHECK_EQ(wt_command(&worker, &p.to_port, CTL_RELEASE), 0);
    drop_pair(&p);
}

static void test_a_channel_that_closes_tells_its_peer(void)
{
    pair_t p = {0};
    uint32_t error = 0;
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    close_down(&p.from);
    CHECK_EQ(got(&p.to, &error), SHM_UDT_GOT_BROKEN);
    CHECK_EQ(error, 2001);
    CHECK_EQ(rt_load_relaxed(&port_state(&p.from_port)->sockets), 0);
    CHECK_EQ(rt_load_relaxed(&port_state(&p.to_port)->sockets), 0);

    /* What is sent now fails, and the ring does not fill up. */
    for (int i = 0; i < 1000; i++) {
        uint64_t n = push_stream(&p.to, 0, 50000, 50000);
        if (n == 0)
            wt_nap_ms(1);
    }
    CHECK(wt_count_to(&p.to, SHM_COUNT_tx_failed, 100));
    close_down(&p.to);
    close_down(&p.from_port);
    close_down(&p.to_port);
}

static void test_a_port_takes_its_connections_along(void)
{
    pair_t p = {0};
    uint32_t error = 0;
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    close_down(&p.from_port);
    CHECK_EQ(got(&p.from, &error), SHM_UDT_GOT_BROKEN);
    CHECK_EQ(error, 2001);
    CHECK_EQ(got(&p.to, &error), SHM_UDT_GOT_BROKEN);
    CHECK_EQ(rt_load_relaxed(&state_of(&p.from)->state), SHM_UDT_BROKEN);
    CHECK_EQ(ask(&p.from, SHM_UDT_CLOSE, 0), 0);
    CHECK_EQ(ask(&p.from, SHM_UDT_REPORT_ERROR, 0), 0);
    close_down(&p.from);
    close_down(&p.to);
    close_down(&p.to_port);
}

static void test_the_peer_is_told_of_an_error(void)
{
    pair_t p = {0};
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    CHECK_EQ(ask(&p.from, SHM_UDT_REPORT_ERROR, 0), 0);
    CHECK_EQ(got(&p.to, NULL), SHM_UDT_GOT_PEER_ERROR);
    drop_pair(&p);
}

static void test_purge_takes_back_what_waits(void)
{
    pair_t p = {0};
    uint64_t wrong = 0;
    unsigned pieces = 0;
    shm_udt_tx_t head = {.ttl_ms = -1, .flags = SHM_UDT_MORE};
    CHECK(connect_pair(&p, SHM_UDT_MESSAGES));
    CHECK_EQ(udt_send(&p.from.producer, head, "half a message", 14, rt_mono_ns()), 0);
    wt_ring(&p.from);
    CHECK_EQ(wt_command(&worker, &p.from, CTL_PURGE), 0);
    /* The other half, and a whole one. */
    head.flags = 0;
    CHECK_EQ(udt_send(&p.from.producer, head, "half a message", 14, rt_mono_ns()), 0);
    CHECK(push_message(&p.from, 7, 77, 1000, head));
    uint64_t bytes = pull_message(&p.to, 7, &wrong, &pieces);
    if (bytes == 14) { /* purged before it was taken in: then the second half is a message */
        wrong = 0;
        bytes = pull_message(&p.to, 7, &wrong, &pieces);
    }
    CHECK_EQ(bytes, 77);
    CHECK_EQ(wrong, 0);
    drop_pair(&p);
}

static void test_a_held_channel_keeps_its_connection(void)
{
    pair_t p = {0};
    uint64_t wrong = 0;
    int kind = 0;
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    CHECK_EQ(wt_command(&worker, &p.to, CTL_HOLD), 0);
    (void)push_stream(&p.from, 0, 10000, 1000);
    wt_nap_ms(50);
    CHECK_EQ(pull_stream(&p.to, 0, &wrong, &kind), 0);
    CHECK_EQ(wt_command(&worker, &p.to, CTL_RELEASE), 0);
    uint64_t came = 0;
    int64_t until = rt_mono_ns() + PATIENCE_S * RT_NS_PER_S;
    while (came < 10000 && rt_mono_ns() < until) {
        came += pull_stream(&p.to, came, &wrong, &kind);
        wt_nap_ms(1);
    }
    CHECK_EQ(came, 10000);
    CHECK_EQ(wrong, 0);
    drop_pair(&p);
}

/* --- a successor --------------------------------------------------------------------------- */

static void kill_and_replace(void)
{
    (void)kill(worker.pid, SIGKILL);
    (void)wt_wait(&worker);
    wt_forget(&worker);
    CHECK(wt_launch(&worker, NULL));
    ctl_pong_t pong;
    CHECK_EQ(wt_reply(&worker, worker.pool, 0, &pong, sizeof pong, NULL, NULL), 0);
}

static void take_over(wt_channel_t *ch)
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

static void test_a_successor_listens_again(void)
{
    pair_t p = {0};
    wt_channel_t again[2];
    uint32_t error = 0;
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    uint16_t bound = bound_port(&p.to_port);
    kill_and_replace();
    /* In any order: the connection's port comes later than it. */
    take_over(&p.to);
    take_over(&p.to_port);
    CHECK_EQ(bound_port(&p.to_port), bound);
    CHECK_EQ(rt_load_relaxed(&port_state(&p.to_port)->listens), SHM_UDT_STREAM);
    CHECK_EQ(got(&p.to, &error), SHM_UDT_GOT_BROKEN);
    CHECK_EQ(error, 2001);
    CHECK_EQ(rt_load_relaxed(&state_of(&p.to)->state), SHM_UDT_LOST);
    take_over(&p.from_port);
    take_over(&p.from);
    CHECK_EQ(got(&p.from, &error), SHM_UDT_GOT_BROKEN);
    for (int i = 0; i < 100; i++) { /* what is left of them is drained */
        (void)push_stream(&p.from, 0, 50000, 50000);
        wt_nap_ms(1);
    }
    CHECK(wt_count_to(&p.from, SHM_COUNT_tx_failed, 20));

    shm_udt_config_t u = udt_config(&p.from_port, SHM_UDT_STREAM);
    CHECK(open_udt(&again[0], &u, bound));
    CHECK(accept_udt(&p.to_port, &again[1], udt_config(&p.to_port, SHM_UDT_STREAM)));
    CHECK_EQ(got(&again[0], NULL), SHM_UDT_GOT_CONNECTED);
    stream(&again[0], &again[1], 100000);
    close_down(&again[0]);
    close_down(&again[1]);
    drop_pair(&p);
}

/* A peer elsewhere is told, once the port is there again. */
static void test_a_successor_tells_the_peer(void)
{
    uint16_t number = 0;
    int fd = wt_udp(&number);
    wt_channel_t port, ch;
    uint8_t packet[2000];
    udt_view_t view = {0};
    udt_handshake_t hs;
    CHECK(open_port(&port, 0, 1));
    shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
    CHECK(open_udt(&ch, &u, number));
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(bound_port(&port)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int n = wt_recv(fd, packet, sizeof packet, 5000);
    CHECK_EQ(udt_packet_parse(packet, (size_t)n, &view), UDT_PARSE_OK);
    udt_handshake_read(&view, &hs);
    uint32_t peer = hs.socket_id;
    hs.request = UDT_REQUEST_RESPONSE;
    hs.socket_id = 4711;
    n = (int)udt_put_handshake(packet, &hs, peer);
    CHECK_EQ(sendto(fd, packet, (size_t)n, 0, (struct sockaddr *)&to, sizeof to), n);
    CHECK_EQ(got(&ch, NULL), SHM_UDT_GOT_CONNECTED);
    kill_and_replace();
    take_over(&ch);
    take_over(&port);
    bool told = false;
    for (int i = 0; i < 1000 && !told; i++) {
        n = wt_recv(fd, packet, sizeof packet, 5000);
        if (n < 0)
            break;
        told = udt_packet_parse(packet, (size_t)n, &view) == UDT_PARSE_OK && view.is_control &&
               view.type == UDT_TYPE_SHUTDOWN && view.socket_id == 4711;
    }
    CHECK(told);
    close_down(&ch);
    close_down(&port);
    close(fd);
}

/* --- bad input ----------------------------------------------------------------------------- */

static void send_to(int fd, const void *data, size_t bytes, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK_EQ(sendto(fd, data, bytes, 0, (struct sockaddr *)&to, sizeof to), (ssize_t)bytes);
}

static bool port_counts_to(const wt_channel_t *port, shm_udt_port_counter_id_t id, uint64_t n)
{
    for (int i = 0; i < 1000 && port_counter(port, id) < n; i++)
        wt_nap_ms(10);
    return port_counter(port, id) >= n;
}

static void test_strangers_are_counted_and_not_heard(void)
{
    pair_t p = {0};
    uint16_t number = 0;
    int fd = wt_udp(&number);
    uint8_t packet[UDT_HANDSHAKE_BYTES] = {0};
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    uint32_t id = rt_load_relaxed(&state_of(&p.to)->socket_id);
    uint16_t to = bound_port(&p.to_port);
    size_t n = udt_put_control(packet, UDT_TYPE_SHUTDOWN, 0, id);
    send_to(fd, packet, n, to);
    CHECK(port_counts_to(&p.to_port, SHM_UDT_PORT_COUNT_foreign, 1));
    (void)udt_put_control(packet, UDT_TYPE_SHUTDOWN, 0, id ^ 1);
    send_to(fd, packet, n, to);
    CHECK(port_counts_to(&p.to_port, SHM_UDT_PORT_COUNT_unknown, 1));
    send_to(fd, packet, 15, to);
    CHECK(port_counts_to(&p.to_port, SHM_UDT_PORT_COUNT_unknown, 2));
    udt_handshake_t hs = {.version = 4,
                          .mode = UDT_MODE_STREAM,
                          .mss = 1500,
                          .window_packets = 100,
                          .request = UDT_REQUEST_RESPONSE,
                          .socket_id = 99,
                          .cookie = 12345};
    n = udt_put_handshake(packet, &hs, 0);
    send_to(fd, packet, n, to);
    CHECK(port_counts_to(&p.to_port, SHM_UDT_PORT_COUNT_bad_cookie, 1));
    stream(&p.from, &p.to, 10000);
    CHECK_EQ(rt_load_relaxed(&state_of(&p.to)->state), SHM_UDT_CONNECTED);
    close(fd);
    drop_pair(&p);
}

/* Who has shown that he is where he says he is, and then is never heard of again. */
static void test_requests_nobody_takes_are_forgotten(void)
{
    wt_channel_t listener;
    shm_udt_request_t request;
    uint16_t number = 0;
    int fd = wt_udp(&number);
    uint8_t packet[UDT_HANDSHAKE_BYTES];
    udt_view_t view;
    CHECK(open_port(&listener, SHM_UDT_STREAM, 2));
    udt_handshake_t hs = {.version = 4,
                          .mode = UDT_MODE_STREAM,
                          .mss = 1500,
                          .window_packets = 100,
                          .request = UDT_REQUEST_REGULAR,
                          .socket_id = 99};
    send_to(fd, packet, udt_put_handshake(packet, &hs, 0), bound_port(&listener));
    CHECK_EQ(wt_recv(fd, packet, sizeof packet, 5000), sizeof packet);
    CHECK_EQ(udt_packet_parse(packet, sizeof packet, &view), UDT_PARSE_OK);
    udt_handshake_read(&view, &hs);
    hs.request = UDT_REQUEST_RESPONSE;
    for (int i = 0; i < 3; i++) /* once is enough: the others change nothing */
        send_to(fd, packet, udt_put_handshake(packet, &hs, 0), bound_port(&listener));
    CHECK(request_of(&listener, &request));
    CHECK_EQ(request.socket_id, 99);
    CHECK(port_counts_to(&listener, SHM_UDT_PORT_COUNT_forgotten, 1));
    CHECK_EQ(rt_load_relaxed(&port_state(&listener)->waiting), 0);
    CHECK_EQ(rx_reader_next(&listener.reader, &request, sizeof request, &(rx_packet_t){0}, NULL),
             0);
    close_down(&listener);
    close(fd);
}

static void test_noise_does_no_harm(void)
{
    pair_t p = {0};
    uint16_t number = 0;
    int fd = wt_udp(&number);
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 5);
    uint8_t noise[200];
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    for (int i = 0; i < 5000; i++) {
        for (size_t b = 0; b < sizeof noise; b++)
            noise[b] = (uint8_t)rt_test_rand(&seed);
        if (i % 2 == 0)
            memset(noise + 12, 0, 4);
        if (i % 4 == 0)
            (void)udt_put_control(noise, (udt_type_t)(rt_test_rand(&seed) % 9), 0, 0);
        send_to(fd, noise, rt_test_rand(&seed) % sizeof noise, bound_port(&p.to_port));
    }
    stream(&p.from, &p.to, 1000000);
    close(fd);
    drop_pair(&p);
}

static void test_bad_records_are_dropped(void)
{
    pair_t p = {0};
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    CHECK_EQ(wt_push(&p.from, "not of this engine", 18, 0, NULL), 0);
    CHECK_EQ(wt_push(&p.from, "short", 5, 0, NULL), 0);
    CHECK_EQ(wt_push(&p.to_port, "a port sends nothing", 20, 0, NULL), 0);
    CHECK(wt_count_to(&p.from, SHM_COUNT_tx_corrupt, 2));
    CHECK(wt_count_to(&p.to_port, SHM_COUNT_tx_failed, 1));
    stream(&p.from, &p.to, 10000);
    drop_pair(&p);
}

static void test_bad_requests_are_refused(void)
{
    pair_t p = {0};
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 5);
    uint8_t body[64];
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    CHECK_EQ(ask_raw(&p.from, body, 0), -EPROTO);
    CHECK_EQ(ask_raw(&p.from, body, sizeof(shm_udt_command_t) + 1), -EPROTO);
    CHECK_EQ(ask_raw(&p.to_port, body, 3), -EPROTO);
    CHECK_EQ(ask(&p.from, 77, 0), -EINVAL);
    CHECK_EQ(ask(&p.from, SHM_UDT_SET_BANDWIDTH, -5), -EINVAL);
    for (int i = 0; i < 200; i++) {
        for (size_t b = 0; b < sizeof body; b++)
            body[b] = (uint8_t)rt_test_rand(&seed);
        body[0] = (uint8_t)(2 + body[0] % 6); /* any but close */
        (void)ask_raw(&p.from, body, rt_test_rand(&seed) % sizeof body);
        (void)ask_raw(&p.from_port, body, rt_test_rand(&seed) % sizeof body);
    }
    CHECK_EQ(ask(&p.from, SHM_UDT_SET_BANDWIDTH, 0), 0);
    stream(&p.from, &p.to, 10000);
    drop_pair(&p);
}

static void test_bad_configurations_are_refused(void)
{
    wt_channel_t port, ch;
    CHECK(open_port(&port, 0, 1));
    shm_udt_config_t good = udt_config(&port, SHM_UDT_STREAM);
    const struct {
        size_t offset;
        uint64_t value;
        size_t bytes;
        int rc;
    } faults[] = {
        {offsetof(shm_udt_config_t, config_bytes), 4, 4, -EPROTO},
        {offsetof(shm_udt_config_t, mode), 0, 1, -EINVAL},
        {offsetof(shm_udt_config_t, mode), 3, 1, -EINVAL},
        {offsetof(shm_udt_config_t, cc), 4, 1, -EINVAL},
        {offsetof(shm_udt_config_t, cc), SHM_UDT_CC_FIXED, 1, -EINVAL}, /* without a rate */
        {offsetof(shm_udt_config_t, rendezvous), 2, 1, -EINVAL},
        {offsetof(shm_udt_config_t, socket_id), UINT32_C(1) << 31, 4, -EINVAL},
        {offsetof(shm_udt_config_t, mss_bytes), 75, 4, -EINVAL},
        {offsetof(shm_udt_config_t, window_packets), 31, 4, -EINVAL},
        {offsetof(shm_udt_config_t, send_bytes), UINT32_C(0x80000001), 4, -EINVAL},
        {offsetof(shm_udt_config_t, receive_packets), UINT32_C(1) << 21, 4, -EINVAL},
        {offsetof(shm_udt_config_t, connect_ns), UINT64_MAX, 8, -EINVAL},
        {offsetof(shm_udt_config_t, accepts), 12345, 4, -ENOENT},
        {offsetof(shm_udt_config_t, port), 'x', 1, -ENOENT}, /* no such channel */
        {offsetof(shm_udt_config_t, port), 0, 1, -EINVAL},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        shm_udt_config_t bad = good;
        memcpy((uint8_t *)&bad + faults[i].offset, &faults[i].value, faults[i].bytes);
        ch.config = channel_config(&bad, 9);
        CHECK_EQ(try_open(&ch), faults[i].rc);
        if (worker.text[0] == '\0')
            CHECK_EQ(i, SIZE_MAX); /* a refusal without a text */
    }
    ch.config = channel_config(&good, 0); /* nowhere to connect to */
    CHECK_EQ(try_open(&ch), -EINVAL);
    ch.config = channel_config(&good, 9);
    ch.config.overflow = SHM_OVERFLOW_OLDEST;
    CHECK_EQ(try_open(&ch), -EINVAL);
    ch.config = channel_config(&good, 9);
    ch.config.engine_bytes = 0;
    CHECK_EQ(try_open(&ch), -EINVAL);
    ch.config = port_config(SHM_UDT_STREAM, 0);
    CHECK_EQ(try_open(&ch), -EINVAL);
    ch.config = port_config(0, 1);
    ch.config.overflow = SHM_OVERFLOW_WAIT;
    CHECK_EQ(try_open(&ch), -EINVAL);
    ch.config = port_config(SHM_UDT_STREAM, 4000); /* the rx ring is too small */
    CHECK_EQ(try_open(&ch), -EINVAL);
    CHECK_EQ(rt_load_relaxed(&port_state(&port)->sockets), 0);
    close_down(&port);
}

static void test_an_id_belongs_to_one(void)
{
    wt_channel_t port, ch, second;
    CHECK(open_port(&port, 0, 1));
    shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
    u.socket_id = 5;
    CHECK(open_udt(&ch, &u, 9));
    CHECK_EQ(rt_load_relaxed(&state_of(&ch)->socket_id), 5);
    second.config = channel_config(&u, 9);
    CHECK_EQ(try_open(&second), -EEXIST);
    close_down(&ch);
    CHECK(open_udt(&ch, &u, 9));
    close_down(&ch);
    close_down(&port);
}

/* A client that writes whatever it likes over its own segment spoils its own channel at most. */
static void test_a_scribbling_client_harms_itself_only(void)
{
    pair_t good = {0}, bad = {0};
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 11);
    CHECK(connect_pair(&good, SHM_UDT_STREAM));
    CHECK(connect_pair(&bad, SHM_UDT_MESSAGES));
    wt_channel_t *victims[] = {&bad.from, &bad.to, &bad.from_port, &bad.to_port};
    for (int round = 0; round < 200; round++) {
        for (int v = 0; v < 4; v++) {
            shm_segment_t *s = &victims[v]->segment;
            uint64_t at = SHM_PAGE_BYTES + rt_test_rand(&seed) % (s->bytes - SHM_PAGE_BYTES - 8);
            uint64_t value = rt_test_rand(&seed);
            memcpy(s->base + at, &value, 1 + rt_test_rand(&seed) % 8);
            (void)!write(victims[v]->bell_fd, &(uint64_t){1}, sizeof(uint64_t));
        }
        (void)push_stream(&bad.from, 0, 20000, 10000);
        (void)push_stream(&bad.to, 0, 20000, 10000);
    }
    stream(&good.from, &good.to, 1000000);
    for (int v = 0; v < 4; v++) {
        (void)wt_command(&worker, victims[v], CTL_CLOSE);
        wt_drop(victims[v]);
    }
    drop_pair(&good);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_streams_go_both_ways);
    RUN(test_a_port_without_a_listener_answers_nobody);
    RUN(test_an_application_may_refuse);
    RUN(test_another_mode_is_refused);
    RUN(test_a_full_backlog_refuses);
    RUN(test_a_port_listens_when_told_to);
    RUN(test_a_rendezvous_needs_no_listener);
    RUN(test_both_ends_on_one_port);
    RUN(test_ipv6_and_ipv4_on_one_port);
    RUN(test_a_stream_survives_a_bad_link);
    RUN(test_who_does_not_read_stops_the_sender);
    RUN(test_a_hundred_connections_share_two_ports);
    RUN(test_messages_keep_their_bounds);
    RUN(test_impossible_messages_are_dropped);
    RUN(test_messages_outlive_their_time);
    RUN(test_close_lingers_until_all_is_there);
    RUN(test_linger_has_an_end);
    RUN(test_a_channel_that_closes_tells_its_peer);
    RUN(test_a_port_takes_its_connections_along);
    RUN(test_the_peer_is_told_of_an_error);
    RUN(test_purge_takes_back_what_waits);
    RUN(test_a_held_channel_keeps_its_connection);
    RUN(test_strangers_are_counted_and_not_heard);
    RUN(test_requests_nobody_takes_are_forgotten);
    RUN(test_noise_does_no_harm);
    RUN(test_bad_records_are_dropped);
    RUN(test_bad_requests_are_refused);
    RUN(test_bad_configurations_are_refused);
    RUN(test_an_id_belongs_to_one);
    RUN(test_a_scribbling_client_harms_itself_only);
    RUN(test_a_successor_listens_again);
    RUN(test_a_successor_tells_the_peer);
    wt_stop(&worker);
    return rt_test_result();
}
