/* listen.c: requests for connections.
 *
 * Waiting requests are in places of a table, and in a list in the order in which they were last
 * received, oldest first. A request whose peer does not repeat it within FORGET_NS is dropped. A
 * number consists of place and generation, so an old number finds no request. */
#include "base/rt_err.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/udt/udt.h"

#include <errno.h>
#include <string.h>

#define FORGET_NS (3 * RT_NS_PER_S)
#define PLACE_BITS 12u

_Static_assert(SHM_UDT_MAX_BACKLOG == 1u << PLACE_BITS, "a place fits its bits");

/* --- the list ------------------------------------------------------------------------------ */

static uint32_t place_of(const udt_port_agent_t *p, const udt_waiting_t *w)
{
    return (uint32_t)(w - p->waiting);
}

static void unlink_waiting(udt_port_agent_t *p, udt_waiting_t *w)
{
    if (w->before != UDT_NO_PLACE)
        p->waiting[w->before].behind = w->behind;
    else
        p->oldest = w->behind;
    if (w->behind != UDT_NO_PLACE)
        p->waiting[w->behind].before = w->before;
    else
        p->newest = w->before;
}

static void append(udt_port_agent_t *p, udt_waiting_t *w, int64_t now_mono_ns)
{
    w->heard_mono_ns = now_mono_ns;
    w->before = p->newest;
    w->behind = UDT_NO_PLACE;
    if (p->newest != UDT_NO_PLACE)
        p->waiting[p->newest].behind = place_of(p, w);
    else
        p->oldest = place_of(p, w);
    p->newest = place_of(p, w);
}

static void publish_waiting(udt_port_agent_t *p)
{
    rt_store_relaxed(&p->state->waiting, p->waiting_count);
}

void udt_port_agent_forget(udt_port_agent_t *p, udt_waiting_t *w)
{
    uint32_t *at = &p->buckets[w->bucket];
    while (*at != place_of(p, w))
        at = &p->waiting[*at].next;
    *at = w->next;
    unlink_waiting(p, w);
    --*w->source;
    w->number = 0;
    p->waiting_count--;
    publish_waiting(p);
}

udt_waiting_t *udt_port_agent_waiting(udt_port_agent_t *p, uint32_t number)
{
    udt_waiting_t *w = &p->waiting[number & (SHM_UDT_MAX_BACKLOG - 1)];
    return number != 0 && w->number == number ? w : NULL;
}

void udt_port_agent_expire(udt_port_agent_t *p, int64_t now_mono_ns)
{
    while (udt_port_agent_expiry_ns(p) <= now_mono_ns) {
        udt_port_agent_count(p, SHM_UDT_PORT_COUNT_forgotten);
        udt_port_agent_forget(p, &p->waiting[p->oldest]);
    }
}

int64_t udt_port_agent_expiry_ns(const udt_port_agent_t *p)
{
    return p->oldest == UDT_NO_PLACE ? RT_NEVER_NS
                                     : p->waiting[p->oldest].heard_mono_ns + FORGET_NS;
}

/* Unknown sources choose addresses and ids. The secret keeps them from choosing a bucket. */
static uint32_t bucket_of(const udt_port_agent_t *p, const udt_address_t *address,
                          const udt_handshake_t *hs)
{
    return (uint32_t)udt_address_hash(&p->secret, address, hs->socket_id) &
           (SHM_UDT_MAX_BACKLOG - 1);
}

static udt_waiting_t *find_waiting(const udt_port_agent_t *p, const udp_addr_t *from,
                                   const udt_handshake_t *hs, uint32_t bucket)
{
    for (uint32_t at = p->buckets[bucket]; at != UDT_NO_PLACE; at = p->waiting[at].next) {
        udt_waiting_t *w = &p->waiting[at];
        if (w->handshake.socket_id == hs->socket_id && w->handshake.isn == hs->isn &&
            udp_addr_equal(&w->ends.peer, from))
            return w;
    }
    return NULL;
}

/* --- requests ------------------------------------------------------------------------------ */

static void refuse(udt_port_agent_t *p, const udt_handshake_t *hs, const udt_ends_t *ends)
{
    uint8_t reply[UDT_HANDSHAKE_BYTES];
    udt_listener_refuse(hs, reply);
    udt_port_agent_count(p, SHM_UDT_PORT_COUNT_refused);
    udt_port_agent_send_one(p, reply, sizeof reply, ends);
}

void udt_port_agent_refuse(udt_port_agent_t *p, udt_waiting_t *w)
{
    refuse(p, &w->handshake, &w->ends);
    udt_port_agent_forget(p, w);
}

/* There is a free one: the backlog is not full. */
static udt_waiting_t *free_place(udt_port_agent_t *p)
{
    udt_waiting_t *w;
    do
        w = &p->waiting[p->next_place++ & (SHM_UDT_MAX_BACKLOG - 1)];
    while (w->number != 0);
    return w;
}

