/* The engine "mux": what a hostile client cannot do to it, and how ports outlive a worker. */
#include "unit/worker/mux/mux_test.h"

#include "shm/tx_ring.h"

#include <sys/resource.h>

/* Records that no client of ours would write: each is counted, none stops the channel. */
static void test_hostile_records_go_nowhere(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("hostile", PORTS)};
    REQUIRE(wt_open(&worker, &ch));
    (void)add(&ch, 2, 1);
    aim(&ch, 2, 1, port);
    uint64_t stale = 0;
    const mux_head_t wrong[] = {
        {.port = 2, .generation = 0},
        {.port = 2, .generation = 2},
        {.port = 3, .generation = 1},
        {.port = PORTS - 1, .generation = 1},
        {.port = PORTS, .generation = 1},
        {.port = UINT16_MAX, .generation = 1},
        {.port = UINT16_MAX, .generation = UINT16_MAX},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++, stale++)
        CHECK_EQ(push(&ch, wrong[i], "bad", 3), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_cancelled, stale));

    uint64_t corrupt = 0, sequence;
    mux_head_t head = {.port = 2, .generation = 1};
    for (uint32_t bytes = 0; bytes <= sizeof head + 1; bytes++, corrupt++) /* not the engine's */
        CHECK_EQ(wt_push(&ch, &head, bytes < sizeof head ? bytes : sizeof head, 0, &sequence), 0);
    for (uint32_t bytes = 0; bytes < sizeof head; bytes++, corrupt++) { /* too short */
        tx_claim_t claim;
        CHECK_EQ(tx_producer_claim(&ch.producer, bytes, 0, 1, NULL, &claim), 0);
        memcpy(claim.payload, &head, bytes);
        claim.commit_word |= (uint64_t)SHM_TX_ENGINE << 8;
        tx_producer_commit(&ch.producer, &claim);
        wt_ring(&ch);
    }
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_corrupt, corrupt));

    /* With a deadline and a destination of its own: neither counts. */
    shm_addr_t elsewhere = wt_loopback(9);
    tx_claim_t claim;
    CHECK_EQ(tx_producer_claim(&ch.producer, sizeof head + 4, INT64_MAX, 1,
                               &(tx_route_t){.dest = &elsewhere}, &claim),
             0);
    memcpy(claim.payload, &head, sizeof head);
    memcpy(claim.payload + sizeof head, "late", 4);
    claim.commit_word |= (uint64_t)SHM_TX_ENGINE << 8;
    tx_producer_commit(&ch.producer, &claim);
    wt_ring(&ch);
    char got[8];
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS), 4);

    head.number = 1;
    CHECK_EQ(push(&ch, head, "good", 4), 0);
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS), 4);
    CHECK(drained_to(&ch, 2, 2));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 2);
    close_down(&worker, &ch);
    close(sink);
}

/* Everything of the segment that a client can write is overwritten at random, again and again; the
 * worker lives and another channel is not touched. */
static void test_a_scribbled_segment_spoils_only_itself(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 11);
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t good = {.config = mux_channel("sound", PORTS)};
    REQUIRE(wt_open(&worker, &good));
    (void)add(&good, 0, 1);
    aim(&good, 0, 1, port);
    char got[8];
    for (uint32_t round = 0; round < 30; round++) {
        wt_channel_t bad = {.config = mux_channel("scribbled", PORTS)};
        bad.config.max_payload_bytes = 2048;
        bad.config.tx_bytes = bad.config.rx_bytes = 4 * SHM_PAGE_BYTES;
        REQUIRE(wt_open(&worker, &bad));
        uint16_t bound = add(&bad, 1, 1);
        aim(&bad, 1, 1, 9);
        for (uint32_t n = 0; n < 20; n++)
            (void)push(&bad, (mux_head_t){.number = n, .port = 1, .generation = 1}, "abc", 3);
        uint64_t from = SHM_PAGE_BYTES; /* behind the identity */
        for (int i = 0; i < 400; i++) {
            uint64_t at = from + rt_test_rand(&seed) % (bad.segment.bytes - from - 8);
            uint64_t value = rt_test_rand(&seed);
            memcpy(bad.segment.base + at, &value, 1 + rt_test_rand(&seed) % 8);
        }
        (void)!write(bad.bell_fd, &(uint64_t){1}, 8);
        send_to(sink, "rx", 2, bound);
        mux_reply_t reply;
        mux_request_t request = {.op = MUX_REMOVE, .port = 1, .generation = 1};
        CHECK_EQ(ask(&worker, &bad, request, &reply), 0);
        CHECK_EQ(push(&good, (mux_head_t){.number = round, .port = 0, .generation = 1}, "ok", 2),
                 0);
        CHECK_EQ(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS), 2);
        close_down(&worker, &bad);
    }
    close_down(&worker, &good);
    close(sink);
}

static void kill_worker(wt_worker_t *w)
{
    (void)kill(w->pid, SIGKILL);
    (void)waitpid(w->pid, NULL, 0);
}

