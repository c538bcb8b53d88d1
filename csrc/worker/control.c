#include "worker/control.h"

#include "base/rt_err.h"
#include "worker/control_run.h"
#include "worker/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 128

/* The listener is edge-triggered, so that a connection that cannot be accepted (for lack of memory,
 * for example) does not keep the worker awake: the next connection or hang-up triggers another
 * attempt. */
static void retry_accept(worker_t *w)
{
    poller_rearm(&w->poller, &w->listener);
}

/* --- connections --------------------------------------------------------------------------- */

static void drop_conn(wrk_conn_t *conn)
{
    worker_t *w = conn->worker;
    int fd = conn->source.fd;
    poller_forget(&w->poller, &conn->source);
    close(fd);
    tap_forget_conn(w, conn);
    for (wrk_conn_t **at = &w->conns; *at != NULL; at = &(*at)->next) {
        if (*at == conn) {
            *at = conn->next;
            break;
        }
    }
    w->conn_count--;
    if (w->accept_failed)
        retry_accept(w);
    if (w->pool == conn) {
        w->pool = NULL;
        if (!w->stop)
            worker_note(w, NULL, SHM_EVENT_pool_gone, 1, w->args.private_pool, 0, 0, NULL,
                        rt_mono_ns());
        if (w->args.private_pool)
            w->stop = true;
    }
    conn->next = w->gone;
    w->gone = conn;
    (void)control_drop_step(w); /* this is all that most have */
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

/* Collects the descriptors of a message. Closes those beyond max. */
static unsigned collect_fds(struct msghdr *message, int *fds, unsigned max)
{
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (count < max)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

/* One more than allowed, so that too many are noticed. */
#define ROOM_FDS (CTL_MAX_FDS + 1)

/* *fds_lost: fewer came than were sent, though there was room for them. This is how the kernel
 * reports that this process may not have more open files (unix(7)). */
static ssize_t receive(int fd, void *buffer, size_t bytes, int *fds, unsigned *fd_count,
                       bool *fds_lost)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * ROOM_FDS)];
    } control;
    struct iovec part = {.iov_base = buffer, .iov_len = bytes};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *fd_count = n >= 0 ? collect_fds(&message, fds, ROOM_FDS) : 0;
    *fds_lost = n >= 0 && (message.msg_flags & MSG_CTRUNC) != 0 && *fd_count < ROOM_FDS;
    return n;
}

/* A client that stopped waiting raised an error: its request must not take effect later. A pool
 * posts requests, and those are carried out though it died. */
static int check_awaited(const wrk_conn_t *conn, const command_t *c, uint32_t events)
{
    uint32_t now_ms = (uint32_t)(rt_mono_ns() / RT_NS_PER_MS);
    bool is_over = c->until_ms != 0 && (int32_t)(now_ms - c->until_ms) > 0;
    bool has_left = (events & EPOLLHUP) != 0 && conn != conn->worker->pool;
    if (!is_over && !has_left)
        return 0;
    return rt_err_set(-ETIMEDOUT, "the request was not carried out: its client stopped waiting");
}

/* The kernel passes no descriptors while more of this user's are in flight than this process may
 * have open, whoever sent them. */
static void answer(wrk_conn_t *conn, const command_t *command, reply_t *reply)
{
    int rc = connection_reply(conn->source.fd, command->op, command->request, reply);
    close_all(reply->fds + reply->fd_count - reply->owned, reply->owned);
    if (rc == -ETOOMANYREFS) {
        control_without_fds(conn, command, reply);
        rc = connection_reply(conn->source.fd, command->op, command->request, reply);
    }
    if (rc < 0)
        (void)shutdown(conn->source.fd, SHUT_RDWR);
}

static int check_count(const worker_t *w)
{
    if (w->conn_count <= CONTROL_MAX_CONNS)
        return 0;
    return rt_err_set(-EUSERS, "worker %u has %u connections, the limit: close channels",
                      w->args.slot, CONTROL_MAX_CONNS);
}

/* Only processes of this user, and root, reach the listener. The door's relays are among them, and
 * name the client whose requests follow. */
