/* The receive pump dies at every single step of a run, and a successor gets what was left: every
 * datagram is published once and counted once. */
#include "unit/io/io_test.h"

#include <sys/mman.h>

#include "unit/shm/crash.h"
/* The workers' own are linked, too. */
#define agent_receiver_filter tested_filter
#define agent_receive tested_receive
#define agent_receive_room tested_room
#define agent_receive_again tested_again
#include "worker/agents/common/receive.c"

enum { DATAGRAMS = 48, MESSAGES = 12 };

static udp_t tx, stranger, rx, successor;
static udp_rx_pool_t *pools[2];
static int memory_fd;
static shm_stats_t stats;
static wrk_channel_t ch;
static agent_receiver_t receiver;
static rt_a64_t published; /* in place of the ring's tail */
static uint64_t put;       /* by this worker, published or not */
static unsigned numbers[4 * DATAGRAMS];
static bool positionless; /* the engine's own numbers tell what a predecessor did */
static char label[64];

static uint64_t counter(shm_counter_id_t id)
{
    return rt_load_relaxed(&stats.counters[id]);
}

static void expect_eq(uint64_t is, uint64_t should, const char *what)
{
    if (is != should)
        rt_test_fail(__FILE__, __LINE__, "%s: %s: %" PRIu64 ", not %" PRIu64, label, what, is,
                     should);
}

static void expect_at_most(uint64_t is, uint64_t most, const char *what)
{
    if (is > most)
        rt_test_fail(__FILE__, __LINE__, "%s: %s: %" PRIu64 " > %" PRIu64, label, what, is, most);
}

static bool deliver(wrk_channel_t *c, const rx_item_t *item, int64_t now_mono_ns)
{
    (void)c;
    (void)now_mono_ns;
    numbers[put++ % (4 * DATAGRAMS)] = *(const uint8_t *)item->payload;
    return true;
}

static void publish(wrk_channel_t *c, const udp_rx_t *in, unsigned count)
{
    (void)c;
    (void)in;
    (void)count;
    rt_store_release(&published, put);
}

/* A third of the datagrams is from a stranger, whom the receiver filters out. */
static void send_all(void)
{
    uint8_t bytes[DATAGRAMS] = {0};
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        int error;
        bytes[0] = (uint8_t)i;
        udp_tx_t one = {.data = bytes, .len = i + 1};
        CHECK_EQ(udp_send(i % 3 == 1 ? &stranger : &tx, &one, 1, &error), 1);
    }
}

static udp_config_t config_of(udp_rx_pool_t *pool)
{
    udp_config_t cfg = io_config();
    cfg.rx_pool = pool;
    cfg.rx_channel = 7;
    cfg.rx_position = positionless ? NULL : &put;
    cfg.rx_counted = &stats.counters[SHM_COUNT_rx_received];
    return cfg;
}

static void begin_life(udp_t *udp)
{
    put = rt_load_relaxed(&published);
    receiver = (agent_receiver_t){.udp = udp,
                                  .deliver = deliver,
                                  .delivered = publish,
                                  .filters = true,
                                  .only_from = tx.eff.local};
}

static bool open_all(void)
{
    stats = (shm_stats_t){0};
    ch = (wrk_channel_t){.stats = &stats};
    rt_store_relaxed(&published, 0);
    memory_fd = memfd_create("rx", MFD_CLOEXEC);
    pools[0] = udp_rx_pool_create(MESSAGES, memory_fd);
    pools[1] = NULL;
    udp_config_t cfg = config_of(pools[0]);
    if (pools[0] == NULL || !io_pair(&tx, &rx, &cfg, "127.0.0.1"))
        return false;
    udp_config_t sends = io_config();
    sends.remote = rx.eff.local;
    begin_life(&rx);
    return io_opened(&stranger, &sends);
}

