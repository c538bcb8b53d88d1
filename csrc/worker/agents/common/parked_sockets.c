#include "worker/agents/common/parked_sockets.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel counts all descriptors in flight, so this counts those
 * of all parks of this process. */
static uint64_t share = UINT64_MAX;
static uint64_t held;

void agent_park_limit(uint64_t files)
{
    share = files / AGENT_PARK_SHARE;
    if (share > AGENT_PARK_FILES_MOST)
        share = AGENT_PARK_FILES_MOST;
}

typedef union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
} control_t;

/* The kernel chooses the address, a name that no file has. No other process can send there: a
 * connected socket accepts datagrams from its peer only. */
static int connect_to_itself(int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t bytes = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0 ||
        connect(fd, (struct sockaddr *)&address, bytes) != 0)
        return -errno;
    return 0;
}

int agent_park_open(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? -errno : connect_to_itself(fd);
    if (rc == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return rt_err_system(-rc, "opening a socket that keeps others");
}

bool agent_is_park(int fd)
{
    int domain = 0;
    socklen_t bytes = sizeof domain;
    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 &&
           domain == AF_UNIX;
}

static bool put(int park, uint32_t key, int fd)
{
    control_t control;
    struct iovec part = {.iov_base = &key, .iov_len = sizeof key};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    memset(&control, 0, sizeof control);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    bool is_put = sendmsg(park, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof key;
    held += is_put;
    return is_put;
}

bool agent_park_put(int park, uint32_t key, int fd)
{
    return park >= 0 && held < share && put(park, key, fd);
}

/* Returns whether there was one. */
static bool take_next(int park, parked_t *out)
{
    control_t control;
    struct iovec part = {.iov_base = &out->key, .iov_len = sizeof out->key};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    *out = (parked_t){.fd = -1};
    if (recvmsg(park, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
        return false;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights != NULL && rights->cmsg_type == SCM_RIGHTS &&
        rights->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&out->fd, CMSG_DATA(rights), sizeof out->fd);
    return true;
}

/* Each descriptor is taken out and put back at once, so that none is held by this process alone for
 * longer than one call. Putting it back counts it, because the predecessor's count ended with the
 * predecessor. The share does not limit it, because the number of descriptors in flight does not
 * grow. A message without a descriptor marks the end. One that a predecessor left there is
 * discarded. */
unsigned agent_park_list(int park, parked_t out[AGENT_PARK_MOST])
{
    uint32_t own = (uint32_t)getpid();
    bool marked = send(park, &own, sizeof own, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof own;
    unsigned count = 0;
    while (count < AGENT_PARK_MOST && take_next(park, &out[count])) {
        if (out[count].fd < 0 && out[count].key == own)
            break;
        if (out[count].fd >= 0 && marked)
            (void)put(park, out[count].key, out[count].fd);
        count += out[count].fd >= 0;
    }
    for (unsigned i = 0; !marked && i < count; i++)
        (void)put(park, out[i].key, out[i].fd);
    return count;
}

/* For a descriptor taken out of a park that this worker fills. */
static void close_parked(const parked_t *one)
{
    if (one->fd < 0)
        return;
    close(one->fd);
    held -= held > 0;
}

void agent_park_close(int park)
{
    parked_t one;
    if (park < 0)
        return;
    while (take_next(park, &one))
        close_parked(&one);
    close(park);
}

/* Descriptors in front of the wanted one are put back at the end. */
void agent_park_drop(int park, uint32_t key)
{
    parked_t one;
    for (unsigned i = 0; park >= 0 && i < AGENT_PARK_MOST && take_next(park, &one); i++) {
        bool meant = one.key == key;
        if (!meant && one.fd >= 0)
            (void)put(park, one.key, one.fd);
        close_parked(&one);
        if (meant)
            return;
    }
}

int agent_parked_take(parked_t *parked, unsigned count, uint32_t key)
{
    for (unsigned i = 0; i < count; i++) {
        int fd = parked[i].fd;
        if (parked[i].key != key || fd < 0)
            continue;
        parked[i].fd = -1;
        return fd;
    }
    return -1;
}

void agent_parked_drop(int park, parked_t *parked, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (parked[i].fd < 0)
            continue;
        agent_park_drop(park, parked[i].key);
        close(parked[i].fd);
    }
}
