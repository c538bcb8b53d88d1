/* Datagrams over loopback: content, order, batches, sizes, errors. */
#include "io_test.h"

enum { MIX = 1500 };

static uint8_t arena[4 << 20];

/* Lays out n patterned datagrams of the given lengths in a row; returns how many fitted. */
static unsigned lay_out(udp_tx_t *batch, const uint32_t *lens, unsigned n)
{
    size_t used = 0;
    for (unsigned i = 0; i < n; i++) {
        if (used + lens[i] > sizeof arena)
            return i;
        io_pattern(arena + used, lens[i], i);
        batch[i] = (udp_tx_t){.data = arena + used, .len = lens[i]};
        used += lens[i];
    }
    return n;
}

static void check_inbox(const uint32_t *lens, unsigned first, unsigned n)
{
    CHECK_EQ(io_inbox.count, n);
    for (unsigned i = 0; i < n && i < io_inbox.count; i++) {
        if (!io_is_pattern(&io_inbox.rx[i], lens[i], first + i)) {
            rt_test_fail(__FILE__, __LINE__, "datagram %u", first + i);
            return;
        }
        CHECK(!io_inbox.rx[i].truncated);
    }
}

/* How many datagrams from the first on fit the receive buffer that any user may have. */
static unsigned fitting(const uint32_t *lens, unsigned n)
{
    uint32_t bytes = lens[0];
    unsigned count = 1;
    while (count < n && count < UDP_MAX_SEGMENTS && bytes + lens[count] <= 66000)
        bytes += lens[count++];
    return count;
}

/* Sends and receives in pieces, and compares everything. */
static void exchange(udp_t *tx, udp_t *rx, const uint32_t *lens, unsigned n, unsigned step)
{
    static udp_tx_t batch[MIX];
    REQUIRE(lay_out(batch, lens, n) == n);
    for (unsigned done = 0; done < n;) {
        unsigned piece = fitting(lens + done, n - done);
        REQUIRE(io_send_all(tx, batch + done, piece) == piece);
        io_receive(rx, piece, step);
        check_inbox(lens + done, done, piece);
        done += piece;
    }
    CHECK_EQ(udp_drops_refresh(rx), 0);
}

typedef struct variant {
    const char *host;
    bool connected;
    bool gso;
    bool gro;
} variant_t;

static const variant_t VARIANTS[] = {
    {"127.0.0.1", true, true, true},    {"127.0.0.1", false, true, true},
    {"127.0.0.1", true, true, false},   {"127.0.0.1", true, false, true},
    {"127.0.0.1", false, false, false}, {"::1", true, true, true},
    {"::1", false, true, false},        {"::1", false, false, false},
};

static bool open_variant(udp_t *tx, udp_t *rx, const variant_t *v)
{
    udp_config_t cfg = io_config();
    cfg.connected = v->connected;
    cfg.want_gso = v->gso;
    cfg.want_gro = v->gro;
    cfg.rcvbuf_bytes = cfg.sndbuf_bytes = 16u << 20;
    return io_pair(tx, rx, &cfg, v->host);
}

static void test_any_mix_of_sizes_arrives_whole_and_in_order(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 11);
    for (size_t v = 0; v < sizeof VARIANTS / sizeof VARIANTS[0]; v++) {
        udp_t tx, rx;
        REQUIRE(open_variant(&tx, &rx, &VARIANTS[v]));
        CHECK_EQ(tx.eff.gso, VARIANTS[v].gso);
        CHECK_EQ(rx.eff.gro, VARIANTS[v].gro);
        uint32_t lens[MIX];
        unsigned n = 0;
        while (n < MIX) { /* runs of one size, as streams have them, some ending in a shorter one */
            uint32_t len = (uint32_t)(rt_test_rand(&seed) % 1400);
            unsigned run = 1 + (unsigned)(rt_test_rand(&seed) % 100);
            for (unsigned i = 0; i < run && n < MIX; i++)
                lens[n++] = len;
            if (n < MIX && len > 1)
                lens[n++] = len / 2;
        }
        static const unsigned steps[] = {1, 7, 64, 1024};
        for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++)
            exchange(&tx, &rx, lens, MIX, steps[s]);
        CHECK_EQ(tx.gso, tx.eff.gso);
        io_close_pair(&tx, &rx);
    }
}

