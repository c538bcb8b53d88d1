#include "proto/udt/udt_cookie.h"

#include "base/rt_clock.h"

#define PERIOD_NS (64 * RT_NS_PER_S)

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
    const uint64_t words[] = {little_endian(from->ip), little_endian(from->ip + 8), number};
    uint64_t last = UINT64_C(27) << 56 | (uint64_t)from->is_ipv6 << 16 | from->port;
    return rt_siphash(secret, words, sizeof words / sizeof *words, last);
}

static uint32_t cookie_of(const udt_secret_t *secret, const udt_address_t *from, int64_t period)
{
    uint32_t cookie = (uint32_t)udt_address_hash(secret, from, (uint64_t)period);
    return cookie != UDT_NO_COOKIE ? cookie : 1;
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
