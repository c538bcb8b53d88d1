/* rx_ring.c: how the rx ring works.
 *
 *            floor                               tail
 *              |                                  |
 *     --free---+--oldest whole record ... newest--+---free--
 *                    ^            ^
 *              a reader's     shared_head, the one cursor
 *              own cursor     of all readers in shared mode
 *
 * The worker writes at the tail and publishes it. Before it overwrites old records it moves the
 * floor past them, so "at or after the floor" means "complete". A reader copies first and checks
 * then: if the floor has passed its cursor meanwhile, the copy may be torn and is discarded. The
 * sequences in the cursors say exactly how many packets were lost.
 *
 * Shared reading is the same copy, then one compare-and-swap of shared_head: the winner owns the
 * packet, the others copy another. Nothing is locked, so a reader that dies leaves nothing behind
 * but its own slot, if it had one.
 *
 * A sleeper sets data_wanted and sleeps on data_event. The worker makes the system call only when
 * data_wanted is set. A reader killed after it set data_wanted costs one superfluous call.
 *
 * Order:
 *   X1 tail, R          -> X2 in rx_reader_next: the records before it are whole
 *   X3 floor + release fence before overwriting -> X4 acquire fence + floor after copying: a reader
 *      that saw any byte of the new record sees the new floor
 *   X5 full fences around data_wanted: either the worker sees the
 *      request or the reader sees the packet
 */
#include "shm/rx_ring.h"

#include "base/rt_err.h"
#include "base/rt_futex.h"
#include "base/rt_seq.h"
#include "shm/ctl_msg.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#define READONLY_NAP_NS RT_NS_PER_MS /* a read-only end may not ask to be woken */

/* Reads before the ring counts as empty, if the writer passes this reader during each of them.
 * Between two reads a real writer advances by a fraction of the ring. Only a process that
 * overwrites the segment makes this many necessary. */
#define ATTEMPTS 256

#define V4_BYTES 8u /* family, port, address: the first and third part of shm_addr_t */

#define LONGEST_FLAGS (SHM_RX_V6 | SHM_RX_HAS_LOCAL)

/* Of one address in a record with these flags. */
static uint32_t address_bytes(unsigned flags)
{
    return flags & SHM_RX_V6 ? (uint32_t)sizeof(shm_addr_t) : V4_BYTES;
}

static uint32_t addresses_bytes(unsigned flags)
{
    return flags & SHM_RX_HAS_LOCAL ? 2 * address_bytes(flags) : address_bytes(flags);
}

static uint32_t record_units(uint32_t payload_bytes, unsigned flags)
{
    size_t bytes = sizeof(shm_rx_record_t) + addresses_bytes(flags) + payload_bytes;
    return (uint32_t)((bytes + SHM_UNIT_BYTES - 1) / SHM_UNIT_BYTES);
}

static rt_a64_t *word_at(const uint8_t *data, uint32_t place)
{
    return (rt_a64_t *)(uintptr_t)(data + (size_t)place * SHM_UNIT_BYTES);
}

static uint32_t used_units(uint32_t from, uint32_t to, uint32_t units)
{
    return to >= from ? to - from : units - from + to;
}

/* --- writer ------------------------------------------------------------------------------- */

static void wake_readers(rx_writer_t *w)
{
    rt_fetch_add(&w->cursors->data_event, 1);
    rt_futex_wake_all(&w->cursors->data_event);
}

/* A writer that died after putting more than a ring full without publishing it left the floor ahead
 * of the tail: nothing published is complete. The next packet gets a sequence that no reader's
 * cursor has yet, so that all readers come to the floor first. */
static void skip_unpublished(rx_writer_t *w)
{
    int32_t ahead = rt_seq32_diff(shm_cursor_seq(w->floor), shm_cursor_seq(w->tail));
    if (ahead < 0 || w->floor == w->tail)
        return;
    w->sequence += (uint64_t)ahead + 1;
    w->tail = shm_cursor(shm_cursor_seq(w->floor) + 1, shm_cursor_place(w->floor));
    w->floor = w->tail;
    rt_store_release(&w->cursors->floor, w->floor);
    (void)rx_writer_publish(w);
}

