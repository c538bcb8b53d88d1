/* A sender, a path and a player in virtual time: packets are put into the order of their arrival,
 * and the buffer is asked exactly when it says so. */
#include "proto/rtp/rtp_jitter_buffer.h"

#include "base/rt_err.h"
#include "base/rt_random.h"
#include "rt_test.h"

#include <errno.h>
#include <math.h>

#define RATE 8000u
#define STEP 160u
#define PTIME_NS INT64_C(20000000)
#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define MAX_PACKETS 200000u
#define ENTRIES 64u

typedef struct packet {
    int64_t arrival_ns;
    uint32_t number;
    uint32_t ts;
    uint16_t seq;
} packet_t;

typedef struct run {
    rtp_jitter_buffer_t b;
    rtp_jitter_buffer_entry_t entries[ENTRIES];
    packet_t packets[MAX_PACKETS];
    size_t count;
    uint8_t fate[MAX_PACKETS]; /* how often each item came back */
    bool is_signal[MAX_PACKETS];
    uint64_t frames;
    uint64_t signals;
    uint64_t erased;
    uint64_t dry;
    uint64_t resyncs;
    uint64_t last_seq;
    int64_t last_now_ns;
    int64_t last_due_ns;
    int64_t worst_backstep_ns;
    uint32_t most_held;
    rtp_jitter_buffer_event_t last_resync;
} run_t;

static run_t run;

static void begin(const rtp_jitter_buffer_config_t *config)
{
    memset(&run, 0, sizeof run);
    CHECK_EQ(rtp_jitter_buffer_init(&run.b, config, run.entries, ENTRIES), 0);
}

static int by_arrival(const void *a, const void *b)
{
    const packet_t *x = a;
    const packet_t *y = b;
    if (x->arrival_ns != y->arrival_ns)
        return x->arrival_ns < y->arrival_ns ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static void send_at(uint16_t seq, uint32_t ts, int64_t arrival_ns)
{
    packet_t *p = &run.packets[run.count];
    *p = (packet_t){.arrival_ns = arrival_ns, .number = (uint32_t)run.count, .ts = ts, .seq = seq};
    run.count++;
}

static void send_signal_at(uint16_t seq, uint32_t ts, int64_t arrival_ns)
{
    send_at(seq, ts, arrival_ns);
    run.is_signal[run.count - 1] = true;
}

static void note_signal(const rtp_jitter_buffer_event_t *e)
{
    run.signals++;
    run.fate[e->item]++;
    CHECK_EQ(e->due_ns, e->arrival_ns);
}

static void note(const rtp_jitter_buffer_event_t *e, int64_t now_ns)
{
    if (e->kind != RTP_JITTER_BUFFER_RESYNC && run.b.config.mode == RTP_JITTER_BUFFER_DEADLINE)
        CHECK(e->due_ns <= now_ns);
    switch (e->kind) {
    case RTP_JITTER_BUFFER_FRAME:
        if (run.is_signal[e->item]) {
            note_signal(e);
            break;
        }
        run.frames++;
        run.fate[e->item]++;
        CHECK(run.frames == 1 || e->seq > run.last_seq);
        run.last_seq = e->seq;
        if (run.last_due_ns - e->due_ns > run.worst_backstep_ns)
            run.worst_backstep_ns = run.last_due_ns - e->due_ns;
        run.last_due_ns = e->due_ns;
        break;
    case RTP_JITTER_BUFFER_ERASURE:
        if (e->frames == 0)
            run.dry++;
        else
            CHECK(run.frames == 0 || e->seq > run.last_seq);
        run.erased += e->frames;
        break;
    case RTP_JITTER_BUFFER_RESYNC:
        run.resyncs++;
        run.last_resync = *e;
        break;
    }
}

static void play_until(int64_t now_ns)
{
    rtp_jitter_buffer_event_t e;
    for (;;) {
        int64_t due_ns = rtp_jitter_buffer_deadline_ns(&run.b);
        if (due_ns > now_ns)
            break;
        int64_t at_ns = due_ns > run.last_now_ns ? due_ns : run.last_now_ns;
        run.last_now_ns = at_ns;
        while (rtp_jitter_buffer_next(&run.b, at_ns, &e))
            note(&e, at_ns);
    }
    run.last_now_ns = now_ns;
}

static void check_conservation(void)
{
    const rtp_jitter_buffer_counters_t *c = &run.b.counters;
    CHECK_EQ(c->received, c->delivered + c->late + c->duplicates + c->overflow + c->discarded +
                              rtp_jitter_buffer_held(&run.b));
}

/* Everything that was sent arrives, is played, and at the end flushed. */
static void play_all(void)
{
    rtp_jitter_buffer_event_t e;
    qsort(run.packets, run.count, sizeof run.packets[0], by_arrival);
    for (size_t i = 0; i < run.count; i++) {
        const packet_t *p = &run.packets[i];
        play_until(p->arrival_ns);
        rtp_jitter_buffer_dropped_t dropped;
        rtp_jitter_buffer_in_t in = {.item = p->number,
                                     .arrival_ns = p->arrival_ns,
                                     .ts = p->ts,
                                     .seq = p->seq,
                                     .flags =
                                         run.is_signal[p->number] ? RTP_JITTER_BUFFER_SIGNAL : 0};
        rtp_jitter_buffer_in(&run.b, &in, &dropped);
        for (unsigned k = 0; k < dropped.count; k++)
            run.fate[dropped.entry[k].item]++;
        if (run.b.held > run.most_held)
            run.most_held = run.b.held;
        play_until(p->arrival_ns);
        if (i % 1024 == 0)
            check_conservation();
    }
    run.b.config.conceal_ns = 0; /* no erasures of a dry buffer behind the end */
    while (rtp_jitter_buffer_next(&run.b, INT64_MAX, &e))
        note(&e, INT64_MAX);
    check_conservation();
    CHECK_EQ(run.b.held, 0);
    if (run.b.has_suspect) /* the last packet: nothing came that could have followed it */
        run.fate[run.b.suspect.item]++;
    CHECK_EQ(run.b.counters.received, run.count);
    CHECK_EQ(run.b.counters.delivered, run.frames + run.signals);
    for (size_t i = 0; i < run.count; i++) {
        if (run.fate[i] != 1) {
            CHECK_EQ(run.fate[i], 1);
            break;
        }
    }
}

static const rtp_jitter_buffer_config_t plain = {.clock_rate = RATE};

static void test_bad_configurations_are_refused(void)
{
    rtp_jitter_buffer_entry_t entries[8];
    rtp_jitter_buffer_t b;
    rtp_jitter_buffer_config_t c = plain;
    c.min_delay_ns = 300 * MS;
    CHECK_EQ(rtp_jitter_buffer_init(&b, &c, entries, 8), -EINVAL);
}

static void test_steady_stream_is_played_on_its_grid(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 500; i++)
        send_at((uint16_t)(65500 + i), 4294960000u + i * STEP, SECOND + i * PTIME_NS);
    play_all();
    CHECK_EQ(run.frames, 500);
    CHECK_EQ(run.b.counters.lost, 0);
    CHECK_EQ(run.b.counters.late, 0);
    CHECK_EQ(run.worst_backstep_ns, 0);
    CHECK_EQ(rtp_jitter_units(&run.b.jitter), 0);
    /* Nothing varies: the delay has shrunk from 40 ms to the least, by 10 ms/s. */
    CHECK_EQ(rtp_jitter_buffer_target_ns(&run.b), 5 * MS);
    CHECK_EQ(rtp_jitter_buffer_delay_ns(&run.b), 5 * MS);
}

