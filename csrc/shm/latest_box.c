/* latest_box.c: how a box works.
 *
 *     latest = (ticket 7, slot 2, half 1)
 *                   |
 *        slot 1   [ 5: whole    ] [ 4: whole    ]
 *        slot 2   [ 6: whole    ] [ 7: whole    ]  <- what a reader takes
 *        slot 3   [ 8: writing. ] [ 3: whole    ]  <- becomes the latest when it is done, or dies
 *
 * A writer draws a ticket, fills the half of its slot that `latest` does not name, and makes
 * `latest` name that half unless a later ticket is there already. So nobody waits, the last ticket
 * wins, and a writer that dies halfway has changed nothing.
 *
 * A half belongs to the client that has the slot. Nobody else writes there. Its version says which
 * ticket's payload it holds, and is odd while that is written. So a reader notices a half that was
 * filled again after it read `latest`: the half then has another ticket, even if its payload is
 * complete. The reader rejects it: its writer may die before `latest` names it, and then nobody may
 * have seen it.
 *
 * The half that `latest` names is never written, so a writer that dies leaves the previous payload
 * intact. The next owner of its slot starts like any other writer: it keeps what `latest` names and
 * overwrites the other half, finished or not.
 *
 * Tickets are drawn before the payload is written. If one call ends before another begins, their
 * tickets have that order. If two calls overlap, the one with the later ticket wins, and the other
 * counts as if it had come just before.
 *
 * Order (R releases, A acquires; the partner is named):
 *
 *   B1  latest, R by its swap  -> B2: the half it names is whole
 *
 *   B2  latest, A in put and peek. In put: no half is written before it is known which one `latest`
 *       names
 *
 *   B3  version odd, then a release fence, before the first byte
 *         -> B5: a reader that saw any byte of it sees the odd version, or a later one
 *
 *   B4  version even, R, after the last byte -> B5: a reader that sees it finds the half complete
 *
 *   B5  version, A before the copy; an acquire fence, and version again, after it */
#include "shm/latest_box.h"

#include "shm/layout_assert.h"
#include "shm/shm_config.h"

#include <errno.h>

AT(shm_box_head_t, tickets, 8);
AT(shm_box_half_t, at_mono_ns, 8);
AT(shm_box_half_t, bytes, 16);
AT(shm_box_half_t, payload, 24);
_Static_assert(1u << SHM_BOX_SLOT_BITS >= SHM_MAX_SLOTS, "every slot has its number");

/* A reader needs another attempt only if its writer has passed it during the copy. A client can
 * cause that without end: of the longest payload 4 copies take about 20 us. */
#define ATTEMPTS_MOST 64u
#define COPIED_MOST_BYTES (256u << 10)

/* --- places --------------------------------------------------------------------------------- */

uint64_t shm_box_half_bytes(uint32_t max_bytes)
{
    uint64_t bytes = offsetof(shm_box_half_t, payload) + (uint64_t)max_bytes;
    return (bytes + RT_LINE_BYTES - 1) / RT_LINE_BYTES * RT_LINE_BYTES;
}

uint64_t shm_box_halves_bytes(uint32_t slots, uint32_t max_bytes)
{
    return 2 * (uint64_t)slots * shm_box_half_bytes(max_bytes);
}

static shm_box_half_t *half_at(const shm_box_t *box, uint32_t slot, unsigned half)
{
    uint64_t number = 2 * (uint64_t)slot + half;
    return (shm_box_half_t *)(void *)(box->halves + number * shm_box_half_bytes(box->max_bytes));
}

static unsigned attempts(const shm_box_t *box)
{
    unsigned by_bytes = COPIED_MOST_BYTES / (box->max_bytes + 1);
    return by_bytes < ATTEMPTS_MOST ? by_bytes : ATTEMPTS_MOST;
}

/* --- latest --------------------------------------------------------------------------------- */

static uint64_t latest_word(uint64_t ticket, uint32_t slot, unsigned half)
{
    return ticket << (SHM_BOX_SLOT_BITS + 1) | (uint64_t)slot << 1 | half;
}

static uint64_t latest_ticket(uint64_t latest)
{
    return latest >> (SHM_BOX_SLOT_BITS + 1);
}

static uint32_t latest_slot(uint64_t latest)
{
    return (uint32_t)(latest >> 1) & ((1u << SHM_BOX_SLOT_BITS) - 1);
}

static unsigned latest_half(uint64_t latest)
{
    return (unsigned)latest & 1u;
}

uint64_t shm_box_ticket(const shm_box_head_t *head)
{
    return latest_ticket(rt_load_acquire(&head->latest)); /* B2 */
}

/* --- put ------------------------------------------------------------------------------------ */

/* Never the half that `latest` names. If both are free, the older one: a reader may still be
 * copying the newer one. */
static unsigned free_half(const shm_box_t *box, uint32_t slot, uint64_t latest)
{
    if (latest != 0 && latest_slot(latest) == slot)
        return latest_half(latest) ^ 1u;
    return rt_load_relaxed(&half_at(box, slot, 0)->version) >
           rt_load_relaxed(&half_at(box, slot, 1)->version);
}

uint64_t shm_box_put(const shm_box_t *box, uint32_t slot, const void *payload, uint32_t bytes,
                     int64_t now_mono_ns)
{
    uint64_t latest = rt_load_acquire(&box->head->latest); /* B2 */
    unsigned half = free_half(box, slot, latest);
    shm_box_half_t *to = half_at(box, slot, half);
    uint64_t ticket = rt_fetch_add(&box->head->tickets, 1) + 1;

    rt_store_relaxed(&to->version, ticket << 1 | 1); /* B3 */
    rt_fence_release();                              /* B3, pairs with B5 */
    to->at_mono_ns = now_mono_ns;
    to->bytes = bytes;
    memcpy(to->payload, payload, bytes);
    rt_store_release(&to->version, ticket << 1); /* B4, pairs with B5 */

    while (latest_ticket(latest) < ticket &&
           !rt_cas(&box->head->latest, &latest,
                   latest_word(ticket, slot, half))) /* B1, pairs with B2 */
        ;
    return ticket;
}

/* --- peek ----------------------------------------------------------------------------------- */

/* Copies between two reads of the version. A length beyond the limit is copied up to the limit. */
RT_RACY static bool copy_half(const shm_box_half_t *from, uint32_t max_bytes, uint8_t *payload,
                              shm_box_found_t *found)
{
    if (rt_load_acquire(&from->version) != found->ticket << 1) /* B5 */
        return false;
    found->at_mono_ns = from->at_mono_ns;
    found->bytes = rt_read_once(&from->bytes);
    rt_copy_racy(payload, from->payload, found->bytes < max_bytes ? found->bytes : max_bytes);
    rt_fence_acquire(); /* B5, pairs with B3 */
    return rt_load_relaxed(&from->version) == found->ticket << 1;
}

int shm_box_peek(const shm_box_t *box, void *payload, shm_box_found_t *found)
{
    for (unsigned left = attempts(box); left > 0; left--) {
        uint64_t latest = rt_load_acquire(&box->head->latest); /* B2 */
        shm_box_found_t now = {.ticket = latest_ticket(latest), .slot = latest_slot(latest)};
        if (latest == 0)
            return 0;
        if (now.slot >= box->slots)
            return -EPROTO;
        if (!copy_half(half_at(box, now.slot, latest_half(latest)), box->max_bytes, payload, &now))
            continue;
        if (now.bytes > box->max_bytes)
            return -EPROTO;
        *found = now;
        return 1;
    }
    return -EAGAIN;
}
