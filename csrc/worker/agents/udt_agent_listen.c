/* udt_agent_listen.c: who wants to connect.
 *
 * Requests that wait lie in places of a table, and in a list in the order in which they were heard
 * last, oldest first: whose peer does not ask again within FORGET_NS is forgotten. A number is
 * place and generation, so a number of long ago finds nobody. */
#include "base/rt_err.h"
#include "worker/agents/agent_socket.h"
#include "worker/agents/udt_agent.h"

#include <errno.h>
#include <string.h>

#define FORGET_NS (3 * RT_NS_PER_S)
#define PLACE_BITS 12u

_Static_assert(SHM_UDT_MAX_BACKLOG == 1u << PLACE_BITS, "a place fits its bits");

/* --- the list ------------------------------------------------------------------------------ */

static uint32_t place_of(const udt_port_t *p, const udt_waiting_t *w)
{
    return (uint32_t)(w - p->waiting);
}

static void unlink_waiting(udt_port_t *p, udt_waiting_t *w)
{
    if (w->before != UDT_NOBODY)
        p->waiting[w->before].behind = w->behind;
    else
        p->oldest = w->behind;
    if (w->behind != UDT_NOBODY)
        p->waiting[w->behind].before = w->before;
    else
        p->newest = w->before;
}

static void append(udt_port_t *p, udt_waiting_t *w, int64_t now_mono_ns)
{
    w->heard_mono_ns = now_mono_ns;
    w->before = p->newest;
    w->behind = UDT_NOBODY;
    if (p->newest != UDT_NOBODY)
        p->waiting[p->newest].behind = place_of(p, w);
    else
        p->oldest = place_of(p, w);
    p->newest = place_of(p, w);
}

static void publish_waiting(udt_port_t *p)
{
    rt_store_relaxed(&p->state->waiting, p->waiting_count);
}

void udt_port_forget(udt_port_t *p, udt_waiting_t *w)
{
    unlink_waiting(p, w);
    udt_table_remove(&p->requests, &w->by_peer);
    w->number = 0;
    p->waiting_count--;
    publish_waiting(p);
}

udt_waiting_t *udt_port_waiting(udt_port_t *p, uint32_t number)
{
    udt_waiting_t *w = &p->waiting[number & (SHM_UDT_MAX_BACKLOG - 1)];
    return number != 0 && w->number == number ? w : NULL;
}

void udt_port_expire(udt_port_t *p, int64_t now_mono_ns)
{
    while (udt_port_expiry_ns(p) <= now_mono_ns) {
        udt_port_count(p, SHM_UDT_PORT_COUNT_forgotten);
        udt_port_forget(p, &p->waiting[p->oldest]);
    }
}

int64_t udt_port_expiry_ns(const udt_port_t *p)
{
    return p->oldest == UDT_NOBODY ? RT_NEVER_NS : p->waiting[p->oldest].heard_mono_ns + FORGET_NS;
}

/* --- finding ------------------------------------------------------------------------------- */

static udt_waiting_t *find_waiting(const udt_port_t *p, const udp_addr_t *from,
                                   const udt_handshake_t *hs, uint64_t hash)
{
    for (udt_link_t *l = p->requests.heads[hash & p->requests.mask]; l != NULL; l = l->next) {
        udt_waiting_t *w = (udt_waiting_t *)(void *)((char *)l - offsetof(udt_waiting_t, by_peer));
        if (w->handshake.socket_id == hs->socket_id && w->handshake.isn == hs->isn &&
            udp_addr_equal(&w->from, from))
            return w;
    }
    return NULL;
}

static udt_agent_t *by_peer(udt_link_t *l)
{
    return (udt_agent_t *)(void *)((char *)l - offsetof(udt_agent_t, by_peer));
}

static udt_agent_t *find_accepted(const udt_port_t *p, const udp_addr_t *from,
                                  const udt_handshake_t *hs, uint64_t hash)
{
    for (udt_link_t *l = p->accepted.heads[hash & p->accepted.mask]; l != NULL; l = l->next) {
        udt_agent_t *a = by_peer(l);
        if (!a->config.rendezvous && a->conn.peer_id == hs->socket_id &&
            a->conn.isn == hs->isn && udp_addr_equal(&a->peer, from) && !udt_agent_is_over(a))
            return a;
    }
    return NULL;
}

udt_agent_t *udt_port_rendezvous(const udt_port_t *p, const udp_addr_t *from)
{
    if (p->sockets == 0)
        return NULL;
    uint64_t hash = udt_port_hash_peer(p, from, 0);
    for (udt_link_t *l = p->accepted.heads[hash & p->accepted.mask]; l != NULL; l = l->next) {
        udt_agent_t *a = by_peer(l);
        if (a->config.rendezvous && a->conn.state == UDT_CONN_CONNECTING &&
            udp_addr_equal(&a->peer, from))
            return a;
    }
    return NULL;
}

/* --- requests ------------------------------------------------------------------------------ */

static void refuse(udt_port_t *p, const udt_handshake_t *hs, const udp_addr_t *from)
{
    uint8_t reply[UDT_HANDSHAKE_BYTES];
    udt_listener_refuse(&p->listener, hs, reply);
    udt_port_count(p, SHM_UDT_PORT_COUNT_refused);
    udt_port_send_one(p, reply, sizeof reply, from);
}

void udt_port_refuse(udt_port_t *p, udt_waiting_t *w)
{
    refuse(p, &w->handshake, &w->from);
    udt_port_forget(p, w);
}

/* There is a free one: the backlog is not full. */
static udt_waiting_t *free_place(udt_port_t *p)
{
    udt_waiting_t *w;
    do
        w = &p->waiting[p->next_place++ & (SHM_UDT_MAX_BACKLOG - 1)];
    while (w->number != 0);
    return w;
}

