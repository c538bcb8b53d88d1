/* A worker process and its control connections: commands, hang-ups, takeovers. */
#include "unit/worker/worker_test.h"

#include <sys/ioctl.h>
#include <sys/resource.h>

#include "proto/pacing/verdict.h"

#include <netinet/udp.h>
#include <sched.h>

static wt_worker_t worker;

static void test_bad_opens_are_refused(void)
{
    wt_channel_t ch = {.config = wt_config("bad", 0)};
    (void)snprintf(ch.config.engine, sizeof ch.config.engine, "steam");
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&worker, &ch, 0), -EINVAL);
    CHECK(strstr(worker.text, "udp") != NULL);
    (void)snprintf(ch.config.engine, sizeof ch.config.engine, "udp");
    ch.config.tx_bytes *= 2;
    CHECK_EQ(wt_send_open(&worker, &ch, 0), -EPROTO);
    ch.config.tx_bytes /= 2;
    (void)snprintf(ch.config.pool, sizeof ch.config.pool, "other");
    CHECK_EQ(wt_send_open(&worker, &ch, 0), -EINVAL);
    wt_drop(&ch);
}

static uint32_t wt_owner(const wt_channel_t *ch, uint32_t slot)
{
    return rt_load_relaxed(&ch->segment.producers[slot].owner);
}

static void test_hang_up_frees_slots(void)
{
    wt_channel_t ch = {.config = wt_config("hangup", 9)};
    REQUIRE(wt_open(&worker, &ch));
    uint32_t slots[2];
    for (int i = 0; i < 2; i++) {
        wt_channel_t client = ch;
        int fd = wt_connect(&worker);
        REQUIRE(fd >= 0);
        CHECK_EQ(wt_attach(&worker, fd, &client, NULL), 0);
        slots[i] = client.producer_slot;
        /* Dies between claim and commit: its record is in everybody's way. */
        tx_claim_t claim;
        CHECK_EQ(tx_producer_claim(&client.producer, 8, 0, rt_mono_ns(), NULL, &claim), 0);
        wt_die(&client, fd);
        CHECK_EQ(wt_push(&ch, "behind", 6, 0, NULL), 0);
        CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, (uint64_t)i + 1));
        /* Its slot is free soon after its record is out of the way. */
        for (int n = 0; n < WT_TIMEOUT_MS && wt_owner(&ch, slots[i]) != 0; n++)
            wt_nap_ms(1);
    }
    CHECK_EQ(slots[0], slots[1]);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_orphans), 2);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
}

/* Returns the number of channels; names gets those from first on. */
static int wt_list(uint32_t first, ctl_channel_t *names, size_t most)
{
    ctl_list_t ask = {.first = first};
    return wt_ask(&worker, worker.pool, CTL_LIST, &ask, sizeof ask, NULL, 0, names,
                  most * sizeof *names, NULL);
}

static bool open_tiny(wt_channel_t *ch, int number)
{
    char name[16];
    (void)snprintf(name, sizeof name, "tiny-%d", number);
    ch->config = wt_config(name, 9);
    ch->config.tx_bytes = ch->config.rx_bytes = SHM_PAGE_BYTES;
    ch->config.max_payload_bytes = 64;
    ch->config.report_slots = 0;
    bool opened = wt_segment(ch) && wt_send_open(&worker, ch, 0) == 0;
    wt_drop(ch); /* the worker has descriptors of its own */
    return opened;
}

static void test_a_long_list_comes_in_pages(void)
{
    enum { CHANNELS = 1100 };
    static ctl_channel_t names[CHANNELS + 1];
    wt_channel_t ch;
    int opened = 0;
    while (opened < CHANNELS && open_tiny(&ch, opened))
        opened++;
    CHECK_EQ(opened, CHANNELS);
    memset(names, 0, sizeof names);
    CHECK_EQ(wt_list(0, names, CHANNELS + 1), opened);
    uint32_t listed = 0;
    while (listed < CHANNELS && names[listed].name[0] != '\0')
        listed++;
    CHECK(listed > 500 && listed < CHANNELS);
    CHECK_EQ(wt_list(listed, &names[listed], CHANNELS + 1 - listed), opened);
    CHECK_EQ(wt_list((uint32_t)opened, &names[CHANNELS], 1), opened);
    CHECK_STR_EQ(names[CHANNELS].name, "");
    CHECK_EQ(wt_list(UINT32_MAX, &names[CHANNELS], 1), opened);
    static bool seen[CHANNELS];
    for (int i = 0; i < opened; i++) {
        int number = -1;
        CHECK(sscanf(names[i].name, "tiny-%d", &number) == 1);
        REQUIRE(number >= 0 && number < CHANNELS && !seen[number]);
        seen[number] = true;
        CHECK_EQ(wt_ask(&worker, worker.pool, CTL_CLOSE, &names[i], sizeof names[i], NULL, 0, NULL,
                        0, NULL),
                 0);
    }
}

