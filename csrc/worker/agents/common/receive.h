/* receive.h: the receive pump: from a socket to the engine, datagram by datagram. Shared by the
 * engines. Hot.
 *
 *     socket -> published by a predecessor? -> from only_from? -+-> impaired path -> deliver
 *                                                               \----------------> deliver
 *
 * A call asks the kernel once. All datagrams of one message (GRO) are handled, because it occupies
 * buffers that all sockets of this worker share. */
#ifndef AGENT_RECEIVE_H
#define AGENT_RECEIVE_H

#include "worker/agents/common/impaired_path.h"
#include "worker/agents/common/intake.h"

enum { AGENT_ARRIVALS = 64 }; /* most datagrams taken from the receive buffers at once */

typedef struct agent_receiver {
    udp_t *udp;
    agent_path_t *path; /* NULL: this engine has none */
    /* One datagram. Returns false if there was no room for it: it is lost. */
    bool (*deliver)(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);
    /* All of a batch were delivered, including those that were filtered. NULL: no action. */
    void (*delivered)(wrk_channel_t *ch, const udp_rx_t *in, unsigned count);
    bool one_to_one; /* a datagram becomes one record of the rx ring */
    bool filters;    /* packets from other sources than only_from are only counted */
    udp_addr_t only_from;
    uint64_t filtered; /* filtered datagrams */
    uint64_t bytes;    /* bytes of all datagrams, since the engine set it to 0 */
    uint32_t tag;      /* of the next datagrams */
    agent_intake_t intake;
    udp_rx_t arrivals[AGENT_ARRIVALS];
} agent_receiver_t;

/* Filters from now on, if the channel is connected to one unicast address. */
void agent_receiver_filter(agent_receiver_t *r, const shm_config_t *config);

/* Asks for up to that many messages. Counts arrivals and failures.
 * Returns the number of datagrams. */
unsigned agent_receive(wrk_channel_t *ch, agent_receiver_t *r, unsigned messages);

/* SHM_OVERFLOW_WAIT: no more messages are read than the rx ring has room for, even if each has the
 * maximum length. The rest stays in the kernel's socket buffer until readers make room. */
typedef struct agent_stop {
    bool now;
    int64_t retry_mono_ns;
} agent_stop_t;

/* Messages that the ring has room for, UINT32_MAX if old packets are
 * overwritten. 0: reading stops. */
unsigned agent_receive_room(wrk_channel_t *ch, agent_stop_t *stop, bool gro, int64_t now_mono_ns);
/* Whether reading, which had stopped, continues now. */
bool agent_receive_again(wrk_channel_t *ch, agent_stop_t *stop, bool gro, int64_t now_mono_ns);

#endif
