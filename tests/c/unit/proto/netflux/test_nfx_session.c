/* The session clause by clause, in virtual time. */
#include "nfx_session_test.h"

#include "base/rt_err.h"

#include <errno.h>

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
    return rt_test_result();
}
