/* report_ring.h: send reports, fixed 64-byte slots, one writer (the worker), any number of readers.
 * New reports overwrite the oldest. */
#ifndef SHM_REPORT_RING_H
#define SHM_REPORT_RING_H

#include "shm/shm_segment.h"

typedef struct report_writer {
    shm_report_cursors_t *cursors;
    shm_report_t *slots;
    uint64_t mask;
    uint64_t tail;
} report_writer_t;

/* config.report_slots is a power of two; 0 slots: report_writer_put does nothing. */
void report_writer_init(report_writer_t *w, shm_segment_t *s);
void report_writer_put(report_writer_t *w, const shm_report_t *report);

typedef struct report_reader {
    const shm_report_cursors_t *cursors;
    const shm_report_t *slots;
    uint64_t mask;
    uint64_t next;
    uint64_t lost; /* overwritten before they were read, since init */
} report_reader_t;

/* Starts at the oldest report still held. */
void report_reader_init(report_reader_t *r, const shm_segment_t *s);

/* Copies up to max reports in order. Returns how many. */
unsigned report_reader_next(report_reader_t *r, shm_report_t *out, unsigned max);

#endif
