/* rt_math.h: the smaller, the larger, and a value within limits. Pure. */
#ifndef RT_MATH_H
#define RT_MATH_H

#include <stdint.h>

static inline int64_t rt_min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t rt_max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* low <= high. */
static inline int64_t rt_clamp64(int64_t value, int64_t low, int64_t high)
{
    return rt_max64(low, rt_min64(value, high));
}

static inline uint32_t rt_min32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The smallest power of two that is not below n, for n up to 2^31. */
static inline uint32_t rt_pow2_at_least(uint32_t n)
{
    uint32_t size = 1;
    while (size < n)
        size *= 2;
    return size;
}

#endif