static bool succeed(wt_worker_t *next, const wt_worker_t *dead, wt_channel_t *ch)
{
    *next = *dead;
    close(dead->pool);
    if (!wt_launch(next, NULL))
        return false;
    CHECK_EQ(wt_reply(next, next->pool, 0, NULL, 0, NULL, NULL), 0);
    int rc = wt_send_open(next, ch, CTL_OPEN_TAKEOVER);
    CHECK_EQ(rc, 0);
    return rc == 0;
}

static void test_a_successor_has_the_same_ports(void)
{
    wt_worker_t second;
    uint16_t port = 0;
    int peer = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("survives", PORTS)};
    REQUIRE(wt_start(&worker, NULL));
    REQUIRE(wt_open(&worker, &ch));
    uint16_t bound[PORTS];
    for (uint16_t i = 0; i < PORTS; i++) {
        bound[i] = add(&ch, i, (uint16_t)(i + 1));
        aim(&ch, i, (uint16_t)(i + 1), port);
    }
    take_away(&ch, 9, 10);
    CHECK_EQ(push(&ch, (mux_head_t){.number = 0, .port = 0, .generation = 1}, "0", 1), 0);
    char data[16];
    CHECK_EQ(wt_recv(peer, data, sizeof data, WT_TIMEOUT_MS), 1);
    CHECK(drained_to(&ch, 0, 1));

    CHECK_EQ(wt_command(&worker, &ch, CTL_HOLD), 0);
    for (uint32_t n = 0; n < 40; n++)
        CHECK_EQ(push(&ch, (mux_head_t){.number = n, .port = 20, .generation = 21}, &n, sizeof n),
                 0);
    kill_worker(&worker);
    REQUIRE(succeed(&second, &worker, &ch));
    worker = second;
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->open), PORTS - 1);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->lost), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    for (uint32_t n = 0; n < 40; n++) {
        uint32_t value = UINT32_MAX;
        int length;
        CHECK_EQ(received_from(peer, &value, sizeof value, &length), bound[20]);
        CHECK_EQ(value, n);
    }
    CHECK(drained_to(&ch, 20, 40));
    rx_packet_t p;
    for (uint16_t i = 0; i < PORTS; i++) {
        if (i == 9)
            continue;
        send_to(peer, &i, sizeof i, bound[i]);
        REQUIRE(arrival(&ch, data, sizeof data, &p));
        CHECK_EQ(p.tag, mux_tag(i, (uint16_t)(i + 1)));
    }
    /* What a client had no answer to is asked again. */
    CHECK_EQ(add(&ch, 0, 1), bound[0]);
    close_down(&worker, &ch);
    wt_stop(&worker);
    close(peer);
}

static uint64_t counted(const wt_worker_t *w, shm_event_id_t id)
{
    uint64_t count = 0;
    shm_worker_segment_t *all = mmap(NULL, sizeof *all, PROT_READ, MAP_SHARED, w->page_fd, 0);
    CHECK(all != MAP_FAILED);
    for (unsigned i = 0; all != MAP_FAILED && i < SHM_ERRORS; i++)
        if (rt_load_acquire(&all->errors.errors[i].state) == 1 && all->errors.errors[i].id == id)
            count += rt_load_relaxed(&all->errors.errors[i].count);
    if (all != MAP_FAILED)
        (void)munmap(all, sizeof *all);
    return count;
}

/* Of 128 descriptors all parks of a worker hold 16, whoever holds
 * them. What is closed makes room. */
static void test_sockets_beyond_the_share_are_counted(void)
{
    wt_worker_t second;
    struct rlimit before;
    wt_channel_t ch = {.config = mux_channel("shared", PORTS)};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const struct rlimit few = {.rlim_cur = 128, .rlim_max = before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
    REQUIRE(wt_start(&worker, NULL));
    REQUIRE(wt_open(&worker, &ch));
    for (uint16_t i = 0; i < 16; i++)
        (void)add(&ch, i, 1);
    CHECK_EQ(counted(&worker, SHM_EVENT_socket_not_held), 0);
    for (uint16_t i = 16; i < 20; i++)
        (void)add(&ch, i, 1);
    CHECK_EQ(counted(&worker, SHM_EVENT_socket_not_held), 4);
    take_away(&ch, 0, 1);
    (void)add(&ch, 20, 1);
    CHECK_EQ(counted(&worker, SHM_EVENT_socket_not_held), 4);
    kill_worker(&worker);
    REQUIRE(succeed(&second, &worker, &ch));
    worker = second;
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->open), 20);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->lost), 0);
    CHECK_EQ(counted(&worker, SHM_EVENT_socket_not_held), 4);
    close_down(&worker, &ch);
    wt_stop(&worker);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* A raised limit raises the share no further: other programs of the user have the usual limit. */
