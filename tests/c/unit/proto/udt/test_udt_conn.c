/* One connection, fed by hand: what it says to what, and when. */
#include "proto/udt/udt_conn.h"

#include "rt_test.h"

#include "base/rt_err.h"

#include <errno.h>

#define MS RT_NS_PER_MS
#define SEC RT_NS_PER_S

enum { OWN_ID = 500, PEER_ID = 900, ISN = 1000, PAYLOAD = 1456, MAX_OUT = 256 };

static udt_conn_t c;
static udt_stats_t stats;
static void *own;
static uint8_t *send_ring;
static uint8_t *receive_slots;
static udt_out_t out[MAX_OUT];
static size_t outs;
static int64_t now_ns;

static udt_conn_config_t plain(void)
{
    return (udt_conn_config_t){
        .mode = UDT_MODE_STREAM,
        .socket_id = OWN_ID,
        .isn = ISN,
        .mss_bytes = 1500,
        .window_packets = 512,
        .send_bytes = 1 << 20,
        .send_packets = 700,
        .receive_packets = 512,
        .linger_ns = 5 * SEC,
        .burst_ns = MS,
        .peer_address = {10, 1, 2, 3},
        .cc = {.kind = UDT_CC_FIXED, .rate_bps = UINT64_C(1000000000000)},
    };
}

static void open_conn(udt_conn_config_t config)
{
    own = calloc(1, udt_conn_memory_bytes(&config));
    send_ring = malloc(config.send_bytes);
    receive_slots = malloc(udt_conn_receive_bytes(&config));
    udt_conn_memory_t memory = {.own = own, .send = send_ring, .receive = receive_slots};
    memset(&stats, 0, sizeof stats);
    now_ns = 100 * SEC;
    CHECK_EQ(udt_conn_init(&c, &config, &memory, &stats, now_ns), 0);
}

static void close_conn(void)
{
    free(own);
    free(send_ring);
    free(receive_slots);
}

static uint64_t counted(udt_counter_id_t id)
{
    return rt_load_relaxed(&stats.counters[id]);
}

static void emit(void)
{
    outs = udt_conn_emit(&c, out, MAX_OUT, now_ns);
}

/* How many control packets of that type came out; *view of the last one. */
static unsigned emitted(udt_type_t type, udt_view_t *view)
{
    static uint8_t data[MAX_OUT][4096];
    unsigned n = 0;
    for (size_t i = 0; i < outs; i++) {
        udt_view_t v;
        memcpy(data[i], out[i].head, out[i].head_bytes);
        if (out[i].payload_bytes > 0)
            memcpy(data[i] + out[i].head_bytes, out[i].payload, out[i].payload_bytes);
        CHECK_EQ(udt_packet_parse(data[i], out[i].head_bytes + out[i].payload_bytes, &v), 0);
        if (!v.is_control || v.type != type)
            continue;
        *view = v;
        n++;
    }
    return n;
}

static unsigned emitted_data(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < outs; i++)
        n += out[i].is_data;
    return n;
}

/* --- what the peer says -------------------------------------------------------------------- */

static int receive(const void *data, size_t size)
{
    return udt_conn_receive(&c, data, size, now_ns, now_ns);
}

static int peer_handshake(int32_t request, uint32_t isn, uint32_t mss, uint32_t to)
{
    uint8_t data[UDT_HANDSHAKE_BYTES];
    udt_handshake_t hs = {.version = 4,
                          .mode = UDT_MODE_STREAM,
                          .isn = isn,
                          .mss = mss,
                          .window_packets = 400,
                          .request = request,
                          .socket_id = PEER_ID,
                          .cookie = 0x12345678};
    udt_put_handshake(data, &hs, to);
    return receive(data, sizeof data);
}

static int peer_data(uint32_t seq, uint32_t bytes)
{
    uint8_t data[UDT_HEADER_BYTES + 2000] = {0};
    udt_put_data_header(data, seq, UDT_WORD1_SOLO | 1, 0, OWN_ID);
    return receive(data, UDT_HEADER_BYTES + bytes);
}

static int peer_ack(udt_ack_form_t form, uint32_t number, uint32_t seq, uint32_t free_packets)
{
    uint8_t data[UDT_ACK_MAX_BYTES];
    udt_ack_t ack = {
        .form = form, .number = number, .seq = seq, .rtt_us = 20000, .free_packets = free_packets};
    return receive(data, udt_put_ack(data, &ack, OWN_ID));
}

static int peer_control(udt_type_t type, uint32_t info)
{
    uint8_t data[UDT_CONTROL_BYTES];
    return receive(data, udt_put_control(data, type, info, OWN_ID));
}

static int peer_nak(uint32_t first, uint32_t last)
{
    uint8_t data[UDT_HEADER_BYTES + 8];
    udt_put_control_header(data, UDT_TYPE_NAK, 0, OWN_ID);
    return receive(data,
                   UDT_HEADER_BYTES + udt_put_nak_range(data + UDT_HEADER_BYTES, first, last));
}

