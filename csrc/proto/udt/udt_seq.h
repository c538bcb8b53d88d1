/* udt_seq.h: UDT's packet numbers, on a circle of 2^31 (0x7fffffff is followed by 0). Two numbers
 * are compared by the shorter distance between them, so results are right while they are less than
 * 2^30 apart. Windows are far smaller. Arguments and results are below 2^31. Message numbers wrap
 * from 2^29 - 2 to 1. Pure. */
#ifndef UDT_SEQ_H
#define UDT_SEQ_H

#include <stdbool.h>
#include <stdint.h>

#define UDT_SEQ_MASK UINT32_C(0x7fffffff)
#define UDT_MESSAGE_MASK UINT32_C(0x1fffffff)

/* Packets first .. last, both included. */
typedef struct udt_seq_range {
    uint32_t first;
    uint32_t last;
} udt_seq_range_t;

/* a - b: how many steps b must go forward to reach a, negative if a is before b. */
static inline int32_t udt_seq_diff(uint32_t a, uint32_t b)
{
    uint32_t d = (a - b) & UDT_SEQ_MASK;
    return d < UINT32_C(0x40000000) ? (int32_t)d : (int32_t)d - INT32_C(0x7fffffff) - 1;
}

static inline uint32_t udt_seq_add(uint32_t seq, int32_t steps)
{
    return (seq + (uint32_t)steps) & UDT_SEQ_MASK;
}

static inline uint32_t udt_seq_skip(uint32_t seq, uint32_t steps)
{
    return (seq + steps) & UDT_SEQ_MASK;
}

static inline uint32_t udt_seq_next(uint32_t seq)
{
    return udt_seq_skip(seq, 1);
}

static inline uint32_t udt_seq_prev(uint32_t seq)
{
    return udt_seq_skip(seq, UDT_SEQ_MASK);
}

static inline bool udt_seq_before(uint32_t a, uint32_t b)
{
    return udt_seq_diff(a, b) < 0;
}

/* 0 and 2^29 - 1 name no message. */
static inline uint32_t udt_message_next(uint32_t number)
{
    return number + 1 >= UDT_MESSAGE_MASK ? 1 : number + 1;
}

#endif
