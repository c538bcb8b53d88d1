/* input.h: from a channel's socket to its rx ring, one record for each datagram. Shared by the
 * engines that pass datagrams on as they came. Hot.
 *
 * A call takes at most one batch of AGENT_BATCH messages, about 45 us without GRO, and no more than
 * fits before another channel is due. The socket stays readable and the poller calls again. If
 * deadlines leave no time at all, sockets are granted 50 us every 200 us (POLL_POSTPONE_MOST_NS):
 * with 8 messages each time, a third of 100 000 packets a second was lost to a full socket buffer.
 * A GRO batch that was begun is finished first, because it occupies the buffers that all sockets of
 * this worker share.
 *
 * With overflow="wait" no more messages are read than the ring has room for, even if each has the
 * maximum length. The rest stays in the kernel's socket buffer until readers make room. */
#ifndef AGENT_INPUT_H
#define AGENT_INPUT_H

#include "worker/agents/common/receive.h"
#include "worker/agents/common/send.h"

typedef struct agent_input {
    bool on;                    /* the channel receives */
    wrk_source_t *socket;       /* watched by the engine */
    const agent_block_t *block; /* while it is blocked, EPOLLOUT is watched, too */
    agent_stop_t stop;          /* OVERFLOW_WAIT: readers must catch up first */
    agent_receiver_t receiver;
} agent_input_t;

/* The caller has set on, socket and block. */
void agent_input_open(const wrk_channel_t *ch, agent_input_t *in, udp_t *udp, agent_path_t *path);

/* Watches the socket, as held, stop and block demand. */
void agent_input_watch(wrk_channel_t *ch, agent_input_t *in);

void agent_input_receive(wrk_channel_t *ch, agent_input_t *in, int64_t now_mono_ns);

/* Handles datagrams that a predecessor took from the kernel and did not publish: no event announces
 * them. */
void agent_input_take_left(wrk_channel_t *ch, agent_input_t *in, int64_t now_mono_ns);

/* OVERFLOW_WAIT: checks whether reading may continue, at this time. */
void agent_input_retry(wrk_channel_t *ch, agent_input_t *in, int64_t now_mono_ns);
int64_t agent_input_deadline_ns(const wrk_channel_t *ch, const agent_input_t *in);

/* As agent_path_t.deliver. False: it must wait (OVERFLOW_WAIT). */
bool agent_input_deliver(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);

#endif
