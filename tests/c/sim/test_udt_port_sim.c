/* Many clients and one server port, over one bad link each way, in virtual time. Each client says
 * hello with a stream of its own and leaves; the server has room for fewer than come. RT_TEST_SEED,
 * RT_TEST_ROUNDS. */
#include "proto/impair/impair.h"
#include "proto/udt/udt_port.h"
#include "rt_test.h"
#include "udt_app.h"

#define MS RT_NS_PER_MS
#define SEC RT_NS_PER_S

enum { CLIENTS = 120, ROOM = 100, STREAM = 30000, BATCH = 16, SEND_RING = 20000, SLOTS = 64 };

typedef struct socket {
    udt_conn_t conn;
    udt_stats_t stats;
    void *own;
    uint8_t *send;
    uint8_t *receive;
    bool used;
    uint64_t sent;
    uint64_t received;
    unsigned client; /* the number it belongs to */
    bool spoilt;
} socket_t;

static socket_t clients[CLIENTS];
static socket_t servers[ROOM];
static udt_port_t port;
static void *port_memory;
static udt_listener_t listener;
static const udt_secret_t secret = {{5, 6}};
static impair_t up;
static impair_t down;
static int64_t now_ns;
static unsigned refused;
static unsigned finished;

static udt_address_t address(unsigned client)
{
    return (udt_address_t){.ip = {10, 0, 0, (uint8_t)client}, .port = (uint16_t)(2000 + client)};
}

static uint8_t byte_at(unsigned client, uint64_t position)
{
    return (uint8_t)(client * 31 + position * 7 + (position >> 8));
}

static void open_socket(socket_t *s, uint32_t id)
{
    udt_conn_config_t config = {
        .mode = UDT_MODE_STREAM,
        .socket_id = id,
        .isn = id * 7919u & UDT_SEQ_MASK,
        .mss_bytes = 1000,
        .window_packets = SLOTS,
        .send_bytes = SEND_RING,
        .send_packets = SLOTS,
        .receive_packets = SLOTS,
        .linger_ns = 60 * SEC,
        .connect_ns = 20 * SEC,
        .cc = {.kind = UDT_CC_FIXED, .rate_bps = 2000000},
    };
    memset(s, 0, sizeof *s);
    s->own = calloc(1, udt_conn_memory_bytes(&config));
    s->send = malloc(config.send_bytes);
    s->receive = malloc(udt_conn_receive_bytes(&config));
    udt_conn_memory_t memory = {.own = s->own, .send = s->send, .receive = s->receive};
    CHECK_EQ(udt_conn_init(&s->conn, &config, &memory, &s->stats, now_ns), 0);
    s->used = true;
}

static void close_socket(socket_t *s)
{
    free(s->own);
    free(s->send);
    free(s->receive);
    s->used = false;
}

/* --- the server ---------------------------------------------------------------------------- */

static void offer(impair_t *link, const void *data, uint32_t size, unsigned client)
{
    impair_in_t in = {.data = data, .len = size, .tag_bytes = sizeof client, .tag = &client};
    CHECK(impair_offer(link, &in, now_ns) >= 0);
}

static socket_t *free_server(void)
{
    for (unsigned i = 0; i < ROOM; i++) {
        if (!servers[i].used)
            return &servers[i];
    }
    return NULL;
}

static void accept_one(const udt_handshake_t *request, unsigned client)
{
    socket_t *s = free_server();
    udt_address_t from = address(client);
    if (s == NULL) {
        uint8_t reply[UDT_HANDSHAKE_BYTES];
        udt_listener_refuse(request, reply);
        offer(&down, reply, sizeof reply, client);
        return;
    }
    open_socket(s, udt_port_new_id(&port));
    s->client = client;
    CHECK_EQ(udt_conn_accept(&s->conn, request, now_ns), 0);
    CHECK_EQ(udt_port_add(&port, &s->conn, &from), 0);
}

static void server_receives(const impair_out_t *in, unsigned client)
{
    static udt_port_result_t result;
    udt_address_t from = address(client);
    switch (udt_port_receive(&port, in->data, in->len, &from, now_ns, now_ns, &result)) {
    case UDT_PORT_REPLY:
        offer(&down, result.reply, sizeof result.reply, client);
        break;
    case UDT_PORT_REQUEST:
        accept_one(&result.request, client);
        break;
    case UDT_PORT_CONN:
    case UDT_PORT_DROPPED:
        break;
    }
}

/* --- everybody ----------------------------------------------------------------------------- */

static void emit_all(socket_t *s, impair_t *link)
{
    udt_out_t out[BATCH];
    uint8_t data[1500];
    size_t n;
    do {
        n = udt_conn_emit(&s->conn, out, BATCH, now_ns);
        for (size_t i = 0; i < n; i++) {
            memcpy(data, out[i].head, out[i].head_bytes);
            if (out[i].payload_bytes > 0)
                memcpy(data + out[i].head_bytes, out[i].payload, out[i].payload_bytes);
            offer(link, data, out[i].head_bytes + out[i].payload_bytes, s->client);
        }
    } while (n == BATCH);
}

