/* A channel of many ports whose clients write to its shared memory what they like, between any two
 * loads of the worker: the table of ports, the tx ring and its records; that ask for anything; and
 * workers that take over what is left. What must hold: nothing beyond a part or a record is read or
 * sent, every call ends, and each socket that was opened is closed once.
 *
 *      input:  op op op ...    see play()
 *
 * The agent's own code runs, without worker and without sockets. */
#include "hostile.h"

#include "shm/tx_claims.c"
#include "shm/tx_item.c"
#include "shm/tx_move.c"
#include "shm/tx_queue.c"
#include "shm/tx_release.c"
#include "shm/tx_takeover.c"

/* Beside the agent that is linked with every worker. */
#define mux_agent_request fuzz_request
#define mux_agent_reopen fuzz_reopen
#define mux_agent_close_ports fuzz_close_ports
#define mux_agent_maintain_ports fuzz_look_after
#define mux_agent_note_drops fuzz_note_drops
#define mux_agent_take_in fuzz_take_in
#define mux_agent_free_space fuzz_free_space
#define mux_agent_purge fuzz_purge

#include "shm/mux_layout.h"
#include "shm/tx_ring.h"
#include "worker/agents/common/parked_sockets.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/mux/mux.h"
#include "worker/worker.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#define PORTS 8u
#define PRODUCERS 3u
#define RING_BYTES 2048u
#define MAX_PAYLOAD 200u
#define FIRST_FD 1000
#define SOCKETS 4096
#define STEP_NS (10 * RT_NS_PER_US)

typedef struct fuzz {
    fuzz_input_t in;
    worker_t worker;
    wrk_channel_t channel;
    mux_agent_t agent;
    tx_producer_t clients[PRODUCERS];
    int64_t now_ns;
    uint32_t number;
} fuzz_t;

static fuzz_t f;

/* --- the kernel ---------------------------------------------------------------------------- */

static bool is_open[SOCKETS];
static unsigned opened;
static volatile uint8_t sink;

static int open_of_fuzz(udp_t *udp, const udp_config_t *config)
{
    fuzz_require(udp_addr_len(&config->local) > 0, "a socket is bound to an address");
    if (opened == SOCKETS || fuzz_take(&f.in, 1) % 4 == 0)
        return -EADDRINUSE;
    *udp = (udp_t){.fd = FIRST_FD + (int)opened, .eff.local = config->local};
    is_open[opened++] = true;
    return 0;
}

static void close_of_fuzz(udp_t *udp)
{
    if (udp->fd < 0)
        return;
    fuzz_require(is_open[udp->fd - FIRST_FD], "what is closed was open");
    is_open[udp->fd - FIRST_FD] = false;
    udp->fd = -1;
}

static int drops_of_fuzz(udp_t *udp)
{
    udp->kernel_drops += fuzz_take(&f.in, 1) % 3;
    return 0;
}

/* Takes all of them, some, or refuses the first. */
static int send_of_fuzz(udp_t *udp, udp_tx_t *messages, unsigned count, int *error)
{
    fuzz_require(udp->fd >= 0 && is_open[udp->fd - FIRST_FD], "an open socket sends");
    fuzz_require(count > 0 && count <= MUX_AGENT_BATCH, "a batch");
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *data = messages[i].data;
        fuzz_require(messages[i].len <= MAX_PAYLOAD, "a datagram is no longer than a record");
        fuzz_require(udp_addr_len(messages[i].dest) > 0, "it goes somewhere");
        for (size_t k = 0; k < messages[i].len; k++)
            sink = data[k];
    }
    unsigned how = (unsigned)fuzz_take(&f.in, 1);
    *error = how % 4 == 0 ? ECONNREFUSED : 0;
    return (int)(*error != 0 ? how / 4 % count : how % 4 == 1 ? 1 + how / 4 % count : count);
}

static int no_adoption(udp_t *udp, int fd, const udp_config_t *config)
{
    (void)udp;
    (void)fd;
    (void)config;
    return -ENOTSOCK;
}

static int watch_of_fuzz(poller_t *p, wrk_source_t *source, int fd, uint32_t events)
{
    (void)p;
    (void)events;
    source->fd = fd;
    return 0;
}

static void forget_of_fuzz(poller_t *p, wrk_source_t *source)
{
    (void)p;
    source->fd = -1;
}

