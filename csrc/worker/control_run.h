/* control_run.h: carries out the messages of control connections. Worker's thread. */
#ifndef WRK_CONTROL_RUN_H
#define WRK_CONTROL_RUN_H

#include "worker/command.h"
#include "worker/connection.h"

/* Carries out the command. fds: descriptors that came with it, owned
 * from now on (used or closed). */
void control_run(wrk_conn_t *conn, const command_t *command, int *fds, unsigned fd_count,
                 reply_t *reply);

/* The reply's descriptors cannot be passed: makes it one without. What the command did is undone,
 * except for OPEN: only the pool's copy of the socket is missing then. */
void control_without_fds(wrk_conn_t *conn, const command_t *command, reply_t *reply);

/* Drops a few slots and bells of a connection that ended. Returns whether there was one. */
bool control_drop_step(worker_t *w);

/* Does a part of the oldest deferred command of some channel. Returns whether there was one. */
bool control_jobs_step(worker_t *w, int64_t now_mono_ns);

/* Whether the next part closes the channel, which unmaps its memory. */
bool control_closes_next(const worker_t *w);

/* Closes the channel: drops what connections hold in it, and answers its deferred commands. */
void control_close_channel(wrk_channel_t *ch);

#endif
