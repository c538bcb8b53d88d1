/* recorder.h: a worker's flight recorder, its last events in its page. Only the worker writes it,
 * wait-free and on exceptional events only. Any process may read it, also after the worker's death.
 *
 * Bursts: an event of kind BURST or ERROR counts in an earlier one of the same id, channel and
 * number a if it follows within RECORDER_GAP_NS, for at most RECORDER_SPAN_NS. A flood of different
 * events takes RECORDER_AT_ONCE slots and then RECORDER_PER_S a second. The rest is counted as
 * suppressed. */
#ifndef SHM_RECORDER_H
#define SHM_RECORDER_H

#include "base/rt_clock.h"
#include "shm/slot_ring.h"

#define RECORDER_GAP_NS RT_NS_PER_S
#define RECORDER_SPAN_NS (10 * RT_NS_PER_S)

enum {
    RECORDER_BURSTS = 64, /* how many can be active at once; a power of two */
    RECORDER_AT_ONCE = 128,
    RECORDER_PER_S = 32,
};

/* The channel or worker that an event is about. */
typedef struct recorder_subject {
    const char *channel; /* its name; NULL: the worker itself */
    uint64_t channel_id; /* segment_id; 0: the worker itself */
} recorder_subject_t;

typedef struct recorder_burst {
    uint32_t id;
    uint64_t channel_id;
    int64_t a;
    int64_t b; /* the largest */
    uint64_t count;
    int64_t first_mono_ns;
    int64_t last_mono_ns;
    uint64_t number; /* of the slot */
} recorder_burst_t;

/* All zero: records nothing. */
typedef struct recorder {
    slot_writer_t writer;
    uint32_t pid;
    int64_t tokens_ns; /* budget that is left: a new event costs a share of a second */
    int64_t tokens_at_mono_ns;
    recorder_burst_t bursts[RECORDER_BURSTS];
} recorder_t;

/* Continues after the last event of a dead worker. */
void recorder_init(recorder_t *r, shm_recorder_t *shared, uint32_t pid, int64_t now_mono_ns);

/* Worker's thread. count: how many happened at once. */
void recorder_note(recorder_t *r, shm_event_id_t id, const recorder_subject_t *subject,
                   uint64_t count, int64_t a, int64_t b, int64_t c, int64_t now_mono_ns);

/* The kind in the table. FACT for an id beyond it. */
shm_event_kind_t shm_event_kind(unsigned id);

#endif
