/* sockets.c: the system calls of sockets. calls.c tells how they come here. */
#include "sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define OWN_UID 1000

#define IN(ns) (SIM_POINT, sim_clock.now_ns += (ns))
#define OUT SIM_POINT

#define WRAP(type, name, ...)        \
    type __wrap_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

static int fail(int error)
{
    errno = error;
    return -1;
}

WRAP(int, socket, int family, int type, int protocol)
{
    (void)protocol;
    IN(1500);
    if (family == AF_UNIX)
        return fd_new(file_new(FILE_CONN));
    if (family == AF_INET && (type & 0xf) == SOCK_DGRAM)
        return fd_new(file_new(FILE_UDP));
    return fail(EAFNOSUPPORT);
}

WRAP(int, socketpair, int family, int type, int protocol, int *pair)
{
    (void)family;
    (void)protocol;
    IN(2000);
    return unix_pair((type & 0xf) == SOCK_STREAM ? FILE_STREAM : FILE_CONN, pair);
}

WRAP(int, bind, int fd, const struct sockaddr *to, socklen_t bytes)
{
    (void)bytes;
    IN(900);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (file->kind == FILE_CONN) {
        const struct sockaddr_un *path = (const struct sockaddr_un *)(const void *)to;
        (void)snprintf(file->path, sizeof file->path, "%s", path->sun_path);
        return 0;
    }
    const struct sockaddr_in *own = (const struct sockaddr_in *)(const void *)to;
    uint16_t port = ntohs(own->sin_port);
    if (port == OWN_PORT && udp_of_port(port) != NULL)
        return fail(EADDRINUSE);
    file->port = port != 0 ? port : 1;
    file->bound = true;
    OUT;
    return 0;
}

WRAP(int, listen, int fd, int backlog)
{
    (void)backlog;
    IN(500);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    file->kind = FILE_LISTENER;
    file->owner_pid = sim.running->pid;
    return 0;
}

WRAP(int, accept4, int fd, struct sockaddr *from, socklen_t *bytes, int flags)
{
    (void)from;
    (void)bytes;
    (void)flags;
    IN(900);
    file_t *file = fd_file(fd);
    if (file == NULL || file->waiting == 0)
        return fail(EAGAIN);
    file_t *first = file->backlog[0];
    memmove(file->backlog, file->backlog + 1, --file->waiting * sizeof *file->backlog);
    return fd_new(first);
}

WRAP(int, connect, int fd, const struct sockaddr *to, socklen_t bytes)
{
    (void)bytes;
    IN(1500);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (file->kind == FILE_UDP) {
        file->connected = to->sa_family != AF_UNSPEC;
        return 0;
    }
    file_t *own = unix_connect(((const struct sockaddr_un *)(const void *)to)->sun_path);
    if (own == NULL)
        return -1;
    (void)fd_replace(fd, own);
    file_release(own); /* the descriptor has it */
    OUT;
    return 0;
}

WRAP(int, shutdown, int fd, int how)
{
    IN(300);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (how == SHUT_RDWR) {
        file->shut = true;
        if (file->peer != NULL)
            file_edge(file->peer);
        file_edge(file);
    }
    return 0;
}

/* --- options ---------------------------------------------------------------------------------- */

static int give_name(uint16_t port, uint8_t host, struct sockaddr *out, socklen_t *bytes)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons(port),
                               .sin_addr.s_addr = htonl(0x0a000000u | host)};
    memcpy(out, &name, sizeof name);
    *bytes = sizeof name;
    return 0;
}

WRAP(int, getsockname, int fd, struct sockaddr *out, socklen_t *bytes)
{
    IN(300);
    file_t *file = fd_file(fd);
    return file != NULL ? give_name(file->port, 1, out, bytes) : -1;
}

WRAP(int, getpeername, int fd, struct sockaddr *out, socklen_t *bytes)
{
    IN(300);
    file_t *file = fd_file(fd);
    if (file == NULL || !file->connected)
        return fail(ENOTCONN);
    return give_name(PEER_PORT, 2, out, bytes);
}

WRAP(int, setsockopt, int fd, int level, int option, const void *value, socklen_t bytes)
{
    (void)bytes;
    IN(300);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (level == SOL_UDP && option == UDP_GRO)
        memcpy(&file->gro, value, sizeof file->gro);
    return 0;
}

