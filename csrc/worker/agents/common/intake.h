/* intake.h: how much of a socket is read at once: as much as fits before another channel is due,
 * and at least for MOST_NS, because it is not known what is queued. The cost of a message is
 * learnt. A message may be a GRO batch of 64 KiB.
 *
 *     begin -> that many messages are taken and handled -> end
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

/* messages: how many were there. */
void agent_intake_end(agent_intake_t *in, unsigned messages);

#endif
