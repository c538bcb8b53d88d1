/* udp.h: the engine "udp": timed transmission and timestamped reception on one socket. Used by its
 * parts only:
 *
 *   agent.c          life: open, close, hold, release, purge, gauges
 *   common/sender.c  tx ring -> schedule -> socket
 *   rx.c             socket -> rx ring
 *
 * Times are CLOCK_MONOTONIC if a name says so, otherwise in the channel's clock. */
#ifndef UDP_AGENT_H
#define UDP_AGENT_H

#include "worker/agents/common/receive.h"
#include "worker/agents/common/sender.h"

typedef struct udp_agent {
    agent_sender_t sender;
    udp_t udp;
    wrk_source_t socket;
    const phc_t *phc; /* NULL: none */

    bool receives;
    agent_stop_t stop; /* OVERFLOW_WAIT: readers must catch up first */
    agent_receiver_t receiver;
    agent_path_t path;
} udp_agent_t;

_Static_assert(offsetof(udp_agent_t, sender) == 0, "the sender comes first");

static inline udp_agent_t *udp_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

void udp_agent_rx_open(wrk_channel_t *ch);
void udp_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns);
/* Handles datagrams that a predecessor took from the kernel and did not publish: no event announces
 * them. */
void udp_agent_take_left(wrk_channel_t *ch, int64_t now_mono_ns);
void udp_agent_watch_input(wrk_channel_t *ch); /* depends on held, stop and the sender's block */
/* OVERFLOW_WAIT: checks whether reading may continue. */
void udp_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns);
/* Puts one packet into the ring. Returns false if it must wait (OVERFLOW_WAIT). */
bool udp_agent_deliver(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);

#endif
