/* Two ends of a UDT connection over two emulated links, in virtual time.
 *
 *     application -> [ end 0 ] -> [ link 0: loss, delay, ... ] -> [ end 1 ] -> application
 *                 <-           <- [ link 1                   ] <-           <-
 *
 * Each end has a worker: it wakes when its connection asks for it or when datagrams have come, late
 * by some microseconds, at times by milliseconds, and then reads all, lets emit all, and lets its
 * application write and read. Each application sends bytes that depend on their position only, and
 * checks what it reads against them. */
#ifndef UDT_ENDS_H
#define UDT_ENDS_H

#include "proto/impair/impair.h"
#include "proto/udt/udt_conn.h"
#include "rt_test.h"
#include "udt_app.h"

#define US RT_NS_PER_US
#define MS RT_NS_PER_MS
#define SEC RT_NS_PER_S

enum { END_BATCH = 64, END_DATAGRAM = 9000, END_MESSAGES = 2000 };

typedef struct end {
    udt_conn_config_t config;
    udt_conn_t conn;
    udt_stats_t stats;
    void *own;
    uint8_t *send;
    uint8_t *receive;
    impair_t link; /* towards the other end */
    void *link_memory;
    rt_random_t chance;
    int64_t wake_ns;
    uint32_t events;  /* all of them, ever */
    uint64_t to_send; /* by the application, in all */
    uint64_t sent;
    uint64_t received;
    uint64_t messages_sent;
    uint64_t messages_received;
    uint32_t portion;      /* bytes written at a time; 0: all that fits */
    uint32_t read_portion; /* bytes read at a time; 0: all there is */
    int64_t read_pause_ns; /* between two reads */
    int64_t next_read_ns;
    int32_t ttl_ms; /* of messages; -1: for ever */
    bool any_order; /* of messages */
    bool cut;       /* nothing passes from here */
    bool spoilt;
    uint64_t last_message;
    uint8_t seen[END_MESSAGES]; /* how often each message came */
} end_t;

typedef struct world {
    end_t ends[2];
    int64_t now_ns;
    uint64_t seed;
    int64_t latency_ns; /* of the workers, at most; now and then a hundred times that */
} world_t;

static uint64_t counted(const end_t *e, udt_counter_id_t id)
{
    return rt_load_relaxed(&e->stats.counters[id]);
}

static inline uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 167 + (position >> 8) * 13 + (position >> 16));
}

static void open_end(world_t *w, unsigned i, udt_conn_config_t config, impair_config_t link)
{
    end_t *e = &w->ends[i];
    e->config = config;
    e->own = calloc(1, udt_conn_memory_bytes(&config));
    e->send = malloc(config.send_bytes);
    e->receive = malloc(udt_conn_receive_bytes(&config));
    udt_conn_memory_t memory = {.own = e->own, .send = e->send, .receive = e->receive};
    CHECK_EQ(udt_conn_init(&e->conn, &config, &memory, &e->stats, w->now_ns), 0);
    link.max_datagram_bytes = END_DATAGRAM;
    link.seed = w->seed * 2 + i;
    size_t bytes = impair_memory_bytes(&link);
    e->link_memory = malloc(bytes);
    CHECK_EQ(impair_init(&e->link, &link, e->link_memory, bytes), 0);
    rt_random_init(&e->chance, w->seed * 7 + i);
    e->ttl_ms = -1;
    e->wake_ns = w->now_ns;
}

static void close_ends(world_t *w)
{
    for (unsigned i = 0; i < 2; i++) {
        free(w->ends[i].own);
        free(w->ends[i].send);
        free(w->ends[i].receive);
        free(w->ends[i].link_memory);
    }
}

static udt_conn_config_t default_config(unsigned i)
{
    return (udt_conn_config_t){
        .mode = UDT_MODE_STREAM,
        .socket_id = 1000 + i,
        .isn = 500 + i * 77777,
        .mss_bytes = 1500,
        .window_packets = 1024,
        .send_bytes = 1024 * 1456,
        .send_packets = 1024,
        .receive_packets = 1024,
        .linger_ns = 180 * SEC,
    };
}

