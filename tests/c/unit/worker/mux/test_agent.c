/* The engine "mux" in a worker process: ports come and go, send and receive. */
#include "unit/worker/mux/mux_test.h"

#include "shm/tx_ring.h"

#include <sys/resource.h>

static void test_each_port_sends_from_its_own_socket(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("sends", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    uint16_t bound[PORTS];
    for (uint16_t i = 0; i < PORTS; i++) {
        bound[i] = add(&ch, i, 1);
        CHECK(bound[i] != 0);
        aim(&ch, i, 1, port);
    }
    for (uint32_t round = 0; round < 4; round++)
        for (uint16_t i = 0; i < PORTS; i++)
            CHECK_EQ(
                push(&ch, (mux_head_t){.number = round, .port = i, .generation = 1}, &i, sizeof i),
                0);
    for (int n = 0; n < 4 * PORTS; n++) {
        uint16_t which = UINT16_MAX;
        int length;
        uint16_t from = received_from(sink, &which, sizeof which, &length);
        CHECK_EQ(length, sizeof which);
        REQUIRE(which < PORTS);
        CHECK_EQ(from, bound[which]);
    }
    for (uint16_t i = 0; i < PORTS; i++)
        CHECK(drained_to(&ch, i, 4));
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_on_time, 4 * PORTS));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 4 * PORTS);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->open), PORTS);
    close_down(&worker, &ch);
    close(sink);
}

static void test_lengths_from_nothing_to_too_much(void)
{
    static uint8_t data[MUX_MAX_DATAGRAM + 1], got[MUX_MAX_DATAGRAM];
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("lengths", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    (void)add(&ch, 5, 9);
    aim(&ch, 5, 9, port);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    const uint32_t lengths[] = {0, 1, 1472, 65507, 65508, MUX_MAX_DATAGRAM, 3};
    mux_head_t head = {.port = 5, .generation = 9};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        int length;
        CHECK_EQ(push(&ch, head, data, lengths[i]), 0);
        head.number++;
        if (lengths[i] > 65507)
            continue; /* lost: IPv4 has none so long */
        (void)received_from(sink, got, sizeof got, &length);
        CHECK_EQ(length, lengths[i]);
        CHECK_MEM_EQ(got, data, lengths[i]);
    }
    CHECK(drained_to(&ch, 5, head.number));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_failed), 2);
    CHECK_EQ(tx_producer_push_engine(&ch.producer, &head, sizeof head, data, MUX_MAX_DATAGRAM + 1,
                                     1),
             -EMSGSIZE);
    close_down(&worker, &ch);
    close(sink);
}

/* A port's count is exact whatever becomes of its packets; it never waits for another's. */
static void test_what_cannot_be_sent_is_drained_too(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("lost", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    (void)add(&ch, 0, 1);
    (void)add(&ch, 1, 1);
    aim(&ch, 1, 1, port);
    for (uint32_t n = 0; n < 10; n++) {
        CHECK_EQ(push(&ch, (mux_head_t){.number = n, .port = 0, .generation = 1}, "x", 1), 0);
        CHECK_EQ(push(&ch, (mux_head_t){.number = n, .port = 1, .generation = 1}, "y", 1), 0);
    }
    CHECK(drained_to(&ch, 0, 10)); /* it has no target */
    CHECK(drained_to(&ch, 1, 10));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_cancelled), 10);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 10);
    /* Numbers wrap. */
    CHECK_EQ(push(&ch, (mux_head_t){.number = UINT32_MAX, .port = 1, .generation = 1}, "z", 1), 0);
    CHECK(drained_to(&ch, 1, 0));
    close_down(&worker, &ch);
    close(sink);
}

