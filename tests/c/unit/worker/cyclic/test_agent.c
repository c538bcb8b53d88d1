/* The engine "cyclic" in a real worker: what goes out in each cycle, what is sent when the program
 * that updates is gone or silent, and what a new worker continues. */
#include "unit/worker/worker_test.h"

#include "shm/cyclic_shm.h"

#define PERIOD_NS (2 * RT_NS_PER_MS)

static wt_worker_t w;
static wt_channel_t ch;
static int partner;
static uint16_t partner_port;

static shm_cyclic_config_t usual(void)
{
    return (shm_cyclic_config_t){.config_bytes = sizeof(shm_cyclic_config_t),
                                 .payload_bytes = 64,
                                 .period_ns = PERIOD_NS,
                                 .phase_ns = 500 * RT_NS_PER_US};
}

static bool begin_tolerating(const shm_cyclic_config_t *own, bool local, int64_t tolerance_ns)
{
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = wt_config("cyc", local ? 0 : partner_port)};
    shm_config_t *c = &ch.config;
    c->tolerance_ns = tolerance_ns;
    (void)snprintf(c->engine, sizeof c->engine, "%s", SHM_CYCLIC_ENGINE);
    if (local)
        c->local = (shm_addr_t){.family = 0};
    c->engine_bytes = shm_cyclic_bytes(c->producers, own->payload_bytes);
    c->reports = SHM_REPORTS_ALL;
    c->report_slots = 1024;
    c->tx_stamp = SHM_STAMP_NONE; /* reports in order: none waits for its stamp */
    memcpy(c->engine_config, own, sizeof *own);
    return CHECK(partner >= 0) && wt_open(&w, &ch);
}

static bool begin(const shm_cyclic_config_t *own, bool local)
{
    return begin_tolerating(own, local, WT_TOLERANCE_NS);
}

static void end(void)
{
    CHECK_EQ(wt_command(&w, &ch, CTL_CLOSE), 0);
    wt_drop(&ch);
    close(partner);
}

static shm_box_t box_of(const wt_channel_t *c)
{
    shm_cyclic_config_t own;
    memcpy(&own, c->config.engine_config, sizeof own);
    return shm_cyclic_box(c->segment.engine, c->config.producers, own.payload_bytes);
}

static void update(wt_channel_t *c, const char *text)
{
    shm_box_t box = box_of(c);
    (void)shm_box_put(&box, c->producer_slot, text, (uint32_t)strlen(text), rt_mono_ns());
}

static uint64_t count(shm_cyclic_counter_id_t id)
{
    return rt_load_relaxed(&shm_cyclic_head(ch.segment.engine)->counters[id]);
}

static uint64_t gauge(shm_cyclic_gauge_id_t id)
{
    return rt_load_relaxed(&shm_cyclic_head(ch.segment.engine)->gauges[id]);
}

/* The next datagram; "" if there is none in this time. */
static const char *next(int timeout_ms)
{
    static char text[2048];
    int bytes = wt_recv(partner, text, sizeof text - 1, timeout_ms);
    text[bytes > 0 ? bytes : 0] = 0;
    return text;
}

/* Waits until this is what goes out. */
static bool becomes(const char *text)
{
    for (int i = 0; i < 5000; i++)
        if (strcmp(next(WT_TIMEOUT_MS), text) == 0)
            return true;
    return false;
}

static int declare_failsafe(const char *text)
{
    struct {
        ctl_channel_t channel;
        uint32_t op;
    } body;
    memset(&body, 0, sizeof body);
    memcpy(body.channel.name, ch.config.name, sizeof body.channel.name);
    body.op = SHM_CYCLIC_KEEP_FAILSAFE;
    shm_box_t box = box_of(&ch);
    shm_cyclic_put_failsafe(&box, text, (uint32_t)strlen(text));
    return wt_ask(&w, w.pool, CTL_ENGINE, &body, offsetof(__typeof__(body), op) + sizeof body.op,
                  NULL, 0, NULL, 0, NULL);
}

/* A client of its own, which can die alone. */
static int other_client(wt_channel_t *other)
{
    *other = ch;
    int fd = wt_connect(&w);
    CHECK_EQ(wt_attach(&w, fd, other, NULL), 0);
    return fd;
}

/* --- cycles --------------------------------------------------------------------------------- */

