/* intake.h: how much of a socket is read at once: what fits before another channel is due, and
 * MOST_NS of it in any case, because what is queued meanwhile is not known. How long a message takes
 * is learnt; one may be a GRO batch of 64 KiB.
 *
 *     begin -> that many messages are taken, and dealt with -> end
 *
 * Shared by the engines. Hot. */
#ifndef AGENT_INTAKE_H
#define AGENT_INTAKE_H

#include "worker/agent.h"

typedef struct agent_intake {
    int64_t cost_ns; /* of a message, smoothed; 0: not known yet */
    int64_t from_mono_ns;
} agent_intake_t;

/* How many messages to ask the kernel for: 1 .. most. */
unsigned agent_intake_begin(agent_intake_t *in, const wrk_channel_t *ch, unsigned most);

/* messages: as many were there. */
void agent_intake_end(agent_intake_t *in, unsigned messages);

#endif
