/* The engines "udt-port" and "udt" in a worker process: connections are made, refused, used and
 * closed. */
#include "unit/worker/udt/udt_test.h"

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
    CHECK_EQ(ask_port(&listener, no), -ESRCH);
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
            from[i].config.remote =
                (shm_addr_t){.family = 6, .port = bound_port(&listener), .ip = {[15] = 1}};
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
    set_link(&p.from_port.config, 0.005, RT_NS_PER_MS, 3);
    CHECK(wt_open(&worker, &p.from_port));
    CHECK(open_port(&p.to_port, SHM_UDT_STREAM, 8));
    shm_udt_config_t u = udt_config(&p.from_port, SHM_UDT_STREAM);
    u.connect_ns = TIMEOUT_S * RT_NS_PER_S;
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
    int64_t until = rt_mono_ns() + TIMEOUT_S * RT_NS_PER_S;
    for (int still = 0; still < 30 && rt_mono_ns() < until;) {
        uint64_t n = push_stream(&p.from, sent, end, 60000);
        still = n == 0 ? still + 1 : 0;
        sent += n;
        wt_nap_ms(10);
    }
    /* Two rings of 1 MiB, a send buffer and a receive buffer of 8192 packets. */
    CHECK(sent > 12000000 && sent < 40000000);
    until = rt_mono_ns() + 4 * TIMEOUT_S * RT_NS_PER_S;
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
        int64_t until = rt_mono_ns() + TIMEOUT_S * RT_NS_PER_S;
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
    CHECK_EQ(udt_queue(&p.from.producer, head, NULL, 0), 0);
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
    int64_t until = rt_mono_ns() + 4 * TIMEOUT_S * RT_NS_PER_S;
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

/* A channel that closes while it lingers does not wait. */
static void test_who_lingers_may_go_at_once(void)
{
    pair_t p = {0};
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    CHECK_EQ(ask(&p.from, SHM_UDT_SET_BANDWIDTH, 100000), 0);
    (void)push_stream(&p.from, 0, 900000, 30000);
    CHECK_EQ(ask(&p.from, SHM_UDT_CLOSE, 60 * RT_NS_PER_S), 0);
    CHECK_EQ(wt_command(&worker, &p.from, CTL_CLOSE), 0);
    CHECK_EQ(rt_load_relaxed(&state_of(&p.from)->state), SHM_UDT_CLOSED);
    uint64_t came = 0, wrong = 0;
    int kind = SHM_UDT_GOT_BYTES;
    int64_t until = rt_mono_ns() + TIMEOUT_S * RT_NS_PER_S;
    while (kind == SHM_UDT_GOT_BYTES && rt_mono_ns() < until) {
        came += pull_stream(&p.to, came, &wrong, &kind);
        wt_nap_ms(1);
    }
    CHECK_EQ(kind, SHM_UDT_GOT_BROKEN);
    CHECK_EQ(wrong, 0);
    wt_drop(&p.from);
    close_down(&p.to);
    close_down(&p.from_port);
    close_down(&p.to_port);
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
    CHECK_EQ(rt_load_relaxed(&state_of(&p.to)->peer_errors), 1);
    drop_pair(&p);
}

static void test_purge_takes_back_what_waits(void)
{
    pair_t p = {0};
    uint64_t wrong = 0;
    unsigned pieces = 0;
    shm_udt_tx_t head = {.ttl_ms = -1, .flags = SHM_UDT_MORE};
    CHECK(connect_pair(&p, SHM_UDT_MESSAGES));
    CHECK_EQ(udt_queue(&p.from.producer, head, "half a message", 14), 0);
    wt_ring(&p.from);
    CHECK_EQ(wt_command(&worker, &p.from, CTL_PURGE), 0);
    /* The other half, and a whole one. */
    head.flags = 0;
    CHECK_EQ(udt_queue(&p.from.producer, head, "half a message", 14), 0);
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
    int64_t until = rt_mono_ns() + TIMEOUT_S * RT_NS_PER_S;
    while (came < 10000 && rt_mono_ns() < until) {
        came += pull_stream(&p.to, came, &wrong, &kind);
        wt_nap_ms(1);
    }
    CHECK_EQ(came, 10000);
    CHECK_EQ(wrong, 0);
    drop_pair(&p);
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
    RUN(test_who_lingers_may_go_at_once);
    RUN(test_a_channel_that_closes_tells_its_peer);
    RUN(test_a_port_takes_its_connections_along);
    RUN(test_the_peer_is_told_of_an_error);
    RUN(test_purge_takes_back_what_waits);
    RUN(test_a_held_channel_keeps_its_connection);
    wt_stop(&worker);
    return rt_test_result();
}
