/* send.h: sends a batch to the kernel, into the impaired path or into the rx ring, and reports the
 * outcome of each packet. Shared by the engines that send at deadlines. Hot. */
#ifndef AGENT_SEND_H
#define AGENT_SEND_H

#include "worker/agents/common/ledger.h"
#include "worker/agents/common/impaired_path.h"

/* There was no room: a pause that gets longer each time until a packet leaves. */
typedef struct agent_block {
    bool now;
    int64_t retry_mono_ns;
    int64_t after_ns;
} agent_block_t;

void agent_block(agent_block_t *b, int64_t now_mono_ns);

/* Whether an error of udp_send only means that there is no room at the moment. */
bool agent_is_no_room(int error);

/* Takes messages of the batch out on a way that is no socket. As
 * udp_send; EAGAIN: there is no room. */
typedef int agent_put_t(wrk_channel_t *ch, const udp_tx_t *messages, unsigned count, int *error);

typedef struct agent_way {
    udp_t *udp;
    agent_put_t *put; /* instead of the socket; NULL: the socket */
    agent_path_t *path;
    agent_ledger_t *ledger;
    agent_block_t *block;
    int64_t join_ns; /* as agent_next_call; 0: all of the batch may leave now */
} agent_way_t;

/* The engine's functions for packets of the batch. Exactly one of
 * them is called for each packet. */
typedef struct agent_outcomes {
    /* first .. first + count - 1 left in one call. The engine must tell the ledger. */
    void (*left)(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                 int64_t end_mono_ns);
    /* The kernel refused this one for good. */
    void (*failed)(wrk_channel_t *ch, unsigned index, int error, int64_t now_mono_ns);
    /* There is no room for this packet and those after it: handle them as if they had not been
     * taken. The way is blocked and taking in is paused by then. */
    void (*put_back)(wrk_channel_t *ch, unsigned index);
} agent_outcomes_t;

/* Sends a packet for which the ring has no record, on the path (NULL: past it), and shows it to
 * taps. Returns whether it left. */
bool agent_send_extra(wrk_channel_t *ch, udp_t *udp, agent_path_t *path, udp_tx_t *message);

/* How many packets of the batch, from at on, leave in the next call: those whose starts are past,
 * and those that start at most join_ns later and leave in the same message (GSO) as one of them.
 * The call is made at the start of the last one. If none has started, the first one waits for its
 * start. The packets are in the order of their starts, unless all of them have started. join_ns 0:
 * all that are left. */
unsigned agent_next_call(const udp_t *udp, const agent_batch_t *b, unsigned at, int64_t join_ns,
                         int64_t now_mono_ns);

/* Sends the batch. It is empty afterwards. */
void agent_send(wrk_channel_t *ch, const agent_way_t *way, agent_batch_t *batch,
                const agent_outcomes_t *outcomes);

#endif
