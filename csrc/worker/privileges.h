/* privileges.h: the privileges of this process, and dropping them. Start only.
 *
 * Capabilities come from the process that starts the worker (root, the unit of a service), or from
 * the program's own file (setcap). Every user who may run the file gets its capabilities, with any
 * arguments. So they are used only if other users may not run the file, and up to a limit. */
#ifndef WRK_PRIVILEGES_H
#define WRK_PRIVILEGES_H

#include "base/rt_caps.h"

/* The highest priority of SCHED_FIFO for a caller whose own limit (RLIMIT_RTPRIO) is lower. Higher
 * priorities are for what a host needs to stay usable: watchdogs, some threaded interrupts,
 * migration. */
#define PRIVILEGES_FILE_PRIORITY 80

/* Drops all capabilities if they come from the file and any user may run it. Returns 0, or -EPERM
 * and a text if it did. Call it before anything that needs a capability. */
int privileges_check_file(void);

/* The highest priority of SCHED_FIFO that this process grants itself, 1 .. 99. */
int privileges_highest_priority(void);

/* Drops the means to gain capabilities, and all capabilities but those that later calls need. Of
 * these only CAP_IPC_LOCK stays effective. The others are raised around those calls (rt_caps.h).
 * Called after everything is set up. Returns 0 or -errno. */
int privileges_drop(void);

#endif
