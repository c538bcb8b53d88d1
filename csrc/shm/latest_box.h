/* latest_box.h: the newest payload of any number of writers in shared memory. What was put last is
 * what a reader finds. latest_box.c explains how it works.
 *
 *     head     latest, tickets                          all writers
 *     halves   [slots]: two halves each                 the writer that has the slot
 *
 * The engines that send in cycles have one. A reader trusts none of it: it checks what `latest`
 * names and how long a payload claims to be, and takes slots and sizes
 * from its own configuration. */
#ifndef SHM_LATEST_BOX_H
#define SHM_LATEST_BOX_H

#include "base/rt_atomic.h"

#define SHM_BOX_SLOT_BITS 10u

typedef struct shm_box_head {
    _Alignas(
        RT_LINE_BYTES) rt_a64_t latest; /* ticket << 11 | slot << 1 | half; 0: none yet */
    rt_a64_t tickets;
} shm_box_head_t;

typedef struct shm_box_half {
    _Alignas(RT_LINE_BYTES) rt_a64_t version; /* ticket << 1; odd: being written */
    int64_t at_mono_ns;                       /* when it was written */
    uint32_t bytes;                           /* of the payload */
    uint32_t reserved;
    uint8_t payload[];
} shm_box_half_t;

/* Where a box is, and its limits, which the caller has checked. */
typedef struct shm_box {
    shm_box_head_t *head;
    uint8_t *halves;
    uint32_t slots;
    uint32_t max_bytes; /* longest payload */
} shm_box_t;

typedef struct shm_box_found {
    uint64_t ticket; /* identifies what was put */
    uint32_t slot;   /* of its writer */
    uint32_t bytes;
    int64_t at_mono_ns; /* unchecked */
} shm_box_found_t;

/* Size of one half, and of all halves. */
uint64_t shm_box_half_bytes(uint32_t max_bytes);
uint64_t shm_box_halves_bytes(uint32_t slots, uint32_t max_bytes);

/* Writer: puts a payload of at most max_bytes. Never waits. slot: its own, one thread at a time.
 * Returns the ticket of the payload. */
uint64_t shm_box_put(const shm_box_t *box, uint32_t slot, const void *payload, uint32_t bytes,
                     int64_t now_mono_ns);

/* Any process: the ticket of what was put last, 0: nothing yet. */
uint64_t shm_box_ticket(const shm_box_head_t *head);

/* Any process: copies what was put last. `payload` has room for max_bytes, and its contents are
 * undefined unless the result is 1. Returns 1; 0: nothing yet; -EAGAIN: it changed during every
 * attempt; -EPROTO: `latest` or a length is invalid. *found changes only with 1. */
int shm_box_peek(const shm_box_t *box, void *payload, shm_box_found_t *found);

#endif
