/* A cyclic channel without a remote address, whose clients write to its shared memory what they
 * like, between any two loads of the worker, ask for anything, and die; and a worker that takes over
 * what they left. What must hold: nothing beyond a part or a payload is read or written, time never
 * stands still at a deadline, records are whole and on the grid.
 *
 *      input:  configuration, then step step ...   each a kind and what it needs, see play()
 *
 * The engine's own code runs, without worker and without sockets: cycles go into the rx ring. Times
 * lie in the past, so that nothing is really waited for. */
#include "hostile.h"

#include "shm/ctl_msg.h"
#include "shm/cyclic_shm.c"
#include "shm/latest_box.c"

#include "worker/agents/cyclic/cyclic.h"
#include "channel_end.h"
#include "worker/worker.h"

#include "base/rt_err.h"

#define PRODUCERS 4u
#define MAX_PAYLOAD 64u
#define START_NS RT_NS_PER_S
#define END_NS (50 * RT_NS_PER_S)
#define LOOKS_PER_INSTANT 100u

typedef struct fuzz {
    fuzz_input_t in;
    worker_t worker;
    wrk_channel_t channel;
    cyclic_agent_t agent;
    rx_reader_t reader;
    shm_cyclic_config_t own;
    int64_t now_ns;
} fuzz_t;

/* --- the channel --------------------------------------------------------------------------- */

static shm_cyclic_config_t configuration(fuzz_t *f)
{
    shm_cyclic_config_t c = {.config_bytes = sizeof c};
    c.payload_bytes = (uint32_t)fuzz_take(&f->in, 1) % MAX_PAYLOAD;
    c.period_ns = (int64_t)(1 + fuzz_take(&f->in, 1)) * 100 * RT_NS_PER_US;
    c.phase_ns = (int64_t)fuzz_take(&f->in, 4) % c.period_ns;
    c.stale_after_ns = (int64_t)fuzz_take(&f->in, 1) * RT_NS_PER_MS;
    c.early_ns = (int64_t)fuzz_take(&f->in, 1) * 500;
    c.on_stale = (uint32_t)fuzz_take(&f->in, 1) % 3;
    return c;
}

static void open_agent(fuzz_t *f)
{
    memset(&f->agent, 0, sizeof f->agent);
    f->channel.socket_fd = -1;
    fuzz_require(f->channel.ops->open(&f->channel, f->now_ns) == 0,
                 "whatever a predecessor left, the agent opens");
}

static void start(fuzz_t *f)
{
    shm_config_t config;
    shm_config_init(&config);
    f->own = configuration(f);
    config.direction = SHM_DUPLEX;
    config.producers = PRODUCERS;
    config.readers = 1;
    config.report_slots = 4;
    config.reports = SHM_REPORTS_ALL;
    config.tx_bytes = config.rx_bytes = 4096;
    config.max_payload_bytes = 200;
    config.tolerance_ns = INT64_MAX / 4; /* nothing is late: the clock is far behind the real one */
    config.engine_bytes = shm_cyclic_bytes(PRODUCERS, f->own.payload_bytes);
    memcpy(config.engine, SHM_CYCLIC_ENGINE, sizeof SHM_CYCLIC_ENGINE);
    memcpy(config.engine_config, &f->own, sizeof f->own);
    wrk_channel_t *ch = &f->channel;
    ch->worker = &f->worker;
    ch->config = config;
    hostile_segment_make(&ch->segment, &config);
    ch->segment.engine = hostile_part(config.engine_bytes);
    ch->stats = ch->segment.stats;
    ch->agent = &f->agent;
    ch->ops = agent_find(SHM_CYCLIC_ENGINE);
    ch->active_index = WRK_INACTIVE;
    hostile_reset();
    hostile_may_write(ch->segment.engine, sizeof(shm_cyclic_head_t));
    hostile_may_write(ch->segment.engine, config.engine_bytes);
    hostile_may_write(ch->segment.producers, PRODUCERS * sizeof(shm_producer_t));
    fuzz_require(rx_writer_init(&ch->rx, &ch->segment) == 0 &&
                     tx_queue_init(&ch->tx, &ch->segment, 0) == 0 &&
                     rx_reader_init(&f->reader, &ch->segment, 0, SHM_READ_EACH, 0) == 0,
                 "the rings are usable");
    slot_writer_init(&ch->reports, ch->segment.report, ch->segment.reports,
                     ch->segment.config.report_slots, (uint32_t)sizeof(shm_report_t));
    open_agent(f);
}

