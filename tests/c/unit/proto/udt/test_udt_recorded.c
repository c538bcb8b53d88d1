/* Exchanges recorded from libudt (tests/vectors/udt), with a connection of ours in the place of one
 * end: what came for that end is given to ours at the time it came. The bytes must come out, and
 * what ours says on the way must be what libudt's end said, as far as the protocol leaves no
 * choice: handshakes byte by byte, NAKs of the same numbers. */
#include "proto/udt/udt_conn.h"
#include "proto/udt/udt_listener.h"

#include "udt_app.h"
#include "udt_vectors.h"

enum { MAX_RECORDS = 200, MAX_OUT = 64 };

#define SEC RT_NS_PER_S

typedef struct record {
    int64_t at_ns;
    char direction; /* '>' from the first end, '<' from the second */
    bool passed;
    uint8_t *data;
    size_t size;
    udt_view_t view;
} record_t;

static record_t records[MAX_RECORDS];
static unsigned record_count;

static void load(const char *name)
{
    static char line[VECTOR_LINE];
    static char hex[VECTOR_LINE];
    FILE *f = open_vectors(name);
    record_count = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        record_t *r = &records[record_count];
        char passed;
        if (line[0] == '#')
            continue;
        CHECK_EQ(sscanf(line, "%" SCNd64 " %c%c %s", &r->at_ns, &r->direction, &passed, hex), 4);
        r->at_ns = r->at_ns * 1000 + SEC;
        r->passed = passed == '-';
        r->data = from_hex(hex, &r->size);
        CHECK_EQ(udt_packet_parse(r->data, r->size, &r->view), 0);
        record_count++;
    }
    (void)fclose(f);
}

static void unload(void)
{
    for (unsigned i = 0; i < record_count; i++)
        free(records[i].data);
}

static bool is_type(const record_t *r, udt_type_t type)
{
    return r->view.is_control && r->view.type == type;
}

/* The last handshake from there with that request. */
static const record_t *find_handshake(char direction, int32_t request)
{
    const record_t *found = NULL;
    for (unsigned i = 0; i < record_count; i++) {
        udt_handshake_t hs;
        if (records[i].direction != direction || !is_type(&records[i], UDT_TYPE_HANDSHAKE))
            continue;
        udt_handshake_read(&records[i].view, &hs);
        if (hs.request == request)
            found = &records[i];
    }
    return found;
}

/* --- our end ------------------------------------------------------------------------------- */

typedef struct our_end {
    udt_conn_t conn;
    udt_stats_t stats;
    char direction; /* of what we send */
    void *own;
    uint8_t *send;
    uint8_t *receive;
    uint8_t got[40000];
    size_t got_bytes;
    uint64_t naks[MAX_RECORDS]; /* first << 32 | last, in the order given out */
    unsigned nak_count;
    bool answers_differ;
} our_end_t;

static our_end_t e;

static void open_our_end(const udt_handshake_t *hs, char direction, bool rendezvous)
{
    udt_conn_config_t config = {
        .mode = (udt_mode_t)hs->mode,
        .rendezvous = rendezvous,
        .socket_id = hs->socket_id,
        .isn = hs->isn,
        .mss_bytes = hs->mss,
        .window_packets = UDT_DEFAULT_WINDOW_PACKETS,
        .send_bytes = 100000,
        .send_packets = 512,
        .receive_packets = UDT_DEFAULT_BUFFER_PACKETS,
        .peer_address = {127, 0, 0, 1},
    };
    memset(&e, 0, sizeof e);
    e.direction = direction;
    e.own = calloc(1, udt_conn_memory_bytes(&config));
    e.send = malloc(config.send_bytes);
    e.receive = malloc(udt_conn_receive_bytes(&config));
    udt_conn_memory_t memory = {.own = e.own, .send = e.send, .receive = e.receive};
    CHECK_EQ(udt_conn_init(&e.conn, &config, &memory, &e.stats, records[0].at_ns), 0);
}