static int limit_of_fuzz(int resource, struct rlimit *limit)
{
    (void)resource;
    limit->rlim_cur = RLIM_INFINITY;
    return 0;
}

static int64_t time_of_fuzz(void)
{
    hostile_turn();
    return f.now_ns;
}

#define rt_mono_ns() time_of_fuzz()
#define getrlimit(what, limit) limit_of_fuzz((int)(what), limit)
#define udp_open open_of_fuzz
#define udp_adopt no_adoption
#define udp_close close_of_fuzz
#define udp_send send_of_fuzz
#define udp_drops_refresh drops_of_fuzz
#define poller_watch watch_of_fuzz
#define poller_forget forget_of_fuzz
#include "worker/agents/mux/ports.c"
#include "worker/agents/mux/tx.c"

/* Reading from sockets is none of this target's business. */
void mux_agent_note_drops(wrk_channel_t *ch, mux_socket_t *s, uint64_t before)
{
    wrk_count(ch, SHM_COUNT_rx_kernel_drops, s->udp.kernel_drops - before);
    mux_agent_of(ch)->table[s->port].drops = s->udp.kernel_drops;
}

/* --- the channel --------------------------------------------------------------------------- */

static bool is_alive(void *of, uint32_t slot)
{
    (void)of;
    return atomic_load(&f.channel.segment.producers[slot].owner) == 1;
}

static int start_queue(bool again)
{
    int rc = tx_queue_init(&f.channel.tx, &f.channel.segment, again);
    tx_queue_ask_slots(&f.channel.tx, is_alive, NULL);
    return rc;
}

/* As the agent opens, without a poller and without a park. */
static void open_agent(void)
{
    static mux_socket_t *sockets[PORTS];
    uint8_t *shared = f.channel.segment.engine;
    memset(sockets, 0, sizeof sockets);
    f.agent = (mux_agent_t){.port_count = PORTS,
                            .sockets = sockets,
                            .park = -1,
                            .facts = mux_facts(shared),
                            .drained = mux_drained(shared),
                            .table = mux_ports(shared, PORTS),
                            .send_cost_ns = 2000};
    fuzz_require(mux_agent_reopen(&f.channel) == 0, "whatever the table says, the agent opens");
}

static void start(void)
{
    shm_config_t config;
    shm_config_init(&config);
    config.direction = SHM_DUPLEX;
    config.producers = PRODUCERS;
    config.readers = 1;
    config.report_slots = 1;
    config.tx_bytes = config.rx_bytes = RING_BYTES;
    config.max_payload_bytes = MAX_PAYLOAD;
    config.engine_bytes = mux_bytes(PORTS);
    wrk_channel_t *ch = &f.channel;
    ch->worker = &f.worker;
    ch->config = config;
    hostile_reset();
    hostile_segment_make(&ch->segment, &config);
    ch->segment.engine = hostile_part(config.engine_bytes);
    ch->stats = ch->segment.stats;
    ch->agent = &f.agent;
    ch->active_index = WRK_INACTIVE;
    mux_port_t *table = mux_ports(ch->segment.engine, PORTS);
    hostile_may_write(table, PORTS * sizeof *table);
    hostile_may_write(ch->segment.engine, config.engine_bytes);
    hostile_may_write(ch->segment.tx, sizeof *ch->segment.tx);
    hostile_may_write(ch->segment.producers, PRODUCERS * sizeof(shm_producer_t));
    hostile_may_write(ch->segment.tx_data, RING_BYTES);
    for (uint32_t i = 1; i < PRODUCERS; i++) {
        (void)tx_producer_init(&f.clients[i], &ch->segment, i);
        atomic_store(&ch->segment.producers[i].owner, 1u);
    }
    fuzz_require(start_queue(false) == 0, "a new ring is usable");
    open_agent();
}

static void end(void)
{
    mux_agent_close_ports(&f.channel);
    for (unsigned i = 0; i < opened; i++)
        fuzz_require(!is_open[i], "every socket is closed");
    free(f.channel.segment.engine);
    hostile_segment_free(&f.channel.segment);
}

static void check(void)
{
    for (uint32_t port = 0; port < PORTS; port++) {
        const mux_socket_t *s = f.agent.sockets[port];
        fuzz_require(s == NULL || s->port == port, "a socket is at its place");
        fuzz_require(s == NULL || s->udp.fd < 0 || is_open[s->udp.fd - FIRST_FD],
                     "what a place has is open");
    }
}

/* --- steps --------------------------------------------------------------------------------- */