static void test_in_order_mode_waits_for_nothing_but_gaps(void)
{
    rtp_jitter_buffer_config_t c = plain;
    c.mode = RTP_JITTER_BUFFER_IN_ORDER;
    begin(&c);
    rtp_jitter_buffer_dropped_t dropped;
    rtp_jitter_buffer_event_t e;
    for (uint32_t i = 0; i < 50; i++) {
        int64_t now_ns = SECOND + i * PTIME_NS;
        rtp_jitter_buffer_in_t in = {
            .item = i, .arrival_ns = now_ns, .ts = i * STEP, .seq = (uint16_t)i};
        rtp_jitter_buffer_in(&run.b, &in, &dropped);
        CHECK(rtp_jitter_buffer_next(&run.b, now_ns, &e));
        CHECK_EQ(e.kind, RTP_JITTER_BUFFER_FRAME);
        CHECK_EQ(e.item, i);
        CHECK(!rtp_jitter_buffer_next(&run.b, now_ns, &e));
        CHECK_EQ(rtp_jitter_buffer_deadline_ns(&run.b), RT_NEVER_NS);
    }
    /* 50 is missing; 51 waits for the playout time of 50, not longer. */
    int64_t now_ns = SECOND + 51 * PTIME_NS;
    rtp_jitter_buffer_in_t in = {.item = 51, .arrival_ns = now_ns, .ts = 51 * STEP, .seq = 51};
    rtp_jitter_buffer_in(&run.b, &in, &dropped);
    int64_t due_ns = rtp_jitter_buffer_deadline_ns(&run.b);
    CHECK_EQ(due_ns, SECOND + 50 * PTIME_NS + rtp_jitter_buffer_delay_ns(&run.b));
    CHECK(!rtp_jitter_buffer_next(&run.b, due_ns - 1, &e));
    CHECK(rtp_jitter_buffer_next(&run.b, due_ns, &e));
    CHECK_EQ(e.kind, RTP_JITTER_BUFFER_ERASURE);
    CHECK_EQ(e.frames, 1);
    CHECK_EQ(e.ts, 50 * STEP);
    CHECK_EQ(e.ts_span, STEP);
    CHECK(rtp_jitter_buffer_next(&run.b, due_ns, &e));
    CHECK_EQ(e.kind, RTP_JITTER_BUFFER_FRAME);
    CHECK_EQ(e.item, 51);
    CHECK_EQ(run.b.counters.lost, 1);
    CHECK_EQ(run.b.counters.concealed_ns, (uint64_t)PTIME_NS);
}

