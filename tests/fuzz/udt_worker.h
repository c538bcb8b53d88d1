/* udt_worker.h: a worker with two UDT ports and their connections, in one process and in virtual
 * time, for fuzz_udt_link.c.
 *
 *          port 0  <--- listens for messages        channels 0, 1, 4 and up are scribbled over
 *          port 1  <--- listens for streams         channels 2 and 3 are not
 *
 * What ships runs here, but for the clock. The ports send into emulated links, out of which carry()
 * takes what would go to the kernel: nothing ever leaves a socket. Parts of a channel's segment
 * stay for the whole run, so that what a client writes after a channel was closed still lands in
 * them. */
#ifndef UDT_WORKER_H
#define UDT_WORKER_H

#include "hostile.h"

#include "shm/tx_claims.c"
#include "shm/tx_item.c"
#include "shm/tx_move.c"
#include "shm/tx_queue.c"
#include "shm/tx_release.c"
#include "shm/tx_takeover.c"

#include "shm/ctl_msg.h"
#include "shm/tx_ring.h"
#include "shm/udt_shm.h"
#include "worker/agents/udt/udt.h"
#include "worker/channel.h"
#include "channel_end.h"
#include "worker/channels.h"
#include "worker/worker.h"

#include "base/rt_err.h"

#include <errno.h>
#include <sys/random.h>

/* Time is ours. */
#define rt_mono_ns real_mono_ns
#include "base/rt_clock.c"
#undef rt_mono_ns

enum { PORT_0, PORT_1, GOOD_FROM, GOOD_TO, BAD, CHANNELS = 8 };

#define RING_BYTES 4096u
#define MAX_PAYLOAD 600u
#define STATE_BYTES 4096u
#define BACKLOG 8u
#define MAX_SOCKETS 5u
#define FIRST_PORT 1001u
#define START_NS (1000 * RT_NS_PER_S)
#define END_NS (START_NS + 3600 * RT_NS_PER_S)
#define WIRE_NS RT_NS_PER_MS
#define LOOKS_PER_INSTANT 2000u

typedef struct side {
    wrk_channel_t channel;
    tx_producer_t producer;
    rx_reader_t reader;
    bool is_open;
} side_t;

typedef struct fuzz {
    fuzz_input_t in;
    worker_t *worker;
    side_t sides[CHANNELS];
    uint64_t sent; /* of the good stream */
    uint64_t came;
    bool is_good; /* nobody has ended it */
} fuzz_t;

static worker_t worker;
static int64_t now_ns;
static uint32_t chance;

int64_t rt_mono_ns(void)
{
    return now_ns;
}

/* Each run the same. */
ssize_t getrandom(void *to, size_t bytes, unsigned flags)
{
    (void)flags;
    uint8_t *at = to;
    for (size_t i = 0; i < bytes; i++) {
        chance = chance * UINT32_C(1664525) + UINT32_C(1013904223);
        at[i] = (uint8_t)(chance >> 24);
    }
    return (ssize_t)bytes;
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 11) * 13);
}

static bool is_port(unsigned n)
{
    return n <= PORT_1;
}

static udt_port_agent_t *port_of(fuzz_t *f, unsigned n)
{
    return udt_port_agent_of(&f->sides[n].channel);
}

/* --- channels ------------------------------------------------------------------------------ */

static shm_config_t common_config(unsigned n)
{
    shm_config_t c;
    shm_config_init(&c);
    (void)snprintf(c.name, sizeof c.name, "%u", n);
    c.direction = SHM_DUPLEX;
    c.reports = SHM_REPORTS_OFF;
    c.report_slots = 1;
    c.rx_stamp = c.tx_stamp = SHM_STAMP_NONE;
    c.txtime = SHM_TXTIME_OFF;
    c.producers = 2;
    c.readers = 1;
    c.tx_bytes = c.rx_bytes = RING_BYTES;
    c.max_payload_bytes = MAX_PAYLOAD;
    c.engine_bytes = STATE_BYTES;
    return c;
}

static shm_config_t port_config(unsigned n)
{
    shm_config_t c = common_config(n);
    shm_udt_port_config_t port = {.config_bytes = sizeof port,
                                  .max_sockets = MAX_SOCKETS,
                                  .listens = n == PORT_0 ? SHM_UDT_MESSAGES : SHM_UDT_STREAM,
                                  .backlog = BACKLOG};
    (void)snprintf(c.engine, sizeof c.engine, SHM_UDT_PORT_ENGINE);
    memcpy(c.engine_config, &port, sizeof port);
    c.local = (shm_addr_t){.family = 4, .ip = {127, 0, 0, 1}};
    c.impair_tx.delay_ns = WIRE_NS;
    return c;
}

static shm_udt_config_t udt_config(unsigned port)
{
    shm_udt_config_t u = {.config_bytes = sizeof u,
                          .mode = SHM_UDT_STREAM,
                          .mss_bytes = 200,
                          .window_packets = 64,
                          .send_bytes = 65536,
                          .receive_packets = 64,
                          .burst_ns = -1};
    (void)snprintf(u.port, sizeof u.port, "%u", port);
    return u;
}