static void client_works(socket_t *s)
{
    while (s->conn.state == UDT_CONN_CONNECTED && s->sent < STREAM) {
        uint8_t data[500];
        for (unsigned i = 0; i < sizeof data; i++)
            data[i] = byte_at(s->client, s->sent + i);
        int64_t taken = udt_conn_send(&s->conn, data, sizeof data, now_ns);
        s->sent += (uint64_t)taken;
        if (taken < (int64_t)sizeof data)
            break;
    }
    if (s->conn.state == UDT_CONN_CONNECTED && s->sent >= STREAM)
        udt_conn_close(&s->conn, now_ns);
    emit_all(s, &up);
}

static void server_works(socket_t *s)
{
    uint8_t data[1000];
    size_t n;
    while ((n = app_read(&s->conn, data, sizeof data, now_ns)) > 0) {
        for (size_t i = 0; i < n; i++)
            s->spoilt |= data[i] != byte_at(s->client, s->received + i);
        s->received += n;
    }
    emit_all(s, &down);
    if (s->conn.state < UDT_CONN_BROKEN)
        return;
    CHECK(!s->spoilt);
    CHECK(s->received >= STREAM);
    finished++;
    CHECK_EQ(udt_port_remove(&port, &s->conn), 0);
    close_socket(s);
}

static int64_t sooner(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

static int64_t next_ns(void)
{
    int64_t at_ns = sooner(impair_deadline_ns(&up), impair_deadline_ns(&down));
    for (unsigned i = 0; i < CLIENTS; i++)
        at_ns = sooner(at_ns, udt_conn_deadline_ns(&clients[i].conn));
    for (unsigned i = 0; i < ROOM; i++) {
        if (servers[i].used)
            at_ns = sooner(at_ns, udt_conn_deadline_ns(&servers[i].conn));
    }
    return at_ns;
}

static void work(void)
{
    impair_out_t in;
    unsigned client;
    while (impair_emit(&up, &in, 1, now_ns) == 1) {
        memcpy(&client, in.tag, sizeof client);
        server_receives(&in, client);
    }
    while (impair_emit(&down, &in, 1, now_ns) == 1) {
        memcpy(&client, in.tag, sizeof client);
        udt_conn_receive(&clients[client].conn, in.data, in.len, now_ns, now_ns);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        client_works(&clients[i]);
    for (unsigned i = 0; i < ROOM; i++) {
        if (servers[i].used)
            server_works(&servers[i]);
    }
}

static void *open_link(impair_t *link, uint64_t seed)
{
    impair_config_t config = {.loss = 0.03,
                              .duplicate = 0.03,
                              .reorder = 0.03,
                              .delay_ns = 20 * MS,
                              .jitter_ns = 3 * MS,
                              .max_datagram_bytes = 1500,
                              .seed = seed};
    size_t bytes = impair_memory_bytes(&config);
    void *memory = malloc(bytes);
    CHECK_EQ(impair_init(link, &config, memory, bytes), 0);
    return memory;
}

/* Returns how many were refused. */
static unsigned one_round(uint64_t seed)
{
    int failures = atomic_load(&rt_test_failure_count);
    now_ns = 100 * SEC;
    refused = finished = 0;
    void *up_memory = open_link(&up, seed);
    void *down_memory = open_link(&down, seed + 1);
    port_memory = malloc(udt_port_memory_bytes(ROOM));
    udt_port_init(&port, port_memory, ROOM, &secret);
    udt_listener_init(&listener, UDT_MODE_STREAM, &secret);
    udt_port_listen(&port, &listener);
    for (unsigned i = 0; i < CLIENTS; i++) {
        open_socket(&clients[i], 5000 + i);
        clients[i].client = i;
        udt_conn_connect(&clients[i].conn, now_ns);
    }
    int64_t end_ns = now_ns + 120 * SEC;
    for (int64_t at_ns = now_ns; at_ns < end_ns; at_ns = next_ns()) {
        now_ns = at_ns > now_ns ? at_ns : now_ns;
        work();
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        CHECK_EQ(clients[i].conn.state, UDT_CONN_CLOSED);
        refused += clients[i].conn.error == UDT_ECONNREJ;
        close_socket(&clients[i]);
    }
    CHECK_EQ(finished + refused, CLIENTS);
    CHECK(finished >= ROOM);
    CHECK_EQ(port.count, 0);
    CHECK_EQ(listener.counters.bad_cookie, 0);
    free(port_memory);
    free(up_memory);
    free(down_memory);
    if (atomic_load(&rt_test_failure_count) > failures)
        printf("RT_TEST_SEED=%" PRIu64 ": %u served, %u refused\n", seed, finished, refused);
    return refused;
}

static void test_more_clients_than_there_is_room_for(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    uint64_t rounds = rt_test_env_u64("RT_TEST_ROUNDS", 20);
    printf("seed %" PRIu64 ", %" PRIu64 " rounds\n", seed, rounds);
    unsigned turned_away = 0;
    for (uint64_t i = 0; i < rounds; i++)
        turned_away += one_round(seed + i);
    /* Losses may spread the clients so that each finds room: once in some hundred rounds. */
    CHECK(rounds < 10 || turned_away > 0);
}

int main(void)
{
    RUN(test_more_clients_than_there_is_room_for);
    return rt_test_result();
}
