/* channel_end.h: gives all memory of a channel back at once. A worker does it in steps between
 * deadlines, and a target has no worker's loop. */
#ifndef FUZZ_CHANNEL_END_H
#define FUZZ_CHANNEL_END_H

#include "worker/channel_memory.h"
#include "worker/worker.h"

static inline void end_channel_memory(wrk_channel_t *ch)
{
    channel_memory_end(ch);
    while (channel_memory_step(ch->worker))
        ;
}

#endif