int rx_writer_init(rx_writer_t *w, shm_segment_t *s)
{
    *w = (rx_writer_t){
        .segment = s,
        .cursors = s->rx,
        .data = s->rx_data,
        .units = (uint32_t)(s->config.rx_bytes / SHM_UNIT_BYTES),
        .capacity = s->config.rx_capacity,
        .max_payload_bytes = shm_config_longest(&s->config, s->config.rx_bytes),
        .wait_for_readers = s->config.overflow == SHM_OVERFLOW_WAIT,
        .tail = rt_load_relaxed(&s->rx->tail),
        .floor = rt_load_relaxed(&s->rx->floor),
        .sequence = rt_load_relaxed(&s->rx->sequence_high),
    };
    if (shm_cursor_place(w->tail) >= w->units || shm_cursor_place(w->floor) >= w->units)
        return rt_err_set(-EPROTO,
                          "rx ring of channel \"%s\" has a cursor outside its %u units: it was "
                          "overwritten; close the channel and open it again",
                          s->config.name, w->units);
    w->sequence = rt_seq64_near(w->sequence, shm_cursor_seq(w->tail));
    skip_unpublished(w);
    w->lost_from = w->room_from = shm_cursor_seq(w->floor);
    wake_readers(w); /* a predecessor may have cleared their request and died before it woke them */
    return 0;
}

/* The oldest cursor of the readers that must not lose packets. The tail if nobody reads. */
static shm_cursor_t slowest_cursor(const rx_writer_t *w)
{
    const shm_config_t *c = &w->segment->config;
    shm_cursor_t slowest = w->tail;
    if (c->read_mode == SHM_READ_SHARED) {
        shm_cursor_t head = rt_load_acquire(&w->cursors->shared_head);
        return rt_seq32_diff(shm_cursor_seq(head), shm_cursor_seq(slowest)) < 0 ? head : slowest;
    }
    for (uint32_t i = 0; i < c->readers; i++) {
        const shm_reader_t *r = &w->segment->readers[i];
        if (rt_load_acquire(&r->owner) == 0)
            continue;
        shm_cursor_t at = rt_load_acquire(&r->cursor);
        if (rt_seq32_diff(shm_cursor_seq(at), shm_cursor_seq(slowest)) < 0)
            slowest = at;
    }
    return slowest;
}

/* Length in units of the record at place, if it can be there within held units; otherwise 0. */
static uint32_t units_at(const rx_writer_t *w, uint32_t place, uint32_t held, bool *pad)
{
    uint64_t word = rt_load_relaxed(word_at(w->data, place));
    uint32_t units = shm_word_units(word);
    *pad = shm_word_state(word) == SHM_RECORD_PAD;
    return units <= held && place + units <= w->units ? units : 0;
}

/* Moves the floor past the oldest packet and its padding: a cursor at the padding has the packet's
 * sequence, and would still seem valid if only the padding were gone. Lengths are read from shared
 * memory: an impossible one empties the ring instead of misplacing the floor. */
static void evict_oldest(rx_writer_t *w)
{
    uint32_t place = shm_cursor_place(w->floor);
    uint32_t held = used_units(place, shm_cursor_place(w->tail), w->units);
    bool pad;
    uint32_t units = units_at(w, place, held, &pad);
    if (pad && units) {
        held -= units;
        place = (place + units) % w->units;
        units = units_at(w, place, held, &pad);
    }
    if (units == 0 || pad)
        w->floor = w->tail;
    else
        w->floor = shm_cursor(shm_cursor_seq(w->floor) + 1, (place + units) % w->units);
}

static bool fits(const rx_writer_t *w, uint32_t take)
{
    uint32_t held = used_units(shm_cursor_place(w->floor), shm_cursor_place(w->tail), w->units);
    uint32_t packets = shm_cursor_seq(w->tail) - shm_cursor_seq(w->floor);
    return held + take < w->units && (w->capacity == 0 || packets < w->capacity);
}

/* The sequence of the oldest packet that a reader is waited for. An end may have become a reader at
 * an older packet since rx_writer_room was asked. What that room was for has left the socket, and
 * would be lost for all of them. */
