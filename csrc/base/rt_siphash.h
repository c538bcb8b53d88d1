/* rt_siphash.h: SipHash-2-4 (Aumasson and Bernstein) of whole 64-bit words, with a secret key. For
 * tables and cookies whose keys come from the network: who does not know the key cannot choose
 * input that collides. Pure. */
#ifndef RT_SIPHASH_H
#define RT_SIPHASH_H

#include <stdint.h>

#define RT_SIPHASH_ROUNDS 2
#define RT_SIPHASH_LAST_ROUNDS 4

/* Random and secret. */
typedef struct rt_secret {
    uint64_t word[2];
} rt_secret_t;

static inline uint64_t rt_siphash_rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static inline void rt_siphash_rounds(uint64_t v[4], int rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1];
        v[1] = rt_siphash_rotate(v[1], 13) ^ v[0];
        v[0] = rt_siphash_rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rt_siphash_rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rt_siphash_rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rt_siphash_rotate(v[1], 17) ^ v[2];
        v[2] = rt_siphash_rotate(v[2], 32);
    }
}

/* last: the bytes after the whole words, little-endian, and the length of all, modulo 256, in its
 * highest byte. */
static inline uint64_t rt_siphash(const rt_secret_t *secret, const uint64_t *words, unsigned count,
                                  uint64_t last)
{
    uint64_t k0 = secret->word[0];
    uint64_t k1 = secret->word[1];
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    for (unsigned i = 0; i <= count; i++) {
        uint64_t word = i < count ? words[i] : last;
        v[3] ^= word;
        rt_siphash_rounds(v, RT_SIPHASH_ROUNDS);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    rt_siphash_rounds(v, RT_SIPHASH_LAST_ROUNDS);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
