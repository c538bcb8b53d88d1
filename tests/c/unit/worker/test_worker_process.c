/* A worker process and one client: sending, receiving, commands, and what happens when somebody
 * dies. */
#include "unit/worker/worker_test.h"

#include "proto/pacing/verdict.h"

#include <netinet/udp.h>
#include <sched.h>

static wt_worker_t worker;

static void test_timed_packets_leave_at_their_time(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("timed", port)};
    ch.config.stamp_every = 1;
    REQUIRE(wt_open(&worker, &ch));

    enum { PACKETS = 50 };
    int64_t first = rt_mono_ns() + 20 * RT_NS_PER_MS;
    for (int i = 0; i < PACKETS; i++) {
        int64_t due = first + i * RT_NS_PER_MS;
        CHECK_EQ(wt_push(&ch, &due, sizeof due, due, NULL), 0);
    }
    for (int i = 0; i < PACKETS; i++) {
        int64_t due = 0;
        CHECK_EQ(wt_recv(sink, &due, sizeof due, WT_PATIENCE_MS), sizeof due);
        CHECK_EQ(due, first + i * RT_NS_PER_MS);
        CHECK(rt_mono_ns() >= due);
    }
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, PACKETS));
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_on_time, PACKETS));
    shm_report_t reports[PACKETS];
    CHECK_EQ(wt_reports(&ch, reports, PACKETS), PACKETS);
    wt_settle(&worker);
    for (int i = 0; i < PACKETS; i++) {
        const shm_report_t *r = &reports[i];
        CHECK_EQ(r->sequence, i);
        CHECK_EQ(r->scheduled_ns, first + i * RT_NS_PER_MS);
        CHECK_EQ(r->verdict, VERDICT_ON_TIME);
        CHECK(r->sent_ns >= r->scheduled_ns);
        CHECK(r->handed_ns >= r->sent_ns);
        CHECK(r->stamp == SHM_STAMP_KERNEL && r->stamped_ns >= r->sent_ns);
        CHECK(r->stamped_ns < r->sent_ns + RT_NS_PER_S);
    }
    CHECK_EQ(rt_load_relaxed(&ch.segment.stats->hists[SHM_HIST_lateness].count), PACKETS);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    CHECK_EQ(rt_load_acquire(&ch.segment.status->state), SHM_STATE_CLOSED);
    wt_drop(&ch);
    close(sink);
}

enum { MOST_SAMPLED = 40 };

/* Sends packets 1 ms apart, returns how many of their reports bear a stamp. */
static int stamped_of(int packets, uint8_t stamp_every)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("sampled", port)};
    ch.config.stamp_every = stamp_every;
    ch.config.gso = 0; /* packets that leave in one message share its stamp */
    if (!wt_open(&worker, &ch))
        return -1;
    wt_nap_ms(50); /* the first kernel stamps on a host come a moment after they were asked for */
    int64_t first = rt_mono_ns() + 20 * RT_NS_PER_MS;
    for (int i = 0; i < packets; i++)
        CHECK_EQ(wt_push(&ch, &i, sizeof i, first + i * RT_NS_PER_MS, NULL), 0);
    shm_report_t reports[MOST_SAMPLED];
    CHECK_EQ(wt_reports(&ch, reports, packets), packets);
    int stamped = 0;
    for (int i = 0; i < packets; i++) {
        shm_report_t report = reports[i];
        CHECK_EQ(report.stamp == SHM_STAMP_NONE, report.stamped_ns == 0);
        uint64_t period = stamp_every == 1 ? 1 : 2u * (stamp_every ? stamp_every : 16);
        CHECK_EQ(report.stamp != SHM_STAMP_NONE, report.sequence % period < 2);
        stamped += report.stamp != SHM_STAMP_NONE;
    }
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
    return stamped;
}

static void test_stamps_are_a_sample(void)
{
    CHECK_EQ(stamped_of(MOST_SAMPLED, 0), 4);
    CHECK_EQ(stamped_of(MOST_SAMPLED, 7), 6);
    CHECK_EQ(stamped_of(MOST_SAMPLED, 1), 40);
}

