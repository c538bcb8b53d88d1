/* attachment.h: what one end of a channel holds at the worker that serves it: a control connection,
 * one producer slot and one reader slot at most, and the descriptors whose locks keep the slots. It
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
    uint32_t epoch;      /* of the worker connected to */
    uint32_t producer;   /* slot, or CTL_NO_SLOT; kept for the next worker */
    uint32_t reader;     /* likewise */
    bool holds_producer; /* the worker connected to knows of the slot */
    bool holds_reader;
    int bell_fd;       /* eventfd that wakes the worker, or -1 */
    int producer_lock; /* descriptors that hold the slots: never used, only kept; or -1 */
    int reader_lock;
    readiness_t *readiness; /* told about every connection; NULL: nobody selects */
} attachment_t;

void attachment_init(attachment_t *a, const shm_segment_t *s);

/* The epoch of the worker that serves the channel, into *epoch. Waits up to 3 s for the first one.
 * Returns 0; -EPIPE (the channel was closed, or its file cut short), -ECONNRESET (no worker came),
 * or why the channel failed; with a text. */
int attachment_served_epoch(const shm_segment_t *s, uint32_t *epoch);

/* Connects to the worker in charge, unless it is connected to it, and waits up to 3 s for one that
 * is being replaced. Returns 0; -EPERM (another user's process listens), -ECONNRESET (no worker
 * answers) or as attachment_served_epoch, with a text. */
int attachment_connect(attachment_t *a);

/* Gets a slot, the former one if there was one and it is free; a producer gets the bell, too. The
 * worker rings doorbell_fd, which stays the caller's. Returns 0; -EUSERS (no slot is free),
 * -ETIMEDOUT, -EMFILE or as attachment_connect, with a text. */
int attachment_get_producer(attachment_t *a);
int attachment_get_reader(attachment_t *a, int doorbell_fd);

/* Whether nobody serves the channel any more, although its state says so: its pool and its workers
 * died at once. Costs three system calls. Returns 0, or -EPIPE with a text. */
int attachment_check_deserted(const shm_segment_t *s);

/* Hangs up: the worker frees the slots when their locks are gone. */
void attachment_disconnect(attachment_t *a);

/* Hangs up and lets go of the slots. In a child after fork the parent keeps its own. */
void attachment_close(attachment_t *a);

#endif