static void close_our_end(void)
{
    free(e.own);
    free(e.send);
    free(e.receive);
}

/* Some handshake that libudt's end sent is this one. */
static bool was_recorded(const udt_out_t *out)
{
    for (unsigned i = 0; i < record_count; i++) {
        const record_t *r = &records[i];
        if (r->direction == e.direction && r->size == out->head_bytes &&
            memcmp(r->data, out->head, out->head_bytes) == 0)
            return true;
    }
    return false;
}

static void note(const udt_out_t *out)
{
    uint8_t data[2000];
    udt_view_t view;
    size_t size = out->head_bytes + out->payload_bytes;
    memcpy(data, out->head, out->head_bytes);
    if (out->payload_bytes > 0)
        memcpy(data + out->head_bytes, out->payload, out->payload_bytes);
    CHECK_EQ(udt_packet_parse(data, size, &view), 0);
    uint32_t at = 0;
    uint32_t first;
    uint32_t last;
    if (view.is_control && view.type == UDT_TYPE_HANDSHAKE)
        e.answers_differ |= !was_recorded(out);
    while (view.is_control && view.type == UDT_TYPE_NAK && e.nak_count < MAX_RECORDS &&
           udt_nak_next(&view, &at, &first, &last))
        e.naks[e.nak_count++] = (uint64_t)first << 32 | last;
}

static void run_our_end(int64_t now_ns)
{
    udt_out_t out[MAX_OUT];
    size_t n = udt_conn_emit(&e.conn, out, MAX_OUT, now_ns);
    for (size_t i = 0; i < n; i++)
        note(&out[i]);
    size_t got;
    do {
        uint8_t *to = e.got + e.got_bytes;
        size_t room = sizeof e.got - e.got_bytes;
        got = app_read(&e.conn, to, room, now_ns);
        e.got_bytes += got;
    } while (got > 0);
}

/* Gives ours what came for it. Ours has sent no data, so what is said of that it must refuse. */
static void replay(udt_listener_t *listener)
{
    for (unsigned i = 0; i < record_count; i++) {
        const record_t *r = &records[i];
        if (r->direction == e.direction || !r->passed)
            continue;
        while (udt_conn_deadline_ns(&e.conn) <= r->at_ns)
            run_our_end(udt_conn_deadline_ns(&e.conn));
        if (r->view.socket_id == 0 && listener != NULL) {
            udt_address_t from = {.ip = {127, 0, 0, 1}, .port = 1};
            uint8_t reply[UDT_HANDSHAKE_BYTES];
            udt_handshake_t hs;
            udt_handshake_read(&r->view, &hs);
            udt_listener_verdict_t verdict =
                udt_listener_receive(listener, r->data, r->size, &from, r->at_ns, reply, &hs);
            /* The recorded listener had another secret. */
            CHECK_EQ(verdict, hs.request == 1 ? UDT_LISTENER_REPLY : UDT_LISTENER_IGNORE);
            if (hs.request == -1 && e.conn.state == UDT_CONN_OPENED)
                CHECK_EQ(udt_conn_accept(&e.conn, &hs, r->at_ns), 0);
        } else {
            udt_conn_receive(&e.conn, r->data, r->size, r->at_ns, r->at_ns);
        }
        run_our_end(r->at_ns);
    }
}

/* --- what must come of it ------------------------------------------------------------------ */

static uint8_t stream_byte(uint64_t position)
{
    return (uint8_t)(position * 167 + (position >> 8) * 13 + (position >> 16));
}

static void check_stream(size_t bytes)
{
    CHECK_EQ(e.got_bytes, bytes);
    for (size_t i = 0; i < e.got_bytes; i++) {
        if (e.got[i] != stream_byte(i)) {
            CHECK_EQ(i, e.got_bytes);
            return;
        }
    }
}