static void test_the_payload_goes_out_in_every_cycle(void)
{
    shm_cyclic_config_t own = usual();
    REQUIRE(begin(&own, false));
    CHECK_EQ(next(30)[0], 0);
    update(&ch, "one");
    for (int i = 0; i < 50; i++)
        CHECK(strcmp(next(WT_TIMEOUT_MS), "one") == 0);
    update(&ch, "another one");
    CHECK(becomes("another one"));
    shm_report_t reports[20];
    CHECK_EQ(wt_reports(&ch, reports, 20) >= 20, 1);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(reports[i].scheduled_ns % PERIOD_NS, own.phase_ns);
        CHECK_EQ((int64_t)reports[i].sequence * PERIOD_NS + own.phase_ns, reports[i].scheduled_ns);
        CHECK(reports[i].sent_ns >= reports[i].scheduled_ns);
    }
    wt_settle(&w);
    CHECK(count(SHM_CYCLIC_COUNT_sent) >= 50);
    CHECK_EQ(count(SHM_CYCLIC_COUNT_updates), 2);
    CHECK_EQ(gauge(SHM_CYCLIC_GAUGE_fresh), 1);
    end();
}

static void test_a_stopped_worker_misses_cycles_and_sends_no_burst(void)
{
    shm_cyclic_config_t own = usual();
    REQUIRE(begin(&own, false));
    update(&ch, "x");
    CHECK(becomes("x"));
    kill(w.pid, SIGSTOP);
    wt_nap_ms(20); /* whatever was under way has left */
    while (next(0)[0] != 0) {
    }
    wt_nap_ms(100);
    kill(w.pid, SIGCONT);
    CHECK(becomes("x"));
    wt_settle(&w);
    CHECK(count(SHM_CYCLIC_COUNT_missed) >= 50);
    shm_report_t reports[40];
    CHECK(wt_reports(&ch, reports, 40) >= 40);
    for (int i = 1; i < 40; i++)
        CHECK(reports[i].sequence > reports[i - 1].sequence);
    end();
}

static void test_a_held_channel_is_silent(void)
{
    shm_cyclic_config_t own = usual();
    REQUIRE(begin(&own, false));
    update(&ch, "x");
    CHECK(becomes("x"));
    CHECK_EQ(wt_command(&w, &ch, CTL_HOLD), 0);
    while (next(20)[0] != 0) {
    }
    uint64_t missed = count(SHM_CYCLIC_COUNT_missed);
    CHECK_EQ(next(50)[0], 0);
    CHECK_EQ(wt_command(&w, &ch, CTL_RELEASE), 0);
    CHECK(becomes("x"));
    CHECK(count(SHM_CYCLIC_COUNT_missed) - missed < 20); /* not those while it was held */
    end();
}

/* --- stale ---------------------------------------------------------------------------------- */

static void test_a_dead_writer_is_followed_by_the_failsafe_payload(void)
{
    shm_cyclic_config_t own = usual();
    own.on_stale = SHM_CYCLIC_FAILSAFE;
    REQUIRE(begin(&own, false));
    wt_channel_t other;
    int fd = other_client(&other);
    update(&other, "steer");
    CHECK_EQ(next(30)[0], 0); /* not before it is known what is safe */
    CHECK_EQ(declare_failsafe("brake"), 0);
    CHECK_EQ(declare_failsafe("brake"), 0); /* a client repeats a request whose answer was lost */
    CHECK_EQ(declare_failsafe("go on"), -EINVAL); /* once */
    CHECK(becomes("steer"));
    wt_die(&other, fd);
    CHECK(becomes("brake"));
    wt_settle(&w);
    CHECK_EQ(count(SHM_CYCLIC_COUNT_stale), 1);
    CHECK(count(SHM_CYCLIC_COUNT_sent_failsafe) >= 1);
    CHECK_EQ(gauge(SHM_CYCLIC_GAUGE_fresh), 0);
    update(&ch, "steer again");
    CHECK(becomes("steer again"));
    end();
}

static void test_a_dead_writer_is_followed_by_silence(void)
{
    shm_cyclic_config_t own = usual();
    REQUIRE(begin(&own, false));
    wt_channel_t other;
    int fd = other_client(&other);
    update(&other, "a");
    CHECK(becomes("a"));
    wt_die(&other, fd);
    while (next(100)[0] != 0) {
    }
    CHECK_EQ(next(50)[0], 0);
    update(&ch, "b");
    CHECK(becomes("b"));
    end();
}

static void test_another_writer_keeps_a_payload_fresh(void)
{
    shm_cyclic_config_t own = usual();
    REQUIRE(begin(&own, false));
    wt_channel_t other;
    int fd = other_client(&other);
    update(&other, "a");
    update(&ch, "b");
    CHECK(becomes("b"));
    wt_die(&other, fd);
    wt_nap_ms(20);
    CHECK(becomes("b"));
    CHECK_EQ(count(SHM_CYCLIC_COUNT_stale), 0);
    end();
}

