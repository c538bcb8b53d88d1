/* udp.h: the engine "udp": timed transmission and timestamped reception on one socket. Used by its
 * parts only:
 *
 *   agent.c          life: open, close, hold, release, purge, gauges
 *   common/sender.c  tx ring -> schedule -> socket
 *   common/input.c   socket -> rx ring
 *
 * Times are CLOCK_MONOTONIC if a name says so, otherwise in the channel's clock. */
#ifndef UDP_AGENT_H
#define UDP_AGENT_H

#include "worker/agents/common/input.h"
#include "worker/agents/common/sender.h"

typedef struct udp_agent {
    agent_sender_t sender;
    udp_t udp;
    wrk_source_t socket;
    const phc_t *phc; /* NULL: none */

    agent_input_t input;
    agent_path_t path;
} udp_agent_t;

_Static_assert(offsetof(udp_agent_t, sender) == 0, "the sender comes first");

static inline udp_agent_t *udp_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

#endif
