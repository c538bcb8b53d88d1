/* A session that goes on: behind a dead worker, with another configuration, without new values. */
#include "nfx_session_test.h"

#include "base/rt_err.h"

#include <errno.h>

static void test_a_successor_goes_on(void)
{
    begin();
    nfx_past_t past = {.own_number = 254,
                       .partner_number = 9,
                       .partner_known = true,
                       .alive = true,
                       .fresh = true,
                       .last_accepted_ns = 90 * MS};
    nfx_session_take_over(&s, &past, 100 * MS);
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
    nfx_session_take_over(&s, &(nfx_past_t){.partner_number = 99, .fresh = true}, 0);
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
    nfx_session_take_over(&s, &past, 100 * MS);
    CHECK(no_event());
    CHECK_EQ(nfx_session_deadline_ns(&s), 120 * MS);
    CHECK(!send_at(120 * MS));
    CHECK(next_is(NFX_EVENT_TIMEOUT, 120 * MS));
    CHECK(next_is(NFX_EVENT_UNHEARD, 120 * MS));
    CHECK_EQ(count(NFX_COUNT_timeouts), 1);

    /* dead already when its predecessor was: nothing is told twice, and its numbers start anew */
    past.alive = past.heard = false;
    begin();
    nfx_session_take_over(&s, &past, 100 * MS);
    CHECK(!send_at(1000 * MS));
    CHECK(no_event());
    CHECK_EQ(receive_at(200, 0, 1000 * MS), NFX_FIRST);
    CHECK_EQ(count(NFX_COUNT_timeouts), 0);

    /* a gauge that somebody scribbled over */
    past = (nfx_past_t){
        .partner_known = true, .alive = true, .fresh = true, .last_accepted_ns = INT64_MAX};
    begin();
    nfx_session_take_over(&s, &past, 100 * MS);
    CHECK_EQ(nfx_session_deadline_ns(&s), 130 * MS);
    past.last_accepted_ns = INT64_MIN;
    begin();
    nfx_session_take_over(&s, &past, 100 * MS);
    CHECK(!send_at(100 * MS));
    CHECK(!s.alive.is);
}

static void test_a_successor_knows_that_values_are_stale(void)
{
    nfx_config_t config = USUAL;
    config.on_stale = NFX_STALE_FAILSAFE;
    begin_with(&config);
    nfx_session_take_over(&s, &(nfx_past_t){.own_number = 4}, 100 * MS);
    nfx_session_refreshed(&s, 90 * MS, 100 * MS); /* a later owner's */
    CHECK(next_is(NFX_EVENT_FRESH, 90 * MS));

    begin_with(&config);
    nfx_session_take_over(&s, &(nfx_past_t){.own_number = 4}, 100 * MS);
    nfx_session_start_sending(&s, 100 * MS, 100 * MS);
    CHECK(send_at(100 * MS));
    CHECK_EQ(out.source, NFX_FAILSAFE);
    CHECK_EQ(out.header[0], 5);
    CHECK(no_event());
    CHECK_EQ(count(NFX_COUNT_stale), 0); /* its predecessor's counter has it */
}

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
    begin_stale(NFX_STALE_CONTINUE, 5 * MS + MS / 2);
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
    CHECK_EQ(count(NFX_COUNT_sent_stale), 0);
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
