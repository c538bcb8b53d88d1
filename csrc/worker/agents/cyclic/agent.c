#include "worker/agents/common/socket.h"
#include "worker/agents/cyclic/cyclic.h"

#include "base/rt_err.h"
#include "shm/shm_engine.h"

#include <errno.h>
#include <unistd.h>

/* Behind a backlog of 512 channels of 44 Hz a cycle of 1 kHz is late by a tenth of its period and
 * more. They lose much less if they wait for it. */
#define PRESSING_MOST_NS (2 * RT_NS_PER_MS)

/* --- events --------------------------------------------------------------------------------- */

static void on_socket(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (events & EPOLLERR)
        agent_take_errors(ch, &a->ledger, now_mono_ns);
    if (events & (EPOLLIN | EPOLLERR))
        agent_input_receive(ch, &a->input, now_mono_ns);
}

static void serve_socket(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (a->local)
        return;
    agent_path_emit(ch, &a->path, now_mono_ns);
    agent_input_retry(ch, &a->input, now_mono_ns);
    agent_collect_overdue_stamps(ch, &a->ledger, now_mono_ns);
}

static void on_deadline(wrk_channel_t *ch, int64_t now_mono_ns)
{
    if (cyclic_agent_prepare(ch, now_mono_ns))
        return; /* and is called again, at once if something else is due */
    cyclic_agent_send_due(ch, now_mono_ns);
    serve_socket(ch, now_mono_ns);
}

static int64_t deadline_ns(const wrk_channel_t *ch)
{
    const cyclic_agent_t *a = cyclic_agent_of(ch);
    int64_t at = cyclic_agent_tx_deadline_ns(ch);
    if (a->local)
        return at;
    at = agent_earlier_ns(at, agent_input_deadline_ns(ch, &a->input));
    at = agent_earlier_ns(at, agent_path_deadline_ns(&a->path));
    return agent_earlier_ns(at, agent_stamp_deadline_ns(&a->ledger));
}

/* Called while there is no payload yet, and the bell was rung. */
static unsigned do_work(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    unsigned work = agent_fail_strays(ch, now_mono_ns);
    if (!cyclic_agent_check_payload(ch, now_mono_ns))
        return work;
    agent_rhythm_check_now(&a->rhythm, a->config.period_ns, now_mono_ns);
    return 1;
}

/* --- checks --------------------------------------------------------------------------------- */

static int refuse_option(const char *what, const char *why)
{
    return rt_err_set(-EINVAL, "%s cannot be used with engine cyclic%s", what, why);
}

static int check_local(const shm_config_t *c)
{
    static const char WHY[] = " without a remote address: leave it out, or give remote=";
    if (c->local.family != 0)
        return refuse_option("local", WHY);
    if (c->overflow == SHM_OVERFLOW_WAIT)
        return refuse_option("overflow=\"wait\"", WHY);
    if (agent_path_is_impaired(c))
        return refuse_option("an impaired path", WHY);
    if (c->direction != SHM_DUPLEX)
        return refuse_option("a direction other than \"duplex\"", WHY);
    return 0;
}

static int check_config(const wrk_channel_t *ch)
{
    const shm_config_t *c = &ch->config;
    shm_cyclic_config_t own;
    memcpy(&own, c->engine_config, sizeof own);
    int rc = shm_cyclic_config_check(&own);
    rc = rc ? rc : shm_engine_check(c);
    if (rc < 0)
        return rc;
    if (own.payload_bytes > c->max_payload_bytes)
        return rt_err_set(-EINVAL, "payload_bytes is %u, but max_payload is %u", own.payload_bytes,
                          c->max_payload_bytes);
    if (!(c->direction & SHM_TX))
        return refuse_option("direction=\"rx\"", ": use the engine udp to receive only");
    if (c->clock != RT_CLOCK_MONOTONIC)
        return refuse_option("another clock than CLOCK_MONOTONIC", "");
    if (c->late == SHM_LATE_DROP)
        return refuse_option("late=\"drop\"", ": a cycle is sent however late, or missed");
    if (c->txtime == SHM_TXTIME_REQUIRE)
        return refuse_option("txtime=\"require\"", ": a queued datagram would carry an old payload");
    return c->remote.family == 0 ? check_local(c) : 0;
}