static void test_batches_use_gso_and_gro(void)
{
    udp_t tx, rx;
    REQUIRE(open_variant(&tx, &rx, &VARIANTS[0]));
    uint32_t lens[UDP_MAX_SEGMENTS];
    for (unsigned i = 0; i < UDP_MAX_SEGMENTS; i++)
        lens[i] = 100;
    lens[UDP_MAX_SEGMENTS - 1] = 99;
    exchange(&tx, &rx, lens, UDP_MAX_SEGMENTS, 1024);
    for (unsigned i = 0; i < io_inbox.count; i++)
        CHECK(io_inbox.rx[i].shared_stamp);
    exchange(&tx, &rx, lens, 1, 1024);
    CHECK(!io_inbox.rx[0].shared_stamp);
    io_close_pair(&tx, &rx);
}

static void test_the_longest_datagrams_arrive(void)
{
    static const struct {
        const char *host;
        uint32_t longest;
    } cases[] = {{"127.0.0.1", UDP_MAX_PAYLOAD}, {"::1", 65527}};
    for (size_t c = 0; c < (io_has_six() ? 2 : 1); c++) {
        for (int gso = 0; gso < 2; gso++) {
            udp_t tx, rx;
            udp_config_t cfg = io_config();
            cfg.want_gso = cfg.want_gro = gso;
            cfg.rcvbuf_bytes = cfg.sndbuf_bytes = 4u << 20;
            REQUIRE(io_pair(&tx, &rx, &cfg, cases[c].host));
            const uint32_t lens[] = {cases[c].longest,
                                     cases[c].longest,
                                     65000,
                                     65000,
                                     1,
                                     32753,
                                     32753,
                                     32754,
                                     32754,
                                     0,
                                     40000};
            exchange(&tx, &rx, lens, sizeof lens / sizeof lens[0], 64);

            udp_tx_t too_long = {.data = arena, .len = cases[c].longest + 1};
            int error;
            CHECK_EQ(udp_send(&tx, &too_long, 1, &error), 0);
            CHECK_EQ(error, EMSGSIZE);
            io_close_pair(&tx, &rx);
        }
    }
}

/* As if head and data had lain behind each other, alone, in a batch with GSO and among others. */
static void test_a_head_goes_before_its_data(void)
{
    static const uint32_t lens[] = {1000, 1000, 1000, 1000, 400, 16, 20, 1000, 17};
    enum { N = sizeof lens / sizeof lens[0] };
    udp_tx_t batch[N];
    udp_t tx, rx;
    for (unsigned v = 0; v < 5; v++) {
        REQUIRE(open_variant(&tx, &rx, &VARIANTS[v]));
        REQUIRE(lay_out(batch, lens, N) == N);
        for (unsigned i = 0; i < N; i++) {
            batch[i].head = batch[i].data;
            batch[i].head_bytes = 16;
            batch[i].data = (const uint8_t *)batch[i].data + 16;
            batch[i].len -= 16;
        }
        batch[6].data = batch[6].head; /* one without a head */
        batch[6].len += batch[6].head_bytes;
        batch[6].head_bytes = 0;
        REQUIRE(io_send_all(&tx, batch, N) == N);
        io_receive(&rx, N, N);
        check_inbox(lens, 0, N);
        REQUIRE(io_send_all(&tx, batch, 1) == 1);
        io_receive(&rx, 1, 1);
        check_inbox(lens, 0, 1);
        udp_close(&tx);
        udp_close(&rx);
    }
}

static void test_empty_datagrams_are_datagrams(void)
{
    for (size_t v = 0; v < sizeof VARIANTS / sizeof VARIANTS[0]; v++) {
        udp_t tx, rx;
        REQUIRE(open_variant(&tx, &rx, &VARIANTS[v]));
        const uint32_t lens[] = {0, 0, 0, 10, 10, 0, 10, 5, 0, 5, 0};
        exchange(&tx, &rx, lens, sizeof lens / sizeof lens[0], 3);
        exchange(&tx, &rx, lens, 1, 3);
        io_close_pair(&tx, &rx);
    }
}

