/* slot_ring.c: a slot is announced (writing), filled, then published (tail). A reader copies, and
 * keeps the copy only if no slot at the same place has been announced by then. */
#include "shm/slot_ring.h"

/* How often a writer may pass a reader in one call before the ring counts as empty. */
#define ATTEMPTS 256u

void slot_writer_init(slot_writer_t *w, shm_slot_cursors_t *cursors, void *at, uint32_t slots,
                      uint32_t slot_bytes)
{
    *w = (slot_writer_t){
        .cursors = cursors,
        .slots = slots > 0 ? at : NULL,
        .slot_bytes = slot_bytes,
        .mask = (uint64_t)slots - 1,
        .tail = slots > 0 ? rt_load_relaxed(&cursors->tail) : 0,
    };
}

uint64_t slot_writer_put(slot_writer_t *w, const void *slot)
{
    if (w->slots == NULL)
        return 0;
    rt_store_relaxed(&w->cursors->writing, w->tail + 1); /* S1 */
    rt_fence_release();                                  /* S1, pairs with S2 */
    memcpy(w->slots + (w->tail & w->mask) * w->slot_bytes, slot, w->slot_bytes);
    w->tail++;
    rt_store_release(&w->cursors->tail, w->tail); /* S3, pairs with S4 */
    return w->tail - 1;
}

void *slot_writer_at(const slot_writer_t *w, uint64_t number)
{
    if (w->slots == NULL || number >= w->tail || w->tail - number > w->mask + 1)
        return NULL;
    return w->slots + (number & w->mask) * w->slot_bytes;
}

void slot_reader_init(slot_reader_t *r, const shm_slot_cursors_t *cursors, const void *at,
                      uint32_t slots, uint32_t slot_bytes)
{
    *r = (slot_reader_t){
        .cursors = cursors,
        .slots = slots > 0 ? at : NULL,
        .slot_bytes = slot_bytes,
        .mask = (uint64_t)slots - 1,
    };
    uint64_t tail = r->slots != NULL ? rt_load_acquire(&cursors->tail) : 0;
    if (tail > slots)
        r->next = tail - slots;
}

/* Word by word, so that a word that is changed in place meanwhile is not torn. */
RT_RACY static void copy_words(uint64_t *to, const volatile uint64_t *from, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++)
        to[i] = from[i];
}

unsigned slot_reader_next(slot_reader_t *r, void *out, unsigned max)
{
    unsigned n = 0;
    for (unsigned passed = 0; r->slots != NULL && n < max && passed < ATTEMPTS;) {
        uint64_t tail = rt_load_acquire(&r->cursors->tail); /* S4 */
        if (r->next >= tail)
            break;
        const uint8_t *slot = r->slots + (r->next & r->mask) * r->slot_bytes;
        uint8_t *to = (uint8_t *)out + (size_t)n * r->slot_bytes;
        copy_words((uint64_t *)(void *)to, (const volatile uint64_t *)(const void *)slot,
                   r->slot_bytes / (uint32_t)sizeof(uint64_t));
        rt_fence_acquire(); /* S2 */
        uint64_t writing = rt_load_relaxed(&r->cursors->writing);
        /* tail is never ahead of it, unless the memory was overwritten: then 2^63 slots seem to
         * wait. */
        uint64_t newest = writing > tail ? writing : tail;
        uint64_t oldest = newest > r->mask + 1 ? newest - (r->mask + 1) : 0;
        if (r->next < oldest) {
            r->lost += oldest - r->next;
            r->next = oldest;
            passed++;
            continue;
        }
        r->next++;
        n++;
    }
    return n;
}