static uint32_t oldest_spared(rx_writer_t *w)
{
    uint32_t floor = shm_cursor_seq(w->floor);
    uint32_t slowest = shm_cursor_seq(slowest_cursor(w));
    if (rt_seq32_diff(w->room_from, floor) < 0) /* so that it never seems to lie ahead */
        w->room_from = floor;
    return rt_seq32_diff(slowest, w->room_from) < 0 ? w->room_from : slowest;
}

/* Moves the floor until take units fit. false: SHM_OVERFLOW_WAIT, and a reader is in the way. */
static bool make_room(rx_writer_t *w, uint32_t take)
{
    if (fits(w, take))
        return true;
    if (w->wait_for_readers) {
        uint32_t spared = oldest_spared(w);
        while (!fits(w, take) && rt_seq32_diff(shm_cursor_seq(w->floor), spared) < 0)
            evict_oldest(w);
    } else {
        while (!fits(w, take))
            evict_oldest(w);
    }
    rt_store_relaxed(&w->cursors->floor, w->floor); /* X3 */
    rt_fence_release();                             /* X3, pairs with X4 */
    return fits(w, take);
}

static void write_address(uint8_t *to, const shm_addr_t *address)
{
    if (address->family == 6) {
        memcpy(to, address, sizeof *address);
        return;
    }
    /* Field by field: they were just written one by one, and one load of
     * both waits for both stores. */
    memcpy(to, &address->family, sizeof address->family);
    memcpy(to + sizeof address->family, &address->port, sizeof address->port);
    memcpy(to + 4, address->ip, 4);
}

static unsigned flags_of(const rx_item_t *item)
{
    bool has_local = item->local.family != 0 && item->local.family == item->source.family;
    return item->flags | (item->source.family == 6 ? SHM_RX_V6 : 0u) |
           (has_local ? SHM_RX_HAS_LOCAL : 0u);
}

int rx_writer_begin(rx_writer_t *w, const rx_item_t *item, uint8_t **payload)
{
    if (item->payload_bytes > w->max_payload_bytes)
        return -EMSGSIZE;
    unsigned flags = flags_of(item);
    uint32_t need = record_units(item->payload_bytes, flags);
    uint32_t place = shm_cursor_place(w->tail);
    uint32_t seq = shm_cursor_seq(w->tail);
    uint32_t pad = need <= w->units - place ? 0 : w->units - place;
    if (!make_room(w, pad + need))
        return -ENOBUFS;

    if (pad) {
        rt_store_relaxed(word_at(w->data, place), shm_word(seq, pad, 0, SHM_RECORD_PAD));
        place = 0;
    }
    shm_rx_record_t *r = (shm_rx_record_t *)(w->data + (size_t)place * SHM_UNIT_BYTES);
    rt_store_relaxed(&r->word, shm_word(seq, need, flags, SHM_RECORD_COMMITTED));
    r->time_ns = item->time_ns;
    r->payload_bytes = (uint16_t)item->payload_bytes;
    r->stamp = item->stamp;
    r->tos = item->tos;
    r->tag = item->tag;
    uint8_t *body = (uint8_t *)(r + 1);
    write_address(body, &item->source);
    if (flags & SHM_RX_HAS_LOCAL)
        write_address(body + address_bytes(flags), &item->local);
    *payload = body + addresses_bytes(flags);
    w->tail = shm_cursor(seq + 1, (place + need) % w->units);
    w->sequence++;
    return 0;
}

int rx_writer_put(rx_writer_t *w, const rx_item_t *item)
{
    uint8_t *payload;
    int rc = rx_writer_begin(w, item, &payload);
    if (rc == 0)
        memcpy(payload, item->payload, item->payload_bytes);
    return rc;
}

void rx_writer_show(rx_writer_t *w)
{
    if (rt_load_relaxed(&w->cursors->tail) == w->tail)
        return;
    rt_store_relaxed(&w->cursors->sequence_high, w->sequence);
    rt_store_release(&w->cursors->tail, w->tail); /* X1, pairs with X2 */
    w->shown = true;
}

int rx_writer_publish(rx_writer_t *w)
{
    rx_writer_show(w);
    if (!w->shown)
        return 0;
    w->shown = false;
    rt_fence_full();                              /* X5 */
    if (rt_load_relaxed(&w->cursors->data_wanted) == 0 ||
        rt_exchange(&w->cursors->data_wanted, 0) == 0)
        return 0;
    wake_readers(w);
    return 1;
}

