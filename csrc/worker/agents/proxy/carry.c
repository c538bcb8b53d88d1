/* carry.c: a datagram's way through the proxy.
 *
 *     listener -> its flow -> offered to the forward path  ... due -> the flow's socket
 *     flow's socket -------> offered to the backward path ... due -> listener, to the client
 *
 * What is due at once leaves in the same call. The kernel has no room, or refuses: the datagram is
 * lost and counted, as on any link. */
#include "worker/agents/common/impaired_path.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/common/tap.h"
#include "worker/agents/proxy/proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Each message of the listener may open a flow, for some 30 us. */
#define LISTENER_MESSAGES 16u
#define NEW_CLIENTS_MESSAGES 4u
#define FLOW_MESSAGES 16u
#define FLOWS_MESSAGES 256u /* of all flows in a call; fewer if a deadline is near */
#define OLDEST_STAMP_NS RT_NS_PER_S
/* On a path: what is due leaves before the next receive call, or its storage would be full. */
#define EMIT_FROM_BYTES (256u << 10)

typedef struct way_counters {
    shm_proxy_counter_id_t received;
    shm_proxy_counter_id_t sent;
    shm_proxy_counter_id_t refused;
    shm_proxy_gauge_id_t waiting;
    shm_counter_id_t impair; /* the first of the path's */
} way_counters_t;

static const way_counters_t WAYS[SHM_PROXY_WAYS] = {
    [SHM_PROXY_FORWARD] = {SHM_PROXY_COUNT_forward_received, SHM_PROXY_COUNT_forward_sent,
                           SHM_PROXY_COUNT_forward_refused, SHM_PROXY_GAUGE_forward_waiting,
                           SHM_COUNT_impair_tx_offered},
    [SHM_PROXY_BACKWARD] = {SHM_PROXY_COUNT_backward_received, SHM_PROXY_COUNT_backward_sent,
                            SHM_PROXY_COUNT_backward_refused, SHM_PROXY_GAUGE_backward_waiting,
                            SHM_COUNT_impair_rx_offered},
};

static void show_path(proxy_agent_t *a, shm_proxy_way_t way)
{
    const proxy_path_t *path = &a->paths[way];
    agent_path_show(a->channel, &path->im, &path->base, WAYS[way].impair);
    rt_store_relaxed(&a->state->gauges[WAYS[way].waiting], impair_queued(&path->im));
}

void proxy_show_counters(proxy_agent_t *a)
{
    show_path(a, SHM_PROXY_FORWARD);
    show_path(a, SHM_PROXY_BACKWARD);
}

uint64_t proxy_kernel_drops(const proxy_agent_t *a)
{
    return a->listener.kernel_drops + a->flow_drops;
}

void proxy_watch(proxy_agent_t *a)
{
    uint32_t events = a->channel->held || a->ending ? 0 : EPOLLIN;
    wrk_rewatch(a->channel, &a->socket, events);
    wrk_rewatch(a->channel, &a->input, events);
}

/* --- from the kernel into a path ----------------------------------------------------------- */

/* A card's clock may be wrong: a stamp is never in the future, and not long ago. */
static int64_t arrival_mono_ns(const wrk_channel_t *ch, const udp_rx_t *in, int64_t now_mono_ns)
{
    int64_t at = in->time_ns + wrk_clock_shift_ns(ch);
    if (at > now_mono_ns)
        return now_mono_ns;
    return at > now_mono_ns - OLDEST_STAMP_NS ? at : now_mono_ns - OLDEST_STAMP_NS;
}

static void offer(proxy_agent_t *a, shm_proxy_way_t way, uint32_t place, const udp_rx_t *in,
                  int64_t now_mono_ns)
{
    impair_in_t datagram = {
        .data = in->data, .len = in->len, .tag = &place, .tag_bytes = sizeof place};
    int copies =
        impair_offer(&a->paths[way].im, &datagram, arrival_mono_ns(a->channel, in, now_mono_ns));
    a->flows[place].on_paths += copies > 0 ? (uint32_t)copies : 0;
}

/* flow: FLOW_NONE: the flow of each datagram's source. */
static void take(proxy_agent_t *a, shm_proxy_way_t way, uint32_t flow, const udp_rx_t *in,
                 unsigned count)
{
    int64_t now = rt_mono_ns();
    uint64_t bytes = 0;
    proxy_count(a, WAYS[way].received, count);
    for (unsigned i = 0; i < count; i++) {
        uint32_t place = way == SHM_PROXY_FORWARD ? proxy_flow_of(a, &in[i].source, now) : flow;
        bytes += in[i].len;
        if (place == FLOW_NONE) {
            proxy_count(a, SHM_PROXY_COUNT_forward_no_flow, 1);
            continue;
        }
        if (in[i].local != NULL)
            a->flows[place].local = *in[i].local;
        offer(a, way, place, &in[i], now);
    }
    wrk_count(a->channel, SHM_COUNT_rx_received, count);
    wrk_count(a->channel, SHM_COUNT_rx_bytes, bytes);
}

