/* What one process took from the kernel and was not done with, another
 * one finds in the memory file. */
#include "io_test.h"

#include <sys/mman.h>

enum { TAKEN = 10 };

static int memory_fd;
static udp_rx_pool_t *first; /* of the process that dies: never destroyed
                                before the second one looks */
static udp_t tx, rx, successor;
static uint64_t position;

static bool begin(bool gro)
{
    udp_config_t cfg = io_config();
    memory_fd = memfd_create("rx", MFD_CLOEXEC);
    first = udp_rx_pool_create(16, memory_fd);
    position = 1000;
    cfg.rx_pool = first;
    cfg.want_gso = cfg.want_gro = gro;
    cfg.rx_channel = 7;
    cfg.rx_position = &position;
    return first != NULL && io_pair(&tx, &rx, &cfg, "127.0.0.1");
}

static void send_some(unsigned count)
{
    uint8_t bytes[200];
    for (unsigned i = 0; i < count; i++) {
        udp_tx_t one = {.data = bytes, .len = sizeof bytes};
        int error;
        io_pattern(bytes, sizeof bytes, i);
        CHECK_EQ(udp_send(&tx, &one, 1, &error), 1);
    }
    CHECK(io_readable(&rx, ARRIVAL_MS));
}

/* Another process maps the file and goes on with the socket. */
static udp_rx_pool_t *succeed(void)
{
    udp_config_t cfg = io_config();
    udp_rx_pool_t *second = udp_rx_pool_create(16, memory_fd);
    cfg.rx_pool = second;
    cfg.rx_channel = 7;
    cfg.rx_position = &position;
    CHECK(second != NULL);
    CHECK_EQ(udp_adopt(&successor, dup(rx.fd), &cfg), 0);
    return second;
}

static void finish(udp_rx_pool_t *second)
{
    udp_close(&successor);
    udp_rx_pool_destroy(second);
    io_close_pair(&tx, &rx);
    udp_rx_pool_destroy(first);
    close(memory_fd);
}

static void check_dealt(unsigned from)
{
    udp_rx_t out[TAKEN];
    int got = udp_recv(&successor, out, TAKEN);
    CHECK_EQ(got, TAKEN);
    CHECK_EQ(successor.rx_skip, from);
    for (int i = 0; i < got; i++) {
        io_is_pattern(&out[i], 200, (unsigned)i);
        CHECK(udp_addr_equal(&out[i].source, &tx.eff.local));
    }
    udp_recv_done(&successor);
    CHECK_EQ(successor.rx_skip, 0);
}

static void test_what_was_taken_and_not_done_with_comes_again(void)
{
    udp_rx_t out[TAKEN];
    REQUIRE(begin(false));
    send_some(TAKEN);
    CHECK_EQ(udp_recv_messages(&rx, out, 4, TAKEN), 4);
    position += 4; /* published, and then it died */
    udp_rx_pool_t *second = succeed();
    CHECK(successor.rx_left);
    check_dealt(4);
    CHECK(!successor.rx_left);
    CHECK_EQ(udp_recv(&successor, out, TAKEN), 0);
    send_some(TAKEN);
    check_dealt(0);
    finish(second);
}

static void test_what_was_done_with_does_not_come_again(void)
{
    udp_rx_t out[TAKEN];
    REQUIRE(begin(false));
    send_some(TAKEN);
    CHECK_EQ(udp_recv(&rx, out, TAKEN), TAKEN);
    udp_recv_done(&rx);
    udp_rx_pool_t *second = succeed();
    CHECK(!successor.rx_left);
    CHECK_EQ(udp_recv(&successor, out, TAKEN), 0);
    finish(second);
}

static void test_a_batch_of_the_kernels_comes_again(void)
{
    enum { SEGMENTS = 40 };
    static uint8_t bytes[SEGMENTS][200];
    udp_rx_t out[SEGMENTS];
    udp_tx_t batch[SEGMENTS];
    int error;
    REQUIRE(begin(true));
    if (!tx.eff.gso || !rx.eff.gro)
        TEST_SKIP("no GSO or GRO here");
    for (unsigned i = 0; i < SEGMENTS; i++) {
        io_pattern(bytes[i], 200, i);
        batch[i] = (udp_tx_t){.data = bytes[i], .len = 200};
    }
    CHECK_EQ(udp_send(&tx, batch, SEGMENTS, &error), SEGMENTS);
    CHECK(io_readable(&rx, ARRIVAL_MS));
    CHECK_EQ(udp_recv_messages(&rx, out, 10, TAKEN), 10);
    udp_rx_pool_t *second = succeed();
    CHECK_EQ(udp_recv(&successor, out, SEGMENTS), SEGMENTS);
    for (unsigned i = 0; i < SEGMENTS; i++)
        io_is_pattern(&out[i], 200, i);
    finish(second);
}