uint64_t rx_writer_lost(rx_writer_t *w)
{
    uint32_t floor = shm_cursor_seq(w->floor);
    uint32_t from = w->lost_from;
    if (floor == from)
        return 0;
    w->lost_from = floor;
    uint32_t slowest = shm_cursor_seq(slowest_cursor(w));
    if (rt_seq32_diff(slowest, from) > 0)
        from = slowest;
    int32_t lost = rt_seq32_diff(floor, from);
    return lost > 0 ? (uint64_t)lost : 0;
}

uint32_t rx_writer_room(rx_writer_t *w, uint32_t packets, uint32_t payload_bytes)
{
    shm_cursor_t oldest = slowest_cursor(w);
    if (rt_seq32_diff(shm_cursor_seq(oldest), shm_cursor_seq(w->floor)) < 0)
        oldest = w->floor; /* the cursor of a reader that was purged or
                              overtaken and has not called since */
    w->room_from = shm_cursor_seq(oldest);
    if (shm_cursor_place(oldest) >= w->units)
        return 0;
    uint32_t held = used_units(shm_cursor_place(oldest), shm_cursor_place(w->tail), w->units);
    uint32_t waiting = shm_cursor_seq(w->tail) - shm_cursor_seq(oldest);
    uint32_t kept =
        1 + record_units(w->max_payload_bytes, LONGEST_FLAGS); /* padding at the ring's end */
    uint32_t each = packets * (record_units(0, LONGEST_FLAGS) + 1) + payload_bytes / SHM_UNIT_BYTES;
    uint32_t fit = held + kept < w->units ? (w->units - held - kept) / each : 0;
    if (w->capacity == 0)
        return fit;
    uint32_t by_count = waiting < w->capacity ? (w->capacity - waiting) / packets : 0;
    return by_count < fit ? by_count : fit;
}

void rx_writer_purge(rx_writer_t *w)
{
    uint32_t oldest = shm_cursor_seq(w->floor);
    rt_store_relaxed(&w->cursors->purged_sequence, w->sequence);
    w->floor = w->tail;
    w->lost_from = shm_cursor_seq(w->floor);
    rt_store_release(&w->cursors->floor, w->floor);
    rt_fence_release(); /* X3 */
    shm_cursor_t head = rt_load_acquire(&w->cursors->shared_head);
    while (!rt_cas(&w->cursors->shared_head, &head, w->tail)) {
    }
    /* What the group had lost before, but not noticed yet, was not part of the purge. */
    int32_t missed = rt_seq32_diff(oldest, shm_cursor_seq(head));
    if (missed > 0 && w->segment->config.read_mode == SHM_READ_SHARED)
        rt_fetch_add(&w->cursors->shared_lost, (uint64_t)missed);
}

/* --- readers ------------------------------------------------------------------------------ */

/* The ends of the ring as one reader sees them. */
typedef struct view {
    shm_cursor_t tail, floor;
    uint64_t tail_sequence, floor_sequence;
} view_t;

static view_t look(const rx_reader_t *r)
{
    view_t v;
    v.tail = rt_load_acquire(&r->cursors->tail); /* X2, pairs with X1 */
    v.floor = rt_load_acquire(&r->cursors->floor);
    uint64_t near = rt_load_relaxed(&r->cursors->sequence_high);
    v.tail_sequence = rt_seq64_near(near, shm_cursor_seq(v.tail));
    v.floor_sequence = rt_seq64_near(v.tail_sequence, shm_cursor_seq(v.floor));
    return v;
}

int rx_reader_init(rx_reader_t *r, const shm_segment_t *s, uint32_t slot, int mode, int from_oldest)
{
    if (mode == SHM_READ_SHARED && !s->writable)
        return rt_err_set(-EACCES, "shared reading takes packets away from others and needs write "
                                   "access: attach without readonly");
    if (slot != CTL_NO_SLOT && slot >= s->config.readers)
        return rt_err_set(-EINVAL, "reader slot %u is not between 0 and %u", slot,
                          s->config.readers - 1);
    *r = (rx_reader_t){
        .cursors = s->rx,
        .shared = s->writable ? s->rx : NULL,
        .slot = slot == CTL_NO_SLOT ? NULL : &s->readers[slot],
        .data = s->rx_data,
        .units = (uint32_t)(s->config.rx_bytes / SHM_UNIT_BYTES),
        .max_payload_bytes = shm_config_longest(&s->config, s->config.rx_bytes),
        .mode = mode,
        .awaited = s->config.overflow == SHM_OVERFLOW_WAIT,
    };
    view_t v = look(r);
    r->cursor = from_oldest ? v.floor : v.tail;
    r->sequence = from_oldest ? v.floor_sequence : v.tail_sequence;
    if (r->slot)
        rt_store_release(&r->slot->cursor, r->cursor);
    return 0;
}