static void test_lists_and_pings(void)
{
    ctl_pong_t pong = {0};
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_PING, NULL, 0, NULL, 0, &pong, sizeof pong, NULL), 0);
    CHECK_EQ(pong.pid, worker.pid);
    wt_channel_t ch = {.config = wt_config("listed", 0)};
    REQUIRE(wt_open(&worker, &ch));
    ctl_channel_t names[4] = {{.name = ""}};
    CHECK_EQ(wt_list(0, names, 4), 1);
    CHECK_STR_EQ(names[0].name, "listed");
    CHECK_EQ(wt_send_open(&worker, &ch, 0), -EEXIST);
    shm_config_t exported;
    int fds[CTL_MAX_FDS] = {-1, -1, -1};
    ctl_channel_t body = {.name = "listed"};
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_EXPORT, &body, sizeof body, NULL, 0, &exported,
                    sizeof exported, fds),
             0);
    CHECK_STR_EQ(exported.name, "listed");
    for (int i = 0; i < 3; i++)
        CHECK(close(fds[i]) == 0);
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_ENGINE, &body, sizeof body, NULL, 0, NULL, 0, NULL),
             -EOPNOTSUPP); /* plain UDP has nothing to be asked */
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), -ENOENT);
    wt_drop(&ch);
}

/* Sends packets of a few bytes to the channel. */
static void fill(wt_channel_t *ch, int packets)
{
    uint16_t port = 0;
    int peer = wt_udp(&port);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(ch->segment.status->bound.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t before = wt_counter(ch, SHM_COUNT_rx_received);
    for (int i = 0; i < packets; i++) {
        CHECK(sendto(peer, &i, sizeof i, 0, (struct sockaddr *)&to, sizeof to) > 0);
        if (i % 16 == 15)
            CHECK(wt_count_to(ch, SHM_COUNT_rx_received, before + (uint64_t)i + 1));
    }
    CHECK(wt_count_to(ch, SHM_COUNT_rx_received, before + (uint64_t)packets));
    wt_settle(&worker);
    close(peer);
}

/* A bell that its client made blocking, and never clears, must not stop the worker. */
static void test_a_full_blocking_bell_stops_nobody(void)
{
    enum { RINGS = 1000 }; /* more than a socket holds */
    wt_channel_t ch = {.config = wt_config("full", 9)};
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&worker, &ch, 0), 0);
    int bell = -1, held = 0;
    CHECK_EQ(wt_attach(&worker, worker.pool, &ch, &bell), 0);
    CHECK_EQ(fcntl(bell, F_SETFL, 0), 0);
    for (int i = 0; i < RINGS; i++) {
        rt_store_relaxed(&ch.segment.readers[ch.reader_slot].bell_want, 1);
        fill(&ch, 1);
    }
    CHECK_EQ(ioctl(bell, FIONREAD, &held), 0);
    CHECK(held > 0 && held < RINGS);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0); /* rings everybody, too */
    wt_drop(&ch);
    close(bell);
}

/* Descriptors that wait in a socket nobody reads. Returns its ends. */
static void put_in_flight(int ends[2], unsigned count)
{
    int fds[128];
    for (unsigned i = 0; i < count; i++)
        fds[i] = STDERR_FILENO;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    CHECK(wt_post(ends[0], 0, 0, NULL, 0, fds, count));
}

