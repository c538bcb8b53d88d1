/* The session clause by clause, in virtual time. */
#include "proto/netflux/nfx_session.h"

#include "base/rt_err.h"
#include "rt_test.h"

#include <errno.h>

#define US RT_NS_PER_US
#define MS RT_NS_PER_MS

static nfx_session_t s;
static nfx_stats_t stats;
static nfx_out_t out;
static nfx_frame_t frame;
static nfx_event_t event;

static uint64_t count(nfx_counter_id_t id)
{
    return rt_load_relaxed(&stats.counters[id]);
}

static uint64_t gauge(nfx_gauge_id_t id)
{
    return rt_load_relaxed(&stats.gauges[id]);
}

static uint64_t samples(nfx_hist_id_t id)
{
    return rt_load_relaxed(&stats.hists[id].count);
}

static double mean_ns(nfx_hist_id_t id)
{
    return (double)rt_load_relaxed(&stats.hists[id].sum_ns) / (double)samples(id);
}

/* 1 ms cycle, 30 ms watchdog, 4 bytes of payload from the partner; then what change says. */
static void begin_with(const nfx_config_t *config)
{
    memset(&stats, 0, sizeof stats);
    CHECK_EQ(nfx_session_init(&s, config, &stats), 0);
}

static const nfx_config_t USUAL = {.rx_payload_bytes = 4, .cycle_ns = MS, .watch_ns = 30 * MS};

static void begin(void)
{
    begin_with(&USUAL);
}

static nfx_verdict_t receive_at(unsigned number, unsigned feedback, int64_t at_ns)
{
    const uint8_t data[6] = {(uint8_t)number, (uint8_t)feedback, 'd', 'a', 't', 'a'};
    return nfx_session_receive(&s, data, sizeof data, at_ns, at_ns, &frame);
}

static bool send_at(int64_t now_ns)
{
    if (nfx_session_emit(&s, &out, now_ns) == 0)
        return false;
    nfx_session_sent(&s, now_ns);
    return true;
}

static bool next_is(nfx_event_kind_t kind, int64_t at_ns)
{
    return CHECK_EQ(nfx_session_next_event(&s, &event), 1) && CHECK_EQ(event.kind, kind) &&
           CHECK_EQ(event.at_ns, at_ns);
}

static bool no_event(void)
{
    return nfx_session_next_event(&s, &event) == 0;
}

/* --- numbers and feedback ------------------------------------------------------------------ */

static void test_numbers_start_at_1_and_wrap(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    for (int i = 0; i < 600; i++) {
        CHECK(send_at(i * MS));
        CHECK_EQ(out.header[0], (uint8_t)(i + 1));
        CHECK_EQ(out.header[1], 0);
        CHECK_EQ(gauge(NFX_GAUGE_own_number), (uint8_t)(i + 1));
    }
    CHECK_EQ(count(NFX_COUNT_sent), 600);
}

static void test_feedback_is_what_was_accepted_at_the_moment_of_sending(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(0));
    CHECK_EQ(out.header[1], 0);
    CHECK_EQ(receive_at(9, 0, MS - 1), NFX_FIRST);
    CHECK(send_at(MS));
    CHECK_EQ(out.header[1], 9);
    CHECK_EQ(receive_at(8, 0, 2 * MS - 2), NFX_OLD); /* received, not accepted */
    CHECK(send_at(2 * MS));
    CHECK_EQ(out.header[1], 9);
    CHECK_EQ(gauge(NFX_GAUGE_received_number), 8);
    CHECK_EQ(gauge(NFX_GAUGE_partner_number), 9);
}

static void test_a_send_that_fails_uses_up_no_number(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(0));
    CHECK_EQ(nfx_session_emit(&s, &out, MS), 1);
    CHECK_EQ(out.header[0], 2);
    nfx_session_not_sent(&s);
    nfx_session_sent(&s, MS); /* nothing is waiting for it */
    CHECK_EQ(nfx_session_emit(&s, &out, MS), 0);
    CHECK_EQ(nfx_session_deadline_ns(&s), 2 * MS);
    CHECK(send_at(2 * MS));
    CHECK_EQ(out.header[0], 2);
    CHECK_EQ(count(NFX_COUNT_sent), 2);
    CHECK_EQ(count(NFX_COUNT_send_failed), 1);
}

static void test_the_first_datagram_may_have_number_0(void)
{
    begin();
    CHECK_EQ(receive_at(0, 0, 0), NFX_FIRST);
    CHECK_EQ(receive_at(0, 0, MS), NFX_REPEATED);
    CHECK_EQ(receive_at(1, 0, MS), NFX_ACCEPTED);
    CHECK_EQ(count(NFX_COUNT_accepted), 2);
    CHECK_EQ(count(NFX_COUNT_rejected_repeated), 1);
}

static void test_sizes(void)
{
    begin();
    uint8_t data[NFX_MAX_DATAGRAM_BYTES + 1] = {1, 2, 'd', 'a', 't', 'a', 'x'};
    for (size_t size = 0; size < 6; size++)
        CHECK_EQ(nfx_session_receive(&s, data, size, 0, 0, &frame), NFX_SHORT);
    CHECK_EQ(count(NFX_COUNT_rejected_short), 6);
    CHECK_EQ(count(NFX_COUNT_accepted), 0);
    CHECK(!s.alive.is);
    CHECK_EQ(nfx_session_receive(&s, data, 6, 0, 0, &frame), NFX_FIRST);
    CHECK_EQ(count(NFX_COUNT_oversize), 0);
    data[0]++;
    CHECK_EQ(nfx_session_receive(&s, data, sizeof data, 0, 0, &frame), NFX_ACCEPTED);
    CHECK_EQ(count(NFX_COUNT_oversize), 1);
    CHECK(frame.payload == data + 2);
    CHECK_EQ(frame.payload_bytes, 4);
    CHECK_EQ(nfx_session_receive(&s, data, sizeof data, 0, 0, &frame), NFX_REPEATED);
    CHECK_EQ(count(NFX_COUNT_oversize), 1);
}

