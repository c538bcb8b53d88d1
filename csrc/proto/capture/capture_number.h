/* capture_number.h: what both formats of capture files share: numbers in the byte order of the
 * file, and the text of an error. */
#ifndef PROTO_CAPTURE_NUMBER_H
#define PROTO_CAPTURE_NUMBER_H

#include "proto/capture/capture_file.h"

#include <string.h>

static inline uint16_t capture_get16(const capture_file_t *f, const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return f->swapped ? __builtin_bswap16(v) : v;
}

static inline uint32_t capture_get32(const capture_file_t *f, const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return f->swapped ? __builtin_bswap32(v) : v;
}

static inline uint64_t capture_get64(const capture_file_t *f, const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return f->swapped ? __builtin_bswap64(v) : v;
}

#endif
