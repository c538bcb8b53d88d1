/* Any bytes as the life of a UDT connection.
 *
 *     byte 0: configuration, byte 1: packet numbers near a wrap; then steps:
 *     what to do (5 bits) and how far the time moves (3 bits), and what that needs
 *
 * Datagrams are taken as they stand in the input, or put together from it with numbers near those
 * that the connection is at, for chance alone does not hit a window of 2^31 numbers.
 *
 * Nothing may be touched outside the buffers (each ends at the end of its block); a data packet
 * given out lies in the send buffer and inside the windows; an ACK never says more than came, a NAK
 * nothing that did come; nothing due stays behind; every buffer's account adds up. */
#include "proto/udt/udt_conn.h"
#include "proto/udt/udt_listener.h"

#include "../c/udt_app.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

enum { MAX_STEPS = 3000, OWN_ID = 77, MAX_OUT = 7, SEND_BYTES = 5000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *at;
    const uint8_t *end;
} input_t;

static udt_conn_t c;
static udt_stats_t stats;
static udt_conn_memory_t memory;
static int64_t now_ns;

static uint8_t take(input_t *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint32_t take32(input_t *in)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 8 | take(in);
    return v;
}

/* Small, and on both sides of 0, most of the time; sometimes from another side of the circle. */
static int32_t take_near(input_t *in)
{
    uint8_t how = take(in);
    switch (how) {
    case 0xff:
        return (int32_t)take32(in);
    case 0x80:
        return 0x38000000;
    case 0x81:
        return 0x40000000;
    case 0x82:
        return 0x70000000;
    default:
        return (int8_t)how;
    }
}

static uint32_t near(input_t *in, uint32_t seq)
{
    return (seq + (uint32_t)take_near(in)) & UDT_SEQ_MASK;
}

/* --- in ------------------------------------------------------------------------------------ */

static void receive(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1); /* for the sanitizer to see its end */
    memcpy(exact, data, size);
    udt_conn_state_t before = c.state;
    int rc = udt_conn_receive(&c, exact, size, now_ns - 1000, now_ns);
    REQUIRE(rc <= 0);
    REQUIRE(c.state >= before);
    free(exact);
}

static void receive_raw(input_t *in)
{
    size_t size = take(in);
    size_t left = (size_t)(in->end - in->at);
    size = size < left ? size : left;
    receive(in->at, size);
    in->at += size;
}

static void receive_data(input_t *in)
{
    uint8_t data[UDT_HEADER_BYTES + 64] = {0};
    uint32_t seq = near(in, c.rcv.next);
    uint8_t flags = take(in);
    uint32_t word1 = (uint32_t)(flags & 7) << 29 | (flags >> 3 & 7) | 1;
    udt_put_data_header(data, seq, word1, 0, OWN_ID);
    receive(data, UDT_HEADER_BYTES + take(in) % 65u);
}

static void receive_ack(input_t *in)
{
    static const udt_ack_form_t forms[] = {UDT_ACK_LIGHT, UDT_ACK_SHORT, UDT_ACK_FULL,
                                           UDT_ACK_FULL};
    uint8_t data[UDT_ACK_MAX_BYTES];
    uint8_t how = take(in);
    udt_ack_t ack = {
        .form = forms[how & 3],
        .number = take(in),
        .seq = how & 4 ? near(in, c.snd.last_ack) : near(in, udt_sndbuf_next_seq(&c.snd.buffer)),
        .rtt_us = how & 8 ? take32(in) : 1000,
        .free_packets = how & 16 ? take32(in) : 20,
        .arrival_pps = how & 32 ? take32(in) : 0,
        .capacity_pps = how & 64 ? take32(in) : 0,
    };
    receive(data, udt_put_ack(data, &ack, OWN_ID));
}

static void receive_nak(input_t *in)
{
    uint8_t data[UDT_HEADER_BYTES + 64];
    size_t size = UDT_HEADER_BYTES;
    udt_put_control_header(data, UDT_TYPE_NAK, 0, OWN_ID);
    for (unsigned n = 1 + take(in) % 8u; n > 0; n--) {
        uint32_t first = near(in, c.snd.last_ack);
        uint32_t last = udt_seq_skip(first, take(in) % 40u);
        size += udt_put_nak_range(data + size, first, take(in) % 16u == 0 ? near(in, last) : last);
    }
    receive(data, size);
}

static void receive_drop(input_t *in)
{
    uint8_t data[UDT_DROP_BYTES];
    udt_drop_t drop = {.message = take(in) % 8u, .first = near(in, c.rcv.next)};
    drop.last = take(in) % 16u == 0 ? near(in, drop.first) : udt_seq_skip(drop.first, take(in));
    receive(data, udt_put_drop(data, &drop, OWN_ID));
}

