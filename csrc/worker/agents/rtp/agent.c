#include "worker/agents/common/parked_sockets.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/rtp/agent.h"

#include "base/rt_err.h"
#include "shm/tx_ring.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_FILL_PACKETS 10u
#define PORT_ATTEMPTS 64

enum { PARKED_MEDIA, PARKED_RTCP }; /* keys in the park */

static size_t state_bytes(const shm_config_t *config)
{
    (void)config;
    return sizeof(rtp_agent_t);
}

/* --- events -------------------------------------------------------------------------------- */

void rtp_agent_watch(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    uint32_t events = a->block.now ? EPOLLOUT : 0;
    if (rtp_agent_listens(a))
        events |= EPOLLIN;
    wrk_rewatch(ch, &a->socket, events);
    rtp_agent_rtcp_watch(ch);
}

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    rtp_agent_t *a = rtp_agent_of(ch);
    if (events & EPOLLERR) {
        agent_collect_stamps(ch, &a->ledger, now_mono_ns);
        agent_socket_take_error(&a->udp);
    }
    if (events & EPOLLOUT)
        rtp_agent_unblock(ch, now_mono_ns);
    if (events & (EPOLLIN | EPOLLERR))
        rtp_agent_receive(ch, now_mono_ns);
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    if (a->block.now && now_mono_ns >= a->block.retry_mono_ns)
        rtp_agent_unblock(ch, now_mono_ns);
    rtp_agent_send_due(ch, now_mono_ns);
    agent_path_emit(ch, &a->path, now_mono_ns);
    rtp_agent_play(ch, now_mono_ns);
    rtp_agent_rtcp_due(ch, now_mono_ns);
    if (agent_stamp_deadline_ns(&a->ledger) <= now_mono_ns)
        agent_collect_stamps(ch, &a->ledger, now_mono_ns);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const rtp_agent_t *a = rtp_agent_of(ch);
    int64_t at = rtp_agent_tx_deadline_ns(ch);
    at = earlier(at, agent_path_deadline_ns(&a->path));
    at = earlier(at, rtp_agent_rx_deadline_ns(ch));
    at = earlier(at, rtp_agent_rtcp_deadline_ns(ch));
    return earlier(at, agent_stamp_deadline_ns(&a->ledger));
}

/* --- open ---------------------------------------------------------------------------------- */

static int check_config(const wrk_channel_t *ch)
{
    const shm_config_t *c = &ch->config;
    if (ch->segment.engine == NULL || c->engine_bytes < sizeof(shm_rtp_state_t))
        return rt_err_set(-EINVAL, "%llu bytes of shared memory for engine rtp: it takes %zu",
                          (unsigned long long)c->engine_bytes, sizeof(shm_rtp_state_t));
    uint32_t least = sizeof(shm_rtp_rx_t) + SHM_RTP_HEAD_BYTES;
    if (c->max_payload_bytes < least)
        return rt_err_set(-EINVAL, "max_payload is %u; engine rtp takes at least %u",
                          c->max_payload_bytes, least);
    if (c->direction & SHM_RX && c->overflow == SHM_OVERFLOW_WAIT)
        return rt_err_set(-EINVAL, "overflow is \"wait\": a playout time waits for no reader, use "
                                   "\"oldest\" with engine rtp");
    shm_rtp_config_t r;
    memcpy(&r, c->engine_config, sizeof r);
    return shm_rtp_config_check(&r);
}

static void take_config(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    shm_rtp_config_t *r = &a->config;
    memcpy(r, ch->config.engine_config, sizeof *r);
    if (r->fill_packets == 0)
        r->fill_packets = DEFAULT_FILL_PACKETS;
    a->state = (shm_rtp_state_t *)(void *)ch->segment.engine;
}

static void close_parts(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    wrk_unwatch(ch, &a->socket);
    agent_socket_close(&a->udp, a->phc);
    agent_path_close(&a->path);
    agent_park_close(a->control.park);
    a->control.park = -1;
    rtp_agent_rtcp_close(ch);
    rtp_agent_rx_close(ch);
    rtp_agent_tx_close(ch);
}

static int open_parts(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    a->path = (agent_path_t){.udp = &a->udp, .deliver = rtp_agent_arrived};
    a->socket = (wrk_source_t){.on_event = on_socket, .fd = -1};
    int rc = agent_path_open(ch, &a->path);
    rc = rc ? rc : rtp_agent_tx_open(ch, now_mono_ns);
    rc = rc ? rc : rtp_agent_rx_open(ch);
    rc = rc ? rc : rtp_agent_rtcp_open(ch, now_mono_ns);
    rc = rc ? rc : wrk_watch(ch, &a->socket, a->udp.fd, 0);
    if (rc < 0)
        close_parts(ch);
    a->udp.rx_position = a->path.rx != NULL ? &a->path.rx_taken : NULL; /* numbers tell, else */
    return rc;
}

static int open_pair(wrk_channel_t *ch, int socket_fd, int rtcp_fd)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    bool both_ways = a->config.rtcp == SHM_RTP_RTCP_MUX;
    int rc = agent_socket_open(ch, socket_fd, both_ways, &a->udp, &a->phc);
    if (rc < 0) {
        if (rtcp_fd >= 0)
            close(rtcp_fd);
        return rc;
    }
    rc = rtp_agent_rtcp_socket(ch, rtcp_fd);
    if (rc < 0)
        agent_socket_close(&a->udp, a->phc);
    return rc;
}

/* Where the kernel chooses the port, RTP takes an even one and RTCP the next (RFC 3550 section 11).
 */
static bool ports_fit(const rtp_agent_t *a)
{
    return udp_addr_port(&a->udp.eff.local) % 2 == 0;
}