static void test_each_datagram_goes_to_its_own_destination(void)
{
    enum { RECEIVERS = 3, EACH = 40 };
    udp_t tx, rx[RECEIVERS];
    udp_addr_t dests[RECEIVERS];
    udp_config_t cfg = io_config();
    cfg.want_gso = true;
    cfg.local = io_addr("127.0.0.1", 0);
    REQUIRE(io_opened(&tx, &cfg));
    for (unsigned r = 0; r < RECEIVERS; r++) {
        REQUIRE(io_opened(&rx[r], &cfg));
        dests[r] = rx[r].eff.local;
    }
    uint8_t payload[RECEIVERS * EACH][20];
    udp_tx_t batch[RECEIVERS * EACH];
    for (unsigned i = 0; i < RECEIVERS * EACH; i++) {
        unsigned r = (i / 5) % RECEIVERS; /* runs of five */
        io_pattern(payload[i], sizeof payload[i], i);
        batch[i] = (udp_tx_t){.data = payload[i], .len = 20, .dest = &dests[r]};
    }
    CHECK_EQ(io_send_all(&tx, batch, RECEIVERS * EACH), RECEIVERS * EACH);
    for (unsigned r = 0; r < RECEIVERS; r++) {
        io_receive(&rx[r], EACH, 64);
        CHECK_EQ(io_inbox.count, EACH);
        for (unsigned i = 0; i < io_inbox.count; i++) {
            io_is_pattern(&io_inbox.rx[i], 20, (i / 5 * RECEIVERS + r) * 5 + i % 5);
            CHECK(udp_addr_equal(&io_inbox.rx[i].source, &tx.eff.local));
        }
        udp_close(&rx[r]);
    }
    udp_close(&tx);
}

static void test_replies_find_the_sender(void)
{
    udp_t a, b;
    udp_config_t cfg = io_config();
    REQUIRE(io_pair(&a, &b, &cfg, "::1"));
    int error;
    udp_tx_t hello = {.data = "hello", .len = 5};
    CHECK_EQ(udp_send(&a, &hello, 1, &error), 1);
    io_receive(&b, 1, 1);
    udp_tx_t reply = {.data = "back", .len = 4, .dest = &io_inbox.rx[0].source};
    CHECK_EQ(udp_send(&b, &reply, 1, &error), 1);
    CHECK_EQ(io_receive(&a, 1, 1), 1);
    CHECK_MEM_EQ(io_inbox.rx[0].data, "back", 4);
    io_close_pair(&a, &b);
}

typedef struct door {
    const char *bound;  /* the wildcard address that receives */
    const char *client; /* sends from here */
    const char *to;     /* to this address of the host */
    const char *seen;   /* which is told like this */
} door_t;

static const door_t DOORS[] = {
    {"0.0.0.0", "127.0.0.1", "127.0.0.2", "127.0.0.2"},
    {"0.0.0.0", "127.0.0.3", "127.0.0.1", "127.0.0.1"},
    {"::", "127.0.0.1", "127.0.0.2", "::ffff:127.0.0.2"},
    {"::", "::1", "::1", "::1"},
};

/* Through one door: the reply comes from the address that was asked. */
static void through(const door_t *door)
{
    udp_config_t cfg = io_config();
    udp_t server, client;
    cfg.local = io_addr(door->bound, 0);
    cfg.want_local = true;
    REQUIRE(udp_open(&server, &cfg) == 0);
    cfg.local = io_addr(door->client, 0);
    REQUIRE(udp_open(&client, &cfg) == 0);
    udp_addr_t to = io_addr(door->to, udp_addr_port(&server.eff.local));
    udp_tx_t question[2] = {{.data = "a", .len = 1, .dest = &to},
                            {.data = "b", .len = 1, .dest = &to}};
    REQUIRE(io_send_all(&client, question, 2) == 2);
    io_receive(&server, 2, 64);
    REQUIRE(io_inbox.count == 2);
    udp_addr_t seen = io_addr(door->seen, udp_addr_port(&server.eff.local));
    REQUIRE(io_inbox.rx[0].local != NULL);
    CHECK(udp_addr_equal(io_inbox.rx[0].local, &seen));

    udp_addr_t source = *io_inbox.rx[0].local, dest = io_inbox.rx[0].source;
    udp_tx_t answer[3] = {{.data = "c", .len = 1, .dest = &dest, .source = &source},
                          {.data = "d", .len = 1, .dest = &dest, .source = &source},
                          {.data = "e", .len = 1, .dest = &dest, .source = &source}};
    CHECK_EQ(io_send_all(&server, answer, 1), 1); /* alone, and together */
    CHECK_EQ(io_send_all(&server, answer + 1, 2), 2);
    io_receive(&client, 3, 64);
    CHECK_EQ(io_inbox.count, 3);
    for (unsigned i = 0; i < io_inbox.count; i++)
        CHECK(udp_addr_equal(&io_inbox.rx[i].source, &to));
    udp_close(&server);
    udp_close(&client);
}

