/* Time stamps of packets received and sent, and which packet they belong to. */
#include "io_test.h"

#include "io/udp_private.h"

static uint8_t payload[64 * 1024];

static bool open_stamped(udp_t *tx, udp_t *rx, const char *host, bool batches)
{
    udp_config_t cfg = io_config();
    cfg.rx_stamps = UDP_RX_STAMPS_KERNEL;
    cfg.tx_stamps = true;
    cfg.want_gso = cfg.want_gro = batches;
    cfg.rcvbuf_bytes = 8u << 20;
    return io_pair(tx, rx, &cfg, host);
}

static int64_t map_slack_ns(void)
{
    return io_map.high_ns - io_map.low_ns + 1;
}

static void test_kernel_stamps_lie_between_the_clocks_around(void)
{
    const char *hosts[] = {"127.0.0.1", "::1"};
    for (int h = 0; h < 2; h++) {
        udp_t tx, rx;
        REQUIRE(open_stamped(&tx, &rx, hosts[h], false));
        CHECK_EQ(rx.eff.rx_stamp, UDP_STAMP_KERNEL);
        for (int i = 0; i < 50; i++) {
            udp_tx_t one = {.data = payload, .len = 8};
            int error;
            int64_t before_ns = rt_mono_ns();
            CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
            int64_t after_ns = rt_mono_ns();
            CHECK_EQ(io_receive(&rx, 1, 8), 1);
            const udp_rx_t *got = &io_inbox.rx[0];
            CHECK_EQ(got->stamp, UDP_STAMP_KERNEL);
            CHECK(!got->shared_stamp);
            CHECK(got->time_ns >= before_ns - map_slack_ns());
            CHECK(got->time_ns <=
                  after_ns + map_slack_ns()); /* on loopback: inside the send call */
        }
        io_close_pair(&tx, &rx);
    }
}

static void test_user_stamps_are_the_time_of_the_call(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    cfg.clock_map = NULL;
    for (int clock = RT_CLOCK_MONOTONIC; clock <= RT_CLOCK_TAI; clock++) {
        cfg.clock = (rt_clock_id_t)clock;
        REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
        udp_tx_t three[3] = {
            {.data = "a", .len = 1}, {.data = "b", .len = 1}, {.data = "c", .len = 1}};
        int error;
        CHECK_EQ(udp_send(&tx, three, 3, &error), 3);
        int64_t before_ns = clock_now_ns(cfg.clock);
        udp_rx_t out[3];
        CHECK_EQ(udp_recv(&rx, out, 3), 3);
        int64_t after_ns = clock_now_ns(cfg.clock);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(out[i].stamp, UDP_STAMP_USER);
            CHECK(out[i].shared_stamp);
            CHECK(before_ns <= out[i].time_ns && out[i].time_ns <= after_ns);
        }
        io_close_pair(&tx, &rx);
    }
}

static void test_one_gro_batch_shares_one_stamp(void)
{
    udp_t tx, rx;
    REQUIRE(open_stamped(&tx, &rx, "127.0.0.1", true));
    udp_tx_t batch[11];
    for (int i = 0; i < 11; i++)
        batch[i] = (udp_tx_t){.data = payload, .len = i < 10 ? 40 : 50};
    CHECK_EQ(io_send_all(&tx, batch, 11), 11);
    CHECK_EQ(io_receive(&rx, 11, 64), 11);
    for (unsigned i = 0; i < io_inbox.count; i++) {
        CHECK_EQ(io_inbox.rx[i].shared_stamp, i < 10);
        CHECK_EQ(io_inbox.rx[i].time_ns == io_inbox.rx[0].time_ns, i < 10);
    }
    io_close_pair(&tx, &rx);
}

/* Collects stamps until `want` are there or none come any more. */
static unsigned collect(udp_t *udp, udp_tx_stamp_t *out, unsigned want)
{
    unsigned count = 0;
    for (int tries = 0; count < want && tries < ARRIVAL_MS; tries++) {
        int got = udp_tx_stamps(udp, out + count, want - count);
        count += (unsigned)got;
        if (got == 0)
            usleep(1000);
    }
    return count;
}

static void check_ids_match(udp_t *tx, udp_t *rx, bool own_ids)
{
    tx->own_stamp_ids = own_ids;
    uint32_t last_id = 0;
    for (int round = 0; round < 20; round++) {
        udp_tx_t batch[12];
        for (unsigned i = 0; i < 12; i++) /* lengths differ: twelve messages; every third asks */
            batch[i] = (udp_tx_t){.data = payload, .len = 10 + i, .want_stamp = i % 3 == 0};
        int64_t before_ns = rt_mono_ns();
        CHECK_EQ(io_send_all(tx, batch, 12), 12);
        int64_t after_ns = rt_mono_ns();
        udp_tx_stamp_t stamps[12];
        CHECK_EQ(collect(tx, stamps, 4), 4);
        for (unsigned i = 0, s = 0; i < 12; i++) {
            if (i % 3 != 0) {
                CHECK_EQ(batch[i].stamp_id, 0);
                continue;
            }
            CHECK(batch[i].stamp_id > last_id);
            CHECK_EQ(stamps[s].id, batch[i].stamp_id);
            CHECK_EQ(stamps[s].kind, UDP_STAMP_KERNEL);
            CHECK(stamps[s].time_ns >= before_ns - map_slack_ns());
            CHECK(stamps[s].time_ns <= after_ns + map_slack_ns());
            last_id = stamps[s++].id;
        }
        CHECK_EQ(udp_tx_stamps(tx, stamps, 12), 0);
        io_receive(rx, 12, 64);
    }
}

