#include "base/rt_err.h"
#include "shm/shm_engine.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/udt/udt.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define DEFAULT_RCVBUF_BYTES (12u << 20)
#define REFUSED_BYTES ((size_t)UDT_AGENT_BATCH * UDT_AGENT_PLACE_BYTES)
#define DRAINED_PER_CALL 64u
#define FLOW_SPAN_NS RT_NS_PER_MS
#define FLOW_BYTES_PER_US 20u /* 160 Mbit/s */
#define REST_NS (300 * RT_NS_PER_US)
#define SHORT_REST_NS (20 * RT_NS_PER_US)

/* The kernel may have room again. */
static void unblock(udt_port_agent_t *p, int64_t now_mono_ns)
{
    udt_refused_t *r = &p->refused;
    r->at += udt_port_agent_hand_over(p, r->from, &r->messages[r->at], r->count - r->at);
    if (r->at < r->count) {
        agent_block(&p->block, now_mono_ns);
        return;
    }
    r->at = r->count = 0;
    p->block = (agent_block_t){.now = false};
    udt_port_agent_watch(p);
    udt_port_agent_serve_touched(p);
}

/* --- events -------------------------------------------------------------------------------- */

/* A sender that hands over its datagrams one by one pays for each wake-up of this worker. On the
 * same core it is stopped meanwhile, and its probe pairs measure that: libudt stays at a tenth of
 * its rate. So under load the socket is read at times that the worker chooses: soon, if something
 * was left in it. */
static void poll_under_load(udt_port_agent_t *p, int64_t now_mono_ns)
{
    bool rested = p->rest_mono_ns != 0;
    int64_t span_ns = now_mono_ns - p->flow_mono_ns;
    if (span_ns >= FLOW_SPAN_NS) {
        p->flows = p->receiver.bytes >= FLOW_BYTES_PER_US * (uint64_t)(span_ns / RT_NS_PER_US);
        p->receiver.bytes = 0;
        p->flow_mono_ns = now_mono_ns;
    }
    int64_t rest_ns = p->udp.rx_more ? SHORT_REST_NS : REST_NS;
    p->rest_mono_ns = p->flows ? now_mono_ns + rest_ns : 0;
    if (p->flows != rested)
        udt_port_agent_watch(p);
}

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    udt_port_agent_t *p = udt_port_agent_of(source->channel);
    if ((events & EPOLLOUT) && p->block.now)
        unblock(p, now_mono_ns);
    udt_port_agent_on_socket(source, events, now_mono_ns);
    poll_under_load(p, rt_mono_ns()); /* a rest that began before would be over already */
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_port_agent_t *p = udt_port_agent_of(ch);
    if (p->block.now && now_mono_ns >= p->block.retry_mono_ns)
        unblock(p, now_mono_ns);
    if (p->rest_mono_ns != 0 && now_mono_ns >= p->rest_mono_ns)
        on_socket(&p->socket, EPOLLIN, now_mono_ns);
    agent_path_emit(ch, &p->path, now_mono_ns);
    udt_port_agent_expire(p, now_mono_ns);
    udt_port_agent_counters(p);
    wrk_rx_publish(ch);
    udt_port_agent_serve_touched(p);
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const udt_port_agent_t *p = udt_port_agent_of(ch);
    int64_t at = p->block.now ? p->block.retry_mono_ns : RT_NEVER_NS;
    at = agent_earlier_ns(at, p->rest_mono_ns != 0 ? p->rest_mono_ns : RT_NEVER_NS);
    at = agent_earlier_ns(at, agent_path_deadline_ns(&p->path));
    return agent_earlier_ns(at, udt_port_agent_expiry_ns(p));
}

/* A port sends nothing from its ring: packets in it are dropped. */
static void count_stray(wrk_channel_t *ch, const tx_item_t *item, int why, int64_t now_mono_ns)
{
    (void)item;
    (void)why;
    (void)now_mono_ns;
    wrk_count(ch, SHM_COUNT_tx_failed, 1);
}