/* The part of a listener, without its checks. */
static void answer_request(world_t *w, unsigned i, const uint8_t *data, uint32_t size)
{
    end_t *e = &w->ends[i];
    udt_view_t view;
    udt_handshake_t hs;
    if (udt_packet_parse(data, size, &view) != 0 || !view.is_control || view.socket_id != 0)
        return;
    udt_handshake_read(&view, &hs);
    if (hs.request == UDT_REQUEST_REGULAR) {
        uint8_t reply[UDT_HANDSHAKE_BYTES];
        hs.cookie = 4711;
        udt_put_handshake(reply, &hs, hs.socket_id);
        impair_offer(&e->link, &(impair_in_t){.data = reply, .len = sizeof reply}, w->now_ns);
    } else if (e->conn.state == UDT_CONN_OPENED) {
        CHECK_EQ(hs.cookie, 4711);
        CHECK_EQ(udt_conn_accept(&e->conn, &hs, w->now_ns), 0);
    } else {
        udt_conn_answer_again(&e->conn);
    }
}

static void deliver(world_t *w, unsigned i, const impair_out_t *in)
{
    end_t *e = &w->ends[i];
    bool to_listener = !e->config.rendezvous && in->len >= 16 && rt_get32(in->data + 12) == 0;
    if (to_listener)
        answer_request(w, i, in->data, in->len);
    else
        udt_conn_receive(&e->conn, in->data, in->len, in->due_ns, w->now_ns);
}

static uint32_t message_size(uint64_t number)
{
    return 1 + (uint32_t)(number * 7919 % 20000);
}

static void write_stream(world_t *w, end_t *e)
{
    uint8_t chunk[4096];
    while (e->sent < e->to_send) {
        uint64_t n = e->to_send - e->sent;
        n = n < sizeof chunk ? n : sizeof chunk;
        if (e->portion > 0 && n > e->portion)
            n = e->portion;
        for (uint64_t k = 0; k < n; k++)
            chunk[k] = byte_at(e->sent + k);
        int64_t taken = udt_conn_send(&e->conn, chunk, (uint32_t)n, w->now_ns);
        if (taken <= 0)
            return;
        e->sent += (uint64_t)taken;
    }
}

static void read_stream(world_t *w, end_t *e)
{
    uint8_t chunk[8192];
    size_t room = e->read_portion > 0 ? e->read_portion : sizeof chunk;
    size_t n;
    while ((n = app_read(&e->conn, chunk, room, w->now_ns)) > 0) {
        for (size_t k = 0; k < n; k++)
            e->spoilt |= chunk[k] != byte_at(e->received + k);
        e->received += n;
        if (e->read_portion > 0)
            return;
    }
}

/* A message begins with its number; its length and its bytes follow from that. */
static void write_messages(world_t *w, end_t *e)
{
    static uint8_t message[20008];
    while (e->messages_sent < e->to_send) {
        uint32_t n = message_size(e->messages_sent) + 8;
        memcpy(message, &e->messages_sent, 8);
        for (uint32_t k = 8; k < n; k++)
            message[k] = byte_at(e->messages_sent + k);
        if (app_send_message(&e->conn, message, n, e->ttl_ms, !e->any_order, w->now_ns) < 0)
            return;
        e->messages_sent++;
    }
}

static void read_messages(world_t *w, end_t *e)
{
    static uint8_t message[20008];
    size_t n;
    while ((n = app_read(&e->conn, message, sizeof message, w->now_ns)) > 0) {
        uint64_t number;
        memcpy(&number, message, 8);
        e->spoilt |= n != message_size(number) + 8 || number >= END_MESSAGES;
        if (number >= END_MESSAGES)
            return;
        bool in_turn = e->messages_received == 0 || number > e->last_message;
        e->spoilt |= !in_turn && !w->ends[e == &w->ends[0]].any_order;
        e->last_message = number;
        e->seen[number]++;
        for (size_t k = 8; k < n; k++)
            e->spoilt |= message[k] != byte_at(number + k);
        e->messages_received++;
    }
}

