/* A worker process and one client: sending, receiving, and packets that nobody can send. */
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
        CHECK_EQ(wt_recv(sink, &due, sizeof due, WT_TIMEOUT_MS), sizeof due);
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
        CHECK(wt_recv(sink, got, sizeof got - 1, WT_TIMEOUT_MS) > 0);
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
    int bell = -1;
    wt_channel_t other = ch;
    CHECK_EQ(wt_attach(&worker, worker.pool, &other, &bell), 0);
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
    CHECK_EQ(poll(&rung, 1, WT_TIMEOUT_MS), 1);
    for (int i = 0; i < PACKETS; i++) {
        int value = -1;
        rx_packet_t packet = {0};
        int rc = 0;
        int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
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
    CHECK_EQ(wt_recv(sink, &byte, 1, WT_TIMEOUT_MS), 1);
    CHECK_EQ(wt_recv(sink, &byte, 1, WT_TIMEOUT_MS), 1);
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
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS), 4);
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
            came = wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS) == 2 && memcmp(got, "ok", 2) == 0;
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
    CHECK_EQ(wt_recv(sink, got, sizeof got, WT_TIMEOUT_MS), 2);
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
        int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
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
    CHECK_EQ(wt_attach(&worker, worker.pool, &ch, NULL), 0);
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
    RUN(test_hostile_ring_spoils_only_itself);
    RUN(test_torn_segment_fails_its_channel);
    RUN(test_a_packet_given_up_is_counted);
    RUN(test_emulated_link_delays_and_loses);
    RUN(test_wait_mode_loses_nothing);
    RUN(test_only_what_a_reader_missed_counts_as_overwritten);
    RUN(test_shared_readers_miss_what_none_of_them_took);
    wt_stop(&worker);
    return rt_test_result();
}
