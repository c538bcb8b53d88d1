/* control.h: the control plane's connections. Worker's thread.
 *
 * A listening SOCK_SEQPACKET socket in the runtime directory, and the pool's own connection that
 * the worker was born with. Whoever hangs up is dead: what it held is repaired (see control_run.c).
 */
#ifndef WRK_CONTROL_H
#define WRK_CONTROL_H

#include "worker/command.h"
#include "worker/worker.h"

#define CONTROL_MAX_CONNS 4096u
#define CONTROL_MAX_OF_USER 512u /* one who is neither root nor the worker's own user */

/* What one connection holds in one channel. */
typedef struct wrk_attachment {
    struct wrk_attachment *next;
    wrk_channel_t *channel;
    uint32_t producer; /* slot, or CTL_NO_SLOT */
    uint32_t reader;
    int bell; /* reader's, -1 none */
} wrk_attachment_t;

struct wrk_conn {
    wrk_source_t source;
    worker_t *worker;
    wrk_conn_t *next;
    uint32_t pid; /* of the peer, as the worker sees it, or SHM_OWNER_ELSEWHERE */
    uid_t uid;
    gid_t gid;
    bool trusted; /* root or the same user, or the pool */
    wrk_attachment_t *attachments;
};

/* A command whose answer comes later. */
struct wrk_job {
    wrk_job_t *next;
    wrk_conn_t *conn; /* NULL: nobody waits any more */
    ctl_op_t op;
    uint32_t request;
};

/* Listens and takes the pool's connection over. Before capabilities are dropped: the socket gets
 * the runtime directory's group. Returns 0 or -errno with a text. */
int control_open(worker_t *w);
void control_close(worker_t *w);

/* One piece of the oldest deferred command of some channel. Returns whether there was one. */
bool control_jobs_step(worker_t *w, int64_t now_mono_ns);

/* The channel is going away: drops what connections hold in it, answers its deferred commands. */
void control_forget_channel(worker_t *w, wrk_channel_t *ch);

/* The unsolicited message that tells the pool that the worker is ready (result 0), or why it is not
 * (result < 0 and rt_err_text()). fd: the pool's connection. */
void control_announce(worker_t *w, int fd, int result);

/* --- between control.c (transport) and control_run.c (meaning) --- */

typedef struct reply {
    int result; /* < 0: the text is rt_err_text() */
    uint8_t body[CTL_MAX_BYTES - sizeof(ctl_header_t)];
    uint32_t body_bytes;
    int fds[CTL_MAX_FDS]; /* sent, not closed */
    unsigned fd_count;
    bool last_is_owned; /* the last of fds is closed once it is sent */
    bool deferred; /* a job answers later */
} reply_t;

/* Does what the command asks. fds: descriptors that came with it, taken over (used or closed). */
void control_run(wrk_conn_t *conn, const command_t *command, int *fds, unsigned fd_count,
                 reply_t *reply);

/* Drops a few slots and bells of a connection that ended. Returns whether there was one. */
bool control_drop_step(worker_t *w);

/* Sends an answer; a peer that does not read loses its connection at the next event. */
void control_send(wrk_conn_t *conn, uint32_t op, uint32_t request, const reply_t *reply);

#endif