static void receive_control(input_t *in)
{
    static const udt_type_t types[] = {UDT_TYPE_KEEPALIVE, UDT_TYPE_CONGESTION, UDT_TYPE_SHUTDOWN,
                                       UDT_TYPE_ACK2,      UDT_TYPE_ERROR,      UDT_TYPE_ACK2,
                                       UDT_TYPE_ACK2,      UDT_TYPE_KEEPALIVE};
    uint8_t data[UDT_CONTROL_BYTES];
    udt_type_t type = types[take(in) % 8u];
    receive(data, udt_put_control(data, type, near(in, c.rcv.ack_number), OWN_ID));
}

static void receive_handshake(input_t *in)
{
    static const int32_t requests[] = {-1, 1, 0, -2, 1002, 7, -1, -1};
    uint8_t data[UDT_HANDSHAKE_BYTES];
    uint8_t how = take(in);
    udt_handshake_t hs = {
        .version = how & 8 ? take(in) : 4,
        .mode = how & 16 ? take(in) : (uint32_t)c.config.mode,
        .isn = how & 32 ? take32(in) & UDT_SEQ_MASK : c.isn,
        .mss = how & 64 ? take32(in) : 100,
        .window_packets = how & 128 ? take32(in) : 32,
        .request = requests[how & 7],
        .socket_id = 5,
        .cookie = take(in),
    };
    udt_put_handshake(data, &hs, take(in) & 1 ? 0 : OWN_ID);
    receive(data, sizeof data);
}

/* --- out ----------------------------------------------------------------------------------- */

static void check_data(const udt_out_t *out, const udt_view_t *view)
{
    const uint8_t *end = memory.send + SEND_BYTES;
    REQUIRE(out->payload_bytes > 0 && out->head_bytes == UDT_HEADER_BYTES);
    REQUIRE(out->payload >= memory.send && out->payload + out->payload_bytes <= end);
    REQUIRE(out->payload_bytes <= UDT_PAYLOAD_BYTES(c.mss_bytes));
    REQUIRE(!udt_seq_before(view->seq, c.snd.buffer.first));
    REQUIRE(udt_seq_before(view->seq, udt_sndbuf_next_seq(&c.snd.buffer)));
}

static void check_ack(const udt_view_t *view)
{
    udt_ack_t ack;
    udt_ack_read(view, &ack);
    REQUIRE(ack.seq == udt_rcvbuf_ready_seq(&c.rcv.buffer));
    REQUIRE(ack.form == UDT_ACK_LIGHT || ack.free_packets >= 2);
}

static void check_nak(const udt_view_t *view)
{
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    REQUIRE(view->body_bytes <= UDT_PAYLOAD_BYTES(c.mss_bytes));
    while (udt_nak_next(view, &at, &first, &last)) {
        REQUIRE(udt_seq_before(last, c.rcv.next));
        REQUIRE(udt_losslist_has(&c.rcv.losses, first) && udt_losslist_has(&c.rcv.losses, last));
    }
}

static void check_out(const udt_out_t *out)
{
    uint8_t data[UDT_OUT_HEAD_BYTES + 2000];
    udt_view_t view;
    memcpy(data, out->head, out->head_bytes);
    if (out->payload_bytes > 0)
        memcpy(data + out->head_bytes, out->payload, out->payload_bytes);
    REQUIRE(udt_packet_parse(data, out->head_bytes + out->payload_bytes, &view) == 0);
    if (!view.is_control)
        check_data(out, &view);
    else if (view.type == UDT_TYPE_ACK)
        check_ack(&view);
    else if (view.type == UDT_TYPE_NAK)
        check_nak(&view);
}

static void emit(uint8_t max)
{
    udt_out_t out[MAX_OUT];
    udt_conn_state_t before = c.state;
    size_t n = udt_conn_emit(&c, out, max, now_ns);
    REQUIRE(n <= max && c.state >= before);
    for (size_t i = 0; i < n; i++)
        check_out(&out[i]);
    if (n < max)
        REQUIRE(udt_conn_deadline_ns(&c) > now_ns || c.rcv.nak_due);
}

/* --- the application ----------------------------------------------------------------------- */

static void send(input_t *in)
{
    static const uint8_t data[6000];
    uint32_t n = take(in) * 8u;
    if (c.config.mode == UDT_MODE_STREAM)
        (void)udt_conn_send(&c, data, n, now_ns);
    else
        (void)app_send_message(&c, data, n, (int8_t)take(in), take(in) & 1, now_ns);
}

