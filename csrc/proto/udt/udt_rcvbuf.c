#include "proto/udt/udt_rcvbuf.h"

#include <errno.h>
#include <string.h>

typedef enum slot_state {
    EMPTY = 0,
    FULL = 1,
    SPENT = 2, /* read ahead of its turn, or dropped by the sender */
} slot_state_t;

size_t udt_rcvbuf_memory_bytes(uint32_t capacity)
{
    return capacity * sizeof(udt_rcv_slot_t);
}

size_t udt_rcvbuf_data_bytes(uint32_t capacity, uint32_t slot_bytes)
{
    return (size_t)capacity * slot_bytes;
}

void udt_rcvbuf_init(udt_rcvbuf_t *b, const udt_rcvbuf_config_t *config, void *memory)
{
    if (!config->memory_is_zero)
        memset(memory, 0, udt_rcvbuf_memory_bytes(config->capacity));
    *b = (udt_rcvbuf_t){
        .bytes = config->bytes,
        .slots = memory,
        .slot_bytes = config->slot_bytes,
        .capacity = config->capacity,
        .is_stream = config->is_stream,
    };
}

void udt_rcvbuf_start(udt_rcvbuf_t *b, uint32_t isn)
{
    b->head_seq = isn;
}

static uint32_t slot_index(const udt_rcvbuf_t *b, uint32_t off)
{
    uint32_t to_end = b->capacity - b->head;
    return off < to_end ? b->head + off : off - to_end;
}

static udt_rcv_slot_t *slot_at(const udt_rcvbuf_t *b, uint32_t off)
{
    return &b->slots[slot_index(b, off)];
}

static uint8_t *bytes_at(const udt_rcvbuf_t *b, uint32_t index)
{
    return b->bytes + (size_t)index * b->slot_bytes;
}

/* --- messages ------------------------------------------------------------------------------ */

/* Whether the packet at off is there and belongs to the message of word1. */
static bool belongs(const udt_rcvbuf_t *b, uint32_t off, uint32_t word1)
{
    const udt_rcv_slot_t *slot = slot_at(b, off);
    return slot->state == FULL && udt_message_of(slot->word1) == udt_message_of(word1);
}

/* The complete message that the packet at off is a part of. Both neighbours are checked first:
 * while packets come one after the other, that is all. */
static bool find_whole(const udt_rcvbuf_t *b, uint32_t off, uint32_t *first, uint32_t *last)
{
    uint32_t word1 = slot_at(b, off)->word1;
    uint32_t from = off;
    uint32_t to = off;
    while (!(slot_at(b, to)->word1 & UDT_WORD1_LAST)) {
        if (to + 1 >= b->held || !belongs(b, to + 1, word1))
            return false;
        to++;
    }
    while (!(slot_at(b, from)->word1 & UDT_WORD1_FIRST)) {
        if (from == 0 || !belongs(b, from - 1, word1))
            return false;
        from--;
    }
    *first = from;
    *last = to;
    return true;
}

/* Whether a message that ends at last is ahead of the ready packets and may be delivered. */
static bool is_early(const udt_rcvbuf_t *b, uint32_t last)
{
    return last >= b->ready && !(slot_at(b, last)->word1 & UDT_WORD1_IN_ORDER);
}

static bool ends_early_message(const udt_rcvbuf_t *b, uint32_t off)
{
    uint32_t first;
    uint32_t last;
    const udt_rcv_slot_t *slot = slot_at(b, off);
    return slot->state == FULL && (slot->word1 & UDT_WORD1_LAST) && is_early(b, off) &&
           find_whole(b, off, &first, &last);
}

static bool ends_message(const udt_rcv_slot_t *slot)
{
    return (slot->word1 & UDT_WORD1_LAST) != 0;
}

/* --- the protocol's side ------------------------------------------------------------------- */

