/* connection.c: serves a connection, and lets it join and leave its port. */
#include "worker/agents/udt/udt.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>

#define SHUTDOWNS 3

/* --- what clients see ---------------------------------------------------------------------- */

static void publish(udt_agent_t *a)
{
    udt_conn_t *c = &a->conn;
    bool was_unsent = rt_load_relaxed(&a->state->unsent_bytes) != 0;
    rt_store_relaxed(&a->state->unsent_bytes, c->snd.buffer.used);
    rt_store_relaxed(&a->state->unread_bytes, c->rcv.buffer.ready_bytes);
    if (was_unsent && c->snd.buffer.used == 0)
        tx_queue_wake_waiters(&a->channel->tx);
}

void udt_agent_publish_state(udt_agent_t *a, shm_udt_conn_state_t state)
{
    rt_store_release(&a->state->state, (uint32_t)state);
    tx_queue_wake_waiters(&a->channel->tx);
}

/* --- the port's connections ---------------------------------------------------------------- */

static void untouch(udt_port_agent_t *p, udt_agent_t *a)
{
    udt_agent_t **at = &p->touched;
    while (*at != NULL && *at != a)
        at = &(*at)->touched_next;
    if (*at != NULL)
        *at = a->touched_next;
    a->touched = false;
}

static uint64_t accepted_bytes(const udt_agent_t *a)
{
    return a->conn.setup.is_server ? a->channel->segment.bytes : 0;
}

int udt_agent_join(udt_port_agent_t *p, udt_agent_t *a)
{
    udt_address_t peer = udt_address_of(&a->ends.peer);
    int rc = udt_port_add(&p->sockets, &a->conn, &peer);
    if (rc < 0)
        return rt_err_set(rc, "channel \"%s\" cannot take another connection",
                          p->channel->config.name);
    a->port = p;
    a->next = p->agents;
    a->at = &p->agents;
    if (p->agents != NULL)
        p->agents->at = &a->next;
    p->agents = a;
    p->accepted_bytes += accepted_bytes(a);
    rt_store_relaxed(&p->state->sockets, p->sockets.count);
    return 0;
}

void udt_agent_leave_port(udt_agent_t *a)
{
    udt_port_agent_t *p = a->port;
    if (p == NULL)
        return;
    a->port = NULL;
    if (p->refused.from == a->channel)
        p->refused.from = NULL;
    *a->at = a->next;
    if (a->next != NULL)
        a->next->at = a->at;
    (void)udt_port_remove(&p->sockets, &a->conn);
    p->accepted_bytes -= accepted_bytes(a);
    if (a->touched)
        untouch(p, a);
    rt_store_relaxed(&p->state->sockets, p->sockets.count);
}

static bool is_over(const udt_agent_t *a)
{
    return a->port == NULL || a->conn.state == UDT_CONN_BROKEN || a->conn.state == UDT_CONN_CLOSED;
}

void udt_agent_end(udt_agent_t *a, shm_udt_conn_state_t state, unsigned notice, uint32_t error)
{
    udt_agent_leave_port(a);
    a->more = false;
    a->waits_for_room = false;
    a->closes = false;
    a->notices |= notice;
    a->notice_error = error;
    rt_store_relaxed(&a->state->error, error);
    udt_agent_publish_state(a, state);
    if (state == SHM_UDT_BROKEN || state == SHM_UDT_LOST)
        wrk_note(a->channel, SHM_EVENT_udt_broken, 1, error, 0, a->conn.config.socket_id,
                 rt_mono_ns());
}

/* --- service ------------------------------------------------------------------------------- */

static void become_connected(udt_agent_t *a)
{
    rt_store_relaxed(&a->state->peer_id, a->conn.peer_id);
    rt_store_relaxed(&a->state->mss_bytes, a->conn.mss_bytes);
    a->notices |= UDT_NOTICE_CONNECTED;
    udt_agent_publish_state(a, a->closes ? SHM_UDT_CLOSING : SHM_UDT_CONNECTED);
}

static void take_events(udt_agent_t *a)
{
    uint32_t events = udt_conn_take_events(&a->conn);
    uint32_t error = (uint32_t)a->conn.error;
    if (events & UDT_EVENT_CONNECTED)
        become_connected(a);
    if (events & UDT_EVENT_PEER_ERROR) {
        a->notices |= UDT_NOTICE_PEER_ERROR;
        rt_store_relaxed(&a->state->peer_errors, rt_load_relaxed(&a->state->peer_errors) + 1);
    }
    if (events & UDT_EVENT_WRITABLE)
        a->waits_for_room = false;
    if (events & UDT_EVENT_FAILED)
        udt_agent_end(a, SHM_UDT_BROKEN, UDT_NOTICE_FAILED, error);
    else if (events & UDT_EVENT_CLOSED)
        udt_agent_end(a, SHM_UDT_CLOSED, UDT_NOTICE_CLOSED, error);
    else if (events & UDT_EVENT_BROKEN)
        udt_agent_end(a, SHM_UDT_BROKEN, UDT_NOTICE_BROKEN, error);
}