static void announce(udt_port_t *p, const udt_waiting_t *w)
{
    wrk_channel_t *ch = p->channel;
    shm_udt_request_t request = {
        .number = w->number,
        .socket_id = w->handshake.socket_id,
        .mss_bytes = w->handshake.mss,
        .window_packets = w->handshake.window_packets,
    };
    rx_item_t item = {
        .payload = &request,
        .payload_bytes = sizeof request,
        .source = udt_plain_address(&w->from),
        .time_ns = w->heard_mono_ns - wrk_clock_shift_ns(ch),
        .stamp = SHM_STAMP_USER,
    };
    (void)rx_writer_put(&ch->rx, &item);
}

static void let_wait(udt_port_t *p, const udt_handshake_t *hs, const udp_addr_t *from,
                     uint64_t hash, int64_t now_mono_ns)
{
    if (p->waiting_count >= p->backlog || p->sockets >= p->max_sockets) {
        refuse(p, hs, from);
        return;
    }
    udt_waiting_t *w = free_place(p);
    w->handshake = *hs;
    w->from = *from;
    p->generation = p->generation + 1 < UINT32_C(1) << (32 - PLACE_BITS) ? p->generation + 1 : 1;
    w->number = p->generation << PLACE_BITS | place_of(p, w);
    append(p, w, now_mono_ns);
    udt_table_add(&p->requests, &w->by_peer, hash);
    p->waiting_count++;
    publish_waiting(p);
    announce(p, w);
}

static void take_request(udt_port_t *p, const udt_handshake_t *hs, const udp_addr_t *from,
                         int64_t now_mono_ns)
{
    uint64_t hash = udt_port_hash_peer(p, from, hs->socket_id);
    udt_agent_t *a = find_accepted(p, from, hs, hash);
    if (a != NULL) {
        udt_conn_answer_again(&a->conn);
        udt_port_touch(p, a);
        return;
    }
    udt_waiting_t *w = find_waiting(p, from, hs, hash);
    if (w == NULL) {
        let_wait(p, hs, from, hash, now_mono_ns);
        return;
    }
    unlink_waiting(p, w);
    append(p, w, now_mono_ns);
}

static void publish_counters(udt_port_t *p)
{
    udt_listener_counters_t *c = &p->listener.counters;
    const struct {
        shm_udt_port_counter_id_t id;
        uint64_t n;
    } counts[] = {
        {SHM_UDT_PORT_COUNT_cookies, c->cookies},
        {SHM_UDT_PORT_COUNT_requests, c->requests},
        {SHM_UDT_PORT_COUNT_malformed, c->bad_parse},
        {SHM_UDT_PORT_COUNT_bad_cookie, c->bad_cookie},
        {SHM_UDT_PORT_COUNT_bad_version, c->bad_version},
        {SHM_UDT_PORT_COUNT_bad_values, c->bad_values},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].n != 0)
            rt_bump(&p->state->counters[counts[i].id], counts[i].n);
    *c = (udt_listener_counters_t){0};
}

void udt_port_request(udt_port_t *p, const void *data, uint32_t bytes, const udp_addr_t *from,
                      int64_t now_mono_ns)
{
    uint8_t reply[UDT_HANDSHAKE_BYTES];
    udt_handshake_t hs;
    udt_address_t address = udt_address_of(from);
    if (!p->listens) {
        udt_port_count(p, SHM_UDT_PORT_COUNT_unknown);
        return;
    }
    switch (udt_listener_receive(&p->listener, data, bytes, &address, now_mono_ns, reply, &hs)) {
    case UDT_LISTENER_REPLY:
        udt_port_send_one(p, reply, sizeof reply, from);
        break;
    case UDT_LISTENER_REQUEST:
        take_request(p, &hs, from, now_mono_ns);
        break;
    case UDT_LISTENER_IGNORE:
        break;
    }
    publish_counters(p);
}

/* --- listening ----------------------------------------------------------------------------- */

int udt_port_listen(udt_port_t *p, uint32_t mode, uint32_t backlog)
{
    const shm_config_t *c = &p->channel->config;
    if (p->listens)
        return rt_err_set(-EBUSY, "channel \"%s\" listens already", c->name);
    if (mode != SHM_UDT_STREAM && mode != SHM_UDT_MESSAGES)
        return rt_err_set(-EINVAL, "mode is %u; it must be 1 (stream) or 2 (messages)", mode);
    if (backlog == 0 || backlog > SHM_UDT_MAX_BACKLOG)
        return rt_err_set(-EINVAL, "backlog is %u; it must be between 1 and %u", backlog,
                          SHM_UDT_MAX_BACKLOG);
    if (c->rx_bytes < (uint64_t)backlog * SHM_UDT_REQUEST_RING_BYTES)
        return rt_err_set(-EINVAL,
                          "a backlog of %u requests in an rx ring of %llu bytes: it takes %u "
                          "bytes for each",
                          backlog, (unsigned long long)c->rx_bytes, SHM_UDT_REQUEST_RING_BYTES);
    udt_listener_init(&p->listener,
                      mode == SHM_UDT_STREAM ? UDT_MODE_STREAM : UDT_MODE_MESSAGE, &p->secret);
    p->listens = true;
    p->backlog = backlog;
    rt_store_relaxed(&p->state->backlog, backlog);
    rt_store_release(&p->state->listens, mode);
    return 0;
}

void udt_port_unlisten(udt_port_t *p)
{
    while (p->oldest != UDT_NOBODY)
        udt_port_refuse(p, &p->waiting[p->oldest]);
    p->listens = false;
    rt_store_relaxed(&p->state->listens, 0);
}
