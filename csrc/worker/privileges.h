/* privileges.h: what this process may do beyond an ordinary one, and giving it up. Start only.
 *
 * Capabilities come from whoever starts the worker (root, the unit of a service), or from the
 * program's own file (setcap). Those of the file go to everybody who may run it, with any
 * arguments. So they are used only if the file is closed to others, and up to a limit. */
#ifndef WRK_PRIVILEGES_H
#define WRK_PRIVILEGES_H

#include "base/rt_caps.h"

/* The highest priority of SCHED_FIFO for a caller whose own limit (RLIMIT_RTPRIO) is lower. Above
 * it run what a host needs to stay usable: watchdogs, threaded interrupts of some, migration. */
#define PRIVILEGES_FILE_PRIORITY 80

/* Whether the file of this program gave this process more than its caller has. */
bool privileges_of_file(void);

/* Gives all capabilities up if they are the file's and everybody may run it. Returns 0, or -EPERM
 * and a text if it did. Before anything that needs one. */
int privileges_check_file(void);

/* The highest priority of SCHED_FIFO that this process grants itself, 1 .. 99. */
int privileges_highest_priority(void);

/* Gives up the way to more capabilities, and all but those that later calls need. Of these only
 * CAP_IPC_LOCK stays effective. The others are raised around those calls (rt_caps.h). Called after
 * everything is set up. Returns 0 or -errno. */
int privileges_drop(void);

#endif
