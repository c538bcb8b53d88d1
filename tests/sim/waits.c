/* waits.c: epoll, poll and what they wait for. An edge-triggered watch is told of a file when its
 * count of edges has grown since it was told last. */
#include "sim.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

static watch_t *watch_of(file_t *epoll, const file_t *file)
{
    for (unsigned i = 0; i < WATCHES_MOST; i++)
        if (epoll->watches[i].file == file)
            return &epoll->watches[i];
    return NULL;
}

int waits_control(file_t *epoll, int op, file_t *file, const struct epoll_event *event)
{
    watch_t *w = watch_of(epoll, file);
    if (op == EPOLL_CTL_ADD && w == NULL)
        w = watch_of(epoll, NULL);
    if (w == NULL) {
        errno = op == EPOLL_CTL_ADD ? ENOSPC : ENOENT;
        return -1;
    }
    if (op == EPOLL_CTL_DEL) {
        memset(w, 0, sizeof *w);
        return 0;
    }
    *w = (watch_t){.file = file, .events = event->events, .data = event->data.u64};
    w->seen = file->edges - 1;
    return 0;
}

/* A file that is gone is watched no more. */
void waits_forget(const file_t *file)
{
    for (unsigned i = 0; i < FILES_MOST; i++) {
        file_t *epoll = file_at(i);
        watch_t *w = epoll->kind == FILE_EPOLL ? watch_of(epoll, file) : NULL;
        if (w != NULL)
            memset(w, 0, sizeof *w);
    }
}

static uint32_t found_by(const watch_t *w)
{
    if (w->file == NULL)
        return 0;
    uint32_t events = file_events(w->file) & (w->events | EPOLLERR | EPOLLHUP);
    return (w->events & EPOLLET) && w->seen == w->file->edges ? 0 : events;
}

static int collect(file_t *epoll, struct epoll_event *out, int most)
{
    int count = 0;
    for (unsigned i = 0; i < WATCHES_MOST && count < most; i++) {
        watch_t *w = &epoll->watches[i];
        uint32_t events = found_by(w);
        if (events == 0)
            continue;
        w->seen = w->file->edges;
        out[count].events = events;
        out[count++].data.u64 = w->data;
    }
    return count;
}

static bool epoll_is_ready(void *of)
{
    const file_t *epoll = of;
    for (unsigned i = 0; i < WATCHES_MOST; i++)
        if (found_by(&epoll->watches[i]) != 0)
            return true;
    return false;
}

int waits_epoll(file_t *epoll, struct epoll_event *out, int most, int64_t until_ns)
{
    int count = collect(epoll, out, most);
    if (count > 0 || until_ns == 0)
        return count;
    while (sim_block(until_ns, NULL, epoll_is_ready, epoll)) {
        count = collect(epoll, out, most);
        if (count > 0)
            return count;
    }
    return collect(epoll, out, most);
}

/* --- poll ------------------------------------------------------------------------------------- */

typedef struct polled {
    struct pollfd *fds;
    file_t **files;
    unsigned count;
} polled_t;

static int look(const polled_t *p)
{
    int ready = 0;
    for (unsigned i = 0; i < p->count; i++) {
        p->fds[i].revents = 0;
        if (p->files[i] == NULL)
            continue;
        uint32_t events = p->files[i]->kind == FILE_EPOLL && epoll_is_ready(p->files[i])
                              ? EPOLLIN
                              : file_events(p->files[i]);
        p->fds[i].revents = (short)(events & ((uint16_t)p->fds[i].events | EPOLLERR | EPOLLHUP));
        ready += p->fds[i].revents != 0;
    }
    return ready;
}

static bool poll_is_ready(void *of)
{
    return look(of) > 0;
}

int waits_poll(struct pollfd *fds, unsigned count, int64_t until_ns)
{
    file_t *files[16] = {NULL};
    for (unsigned i = 0; i < count && i < 16; i++)
        files[i] = fds[i].fd >= 0 ? fd_file(fds[i].fd) : NULL;
    polled_t p = {.fds = fds, .files = files, .count = count};
    int ready = look(&p);
    while (ready == 0 && until_ns != 0 && sim_block(until_ns, NULL, poll_is_ready, &p))
        ready = look(&p);
    return ready > 0 ? ready : look(&p);
}
