#include "client/control.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "client/host.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Before it sleeps, a caller polls for this long: a wake-up takes as long as an answer does. */
#define SPIN_NS (150 * RT_NS_PER_US)

/* Only this part of the patience is left to carry out a request: a call that failed must not take
 * effect later. */
#define CARRY_OUT_MS (CONTROL_PATIENCE_MS * 19 / 20)

#define NAP_NS (2 * RT_NS_PER_MS)

/* A signal that came just before poll() does not interrupt it: look for one this often. */
#define MISSED_SIGNAL_MS 100

#define FDS_BYTES CMSG_SPACE(CTL_MAX_FDS * sizeof(int))

/* --- signals -------------------------------------------------------------------------------- */

int (*control_on_signal)(void);

static int run_handlers(void)
{
    return control_on_signal != NULL ? control_on_signal() : 0;
}

/* After a wait on fd, which was c->fd: a signal may have interrupted it. */
static int after_signal(const control_t *c, int fd)
{
    int rc = run_handlers();
    if (rc < 0 || c->fd == fd)
        return rc;
    return rt_err_set(-EPIPE, "a signal handler closed this end of the channel");
}

/* --- life ----------------------------------------------------------------------------------- */

static void ask_peer(control_t *c)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t bytes = sizeof peer;
    (void)getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes);
    c->peer_pid = peer.pid;
    c->peer_uid = peer.uid;
}

/* The end of a wait that begins now, and whose caller waits until then. */
static int64_t give_up_at(int64_t until_mono_ns)
{
    int64_t patience = rt_mono_ns() + CONTROL_PATIENCE_MS * RT_NS_PER_MS;
    return until_mono_ns < patience ? until_mono_ns : patience;
}

void control_close(control_t *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void control_reply_close(control_reply_t *reply)
{
    while (reply->fd_count > 0)
        close(reply->fds[--reply->fd_count]);
}

/* --- waiting -------------------------------------------------------------------------------- */

/* A signal that comes just before the sleep does not interrupt it. */
int control_nap(void)
{
    const struct timespec length = {.tv_nsec = NAP_NS};
    nanosleep(&length, NULL);
    return run_handlers();
}

static int poll_ms(int64_t left_ns)
{
    return left_ns < MISSED_SIGNAL_MS * RT_NS_PER_MS ? (int)(left_ns / RT_NS_PER_MS) + 1
                                                     : MISSED_SIGNAL_MS;
}

/* Returns 0: the socket is ready for events, or hung up; -ETIMEDOUT, -errno. */
static int wait_ready(const control_t *c, short events, int64_t until_mono_ns)
{
    struct pollfd ready = {.fd = c->fd, .events = events};
    for (;;) {
        int64_t left_ns = until_mono_ns - rt_mono_ns();
        if (left_ns <= 0)
            return -ETIMEDOUT;
        int found = poll(&ready, 1, poll_ms(left_ns));
        if (found > 0)
            return 0;
        if (found < 0 && errno != EINTR)
            return rt_err_set(-errno, "waiting for the worker: %s", strerror(errno));
        int rc = after_signal(c, ready.fd);
        if (rc < 0)
            return rc;
    }
}

static const char *const op_names[] = {
    [CTL_ATTACH] = "ATTACH",   [CTL_DETACH] = "DETACH", [CTL_HOLD] = "HOLD",
    [CTL_RELEASE] = "RELEASE", [CTL_PURGE] = "PURGE",   [CTL_RESET] = "RESET",
    [CTL_ENGINE] = "ENGINE",   [CTL_TAP] = "TAP",       [CTL_MARK] = "MARK",
};

static int refuse_silent(const control_t *c, const char *what, uint32_t op)
{
    const char *name = op < sizeof op_names / sizeof *op_names ? op_names[op] : NULL;
    return rt_err_set(
        -ETIMEDOUT,
        "process %d is alive, but did not %s %s within %d s: if it was stopped, continue it (kill "
        "-CONT %d), else have it replaced (kill -9 %d)",
        (int)c->peer_pid, what, name != NULL ? name : "a request", CONTROL_PATIENCE_MS / 1000,
        (int)c->peer_pid, (int)c->peer_pid);
}

static int refuse_gone(void)
{
    return rt_err_set(-ECONNRESET, "the worker has ended");
}

/* --- sending -------------------------------------------------------------------------------- */

static uint32_t until_ms(void)
{
    uint32_t until = (uint32_t)(rt_mono_ns() / RT_NS_PER_MS + CARRY_OUT_MS);
    return until != 0 ? until : 1;
}

static int send_request(control_t *c, uint32_t op, const void *body, uint32_t bytes,
                        int64_t until_mono_ns)
{
    c->last_request = c->last_request == UINT32_MAX ? 1 : c->last_request + 1;
    ctl_header_t header = {.magic = CTL_MAGIC,
                           .op = op,
                           .request = c->last_request,
                           .body_bytes = bytes,
                           .until_ms = until_ms()};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)(uintptr_t)body, bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    for (;;) {
        if (sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        int error = errno;
        if (error == EPIPE || error == ECONNRESET)
            return refuse_gone();
        if (error != EAGAIN && error != EINTR)
            return rt_err_set(-error, "sending to the worker: %s", strerror(error));
        int rc = error == EAGAIN ? wait_ready(c, POLLOUT, until_mono_ns) : 0;
        if (rc == -ETIMEDOUT)
            return refuse_silent(c, "take", op);
        if (rc < 0)
            return rc;
    }
}

/* --- receiving ------------------------------------------------------------------------------ */

static void take_fds(struct msghdr *message, control_reply_t *reply)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h != NULL; h = CMSG_NXTHDR(message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        unsigned count = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        reply->fd_count = count < CTL_MAX_FDS ? count : CTL_MAX_FDS;
        memcpy(reply->fds, CMSG_DATA(h), reply->fd_count * sizeof(int));
    }
}

