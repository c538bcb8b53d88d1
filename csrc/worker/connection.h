/* connection.h: a client's control connection: what it holds, and the answers to it. Worker's
 * thread. */
#ifndef WRK_CONNECTION_H
#define WRK_CONNECTION_H

#include "worker/worker.h"

#include "shm/ctl_msg.h"

/* What one connection holds in one channel. */
typedef struct wrk_attachment {
    struct wrk_attachment *next;
    wrk_channel_t *channel;
    uint32_t producer; /* slot, or CTL_NO_SLOT */
    uint32_t reader;
    int bell; /* reader's bell, -1: none */
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
    wrk_conn_t *conn; /* NULL: no client waits any more */
    ctl_op_t op;
    uint32_t request;
    bool purged; /* CLOSE: only the channel's memory is left */
};

typedef struct reply {
    int result; /* < 0: the text is rt_err_text() */
    uint8_t body[CTL_MAX_BYTES - sizeof(ctl_header_t)];
    uint32_t body_bytes;
    int fds[CTL_MAX_FDS]; /* sent, not closed */
    unsigned fd_count;
    bool last_is_owned; /* the last of fds is closed once it is sent */
    bool deferred; /* a job answers later */
} reply_t;

/* Sends an answer. A peer that does not read loses its connection at the next event. */
void connection_send(wrk_conn_t *conn, uint32_t op, uint32_t request, const reply_t *reply);

/* Sends an answer to a socket. Returns 0 or -errno. */
int connection_reply(int fd, uint32_t op, uint32_t request, const reply_t *reply);

/* Sends the unsolicited message that tells the pool that the worker is ready (result 0), or why it
 * is not (result < 0 and rt_err_text()). fd: the pool's connection. */
void connection_announce(worker_t *w, int fd, int result);

#endif
