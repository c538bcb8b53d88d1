/* agent.c: the engine "local": what is sent is delivered, at its deadline, to all readers of the
 * same channel. There is no socket.
 *
 *     tx ring --sender--> put -----------------------------> rx ring --> readers
 *                            \--> impaired path, if any --/
 *
 * The way out is the rx ring: a batch is copied in and published with one wake. The timestamp of a
 * packet is the time at which it was put into the ring, in the channel's clock.
 *
 * With overflow="wait" a packet that would overwrite an unread one stays in the tx ring, and is
 * tried again after a pause. So a slow reader slows the senders down. On an impaired path packets
 * wait for a reader in the path, and no more are taken in while one is overdue and the rx ring has
 * no room for it. Packets that are overdue only because a call delivers so many do not slow the
 * senders down.
 *
 * A packet is marked as finished after it was published. If the worker dies in between, the packet
 * has the verdict "failed" (EOWNERDEAD: it may have been sent or not), as on a socket. */
#include "worker/agents/common/sender.h"
#include "worker/agents/common/tap.h"

#include "base/rt_err.h"
#include "shm/shm_engine.h"

#include <errno.h>
#include <stddef.h>

typedef struct local_agent {
    agent_sender_t sender;
    agent_path_t path; /* its receiving side */
    udp_t none;        /* what the common parts look up about a socket: all zero */
} local_agent_t;

_Static_assert(offsetof(local_agent_t, sender) == 0, "the sender comes first");

static local_agent_t *local_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

/* --- delivery ------------------------------------------------------------------------------ */

/* Returns 0, or -errno as rx_writer_put. */
static int deliver(wrk_channel_t *ch, const udp_tx_t *message, int64_t time_ns)
{
    const rx_item_t item = {
        .payload = message->data,
        .payload_bytes = message->len,
        .time_ns = time_ns,
        .stamp = SHM_STAMP_USER,
    };
    uint64_t sequence = ch->rx.sequence;
    int rc = rx_writer_put(&ch->rx, &item);
    if (rc < 0)
        return rc;
    wrk_count(ch, SHM_COUNT_rx_bytes, message->len);
    if (agent_tapped(ch))
        agent_tap_item(ch, &local_of(ch)->none, &item, sequence);
    return 0;
}

static void publish(wrk_channel_t *ch, unsigned count, int64_t put_mono_ns)
{
    wrk_rx_publish(ch);
    int64_t took_ns = rt_mono_ns() - put_mono_ns;
    for (unsigned i = 0; i < count; i++)
        wrk_hist(ch, SHM_HIST_rx_delivery, took_ns);
}

static unsigned put_into_ring(wrk_channel_t *ch, const udp_tx_t *messages, unsigned count,
                              int *error)
{
    int64_t now = rt_mono_ns();
    int64_t time_ns = now - wrk_clock_shift_ns(ch);
    unsigned done = 0;
    int rc = 0;
    while (done < count && (rc = deliver(ch, &messages[done], time_ns)) == 0)
        done++;
    *error = rc == -ENOBUFS ? EAGAIN : -rc;
    if (done > 0)
        publish(ch, done, now);
    return done;
}

/* --- impaired path ------------------------------------------------------------------------- */

static bool path_is_overdue(const local_agent_t *a, int64_t now_mono_ns)
{
    return impair_deadline_ns(a->path.rx) <= now_mono_ns;
}

/* OVERFLOW_WAIT: delivers what is overdue, at least as many as a batch puts into the path, even if
 * all of them are duplicated. Returns false if the rest must wait for a reader. */
static bool path_may_take(wrk_channel_t *ch, int64_t now_mono_ns)
{
    local_agent_t *a = local_of(ch);
    if (!ch->rx.wait_for_readers)
        return true;
    for (unsigned calls = 0; calls < 2 && path_is_overdue(a, now_mono_ns); calls++) {
        if (rx_writer_room(&ch->rx, 1, ch->config.max_payload_bytes) == 0)
            return false;
        a->path.rx_retry_mono_ns = 0; /* there is room */
        agent_path_emit(ch, &a->path, now_mono_ns);
    }
    return !path_is_overdue(a, now_mono_ns) ||
           rx_writer_room(&ch->rx, 1, ch->config.max_payload_bytes) > 0;
}