bool udt_agent_takes_in(const udt_agent_t *a)
{
    if (a->channel->held)
        return false;
    return is_over(a) || (a->conn.state != UDT_CONN_CONNECTING && !a->waits_for_room);
}

/* A channel that is paused is not polled. */
static void choose_pause(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    bool was = ch->tx_paused;
    ch->tx_paused = !a->more && !udt_agent_takes_in(a);
    if ((was && !ch->tx_paused) || a->more)
        wrk_activate(ch, now_mono_ns);
}

/* Everything queued before is in the send buffer now, or the time is over. */
static void close_when_taken_in(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    int32_t ahead = (int32_t)(a->close_before - ch->tx.read_seq);
    bool all = ahead <= 0 && !a->has_item;
    if (!a->closes || a->conn.state != UDT_CONN_CONNECTED ||
        (!all && now_mono_ns < a->close_mono_ns))
        return;
    int64_t left = a->close_mono_ns - now_mono_ns;
    udt_conn_set_linger(&a->conn, left > 0 ? left : 0);
    udt_conn_close(&a->conn, now_mono_ns);
}

/* Sends the remaining copies now: after this call nothing is left to send them. */
void udt_agent_shut_down(udt_agent_t *a)
{
    int64_t now = rt_mono_ns();
    udt_conn_set_linger(&a->conn, 0);
    udt_conn_close(&a->conn, now);
    for (int i = 0; i < SHUTDOWNS; i++) {
        udt_out_t out;
        if (udt_conn_emit(&a->conn, &out, 1, now + i * UDT_LEAVE_NS) == 1)
            udt_port_agent_send(a->port, a->channel, &out, 1, &a->ends);
    }
}

unsigned udt_agent_serve(wrk_channel_t *ch)
{
    udt_agent_t *a = udt_agent_of(ch);
    int64_t now = rt_mono_ns();
    if (ch->failed && a->port != NULL)
        udt_agent_shut_down(a);
    a->served_mono_ns = now;
    a->more = false;
    take_events(a);
    udt_agent_deliver(ch, now);
    unsigned taken = udt_agent_takes_in(a) ? udt_agent_take_in(ch, now) : 0;
    close_when_taken_in(ch, now);
    udt_agent_emit(ch, now);
    if (a->conn.events != 0) {
        take_events(a);
        udt_agent_deliver(ch, now);
    }
    publish(a);
    choose_pause(ch, now);
    return taken;
}

/* --- the end ------------------------------------------------------------------------------- */

void udt_agent_port_gone(udt_agent_t *a)
{
    wrk_channel_t *ch = a->channel;
    take_events(a);
    if (a->port == NULL)
        return;
    udt_agent_shut_down(a);
    (void)udt_conn_take_events(&a->conn);
    udt_agent_end(a, SHM_UDT_BROKEN, UDT_NOTICE_BROKEN, UDT_ECONNLOST);
    udt_agent_deliver(ch, rt_mono_ns());
    choose_pause(ch, rt_mono_ns());
    wrk_reschedule(ch);
}

static void notify_lost_peer(udt_agent_t *a, udt_port_agent_t *p)
{
    uint8_t shutdown[UDT_CONTROL_BYTES];
    udt_port_agent_address(p, &a->peer_shm, &a->ends.peer);
    udt_port_agent_address(p, &a->state->local, &a->ends.local);
    if (a->conn.peer_id == 0 || a->ends.peer.sa.sa_family != p->udp.eff.local.sa.sa_family)
        return;
    uint32_t bytes =
        (uint32_t)udt_put_control(shutdown, UDT_TYPE_SHUTDOWN, 0, a->conn.peer_id & UDT_SEQ_MASK);
    for (unsigned i = 0; i < SHUTDOWNS; i++)
        udt_port_agent_send_one(p, shutdown, bytes, &a->ends);
}

udt_port_agent_t *udt_agent_find_port(const wrk_channel_t *ch, const char *name)
{
    wrk_channel_t *port = wrk_find(ch, name);
    if (port != NULL && !port->failed && strcmp(port->config.engine, SHM_UDT_PORT_ENGINE) == 0)
        return udt_port_agent_of(port);
    rt_err_set(-ENOENT, "no channel \"%s\" of engine udt-port is open on this worker", name);
    return NULL;
}

void udt_agent_notify_lost(udt_agent_t *a)
{
    udt_port_agent_t *p = udt_agent_find_port(a->channel, a->config.port);
    rt_err_clear();
    if (p == NULL)
        return;
    a->notifies_loss = false;
    udt_port_agent_count(p, SHM_UDT_PORT_COUNT_lost);
    notify_lost_peer(a, p);
}