static void test_a_reply_can_leave_from_the_address_that_was_asked(void)
{
    for (size_t i = 0; i < sizeof DOORS / sizeof DOORS[0]; i++)
        through(&DOORS[i]);
}

/* Packets with different sources go to one destination: none of them leave together. */
static void test_packets_of_different_sources_leave_apart(void)
{
    udp_config_t cfg = io_config();
    udp_t server, client;
    cfg.want_gso = true;
    cfg.local = io_addr("0.0.0.0", 0);
    REQUIRE(udp_open(&server, &cfg) == 0);
    cfg.local = io_addr("127.0.0.1", 0);
    REQUIRE(udp_open(&client, &cfg) == 0);
    udp_addr_t a = io_addr("127.0.0.2", 0), again = a, b = io_addr("127.0.0.3", 0);
    const udp_addr_t *sources[] = {&a, &again, &b, NULL, NULL};
    udp_tx_t batch[5];
    for (unsigned i = 0; i < 5; i++)
        batch[i] =
            (udp_tx_t){.data = "x", .len = 1, .dest = &client.eff.local, .source = sources[i]};
    CHECK_EQ(udp_joined(&server, batch, 5), server.eff.gso ? 2 : 1);
    CHECK_EQ(io_send_all(&server, batch, 5), 5);
    io_receive(&client, 5, 64);
    REQUIRE(io_inbox.count == 5);
    static const char *const FROM[] = {"127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.1",
                                       "127.0.0.1"};
    for (unsigned i = 0; i < 5; i++) {
        udp_addr_t from = io_addr(FROM[i], udp_addr_port(&server.eff.local));
        CHECK(udp_addr_equal(&io_inbox.rx[i].source, &from));
    }
    udp_close(&server);
    udp_close(&client);
}

static void test_a_source_of_another_host_is_told_apart(void)
{
    static const char *const PAIRS[][3] = {{"0.0.0.0", "203.0.113.7", "127.0.0.1"},
                                           {"::", "2001:db8::7", "::1"},
                                           {"::", "::ffff:203.0.113.7", "::ffff:127.0.0.1"}};
    for (size_t i = 0; i < sizeof PAIRS / sizeof PAIRS[0]; i++) {
        udp_config_t cfg = io_config();
        udp_t server;
        cfg.local = io_addr(PAIRS[i][0], 0);
        REQUIRE(udp_open(&server, &cfg) == 0);
        udp_addr_t source = io_addr(PAIRS[i][1], 0), to = io_addr(PAIRS[i][2], 9);
        udp_tx_t batch[2] = {{.data = "x", .len = 1, .dest = &to, .source = &source},
                             {.data = "y", .len = 1, .dest = &to}};
        int error = 0;
        CHECK_EQ(udp_send(&server, batch, 2, &error), 0);
        CHECK_EQ(error, EADDRNOTAVAIL);
        CHECK_EQ(udp_send(&server, batch + 1, 1, &error), 1);
        udp_close(&server);
    }
}

static void test_who_is_bound_to_one_address_is_not_told_it(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.want_local = true;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_tx_t one = {.data = "x", .len = 1};
    REQUIRE(io_send_all(&tx, &one, 1) == 1);
    io_receive(&rx, 1, 64);
    REQUIRE(io_inbox.count == 1);
    CHECK(io_inbox.rx[0].local == NULL);
    udp_close(&tx);
    udp_close(&rx);
}

static void test_a_connected_socket_hears_only_its_peer(void)
{
    udp_t tx, rx, stranger;
    udp_config_t cfg = io_config();
    cfg.connected = true;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    cfg.connected = false;
    cfg.local = io_addr("127.0.0.1", 0);
    cfg.remote = tx.eff.local;
    REQUIRE(io_opened(&stranger, &cfg));
    int error;
    udp_tx_t note = {.data = "stranger", .len = 8};
    CHECK_EQ(udp_send(&stranger, &note, 1, &error), 1);
    note = (udp_tx_t){.data = "peer", .len = 4, .dest = &tx.eff.local};
    CHECK_EQ(udp_send(&rx, &note, 1, &error), 1);
    CHECK_EQ(io_receive(&tx, 1, 8), 1);
    CHECK_EQ(io_inbox.rx[0].len, 4);
    udp_rx_t none;
    CHECK_EQ(udp_recv(&tx, &none, 1), 0);
    udp_close(&stranger);
    io_close_pair(&tx, &rx);
}

