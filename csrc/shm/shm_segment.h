/* shm_segment.h: one channel's segment, mapped. The pool makes the file, the worker names and
 * unlinks it. This code lays it out, checks it and finds its parts.
 *
 * Every offset is taken from the caller's own copy of the geometry, never again from the mapping:
 * later changes by another process do not affect where this one reads and writes. */
#ifndef SHM_SEGMENT_H
#define SHM_SEGMENT_H

#include "shm/bus_guard.h"
#include "shm/shm_layout.h"

typedef struct shm_segment {
    uint8_t *base;
    uint64_t bytes;
    int writable; /* 0: mapped read-only */
    uint32_t guard; /* place in the bus guard's table; 0: not watched */
    const rt_a32_t *torn; /* bus_guard_torn of the library that mapped it */
    uint32_t owner_uid; /* of the file */
    uint64_t segment_id;
    shm_config_t config; /* private copy */
    shm_identity_t *identity;
    shm_status_t *status;
    shm_tx_cursors_t *tx;
    shm_rx_cursors_t *rx;
    shm_slot_cursors_t *report;
    shm_producer_t *producers;
    shm_reader_t *readers;
    shm_stats_t *stats;
    shm_report_t *reports;
    shm_slot_cursors_t *late;
    shm_late_packet_t *late_packets; /* config.late_slots entries */
    uint8_t *tx_data;
    uint8_t *rx_data;
    uint8_t *engine; /* config.engine_bytes bytes, zeroed when the segment was made; NULL: none */
} shm_segment_t;

/* Bytes of a segment of this configuration, which must have passed the check. */
uint64_t shm_segment_bytes(const shm_config_t *c);

/* Owner only, once, on a new file open for writing: reserves its space, writes identity and empty
 * rings, the version last, and leaves it mapped in s like shm_segment_map. Returns 0; -ENOSPC
 * (names what is free in /dev/shm and what was needed), -EINVAL. */
int shm_segment_format(shm_segment_t *s, int fd, const shm_config_t *c, uint64_t segment_id);

/* The worker: maps fd for writing as the channel of this configuration, which has passed the check.
 * It takes no sizes or other data from the file, because its clients can write it. Returns 0;
 * -EPROTO (no shmring segment, another layout version, or a file shorter than the configuration
 * needs), -ENOMEM, -EACCES, -ENOSPC. */
int shm_segment_map_as(shm_segment_t *s, int fd, const shm_config_t *c);

/* Any client. Maps fd and fills *s from the file's own data. The caller may then close fd or keep
 * it open. With writable 0 the mapping is read-only. Returns 0; -EPROTO (no shmring segment, or
 * another layout version: names both), -EINVAL (geometry does not fit the file), -ENOMEM, -EACCES,
 * -ENOSPC. */
int shm_segment_map(shm_segment_t *s, int fd, int writable);

/* Whether it is the channel of this name. A client of another channel may have given its file this
 * name, too. */
bool shm_segment_is(const shm_segment_t *s, const char *name_space, const char *name);

/* Writes state, error and reason into the file without mapping or checking it: for the pool of a
 * dead worker, and for a worker whose mapping is torn. Returns 0 or -errno with a text. */
int shm_segment_write_state(int fd, shm_channel_state_t state, uint32_t error, const char *reason);

typedef struct shm_opener {
    uint32_t pid;   /* as the pool sees it; 0: unknown */
    uint32_t count; /* how often it was written */
    int64_t since_mono_ns;
} shm_opener_t;

/* Who opened the channel, as the file says now: clients can write there. */
void shm_segment_opener(const shm_segment_t *s, shm_opener_t *out);

/* The pool: this is the oldest opener that runs. s is mapped for writing. */
void shm_segment_change_opener(shm_segment_t *s, uint32_t pid);

/* Whether the file was cut short below the mapping: the mapping is then zeroed memory of this
 * process, and no other process sees what is written. */
static inline bool shm_segment_torn(const shm_segment_t *s)
{
    return s->torn != NULL && rt_load_acquire(s->torn) != 0;
}

void shm_segment_unmap(shm_segment_t *s);

#endif
