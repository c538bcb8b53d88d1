/* The engines "udt-port" and "udt" in trouble: what a hostile client or network cannot do to them,
 * and what a successor makes of what its predecessor left. */
#include "unit/worker/udt/udt_test.h"

#include <sched.h>

/* --- bad input ----------------------------------------------------------------------------- */

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

static bool all_are_counted(const wt_channel_t *port, uint64_t n)
{
    int64_t until = rt_mono_ns() + TIMEOUT_S * RT_NS_PER_S;
    while (port_counter(port, SHM_UDT_PORT_COUNT_unknown) < n && rt_mono_ns() < until)
        sched_yield();
    return port_counter(port, SHM_UDT_PORT_COUNT_unknown) == n;
}

/* While much comes in the port reads its socket at times of its own; what comes alone after that is
 * read as well. */
static void test_a_flood_is_read_and_what_follows_it(void)
{
    enum { WAVES = 100, WAVE = 32, ALONE = 5 };
    wt_channel_t port;
    uint16_t number = 0;
    int fd = wt_udp(&number);
    static uint8_t packet[1400]; /* data for a socket that is not there */
    CHECK(open_port(&port, SHM_UDT_STREAM, 2));
    packet[UDT_HEADER_BYTES - 1] = 99;
    uint64_t sent = 0;
    for (int wave = 0; wave < WAVES; wave++) {
        for (int i = 0; i < WAVE; i++)
            send_to(fd, packet, sizeof packet, bound_port(&port));
        sent += WAVE;
        CHECK(all_are_counted(&port, sent));
    }
    for (int i = 0; i < ALONE; i++) {
        wt_nap_ms(5);
        send_to(fd, packet, UDT_HEADER_BYTES, bound_port(&port));
        CHECK(all_are_counted(&port, ++sent));
    }
    close_down(&port);
    close(fd);
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

/* Its pieces are not put together over the gap, nor with those of the next one. */
static void test_a_message_with_a_hole_is_none(void)
{
    pair_t p = {0};
    uint64_t wrong = 0;
    unsigned pieces;
    const shm_udt_tx_t more = {.ttl_ms = -1, .flags = SHM_UDT_MORE};
    const shm_udt_tx_t last = {.ttl_ms = -1};
    CHECK(connect_pair(&p, SHM_UDT_MESSAGES));
    CHECK_EQ(udt_queue(&p.from.producer, more, "begins", 6), 0);
    CHECK_EQ(wt_push(&p.from, "not a piece", 11, 0, NULL), 0);
    CHECK_EQ(udt_queue(&p.from.producer, more, "goes on", 7), 0);
    CHECK_EQ(udt_queue(&p.from.producer, last, "ends", 4), 0);
    CHECK(push_message(&p.from, 1, 3000, 1000, last));
    CHECK_EQ(pull_message(&p.to, 1, &wrong, &pieces), 3000);
    CHECK_EQ(wrong, 0);
    CHECK(wt_count_to(&p.from, SHM_COUNT_tx_corrupt, 1));
    CHECK(wt_count_to(&p.from, SHM_COUNT_tx_failed, 2));
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

/* --- endings ------------------------------------------------------------------------------- */

/* What a port says in the end goes out through its link, and so has a time of its own. */
static void test_a_port_with_a_link_goes_before_its_connection(void)
{
    for (int i = 0; i < 5; i++) {
        pair_t p = {0};
        uint32_t error = 0;
        CHECK(open_port(&p.to_port, SHM_UDT_STREAM, 8));
        p.from_port.config = port_config(0, 1);
        p.from_port.config.impair_tx.delay_ns = RT_NS_PER_MS;
        CHECK(wt_open(&worker, &p.from_port));
        shm_udt_config_t u = udt_config(&p.from_port, SHM_UDT_STREAM);
        CHECK(open_udt(&p.from, &u, bound_port(&p.to_port)));
        CHECK(accept_udt(&p.to_port, &p.to, udt_config(&p.to_port, SHM_UDT_STREAM)));
        CHECK_EQ(got(&p.from, NULL), SHM_UDT_GOT_CONNECTED);
        close_down(&p.from_port);
        CHECK_EQ(got(&p.from, &error), SHM_UDT_GOT_BROKEN);
        CHECK_EQ(error, 2001);
        close_down(&p.from);
        close_down(&p.to);
        close_down(&p.to_port);
    }
}

/* --- a successor --------------------------------------------------------------------------- */

static void test_a_successor_listens_again(void)
{
    pair_t p = {0};
    wt_channel_t again[2];
    uint32_t error = 0;
    CHECK(connect_pair(&p, SHM_UDT_STREAM));
    uint16_t bound = bound_port(&p.to_port);
    rt_store_relaxed(&((shm_udt_port_state_t *)(void *)p.from_port.segment.engine)->listens, 77);
    kill_and_replace();
    /* In any order: the connection's port comes later than it. */
    take_over(&p.to);
    take_over(&p.to_port);
    CHECK_EQ(bound_port(&p.to_port), bound);
    CHECK_EQ(rt_load_relaxed(&port_state(&p.to_port)->listens), SHM_UDT_STREAM);
    CHECK_EQ(got(&p.to, &error), SHM_UDT_GOT_BROKEN);
    CHECK_EQ(error, 2001);
    CHECK_EQ(rt_load_relaxed(&state_of(&p.to)->state), SHM_UDT_LOST);
    CHECK(port_counts_to(&p.to_port, SHM_UDT_PORT_COUNT_lost, 1));
    take_over(&p.from_port);
    CHECK_EQ(rt_load_relaxed(&port_state(&p.from_port)->listens), 0);
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

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_strangers_are_counted_and_not_heard);
    RUN(test_a_flood_is_read_and_what_follows_it);
    RUN(test_requests_nobody_takes_are_forgotten);
    RUN(test_noise_does_no_harm);
    RUN(test_bad_records_are_dropped);
    RUN(test_a_message_with_a_hole_is_none);
    RUN(test_bad_requests_are_refused);
    RUN(test_bad_configurations_are_refused);
    RUN(test_an_id_belongs_to_one);
    RUN(test_a_scribbling_client_harms_itself_only);
    RUN(test_a_port_with_a_link_goes_before_its_connection);
    RUN(test_a_successor_listens_again);
    RUN(test_a_successor_tells_the_peer);
    wt_stop(&worker);
    return rt_test_result();
}
