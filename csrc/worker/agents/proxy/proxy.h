/* proxy.h: the engine "proxy": a UDP proxy with an impaired path in each direction.
 * shm/proxy_shm.h describes what client and worker share. Used by its parts only:
 *
 *   agent.c    life: open, close, hold, release, purge, deadlines, gauges
 *   flows.c    the table of flows, and their sockets
 *   carry.c    from a socket into a path, from a path to the kernel
 *   settings.c the paths' impairments: as opened, by request, as a predecessor left them
 *
 * A client's first datagram opens a flow: a socket of its own, connected to the server. So the
 * server sees each client as an address of its own, and its replies find the way back. The flows'
 * sockets are in an epoll of their own, which is one source of the worker's, so an idle flow costs
 * nothing.
 *
 * A datagram's source address may be forged. So if all flows are in use, a new client gets the
 * place of a flow whose client sent one datagram, and then was silent. A quarter of all flows are
 * kept for each source (an IPv4 address, or the first 64 bits of an IPv6 address). If it has more,
 * clients of other sources get their places.
 *
 * All datagrams of a direction pass one path, whatever flow they belong to: they share its rate and
 * its queue and keep their order, as on one link. A datagram is offered to its path at the time at
 * which the kernel stamped its arrival, not when this worker read it, so the time on the path does
 * not include how long the worker took to wake up. A flow does not end while datagrams of it are on
 * a path.
 *
 * After a takeover the listening socket and what waits in it continue. Flows and their sockets end
 * with the worker that served them, and datagrams on the paths are lost: both are counted. A
 * client's next datagram opens a new flow, and the server sees another port. */
#ifndef PROXY_AGENT_H
#define PROXY_AGENT_H

#include "proto/impair/impair.h"
#include "proto/proxy/flow_table.h"
#include "shm/proxy_shm.h"
#include "worker/agent.h"
#include "worker/agents/common/intake.h"

enum {
    PROXY_AGENT_BATCH = 64,   /* most datagrams handled at once */
    PROXY_AGENT_EXPIRIES = 8, /* flows that end in one call */
};

/* Ranks of flows in the table. */
typedef enum proxy_rank {
    PROXY_NEW = 0,   /* its client has sent one datagram */
    PROXY_EXTRA = 1, /* more, but its source has as many flows as are kept for one */
    PROXY_KEPT = 2,
} proxy_rank_t;

typedef struct proxy_flow {
    wrk_source_t source; /* first: of the epoll of flows */
    udp_t udp;           /* connected to the server */
    udp_addr_t client;
    udp_addr_t local;  /* the address of this host that the client sends to; none: the listener's */
    uint32_t on_paths; /* its datagrams there */
    uint32_t kept_for; /* of PROXY_KEPT: place of its source */
} proxy_flow_t;

typedef struct proxy_path {
    impair_t im;
    impair_config_t wanted; /* as asked for; its storage may have to wait */
    impair_counters_t base; /* at the last statistics reset */
} proxy_path_t;

typedef struct proxy_agent {
    wrk_channel_t *channel;
    shm_proxy_config_t config;
    shm_proxy_state_t *state;

    udp_t listener;
    const phc_t *phc;
    wrk_source_t socket;
    bool ending;       /* nothing is received any more */
    unsigned messages; /* to ask of the listener: few while each may open a flow */

    poller_t poller; /* of the flows */
    wrk_source_t input;
    udp_config_t flow_config;
    uint64_t files_most; /* descriptors above belong to others */
    flow_table_t table;
    proxy_flow_t *flows;    /* by place in the table */
    flow_table_t sources;   /* those that have flows of rank PROXY_KEPT */
    uint32_t *kept;         /* how many, by place among the sources */
    uint64_t flow_drops;    /* of the kernel, at sockets of all flows so far */
    int64_t expire_from_ns; /* no flow ends before this */
    int64_t open_from_ns;   /* no flow opens before this, because of open_error */
    int open_error;

    proxy_path_t paths[SHM_PROXY_WAYS];
    uint64_t taken[SHM_PROXY_WAYS]; /* datagrams that are on a path or counted, for a successor */
    agent_intake_t intake[SHM_PROXY_WAYS];
    udp_rx_t arrivals[PROXY_AGENT_BATCH];
} proxy_agent_t;

static inline proxy_agent_t *proxy_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

static inline void proxy_count(proxy_agent_t *a, shm_proxy_counter_id_t id, uint64_t n)
{
    rt_bump(&a->state->counters[id], n);
}

/* --- flows --- */

/* Whether what is sent to this address comes to the proxy's own listener. Makes system calls if its
 * port is the listener's. */
bool proxy_is_own_address(const proxy_agent_t *a, const udp_addr_t *address);
/* Checks that the configured number can be had, and makes the table. Returns 0 or -errno with a
 * text. */
int proxy_flows_open(proxy_agent_t *a);
void proxy_flows_close(proxy_agent_t *a);
/* Ends at most so many flows. Returns whether none is left. */
bool proxy_flows_end(proxy_agent_t *a, uint32_t most);
/* The flow of a client, used now. A client without one gets it. FLOW_NONE: there is none for it. */
uint32_t proxy_flow_of(proxy_agent_t *a, const udp_addr_t *client, int64_t now_mono_ns);
/* From which address of this host its replies leave. NULL: the listener's. */
static inline const udp_addr_t *proxy_flow_local(const proxy_flow_t *flow)
{
    return udp_addr_is_set(&flow->local) ? &flow->local : NULL;
}
/* Ends some of the flows that are idle. */
void proxy_flows_expire(proxy_agent_t *a, int64_t now_mono_ns);
/* When there is one to end. */
int64_t proxy_flows_deadline_ns(const proxy_agent_t *a);

/* --- datagrams --- */

void proxy_watch(proxy_agent_t *a); /* depends on held and ending */
void proxy_on_listener(wrk_source_t *source, uint32_t events, int64_t now_mono_ns);
void proxy_on_flows(wrk_source_t *source, uint32_t events, int64_t now_mono_ns);
/* Hands over what is due, a batch of each direction. */
void proxy_emit(proxy_agent_t *a);
int64_t proxy_paths_deadline_ns(const proxy_agent_t *a);
void proxy_show_counters(proxy_agent_t *a);
/* The drops of the kernel at all sockets, the listener's as last read. */
uint64_t proxy_kernel_drops(const proxy_agent_t *a);

/* --- impairments --- */

/* Makes the paths. takeover: as the predecessor had them. Returns 0 or -errno with a text. */
int proxy_paths_open(proxy_agent_t *a, bool takeover);
/* Gives back storage that a change replaced, once it is empty, and makes what waited for that. */
void proxy_paths_settle(proxy_agent_t *a);
int proxy_request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                  uint32_t *reply_bytes);

#endif