static void test_a_silent_writer_is_stale_by_age(void)
{
    shm_cyclic_config_t own = usual();
    own.on_stale = SHM_CYCLIC_CONTINUE;
    own.stale_after_ns = 20 * RT_NS_PER_MS;
    REQUIRE(begin(&own, false));
    update(&ch, "a");
    CHECK(becomes("a"));
    for (int i = 0; i < 1000 && count(SHM_CYCLIC_COUNT_sent_stale) == 0; i++)
        wt_nap_ms(10);
    CHECK(count(SHM_CYCLIC_COUNT_sent_stale) > 0);
    CHECK_EQ(count(SHM_CYCLIC_COUNT_stale), 1);
    CHECK(becomes("a"));
    end();
}

/* --- a new worker --------------------------------------------------------------------------- */

static void kill_worker(void)
{
    kill(w.pid, SIGKILL);
    (void)wt_wait(&w);
    wt_forget(&w);
}

static bool start_successor(void)
{
    ctl_pong_t pong;
    return CHECK(wt_launch(&w, NULL)) &&
           CHECK_EQ(wt_reply(&w, w.pool, 0, &pong, sizeof pong, NULL, NULL), 0) &&
           CHECK_EQ(wt_send_open(&w, &ch, CTL_OPEN_TAKEOVER), 0);
}

static uint64_t counted(void)
{
    return count(SHM_CYCLIC_COUNT_sent) + count(SHM_CYCLIC_COUNT_failed) +
           count(SHM_CYCLIC_COUNT_missed);
}

/* Of a channel that has a payload from before its first cycle. */
static uint64_t begun(void)
{
    const shm_cyclic_head_t *head = shm_cyclic_head(ch.segment.engine);
    return gauge(SHM_CYCLIC_GAUGE_number) + 1 - rt_load_relaxed(&head->counted_before);
}

/* The worker dies after it showed the number of a cycle, and before it counted it. */
static void test_each_cycle_is_in_one_counter_whenever_the_worker_dies(void)
{
    shm_cyclic_config_t own = usual();
    REQUIRE(begin(&own, false));
    update(&ch, "x");
    CHECK(becomes("x"));
    kill_worker();
    uint64_t was_failed = count(SHM_CYCLIC_COUNT_failed);
    CHECK(begun() == counted() || begun() == counted() + 1); /* it may have died there really */
    const uint64_t missed = 2; /* before the cycle whose number it showed */
    uint64_t more = counted() + missed + 1 - begun();
    rt_store_relaxed(&shm_cyclic_head(ch.segment.engine)->gauges[SHM_CYCLIC_GAUGE_number],
                     gauge(SHM_CYCLIC_GAUGE_number) + more);
    REQUIRE(start_successor());
    CHECK(becomes("x"));
    CHECK_EQ(wt_command(&w, &ch, CTL_HOLD), 0);
    CHECK_EQ(count(SHM_CYCLIC_COUNT_failed), was_failed + 1);
    CHECK(count(SHM_CYCLIC_COUNT_missed) >= missed);
    CHECK_EQ(counted(), begun());
    CHECK_EQ(wt_command(&w, &ch, CTL_RESET), 0);
    CHECK_EQ(counted(), 0);
    kill_worker(); /* the cycles before the reset are not counted again */
    while (next(0)[0] != 0) {
    }
    REQUIRE(start_successor());
    CHECK_EQ(wt_command(&w, &ch, CTL_RELEASE), 0);
    CHECK(becomes("x"));
    CHECK_EQ(wt_command(&w, &ch, CTL_HOLD), 0);
    CHECK_EQ(count(SHM_CYCLIC_COUNT_failed), 0);
    CHECK_EQ(counted(), begun());
    CHECK_EQ(wt_attach(&w, w.pool, &ch, NULL), 0);
    end();
}

