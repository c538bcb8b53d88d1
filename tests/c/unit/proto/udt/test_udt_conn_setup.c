/* A connection: how it becomes connected. */
#include "udt_conn_test.h"

/* --- becoming connected -------------------------------------------------------------------- */

static void test_a_server_that_does_not_answer(void)
{
    udt_view_t view;
    unsigned requests = 0;
    open_conn(plain());
    int64_t start_ns = now_ns;
    udt_conn_connect(&c, now_ns);
    while (c.state == UDT_CONN_CONNECTING) {
        now_ns = udt_conn_deadline_ns(&c) > now_ns ? udt_conn_deadline_ns(&c) : now_ns;
        emit();
        requests += emitted(UDT_TYPE_HANDSHAKE, &view);
    }
    CHECK_EQ(requests, 12);
    CHECK_EQ(now_ns - start_ns, 3 * SEC);
    CHECK_EQ(c.error, UDT_ENOSERVER);
    CHECK_EQ(udt_conn_take_events(&c), UDT_EVENT_FAILED);
    CHECK_EQ(udt_conn_deadline_ns(&c), RT_NEVER_NS);
    close_conn();
}

static udt_handshake_t last_handshake(void)
{
    udt_view_t view = {0};
    udt_handshake_t hs = {0};
    CHECK_EQ(emitted(UDT_TYPE_HANDSHAKE, &view), 1);
    if (view.body != NULL)
        udt_handshake_read(&view, &hs);
    return hs;
}

static void test_a_client_repeats_its_cookie_and_begins_anew(void)
{
    open_conn(plain());
    udt_conn_connect(&c, now_ns);
    emit();
    udt_handshake_t hs = last_handshake();
    CHECK_EQ(hs.request, UDT_REQUEST_REGULAR);
    CHECK_EQ(hs.window_packets, 512);
    CHECK_EQ(hs.cookie, 0);
    CHECK_EQ(hs.address[0], 10);
    CHECK_EQ(peer_handshake(UDT_REQUEST_REGULAR, ISN, 1500, OWN_ID), 0);
    for (int i = 0; i < 2; i++) {
        emit();
        hs = last_handshake();
        CHECK_EQ(hs.request, UDT_REQUEST_RESPONSE);
        CHECK_EQ(hs.cookie, 0x12345678);
        now_ns += 250 * MS;
    }
    emit();
    hs = last_handshake();
    CHECK_EQ(hs.request, UDT_REQUEST_REGULAR);
    CHECK_EQ(hs.cookie, 0);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, ISN, 1200, OWN_ID), 0);
    CHECK_EQ(c.state, UDT_CONN_CONNECTED);
    CHECK_EQ(c.mss_bytes, 1200);
    CHECK_EQ(udt_conn_take_events(&c), UDT_EVENT_CONNECTED | UDT_EVENT_WRITABLE);
    close_conn();
}

static void test_answers_that_do_not_do(void)
{
    open_conn(plain());
    udt_conn_connect(&c, now_ns);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, ISN, 75, OWN_ID), -EPROTO);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RENDEZVOUS, ISN, 1500, OWN_ID), -EPROTO);
    CHECK_EQ(counted(UDT_COUNT_refused_handshake), 2);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, ISN, 1500, 0), -EPROTO);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, ISN, 1500, OWN_ID + 1), -EPROTO);
    CHECK_EQ(counted(UDT_COUNT_refused_id), 2);
    CHECK_EQ(peer_data(ISN, 10), -EPROTO);
    CHECK_EQ(counted(UDT_COUNT_refused_state), 1);
    CHECK_EQ(c.state, UDT_CONN_CONNECTING);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, ISN + 1, 1500, OWN_ID), 0);
    CHECK_EQ(c.error, UDT_ESECFAIL);
    close_conn();
    open_conn(plain());
    udt_conn_connect(&c, now_ns);
    CHECK_EQ(peer_handshake(UDT_REQUEST_REFUSED, ISN, 1500, OWN_ID), 0);
    CHECK_EQ(c.error, UDT_ECONNREJ);
    CHECK_EQ(udt_conn_take_events(&c), UDT_EVENT_FAILED);
    close_conn();
}

