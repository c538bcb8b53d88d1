/* control.h: a client's control connection to a worker (ctl_msg.h). One request is in progress at a
 * time. The caller serialises calls. */
#ifndef CLIENT_CONTROL_H
#define CLIENT_CONTROL_H

#include "shm/ctl_msg.h"

#include <stdbool.h>
#include <sys/types.h>

/* How long to wait for an answer. A worker takes about 50 us for one. */
#define CONTROL_PATIENCE_MS 5000

/* Longest answer of a worker to the requests that clients make. */
#define CONTROL_BODY_BYTES CTL_ENGINE_BYTES

/* Called several times a second while a call waits for a worker, and when a signal interrupts the
 * wait. Returns 0: wait on; -EINTR: the call fails with that. NULL, the default: wait on. It may
 * call control_close: then the call that waits fails with -EPIPE. */
extern int (*control_on_signal)(void);

typedef struct control {
    int fd; /* -1: not connected */
    uint32_t last_request;
    pid_t peer_pid;
    uid_t peer_uid;
} control_t;

typedef struct control_reply {
    int32_t result;
    bool refused; /* the worker answered with result, below 0 */
    uint32_t bytes;
    uint8_t body[CONTROL_BODY_BYTES];
    int fds[CTL_MAX_FDS]; /* the caller closes them */
    unsigned fd_count;
} control_reply_t;

/* Connects to the worker of this slot, which listens on path, or through the pool's door if only
 * the worker's user may use path. Waits until then and for CONTROL_PATIENCE_MS at most.
 * Returns 0; -ENOENT, -ECONNREFUSED (no process listens), -ETIMEDOUT (it lives, and took no
 * connection), -EPIPE or -EINTR (control_on_signal) or another -errno, with a text. */
int control_connect(control_t *c, const char *path, uint32_t slot, int64_t until_mono_ns);

/* Hangs up. Any number of times. */
void control_close(control_t *c);

/* Sleeps for 2 ms, before another attempt. Returns 0; as control_on_signal. */
int control_nap(void);

/* Sends a request and waits for its answer, until then and for CONTROL_PATIENCE_MS at most.
 * Returns 0: it was carried out, and reply->result is 0 or a count. Otherwise
 * -errno with a text: the worker's own text if reply->refused, -ECONNRESET (it hung up), -ETIMEDOUT
 * (it lives, and did not answer), -EMFILE (this process had no room for the descriptors of the
 * answer, whose body is there), -EPROTO, -EPIPE or -EINTR (control_on_signal). After a failure
 * reply holds no descriptors. */
int control_request(control_t *c, uint32_t op, const void *body, uint32_t bytes,
                    int64_t until_mono_ns, control_reply_t *reply);

/* Closes the descriptors that are left in an answer. */
void control_reply_close(control_reply_t *reply);

#endif