/* --- sending ------------------------------------------------------------------------------- */

static void test_the_grid_is_absolute(void)
{
    begin();
    nfx_session_start_sending(&s, 10 * MS, 0);
    CHECK_EQ(nfx_session_deadline_ns(&s), 10 * MS);
    CHECK(!send_at(10 * MS - 1));
    for (int64_t k = 10; k < 1000; k++) {
        CHECK_EQ(nfx_session_send_due_ns(&s), k * MS);
        CHECK(send_at(k * MS + k % 10 * 90 * US));
        CHECK_EQ(out.due_ns, k * MS);
    }
    CHECK_EQ(samples(NFX_HIST_own_interval), 989);
    CHECK(mean_ns(NFX_HIST_own_interval) > 0.999e6 && mean_ns(NFX_HIST_own_interval) < 1.001e6);
    CHECK_EQ(count(NFX_COUNT_skipped), 0);
}

static void test_behind_a_stall_it_skips_and_never_bursts(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(0));
    CHECK(send_at(7 * MS + 300 * US));
    CHECK_EQ(out.header[0], 2);
    CHECK_EQ(out.due_ns, 7 * MS);
    CHECK(!send_at(7 * MS + 300 * US));
    CHECK_EQ(count(NFX_COUNT_skipped), 6);
    CHECK_EQ(nfx_session_deadline_ns(&s), 8 * MS);
    CHECK_EQ(rt_load_relaxed(&stats.hists[NFX_HIST_own_interval].max_ns), 7 * MS + 300 * US);
}

static void test_an_origin_in_the_past_gives_the_grid_its_phase(void)
{
    begin();
    nfx_session_start_sending(&s, 250 * US, 10 * MS);
    CHECK_EQ(nfx_session_send_due_ns(&s), 10 * MS + 250 * US);
    CHECK_EQ(count(NFX_COUNT_skipped), 0);
}

static void test_stopped_and_started_numbers_go_on(void)
{
    begin();
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS);
    CHECK(!send_at(0));
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(0));
    nfx_session_stop_sending(&s);
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS);
    CHECK(!send_at(50 * MS));
    nfx_session_start_sending(&s, 60 * MS, 60 * MS);
    CHECK(send_at(60 * MS));
    CHECK_EQ(out.header[0], 2);
    CHECK_EQ(samples(NFX_HIST_own_interval), 0);
    CHECK_EQ(count(NFX_COUNT_skipped), 0);
}

static void test_a_clock_that_goes_back_stands_still(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(5 * MS));
    CHECK(!send_at(4 * MS));
    CHECK_EQ(receive_at(1, 0, 2 * MS), NFX_FIRST);
    CHECK_EQ(receive_at(2, 0, 1 * MS), NFX_ACCEPTED);
    CHECK_EQ(rt_load_relaxed(&stats.hists[NFX_HIST_gap].max_ns), 0);
    CHECK_EQ(nfx_session_deadline_ns(&s), 6 * MS);
}

/* --- watchdog ------------------------------------------------------------------------------ */

static void test_the_watchdog_is_exact(void)
{
    begin();
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS); /* nothing to lose yet */
    CHECK_EQ(receive_at(1, 0, 7 * MS), NFX_FIRST);
    CHECK(next_is(NFX_EVENT_ALIVE, 7 * MS));
    CHECK_EQ(nfx_session_deadline_ns(&s), 37 * MS);
    CHECK_EQ(nfx_session_emit(&s, &out, 37 * MS - 1), 0);
    CHECK(no_event());
    CHECK_EQ(nfx_session_emit(&s, &out, 37 * MS), 0);
    CHECK(next_is(NFX_EVENT_TIMEOUT, 37 * MS));
    CHECK_EQ(count(NFX_COUNT_timeouts), 1);
    CHECK_EQ(gauge(NFX_GAUGE_alive), 0);
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS);
}

static void test_useless_datagrams_neither_feed_nor_starve_it(void)
{
    begin();
    CHECK_EQ(receive_at(5, 0, 0), NFX_FIRST);
    for (int64_t at_ns = MS; at_ns < 30 * MS; at_ns += MS) {
        CHECK_EQ(receive_at(5, 0, at_ns), NFX_REPEATED);
        CHECK_EQ(receive_at(4, 0, at_ns), NFX_OLD);
        CHECK_EQ(nfx_session_receive(&s, "\6\0dat", 5, at_ns, at_ns, &frame), NFX_SHORT);
        CHECK_EQ(nfx_session_deadline_ns(&s), 30 * MS);
    }
    CHECK(s.alive.is);
    CHECK_EQ(nfx_session_receive(&s, "", 0, 30 * MS, 30 * MS, &frame), NFX_SHORT);
    CHECK(!s.alive.is);
    CHECK_EQ(s.alive.since_ns, 30 * MS);
}

