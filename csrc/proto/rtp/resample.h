/* resample.h: sample rate conversion by linear interpolation, bit for bit like
 * rtpsynth's resample_linear: IEEE double, round to nearest with ties to even, no fused
 * multiply-add. It has no filter: aliases stay. Pure; any thread. */
#ifndef RESAMPLE_H
#define RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* How many samples come out: round(in_count * out_rate / in_rate), at least 1; 0 for no input.
 * Returns -EINVAL for a rate <= 0, -EOVERFLOW for more than 2^31 - 1 samples in or out. */
int64_t resample_linear_count(size_t in_count, int64_t in_rate, int64_t out_rate);

/* Writes resample_linear_count(...) samples to out, which does not overlap in. Returns that count
 * or what resample_linear_count returned. */
int64_t resample_linear(int16_t *out, const int16_t *in, size_t in_count, int64_t in_rate,
                        int64_t out_rate);

#endif