static void test_later_queued_earlier_due_goes_first(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("order", port)};
    REQUIRE(wt_open(&worker, &ch));
    int64_t now = rt_mono_ns();
    CHECK_EQ(wt_push(&ch, "far", 3, now + 3600 * RT_NS_PER_S, NULL), 0);
    CHECK_EQ(wt_push(&ch, "late", 4, now + 1500 * RT_NS_PER_MS, NULL), 0);
    CHECK_EQ(wt_push(&ch, "soon", 4, now + RT_NS_PER_S, NULL), 0);
    CHECK_EQ(wt_push(&ch, "now", 3, 0, NULL), 0);
    char got[8] = "";
    const char *const expected[] = {"now", "soon", "late"};
    for (int i = 0; i < 3; i++) {
        memset(got, 0, sizeof got);
        CHECK(wt_recv(sink, got, sizeof got - 1, WT_PATIENCE_MS) > 0);
        CHECK_STR_EQ(got, expected[i]);
    }
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, 3)); /* arrives before the send call has returned */
    wt_settle(&worker);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_PURGE), 0);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 0);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_cancelled), 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

static void test_arrivals_reach_the_ring(void)
{
    uint16_t port = 0;
    int peer = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("rx", port)};
    REQUIRE(wt_open(&worker, &ch));
    int bell = wt_bell();
    wt_channel_t other = ch;
    CHECK_EQ(wt_attach(&worker, worker.pool, &other, bell), 0);
    rt_store_relaxed(&ch.segment.readers[other.reader_slot].bell_want, 1);

    shm_addr_t bound = ch.segment.status->bound;
    CHECK(bound.port != 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(bound.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    enum { PACKETS = 200 };
    for (int i = 0; i < PACKETS; i++)
        CHECK(sendto(peer, &i, sizeof i, 0, (struct sockaddr *)&to, sizeof to) == sizeof i);
    struct pollfd rung = {.fd = bell, .events = POLLIN};
    CHECK_EQ(poll(&rung, 1, WT_PATIENCE_MS), 1);
    for (int i = 0; i < PACKETS; i++) {
        int value = -1;
        rx_packet_t packet = {0};
        int rc = 0;
        int64_t until = rt_mono_ns() + WT_PATIENCE_MS * RT_NS_PER_MS;
        while ((rc = rx_reader_next(&ch.reader, &value, sizeof value, &packet, NULL)) == 0 &&
               rt_mono_ns() < until)
            (void)rx_reader_wait(&ch.reader, 0, until);
        CHECK_EQ(rc, 1);
        CHECK_EQ(value, i);
        CHECK_EQ(packet.source.port, port);
        CHECK_EQ(packet.stamp, SHM_STAMP_KERNEL);
        CHECK(packet.time_ns <= rt_mono_ns() && packet.time_ns > rt_mono_ns() - 10 * RT_NS_PER_S);
    }
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_received), PACKETS);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    close(bell);
    wt_drop(&ch);
    close(peer);
}

static void test_hold_keeps_and_release_sends(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("hold", port)};
    ch.config.held = 1;
    REQUIRE(wt_open(&worker, &ch));
    CHECK_EQ(rt_load_relaxed(&ch.segment.status->state), SHM_STATE_HELD);
    char byte = 0;
    CHECK_EQ(wt_push(&ch, "a", 1, 0, NULL), 0);
    CHECK_EQ(wt_push(&ch, "b", 1, rt_mono_ns() + RT_NS_PER_MS, NULL), 0);
    CHECK_EQ(wt_recv(sink, &byte, 1, 100), -ETIMEDOUT);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    CHECK_EQ(wt_recv(sink, &byte, 1, WT_PATIENCE_MS), 1);
    CHECK_EQ(wt_recv(sink, &byte, 1, WT_PATIENCE_MS), 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_HOLD), 0);
    CHECK_EQ(wt_push(&ch, "c", 1, 0, NULL), 0);
    CHECK_EQ(wt_recv(sink, &byte, 1, 100), -ETIMEDOUT);
    CHECK_EQ(wt_command(&worker, &ch, CTL_PURGE), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RELEASE), 0);
    CHECK_EQ(wt_recv(sink, &byte, 1, 100), -ETIMEDOUT);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_cancelled), 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_RESET), 0);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

static void test_cancel_and_late_drop(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("cancel", port)};
    ch.config.late = SHM_LATE_DROP;
    ch.config.tolerance_ns = 100 * RT_NS_PER_MS;
    REQUIRE(wt_open(&worker, &ch));
    uint64_t sequence = 0;
    int64_t now = rt_mono_ns();
    CHECK_EQ(wt_push(&ch, "x", 1, now + 3600 * RT_NS_PER_S, &sequence), 0);
    CHECK_EQ(wt_push(&ch, "old", 3, now - RT_NS_PER_S, NULL), 0);
    wt_nap_ms(20);
    CHECK_EQ(tx_ring_cancel(&ch.segment, sequence, NULL), 1);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_cancelled, 1));
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_dropped_late, 1));
    char got[8];
    CHECK_EQ(wt_recv(sink, got, sizeof got, 50), -ETIMEDOUT);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