static void test_recovery_clears_the_flag_at_once(void)
{
    begin();
    CHECK_EQ(receive_at(1, 0, 0), NFX_FIRST);
    CHECK(next_is(NFX_EVENT_ALIVE, 0));
    (void)nfx_session_emit(&s, &out, 40 * MS);
    CHECK(next_is(NFX_EVENT_TIMEOUT, 30 * MS));
    CHECK_EQ(receive_at(200, 0, 41 * MS), NFX_FIRST);
    CHECK_EQ(gauge(NFX_GAUGE_alive), 1);
    CHECK(next_is(NFX_EVENT_ALIVE, 41 * MS));
    CHECK(no_event());
    CHECK_EQ(count(NFX_COUNT_partner_lost), 0);
    CHECK_EQ(samples(NFX_HIST_gap), 0);
}

static void test_a_stalled_worker_does_not_accuse_the_partner(void)
{
    begin();
    CHECK_EQ(receive_at(1, 0, 0), NFX_FIRST);
    /* back after 50 ms, it finds what came at 20 and at 45 ms */
    const uint8_t second[] = {2, 0, 'd', 'a', 't', 'a'};
    const uint8_t third[] = {3, 0, 'd', 'a', 't', 'a'};
    CHECK_EQ(nfx_session_receive(&s, second, 6, 20 * MS, 50 * MS, &frame), NFX_ACCEPTED);
    CHECK_EQ(nfx_session_receive(&s, third, 6, 45 * MS, 50 * MS, &frame), NFX_ACCEPTED);
    CHECK_EQ(nfx_session_emit(&s, &out, 50 * MS), 0);
    CHECK_EQ(count(NFX_COUNT_timeouts), 0);
    CHECK_EQ(nfx_session_deadline_ns(&s), 75 * MS);
    CHECK_EQ(rt_load_relaxed(&stats.hists[NFX_HIST_gap].max_ns), 25 * MS);
}

static void test_a_gap_that_was_too_long_counts_though_found_late(void)
{
    begin();
    CHECK_EQ(receive_at(1, 0, 0), NFX_FIRST);
    const uint8_t second[] = {2, 0, 'd', 'a', 't', 'a'};
    CHECK_EQ(nfx_session_receive(&s, second, 6, 31 * MS, 50 * MS, &frame), NFX_FIRST);
    CHECK_EQ(count(NFX_COUNT_timeouts), 1);
    CHECK(next_is(NFX_EVENT_ALIVE, 31 * MS)); /* the time-out between is not told */
    CHECK(no_event());
}

static void test_arrival_stamps_are_not_believed_beyond_now(void)
{
    begin();
    const uint8_t data[] = {1, 0, 'd', 'a', 't', 'a'};
    CHECK_EQ(nfx_session_receive(&s, data, 6, 99 * MS, 10 * MS, &frame), NFX_FIRST);
    CHECK_EQ(nfx_session_deadline_ns(&s), 40 * MS);
}

static void test_without_a_watchdog_alive_is_for_ever(void)
{
    begin_with(&(nfx_config_t){.cycle_ns = MS});
    CHECK_EQ(receive_at(1, 0, 0), NFX_FIRST);
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS);
    (void)nfx_session_emit(&s, &out, RT_NS_PER_S * 1000);
    CHECK(s.alive.is);
}

static void test_behind_a_time_out_the_next_is_the_first_but_a_repeat(void)
{
    begin();
    CHECK_EQ(receive_at(100, 0, 0), NFX_FIRST);
    CHECK_EQ(receive_at(100, 0, 50 * MS), NFX_REPEATED);
    CHECK(!s.alive.is);
    CHECK_EQ(receive_at(20, 0, 51 * MS), NFX_FIRST);
    CHECK_EQ(receive_at(19, 0, 51 * MS), NFX_OLD);
    CHECK_EQ(count(NFX_COUNT_firsts), 2);
}

static void test_a_kept_window_goes_on_behind_a_time_out(void)
{
    nfx_config_t config = USUAL;
    config.keep_window = true;
    begin_with(&config);
    CHECK_EQ(receive_at(100, 0, 0), NFX_FIRST);
    CHECK_EQ(receive_at(20, 0, 51 * MS), NFX_OLD);
    CHECK_EQ(receive_at(150, 0, 52 * MS), NFX_ACCEPTED);
    CHECK_EQ(count(NFX_COUNT_timeouts), 1);
    CHECK_EQ(count(NFX_COUNT_partner_lost), 0); /* numbers may have wrapped meanwhile */
    CHECK_EQ(receive_at(152, 0, 53 * MS), NFX_ACCEPTED);
    CHECK_EQ(count(NFX_COUNT_partner_lost), 1);
}

static void test_reception_stops_without_a_time_out(void)
{
    begin();
    CHECK_EQ(receive_at(1, 0, 0), NFX_FIRST);
    CHECK(next_is(NFX_EVENT_ALIVE, 0));
    nfx_session_stop_receiving(&s);
    CHECK(no_event());
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS);
    CHECK_EQ(gauge(NFX_GAUGE_alive), 0);
    CHECK_EQ(receive_at(9, 0, 100 * MS), NFX_FIRST);
    CHECK(next_is(NFX_EVENT_ALIVE, 100 * MS));
    CHECK_EQ(count(NFX_COUNT_timeouts), 0);
    CHECK_EQ(samples(NFX_HIST_gap), 0);
}

/* --- the partner hears us ------------------------------------------------------------------ */

