/* A worker with UDT ports and connections, while clients write to the shared memory of some of them
 * what they like, between any two loads of the worker, ask for anything, and strangers send any
 * datagram; and a worker that takes over what they left. What must hold: nothing beyond a part or a
 * datagram is read or written, time never stands still at a deadline, refusals have a text, the
 * accounts of ports add up, and a connection that nobody scribbles over gets its stream through,
 * whatever is done to its neighbours.
 *
 *      input:  step step ...   each a kind and what it needs, see play()
 */
#include "udt_worker.h"

#define MOST_STEPS 200u
#define TIMEOUT_NS (30 * RT_NS_PER_S)

/* --- clients ------------------------------------------------------------------------------- */

static void check_good_bytes(fuzz_t *f, unsigned n, const uint8_t *bytes, const rx_packet_t *packet)
{
    uint32_t kind = packet->tag & 0xff;
    fuzz_require(kind <= SHM_UDT_GOT_CLOSED, "a record is of a known kind");
    if (n != GOOD_TO || kind != SHM_UDT_GOT_BYTES)
        return;
    for (uint32_t i = 0; i < packet->payload_bytes; i++)
        fuzz_require(bytes[i] == byte_at(f->came + i), "a stream comes as it was sent");
    f->came += packet->payload_bytes;
    fuzz_require(f->came <= f->sent, "nothing comes that was not sent");
}

static void read_all(fuzz_t *f, unsigned n)
{
    uint8_t buffer[MAX_PAYLOAD];
    rx_packet_t packet;
    hostile_new_call();
    for (unsigned i = 0; f->sides[n].is_open && i < RING_BYTES / SHM_UNIT_BYTES; i++) {
        if (rx_reader_next(&f->sides[n].reader, buffer, sizeof buffer, &packet, NULL) != 1)
            return;
        if (n == GOOD_FROM || n == GOOD_TO)
            check_good_bytes(f, n, buffer, &packet);
    }
}

/* The number of the request in a port's ring; 0: there is none. */
static uint32_t next_request(fuzz_t *f, unsigned port)
{
    shm_udt_request_t request;
    rx_packet_t packet;
    hostile_new_call();
    if (!f->sides[port].is_open ||
        rx_reader_next(&f->sides[port].reader, &request, sizeof request, &packet, NULL) != 1 ||
        packet.payload_bytes != sizeof request)
        return 0;
    return request.number;
}

static bool push(fuzz_t *f, unsigned n, shm_udt_tx_t head, uint32_t bytes)
{
    uint8_t data[MAX_PAYLOAD];
    side_t *s = &f->sides[n];
    if (!s->is_open)
        return false;
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = byte_at(f->sent + i);
    int rc = tx_producer_push_engine(&s->producer, &head, sizeof head, data, bytes, now_ns);
    if (rc == 0 && n == GOOD_FROM)
        f->sent += bytes;
    wrk_activate(&s->channel, now_ns);
    return rc == 0;
}

static void make_worker(void)
{
    if (worker.channels != NULL)
        return;
    worker.rx_pool = udp_rx_pool_create(1, -1);
    worker.page = hostile_part(sizeof *worker.page);
    fuzz_require(worker.rx_pool != NULL && poller_open(&worker.poller) == 0 &&
                     channels_init(&worker) == 0,
                 "a worker is made");
}

static void connect_good_ones(fuzz_t *f)
{
    shm_udt_config_t u = udt_config(PORT_0);
    shm_config_t c = connection_config(GOOD_FROM, &u, FIRST_PORT + PORT_1);
    fuzz_require(open_side(f, GOOD_FROM, &c, false) == 0, "a connection opens");
    pass_until(f, now_ns + 100 * RT_NS_PER_MS);
    u = udt_config(PORT_1);
    u.accepts = next_request(f, PORT_1);
    c = connection_config(GOOD_TO, &u, 0);
    fuzz_require(u.accepts != 0 && open_side(f, GOOD_TO, &c, false) == 0, "a request is accepted");
    pass_until(f, now_ns + 100 * RT_NS_PER_MS);
    f->is_good = true;
}

static void start(fuzz_t *f)
{
    make_worker();
    hostile_reset();
    now_ns = START_NS;
    chance = 1;
    for (unsigned n = 0; n < CHANNELS; n++) {
        f->sides[n].channel.worker = &worker;
        f->sides[n].channel.active_index = WRK_INACTIVE;
        make_parts(f, n);
        f->sides[n].channel.stats = f->sides[n].channel.segment.stats;
    }
    for (unsigned n = PORT_0; n <= PORT_1; n++) {
        shm_config_t c = port_config(n);
        fuzz_require(open_side(f, n, &c, false) == 0, "a port opens");
    }
    connect_good_ones(f);
}

