/* tap_ring.c: a log with one writer that never waits for its readers.
 *
 *        0              TAP_HEAD_BYTES                                    end of the memory
 *        +--------------+-----------------------------------------------+
 *        | tail writing |  record | record | ... |   old   old   | pad  |
 *        | marks ...    |                        ^place                 |
 *        +--------------+-----------------------------------------------+
 *
 * Positions count the bytes ever written. position % ring_bytes is the place. A record is
 * contiguous: if it does not fit before the end of the ring, a pad record fills the rest.
 *
 * The writer announces how far it will write (writing), writes, and publishes (tail). A reader
 * copies a record that is before the tail, then reads writing: if that is at most a ring's length
 * after the record, no part of the record had been overwritten when it was copied. Otherwise the
 * reader was overtaken, and continues at a mark.
 *
 * The ring is divided into TAP_MARKS parts, and marks[part] is the position of the first record
 * that began there, in this lap or the last. A reader that was overtaken takes the oldest mark that
 * leaves the writer an eighth of the ring to write into: it loses little more than it must. The
 * index of the record tells how many datagrams it lost. The index counts datagrams only. Lost
 * stamps and marks leave no gap. */
#include "shm/tap_ring.h"

#include "base/rt_err.h"

#include <errno.h>

#define FIRST_LATE_VERDICT 1u /* LAYOUT.md numbers them: from enqueued_late */
#define LAST_LATE_VERDICT 5u  /* to dropped_late */

_Static_assert(sizeof(tap_head_t) <= TAP_HEAD_BYTES, "the head fits its page");
_Static_assert(sizeof(tap_record_t) == 144 && sizeof(tap_record_t) % 8 == 0, "layout");
_Static_assert(sizeof(tap_record_t) + ((SHM_MAX_RECORD + 7u) & ~7u) <= TAP_RECORD_MOST,
               "the longest record fits a reader's buffer");
_Static_assert(offsetof(tap_record_t, index) == 8 && offsetof(tap_record_t, number) == 16 &&
                   offsetof(tap_record_t, payload_bytes) == 24 &&
                   offsetof(tap_record_t, local) == 32 && offsetof(tap_record_t, remote) == 56 &&
                   offsetof(tap_record_t, report) == 80,
               "layout");
_Static_assert(offsetof(tap_head_t, tail) == 128 && offsetof(tap_head_t, state) == 152 &&
                   offsetof(tap_head_t, marks) == 256,
               "layout");

/* --- writer --------------------------------------------------------------------------------- */

int tap_bytes_check(uint64_t bytes)
{
    if (bytes >= TAP_LEAST_BYTES && bytes <= TAP_MOST_BYTES && bytes % TAP_HEAD_BYTES == 0)
        return 0;
    return rt_err_set(-EINVAL,
                      "the memory of a tap has %llu bytes: give it %llu to %llu, a multiple of %u",
                      (unsigned long long)bytes, (unsigned long long)TAP_LEAST_BYTES,
                      (unsigned long long)TAP_MOST_BYTES, TAP_HEAD_BYTES);
}

void tap_writer_init(tap_writer_t *w, void *memory, uint64_t bytes, uint32_t epoch, uint32_t clock)
{
    *w = (tap_writer_t){
        .head = memory,
        .ring = (uint8_t *)memory + TAP_HEAD_BYTES,
        .ring_bytes = bytes - TAP_HEAD_BYTES,
        .part_bytes = (bytes - TAP_HEAD_BYTES) / TAP_MARKS,
        .part = TAP_MARKS, /* none yet */
    };
    tap_head_t *h = w->head;
    h->magic = TAP_MAGIC;
    h->head_bytes = TAP_HEAD_BYTES;
    h->ring_bytes = w->ring_bytes;
    h->epoch = epoch;
    h->clock = clock;
    rt_store_relaxed(&h->state, TAP_LIVE);
    rt_store_release(&h->version, TAP_VERSION); /* T0: pairs with T0 in tap_reader_init */
}

static void advance(tap_writer_t *w, uint64_t bytes)
{
    w->at += bytes;
    w->place += bytes;
    if (w->place == w->ring_bytes)
        w->place = 0;
}

static void mark(tap_writer_t *w)
{
    uint64_t part = w->place / w->part_bytes;
    if (part == w->part)
        return;
    w->part = part;
    rt_store_relaxed(&w->head->marks[part], w->at); /* visible with the tail: T3 */
}

static bool is_datagram(unsigned kind)
{
    return kind >= TAP_SENT && kind <= TAP_NOT_SENT;
}

void tap_writer_put(tap_writer_t *w, tap_record_t *record, const void *first, uint32_t first_bytes,
                    const void *second)
{
    uint32_t copied = record->captured_bytes;
    uint32_t bytes = (uint32_t)sizeof *record + ((copied + 7u) & ~7u);
    uint64_t left = w->ring_bytes - w->place;
    uint64_t pad = left < bytes ? left : 0;
    rt_store_relaxed(&w->head->writing, w->at + pad + bytes); /* T1 */
    rt_fence_release();                                       /* T1, pairs with T2 */
    if (pad != 0) {
        uint64_t word = pad; /* bytes; kind TAP_PAD */
        memcpy(w->ring + w->place, &word, sizeof word);
        advance(w, pad);
    }
    record->bytes = bytes;
    record->index = w->datagrams;
    w->datagrams += is_datagram(record->kind);
    mark(w);
    uint8_t *to = w->ring + w->place;
    memcpy(to, record, sizeof *record);
    to += sizeof *record;
    uint32_t head = first_bytes < copied ? first_bytes : copied;
    if (head > 0)
        memcpy(to, first, head);
    if (copied > head)
        memcpy(to + head, second, copied - head);
    advance(w, bytes);
    rt_store_relaxed(&w->head->datagrams, w->datagrams);
    rt_store_release(&w->head->tail, w->at); /* T3, pairs with T4 */
}