static unsigned do_work(wrk_channel_t *ch, int64_t now_mono_ns)
{
    return agent_refuse_strays(ch, DRAINED_PER_CALL, count_stray, now_mono_ns);
}

static int purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    return agent_refuse_strays(ch, max, count_stray, now_mono_ns) < max;
}

/* --- open ---------------------------------------------------------------------------------- */

static int check_channel(const wrk_channel_t *ch, shm_udt_port_config_t *c)
{
    memcpy(c, ch->config.engine_config, sizeof *c);
    int rc = shm_udt_port_config_check(c);
    rc = rc ? rc : shm_engine_check(&ch->config);
    if (rc < 0)
        return rc;
    if (ch->config.direction != SHM_DUPLEX || ch->config.overflow != SHM_OVERFLOW_OLDEST)
        return rt_err_set(-EINVAL, "engine udt-port needs direction duplex and overflow oldest");
    if (ch->config.connect)
        return rt_err_set(-EINVAL, "engine udt-port cannot be connected: it has many peers");
    return 0;
}

static int make_tables(udt_port_agent_t *p, uint32_t max_sockets)
{
    wrk_channel_t *ch = p->channel;
    p->refused.bytes = wrk_take_memory(ch, REFUSED_BYTES);
    p->waiting = wrk_take_memory(ch, SHM_UDT_MAX_BACKLOG * sizeof *p->waiting);
    p->buckets = wrk_take_memory(ch, SHM_UDT_MAX_BACKLOG * sizeof *p->buckets);
    p->sockets_memory = wrk_take_memory(ch, udt_port_memory_bytes(max_sockets));
    if (p->waiting == NULL || p->buckets == NULL || p->sockets_memory == NULL ||
        p->refused.bytes == NULL)
        return -ENOMEM;
    memset(p->buckets, 0xff, SHM_UDT_MAX_BACKLOG * sizeof *p->buckets);
    p->oldest = p->newest = UDT_NO_PLACE;
    udt_port_init(&p->sockets, p->sockets_memory, max_sockets, &p->secret);
    return 0;
}

/* A successor finds the mode in shared memory. A fresh segment contains none. */
static int begin_to_listen(udt_port_agent_t *p, const shm_udt_port_config_t *c, bool takeover)
{
    uint32_t mode = takeover ? rt_load_relaxed(&p->state->listens) : c->listens;
    uint32_t backlog = takeover ? rt_load_relaxed(&p->state->backlog) : c->backlog;
    rt_store_relaxed(&p->state->listens, 0);
    rt_store_relaxed(&p->state->sockets, 0);
    rt_store_relaxed(&p->state->waiting, 0);
    int rc = mode == 0 ? 0 : udt_port_agent_listen(p, mode, backlog);
    if (rc == 0 || !takeover)
        return rc;
    rt_err_clear(); /* clients may have written there: then it does not listen */
    return 0;
}

static int start(udt_port_agent_t *p, const shm_udt_port_config_t *c)
{
    wrk_channel_t *ch = p->channel;
    bool takeover = rt_load_relaxed(&ch->segment.status->epoch) != 0;
    if (getrandom(&p->secret, sizeof p->secret, 0) != (ssize_t)sizeof p->secret)
        return rt_err_set(-errno, "getrandom: %s", strerror(errno));
    p->path = (agent_path_t){.udp = &p->udp, .deliver = udt_port_agent_deliver};
    udt_port_agent_rx_open(p);
    p->max_per_source = c->max_per_source;
    p->max_bytes = c->max_bytes;
    int rc = make_tables(p, c->max_sockets);
    rc = rc ? rc : agent_path_open(ch, &p->path);
    rc = rc ? rc : begin_to_listen(p, c, takeover);
    if (rc < 0)
        return rc;
    /* otherwise the protocol tells */
    p->udp.rx_position = p->path.rx != NULL ? &p->path.rx_taken : NULL;
    p->socket = (wrk_source_t){.on_event = on_socket, .fd = -1};
    rc = wrk_watch(ch, &p->socket, p->udp.fd, 0);
    if (rc == 0)
        udt_port_agent_watch(p);
    return rc;
}

