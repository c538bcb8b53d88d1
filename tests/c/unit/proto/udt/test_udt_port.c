/* A port with many sockets: tables against a model, requests that are repeated, floods. */
#include "proto/udt/udt_port.h"

#include "rt_test.h"

#include <errno.h>

#define SEC RT_NS_PER_S
#define NOW (1000 * SEC)

enum { CAPACITY = 50, CONNS = 60 };

static udt_port_t p;
static void *memory;
static udt_listener_t listener;
static udt_conn_t conns[CONNS];
static udt_stats_t stats[CONNS];
static void *owns[CONNS];
static uint8_t send_ring[100];
static uint8_t receive_slots[64 * 64];
static const udt_secret_t secret = {{11, 22}};
static udt_port_result_t result;

static udt_address_t address(uint32_t n)
{
    return (udt_address_t){.ip = {10, 0, (uint8_t)(n >> 8), (uint8_t)n}, .port = (uint16_t)(n + 1)};
}

static udt_conn_config_t small(uint32_t id, bool rendezvous)
{
    return (udt_conn_config_t){.mode = UDT_MODE_STREAM,
                               .rendezvous = rendezvous,
                               .socket_id = id,
                               .isn = 7,
                               .mss_bytes = 108,
                               .window_packets = 32,
                               .send_bytes = sizeof send_ring,
                               .send_packets = 2,
                               .receive_packets = 32};
}

/* They share the bytes; no data is sent here. */
static void open_conn(unsigned i, uint32_t id, bool rendezvous)
{
    udt_conn_config_t config = small(id, rendezvous);
    free(owns[i]);
    owns[i] = calloc(1, udt_conn_memory_bytes(&config));
    udt_conn_memory_t m = {.own = owns[i], .send = send_ring, .receive = receive_slots};
    memset(&stats[i], 0, sizeof stats[i]);
    CHECK_EQ(udt_conn_init(&conns[i], &config, &m, &stats[i], NOW), 0);
}

static void open_port(void)
{
    memory = malloc(udt_port_memory_bytes(CAPACITY));
    udt_port_init(&p, memory, CAPACITY, &secret);
    udt_listener_init(&listener, UDT_MODE_STREAM, &secret);
}

static void close_port(void)
{
    free(memory);
    for (unsigned i = 0; i < CONNS; i++) {
        free(owns[i]);
        owns[i] = NULL;
    }
}

static udt_port_verdict_t give_handshake(int32_t request, uint32_t id, uint32_t isn,
                                         const udt_address_t *from, uint32_t to)
{
    uint8_t data[UDT_HANDSHAKE_BYTES];
    udt_handshake_t hs = {.version = 4,
                          .mode = UDT_MODE_STREAM,
                          .isn = isn,
                          .mss = 1500,
                          .window_packets = 100,
                          .request = request,
                          .socket_id = id,
                          .cookie = request == UDT_REQUEST_REGULAR
                                        ? UDT_NO_COOKIE
                                        : udt_cookie_make(&secret, from, NOW)};
    udt_put_handshake(data, &hs, to);
    return udt_port_receive(&p, data, sizeof data, from, NOW, NOW, &result);
}

static udt_port_verdict_t give_keepalive(uint32_t to, const udt_address_t *from)
{
    uint8_t data[UDT_CONTROL_BYTES];
    size_t size = udt_put_control(data, UDT_TYPE_KEEPALIVE, 0, to);
    return udt_port_receive(&p, data, size, from, NOW, NOW, &result);
}

/* Who has connections of his own knows their ids, but not those of others. */
static void test_ids_are_far_from_each_other_and_skip_those_taken(void)
{
    open_port();
    udt_address_t peer = address(1);
    uint32_t low = 0;
    uint32_t last = udt_port_new_id(&p);
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t id = udt_port_new_id(&p);
        CHECK(id >= 1 && id <= UDT_SEQ_MASK);
        CHECK(id - last + 100 > 200);
        low += id < UDT_SEQ_MASK / 2;
        last = id;
    }
    CHECK(low > 400 && low < 600);
    p.ids--;
    open_conn(0, last, false);
    CHECK_EQ(udt_port_add(&p, &conns[0], &peer), 0);
    CHECK_EQ(udt_port_add(&p, &conns[0], &peer), -EEXIST);
    CHECK(udt_port_new_id(&p) != last);
    close_port();
}

static void test_the_tables_do_what_a_list_does(void)
{
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    bool there[CONNS] = {false};
    uint32_t count = 0;
    open_port();
    for (unsigned i = 0; i < CONNS; i++)
        open_conn(i, 1000 - i, i % 3 == 0);
    for (int step = 0; step < 20000; step++) {
        unsigned i = (unsigned)(rt_test_rand(&random) % CONNS);
        udt_address_t peer = address(i);
        udt_address_t other = address(i + 1);
        CHECK(udt_port_find(&p, 1000 - i) == (there[i] ? &conns[i] : NULL));
        if (there[i]) {
            CHECK_EQ(give_keepalive(1000 - i, &other), UDT_PORT_DROPPED);
            CHECK_EQ(give_keepalive(1000 - i, &peer), UDT_PORT_CONN);
            CHECK(result.conn == &conns[i]);
            CHECK_EQ(udt_port_remove(&p, &conns[i]), 0);
            there[i] = false;
            count--;
        } else {
            CHECK_EQ(give_keepalive(1000 - i, &peer), UDT_PORT_DROPPED);
            CHECK_EQ(udt_port_remove(&p, &conns[i]), -ENOENT);
            int rc = udt_port_add(&p, &conns[i], &peer);
            CHECK_EQ(rc, count == CAPACITY ? -ENOSPC : 0);
            there[i] = rc == 0;
            count += rc == 0;
        }
        CHECK_EQ(p.count, count);
    }
    CHECK(p.unknown_source > 0 && p.unknown_id > 0);
    close_port();
}

