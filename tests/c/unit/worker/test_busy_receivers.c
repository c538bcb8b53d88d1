/* Many receivers have something to read when a deadline comes: it is served between two of them.
 *
 * What is judged is how many datagrams the worker read between the time that a packet
 * was due and its send call. The machine may stop the worker at any time: then the
 * packet is late, and nothing is read. */
#include "unit/worker/worker_test.h"

enum { RECEIVERS = 60, DATAGRAMS = 64, ROUNDS = 21, BYTES = 1000, MOST_BETWEEN = 256 };

static wt_worker_t worker;
static wt_channel_t receivers[RECEIVERS];

static bool open_receivers(void)
{
    for (int i = 0; i < RECEIVERS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "rx-%d", i);
        receivers[i].config = wt_config(name, 0);
        receivers[i].config.direction = SHM_RX;
        receivers[i].config.gro = 0;
        receivers[i].config.producers = 2;
        receivers[i].config.rcvbuf_bytes = 1 << 20;
        receivers[i].config.rx_stamp = SHM_STAMP_USER; /* when the worker read it */
        if (!wt_open(&worker, &receivers[i]))
            return false;
    }
    return true;
}

static void fill_sockets(int from)
{
    static const char data[BYTES];
    for (int d = 0; d < DATAGRAMS; d++)
        for (int i = 0; i < RECEIVERS; i++) {
            struct sockaddr_in to = {
                .sin_family = AF_INET,
                .sin_port = htons(receivers[i].segment.status->bound.port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
            };
            (void)sendto(from, data, sizeof data, 0, (struct sockaddr *)&to, sizeof to);
        }
}

/* Of what came for a receiver, that which the worker read between the two times. */
static int read_between(wt_channel_t *ch, int64_t from_ns, int64_t to_ns)
{
    uint8_t data[BYTES];
    rx_packet_t packet;
    int between = 0;
    for (int n = 0; n < DATAGRAMS; n++) {
        int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
        while (rx_reader_next(&ch->reader, data, sizeof data, &packet, NULL) != 1) {
            if (!CHECK(rt_mono_ns() < until))
                return between;
            (void)rx_reader_wait(&ch->reader, 0, until);
        }
        between += packet.time_ns > from_ns && packet.time_ns < to_ns;
    }
    return between;
}

/* A packet comes due while all of them are read. */
static shm_report_t packet_among(wt_channel_t *ch, int from)
{
    shm_report_t report = {0};
    int status = 0;
    CHECK_EQ(kill(worker.pid, SIGSTOP), 0);
    CHECK_EQ(waitpid(worker.pid, &status, WUNTRACED), worker.pid);
    fill_sockets(from);
    CHECK_EQ(wt_push(ch, "x", 1, rt_mono_ns() + 700 * RT_NS_PER_US, NULL), 0);
    CHECK_EQ(kill(worker.pid, SIGCONT), 0);
    CHECK_EQ(wt_reports(ch, &report, 1), 1);
    return report;
}

static int most_read_between(wt_channel_t *ch, int from)
{
    int most = 0;
    for (int round = 0; round < ROUNDS; round++) {
        shm_report_t report = packet_among(ch, from);
        int between = 0;
        for (int i = 0; i < RECEIVERS; i++)
            between += read_between(&receivers[i], report.scheduled_ns, report.sent_ns);
        most = between > most ? between : most;
    }
    return most;
}

static void test_a_deadline_does_not_wait_for_all_of_them(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    wt_channel_t ch = {.config = wt_config("due", port)};
    ch.config.reports = SHM_REPORTS_ALL;
    ch.config.report_slots = 64;
    REQUIRE(open_receivers());
    REQUIRE(wt_open(&worker, &ch));
    int most = most_read_between(&ch, sink);
    (void)printf("at most %d of %d datagrams read behind the deadline\n", most,
                 RECEIVERS * DATAGRAMS);
    CHECK(most <= MOST_BETWEEN);
    for (int i = 0; i < RECEIVERS; i++) {
        CHECK_EQ(wt_command(&worker, &receivers[i], CTL_CLOSE), 0);
        wt_drop(&receivers[i]);
    }
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(sink);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_a_deadline_does_not_wait_for_all_of_them);
    wt_stop(&worker);
    return rt_test_result();
}