/* libudt that is connected answers a repeated request with version and type left out. */
static void test_an_answer_without_version_and_type_does(void)
{
    uint8_t data[UDT_HANDSHAKE_BYTES];
    udt_handshake_t hs = {
        .isn = ISN, .mss = 1500, .window_packets = 25600, .request = -1, .socket_id = PEER_ID};
    open_conn(plain());
    udt_conn_connect(&c, now_ns);
    udt_put_handshake(data, &hs, OWN_ID);
    CHECK_EQ(receive(data, sizeof data), 0);
    CHECK_EQ(c.state, UDT_CONN_CONNECTED);
    close_conn();
}

/* A handshake costs nothing. Whoever means it is heard soon, if only by a keep-alive. */
static void test_a_client_that_says_nothing_is_given_up(void)
{
    udt_handshake_t request = peer_request(UDT_MODE_STREAM, 1400);
    for (int speaks = 0; speaks < 2; speaks++) {
        open_conn(plain());
        int64_t start_ns = now_ns;
        CHECK_EQ(udt_conn_accept(&c, &request, now_ns), 0);
        while (c.state == UDT_CONN_CONNECTED && now_ns < start_ns + 6 * SEC) {
            now_ns = udt_conn_deadline_ns(&c) > now_ns ? udt_conn_deadline_ns(&c) : now_ns;
            emit();
            peer_handshake(UDT_REQUEST_RESPONSE, ISN, 1400, OWN_ID); /* tells nothing new */
            if (speaks && now_ns >= start_ns + 4 * SEC)
                peer_control(UDT_TYPE_KEEPALIVE, 0);
        }
        CHECK_EQ(c.state, speaks ? UDT_CONN_CONNECTED : UDT_CONN_BROKEN);
        CHECK_EQ(c.error, speaks ? UDT_OK : UDT_ECONNSETUP);
        CHECK(speaks || now_ns == start_ns + 5 * SEC);
        close_conn();
    }
}

static void test_a_server_repeats_its_answer_until_it_is_heard(void)
{
    udt_handshake_t request = peer_request(UDT_MODE_STREAM, 1400);
    udt_view_t view;
    open_conn(plain());
    CHECK_EQ(udt_conn_accept(&c, &request, now_ns), 0);
    CHECK_EQ(udt_conn_accept(&c, &request, now_ns), -EINVAL);
    emit();
    udt_handshake_t hs = last_handshake();
    CHECK_EQ(hs.request, UDT_REQUEST_RESPONSE);
    CHECK_EQ(hs.isn, ISN);
    CHECK_EQ(hs.mss, 1400);
    CHECK_EQ(hs.cookie, 77);
    CHECK_EQ(hs.socket_id, OWN_ID);
    /* Its data waits a moment, and goes out behind another answer: a client that is not connected
     * would lose it, or be misled. */
    udt_conn_send(&c, "hello", 5, now_ns);
    emit();
    CHECK_EQ(outs, 0);
    CHECK_EQ(udt_conn_deadline_ns(&c), now_ns + 10 * MS);
    now_ns += 10 * MS;
    emit();
    CHECK_EQ(emitted(UDT_TYPE_HANDSHAKE, &view), 1);
    CHECK(out[0].head_bytes == UDT_HANDSHAKE_BYTES && !(out[1].head[0] & 0x80));
    peer_control(UDT_TYPE_KEEPALIVE, 0);
    udt_conn_send(&c, "hello", 5, now_ns);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_HANDSHAKE, &view), 0);
    close_conn();
}

static void test_a_late_handshake_is_answered_and_changes_nothing(void)
{
    udt_view_t view;
    get_accepted(plain());
    CHECK_EQ(peer_handshake(UDT_REQUEST_REGULAR, ISN, 1500, OWN_ID), 0);
    emit();
    CHECK_EQ(last_handshake().request, UDT_REQUEST_RESPONSE);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, ISN + 5, 1500, OWN_ID), 0);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_HANDSHAKE, &view), 0);
    CHECK_EQ(c.state, UDT_CONN_CONNECTED);
    close_conn();
}

