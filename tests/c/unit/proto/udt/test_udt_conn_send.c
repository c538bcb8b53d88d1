/* A connection: what it sends, and how it ends. */
#include "udt_conn_test.h"

/* --- sending ------------------------------------------------------------------------------- */

static void give(uint32_t bytes)
{
    uint8_t *data = calloc(1, bytes);
    CHECK_EQ(udt_conn_send(&c, data, bytes, now_ns), bytes);
    free(data);
}

static void test_a_burst_is_a_run_of_equal_packets_over_the_ring(void)
{
    get_accepted(plain());
    give(100 * PAYLOAD + 10);
    emit();
    CHECK_EQ(emitted_data(), 101);
    for (size_t i = 0; i < 101; i++) {
        CHECK_EQ(out[i].head_bytes, UDT_HEADER_BYTES);
        CHECK_EQ(out[i].payload_bytes, i < 100 ? PAYLOAD : 10);
        CHECK(out[i].payload == send_ring + i * PAYLOAD);
    }
    close_conn();
}

static void test_the_windows_hold(void)
{
    udt_view_t view;
    get_accepted(plain());
    give(600 * PAYLOAD);
    unsigned sent = 0;
    do {
        now_ns += MS;
        emit();
        sent += emitted_data();
    } while (emitted_data() > 0);
    CHECK_EQ(sent, 400); /* what the handshake said */
    CHECK_EQ(peer_ack(UDT_ACK_LIGHT, 0, ISN + 10, 0), 0);
    emit();
    CHECK_EQ(emitted_data(), 0); /* 390 left, all in flight */
    CHECK_EQ(peer_ack(UDT_ACK_FULL, 3, ISN + 10, 395), 0);
    now_ns += MS;
    emit();
    CHECK_EQ(emitted_data(), 5);
    CHECK_EQ(emitted(UDT_TYPE_ACK2, &view), 1);
    CHECK_EQ(view.word1, 3);
    CHECK_EQ(c.snd.buffer.sent, 395);
    close_conn();
}

static void test_lost_packets_go_first_and_as_they_were(void)
{
    get_accepted(plain());
    give(20 * PAYLOAD);
    emit();
    now_ns += MS;
    emit();
    give(PAYLOAD);
    now_ns += 30 * MS;
    CHECK_EQ(peer_nak(ISN + 3, ISN + 4), 0);
    emit();
    CHECK_EQ(emitted_data(), 3);
    CHECK_EQ(rt_get32(out[0].head), ISN + 3);
    CHECK(out[0].payload == send_ring + 3 * PAYLOAD);
    CHECK_EQ(rt_get32(out[1].head), ISN + 4);
    CHECK_EQ(rt_get32(out[2].head), ISN + 20);
    /* A second NAK within a round trip says what was known before. */
    CHECK_EQ(peer_nak(ISN + 3, ISN + 4), 0);
    emit();
    CHECK_EQ(emitted_data(), 0);
    CHECK_EQ(counted(UDT_COUNT_repeated), 2);
    close_conn();
}

/* Each end of the range alone would pass: one a little behind, one from the other side. */
static void test_a_nak_round_half_the_circle_is_refused(void)
{
    get_accepted(plain());
    give(20 * PAYLOAD);
    emit();
    CHECK_EQ(peer_nak(udt_seq_skip(ISN, 0x38000000), udt_seq_skip(ISN, 0x70000000)), -EPROTO);
    CHECK_EQ(peer_nak(udt_seq_skip(ISN, 0x70000000), ISN + 3), 0);
    CHECK_EQ(c.snd.losses.count, 4);
    CHECK_EQ(counted(UDT_COUNT_refused_nak), 1);
    close_conn();
}

static void test_a_keepalive_asks_for_an_ack_behind_the_last_packet(void)
{
    udt_view_t view;
    get_accepted(plain());
    give(PAYLOAD);
    emit();
    CHECK_EQ(emitted_data(), 1);
    CHECK_EQ(udt_conn_deadline_ns(&c), now_ns + 12 * MS);
    now_ns += 12 * MS;
    emit();
    CHECK_EQ(emitted(UDT_TYPE_KEEPALIVE, &view), 1);
    CHECK(udt_conn_deadline_ns(&c) > now_ns + 20 * MS);
    close_conn();
}