static void close_all(void)
{
    if (pools[1] != NULL)
        udp_close(&successor);
    udp_close(&stranger);
    io_close_pair(&tx, &rx);
    for (unsigned i = 0; i < 2; i++)
        udp_rx_pool_destroy(pools[i]);
    close(memory_fd);
}

static void take_over(void)
{
    pools[1] = udp_rx_pool_create(MESSAGES, memory_fd);
    udp_config_t cfg = config_of(pools[1]);
    CHECK_EQ(udp_adopt(&successor, dup(rx.fd), &cfg), 0);
    begin_life(&successor);
}

static void check_published(void)
{
    unsigned seen[DATAGRAMS] = {0};
    for (uint64_t i = 0; i < rt_load_relaxed(&published); i++)
        seen[numbers[i] % DATAGRAMS]++;
    for (unsigned i = 0; i < DATAGRAMS; i++)
        expect_eq(seen[i] > 1 && positionless ? 1 : seen[i], i % 3 != 1, "times published");
}

/* Returns the steps of a life without a death. */
static unsigned long run(unsigned long step)
{
    static volatile bool died;
    died = false;
    if (!open_all()) {
        rt_test_fail(__FILE__, __LINE__, "%s: no sockets", label);
        return 0;
    }
    send_all();
    if (setjmp(crash_exit) != 0) {
        died = true;
        crash_at(0);
        take_over();
    } else {
        crash_at(step);
    }
    /* Loopback: what was sent is there. */
    while (tested_receive(&ch, &receiver, MESSAGES) > 0)
        continue;
    unsigned long done = crash_steps;
    crash_at(0);
    expect_eq(died, step != 0, "died");
    check_published();
    expect_eq(counter(SHM_COUNT_rx_received), DATAGRAMS, "received");
    expect_at_most(counter(SHM_COUNT_rx_filtered), DATAGRAMS / 3, "filtered");
    expect_at_most(counter(SHM_COUNT_rx_bytes), DATAGRAMS * (DATAGRAMS + 1) / 2, "bytes");
    if (!died) {
        expect_eq(counter(SHM_COUNT_rx_filtered), DATAGRAMS / 3, "filtered");
        expect_eq(counter(SHM_COUNT_rx_bytes), DATAGRAMS * (DATAGRAMS + 1) / 2, "bytes");
    }
    close_all();
    return done;
}

static void die_everywhere(void)
{
    (void)snprintf(label, sizeof label, "nobody dies");
    unsigned long all = run(0);
    CHECK(all > DATAGRAMS / MESSAGES);
    for (unsigned long step = 1; step <= all && rt_test_result() == 0; step++) {
        (void)snprintf(label, sizeof label, "death at step %lu", step);
        (void)run(step);
    }
}

static void test_each_datagram_is_published_and_counted_once(void)
{
    positionless = false;
    die_everywhere();
}

static void test_without_a_position_each_is_counted_once(void)
{
    positionless = true;
    die_everywhere();
}

static void test_a_counter_that_was_reset_meanwhile_counts_what_is_new(void)
{
    positionless = false;
    (void)snprintf(label, sizeof label, "reset");
    REQUIRE(open_all());
    send_all();
    rt_store_relaxed(&stats.counters[SHM_COUNT_rx_received], 1000);
    CHECK_EQ(udp_recv_messages(&rx, receiver.arrivals, MESSAGES, MESSAGES), MESSAGES);
    rt_store_relaxed(&published, 4);
    rt_store_relaxed(&stats.counters[SHM_COUNT_rx_received], 0);
    take_over();
    CHECK_EQ(tested_receive(&ch, &receiver, MESSAGES), MESSAGES);
    CHECK_EQ(counter(SHM_COUNT_rx_received), MESSAGES - 4);
    close_all();
}

int main(void)
{
    io_setup();
    RUN(test_each_datagram_is_published_and_counted_once);
    RUN(test_without_a_position_each_is_counted_once);
    RUN(test_a_counter_that_was_reset_meanwhile_counts_what_is_new);
    io_teardown();
    return rt_test_result();
}