static void test_heard_follows_new_feedback(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(0));
    CHECK_EQ(receive_at(1, 0, 0), NFX_FIRST);
    CHECK_EQ(receive_at(2, 1, 500 * US), NFX_ACCEPTED);
    CHECK(s.heard.is);
    CHECK(next_is(NFX_EVENT_ALIVE, 0));
    CHECK(next_is(NFX_EVENT_HEARD, 500 * US));
    CHECK(no_event());
    /* It goes on sending, and repeats what it heard last: it is deaf. */
    for (int i = 1; i <= 600; i++) {
        (void)send_at(i * MS);
        CHECK_EQ(receive_at((unsigned)i + 2, 1, i * MS), NFX_ACCEPTED);
        CHECK_EQ(s.heard.is, i <= 30);
    }
    CHECK(next_is(NFX_EVENT_UNHEARD, 30 * MS + 500 * US));
    CHECK_EQ(count(NFX_COUNT_unheard), 1);
    CHECK(s.alive.is);
    CHECK_EQ(count(NFX_COUNT_acknowledged), 1);
    (void)send_at(601 * MS);
    CHECK_EQ(receive_at(603, 602 % 256, 602 * MS), NFX_ACCEPTED);
    CHECK(next_is(NFX_EVENT_HEARD, 602 * MS));
}

static void test_heard_has_an_interval_of_its_own(void)
{
    nfx_config_t config = USUAL;
    config.hear_ns = 10 * MS;
    begin_with(&config);
    nfx_session_start_sending(&s, 0, 0);
    (void)send_at(0);
    (void)receive_at(1, 0, 0);
    (void)receive_at(2, 1, MS / 2);
    nfx_session_stop_sending(&s);
    CHECK_EQ(nfx_session_deadline_ns(&s), 10 * MS + MS / 2);

    /* by default it bears three cycles of ours */
    config = USUAL;
    config.cycle_ns = 20 * MS;
    begin_with(&config);
    CHECK_EQ(s.config.hear_ns, 60 * MS);
    config.watch_ns = 0;
    begin_with(&config);
    CHECK_EQ(s.config.hear_ns, 0);
}

static void test_the_feedback_of_a_first_datagram_is_of_an_earlier_life(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    for (int i = 0; i < 10; i++)
        (void)send_at(i * MS);
    CHECK_EQ(receive_at(77, 5, 10 * MS), NFX_FIRST);
    CHECK(!s.heard.is);
    CHECK_EQ(gauge(NFX_GAUGE_feedback_number), 5);
    CHECK_EQ(receive_at(78, 10, 10 * MS), NFX_ACCEPTED);
    CHECK(s.heard.is);
}

/* --- statistics ---------------------------------------------------------------------------- */

static void test_round_trips(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    (void)receive_at(1, 0, 0);
    for (int i = 0; i < 1000; i++) {
        CHECK(send_at(i * MS));
        CHECK_EQ(receive_at((unsigned)i + 2, out.header[0], i * MS + 400 * US), NFX_ACCEPTED);
        CHECK_EQ(gauge(NFX_GAUGE_last_rtt_ns), 400 * US);
    }
    CHECK_EQ(samples(NFX_HIST_rtt), 1000);
    CHECK_EQ(count(NFX_COUNT_acknowledged), 1000);
    CHECK_EQ(count(NFX_COUNT_passed_over), 0);
    CHECK_EQ(count(NFX_COUNT_ack_lost), 0);
    CHECK_EQ(rt_hist_quantile_ns(&stats.hists[NFX_HIST_rtt], 0.5), 400 * US);
}

/* One in ten of the partner's is lost, over many wraps: losses are exact, and its cycle too. */
static void test_partner_losses_and_intervals(void)
{
    begin();
    for (int i = 0; i < 10000; i++) {
        if (i % 10 != 5)
            CHECK(receive_at((unsigned)i + 1, 0, i * 5 * MS) >= 0);
    }
    CHECK_EQ(count(NFX_COUNT_accepted), 9000);
    CHECK_EQ(count(NFX_COUNT_partner_lost), 1000);
    CHECK_EQ(mean_ns(NFX_HIST_partner_interval) / 1e6, 5);
    CHECK_EQ(rt_load_relaxed(&stats.hists[NFX_HIST_partner_interval].max_ns), 5 * MS);
    CHECK_EQ(rt_load_relaxed(&stats.hists[NFX_HIST_gap].max_ns), 10 * MS);
    CHECK(mean_ns(NFX_HIST_gap) > 5.5e6);
}

static void test_the_longest_gap_of_numbers_that_is_understood(void)
{
    begin();
    (void)receive_at(1, 0, 0);
    CHECK_EQ(receive_at(128, 0, MS), NFX_ACCEPTED);
    CHECK_EQ(count(NFX_COUNT_partner_lost), 126);
    CHECK_EQ(receive_at(128 + 128, 0, MS), NFX_OLD);
    CHECK_EQ(count(NFX_COUNT_partner_lost), 126);
}

static void test_unequal_rates_lose_no_acknowledgement(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    (void)receive_at(0, 0, 0);
    for (int i = 0; i < 2000; i++) {
        CHECK(send_at(i * MS));
        if (i % 4 == 3) /* the partner's cycle is four of ours */
            CHECK(receive_at((unsigned)i / 4 + 1, out.header[0], i * MS + 1) >= 0);
    }
    CHECK_EQ(count(NFX_COUNT_acknowledged), 500);
    CHECK_EQ(count(NFX_COUNT_passed_over), 1500);
    CHECK_EQ(count(NFX_COUNT_ack_lost), 0);
}