/* Neither due nor at the head: an hour-ahead packet stands before them. */
static void test_cancelled_ones_get_their_verdict_wherever_they_are(void)
{
    enum { PACKETS = 2000 };
    static uint64_t sequences[PACKETS];
    wt_channel_t ch = {.config = wt_config("buried", 9)};
    REQUIRE(wt_open(&worker, &ch));
    int64_t hour = rt_mono_ns() + 3600 * RT_NS_PER_S;
    for (int i = 0; i < PACKETS; i++)
        CHECK_EQ(wt_push(&ch, "x", 1, hour + i, &sequences[i]), 0);
    wt_nap_ms(20);
    for (int i = 1; i < PACKETS; i += 2) {
        CHECK_EQ(tx_ring_cancel(&ch.segment, sequences[i], NULL), 1);
        wt_ring(&ch);
    }
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_cancelled, PACKETS / 2));
    wt_settle(&worker);
    CHECK_EQ(tx_ring_waiting(&ch.segment), PACKETS / 2);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
}

/* What was cancelled must not fill the schedule for as long as it would have waited. */
static void test_endless_replacing_of_far_packets(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("replaced", port)};
    ch.config.tx_capacity = 64;
    REQUIRE(wt_open(&worker, &ch));
    int64_t hour = rt_mono_ns() + 3600 * RT_NS_PER_S;
    uint64_t kept = 0, sequence = 0;
    CHECK_EQ(wt_push(&ch, "kept", 4, hour, &kept), 0);
    enum { ROUNDS = 1000 };
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        CHECK_EQ(wt_push(&ch, "x", 1, hour + (int64_t)i, &sequence), 0);
        for (int n = 0; n < 1000 && shm_cursor_seq(rt_load_relaxed(&ch.segment.tx->read)) <= i; n++)
            sched_yield(); /* taken in, or it never comes to the schedule */
        CHECK_EQ(tx_ring_cancel(&ch.segment, sequence, NULL), 1);
        wt_ring(&ch);
        if (i % 32 == 0)
            CHECK(wt_count_to(&ch, SHM_COUNT_tx_cancelled, i));
    }
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_cancelled, ROUNDS));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_failed), 0);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 1);
    CHECK_EQ(wt_push(&ch, "soon", 4, rt_mono_ns() + 10 * RT_NS_PER_MS, NULL), 0);
    char got[8];
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_PATIENCE_MS), 4);
    CHECK_EQ(tx_ring_cancel(&ch.segment, kept, NULL), 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

static void test_failed_send_has_its_errno(void)
{
    wt_channel_t ch = {.config = wt_config("fails", 0)};
    REQUIRE(wt_open(&worker, &ch));
    CHECK_EQ(wt_push(&ch, "x", 1, 0, NULL), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_failed, 1));
    shm_report_t report = {0};
    CHECK_EQ(wt_reports(&ch, &report, 1), 1);
    CHECK_EQ(report.verdict, VERDICT_FAILED);
    CHECK_EQ(report.error, EDESTADDRREQ);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
}

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

/* Everything in the tx ring may be nonsense: the channel suffers, the worker and others do not. */
static void test_hostile_ring_spoils_only_itself(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t good = {.config = wt_config("good", port)};
    REQUIRE(wt_open(&worker, &good));
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    for (int round = 0; round < 20; round++) {
        wt_channel_t bad = {.config = wt_config("hostile", port)};
        REQUIRE(wt_open(&worker, &bad));
        uint64_t *ring = (uint64_t *)(void *)bad.segment.tx_data;
        for (size_t i = 0; i < bad.config.tx_bytes / 8; i++)
            ring[i] = rt_test_rand(&seed) & (i % 3 ? UINT64_MAX : 0xff070707u);
        for (int i = 0; i < 50; i++) {
            rt_store_relaxed(&bad.segment.tx->tail, rt_test_rand(&seed) >> (i % 2 ? 0 : 14));
            rt_store_relaxed(&bad.segment.rx->tail, rt_test_rand(&seed));
            rt_store_relaxed(&bad.segment.rx->floor, rt_test_rand(&seed));
            rt_store_relaxed(&bad.segment.tx->head_place, (uint32_t)rt_test_rand(&seed));
            rt_store_relaxed(&bad.segment.readers[1].cursor, rt_test_rand(&seed));
            rt_store_relaxed(&bad.segment.producers[2].intent, rt_test_rand(&seed));
            (void)!write(bad.bell_fd, &(uint64_t){1}, 8);
        }
        char got[8];
        CHECK_EQ(wt_push(&good, "ok", 2, 0, NULL), 0);
        bool came = false;
        for (int i = 0; i < 100000 && !came; i++) /* garbage may be sent to the same port */
            came = wt_recv(sink, got, sizeof got, WT_PATIENCE_MS) == 2 && memcmp(got, "ok", 2) == 0;
        CHECK(came);
        CHECK_EQ(wt_command(&worker, &bad, CTL_CLOSE), 0);
        wt_drop(&bad);
    }
    CHECK_EQ(wt_command(&worker, &good, CTL_CLOSE), 0);
    wt_drop(&good);
    close(sink);
}