/* Polls for a while before it sleeps. Returns as recvmsg, or -1 with errno ETIMEDOUT. */
static ssize_t receive_message(const control_t *c, struct msghdr *message, int64_t until_mono_ns)
{
    int64_t spin_until = rt_mono_ns() + SPIN_NS;
    for (;;) {
        ssize_t got = recvmsg(c->fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got >= 0 || (errno != EAGAIN && errno != EINTR))
            return got;
        if (rt_mono_ns() < spin_until)
            continue;
        int rc = wait_ready(c, POLLIN, until_mono_ns);
        if (rc < 0) {
            errno = -rc;
            return -1;
        }
    }
}

static int refuse_nonsense(ssize_t got)
{
    return rt_err_set(-EPROTO,
                      "the worker sent an invalid message of %zd bytes: use one version of "
                      "shmring in all processes",
                      got);
}

/* Receives one message, for whichever request. Returns 0 and the header. */
static int receive(const control_t *c, ctl_header_t *header, control_reply_t *reply,
                   int64_t until_mono_ns)
{
    _Alignas(struct cmsghdr) uint8_t space[FDS_BYTES];
    struct iovec parts[] = {{header, sizeof *header}, {reply->body, sizeof reply->body}};
    struct msghdr message = {
        .msg_iov = parts, .msg_iovlen = 2, .msg_control = space, .msg_controllen = sizeof space};
    *reply = (control_reply_t){0};
    ssize_t got = receive_message(c, &message, until_mono_ns);
    /* The worker hung up. Its last message, such as the reason, may still wait: the kernel returns
     * a pending error first. It may also return the end first, because it looks for a message and
     * then for the peer, and the worker may have sent one and hung up in between
     * (unix_dgram_recvmsg). */
    for (int looks = 0; looks < 2 && (got == 0 || (got < 0 && errno == ECONNRESET)); looks++) {
        message.msg_controllen = sizeof space;
        got = receive_message(c, &message, until_mono_ns);
    }
    if (got < 0 && errno == ETIMEDOUT)
        return -ETIMEDOUT;
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return refuse_gone();
    if (got < 0 && (errno == EINTR || errno == EPIPE)) /* after_signal */
        return -errno;
    if (got < 0)
        return rt_err_set(-errno, "receiving from the worker: %s", strerror(errno));
    take_fds(&message, reply);
    reply->bytes = got >= (ssize_t)sizeof *header ? (uint32_t)got - (uint32_t)sizeof *header : 0;
    if (got < (ssize_t)sizeof *header || header->magic != CTL_MAGIC ||
        header->body_bytes != reply->bytes || (message.msg_flags & MSG_TRUNC)) {
        control_reply_close(reply);
        return refuse_nonsense(got);
    }
    reply->result = header->result;
    if (!(message.msg_flags & MSG_CTRUNC))
        return 0;
    control_reply_close(reply);
    return rt_err_system(EMFILE, "receiving descriptors from the worker");
}

static int refuse_by_worker(control_reply_t *reply)
{
    control_reply_close(reply);
    reply->refused = true;
    unsigned length = reply->bytes < sizeof reply->body ? reply->bytes : sizeof reply->body - 1;
    const char *text = length > 0 ? (const char *)reply->body : strerror(-reply->result);
    return rt_err_set(reply->result, "%.*s", length > 0 ? (int)length : (int)strlen(text), text);
}