static void end(fuzz_t *f)
{
    for (unsigned n = CHANNELS; n-- > 0;) {
        close_side(f, n);
        free(f->sides[n].channel.segment.engine);
        hostile_segment_free(&f->sides[n].channel.segment);
    }
}

/* --- what must hold ------------------------------------------------------------------------ */

static void check_waiting(const udt_port_agent_t *p)
{
    uint32_t count = 0;
    uint32_t before = UDT_NO_PLACE;
    for (uint32_t at = p->oldest; at != UDT_NO_PLACE; at = p->waiting[at].behind) {
        fuzz_require(p->waiting[at].number != 0 && p->waiting[at].before == before,
                     "the list of requests is one");
        before = at;
        count++;
    }
    fuzz_require(count == p->waiting_count && before == p->newest, "requests are counted");
    fuzz_require(count <= BACKLOG, "a flood of requests has an end");
}

static void check_port(fuzz_t *f, unsigned n)
{
    const udt_port_agent_t *p = port_of(f, n);
    uint32_t count = 0;
    for (const udt_agent_t *a = p->agents; a != NULL; a = a->next) {
        fuzz_require(a->port == p && *a->at == a, "a port knows its connections");
        count++;
    }
    fuzz_require(count == p->sockets.count && count <= MAX_SOCKETS, "connections are counted");
    fuzz_require(p->touched == NULL, "who was touched is served");
    check_waiting(p);
}

static void check_connection(fuzz_t *f, unsigned n)
{
    const udt_agent_t *a = udt_agent_of(&f->sides[n].channel);
    const udt_sndbuf_t *s = &a->conn.snd.buffer;
    if (a->port != NULL && a->conn.state == UDT_CONN_CONNECTED)
        fuzz_require(a->gathered <= s->size - s->used, "a message is gathered in free room");
}

static void check(fuzz_t *f)
{
    for (unsigned n = 0; n < CHANNELS; n++) {
        if (!f->sides[n].is_open)
            continue;
        if (is_port(n))
            check_port(f, n);
        else
            check_connection(f, n);
    }
    read_all(f, GOOD_FROM);
    read_all(f, GOOD_TO);
}

static void check_good_stream(fuzz_t *f)
{
    int64_t until_ns = now_ns + TIMEOUT_NS;
    if (!f->is_good || until_ns > END_NS)
        return;
    while (f->came < f->sent && now_ns < until_ns) {
        pass_until(f, now_ns + 10 * RT_NS_PER_MS);
        read_all(f, GOOD_TO);
    }
    fuzz_require(f->came == f->sent, "what nobody scribbled over comes");
}

/* --- steps --------------------------------------------------------------------------------- */

static unsigned take_channel(fuzz_t *f)
{
    return (unsigned)fuzz_take(&f->in, 1) % CHANNELS;
}

static unsigned take_bad(fuzz_t *f)
{
    return BAD + (unsigned)fuzz_take(&f->in, 1) % (CHANNELS - BAD);
}

static void scribble(fuzz_t *f)
{
    unsigned n = take_bad(f);
    uint32_t seq = f->sides[n].channel.tx.read_seq;
    hostile_plan(&f->in, seq, RING_BYTES / SHM_UNIT_BYTES);
}

static void send_some(fuzz_t *f)
{
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    unsigned n = how & 0x80 ? take_bad(f) : GOOD_FROM;
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 2) % (MAX_PAYLOAD - sizeof(shm_udt_tx_t) + 1);
    shm_udt_tx_t head = {.ttl_ms = how & 0x20 ? (int8_t)fuzz_take(&f->in, 1) : -1,
                         .flags = how & 3};
    for (unsigned i = 0; i <= (how >> 2 & 7); i++)
        if (!push(f, n, head, bytes))
            break;
}

/* Such as a client of another engine would write. */
static void send_other(fuzz_t *f)
{
    unsigned n = take_bad(f);
    tx_claim_t claim;
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 1) % 20;
    if (!f->sides[n].is_open ||
        tx_producer_claim(&f->sides[n].producer, bytes, 0, now_ns, NULL, &claim) != 0)
        return;
    memset(claim.payload, 1, bytes);
    claim.commit_word |= (uint64_t)fuzz_take(&f->in, 1) << 8;
    tx_producer_commit(&f->sides[n].producer, &claim);
    wrk_activate(&f->sides[n].channel, now_ns);
}

static void raw_datagram(fuzz_t *f)
{
    uint8_t data[256];
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 1);
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)fuzz_take(&f->in, 1);
    arrive(f, how & 1, data, bytes, (uint16_t)(FIRST_PORT + (how >> 1 & 3)));
}

