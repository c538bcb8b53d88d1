#include "worker/agents/udt/udt.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>

#define LINGER_MOST_NS (INT64_MAX / 4)
#define MORE_NS RT_NS_PER_MS
/* A deadline that far ahead is not urgent: a worker with a thousand idle connections wakes for many
 * at a time, 50 times a second instead of a thousand. */
#define FAR_NS (50 * RT_NS_PER_MS)
#define FAR_GRID_NS (20 * RT_NS_PER_MS)

/* --- events -------------------------------------------------------------------------------- */

static unsigned do_work(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    unsigned work = a->more;
    if (a->more || (udt_agent_takes_in(a) && tx_queue_pending(&ch->tx)))
        work += udt_agent_serve(ch);
    return work + agent_free_space(ch, 0, agent_refused, now_mono_ns);
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    (void)udt_agent_serve(ch);
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
    int64_t at = a->rx_waits && !ch->held ? a->rx_retry_mono_ns : RT_NEVER_NS;
    if (a->port == NULL)
        return at;
    if (a->closes && a->conn.state == UDT_CONN_CONNECTED)
        at = agent_earlier_ns(at, a->close_mono_ns);
    if (a->more) /* do_work continues, after sockets and other channels had their turn */
        return agent_earlier_ns(at, a->served_mono_ns + MORE_NS);
    return a->port->block.now ? at : agent_earlier_ns(at, conn_deadline_ns(&a->conn));
}

/* --- close --------------------------------------------------------------------------------- */

static void close_channel(wrk_channel_t *ch)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (a->port != NULL)
        udt_agent_shut_down(a);
    if (a->notifies_loss)
        udt_agent_notify_lost(a);
    udt_agent_leave_port(a);
    udt_agent_publish_state(a, SHM_UDT_CLOSED);
}

/* --- requests ------------------------------------------------------------------------------ */

static int close_orderly(wrk_channel_t *ch, int64_t linger_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (linger_ns < 0)
        return rt_err_set(-EINVAL, "linger is %lld ns; it must not be below 0",
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
                              "bandwidth is %lld bytes per second; it must not be below 0",
                              (long long)c->value);
        if (a->port != NULL)
            udt_conn_set_bandwidth(&a->conn, (uint64_t)c->value);
        return 0;
    case SHM_UDT_REPORT_ERROR:
        if (a->port != NULL)
            udt_conn_report_error(&a->conn);
        return 0;
    default:
        return rt_err_set(-EINVAL, "engine udt does not know request %u", c->op);
    }
}

static int request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                   uint32_t *reply_bytes)
{
    (void)reply;
    (void)reply_bytes;
    shm_udt_command_t c;
    if (bytes != sizeof c)
        return rt_err_set(-EPROTO, "the request to a connection has %zu bytes; it takes %zu", bytes,
                          sizeof c);
    memcpy(&c, body, sizeof c);
    int rc = run(ch, &c);
    if (rc == 0 && udt_agent_of(ch)->port != NULL) {
        (void)udt_agent_serve(ch);
        wrk_reschedule(ch);
    }
    return rc;
}

/* --- hold, duties -------------------------------------------------------------------------- */

/* A held connection is kept alive. A client that has not connected yet does not begin. */
static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (a->port != NULL)
        udt_conn_connect(&a->conn, now_mono_ns);
    ch->tx_paused = !udt_agent_takes_in(a);
    a->rx_waits = true; /* data that came meanwhile is handled at once */
    a->rx_retry_mono_ns = now_mono_ns;
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    (void)agent_free_space(ch, 0, agent_refused, now_mono_ns);
    if (a->notifies_loss)
        udt_agent_notify_lost(a);
}

static const agent_ops_t UDT_AGENT = {
    .engine = SHM_UDT_ENGINE,
    .memory_as_used = true,
    .state_bytes = sizeof(udt_agent_t),
    .open = udt_agent_open,
    .close = close_channel,
    .do_work = do_work,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .release = release,
    .purge = udt_agent_purge,
    .request = request,
    .refresh = refresh,
};
AGENT_REGISTER(UDT_AGENT)
