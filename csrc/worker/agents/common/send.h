/* send.h: a batch on its way out, to the kernel or into the impaired path, and what becomes
 * of it there. Shared by the engines that send at deadlines. Hot. */
#ifndef AGENT_SEND_H
#define AGENT_SEND_H

#include "worker/agents/common/ledger.h"
#include "worker/agents/common/impaired_path.h"

/* The kernel had no room: a pause, longer each time until a packet leaves. */
typedef struct agent_block {
    bool now;
    int64_t retry_mono_ns;
    int64_t after_ns;
} agent_block_t;

void agent_block(agent_block_t *b, int64_t now_mono_ns);

/* Whether an error of udp_send means no more than no room for the moment. */
bool agent_is_no_room(int error);

typedef struct agent_way {
    udp_t *udp;
    agent_path_t *path;
    agent_ledger_t *ledger;
    agent_block_t *block;
} agent_way_t;

/* What the engine does about packets of the batch, each of which comes to one of these. */
typedef struct agent_outcomes {
    /* first .. first + count - 1 left in one call. The ledger is the engine's to tell. */
    void (*left)(wrk_channel_t *ch, unsigned first, unsigned count, int64_t start_mono_ns,
                 int64_t end_mono_ns);
    /* The kernel refused this one for good. */
    void (*failed)(wrk_channel_t *ch, unsigned index, int error, int64_t now_mono_ns);
    /* It has no room for this one and those behind it: as if they had not been taken. The way is
     * blocked and taking in is paused by then. */
    void (*put_back)(wrk_channel_t *ch, unsigned index);
} agent_outcomes_t;

/* Sends the batch, which is empty afterwards. */
void agent_send(wrk_channel_t *ch, const agent_way_t *way, agent_batch_t *batch,
                const agent_outcomes_t *outcomes);

#endif