/* What the worker's log of distinct errors says of the channel's failure; "": nothing. */
static const char *why_failed(const wt_worker_t *w, const wt_channel_t *ch)
{
    static shm_error_log_t log;
    size_t at = offsetof(shm_worker_segment_t, errors);
    CHECK_EQ(pread(w->page_fd, &log, sizeof log, (off_t)at), (ssize_t)sizeof log);
    for (unsigned i = 0; i < SHM_ERRORS; i++)
        if (log.errors[i].id == SHM_EVENT_channel_failed &&
            strncmp(log.errors[i].channel, ch->config.name, sizeof log.errors[i].channel) == 0)
            return log.errors[i].text;
    return "";
}

static void test_torn_segment_fails_its_channel(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t good = {.config = wt_config("whole", port)};
    wt_channel_t torn = {.config = wt_config("torn", port)};
    REQUIRE(wt_open(&worker, &good));
    REQUIRE(wt_open(&worker, &torn));
    CHECK_EQ(ftruncate(torn.segment_fd, 0), 0);
    (void)!write(torn.bell_fd, &(uint64_t){1}, 8);
    wt_nap_ms(150);
    char got[8];
    CHECK_EQ(wt_push(&good, "ok", 2, 0, NULL), 0);
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_PATIENCE_MS), 2);
    CHECK(strstr(why_failed(&worker, &torn), "cut short") != NULL);
    CHECK_EQ(wt_command(&worker, &torn, CTL_CLOSE), 0);
    CHECK_EQ(wt_command(&worker, &good, CTL_CLOSE), 0);
    (void)munmap(torn.segment.base, torn.segment.bytes);
    torn.segment.base = NULL;
    close(torn.segment_fd);
    close(torn.bell_fd);
    close(torn.socket_fd);
    wt_drop(&good);
    close(sink);
}

static void test_a_packet_given_up_is_counted(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("aborted", port)};
    REQUIRE(wt_open(&worker, &ch));
    tx_claim_t claim;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(tx_producer_claim(&ch.producer, 8, 0, rt_mono_ns(), NULL, &claim), 0);
        tx_producer_abort(&ch.producer, &claim);
        wt_ring(&ch);
    }
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_aborted, 3));
    CHECK_EQ(wt_push(&ch, "x", 1, 0, NULL), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, 1));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_aborted), 3);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
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
        CHECK_EQ(wt_attach(&worker, fd, &client, -1), 0);
        slots[i] = client.producer_slot;
        /* Dies between claim and commit: its record is in everybody's way. */
        tx_claim_t claim;
        CHECK_EQ(tx_producer_claim(&client.producer, 8, 0, rt_mono_ns(), NULL, &claim), 0);
        wt_die(&client, fd);
        CHECK_EQ(wt_push(&ch, "behind", 6, 0, NULL), 0);
        CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, (uint64_t)i + 1));
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

static void test_emulated_link_delays_and_loses(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("link", port)};
    ch.config.impair_tx.delay_ns = 30 * RT_NS_PER_MS;
    ch.config.impair_tx.loss = 0.5;
    ch.config.impair_tx.seed = 3;
    REQUIRE(wt_open(&worker, &ch));
    enum { PACKETS = 200 };
    int64_t began = rt_mono_ns();
    for (int i = 0; i < PACKETS; i++)
        CHECK_EQ(wt_push(&ch, &i, sizeof i, 0, NULL), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, PACKETS));
    int value = 0, last = -1, came = 0;
    while (wt_recv(sink, &value, sizeof value, 500) > 0) {
        CHECK(rt_mono_ns() - began >= 30 * RT_NS_PER_MS);
        CHECK(value > last);
        last = value;
        came++;
    }
    CHECK(came > PACKETS / 4 && came < 3 * PACKETS / 4);
    CHECK(wt_count_to(&ch, SHM_COUNT_impair_tx_lost, (uint64_t)(PACKETS - came)));
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), PACKETS);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