static shm_config_t connection_config(unsigned n, const shm_udt_config_t *u, uint16_t remote)
{
    shm_config_t c = common_config(n);
    (void)snprintf(c.engine, sizeof c.engine, SHM_UDT_ENGINE);
    memcpy(c.engine_config, u, sizeof *u);
    c.overflow = SHM_OVERFLOW_WAIT;
    c.remote = (shm_addr_t){.family = 4, .port = remote, .ip = {127, 0, 0, 1}};
    return c;
}

static void make_parts(fuzz_t *f, unsigned n)
{
    shm_segment_t *s = &f->sides[n].channel.segment;
    shm_config_t config = common_config(n);
    hostile_segment_make(s, &config);
    s->engine = hostile_part(STATE_BYTES);
    if (n == GOOD_FROM || n == GOOD_TO)
        return;
    hostile_may_write(s->engine, is_port(n) ? sizeof(shm_udt_port_state_t) : STATE_BYTES);
    hostile_may_write(s->tx, sizeof *s->tx);
    hostile_may_write(s->rx, sizeof *s->rx);
    hostile_may_write(s->producers, 2 * sizeof *s->producers);
    hostile_may_write(s->readers, sizeof *s->readers);
    hostile_may_write(s->tx_data, RING_BYTES);
    hostile_may_write(s->rx_data, RING_BYTES);
    hostile_may_write(s->stats, sizeof *s->stats);
}

/* As a new segment has them. */
static void clear_parts(shm_segment_t *s)
{
    memset(s->status, 0, sizeof *s->status);
    memset(s->tx, 0, sizeof *s->tx);
    memset(s->rx, 0, sizeof *s->rx);
    memset(s->producers, 0, 2 * sizeof *s->producers);
    memset(s->readers, 0, sizeof *s->readers);
    memset(s->stats, 0, sizeof *s->stats);
    memset(s->tx_data, 0, RING_BYTES);
    memset(s->rx_data, 0, RING_BYTES);
    memset(s->engine, 0, STATE_BYTES);
    for (unsigned i = 0; i < 2; i++)
        atomic_store(&s->producers[i].intent, SHM_INTENT_NONE);
}

static int start_agent(fuzz_t *f, unsigned n, bool takeover, bool held)
{
    wrk_channel_t *ch = &f->sides[n].channel;
    hostile_new_call();
    int rc = tx_queue_init(&ch->tx, &ch->segment, takeover);
    rc = rc ? rc : rx_writer_init(&ch->rx, &ch->segment);
    if (rc < 0)
        return rc;
    slot_writer_init(&ch->reports, ch->segment.report, ch->segment.reports,
                     ch->segment.config.report_slots, (uint32_t)sizeof(shm_report_t));
    ch->ops = agent_find(ch->config.engine);
    size_t lines = (ch->ops->state_bytes + RT_LINE_BYTES - 1) / RT_LINE_BYTES;
    ch->agent = hostile_part(lines * RT_LINE_BYTES);
    ch->tx_paused = ch->held = held;
    ch->failed = false;
    ch->active_index = WRK_INACTIVE;
    ch->socket_fd = -1;
    deadline_node_init(&ch->deadline);
    rc = ch->ops->open(ch, now_ns);
    if (rc < 0) {
        fuzz_require(rt_err_text()[0] != '\0', "a refusal says why");
        rt_err_clear();
        end_channel_memory(ch);
        free(ch->agent);
        ch->agent = NULL;
        return rc;
    }
    name_table_add(&worker.names, &ch->by_name, ch->config.name);
    atomic_fetch_add(&ch->segment.status->epoch, 1);
    f->sides[n].is_open = true;
    if (is_port(n)) /* whatever the kernel chose: it is not used */
        port_of(f, n)->udp.eff.local.v4.sin_port = htons((uint16_t)(FIRST_PORT + n));
    wrk_activate(ch, now_ns);
    wrk_reschedule(ch);
    return 0;
}

static int open_side(fuzz_t *f, unsigned n, const shm_config_t *config, bool held)
{
    side_t *s = &f->sides[n];
    wrk_channel_t *ch = &s->channel;
    ch->config = ch->segment.config = *config;
    clear_parts(&ch->segment);
    (void)tx_producer_init(&s->producer, &ch->segment, 1);
    (void)rx_reader_init(&s->reader, &ch->segment, 0, SHM_READ_EACH, 0);
    atomic_store(&ch->segment.readers[0].owner, 1u);
    return start_agent(f, n, false, held);
}

static void close_side(fuzz_t *f, unsigned n)
{
    side_t *s = &f->sides[n];
    wrk_channel_t *ch = &s->channel;
    if (!s->is_open)
        return;
    hostile_new_call();
    f->is_good &= n >= BAD;
    ch->ops->close(ch);
    end_channel_memory(ch);
    ch->failed = true;
    if (ch->active_index != WRK_INACTIVE) {
        wrk_channel_t *last = worker.active[--worker.active_count];
        worker.active[ch->active_index] = last;
        last->active_index = ch->active_index;
        ch->active_index = WRK_INACTIVE;
    ch->socket_fd = -1;
    }
    deadline_heap_set(&worker.deadlines, &ch->deadline, RT_NEVER_NS);
    name_table_remove(&worker.names, &ch->by_name);
    free(ch->agent);
    ch->agent = NULL;
    s->is_open = false;
}

