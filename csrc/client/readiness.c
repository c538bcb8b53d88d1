#include "client/readiness.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define TAKEOVER_CHECK_NS (10 * RT_NS_PER_MS)
#define EVENTS 4 /* more than can be watched */

static int refuse(const char *what)
{
    return rt_err_system(errno, what);
}

/* --- the doorbell --------------------------------------------------------------------------- */

/* Binds to a name that the kernel chooses, and connects to it. */
static int connect_to_itself(int fd)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    socklen_t bytes = sizeof own;
    if (bind(fd, (const struct sockaddr *)&own, sizeof own.sun_family) < 0 ||
        getsockname(fd, (struct sockaddr *)&own, &bytes) < 0)
        return -1;
    return connect(fd, (const struct sockaddr *)&own, bytes);
}

int doorbell_open(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect_to_itself(fd) == 0)
        return fd;
    int rc = refuse("making a doorbell");
    if (fd >= 0)
        close(fd);
    return rc;
}

void doorbell_ring(int fd)
{
    (void)!write(fd, "", 1); /* full: it is rung */
}

void doorbell_clear(int fd)
{
    uint8_t ring;
    while (read(fd, &ring, sizeof ring) > 0) {
    }
}

/* --- the epoll ------------------------------------------------------------------------------ */

static int add(readiness_t *r, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return refuse("watching a descriptor");
}

int readiness_open(readiness_t *r, int doorbell_fd)
{
    *r = (readiness_t){epoll_create1(EPOLL_CLOEXEC), -1, -1};
    if (r->epoll_fd < 0)
        return refuse("making an epoll");
    int rc = add(r, doorbell_fd, EPOLLIN);
    if (rc < 0)
        readiness_close(r);
    return rc;
}

static void drop_timer(readiness_t *r)
{
    if (r->timer_fd >= 0)
        close(r->timer_fd);
    r->timer_fd = -1;
}

int readiness_watch(readiness_t *r, int control_fd)
{
    if (control_fd == r->control_fd)
        return 0;
    drop_timer(r);
    r->control_fd = control_fd;
    return add(r, control_fd, EPOLLIN | EPOLLRDHUP);
}

void readiness_unwatch(readiness_t *r)
{
    if (r->control_fd >= 0)
        (void)epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, r->control_fd, NULL);
    r->control_fd = -1;
}

bool readiness_clear(readiness_t *r)
{
    struct epoll_event found[EVENTS];
    bool gone = false;
    int count = epoll_wait(r->epoll_fd, found, EVENTS, 0);
    for (int i = 0; i < count; i++) {
        uint64_t ticks;
        if (found[i].data.fd == r->timer_fd)
            (void)!read(r->timer_fd, &ticks, sizeof ticks);
        else if (found[i].data.fd == r->control_fd)
            gone = (found[i].events & (EPOLLHUP | EPOLLRDHUP)) != 0;
    }
    return gone;
}

int readiness_await_successor(readiness_t *r)
{
    const struct timespec period = {.tv_nsec = TAKEOVER_CHECK_NS};
    const struct itimerspec spec = {period, period};
    readiness_unwatch(r);
    if (r->timer_fd >= 0)
        return 0;
    r->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (r->timer_fd < 0)
        return refuse("making a timer descriptor");
    timerfd_settime(r->timer_fd, 0, &spec, NULL);
    return add(r, r->timer_fd, EPOLLIN);
}

void readiness_close(readiness_t *r)
{
    drop_timer(r);
    if (r->epoll_fd >= 0)
        close(r->epoll_fd);
    *r = (readiness_t){-1, -1, -1};
}
