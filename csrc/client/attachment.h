/* attachment.h: what one end of a channel holds at the worker that serves it: a control connection,
 * at most one producer slot and one reader slot, and the descriptors whose locks keep the slots. It
 * connects when it has to, and again when another worker has taken the channel over.
 *
 * The caller serialises calls and keeps the segment mapped. */
#ifndef CLIENT_ATTACHMENT_H
#define CLIENT_ATTACHMENT_H

#include "client/control.h"
#include "client/readiness.h"
#include "shm/shm_segment.h"

typedef struct attachment {
    const shm_segment_t *segment;
    control_t control;
    uint32_t epoch;      /* of the connected worker */
    uint32_t producer;   /* slot, or CTL_NO_SLOT; kept for the next worker */
    uint32_t reader;     /* the same for the reader */
    bool holds_producer; /* the connected worker knows the slot */
    bool holds_reader;
    int bell_fd;       /* eventfd that wakes the worker, or -1 */
    int producer_lock; /* descriptors that hold the slots: kept open and not used otherwise; or -1 */
    int reader_lock;
    readiness_t *readiness; /* is told about every connection; NULL: no selecting */
} attachment_t;

void attachment_init(attachment_t *a, const shm_segment_t *s);

/* Gets the epoch of the worker that serves the channel. Waits up to 3 s for the first worker.
 * Returns 0; -EPIPE (the channel was closed, or its file cut short), -ECONNRESET (no worker came),
 * or the error of a failed channel; with a text. */
int attachment_served_epoch(const shm_segment_t *s, uint32_t *epoch);

/* Connects to the worker in charge, unless it is connected already, and waits up to 3 s for one
 * that is being replaced. Returns 0; -EPERM (another user's process listens), -ECONNRESET (no
 * worker answers) or as attachment_served_epoch, with a text. */
int attachment_connect(attachment_t *a);

/* Gets a slot: the former one if there was one and it is free. A producer gets the bell, too. The
 * worker rings doorbell_fd, which stays the caller's. Returns 0; -EUSERS (no slot is free),
 * -ETIMEDOUT, -EMFILE or as attachment_connect, with a text. */
int attachment_get_producer(attachment_t *a);
int attachment_get_reader(attachment_t *a, int doorbell_fd);

/* Whether no worker serves the channel any more, although its state says so: its pool and its
 * workers died at once. Costs three system calls. Returns 0, or -EPIPE with a text. */
int attachment_check_deserted(const shm_segment_t *s);

/* Hangs up. The worker frees the slots when their locks are gone. */
void attachment_disconnect(attachment_t *a);

/* Hangs up and releases the slots. In a child after fork the parent keeps its own. */
void attachment_close(attachment_t *a);

#endif
