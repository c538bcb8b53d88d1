/* report_ring.c: a slot is announced (writing), filled, then published (tail). A reader copies, and
 * keeps the copy only if no report that uses the same slot has been announced by then. */
#include "shm/report_ring.h"

/* How often a writer may pass a reader in one call before the ring counts as empty. */
#define ATTEMPTS 256u

void report_writer_init(report_writer_t *w, shm_segment_t *s)
{
    *w = (report_writer_t){
        .cursors = s->report,
        .slots = s->reports,
        .mask = (uint64_t)s->config.report_slots - 1,
        .tail = rt_load_relaxed(&s->report->tail),
    };
    if (s->config.report_slots == 0)
        w->slots = NULL;
}

void report_writer_put(report_writer_t *w, const shm_report_t *report)
{
    if (w->slots == NULL)
        return;
    rt_store_relaxed(&w->cursors->writing, w->tail + 1); /* P1 */
    rt_fence_release();                                  /* P1, pairs with P2 */
    w->slots[w->tail & w->mask] = *report;
    w->tail++;
    rt_store_release(&w->cursors->tail, w->tail); /* P3, pairs with P4 */
}

void report_reader_init(report_reader_t *r, const shm_segment_t *s)
{
    *r = (report_reader_t){
        .cursors = s->report,
        .slots = s->config.report_slots ? s->reports : NULL,
        .mask = (uint64_t)s->config.report_slots - 1,
    };
    uint64_t tail = rt_load_acquire(&s->report->tail);
    if (r->slots && tail > s->config.report_slots)
        r->next = tail - s->config.report_slots;
}

unsigned report_reader_next(report_reader_t *r, shm_report_t *out, unsigned max)
{
    unsigned n = 0;
    for (unsigned passed = 0; r->slots && n < max && passed < ATTEMPTS;) {
        uint64_t tail = rt_load_acquire(&r->cursors->tail); /* P4 */
        if (r->next >= tail)
            break;
        rt_copy_racy(&out[n], &r->slots[r->next & r->mask], sizeof out[n]);
        rt_fence_acquire(); /* P2 */
        uint64_t writing = rt_load_relaxed(&r->cursors->writing);
        /* tail is never ahead of it, unless the memory was overwritten: then 2^63 reports seem to
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
