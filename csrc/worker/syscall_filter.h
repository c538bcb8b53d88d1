/* syscall_filter.h: the system calls that this process may make after its start (seccomp).
 *
 * The worker takes messages, datagrams and shared memory from others. If one of them ever makes it
 * run foreign code, that code can start no program, open no file for writing, make no memory
 * executable, reach no other process, and change no interface over netlink. Which names it can
 * remove: file_guard.h.
 *
 * Any other call fails with EPERM, is counted in the worker's page (calls_refused), and its number
 * goes into the worker's log of errors. The worker is not killed: a rare call that the table lacks,
 * perhaps one of a newer C library, must not make a host miss its deadlines. This holds also while
 * all signals are blocked, as C libraries do around fork: SIGSYS stays unblocked.
 *
 * It is off in builds with sanitizers, on architectures that have no register table here, if the
 * kernel has no seccomp, and with SHMRING_SYSCALL_FILTER=off in the environment (for debuggers;
 * ignored if the program's file has capabilities). The page says whether it is active. */
#ifndef WRK_SYSCALL_FILTER_H
#define WRK_SYSCALL_FILTER_H

#include "worker/worker.h"

/* False: it is off, see above. */
bool syscall_filter_is_wanted(void);

/* For the rest of the process. Call it once after everything is set up, together with no_new_privs.
 * Returns 0 also if it is off; -errno and a text: the kernel refused, and there is no filter. */
int syscall_filter_install(worker_t *w);

#endif
