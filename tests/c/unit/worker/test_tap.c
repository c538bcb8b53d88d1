/* Taps as a tool sees them that talks to a real worker: what is refused, what is copied, what is
 * left of it afterwards. */
#include "unit/worker/worker_test.h"

#include "shm/tap_ring.h"
#include "base/rt_err.h"
#include "worker/tap.h"

#define LOG_BYTES (TAP_HEAD_BYTES + (1u << 20))

typedef struct tap {
    int conn;
    int fd;
    void *memory;
    tap_reader_t reader;
    ctl_tapped_t answer;
} tap_t;

static wt_worker_t worker;
static uint8_t buffer[4 * TAP_RECORD_MOST];

/* fd: where to put the memory, or NULL. */
static int ask(int conn, const wt_channel_t *ch, uint32_t what, uint32_t snap, uint64_t bytes,
               ctl_tapped_t *answer, int *fd)
{
    ctl_tap_t body = {.what = what, .snap_bytes = snap, .memory_bytes = bytes};
    int fds[CTL_MAX_FDS] = {-1, -1, -1};
    memcpy(body.channel.name, ch->config.name, sizeof body.channel.name);
    int rc =
        wt_ask(&worker, conn, CTL_TAP, &body, sizeof body, NULL, 0, answer, sizeof *answer, fds);
    if (fd != NULL)
        *fd = fds[0];
    else if (fds[0] >= 0)
        close(fds[0]);
    return rc;
}

static bool tap_begin(tap_t *t, const wt_channel_t *ch, uint32_t what, uint32_t snap)
{
    t->conn = wt_connect(&worker);
    if (!CHECK_EQ(ask(t->conn, ch, what, snap, LOG_BYTES, &t->answer, &t->fd), 0))
        return false;
    t->memory = mmap(NULL, LOG_BYTES, PROT_READ, MAP_SHARED, t->fd, 0);
    return CHECK(t->memory != MAP_FAILED) &&
           CHECK_EQ(tap_reader_init(&t->reader, t->memory, LOG_BYTES), 0);
}

static void tap_end(tap_t *t)
{
    close(t->conn);
    close(t->fd);
    (void)munmap(t->memory, LOG_BYTES);
}

/* Reads until so many datagrams have come; *records keep their heads, *payloads where they lie. */
static unsigned read_some(tap_t *t, tap_record_t *records, const uint8_t **payloads,
                          unsigned wanted)
{
    unsigned n = 0;
    uint32_t used = 0;
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && n < wanted; i++) {
        tap_batch_t b;
        if (tap_reader_take(&t->reader, buffer + used, (uint32_t)sizeof buffer - used, &b) == 0) {
            wt_nap_ms(10);
            continue;
        }
        for (uint32_t at = used; at < used + b.bytes; at += records[n - 1].bytes) {
            memcpy(&records[n], buffer + at, sizeof records[n]);
            payloads[n++] = buffer + at + sizeof(tap_record_t);
        }
        used += b.bytes;
    }
    return n;
}

static bool worker_maps_taps(void)
{
    char path[64], line[512];
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)worker.pid);
    FILE *maps = fopen(path, "r");
    bool found = false;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found = found || strstr(line, "memfd:shmring-tap") != NULL;
    if (maps != NULL)
        (void)fclose(maps);
    return found;
}

static bool worker_lets_go(void)
{
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && worker_maps_taps(); i++)
        wt_nap_ms(10);
    return !worker_maps_taps();
}

/* Whether the pages of a tap are given back, in a while. */
static bool is_freed(int fd)
{
    struct stat facts = {.st_blocks = 1};
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && facts.st_blocks > 0; i++) {
        CHECK_EQ(fstat(fd, &facts), 0);
        wt_nap_ms(10);
    }
    return facts.st_blocks == 0;
}

