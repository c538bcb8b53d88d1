/* The engines "udt-port" and "udt" and a network that means ill: what is refused has its counter
 * and its answer, costs bounded memory, and changes nothing for those who mean well. */
#include "unit/worker/udt/udt_test.h"

#include "proto/udt/udt_stats.h"

/* --- somebody with a socket of his own ------------------------------------------------------ */

typedef struct stranger {
    int fd;
    uint16_t number; /* of his port */
    uint16_t to;
    uint32_t isn;
    uint32_t peer_id; /* ours, once he is connected */
} stranger_t;

enum { STRANGERS_ID = 4711 };

static stranger_t stranger(uint16_t to)
{
    stranger_t s = {.to = to, .isn = 1000};
    s.fd = wt_udp(&s.number);
    return s;
}

static void say(const stranger_t *s, const void *data, size_t bytes)
{
    send_to(s->fd, data, bytes, s->to);
}

static udt_handshake_t handshake(const stranger_t *s, int32_t request, uint32_t cookie)
{
    return (udt_handshake_t){.version = UDT_VERSION,
                             .mode = UDT_MODE_STREAM,
                             .isn = s->isn,
                             .mss = 1500,
                             .window_packets = 100,
                             .request = request,
                             .socket_id = STRANGERS_ID,
                             .cookie = cookie};
}

static void say_handshake(const stranger_t *s, const udt_handshake_t *hs, uint32_t to_id)
{
    uint8_t packet[UDT_HANDSHAKE_BYTES];
    say(s, packet, udt_put_handshake(packet, hs, to_id));
}

/* The next datagram of that kind; others are passed over. */
static bool hear(const stranger_t *s, uint16_t type, uint8_t *packet, size_t room, udt_view_t *view)
{
    for (int i = 0; i < 10000; i++) {
        int n = wt_recv(s->fd, packet, room, 1000 * TIMEOUT_S);
        if (n < 0)
            return false;
        if (udt_packet_parse(packet, (size_t)n, view) == UDT_PARSE_OK && view->is_control &&
            view->type == type)
            return true;
    }
    return false;
}

static udt_handshake_t hear_handshake(const stranger_t *s)
{
    uint8_t packet[2000];
    udt_view_t view;
    udt_handshake_t hs = {.request = 77};
    bool heard = hear(s, UDT_TYPE_HANDSHAKE, packet, sizeof packet, &view);
    CHECK(heard);
    if (heard)
        udt_handshake_read(&view, &hs);
    return hs;
}

static uint32_t get_cookie(const stranger_t *s)
{
    udt_handshake_t hs = handshake(s, UDT_REQUEST_REGULAR, 0);
    say_handshake(s, &hs, 0);
    return hear_handshake(s).cookie;
}

/* He connects as a client should, and a channel of ours takes him. */
static bool get_connected(stranger_t *s, wt_channel_t *port, wt_channel_t *ch)
{
    udt_handshake_t hs = handshake(s, UDT_REQUEST_RESPONSE, get_cookie(s));
    say_handshake(s, &hs, 0);
    if (!accept_udt(port, ch, udt_config(port, SHM_UDT_STREAM)))
        return false;
    udt_handshake_t answer = hear_handshake(s);
    s->peer_id = answer.socket_id;
    CHECK_EQ(answer.request, UDT_REQUEST_RESPONSE);
    CHECK_EQ(answer.isn, s->isn);
    return answer.request == UDT_REQUEST_RESPONSE;
}

static void say_data(const stranger_t *s, uint32_t seq, uint32_t bytes)
{
    uint8_t packet[UDT_HEADER_BYTES + 2000];
    udt_put_data_header(packet, seq & UDT_SEQ_MASK, UDT_WORD1_SOLO | 1, 0, s->peer_id);
    memset(packet + UDT_HEADER_BYTES, 'd', sizeof packet - UDT_HEADER_BYTES);
    say(s, packet, UDT_HEADER_BYTES + bytes);
}