static void test_acknowledgements_that_never_come_are_lost(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    for (int i = 0; i < 1000; i++)
        CHECK(send_at(i * MS));
    CHECK_EQ(count(NFX_COUNT_ack_lost), 1000 - 256);
}

static void test_reset_leaves_what_is(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    (void)receive_at(7, 0, 0);
    (void)send_at(0);
    (void)send_at(MS);
    nfx_session_foreign(&s, 1);
    CHECK_EQ(count(NFX_COUNT_rejected_foreign), 1);
    nfx_stats_reset(&stats);
    for (unsigned i = 0; i < NFX_COUNTER_TOTAL; i++)
        CHECK_EQ(count((nfx_counter_id_t)i), 0);
    for (unsigned i = 0; i < NFX_HIST_TOTAL; i++)
        CHECK_EQ(samples((nfx_hist_id_t)i), 0);
    CHECK_EQ(gauge(NFX_GAUGE_alive), 1);
    CHECK_EQ(gauge(NFX_GAUGE_partner_number), 7);
    CHECK_EQ(gauge(NFX_GAUGE_partner_known), 1);
    CHECK_EQ(gauge(NFX_GAUGE_own_number), 2);
    CHECK_EQ(gauge(NFX_GAUGE_last_sent_mono_ns), MS);
}

static void test_a_successor_goes_on(void)
{
    begin();
    nfx_past_t past = {.own_number = 254,
                       .partner_number = 9,
                       .partner_known = true,
                       .alive = true,
                       .fresh = true,
                       .last_accepted_ns = 90 * MS};
    nfx_session_go_on(&s, &past, 100 * MS);
    CHECK(no_event());
    CHECK_EQ(gauge(NFX_GAUGE_alive), 1);
    nfx_session_start_sending(&s, 100 * MS, 100 * MS);
    CHECK(send_at(100 * MS));
    CHECK_EQ(out.header[0], 255);
    CHECK_EQ(out.header[1], 9);
    CHECK_EQ(receive_at(8, 0, 100 * MS), NFX_OLD);
    CHECK_EQ(receive_at(9, 0, 100 * MS), NFX_REPEATED);
    CHECK_EQ(receive_at(12, 200, 100 * MS), NFX_ACCEPTED); /* 10 and 11 came while nobody lived */
    CHECK_EQ(count(NFX_COUNT_partner_lost), 2);
    CHECK_EQ(samples(NFX_HIST_gap), 1);
    CHECK(!s.heard.is);
    CHECK_EQ(receive_at(13, 255, 101 * MS), NFX_ACCEPTED);
    CHECK(s.heard.is);
    CHECK(next_is(NFX_EVENT_HEARD, 101 * MS));
    CHECK(no_event());

    begin();
    nfx_session_go_on(&s, &(nfx_past_t){.partner_number = 99, .fresh = true}, 0);
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(0));
    CHECK_EQ(out.header[0], 1);
    CHECK_EQ(out.header[1], 0);
    CHECK_EQ(receive_at(99, 0, 0), NFX_FIRST);
}

static void test_a_successor_finds_the_partner_dead(void)
{
    nfx_past_t past = {.partner_number = 9,
                       .partner_known = true,
                       .alive = true,
                       .heard = true,
                       .fresh = true,
                       .last_accepted_ns = 90 * MS};
    begin();
    nfx_session_go_on(&s, &past, 100 * MS);
    CHECK(no_event());
    CHECK_EQ(nfx_session_deadline_ns(&s), 120 * MS);
    CHECK(!send_at(120 * MS));
    CHECK(next_is(NFX_EVENT_TIMEOUT, 120 * MS));
    CHECK(next_is(NFX_EVENT_UNHEARD, 120 * MS));
    CHECK_EQ(count(NFX_COUNT_timeouts), 1);

    /* dead already when its predecessor was: nothing is told twice, and its numbers start anew */
    past.alive = past.heard = false;
    begin();
    nfx_session_go_on(&s, &past, 100 * MS);
    CHECK(!send_at(1000 * MS));
    CHECK(no_event());
    CHECK_EQ(receive_at(200, 0, 1000 * MS), NFX_FIRST);
    CHECK_EQ(count(NFX_COUNT_timeouts), 0);

    /* a gauge that somebody scribbled over */
    past = (nfx_past_t){
        .partner_known = true, .alive = true, .fresh = true, .last_accepted_ns = INT64_MAX};
    begin();
    nfx_session_go_on(&s, &past, 100 * MS);
    CHECK_EQ(nfx_session_deadline_ns(&s), 130 * MS);
    past.last_accepted_ns = INT64_MIN;
    begin();
    nfx_session_go_on(&s, &past, 100 * MS);
    CHECK(!send_at(100 * MS));
    CHECK(!s.alive.is);
}

static void test_a_successor_knows_that_values_are_stale(void)
{
    nfx_config_t config = USUAL;
    config.on_stale = NFX_STALE_FAILSAFE;
    begin_with(&config);
    nfx_session_go_on(&s, &(nfx_past_t){.own_number = 4}, 100 * MS);
    nfx_session_refreshed(&s, 90 * MS, 100 * MS); /* a later owner's */
    CHECK(next_is(NFX_EVENT_FRESH, 90 * MS));

    begin_with(&config);
    nfx_session_go_on(&s, &(nfx_past_t){.own_number = 4}, 100 * MS);
    nfx_session_start_sending(&s, 100 * MS, 100 * MS);
    CHECK(send_at(100 * MS));
    CHECK_EQ(out.source, NFX_FAILSAFE);
    CHECK_EQ(out.header[0], 5);
    CHECK(no_event());
    CHECK_EQ(count(NFX_COUNT_stale), 0); /* its predecessor's counter has it */
}