static void get_accepted(udt_conn_config_t config)
{
    udt_handshake_t request = {.version = 4,
                               .mode = (uint32_t)config.mode,
                               .isn = ISN,
                               .mss = 1500,
                               .window_packets = 400,
                               .request = -1,
                               .socket_id = PEER_ID,
                               .cookie = 77};
    udt_view_t view;
    open_conn(config);
    CHECK_EQ(udt_conn_accept(&c, &request, now_ns), 0);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_HANDSHAKE, &view), 1);
    peer_control(UDT_TYPE_KEEPALIVE, 0);
    emit();
    udt_conn_take_events(&c);
}

/* --- configuration ------------------------------------------------------------------------- */

static void test_each_field_has_limits(void)
{
    udt_conn_config_t bad[11];
    for (int i = 0; i < 11; i++)
        bad[i] = plain();
    bad[0].mode = (udt_mode_t)3;
    bad[1].socket_id = 0;
    bad[2].isn = UDT_SEQ_MASK + 1;
    bad[3].mss_bytes = 75;
    bad[4].window_packets = 31;
    bad[5].send_bytes = 0;
    bad[6].send_packets = 1;
    bad[7].receive_packets = 31;
    bad[8].linger_ns = -1;
    bad[9].connect_ns = -1;
    bad[10].burst_ns = -1;
    for (int i = 0; i < 11; i++) {
        rt_err_clear();
        CHECK_EQ(udt_conn_config_check(&bad[i]), -EINVAL);
        CHECK(rt_err_text()[0] != '\0');
    }
    bad[0] = plain();
    CHECK_EQ(udt_conn_config_check(&bad[0]), 0);
}

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

static void test_a_server_repeats_its_answer_until_it_is_heard(void)
{
    udt_handshake_t request = {.version = 4,
                               .mode = 1,
                               .isn = ISN,
                               .mss = 1400,
                               .window_packets = 64,
                               .request = -1,
                               .socket_id = PEER_ID,
                               .cookie = 77};
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
    CHECK(out[0].head_bytes == UDT_HANDSHAKE_BYTES && out[1].is_data);
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
    CHECK_EQ(udt_conn_read(&c, &byte, 1, now_ns), 0);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RENDEZVOUS, 5, 1500, 0), 0);
    CHECK_EQ(udt_conn_read(&c, &byte, 1, now_ns), 0);
    CHECK_EQ(peer_handshake(UDT_REQUEST_RESPONSE, 5, 1500, OWN_ID), 0);
    CHECK_EQ(udt_conn_read(&c, &byte, 1, now_ns), 0);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_KEEPALIVE, &view), 1);
    CHECK_EQ(outs, 1);
    close_conn();
}

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
        udt_conn_read(&c, sink, sizeof sink, now_ns);
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
    CHECK_EQ(udt_conn_read(&c, sink, sizeof sink, now_ns), 511 * PAYLOAD);
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

/* --- sending ------------------------------------------------------------------------------- */

static void give(uint32_t bytes)
{
    uint8_t *at;
    CHECK(udt_sndbuf_room(udt_conn_send_buffer(&c), &at) >= bytes);
    memset(at, 0x55, bytes);
    CHECK_EQ(udt_conn_commit(&c, bytes, now_ns), 0);
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
    CHECK_EQ(udt_get32(out[0].head), ISN + 3);
    CHECK(out[0].payload == send_ring + 3 * PAYLOAD);
    CHECK_EQ(udt_get32(out[1].head), ISN + 4);
    CHECK_EQ(udt_get32(out[2].head), ISN + 20);
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
    CHECK_EQ(udt_conn_send_message(&c, message, sizeof message, 50, true, now_ns), 0);
    CHECK_EQ(udt_conn_send_message(&c, message, 100, -1, true, now_ns), 0);
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
    CHECK_EQ(udt_conn_read(&c, text, sizeof text, now_ns), 4);
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
    RUN(test_each_field_has_limits);
    RUN(test_a_server_that_does_not_answer);
    RUN(test_a_client_repeats_its_cookie_and_begins_anew);
    RUN(test_answers_that_do_not_do);
    RUN(test_an_answer_without_version_and_type_does);
    RUN(test_a_server_repeats_its_answer_until_it_is_heard);
    RUN(test_a_late_handshake_is_answered_and_changes_nothing);
    RUN(test_a_rendezvous);
    RUN(test_data_says_that_a_rendezvous_is_agreed);
    RUN(test_a_rendezvous_begins_with_no_ack);
    RUN(test_acks_come_every_ten_milliseconds);
    RUN(test_an_ack_without_answer_is_repeated);
    RUN(test_a_light_ack_for_64_packets);
    RUN(test_a_gap_is_told_at_once_and_again);
    RUN(test_many_holes_take_several_naks);
    RUN(test_a_full_buffer_opens_again);
    RUN(test_what_does_not_fit_is_refused_and_counted);
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