static int number_of(const file_t *file, int level, int option)
{
    if (level == SOL_UDP)
        return option == UDP_GRO ? file->gro : sim.plan.gso ? 0 : -1;
    if (level != SOL_SOCKET)
        return 0;
    switch (option) {
    case SO_TYPE:
        return SOCK_DGRAM;
    case SO_DOMAIN:
        return file->kind == FILE_UDP ? AF_INET : AF_UNIX;
    case SO_PROTOCOL:
        return IPPROTO_UDP;
    case SO_RCVBUF:
    case SO_SNDBUF:
        return 1 << 20;
    default:
        return 0;
    }
}

WRAP(int, getsockopt, int fd, int level, int option, void *out, socklen_t *bytes)
{
    IN(300);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (level == SOL_SOCKET && option == SO_PEERCRED) {
        struct ucred peer = {.pid = (pid_t)file->peer_pid, .uid = OWN_UID, .gid = OWN_UID};
        memcpy(out, &peer, sizeof peer);
        return 0;
    }
    if (level == SOL_SOCKET && option == SO_COOKIE) {
        memcpy(out, &file->cookie, sizeof file->cookie);
        return 0;
    }
    if (level == SOL_SOCKET && option == SO_MEMINFO) {
        uint32_t facts[SK_MEMINFO_VARS] = {[SK_MEMINFO_DROPS] = file->drops};
        memcpy(out, facts, sizeof facts);
        *bytes = sizeof facts;
        return 0;
    }
    int value = number_of(file, level, option);
    if (value < 0 || *bytes < sizeof value)
        return fail(ENOPROTOOPT);
    memcpy(out, &value, sizeof value);
    return 0;
}

/* --- data ------------------------------------------------------------------------------------- */

static ssize_t send_one(int fd, const struct msghdr *m)
{
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    return file->kind == FILE_UDP ? udp_put(file, m) : unix_send(file, m);
}

WRAP(ssize_t, sendmsg, int fd, const struct msghdr *m, int flags)
{
    (void)flags;
    IN(900);
    ssize_t sent = send_one(fd, m);
    OUT;
    return sent;
}

WRAP(ssize_t, sendto, int fd, const void *data, size_t bytes, int flags, const struct sockaddr *to,
     socklen_t to_bytes)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    struct msghdr m = {.msg_name = (void *)(uintptr_t)to,
                       .msg_namelen = to_bytes,
                       .msg_iov = &part,
                       .msg_iovlen = 1};
    IN(800);
    if (flags & 0x10) /* a probe: nothing leaves */
        return 0;
    ssize_t sent = send_one(fd, &m);
    OUT;
    return sent;
}

WRAP(ssize_t, send, int fd, const void *data, size_t bytes, int flags)
{
    (void)flags;
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    IN(800);
    ssize_t sent = send_one(fd, &m);
    OUT;
    return sent;
}

/* A process that is killed meanwhile ends between two messages. */
WRAP(int, sendmmsg, int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    (void)flags;
    IN(800);
    for (unsigned i = 0; i < count; i++) {
        ssize_t sent = send_one(fd, &messages[i].msg_hdr);
        if (sent < 0)
            return i > 0 ? (int)i : -1;
        messages[i].msg_len = (unsigned)sent;
        IN(400);
    }
    return (int)count;
}

WRAP(ssize_t, recvmsg, int fd, struct msghdr *m, int flags)
{
    IN(600);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (file->kind == FILE_UDP) /* errors of sent packets: there are none */
        return flags & MSG_ERRQUEUE ? fail(EAGAIN) : udp_get(file, m);
    ssize_t got = unix_receive(file, m);
    OUT;
    return got;
}

WRAP(ssize_t, recv, int fd, void *to, size_t bytes, int flags)
{
    struct iovec part = {.iov_base = to, .iov_len = bytes};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    (void)flags;
    IN(600);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    return file->kind == FILE_UDP ? udp_get(file, &m) : unix_receive(file, &m);
}

/* The kernel writes a message's length when it has copied it. */
WRAP(int, recvmmsg, int fd, struct mmsghdr *messages, unsigned count, int flags,
     struct timespec *timeout)
{
    (void)timeout;
    IN(600);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (flags & MSG_ERRQUEUE) /* no packet is stamped, and no error is kept */
        return fail(EAGAIN);
    for (unsigned i = 0; i < count; i++) {
        if (chance_permille(&sim.calls, sim.plan.send_trouble / 4))
            return i > 0 ? (int)i : fail(EINTR);
        int got = udp_get(file, &messages[i].msg_hdr);
        if (got < 0)
            return i > 0 ? (int)i : -1;
        messages[i].msg_len = (unsigned)got;
        IN(250);
    }
    return (int)count;
}