/* Takes what one call delivers, complete batches of the kernel. Returns the messages it took. */
static unsigned receive(proxy_agent_t *a, shm_proxy_way_t way, uint32_t flow, udp_t *udp,
                        unsigned messages)
{
    wrk_channel_t *ch = a->channel;
    unsigned taken = 0;
    int n;
    do {
        n = udp_recv_messages(udp, a->arrivals, PROXY_AGENT_BATCH, messages);
        unsigned came = n > 0 ? (unsigned)n : 0;
        unsigned done = came < udp->rx_skip ? came : (unsigned)udp->rx_skip; /* by a predecessor */
        udp->rx_skip -= done;
        take(a, way, flow, a->arrivals + done, came - done);
        if (agent_tapped(ch))
            agent_tap_arrived(ch, udp, a->arrivals + done, came - done, NULL,
                              AGENT_TAP_NO_SEQUENCE);
        a->taken[way] += came - done;
        rt_store_relaxed(&a->state->taken[way], a->taken[way]);
        if (impair_stored_bytes(&a->paths[way].im) >= EMIT_FROM_BYTES)
            proxy_emit(a);
        taken += messages > 0 ? udp->rx_messages : 0;
        messages = 0;
    } while (n == PROXY_AGENT_BATCH);
    udp_recv_done(udp);
    wrk_count(ch, SHM_COUNT_rx_calls, 1);
    if (n < 0 && n != -EBUSY)
        wrk_receive_failed(ch, -n, rt_mono_ns());
    return taken;
}

void proxy_on_listener(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    wrk_channel_t *ch = source->channel;
    proxy_agent_t *a = proxy_agent_of(ch);
    if (events & EPOLLERR)
        agent_socket_take_error(&a->listener);
    if (ch->held || a->ending)
        return;
    uint64_t opened = rt_load_relaxed(&a->state->counters[SHM_PROXY_COUNT_flows_opened]);
    unsigned most = agent_intake_begin(&a->intake[SHM_PROXY_FORWARD], ch, a->messages);
    unsigned taken = receive(a, SHM_PROXY_FORWARD, FLOW_NONE, &a->listener, most);
    agent_intake_end(&a->intake[SHM_PROXY_FORWARD], taken);
    bool new_clients = rt_load_relaxed(&a->state->counters[SHM_PROXY_COUNT_flows_opened]) != opened;
    a->messages = new_clients ? NEW_CLIENTS_MESSAGES : LISTENER_MESSAGES;
    wrk_kernel_drops(ch, proxy_kernel_drops(a), now_mono_ns);
    proxy_emit(a);
}

/* --- from the flows' sockets --------------------------------------------------------------- */

static void take_error(proxy_agent_t *a, const proxy_flow_t *flow)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    if (getsockopt(flow->udp.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error != 0)
        proxy_count(a, SHM_PROXY_COUNT_unreachable, 1);
}

static unsigned serve_flow(proxy_agent_t *a, proxy_flow_t *flow, uint32_t events, unsigned most)
{
    uint32_t place = (uint32_t)(flow - a->flows);
    uint64_t drops = flow->udp.kernel_drops;
    if (events & EPOLLERR)
        take_error(a, flow);
    unsigned messages = most < FLOW_MESSAGES ? most : FLOW_MESSAGES;
    unsigned taken = receive(a, SHM_PROXY_BACKWARD, place, &flow->udp, messages);
    flow_table_touch(&a->table, place, rt_mono_ns());
    a->flow_drops += flow->udp.kernel_drops - drops;
    rt_store_relaxed(&a->state->flow_drops, a->flow_drops);
    return taken > 0 ? taken : 1;
}

/* Flows left over from a call come first in the next: a new epoll call would begin with the same
 * ones. */
void proxy_on_flows(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    (void)events;
    wrk_channel_t *ch = source->channel;
    proxy_agent_t *a = proxy_agent_of(ch);
    if (ch->held || a->ending)
        return;
    agent_intake_t *intake = &a->intake[SHM_PROXY_BACKWARD];
    unsigned most = agent_intake_begin(intake, ch, FLOWS_MESSAGES);
    unsigned taken = 0;
    while (taken < most && (poller_has_rest(&a->poller) || poller_wait(&a->poller, 0) > 0)) {
        uint32_t ready;
        wrk_source_t *one = poller_next(&a->poller, &ready);
        if (one != NULL)
            taken += serve_flow(a, (proxy_flow_t *)one, ready, most - taken);
    }
    agent_intake_end(intake, taken);
    wrk_kernel_drops(ch, proxy_kernel_drops(a), now_mono_ns);
    proxy_emit(a);
}

