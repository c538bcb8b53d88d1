/* slot_ring.h: fixed slots in shared memory, one writer, any number of readers. New slots overwrite
 * the oldest. The writer never waits. A reader learns how many it missed. */
#ifndef SHM_SLOT_RING_H
#define SHM_SLOT_RING_H

#include "shm/observe_layout.h"

typedef struct slot_writer {
    shm_slot_cursors_t *cursors;
    uint8_t *slots; /* NULL: nothing is written */
    uint32_t slot_bytes;
    uint64_t mask;
    uint64_t tail;
} slot_writer_t;

/* Continues after the last slot of a dead writer. slots is a power of two, or 0: then nothing is
 * ever written. slot_bytes is a multiple of 8. */
void slot_writer_init(slot_writer_t *w, shm_slot_cursors_t *cursors, void *at, uint32_t slots,
                      uint32_t slot_bytes);

/* Copies slot_bytes. Returns the number of the slot, counted from the first ever. */
uint64_t slot_writer_put(slot_writer_t *w, const void *slot);

/* The slot of that number, to change words of it in place. NULL: it has been overwritten. */
void *slot_writer_at(const slot_writer_t *w, uint64_t number);

typedef struct slot_reader {
    const shm_slot_cursors_t *cursors;
    const uint8_t *slots;
    uint32_t slot_bytes;
    uint64_t mask;
    uint64_t next; /* number of the slot that is read next */
    uint64_t lost; /* overwritten before they were read, since init */
} slot_reader_t;

/* Starts at the oldest slot still held. */
void slot_reader_init(slot_reader_t *r, const shm_slot_cursors_t *cursors, const void *at,
                      uint32_t slots, uint32_t slot_bytes);

/* Copies up to max slots in order. Returns how many. The content is unchecked. */
unsigned slot_reader_next(slot_reader_t *r, void *out, unsigned max);

#endif