static void test_a_new_worker_keeps_grid_payload_and_failsafe(void)
{
    shm_cyclic_config_t own = usual();
    own.on_stale = SHM_CYCLIC_FAILSAFE;
    own.phase_ns = SHM_CYCLIC_ANY_PHASE;
    REQUIRE(begin(&own, false));
    CHECK_EQ(declare_failsafe("brake"), 0);
    update(&ch, "steer");
    CHECK(becomes("steer"));
    uint64_t origin = gauge(SHM_CYCLIC_GAUGE_origin_mono_ns);
    uint64_t missed = count(SHM_CYCLIC_COUNT_missed);
    kill_worker();
    wt_nap_ms(50);
    while (next(0)[0] != 0) {
    }
    REQUIRE(start_successor());
    CHECK(becomes("steer"));
    CHECK_EQ(gauge(SHM_CYCLIC_GAUGE_origin_mono_ns), origin);
    CHECK(count(SHM_CYCLIC_COUNT_missed) >= missed + 20);
    close(ch.locks_fd); /* the slot of the writer */
    ch.locks_fd = 0;
    CHECK(becomes("brake"));
    CHECK_EQ(wt_attach(&w, w.pool, &ch, NULL), 0);
    end();
}

/* --- without a remote address ---------------------------------------------------------------- */

static void test_without_a_remote_each_cycle_is_a_record(void)
{
    shm_cyclic_config_t own = usual();
    own.payload_bytes = 0; /* ticks */
    REQUIRE(begin(&own, true));
    int64_t due = 0;
    for (int i = 0; i < 50; i++) {
        rx_packet_t p;
        uint8_t none[1];
        int64_t until = rt_mono_ns() + WT_TIMEOUT_MS * RT_NS_PER_MS;
        while (rx_reader_next(&ch.reader, none, sizeof none, &p, NULL) == 0 && rt_mono_ns() < until)
            (void)rx_reader_wait(&ch.reader, 0, until);
        CHECK_EQ(p.time_ns % PERIOD_NS, own.phase_ns);
        CHECK(p.time_ns > due);
        due = p.time_ns;
        CHECK_EQ(p.payload_bytes, 0);
        CHECK(rt_mono_ns() >= due + (int32_t)p.tag);
    }
    wt_settle(&w); /* counted after the record was published */
    CHECK(count(SHM_CYCLIC_COUNT_sent) >= 50);
    CHECK(wt_counter(&ch, SHM_COUNT_tx_sent) >= 50);
    end();
}

/* Nobody queues a tick, so a late one has another cause. */
static void test_a_late_tick_was_not_queued_late(void)
{
    shm_cyclic_config_t own = usual();
    own.payload_bytes = 0;
    REQUIRE(begin_tolerating(&own, true, RT_NS_PER_US));
    uint64_t late = 0;
    for (int i = 0; i < 500 && late == 0; i++) {
        kill(w.pid, SIGSTOP);
        wt_nap_ms(3);
        kill(w.pid, SIGCONT);
        wt_nap_ms(3);
        late = wt_counter(&ch, SHM_COUNT_tx_sent) - wt_counter(&ch, SHM_COUNT_tx_on_time);
    }
    CHECK(late > 0);
    CHECK_EQ(wt_exact(&w, &ch, SHM_COUNT_tx_enqueued_late), 0);
    end();
}

static void test_options_that_make_no_sense_are_refused(void)
{
    shm_cyclic_config_t own = usual();
    REQUIRE(begin(&own, true));
    wt_channel_t bad = {.config = ch.config};
    (void)snprintf(bad.config.name, sizeof bad.config.name, "bad");
    bad.config.local = wt_loopback(0);
    REQUIRE(wt_segment(&bad));
    CHECK_EQ(wt_send_open(&w, &bad, 0), -EINVAL);
    bad.config = ch.config;
    (void)snprintf(bad.config.name, sizeof bad.config.name, "bad");
    bad.config.late = SHM_LATE_DROP;
    CHECK_EQ(wt_send_open(&w, &bad, 0), -EINVAL);
    wt_drop(&bad);
    end();
}

int main(void)
{
    if (!CHECK(wt_start(&w, NULL)))
        return rt_test_result();
    RUN(test_the_payload_goes_out_in_every_cycle);
    RUN(test_a_stopped_worker_misses_cycles_and_sends_no_burst);
    RUN(test_a_held_channel_is_silent);
    RUN(test_a_dead_writer_is_followed_by_the_failsafe_payload);
    RUN(test_a_dead_writer_is_followed_by_silence);
    RUN(test_another_writer_keeps_a_payload_fresh);
    RUN(test_a_silent_writer_is_stale_by_age);
    RUN(test_each_cycle_is_in_one_counter_whenever_the_worker_dies);
    RUN(test_a_new_worker_keeps_grid_payload_and_failsafe);
    RUN(test_without_a_remote_each_cycle_is_a_record);
    RUN(test_a_late_tick_was_not_queued_late);
    RUN(test_options_that_make_no_sense_are_refused);
    wt_stop(&w);
    return rt_test_result();
}
