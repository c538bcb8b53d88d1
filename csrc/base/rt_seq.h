/* rt_seq.h: 32-bit sequence numbers that wrap, compared and widened. Pure. */
#ifndef RT_SEQ_H
#define RT_SEQ_H

#include <stdbool.h>
#include <stdint.h>

/* a - b as a signed distance; right while the two are less than 2^31 apart. */
static inline int32_t rt_seq32_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* The 64-bit number with the low half seq that is nearest to near. */
static inline uint64_t rt_seq64_near(uint64_t near, uint32_t seq)
{
    return near + (uint64_t)(int64_t)rt_seq32_diff(seq, (uint32_t)near);
}

#endif