/* The limit counts what all processes of the user have in flight. */
static void test_descriptors_in_flight_make_no_worker_hang_up(void)
{
    struct rlimit before;
    wt_channel_t ch = {.config = wt_config("in-flight", 9)};
    REQUIRE(prlimit(worker.pid, RLIMIT_NOFILE, NULL, &before) == 0);
    const struct rlimit few = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    int ends[2];
    put_in_flight(ends, 100);
    REQUIRE(wt_segment(&ch));
    REQUIRE(prlimit(worker.pid, RLIMIT_NOFILE, &few, NULL) == 0);
    CHECK_EQ(wt_send_open(&worker, &ch, 0), 0); /* without its socket */
    CHECK_EQ(ch.socket_fd, -1);
    for (int i = 0; i < 20; i++) /* each gives its slots back */
        CHECK_EQ(wt_attach(&worker, worker.pool, &ch, NULL), -ETOOMANYREFS);
    CHECK(strstr(worker.text, "LimitNOFILE") != NULL);
    CHECK_EQ(prlimit(worker.pid, RLIMIT_NOFILE, &before, NULL), 0);
    close(ends[0]);
    close(ends[1]);
    CHECK_EQ(wt_attach(&worker, worker.pool, &ch, NULL), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
}

/* Until it is done, the worker reads nothing more of this connection, whatever waits there. */
static void test_a_connection_has_one_deferred_command(void)
{
    wt_channel_t ch = {.config = wt_config("purged", 9)};
    REQUIRE(wt_open(&worker, &ch));
    ctl_channel_t name = {.name = "purged"};
    int fd = wt_connect(&worker);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(wt_post(fd, CTL_PURGE, 2 * i + 1, &name, sizeof name, NULL, 0));
        CHECK(wt_post(fd, CTL_PING, 2 * i + 2, NULL, 0, NULL, 0));
    }
    for (uint32_t i = 1; i <= 6; i++) /* in order: no PING was answered before a PURGE was done */
        CHECK_EQ(wt_reply(&worker, fd, i, NULL, 0, NULL, NULL), 0);
    (void)kill(worker.pid, SIGSTOP);
    CHECK_EQ(waitpid(worker.pid, NULL, WUNTRACED), worker.pid);
    CHECK(wt_post(fd, CTL_PURGE, 7, &name, sizeof name, NULL, 0));
    CHECK(wt_post(fd, CTL_CLOSE, 8, &name, sizeof name, NULL, 0));
    close(fd); /* nothing more is done for who has left */
    (void)kill(worker.pid, SIGCONT);
    fd = wt_connect(&worker);
    CHECK(wt_post(fd, CTL_PURGE, 1, &name, sizeof name, NULL, 0));
    CHECK_EQ(wt_reply(&worker, fd, 1, NULL, 0, NULL, NULL), 0);
    CHECK_EQ(rt_load_acquire(&ch.segment.status->state), SHM_STATE_OPEN);
    CHECK(wt_post(fd, CTL_CLOSE, 2, &name, sizeof name, NULL, 0));
    CHECK_EQ(wt_reply(&worker, fd, 2, NULL, 0, NULL, NULL), 0);
    CHECK_EQ(rt_load_acquire(&ch.segment.status->state), SHM_STATE_CLOSED);
    close(fd);
    wt_drop(&ch);
}

static void test_malformed_messages_do_no_harm(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 7);
    uint8_t junk[4096];
    for (int round = 0; round < 300; round++) {
        int fd = wt_connect(&worker);
        REQUIRE(fd >= 0);
        size_t bytes = rt_test_rand(&seed) % sizeof junk;
        for (size_t i = 0; i < bytes; i++)
            junk[i] = (uint8_t)rt_test_rand(&seed);
        ctl_header_t head = {.magic = CTL_MAGIC,
                             .op = (uint32_t)(rt_test_rand(&seed) % 16),
                             .body_bytes = (uint32_t)(bytes - sizeof head)};
        if (round % 2 && bytes > sizeof head)
            memcpy(junk, &head, sizeof head);
        int fds[8] = {0, 1, 2, 0, 1, 2, 0, 1};
        (void)wt_post(fd, (uint32_t)(round % 20), 1, junk, bytes, fds, (unsigned)round % 8);
        (void)send(fd, junk, bytes, MSG_NOSIGNAL);
        close(fd);
    }
    ctl_pong_t pong;
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_PING, NULL, 0, NULL, 0, &pong, sizeof pong, NULL), 0);
}

