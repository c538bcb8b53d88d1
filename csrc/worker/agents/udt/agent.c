#include "worker/agents/udt/agent.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINGER_MOST_NS (INT64_MAX / 4)
#define MORE_NS RT_NS_PER_MS
#define SHUTDOWNS 3
/* What is due that late is not urgent: a worker with a thousand idle connections wakes for many at
 * a time, 50 times a second instead of a thousand. */
#define FAR_NS (50 * RT_NS_PER_MS)
#define FAR_GRID_NS (20 * RT_NS_PER_MS)

static size_t state_bytes(const shm_config_t *config)
{
    (void)config;
    return sizeof(udt_agent_t);
}

/* --- what clients see ---------------------------------------------------------------------- */

static void publish(udt_agent_t *a)
{
    udt_conn_t *c = &a->conn;
    rt_store_relaxed(&a->state->unsent_bytes, c->snd.buffer.used);
    rt_store_relaxed(&a->state->unread_bytes, c->rcv.buffer.ready_bytes);
}

void udt_agent_publish_state(udt_agent_t *a, shm_udt_conn_state_t state)
{
    rt_store_release(&a->state->state, (uint32_t)state);
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

int udt_agent_join(udt_port_agent_t *p, udt_agent_t *a)
{
    udt_address_t peer = udt_address_of(&a->peer);
    int rc = udt_port_add(&p->sockets, &a->conn, &peer);
    if (rc < 0)
        return rt_err_set(rc, "channel \"%s\" takes no connection more", p->channel->config.name);
    a->port = p;
    a->next = p->agents;
    a->at = &p->agents;
    if (p->agents != NULL)
        p->agents->at = &a->next;
    p->agents = a;
    rt_store_relaxed(&p->state->sockets, p->sockets.count);
    return 0;
}

static void leave_port(udt_agent_t *a)
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
    if (a->touched)
        untouch(p, a);
    rt_store_relaxed(&p->state->sockets, p->sockets.count);
}

bool udt_agent_is_over(const udt_agent_t *a)
{
    return a->port == NULL || a->conn.state == UDT_CONN_BROKEN || a->conn.state == UDT_CONN_CLOSED;
}

void udt_agent_end(udt_agent_t *a, shm_udt_conn_state_t state, unsigned tell, uint32_t error)
{
    leave_port(a);
    a->more = false;
    a->waits_for_room = false;
    a->closes = false;
    a->tell |= tell;
    a->tell_error = error;
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
    a->tell |= UDT_TELL_CONNECTED;
    udt_agent_publish_state(a, a->closes ? SHM_UDT_CLOSING : SHM_UDT_CONNECTED);
}

static void take_events(udt_agent_t *a)
{
    uint32_t events = udt_conn_take_events(&a->conn);
    uint32_t error = (uint32_t)a->conn.error;
    if (events & UDT_EVENT_CONNECTED)
        become_connected(a);
    if (events & UDT_EVENT_PEER_ERROR) {
        a->tell |= UDT_TELL_PEER_ERROR;
        rt_store_relaxed(&a->state->peer_errors, rt_load_relaxed(&a->state->peer_errors) + 1);
    }
    if (events & UDT_EVENT_WRITABLE)
        a->waits_for_room = false;
    if (events & UDT_EVENT_FAILED)
        udt_agent_end(a, SHM_UDT_BROKEN, UDT_TELL_FAILED, error);
    else if (events & UDT_EVENT_CLOSED)
        udt_agent_end(a, SHM_UDT_CLOSED, UDT_TELL_CLOSED, error);
    else if (events & UDT_EVENT_BROKEN)
        udt_agent_end(a, SHM_UDT_BROKEN, UDT_TELL_BROKEN, error);
}

static bool takes_in(const udt_agent_t *a)
{
    if (a->held)
        return false;
    return udt_agent_is_over(a) || (a->conn.state != UDT_CONN_CONNECTING && !a->waits_for_room);
}

/* A channel that is paused is not polled. */
static void choose_pause(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    bool was = ch->tx_paused;
    ch->tx_paused = !a->more && !takes_in(a);
    if ((was && !ch->tx_paused) || a->more)
        wrk_activate(ch, now_mono_ns);
}

