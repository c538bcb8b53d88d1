/* door.h: where other users come in. A process of its own beside the workers of a pool with a
 * group.
 *
 * Nobody can be kept from attaching descriptors to a message, and closing one may take for ever:
 * that of a file in a file system of the sender's own, for example, even in a process that is
 * killed. So no process that others wait for receives a message of another user, and none closes
 * the last descriptor of a connection in which such messages wait. The door only accepts. It forks
 * a relay for each connection (relay.h), whose loss costs that connection alone, and lets go of the
 * connection before its relay does. A refused connection in which descriptors wait is not closed
 * while the door lives: the door keeps it, and hands what it keeps to other processes when that is
 * much. */
#ifndef WRK_DOOR_H
#define WRK_DOOR_H

#include "worker/worker_args.h"

#define DOOR_MOST 2048u /* connections */
#define DOOR_MOST_OF_USER 256u
#define DOOR_MOST_USERS 64u /* at a time */

/* Serves args->door_fd, a bound socket in args->runtime_dir, until its name is gone: the pool has
 * ended, or has another door. Returns 0 or -errno, after a line on standard error. */
int door_run(const worker_args_t *args);

#endif
