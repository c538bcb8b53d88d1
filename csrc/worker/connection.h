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

/* A command whose answer comes later. */
struct wrk_job {
    wrk_job_t *next; /* of the channel */
    wrk_conn_t *conn;
    ctl_op_t op; /* 0: there is none */
    uint32_t request;
    bool purged; /* CLOSE: only the channel's memory is left */
};

struct wrk_conn {
    wrk_source_t source;
    worker_t *worker;
    wrk_conn_t *next;
    uint32_t pid; /* of the peer, as the worker sees it, or SHM_OWNER_ELSEWHERE */
    uid_t uid;
    gid_t gid;
    bool trusted; /* root or the same user, or the pool */
    bool named;   /* by CLIENT: the peer is a relay of that client */
    uint32_t group_count;
    gid_t *groups; /* of that client, NULL: none */
    wrk_attachment_t *attachments;
    wrk_job_t job; /* until its answer, nothing more is read, and a hang-up waits, too */
};

#define CONNECTION_EVENTS (EPOLLIN | EPOLLRDHUP)

typedef struct reply {
    int result; /* < 0: the text is rt_err_text() */
    uint8_t body[CTL_MAX_BYTES - sizeof(ctl_header_t)];
    uint32_t body_bytes;
    int fds[CTL_MAX_FDS];
    unsigned fd_count;
    unsigned owned; /* the last so many of fds are closed once they are sent */
    bool deferred;  /* a job answers later */
} reply_t;

/* Sends an answer. A peer that does not read loses its connection at the next event. */
void connection_send(wrk_conn_t *conn, uint32_t op, uint32_t request, const reply_t *reply);

/* Sends an answer to a socket. Returns 0 or -errno. */
int connection_reply(int fd, uint32_t op, uint32_t request, const reply_t *reply);

/* Sends the reason, rt_err_text(), of a hang-up that follows. result: -errno. */
void connection_refuse(int fd, int result);

/* Sends the unsolicited message that tells the pool that the worker is ready (result 0), or why it
 * is not (result < 0 and rt_err_text()). fd: the pool's connection. */
void connection_announce(worker_t *w, int fd, int result);

#endif
