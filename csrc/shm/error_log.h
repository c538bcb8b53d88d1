/* error_log.h: each distinct problem once, with how often, first and last time. One writer, any
 * number of readers, no lock. A problem that comes again costs a search among SHM_ERRORS numbers
 * and two stores, so that what fails in the hot path cannot flood anything. */
#ifndef SHM_ERROR_LOG_H
#define SHM_ERROR_LOG_H

#include "shm/recorder.h"

/* All zero: nothing is noted. */
typedef struct error_log {
    shm_error_log_t *shared;
    unsigned count;  /* entries in use */
    unsigned latest; /* the one counted last: looked at first */
} error_log_t;

/* Goes on with what a dead writer left. */
void error_log_init(error_log_t *l, shm_error_log_t *shared);

/* The one writer. text: kept, cut to its field, when it is the first time; NULL or "": none. */
void error_log_note(error_log_t *l, shm_event_id_t id, const recorder_subject_t *subject,
                    uint64_t count, int64_t a, const char *text, int64_t now_mono_ns);

/* Copies the entries that are whole, the first noted first. Returns how many. */
unsigned error_log_read(const shm_error_log_t *shared, shm_error_t out[SHM_ERRORS]);

#endif
