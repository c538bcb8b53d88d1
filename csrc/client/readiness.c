#include "client/readiness.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TAKEOVER_CHECK_NS (10 * RT_NS_PER_MS)
#define EVENTS 4 /* as many as can be watched */

static int refuse(const char *what)
{
    return rt_err_system(errno, what);
}

static int add(readiness_t *r, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    return refuse("watching a descriptor");
}

static void stop_watching(const readiness_t *r, int *fd)
{
    if (*fd >= 0)
        (void)epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
    *fd = -1;
}

int readiness_open(readiness_t *r)
{
    *r = READINESS_NONE;
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->own_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int rc = r->epoll_fd < 0 || r->own_fd < 0 ? refuse("making an epoll") : 0;
    rc = rc ? rc : add(r, r->own_fd, EPOLLIN);
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
    r->control_fd = control_fd;
    return add(r, control_fd, EPOLLIN | EPOLLRDHUP);
}

int readiness_watch_bell(readiness_t *r, int bell_fd)
{
    uint64_t rings;
    drop_timer(r);
    (void)!read(r->own_fd, &rings, sizeof rings); /* run_timer may have rung it */
    r->bell_fd = bell_fd;
    return add(r, bell_fd, EPOLLIN | EPOLLRDHUP);
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
        else
            gone |= (found[i].events & (EPOLLHUP | EPOLLRDHUP)) != 0;
    }
    return gone;
}

/* Without a timer, for lack of descriptors, the own bell makes it readable until the next worker's
 * bell is there. */
static void run_timer(readiness_t *r)
{
    const struct itimerspec spec = {{.tv_nsec = TAKEOVER_CHECK_NS}, {.tv_nsec = 1}};
    const uint64_t one = 1;
    r->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (r->timer_fd >= 0 && add(r, r->timer_fd, EPOLLIN) == 0)
        timerfd_settime(r->timer_fd, 0, &spec, NULL);
    else
        (void)!write(r->own_fd, &one, sizeof one);
}

void readiness_await_successor(readiness_t *r)
{
    stop_watching(r, &r->bell_fd);
    stop_watching(r, &r->control_fd);
    if (r->timer_fd < 0)
        run_timer(r);
}

void readiness_close(readiness_t *r)
{
    drop_timer(r);
    if (r->epoll_fd >= 0)
        close(r->epoll_fd);
    if (r->own_fd >= 0)
        close(r->own_fd);
    *r = READINESS_NONE;
}