static void test_a_repeated_request_finds_its_connection(void)
{
    udt_address_t peer = address(5);
    udt_address_t other = address(6);
    udt_out_t out[4];
    open_port();
    udt_port_listen(&p, &listener);
    CHECK_EQ(give_handshake(UDT_REQUEST_REGULAR, 900, 44, &peer, 0), UDT_PORT_REPLY);
    CHECK_EQ(give_handshake(UDT_REQUEST_RESPONSE, 900, 44, &peer, 0), UDT_PORT_REQUEST);
    CHECK_EQ(result.request.socket_id, 900);
    open_conn(0, udt_port_new_id(&p), false);
    CHECK_EQ(udt_conn_accept(&conns[0], &result.request, NOW), 0);
    CHECK_EQ(udt_port_add(&p, &conns[0], &peer), 0);
    CHECK_EQ(udt_conn_emit(&conns[0], out, 4, NOW), 1);
    CHECK_EQ(give_handshake(UDT_REQUEST_RESPONSE, 900, 44, &peer, 0), UDT_PORT_CONN);
    CHECK(result.conn == &conns[0]);
    CHECK_EQ(udt_conn_emit(&conns[0], out, 4, NOW), 1);
    /* Another id, number or address is another connection. */
    CHECK_EQ(give_handshake(UDT_REQUEST_RESPONSE, 901, 44, &peer, 0), UDT_PORT_REQUEST);
    CHECK_EQ(give_handshake(UDT_REQUEST_RESPONSE, 900, 45, &peer, 0), UDT_PORT_REQUEST);
    CHECK_EQ(give_handshake(UDT_REQUEST_RESPONSE, 900, 44, &other, 0), UDT_PORT_REQUEST);
    /* One that is over is not answered for. */
    conns[0].state = UDT_CONN_BROKEN;
    CHECK_EQ(give_handshake(UDT_REQUEST_RESPONSE, 900, 44, &peer, 0), UDT_PORT_REQUEST);
    CHECK_EQ(udt_port_remove(&p, &conns[0]), 0);
    close_port();
}

static void test_a_rendezvous_is_found_by_its_address(void)
{
    udt_address_t peer = address(5);
    udt_address_t other = address(6);
    open_port();
    open_conn(0, 50, true);
    CHECK_EQ(udt_port_add(&p, &conns[0], &peer), 0);
    CHECK_EQ(give_handshake(UDT_REQUEST_RENDEZVOUS, 900, 44, &peer, 0), UDT_PORT_DROPPED);
    udt_conn_connect(&conns[0], NOW);
    CHECK_EQ(give_handshake(UDT_REQUEST_RENDEZVOUS, 900, 44, &other, 0), UDT_PORT_DROPPED);
    CHECK_EQ(give_handshake(UDT_REQUEST_RENDEZVOUS, 900, 44, &peer, 0), UDT_PORT_CONN);
    CHECK_EQ(give_handshake(UDT_REQUEST_RESPONSE, 900, 44, &peer, 50), UDT_PORT_CONN);
    CHECK_EQ(conns[0].state, UDT_CONN_CONNECTED);
    CHECK_EQ(give_handshake(UDT_REQUEST_RENDEZVOUS, 900, 44, &peer, 0), UDT_PORT_DROPPED);
    /* A listener takes what is for nobody. */
    udt_port_listen(&p, &listener);
    CHECK_EQ(give_handshake(UDT_REQUEST_REGULAR, 900, 44, &peer, 0), UDT_PORT_REPLY);
    udt_port_listen(&p, NULL);
    CHECK_EQ(give_handshake(UDT_REQUEST_REGULAR, 900, 44, &peer, 0), UDT_PORT_DROPPED);
    close_port();
}

/* Half-open requests leave nothing behind. */
static void test_a_flood_takes_no_memory(void)
{
    open_port();
    udt_port_listen(&p, &listener);
    for (uint32_t i = 0; i < 100000; i++) {
        udt_address_t from = address(i);
        CHECK_EQ(give_handshake(UDT_REQUEST_REGULAR, i + 1, i, &from, 0), UDT_PORT_REPLY);
    }
    CHECK_EQ(p.count, 0);
    CHECK_EQ(listener.counters.cookies, 100000);
    CHECK_EQ(udt_port_receive(&p, "short", 5, &(udt_address_t){0}, NOW, NOW, &result),
             UDT_PORT_DROPPED);
    close_port();
}

int main(void)
{
    RUN(test_ids_are_far_from_each_other_and_skip_those_taken);
    RUN(test_the_tables_do_what_a_list_does);
    RUN(test_a_repeated_request_finds_its_connection);
    RUN(test_a_rendezvous_is_found_by_its_address);
    RUN(test_a_flood_takes_no_memory);
    return rt_test_result();
}