static void test_without_a_destination_nothing_is_sent(void)
{
    udp_t tx;
    udp_config_t cfg = io_config();
    REQUIRE(io_opened(&tx, &cfg));
    udp_tx_t two[2] = {{.data = "a", .len = 1}, {.data = "b", .len = 1}};
    int error;
    CHECK_EQ(udp_send(&tx, two, 2, &error), 0);
    CHECK_EQ(error, EDESTADDRREQ);
    CHECK_EQ(udp_send(&tx, two, 0, &error), 0);
    CHECK_EQ(error, 0);
    udp_close(&tx);
}

/* One datagram that cannot be sent stops the batch exactly there; the caller goes on behind it. */
/* Neither a datagram, nor an error that a later call would have told of. */
static void test_warming_sends_nothing(void)
{
    const char *hosts[] = {"127.0.0.1", "::1"};
    for (unsigned c = 0; c < 4; c++) {
        udp_t tx, rx;
        udp_config_t cfg = io_config();
        cfg.connected = c >= 2;
        REQUIRE(io_pair(&tx, &rx, &cfg, io_host(hosts[c % 2])));
        for (unsigned i = 0; i < 100; i++)
            udp_warm(&tx);
        udp_tx_t one = {.data = "x", .len = 1};
        int error = 0;
        CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
        CHECK_EQ(error, 0);
        CHECK_EQ(io_receive(&rx, 1, 1), 1);
        CHECK_EQ(io_inbox.rx[0].len, 1);
        udp_rx_t more;
        CHECK_EQ(udp_recv(&rx, &more, 1), 0);
        io_close_pair(&tx, &rx);
    }
    udp_t nowhere;
    udp_config_t cfg = udp_config_default();
    REQUIRE(udp_addr_parse(&cfg.local, "127.0.0.1", 0) == 0 && udp_open(&nowhere, &cfg) == 0);
    udp_warm(&nowhere);
    udp_close(&nowhere);
}

static void test_a_bad_datagram_stops_the_batch_where_it_stands(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.want_gso = true;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_addr_t port_0 = io_addr("127.0.0.1", 0);
    for (unsigned bad = 0; bad < 6; bad++) {
        uint8_t payload[6][4];
        udp_tx_t batch[6];
        for (unsigned i = 0; i < 6; i++) {
            io_pattern(payload[i], 4, i);
            batch[i] = (udp_tx_t){.data = payload[i], .len = i % 2 == 0 ? 3 : 4};
        }
        batch[bad].dest = &port_0;
        int error;
        CHECK_EQ(udp_send(&tx, batch, 6, &error), bad);
        CHECK_EQ(error, EINVAL);
        CHECK_EQ(udp_send(&tx, batch + bad + 1, 5 - bad, &error), 5 - bad);
        CHECK_EQ(error, 0);
        CHECK_EQ(io_receive(&rx, 5, 8), 5);
    }
    CHECK(tx.gso);
    io_close_pair(&tx, &rx);
}

/* A port nobody listens on answers with ICMP, which the kernel reports on the next call, instead of
 * sending that call's datagram. */
static void test_a_refused_datagram_does_not_cost_the_next(void)
{
    for (int gso = 0; gso < 2; gso++) {
        udp_t tx, rx;
        udp_config_t cfg = io_config();
        cfg.connected = true;
        cfg.want_gso = gso;
        REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
        udp_config_t again = io_config();
        again.local = rx.eff.local;
        udp_close(&rx);

        udp_tx_t one = {.data = "lost", .len = 4};
        int error;
        for (int i = 0; i < 5; i++) {
            CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
            CHECK_EQ(error, 0);
        }

        REQUIRE(
            io_opened(&rx, &again)); /* somebody listens now; the fifth answer is still pending */
        udp_tx_t two[2] = {{.data = "a", .len = 1}, {.data = "b", .len = 1}};
        CHECK_EQ(udp_send(&tx, two, 2, &error), 2);
        CHECK_EQ(io_receive(&rx, 2, 8), 2);
        io_close_pair(&tx, &rx);
    }
}