/* --- another configuration ----------------------------------------------------------------- */

static void change(nfx_config_t config, int64_t now_ns)
{
    CHECK_EQ(nfx_session_reconfigure(&s, &config, now_ns), 0);
}

static void test_another_cycle_goes_on_from_the_last_instant(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    for (int i = 0; i < 3; i++)
        CHECK(send_at(i * MS));
    nfx_config_t config = USUAL;
    config.cycle_ns = 5 * MS;
    change(config, 2 * MS + 1);
    CHECK_EQ(nfx_session_send_due_ns(&s), 7 * MS);
    CHECK(!send_at(7 * MS - 1));
    CHECK(send_at(7 * MS));
    CHECK(send_at(12 * MS));
    config.cycle_ns = 250 * US;
    change(config, 14 * MS + 1); /* what lies behind is not made up for, and was not skipped */
    CHECK(!send_at(14 * MS + 1));
    CHECK(send_at(14 * MS + 250 * US));
    CHECK_EQ(count(NFX_COUNT_skipped), 0);
    CHECK_EQ(count(NFX_COUNT_sent), 6);

    /* before the first, and while nothing is sent */
    begin();
    change(config, 0);
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(0));
    CHECK(send_at(250 * US));
}

static void test_another_watchdog_counts_from_the_last_datagram(void)
{
    begin();
    CHECK_EQ(receive_at(1, 0, 0), NFX_FIRST);
    nfx_config_t config = USUAL;
    config.watch_ns = 50 * MS;
    change(config, 20 * MS);
    CHECK_EQ(nfx_session_deadline_ns(&s), 50 * MS);
    config.watch_ns = 10 * MS; /* over already: now */
    change(config, 20 * MS);
    CHECK_EQ(nfx_session_deadline_ns(&s), 20 * MS);
    CHECK(!send_at(20 * MS));
    CHECK_EQ(count(NFX_COUNT_timeouts), 1);
    CHECK_EQ(receive_at(2, 0, 21 * MS), NFX_FIRST);
    config.watch_ns = 0;
    change(config, 22 * MS);
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS);
    config.watch_ns = 30 * MS;
    change(config, 40 * MS);
    CHECK_EQ(nfx_session_deadline_ns(&s), 51 * MS);
}

static void test_what_was_due_before_a_change_has_happened(void)
{
    begin();
    CHECK_EQ(receive_at(1, 0, 0), NFX_FIRST);
    nfx_config_t config = USUAL;
    config.watch_ns = 60 * MS;
    change(config, 30 * MS);
    CHECK_EQ(count(NFX_COUNT_timeouts), 1);
    CHECK(!s.alive.is);
}

static void test_heard_is_watched_anew(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    CHECK(send_at(0));
    CHECK_EQ(receive_at(1, 0, MS / 2), NFX_FIRST);
    CHECK_EQ(receive_at(2, 1, MS / 2), NFX_ACCEPTED);
    CHECK(s.heard.is);
    nfx_config_t config = USUAL;
    config.hear_ns = 3 * MS;
    change(config, MS);
    CHECK_EQ(s.heard_until_ns, 3 * MS + MS / 2);
    config.watch_ns = 0;
    config.hear_ns = 0;
    change(config, 2 * MS);
    CHECK_EQ(s.heard_until_ns, RT_NEVER_NS);
    config.hear_ns = 4 * MS; /* nobody knows when; it counts from now */
    change(config, 10 * MS);
    CHECK_EQ(s.heard_until_ns, 14 * MS);
}

static void test_another_age_for_values(void)
{
    nfx_config_t config = USUAL;
    config.on_stale = NFX_STALE_STOP;
    config.stale_ns = 5 * MS;
    begin_with(&config);
    nfx_session_start_sending(&s, 0, 0);
    config.stale_ns = 8 * MS;
    change(config, 4 * MS);
    CHECK_EQ(s.fresh_until_ns, 8 * MS);
    config.stale_ns = 2 * MS;
    change(config, 4 * MS);
    CHECK_EQ(s.fresh_until_ns, 4 * MS);
    CHECK(!send_at(4 * MS));
    CHECK(!s.fresh.is);

    /* stale values stay so, but another choice takes effect, on the grid and without a burst */
    config.stale_ns = 1000 * MS;
    change(config, 10 * MS + 1);
    CHECK(!s.fresh.is);
    CHECK_EQ(nfx_session_send_due_ns(&s), RT_NEVER_NS);
    config.on_stale = NFX_STALE_FAILSAFE;
    change(config, 10 * MS + 1);
    CHECK_EQ(nfx_session_send_due_ns(&s), 11 * MS);
    CHECK(send_at(11 * MS));
    CHECK_EQ(out.source, NFX_FAILSAFE);
    CHECK_EQ(count(NFX_COUNT_skipped), 0);
}

static void test_a_wrong_change_changes_nothing(void)
{
    begin();
    nfx_session_start_sending(&s, 0, 0);
    nfx_session_t before = s;
    nfx_config_t config = USUAL;
    config.cycle_ns = 1;
    CHECK_EQ(nfx_session_reconfigure(&s, &config, 5 * MS), -EINVAL);
    CHECK(strstr(rt_err_text(), "cycle_ns") != NULL);
    CHECK_MEM_EQ(&s, &before, sizeof s);
}

