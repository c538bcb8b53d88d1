/* mux.h: the engine "mux": many plain UDP sockets, "ports", over one tx ring and one rx ring.
 * shm/mux_layout.h describes what client and worker share. Used by its parts only:
 *
 *   agent.c  life: open, close, hold, release, purge, gauges
 *   ports.c  requests, the table of ports, what a successor opens again
 *   tx.c     tx ring -> sockets
 *   rx.c     sockets -> rx ring
 *
 * The table in shared memory is written here and read by a successor. This worker itself uses its
 * private copies. It reads the table once, when it opens the channel.
 *
 * All ports are in an epoll of their own, which is one source of the worker's. So an idle port
 * costs nothing, one call stops or resumes reading for all ports, and this agent bounds a round of
 * reading. */
#ifndef MUX_AGENT_H
#define MUX_AGENT_H

#include "shm/mux_layout.h"
#include "worker/agent.h"
#include "worker/agents/common/purge.h"
#include "worker/agents/common/receive.h"

enum { MUX_AGENT_BATCH = 64 }; /* most packets in one send call */

typedef struct mux_socket {
    wrk_source_t source; /* first: of the epoll of ports */
    udp_t udp;           /* fd -1: lost, see mux_facts_t */
    udp_addr_t target;   /* not set: none yet */
    udp_addr_t heard;    /* who sent to `from` */
    udp_addr_t from;     /* of this host: packets leave from there. Not set: the kernel chooses */
    uint16_t port;
    uint16_t generation;
    uint16_t expected; /* messages to ask the kernel for, 1, 2, 4 .. */
    uint32_t round;    /* round of reading in which it was last ready */
    bool parked;
} mux_socket_t;

/* Packets of one port that leave together. */
typedef struct mux_batch {
    mux_socket_t *from;
    unsigned count;
    uint64_t refs[MUX_AGENT_BATCH];
    uint64_t sequences[MUX_AGENT_BATCH];
    uint32_t numbers[MUX_AGENT_BATCH];
    int64_t enqueued_mono_ns[MUX_AGENT_BATCH];
    udp_tx_t messages[MUX_AGENT_BATCH];
} mux_batch_t;

typedef struct mux_agent {
    uint32_t port_count;
    uint32_t rotation;      /* the next place to maintain */
    mux_socket_t **sockets; /* by place, NULL: free */
    int park;               /* keeps them for a successor; -1: it could not be opened */
    poller_t poller;
    wrk_source_t input; /* the poller's own descriptor */

    /* shared memory */
    mux_facts_t *facts;
    rt_a32_t *drained;
    mux_port_t *table;

    /* sending */
    int64_t send_cost_ns; /* per packet, smoothed */
    mux_batch_t batch;
    agent_purge_t purge;

    bool gro;        /* the kernel may deliver many datagrams in one message */

    /* receiving */
    agent_stop_t stop; /* the ring is full: readers must catch up first */
    agent_receiver_t receiver;
    uint32_t round; /* of reading */
} mux_agent_t;

static inline mux_agent_t *mux_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

/* --- ports --- */

/* The socket of a record's port. NULL: it is gone, or never existed. */
static inline mux_socket_t *mux_agent_find(const mux_agent_t *m, uint16_t port, uint16_t generation)
{
    mux_socket_t *s = port < m->port_count ? m->sockets[port] : NULL;
    return s != NULL && s->generation == generation ? s : NULL;
}

int mux_agent_request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                      uint32_t *reply_bytes);
/* Continues with the parked sockets, and opens the other ports that are open in the table. A port
 * that cannot be bound is lost for now; that is no error. Returns 0, -ENOMEM. */
int mux_agent_reopen(wrk_channel_t *ch);
void mux_agent_close_ports(wrk_channel_t *ch);
/* Maintains a few ports per call, in turn: binds lost ones, asks the kernel for drops. */
void mux_agent_maintain_ports(wrk_channel_t *ch);

/* --- sending --- */

unsigned mux_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns);
/* Frees a bounded amount of finished space. Returns how many records it examined or freed. */
unsigned mux_agent_free_space(wrk_channel_t *ch, int64_t now_mono_ns);
int mux_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);

/* --- receiving --- */

void mux_agent_rx_open(wrk_channel_t *ch);
void mux_agent_on_input(wrk_source_t *source, uint32_t events, int64_t now_mono_ns);
void mux_agent_watch_input(wrk_channel_t *ch); /* depends on held and stop */
/* Handles datagrams that a predecessor took from the kernel and did not publish. */
void mux_agent_take_left(wrk_channel_t *ch);
/* Checks whether reading may continue. */
void mux_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns);
/* The address of this host that packets of the port leave from, NULL: the kernel chooses. */
void mux_agent_leave_from(mux_agent_t *m, mux_socket_t *s, const udp_addr_t *local);
/* Adds the drops that the kernel counted since the socket was last asked. */
void mux_agent_note_drops(wrk_channel_t *ch, mux_socket_t *s, uint64_t before);

#endif
