/* syscall_filter.h: the system calls that this process may make once it serves (seccomp).
 *
 * The worker takes messages, datagrams and shared memory from others. Should one of them ever make
 * it run foreign code, that code starts no program, opens no file for writing, makes no memory
 * executable, and reaches no other process.
 *
 * Any other call fails with EPERM, is counted in the worker's page (calls_refused), and goes into
 * its log of errors with its number. The worker is not killed: a rare call that the table lacks,
 * perhaps one of a newer C library, must not cost a host its deadlines.
 *
 * Off in builds with sanitizers, on architectures without a table of registers here, where the
 * kernel has no seccomp, and with SHMRING_SYSCALL_FILTER=off in the environment (for debuggers; not
 * heeded where the program's file has capabilities). The page says whether it is in force. */
#ifndef WRK_SYSCALL_FILTER_H
#define WRK_SYSCALL_FILTER_H

#include "worker/worker.h"

/* For life. After everything is set up once, and no_new_privs with it. Returns 0 also where it is
 * off; -errno and a text: the kernel refused, and there is no filter. */
int syscall_filter_install(worker_t *w);

#endif
