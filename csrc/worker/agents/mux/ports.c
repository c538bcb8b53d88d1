/* ports.c: clients open and close ports by request, and a successor finds them in the table.
 *
 * The order allows a worker to be killed at any instant. Opening: the socket first, then the
 * table's entry, its state last. Closing: the state first. A successor then opens the ports that
 * were open. The client repeats a request that the dead worker did not answer, and repeating
 * changes nothing. */
#include "worker/agents/mux/mux.h"

#include "base/rt_err.h"
#include "worker/agents/common/parked_sockets.h"
#include "worker/agents/common/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Per turn, which comes up to 20 times a second: ports that are maintained, a system call each, and
 * places that are searched for them. */
#define PORTS_MAINTAINED 16u
#define PLACES_SEARCHED 1024u

/* --- one port ------------------------------------------------------------------------------ */

/* fd: a socket to continue with, owned from now on, also on failure; or -1. */
static int open_socket(wrk_channel_t *ch, mux_socket_t *s, const shm_addr_t *local, int fd)
{
    mux_agent_t *m = mux_agent_of(ch);
    udp_config_t config = agent_udp_config(ch, NULL);
    config.rx_position = &ch->rx.sequence;
    config.want_tos = false; /* a control message for each datagram that nobody needs */
    agent_addr_in(&config.local, local);
    int rc = fd >= 0 ? udp_adopt(&s->udp, fd, &config) : udp_open(&s->udp, &config);
    if (rc < 0)
        return rc;
    rc = poller_watch(&m->poller, &s->source, s->udp.fd, EPOLLIN);
    if (rc < 0)
        udp_close(&s->udp);
    else
        s->parked = fd >= 0 || agent_park_put(m->park, mux_tag(s->port, s->generation), s->udp.fd);
    if (rc == 0 && !s->parked)
        wrk_note(ch, SHM_EVENT_socket_not_held, 1, 0, 0, udp_addr_port(&s->udp.eff.local),
                 rt_mono_ns());
    return rc;
}

static mux_socket_t *make_socket(wrk_channel_t *ch, uint16_t port, uint16_t generation)
{
    mux_socket_t *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->source = (wrk_source_t){.channel = ch, .fd = -1};
    s->udp.fd = -1;
    s->port = port;
    s->generation = generation;
    s->expected = 1;
    return s;
}

static void register_port(mux_agent_t *m, mux_socket_t *s)
{
    m->sockets[s->port] = s;
    rt_bump(&m->facts->open, 1);
}

static void unregister_port(mux_agent_t *m, mux_socket_t *s)
{
    rt_store_relaxed(&m->facts->open, rt_load_relaxed(&m->facts->open) - 1);
    if (s->udp.fd < 0)
        rt_store_relaxed(&m->facts->lost, rt_load_relaxed(&m->facts->lost) - 1);
    m->sockets[s->port] = NULL;
    poller_forget(&m->poller, &s->source);
    if (s->parked)
        agent_park_drop(m->park, mux_tag(s->port, s->generation));
    udp_close(&s->udp);
    free(s);
}

/* No batch is being built here: requests come between two calls of do_work. */
static void close_port(mux_agent_t *m, mux_socket_t *s)
{
    rt_store_release(&m->table[s->port].state, MUX_PORT_FREE);
    unregister_port(m, s);
}

static void write_entry(mux_agent_t *m, const mux_socket_t *s)
{
    mux_port_t *entry = &m->table[s->port];
    entry->generation = s->generation;
    agent_addr_out(&entry->local, &s->udp.eff.local);
    entry->target = entry->source = (shm_addr_t){.family = 0};
    entry->drops = 0;
    rt_store_relaxed(&m->drained[s->port], 0);
    rt_store_release(&entry->state, MUX_PORT_OPEN);
}

/* --- requests ------------------------------------------------------------------------------ */

/* A quarter of the worker's descriptors is reserved for other channels
 * and for client connections. */
static bool is_beyond_share(int fd)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           (rlim_t)fd >= limit.rlim_cur / 4 * 3;
}

