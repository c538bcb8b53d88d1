/* open.c: creates a connection: its configuration, its port, its memory. If its worker died: what
 * is left of it. */
#include "worker/agents/udt/udt.h"

#include "base/rt_err.h"
#include "shm/shm_engine.h"
#include "worker/agents/common/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define DEFAULT_MSS_BYTES 1500u
#define DEFAULT_BURST_NS (200 * RT_NS_PER_US)

static void fill_defaults(shm_udt_config_t *c)
{
    c->mss_bytes = c->mss_bytes ? c->mss_bytes : DEFAULT_MSS_BYTES;
    uint32_t payload = UDT_PAYLOAD_BYTES(c->mss_bytes);
    c->window_packets = c->window_packets ? c->window_packets : UDT_DEFAULT_WINDOW_PACKETS;
    c->receive_packets = c->receive_packets ? c->receive_packets : UDT_DEFAULT_BUFFER_PACKETS;
    c->send_bytes = c->send_bytes ? c->send_bytes : UDT_DEFAULT_BUFFER_PACKETS * payload;
    c->burst_ns = c->burst_ns >= 0 ? c->burst_ns : DEFAULT_BURST_NS;
}

static int check_channel(const wrk_channel_t *ch, shm_udt_config_t *c)
{
    memcpy(c, ch->config.engine_config, sizeof *c);
    int rc = shm_udt_config_check(c);
    rc = rc ? rc : shm_engine_check(&ch->config);
    if (rc < 0)
        return rc;
    if (ch->config.direction != SHM_DUPLEX || ch->config.overflow != SHM_OVERFLOW_WAIT)
        return rt_err_set(-EINVAL, "engine udt needs direction duplex and overflow wait");
    fill_defaults(c);
    return 0;
}

static int check_peer(const udt_port_agent_t *p, udt_agent_t *a)
{
    const shm_addr_t *remote = &a->channel->config.remote;
    udt_port_agent_address(p, remote, &a->ends.peer);
    if (!udp_addr_is_set(&a->ends.peer) || remote->port == 0)
        return rt_err_set(-EINVAL,
                          "there is no address to connect to: set remote to an address and a port");
    if (a->ends.peer.sa.sa_family != p->udp.eff.local.sa.sa_family)
        return rt_err_set(-EINVAL, "remote is IPv6, but channel \"%s\" is bound to IPv4",
                          p->channel->config.name);
    a->peer_shm = *remote;
    return 0;
}

static int fill_conn_config(udt_port_agent_t *p, const udt_agent_t *a, udt_conn_config_t *out)
{
    const shm_udt_config_t *c = &a->config;
    uint32_t payload = UDT_PAYLOAD_BYTES(c->mss_bytes);
    uint32_t packets = c->send_bytes / payload + 2;
    uint32_t chance[3];
    if (c->socket_id != 0 && udt_port_find(&p->sockets, c->socket_id) != NULL)
        return rt_err_set(-EEXIST, "socket id %u is in use on channel \"%s\"", c->socket_id,
                          p->channel->config.name);
    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return rt_err_set(-errno, "getrandom: %s", strerror(errno));
    *out = (udt_conn_config_t){
        .mode = c->mode == SHM_UDT_STREAM ? UDT_MODE_STREAM : UDT_MODE_MESSAGE,
        .rendezvous = c->rendezvous,
        .socket_id = c->socket_id != 0 ? c->socket_id : udt_port_new_id(&p->sockets),
        .isn = chance[0] & UDT_SEQ_MASK,
        .mss_bytes = c->mss_bytes,
        .window_packets = c->window_packets,
        .send_bytes = c->send_bytes,
        .send_packets = packets < UDT_MAX_WINDOW_PACKETS ? packets : UDT_MAX_WINDOW_PACKETS,
        .receive_packets = c->receive_packets,
        .max_bandwidth = c->max_bandwidth,
        .connect_ns = c->connect_ns,
        .burst_ns = c->burst_ns,
        .cc = {.kind = (udt_cc_kind_t)c->cc,
               .seed = (uint64_t)chance[1] << 32 | chance[2],
               .rate_bps = c->max_bandwidth * 8},
    };
    udt_address_t address = udt_address_of(&a->ends.peer);
    memcpy(out->peer_address, address.ip, sizeof out->peer_address);
    return 0;
}

static size_t whole_pages(size_t bytes)
{
    return (bytes + SHM_PAGE_BYTES - 1) / SHM_PAGE_BYTES * SHM_PAGE_BYTES;
}

/* Most connections never fill their buffers, so most of these pages are never used. */
static int make_memory(udt_agent_t *a, const udt_conn_config_t *c, udt_conn_memory_t *out)
{
    size_t own = whole_pages(udt_conn_memory_bytes(c));
    size_t send = whole_pages(c->send_bytes);
    size_t bytes = own + send + whole_pages(udt_conn_receive_bytes(c));
    uint8_t *at = wrk_take_memory(a->channel, bytes);
    if (at == NULL) {
        rt_err_append("buffers of %zu bytes (send_bytes, receive_packets)", bytes);
        return -ENOMEM;
    }
    a->memory = at;
    *out = (udt_conn_memory_t){
        .own = at,
        .own_is_zero = true,
        .send = at + own,
        .receive = at + own + send,
    };
    return 0;
}