/* Skips answers to requests whose caller stopped waiting. */
static int receive_answer(const control_t *c, control_reply_t *reply, int64_t until_mono_ns)
{
    for (;;) {
        ctl_header_t header = {0};
        int rc = receive(c, &header, reply, until_mono_ns);
        bool ours = header.request == c->last_request;
        if (rc < 0 && (rc != -EMFILE || ours))
            return rc;
        bool unasked = header.request == 0 && header.result < 0; /* the reason for its hang-up */
        if ((ours || unasked) && header.result < 0)
            return refuse_by_worker(reply);
        if (ours)
            return 0;
        control_reply_close(reply);
    }
}

int control_request(control_t *c, uint32_t op, const void *body, uint32_t bytes,
                    int64_t until_mono_ns, control_reply_t *reply)
{
    int64_t give_up = give_up_at(until_mono_ns);
    *reply = (control_reply_t){0};
    int rc = send_request(c, op, body, bytes, give_up);
    if (rc < 0 && rc != -ECONNRESET)
        return rc;
    /* Also if it hung up: it may have sent the reason. */
    rc = receive_answer(c, reply, give_up);
    return rc == -ETIMEDOUT && !reply->refused ? refuse_silent(c, "answer", op) : rc;
}

/* --- connecting ------------------------------------------------------------------------------ */

/* Waits while the worker's queue of connections is full. */
static int connect_fd(const control_t *c, const struct sockaddr_un *address, int64_t give_up)
{
    const struct timeval slice = {.tv_usec = MISSED_SIGNAL_MS * 1000};
    int fd = c->fd;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &slice, sizeof slice); /* of connect, unix(7) */
    while (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        if (errno != EINTR && errno != EAGAIN)
            return rt_err_set(-errno, "worker's socket %s: %s", address->sun_path, strerror(errno));
        int rc = after_signal(c, fd);
        if (rc < 0)
            return rc;
        if (rt_mono_ns() > give_up)
            return rt_err_set(-ETIMEDOUT,
                              "worker's socket %s: its queue of connections has been full for %d "
                              "s: if the worker was stopped, continue it (shmring ls tells its "
                              "process)",
                              address->sun_path, CONTROL_PATIENCE_MS / 1000);
    }
    return 0;
}

static int say_hello(control_t *c, uint32_t slot, int64_t until_mono_ns)
{
    ctl_hello_t hello = {.slot = slot};
    control_reply_t reply;
    ctl_pong_t pong;
    int rc = control_request(c, CTL_HELLO, &hello, sizeof hello, until_mono_ns, &reply);
    if (rc < 0)
        return rc;
    control_reply_close(&reply);
    if (reply.bytes < sizeof pong)
        return refuse_nonsense(reply.bytes);
    memcpy(&pong, reply.body, sizeof pong);
    c->peer_pid = (pid_t)pong.pid;
    return 0;
}

/* The worker is for its own user alone. */
static int enter_by_door(control_t *c, const char *path, uint32_t slot, int64_t until_mono_ns)
{
    struct sockaddr_un door = {.sun_family = AF_UNIX};
    int folder = (int)(strrchr(path, '/') - path);
    (void)snprintf(door.sun_path, sizeof door.sun_path, "%.*s/door.sock", folder, path);
    int rc = connect_fd(c, &door, give_up_at(until_mono_ns));
    if (rc == -ENOENT)
        return rt_err_set(-EACCES, "worker's socket %s: %s", path, strerror(EACCES));
    if (rc < 0)
        return rc;
    ask_peer(c);
    return say_hello(c, slot, until_mono_ns);
}

int control_connect(control_t *c, const char *path, uint32_t slot, int64_t until_mono_ns)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *c = (control_t){.fd = -1};
    if (strlen(path) >= sizeof address.sun_path)
        return rt_err_set(-ENAMETOOLONG,
                          "socket path %s has %zu bytes, Linux allows %zu: set "
                          "SHMRING_RUNTIME_DIR to a shorter folder",
                          path, strlen(path), sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return rt_err_system(errno, "making a socket");
    int rc = connect_fd(c, &address, give_up_at(until_mono_ns));
    if (rc == 0)
        ask_peer(c);
    else if (rc == -EACCES && strchr(path, '/') != NULL)
        rc = enter_by_door(c, path, slot, until_mono_ns);
    if (rc < 0)
        control_close(c);
    return rc;
}