static void say_nak(const stranger_t *s, uint32_t first, uint32_t last)
{
    uint8_t packet[UDT_HEADER_BYTES + 8];
    udt_put_control_header(packet, UDT_TYPE_NAK, 0, s->peer_id);
    say(s, packet, UDT_HEADER_BYTES + udt_put_nak_range(packet + UDT_HEADER_BYTES, first, last));
}

static void say_ack(const stranger_t *s, udt_ack_form_t form, uint32_t seq)
{
    uint8_t packet[UDT_ACK_MAX_BYTES];
    udt_ack_t ack = {.form = form, .number = 1, .seq = seq & UDT_SEQ_MASK, .free_packets = 50};
    say(s, packet, udt_put_ack(packet, &ack, s->peer_id));
}

static void say_control(const stranger_t *s, udt_type_t type, uint32_t info)
{
    uint8_t packet[UDT_CONTROL_BYTES];
    say(s, packet, udt_put_control(packet, type, info, s->peer_id));
}

/* --- counters ------------------------------------------------------------------------------ */

static uint64_t counted(const wt_channel_t *ch, udt_counter_id_t id)
{
    const udt_stats_t *stats = (const udt_stats_t *)(const void *)state_of(ch)->stats;
    return rt_load_relaxed(&stats->counters[id]);
}

/* At least so many; a little later there are not more. */
static void check_counted(const wt_channel_t *ch, udt_counter_id_t id, uint64_t n)
{
    for (int i = 0; i < 100 * TIMEOUT_S && counted(ch, id) < n; i++)
        wt_nap_ms(10);
    CHECK_EQ(counted(ch, id), n);
}

static void check_port_counts(const wt_channel_t *port, shm_udt_port_counter_id_t id, uint64_t n)
{
    (void)port_counts_to(port, id, n);
    CHECK_EQ(port_counter(port, id), n);
}

static uint64_t resident_pages(void)
{
    char name[64];
    unsigned long size = 0;
    unsigned long resident = 0;
    (void)snprintf(name, sizeof name, "/proc/%d/statm", (int)worker.pid);
    FILE *f = fopen(name, "r");
    CHECK(f != NULL && fscanf(f, "%lu %lu", &size, &resident) == 2); /* NOLINT(cert-err34-c) */
    if (f != NULL)
        (void)fclose(f);
    return resident;
}

/* --- handshakes ---------------------------------------------------------------------------- */

static void test_bad_handshakes_are_counted_each_by_its_fault(void)
{
    wt_channel_t port;
    CHECK(open_port(&port, SHM_UDT_STREAM, 8));
    stranger_t s = stranger(bound_port(&port));
    uint8_t packet[UDT_HANDSHAKE_BYTES + 4] = {0};
    uint32_t cookie = get_cookie(&s);
    check_port_counts(&port, SHM_UDT_PORT_COUNT_cookies, 1);

    udt_handshake_t hs = handshake(&s, UDT_REQUEST_RESPONSE, cookie);
    (void)udt_put_handshake(packet, &hs, 0);
    say(&s, packet, UDT_HANDSHAKE_BYTES - 4);
    say(&s, packet, UDT_HANDSHAKE_BYTES + 4);
    say(&s, packet, UDT_HEADER_BYTES);
    packet[0] = 0xff; /* user-defined, for id 0 */
    say(&s, packet, UDT_HANDSHAKE_BYTES);
    check_port_counts(&port, SHM_UDT_PORT_COUNT_malformed, 4);
    say(&s, packet, UDT_HEADER_BYTES - 1);
    check_port_counts(&port, SHM_UDT_PORT_COUNT_unknown, 1);

    hs.cookie = cookie ^ 1;
    say_handshake(&s, &hs, 0);
    check_port_counts(&port, SHM_UDT_PORT_COUNT_bad_cookie, 1);

    hs = handshake(&s, UDT_REQUEST_RESPONSE, cookie);
    hs.version = 5;
    say_handshake(&s, &hs, 0);
    CHECK_EQ(hear_handshake(&s).request, UDT_REQUEST_REFUSED);
    hs = handshake(&s, UDT_REQUEST_RESPONSE, cookie);
    hs.mode = UDT_MODE_MESSAGE;
    say_handshake(&s, &hs, 0);
    CHECK_EQ(hear_handshake(&s).request, UDT_REQUEST_REFUSED);
    check_port_counts(&port, SHM_UDT_PORT_COUNT_bad_version, 2);

    for (int i = 0; i < 4; i++) {
        hs = handshake(&s, UDT_REQUEST_RESPONSE, cookie);
        hs.mss = i == 0 ? UDT_MIN_MSS - 1 : hs.mss;
        hs.window_packets = i == 1 ? 0 : hs.window_packets;
        hs.socket_id = i == 2 ? 0 : i == 3 ? UDT_SEQ_MASK + 1 : hs.socket_id;
        say_handshake(&s, &hs, 0);
    }
    check_port_counts(&port, SHM_UDT_PORT_COUNT_bad_values, 4);
    CHECK_EQ(port_counter(&port, SHM_UDT_PORT_COUNT_requests), 0);
    CHECK_EQ(rt_load_relaxed(&port_state(&port)->waiting), 0);
    close(s.fd);
    close_down(&port);
}