static void test_each_stamp_finds_its_datagram(void)
{
    const char *hosts[] = {"127.0.0.1", "::1"};
    for (int h = 0; h < 2; h++) {
        for (int own = 0; own < 2; own++) {
            udp_t tx, rx;
            REQUIRE(open_stamped(&tx, &rx, hosts[h], true));
            CHECK_EQ(tx.eff.tx_stamp, UDP_STAMP_KERNEL);
            if (own && !tx.own_stamp_ids) {
                (void)printf("no ids of our own before Linux 6.13\n");
                io_close_pair(&tx, &rx);
                continue;
            }
            check_ids_match(&tx, &rx, own);
            io_close_pair(&tx, &rx);
        }
    }
}

static void test_one_gso_call_gives_one_stamp(void)
{
    udp_t tx, rx;
    REQUIRE(open_stamped(&tx, &rx, "127.0.0.1", true));
    udp_tx_t batch[10];
    for (unsigned i = 0; i < 10; i++)
        batch[i] = (udp_tx_t){.data = payload, .len = 30, .want_stamp = i >= 4};
    CHECK_EQ(io_send_all(&tx, batch, 10), 10);
    udp_tx_stamp_t stamps[10];
    CHECK_EQ(collect(&tx, stamps, 1), 1);
    CHECK_EQ(udp_tx_stamps(&tx, stamps + 1, 9), 0);
    for (unsigned i = 0; i < 10; i++)
        CHECK_EQ(batch[i].stamp_id, i >= 4 ? stamps[0].id : 0);
    io_close_pair(&tx, &rx);
}

/* A call that fails may have used up an id of the kernel's; afterwards ids must fit again. */
static void test_ids_fit_again_after_a_failed_call(void)
{
    udp_addr_t port_0 = io_addr("127.0.0.1", 0);
    for (int own = 0; own < 2; own++) {
        udp_t tx, rx;
        REQUIRE(open_stamped(&tx, &rx, "127.0.0.1", true));
        tx.own_stamp_ids = own && tx.own_stamp_ids;
        for (int round = 0; round < 5; round++) {
            udp_tx_t batch[3] = {
                {.data = payload, .len = 70000, .want_stamp = true},
                {.data = payload, .len = 5, .want_stamp = true, .dest = &port_0},
                {.data = payload, .len = 6, .want_stamp = true},
            };
            int error;
            CHECK_EQ(udp_send(&tx, batch, 3, &error), 0);
            CHECK_EQ(error, EMSGSIZE);
            CHECK_EQ(udp_send(&tx, batch + 1, 2, &error), 0);
            CHECK_EQ(error, EINVAL);
            CHECK_EQ(udp_send(&tx, batch + 2, 1, &error), 1);
            udp_tx_stamp_t stamp;
            CHECK_EQ(collect(&tx, &stamp, 1), 1);
            CHECK_EQ(stamp.id, batch[2].stamp_id);
        }
        check_ids_match(&tx, &rx, tx.own_stamp_ids);
        io_close_pair(&tx, &rx);
    }
}

static void test_ids_begin_anew_for_an_heir(void)
{
    udp_t tx, rx, heir;
    REQUIRE(open_stamped(&tx, &rx, "127.0.0.1", false));
    udp_tx_t one = {.data = payload, .len = 5, .want_stamp = true};
    int error;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    udp_config_t cfg = io_config();
    cfg.tx_stamps = true;
    cfg.remote = rx.eff.local;
    cfg.local = tx.eff.local;
    REQUIRE(udp_adopt(&heir, dup(tx.fd), &cfg) == 0);
    heir.own_stamp_ids = false;
    CHECK_EQ(udp_send(&heir, &one, 1, &error), 1);
    udp_tx_stamp_t stamp;
    CHECK_EQ(collect(&heir, &stamp, 1), 1);
    CHECK_EQ(stamp.id, one.stamp_id);
    udp_close(&heir);
    io_close_pair(&tx, &rx);
}