static int open_within_share(wrk_channel_t *ch, mux_socket_t *s, const shm_addr_t *local)
{
    int rc = open_socket(ch, s, local, -1);
    if (rc < 0 || !is_beyond_share(s->udp.fd))
        return rc;
    mux_agent_t *m = mux_agent_of(ch);
    poller_forget(&m->poller, &s->source);
    if (s->parked)
        agent_park_drop(m->park, mux_tag(s->port, s->generation));
    udp_close(&s->udp);
    return -EMFILE;
}

static int add(wrk_channel_t *ch, const mux_request_t *ask, mux_reply_t *reply)
{
    mux_agent_t *m = mux_agent_of(ch);
    mux_socket_t *s = m->sockets[ask->port];
    if (s != NULL && s->generation != ask->generation) {
        close_port(m, s);
        s = NULL;
    }
    if (s == NULL) {
        s = make_socket(ch, ask->port, ask->generation);
        int rc = s == NULL ? -ENOMEM : open_within_share(ch, s, &ask->address);
        if (rc < 0) {
            free(s);
            return -rc;
        }
        register_port(m, s);
        write_entry(m, s);
    }
    reply->address = m->table[ask->port].local;
    return 0;
}

static int take_away(wrk_channel_t *ch, const mux_request_t *ask)
{
    mux_agent_t *m = mux_agent_of(ch);
    mux_socket_t *s = mux_agent_find(m, ask->port, ask->generation);
    if (s != NULL)
        close_port(m, s);
    return 0;
}

static int aim(wrk_channel_t *ch, const mux_request_t *ask)
{
    mux_agent_t *m = mux_agent_of(ch);
    mux_socket_t *s = mux_agent_find(m, ask->port, ask->generation);
    if (s == NULL)
        return ENOENT;
    agent_addr_in(&s->target, &ask->address);
    if (!udp_addr_equal(&s->target, &s->heard))
        mux_agent_leave_from(m, s, NULL);
    m->table[s->port].target = ask->address;
    return 0;
}

static int check_request(const mux_agent_t *m, const mux_request_t *ask)
{
    if (ask->op < MUX_ADD || ask->op > MUX_AIM)
        return rt_err_set(-EINVAL,
                          "engine mux does not know request %u: client and worker must be of the "
                          "same shmring version",
                          ask->op);
    if (ask->port >= m->port_count)
        return rt_err_set(-EINVAL, "port %u is outside the %u places of this channel", ask->port,
                          m->port_count);
    if (ask->op != MUX_REMOVE && ask->address.family != 4 && ask->address.family != 6)
        return rt_err_set(-EINVAL, "address family is %u; it must be 4 or 6", ask->address.family);
    return 0;
}

int mux_agent_request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                      uint32_t *reply_bytes)
{
    mux_request_t ask;
    mux_reply_t answer = {.error = 0};
    if (bytes != sizeof ask)
        return rt_err_set(-EINVAL, "a request to engine mux must have %zu bytes, this one has %zu",
                          sizeof ask, bytes);
    memcpy(&ask, body, sizeof ask);
    int rc = check_request(mux_agent_of(ch), &ask);
    if (rc < 0)
        return rc;
    if (ask.op == MUX_ADD)
        answer.error = add(ch, &ask, &answer);
    else
        answer.error = ask.op == MUX_AIM ? aim(ch, &ask) : take_away(ch, &ask);
    memcpy(reply, &answer, sizeof answer);
    *reply_bytes = sizeof answer;
    return 0;
}

/* --- after another worker's death ---------------------------------------------------------- */

/* Copies an entry for this worker's use. false: it is free, or invalid. */
static bool read_entry(const mux_port_t *entry, mux_port_t *out)
{
    if (rt_load_acquire(&entry->state) != MUX_PORT_OPEN)
        return false;
    out->generation = entry->generation;
    out->local = entry->local;
    out->target = entry->target;
    out->source = entry->source;
    out->drops = entry->drops;
    bool local = out->local.family == 4 || out->local.family == 6;
    return local && out->generation <= UINT16_MAX;
}

