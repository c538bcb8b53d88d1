/* error_log.h: an entry for each distinct problem, with its count, first and last time. One writer,
 * any number of readers, no lock. A repeated problem costs a search among SHM_ERRORS numbers and
 * two stores, so that failures in the hot path cannot flood anything. */
#ifndef SHM_ERROR_LOG_H
#define SHM_ERROR_LOG_H

#include "shm/recorder.h"

/* All zero: nothing is noted. */
typedef struct error_log {
    shm_error_log_t *shared;
    unsigned count;  /* entries in use */
    unsigned latest; /* the entry counted last: compared first */
} error_log_t;

/* Continues the log of a dead writer. */
void error_log_init(error_log_t *l, shm_error_log_t *shared);

/* Only the writer calls it. text: kept the first time, cut to its field. NULL or "": no text. */
void error_log_note(error_log_t *l, shm_event_id_t id, const recorder_subject_t *subject,
                    uint64_t count, int64_t a, const char *text, int64_t now_mono_ns);

#endif
