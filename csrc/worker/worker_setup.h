/* worker_setup.h: makes the process fit for deadlines: core, scheduling class, locked memory, no
 * timer slack. Start only, before any channel.
 *
 * Settings that the kernel refuses are skipped, unless args.strict: the effective settings go to
 * the worker page, the pool warns of them, and the reason goes into the log of distinct errors. */
#ifndef WRK_SETUP_H
#define WRK_SETUP_H

#include "worker/worker.h"

#define WRK_UNPINNED UINT32_MAX

/* Uses args, page, recorder and errors. Returns 0; with args.strict -EPERM, -EINVAL, -ENOMEM and a
 * text that names what was refused, the limit and the fix. Always done: signal dispositions, name,
 * timer slack. */
int worker_setup(worker_t *w);

/* Blocks a signal. Returns a descriptor that says when it has come (signalfd), or -errno with a
 * text. */
int worker_signal_fd(int number);

#endif