static uint64_t lost_between(const rx_reader_t *r, uint64_t from, uint64_t to)
{
    uint64_t purged = rt_load_relaxed(&r->cursors->purged_sequence);
    uint64_t start = from > purged ? from : purged;
    return to > start ? to - start : 0;
}

/* Finds the place of this reader, after it skipped what it has missed. false: nothing to read.
 * Distances are signed and counted from the tail. So whatever the segment contains, a reader that
 * was moved to the floor is within the held records or at their end, and this does not repeat
 * forever. */
static bool find_place(rx_reader_t *r, shm_cursor_t *cursor, uint64_t *sequence)
{
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        view_t v = look(r);
        if (r->mode == SHM_READ_SHARED) {
            *cursor = rt_load_acquire(&r->shared->shared_head);
            *sequence = rt_seq64_near(v.tail_sequence, shm_cursor_seq(*cursor));
        } else {
            *cursor = r->cursor;
            *sequence = r->sequence;
        }
        int64_t ahead = (int64_t)(v.tail_sequence - *sequence);
        int64_t held = (int64_t)(v.tail_sequence - v.floor_sequence);
        if (ahead <= 0)
            return false;
        if (ahead <= held)
            return true;

        uint64_t lost = lost_between(r, *sequence, v.floor_sequence);
        if (r->mode == SHM_READ_SHARED) {
            shm_cursor_t head = *cursor;
            if (rt_cas(&r->shared->shared_head, &head, v.floor))
                rt_fetch_add(&r->shared->shared_lost, lost);
        } else {
            r->cursor = v.floor;
            r->sequence = v.floor_sequence;
            r->lost += lost;
            r->lost_unreported += lost;
            if (r->slot)
                rt_store_relaxed(&r->slot->lost, r->lost);
        }
    }
    return false;
}

/* Compared in 64 bits: a reader that was stopped for 2^31 packets must not take the new ones for
 * its own. The writer stored sequence_high before the floor that lets it overwrite, so it is recent
 * enough to widen that floor. */
static bool still_whole(const rx_reader_t *r, uint64_t sequence)
{
    return (int64_t)(sequence - rx_reader_floor(r)) >= 0;
}

static void read_address(shm_addr_t *to, const uint8_t *from, bool v6)
{
    if (v6) {
        rt_copy_racy(to, from, sizeof *to);
        return;
    }
    *to = (shm_addr_t){0};
    rt_copy_racy(to, from, 4);
    rt_copy_racy(to->ip, from + 4, 4);
}

/* Reads the record at cursor except for its payload, and finds that. Returns the place of the
 * record's end, or UINT32_MAX if it is invalid (being overwritten, or damaged). */
RT_RACY static inline uint32_t read_record(const rx_reader_t *r, shm_cursor_t cursor,
                                           const uint8_t **payload, rx_packet_t *packet)
{
    uint32_t place = shm_cursor_place(cursor);
    uint64_t word = rt_load_relaxed(word_at(r->data, place));
    if (shm_word_state(word) == SHM_RECORD_PAD) {
        place = 0;
        word = rt_load_relaxed(word_at(r->data, place));
    }
    uint32_t units = shm_word_units(word);
    unsigned flags = shm_word_flags(word);
    bool v6 = (flags & SHM_RX_V6) != 0;
    shm_rx_record_t header;
    if (shm_word_seq(word) != shm_cursor_seq(cursor) || place + units > r->units ||
        units < record_units(0, flags))
        return UINT32_MAX;
    rt_copy_racy(&header, r->data + (size_t)place * SHM_UNIT_BYTES, sizeof header);
    if (header.payload_bytes > r->max_payload_bytes ||
        units < record_units(header.payload_bytes, flags))
        return UINT32_MAX;

    const uint8_t *body = r->data + (size_t)place * SHM_UNIT_BYTES + sizeof header;
    packet->time_ns = header.time_ns;
    packet->payload_bytes = header.payload_bytes;
    packet->stamp = header.stamp;
    packet->tos = header.tos;
    packet->tag = header.tag;
    packet->flags = (uint8_t)flags;
    read_address(&packet->source, body, v6);
    packet->local = (shm_addr_t){.family = 0};
    if (flags & SHM_RX_HAS_LOCAL)
        read_address(&packet->local, body + address_bytes(flags), v6);
    *payload = body + addresses_bytes(flags);
    return (place + units) % r->units;
}