static void test_removal_drops_what_waits(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("removal", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    uint16_t bound = add(&ch, 3, 1);
    aim(&ch, 3, 1, port);
    CHECK_EQ(wt_command(&worker, &ch, CTL_HOLD), 0);
    for (uint32_t n = 0; n < 5; n++)
        CHECK_EQ(push(&ch, (mux_head_t){.number = n, .port = 3, .generation = 1}, "old", 3), 0);
    take_away(&ch, 3, 1);
    take_away(&ch, 3, 1); /* twice is fine */
    /* Its address is free at once, and what waits is not the new one's. */
    CHECK_EQ(add_at(&worker, &ch, 3, 2, wt_loopback(bound)).port, bound);
    aim(&ch, 3, 2, port);
    CHECK_EQ(push(&ch, (mux_head_t){.number = 0, .port = 3, .generation = 2}, "new!", 4), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    char got[8];
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS), 4);
    CHECK_EQ(wt_recv(sink, got, sizeof got, 50), -ETIMEDOUT);
    CHECK(drained_to(&ch, 3, 1));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_cancelled), 5);
    close_down(&worker, &ch);
    close(sink);
}

static void test_purge_cancels_what_waits(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("purged", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    (void)add(&ch, 0, 1);
    aim(&ch, 0, 1, port);
    CHECK_EQ(wt_command(&worker, &ch, CTL_HOLD), 0);
    enum { PACKETS = 700 };
    for (uint32_t n = 0; n < PACKETS; n++)
        CHECK_EQ(push(&ch, (mux_head_t){.number = n, .port = 0, .generation = 1}, "x", 1), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_PURGE), 0);
    CHECK_EQ(drained(&ch, 0), PACKETS);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_cancelled), PACKETS);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    CHECK_EQ(push(&ch, (mux_head_t){.number = PACKETS, .port = 0, .generation = 1}, "yy", 2), 0);
    char got[8];
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS), 2);
    CHECK(drained_to(&ch, 0, PACKETS + 1));
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, 1));
    wt_settle(&worker);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 0);
    close_down(&worker, &ch);
    close(sink);
}

/* A client that takes a record back through the ring, as it may with any channel. */
static void test_cancelled_records_are_drained(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("cancels", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    (void)add(&ch, 0, 1);
    aim(&ch, 0, 1, port);
    CHECK_EQ(wt_command(&worker, &ch, CTL_HOLD), 0);
    for (uint32_t n = 0; n < 3; n++)
        CHECK_EQ(push(&ch, (mux_head_t){.number = n, .port = 0, .generation = 1}, &n, sizeof n), 0);
    CHECK_EQ(tx_ring_cancel(&ch.segment, 1, NULL), 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    uint32_t got = UINT32_MAX;
    CHECK_EQ(wt_recv(sink, &got, sizeof got, WT_TIMEOUT_MS), sizeof got);
    CHECK_EQ(got, 0);
    CHECK_EQ(wt_recv(sink, &got, sizeof got, WT_TIMEOUT_MS), sizeof got);
    CHECK_EQ(got, 2);
    CHECK(drained_to(&ch, 0, 3));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_cancelled), 1);
    close_down(&worker, &ch);
    close(sink);
}

static void test_arrivals_bear_port_source_and_time(void)
{
    uint16_t port = 0;
    int peer = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("arrivals", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    uint16_t first = add(&ch, 7, 3);
    uint16_t second = add(&ch, 8, 4);
    char data[16];
    rx_packet_t p;
    int64_t before = rt_mono_ns();
    send_to(peer, "one", 3, first);
    REQUIRE(arrival(&ch, data, sizeof data, &p));
    CHECK_EQ(p.tag, mux_tag(7, 3));
    CHECK_EQ(p.payload_bytes, 3);
    CHECK_EQ(p.source.family, 4);
    CHECK_EQ(p.source.port, port);
    CHECK(p.time_ns > before - RT_NS_PER_MS && p.time_ns <= rt_mono_ns() + RT_NS_PER_MS);
    send_to(peer, "", 0, second);
    REQUIRE(arrival(&ch, data, sizeof data, &p));
    CHECK_EQ(p.tag, mux_tag(8, 4));
    CHECK_EQ(p.payload_bytes, 0);
    take_away(&ch, 8, 4);
    take_away(&ch, 7, 2); /* another generation: not this one */
    send_to(peer, "two", 3, second);
    send_to(peer, "three", 5, first);
    REQUIRE(arrival(&ch, data, sizeof data, &p));
    CHECK_EQ(p.payload_bytes, 5);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_received), 3);
    close_down(&worker, &ch);
    close(peer);
}