static void announce(udt_port_agent_t *p, const udt_waiting_t *w)
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
        .source = udt_plain_address(&w->ends.peer),
        .local = udt_plain_address(&w->ends.local),
        .time_ns = w->heard_mono_ns - wrk_clock_shift_ns(ch),
        .stamp = SHM_STAMP_USER,
    };
    (void)rx_writer_put(&ch->rx, &item);
}

/* One more connection would be more than this port takes, of all peers or of this one's network. */
static bool is_full(const udt_port_agent_t *p, uint32_t from_source)
{
    return p->waiting_count >= p->backlog || p->sockets.count >= p->sockets.capacity ||
           (p->max_per_source != 0 && from_source >= p->max_per_source) ||
           !udt_port_agent_has_bytes(p, p->connection_bytes);
}

static void let_wait(udt_port_agent_t *p, const udt_handshake_t *hs, const udt_ends_t *ends,
                     const udt_address_t *address, uint32_t bucket, int64_t now_mono_ns)
{
    uint32_t *source = udt_port_source(&p->sockets, address);
    if (is_full(p, *source)) {
        refuse(p, hs, ends);
        return;
    }
    udt_waiting_t *w = free_place(p);
    w->source = source;
    ++*source;
    w->handshake = *hs;
    w->ends = *ends;
    p->generation = p->generation + 1 < UINT32_C(1) << (32 - PLACE_BITS) ? p->generation + 1 : 1;
    w->number = p->generation << PLACE_BITS | place_of(p, w);
    append(p, w, now_mono_ns);
    w->bucket = bucket;
    w->next = p->buckets[bucket];
    p->buckets[bucket] = place_of(p, w);
    p->waiting_count++;
    publish_waiting(p);
    announce(p, w);
}

void udt_port_agent_request(udt_port_agent_t *p, const udt_handshake_t *hs, const udt_ends_t *ends,
                            const udt_address_t *address, int64_t now_mono_ns)
{
    uint32_t bucket = bucket_of(p, address, hs);
    udt_waiting_t *w = find_waiting(p, &ends->peer, hs, bucket);
    if (w == NULL) {
        let_wait(p, hs, ends, address, bucket, now_mono_ns);
        return;
    }
    unlink_waiting(p, w);
    append(p, w, now_mono_ns);
}

void udt_port_agent_counters(udt_port_agent_t *p)
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
        {SHM_UDT_PORT_COUNT_foreign, p->sockets.unknown_source},
        {SHM_UDT_PORT_COUNT_unknown, p->sockets.unknown_id},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].n != 0)
            rt_bump(&p->state->counters[counts[i].id], counts[i].n);
    *c = (udt_listener_counters_t){0};
    p->sockets.unknown_source = p->sockets.unknown_id = 0;
}

/* --- listening ----------------------------------------------------------------------------- */

int udt_port_agent_listen(udt_port_agent_t *p, uint32_t mode, uint32_t backlog)
{
    const shm_config_t *c = &p->channel->config;
    if (p->listens)
        return rt_err_set(-EBUSY, "channel \"%s\" is listening already", c->name);
    if (mode != SHM_UDT_STREAM && mode != SHM_UDT_MESSAGES)
        return rt_err_set(-EINVAL, "mode is %u; it must be 1 (stream) or 2 (messages)", mode);
    if (backlog == 0 || backlog > SHM_UDT_MAX_BACKLOG)
        return rt_err_set(-EINVAL, "backlog is %u; it must be between 1 and %u", backlog,
                          SHM_UDT_MAX_BACKLOG);
    if (c->rx_bytes < (uint64_t)backlog * SHM_UDT_REQUEST_RING_BYTES)
        return rt_err_set(-EINVAL,
                          "backlog is %u requests, the rx ring has %llu bytes: it needs %u "
                          "bytes for each",
                          backlog, (unsigned long long)c->rx_bytes, SHM_UDT_REQUEST_RING_BYTES);
    udt_listener_init(&p->listener, mode == SHM_UDT_STREAM ? UDT_MODE_STREAM : UDT_MODE_MESSAGE,
                      &p->secret);
    udt_port_listen(&p->sockets, &p->listener);
    p->listens = true;
    p->backlog = backlog;
    rt_store_relaxed(&p->state->backlog, backlog);
    rt_store_release(&p->state->listens, mode);
    return 0;
}

void udt_port_agent_unlisten(udt_port_agent_t *p)
{
    while (p->oldest != UDT_NO_PLACE)
        udt_port_agent_refuse(p, &p->waiting[p->oldest]);
    udt_port_listen(&p->sockets, NULL);
    p->listens = false;
    rt_store_relaxed(&p->state->listens, 0);
}
