/* unix.c: sockets of one host. A connection's two ends are two files that know each other; what one
 * sends is queued at the other, with the files that it passes. A stream carries only bells, so it
 * is a number of bytes. */
#include "sim.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define QUEUE_MOST 64u
#define STREAM_MOST 200000u

static void join(file_t *a, file_t *b, uint32_t pid_a, uint32_t pid_b)
{
    a->peer = b;
    b->peer = a;
    a->owner_pid = b->peer_pid = pid_a;
    b->owner_pid = a->peer_pid = pid_b;
}

int unix_pair(file_kind_t kind, int pair[2])
{
    file_t *a = file_new(kind), *b = file_new(kind);
    join(a, b, sim.running->pid, sim.running->pid);
    pair[0] = fd_new(a);
    pair[1] = fd_new(b);
    return 0;
}

/* Returns this process's end, the other waits to be accepted. */
file_t *unix_connect(const char *path)
{
    file_t *listener = listener_at(path);
    if (listener == NULL || listener->waiting == 32) {
        errno = listener == NULL ? ECONNREFUSED : EAGAIN;
        return NULL;
    }
    file_t *own = file_new(FILE_CONN), *theirs = file_new(FILE_CONN);
    join(own, theirs, sim.running->pid, listener->owner_pid);
    listener->backlog[listener->waiting++] = theirs;
    file_edge(listener);
    return own;
}

void unix_hang_up(file_t *file)
{
    file_t *peer = file->peer;
    for (unsigned i = 0; i < file->waiting; i++)
        file_release(file->backlog[i]);
    file->waiting = 0;
    for (message_t *m = file->first; m != NULL; m = m->next)
        for (unsigned i = 0; i < m->file_count; i++)
            file_release(m->files[i]);
    file->first = NULL;
    if (peer == NULL)
        return;
    file->peer = NULL;
    peer->peer = NULL;
    file_edge(peer);
}

/* The descriptors that a message passes, as files. */
static unsigned files_of(const struct msghdr *m, file_t **out)
{
    unsigned count = 0;
    if (m->msg_controllen == 0)
        return 0;
    const struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (c == NULL || c->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < n && i < 4; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        file_t *f = fd_file(fd);
        if (f == NULL)
            continue;
        f->refs++;
        out[count++] = f;
    }
    return count;
}

ssize_t unix_send(file_t *file, const struct msghdr *m)
{
    file_t *peer = file->peer;
    size_t bytes = 0;
    for (size_t i = 0; i < m->msg_iovlen; i++)
        bytes += m->msg_iov[i].iov_len;
    if (peer == NULL || file->shut || peer->shut) {
        errno = EPIPE;
        return -1;
    }
    if (peer->queued >= QUEUE_MOST || peer->count > STREAM_MOST) {
        errno = EAGAIN;
        return -1;
    }
    if (file->kind == FILE_STREAM) {
        peer->count += bytes;
        file_edge(peer);
        return (ssize_t)bytes;
    }
    message_t *queued = kernel_alloc(sizeof *queued + bytes);
    size_t at = 0;
    for (size_t i = 0; i < m->msg_iovlen; i++) {
        if (m->msg_iov[i].iov_len != 0)
            memcpy(queued->data + at, m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
        at += m->msg_iov[i].iov_len;
    }
    queued->bytes = bytes;
    queued->file_count = files_of(m, queued->files);
    if (peer->first == NULL)
        peer->first = queued;
    else
        peer->last->next = queued;
    peer->last = queued;
    peer->queued++;
    file_edge(peer);
    return (ssize_t)bytes;
}

static void pass_files(const message_t *from, struct msghdr *m)
{
    struct cmsghdr *c = m->msg_controllen > 0 ? m->msg_control : NULL;
    unsigned count = from->file_count;
    if (count == 0 || c == NULL) {
        m->msg_controllen = 0;
        return;
    }
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (unsigned i = 0; i < count; i++) {
        int fd = fd_new(from->files[i]);
        memcpy(CMSG_DATA(c) + i * sizeof fd, &fd, sizeof fd);
    }
    m->msg_controllen = CMSG_SPACE(sizeof(int) * count);
}

ssize_t unix_receive(file_t *file, struct msghdr *m)
{
    message_t *next = file->first;
    if (file->kind == FILE_STREAM) {
        size_t bytes = m->msg_iov[0].iov_len < file->count ? m->msg_iov[0].iov_len : file->count;
        file->count -= bytes;
        if (bytes > 0 || file->peer == NULL)
            return (ssize_t)bytes;
        errno = EAGAIN;
        return -1;
    }
    if (next == NULL) {
        if (file->peer == NULL || file->shut || file->peer->shut) {
            m->msg_controllen = 0;
            return 0;
        }
        errno = EAGAIN;
        return -1;
    }
    size_t at = 0;
    for (size_t i = 0; i < m->msg_iovlen && at < next->bytes; i++) {
        size_t left = next->bytes - at, room = m->msg_iov[i].iov_len;
        size_t bytes = left < room ? left : room;
        memcpy(m->msg_iov[i].iov_base, next->data + at, bytes);
        at += bytes;
    }
    m->msg_flags = at < next->bytes ? MSG_TRUNC : 0;
    pass_files(next, m);
    file->first = next->next;
    file->queued--;
    if (file->peer != NULL)
        file_edge(file->peer);
    return (ssize_t)at;
}
