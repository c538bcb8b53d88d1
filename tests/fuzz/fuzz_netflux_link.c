/* A Netflux channel of a worker whose clients write to its shared memory what they like, between
 * any two loads of the worker, ask for anything, and whose partner sends any bytes; and a worker
 * that takes over what they left. What must hold: nothing beyond a part or a datagram is read or
 * written, time never stands still at a deadline, records are whole, each number of ours has one
 * fate.
 *
 *      input:  configuration, then step step ...   each a kind and what it needs, see play()
 *
 * The agent's own code runs, without worker and without sockets: what it sends is lost in the
 * emulated link. Times lie in the past, so that nothing is really waited for. */
#include "hostile.h"

#include "shm/ctl_msg.h"
#include "shm/netflux_shm.c"
#include "../c/netflux_put.h"

#include "worker/agents/netflux/netflux.h"
#include "channel_end.h"
#include "worker/worker.h"

#include "base/rt_err.h"

#define PRODUCERS 4u
#define MAX_VALUES 40u
#define START_NS RT_NS_PER_S
#define END_NS (50 * RT_NS_PER_S)
#define LOOKS_PER_INSTANT 100u

typedef struct fuzz {
    fuzz_input_t in;
    worker_t worker;
    wrk_channel_t channel;
    netflux_agent_t agent;
    rx_reader_t reader;
    int64_t now_ns;
    uint8_t number;
} fuzz_t;

static netflux_agent_t fresh_agent;

/* --- the channel --------------------------------------------------------------------------- */

static shm_netflux_config_t configuration(fuzz_t *f)
{
    shm_netflux_config_t c = {.config_bytes = sizeof c};
    c.tx_payload_bytes = (uint32_t)fuzz_take(&f->in, 1) % MAX_VALUES;
    c.rx_payload_bytes = (uint32_t)fuzz_take(&f->in, 1) % MAX_VALUES;
    c.settings.cycle_ns = (int64_t)(1 + fuzz_take(&f->in, 1)) * 100 * RT_NS_PER_US;
    c.settings.watch_ns = (int64_t)fuzz_take(&f->in, 1) * RT_NS_PER_MS;
    c.settings.stale_ns = (int64_t)fuzz_take(&f->in, 1) * RT_NS_PER_MS;
    c.settings.on_stale = (uint32_t)fuzz_take(&f->in, 1) % 3;
    c.settings.flags = (uint32_t)fuzz_take(&f->in, 1) & SHM_NETFLUX_FLAGS;
    c.own_number = (uint8_t)fuzz_take(&f->in, 1);
    return c;
}

static void open_agent(fuzz_t *f, const shm_netflux_config_t *link)
{
    wrk_channel_t *ch = &f->channel;
    f->agent = fresh_agent;
    f->agent.config = *link;
    f->agent.engine = ch->segment.engine;
    f->agent.sends = true;
    f->agent.udp.fd = -1;
    f->agent.socket.fd = -1;
    f->agent.remote.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = 9};
    f->agent.path = (agent_path_t){.udp = &f->agent.udp, .deliver = netflux_agent_arrived};
    fuzz_require(agent_path_open(ch, &f->agent.path) == 0 &&
                     netflux_agent_session_open(ch, f->now_ns) == 0,
                 "whatever a predecessor left, the agent opens");
    netflux_agent_tx_open(ch, f->now_ns);
    shm_netflux_state_put(f->agent.engine, &f->agent.state);
}