static void test_a_rendezvous(void)
{
    udt_view_t view;
    udt_conn_config_t config = plain();
    config.rendezvous = true;
    open_conn(config);
    udt_conn_connect(&c, now_ns);
    emit();
    CHECK_EQ(last_handshake().request, UDT_REQUEST_RENDEZVOUS);
    CHECK_EQ(peer_handshake(UDT_REQUEST_REGULAR, 5, 1500, 0), -EPROTO);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RENDEZVOUS, 5, 1500, 0), 0);
    emit();
    CHECK_EQ(last_handshake().request, UDT_REQUEST_RESPONSE);
    CHECK_EQ(emitted(UDT_TYPE_HANDSHAKE, &view), 1);
    CHECK_EQ(view.socket_id, PEER_ID);
    CHECK_EQ(c.state, UDT_CONN_CONNECTING);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, 5, 1500, OWN_ID), 0);
    CHECK_EQ(c.state, UDT_CONN_CONNECTED);
    CHECK_EQ(udt_rcvbuf_ready_seq(&c.rcv.buffer), 5);
    CHECK_EQ(udt_sndbuf_next_seq(&c.snd.buffer), ISN);
    peer_handshake(UDT_REQUEST_RESPONSE, 5, 1500, OWN_ID);
    emit();
    CHECK_EQ(last_handshake().request, UDT_REQUEST_AGREED);
    peer_handshake(UDT_REQUEST_AGREED, 5, 1500, OWN_ID);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_HANDSHAKE, &view), 0);
    close_conn();
}

static void test_data_says_that_a_rendezvous_is_agreed(void)
{
    udt_conn_config_t config = plain();
    config.rendezvous = true;
    open_conn(config);
    udt_conn_connect(&c, now_ns);
    CHECK_EQ(peer_data(5, 100), -EPROTO); /* of nobody yet */
    CHECK_EQ(peer_handshake(UDT_REQUEST_RENDEZVOUS, 5, 1500, 0), 0);
    CHECK_EQ(peer_data(5, 100), 0);
    CHECK_EQ(c.state, UDT_CONN_CONNECTED);
    CHECK_EQ(c.rcv.buffer.ready_bytes, 100);
    close_conn();
}

/* A libudt end that is not connected yet takes data and keep-alives for our consent, but anything
 * else for the end of its waiting: it believes itself connected, and is not. */
static void test_a_rendezvous_begins_with_no_ack(void)
{
    udt_view_t view;
    uint8_t byte;
    udt_conn_config_t config = plain();
    config.rendezvous = true;
    open_conn(config);
    udt_conn_connect(&c, now_ns);
    CHECK_EQ(app_read(&c, &byte, 1, now_ns), 0);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RENDEZVOUS, 5, 1500, 0), 0);
    CHECK_EQ(app_read(&c, &byte, 1, now_ns), 0);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, 5, 1500, OWN_ID), 0);
    CHECK_EQ(app_read(&c, &byte, 1, now_ns), 0);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_KEEPALIVE, &view), 1);
    CHECK_EQ(outs, 1);
    close_conn();
}

int main(void)
{
    RUN(test_a_server_that_does_not_answer);
    RUN(test_a_client_repeats_its_cookie_and_begins_anew);
    RUN(test_answers_that_do_not_do);
    RUN(test_an_answer_without_version_and_type_does);
    RUN(test_a_client_that_says_nothing_is_given_up);
    RUN(test_a_server_repeats_its_answer_until_it_is_heard);
    RUN(test_a_late_handshake_is_answered_and_changes_nothing);
    RUN(test_a_rendezvous);
    RUN(test_data_says_that_a_rendezvous_is_agreed);
    RUN(test_a_rendezvous_begins_with_no_ack);
    return rt_test_result();
}