static void test_silence_repeats_all_that_is_in_flight(void)
{
    get_accepted(plain());
    give(5 * PAYLOAD);
    emit();
    c.rtt = (udt_rtt_t){.rtt_us = 1000000, .var_us = 0}; /* so that overdue is later than that */
    now_ns += 1010 * MS;
    udt_conn_emit(&c, out, 0, now_ns);
    CHECK_EQ(counted(UDT_COUNT_timeouts), 1);
    emit();
    CHECK_EQ(emitted_data(), 5);
    close_conn();
}

static void test_a_warning_slows_down_until_the_next_decision(void)
{
    udt_conn_config_t config = plain();
    config.cc.rate_bps = 12000000; /* 1 ms a packet */
    get_accepted(config);
    int64_t period_ps = c.snd.period_ps;
    CHECK_EQ(peer_control(UDT_TYPE_CONGESTION, 0), 0);
    CHECK_EQ(c.snd.period_ps, period_ps + period_ps / 8);
    for (int i = 0; i < 10000; i++)
        peer_control(UDT_TYPE_CONGESTION, 0);
    CHECK(c.snd.period_ps < 2 * UDT_CC_PS_PER_S);
    give(PAYLOAD);
    emit();
    CHECK_EQ(c.snd.period_ps, period_ps);
    close_conn();
}

static void test_bandwidth_has_a_limit(void)
{
    udt_conn_config_t config = plain();
    config.max_bandwidth = 1500000; /* 1000 packets a second */
    config.burst_ns = 0;
    get_accepted(config);
    give(600 * PAYLOAD);
    unsigned sent = 0;
    for (int64_t end_ns = now_ns + 100 * MS; now_ns < end_ns; now_ns += MS / 2) {
        emit();
        sent += emitted_data();
    }
    CHECK(sent >= 98 && sent <= 103);
    close_conn();
}

static void test_options_change_on_the_way(void)
{
    get_accepted(plain());
    int64_t period_ps = c.snd.period_ps;
    udt_conn_set_bandwidth(&c, 1500000);
    CHECK_EQ(c.snd.period_ps, INT64_C(1000000000));
    udt_conn_set_bandwidth(&c, 0); /* a fixed rate stays what it is */
    CHECK_EQ(c.snd.period_ps, INT64_C(1000000000));
    udt_conn_set_bandwidth(&c, 3000000);
    CHECK_EQ(c.snd.period_ps, INT64_C(500000000));
    udt_conn_set_bandwidth(&c, UINT64_MAX);
    CHECK_EQ(c.snd.period_ps, period_ps);
    give(PAYLOAD);
    udt_conn_set_linger(&c, 0);
    udt_conn_close(&c, now_ns);
    emit();
    CHECK_EQ(c.state, UDT_CONN_LEAVING);
    close_conn();
}

static void test_an_idle_connection_gives_a_sign_of_life_each_second(void)
{
    udt_view_t view;
    get_accepted(plain());
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(udt_conn_deadline_ns(&c), now_ns + SEC);
        now_ns += SEC;
        emit();
        CHECK_EQ(emitted(UDT_TYPE_KEEPALIVE, &view), 1);
        CHECK_EQ(outs, 1);
        peer_control(UDT_TYPE_KEEPALIVE, 0);
    }
    close_conn();
}

static void test_a_message_out_of_time_is_given_up(void)
{
    udt_conn_config_t config = plain();
    udt_view_t view;
    udt_drop_t drop;
    config.mode = UDT_MODE_MESSAGE;
    get_accepted(config);
    static uint8_t message[4 * PAYLOAD];
    CHECK_EQ(app_send_message(&c, message, sizeof message, 50, true, now_ns), 0);
    CHECK_EQ(app_send_message(&c, message, 100, -1, true, now_ns), 0);
    emit();
    CHECK_EQ(emitted_data(), 5);
    now_ns += 51 * MS;
    CHECK_EQ(peer_nak(ISN + 1, ISN + 2), 0);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_DROP, &view), 1);
    udt_drop_read(&view, &drop);
    CHECK_EQ(drop.message, 1);
    CHECK_EQ(drop.first, ISN + 1);
    CHECK_EQ(drop.last, ISN + 3);
    CHECK_EQ(c.snd.losses.count, 0);
    close_conn();
}

