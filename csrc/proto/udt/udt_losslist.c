#include "proto/udt/udt_losslist.h"

#include "base/rt_math.h"

#include <string.h>

#define WORD_BITS 64u

uint32_t udt_losslist_capacity(uint32_t packets)
{
    return rt_pow2_at_least(packets > WORD_BITS ? packets : WORD_BITS);
}

size_t udt_losslist_memory_bytes(uint32_t capacity)
{
    return capacity / 8;
}

void udt_losslist_init(udt_losslist_t *l, void *memory, uint32_t capacity)
{
    memset(memory, 0, udt_losslist_memory_bytes(capacity));
    *l = (udt_losslist_t){.bits = memory, .capacity = capacity};
}

void udt_losslist_start(udt_losslist_t *l, uint32_t base)
{
    l->base = base;
    l->hint = base;
}

/* The word of seq, and a mask of the bits from seq on, at most count of them and not beyond the
 * word. *taken: how many these are. */
static uint64_t *word_at(const udt_losslist_t *l, uint32_t seq, uint32_t count, uint64_t *mask,
                         uint32_t *taken)
{
    uint32_t bit = seq % WORD_BITS;
    uint32_t n = WORD_BITS - bit < count ? WORD_BITS - bit : count;
    *mask = (n == WORD_BITS ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << bit;
    *taken = n;
    return &l->bits[(seq & (l->capacity - 1)) / WORD_BITS];
}

/* Cuts first .. last to the window. Returns how many are left, from *first on. */
static uint32_t clip(const udt_losslist_t *l, uint32_t *first, uint32_t last)
{
    int32_t from = udt_seq_diff(*first, l->base);
    int32_t to = udt_seq_diff(last, l->base);
    if (to < from || to < 0 || from >= (int32_t)l->capacity)
        return 0;
    if (from < 0) {
        from = 0;
        *first = l->base;
    }
    if (to >= (int32_t)l->capacity)
        to = (int32_t)l->capacity - 1;
    return (uint32_t)(to - from) + 1;
}

uint32_t udt_losslist_insert(udt_losslist_t *l, uint32_t first, uint32_t last)
{
    uint32_t left = clip(l, &first, last);
    uint32_t added = 0;
    if (left > 0 && (l->count == 0 || udt_seq_before(first, l->hint)))
        l->hint = first;
    while (left > 0) {
        uint64_t mask;
        uint32_t n;
        uint64_t *word = word_at(l, first, left, &mask, &n);
        added += (uint32_t)__builtin_popcountll(mask & ~*word);
        *word |= mask;
        first = udt_seq_skip(first, n);
        left -= n;
    }
    l->count += added;
    return added;
}

uint32_t udt_losslist_remove(udt_losslist_t *l, uint32_t first, uint32_t last)
{
    uint32_t left = clip(l, &first, last);
    uint32_t removed = 0;
    while (left > 0 && removed < l->count) {
        uint64_t mask;
        uint32_t n;
        uint64_t *word = word_at(l, first, left, &mask, &n);
        removed += (uint32_t)__builtin_popcountll(mask & *word);
        *word &= ~mask;
        first = udt_seq_skip(first, n);
        left -= n;
    }
    l->count -= removed;
    return removed;
}

void udt_losslist_advance(udt_losslist_t *l, uint32_t seq)
{
    if (!udt_seq_before(l->base, seq))
        return;
    if (l->count > 0)
        udt_losslist_remove(l, l->base, udt_seq_prev(seq));
    l->base = seq;
    if (udt_seq_before(l->hint, seq))
        l->hint = seq;
}

bool udt_losslist_has(const udt_losslist_t *l, uint32_t seq)
{
    if (l->count == 0 || clip(l, &seq, seq) == 0)
        return false;
    uint64_t mask;
    uint32_t n;
    return (*word_at(l, seq, 1, &mask, &n) & mask) != 0;
}

/* The first of count numbers from seq on that is lost (want), or that is not. seq + count if there
 * is none. */
static uint32_t find(const udt_losslist_t *l, uint32_t seq, uint32_t count, bool want)
{
    while (count > 0) {
        uint64_t mask;
        uint32_t n;
        uint64_t word = *word_at(l, seq, count, &mask, &n);
        uint64_t hits = (want ? word : ~word) & mask;
        if (hits != 0)
            return udt_seq_skip(seq, (uint32_t)__builtin_ctzll(hits) - seq % WORD_BITS);
        seq = udt_seq_skip(seq, n);
        count -= n;
    }
    return seq;
}

static uint32_t window_behind(const udt_losslist_t *l, uint32_t seq)
{
    return l->capacity - (uint32_t)udt_seq_diff(seq, l->base);
}

bool udt_losslist_first(udt_losslist_t *l, uint32_t *seq)
{
    if (l->count == 0)
        return false;
    l->hint = find(l, l->hint, window_behind(l, l->hint), true);
    *seq = l->hint;
    return true;
}

bool udt_losslist_range(const udt_losslist_t *l, uint32_t from, uint32_t before, uint32_t *first,
                        uint32_t *last)
{
    if (l->count == 0)
        return false;
    if (udt_seq_before(from, l->hint))
        from = l->hint;
    uint32_t left = clip(l, &from, udt_seq_prev(before));
    if (left == 0)
        return false;
    uint32_t end = udt_seq_skip(from, left);
    *first = find(l, from, left, true);
    if (*first == end)
        return false;
    *last = udt_seq_prev(find(l, *first, (uint32_t)udt_seq_diff(end, *first), false));
    return true;
}