static void test_a_batch_to_a_closed_port_goes_out_once_each(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.connected = true;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_close(&rx);
    udp_tx_t batch[50];
    for (unsigned i = 0; i < 50; i++)
        batch[i] = (udp_tx_t){.data = arena, .len = i};
    int error;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(udp_send(&tx, batch, 50, &error), 50);
        CHECK_EQ(error, 0);
    }
    udp_close(&tx);
}

static void test_an_answer_from_the_network_does_not_disturb_receiving(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.connected = true;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_tx_t note = {.data = "peer", .len = 4, .dest = &tx.eff.local};
    int error;
    CHECK_EQ(udp_send(&rx, &note, 1, &error), 1);
    udp_close(&rx);
    udp_tx_t lost = {.data = "lost", .len = 4};
    CHECK_EQ(udp_send(&tx, &lost, 1, &error), 1);
    udp_rx_t got;
    CHECK_EQ(udp_recv(&tx, &got, 1), 1);
    CHECK_EQ(got.len, 4);
    udp_close(&tx);
}

static void test_a_socket_that_cannot_do_gso_falls_back_for_good(void)
{
    udp_t tx, rx;
    REQUIRE(open_variant(&tx, &rx, &VARIANTS[0]));
    int no_checksum = 1; /* the kernel refuses GSO with EINVAL then */
    REQUIRE(setsockopt(tx.fd, SOL_SOCKET, SO_NO_CHECK, &no_checksum, sizeof no_checksum) == 0);
    const uint32_t lens[] = {100, 100, 100, 100, 50, 7, 7};
    exchange(&tx, &rx, lens, 7, 64);
    CHECK(!tx.gso && !tx.eff.gso);
    exchange(&tx, &rx, lens, 7, 64);
    io_close_pair(&tx, &rx);
}

/* ---- the pool --------------------------------------------------------------------------- */

static void test_a_rest_in_the_pool_is_kept_for_its_socket(void)
{
    udp_t tx, rx, other_tx, other;
    REQUIRE(open_variant(&tx, &rx, &VARIANTS[0]));
    REQUIRE(open_variant(&other_tx, &other, &VARIANTS[0]));
    uint32_t lens[10] = {50, 50, 50, 50, 50, 50, 50, 50, 50, 50};
    udp_tx_t batch[10];
    lay_out(batch, lens, 10);
    CHECK_EQ(io_send_all(&tx, batch, 10), 10);
    CHECK_EQ(io_send_all(&other_tx, batch, 1), 1);
    CHECK(io_readable(&rx, ARRIVAL_MS));
    udp_rx_t out[10];
    CHECK_EQ(udp_recv(&rx, out, 4), 4);
    CHECK(rx.rx_more);
    CHECK_EQ(udp_recv(&other, out, 1), -EBUSY);
    CHECK_EQ(udp_recv(&rx, out, 10), 6);
    for (unsigned i = 0; i < 6; i++)
        io_is_pattern(&out[i], 50, i + 4);
    CHECK_EQ(udp_recv(&other, out, 2), 1);
    CHECK(!other.rx_more);

    CHECK_EQ(io_send_all(&tx, batch, 10), 10);
    CHECK_EQ(io_send_all(&other_tx, batch, 1), 1);
    CHECK_EQ(udp_recv(&rx, out, 4), 4);
    udp_close(&rx); /* with a rest in the pool */
    CHECK_EQ(udp_recv(&other, out, 1), 1);
    udp_close(&tx);
    io_close_pair(&other_tx, &other);
}

static void test_more_is_promised_only_when_there_may_be(void)
{
    udp_t tx, rx;
    REQUIRE(open_variant(&tx, &rx, &VARIANTS[4])); /* no GSO, no GRO */
    uint32_t lens[20] = {0};
    udp_tx_t batch[20];
    lay_out(batch, lens, 20);
    CHECK_EQ(io_send_all(&tx, batch, 20), 20);
    udp_rx_t out[64];
    CHECK_EQ(udp_recv(&rx, out, 64), 16); /* the pool's size */
    CHECK(rx.rx_more);
    CHECK_EQ(udp_recv(&rx, out, 64), 4);
    CHECK(!rx.rx_more);
    CHECK_EQ(udp_recv(&rx, out, 64), 0);
    CHECK(!rx.rx_more);
    io_close_pair(&tx, &rx);
}

