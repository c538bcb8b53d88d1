/* bells.h: rings clients that wait for a descriptor: readers for packets, watchers for room or a
 * verdict (ctl_msg.h). One call rings a bounded number of them. The rest is rung by the loop,
 * between deadlines, a channel a turn. Worker's thread. */
#ifndef WRK_BELLS_H
#define WRK_BELLS_H

#include "worker/worker.h"

/* The two ends of a bell. */
typedef struct wrk_bell_ends {
    int own;    /* the worker rings it */
    int theirs; /* handed out and closed here: readable once the bell was rung */
} wrk_bell_ends_t;

/* Returns 0, or -errno with a text. */
int bells_make(wrk_bell_ends_t *ends);

/* Rings one bell. Never waits for it. */
void wrk_ring(int bell_fd);

/* A bell that was attached, with room for it. slot: of the reader, or WRK_WATCHER. */
void bells_add(wrk_channel_t *ch, uint32_t slot, int fd);

/* Closes it. -1: none. */
void bells_close(wrk_channel_t *ch, int fd);

/* Rings the readers that asked for it. What they wait for is visible by now. */
void bells_ring_readers(wrk_channel_t *ch);

/* Rings all watchers. of: the wrk_channel_t. */
void bells_ring_watchers(void *of);

/* Rings some of those that are left. Returns whether there were any. */
bool bells_step(worker_t *w);

/* The channel ends. */
void bells_forget(wrk_channel_t *ch);

#endif