static void test_one_loss_leaves_no_trace(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 1000; i++) {
        if (i != 500)
            send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS + (i % 5) * MS);
    }
    play_all();
    CHECK_EQ(run.frames, 999);
    /* 501 was not yet there when the time of 500 came: one erasure, and no second one later. */
    CHECK_EQ(run.dry, 1);
    CHECK_EQ(run.erased, 0);
    CHECK_EQ(run.b.counters.lost, 1);
    CHECK_EQ(run.b.counters.late, 0);
    CHECK_EQ(run.b.counters.concealed_ns, (uint64_t)PTIME_NS);
    CHECK_EQ(run.b.counters.pause_ns, 0);
    CHECK(run.most_held <= 3);
}

/* A key is held from frame 50 to 90. Each frame is followed by a packet of the event, with the time
 * of its beginning, as baresip sends them, or replaced by it, as GStreamer's rtpdtmfmux does. The
 * packets of the second event are swapped in pairs. */
static void play_keys(rtp_jitter_buffer_mode_t mode, bool replaced)
{
    rtp_jitter_buffer_config_t c = plain;
    c.mode = mode;
    begin(&c);
    uint16_t seq = 65400;
    for (uint32_t i = 0; i < 400; i++) {
        int64_t at_ns = SECOND + i * PTIME_NS;
        bool pressed = (i >= 50 && i < 140) || (i >= 200 && i < 240);
        if (!pressed || !replaced)
            send_at(seq++, i * STEP, at_ns);
        if (pressed)
            send_signal_at(seq++, (i < 200 ? 50 : 200) * STEP,
                           at_ns + (i >= 200 && i % 2 == 0 ? 21 * MS : 0));
    }
    play_all();
    CHECK_EQ(run.signals, 130);
    CHECK_EQ(run.frames, replaced ? 270 : 400);
    CHECK_EQ(run.resyncs, 0);
    CHECK_EQ(run.b.counters.lost, 0);
    CHECK_EQ(run.b.counters.concealed_ns, 0);
    CHECK_EQ(rtp_jitter_buffer_target_ns(&run.b), 5 * MS);
    if (mode == RTP_JITTER_BUFFER_IN_ORDER || !replaced)
        CHECK_EQ(run.dry, 0);
}

static void test_telephone_events_pass_by_the_playout(void)
{
    play_keys(RTP_JITTER_BUFFER_DEADLINE, false);
    play_keys(RTP_JITTER_BUFFER_DEADLINE, true);
    play_keys(RTP_JITTER_BUFFER_IN_ORDER, false);
    play_keys(RTP_JITTER_BUFFER_IN_ORDER, true);
}

/* Frames 0 to 9 wait for their times. Signal 11 comes before 10, 13 without 12. */
static void test_signals_are_in_order_and_wait_for_no_frame(void)
{
    begin(&plain);
    rtp_jitter_buffer_dropped_t dropped;
    rtp_jitter_buffer_event_t e;
    for (uint16_t i = 0; i < 10; i++) {
        rtp_jitter_buffer_in_t in = {.arrival_ns = SECOND, .ts = i * STEP, .seq = i};
        rtp_jitter_buffer_in(&run.b, &in, &dropped);
    }
    rtp_jitter_buffer_in_t in = {
        .arrival_ns = SECOND, .ts = 9, .seq = 11, .flags = RTP_JITTER_BUFFER_SIGNAL};
    rtp_jitter_buffer_in(&run.b, &in, &dropped);
    CHECK(!rtp_jitter_buffer_next(&run.b, SECOND, &e));
    in.seq = 10;
    rtp_jitter_buffer_in(&run.b, &in, &dropped);
    in.seq = 13;
    rtp_jitter_buffer_in(&run.b, &in, &dropped);
    for (unsigned seq = 10; seq <= 11; seq++) {
        CHECK(rtp_jitter_buffer_next(&run.b, SECOND, &e));
        CHECK_EQ(e.seq, 65536 + seq);
    }
    CHECK(!rtp_jitter_buffer_next(&run.b, SECOND, &e));
    rtp_jitter_buffer_in(&run.b, &in, &dropped);
    CHECK_EQ(dropped.count, 1);
    CHECK_EQ(dropped.entry[0].reason, RTP_JITTER_BUFFER_DUPLICATE);
    int64_t waited_ns = SECOND + rtp_jitter_buffer_delay_ns(&run.b);
    uint64_t last = 0;
    while (last < 65536 + 13 && rtp_jitter_buffer_next(&run.b, waited_ns, &e))
        last = e.seq;
    CHECK_EQ(last, 65536 + 13);
}