static void test_ipv6_ports(void)
{
    wt_channel_t ch = {.config = mux_channel("six", PORTS)};
    int probe = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (probe < 0 || bind(probe, (struct sockaddr *)&at, sizeof at) != 0) {
        (void)fprintf(stderr, "no IPv6 here: left out\n");
        return;
    }
    REQUIRE(wt_open(&worker, &ch));
    shm_addr_t loopback = {.family = 6, .ip = {[15] = 1}};
    shm_addr_t bound = add_at(&worker, &ch, 0, 1, loopback);
    CHECK_EQ(bound.family, 6);
    mux_reply_t reply;
    mux_request_t request = {.op = MUX_AIM, .port = 0, .generation = 1, .address = bound};
    CHECK_EQ(ask(&worker, &ch, request, &reply), 0);
    CHECK_EQ(push(&ch, (mux_head_t){.port = 0, .generation = 1}, "six", 3), 0);
    char data[16];
    rx_packet_t p;
    REQUIRE(arrival(&ch, data, sizeof data, &p));
    CHECK_EQ(p.source.family, 6);
    CHECK_EQ(p.source.port, bound.port);
    CHECK_MEM_EQ(p.source.ip, loopback.ip, 16);
    close(probe);
    close_down(&worker, &ch);
}

/* One port with much to read holds up no other. */
static void test_a_flooded_port_lets_others_in(void)
{
    uint16_t port = 0;
    int peer = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("fair", PORTS)};
    ch.config.gro = 0;
    REQUIRE(wt_open(&worker, &ch));
    uint16_t flooded = add(&ch, 0, 1);
    uint16_t quiet = add(&ch, 1, 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_HOLD), 0);
    for (int i = 0; i < 150; i++)
        send_to(peer, "flood", 5, flooded);
    send_to(peer, "drop", 4, quiet);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    int before = 0;
    rx_packet_t p = {.tag = 0};
    char data[16];
    while (arrival(&ch, data, sizeof data, &p) && mux_tag_port(p.tag) == 0)
        before++;
    CHECK_EQ(mux_tag_port(p.tag), 1);
    CHECK(before <= 16);
    close_down(&worker, &ch);
    close(peer);
}

static void full_ring_loses_nothing(uint32_t rx_bytes, uint32_t payload, bool gro)
{
    uint16_t port = 0;
    int peer = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("full", PORTS)};
    ch.config.gro = gro;
    ch.config.rx_bytes = rx_bytes;
    ch.config.max_payload_bytes = rx_bytes / 4 - SHM_RECORD_HEAD_BYTES < SHM_MAX_RECORD
                                      ? rx_bytes / 4 - SHM_RECORD_HEAD_BYTES
                                      : SHM_MAX_RECORD;
    ch.config.rcvbuf_bytes = 4 << 20;
    REQUIRE(wt_open(&worker, &ch));
    enum { SENDERS = 4, EACH = 400 };
    uint16_t bound[SENDERS];
    for (uint16_t i = 0; i < SENDERS; i++)
        bound[i] = add(&ch, i, 1);
    char data[1024] = {0};
    for (uint32_t n = 0; n < EACH; n++)
        for (int i = 0; i < SENDERS; i++) {
            memcpy(data, &n, sizeof n);
            send_to(peer, data, payload, bound[i]);
        }
    wt_nap_ms(20);
    CHECK(wt_exact(&worker, &ch, SHM_COUNT_rx_received) < SENDERS * EACH);
    uint32_t next[SENDERS] = {0};
    rx_packet_t p;
    for (int n = 0; n < SENDERS * EACH; n++) {
        uint32_t number = UINT32_MAX;
        REQUIRE(arrival(&ch, data, sizeof data, &p));
        memcpy(&number, data, sizeof number);
        REQUIRE(mux_tag_port(p.tag) < SENDERS);
        CHECK_EQ(number, next[mux_tag_port(p.tag)]++);
    }
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_overwritten), 0);
    CHECK_EQ(ch.reader.lost, 0);
    close_down(&worker, &ch);
    close(peer);
}

