/* udt_losslist.h: which packet numbers of a window are lost. Both sides have one: the receiver's
 * holes, and the packets that the sender must repeat.
 *
 *                base        first                              base + capacity
 *     ------------|-------------x---xx-----x---------------------|----------
 *      forgotten  |         one bit a number, count of them      |  cannot be lost yet
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

#define UDT_LOSSLIST_MAX_CAPACITY (UINT32_C(1) << 20)

typedef struct udt_losslist {
    uint64_t *bits;
    uint32_t capacity; /* power of two */
    uint32_t base;
    uint32_t hint; /* no loss lies between base and here */
    uint32_t count;
} udt_losslist_t;

/* Numbers a list for a window of packets has room for: the next power of two, 64 at least. */
uint32_t udt_losslist_capacity(uint32_t packets);

/* Bytes for that many numbers, as udt_losslist_capacity gives them. */
size_t udt_losslist_memory_bytes(uint32_t capacity);

/* memory: aligned to 8, the caller's, in use until the caller stops using the list. Nothing is
 * lost, the window starts at base. */
void udt_losslist_init(udt_losslist_t *l, void *memory, uint32_t capacity, uint32_t base);

/* Nothing was entered yet, and the window starts here instead. */
void udt_losslist_start(udt_losslist_t *l, uint32_t base);

/* first .. last, as far as they lie in the window, are lost; last must not be before first. Returns
 * how many of them were not before. */
uint32_t udt_losslist_insert(udt_losslist_t *l, uint32_t first, uint32_t last);

/* first .. last, as far as they lie in the window, are not lost. Returns how many of them were. */
uint32_t udt_losslist_remove(udt_losslist_t *l, uint32_t first, uint32_t last);

/* Moves the window on, to seq; what lies before it is forgotten. A seq before base changes nothing.
 */
void udt_losslist_advance(udt_losslist_t *l, uint32_t seq);

bool udt_losslist_has(const udt_losslist_t *l, uint32_t seq);

/* The first loss of all. Returns false, and leaves *seq, where nothing is lost. */
bool udt_losslist_first(udt_losslist_t *l, uint32_t *seq);

/* The first unbroken range of losses at or after from, at most up to before (which is excluded).
 * Returns false where there is none. */
bool udt_losslist_range(const udt_losslist_t *l, uint32_t from, uint32_t before, uint32_t *first,
                        uint32_t *last);

#endif