/* Of a sender whose next frames have the numbers that follow. */
static void test_a_signal_with_a_number_far_off_changes_no_timing(void)
{
    static const uint16_t off[] = {4000, 30000, 40000, 61000};
    for (size_t k = 0; k < sizeof off / sizeof off[0]; k++) {
        begin(&plain);
        for (uint32_t i = 0; i < 200; i++) {
            send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS);
            if (i == 100)
                send_signal_at((uint16_t)(i + off[k]), i * STEP, SECOND + i * PTIME_NS);
        }
        play_all();
        CHECK_EQ(run.frames, 200);
        CHECK_EQ(run.signals, 1);
        CHECK_EQ(run.resyncs, 0);
        CHECK_EQ(run.b.counters.lost, 0);
    }
}

static int64_t jitter_ns(rt_random_t *r, double mean_ns)
{
    return (int64_t)(-mean_ns * log(1.0 - rt_random_unit(r)));
}

static void test_stated_share_is_in_time(void)
{
    rt_random_t r;
    static const double percentiles[] = {0.9, 0.98, 1.0};
    static const double most_late[] = {0.13, 0.035, 0.008};
    static const double least_late[] = {0.05, 0.005, 0.0};
    for (unsigned k = 0; k < 3; k++) {
        rtp_jitter_buffer_config_t c = {
            .clock_rate = RATE, .percentile = percentiles[k], .max_delay_ns = SECOND};
        rt_random_init(&r, 1 + k);
        begin(&c);
        for (uint32_t i = 0; i < 30000; i++)
            send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS + jitter_ns(&r, 8e6));
        play_all();
        double late = (double)run.b.counters.late / 30000;
        CHECK(late <= most_late[k] && late >= least_late[k]);
        CHECK_EQ(run.b.counters.lost, 0);
        CHECK_EQ(run.b.counters.resyncs, 0);
        /* Mean of |difference| of two exponential delays: their mean. */
        CHECK(rtp_jitter_ns(&run.b.jitter) > 4 * MS && rtp_jitter_ns(&run.b.jitter) < 14 * MS);
        int64_t as_ns = (int64_t)rtp_jitter_units(&run.b.jitter) * SECOND / RATE;
        CHECK(llabs((long long)(as_ns - rtp_jitter_ns(&run.b.jitter))) < SECOND / RATE);
    }
}

/* As VLC begins a stream. */
static void test_first_packets_that_come_early_do_not_fix_the_delay(void)
{
    for (uint32_t early = 1; early < 10; early++) {
        begin(&plain);
        for (uint32_t i = 0; i < 278; i++)
            send_at((uint16_t)i, i * STEP,
                    SECOND + i * PTIME_NS + (i % 3) * MS - (i < early ? 260 * MS : 0));
        play_all();
        CHECK_EQ(run.frames, 278);
        CHECK_EQ(run.resyncs, 1);
        CHECK_EQ(run.b.counters.lost, 0);
        CHECK(rtp_jitter_buffer_delay_ns(&run.b) <= 40 * MS);
    }
}

/* All frames of its first 300 ms come together at their end. */
static void test_a_path_that_stalls_at_first_does_not_fix_the_delay(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 278; i++) {
        int64_t at_ns = SECOND + i * PTIME_NS;
        int64_t stall_end_ns = SECOND + 300 * MS;
        send_at((uint16_t)i, i * STEP, i > 1 && at_ns < stall_end_ns ? stall_end_ns : at_ns);
    }
    play_all();
    CHECK_EQ(run.resyncs, 0);
    CHECK(rtp_jitter_buffer_delay_ns(&run.b) <= 200 * MS);
}

static void test_delay_stays_within_its_bounds(void)
{
    rt_random_t r;
    rtp_jitter_buffer_config_t c = {
        .clock_rate = RATE, .percentile = 1.0, .min_delay_ns = 15 * MS, .max_delay_ns = 30 * MS};
    rt_random_init(&r, 9);
    begin(&c);
    for (uint32_t i = 0; i < 600; i++)
        send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS);
    play_all();
    CHECK_EQ(rtp_jitter_buffer_delay_ns(&run.b), 15 * MS);
    begin(&c);
    for (uint32_t i = 0; i < 3000; i++)
        send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS + jitter_ns(&r, 15e6));
    play_all();
    CHECK_EQ(rtp_jitter_buffer_target_ns(&run.b), 30 * MS);
    CHECK(run.b.counters.late > 100);
}

