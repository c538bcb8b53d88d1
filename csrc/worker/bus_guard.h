/* bus_guard.h: a client that may write to a segment's file may also cut it short, and the next
 * access beyond its new end would end the worker with SIGBUS, and with it all other channels. The
 * guard puts memory of our own where the file was and marks the channel as torn. Worker's thread.
 */
#ifndef WRK_BUS_GUARD_H
#define WRK_BUS_GUARD_H

#include "worker/worker.h"

/* Returns 0 or -errno with a text. w stays where it is until the process ends. */
int bus_guard_install(worker_t *w);

#endif