/* As the peer of a bad connection would send it. */
static void datagram_of_peer(fuzz_t *f)
{
    static const udt_type_t types[] = {UDT_TYPE_KEEPALIVE, UDT_TYPE_NAK,  UDT_TYPE_CONGESTION,
                                       UDT_TYPE_SHUTDOWN,  UDT_TYPE_ACK2, UDT_TYPE_ERROR,
                                       UDT_TYPE_HANDSHAKE, UDT_TYPE_ACK};
    uint8_t data[UDT_HANDSHAKE_BYTES + 8] = {0};
    unsigned n = take_bad(f);
    const udt_agent_t *a = udt_agent_of(&f->sides[n].channel);
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 1) % (sizeof data - UDT_HEADER_BYTES);
    if (!f->sides[n].is_open || a->port == NULL)
        return;
    if (how & 8)
        udt_put_data_header(data, a->conn.rcv.next + (uint32_t)fuzz_take(&f->in, 1) - 8,
                            (uint32_t)fuzz_take(&f->in, 1) << 29 | 1, 0, a->conn.config.socket_id);
    else
        udt_put_control_header(data, types[how & 7], (uint32_t)fuzz_take(&f->in, 1),
                               a->conn.config.socket_id);
    for (uint32_t i = 0; i < bytes; i += 4) {
        int8_t step = (int8_t)fuzz_take(&f->in, 1);
        rt_put32(data + UDT_HEADER_BYTES + i, (uint32_t)a->conn.isn + (uint32_t)step);
    }
    udt_address_t peer = udt_address_of(&a->ends.peer);
    arrive(f, a->port == udt_port_agent_of(&f->sides[PORT_1].channel), data,
           UDT_HEADER_BYTES + bytes, peer.port);
}

/* Strangers who have their cookie. */
static void requests(fuzz_t *f)
{
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    unsigned n = how & 1;
    if (!f->sides[n].is_open)
        return;
    for (unsigned i = 0; i <= (how >> 1 & 15); i++) {
        uint16_t from = (uint16_t)(2000 + i);
        uint8_t data[UDT_HANDSHAKE_BYTES];
        udp_addr_t source = loopback(from);
        udt_address_t address = udt_address_of(&source);
        udt_handshake_t hs = {
            .version = how & 32 ? (uint32_t)fuzz_take(&f->in, 1) : UDT_VERSION,
            .mode = n == PORT_0 ? UDT_MODE_MESSAGE : UDT_MODE_STREAM,
            .isn = (uint32_t)fuzz_take(&f->in, 1),
            .mss = how & 64 ? (uint32_t)fuzz_take(&f->in, 2) : 1500,
            .window_packets = how & 128 ? (uint32_t)fuzz_take(&f->in, 4) : 100,
            .request = UDT_REQUEST_RESPONSE,
            .socket_id = 1 + (uint32_t)fuzz_take(&f->in, 1),
            .cookie = udt_cookie_make(&port_of(f, n)->secret, &address, now_ns),
        };
        arrive(f, n, data, (uint32_t)udt_put_handshake(data, &hs, 0), from);
    }
}

static void open_one(fuzz_t *f)
{
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    unsigned n = take_bad(f);
    unsigned port = how & 1;
    shm_udt_config_t u = udt_config(port);
    if (f->sides[n].is_open)
        return;
    u.mode = port == PORT_0 || (how & 2) ? SHM_UDT_MESSAGES : SHM_UDT_STREAM;
    u.cc = how >> 2 & 3;
    u.max_bandwidth = how & 4 ? fuzz_take(&f->in, 4) : 0;
    u.rendezvous = (how & 0x10) != 0;
    u.connect_ns = (int64_t)fuzz_take(&f->in, 1) * 100 * RT_NS_PER_MS;
    if (how & 0x20)
        u.accepts = next_request(f, port);
    if (how & 0x40) /* any byte of it may be any */
        ((uint8_t *)&u)[fuzz_take(&f->in, 1) % sizeof u] = (uint8_t)fuzz_take(&f->in, 1);
    shm_config_t c = connection_config(n, &u, (uint16_t)(FIRST_PORT + (port ^ 1)));
    c.remote.port = (uint16_t)(c.remote.port + fuzz_take(&f->in, 1) % 3);
    (void)open_side(f, n, &c, (how & 0x80) != 0);
}

static void open_port_again(fuzz_t *f)
{
    unsigned n = (unsigned)fuzz_take(&f->in, 1) & 1;
    shm_config_t c = port_config(n);
    close_side(f, n);
    (void)open_side(f, n, &c, false);
}

