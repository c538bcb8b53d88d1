/* rhythm.h: sends on a grid: where a grid without a configured phase lies, when the worker prepares
 * a send, and how often it looks for a payload while it has none. Shared by the engines that send
 * in cycles. Hot, except for agent_choose_origin. */
#ifndef AGENT_RHYTHM_H
#define AGENT_RHYTHM_H

#include "worker/agent.h"

typedef struct agent_rhythm {
    int64_t prepared_for_ns; /* the instant */
    int64_t check_at_ns;     /* while it waits for a payload: when to look for one */
    int64_t check_pause_ns;
} agent_rhythm_t;

/* The first instant that is not past, in a phase apart from those of
 * other channels of this worker. */
int64_t agent_choose_origin(int64_t period_ns, int64_t now_mono_ns);

/* The worker first calls some time before the start of a send, so that the memory of the send is in
 * the caches, and again AGENT_LEAD_NS before it. due: the instant. start: when its send starts. */
int64_t agent_rhythm_wake_ns(const agent_rhythm_t *r, int64_t due_ns, int64_t start_mono_ns);

/* Whether now is the time to prepare. True once for each instant. */
bool agent_rhythm_prepares(agent_rhythm_t *r, int64_t due_ns, int64_t start_mono_ns,
                           int64_t now_mono_ns);

/* Walks the path through the kernel, unless this core did so a moment ago. */
void agent_rhythm_warm(wrk_channel_t *ch, udp_t *udp, int64_t now_mono_ns);

/* Looks for a payload now, then once a cycle, then less and less often. */
void agent_rhythm_check_now(agent_rhythm_t *r, int64_t period_ns, int64_t now_mono_ns);
void agent_rhythm_checked(agent_rhythm_t *r, int64_t now_mono_ns);

#endif