static void read_some(input_t *in)
{
    uint8_t data[600];
    size_t room = 1 + (size_t)take(in) * 2;
    REQUIRE(app_read(&c, data, room, now_ns) <= room);
}

static void check(void)
{
    const udt_sndbuf_t *s = &c.snd.buffer;
    const udt_rcvbuf_t *r = &c.rcv.buffer;
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < s->count; i++)
        bytes += s->packets[udt_seq_skip(s->first, i) & s->mask].bytes;
    REQUIRE(bytes + s->uncut == s->used && s->used <= s->size);
    REQUIRE(s->sent <= s->count && s->count <= s->max_packets);
    REQUIRE(r->ready <= r->held && r->held <= r->capacity && r->ready < r->capacity);
    REQUIRE(c.snd.losses.count <= s->sent);
    REQUIRE(c.rcv.losses.count <= r->capacity);
    if (c.state >= UDT_CONN_CONNECTED && c.peer_id != 0) {
        REQUIRE(!udt_seq_before(c.snd.last_ack, s->first));
        REQUIRE(!udt_seq_before(udt_sndbuf_next_seq(s), c.snd.last_ack));
        REQUIRE(!udt_seq_before(c.rcv.next, udt_rcvbuf_ready_seq(r)));
    }
    (void)udt_conn_take_events(&c);
}

static void step(input_t *in, uint8_t what)
{
    switch (what) {
    case 0:
        receive_raw(in);
        break;
    case 1:
    case 2:
    case 3:
        receive_data(in);
        break;
    case 4:
    case 5:
        receive_ack(in);
        break;
    case 6:
        receive_nak(in);
        break;
    case 7:
        receive_drop(in);
        break;
    case 8:
        receive_control(in);
        break;
    case 9:
        receive_handshake(in);
        break;
    case 10:
    case 11:
        send(in);
        break;
    case 12:
        read_some(in);
        break;
    case 13:
        udt_conn_close(&c, now_ns);
        break;
    case 14:
        udt_conn_answer_again(&c);
        break;
    case 15:
        udt_conn_report_error(&c);
        break;
    case 16:
        now_ns = udt_conn_deadline_ns(&c) < now_ns + 100 * RT_NS_PER_S &&
                         udt_conn_deadline_ns(&c) > now_ns
                     ? udt_conn_deadline_ns(&c)
                     : now_ns;
        break;
    default:
        emit(what % (MAX_OUT + 1));
        break;
    }
}

static void begin(uint8_t how, uint8_t wrap)
{
    udt_conn_config_t config = {
        .mode = how & 1 ? UDT_MODE_STREAM : UDT_MODE_MESSAGE,
        .rendezvous = (how & 2) != 0,
        .socket_id = OWN_ID,
        .isn = (UDT_SEQ_MASK - 100u + wrap) & UDT_SEQ_MASK,
        .mss_bytes = 76 + (how >> 6) * 20u,
        .window_packets = 40,
        .send_bytes = SEND_BYTES,
        .send_packets = 50,
        .receive_packets = 36,
        .linger_ns = RT_NS_PER_S,
        .burst_ns = how & 8 ? RT_NS_PER_MS : 0,
        .max_bandwidth = how & 32 ? 100000 : 0,
        .cc = {.kind = (udt_cc_kind_t)((how >> 3 & 3) % 3), .rate_bps = 1000000},
    };
    memory = (udt_conn_memory_t){
        .own = calloc(1, udt_conn_memory_bytes(&config)),
        .send = calloc(1, config.send_bytes),
        .receive = malloc(udt_conn_receive_bytes(&config)),
    };
    memset(&stats, 0, sizeof stats);
    now_ns = RT_NS_PER_S;
    REQUIRE(udt_conn_init(&c, &config, &memory, &stats, now_ns) == 0);
    if (how & 4) {
        udt_handshake_t hs = {.mode = config.mode,
                              .isn = config.isn,
                              .mss = 120,
                              .window_packets = 30,
                              .request = -1,
                              .socket_id = 9};
        REQUIRE(udt_conn_accept(&c, &hs, now_ns) == 0);
    } else {
        udt_conn_connect(&c, now_ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t in = {data, data + size};
    uint8_t how = take(&in);
    begin(how, take(&in));
    for (unsigned i = 0; i < MAX_STEPS && in.at < in.end; i++) {
        uint8_t what = take(&in);
        now_ns += (INT64_C(1000) << (what >> 5) * 4) - 1000;
        step(&in, what & 31);
        check();
    }
    free(memory.own);
    free(memory.send);
    free(memory.receive);
    return 0;
}