/* Each from a client of its own, as it says. */
static void say_requests(const stranger_t *s, uint32_t cookie, uint32_t first, uint32_t count)
{
    udt_handshake_t hs = handshake(s, UDT_REQUEST_RESPONSE, cookie);
    for (uint32_t i = first; i < first + count; i++) {
        hs.socket_id = 1 + i;
        hs.isn = i;
        say_handshake(s, &hs, 0);
    }
}

/* One who has his cookie asks for as many connections as he can name; nobody takes them. */
static void test_a_flood_of_requests_is_refused_in_bounded_memory(void)
{
    enum { BACKLOG = 8, FLOOD = 1000, AT_A_TIME = 20 };
    wt_channel_t port, ch;
    CHECK(open_port(&port, SHM_UDT_STREAM, BACKLOG));
    stranger_t s = stranger(bound_port(&port));
    stranger_t good = stranger(bound_port(&port));
    uint32_t cookie = get_cookie(&s);
    uint64_t before = resident_pages();
    for (uint32_t i = 0; i < FLOOD; i++) {
        if (i % AT_A_TIME == 0) /* those that wait are not to be forgotten meanwhile */
            say_requests(&s, cookie, 0, BACKLOG);
        say_requests(&s, cookie, BACKLOG + i, 1);
        CHECK_EQ(hear_handshake(&s).request, UDT_REQUEST_REFUSED);
        CHECK_EQ(rt_load_relaxed(&port_state(&port)->waiting), BACKLOG);
    }
    check_port_counts(&port, SHM_UDT_PORT_COUNT_requests, FLOOD + FLOOD / AT_A_TIME * BACKLOG);
    check_port_counts(&port, SHM_UDT_PORT_COUNT_refused, FLOOD);
    udt_handshake_t first = handshake(&s, UDT_REQUEST_REGULAR, 0);
    for (uint32_t i = 0; i < FLOOD; i += AT_A_TIME) {
        for (uint32_t k = 0; k < AT_A_TIME; k++)
            say_handshake(&s, &first, 0);
        for (uint32_t k = 0; k < AT_A_TIME; k++)
            CHECK_EQ(hear_handshake(&s).request, UDT_REQUEST_REGULAR);
    }
    check_port_counts(&port, SHM_UDT_PORT_COUNT_cookies, FLOOD + 1);
    CHECK(resident_pages() < before + 512);

    check_port_counts(&port, SHM_UDT_PORT_COUNT_forgotten, BACKLOG);
    CHECK_EQ(rt_load_relaxed(&port_state(&port)->waiting), 0);
    shm_udt_request_t request;
    for (int i = 0; i < BACKLOG; i++)
        CHECK(request_of(&port, &request));
    CHECK(get_connected(&good, &port, &ch));
    close(s.fd);
    close(good.fd);
    close_down(&ch);
    close_down(&port);
}

