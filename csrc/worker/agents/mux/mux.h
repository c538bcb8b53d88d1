/* mux.h: the engine "mux": many plain UDP sockets, "ports", over one tx ring and one rx ring.
 * What client and worker share stands in shm/mux_layout.h. Shared by its parts only:
 *
 *   agent.c  life: open, close, hold, release, purge, gauges
 *   ports.c  requests, the table of ports, what a successor opens again
 *   tx.c     tx ring -> sockets
 *   rx.c     sockets -> rx ring
 *
 * The table in shared memory is written here and read by a successor. This worker itself goes by
 * its private copies; it reads the table once, when it opens the channel.
 *
 * All ports lie in an epoll of their own, which is one source of the worker's: so an idle port
 * costs nothing, reading stops and goes on with one call however many there are, and a round of
 * reading is this agent's to bound. */
#ifndef MUX_AGENT_H
#define MUX_AGENT_H

#include "shm/mux_layout.h"
#include "worker/agent.h"
#include "worker/agents/common/purge.h"
#include "worker/agents/common/receive.h"

enum { MUX_AGENT_BATCH = 64 }; /* packets in one send call, at most */

typedef struct mux_socket {
    wrk_source_t source; /* first: of the epoll of ports */
    udp_t udp;           /* fd -1: lost, see mux_facts_t */
    udp_addr_t target;   /* not set: none yet */
    uint16_t port;
    uint16_t generation;
    uint16_t expected; /* messages to ask the kernel for, 1, 2, 4 .. */
    uint32_t round;    /* of reading, when it was asked last */
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
    uint32_t rotation;      /* whose turn it is to be looked after */
    mux_socket_t **sockets; /* by place, NULL: free */
    int park;               /* keeps them for a successor; -1: none could be opened */
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

    bool gro;        /* the kernel may hand over many datagrams in one message */

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

/* The socket that a record is meant for; NULL: gone, or there never was one. */
static inline mux_socket_t *mux_agent_find(const mux_agent_t *m, uint16_t port, uint16_t generation)
{
    mux_socket_t *s = port < m->port_count ? m->sockets[port] : NULL;
    return s != NULL && s->generation == generation ? s : NULL;
}

int mux_agent_request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, int fd, uint8_t *reply,
                      uint32_t *reply_bytes);
/* Goes on with the parked sockets, and opens what else the table says is open. A port that cannot be bound is lost for now, not an error.
 * Returns 0, -ENOMEM. */
int mux_agent_reopen(wrk_channel_t *ch);
void mux_agent_close_ports(wrk_channel_t *ch);
/* Some ports in turn: binds lost ones, asks the kernel for drops. */
void mux_agent_look_after(wrk_channel_t *ch);

/* --- sending --- */

unsigned mux_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns);
/* Frees finished space, a piece of it. Returns how many records it looked at or freed. */
unsigned mux_agent_free_space(wrk_channel_t *ch, int64_t now_mono_ns);
int mux_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);

/* --- receiving --- */

void mux_agent_rx_open(wrk_channel_t *ch);
void mux_agent_on_input(wrk_source_t *source, uint32_t events, int64_t now_mono_ns);
void mux_agent_watch_input(wrk_channel_t *ch); /* by held and stop */
/* What a predecessor took from the kernel and did not publish. */
void mux_agent_take_left(wrk_channel_t *ch);
/* Looks whether reading may go on. */
void mux_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns);
/* Drops that the kernel counted since the socket was asked last. */
void mux_agent_note_drops(wrk_channel_t *ch, mux_socket_t *s, uint64_t before);

#endif
