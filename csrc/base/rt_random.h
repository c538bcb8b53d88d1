/* rt_random.h: a small pseudo-random generator (xoshiro256**, seeded through splitmix64; both by
 * Blackman and Vigna, public domain algorithms). The same seed gives the same numbers on every
 * machine and in every version: recorded runs depend on it. Not for secrets. One generator belongs
 * to one thread. Pure. */
#ifndef RT_RANDOM_H
#define RT_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rt_random {
    uint64_t s[4];
} rt_random_t;

/* Next value of the splitmix64 sequence of *state. Makes unrelated seeds from neighbouring ones. */
static inline uint64_t rt_random_split(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Any seed is valid, including 0. */
static inline void rt_random_init(rt_random_t *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = rt_random_split(&seed);
}

/* 64 random bits. */
static inline uint64_t rt_random_next(rt_random_t *r)
{
    uint64_t *s = r->s;
    uint64_t x = s[1] * 5;
    uint64_t result = (x << 7 | x >> 57) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

/* 0 .. n - 1, with one draw for any n. 0 for n = 0. One value is more likely than another by at
 * most n / 2^32. */
static inline uint32_t rt_random_below(rt_random_t *r, uint32_t n)
{
    return (uint32_t)(((rt_random_next(r) >> 32) * n) >> 32);
}

/* 0 <= x < 1, in steps of 2^-53. */
static inline double rt_random_unit(rt_random_t *r)
{
    return (double)(rt_random_next(r) >> 11) * 0x1p-53;
}

/* True with this probability: never for p <= 0, always for p >= 1. One draw. */
static inline bool rt_random_chance(rt_random_t *r, double probability)
{
    return rt_random_unit(r) < probability;
}

#endif