static unsigned put_into_path(wrk_channel_t *ch, const udp_tx_t *messages, unsigned count,
                              int *error)
{
    local_agent_t *a = local_of(ch);
    int64_t now = rt_mono_ns();
    if (!path_may_take(ch, now)) {
        *error = EAGAIN;
        return 0;
    }
    for (unsigned i = 0; i < count; i++) {
        const rx_item_t item = {.payload = messages[i].data,
                                .payload_bytes = messages[i].len,
                                .time_ns = now - wrk_clock_shift_ns(ch),
                                .stamp = SHM_STAMP_USER};
        agent_path_offer_rx(&a->path, &item);
        wrk_count(ch, SHM_COUNT_rx_bytes, item.payload_bytes);
    }
    agent_path_took_rx(ch, &a->path);
    return count;
}

/* A packet that leaves the path. Its time is when it is delivered, not when it should have been. */
static bool deliver_from_path(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    rx_item_t now = *item;
    now.time_ns = rt_mono_ns() - wrk_clock_shift_ns(ch);
    return rx_writer_put(&ch->rx, &now) == 0;
}

static int put(wrk_channel_t *ch, const udp_tx_t *messages, unsigned count, int *error)
{
    bool impaired = local_of(ch)->path.rx != NULL;
    unsigned done = impaired ? put_into_path(ch, messages, count, error)
                             : put_into_ring(ch, messages, count, error);
    wrk_count(ch, SHM_COUNT_rx_received, done);
    return (int)done;
}

/* --- deadlines ----------------------------------------------------------------------------- */

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_on_deadline(ch, now_mono_ns);
    agent_path_emit(ch, &local_of(ch)->path, now_mono_ns);
}

/* Packets without a deadline pass the path at once if it does not delay them. */
static unsigned do_work(wrk_channel_t *ch, int64_t now_mono_ns)
{
    unsigned work = agent_sender_take_in(ch, now_mono_ns);
    if (work > 0)
        agent_path_emit(ch, &local_of(ch)->path, rt_mono_ns());
    return work;
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    return agent_earlier_ns(agent_sender_deadline_ns(ch),
                            agent_path_deadline_ns(&local_of(ch)->path));
}

/* --- open ---------------------------------------------------------------------------------- */

static int check_config(const wrk_channel_t *ch)
{
    if (ch->socket_fd >= 0)
        return rt_err_set(-EINVAL, "engine local has no socket: do not pass one");
    if (ch->config.direction != SHM_DUPLEX)
        return rt_err_set(-EINVAL, "engine local needs direction duplex");
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    local_agent_t *a = local_of(ch);
    agent_path_counters(ch, &a->path);
    agent_sender_close(ch);
}

static int open_channel(wrk_channel_t *ch, int64_t now_mono_ns)
{
    local_agent_t *a = local_of(ch);
    int rc = check_config(ch);
    if (rc < 0)
        return rc;
    a->none.fd = -1;
    a->path = (agent_path_t){
        .udp = &a->none, .deliver = deliver_from_path, .delivered = &ch->rx.sequence};
    a->sender = (agent_sender_t){.udp = &a->none, .path = &a->path, .put = put};
    rc = agent_path_open(ch, &a->path);
    if (rc == 0 && a->path.tx != NULL)
        rc = rt_err_set(-EINVAL, "engine local has one path: impair its receiving side");
    rc = rc ? rc : agent_sender_open(ch, true, now_mono_ns);
    if (rc < 0) {
        close_channel(ch);
        return rc;
    }
    rt_store_relaxed(&ch->segment.status->rx_stamp, SHM_STAMP_USER);
    return 0;
}

/* --- hold, duties -------------------------------------------------------------------------- */

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    agent_sender_release(ch);
}

static void reset(wrk_channel_t *ch)
{
    agent_path_reset(&local_of(ch)->path);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    agent_sender_refresh(ch, now_mono_ns);
    agent_path_counters(ch, &local_of(ch)->path);
}

static const agent_ops_t LOCAL_AGENT = {
    .engine = SHM_LOCAL_ENGINE,
    .counts_each = true,
    .state_bytes = sizeof(local_agent_t),
    .open = open_channel,
    .close = close_channel,
    .do_work = do_work,
    .on_deadline = on_deadline,
    .deadline_ns = deadline_ns,
    .release = release,
    .purge = agent_sender_purge,
    .reset = reset,
    .refresh = refresh,
};
AGENT_REGISTER(LOCAL_AGENT)