/* A server's answers to a client of ours, and what the client says of them. */
static void test_answers_that_fail_a_client_have_their_numbers(void)
{
    const struct {
        int32_t request; /* 0: no answer */
        uint32_t isn_off;
        uint32_t error;
    } answers[] = {
        {0, 0, 1001},
        {UDT_REQUEST_REFUSED, 0, 1002},
        {UDT_REQUEST_RESPONSE, 1, 1004},
    };
    wt_channel_t port, ch;
    CHECK(open_port(&port, 0, 1));
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        stranger_t s = stranger(bound_port(&port));
        shm_udt_config_t u = udt_config(&port, SHM_UDT_STREAM);
        uint32_t error = 0;
        u.connect_ns = answers[i].request == 0 ? RT_NS_PER_S / 4 : TIMEOUT_S * RT_NS_PER_S;
        CHECK(open_udt(&ch, &u, s.number));
        udt_handshake_t asked = hear_handshake(&s);
        if (answers[i].request != 0) {
            udt_handshake_t hs = handshake(&s, answers[i].request, 0);
            hs.isn = (asked.isn + answers[i].isn_off) & UDT_SEQ_MASK;
            hs.mss = 60; /* refused and counted: another such answer may be good */
            if (answers[i].request == UDT_REQUEST_RESPONSE)
                say_handshake(&s, &hs, asked.socket_id);
            hs.mss = 1500;
            say_handshake(&s, &hs, asked.socket_id);
        }
        CHECK_EQ(got(&ch, &error), SHM_UDT_GOT_FAILED);
        CHECK_EQ(error, answers[i].error);
        CHECK_EQ(rt_load_relaxed(&state_of(&ch)->error), answers[i].error);
        CHECK_EQ(rt_load_relaxed(&state_of(&ch)->state), SHM_UDT_BROKEN);
        CHECK_EQ(counted(&ch, UDT_COUNT_refused_handshake),
                 answers[i].request == UDT_REQUEST_RESPONSE);
        close_down(&ch);
        close(s.fd);
    }
    CHECK_EQ(rt_load_relaxed(&port_state(&port)->sockets), 0);
    close_down(&port);
}

/* --- packets of a connection --------------------------------------------------------------- */

static void say_what_cannot_be(const stranger_t *s)
{
    uint8_t packet[UDT_DROP_BYTES];
    uint32_t half = UINT32_C(1) << 30;
    say_ack(s, UDT_ACK_FULL, s->isn + 1); /* nothing was sent to him */
    say_ack(s, UDT_ACK_LIGHT, s->isn + 1000);
    say_ack(s, UDT_ACK_SHORT, s->isn + half - 2);
    say_nak(s, s->isn, s->isn);
    say_nak(s, s->isn + 5, s->isn + half - 2);
    say_control(s, UDT_TYPE_ACK2, 12345);
    udt_drop_t drop = {.message = 1, .first = s->isn, .last = s->isn + 100};
    say(s, packet, udt_put_drop(packet, &drop, s->peer_id));
    say_data(s, s->isn, 1457);         /* longer than agreed */
    say_data(s, s->isn + 100000, 100); /* far ahead of the window */
    say_data(s, s->isn + half - 2, 100);
    say_data(s, s->isn - 1, 100); /* behind it */
    say_data(s, s->isn - half + 2, 100);
    udt_put_control_header(packet, UDT_TYPE_NAK, 0, s->peer_id); /* without a body */
    say(s, packet, UDT_HEADER_BYTES);
    udt_put_control_header(packet, (udt_type_t)9, 0, s->peer_id); /* of no type */
    say(s, packet, UDT_HEADER_BYTES);
}

static void check_all_was_refused(const wt_channel_t *ch)
{
    check_counted(ch, UDT_COUNT_refused_parse, 2);
    check_counted(ch, UDT_COUNT_refused_ack, 3);
    check_counted(ch, UDT_COUNT_refused_nak, 2);
    check_counted(ch, UDT_COUNT_refused_ack2, 1);
    check_counted(ch, UDT_COUNT_refused_drop, 1);
    check_counted(ch, UDT_COUNT_refused_data, 1);
    check_counted(ch, UDT_COUNT_no_room, 2);
    check_counted(ch, UDT_COUNT_duplicates, 2);
    CHECK_EQ(counted(ch, UDT_COUNT_received_bytes), 0);
    CHECK_EQ(counted(ch, UDT_COUNT_receive_losses), 0);
    CHECK_EQ(counted(ch, UDT_COUNT_send_losses), 0);
    CHECK_EQ(rt_load_relaxed(&state_of(ch)->state), SHM_UDT_CONNECTED);
}