static void start(fuzz_t *f)
{
    shm_config_t config;
    shm_config_init(&config);
    config.direction = SHM_DUPLEX;
    config.producers = PRODUCERS;
    config.readers = 1;
    config.report_slots = 4;
    config.reports = SHM_REPORTS_ALL;
    config.tx_bytes = config.rx_bytes = 4096;
    config.max_payload_bytes = 200;
    config.impair_tx.loss = 1.0;
    config.engine_bytes = shm_netflux_bytes(PRODUCERS);
    shm_netflux_config_t link = configuration(f);
    wrk_channel_t *ch = &f->channel;
    ch->worker = &f->worker;
    ch->config = config;
    hostile_segment_make(&ch->segment, &config);
    ch->segment.engine = hostile_part(config.engine_bytes);
    ch->stats = ch->segment.stats;
    ch->agent = &f->agent;
    ch->ops = agent_find(SHM_NETFLUX_ENGINE);
    ch->active_index = WRK_INACTIVE;
    hostile_reset();
    hostile_may_write(ch->segment.engine, SHM_NETFLUX_HEAD_BYTES);
    hostile_may_write(ch->segment.engine, config.engine_bytes);
    hostile_may_write(ch->segment.producers, PRODUCERS * sizeof(shm_producer_t));
    fuzz_require(rx_writer_init(&ch->rx, &ch->segment) == 0 &&
                     tx_queue_init(&ch->tx, &ch->segment, 0) == 0 &&
                     rx_reader_init(&f->reader, &ch->segment, 0, SHM_READ_EACH, 0) == 0,
                 "the rings are usable");
    slot_writer_init(&ch->reports, ch->segment.report, ch->segment.reports,
                     ch->segment.config.report_slots, (uint32_t)sizeof(shm_report_t));
    open_agent(f, &link);
}

static void end(fuzz_t *f)
{
    end_channel_memory(&f->channel);
    free(f->channel.segment.engine);
    hostile_segment_free(&f->channel.segment);
}

/* --- what must hold ------------------------------------------------------------------------ */

static void read_all(fuzz_t *f)
{
    uint8_t buffer[200];
    rx_packet_t packet;
    shm_netflux_rx_t head;
    while (rx_reader_next(&f->reader, buffer, sizeof buffer, &packet, NULL) == 1) {
        fuzz_require(packet.payload_bytes >= sizeof head, "a record has its head");
        memcpy(&head, buffer, sizeof head);
        bool values = head.kind == SHM_NETFLUX_VALUES || head.kind == SHM_NETFLUX_TIMEOUT;
        fuzz_require(head.kind <= SHM_NETFLUX_STALE, "a record is of a known kind");
        fuzz_require(head.payload_bytes == packet.payload_bytes - sizeof head &&
                         head.payload_bytes == (values ? f->agent.config.rx_payload_bytes : 0),
                     "a record is whole");
    }
}

static void check(fuzz_t *f)
{
    const nfx_session_t *s = &f->agent.session;
    fuzz_require(s->echo.sent - s->echo.covered <= 256, "numbers in flight are told apart");
    fuzz_require(s->alive.is || s->alive_until_ns == RT_NEVER_NS, "what is dead is not watched");
    fuzz_require(f->agent.writer < PRODUCERS, "the writer has a slot");
    read_all(f);
}

/* --- steps --------------------------------------------------------------------------------- */

/* As the worker does it: everything that is due, until nothing is. */
static void serve(fuzz_t *f)
{
    wrk_channel_t *ch = &f->channel;
    unsigned looks = 0;
    while (ch->ops->deadline_ns(ch) <= f->now_ns + AGENT_LEAD_NS) {
        if (ch->ops->deadline_ns(ch) > f->now_ns)
            f->now_ns = ch->ops->deadline_ns(ch);
        fuzz_require(++looks < LOOKS_PER_INSTANT, "what is due at an instant comes to an end");
        if (netflux_agent_prepare(ch, f->now_ns))
            continue;
        agent_path_emit(ch, &f->agent.path, f->now_ns);
        netflux_agent_send_due(ch, f->now_ns);
        netflux_agent_put_events(ch);
        netflux_agent_publish(ch);
    }
}

static void next_deadline(fuzz_t *f)
{
    int64_t at = f->channel.ops->deadline_ns(&f->channel);
    if (at != RT_NEVER_NS && at > f->now_ns && at < END_NS)
        f->now_ns = at;
    serve(f);
}

static void pass_time(fuzz_t *f, int64_t ns)
{
    if (f->now_ns + ns < END_NS)
        f->now_ns += ns;
    serve(f);
}

static void put(fuzz_t *f)
{
    uint8_t values[MAX_VALUES] = {(uint8_t)fuzz_take(&f->in, 1)};
    uint32_t slot = (uint32_t)fuzz_take(&f->in, 1) % PRODUCERS;
    int64_t at = f->now_ns + (int8_t)fuzz_take(&f->in, 1) * INT64_C(1000000);
    (void)netflux_put(f->agent.engine, slot, values, f->agent.config.tx_payload_bytes, at);
}