/* --- open ----------------------------------------------------------------------------------- */

static int take_memory(wrk_channel_t *ch)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    size_t each = (size_t)a->config.payload_bytes + 1; /* never 0 */
    uint8_t *memory = wrk_take_memory(ch, 3 * each);
    if (memory == NULL)
        return -ENOMEM;
    a->payload[0].data = memory;
    a->payload[1].data = memory + each;
    a->failsafe.data = memory + 2 * each;
    return 0;
}

static void close_parts(wrk_channel_t *ch)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (!a->local) {
        wrk_unwatch(ch, &a->socket);
        agent_socket_close(&a->udp, a->phc);
    }
}

static int open_socket(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    int rc = agent_socket_open(ch, wrk_take_socket(ch), false, &a->udp, &a->phc);
    if (rc < 0) {
        a->local = true; /* there is nothing of a socket to close */
        return rc;
    }
    a->path = (agent_path_t){
        .udp = &a->udp, .deliver = agent_input_deliver, .delivered = &ch->rx.sequence};
    a->socket = (wrk_source_t){.on_event = on_socket, .fd = -1};
    rc = agent_path_open(ch, &a->path);
    rc = rc ? rc : wrk_watch(ch, &a->socket, a->udp.fd, 0);
    if (rc < 0)
        return rc;
    a->udp.rx_position = a->path.rx != NULL ? &a->path.rx_taken : &ch->rx.sequence;
    a->input.on = ch->config.direction & SHM_RX;
    a->input.socket = &a->socket;
    a->input.block = &a->block;
    agent_input_open(ch, &a->input, &a->udp, &a->path);
    wrk_kernel_drops_resume(ch, udp_drops_refresh(&a->udp), now_mono_ns);
    agent_socket_facts(ch, &a->udp);
    return 0;
}

static void go_without_socket(wrk_channel_t *ch)
{
    int left = wrk_take_socket(ch);
    if (left >= 0)
        close(left);
    rt_store_relaxed(&ch->segment.status->socket_fd, UINT32_MAX);
    rt_store_relaxed(&ch->segment.status->rx_stamp, SHM_STAMP_USER);
    rt_store_relaxed(&ch->segment.status->tx_stamp, SHM_STAMP_USER);
}

static int open_channel(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    int rc = check_config(ch);
    if (rc < 0)
        return rc;
    memcpy(&a->config, ch->config.engine_config, sizeof a->config);
    a->head = shm_cyclic_head(ch->segment.engine);
    a->box = shm_cyclic_box(ch->segment.engine, ch->config.producers, a->config.payload_bytes);
    a->local = ch->config.remote.family == 0;
    ch->pressing = a->config.period_ns <= PRESSING_MOST_NS;
    rc = take_memory(ch);
    if (rc < 0)
        return rc;
    if (a->local)
        go_without_socket(ch);
    else
        rc = open_socket(ch, now_mono_ns);
    if (rc < 0) {
        close_parts(ch);
        return rc;
    }
    cyclic_agent_tx_open(ch, now_mono_ns);
    if (!a->local) {
        agent_input_watch(ch, &a->input);
        agent_input_take_left(ch, &a->input, now_mono_ns);
    }
    return 0;
}

static void close_channel(wrk_channel_t *ch)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    agent_give_up_stamps(ch, &a->ledger);
    if (!a->local)
        agent_path_counters(ch, &a->path);
    close_parts(ch);
}

/* --- hold, duties --------------------------------------------------------------------------- */

static void hold(wrk_channel_t *ch)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    cycle_stop(&a->cycle);
    if (!a->local)
        agent_input_watch(ch, &a->input);
}

