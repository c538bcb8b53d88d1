#include "proto/udt/udt_cookie.h"

#include "base/rt_clock.h"

#define PERIOD_NS (64 * RT_NS_PER_S)
#define SIP_ROUNDS 2
#define SIP_LAST_ROUNDS 4

typedef struct sip {
    uint64_t v[4];
} sip_t;

static uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_rounds(sip_t *s, int rounds)
{
    uint64_t *v = s->v;
    while (rounds-- > 0) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static void sip_word(sip_t *s, uint64_t word)
{
    s->v[3] ^= word;
    sip_rounds(s, SIP_ROUNDS);
    s->v[0] ^= word;
}

static uint64_t little_endian(const uint8_t *p)
{
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--)
        word = word << 8 | p[i];
    return word;
}

/* Of 27 bytes: address, number, port, and which kind of address it is. */
uint64_t udt_address_hash(const udt_secret_t *secret, const udt_address_t *from, uint64_t number)
{
    uint64_t k0 = secret->word[0];
    uint64_t k1 = secret->word[1];
    sip_t s = {{k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)}};
    sip_word(&s, little_endian(from->ip));
    sip_word(&s, little_endian(from->ip + 8));
    sip_word(&s, number);
    sip_word(&s, UINT64_C(27) << 56 | (uint64_t)from->is_ipv6 << 16 | from->port);
    s.v[2] ^= 0xff;
    sip_rounds(&s, SIP_LAST_ROUNDS);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

static uint32_t cookie_of(const udt_secret_t *secret, const udt_address_t *from, int64_t period)
{
    return (uint32_t)udt_address_hash(secret, from, (uint64_t)period);
}

uint32_t udt_cookie_make(const udt_secret_t *secret, const udt_address_t *from, int64_t now_mono_ns)
{
    return cookie_of(secret, from, now_mono_ns / PERIOD_NS);
}

bool udt_cookie_is_good(const udt_secret_t *secret, const udt_address_t *from, uint32_t cookie,
                        int64_t now_mono_ns)
{
    int64_t period = now_mono_ns / PERIOD_NS;
    return cookie == cookie_of(secret, from, period) ||
           cookie == cookie_of(secret, from, period - 1);
}