static void test_delay_grows_at_once_and_shrinks_slowly(void)
{
    rtp_jitter_buffer_config_t c = {
        .clock_rate = RATE, .percentile = 1.0, .first_delay_ns = 5 * MS};
    begin(&c);
    uint32_t i = 0;
    rtp_jitter_buffer_dropped_t dropped;
    rtp_jitter_buffer_event_t e;
    int64_t at_ns = 0;
    for (; i < 300; i++) {
        at_ns = SECOND + i * PTIME_NS + (i == 299 ? 60 * MS : 0);
        rtp_jitter_buffer_in_t in = {.arrival_ns = at_ns, .ts = i * STEP, .seq = (uint16_t)i};
        rtp_jitter_buffer_in(&run.b, &in, &dropped);
        if (i == 298)
            CHECK_EQ(rtp_jitter_buffer_delay_ns(&run.b), 5 * MS);
        while (rtp_jitter_buffer_next(&run.b, at_ns, &e))
            ;
    }
    CHECK_EQ(rtp_jitter_buffer_delay_ns(&run.b), 60 * MS);
    /* As long as the spike is in the window, nothing shrinks; then 10 ms in a second. */
    for (; i < 300 + 255; i++) {
        at_ns = SECOND + i * PTIME_NS;
        rtp_jitter_buffer_in_t in = {.arrival_ns = at_ns, .ts = i * STEP, .seq = (uint16_t)i};
        rtp_jitter_buffer_in(&run.b, &in, &dropped);
        while (rtp_jitter_buffer_next(&run.b, at_ns, &e))
            ;
    }
    CHECK_EQ(rtp_jitter_buffer_delay_ns(&run.b), 60 * MS);
    for (; i < 300 + 255 + 50; i++) {
        at_ns = SECOND + i * PTIME_NS;
        rtp_jitter_buffer_in_t in = {.arrival_ns = at_ns, .ts = i * STEP, .seq = (uint16_t)i};
        rtp_jitter_buffer_in(&run.b, &in, &dropped);
        while (rtp_jitter_buffer_next(&run.b, at_ns, &e))
            ;
    }
    CHECK(llabs((long long)(rtp_jitter_buffer_delay_ns(&run.b) - 50 * MS)) < MS);
}

/* A sender whose clock is off by ppm for ten minutes, over a path with jitter. */
static void play_skewed(double ppm, uint64_t seed)
{
    rt_random_t r;
    rtp_jitter_buffer_config_t c = {.clock_rate = RATE, .percentile = 1.0};
    rt_random_init(&r, seed);
    begin(&c);
    for (uint32_t i = 0; i < 30000; i++) {
        int64_t sent_ns = (int64_t)((double)(i * PTIME_NS) * (1 + ppm * 1e-6));
        send_at((uint16_t)i, i * STEP, SECOND + sent_ns + (int64_t)(rt_random_unit(&r) * 5e6));
    }
    play_all();
}

static void test_clock_skew_is_measured_and_taken_out(void)
{
    static const double skews[] = {-500, -50, 0, 50, 500};
    for (unsigned k = 0; k < 5; k++) {
        play_skewed(skews[k], k + 1);
        double off = rtp_jitter_buffer_skew_ppm(&run.b) - skews[k];
        CHECK(off > -10 && off < 10);
        CHECK(run.b.counters.late < 150);
        CHECK_EQ(run.b.counters.overflow, 0);
        CHECK_EQ(run.b.counters.resyncs, 0);
        /* 600 s at 500 ppm are 300 ms: without compensation the delay would be far away. */
        CHECK(rtp_jitter_buffer_delay_ns(&run.b) < 8 * MS);
        CHECK(run.most_held <= 4);
    }
}

static void test_slower_path_is_followed_at_once(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 3000; i++) {
        int64_t more_ns = i >= 1500 ? 80 * MS : 0;
        send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS + more_ns);
    }
    play_all();
    /* Late until the percentile sees it: 2 % of 256. */
    CHECK(run.b.counters.late <= 6);
    CHECK_EQ(run.b.counters.resyncs, 0);
    CHECK(fabs(rtp_jitter_buffer_skew_ppm(&run.b)) < 5);
    CHECK(rtp_jitter_buffer_delay_ns(&run.b) < 6 * MS);
}

static void test_path_slower_than_the_delay_may_follow_resynchronises(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 1000; i++) {
        int64_t more_ns = i >= 500 ? 700 * MS : 0;
        send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS + more_ns);
    }
    play_all();
    CHECK_EQ(run.resyncs, 1);
    CHECK(run.b.counters.late >= 45 && run.b.counters.late <= 55);
    CHECK(run.frames >= 940);
}

