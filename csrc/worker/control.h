/* control.h: the control plane's connections. Worker's thread.
 *
 * A listening SOCK_SEQPACKET socket in the runtime directory, and the pool's own connection, which
 * the worker was started with. A client that hangs up is dead: what it held is repaired
 * (control_run.h).
 */
#ifndef WRK_CONTROL_H
#define WRK_CONTROL_H

#include "worker/worker.h"

#define CONTROL_MAX_CONNS 4096u

/* Listens and takes over the pool's connection. Returns 0 or -errno with a text. */
int control_open(worker_t *w);
void control_close(worker_t *w);

#endif
