/* udt_conn_test.h: one connection in virtual time, and what its peer
 * says, for test_udt_conn_*.c. */
#ifndef UDT_CONN_TEST_H
#define UDT_CONN_TEST_H

#include "proto/udt/udt_conn.h"

#include "rt_test.h"
#include "udt_app.h"

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

static inline udt_conn_config_t plain(void)
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

static inline void open_conn(udt_conn_config_t config)
{
    own = calloc(1, udt_conn_memory_bytes(&config));
    send_ring = malloc(config.send_bytes);
    receive_slots = malloc(udt_conn_receive_bytes(&config));
    udt_conn_memory_t memory = {.own = own, .send = send_ring, .receive = receive_slots};
    memset(&stats, 0, sizeof stats);
    now_ns = 100 * SEC;
    CHECK_EQ(udt_conn_init(&c, &config, &memory, &stats, now_ns), 0);
}

static inline void close_conn(void)
{
    free(own);
    free(send_ring);
    free(receive_slots);
}

static inline uint64_t counted(udt_counter_id_t id)
{
    return rt_load_relaxed(&stats.counters[id]);
}

static inline void emit(void)
{
    outs = udt_conn_emit(&c, out, MAX_OUT, now_ns);
}

/* How many control packets of that type came out; *view of the last one, zeros where none did. */
static inline unsigned emitted(udt_type_t type, udt_view_t *view)
{
    static uint8_t data[MAX_OUT][4096];
    unsigned n = 0;
    *view = (udt_view_t){0};
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

static inline unsigned emitted_data(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < outs; i++)
        n += !(out[i].head[0] & 0x80);
    return n;
}

/* --- what the peer says -------------------------------------------------------------------- */

static inline int receive(const void *data, size_t size)
{
    return udt_conn_receive(&c, data, size, now_ns, now_ns);
}

static inline int peer_handshake(int32_t request, uint32_t isn, uint32_t mss, uint32_t to)
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

static inline int peer_data(uint32_t seq, uint32_t bytes)
{
    uint8_t data[UDT_HEADER_BYTES + 2000] = {0};
    udt_put_data_header(data, seq, UDT_WORD1_SOLO | 1, 0, OWN_ID);
    return receive(data, UDT_HEADER_BYTES + bytes);
}

static inline int peer_ack(udt_ack_form_t form, uint32_t number, uint32_t seq,
                           uint32_t free_packets)
{
    uint8_t data[UDT_ACK_MAX_BYTES];
    udt_ack_t ack = {
        .form = form, .number = number, .seq = seq, .rtt_us = 20000, .free_packets = free_packets};
    return receive(data, udt_put_ack(data, &ack, OWN_ID));
}

static inline int peer_control(udt_type_t type, uint32_t info)
{
    uint8_t data[UDT_CONTROL_BYTES];
    return receive(data, udt_put_control(data, type, info, OWN_ID));
}

static inline int peer_nak(uint32_t first, uint32_t last)
{
    uint8_t data[UDT_HEADER_BYTES + 8];
    udt_put_control_header(data, UDT_TYPE_NAK, 0, OWN_ID);
    return receive(data,
                   UDT_HEADER_BYTES + udt_put_nak_range(data + UDT_HEADER_BYTES, first, last));
}

/* A request with a good cookie. */
static inline udt_handshake_t peer_request(udt_mode_t mode, uint32_t mss)
{
    return (udt_handshake_t){.version = 4,
                             .mode = (uint32_t)mode,
                             .isn = ISN,
                             .mss = mss,
                             .window_packets = 400,
                             .request = UDT_REQUEST_RESPONSE,
                             .socket_id = PEER_ID,
                             .cookie = 77};
}

static inline void get_accepted(udt_conn_config_t config)
{
    udt_handshake_t request = peer_request(config.mode, 1500);
    udt_view_t view;
    open_conn(config);
    CHECK_EQ(udt_conn_accept(&c, &request, now_ns), 0);
    emit();
    CHECK_EQ(emitted(UDT_TYPE_HANDSHAKE, &view), 1);
    peer_control(UDT_TYPE_KEEPALIVE, 0);
    emit();
    udt_conn_take_events(&c);
}

#endif