static void publish_opened(udt_agent_t *a)
{
    a->state->peer = a->peer_shm;
    agent_addr_out(&a->state->local, &a->ends.local);
    rt_store_relaxed(&a->state->socket_id, a->conn.config.socket_id);
    udt_agent_publish_state(a, SHM_UDT_CONNECTING);
}

static int accept_request(udt_port_agent_t *p, udt_agent_t *a, udt_waiting_t *w,
                          int64_t now_mono_ns)
{
    int rc = udt_conn_accept(&a->conn, &w->handshake, now_mono_ns);
    if (rc < 0)
        return rt_err_set(rc, "request %u cannot be accepted", w->number);
    udt_port_agent_forget(p, w);
    udt_port_agent_count(p, SHM_UDT_PORT_COUNT_accepted);
    return 0;
}

static int start(udt_port_agent_t *p, udt_agent_t *a, udt_waiting_t *w, int64_t now_mono_ns)
{
    udt_conn_config_t config;
    udt_conn_memory_t memory;
    int rc = fill_conn_config(p, a, &config);
    rc = rc ? rc : make_memory(a, &config, &memory);
    rc = rc ? rc
            : udt_conn_init(&a->conn, &config, &memory, (udt_stats_t *)(void *)a->state->stats,
                            now_mono_ns);
    if (rc == 0 && w != NULL)
        rc = accept_request(p, a, w, now_mono_ns);
    else if (rc == 0 && !a->channel->held)
        udt_conn_connect(&a->conn, now_mono_ns);
    return rc ? rc : udt_agent_join(p, a);
}

static int find_request(udt_port_agent_t *p, udt_agent_t *a, udt_waiting_t **w)
{
    *w = udt_port_agent_waiting(p, a->config.accepts);
    if (*w == NULL)
        return rt_err_set(-ENOENT, "no request %u waits: it was taken, refused or dropped",
                          a->config.accepts);
    if (p->listener.mode != (udt_mode_t)a->config.mode)
        return rt_err_set(-EINVAL, "mode is %u, and channel \"%s\" listens for %u", a->config.mode,
                          p->channel->config.name, (unsigned)p->listener.mode);
    p->connection_bytes = a->channel->segment.bytes;
    if (!udt_port_agent_has_bytes(p, p->connection_bytes))
        return rt_err_set(
            -ENOSPC,
            "accepted connections of channel \"%s\" have %llu of %llu bytes of shared "
            "memory, and this one needs %llu: raise max_bytes or lower ring_bytes",
            p->channel->config.name, (unsigned long long)p->accepted_bytes,
            (unsigned long long)p->max_bytes, (unsigned long long)p->connection_bytes);
    a->ends = (*w)->ends;
    a->peer_shm = udt_plain_address(&a->ends.peer);
    return 0;
}

/* The worker's data of the connection is lost with it. */
static int open_lost(udt_agent_t *a)
{
    uint32_t state = rt_load_relaxed(&a->state->state);
    agent_addr_in(&a->ends.peer, &a->channel->config.remote);
    a->peer_shm = a->state->peer;
    a->conn.peer_id = rt_load_relaxed(&a->state->peer_id);
    if (state == SHM_UDT_BROKEN || state == SHM_UDT_CLOSED || state == SHM_UDT_LOST)
        return 0;
    a->notifies_loss = true;
    udt_agent_end(a, SHM_UDT_LOST, UDT_NOTICE_BROKEN, UDT_ECONNLOST);
    a->rx_waits = true; /* tells the client at once, when the channel is open */
    udt_agent_notify_lost(a);
    return 0;
}

int udt_agent_open(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    udt_waiting_t *w = NULL;
    a->channel = ch;
    if (ch->socket_fd >= 0)
        return rt_err_set(-EINVAL, "engine udt has no socket of its own: its port has one");
    int rc = check_channel(ch, &a->config);
    if (rc < 0)
        return rc;
    a->state = (shm_udt_state_t *)(void *)ch->segment.engine;
    if (rt_load_relaxed(&ch->segment.status->epoch) != 0)
        return open_lost(a);
    udt_port_agent_t *p = udt_agent_find_port(ch, a->config.port);
    if (p == NULL)
        return -ENOENT;
    if (p->sockets.count >= p->sockets.capacity)
        return rt_err_set(-ENOSPC, "channel \"%s\" has %u connections, the limit",
                          p->channel->config.name, p->sockets.capacity);
    rc = a->config.accepts != 0 ? find_request(p, a, &w) : check_peer(p, a);
    rc = rc ? rc : start(p, a, w, now_mono_ns);
    if (rc < 0)
        return rc;
    publish_opened(a);
    ch->tx_paused = true;
    return 0;
}