static void test_unasked_stamps_do_not_come(void)
{
    udp_t tx, rx;
    udp_config_t cfg = io_config();
    REQUIRE(io_pair(&tx, &rx, &cfg, "127.0.0.1"));
    udp_tx_t one = {.data = payload, .len = 5, .want_stamp = true};
    int error;
    CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    CHECK_EQ(one.stamp_id, 0);
    udp_tx_stamp_t stamp;
    CHECK_EQ(udp_tx_stamps(&tx, &stamp, 1), 0);
    io_close_pair(&tx, &rx);
}

static void test_many_stamps_are_fetched_in_pieces(void)
{
    udp_t tx, rx;
    REQUIRE(open_stamped(&tx, &rx, "127.0.0.1", false));
    enum { MANY = 100 };
    udp_tx_t batch[MANY];
    for (unsigned i = 0; i < MANY; i++)
        batch[i] = (udp_tx_t){.data = payload, .len = i, .want_stamp = true};
    CHECK_EQ(io_send_all(&tx, batch, MANY), MANY);
    udp_tx_stamp_t stamps[MANY + 1];
    CHECK_EQ(udp_tx_stamps(&tx, stamps, 1), 1);
    CHECK_EQ(udp_tx_stamps(&tx, stamps + 1, 37), 37);
    CHECK_EQ(udp_tx_stamps(&tx, stamps + 38, MANY - 38 + 1), MANY - 38);
    for (unsigned i = 0; i < MANY; i++) {
        CHECK_EQ(stamps[i].id, batch[i].stamp_id);
        CHECK(i == 0 || stamps[i].time_ns >= stamps[i - 1].time_ns - map_slack_ns());
    }
    io_close_pair(&tx, &rx);
}

static void test_without_a_card_clock_kernel_stamps_are_used(void)
{
    udp_t udp;
    udp_config_t cfg = io_config();
    cfg.rx_stamps = UDP_RX_STAMPS_HARDWARE;
    REQUIRE(io_opened(&udp, &cfg));
    CHECK_EQ(udp.eff.rx_stamp, UDP_STAMP_KERNEL);
    CHECK(strstr(udp.eff.hw_stamp_reason, "PTP") != NULL);
    udp_close(&udp);

    phc_t other_card = {.fd = -1, .ifindex = 999, .rx = true, .tx = true};
    phc_filter_init(&other_card.filter);
    cfg.phc = &other_card;
    cfg.tx_stamps = true;
    cfg.remote = io_addr("127.0.0.1", 9);
    REQUIRE(io_opened(&udp, &cfg));
    CHECK_EQ(udp.eff.tx_stamp, UDP_STAMP_KERNEL);
    CHECK(strstr(udp.eff.hw_stamp_reason, "lo") != NULL);
    udp_close(&udp);
}

/* Hardware cannot be had in a test; which of two stamps is taken can. */
static void test_only_the_own_cards_stamps_are_believed(void)
{
    phc_t card = {.fd = -1, .ifindex = 3};
    phc_filter_init(&card.filter);
    phc_filter_add(&card.filter, 0, 1000, 1);
    clock_map_t map = {.target = RT_CLOCK_MONOTONIC, .offset_ns = 5000};
    udp_t udp = {.phc = &card, .clock_map = &map};
    udp_rx_control_t control = {.kernel = {.tv_nsec = 7000}, .hardware = {.tv_nsec = 300}};
    int64_t time_ns;
    udp_stamp_t kind;

    control.hardware_ifindex = 3;
    CHECK(udp_rx_stamp(&udp, &control, &time_ns, &kind));
    CHECK_EQ(kind, UDP_STAMP_HARDWARE);
    CHECK_EQ(time_ns, 1300);
    control.hardware_ifindex = 4;
    CHECK(udp_rx_stamp(&udp, &control, &time_ns, &kind));
    CHECK_EQ(kind, UDP_STAMP_KERNEL);
    CHECK_EQ(time_ns, 2000);
    udp.hw_any_device = true;
    CHECK(udp_rx_stamp(&udp, &control, &time_ns, &kind));
    CHECK_EQ(kind, UDP_STAMP_HARDWARE);
    control = (udp_rx_control_t){.segment_bytes = 0};
    CHECK(!udp_rx_stamp(&udp, &control, &time_ns, &kind));
}

int main(void)
{
    io_setup();
    RUN(test_kernel_stamps_lie_between_the_clocks_around);
    RUN(test_user_stamps_are_the_time_of_the_call);
    RUN(test_one_gro_batch_shares_one_stamp);
    RUN(test_each_stamp_finds_its_datagram);
    RUN(test_one_gso_call_gives_one_stamp);
    RUN(test_ids_fit_again_after_a_failed_call);
    RUN(test_ids_begin_anew_for_an_heir);
    RUN(test_unasked_stamps_do_not_come);
    RUN(test_many_stamps_are_fetched_in_pieces);
    RUN(test_without_a_card_clock_kernel_stamps_are_used);
    RUN(test_only_the_own_cards_stamps_are_believed);
    io_teardown();
    return rt_test_result();
}