static bool put_pair(const rtp_control_t *c, int media, int rtcp)
{
    return (media < 0 || agent_park_put(c->park, PARKED_MEDIA, media)) &&
           (rtcp < 0 || agent_park_put(c->park, PARKED_RTCP, rtcp));
}

/* Both sockets go into a park where RTCP has one of its own; the pool keeps that. Where they do not fit into
 * a new one, the pool keeps the media socket, and a successor opens that of RTCP anew. */
static void park_pair(wrk_channel_t *ch, bool media_is_there, bool rtcp_is_there)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    bool is_new = c->park < 0;
    if (!c->open)
        return;
    if (is_new)
        c->park = agent_park_open();
    if (put_pair(c, media_is_there ? -1 : a->udp.fd, rtcp_is_there ? -1 : c->udp.fd))
        return;
    wrk_note(ch, SHM_EVENT_socket_not_held, 1, 0, 0, udp_addr_port(&c->udp.eff.local),
             rt_mono_ns());
    if (is_new) {
        agent_park_close(c->park);
        c->park = -1;
    }
}

/* The sockets that a predecessor left. A park goes on being the pool's; a socket may be any that the
 * application bound. */
static void take_pair(rtp_agent_t *a, int *socket_fd, int *rtcp_fd)
{
    parked_t parked[AGENT_PARK_MOST];
    a->control.park = *rtcp_fd = -1;
    if (!agent_is_park(*socket_fd))
        return;
    a->control.park = *socket_fd;
    unsigned count = agent_park_look(a->control.park, parked);
    *socket_fd = agent_parked_take(parked, count, PARKED_MEDIA);
    *rtcp_fd = agent_parked_take(parked, count, PARKED_RTCP);
    agent_parked_drop(a->control.park, parked, count);
}

static int no_pair(void)
{
    return rt_err_set(-EADDRINUSE,
                      "no free even port with a free port behind it was found in %d tries; close "
                      "sockets, name a port, widen net.ipv4.ip_local_port_range, or do without "
                      "an RTCP port of its own (rtcp=\"mux\")",
                      PORT_ATTEMPTS);
}

static int open_sockets(wrk_channel_t *ch, int socket_fd)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    int rtcp_fd;
    take_pair(a, &socket_fd, &rtcp_fd);
    bool parked = a->control.park >= 0;
    bool choose = socket_fd < 0 && ch->config.local.port == 0 &&
                  a->config.rtcp == SHM_RTP_RTCP_NEXT_PORT && a->config.rtcp_local.family == 0;
    int rc = open_pair(ch, socket_fd, rtcp_fd);
    for (int i = 0; choose && i < PORT_ATTEMPTS; i++) {
        if (rc == 0 && ports_fit(a))
            break;
        if (rc == 0) {
            rtp_agent_rtcp_close(ch);
            agent_socket_close(&a->udp, a->phc);
        }
        rc = open_pair(ch, -1, -1);
    }
    if (choose && rc == -EADDRINUSE)
        rc = no_pair();
    if (rc == 0)
        park_pair(ch, parked && socket_fd >= 0, parked && rtcp_fd >= 0);
    else
        agent_park_close(a->control.park);
    return rc;
}

static int open_channel(wrk_channel_t *ch, int socket_fd, bool held, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    int rc = check_config(ch);
    if (rc < 0) {
        if (socket_fd >= 0)
            close(socket_fd);
        return rc;
    }
    take_config(ch);
    a->held = held;
    rc = open_sockets(ch, socket_fd);
    rc = rc ? rc : open_parts(ch, now_mono_ns);
    if (rc < 0)
        return rc;
    agent_socket_facts(ch, &a->udp);
    rtp_agent_watch(ch);
    if (a->udp.rx_left)
        rtp_agent_receive(ch, now_mono_ns);
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_agent_bye(ch, rt_mono_ns());
    agent_give_up_stamps(ch, &a->ledger);
    rtp_agent_tx_gauges(ch);
    rtp_agent_rx_tell(ch);
    agent_path_counters(ch, &a->path);
    close_parts(ch);
}

static int socket_of(const wrk_channel_t *ch)
{
    const rtp_agent_t *a = rtp_agent_of(ch);
    return a->control.park >= 0 ? a->control.park : a->udp.fd;
}

/* --- hold, duties -------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    rtp_agent_of(ch)->held = true;
    rtp_agent_tx_hold(ch);
    rtp_agent_watch(ch);
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    a->held = false;
    ch->tx_paused = a->block.now;
    rtp_agent_tx_release(ch, now_mono_ns);
    rtp_agent_watch(ch);
}

static void reset(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    agent_path_reset(&a->path);
    rtp_agent_tx_gauges(ch);
    rtp_agent_rx_tell(ch);
    rtp_agent_rx_reset(ch);
    for (unsigned i = 0; i < SHM_RTP_COUNTER_SPACE; i++)
        rt_store_relaxed(&a->state->counters[i], 0);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rt_store_relaxed(&ch->stats->scheduled, tx_ring_waiting(&ch->segment));
    (void)agent_free_space(ch, 0, agent_refused, now_mono_ns); /* of a held channel, too */
    rtp_agent_tx_gauges(ch);
    rtp_agent_rx_refresh(ch);
    agent_path_counters(ch, &a->path);
}

static const agent_ops_t RTP_AGENT = {
    .engine = SHM_RTP_ENGINE,
    .state_bytes = state_bytes,
    .open = open_channel,
    .close = close_channel,
    .socket_fd = socket_of,
    .do_work = rtp_agent_take_in,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = rtp_agent_purge,
    .reset = reset,
    .refresh = refresh,
};
AGENT_REGISTER(RTP_AGENT)