static void release(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    ch->tx_paused = a->cycle.used;
    cyclic_agent_tx_run(ch, now_mono_ns);
    if (a->local)
        return;
    agent_input_watch(ch, &a->input);
    agent_input_take_left(ch, &a->input, now_mono_ns);
}

static int purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    (void)max;
    if (!cyclic_agent_of(ch)->local)
        agent_path_clear(ch, &cyclic_agent_of(ch)->path);
    return agent_fail_strays(ch, now_mono_ns) < AGENT_STRAYS;
}

static void reset(wrk_channel_t *ch)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    cyclic_agent_reset(ch);
    if (a->local)
        return;
    wrk_kernel_drops_reset(ch, udp_drops_refresh(&a->udp));
    agent_path_reset(&a->path);
}

static void refresh(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    (void)agent_fail_strays(ch, now_mono_ns);
    if (a->local)
        return;
    if (a->input.on)
        wrk_kernel_drops(ch, udp_drops_refresh(&a->udp), now_mono_ns);
    agent_path_counters(ch, &a->path);
}

/* --- clients -------------------------------------------------------------------------------- */

/* The opener repeats its request if a worker dies during it. */
static bool is_kept(const cyclic_agent_t *a)
{
    uint32_t bytes;
    uint8_t *spare = a->payload[!a->in_use].data;
    return a->has_failsafe && shm_cyclic_get_failsafe(&a->box, spare, &bytes) == 1 &&
           bytes == a->failsafe.bytes && memcmp(spare, a->failsafe.data, bytes) == 0;
}

static int keep_failsafe(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (is_kept(a))
        return 0;
    if (a->config.on_stale != SHM_CYCLIC_FAILSAFE || a->has_failsafe)
        return rt_err_set(-EINVAL, "the fail-safe payload is declared once, by the opener of a "
                                   "channel whose on_stale is a payload");
    if (shm_cyclic_get_failsafe(&a->box, a->failsafe.data, &a->failsafe.bytes) != 1)
        return rt_err_set(-EINVAL, "there is no fail-safe payload of 0 to %u bytes to keep",
                          a->config.payload_bytes);
    a->has_failsafe = true;
    cyclic_agent_tx_run(ch, now_mono_ns);
    return 0;
}

static int request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                   uint32_t *reply_bytes)
{
    (void)reply;
    (void)reply_bytes;
    uint32_t op;
    if (bytes != sizeof op)
        return rt_err_set(-EPROTO, "the cyclic request has %zu bytes: it needs %zu", bytes,
                          sizeof op);
    memcpy(&op, body, sizeof op);
    if (op == SHM_CYCLIC_KEEP_FAILSAFE)
        return keep_failsafe(ch, rt_mono_ns());
    return rt_err_set(-EINVAL, "cyclic request %u is unknown", op);
}

static void producer_gone(wrk_channel_t *ch, uint32_t slot, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    cyclic_agent_writer_gone(ch, slot, now_mono_ns);
    agent_rhythm_check_now(&a->rhythm, a->config.period_ns, now_mono_ns);
}

/* No client is left to renew the payload. */
static void send_final(wrk_channel_t *ch, int64_t now_mono_ns)
{
    cyclic_agent_t *a = cyclic_agent_of(ch);
    if (a->config.on_stale != SHM_CYCLIC_FAILSAFE)
        return;
    (void)cyclic_agent_check_payload(ch, now_mono_ns);
    cycle_writer_gone(&a->cycle);
    a->cycle.grid.due_ns = now_mono_ns;
    cyclic_agent_send_due(ch, now_mono_ns);
}

static const agent_ops_t CYCLIC_AGENT = {
    .engine = SHM_CYCLIC_ENGINE,
    .state_bytes = sizeof(cyclic_agent_t),
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
    .producer_gone = producer_gone,
    .refresh = refresh,
    .send_final = send_final,
};
AGENT_REGISTER(CYCLIC_AGENT)