static void test_what_a_peer_cannot_mean_is_counted_and_changes_nothing(void)
{
    wt_channel_t port, ch;
    CHECK(open_port(&port, SHM_UDT_STREAM, 8));
    stranger_t s = stranger(bound_port(&port));
    if (get_connected(&s, &port, &ch)) {
        say_what_cannot_be(&s);
        check_all_was_refused(&ch);
        say_data(&s, s.isn, 100);
        CHECK_EQ(got(&ch, NULL), SHM_UDT_GOT_BYTES);
        CHECK_EQ(counted(&ch, UDT_COUNT_received_bytes), 100);
        say_control(&s, UDT_TYPE_SHUTDOWN, 0);
        CHECK_EQ(got(&ch, NULL), SHM_UDT_GOT_BROKEN);
        CHECK_EQ(rt_load_relaxed(&state_of(&ch)->error), 2001);
        close_down(&ch);
    }
    close(s.fd);
    close_down(&port);
}

/* The same, and a goodbye, from another address than the peer's: none of it reaches the connection.
 */
static void test_forged_packets_do_not_reach_a_connection(void)
{
    enum { FORGED = 15 };
    wt_channel_t port, ch;
    CHECK(open_port(&port, SHM_UDT_STREAM, 8));
    stranger_t s = stranger(bound_port(&port));
    stranger_t forger = stranger(bound_port(&port));
    if (get_connected(&s, &port, &ch)) {
        forger.peer_id = s.peer_id;
        say_what_cannot_be(&forger);
        say_control(&forger, UDT_TYPE_SHUTDOWN, 0);
        check_port_counts(&port, SHM_UDT_PORT_COUNT_foreign, FORGED);
        for (uint32_t i = 0; i < 31; i++) { /* guesses of an id */
            forger.peer_id = s.peer_id ^ UINT32_C(1) << i;
            say_control(&forger, UDT_TYPE_SHUTDOWN, 0);
        }
        check_port_counts(&port, SHM_UDT_PORT_COUNT_unknown, 31);
        CHECK_EQ(counted(&ch, UDT_COUNT_refused_ack), 0);
        CHECK_EQ(counted(&ch, UDT_COUNT_received), 0);
        say_data(&s, s.isn, 100);
        CHECK_EQ(got(&ch, NULL), SHM_UDT_GOT_BYTES);
        CHECK_EQ(rt_load_relaxed(&state_of(&ch)->state), SHM_UDT_CONNECTED);
        close_down(&ch);
    }
    close(forger.fd);
    close(s.fd);
    close_down(&port);
}

/* With the peer's address and id, and another first number: a connection of its own, which takes
 * nothing from the one there is. */
static void test_another_first_number_takes_over_nothing(void)
{
    wt_channel_t port, ch;
    shm_udt_request_t request;
    CHECK(open_port(&port, SHM_UDT_STREAM, 8));
    stranger_t s = stranger(bound_port(&port));
    if (get_connected(&s, &port, &ch)) {
        stranger_t again = s;
        again.isn = 5000000;
        udt_handshake_t hs = handshake(&again, UDT_REQUEST_RESPONSE, get_cookie(&s));
        say_handshake(&s, &hs, 0);
        CHECK(request_of(&port, &request));
        CHECK_EQ(request.socket_id, STRANGERS_ID);
        say_data(&again, again.isn, 100); /* for the old one, with the new numbers */
        check_counted(&ch, UDT_COUNT_no_room, 1);
        say_data(&s, s.isn, 100);
        CHECK_EQ(got(&ch, NULL), SHM_UDT_GOT_BYTES);
        CHECK_EQ(counted(&ch, UDT_COUNT_received_bytes), 100);
        close_down(&ch);
    }
    close(s.fd);
    close_down(&port);
}

