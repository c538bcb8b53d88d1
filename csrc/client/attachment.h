/* attachment.h: what one end of a channel holds at the worker that serves it: a control connection,
 * at most one producer slot and one reader slot, the descriptors whose locks keep the slots, and
 * what a reader is woken by. It connects when it has to, and again when another worker has taken
 * over the channel. libshmring and Python attach with these calls and no others.
 *
 * The caller serialises calls and keeps the segment mapped. No call but attachment_bind touches an
 * endpoint, so the per-packet calls go on while another thread attaches. */
#ifndef CLIENT_ATTACHMENT_H
#define CLIENT_ATTACHMENT_H

#include "client/control.h"
#include "client/endpoint.h"
#include "client/readiness.h"

typedef struct attachment {
    const shm_segment_t *segment;
    const char *base; /* as of host_worker_socket */
    bool closed;
    control_t control;
    int64_t until_mono_ns; /* the call in progress waits no longer for a worker; RT_NEVER_NS: as
                              long as it takes to replace one */
    uint32_t slot;         /* of the connected worker in its pool */
    uint32_t epoch;        /* of the connected worker */
    uint32_t producer;     /* slot, or CTL_NO_SLOT; kept for the next worker */
    uint32_t reader;       /* the same for the reader */
    bool holds_producer;   /* the connected worker knows the slot */
    bool holds_reader;
    bool holds_watcher;
    uint8_t unbound;   /* ENDPOINT_*: slots that the endpoint does not use yet */
    int bell_fd;       /* eventfd that wakes the worker, or -1 */
    int doorbell_fd;   /* the worker rings it for the reader, or -1 */
    int watch_fd;      /* the same for the watcher */
    int producer_lock; /* descriptors that hold the slots: kept open and not used otherwise; or -1
                        */
    int reader_lock;
    readiness_t readiness; /* open after attachment_select */
    readiness_t progress;  /* open after attachment_watch */
} attachment_t;

/* base: the runtime directory, which the caller keeps, or NULL: as host_worker_socket. */
void attachment_init(attachment_t *a, const shm_segment_t *s, const char *base);

/* Hangs up. The worker frees the slots when their locks are gone. */
void attachment_disconnect(attachment_t *a);

/* Hangs up, releases the slots and closes all descriptors. The segment may be unmapped already. Any
 * number of times. Also in control_on_signal: the call that waits fails with -EPIPE, as do all
 * later ones, and nothing is opened again. */
void attachment_close(attachment_t *a);

/* In a child after fork: the parent keeps its connection and slots, and the child has none. */
void attachment_forget(attachment_t *a);

/* --- the worker in charge ------------------------------------------------------------------- */

/* Returns 0; -EPIPE with a text: the segment's file was cut short while this process mapped it. */
int attachment_check_whole(const shm_segment_t *s);

/* Gets the epoch of the worker that serves the channel. Waits up to 3 s for the first worker.
 * Returns 0; -EPIPE (the channel was closed, or its file cut short), -ECONNRESET (no worker came),
 * -EINTR, or the error of a failed channel; with a text. */
int attachment_served_epoch(const shm_segment_t *s, uint32_t *epoch);

/* Whether no worker serves the channel any more, although its state says so: its pool and its
 * workers died at once. Makes system calls only if there was no heartbeat for a second. Returns 0,
 * or -EPIPE with a text. */
int attachment_check_deserted(const shm_segment_t *s);

/* --- slots ------------------------------------------------------------------------------------ */

/* Attaches to the worker in charge, for `what` (ENDPOINT_TX, ENDPOINT_RX) and for all that the
 * endpoint was before the worker was replaced. Waits up to 3 s for a worker that is being replaced,
 * and 5 s for one that does not answer, but only until then, or 100 ms if that is sooner, or not at
 * all if the worker has been silent for a second: then it returns -ETIMEDOUT.
 * A read-only mapping needs no slots. Returns 0; -EPIPE (attachment_close), -EPERM (another user's
 * process listens), -ECONNRESET (no worker answers), -EUSERS (no slot is free), -ETIMEDOUT, -EMFILE
 * or as attachment_served_epoch, with a text. After it call attachment_bind. */
int attachment_attach(attachment_t *a, const endpoint_t *e, int what, int64_t until_mono_ns);

/* Lets the endpoint use the slots. Returns 0; -EINVAL with a text. */
int attachment_bind(attachment_t *a, endpoint_t *e);

/* --- requests --------------------------------------------------------------------------------- */

/* Sends a request whose body is ctl_channel_t and `rest`, to the worker in charge. Repeats it while
 * one worker replaces another. Returns as control_request and attachment_attach. */
int attachment_request(attachment_t *a, uint32_t op, const void *rest, uint32_t bytes,
                       control_reply_t *reply);

/* --- selecting -------------------------------------------------------------------------------- */

/* Opens a->readiness. Attach as reader next. Returns 0; -EPIPE (attachment_close) or another
 * -errno, with a text. */
int attachment_select(attachment_t *a);

/* Opens a->progress, whose descriptor is readable when something has happened that a watcher waits
 * for (ctl_msg.h), and while no worker serves the channel. Attach next. Returns 0; -EPIPE
 * (attachment_close) or another -errno, with a text. */
int attachment_watch(attachment_t *a);

static inline bool attachment_is_watching(const attachment_t *a)
{
    return a->progress.epoll_fd >= 0;
}

/* For an attempt to watch that failed. */
void attachment_unwatch(attachment_t *a);

/* Makes a->progress unreadable. All who wait for it share it: after this, ask again and check what
 * each of them waits for. */
void attachment_clear_progress(attachment_t *a);

/* Asks for the next ring. Check what you wait for after it. */
void attachment_ask_progress(attachment_t *a);

/* For an attempt to select that failed. */
void attachment_unselect(attachment_t *a);

static inline bool attachment_is_selected(const attachment_t *a)
{
    return a->readiness.epoll_fd >= 0;
}

/* Clears everything but packets that made the descriptor readable. */
void attachment_settle(attachment_t *a);

#endif