/* --- ends ---------------------------------------------------------------------------------- */

static void test_closing_waits_for_what_was_given(void)
{
    udt_view_t view;
    get_accepted(plain());
    give(PAYLOAD);
    udt_conn_close(&c, now_ns);
    CHECK_EQ(udt_conn_send(&c, "x", 1, now_ns), -ENOTCONN);
    emit();
    CHECK_EQ(emitted_data(), 1);
    CHECK_EQ(emitted(UDT_TYPE_SHUTDOWN, &view), 0);
    peer_ack(UDT_ACK_FULL, 1, ISN + 1, 100);
    unsigned shutdowns = 0;
    while (c.state != UDT_CONN_CLOSED) {
        now_ns = udt_conn_deadline_ns(&c) > now_ns ? udt_conn_deadline_ns(&c) : now_ns;
        emit();
        shutdowns += emitted(UDT_TYPE_SHUTDOWN, &view);
    }
    CHECK_EQ(shutdowns, 3);
    CHECK(udt_conn_take_events(&c) & UDT_EVENT_CLOSED);
    CHECK_EQ(peer_control(UDT_TYPE_KEEPALIVE, 0), -EPROTO);
    close_conn();
}

static void test_closing_does_not_wait_longer_than_it_may(void)
{
    get_accepted(plain());
    give(PAYLOAD);
    int64_t closed_ns = now_ns;
    udt_conn_close(&c, now_ns);
    while (c.state == UDT_CONN_LINGERING) {
        now_ns = udt_conn_deadline_ns(&c) > now_ns ? udt_conn_deadline_ns(&c) : now_ns;
        emit();
    }
    CHECK_EQ(c.state, UDT_CONN_LEAVING);
    CHECK_EQ(now_ns - closed_ns, 5 * SEC);
    close_conn();
}

static void test_what_came_before_the_goodbye_can_be_read(void)
{
    char text[10];
    get_accepted(plain());
    peer_data(ISN, 4);
    CHECK_EQ(peer_control(UDT_TYPE_SHUTDOWN, 0), 0);
    CHECK_EQ(c.state, UDT_CONN_BROKEN);
    CHECK_EQ(c.error, UDT_ECONNLOST);
    CHECK(udt_conn_take_events(&c) & UDT_EVENT_BROKEN);
    CHECK_EQ(app_read(&c, text, sizeof text, now_ns), 4);
    CHECK_EQ(udt_conn_deadline_ns(&c), RT_NEVER_NS);
    emit();
    CHECK_EQ(outs, 0);
    udt_conn_close(&c, now_ns);
    CHECK_EQ(c.state, UDT_CONN_CLOSED);
    close_conn();
}

static void test_errors_are_told(void)
{
    udt_view_t view;
    get_accepted(plain());
    CHECK_EQ(peer_control(UDT_TYPE_ERROR, 4000), 0);
    CHECK_EQ(udt_conn_take_events(&c), UDT_EVENT_PEER_ERROR);
    udt_conn_report_error(&c);
    CHECK(udt_conn_deadline_ns(&c) <= now_ns);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_ERROR, &view), 1);
    CHECK_EQ(view.word1, 4000);
    close_conn();
}

int main(void)
{
    RUN(test_a_burst_is_a_run_of_equal_packets_over_the_ring);
    RUN(test_the_windows_hold);
    RUN(test_lost_packets_go_first_and_as_they_were);
    RUN(test_a_nak_round_half_the_circle_is_refused);
    RUN(test_a_keepalive_asks_for_an_ack_behind_the_last_packet);
    RUN(test_silence_repeats_all_that_is_in_flight);
    RUN(test_a_warning_slows_down_until_the_next_decision);
    RUN(test_bandwidth_has_a_limit);
    RUN(test_options_change_on_the_way);
    RUN(test_an_idle_connection_gives_a_sign_of_life_each_second);
    RUN(test_a_message_out_of_time_is_given_up);
    RUN(test_closing_waits_for_what_was_given);
    RUN(test_closing_does_not_wait_longer_than_it_may);
    RUN(test_what_came_before_the_goodbye_can_be_read);
    RUN(test_errors_are_told);
    return rt_test_result();
}