int udt_rcvbuf_put(udt_rcvbuf_t *b, const udt_view_t *view)
{
    int32_t ahead = udt_seq_diff(view->seq, udt_rcvbuf_ready_seq(b));
    if (ahead < 0)
        return -ERANGE;
    if ((uint32_t)ahead >= udt_rcvbuf_available(b))
        return -ENOBUFS;
    if (view->body_bytes > b->slot_bytes)
        return -EMSGSIZE;
    uint32_t off = b->ready + (uint32_t)ahead;
    uint32_t index = slot_index(b, off);
    udt_rcv_slot_t *slot = &b->slots[index];
    if (slot->state != EMPTY)
        return 0;
    *slot =
        (udt_rcv_slot_t){.word1 = view->word1, .bytes = (uint16_t)view->body_bytes, .state = FULL};
    memcpy(bytes_at(b, index), view->body, view->body_bytes);
    if (off >= b->held)
        b->held = off + 1;
    uint32_t first;
    uint32_t last;
    if (!b->is_stream && find_whole(b, off, &first, &last))
        b->early += is_early(b, last);
    return 1;
}

uint32_t udt_rcvbuf_make_ready(udt_rcvbuf_t *b, uint32_t seq)
{
    int32_t more = udt_seq_diff(seq, udt_rcvbuf_ready_seq(b));
    if (more <= 0)
        return 0;
    if ((uint32_t)more > udt_rcvbuf_available(b))
        more = (int32_t)udt_rcvbuf_available(b);
    uint32_t end = b->ready + (uint32_t)more;
    for (uint32_t off = b->ready; off < end; off++) {
        b->ready_bytes += slot_at(b, off)->bytes;
        b->ends += ends_message(slot_at(b, off));
        b->early -= b->early > 0 && ends_early_message(b, off);
    }
    b->ready = end;
    if (b->held < end)
        b->held = end;
    return (uint32_t)more;
}

void udt_rcvbuf_give_up(udt_rcvbuf_t *b, const udt_drop_t *drop)
{
    int32_t from = udt_seq_diff(drop->first, b->head_seq);
    int32_t to = udt_seq_diff(drop->last, b->head_seq);
    int32_t end = (int32_t)(b->ready + udt_rcvbuf_available(b));
    if (from < 0)
        from = 0;
    if (to >= end)
        to = end - 1;
    for (int32_t off = from; off <= to; off++) {
        udt_rcv_slot_t *slot = slot_at(b, (uint32_t)off);
        if (slot->state != FULL || udt_message_of(slot->word1) != drop->message)
            continue;
        b->early -= b->early > 0 && ends_early_message(b, (uint32_t)off);
        slot->state = SPENT;
    }
}

/* --- the application's side ---------------------------------------------------------------- */

/* Takes the first count packets off; they are ready. */
static void drop_head(udt_rcvbuf_t *b, uint32_t count)
{
    for (uint32_t off = 0; off < count; off++) {
        b->ends -= ends_message(slot_at(b, off));
        *slot_at(b, off) = (udt_rcv_slot_t){0};
    }
    b->head = slot_index(b, count);
    b->head_seq = udt_seq_skip(b->head_seq, count);
    b->ready -= count;
    b->held -= count;
}

size_t udt_rcvbuf_read(udt_rcvbuf_t *b, void *out, size_t room)
{
    size_t taken = 0;
    uint32_t whole = 0; /* packets read to their end */
    if (room > b->ready_bytes)
        room = b->ready_bytes;
    while (taken < room) {
        uint32_t index = slot_index(b, whole);
        uint32_t left = b->slots[index].bytes - b->read_bytes;
        uint32_t n = left < room - taken ? left : (uint32_t)(room - taken);
        memcpy((uint8_t *)out + taken, bytes_at(b, index) + b->read_bytes, n);
        taken += n;
        b->read_bytes = n < left ? b->read_bytes + n : 0;
        whole += n == left;
    }
    b->ready_bytes -= taken;
    drop_head(b, whole);
    return taken;
}

/* The first complete message at or after off that may be delivered, up to the end of the ready
 * packets or, if there are early messages, of all packets. */