static int name_client(wrk_conn_t *conn, const ctl_client_t *client)
{
    if (conn->named || conn == conn->worker->pool)
        return rt_err_set(-EPERM, "this connection has its client already");
    conn->groups = calloc(client->group_count + 1, sizeof *conn->groups);
    if (conn->groups == NULL)
        return rt_err_set(-ENOMEM, "no memory for the groups of a client");
    memcpy(conn->groups, client->groups, client->group_count * sizeof *conn->groups);
    conn->group_count = client->group_count;
    conn->named = true;
    conn->pid = client->pid > 0 ? client->pid : SHM_OWNER_ELSEWHERE;
    conn->uid = client->uid;
    conn->gid = client->gid;
    conn->trusted = client->uid == 0 || client->uid == geteuid();
    return 0;
}

static int run_message(wrk_conn_t *conn, uint32_t events, const void *message, size_t bytes,
                       int *fds, unsigned count, bool fds_lost, reply_t *reply)
{
    static command_t command; /* large, and this thread is the only one */
    rt_err_clear();
    reply->result = command_parse(&command, message, bytes, count);
    if (fds_lost && reply->result != -EBADMSG)
        reply->result = rt_err_system(EMFILE, "receiving descriptors");
    if (reply->result == 0)
        reply->result = check_awaited(conn, &command, events);
    if (reply->result == 0 && command.pool_only && !conn->trusted)
        reply->result = rt_err_set(-EPERM,
                                   "uid %u may not do this: only root, the worker's own user "
                                   "and its pool may",
                                   (unsigned)conn->uid);
    bool names = command.op == CTL_CLIENT;
    if (names)
        command.request = 0; /* its refusal is the reason of a hang-up */
    if (reply->result != 0)
        close_all(fds, count);
    else if (names)
        reply->result = name_client(conn, &command.client);
    else
        control_run(conn, &command, fds, count, reply);
    /* A client that asks for a channel of another worker has done nothing wrong. */
    if (reply->result < 0 && reply->result != -ENOENT)
        worker_note(conn->worker, NULL, SHM_EVENT_request_refused, 1, -reply->result, 0, command.op,
                    rt_err_text(), rt_mono_ns());
    if (reply->result == -EBADMSG)
        return -EBADMSG;
    if (!reply->deferred && !(names && reply->result == 0))
        answer(conn, &command, reply);
    return names ? reply->result : 0;
}

static void on_message(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    (void)now_mono_ns;
    static uint8_t buffer[CTL_MAX_BYTES];
    static reply_t reply;
    wrk_conn_t *conn = (wrk_conn_t *)source; /* its first member */
    if (conn->job.op != 0)
        return;
    int fds[ROOM_FDS];
    unsigned count = 0;
    bool fds_lost = false;
    ssize_t n = receive(source->fd, buffer, sizeof buffer, fds, &count, &fds_lost);
    if (n < 0 && errno == ECONNRESET) /* once, if it hung up without reading answers */
        n = receive(source->fd, buffer, sizeof buffer, fds, &count, &fds_lost);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    reply.body_bytes = 0;
    reply.fd_count = 0;
    reply.owned = 0;
    reply.deferred = false;
    if (n <= 0 || run_message(conn, events, buffer, (size_t)n, fds, count, fds_lost, &reply) < 0) {
        if (n == 0)
            close_all(fds, count);
        drop_conn(conn);
    }
}

static int add_conn(worker_t *w, int fd, wrk_conn_t **out)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
        return rt_err_set(-errno, "SO_PEERCRED: %s", strerror(errno));
    wrk_conn_t *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return rt_err_set(-ENOMEM, "no memory for a connection");
    conn->worker = w;
    conn->source.on_event = on_message;
    conn->source.fd = -1;
    conn->pid = peer.pid > 0 ? (uint32_t)peer.pid : SHM_OWNER_ELSEWHERE;
    conn->uid = peer.uid;
    conn->gid = peer.gid;
    conn->trusted = peer.uid == 0 || peer.uid == geteuid();
    int rc = poller_watch(&w->poller, &conn->source, fd, CONNECTION_EVENTS);
    if (rc < 0) {
        free(conn);
        return rc;
    }
    conn->next = w->conns;
    w->conns = conn;
    w->conn_count++;
    *out = conn;
    return 0;
}

