/* udt_cookie.h: proof that a request comes from its source address.
 *
 * A listener stores nothing for a first request. It sends back a number that it can compute again
 * from the address, a secret and the time, and continues only with a peer that repeats it. The
 * number is valid for one period of 64 s and the next one, so at least 64 s. It is SipHash-2-4 of
 * address and period, cut to 32 bits.
 *
 * Pure. */
#ifndef UDT_COOKIE_H
#define UDT_COOKIE_H

#include "base/rt_siphash.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct udt_address {
    uint8_t ip[16]; /* IPv4: the first four, the rest 0 */
    uint16_t port;
    bool is_ipv6;
} udt_address_t;

typedef rt_secret_t udt_secret_t;

#define UDT_NO_COOKIE 0u /* in a first request; udt_cookie_make never returns it */

static inline bool udt_address_equals(const udt_address_t *a, const udt_address_t *b)
{
    for (int i = 0; i < 16; i++) {
        if (a->ip[i] != b->ip[i])
            return false;
    }
    return a->port == b->port && a->is_ipv6 == b->is_ipv6;
}

/* SipHash-2-4 of an address and a number. */
uint64_t udt_address_hash(const udt_secret_t *secret, const udt_address_t *from, uint64_t number);

uint32_t udt_cookie_make(const udt_secret_t *secret, const udt_address_t *from,
                         int64_t now_mono_ns);
bool udt_cookie_is_good(const udt_secret_t *secret, const udt_address_t *from, uint32_t cookie,
                        int64_t now_mono_ns);

#endif
