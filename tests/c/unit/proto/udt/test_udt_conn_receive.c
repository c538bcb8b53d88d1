/* A connection: what it receives and acknowledges. */
#include "udt_conn_test.h"

/* --- receiving ----------------------------------------------------------------------------- */

static void test_acks_come_every_ten_milliseconds(void)
{
    udt_view_t view;
    udt_ack_t ack;
    get_accepted(plain());
    uint32_t seq = ISN;
    unsigned acks = 0;
    for (int64_t end_ns = now_ns + SEC; now_ns < end_ns; now_ns += MS / 4) {
        peer_data(seq++, PAYLOAD);
        emit();
        acks += emitted(UDT_TYPE_ACK, &view);
        static uint8_t sink[10 * PAYLOAD];
        app_read(&c, sink, sizeof sink, now_ns);
    }
    CHECK(acks >= 95 && acks <= 101);
    now_ns += 10 * MS;
    emit();
    CHECK_EQ(emitted(UDT_TYPE_ACK, &view), 1);
    udt_ack_read(&view, &ack);
    CHECK_EQ(ack.seq, seq);
    CHECK_EQ(ack.form, UDT_ACK_FULL);
    CHECK_EQ(ack.arrival_pps, 4000);
    CHECK_EQ(ack.free_packets, 511);
    /* Said, and confirmed, it is not said again. */
    CHECK_EQ(peer_control(UDT_TYPE_ACK2, ack.number), 0);
    CHECK_EQ(peer_control(UDT_TYPE_ACK2, ack.number), -EPROTO);
    CHECK_EQ(counted(UDT_COUNT_refused_ack2), 1);
    now_ns += 200 * MS;
    emit();
    CHECK_EQ(emitted(UDT_TYPE_ACK, &view), 0);
    close_conn();
}

static void test_an_ack_without_answer_is_repeated(void)
{
    udt_view_t view;
    udt_ack_t ack;
    get_accepted(plain());
    peer_data(ISN, 100);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_ACK, &view), 1); /* at once: not a full packet */
    udt_ack_read(&view, &ack);
    CHECK_EQ(ack.number, 1);
    now_ns += 20 * MS;
    emit();
    CHECK_EQ(emitted(UDT_TYPE_ACK, &view), 1);
    udt_ack_read(&view, &ack);
    CHECK_EQ(ack.number, 2);
    CHECK_EQ(ack.seq, ISN + 1);
    close_conn();
}

static void test_a_light_ack_for_64_packets(void)
{
    udt_view_t view;
    udt_ack_t ack;
    get_accepted(plain());
    peer_data(ISN, PAYLOAD);
    emit();
    for (uint32_t i = 1; i <= 63; i++) {
        peer_data(ISN + i, PAYLOAD);
        emit();
        CHECK_EQ(emitted(UDT_TYPE_ACK, &view), 0);
    }
    peer_data(ISN + 64, PAYLOAD);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_ACK, &view), 1);
    udt_ack_read(&view, &ack);
    CHECK_EQ(ack.form, UDT_ACK_LIGHT);
    CHECK_EQ(ack.seq, ISN + 65);
    emit();
    CHECK_EQ(outs, 0);
    CHECK_EQ(counted(UDT_COUNT_light_acks_sent), 1);
    close_conn();
}

static void test_a_gap_is_told_at_once_and_again(void)
{
    udt_view_t view;
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    get_accepted(plain());
    peer_data(ISN, PAYLOAD);
    emit();
    peer_data(ISN + 4, PAYLOAD);
    peer_data(ISN + 6, PAYLOAD);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_NAK, &view), 1);
    CHECK(udt_nak_next(&view, &at, &first, &last) && first == ISN + 1 && last == ISN + 3);
    CHECK(udt_nak_next(&view, &at, &first, &last) && first == ISN + 5 && last == ISN + 5);
    peer_data(ISN + 2, PAYLOAD);
    int64_t told_ns = now_ns;
    do {
        now_ns = udt_conn_deadline_ns(&c) > now_ns ? udt_conn_deadline_ns(&c) : now_ns + 1;
        emit();
    } while (emitted(UDT_TYPE_NAK, &view) == 0 && now_ns < told_ns + 2 * SEC);
    CHECK(now_ns > told_ns + 20 * MS && now_ns < told_ns + SEC);
    at = 0;
    CHECK(udt_nak_next(&view, &at, &first, &last) && first == ISN + 1 && last == ISN + 1);
    CHECK(udt_nak_next(&view, &at, &first, &last) && first == ISN + 3 && last == ISN + 3);
    CHECK(udt_nak_next(&view, &at, &first, &last) && first == ISN + 5);
    CHECK_EQ(counted(UDT_COUNT_receive_losses), 4);
    close_conn();
}

