#include "worker/door/relay.h"

#include "base/rt_err.h"
#include "base/rt_linux.h"
#include "worker/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HELLO_MS 5000
#define SILENCE_S 5 /* of a worker that takes no connection or no request */

typedef struct relay {
    int client;
    int target; /* worker or pool */
    int pidfd;  /* of the client, -1: unknown */
    bool to_pool;
    bool under_way; /* a request has no answer yet */
    const struct ucred *peer;
    rt_a64_t *schedule;
} relay_t;

typedef struct parcel {
    uint8_t bytes[CTL_MAX_BYTES];
    size_t length;
    int fds[CTL_MAX_FDS];
    unsigned fd_count;
} parcel_t;

static parcel_t parcel; /* large, and this process has one thread */

/* --- how many -------------------------------------------------------------------------------- */

/* The schedule is the time until which the user has used up its rate. It may be ahead of now by a
 * burst. */
int64_t relay_take_turn(rt_a64_t *schedule, int64_t now_mono_ns)
{
    uint64_t was = rt_load_relaxed(schedule);
    for (;;) {
        int64_t least = now_mono_ns - RELAY_BURST * RELAY_PERIOD_NS;
        int64_t next = ((int64_t)was > least ? (int64_t)was : least) + RELAY_PERIOD_NS;
        if (rt_cas(schedule, &was, (uint64_t)next))
            return next > now_mono_ns ? next - now_mono_ns : 0;
    }
}

static void wait_for_turn(const relay_t *r)
{
    int64_t wait = relay_take_turn(r->schedule, rt_mono_ns());
    struct timespec left = {.tv_sec = (time_t)(wait / RT_NS_PER_S),
                            .tv_nsec = (long)(wait % RT_NS_PER_S)};
    if (wait > 0)
        (void)nanosleep(&left, NULL);
}

/* --- what ------------------------------------------------------------------------------------ */

int relay_check(const void *message, size_t bytes, bool to_pool)
{
    const size_t most = sizeof(ctl_header_t) + sizeof(ctl_channel_t) + CTL_ENGINE_BYTES;
    ctl_header_t head;
    if (to_pool)
        return 0;
    if (bytes < sizeof head || bytes > most)
        return rt_err_set(-EBADMSG, "a message of %zu bytes: a worker takes %zu to %zu", bytes,
                          sizeof head, most);
    memcpy(&head, message, sizeof head);
    if (head.magic != CTL_MAGIC || head.op == CTL_CLIENT)
        return rt_err_set(-EBADMSG, "this is no request of a client of this version");
    return 0;
}

bool relay_is_udp(int fd)
{
    int domain = 0, type = 0, protocol = 0;
    socklen_t bytes = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &bytes) != 0)
        return false;
    return (domain == AF_INET || domain == AF_INET6) && type == SOCK_DGRAM &&
           protocol == IPPROTO_UDP;
}

/* --- messages -------------------------------------------------------------------------------- */

static void close_fds(void)
{
    while (parcel.fd_count > 0)
        close(parcel.fds[--parcel.fd_count]);
}

static void take_fds(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        parcel.fd_count = n < CTL_MAX_FDS ? (unsigned)n : CTL_MAX_FDS;
        memcpy(parcel.fds, CMSG_DATA(c), parcel.fd_count * sizeof(int));
    }
}

/* With up to so many descriptors: the kernel closes the others here, and this may be the end of
 * this process. Returns the length; 0: hung up; -EAGAIN: there is none; another -errno. */
static int receive(int fd, unsigned most_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
    } control;
    struct iovec part = {.iov_base = parcel.bytes, .iov_len = sizeof parcel.bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (most_fds > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_LEN(sizeof(int) * most_fds);
    }
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    /* A message that was sent before a hang-up, such as its reason, may still wait: see receive() in
     * client/control.c. */
    for (int looks = 0; looks < 2 && (n == 0 || (n < 0 && errno == ECONNRESET)); looks++) {
        message.msg_controllen = most_fds > 0 ? CMSG_LEN(sizeof(int) * most_fds) : 0;
        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    }
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    parcel.fd_count = 0;
    parcel.length = (size_t)n;
    take_fds(&message);
    if (!(message.msg_flags & MSG_TRUNC))
        return (int)n;
    close_fds();
    return -EMSGSIZE;
}

