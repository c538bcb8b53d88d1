/* worker_loop.h: the loop that serves everything on this core, until w->stop. worker_loop.c
 * explains how it works. */
#ifndef WRK_LOOP_H
#define WRK_LOOP_H

#include "worker/worker.h"

void worker_loop(worker_t *w);

#endif