void tap_writer_end(tap_writer_t *w, tap_state_t why)
{
    rt_store_release(&w->head->state, (uint32_t)why);
}

/* --- readers -------------------------------------------------------------------------------- */

int tap_reader_init(tap_reader_t *r, const void *memory, uint64_t bytes)
{
    const tap_head_t *h = memory;
    int rc = tap_bytes_check(bytes);
    if (rc < 0)
        return rc;
    if (rt_load_acquire(&h->version) != TAP_VERSION || h->magic != TAP_MAGIC || /* T0 */
        h->ring_bytes != bytes - TAP_HEAD_BYTES)
        return rt_err_set(-EPROTO,
                          "the memory of the tap holds no log of version %u: tool and worker must "
                          "be of the same shmring version",
                          TAP_VERSION);
    *r = (tap_reader_t){
        .head = h,
        .ring = (const uint8_t *)memory + TAP_HEAD_BYTES,
        .ring_bytes = bytes - TAP_HEAD_BYTES,
    };
    return 0;
}

/* Whether the record copied from the reader's position was complete. */
static bool still_whole(const tap_reader_t *r)
{
    rt_fence_acquire(); /* T2 */
    uint64_t writing = rt_load_relaxed(&r->head->writing);
    return writing <= r->at + r->ring_bytes;
}

static void continue_at_mark(tap_reader_t *r, uint64_t tail)
{
    uint64_t writing = rt_load_relaxed(&r->head->writing);
    uint64_t room = r->ring_bytes / 8;
    uint64_t best = tail;
    for (unsigned i = 0; i < TAP_MARKS; i++) {
        uint64_t at = rt_load_relaxed(&r->head->marks[i]);
        if (at > r->at && at < best && at + r->ring_bytes >= writing + room)
            best = at;
    }
    r->at = best;
}

typedef enum found { FOUND_RECORD, FOUND_PAD, NO_ROOM, LAPPED } found_t;

/* Copies the record at the reader's position. *bytes gets its length. */
static found_t copy_record(const tap_reader_t *r, uint8_t *to, uint32_t room, uint64_t tail,
                           uint32_t *bytes)
{
    const uint8_t *from = r->ring + r->at % r->ring_bytes;
    uint64_t left = r->ring_bytes - r->at % r->ring_bytes;
    uint64_t most = left < tail - r->at ? left : tail - r->at;
    uint64_t word;
    if (most % 8 != 0)
        return LAPPED;
    rt_copy_racy(&word, from, sizeof word);
    if (!still_whole(r))
        return LAPPED;
    *bytes = (uint32_t)word;
    bool pad = (word >> 32 & 0xffu) == TAP_PAD;
    if (*bytes % 8 != 0 || *bytes < (pad ? sizeof word : sizeof(tap_record_t)) || *bytes > most)
        return LAPPED; /* not written by the worker */
    if (pad)
        return FOUND_PAD;
    if (*bytes > room)
        return NO_ROOM;
    rt_copy_racy(to, from, *bytes);
    uint32_t copied_bytes; /* the tool trusts this: it may be root, and the writer any user */
    memcpy(&copied_bytes, to, sizeof copied_bytes);
    return still_whole(r) && copied_bytes == *bytes ? FOUND_RECORD : LAPPED;
}

static void take_record(tap_reader_t *r, const uint8_t *at, tap_batch_t *b)
{
    tap_record_t record;
    memcpy(&record, at, sizeof record);
    unsigned verdict = record.report.verdict;
    bool judged = record.kind == TAP_SENT || record.kind == TAP_NOT_SENT;
    if (record.index > r->next_index) { /* after a lap, so this is the first of the batch */
        b->lost_before += record.index - r->next_index;
        r->lost += record.index - r->next_index;
    }
    r->next_index = record.index + is_datagram(record.kind);
    b->bytes += record.bytes;
    b->records++;
    b->datagrams += is_datagram(record.kind);
    b->late += judged && verdict >= FIRST_LATE_VERDICT && verdict <= LAST_LATE_VERDICT;
    b->marks += record.kind == TAP_MARK;
}

uint32_t tap_reader_take(tap_reader_t *r, void *buffer, uint32_t buffer_bytes, tap_batch_t *batch)
{
    uint8_t *to = buffer;
    uint32_t bytes = 0;
    *batch = (tap_batch_t){.bytes = 0};
    uint64_t tail = rt_load_acquire(&r->head->tail); /* T4 */
    while (r->at < tail) {
        uint8_t *here = to + batch->bytes;
        found_t found = copy_record(r, here, buffer_bytes - batch->bytes, tail, &bytes);
        if (found == NO_ROOM || (found == LAPPED && batch->records > 0))
            break; /* the loss is reported before the next record */
        if (found == LAPPED) {
            tail = rt_load_acquire(&r->head->tail);
            continue_at_mark(r, tail);
            continue;
        }
        if (found == FOUND_RECORD)
            take_record(r, here, batch);
        r->at += bytes;
    }
    return batch->records;
}

uint32_t tap_reader_state(const tap_reader_t *r)
{
    return rt_load_acquire(&r->head->state);
}

uint64_t tap_reader_unreported(const tap_reader_t *r)
{
    uint64_t datagrams = rt_load_relaxed(&r->head->datagrams);
    return datagrams > r->next_index ? datagrams - r->next_index : 0;
}
