/* Any datagrams, from a few addresses, for a UDP port with a listener, accepted connections,
 * clients and sides of a rendezvous.
 *
 *     steps: what to do (4 bits) and from which address (4 bits), and what that needs
 *
 * No datagram may bring about a connection without the cookie of its address; a datagram reaches a
 * connection only from its peer's address; the tables find what is there and nothing else. */
#include "proto/udt/udt_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

enum { CAPACITY = 6, MAX_STEPS = 2000, SEND_BYTES = 64, OWN_BYTES = 4096, RECEIVE_BYTES = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *at;
    const uint8_t *end;
} input_t;

typedef struct slot {
    udt_conn_t conn;
    udt_stats_t stats;
    udt_address_t peer;
    uint64_t own[OWN_BYTES / 8];
    uint8_t send[SEND_BYTES];
    uint8_t receive[RECEIVE_BYTES];
    bool used;
} slot_t;

static slot_t slots[CAPACITY];
static udt_port_t port;
static udt_listener_t listener;
static const udt_secret_t secret = {{9, 8}};
static void *port_memory;
static int64_t now_ns;

static uint8_t take(input_t *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static udt_address_t address(unsigned n)
{
    return (udt_address_t){.ip = {1, 2, 3, (uint8_t)(n & 3)}, .port = (uint16_t)(n >> 2)};
}

static slot_t *free_slot(void)
{
    for (unsigned i = 0; i < CAPACITY; i++) {
        if (!slots[i].used)
            return &slots[i];
    }
    return NULL;
}

static void open_slot(slot_t *s, uint32_t id, bool rendezvous, const udt_address_t *peer)
{
    udt_conn_config_t config = {.mode = UDT_MODE_STREAM,
                                .rendezvous = rendezvous,
                                .socket_id = id,
                                .isn = 5,
                                .mss_bytes = 108,
                                .window_packets = 32,
                                .send_bytes = SEND_BYTES,
                                .send_packets = 4,
                                .receive_packets = 32};
    udt_conn_memory_t memory = {.own = s->own, .send = s->send, .receive = s->receive};
    REQUIRE(udt_conn_memory_bytes(&config) <= OWN_BYTES);
    REQUIRE(udt_conn_receive_bytes(&config) <= RECEIVE_BYTES);
    memset(&s->stats, 0, sizeof s->stats);
    REQUIRE(udt_conn_init(&s->conn, &config, &memory, &s->stats, now_ns) == 0);
    s->peer = *peer;
    s->used = true;
}

static slot_t *slot_of(const udt_conn_t *conn)
{
    for (unsigned i = 0; i < CAPACITY; i++) {
        if (slots[i].used && conn == &slots[i].conn)
            return &slots[i];
    }
    return NULL;
}

/* Only who repeats the cookie gets as far as this. */
static void accept_one(const udt_handshake_t *request, const udt_address_t *from)
{
    uint8_t reply[UDT_HANDSHAKE_BYTES];
    slot_t *s = free_slot();
    REQUIRE(udt_cookie_is_good(&secret, from, request->cookie, now_ns));
    REQUIRE(request->version == UDT_VERSION && udt_handshake_is_valid(request));
    if (s == NULL) {
        udt_listener_refuse(request, reply);
        return;
    }
    open_slot(s, udt_port_new_id(&port), false, from);
    REQUIRE(udt_conn_accept(&s->conn, request, now_ns) == 0);
    REQUIRE(udt_port_add(&port, &s->conn, from) == 0);
}

/* Not even if it comes back from where it went, where its cookie is good. */
static void answer_is_no_request(const udt_address_t *to, const uint8_t answer[UDT_HANDSHAKE_BYTES])
{
    static udt_port_result_t again;
    udt_port_verdict_t verdict =
        udt_port_receive(&port, answer, UDT_HANDSHAKE_BYTES, to, now_ns, now_ns, &again);
    REQUIRE(verdict == UDT_PORT_DROPPED || verdict == UDT_PORT_CONN);
}

static void receive(const uint8_t *data, size_t size, const udt_address_t *from)
{
    static udt_port_result_t result;
    uint8_t *exact = malloc(size > 0 ? size : 1); /* for the sanitizer to see its end */
    memcpy(exact, data, size);
    udt_port_verdict_t verdict =
        udt_port_receive(&port, exact, size, from, now_ns, now_ns, &result);
    free(exact);
    if (verdict == UDT_PORT_REPLY) {
        answer_is_no_request(from, result.reply);
    } else if (verdict == UDT_PORT_REQUEST) {
        accept_one(&result.request, from);
    } else if (verdict == UDT_PORT_CONN) {
        slot_t *s = slot_of(result.conn);
        REQUIRE(s != NULL && udt_address_equals(&s->peer, from));
    }
}

static void receive_raw(input_t *in, const udt_address_t *from)
{
    size_t size = take(in);
    size_t left = (size_t)(in->end - in->at);
    size = size < left ? size : left;
    receive(in->at, size, from);
    in->at += size;
}

/* Of a socket here, or the one after it. */
static uint32_t some_id(input_t *in)
{
    uint8_t which = take(in);
    return slots[which % CAPACITY].conn.config.socket_id + (which & 128 ? 1 : 0);
}

static void receive_handshake(input_t *in, const udt_address_t *from)
{
    static const int32_t requests[] = {1, -1, -1, -1, 0, -2, 1002, 3};
    uint8_t data[UDT_HANDSHAKE_BYTES];
    uint8_t how = take(in);
    udt_handshake_t hs = {
        .version = how & 8 ? take(in) : 4,
        .mode = how & 16 ? take(in) : UDT_MODE_STREAM,
        .isn = take(in) % 4u,
        .mss = how & 32 ? take(in) : 1500,
        .window_packets = how & 64 ? take(in) : 32,
        .request = requests[how & 7],
        .socket_id = take(in) % 4u,
        .cookie = udt_cookie_make(&secret, from, now_ns),
    };
    if (how & 128 || hs.request == UDT_REQUEST_REGULAR)
        hs.cookie = how & 128 ? take(in) : UDT_NO_COOKIE;
    udt_put_handshake(data, &hs, take(in) % 12u == 0 ? 0 : some_id(in));
    receive(data, sizeof data, from);
}

static void receive_control(input_t *in, const udt_address_t *from)
{
    uint8_t data[UDT_CONTROL_BYTES];
    udt_type_t type = take(in) & 1 ? UDT_TYPE_KEEPALIVE : UDT_TYPE_SHUTDOWN;
    receive(data, udt_put_control(data, type, 0, some_id(in)), from);
}

static void open_another(input_t *in, const udt_address_t *peer)
{
    slot_t *s = free_slot();
    if (s == NULL)
        return;
    open_slot(s, udt_port_new_id(&port), take(in) & 1, peer);
    udt_conn_connect(&s->conn, now_ns);
    REQUIRE(udt_port_add(&port, &s->conn, peer) == 0);
}

static void remove_one(input_t *in)
{
    slot_t *s = &slots[take(in) % CAPACITY];
    REQUIRE(udt_port_remove(&port, &s->conn) == (s->used ? 0 : -ENOENT));
    s->used = false;
}

static void check(void)
{
    uint32_t used = 0;
    for (unsigned i = 0; i < CAPACITY; i++) {
        const slot_t *s = &slots[i];
        if (!s->used)
            continue;
        used++;
        REQUIRE(udt_port_find(&port, s->conn.config.socket_id) == &s->conn);
    }
    REQUIRE(port.count == used);
}

static void step(input_t *in, uint8_t what, const udt_address_t *from)
{
    udt_out_t out[4];
    switch (what) {
    case 0:
    case 1:
        receive_raw(in, from);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        receive_handshake(in, from);
        break;
    case 6:
    case 7:
        receive_control(in, from);
        break;
    case 8:
        open_another(in, from);
        break;
    case 9:
        remove_one(in);
        break;
    case 10:
        udt_port_listen(&port, &listener);
        break;
    case 11:
        udt_port_listen(&port, NULL);
        break;
    case 12:
        now_ns += take(in) * RT_NS_PER_S;
        break;
    default:
        for (unsigned i = 0; i < CAPACITY; i++) {
            if (slots[i].used)
                (void)udt_conn_emit(&slots[i].conn, out, 4, now_ns);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t in = {data, data + size};
    memset(slots, 0, sizeof slots);
    port_memory = malloc(udt_port_memory_bytes(CAPACITY));
    udt_port_init(&port, port_memory, CAPACITY, &secret);
    port.ids = take(&in);
    udt_listener_init(&listener, UDT_MODE_STREAM, &secret);
    udt_port_listen(&port, &listener);
    now_ns = 1000 * RT_NS_PER_S;
    for (unsigned i = 0; i < MAX_STEPS && in.at < in.end; i++) {
        uint8_t what = take(&in);
        udt_address_t from = address(what >> 4);
        now_ns += RT_NS_PER_MS;
        step(&in, what & 15, &from);
        check();
    }
    free(port_memory);
    return 0;
}