static void wait_mode_loses_nothing(uint32_t rx_bytes, uint32_t rx_capacity, bool gro)
{
    uint16_t port = 0;
    int peer = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("wait", port)};
    ch.config.overflow = SHM_OVERFLOW_WAIT;
    ch.config.rx_bytes = rx_bytes;
    ch.config.rx_capacity = rx_capacity;
    ch.config.rcvbuf_bytes = 8u << 20;
    REQUIRE(wt_open(&worker, &ch));
    CHECK_EQ(rt_load_relaxed(&ch.segment.status->gro), gro);
    shm_addr_t bound = ch.segment.status->bound;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(bound.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    enum { PACKETS = 3000, BYTES = 500, IN_ONE_CALL = 60 };
    static char together[IN_ONE_CALL][BYTES];
    char payload[BYTES];
    CHECK_EQ(setsockopt(peer, SOL_UDP, UDP_SEGMENT, &(int){BYTES}, sizeof(int)), 0);
    for (int i = 0; i < PACKETS; i += IN_ONE_CALL) {
        for (int j = 0; j < IN_ONE_CALL; j++)
            memcpy(together[j], &(int){i + j}, sizeof(int));
        CHECK(sendto(peer, together, sizeof together, 0, (struct sockaddr *)&to, sizeof to) > 0);
    }
    wt_nap_ms(50);
    for (int i = 0; i < PACKETS; i++) {
        rx_packet_t packet;
        uint64_t lost = 0;
        int64_t until = rt_mono_ns() + WT_PATIENCE_MS * RT_NS_PER_MS;
        int rc = 0;
        while ((rc = rx_reader_next(&ch.reader, payload, sizeof payload, &packet, &lost)) == 0 &&
               rt_mono_ns() < until)
            (void)rx_reader_wait(&ch.reader, 0, until);
        int value = -1;
        memcpy(&value, payload, sizeof value);
        REQUIRE(rc == 1);
        CHECK_EQ(value, i);
        CHECK_EQ(lost, 0);
    }
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_overwritten), 0);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_kernel_drops), 0);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(peer);
}

static void test_wait_mode_loses_nothing(void)
{
    wait_mode_loses_nothing(16384, 0, false);
    wait_mode_loses_nothing(1u << 20, 100, false);
    wait_mode_loses_nothing(512u << 10, 0, true);
    wait_mode_loses_nothing(512u << 10, 600, true);
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

static uint64_t read_all(rx_reader_t *reader)
{
    uint64_t n = 0;
    rx_packet_t packet;
    int value = 0;
    while (rx_reader_next(reader, &value, sizeof value, &packet, NULL) == 1)
        n++;
    return n;
}

static void test_only_what_a_reader_missed_counts_as_overwritten(void)
{
    wt_channel_t ch = {.config = wt_config("missed", 9)};
    ch.config.rx_capacity = 32;
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&worker, &ch, 0), 0);
    fill(&ch, 100);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_overwritten), 0); /* nobody reads */
    CHECK_EQ(wt_attach(&worker, worker.pool, &ch, -1), 0);
    (void)read_all(&ch.reader);
    for (int i = 0; i < 10; i++) {
        fill(&ch, 20);
        CHECK_EQ(read_all(&ch.reader), 20);
    }
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_overwritten),
             0); /* the only one who reads has them all */
    fill(&ch, 50);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_overwritten), 18);
    CHECK_EQ(read_all(&ch.reader), 32);
    CHECK_EQ(ch.reader.lost, 18);
    CHECK_EQ(wt_command(&worker, &ch, CTL_PURGE), 0);
    fill(&ch, 10);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_overwritten), 18);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
}

static void test_shared_readers_miss_what_none_of_them_took(void)
{
    wt_channel_t ch = {.config = wt_config("group", 9)};
    ch.config.rx_capacity = 32;
    ch.config.read_mode = SHM_READ_SHARED;
    REQUIRE(wt_open(&worker, &ch));
    CHECK_EQ(rx_reader_init(&ch.reader, &ch.segment, CTL_NO_SLOT, SHM_READ_SHARED, 1), 0);
    fill(&ch, 20);
    CHECK_EQ(read_all(&ch.reader), 20);
    fill(&ch, 20);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_overwritten), 0);
    fill(&ch, 20);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_rx_overwritten), 8);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
}