/* kill -9 in the middle of a schedule: the next worker goes on, and no packet is sent twice. */
static void test_takeover_sends_the_rest_once(void)
{
    wt_worker_t first, second;
    REQUIRE(wt_start(&first, NULL));
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("survivor", port)};
    REQUIRE(wt_open(&first, &ch));
    enum { PACKETS = 300, BATCH = 64 };
    int64_t start = rt_mono_ns() + 10 * RT_NS_PER_MS;
    for (int i = 0; i < PACKETS; i++)
        CHECK_EQ(wt_push(&ch, &i, sizeof i, start + i * RT_NS_PER_MS, NULL), 0);
    wt_nap_ms(120);
    (void)kill(first.pid, SIGKILL);
    (void)waitpid(first.pid, NULL, 0);
    uint32_t epoch = rt_load_relaxed(&ch.segment.status->epoch);
    second = first;
    close(first.pool);
    REQUIRE(wt_launch(&second, NULL));
    CHECK_EQ(wt_reply(&second, second.pool, 0, NULL, 0, NULL, NULL), 0);
    CHECK_EQ(wt_send_open(&second, &ch, CTL_OPEN_TAKEOVER), 0);
    CHECK_EQ(rt_load_relaxed(&ch.segment.status->epoch), epoch + 1);
    int seen[PACKETS] = {0};
    int value = 0;
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && tx_ring_waiting(&ch.segment) > 0; i++)
        wt_nap_ms(10);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 0);
    wt_settle(&second);
    while (wt_recv(sink, &value, sizeof value, 50) > 0) {
        REQUIRE(value >= 0 && value < PACKETS);
        seen[value]++;
    }
    int missing = 0, twice = 0;
    for (int i = 0; i < PACKETS; i++) {
        missing += seen[i] == 0;
        twice += seen[i] > 1;
    }
    CHECK_EQ(twice, 0);
    /* What was being sent at the moment of death: one, or a batch where the worker was late. */
    CHECK(missing <= BATCH);
    int64_t due = rt_mono_ns() + 10 * RT_NS_PER_MS;
    CHECK_EQ(wt_attach(&second, second.pool, &ch, NULL), 0);
    CHECK_EQ(wt_push(&ch, &value, sizeof value, due, NULL), 0);
    CHECK(wt_recv(sink, &value, sizeof value, WT_TIMEOUT_MS) > 0);
    wt_drop(&ch);
    wt_stop(&second);
    close(sink);
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* A worker that was killed between taking a reader's wish to be rung and ringing. */
static void test_a_lost_ring_is_made_good_by_the_next_worker(void)
{
    wt_worker_t first, second;
    REQUIRE(wt_start(&first, NULL));
    wt_channel_t ch = {.config = wt_config("unrung", 9)};
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&first, &ch, 0), 0);
    int bell = -1;
    CHECK_EQ(wt_attach(&first, first.pool, &ch, &bell), 0);
    CHECK(!readable(bell)); /* who is new reads what is there before it waits */
    (void)kill(first.pid, SIGKILL);
    (void)waitpid(first.pid, NULL, 0);
    rt_store_relaxed(&ch.segment.readers[ch.reader_slot].bell_want, 0);
    second = first;
    close(first.pool);
    REQUIRE(wt_launch(&second, NULL));
    CHECK_EQ(wt_reply(&second, second.pool, 0, NULL, 0, NULL, NULL), 0);
    CHECK_EQ(wt_send_open(&second, &ch, CTL_OPEN_TAKEOVER), 0);
    ctl_attach_t again = {
        .what = CTL_ATTACH_READER, .producer = CTL_NO_SLOT, .reader = ch.reader_slot};
    memcpy(again.channel.name, ch.config.name, sizeof again.channel.name);
    ctl_attached_t got = {.reader = CTL_NO_SLOT};
    int fds[CTL_MAX_FDS] = {-1, -1, -1};
    CHECK_EQ(read(bell, &got, sizeof got), 0); /* hung up: the worker is gone */
    CHECK_EQ(wt_ask(&second, second.pool, CTL_ATTACH, &again, sizeof again, NULL, 0, &got,
                    sizeof got, fds),
             0);
    CHECK_EQ(got.reader, ch.reader_slot);
    CHECK(readable(fds[0]));
    wt_drop(&ch);
    close(bell);
    close(fds[0]);
    close(fds[1]);
    wt_stop(&second);
}

