/* worker_setup.h: makes the process fit for deadlines: core, scheduling class, locked memory, no
 * timer slack, few capabilities. Start only, before any channel.
 *
 * What the kernel refuses is done without, unless args.strict: the effective settings go to the
 * worker page, the pool warns from there, and the reason goes into the log of distinct errors. */
#ifndef WRK_SETUP_H
#define WRK_SETUP_H

#include "worker/worker.h"

#define WRK_UNPINNED UINT32_MAX

/* Of args, page, recorder and errors. Returns 0; with args.strict -EPERM, -EINVAL, -ENOMEM and a text that names what was refused,
 * the limit and the fix. Always done: signal dispositions, name, timer slack. */
int worker_setup(worker_t *w);

/* Whether a capability (CAP_*) is in force for this process. */
bool worker_has_capability(unsigned cap);

/* Gives up every capability but those that sockets and locked memory need, and the way back to
 * more. After worker_setup and after the control socket has its owner. Returns 0 or -errno. */
int worker_drop_capabilities(void);

#endif