static void test_a_full_ring_leaves_packets_in_their_sockets(void)
{
    full_ring_loses_nothing(16 * SHM_PAGE_BYTES, 200, false);
    full_ring_loses_nothing(16 * SHM_PAGE_BYTES, 200, true); /* too small for whole batches: off */
    full_ring_loses_nothing(300 * SHM_PAGE_BYTES, 1024, true);
}

static void test_adding_twice_changes_nothing(void)
{
    wt_channel_t ch = {.config = mux_channel("twice", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    uint16_t bound = add(&ch, 0, 1);
    CHECK_EQ(add(&ch, 0, 1), bound);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->open), 1);
    /* Another generation at the same place: what was there is closed. */
    CHECK_EQ(add_at(&worker, &ch, 0, 2, wt_loopback(bound)).port, bound);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->open), 1);
    close_down(&worker, &ch);
}

static void test_a_socket_that_cannot_be_had(void)
{
    uint16_t port = 0;
    int taken = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("taken", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    mux_reply_t reply;
    mux_request_t request = {
        .op = MUX_ADD, .port = 0, .generation = 1, .address = wt_loopback(port)};
    CHECK_EQ(ask(&worker, &ch, request, &reply), 0);
    CHECK_EQ(reply.error, EADDRINUSE);
    request.address.ip[0] = 203; /* no address of this host */
    CHECK_EQ(ask(&worker, &ch, request, &reply), 0);
    CHECK_EQ(reply.error, EADDRNOTAVAIL);
    request = (mux_request_t){.op = MUX_AIM, .port = 0, .generation = 1, .address = wt_loopback(9)};
    CHECK_EQ(ask(&worker, &ch, request, &reply), 0);
    CHECK_EQ(reply.error, ENOENT);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->open), 0);
    CHECK(add(&ch, 0, 1) != 0);
    close_down(&worker, &ch);
    close(taken);
}

static void test_sockets_leave_descriptors_to_others(void)
{
    struct rlimit before;
    enum { FILES = 512 }; /* more than the descriptors that tests beside this one have in flight */
    wt_channel_t ch = {.config = mux_channel("greedy", FILES)};
    wt_channel_t other = {.config = wt_config("other", 0)};
    REQUIRE(prlimit(worker.pid, RLIMIT_NOFILE, NULL, &before) == 0);
    const struct rlimit few = {.rlim_cur = FILES, .rlim_max = before.rlim_max};
    REQUIRE(wt_open(&worker, &ch));
    REQUIRE(prlimit(worker.pid, RLIMIT_NOFILE, &few, NULL) == 0);
    mux_reply_t reply = {.error = 0};
    uint16_t opened = 0;
    while (reply.error == 0 && opened < few.rlim_cur) {
        mux_request_t request = {
            .op = MUX_ADD, .port = opened, .generation = 1, .address = wt_loopback(0)};
        CHECK_EQ(ask(&worker, &ch, request, &reply), 0);
        opened = (uint16_t)(opened + (reply.error == 0));
    }
    CHECK_EQ(reply.error, EMFILE);
    CHECK(opened > 8);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->open), opened);
    CHECK(wt_open(&worker, &other));
    int client = wt_connect(&worker);
    CHECK(client >= 0);
    close(client);
    close_down(&worker, &other);
    close_down(&worker, &ch);
    CHECK_EQ(prlimit(worker.pid, RLIMIT_NOFILE, &before, NULL), 0);
}