static bool begin(wt_channel_t *ch, int *peer, unsigned every)
{
    uint16_t port = 0;
    if (!CHECK(wt_start(&worker, NULL)))
        return false;
    *peer = wt_udp(&port);
    *ch = (wt_channel_t){.config = wt_config("tapped", port)};
    ch->config.reports = SHM_REPORTS_ALL;
    ch->config.report_slots = 64;
    ch->config.stamp_every = (uint8_t)every;
    return wt_open(&worker, ch);
}

static void end(wt_channel_t *ch, int peer)
{
    wt_drop(ch);
    close(peer);
    wt_stop(&worker);
}

/* --- refusals ------------------------------------------------------------------------------- */

static void test_what_cannot_be_is_refused(void)
{
    wt_channel_t ch;
    int peer;
    if (!begin(&ch, &peer, 0))
        return;
    const struct {
        uint64_t bytes;
        const char *word;
    } bad[] = {
        {0, "has 0 bytes"},
        {4096, "has 4096 bytes"},
        {LOG_BYTES + 1, "multiple of 4096"},
        {UINT64_C(5) << 30, "give it"},
    };
    ctl_tapped_t answer;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(ask(worker.pool, &ch, CTL_TAP_TX, 0, bad[i].bytes, &answer, NULL), -EINVAL);
        CHECK(strstr(worker.text, bad[i].word) != NULL);
    }
    CHECK_EQ(ask(worker.pool, &ch, 0, 0, LOG_BYTES, &answer, NULL), -EINVAL);
    CHECK_EQ(ask(worker.pool, &ch, CTL_TAP_NOT_SENT, 0, LOG_BYTES, &answer, NULL), -EINVAL);
    CHECK_EQ(ask(worker.pool, &ch, 64 | CTL_TAP_TX, 0, LOG_BYTES, &answer, NULL), -EINVAL);
    wt_channel_t none = {.config = {.name = "nobody"}};
    CHECK_EQ(ask(worker.pool, &none, CTL_TAP_TX, 0, LOG_BYTES, &answer, NULL), -ENOENT);
    wt_settle(&worker);
    CHECK(!worker_maps_taps());
    end(&ch, peer);
}

/* A tool that could take pages away would make the worker wait for new ones. */
static void test_a_tool_can_only_read_its_memory(void)
{
    wt_channel_t ch;
    int peer;
    tap_t t;
    struct stat facts;
    if (!begin(&ch, &peer, 0))
        return;
    REQUIRE(tap_begin(&t, &ch, CTL_TAP_TX, 0));
    CHECK_EQ(fallocate(t.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LOG_BYTES), -1);
    CHECK_EQ(ftruncate(t.fd, 0), -1);
    CHECK(write(t.fd, "x", 1) < 0);
    CHECK(mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, t.fd, 0) == MAP_FAILED);
    CHECK_EQ(fstat(t.fd, &facts), 0);
    CHECK_EQ(facts.st_mode & 07777, 0600); /* nor can another user open it again */
    tap_end(&t);
    end(&ch, peer);
}

static void test_memory_of_taps_is_bounded(void)
{
    static worker_t w;
    static wrk_channel_t here = {.worker = &w}, there = {.worker = &w};
    wrk_tap_t of_two = {.channel = &there, .uid = 2, .bytes = WRK_TAP_USER_BYTES - (16u << 20)};
    wrk_tap_t of_one = {.next_all = &of_two, .channel = &here, .uid = 1, .bytes = 512u << 20};
    w.taps = &of_one;
    CHECK_EQ(tap_check_room(&here, 1, 512u << 20), 0);
    CHECK_EQ(tap_check_room(&here, 3, (512u << 20) + 4096), -ENOSPC);
    CHECK(strstr(rt_err_text(), "the channel has taps of 536870912 bytes") != NULL);
    CHECK_EQ(tap_check_room(&here, 2, 16u << 20), 0);
    CHECK_EQ(tap_check_room(&here, 2, 17u << 20), -ENOSPC);
    CHECK(strstr(rt_err_text(), "your user") != NULL);
    of_one.channel = NULL; /* still being let go */
    of_one.uid = 4;
    of_one.bytes = WRK_TAP_WORKER_BYTES - of_two.bytes - (1u << 20);
    CHECK_EQ(tap_check_room(&here, 1, 1u << 20), 0);
    CHECK_EQ(tap_check_room(&here, 1, 2u << 20), -ENOSPC);
    CHECK(strstr(rt_err_text(), "the worker") != NULL);
}