static size_t check_message(uint64_t number, size_t at)
{
    uint32_t n = 8 + (uint32_t)(number * 7919 % 30000);
    CHECK(at + n <= e.got_bytes);
    CHECK_MEM_EQ(e.got + at, &number, 8);
    for (uint32_t i = 8; i < n && at + i < e.got_bytes; i++) {
        if (e.got[at + i] != stream_byte(number + i)) {
            CHECK_EQ(i, n);
            break;
        }
    }
    return at + n;
}

static bool was_held_back(uint32_t seq)
{
    for (unsigned i = 0; i < record_count; i++) {
        const record_t *r = &records[i];
        if (r->direction != e.direction && !r->view.is_control && r->view.seq == seq && !r->passed)
            return true;
    }
    return false;
}

/* libudt tells of each gap once, ours may repeat: each of libudt's must be among ours. But those of
 * what did come: a libudt client loses the first packet after it is connected. */
static void check_naks(void)
{
    for (unsigned i = 0; i < record_count; i++) {
        const record_t *r = &records[i];
        uint32_t at = 0;
        uint32_t first;
        uint32_t last;
        if (r->direction != e.direction || !is_type(r, UDT_TYPE_NAK))
            continue;
        while (udt_nak_next(&r->view, &at, &first, &last)) {
            bool found = !was_held_back(first);
            for (unsigned k = 0; k < e.nak_count; k++)
                found |= e.naks[k] == ((uint64_t)first << 32 | last);
            CHECK(found);
        }
    }
}

static void as_server(const char *name)
{
    udt_handshake_t hs;
    udt_listener_t listener;
    load(name);
    udt_handshake_read(&find_handshake('<', -1)->view, &hs);
    open_our_end(&hs, '<', false);
    udt_listener_init(&listener, (udt_mode_t)hs.mode, &(udt_secret_t){{3, 4}});
    replay(&listener);
    CHECK(e.conn.state >= UDT_CONN_CONNECTED);
    CHECK(!e.answers_differ);
    check_naks();
}

static void as_client(const char *name, bool rendezvous)
{
    udt_handshake_t hs;
    load(name);
    udt_handshake_read(&find_handshake('>', -1)->view, &hs);
    open_our_end(&hs, '>', rendezvous);
    udt_conn_connect(&e.conn, records[0].at_ns);
    run_our_end(records[0].at_ns);
    replay(NULL);
    CHECK(!e.answers_differ);
    CHECK(e.conn.state >= UDT_CONN_CONNECTED);
    check_naks();
}

static void end(void)
{
    close_our_end();
    unload();
}

static uint64_t counted(udt_counter_id_t id)
{
    return rt_load_relaxed(&e.stats.counters[id]);
}

static void test_in_the_place_of_a_server(void)
{
    as_server("stream-with-losses.txt");
    check_stream(6000);
    end();
}

static void test_in_the_place_of_a_client(void)
{
    as_client("stream-with-losses.txt", false);
    check_stream(3000);
    CHECK_EQ(e.conn.state, UDT_CONN_BROKEN); /* the server said goodbye first */
    end();
}

static void test_messages(void)
{
    as_server("messages-with-losses.txt");
    size_t at = check_message(0, 0);
    CHECK_EQ(check_message(1, at), e.got_bytes);
    end();
    as_client("messages-with-losses.txt", false);
    CHECK_EQ(check_message(0, 0), e.got_bytes);
    end();
}

static void test_a_rendezvous(void)
{
    as_client("rendezvous.txt", true);
    check_stream(1500);
    end();
}

/* The second message lives 0 ms: what it lost is given up, and the connection is not held up. */
static void test_a_message_whose_time_has_passed(void)
{
    as_server("messages-out-of-time.txt");
    CHECK_EQ(counted(UDT_COUNT_drops_received), 1);
    CHECK_EQ(check_message(0, 0), e.got_bytes);
    CHECK_EQ(e.conn.rcv.losses.count, 0);
    end();
}

int main(void)
{
    RUN(test_in_the_place_of_a_server);
    RUN(test_in_the_place_of_a_client);
    RUN(test_messages);
    RUN(test_a_rendezvous);
    RUN(test_a_message_whose_time_has_passed);
    return rt_test_result();
}