/* What was queued before is in the send buffer now, or its time is over. */
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

/* The copies that would follow later leave at once, for later nobody is there. */
static void say_goodbye(udt_agent_t *a)
{
    int64_t now = rt_mono_ns();
    udt_conn_set_linger(&a->conn, 0);
    udt_conn_close(&a->conn, now);
    for (int i = 0; i < SHUTDOWNS; i++) {
        udt_out_t out;
        if (udt_conn_emit(&a->conn, &out, 1, now + i * UDT_LEAVE_NS) == 1)
            udt_port_agent_send(a->port, a->channel, &out, 1, &a->peer);
    }
}

static unsigned serve(wrk_channel_t *ch)
{
    udt_agent_t *a = udt_agent_of(ch);
    int64_t now = rt_mono_ns();
    if (ch->failed && a->port != NULL)
        say_goodbye(a);
    a->served_mono_ns = now;
    a->more = false;
    take_events(a);
    udt_agent_deliver(ch, now);
    unsigned taken = takes_in(a) ? udt_agent_take_in(ch, now) : 0;
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

void udt_agent_serve(wrk_channel_t *ch)
{
    (void)serve(ch);
}

static unsigned do_work(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    unsigned work = a->more;
    if (a->more || (takes_in(a) && tx_queue_pending(&ch->tx)))
        work += serve(ch);
    return work + agent_free_space(ch, 0, agent_refused, now_mono_ns);
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    udt_agent_serve(ch);
}

static int64_t sooner(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

static int64_t conn_deadline_ns(const udt_conn_t *c)
{
    int64_t at = udt_conn_deadline_ns(c);
    if (at == RT_NEVER_NS || at - c->now_ns < FAR_NS)
        return at;
    return (at + FAR_GRID_NS - 1) / FAR_GRID_NS * FAR_GRID_NS;
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const udt_agent_t *a = udt_agent_of(ch);
    int64_t at = a->rx_waits && !a->held ? a->rx_retry_mono_ns : RT_NEVER_NS;
    if (a->port == NULL)
        return at;
    if (a->closes && a->conn.state == UDT_CONN_CONNECTED)
        at = sooner(at, a->close_mono_ns);
    if (a->more) /* do_work goes on, after sockets and other channels had their turn */
        return sooner(at, a->served_mono_ns + MORE_NS);
    return a->port->block.now ? at : sooner(at, conn_deadline_ns(&a->conn));
}

/* --- close --------------------------------------------------------------------------------- */

void udt_agent_port_gone(udt_agent_t *a)
{
    wrk_channel_t *ch = a->channel;
    take_events(a);
    if (a->port == NULL)
        return;
    say_goodbye(a);
    (void)udt_conn_take_events(&a->conn);
    udt_agent_end(a, SHM_UDT_BROKEN, UDT_TELL_BROKEN, UDT_ECONNLOST);
    udt_agent_deliver(ch, rt_mono_ns());
    choose_pause(ch, rt_mono_ns());
    wrk_ran(ch);
}

static void tell_lost_peer(udt_agent_t *a, udt_port_agent_t *p)
{
    uint8_t shutdown[UDT_CONTROL_BYTES];
    udt_port_agent_address(p, &a->peer_shm, &a->peer);
    if (a->conn.peer_id == 0 || a->peer.sa.sa_family != p->udp.eff.local.sa.sa_family)
        return;
    uint32_t bytes =
        (uint32_t)udt_put_control(shutdown, UDT_TYPE_SHUTDOWN, 0, a->conn.peer_id & UDT_SEQ_MASK);
    for (unsigned i = 0; i < SHUTDOWNS; i++)
        udt_port_agent_send_one(p, shutdown, bytes, &a->peer);
}

void udt_agent_tell_of_loss(udt_agent_t *a)
{
    udt_port_agent_t *p = udt_agent_find_port(a->channel, a->config.port);
    rt_err_clear();
    if (p == NULL)
        return;
    a->untold = false;
    udt_port_agent_count(p, SHM_UDT_PORT_COUNT_lost);
    tell_lost_peer(a, p);
}

static void close_channel(wrk_channel_t *ch)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (a->port != NULL)
        say_goodbye(a);
    if (a->untold)
        udt_agent_tell_of_loss(a);
    leave_port(a);
    if (a->memory != NULL)
        (void)munmap(a->memory, a->memory_bytes);
    udt_agent_publish_state(a, SHM_UDT_CLOSED);
}

static int socket_of(const wrk_channel_t *ch)
{
    (void)ch;
    return -1;
}

/* --- requests ------------------------------------------------------------------------------ */

static int close_orderly(wrk_channel_t *ch, int64_t linger_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (linger_ns < 0)
        return rt_err_set(-EINVAL, "a linger of %lld ns; it must not be below 0",
                          (long long)linger_ns);
    if (a->port == NULL)
        return 0;
    a->closes = true;
    a->close_before = (uint32_t)agent_sequence_at_tail(ch);
    a->close_mono_ns = rt_mono_ns() + (linger_ns < LINGER_MOST_NS ? linger_ns : LINGER_MOST_NS);
    if (a->conn.state == UDT_CONN_CONNECTED)
        udt_agent_publish_state(a, SHM_UDT_CLOSING);
    else
        udt_conn_close(&a->conn, rt_mono_ns());
    return 0;
}

static int run(wrk_channel_t *ch, const shm_udt_command_t *c)
{
    udt_agent_t *a = udt_agent_of(ch);
    switch (c->op) {
    case SHM_UDT_CLOSE:
        return close_orderly(ch, c->value);
    case SHM_UDT_SET_BANDWIDTH:
        if (c->value < 0)
            return rt_err_set(-EINVAL,
                              "a bandwidth of %lld bytes per second; it must not be below 0",
                              (long long)c->value);
        if (a->port != NULL)
            udt_conn_set_bandwidth(&a->conn, (uint64_t)c->value);
        return 0;
    case SHM_UDT_REPORT_ERROR:
        if (a->port != NULL)
            udt_conn_report_error(&a->conn);
        return 0;
    default:
        return rt_err_set(-EINVAL, "engine udt knows no request %u", c->op);
    }
}

static int request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, int fd, uint8_t *reply,
                   uint32_t *reply_bytes)
{
    (void)reply;
    (void)reply_bytes;
    shm_udt_command_t c;
    if (fd >= 0)
        close(fd);
    if (bytes != sizeof c)
        return rt_err_set(-EPROTO, "a request of %zu bytes to a connection: it takes %zu", bytes,
                          sizeof c);
    memcpy(&c, body, sizeof c);
    int rc = run(ch, &c);
    if (rc == 0 && udt_agent_of(ch)->port != NULL) {
        udt_agent_serve(ch);
        wrk_ran(ch);
    }
    return rc;
}

/* --- hold, duties -------------------------------------------------------------------------- */

/* The connection is kept up; a client that did not connect yet does not begin. */
static void hold(wrk_channel_t *ch)
{
    udt_agent_of(ch)->held = true;
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    a->held = false;
    if (a->port != NULL)
        udt_conn_connect(&a->conn, now_mono_ns);
    ch->tx_paused = !takes_in(a);
    a->rx_waits = true; /* what came meanwhile is looked at at once */
    a->rx_retry_mono_ns = now_mono_ns;
}

static void reset(wrk_channel_t *ch)
{
    (void)ch; /* the connection's own counters count from its beginning */
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    (void)agent_free_space(ch, 0, agent_refused, now_mono_ns);
    if (a->untold)
        udt_agent_tell_of_loss(a);
}

static const agent_ops_t UDT_AGENT = {
    .engine = SHM_UDT_ENGINE,
    .memory_as_used = true,
    .state_bytes = state_bytes,
    .open = udt_agent_open,
    .close = close_channel,
    .socket_fd = socket_of,
    .do_work = do_work,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .hold = hold,
    .release = release,
    .purge = udt_agent_purge,
    .reset = reset,
    .request = request,
    .refresh = refresh,
};
AGENT_REGISTER(UDT_AGENT)
