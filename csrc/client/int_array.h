/* int_array.h: integers of any width in an array in memory. */
#ifndef CLIENT_INT_ARRAY_H
#define CLIENT_INT_ARRAY_H

#include <stdint.h>
#include <string.h>

/* width 0: there is no array. */
typedef struct int_array {
    const char *base;
    int64_t stride; /* bytes from one to the next */
    uint32_t width; /* 1, 2, 4, 8 */
    uint32_t is_signed;
} int_array_t;

static inline int64_t int_at(const int_array_t *a, uint64_t i)
{
    const char *p = a->base + (int64_t)i * a->stride;
    switch (a->width) {
    case 1:
        return a->is_signed ? (int64_t) * (const int8_t *)p : (int64_t) * (const uint8_t *)p;
    case 2: {
        uint16_t v;
        memcpy(&v, p, sizeof v);
        return a->is_signed ? (int64_t)(int16_t)v : (int64_t)v;
    }
    case 4: {
        uint32_t v;
        memcpy(&v, p, sizeof v);
        return a->is_signed ? (int64_t)(int32_t)v : (int64_t)v;
    }
    default: {
        int64_t v;
        memcpy(&v, p, sizeof v);
        return v;
    }
    }
}

#endif