static void test_a_second_death_finds_both_batches(void)
{
    udp_rx_t out[TAKEN];
    udp_t other_tx, other;
    udp_config_t cfg = io_config();
    REQUIRE(begin(false));
    send_some(TAKEN);
    CHECK_EQ(udp_recv_messages(&rx, out, 4, TAKEN), 4);
    udp_rx_pool_t *second = udp_rx_pool_create(16, memory_fd); /* opens another socket first */
    cfg.rx_pool = second;
    cfg.rx_channel = 8;
    REQUIRE(io_pair(&other_tx, &other, &cfg, "127.0.0.1"));
    udp_tx_t one = {.data = "x", .len = 1};
    int error;
    CHECK_EQ(udp_send(&other_tx, &one, 1, &error), 1);
    CHECK(io_readable(&other, ARRIVAL_MS));
    CHECK_EQ(udp_recv(&other, out, 1), 1);
    udp_rx_pool_t *third = succeed();
    CHECK(successor.rx_left);
    CHECK_EQ(udp_rx_pool_lost(third, 8, 0), 1); /* its socket does not come back */
    CHECK_EQ(udp_rx_pool_lost(third, 7, 0), 0); /* this one did */
    check_dealt(0);
    udp_close(&other);
    udp_close(&other_tx);
    udp_rx_pool_destroy(second);
    finish(third);
}

/* Their channels may be held, or have no room: nobody else must wait for them for ever. */
static void test_batches_that_nobody_fetches_are_given_up_and_counted(void)
{
    udp_rx_t out[TAKEN];
    udp_t other_tx, other, other_successor;
    udp_config_t cfg = io_config();
    REQUIRE(begin(false));
    send_some(TAKEN);
    CHECK_EQ(udp_recv_messages(&rx, out, 4, TAKEN), 4);
    udp_rx_pool_t *second = udp_rx_pool_create(16, memory_fd);
    cfg.rx_pool = second;
    cfg.rx_channel = 8;
    REQUIRE(io_pair(&other_tx, &other, &cfg, "127.0.0.1"));
    udp_tx_t one = {.data = "x", .len = 1};
    int error;
    CHECK_EQ(udp_send(&other_tx, &one, 1, &error), 1);
    CHECK(io_readable(&other, ARRIVAL_MS));
    CHECK_EQ(udp_recv(&other, out, 1), 1);

    udp_rx_pool_t *third = succeed();
    cfg.rx_pool = third;
    REQUIRE(udp_adopt(&other_successor, dup(other.fd), &cfg) == 0);
    cfg.rx_channel = 9;
    udp_t neighbour_tx, neighbour;
    REQUIRE(io_pair(&neighbour_tx, &neighbour, &cfg, "127.0.0.1"));
    CHECK_EQ(udp_send(&neighbour_tx, &one, 1, &error), 1);
    CHECK(io_readable(&neighbour, ARRIVAL_MS));
    int64_t until = rt_mono_ns() + 20 * RT_NS_PER_S;
    int got = 0;
    while (got == 0 && rt_mono_ns() < until)
        got = udp_recv(&neighbour, out, 1);
    CHECK_EQ(got, 1);
    udp_recv_done(&neighbour);
    CHECK(!successor.rx_left && other_successor.rx_left); /* the older one was given up */
    CHECK_EQ(udp_rx_pool_lost(third, 7, position), TAKEN);
    CHECK_EQ(udp_rx_pool_lost(third, 7, position), 0);
    CHECK_EQ(udp_recv(&successor, out, TAKEN), 0);
    CHECK_EQ(udp_recv(&other_successor, out, TAKEN), 1);
    udp_recv_done(&other_successor);
    udp_close(&other_successor);
    io_close_pair(&neighbour_tx, &neighbour);
    io_close_pair(&other_tx, &other);
    udp_rx_pool_destroy(second);
    finish(third);
}

static void test_what_has_no_socket_any_more_is_counted(void)
{
    udp_rx_t out[TAKEN];
    REQUIRE(begin(false));
    send_some(TAKEN);
    CHECK_EQ(udp_recv_messages(&rx, out, 4, TAKEN), 4);
    udp_rx_pool_t *second = udp_rx_pool_create(16, memory_fd);
    CHECK_EQ(udp_rx_pool_lost(second, 8, 1000), 0);
    CHECK_EQ(udp_rx_pool_lost(second, 7, 1004), TAKEN - 4);
    CHECK_EQ(udp_rx_pool_lost(second, 7, 1004), 0);
    udp_rx_pool_destroy(second);
    io_close_pair(&tx, &rx);
    udp_rx_pool_destroy(first);
    close(memory_fd);
}

static void test_a_spoiled_file_is_survived(void)
{
    udp_rx_t out[TAKEN];
    REQUIRE(begin(false));
    send_some(TAKEN);
    CHECK_EQ(udp_recv_messages(&rx, out, 4, TAKEN), 4);
    uint8_t *bytes = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    REQUIRE(bytes != MAP_FAILED);
    uint64_t seed = 1;
    for (size_t i = 40; i < 65536; i++) /* behind the journal: headers, names, control messages */
        bytes[i] = (uint8_t)rt_test_rand(&seed);
    udp_rx_pool_t *second = succeed();
    while (udp_recv(&successor, out, TAKEN) == TAKEN)
        ;
    udp_recv_done(&successor);
    munmap(bytes, 65536);
    finish(second);
}

int main(void)
{
    io_setup();
    RUN(test_what_was_taken_and_not_done_with_comes_again);
    RUN(test_what_was_done_with_does_not_come_again);
    RUN(test_a_batch_of_the_kernels_comes_again);
    RUN(test_a_second_death_finds_both_batches);
    RUN(test_batches_that_nobody_fetches_are_given_up_and_counted);
    RUN(test_what_has_no_socket_any_more_is_counted);
    RUN(test_a_spoiled_file_is_survived);
    io_teardown();
    return rt_test_result();
}