/* --- values that are no longer renewed ----------------------------------------------------- */

static void begin_stale(nfx_on_stale_t on_stale, int64_t stale_ns)
{
    nfx_config_t config = USUAL;
    config.on_stale = on_stale;
    config.stale_ns = stale_ns;
    begin_with(&config);
    nfx_session_start_sending(&s, 0, 0);
}

static void test_stale_values_are_kept(void)
{
    begin_stale(NFX_STALE_KEEP, 5 * MS + MS / 2);
    for (int i = 0; i < 10; i++) {
        CHECK(send_at(i * MS));
        CHECK_EQ(out.source, NFX_VALUES);
    }
    CHECK(next_is(NFX_EVENT_STALE, 5 * MS + MS / 2));
    CHECK_EQ(count(NFX_COUNT_stale), 1);
    CHECK_EQ(count(NFX_COUNT_sent_stale), 4);
    CHECK_EQ(count(NFX_COUNT_sent_failsafe), 0);
    CHECK_EQ(gauge(NFX_GAUGE_fresh), 0);
}

static void test_stale_values_are_replaced_by_the_fail_safe(void)
{
    begin_stale(NFX_STALE_FAILSAFE, 5 * MS);
    for (int i = 0; i < 10; i++) {
        CHECK(send_at(i * MS));
        CHECK_EQ(out.source, i < 5 ? NFX_VALUES : NFX_FAILSAFE);
    }
    CHECK_EQ(count(NFX_COUNT_sent_failsafe), 5);
    nfx_session_refreshed(&s, 9 * MS + 1, 9 * MS + 2);
    CHECK(no_event()); /* stale and fresh again since the last question */
    CHECK(send_at(10 * MS));
    CHECK_EQ(out.source, NFX_VALUES);
    CHECK_EQ(out.header[0], 11);
}

static void test_stale_values_end_the_sending(void)
{
    begin_stale(NFX_STALE_STOP, 5 * MS);
    for (int i = 0; i < 5; i++)
        CHECK(send_at(i * MS));
    CHECK_EQ(nfx_session_deadline_ns(&s), 5 * MS);
    CHECK(!send_at(5 * MS));
    CHECK(next_is(NFX_EVENT_STALE, 5 * MS));
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS);
    CHECK(!send_at(30 * MS));
    nfx_session_refreshed(&s, 40 * MS + 1, 40 * MS + 2);
    CHECK(next_is(NFX_EVENT_FRESH, 40 * MS + 1));
    CHECK_EQ(nfx_session_deadline_ns(&s), 41 * MS); /* the same grid */
    CHECK(send_at(41 * MS));
    CHECK_EQ(out.header[0], 6);
    CHECK_EQ(count(NFX_COUNT_skipped), 0); /* it was not late, it was told so */
    CHECK_EQ(count(NFX_COUNT_sent_stale), 0);
}

static void test_renewed_values_stay_fresh(void)
{
    begin_stale(NFX_STALE_FAILSAFE, 5 * MS);
    for (int i = 0; i < 100; i++) {
        if (i % 4 == 0)
            nfx_session_refreshed(&s, i * MS, i * MS);
        CHECK(send_at(i * MS));
        CHECK_EQ(out.source, NFX_VALUES);
    }
    /* found out late, but written in time */
    nfx_session_refreshed(&s, 100 * MS, 104 * MS);
    CHECK(send_at(104 * MS));
    CHECK_EQ(out.source, NFX_VALUES);
    CHECK_EQ(count(NFX_COUNT_stale), 0);
    /* times that are not to be believed: of the future, or older than what is known */
    nfx_session_refreshed(&s, 900 * MS, 104 * MS);
    nfx_session_refreshed(&s, 1 * MS, 104 * MS);
    CHECK_EQ(s.fresh_until_ns, 109 * MS);
    CHECK(no_event());
}

static void test_the_owner_dies(void)
{
    begin_stale(NFX_STALE_FAILSAFE, 0);
    CHECK(send_at(1000 * MS));
    CHECK_EQ(out.source, NFX_VALUES);
    nfx_session_owner_died(&s, 1000 * MS + 1);
    CHECK(next_is(NFX_EVENT_STALE, 1000 * MS + 1));
    nfx_session_owner_died(&s, 1000 * MS + 2);
    CHECK(no_event());
    CHECK(send_at(1001 * MS));
    CHECK_EQ(out.source, NFX_FAILSAFE);
    nfx_session_refreshed(&s, 1001 * MS + 1, 1001 * MS + 1); /* another one writes */
    CHECK(send_at(1002 * MS));
    CHECK_EQ(out.source, NFX_VALUES);
    CHECK_EQ(count(NFX_COUNT_stale), 1);

    /* with an age set, the age decides */
    begin_stale(NFX_STALE_STOP, 50 * MS);
    nfx_session_refreshed(&s, 10 * MS, 10 * MS);
    nfx_session_owner_died(&s, 20 * MS);
    CHECK(s.fresh.is);
    CHECK_EQ(s.fresh_until_ns, 60 * MS);
    CHECK(!send_at(60 * MS));
    CHECK(!s.fresh.is);
}