static void arrive(fuzz_t *f)
{
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    uint32_t bytes = NFX_HEADER_BYTES + f->agent.config.rx_payload_bytes;
    bytes = how & 1 ? (uint32_t)fuzz_take(&f->in, 1) : bytes;
    uint8_t *datagram =
        malloc(bytes > 0 ? bytes : 1); /* its own block: a step over its end is seen */
    if (datagram == NULL)
        abort();
    memset(datagram, (int)how, bytes);
    f->number = (uint8_t)(f->number + 1 + (how & 2 ? fuzz_take(&f->in, 1) : 0));
    if (bytes > 0)
        datagram[0] = f->number;
    rx_item_t item = {.payload = datagram,
                      .payload_bytes = bytes,
                      .time_ns = f->now_ns - (int64_t)fuzz_take(&f->in, 2) * 1000,
                      .stamp = SHM_STAMP_KERNEL,
                      .source = {.family = 4, .port = 9, .ip = {127, 0, 0, 1}}};
    (void)netflux_agent_arrived(&f->channel, &item, f->now_ns);
    netflux_agent_publish(&f->channel);
    free(datagram);
}

/* Any body, but for what would use an address of the input or the real clock. */
static void request(fuzz_t *f)
{
    shm_netflux_request_t r = {.op = (uint32_t)fuzz_take(&f->in, 1) % 8};
    uint8_t body[sizeof r + 64] = {0};
    uint8_t reply[CTL_ENGINE_BYTES];
    uint32_t reply_bytes = 0;
    r.on = (uint32_t)fuzz_take(&f->in, 2);
    r.settings.cycle_ns = (int64_t)fuzz_take(&f->in, 4);
    memcpy(body, &r, sizeof r);
    size_t bytes = sizeof r + fuzz_take(&f->in, 1) % 64;
    if (fuzz_take(&f->in, 1) % 8 == 0)
        bytes %= sizeof r + 1;
    if (r.op == SHM_NETFLUX_AIM ||
        (r.op == SHM_NETFLUX_SET && r.settings.cycle_ns >= NFX_MIN_CYCLE_NS))
        return;
    (void)f->channel.ops->request(&f->channel, body, bytes, reply, &reply_bytes);
    fuzz_require(reply_bytes == 0, "requests are answered without a body");
    netflux_agent_resume(&f->channel, f->now_ns);
}

static void hold_and_release(fuzz_t *f)
{
    f->channel.held = true; /* as channel_hold sets it */
    f->channel.ops->hold(&f->channel);
    fuzz_require(f->channel.ops->deadline_ns(&f->channel) == RT_NEVER_NS, "held, it rests");
    pass_time(f, (int64_t)fuzz_take(&f->in, 3));
    f->channel.held = false;
    f->channel.ops->release(&f->channel, f->now_ns);
}

static void take_over(fuzz_t *f)
{
    shm_netflux_config_t link = f->agent.config;
    end_channel_memory(&f->channel);
    open_agent(f, &link);
}

static void play(fuzz_t *f)
{
    enum { PLAN, PUT, ARRIVE, DEADLINE, REQUEST, GONE, HELD, OVER, RESET, PURGE, TIME };
    hostile_new_call();
    switch (fuzz_take(&f->in, 1) % (TIME + 1)) {
    case PLAN:
        hostile_plan(&f->in, 0, 512);
        break;
    case PUT:
        put(f);
        break;
    case ARRIVE:
        arrive(f);
        break;
    case DEADLINE:
        next_deadline(f);
        break;
    case REQUEST:
        request(f);
        break;
    case GONE:
        f->channel.ops->producer_gone(&f->channel, (uint32_t)fuzz_take(&f->in, 1), f->now_ns);
        break;
    case HELD:
        hold_and_release(f);
        break;
    case OVER:
        take_over(f);
        break;
    case RESET:
        f->channel.ops->reset(&f->channel);
        break;
    case PURGE:
        (void)f->channel.ops->purge(&f->channel, 64, f->now_ns);
        break;
    default:
        pass_time(f, (int64_t)fuzz_take(&f->in, 3));
    }
    check(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    memset(&f, 0, sizeof f);
    f.in = (fuzz_input_t){data, bytes};
    f.now_ns = START_NS;
    start(&f);
    while (f.in.left > 0)
        play(&f);
    hostile_new_call();
    hostile_stop();
    pass_time(&f, RT_NS_PER_S);
    check(&f);
    end(&f);
    return 0;
}