static void test_stalled_path_costs_only_what_it_held_up(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 1000; i++) {
        int64_t at_ns = SECOND + i * PTIME_NS;
        int64_t open_ns = SECOND + 575 * PTIME_NS;
        if (i >= 500 && at_ns < open_ns)
            at_ns = open_ns;
        send_at((uint16_t)i, i * STEP, at_ns);
    }
    play_all();
    CHECK_EQ(run.resyncs, 0);
    CHECK_EQ(run.b.counters.lost, 0);
    CHECK(run.b.counters.late > 60 && run.b.counters.late <= 75);
    CHECK_EQ(run.frames + run.b.counters.late, 1000);
    CHECK(run.b.counters.concealed_ns >= run.b.counters.late * (uint64_t)PTIME_NS - (uint64_t)MS);
}

static void test_timestamp_jump_resynchronises_and_loses_nothing(void)
{
    static const uint32_t jumps[] = {1000000, (uint32_t)-1000000, 0x80000000u};
    for (unsigned k = 0; k < 3; k++) {
        begin(&plain);
        for (uint32_t i = 0; i < 1000; i++)
            send_at((uint16_t)i, i * STEP + (i >= 500 ? jumps[k] : 0), SECOND + i * PTIME_NS);
        play_all();
        CHECK_EQ(run.resyncs, 1);
        CHECK_EQ(run.frames, 1000);
        CHECK_EQ(run.b.counters.lost, 0);
        CHECK_EQ(run.last_resync.ts, 500 * STEP + jumps[k]);
        CHECK_EQ(run.last_resync.ts_span, (int32_t)(jumps[k] + STEP));
    }
}

static void test_restart_of_the_sender_resynchronises(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 500; i++)
        send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS);
    for (uint32_t i = 0; i < 500; i++)
        send_at((uint16_t)(40000 + i), 777 + i * STEP, SECOND + (500 + i) * PTIME_NS);
    play_all();
    CHECK_EQ(run.resyncs, 1);
    CHECK_EQ(run.frames, 1000);
    CHECK_EQ((uint16_t)run.last_resync.seq, 40000);
}

static void test_announced_restart_needs_no_proof(void)
{
    begin(&plain);
    rtp_jitter_buffer_dropped_t dropped;
    rtp_jitter_buffer_event_t e;
    rtp_jitter_buffer_in_t in = {.arrival_ns = SECOND, .ts = 0, .seq = 1, .item = 1};
    rtp_jitter_buffer_in(&run.b, &in, &dropped);
    rtp_jitter_buffer_restart(&run.b);
    in = (rtp_jitter_buffer_in_t){
        .arrival_ns = SECOND + PTIME_NS, .ts = 99, .seq = 50000, .item = 2};
    rtp_jitter_buffer_in(&run.b, &in, &dropped);
    CHECK_EQ(dropped.count, 0);
    CHECK(rtp_jitter_buffer_next(&run.b, SECOND + PTIME_NS, &e));
    CHECK_EQ(e.item, 1); /* of the timeline before: at once */
    CHECK(rtp_jitter_buffer_next(&run.b, SECOND + PTIME_NS, &e));
    CHECK_EQ(e.kind, RTP_JITTER_BUFFER_RESYNC);
    CHECK(!rtp_jitter_buffer_next(&run.b, SECOND + PTIME_NS, &e));
    CHECK_EQ(rtp_jitter_buffer_deadline_ns(&run.b), SECOND + PTIME_NS + 40 * MS);
    CHECK(rtp_jitter_buffer_next(&run.b, SECOND + PTIME_NS + 40 * MS, &e));
    CHECK_EQ(e.item, 2);
}

static void test_single_corrupted_packet_changes_nothing(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 1000; i++) {
        send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS);
        if (i % 100 == 50)
            send_at((uint16_t)(i * 7919), i * 0x10001u + 0x40000000u, SECOND + i * PTIME_NS + 1);
    }
    play_all();
    CHECK_EQ(run.resyncs, 0);
    CHECK_EQ(run.frames, 1000);
    CHECK_EQ(run.b.counters.discarded, 10);
    CHECK_EQ(run.b.counters.lost, 0);
}

static void test_pause_of_the_sender_is_no_loss(void)
{
    begin(&plain);
    uint16_t seq = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        if (i % 100 < 60)
            send_at(seq++, i * STEP, SECOND + i * PTIME_NS);
    }
    play_all();
    CHECK_EQ(run.frames, 600);
    CHECK_EQ(run.erased, 0);
    CHECK_EQ(run.b.counters.lost, 0);
    CHECK_EQ(run.b.counters.late, 0);
    CHECK_EQ(run.resyncs, 0);
    CHECK_EQ(run.dry, 9 * 5); /* 100 ms of 20 ms each */
    CHECK_EQ(run.b.counters.concealed_ns, 0);
    CHECK_EQ(run.b.counters.pause_ns, (uint64_t)(9 * 100 * MS));
}

