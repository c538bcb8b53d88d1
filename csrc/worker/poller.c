#include "worker/poller.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "base/rt_linux.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

int poller_open(poller_t *p)
{
    *p = (poller_t){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    return p->epoll_fd >= 0 ? 0 : rt_err_system(errno, "epoll_create1");
}

void poller_close(poller_t *p)
{
    if (p->epoll_fd >= 0)
        close(p->epoll_fd);
    p->epoll_fd = -1;
}

int poller_watch(poller_t *p, wrk_source_t *source, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return rt_err_set(-errno, "cannot watch descriptor %d: %s", fd, strerror(errno));
    source->fd = fd;
    source->events = events;
    return 0;
}

void poller_change(poller_t *p, wrk_source_t *source, uint32_t events)
{
    if (source->fd < 0 || source->events == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) == 0)
        source->events = events;
}

void poller_rearm(poller_t *p, wrk_source_t *source)
{
    struct epoll_event event = {.events = source->events, .data.ptr = source};
    (void)epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
}

void poller_forget(poller_t *p, wrk_source_t *source)
{
    if (source->fd < 0)
        return;
    (void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    source->fd = -1;
    for (int i = p->next; i < p->count; i++)
        if (p->events[i].data.ptr == source)
            p->events[i].data.ptr = NULL;
}

/* Moves the sources with at_once to the front. */
static void put_first(poller_t *p)
{
    int first = 0;
    for (int i = 0; i < p->count; i++) {
        struct epoll_event event = p->events[i];
        if (!((const wrk_source_t *)event.data.ptr)->at_once)
            continue;
        p->events[i] = p->events[first];
        p->events[first++] = event;
    }
}

static int fetch(poller_t *p)
{
    return epoll_wait(p->epoll_fd, p->events, POLLER_BATCH, 0);
}

/* Before Linux 5.11, and under qemu-user: as precise, in two calls. */
static int sleep_and_fetch(poller_t *p, const struct timespec *limit)
{
    struct pollfd ready = {.fd = p->epoll_fd, .events = POLLIN};
    return ppoll(&ready, 1, limit, NULL) > 0 ? fetch(p) : 0;
}

static int sleep_until_events(poller_t *p, const struct timespec *limit)
{
    if (!p->sleeps_in_poll) {
        int n = rt_epoll_wait_ns(p->epoll_fd, p->events, POLLER_BATCH, limit);
        if (n >= 0 || errno != ENOSYS)
            return n;
        p->sleeps_in_poll = true;
    }
    return sleep_and_fetch(p, limit);
}

int poller_wait(poller_t *p, int64_t timeout_ns)
{
    p->next = 0;
    p->count = 0;
    int n = 0;
    if (timeout_ns <= 0) {
        n = fetch(p);
    } else {
        struct timespec limit = {.tv_sec = timeout_ns / RT_NS_PER_S,
                                 .tv_nsec = timeout_ns % RT_NS_PER_S};
        n = sleep_until_events(p, &limit);
    }
    p->count = n > 0 ? n : 0;
    put_first(p);
    return p->count;
}

wrk_source_t *poller_next(poller_t *p, uint32_t *events)
{
    while (p->next < p->count) {
        const struct epoll_event *event = &p->events[p->next++];
        wrk_source_t *source = event->data.ptr;
        if (source == NULL)
            continue;
        /* The events that a source asks for may have changed since they were fetched. */
        *events = event->events & (source->events | EPOLLERR | EPOLLHUP);
        if (*events != 0)
            return source;
    }
    return NULL;
}