static int open_channel(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_port_agent_t *p = udt_port_agent_of(ch);
    shm_udt_port_config_t c;
    p->channel = ch;
    int rc = check_channel(ch, &c);
    if (rc < 0)
        return rc;
    p->state = (shm_udt_port_state_t *)(void *)ch->segment.engine;
    if (ch->config.rcvbuf_bytes == 0)
        ch->config.rcvbuf_bytes = DEFAULT_RCVBUF_BYTES;
    rc = agent_socket_open(ch, wrk_take_socket(ch), true, &p->udp, &p->phc);
    if (rc < 0)
        return rc;
    rc = start(p, &c);
    if (rc < 0) {
        agent_socket_close(&p->udp, p->phc);
        return rc;
    }
    wrk_kernel_drops_resume(ch, udp_drops_refresh(&p->udp), now_mono_ns);
    agent_socket_facts(ch, &p->udp);
    if (p->udp.rx_left)
        udt_port_agent_on_socket(&p->socket, EPOLLIN, now_mono_ns);
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    udt_port_agent_t *p = udt_port_agent_of(ch);
    if (p->listens)
        udt_port_agent_unlisten(p);
    while (p->agents != NULL)
        udt_agent_port_gone(p->agents);
    agent_path_counters(ch, &p->path);
    wrk_unwatch(ch, &p->socket);
    agent_socket_close(&p->udp, p->phc);
}

/* --- requests ------------------------------------------------------------------------------ */

static int refuse_number(udt_port_agent_t *p, uint32_t number)
{
    udt_waiting_t *w = udt_port_agent_waiting(p, number);
    if (w == NULL)
        return rt_err_set(-ESRCH, "no request %u waits: it was taken, refused or dropped", number);
    udt_port_agent_refuse(p, w);
    return 0;
}

static int request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                   uint32_t *reply_bytes)
{
    (void)reply;
    (void)reply_bytes;
    udt_port_agent_t *p = udt_port_agent_of(ch);
    shm_udt_port_command_t c;
    if (bytes != sizeof c)
        return rt_err_set(-EPROTO, "the request to a port has %zu bytes; it takes %zu", bytes,
                          sizeof c);
    memcpy(&c, body, sizeof c);
    switch (c.op) {
    case SHM_UDT_LISTEN:
        return udt_port_agent_listen(p, c.mode, c.backlog);
    case SHM_UDT_UNLISTEN:
        udt_port_agent_unlisten(p);
        return 0;
    case SHM_UDT_REFUSE:
        return refuse_number(p, c.number);
    default:
        return rt_err_set(-EINVAL, "engine udt-port does not know request %u", c.op);
    }
}

/* --- hold, duties -------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    udt_port_agent_watch(udt_port_agent_of(ch));
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    udt_port_agent_watch(udt_port_agent_of(ch));
}

static void reset(wrk_channel_t *ch)
{
    udt_port_agent_t *p = udt_port_agent_of(ch);
    wrk_kernel_drops_reset(ch, udp_drops_refresh(&p->udp));
    agent_path_reset(&p->path);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_port_agent_t *p = udt_port_agent_of(ch);
    (void)do_work(ch, now_mono_ns);
    wrk_kernel_drops(ch, udp_drops_refresh(&p->udp), now_mono_ns);
    agent_path_counters(ch, &p->path);
}

static const agent_ops_t UDT_PORT_AGENT = {
    .engine = SHM_UDT_PORT_ENGINE,
    .state_bytes = sizeof(udt_port_agent_t),
    .open = open_channel,
    .close = close_channel,
    .do_work = do_work,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = purge,
    .reset = reset,
    .request = request,
    .refresh = refresh,
};
AGENT_REGISTER(UDT_PORT_AGENT)