static void run_application(world_t *w, end_t *e)
{
    bool is_stream = e->config.mode == UDT_MODE_STREAM;
    if (e->conn.state == UDT_CONN_CONNECTED)
        (is_stream ? write_stream : write_messages)(w, e);
    if (w->now_ns < e->next_read_ns)
        return;
    (is_stream ? read_stream : read_messages)(w, e);
    e->next_read_ns = w->now_ns + e->read_pause_ns;
}

static void emit_all(world_t *w, end_t *e)
{
    udt_out_t out[END_BATCH];
    uint8_t datagram[END_DATAGRAM];
    size_t n;
    do {
        n = udt_conn_emit(&e->conn, out, END_BATCH, w->now_ns);
        for (size_t i = 0; i < n; i++) {
            uint32_t size = out[i].head_bytes + out[i].payload_bytes;
            REQUIRE(size <= sizeof datagram);
            memcpy(datagram, out[i].head, out[i].head_bytes);
            if (out[i].payload_bytes > 0)
                memcpy(datagram + out[i].head_bytes, out[i].payload, out[i].payload_bytes);
            if (!e->cut)
                impair_offer(&e->link, &(impair_in_t){.data = datagram, .len = size}, w->now_ns);
        }
    } while (n == END_BATCH);
    /* What is due now was done now; but for one long NAK an emission. */
    CHECK(udt_conn_deadline_ns(&e->conn) > w->now_ns || e->conn.rcv.nak_due);
}

static void work(world_t *w, unsigned i)
{
    end_t *e = &w->ends[i];
    end_t *other = &w->ends[!i];
    impair_out_t in;
    while (impair_emit(&other->link, &in, 1, w->now_ns) == 1)
        deliver(w, i, &in);
    run_application(w, e);
    emit_all(w, e);
    e->events |= udt_conn_take_events(&e->conn);
}

/* When the worker of end i has something to do, its own slowness included. */
static int64_t next_work_ns(world_t *w, unsigned i)
{
    end_t *e = &w->ends[i];
    int64_t at_ns = udt_conn_deadline_ns(&e->conn);
    int64_t arrival_ns = impair_deadline_ns(&w->ends[!i].link);
    if (arrival_ns < at_ns)
        at_ns = arrival_ns;
    if (e->read_pause_ns > 0 && e->next_read_ns < at_ns)
        at_ns = e->next_read_ns;
    return at_ns;
}

/* Lets time pass until done says so, or until then. Returns whether it was done. */
static bool run_until(world_t *w, bool (*done)(world_t *w), int64_t until_ns)
{
    while (!done(w)) {
        int64_t at_ns = RT_NEVER_NS;
        unsigned next = 0;
        for (unsigned i = 0; i < 2; i++) {
            int64_t work_ns = next_work_ns(w, i);
            if (work_ns < w->ends[i].wake_ns)
                work_ns = w->ends[i].wake_ns;
            if (work_ns < at_ns) {
                at_ns = work_ns;
                next = i;
            }
        }
        if (at_ns > until_ns) {
            w->now_ns = until_ns;
            return done(w);
        }
        if (at_ns > w->now_ns)
            w->now_ns = at_ns;
        work(w, next);
        end_t *e = &w->ends[next];
        int64_t late_ns = 1;
        if (w->latency_ns > 0)
            late_ns += (int64_t)rt_random_below(&e->chance, (uint32_t)w->latency_ns);
        if (w->latency_ns > 0 && rt_random_chance(&e->chance, 0.0005))
            late_ns *= 100;
        e->wake_ns = w->now_ns + late_ns;
    }
    return true;
}

#endif