static void request(fuzz_t *f)
{
    uint8_t body[32] = {0};
    uint8_t reply[CTL_ENGINE_BYTES];
    uint32_t reply_bytes = 0;
    unsigned n = take_channel(f);
    n = n == GOOD_FROM || n == GOOD_TO ? BAD : n;
    wrk_channel_t *ch = &f->sides[n].channel;
    shm_udt_command_t c = {.op = (uint32_t)fuzz_take(&f->in, 1) % 5};
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    c.reserved = (uint32_t)fuzz_take(&f->in, 1);
    c.value = (int64_t)fuzz_take(&f->in, how & 1 ? 8 : 4);
    memcpy(body, &c, sizeof c);
    size_t bytes = how & 0xf0 ? sizeof c : how & 0x1f;
    if (!f->sides[n].is_open)
        return;
    int rc = ch->ops->request(ch, body, bytes, reply, &reply_bytes);
    fuzz_require(rc == 0 || rt_err_text()[0] != '\0', "a refusal says why");
    fuzz_require(reply_bytes == 0, "requests are answered without a body");
    rt_err_clear();
    wrk_reschedule(ch);
}

static void hold_or_release(fuzz_t *f)
{
    unsigned n = take_channel(f);
    if (!f->sides[n].is_open)
        return;
    if (f->sides[n].channel.held)
        channel_release(&f->sides[n].channel);
    else
        channel_hold(&f->sides[n].channel);
}

static void duty(fuzz_t *f)
{
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    unsigned n = take_bad(f);
    wrk_channel_t *ch = &f->sides[n].channel;
    if (!f->sides[n].is_open)
        return;
    if (how % 4 == 0)
        (void)channel_purge_step(ch, now_ns);
    else if (how % 4 == 1)
        channel_reset_stats(ch);
    else if (how % 4 == 2)
        wrk_channel_fail(ch, EFAULT, "by the fuzzer");
    else
        channel_housekeep(ch, now_ns);
}

/* The worker dies; its successor finds what it left. */
static void succeed(fuzz_t *f)
{
    static uint8_t pages[CHANNELS][STATE_BYTES];
    bool was[CHANNELS];
    bool ports_first = fuzz_take(&f->in, 1) & 1;
    for (unsigned i = CHANNELS; i-- > 0;) {
        was[i] = f->sides[i].is_open;
        memcpy(pages[i], f->sides[i].channel.segment.engine, STATE_BYTES);
    }
    for (unsigned i = CHANNELS; i-- > 0;) {
        close_side(f, i);
        memcpy(f->sides[i].channel.segment.engine, pages[i], STATE_BYTES);
    }
    f->is_good = false;
    for (unsigned i = 0; i < CHANNELS; i++) {
        unsigned n = ports_first ? i : CHANNELS - 1 - i;
        if (was[n])
            (void)start_agent(f, n, true, fuzz_take(&f->in, 1) == 7);
    }
    rt_err_clear();
}

static void lose_what_is_under_way(fuzz_t *f)
{
    for (unsigned n = PORT_0; n <= PORT_1; n++)
        if (f->sides[n].is_open)
            agent_path_clear(&f->sides[n].channel, &port_of(f, n)->path);
}

static void play(fuzz_t *f)
{
    enum {
        PLAN,
        SEND,
        OTHER,
        READ,
        RAW,
        PEER,
        ASKED,
        OPEN,
        CLOSE,
        AGAIN,
        REQUEST,
        HELD,
        DUTY,
        OVER,
        LOSS,
        TIME
    };
    hostile_new_call();
    switch (fuzz_take(&f->in, 1) % (TIME + 1)) {
    case PLAN:
        scribble(f);
        break;
    case SEND:
        send_some(f);
        break;
    case OTHER:
        send_other(f);
        break;
    case READ:
        read_all(f, take_channel(f));
        break;
    case RAW:
        raw_datagram(f);
        break;
    case PEER:
        datagram_of_peer(f);
        break;
    case ASKED:
        requests(f);
        break;
    case OPEN:
        open_one(f);
        break;
    case CLOSE:
        close_side(f, take_bad(f));
        break;
    case AGAIN:
        open_port_again(f);
        break;
    case REQUEST:
        request(f);
        break;
    case HELD:
        hold_or_release(f);
        break;
    case DUTY:
        duty(f);
        break;
    case OVER:
        succeed(f);
        break;
    case LOSS:
        lose_what_is_under_way(f);
        break;
    default:
        pass_until(f, now_ns + (int64_t)fuzz_take(&f->in, 2) * 100 * RT_NS_PER_US);
    }
    serve(f);
    check(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    memset(&f, 0, sizeof f);
    f.in = (fuzz_input_t){data, bytes};
    start(&f);
    for (unsigned i = 0; i < MOST_STEPS && f.in.left > 0; i++)
        play(&f);
    hostile_stop();
    for (unsigned n = 0; n < CHANNELS; n++)
        if (f.sides[n].is_open)
            channel_release(&f.sides[n].channel);
    check_good_stream(&f);
    pass_until(&f, now_ns + RT_NS_PER_S);
    check(&f);
    end(&f);
    return 0;
}