static int pass(int to, int flags)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = parcel.bytes, .iov_len = parcel.length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (parcel.fd_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * parcel.fd_count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * parcel.fd_count);
        memcpy(CMSG_DATA(rights), parcel.fds, sizeof(int) * parcel.fd_count);
    }
    int rc = sendmsg(to, &message, flags | MSG_NOSIGNAL) >= 0 ? 0 : -errno;
    close_fds();
    return rc;
}

static void answer(const relay_t *r, const ctl_header_t *to, int result, const ctl_pong_t *pong)
{
    static reply_t reply;
    reply.result = result;
    if (pong != NULL) {
        memcpy(reply.body, pong, sizeof *pong);
        reply.body_bytes = sizeof *pong;
    }
    (void)connection_reply(r->client, to->op, to->request, &reply);
}

/* --- beginning ------------------------------------------------------------------------------- */

static int connect_to(const char *directory, uint32_t slot)
{
    const struct timeval silence = {.tv_sec = SILENCE_S};
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int n = slot == CTL_HELLO_POOL
                ? snprintf(at.sun_path, sizeof at.sun_path, "%s/pool.sock", directory)
                : snprintf(at.sun_path, sizeof at.sun_path, "%s/worker-%u.sock", directory, slot);
    if (n < 0 || (size_t)n >= sizeof at.sun_path)
        return rt_err_set(-ENAMETOOLONG,
                          "a socket in %s would have a path of %d bytes, the limit is %zu: set "
                          "SHMRING_RUNTIME_DIR to a shorter path",
                          directory, n, sizeof at.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return rt_err_system(errno, "making a socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence); /* connect, too */
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    int rc = rt_err_set(-errno, "%s: %s", at.sun_path, strerror(errno));
    close(fd);
    return rc;
}

/* Tells a worker, or the pool, whose requests follow. */
static int introduce(const relay_t *r)
{
    uint32_t pid = r->peer->pid > 0 ? (uint32_t)r->peer->pid : 0;
    if (r->to_pool) {
        int n =
            snprintf((char *)parcel.bytes, sizeof parcel.bytes,
                     "{\"op\": \"client\", \"pid\": %u, \"uid\": %u}", pid, (unsigned)r->peer->uid);
        parcel.length = (size_t)n;
        return pass(r->target, 0);
    }
    ctl_client_t client = {.pid = pid, .uid = r->peer->uid, .gid = r->peer->gid};
    socklen_t bytes = sizeof client.groups;
    _Static_assert(sizeof(gid_t) == sizeof client.groups[0], "a group is 32 bits long");
    if (getsockopt(r->client, SOL_SOCKET, SO_PEERGROUPS, client.groups, &bytes) == 0)
        client.group_count = bytes / (uint32_t)sizeof client.groups[0];
    ctl_header_t head = {.magic = CTL_MAGIC, .op = CTL_CLIENT, .body_bytes = sizeof client};
    memcpy(parcel.bytes, &head, sizeof head);
    memcpy(parcel.bytes + sizeof head, &client, sizeof client);
    parcel.length = sizeof head + sizeof client;
    return pass(r->target, 0);
}

/* Connects to what the client's first message names. */
static int reach(relay_t *r, const ctl_header_t *head, const char *directory)
{
    ctl_hello_t hello;
    if (head->magic != CTL_MAGIC || head->op != CTL_HELLO ||
        parcel.length != sizeof *head + sizeof hello)
        return rt_err_set(-EPROTO, "a connection to the door begins with HELLO: use one version of "
                                   "shmring in all processes");
    memcpy(&hello, parcel.bytes + sizeof *head, sizeof hello);
    r->to_pool = hello.slot == CTL_HELLO_POOL;
    wait_for_turn(r);
    r->target = connect_to(directory, hello.slot);
    return r->target < 0 ? r->target : introduce(r);
}

static bool begin(relay_t *r, const char *directory)
{
    struct pollfd first = {.fd = r->client, .events = POLLIN};
    ctl_header_t head = {.magic = 0};
    if (poll(&first, 1, HELLO_MS) != 1 || receive(r->client, 0) < (int)sizeof head)
        return false;
    memcpy(&head, parcel.bytes, sizeof head);
    int rc = reach(r, &head, directory);
    if (rc < 0) {
        answer(r, &head, rc, NULL);
        return false;
    }
    struct ucred target = {.pid = 0};
    socklen_t bytes = sizeof target;
    (void)getsockopt(r->target, SOL_SOCKET, SO_PEERCRED, &target, &bytes);
    if (r->to_pool) {
        int on = 1; /* for socket= */
        (void)setsockopt(r->client, SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof on);
    }
    answer(r, &head, 0, &(ctl_pong_t){.pid = (uint32_t)target.pid});
    return true;
}

/* --- passing on ------------------------------------------------------------------------------ */

/* Returns false: the connection ends. */
static bool pass_answer(relay_t *r)
{
    int n = receive(r->target, CTL_MAX_FDS);
    if (n <= 0)
        return n == -EAGAIN;
    r->under_way = false;
    return pass(r->client, MSG_DONTWAIT) == 0;
}

static bool pass_request(relay_t *r)
{
    int n = receive(r->client, r->to_pool ? 1 : 0);
    if (n <= 0 && n != -EMSGSIZE)
        return n == -EAGAIN;
    int rc = n < 0 ? rt_err_set(n, "a message of over %u bytes", CTL_MAX_BYTES)
                   : relay_check(parcel.bytes, parcel.length, r->to_pool);
    if (rc < 0) {
        close_fds();
        connection_refuse(r->client, rc);
        return false;
    }
    if (parcel.fd_count > 0 && !relay_is_udp(parcel.fds[0]))
        close_fds();
    wait_for_turn(r);
    r->under_way = true;
    rc = pass(r->target, 0);
    if (rc == -EPIPE || rc == -ECONNRESET)
        return pass_answer(r); /* the reason, if it hung up with one */
    return rc == 0;
}

static void serve(relay_t *r)
{
    bool goes_on = true;
    while (goes_on) {
        struct pollfd ready[] = {
            {.fd = r->pidfd, .events = POLLIN},
            {.fd = r->target, .events = POLLIN},
            {.fd = r->client, .events = r->under_way ? POLLRDHUP : POLLIN},
        };
        if (poll(ready, 3, -1) < 0)
            goes_on = errno == EINTR;
        else if (ready[0].revents != 0)
            goes_on = false;
        else if (ready[1].revents != 0)
            goes_on = pass_answer(r);
        else if (ready[2].revents != 0)
            goes_on = !r->under_way && pass_request(r);
    }
}

static int pidfd_of(int client, const struct ucred *peer)
{
    int fd = -1;
    socklen_t bytes = sizeof fd;
    if (getsockopt(client, SOL_SOCKET, SO_PEERPIDFD, &fd, &bytes) == 0)
        return fd;
    return peer->pid > 0 ? (int)syscall(SYS_pidfd_open, peer->pid, 0) : -1;
}

void relay_run(int client_fd, const struct ucred *client, const char *directory, rt_a64_t *schedule)
{
    relay_t r = {.client = client_fd,
                 .target = -1,
                 .pidfd = pidfd_of(client_fd, client),
                 .peer = client,
                 .schedule = schedule};
    if (begin(&r, directory))
        serve(&r);
}