/* A record that is complete but invalid: the segment was overwritten. Its reader restarts at the
 * tail. Otherwise it would stay here forever. */
static void skip_damage(rx_reader_t *r, shm_cursor_t cursor)
{
    view_t v = look(r);
    if (r->mode == SHM_READ_SHARED) {
        rt_cas(&r->shared->shared_head, &cursor, v.tail);
        return;
    }
    r->lost += v.tail_sequence - r->sequence;
    r->lost_unreported += v.tail_sequence - r->sequence;
    r->cursor = v.tail;
    r->sequence = v.tail_sequence;
    if (r->slot)
        /* a writer that waits for it must continue */
        rt_store_release(&r->slot->cursor, r->cursor);
}

static void step(rx_reader_t *r, shm_cursor_t from, shm_cursor_t next, uint64_t sequence)
{
    r->cursor = next;
    r->sequence = sequence;
    if (r->loan == RX_LOAN_BEGUN) {
        r->loan_cursor = from;
        r->loan = RX_LOAN_OUT;
    }
    if (r->slot == NULL)
        return;
    rt_store_release(&r->slot->cursor, rx_reader_shown(r));
    rt_bump(&r->slot->taken, 1);
}

/* buffer NULL: no copy. */
static inline int take_next(rx_reader_t *r, void *buffer, uint32_t buffer_bytes,
                            const uint8_t **payload, rx_packet_t *packet, uint64_t *lost_before)
{
    shm_cursor_t cursor;
    uint64_t sequence;
    for (int attempt = 0; attempt < ATTEMPTS && find_place(r, &cursor, &sequence); attempt++) {
        if (shm_cursor_place(cursor) >= r->units) {
            skip_damage(r, cursor);
            continue;
        }
        uint32_t end = read_record(r, cursor, payload, packet);
        if (buffer != NULL && end != UINT32_MAX)
            rt_copy_racy(buffer, *payload,
                         packet->payload_bytes < buffer_bytes ? packet->payload_bytes
                                                              : buffer_bytes);
        if (!still_whole(r, sequence))
            continue;
        if (end == UINT32_MAX) {
            /* In shared mode another reader may have moved shared_head during this read. */
            if (r->mode == SHM_READ_EACH || rt_load_acquire(&r->shared->shared_head) == cursor)
                skip_damage(r, cursor);
            continue;
        }
        shm_cursor_t next = shm_cursor(shm_cursor_seq(cursor) + 1, end);
        if (r->mode == SHM_READ_SHARED) {
            if (!rt_cas(&r->shared->shared_head, &cursor, next))
                continue;
            if (r->slot)
                rt_bump(&r->slot->taken, 1);
        } else {
            step(r, cursor, next, sequence + 1);
        }
        packet->sequence = sequence;
        if (lost_before)
            *lost_before = r->lost_unreported;
        r->lost_unreported = 0;
        return 1;
    }
    return 0;
}

int rx_reader_next(rx_reader_t *r, void *buffer, uint32_t buffer_bytes, rx_packet_t *packet,
                   uint64_t *lost_before)
{
    const uint8_t *payload;
    uint8_t none;
    return take_next(r, buffer != NULL ? buffer : &none, buffer != NULL ? buffer_bytes : 0,
                     &payload, packet, lost_before);
}

int rx_reader_next_in_place(rx_reader_t *r, const uint8_t **payload, rx_packet_t *packet)
{
    return take_next(r, NULL, 0, payload, packet, NULL);
}