static void test_a_raised_limit_raises_the_share_a_little(void)
{
    enum { ONE = 150, OTHER = 106, BEYOND = 4 };
    struct rlimit before;
    wt_channel_t one = {.config = mux_channel("one", 256)};
    wt_channel_t other = {.config = mux_channel("other", 256)};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const struct rlimit raised = {.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
    if (before.rlim_max < 4096) {
        (void)printf("left out: the hard limit of open files is below 4096\n");
        return;
    }
    REQUIRE(setrlimit(RLIMIT_NOFILE, &raised) == 0);
    REQUIRE(wt_start(&worker, NULL));
    REQUIRE(wt_open(&worker, &one) && wt_open(&worker, &other));
    for (uint16_t i = 0; i < ONE; i++)
        (void)add(&one, i, 1);
    for (uint16_t i = 0; i < OTHER; i++)
        (void)add(&other, i, 1);
    CHECK_EQ(counted(&worker, SHM_EVENT_socket_not_held), 0);
    for (uint16_t i = 0; i < BEYOND; i++)
        (void)add(&other, OTHER + i, 1);
    CHECK_EQ(counted(&worker, SHM_EVENT_socket_not_held), BEYOND);
    close_down(&worker, &one);
    close_down(&worker, &other);
    wt_stop(&worker);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void test_a_port_that_somebody_took_is_bound_later(void)
{
    wt_worker_t second;
    uint16_t port = 0;
    int peer = wt_udp(&port);
    wt_channel_t ch = {.config = mux_channel("stolen", PORTS)};
    REQUIRE(wt_start(&worker, NULL));
    REQUIRE(wt_open(&worker, &ch));
    uint16_t bound = add(&ch, 4, 1);
    aim(&ch, 4, 1, port);
    kill_worker(&worker);
    close(ch.socket_fd); /* nobody keeps the sockets */
    ch.socket_fd = -1;
    int thief = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(bound), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    REQUIRE(bind(thief, (struct sockaddr *)&at, sizeof at) == 0);
    REQUIRE(succeed(&second, &worker, &ch));
    worker = second;
    mux_facts_t *facts = mux_facts(ch.segment.engine);
    CHECK_EQ(rt_load_relaxed(&facts->lost), 1);
    CHECK_EQ(push(&ch, (mux_head_t){.number = 0, .port = 4, .generation = 1}, "x", 1), 0);
    CHECK(drained_to(&ch, 4, 1)); /* lost, and holds nothing up */
    close(thief);
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && rt_load_relaxed(&facts->lost) != 0; i++)
        wt_nap_ms(10);
    CHECK_EQ(rt_load_relaxed(&facts->lost), 0);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_sockets_reopened), 1);
    send_to(peer, "back", 4, bound);
    char data[8];
    rx_packet_t p;
    REQUIRE(arrival(&ch, data, sizeof data, &p));
    CHECK_EQ(p.tag, mux_tag(4, 1));
    CHECK_EQ(push(&ch, (mux_head_t){.number = 1, .port = 4, .generation = 1}, "xy", 2), 0);
    CHECK_EQ(wt_recv(peer, data, sizeof data, WT_TIMEOUT_MS), 2);
    close_down(&worker, &ch);
    wt_stop(&worker);
    close(peer);
}

/* A table of ports that somebody wrote at random: what makes no sense in it is passed over. */
static void test_a_successor_of_a_scribbled_table(void)
{
    wt_worker_t second;
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 5);
    wt_channel_t ch = {.config = mux_channel("table", PORTS)};
    REQUIRE(wt_start(&worker, NULL));
    REQUIRE(wt_open(&worker, &ch));
    (void)add(&ch, 0, 1);
    kill_worker(&worker);
    mux_port_t *table = mux_ports(ch.segment.engine, PORTS);
    for (uint32_t i = 1; i < PORTS; i++) {
        uint8_t noise[sizeof(mux_port_t)];
        for (size_t b = 0; b < sizeof noise; b++)
            noise[b] = (uint8_t)rt_test_rand(&seed);
        memcpy((void *)&table[i], noise, sizeof noise);
        rt_store_relaxed(&table[i].state, i % 3);
        table[i].local.family = (uint16_t)(i % 8);
        if (i % 2)
            table[i].generation %= 100;
    }
    REQUIRE(succeed(&second, &worker, &ch));
    worker = second;
    wt_nap_ms(200); /* it tries to bind the lost ones */
    uint16_t port = 0;
    int peer = wt_udp(&port);
    aim(&ch, 0, 1, port);
    CHECK_EQ(push(&ch, (mux_head_t){.number = 0, .port = 0, .generation = 1}, "ok", 2), 0);
    char data[8];
    CHECK_EQ(wt_recv(peer, data, sizeof data, WT_TIMEOUT_MS), 2);
    for (uint16_t i = 1; i < PORTS; i++)
        (void)add(&ch, i, 200);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->open), PORTS);
    CHECK_EQ(rt_load_relaxed(&mux_facts(ch.segment.engine)->lost), 0);
    close_down(&worker, &ch);
    wt_stop(&worker);
    close(peer);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_hostile_records_go_nowhere);
    RUN(test_a_scribbled_segment_spoils_only_itself);
    wt_stop(&worker);
    RUN(test_a_successor_has_the_same_ports);
    RUN(test_sockets_beyond_the_share_are_counted);
    RUN(test_a_raised_limit_raises_the_share_a_little);
    RUN(test_a_port_that_somebody_took_is_bound_later);
    RUN(test_a_successor_of_a_scribbled_table);
    return rt_test_result();
}
