/* worker_loop.h: the loop that serves everything on this core, until w->stop. Theory of operation
 * in worker_loop.c. */
#ifndef WRK_LOOP_H
#define WRK_LOOP_H

#include "worker/worker.h"

void worker_loop(worker_t *w);

#endif