void rx_reader_loan(rx_reader_t *r)
{
    r->loan = RX_LOAN_BEGUN;
}

void rx_reader_loan_end(rx_reader_t *r)
{
    bool shown = r->loan == RX_LOAN_OUT && r->slot != NULL && r->mode == SHM_READ_EACH;
    r->loan = RX_LOAN_NONE;
    if (shown)
        rt_store_release(&r->slot->cursor, r->cursor);
}

uint64_t rx_reader_floor(const rx_reader_t *r)
{
    rt_fence_acquire(); /* X4, pairs with X3 */
    shm_cursor_t floor = rt_load_relaxed(&r->cursors->floor);
    return rt_seq64_near(rt_load_relaxed(&r->cursors->sequence_high), shm_cursor_seq(floor));
}

/* Counted like find_place: a reader that has nothing to take must not be told of packets. */
uint64_t rx_reader_waiting(const rx_reader_t *r)
{
    view_t v = look(r);
    uint64_t at = r->sequence;
    if (r->mode == SHM_READ_SHARED)
        at = rt_seq64_near(v.tail_sequence,
                           shm_cursor_seq(rt_load_acquire(&r->cursors->shared_head)));
    int64_t ahead = (int64_t)(v.tail_sequence - at);
    int64_t held = (int64_t)(v.tail_sequence - v.floor_sequence);
    int64_t waiting = ahead < held ? ahead : held;
    if (waiting <= 0)
        return 0;
    return (uint64_t)waiting < r->units ? (uint64_t)waiting : r->units;
}

static int nap(int64_t now_mono_ns, int64_t until_mono_ns)
{
    int64_t left = until_mono_ns - now_mono_ns;
    struct timespec ts = {.tv_nsec = (long)(left < READONLY_NAP_NS ? left : READONLY_NAP_NS)};
    return nanosleep(&ts, NULL) < 0 ? -errno : 0;
}

/* The awaited packet may come from a process that needs this core: two programs that answer each
 * other and a worker share two cores. So a reader that spins offers the core to others. If nobody
 * took it, it polls for OFFER_EVERY_NS before the next offer. If somebody kept it for long, the
 * core is busy with other work: for OFFER_PAUSE times as long this thread sleeps at once, because
 * the kernel lets a sleeper that is woken run before those. */
#define ALONE_NS 700
#define OFFER_EVERY_NS RT_NS_PER_US
#define KEPT_LONG_NS (500 * RT_NS_PER_US)
#define OFFER_PAUSE 20

static _Thread_local int64_t spin_from_mono_ns;  /* the core is busy until then */
static _Thread_local int64_t offer_from_mono_ns;

/* Returns the time. */
static int64_t spin_once(int64_t now_mono_ns)
{
    if (now_mono_ns < offer_from_mono_ns) {
        rt_cpu_relax();
        return rt_mono_ns();
    }
    (void)sched_yield();
    int64_t now = rt_mono_ns();
    int64_t took_ns = now - now_mono_ns;
    if (took_ns > KEPT_LONG_NS)
        spin_from_mono_ns = now + OFFER_PAUSE * took_ns;
    else if (took_ns < ALONE_NS)
        offer_from_mono_ns = now + OFFER_EVERY_NS;
    return now;
}

int rx_reader_wait(rx_reader_t *r, int64_t spin_ns, int64_t until_mono_ns)
{
    int64_t now = rt_mono_ns();
    int64_t spin_until = spin_ns < until_mono_ns - now ? now + spin_ns : until_mono_ns;
    while (now < spin_until && now >= spin_from_mono_ns) {
        if (rx_reader_waiting(r))
            return 0;
        now = spin_once(now);
    }
    if (r->shared == NULL) {
        if (rx_reader_waiting(r))
            return 0;
        return now >= until_mono_ns ? -ETIMEDOUT : nap(now, until_mono_ns);
    }
    uint32_t event = rt_load_relaxed(&r->shared->data_event);
    rt_store_relaxed(&r->shared->data_wanted, 1);
    rt_fence_full(); /* X5 */
    if (rx_reader_waiting(r))
        return 0;
    return rt_futex_wait(&r->shared->data_event, event, until_mono_ns);
}