static void test_many_holes_take_several_naks(void)
{
    udt_view_t view;
    unsigned told = 0;
    get_accepted(plain());
    for (uint32_t i = 0; i < 500; i += 2)
        peer_data(ISN + i, PAYLOAD);
    for (int i = 0; i < 5; i++) {
        uint32_t at = 0;
        uint32_t first;
        uint32_t last;
        emit();
        if (emitted(UDT_TYPE_NAK, &view) == 0)
            break;
        while (udt_nak_next(&view, &at, &first, &last))
            told++;
    }
    CHECK_EQ(told, 249);
    CHECK(!c.rcv.nak_due);
    close_conn();
}

static void test_a_full_buffer_opens_again(void)
{
    udt_view_t view;
    udt_ack_t ack;
    static uint8_t sink[512 * PAYLOAD];
    get_accepted(plain());
    for (uint32_t i = 0; i < 511; i++)
        peer_data(ISN + i, PAYLOAD);
    CHECK_EQ(peer_data(ISN + 511, PAYLOAD), 0);
    CHECK_EQ(counted(UDT_COUNT_no_room), 1);
    emit();
    now_ns += 10 * MS;
    emit();
    CHECK_EQ(c.rcv.advertised, 0);
    CHECK_EQ(peer_control(UDT_TYPE_ACK2, c.rcv.ack_number - 1), 0);
    now_ns += 10 * MS;
    emit();
    CHECK_EQ(emitted(UDT_TYPE_ACK, &view), 0);
    CHECK_EQ(app_read(&c, sink, sizeof sink, now_ns), 511 * PAYLOAD);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_ACK, &view), 1);
    udt_ack_read(&view, &ack);
    CHECK_EQ(ack.free_packets, 511);
    close_conn();
}

static void test_what_does_not_fit_is_refused_and_counted(void)
{
    uint8_t drop[UDT_DROP_BYTES];
    get_accepted(plain());
    CHECK_EQ(receive("short", 5), UDT_PARSE_TOO_SHORT);
    CHECK_EQ(peer_data(ISN, PAYLOAD + 1), -EPROTO);
    CHECK_EQ(peer_data(ISN + 511, 10), 0); /* beyond the buffer */
    CHECK_EQ(peer_ack(UDT_ACK_FULL, 1, ISN + 1, 10), -EPROTO);
    CHECK_EQ(peer_ack(UDT_ACK_LIGHT, 0, ISN + 1, 10), -EPROTO);
    CHECK_EQ(peer_nak(ISN, ISN), -EPROTO);
    CHECK_EQ(peer_nak(ISN - 5, ISN), -EPROTO);
    size_t n = udt_put_drop(drop, &(udt_drop_t){.message = 1, .first = ISN, .last = ISN}, OWN_ID);
    CHECK_EQ(receive(drop, n), -EPROTO);
    CHECK_EQ(counted(UDT_COUNT_refused_parse), 1);
    CHECK_EQ(counted(UDT_COUNT_refused_data), 1);
    CHECK_EQ(counted(UDT_COUNT_no_room), 1);
    CHECK_EQ(counted(UDT_COUNT_refused_ack), 2);
    CHECK_EQ(counted(UDT_COUNT_refused_nak), 2);
    CHECK_EQ(counted(UDT_COUNT_refused_drop), 1);
    CHECK_EQ(c.state, UDT_CONN_CONNECTED);
    CHECK_EQ(c.rcv.losses.count, 0);
    close_conn();
}

int main(void)
{
    RUN(test_acks_come_every_ten_milliseconds);
    RUN(test_an_ack_without_answer_is_repeated);
    RUN(test_a_light_ack_for_64_packets);
    RUN(test_a_gap_is_told_at_once_and_again);
    RUN(test_many_holes_take_several_naks);
    RUN(test_a_full_buffer_opens_again);
    RUN(test_what_does_not_fit_is_refused_and_counted);
    return rt_test_result();
}