static void test_a_pool_has_a_sensible_size(void)
{
    CHECK(udp_rx_pool_create(0, -1) == NULL);
    CHECK_EQ(errno, EINVAL);
    io_error_names("1..64");
    CHECK(udp_rx_pool_create(65, -1) == NULL);
    udp_rx_pool_destroy(NULL);
}

/* ---- losses ----------------------------------------------------------------------------- */

static void test_kernel_drops_are_counted(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.rcvbuf_bytes = 4096;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    const unsigned sent = 200;
    udp_tx_t one = {.data = arena, .len = 500};
    int error;
    for (unsigned i = 0; i < sent; i++)
        CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    unsigned received = 0;
    udp_rx_t out[64];
    for (int got; (got = udp_recv(&rx, out, 64)) > 0;)
        received += (unsigned)got;
    CHECK(received > 0 && received < sent);

    CHECK_EQ(udp_send(&tx, &one, 1, &error), 1); /* carries the counter */
    CHECK_EQ(udp_recv(&rx, out, 64), 1);
    CHECK_EQ(rx.kernel_drops, sent - received);
    CHECK_EQ(udp_drops_refresh(&rx), sent - received);

    /* As if the kernel's 32 bits had wrapped, 100 drops after we last looked. */
    rx.drops_seen = UINT32_MAX - 99;
    rx.kernel_drops = UINT32_MAX - UINT64_C(99);
    CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    CHECK_EQ(udp_recv(&rx, out, 64), 1);
    CHECK_EQ(rx.kernel_drops, (UINT64_C(1) << 32) + sent - received);
    io_close_pair(&tx, &rx);
}

static void test_a_refreshed_counter_is_not_counted_again(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.rcvbuf_bytes = 4096;
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_tx_t one = {.data = arena, .len = 500};
    int error;
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    uint64_t drops = udp_drops_refresh(&rx); /* ahead of what the queued datagrams carry */
    CHECK(drops > 0);
    udp_rx_t out[64];
    unsigned received = 0;
    for (int got; (got = udp_recv(&rx, out, 64)) > 0;)
        received += (unsigned)got;
    CHECK_EQ(received + rx.kernel_drops, 100);
    io_close_pair(&tx, &rx);
}

static void test_a_closed_socket_says_so(void)
{
    udp_t udp;
    udp_config_t cfg = io_config();
    REQUIRE(io_opened(&udp, &cfg));
    udp_close(&udp);
    udp_close(&udp);
    udp_rx_t out;
    CHECK_EQ(udp_recv(&udp, &out, 1), -EBADF);
    udp_tx_t one = {.data = arena, .len = 1};
    int error;
    CHECK_EQ(udp_send(&udp, &one, 1, &error), 0);
    CHECK_EQ(error, EBADF);
}

int main(void)
{
    io_setup();
    RUN(test_any_mix_of_sizes_arrives_whole_and_in_order);
    RUN(test_batches_use_gso_and_gro);
    RUN(test_the_longest_datagrams_arrive);
    RUN(test_a_head_goes_before_its_data);
    RUN(test_empty_datagrams_are_datagrams);
    RUN(test_each_datagram_goes_to_its_own_destination);
    RUN(test_replies_find_the_sender);
    RUN(test_a_reply_can_leave_from_the_address_that_was_asked);
    RUN(test_packets_of_different_sources_leave_apart);
    RUN(test_a_source_of_another_host_is_told_apart);
    RUN(test_who_is_bound_to_one_address_is_not_told_it);
    RUN(test_a_connected_socket_hears_only_its_peer);
    RUN(test_without_a_destination_nothing_is_sent);
    RUN(test_warming_sends_nothing);
    RUN(test_a_bad_datagram_stops_the_batch_where_it_stands);
    RUN(test_a_refused_datagram_does_not_cost_the_next);
    RUN(test_a_batch_to_a_closed_port_goes_out_once_each);
    RUN(test_an_answer_from_the_network_does_not_disturb_receiving);
    RUN(test_a_socket_that_cannot_do_gso_falls_back_for_good);
    RUN(test_a_rest_in_the_pool_is_kept_for_its_socket);
    RUN(test_more_is_promised_only_when_there_may_be);
    RUN(test_a_pool_has_a_sensible_size);
    RUN(test_kernel_drops_are_counted);
    RUN(test_a_refreshed_counter_is_not_counted_again);
    RUN(test_a_closed_socket_says_so);
    io_teardown();
    return rt_test_result();
}
