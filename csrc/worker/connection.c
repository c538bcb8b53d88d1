#include "worker/connection.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int send_message(int fd, const ctl_header_t *head, const void *body, const int *fds,
                        unsigned fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
    } control;
    struct iovec parts[2] = {
        {.iov_base = (void *)(uintptr_t)head, .iov_len = sizeof *head},
        {.iov_base = (void *)(uintptr_t)body, .iov_len = head->body_bytes},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * fd_count);
    }
    ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent >= 0 ? 0 : -errno;
}

int connection_reply(int fd, uint32_t op, uint32_t request, const reply_t *reply)
{
    ctl_header_t head = {
        .magic = CTL_MAGIC,
        .op = op,
        .request = request,
        .result = reply->result,
        .body_bytes = reply->body_bytes,
    };
    const void *body = reply->body;
    if (reply->result < 0) {
        body = rt_err_text();
        head.body_bytes = (uint32_t)strnlen(body, CTL_TEXT_BYTES);
    }
    return send_message(fd, &head, body, reply->fds, reply->result < 0 ? 0 : reply->fd_count);
}

void connection_refuse(int fd, int result)
{
    static reply_t reply; /* large */
    reply.result = result;
    (void)connection_reply(fd, 0, 0, &reply);
}

void connection_send(wrk_conn_t *conn, uint32_t op, uint32_t request, const reply_t *reply)
{
    if (connection_reply(conn->source.fd, op, request, reply) < 0)
        (void)shutdown(conn->source.fd, SHUT_RDWR);
}

void connection_announce(worker_t *w, int fd, int result)
{
    ctl_pong_t pong = {
        .pid = (uint32_t)getpid(), .channels = w->channel_count, .now_mono_ns = rt_mono_ns()};
    const char *text = rt_err_text();
    bool ready = result == 0;
    ctl_header_t head = {
        .magic = CTL_MAGIC,
        .op = CTL_PING,
        .result = result,
        .body_bytes = ready ? (uint32_t)sizeof pong : (uint32_t)strnlen(text, CTL_TEXT_BYTES),
    };
    (void)send_message(fd, &head, ready ? (const void *)&pong : text, NULL, 0);
}
