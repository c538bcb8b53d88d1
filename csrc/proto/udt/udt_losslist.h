/* udt_losslist.h: which packet numbers of a window are lost. Both sides have one: the receiver's
 * holes, and the packets that the sender must repeat.
 *
 *                base        first                              base + capacity
 *     ------------|-------------x---xx-----x---------------------|----------
 *      dropped    |         one bit a number, count of them      |  cannot be lost yet
 *
 * Each number of the window has a bit, at the number modulo capacity. So the memory does not depend
 * on the pattern of losses or the order of reports. A number is found, added and removed in one
 * step, ranges in steps of 64 numbers.
 *
 * Caller's memory, one thread. */
#ifndef UDT_LOSSLIST_H
#define UDT_LOSSLIST_H

#include "proto/udt/udt_seq.h"

#include <stddef.h>

typedef struct udt_losslist {
    uint64_t *bits;
    uint32_t capacity; /* power of two */
    uint32_t base;
    uint32_t hint; /* there is no loss from base up to here */
    uint32_t count;
} udt_losslist_t;

/* The capacity of a list for a window of packets: the next power of two, at least 64. */
uint32_t udt_losslist_capacity(uint32_t packets);

/* Bytes for that many numbers, as udt_losslist_capacity gives them. */
size_t udt_losslist_memory_bytes(uint32_t capacity);

/* memory: aligned to 8, owned by the caller, in use until the caller stops using the list. Nothing
 * is lost. */
void udt_losslist_init(udt_losslist_t *l, void *memory, uint32_t capacity);

/* Starts the window here. Nothing was inserted yet. */
void udt_losslist_start(udt_losslist_t *l, uint32_t base);

/* Marks first .. last, as far as they are in the window, as lost. last must not be before first.
 * Returns how many of them were not lost before. */
uint32_t udt_losslist_insert(udt_losslist_t *l, uint32_t first, uint32_t last);

/* Marks first .. last, as far as they are in the window, as not lost.
 * Returns how many were lost. */
uint32_t udt_losslist_remove(udt_losslist_t *l, uint32_t first, uint32_t last);

/* Advances the window to seq and drops everything before it. A seq before base changes nothing.
 */
void udt_losslist_advance(udt_losslist_t *l, uint32_t seq);

bool udt_losslist_has(const udt_losslist_t *l, uint32_t seq);

/* The first loss of all. If nothing is lost, returns false and leaves *seq unchanged. */
bool udt_losslist_first(udt_losslist_t *l, uint32_t *seq);

/* The first contiguous range of losses at or after from, at most up to before (which is excluded).
 * Returns false if there is none. */
bool udt_losslist_range(const udt_losslist_t *l, uint32_t from, uint32_t before, uint32_t *first,
                        uint32_t *last);

#endif