static void test_senseless_requests_are_refused(void)
{
    wt_channel_t ch = {.config = mux_channel("senseless", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    mux_reply_t reply;
    const mux_request_t bad[] = {
        {.op = 0, .port = 0, .address = wt_loopback(0)},
        {.op = 4, .port = 0, .address = wt_loopback(0)},
        {.op = UINT32_MAX, .port = 0, .address = wt_loopback(0)},
        {.op = MUX_ADD, .port = PORTS, .address = wt_loopback(0)},
        {.op = MUX_REMOVE, .port = UINT16_MAX},
        {.op = MUX_ADD, .port = 0},
        {.op = MUX_AIM, .port = 0, .address = {.family = 5}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(ask(&worker, &ch, bad[i], &reply), -EINVAL);
    uint8_t body[CTL_ENGINE_BYTES] = {MUX_ADD};
    for (size_t bytes = 0; bytes <= 64; bytes++)
        if (bytes != sizeof(mux_request_t))
            CHECK_EQ(ask_raw(&worker, &ch, body, bytes, -1, &reply), -EINVAL);
    CHECK_EQ(ask_raw(&worker, &ch, body, sizeof body, -1, &reply), -EINVAL);
    mux_request_t sound = {.op = MUX_ADD, .address = wt_loopback(0)};
    CHECK_EQ(ask_raw(&worker, &ch, &sound, sizeof sound, 0, &reply), -EPROTO); /* a descriptor */
    CHECK(add(&ch, 0, 1) != 0);
    close_down(&worker, &ch);
}

static void test_bad_channels_are_refused(void)
{
    struct {
        uint32_t ports;
        uint64_t bytes;
        uint8_t direction;
        const char *text;
    } bad[] = {
        {0, 1 << 20, SHM_DUPLEX, "1 to"},
        {MUX_MAX_PORTS + 1, 8 << 20, SHM_DUPLEX, "1 to"},
        {1024, mux_bytes(1024) - SHM_PAGE_BYTES, SHM_DUPLEX, "shared memory"},
        {1024, 0, SHM_DUPLEX, "shared memory"},
        {16, mux_bytes(16), SHM_RX, "duplex"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        wt_channel_t ch = {.config = mux_channel("refused", bad[i].ports)};
        ch.config.engine_bytes = bad[i].bytes;
        ch.config.direction = bad[i].direction;
        REQUIRE(wt_segment(&ch));
        CHECK_EQ(wt_send_open(&worker, &ch, 0), -EINVAL);
        CHECK(strstr(worker.text, bad[i].text) != NULL);
        wt_drop(&ch);
    }
    uint16_t port = 0;
    wt_channel_t ch = {.config = mux_channel("refused", PORTS)};
    REQUIRE(wt_segment(&ch));
    ch.socket_fd = wt_udp(&port);
    CHECK_EQ(wt_send_open(&worker, &ch, 0), -EINVAL);
    wt_drop(&ch);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_each_port_sends_from_its_own_socket);
    RUN(test_lengths_from_nothing_to_too_much);
    RUN(test_what_cannot_be_sent_is_drained_too);
    RUN(test_removal_drops_what_waits);
    RUN(test_purge_cancels_what_waits);
    RUN(test_cancelled_records_are_drained);
    RUN(test_arrivals_bear_port_source_and_time);
    RUN(test_ipv6_ports);
    RUN(test_a_flooded_port_lets_others_in);
    RUN(test_a_full_ring_leaves_packets_in_their_sockets);
    RUN(test_adding_twice_changes_nothing);
    RUN(test_a_socket_that_cannot_be_had);
    RUN(test_sockets_leave_descriptors_to_others);
    RUN(test_senseless_requests_are_refused);
    RUN(test_bad_channels_are_refused);
    wt_stop(&worker);
    return rt_test_result();
}
