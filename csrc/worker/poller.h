/* poller.h: the descriptors that the worker's loop listens to. A thin layer over epoll. The
 * worker's thread only.
 *
 * A source is embedded in the struct that owns the descriptor. Readiness is level-triggered unless
 * EPOLLET is requested, so a handler may stop early and is called again. */
#ifndef WRK_POLLER_H
#define WRK_POLLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define POLLER_BATCH 64

typedef struct wrk_source wrk_source_t;
typedef struct wrk_channel wrk_channel_t;

typedef void (*wrk_event_fn)(wrk_source_t *source, uint32_t events, int64_t now_mono_ns);

struct wrk_source {
    wrk_event_fn on_event;
    wrk_channel_t *channel; /* whose deadline may have changed after
                               the event; NULL: control plane */
    int fd;                 /* -1: not watched */
    uint32_t events;
    bool at_once; /* cheap, and may bring deadlines: handled before the others */
};

typedef struct poller {
    int epoll_fd;
    int count; /* events of the last wait */
    int next;  /* the next of them to handle */
    bool sleeps_in_poll; /* the kernel has no epoll_pwait2 */
    struct epoll_event events[POLLER_BATCH];
} poller_t;

/* Returns 0 or -errno with a text. */
int poller_open(poller_t *p);
void poller_close(poller_t *p);

/* Starts to watch fd. The caller sets source->on_event and channel. Returns 0 or -errno with a
 * text. */
int poller_watch(poller_t *p, wrk_source_t *source, int fd, uint32_t events);

/* Changes the events of a watched source. Makes no system call if nothing changes. */
void poller_change(poller_t *p, wrk_source_t *source, uint32_t events);

/* Fetches the source again if it is ready, though no edge came: for one that is edge-triggered and
 * whose event was not handled completely. */
void poller_rearm(poller_t *p, wrk_source_t *source);

/* The source may be freed afterwards: its fetched events are dropped. Does not close the
 * descriptor. Accepts a source that is not watched. */
void poller_forget(poller_t *p, wrk_source_t *source);

/* Whether fetched events are left to handle: before the next poller_wait, which drops them. */
static inline bool poller_has_rest(const poller_t *p)
{
    return p->next < p->count;
}

static inline bool poller_next_is_at_once(const poller_t *p)
{
    const wrk_source_t *next = poller_has_rest(p) ? p->events[p->next].data.ptr : NULL;
    return next != NULL && next->at_once;
}

/* Fetches events: waits for at most timeout_ns (0: not at all). Returns how many. */
int poller_wait(poller_t *p, int64_t timeout_ns);

/* The next fetched event, NULL when there is none left. */
wrk_source_t *poller_next(poller_t *p, uint32_t *events);

#endif