/* --- floods -------------------------------------------------------------------------------- */

enum { FLOOD = 64, FLOOD_ROUNDS = 40, MOST_BETWEEN = 40 };

/* The time at which the kernel took the next datagram; *bytes: its length. */
static int64_t taken_ns(int fd, ssize_t *bytes)
{
    uint8_t packet[2000];
    char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {.iov_base = packet, .iov_len = sizeof packet};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec at = {0};
    *bytes = poll(&p, 1, 1000 * TIMEOUT_S) == 1 ? recvmsg(fd, &m, 0) : -1;
    struct cmsghdr *c = *bytes > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c != NULL && c->cmsg_type == SCM_TIMESTAMPNS)
        memcpy(&at, CMSG_DATA(c), sizeof at);
    return at.tv_sec * RT_NS_PER_S + at.tv_nsec;
}

/* The worker answers requests until the packet leaves: how many of them after that was due. */
static int answers_between(const stranger_t *s, int64_t due_real_ns)
{
    int between = 0;
    for (int i = 0; i <= FLOOD; i++) {
        ssize_t bytes = 0;
        int64_t at = taken_ns(s->fd, &bytes);
        CHECK(at > 0);
        if (bytes == 1)
            return between;
        between += at > due_real_ns;
    }
    CHECK(false);
    return between;
}

/* A packet is due after_ns later, among so many requests to connect. */
static int flood_round(wt_channel_t *due, const stranger_t *s, int64_t after_ns)
{
    udt_handshake_t hs = handshake(s, UDT_REQUEST_REGULAR, 0);
    int status = 0;
    CHECK_EQ(kill(worker.pid, SIGSTOP), 0);
    CHECK_EQ(waitpid(worker.pid, &status, WUNTRACED), worker.pid);
    for (int i = 0; i < FLOOD; i++)
        say_handshake(s, &hs, 0);
    int64_t at = rt_mono_ns() + after_ns;
    int64_t real_ns = rt_real_ns() - rt_mono_ns() + at;
    CHECK_EQ(wt_push(due, "x", 1, at, NULL), 0);
    CHECK_EQ(kill(worker.pid, SIGCONT), 0);
    return answers_between(s, real_ns);
}

static void drain(const stranger_t *s)
{
    uint8_t packet[2000];
    wt_settle(&worker);
    while (recv(s->fd, packet, sizeof packet, MSG_DONTWAIT) > 0) {
    }
}

/* Requests cost an answer each. What is counted is how many the worker answers when it has
 * something better to do, and not how long it takes: it may be stopped at any time. */
static void test_a_deadline_does_not_wait_for_a_flood(void)
{
    wt_channel_t port;
    CHECK(open_port(&port, SHM_UDT_STREAM, 8));
    stranger_t s = stranger(bound_port(&port));
    wt_channel_t due = {.config = wt_config("due", s.number)};
    int on = 1;
    CHECK_EQ(setsockopt(s.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on), 0);
    REQUIRE(wt_open(&worker, &due));
    int most = 0;
    for (int i = 0; i < FLOOD_ROUNDS; i++) {
        int between = flood_round(&due, &s, (50 + 10 * i) * RT_NS_PER_US);
        most = between > most ? between : most;
        drain(&s);
    }
    (void)printf("at most %d of %d answers behind the deadline\n", most, FLOOD);
    CHECK(most <= MOST_BETWEEN);
    close_down(&due);
    close(s.fd);
    close_down(&port);
}

int main(void)
{
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_bad_handshakes_are_counted_each_by_its_fault);
    RUN(test_a_flood_of_requests_is_refused_in_bounded_memory);
    RUN(test_answers_that_fail_a_client_have_their_numbers);
    RUN(test_what_a_peer_cannot_mean_is_counted_and_changes_nothing);
    RUN(test_forged_packets_do_not_reach_a_connection);
    RUN(test_another_first_number_takes_over_nothing);
    RUN(test_a_deadline_does_not_wait_for_a_flood);
    wt_stop(&worker);
    return rt_test_result();
}