static void test_a_watcher_is_rung_once_for_each_request(void)
{
    wt_worker_t w;
    REQUIRE(wt_start(&w, NULL));
    wt_channel_t ch = {.config = wt_config("watched", 9)};
    REQUIRE(wt_open(&w, &ch));
    int bell = -1;
    ctl_attach_t ask = {.what = CTL_ATTACH_WATCHER, .producer = CTL_NO_SLOT, .reader = CTL_NO_SLOT};
    memcpy(ask.channel.name, ch.config.name, sizeof ask.channel.name);
    CHECK_EQ(wt_ask(&w, w.pool, CTL_ATTACH, &ask, sizeof ask, NULL, 0, NULL, 0, &bell), 0);
    CHECK(readable(bell));                                         /* it finds the bell rung */
    CHECK(send(bell, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE); /* nor descriptors with it */
    char ring;
    CHECK_EQ(read(bell, &ring, sizeof ring), 1);
    int value = 1;
    CHECK_EQ(wt_push(&ch, &value, sizeof value, 0, NULL), 0);
    wt_settle(&w);
    CHECK(!readable(bell)); /* nobody asked */
    tx_ring_ask_watch(&ch.segment);
    CHECK_EQ(wt_push(&ch, &value, sizeof value, 0, NULL), 0);
    for (int i = 0; i < WT_TIMEOUT_MS && !readable(bell); i++)
        wt_nap_ms(1);
    CHECK(readable(bell));
    CHECK_EQ(rt_load_relaxed(&ch.segment.tx->watch_wanted), 0);
    wt_drop(&ch);
    close(bell);
    wt_stop(&w);
}

/* Queues more for one moment than can be sent then. Returns whether being late was put down to what
 * went before, although the worker has to rest in between. */
static bool overload_is_blamed_on_the_queue(wt_worker_t *w, int round)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    char name[16];
    (void)snprintf(name, sizeof name, "overload-%d", round);
    wt_channel_t ch = {.config = wt_config(name, port)};
    ch.config.gso = 0;
    ch.config.tolerance_ns = RT_NS_PER_US;
    ch.config.tx_bytes = 16 << 20;
    if (!wt_open(w, &ch))
        return false;
    enum {
        PACKETS = 80000
    }; /* more than 70 ms of work: the account of the budget lasts for these */
    int64_t due = rt_mono_ns() + 500 * RT_NS_PER_MS;
    for (int i = 0; i < PACKETS; i++)
        CHECK_EQ(wt_push(&ch, &i, sizeof i, due, NULL), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, PACKETS));
    wt_settle(w);
    bool blamed =
        wt_counter(&ch, SHM_COUNT_tx_woke_late) < wt_counter(&ch, SHM_COUNT_tx_queued_behind);
    CHECK_EQ(wt_command(w, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
    return blamed;
}

static void test_overload_is_not_blamed_on_waking(void)
{
    wt_worker_t w;
    const char *const options[] = {"--policy", "fifo", "--priority", "10", NULL};
    REQUIRE(wt_start(&w, options));
    if (rt_load_relaxed(&w.page->sched_policy) != SCHED_FIFO) {
        (void)fprintf(stderr, "no SCHED_FIFO here: left out\n");
        wt_stop(&w);
        return;
    }
    /* A host that takes the core away makes the worker wake late indeed: then once more. */
    bool blamed = false;
    for (int round = 0; round < 10 && !blamed; round++)
        blamed = overload_is_blamed_on_the_queue(&w, round);
    CHECK(blamed);
    CHECK(rt_load_relaxed(&w.page->forced_rests) > 0);
    wt_stop(&w);
}

static void test_private_pool_takes_everything_along(void)
{
    wt_worker_t w;
    const char *const options[] = {"--private", NULL};
    REQUIRE(wt_start(&w, options));
    wt_channel_t ch = {.config = wt_config("mine", 0)};
    const char *name = "/shmring:" WT_NAMESPACE ":c:mine";
    REQUIRE(wt_segment(&ch));
    close(ch.segment_fd);
    shm_segment_unmap(&ch.segment);
    ch.segment_fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(ch.segment_fd >= 0);
    CHECK_EQ(shm_segment_format(&ch.segment, ch.segment_fd, &ch.config, 5), 0);
    CHECK_EQ(wt_send_open(&w, &ch, 0), 0);
    close(w.pool);
    w.pool = -1;
    CHECK_EQ(wt_wait(&w), 0);
    CHECK(shm_open(name, O_RDONLY, 0) < 0 && errno == ENOENT);
    CHECK(wt_connect(&w) < 0);
    wt_drop(&ch);
    wt_stop(&w);
}

static void test_bad_options_are_explained(void)
{
    wt_worker_t w = {.pid = -1};
    wt_dir(&w);
    const char *const options[] = {"--policy", "turbo", NULL};
    REQUIRE(wt_launch(&w, options));
    CHECK_EQ(wt_reply(&w, w.pool, 0, NULL, 0, NULL, NULL), -EINVAL);
    CHECK(strstr(w.text, "turbo") != NULL && strstr(w.text, "fifo") != NULL);
    CHECK_EQ(wt_wait(&w), 1);
    wt_stop(&w);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_bad_opens_are_refused);
    RUN(test_hang_up_frees_slots);
    RUN(test_lists_and_pings);
    RUN(test_a_long_list_comes_in_pages);
    RUN(test_a_full_blocking_bell_stops_nobody);
    RUN(test_descriptors_in_flight_make_no_worker_hang_up);
    RUN(test_a_connection_has_one_deferred_command);
    RUN(test_malformed_messages_do_no_harm);
    wt_stop(&worker);
    RUN(test_takeover_sends_the_rest_once);
    RUN(test_a_lost_ring_is_made_good_by_the_next_worker);
    RUN(test_a_watcher_is_rung_once_for_each_request);
    RUN(test_overload_is_not_blamed_on_waking);
    RUN(test_private_pool_takes_everything_along);
    RUN(test_bad_options_are_explained);
    return rt_test_result();
}