static void test_a_channel_has_few_taps_and_gets_them_back(void)
{
    wt_channel_t ch;
    int peer;
    tap_t taps[4];
    ctl_tapped_t answer;
    if (!begin(&ch, &peer, 0))
        return;
    for (unsigned i = 0; i < 4; i++) {
        CHECK(tap_begin(&taps[i], &ch, CTL_TAP_TX, 0));
        CHECK_EQ(taps[i].answer.taps, i + 1);
    }
    CHECK_EQ(ask(worker.pool, &ch, CTL_TAP_TX, 0, LOG_BYTES, &answer, NULL), -EUSERS);
    tap_end(&taps[2]);
    int rc = -EUSERS;
    for (int i = 0; i < WT_TIMEOUT_MS / 10 && rc == -EUSERS; i++) {
        rc = ask(worker.pool, &ch, CTL_TAP_TX, 0, LOG_BYTES, &answer, NULL);
        wt_nap_ms(10);
    }
    CHECK_EQ(rc, 0);
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            tap_end(&taps[i]);
    end(&ch, peer);
}

/* --- copies --------------------------------------------------------------------------------- */

static void send_and_read(wt_channel_t *ch, int peer, tap_t *t, unsigned count)
{
    tap_record_t records[64];
    const uint8_t *payloads[64];
    shm_report_t reports[64];
    char text[64];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(text, sizeof text, "datagram %u", i);
        CHECK_EQ(wt_push(ch, text, strlen(text), rt_mono_ns() + 5 * RT_NS_PER_MS, NULL), 0);
        CHECK_EQ(wt_recv(peer, text, sizeof text, WT_TIMEOUT_MS), (int)strlen(text));
    }
    CHECK_EQ(wt_reports(ch, reports, (int)count), (int)count);
    unsigned n = read_some(t, records, payloads, 2 * count); /* each with its stamp */
    CHECK_EQ(n, 2 * count);
    unsigned sent = 0, stamped = 0;
    for (unsigned i = 0; i < n; i++) {
        const tap_record_t *r = &records[i];
        if (r->kind == TAP_STAMPED) {
            CHECK_EQ(r->number, stamped + 1);
            CHECK(memcmp(&r->report, &reports[stamped++], sizeof r->report) == 0);
            continue;
        }
        CHECK_EQ(r->kind, TAP_SENT);
        CHECK_EQ(r->flags, TAP_HAS_SEQUENCE | TAP_AWAITS_STAMP);
        CHECK_EQ(r->report.sequence, reports[sent].sequence);
        CHECK_EQ(r->report.sent_ns, reports[sent].sent_ns);
        CHECK_EQ(r->report.handed_ns, reports[sent].handed_ns); /* copied after the send call */
        CHECK(r->report.handed_ns > r->report.sent_ns);
        CHECK_EQ(r->report.verdict, reports[sent].verdict);
        CHECK_EQ(r->local.port, ch->segment.status->bound.port);
        CHECK_EQ(r->remote.port, ch->config.remote.port);
        (void)snprintf(text, sizeof text, "datagram %u", sent++);
        CHECK_EQ(r->captured_bytes, strlen(text));
        CHECK(memcmp(payloads[i], text, strlen(text)) == 0);
    }
    CHECK_EQ(sent, count);
    CHECK_EQ(stamped, count);
}

static void test_sent_datagrams_with_verdict_and_stamp(void)
{
    wt_channel_t ch;
    int peer;
    tap_t t;
    if (!begin(&ch, &peer, 1))
        return;
    if (tap_begin(&t, &ch, CTL_TAP_TX, 0))
        send_and_read(&ch, peer, &t, 8);
    tap_end(&t);
    end(&ch, peer);
}