static void end(fuzz_t *f)
{
    f->channel.ops->close(&f->channel);
    end_channel_memory(&f->channel);
    free(f->channel.segment.engine);
    hostile_segment_free(&f->channel.segment);
}

/* --- what must hold ------------------------------------------------------------------------ */

static void check(fuzz_t *f)
{
    uint8_t buffer[200];
    rx_packet_t packet;
    while (rx_reader_next(&f->reader, buffer, sizeof buffer, &packet, NULL) == 1) {
        fuzz_require(packet.payload_bytes <= f->own.payload_bytes, "a record is whole");
        fuzz_require(packet.time_ns <= f->now_ns + RT_NS_PER_S, "no cycle is ahead of its time");
    }
    fuzz_require(f->agent.found.slot < PRODUCERS, "the writer has a slot");
    fuzz_require(f->agent.early_ns >= 0 && f->agent.early_ns <= f->own.period_ns / 4,
                 "readers get their cycles in the period before them");
}

/* --- steps --------------------------------------------------------------------------------- */

/* As the worker does it: everything that is due, until nothing is. */
static void serve(fuzz_t *f)
{
    wrk_channel_t *ch = &f->channel;
    unsigned looks = 0;
    while (ch->ops->deadline_ns(ch) <= f->now_ns) {
        fuzz_require(++looks < LOOKS_PER_INSTANT, "what is due at an instant comes to an end");
        ch->ops->on_deadline(ch, f->now_ns);
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
    uint8_t payload[MAX_PAYLOAD] = {(uint8_t)fuzz_take(&f->in, 1)};
    uint32_t slot = (uint32_t)fuzz_take(&f->in, 1) % PRODUCERS;
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 1) % (f->own.payload_bytes + 1);
    int64_t at = f->now_ns + (int8_t)fuzz_take(&f->in, 1) * RT_NS_PER_MS;
    (void)shm_box_put(&f->agent.box, slot, payload, bytes, at);
    (void)f->channel.ops->do_work(&f->channel, f->now_ns);
}

/* Any body, but for the request that uses the real clock. */
static void request(fuzz_t *f)
{
    uint8_t body[64] = {0}, reply[CTL_ENGINE_BYTES];
    uint32_t reply_bytes = 0;
    uint32_t op = (uint32_t)fuzz_take(&f->in, 4);
    memcpy(body, &op, sizeof op);
    size_t bytes = fuzz_take(&f->in, 1) % sizeof body;
    if (op != SHM_CYCLIC_KEEP_FAILSAFE || bytes != sizeof op)
        fuzz_require(f->channel.ops->request(&f->channel, body, bytes, reply, &reply_bytes) < 0,
                     "what is unknown is refused");
}

static void declare_failsafe(fuzz_t *f)
{
    uint8_t payload[MAX_PAYLOAD] = {1};
    shm_cyclic_put_failsafe(&f->agent.box, payload,
                            (uint32_t)fuzz_take(&f->in, 1) % (f->own.payload_bytes + 1));
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
    f->channel.ops->close(&f->channel);
    end_channel_memory(&f->channel);
    open_agent(f);
}

static void play(fuzz_t *f)
{
    enum { PLAN, PUT, DEADLINE, REQUEST, FAILSAFE, GONE, HELD, OVER, RESET, PURGE, TIME };
    hostile_new_call();
    switch (fuzz_take(&f->in, 1) % (TIME + 1)) {
    case PLAN:
        hostile_plan(&f->in, 0, 512);
        break;
    case PUT:
        put(f);
        break;
    case DEADLINE:
        next_deadline(f);
        break;
    case REQUEST:
        request(f);
        break;
    case FAILSAFE:
        declare_failsafe(f);
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
    f.channel.ops->send_final(&f.channel, f.now_ns);
    end(&f);
    return 0;
}
