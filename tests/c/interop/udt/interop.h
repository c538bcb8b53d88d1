/* What both sides of test_udt_libudt agree on. C and C++. */
#ifndef INTEROP_H
#define INTEROP_H

#include <stdint.h>
#include <string.h>

#define INTEROP_MAX_MESSAGE 30008

/* The byte at that position of a stream. */
static inline uint8_t interop_byte(uint64_t position)
{
    return (uint8_t)(position * 167 + (position >> 8) * 13 + (position >> 16));
}

/* Writes message number into out; returns its bytes. */
static inline uint32_t interop_message(uint64_t number, uint8_t *out)
{
    uint32_t n = 8 + (uint32_t)(number * 7919 % 30000);
    memcpy(out, &number, 8);
    for (uint32_t i = 8; i < n; i++)
        out[i] = interop_byte(number + i);
    return n;
}

#endif
