/* observe_layout.h: what a worker leaves behind for observers, also after its death: the flight
 * recorder, the log of distinct errors, and each channel's latest late packets. Layout only.
 * LAYOUT.md draws it, and shm_layout.c checks every offset.
 *
 * All of it is written on exceptional events only, never waits, and is read by any process that may
 * map the file read-only. */
#ifndef SHM_OBSERVE_LAYOUT_H
#define SHM_OBSERVE_LAYOUT_H

#include "base/rt_atomic.h"
#include "rows/observe.h"
#include "shm/shm_config.h"

/* --- events --------------------------------------------------------------------------------- */

typedef enum shm_event_kind {
    SHM_EVENT_KIND_FACT = 0,
    SHM_EVENT_KIND_BURST = 1,
    SHM_EVENT_KIND_ERROR = 2,
} shm_event_kind_t;

typedef struct shm_recorder {
    shm_slot_cursors_t cursors;
    shm_event_t events[SHM_RECORDER_EVENTS];
} shm_recorder_t;

/* --- distinct errors ------------------------------------------------------------------------ */

typedef struct shm_error_log {
    _Alignas(RT_LINE_BYTES) rt_a64_t others; /* times a problem found no free entry */
    rt_ai64_t others_last_mono_ns;
    _Alignas(RT_LINE_BYTES) shm_error_t errors[SHM_ERRORS];
} shm_error_log_t;

#endif