/* The previous socket died with its worker. The kernel counts the drops of this one from 0. */
static void count_reopened(wrk_channel_t *ch, mux_socket_t *s)
{
    mux_agent_of(ch)->table[s->port].drops = 0;
    wrk_socket_reopened(ch, udp_addr_port(&s->udp.eff.local));
}

/* A socket that survived keeps the kernel's count of its drops. A new one starts at 0. */
static void adopt_or_bind(wrk_channel_t *ch, mux_socket_t *s, const mux_port_t *entry, int fd)
{
    mux_agent_t *m = mux_agent_of(ch);
    if (fd >= 0 && open_socket(ch, s, &entry->local, fd) == 0) {
        mux_agent_note_drops(ch, s, entry->drops);
        return;
    }
    if (fd >= 0)
        agent_park_drop(m->park, mux_tag(s->port, s->generation));
    if (open_socket(ch, s, &entry->local, -1) < 0)
        rt_bump(&m->facts->lost, 1);
    else
        count_reopened(ch, s);
}

static int reopen_one(wrk_channel_t *ch, uint16_t port, const mux_port_t *entry, int fd)
{
    mux_agent_t *m = mux_agent_of(ch);
    mux_socket_t *s = make_socket(ch, port, (uint16_t)entry->generation);
    if (s == NULL)
        return rt_err_set(-ENOMEM, "no memory for port %u", port);
    agent_addr_in(&s->target, &entry->target);
    agent_addr_in(&s->from, &entry->source);
    s->heard = s->target;
    register_port(m, s);
    adopt_or_bind(ch, s, entry, fd);
    return 0;
}

int mux_agent_reopen(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    static parked_t parked[AGENT_PARK_MOST]; /* large, and this thread is the only user */
    unsigned count = m->park >= 0 ? agent_park_list(m->park, parked) : 0;
    int rc = 0;
    rt_store_relaxed(&m->facts->open, 0);
    rt_store_relaxed(&m->facts->lost, 0);
    for (uint32_t port = 0; port < m->port_count; port++) {
        mux_port_t entry;
        if (!read_entry(&m->table[port], &entry))
            continue;
        uint32_t key = mux_tag((uint16_t)port, (uint16_t)entry.generation);
        rc = reopen_one(ch, (uint16_t)port, &entry, agent_parked_take(parked, count, key));
        if (rc < 0)
            break;
    }
    agent_parked_drop(m->park, parked, count);
    if (rc == 0)
        rt_err_clear();
    return rc;
}

/* The table stays unchanged, for a worker that continues with this channel. */
void mux_agent_close_ports(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    for (uint32_t port = 0; port < m->port_count; port++)
        if (m->sockets[port] != NULL)
            unregister_port(m, m->sockets[port]);
}

static void maintain_port(wrk_channel_t *ch, mux_socket_t *s)
{
    mux_agent_t *m = mux_agent_of(ch);
    mux_port_t entry;
    if (s->udp.fd >= 0) {
        uint64_t before = s->udp.kernel_drops;
        (void)udp_drops_refresh(&s->udp);
        mux_agent_note_drops(ch, s, before);
    } else if (read_entry(&m->table[s->port], &entry) && open_socket(ch, s, &entry.local, -1) == 0) {
        rt_store_relaxed(&m->facts->lost, rt_load_relaxed(&m->facts->lost) - 1);
        count_reopened(ch, s);
    }
}

void mux_agent_maintain_ports(wrk_channel_t *ch)
{
    mux_agent_t *m = mux_agent_of(ch);
    unsigned left = PORTS_MAINTAINED;
    for (uint32_t step = 0; step < PLACES_SEARCHED && step < m->port_count && left > 0; step++) {
        m->rotation = m->rotation + 1 < m->port_count ? m->rotation + 1 : 0;
        mux_socket_t *s = m->sockets[m->rotation];
        if (s == NULL)
            continue;
        maintain_port(ch, s);
        left--;
    }
}