/* Timestamps that hardly move, and losses between them: no flood of erasures. */
static void test_erasures_last_for_a_millisecond(void)
{
    rtp_jitter_buffer_config_t config = {.clock_rate = 90000, .conceal_ns = 100 * MS};
    begin(&config);
    for (uint32_t i = 0; i < 10; i++)
        send_at((uint16_t)i, 1 * i, i * 11 * MS / 1000);
    send_at(500, 500, 500 * 11 * MS / 1000);
    send_at(900, 500, 500 * 11 * MS / 1000 + 1);
    send_at(901, 501 + 90000, SECOND);
    play_all();
    CHECK_EQ(run.frames, 13);
    CHECK_EQ(run.erased, 490 + 399);
    CHECK(run.b.counters.erasures <= 8 + 100);
    CHECK(run.dry >= 90 && run.dry <= 100);
    check_conservation();
}

static void test_duplicates_and_stragglers_are_told_apart(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 200; i++) {
        int64_t at_ns = SECOND + i * PTIME_NS;
        if (i == 100)
            at_ns += 500 * MS;
        send_at((uint16_t)i, i * STEP, at_ns);
        if (i == 50)
            send_at((uint16_t)i, i * STEP, at_ns + 300 * MS);
        if (i == 60)
            send_at((uint16_t)i, i * STEP, at_ns);
    }
    play_all();
    CHECK_EQ(run.frames, 199);
    CHECK_EQ(run.b.counters.duplicates, 2);
    CHECK_EQ(run.b.counters.late, 1);
    CHECK_EQ(run.b.counters.lost, 0); /* it came, though late */
    CHECK_EQ(run.erased, 1);
}

static void test_repeated_packets_say_nothing_about_the_path(void)
{
    begin(&plain);
    rtp_jitter_buffer_dropped_t dropped;
    for (uint32_t i = 0; i < 64; i++) {
        if (i != 60) {
            rtp_jitter_buffer_in_t in = {
                .arrival_ns = SECOND + i * PTIME_NS, .ts = i * STEP, .seq = (uint16_t)i};
            rtp_jitter_buffer_in(&run.b, &in, &dropped);
        }
    }
    int64_t before_ns = rtp_jitter_buffer_target_ns(&run.b);
    uint32_t count = run.b.window.count;
    rtp_jitter_buffer_in_t again = {.arrival_ns = SECOND + 64 * PTIME_NS,
                                    .ts = 60 * STEP,
                                    .seq = 60,
                                    .flags = RTP_JITTER_BUFFER_NO_TIMING};
    rtp_jitter_buffer_in(&run.b, &again, &dropped);
    CHECK_EQ(run.b.window.count, count);
    CHECK_EQ(rtp_jitter_buffer_target_ns(&run.b), before_ns);
}

static void test_full_buffer_gives_up_the_oldest(void)
{
    rtp_jitter_buffer_config_t c = {
        .clock_rate = RATE, .first_delay_ns = 5 * SECOND, .max_delay_ns = 10 * SECOND};
    begin(&c);
    for (uint32_t i = 0; i < 100; i++)
        send_at((uint16_t)i, i * STEP, SECOND + i * PTIME_NS);
    play_all();
    CHECK_EQ(run.b.counters.overflow, 100 - ENTRIES);
    CHECK_EQ(run.frames, ENTRIES);
}

static void test_duplicate_far_behind_a_jump_of_numbers(void)
{
    begin(&plain);
    send_at(0, 0, SECOND);
    send_at(1, STEP, SECOND + PTIME_NS);
    send_at(2502, 2 * STEP, SECOND + PTIME_NS + 1);
    send_at(1, STEP, SECOND + PTIME_NS + 2);
    play_all();
    CHECK_EQ(run.frames, 3);
    CHECK_EQ(run.b.counters.duplicates, 1);
}

static void test_full_buffer_takes_no_older_frame(void)
{
    rtp_jitter_buffer_config_t c = {.clock_rate = RATE,
                                    .first_delay_ns = 5 * SECOND,
                                    .max_delay_ns = 10 * SECOND,
                                    .resync_ns = 10 * SECOND};
    begin(&c);
    for (uint32_t i = 0; i < ENTRIES; i++)
        send_at((uint16_t)(10 + i), (10 + i) * STEP, SECOND + i * PTIME_NS);
    send_at(5, 5 * STEP, SECOND + ENTRIES * PTIME_NS);
    play_all();
    CHECK_EQ(run.b.counters.overflow, 1);
    CHECK_EQ(run.frames, ENTRIES);
    CHECK_EQ((uint16_t)run.last_seq, 10 + ENTRIES - 1);
}