static shm_addr_t address(void)
{
    shm_addr_t a = {.family = (uint8_t)(fuzz_take(&f.in, 1) % 8), .ip = {127, 0, 0, 1}};
    a.port = (uint16_t)fuzz_take(&f.in, 2);
    return a;
}

static void request(void)
{
    uint8_t reply[sizeof(mux_reply_t)];
    uint32_t bytes = 0;
    mux_request_t ask = {.op = (uint32_t)fuzz_take(&f.in, 1) % 5};
    ask.port = (uint16_t)(fuzz_take(&f.in, 1) % (PORTS + 1));
    ask.generation = (uint16_t)(fuzz_take(&f.in, 1) % 4);
    ask.address = address();
    int rc = mux_agent_request(&f.channel, (const uint8_t *)&ask, sizeof ask, reply, &bytes);
    fuzz_require(rc == -EINVAL || (rc == 0 && bytes == sizeof reply), "an answer, or a refusal");
}

static void push(void)
{
    static const uint8_t data[MAX_PAYLOAD];
    unsigned how = (unsigned)fuzz_take(&f.in, 1);
    mux_head_t head = {.number = f.number++,
                       .port = (uint16_t)(fuzz_take(&f.in, 1) % (PORTS + 1)),
                       .generation = (uint16_t)(how % 4)};
    uint32_t bytes = (uint32_t)fuzz_take(&f.in, 1) % (MAX_PAYLOAD - (uint32_t)sizeof head + 1);
    tx_producer_t *client = &f.clients[1 + how / 4 % (PRODUCERS - 1)];
    (void)tx_producer_push_engine(client, &head, sizeof head, data, bytes, f.now_ns);
}

/* A record of the engine's that is too short for what stands in front of a datagram, or nearly. */
static void push_short(void)
{
    tx_claim_t claim;
    tx_producer_t *client = &f.clients[1 + fuzz_take(&f.in, 1) % (PRODUCERS - 1)];
    uint32_t bytes = (uint32_t)fuzz_take(&f.in, 1) % (2 * sizeof(mux_head_t));
    if (tx_producer_claim(client, bytes, 0, f.now_ns, NULL, &claim) != 0)
        return;
    memset(claim.payload, 0, bytes);
    claim.commit_word |= (uint64_t)SHM_TX_ENGINE << 8;
    tx_producer_commit(client, &claim);
}

/* One of the clients dies, perhaps amid a packet. */
static void die(void)
{
    tx_claim_t claim;
    tx_producer_t *client = &f.clients[1 + fuzz_take(&f.in, 1) % (PRODUCERS - 1)];
    (void)tx_producer_claim(client, 8, 0, f.now_ns, NULL, &claim);
    atomic_store(&client->slot->owner, 2u);
}

static void succeed(void)
{
    mux_agent_close_ports(&f.channel);
    if (start_queue(true) < 0)
        (void)start_queue(false);
    open_agent();
}

static void play(void)
{
    enum { HOSTILE, REQUEST, PUSH, TAKE_IN, PURGE, LOOK, OVER, DIE, SHORT, OPS };
    hostile_new_call();
    f.now_ns += STEP_NS;
    switch (fuzz_take(&f.in, 1) % OPS) {
    case REQUEST:
        request();
        break;
    case PUSH:
        push();
        break;
    case TAKE_IN:
        (void)mux_agent_take_in(&f.channel, f.now_ns);
        break;
    case PURGE:
        (void)mux_agent_purge(&f.channel, 64, f.now_ns);
        break;
    case LOOK:
        mux_agent_maintain_ports(&f.channel);
        break;
    case OVER:
        succeed();
        break;
    case DIE:
        die();
        break;
    case SHORT:
        push_short();
        break;
    default:
        hostile_plan(&f.in, f.channel.tx.read_seq, RING_BYTES / SHM_UNIT_BYTES);
    }
    check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    memset(&f, 0, sizeof f);
    memset(is_open, 0, sizeof is_open);
    opened = 0;
    f.in = (fuzz_input_t){data, bytes};
    f.now_ns = RT_NS_PER_S;
    start();
    while (f.in.left > 0)
        play();
    hostile_stop();
    hostile_new_call();
    for (unsigned i = 0; i < 20; i++, f.now_ns += 100 * RT_NS_PER_MS)
        (void)mux_agent_take_in(&f.channel, f.now_ns);
    end();
    return 0;
}