static void welcome(worker_t *w, int fd)
{
    wrk_conn_t *conn = NULL;
    rt_err_clear();
    int rc = add_conn(w, fd, &conn);
    if (rc < 0) {
        connection_refuse(fd, rc);
        close(fd);
        return;
    }
    rc = check_count(w);
    if (rc < 0) {
        connection_refuse(fd, rc);
        drop_conn(conn);
    }
}

/* One descriptor is kept in reserve, so that a client that cannot be served gets an answer. */
static int accept_to_refuse(worker_t *w)
{
    if (w->spare_fd >= 0)
        close(w->spare_fd);
    w->spare_fd = -1;
    int fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        connection_refuse(fd, rt_err_system(EMFILE, "accepting a connection"));
        close(fd);
    }
    w->spare_fd = fcntl(w->listen_fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -1 : 0;
}

static void on_accept(wrk_source_t *source, uint32_t events, int64_t now_mono_ns)
{
    (void)events;
    (void)now_mono_ns;
    worker_t *w = (worker_t *)((char *)source - offsetof(worker_t, listener));
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int err = fd >= 0 ? 0 : errno;
    w->accept_failed = err != 0 && err != EAGAIN && err != EINTR && err != ECONNABORTED;
    if (fd >= 0)
        welcome(w, fd);
    else if (err == EAGAIN || (w->accept_failed && (err != EMFILE || accept_to_refuse(w) < 0)))
        return;
    retry_accept(w); /* others may wait as well: one per turn, between deadlines */
}

/* --- open, close --------------------------------------------------------------------------- */

static int listen_here(worker_t *w)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(w->socket_path, sizeof w->socket_path, "%s/worker-%u.sock",
                     w->args.runtime_dir, w->args.slot);
    if (n < 0 || (size_t)n >= sizeof address.sun_path)
        return rt_err_set(
            -ENAMETOOLONG,
            "control socket %s/worker-%u.sock is longer than the %zu characters a Unix "
            "socket may have: set SHMRING_RUNTIME_DIR to a shorter path",
            w->args.runtime_dir, w->args.slot, sizeof address.sun_path - 1);
    memcpy(address.sun_path, w->socket_path, (size_t)n + 1);
    w->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->listen_fd < 0)
        return rt_err_system(errno, "control socket");
    /* The pool starts one worker per slot: an existing socket was left by a dead worker. */
    (void)unlink(w->socket_path);
    mode_t old = umask(0177); /* for this user alone: others come in by the door */
    int rc = bind(w->listen_fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
    (void)umask(old);
    if (rc < 0)
        return rt_err_set(rc, "bind %s: %s", w->socket_path, strerror(-rc));
    if (listen(w->listen_fd, LISTEN_BACKLOG) != 0)
        return rt_err_set(-errno, "listen %s: %s", w->socket_path, strerror(errno));
    w->listener.on_event = on_accept;
    w->spare_fd = fcntl(w->listen_fd, F_DUPFD_CLOEXEC, 0);
    return poller_watch(&w->poller, &w->listener, w->listen_fd, EPOLLIN | EPOLLET);
}

int control_open(worker_t *w)
{
    int rc = listen_here(w);
    if (rc < 0)
        return rc;
    rc = add_conn(w, w->args.pool_fd, &w->pool);
    if (rc < 0) {
        rt_err_append("--pool-fd %d", w->args.pool_fd);
        return rc;
    }
    w->pool->trusted = true;
    return 0;
}

void control_close(worker_t *w)
{
    w->args.private_pool = false; /* from now on hang-ups have no meaning */
    while (w->conns != NULL)
        drop_conn(w->conns);
    while (control_drop_step(w))
        ;
    if (w->listen_fd >= 0) {
        close(w->listen_fd);
        (void)unlink(w->socket_path);
        w->listen_fd = -1;
        if (w->spare_fd >= 0)
            close(w->spare_fd);
        w->spare_fd = -1;
    }
}