static void test_arrivals_cut_to_the_wanted_length(void)
{
    wt_channel_t ch;
    int peer;
    tap_t t;
    tap_record_t records[16];
    const uint8_t *payloads[16];
    if (!begin(&ch, &peer, 1))
        return;
    if (tap_begin(&t, &ch, CTL_TAP_RX, 5)) {
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(ch.segment.status->bound.port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        for (unsigned i = 0; i < 4; i++)
            CHECK_EQ(sendto(peer, "a datagram", 10, 0, (struct sockaddr *)&to, sizeof to), 10);
        CHECK_EQ(read_some(&t, records, payloads, 4), 4);
        for (unsigned i = 0; i < 4; i++) {
            CHECK_EQ(records[i].kind, TAP_ARRIVED);
            CHECK_EQ(records[i].report.sequence, i);
            CHECK_EQ(records[i].report.stamp, SHM_STAMP_KERNEL);
            CHECK_EQ(records[i].payload_bytes, 10);
            CHECK_EQ(records[i].captured_bytes, 5);
            CHECK(memcmp(payloads[i], "a dat", 5) == 0);
            CHECK_EQ(records[i].remote.port, ch.config.remote.port);
            CHECK_EQ(records[i].local.port, ch.segment.status->bound.port);
        }
    }
    tap_end(&t);
    end(&ch, peer);
}

static void test_packets_that_were_not_sent_are_told_without_payload(void)
{
    wt_channel_t ch;
    int peer;
    tap_t t;
    tap_record_t records[4];
    const uint8_t *payloads[4];
    uint64_t sequence = 0;
    if (!begin(&ch, &peer, 1))
        return;
    if (tap_begin(&t, &ch, CTL_TAP_TX | CTL_TAP_NOT_SENT, 0)) {
        CHECK_EQ(wt_push(&ch, "never", 5, rt_mono_ns() + 3600 * RT_NS_PER_S, &sequence), 0);
        CHECK_EQ(wt_command(&worker, &ch, CTL_PURGE), 0);
        CHECK_EQ(read_some(&t, records, payloads, 1), 1);
        CHECK_EQ(records[0].kind, TAP_NOT_SENT);
        CHECK_EQ(records[0].report.verdict, 6); /* cancelled */
        CHECK_EQ(records[0].report.sequence, sequence);
        CHECK_EQ(records[0].payload_bytes, 5);
        CHECK_EQ(records[0].captured_bytes, 0);
    }
    tap_end(&t);
    end(&ch, peer);
}

static void test_marks_come_in_the_order_of_the_datagrams(void)
{
    wt_channel_t ch;
    int peer;
    tap_t t;
    tap_record_t records[4];
    const uint8_t *payloads[4];
    struct {
        ctl_channel_t channel;
        char text[7];
    } body = {.text = "look at"};
    if (!begin(&ch, &peer, 0))
        return;
    memcpy(body.channel.name, ch.config.name, sizeof body.channel.name);
    size_t bytes = offsetof(__typeof__(body), text) + sizeof body.text;
    CHECK_EQ(wt_ask(&worker, worker.pool, CTL_MARK, &body, bytes, NULL, 0, NULL, 0, NULL), 0);
    if (tap_begin(&t, &ch, CTL_TAP_RX, 0)) {
        CHECK_EQ(wt_ask(&worker, worker.pool, CTL_MARK, &body, bytes, NULL, 0, NULL, 0, NULL), 1);
        CHECK_EQ(read_some(&t, records, payloads, 1), 1);
        CHECK_EQ(records[0].kind, TAP_MARK);
        CHECK_EQ(records[0].captured_bytes, sizeof body.text);
        CHECK(memcmp(payloads[0], body.text, sizeof body.text) == 0);
    }
    tap_end(&t);
    end(&ch, peer);
}

/* --- ends ----------------------------------------------------------------------------------- */

static void test_hanging_up_is_the_end_of_a_tap(void)
{
    wt_channel_t ch;
    int peer;
    tap_t t;
    if (!begin(&ch, &peer, 0))
        return;
    if (tap_begin(&t, &ch, CTL_TAP_TX | CTL_TAP_RX, 0)) {
        CHECK(worker_maps_taps());
        close(t.conn);
        t.conn = -1;
        CHECK(worker_lets_go());
        CHECK(is_freed(t.fd));
    }
    tap_end(&t);
    end(&ch, peer);
}

static void test_a_closed_channel_ends_its_taps_and_leaves_them_their_copies(void)
{
    wt_channel_t ch;
    int peer;
    tap_t t;
    tap_record_t records[4];
    const uint8_t *payloads[4];
    char text[16];
    if (!begin(&ch, &peer, 0))
        return;
    if (tap_begin(&t, &ch, CTL_TAP_TX, 0)) {
        CHECK_EQ(wt_push(&ch, "last", 4, 0, NULL), 0);
        CHECK_EQ(wt_recv(peer, text, sizeof text, WT_TIMEOUT_MS), 4);
        CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
        CHECK_EQ(tap_reader_state(&t.reader), TAP_CLOSED);
        CHECK(worker_lets_go());
        CHECK(read_some(&t, records, payloads, 1) >= 1);
        CHECK(memcmp(payloads[0], "last", 4) == 0);
        close(t.conn);
        t.conn = -1;
        CHECK(is_freed(t.fd));
    }
    tap_end(&t);
    wt_settle(&worker);
    end(&ch, peer);
}

/* Its own memory is all that a tool can spoil, and its own copies. */
static void test_a_tool_that_scribbles_harms_nobody(void)
{
    wt_channel_t ch;
    int peer;
    tap_t t;
    char text[64];
    uint64_t rng = rt_test_env_u64("RT_TEST_SEED", 3);
    if (!begin(&ch, &peer, 1))
        return;
    if (tap_begin(&t, &ch, CTL_TAP_TX | CTL_TAP_RX, 0)) {
        (void)snprintf(text, sizeof text, "/proc/self/fd/%d", t.fd);
        int again = open(text, O_RDWR | O_CLOEXEC); /* only the worker's own user may */
        uint8_t *all = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
        REQUIRE(all != MAP_FAILED);
        for (unsigned i = 0; i < 300; i++) {
            for (unsigned k = 0; k < 256; k++)
                all[rt_test_rand(&rng) % (k % 2 ? LOG_BYTES : 1024u)] = (uint8_t)rt_test_rand(&rng);
            if (i % 50 == 0) /* and takes its pages away */
                (void)fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LOG_BYTES);
            (void)snprintf(text, sizeof text, "datagram %u", i);
            CHECK_EQ(wt_push(&ch, text, strlen(text), 0, NULL), 0);
            CHECK_EQ(wt_recv(peer, text, sizeof text, WT_TIMEOUT_MS), (int)strlen(text));
        }
        (void)munmap(all, LOG_BYTES);
        close(again);
    }
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), 300);
    tap_end(&t);
    end(&ch, peer);
}

int main(void)
{
    RUN(test_what_cannot_be_is_refused);
    RUN(test_a_tool_can_only_read_its_memory);
    RUN(test_memory_of_taps_is_bounded);
    RUN(test_a_channel_has_few_taps_and_gets_them_back);
    RUN(test_sent_datagrams_with_verdict_and_stamp);
    RUN(test_arrivals_cut_to_the_wanted_length);
    RUN(test_packets_that_were_not_sent_are_told_without_payload);
    RUN(test_marks_come_in_the_order_of_the_datagrams);
    RUN(test_hanging_up_is_the_end_of_a_tap);
    RUN(test_a_closed_channel_ends_its_taps_and_leaves_them_their_copies);
    RUN(test_a_tool_that_scribbles_harms_nobody);
    return rt_test_result();
}