static bool find_message(const udt_rcvbuf_t *b, uint32_t *first, uint32_t *last)
{
    uint32_t end = b->early > 0 ? b->held : b->ready;
    for (uint32_t off = 0; off < end; off++) {
        const udt_rcv_slot_t *slot = slot_at(b, off);
        if (slot->state != FULL || !(slot->word1 & UDT_WORD1_FIRST) ||
            !find_whole(b, off, first, last))
            continue;
        if (*last < b->ready || is_early(b, *last))
            return true;
        off = *last;
    }
    return false;
}

/* How many of the ready packets at the head cannot be part of a message any more: read or dropped,
 * or parts whose beginning or end is missing. */
static uint32_t count_useless(const udt_rcvbuf_t *b)
{
    uint32_t useless = 0;
    uint32_t off = 0;
    while (off < b->ready) {
        const udt_rcv_slot_t *slot = slot_at(b, off);
        uint32_t word1 = slot->word1;
        uint32_t end = off + 1;
        if (slot->state == FULL && (word1 & UDT_WORD1_FIRST)) {
            while (end < b->held && !(slot_at(b, end - 1)->word1 & UDT_WORD1_LAST) &&
                   belongs(b, end, word1))
                end++;
            if (slot_at(b, end - 1)->word1 & UDT_WORD1_LAST)
                break;
            if (end >= b->ready) /* its rest may still come */
                break;
        }
        useless = end;
        off = end;
    }
    return useless < b->ready ? useless : b->ready;
}

/* A message longer than the buffer, as far as it has arrived. */
static bool fills_the_buffer(const udt_rcvbuf_t *b)
{
    return udt_rcvbuf_available(b) == 0 && (slot_at(b, 0)->word1 & UDT_WORD1_FIRST);
}

int udt_rcvbuf_message(udt_rcvbuf_t *b, udt_message_t *message)
{
    uint32_t useless = count_useless(b);
    if (useless > 0)
        drop_head(b, useless);
    uint32_t first = 0;
    uint32_t last = b->ready - 1;
    if (!find_message(b, &first, &last)) {
        if (!fills_the_buffer(b))
            return 0;
        first = 0;
        last = b->ready - 1;
    }
    *message = (udt_message_t){
        .slot = slot_index(b, first),
        .off = first,
        .packets = last - first + 1,
        .number = udt_message_of(slot_at(b, first)->word1),
    };
    for (uint32_t off = first; off <= last; off++)
        message->bytes += slot_at(b, off)->bytes;
    return 1;
}

uint32_t udt_rcvbuf_message_piece(const udt_rcvbuf_t *b, const udt_message_t *message, uint32_t i,
                                  const uint8_t **at)
{
    uint32_t to_end = b->capacity - message->slot;
    uint32_t index = i < to_end ? message->slot + i : i - to_end;
    *at = bytes_at(b, index);
    return b->slots[index].bytes;
}

/* Packets ahead of the head: that may have moved since the message was found. */
static uint32_t distance(const udt_rcvbuf_t *b, uint32_t slot)
{
    return slot >= b->head ? slot - b->head : slot + b->capacity - b->head;
}

/* No message has number 0. */
void udt_rcvbuf_message_keep(udt_rcvbuf_t *b, const udt_message_t *message)
{
    uint32_t from = distance(b, message->slot);
    for (uint32_t i = 0; i < message->packets; i++)
        slot_at(b, from + i)->word1 &= ~UDT_MESSAGE_MASK;
}

void udt_rcvbuf_message_done(udt_rcvbuf_t *b, const udt_message_t *message)
{
    uint32_t from = distance(b, message->slot);
    uint32_t end = from + message->packets;
    b->early -= b->early > 0 && end > b->ready;
    for (uint32_t off = from; off < end; off++)
        slot_at(b, off)->state = SPENT;
    uint32_t spent = 0;
    while (spent < b->ready && slot_at(b, spent)->state == SPENT)
        spent++;
    drop_head(b, spent);
}

bool udt_rcvbuf_is_readable(udt_rcvbuf_t *b)
{
    udt_message_t message;
    if (b->is_stream)
        return b->ready_bytes > 0;
    bool may_be = b->ends > 0 || b->early > 0 || udt_rcvbuf_available(b) == 0;
    return may_be && udt_rcvbuf_message(b, &message) != 0;
}