/* A reader's bell that its client made blocking and full must not stop the worker. */
static void test_a_full_blocking_bell_stops_nobody(void)
{
    wt_channel_t ch = {.config = wt_config("full", 9)};
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&worker, &ch, 0), 0);
    int bell = wt_bell();
    CHECK_EQ(wt_attach(&worker, worker.pool, &ch, bell), 0);
    rt_store_relaxed(&ch.segment.readers[ch.reader_slot].bell_want, 1);
    fill(&ch, 1);
    char rings[8];
    CHECK_EQ(read(bell, rings, sizeof rings), 1);
    CHECK_EQ(fcntl(bell, F_SETFL, 0), 0);
    while (send(bell, "", 1, MSG_DONTWAIT) == 1)
        ;
    CHECK_EQ(errno, EAGAIN);
    rt_store_relaxed(&ch.segment.readers[ch.reader_slot].bell_want, 1);
    fill(&ch, 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0); /* rings everybody, too */
    wt_drop(&ch);
    close(bell);
}

static void test_only_a_unix_socket_is_a_bell(void)
{
    uint16_t port = 0;
    int bells[] = {eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), wt_udp(&port)};
    wt_channel_t ch = {.config = wt_config("odd-bell", 9)};
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&worker, &ch, 0), 0);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(wt_attach(&worker, worker.pool, &ch, bells[i]), -EINVAL);
        CHECK(strstr(worker.text, "Unix socket") != NULL);
        close(bells[i]);
    }
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
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
    for (int i = 0; i < WT_PATIENCE_MS / 10 && tx_ring_waiting(&ch.segment) > 0; i++)
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
    CHECK_EQ(wt_attach(&second, second.pool, &ch, -1), 0);
    CHECK_EQ(wt_push(&ch, &value, sizeof value, due, NULL), 0);
    CHECK(wt_recv(sink, &value, sizeof value, WT_PATIENCE_MS) > 0);
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
    int bell = wt_bell();
    CHECK_EQ(wt_attach(&first, first.pool, &ch, bell), 0);
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
    CHECK_EQ(wt_ask(&second, second.pool, CTL_ATTACH, &again, sizeof again, &bell, 1, &got,
                    sizeof got, NULL),
             0);
    CHECK_EQ(got.reader, ch.reader_slot);
    CHECK(readable(bell));
    wt_drop(&ch);
    close(bell);
    wt_stop(&second);
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
    if (!wt_open(w, &ch))
        return false;
    enum { PACKETS = 8000 };
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
    RUN(test_timed_packets_leave_at_their_time);
    RUN(test_stamps_are_a_sample);
    RUN(test_later_queued_earlier_due_goes_first);
    RUN(test_arrivals_reach_the_ring);
    RUN(test_hold_keeps_and_release_sends);
    RUN(test_cancel_and_late_drop);
    RUN(test_cancelled_ones_get_their_verdict_wherever_they_are);
    RUN(test_endless_replacing_of_far_packets);
    RUN(test_failed_send_has_its_errno);
    RUN(test_bad_opens_are_refused);
    RUN(test_hostile_ring_spoils_only_itself);
    RUN(test_torn_segment_fails_its_channel);
    RUN(test_a_packet_given_up_is_counted);
    RUN(test_hang_up_frees_slots);
    RUN(test_lists_and_pings);
    RUN(test_a_long_list_comes_in_pages);
    RUN(test_emulated_link_delays_and_loses);
    RUN(test_wait_mode_loses_nothing);
    RUN(test_only_what_a_reader_missed_counts_as_overwritten);
    RUN(test_shared_readers_miss_what_none_of_them_took);
    RUN(test_a_full_blocking_bell_stops_nobody);
    RUN(test_only_a_unix_socket_is_a_bell);
    RUN(test_malformed_messages_do_no_harm);
    wt_stop(&worker);
    RUN(test_takeover_sends_the_rest_once);
    RUN(test_a_lost_ring_is_made_good_by_the_next_worker);
    RUN(test_overload_is_not_blamed_on_waking);
    RUN(test_private_pool_takes_everything_along);
    RUN(test_bad_options_are_explained);
    return rt_test_result();
}