static void test_restarts_in_quick_succession(void)
{
    begin(&plain);
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t life = i / 3; /* each restarted before anything of it was played */
        send_at((uint16_t)(life * 5000 + i), life * 9999999 + i * STEP, SECOND + i * MS);
    }
    play_all();
    CHECK_EQ(run.b.counters.lost, 0);
    CHECK(run.frames + run.b.counters.discarded + run.b.counters.late == 300);
    CHECK(run.frames > 250);
}

/* Anything at all: nothing is lost track of, order holds, and it always comes to rest. */
static void test_random_streams_conserve(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 1000);
    (void)printf("seed %" PRIu64 ", %" PRIu64 " rounds\n", seed, rounds);
    for (uint64_t round = 0; round < rounds; round++) {
        rt_random_t r;
        rt_random_init(&r, seed + round);
        rtp_jitter_buffer_config_t c = {
            .clock_rate = 1 + rt_random_below(&r, 96000),
            .mode =
                rt_random_chance(&r, 0.5) ? RTP_JITTER_BUFFER_DEADLINE : RTP_JITTER_BUFFER_IN_ORDER,
            .percentile = 0.5 + rt_random_unit(&r) / 2,
            .min_delay_ns = rt_random_chance(&r, 0.5) ? -1 : 0,
            .conceal_ns = rt_random_chance(&r, 0.5) ? -1 : 0,
        };
        double loss = rt_random_unit(&r) * 0.3;
        double twice = rt_random_unit(&r) * 0.2;
        double wild = rt_random_chance(&r, 0.5) ? 0.02 : 0;
        double signals = rt_random_unit(&r) * 0.2;
        double mean_ns = rt_random_unit(&r) * 5e7;
        uint16_t seq = (uint16_t)rt_random_next(&r);
        uint32_t ts = (uint32_t)rt_random_next(&r);
        int64_t at_ns = SECOND;
        begin(&c);
        for (unsigned i = 0; i < 1000; i++) {
            seq++;
            ts += c.clock_rate / 50;
            at_ns += PTIME_NS;
            if (rt_random_chance(&r, 0.002))
                seq = (uint16_t)(seq + rt_random_next(&r));
            if (rt_random_chance(&r, 0.002))
                ts += (uint32_t)rt_random_next(&r);
            if (rt_random_chance(&r, 0.002))
                at_ns += (int64_t)rt_random_below(&r, 3000) * MS;
            if (rt_random_chance(&r, loss))
                continue;
            send_at(seq, ts, at_ns + jitter_ns(&r, mean_ns));
            if (rt_random_chance(&r, twice))
                send_at(seq, ts, at_ns + jitter_ns(&r, mean_ns));
            if (rt_random_chance(&r, wild))
                send_at((uint16_t)rt_random_next(&r), (uint32_t)rt_random_next(&r), at_ns);
            if (rt_random_chance(&r, signals))
                run.is_signal[run.count - 1] = true;
        }
        play_all();
    }
}

int main(void)
{
    RUN(test_bad_configurations_are_refused);
    RUN(test_steady_stream_is_played_on_its_grid);
    RUN(test_in_order_mode_waits_for_nothing_but_gaps);
    RUN(test_one_loss_leaves_no_trace);
    RUN(test_telephone_events_pass_by_the_playout);
    RUN(test_signals_are_in_order_and_wait_for_no_frame);
    RUN(test_a_signal_with_a_number_far_off_changes_no_timing);
    RUN(test_stated_share_is_in_time);
    RUN(test_first_packets_that_come_early_do_not_fix_the_delay);
    RUN(test_a_path_that_stalls_at_first_does_not_fix_the_delay);
    RUN(test_delay_stays_within_its_bounds);
    RUN(test_delay_grows_at_once_and_shrinks_slowly);
    RUN(test_clock_skew_is_measured_and_taken_out);
    RUN(test_slower_path_is_followed_at_once);
    RUN(test_path_slower_than_the_delay_may_follow_resynchronises);
    RUN(test_stalled_path_costs_only_what_it_held_up);
    RUN(test_timestamp_jump_resynchronises_and_loses_nothing);
    RUN(test_restart_of_the_sender_resynchronises);
    RUN(test_announced_restart_needs_no_proof);
    RUN(test_single_corrupted_packet_changes_nothing);
    RUN(test_pause_of_the_sender_is_no_loss);
    RUN(test_erasures_last_for_a_millisecond);
    RUN(test_duplicates_and_stragglers_are_told_apart);
    RUN(test_repeated_packets_say_nothing_about_the_path);
    RUN(test_full_buffer_gives_up_the_oldest);
    RUN(test_duplicate_far_behind_a_jump_of_numbers);
    RUN(test_full_buffer_takes_no_older_frame);
    RUN(test_restarts_in_quick_succession);
    RUN(test_random_streams_conserve);
    return rt_test_result();
}
