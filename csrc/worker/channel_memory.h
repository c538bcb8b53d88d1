/* channel_memory.h: what the worker takes for a channel beside its segment. The pool says how much
 * that may be, because it counts it for the user who opens the channel (CTL_OPEN), and the answer
 * says how much it is.
 *
 * Large pieces are fresh memory of the kernel: taking one touches no page, and each page becomes
 * present when it is used. They are given back page by page, in steps between deadlines
 * (channel_memory_step), because that takes about 0.1 us a page. Worker's thread. */
#ifndef WRK_CHANNEL_MEMORY_H
#define WRK_CHANNEL_MEMORY_H

#include "worker/worker.h"

/* limit_bytes 0: none. */
void channel_memory_init(wrk_channel_t *ch, uint64_t limit_bytes);

/* The channel is open: what it took so far is all that it gets, and what its engine may ask for
 * later. Returns the bytes that count for its user. */
uint64_t channel_memory_settle(wrk_channel_t *ch);

/* Gives everything back: what is large later, in steps. */
void channel_memory_end(wrk_channel_t *ch);

/* Unmaps a bounded amount of what was given back. Returns whether there was any. */
bool channel_memory_step(worker_t *w);

/* The same for the pages of a segment whose channel has ended, from *at on: later accesses find
 * them again. Returns whether some are left. */
bool channel_memory_leave_step(const shm_segment_t *segment, uint64_t *at);

#endif
