/* shmring_private.h: what the files of the C API share; see shmring.h.
 *
 *   shmring.c        attach, close, fork; what a channel is
 *   shmring_send.c   sending, claims, cancelling, replacing
 *   shmring_recv.c   receiving, waiting, selecting, reports
 *
 * Each call that fails records a text or clears it before it returns. */
#ifndef CLIENT_SHMRING_PRIVATE_H
#define CLIENT_SHMRING_PRIVATE_H

#include "client/attachment.h"
#include "client/endpoint.h"
#include "client/shmring.h"
#include "shm/slot_ring.h"

struct shmring {
    shm_segment_t segment;
    endpoint_t end;
    attachment_t attachment;
    slot_reader_t reports;
};

/* Attaches as what (ENDPOINT_TX, ENDPOINT_RX) to the worker in charge, and also as everything that
 * this end was before the worker was replaced. Returns 0; as attachment_attach, -EPERM with a text.
 */
int shmring_attach_as(shmring_t *c, int what, int64_t until_mono_ns);

/* For a call that found no packet or no room. Sleeps for a while unless the time is over.
 * until_mono_ns: 0: do not wait. Returns 0 (try again), -EAGAIN, -ETIMEDOUT, -EINTR, -EPIPE. */
int shmring_wait_more(shmring_t *c, int what, int64_t until_mono_ns);

/* Converts a timeout to a time of CLOCK_MONOTONIC. 0: do not wait. */
int64_t shmring_until(int64_t timeout_ns);

#endif