/* --- the wire ------------------------------------------------------------------------------ */

static udp_addr_t loopback(uint16_t port)
{
    return (udp_addr_t){.v4 = {.sin_family = AF_INET,
                               .sin_port = htons(port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
}

/* Copied: AddressSanitizer then knows its end. */
static void arrive(fuzz_t *f, unsigned port, const void *data, uint32_t bytes, uint16_t from)
{
    wrk_channel_t *ch = &f->sides[port].channel;
    if (!f->sides[port].is_open)
        return;
    uint8_t *datagram = malloc(bytes > 0 ? bytes : 1);
    if (datagram == NULL)
        abort();
    memcpy(datagram, data, bytes);
    rx_item_t item = {.payload = datagram,
                      .payload_bytes = bytes,
                      .source = {.family = 4, .port = from, .ip = {127, 0, 0, 1}},
                      .time_ns = now_ns - 1000,
                      .stamp = SHM_STAMP_USER};
    hostile_new_call();
    (void)udt_port_agent_deliver(ch, &item, now_ns);
    free(datagram);
    udt_port_agent_counters(port_of(f, port));
    wrk_rx_publish(ch);
    udt_port_agent_serve_touched(port_of(f, port));
    wrk_reschedule(ch);
}

/* Takes what is due out of a port's link before the port would. */
static void carry(fuzz_t *f, unsigned from)
{
    impair_out_t out;
    while (f->sides[from].is_open && impair_emit(port_of(f, from)->path.tx, &out, 1, now_ns) == 1) {
        udp_addr_t dest;
        uint8_t copy[UINT16_MAX];
        fuzz_require(out.tag_bytes >= sizeof dest && out.len <= sizeof copy,
                     "a datagram has a way");
        memcpy(&dest, out.tag, sizeof dest);
        memcpy(copy, out.data, out.len);
        for (unsigned to = PORT_0; to <= PORT_1; to++) {
            udp_addr_t at = loopback((uint16_t)(FIRST_PORT + to));
            if (udp_addr_equal(&dest, &at))
                arrive(f, to, copy, out.len, (uint16_t)(FIRST_PORT + from));
        }
    }
}

static int64_t wire_deadline_ns(fuzz_t *f)
{
    int64_t at = RT_NEVER_NS;
    for (unsigned n = PORT_0; n <= PORT_1; n++) {
        if (f->sides[n].is_open && impair_deadline_ns(port_of(f, n)->path.tx) < at)
            at = impair_deadline_ns(port_of(f, n)->path.tx);
    }
    return at;
}

/* --- the worker ---------------------------------------------------------------------------- */

static wrk_channel_t *due_channel(void)
{
    deadline_node_t *top = deadline_heap_top(&worker.deadlines);
    return (wrk_channel_t *)((char *)top - offsetof(wrk_channel_t, deadline));
}

static void serve_active(void)
{
    while (worker.active_count > 0) {
        wrk_channel_t *ch = worker.active[worker.active_count - 1];
        hostile_new_call();
        for (unsigned i = 0; i < 8 && ch->ops->do_work(ch, now_ns) > 0; i++)
            wrk_reschedule(ch);
        (void)channel_arm_bell(ch, now_ns);
        if (ch->active_index != WRK_INACTIVE) { /* found more: looked at again at its deadline */
            worker.active_count--;
            ch->active_index = WRK_INACTIVE;
    ch->socket_fd = -1;
        }
    }
}

/* All that is due now. */
static void serve(fuzz_t *f)
{
    unsigned looks = 0;
    do {
        carry(f, PORT_0);
        carry(f, PORT_1);
        serve_active();
        while (deadline_heap_next_ns(&worker.deadlines) <= now_ns) {
            fuzz_require(++looks < LOOKS_PER_INSTANT, "what is due at an instant comes to an end");
            carry(f, PORT_0);
            carry(f, PORT_1);
            wrk_channel_t *ch = due_channel();
            hostile_new_call();
            ch->ops->on_deadline(ch, now_ns);
            wrk_reschedule(ch);
            wrk_activate(ch, now_ns);
        }
    } while (worker.active_count > 0);
}

static void pass_until(fuzz_t *f, int64_t until_ns)
{
    if (until_ns > END_NS)
        until_ns = END_NS;
    for (;;) {
        serve(f);
        int64_t at = deadline_heap_next_ns(&worker.deadlines);
        int64_t wire = wire_deadline_ns(f);
        at = wire < at ? wire : at;
        if (at > until_ns)
            break;
        now_ns = at > now_ns ? at : now_ns;
    }
    now_ns = until_ns > now_ns ? until_ns : now_ns;
}

#endif
