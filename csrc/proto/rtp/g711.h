/* g711.h: the two companding laws of ITU-T G.711, to and from 16-bit linear samples.
 *
 * mu-law works on 14 bits, A-law on 13, both left-aligned in 16. Pure; any thread. In and out may
 * not overlap. */
#ifndef G711_H
#define G711_H

#include <stddef.h>
#include <stdint.h>

/* Any integer; beyond +-32635 it is clipped. 0 gives 255, -1 gives 127. */
uint8_t g711_linear_to_ulaw(int64_t sample);

/* -32124 (code 0) .. 32124 (code 128); both zeroes (127, 255) give 0. */
int16_t g711_ulaw_to_linear(uint8_t code);

/* Any integer; beyond 16 bits it is clipped. 0 gives 0xD5, -1 gives 0x55. */
uint8_t g711_linear_to_alaw(int64_t sample);

/* -32256 (code 0x2A) .. 32256 (code 0xAA); there is no 0, the smallest are +-8. */
int16_t g711_alaw_to_linear(uint8_t code);

void g711_ulaw_encode(uint8_t *out, const int16_t *in, size_t count);
void g711_ulaw_decode(int16_t *out, const uint8_t *in, size_t count);
void g711_alaw_encode(uint8_t *out, const int16_t *in, size_t count);
void g711_alaw_decode(int16_t *out, const uint8_t *in, size_t count);

#endif