/* --- from a path to the kernel ------------------------------------------------------------- */

static void count_sent(proxy_agent_t *a, shm_proxy_way_t way, const udp_tx_t *messages,
                       const impair_out_t *out, unsigned count, int64_t start_mono_ns)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        int64_t late_ns = start_mono_ns - out[i].due_ns;
        wrk_hist(a->channel, SHM_HIST_lateness, late_ns > 0 ? late_ns : 0);
        bytes += messages[i].len;
    }
    proxy_count(a, WAYS[way].sent, count);
    wrk_count(a->channel, SHM_COUNT_tx_sent, count);
    wrk_count(a->channel, SHM_COUNT_tx_bytes, bytes);
}

static void refuse(proxy_agent_t *a, shm_proxy_way_t way, int error, int64_t now_mono_ns)
{
    proxy_count(a, WAYS[way].refused, 1);
    wrk_count(a->channel, SHM_COUNT_tx_failed, 1);
    wrk_note(a->channel, SHM_EVENT_send_failed, 1, error, 0, 0, now_mono_ns);
}

/* From one socket. */
static void hand_over(proxy_agent_t *a, shm_proxy_way_t way, udp_t *udp, udp_tx_t *messages,
                      const impair_out_t *out, unsigned count)
{
    wrk_channel_t *ch = a->channel;
    for (unsigned at = 0; at < count;) {
        int error = 0;
        int64_t start = rt_mono_ns();
        int sent = udp_send(udp, &messages[at], count - at, &error);
        int64_t end = rt_mono_ns();
        count_sent(a, way, &messages[at], &out[at], (unsigned)sent, start);
        wrk_count(ch, SHM_COUNT_tx_calls, 1);
        wrk_hist(ch, SHM_HIST_send_call, end - start);
        wrk_note_send_end(ch, end);
        if (agent_tapped(ch))
            agent_tap_left(ch, udp, &messages[at], (unsigned)sent, start, end);
        at += (unsigned)sent;
        if (error != 0 && at++ < count)
            refuse(a, way, error, end);
    }
}

static uint32_t place_of(const impair_out_t *out)
{
    uint32_t place;
    memcpy(&place, out->tag, sizeof place);
    return place;
}

static void emit_forward(proxy_agent_t *a, udp_tx_t *messages, const impair_out_t *out,
                         unsigned count)
{
    for (unsigned at = 0; at < count;) {
        uint32_t place = place_of(&out[at]);
        unsigned run = 1;
        while (at + run < count && place_of(&out[at + run]) == place)
            run++;
        hand_over(a, SHM_PROXY_FORWARD, &a->flows[place].udp, &messages[at], &out[at], run);
        at += run;
    }
}

static void emit_backward(proxy_agent_t *a, udp_tx_t *messages, const impair_out_t *out,
                          unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const proxy_flow_t *flow = &a->flows[place_of(&out[i])];
        messages[i].dest = &flow->client;
        messages[i].source = proxy_flow_local(flow);
    }
    hand_over(a, SHM_PROXY_BACKWARD, &a->listener, messages, out, count);
}

static void emit(proxy_agent_t *a, shm_proxy_way_t way)
{
    impair_out_t out[PROXY_AGENT_BATCH];
    udp_tx_t messages[PROXY_AGENT_BATCH];
    int64_t now = rt_mono_ns();
    unsigned count = (unsigned)impair_emit(&a->paths[way].im, out, PROXY_AGENT_BATCH, now);
    for (unsigned i = 0; i < count; i++) {
        uint32_t place = place_of(&out[i]);
        messages[i] = (udp_tx_t){.data = out[i].data, .len = out[i].len};
        a->flows[place].on_paths--;
        flow_table_touch(&a->table, place, now);
    }
    if (way == SHM_PROXY_FORWARD)
        emit_forward(a, messages, out, count);
    else
        emit_backward(a, messages, out, count);
    show_path(a, way);
}

int64_t proxy_paths_deadline_ns(const proxy_agent_t *a)
{
    return agent_earlier_ns(impair_deadline_ns(&a->paths[SHM_PROXY_FORWARD].im),
                            impair_deadline_ns(&a->paths[SHM_PROXY_BACKWARD].im));
}

void proxy_emit(proxy_agent_t *a)
{
    emit(a, SHM_PROXY_FORWARD);
    emit(a, SHM_PROXY_BACKWARD);
}