static void test_last_words(void)
{
    begin_stale(NFX_STALE_FAILSAFE, 3000 * MS);
    CHECK(send_at(0));
    CHECK_EQ(out.source, NFX_VALUES);
    nfx_session_last(&s, 5);
    CHECK(send_at(5)); /* neither the cycle nor the age is waited for */
    CHECK_EQ(out.source, NFX_FAILSAFE);
    CHECK_EQ(count(NFX_COUNT_sent_failsafe), 1);
    CHECK_EQ(count(NFX_COUNT_skipped), 0);

    nfx_session_stop_sending(&s);
    nfx_session_last(&s, 1 * MS);
    CHECK(!send_at(1 * MS));
}

static void test_starting_to_send_renews_nothing(void)
{
    begin_stale(NFX_STALE_STOP, 5 * MS);
    CHECK(!send_at(5 * MS));
    nfx_session_stop_sending(&s);
    nfx_session_refreshed(&s, 18 * MS, 18 * MS);
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS); /* nobody waits for values now */
    nfx_session_start_sending(&s, 20 * MS, 20 * MS);
    CHECK(send_at(20 * MS));
    CHECK_EQ(s.fresh_until_ns, 23 * MS);
    nfx_session_stop_sending(&s);
    nfx_session_start_sending(&s, 50 * MS, 50 * MS);
    CHECK(!send_at(50 * MS));
    CHECK(!s.fresh.is);

    /* an owner that dies before anything was sent */
    nfx_config_t config = USUAL;
    config.on_stale = NFX_STALE_STOP;
    begin_with(&config);
    nfx_session_owner_died(&s, MS);
    nfx_session_refreshed(&s, 2 * MS, 2 * MS);
    CHECK(s.fresh.is);
    CHECK_EQ(nfx_session_deadline_ns(&s), RT_NEVER_NS);
}

/* --- configuration ------------------------------------------------------------------------- */

static void check_refused(nfx_config_t config, const char *name)
{
    CHECK_EQ(nfx_session_init(&s, &config, &stats), -EINVAL);
    CHECK(strstr(rt_err_text(), name) != NULL);
}

static void test_values_out_of_range_are_named(void)
{
    nfx_config_t config = USUAL;
    config.rx_payload_bytes = 1500;
    check_refused(config, "rx_payload_bytes is 1500");
    config = USUAL;
    config.cycle_ns = 100 * US - 1;
    check_refused(config, "cycle_ns is 99999");
    config.cycle_ns = NFX_MAX_TIME_NS + 1;
    check_refused(config, "cycle_ns");
    config = USUAL;
    config.watch_ns = -1;
    check_refused(config, "watch_ns is -1");
    config = USUAL;
    config.hear_ns = NFX_MAX_TIME_NS + 1;
    check_refused(config, "hear_ns");
    config = USUAL;
    config.stale_ns = -5;
    check_refused(config, "stale_ns is -5");
    config = USUAL;
    config.on_stale = (nfx_on_stale_t)3;
    check_refused(config, "on_stale is 3");
}

int main(void)
{
    RUN(test_numbers_start_at_1_and_wrap);
    RUN(test_feedback_is_what_was_accepted_at_the_moment_of_sending);
    RUN(test_a_send_that_fails_uses_up_no_number);
    RUN(test_the_first_datagram_may_have_number_0);
    RUN(test_sizes);
    RUN(test_the_grid_is_absolute);
    RUN(test_behind_a_stall_it_skips_and_never_bursts);
    RUN(test_an_origin_in_the_past_gives_the_grid_its_phase);
    RUN(test_stopped_and_started_numbers_go_on);
    RUN(test_a_clock_that_goes_back_stands_still);
    RUN(test_the_watchdog_is_exact);
    RUN(test_useless_datagrams_neither_feed_nor_starve_it);
    RUN(test_recovery_clears_the_flag_at_once);
    RUN(test_a_stalled_worker_does_not_accuse_the_partner);
    RUN(test_a_gap_that_was_too_long_counts_though_found_late);
    RUN(test_arrival_stamps_are_not_believed_beyond_now);
    RUN(test_without_a_watchdog_alive_is_for_ever);
    RUN(test_behind_a_time_out_the_next_is_the_first_but_a_repeat);
    RUN(test_a_kept_window_goes_on_behind_a_time_out);
    RUN(test_reception_stops_without_a_time_out);
    RUN(test_heard_follows_new_feedback);
    RUN(test_heard_has_an_interval_of_its_own);
    RUN(test_the_feedback_of_a_first_datagram_is_of_an_earlier_life);
    RUN(test_round_trips);
    RUN(test_partner_losses_and_intervals);
    RUN(test_the_longest_gap_of_numbers_that_is_understood);
    RUN(test_unequal_rates_lose_no_acknowledgement);
    RUN(test_acknowledgements_that_never_come_are_lost);
    RUN(test_reset_leaves_what_is);
    RUN(test_a_successor_goes_on);
    RUN(test_a_successor_finds_the_partner_dead);
    RUN(test_a_successor_knows_that_values_are_stale);
    RUN(test_another_cycle_goes_on_from_the_last_instant);
    RUN(test_another_watchdog_counts_from_the_last_datagram);
    RUN(test_what_was_due_before_a_change_has_happened);
    RUN(test_heard_is_watched_anew);
    RUN(test_another_age_for_values);
    RUN(test_a_wrong_change_changes_nothing);
    RUN(test_stale_values_are_kept);
    RUN(test_stale_values_are_replaced_by_the_fail_safe);
    RUN(test_stale_values_end_the_sending);
    RUN(test_renewed_values_stay_fresh);
    RUN(test_the_owner_dies);
    RUN(test_last_words);
    RUN(test_starting_to_send_renews_nothing);
    RUN(test_values_out_of_range_are_named);
    return rt_test_result();
}
