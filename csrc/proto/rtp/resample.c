/* Built with -ffp-contract=off: a fused multiply-add would round some ties the other way.
 *
 * The general case computes two outputs at once in SSE2. Two common special cases are exact in
 * integers: integer ratios downwards (16 to 8 kHz) pick samples, and doubling (8 to 16 kHz) puts
 * the mean of two neighbours between them. */
#include "proto/rtp/resample.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#define RESAMPLE_SSE2 1
#endif

int64_t resample_linear_count(size_t in_count, int64_t in_rate, int64_t out_rate)
{
    if (in_rate <= 0 || out_rate <= 0)
        return -EINVAL;
    if (in_count > INT32_MAX)
        return -EOVERFLOW;
    if (in_count == 0 || in_rate == out_rate)
        return (int64_t)in_count;
    double count = rint((double)in_count * (double)out_rate / (double)in_rate);
    if (count > (double)INT32_MAX)
        return -EOVERFLOW;
    return count < 1.0 ? 1 : (int64_t)count;
}

static int16_t clamp_to_sample(double v)
{
    double rounded = rint(v);
    if (rounded > INT16_MAX)
        return INT16_MAX;
    return rounded < INT16_MIN ? INT16_MIN : (int16_t)rounded;
}

static int16_t sample_at(const int16_t *in, int64_t in_count, double pos)
{
    int64_t index = (int64_t)pos;
    if (index >= in_count - 1)
        return in[in_count - 1];
    double fraction = pos - (double)index;
    double from = in[index];
    double to = in[index + 1];
    return clamp_to_sample(from + (to - from) * fraction);
}

static void pick(int16_t *out, int64_t out_count, const int16_t *in, int64_t in_count, int64_t step)
{
    for (int64_t i = 0, at = 0; i < out_count; i++, at += step)
        out[i] = in[at < in_count ? at : in_count - 1];
}

/* (a + b) / 2, ties to even: the floor is odd exactly when a tie has to go up. */
static int16_t mean_to_even(int32_t a, int32_t b)
{
    int32_t sum = a + b;
    int32_t floor_half = sum >> 1;
    return (int16_t)(floor_half + (sum & floor_half & 1));
}

static void double_up(int16_t *out, const int16_t *in, int64_t in_count)
{
    int64_t i = 0;
#ifdef RESAMPLE_SSE2
    const __m128i one = _mm_set1_epi16(1);
    for (; i + 9 <= in_count; i += 8) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(in + i + 1));
        __m128i odd = _mm_xor_si128(a, b);
        /* floor((a + b) / 2) without the carry that a + b would lose */
        __m128i mean = _mm_add_epi16(_mm_and_si128(a, b), _mm_srai_epi16(odd, 1));
        mean = _mm_add_epi16(mean, _mm_and_si128(_mm_and_si128(odd, mean), one));
        _mm_storeu_si128((__m128i *)(void *)(out + 2 * i), _mm_unpacklo_epi16(a, mean));
        _mm_storeu_si128((__m128i *)(void *)(out + 2 * i + 8), _mm_unpackhi_epi16(a, mean));
    }
#endif
    for (; i < in_count; i++) {
        int64_t next = i + 1 < in_count ? i + 1 : i;
        out[2 * i] = in[i];
        out[2 * i + 1] = mean_to_even(in[i], in[next]);
    }
}

#ifdef RESAMPLE_SSE2

/* Samples index and index + 1 of two positions: (first of both), (second of both). */
static void load_pairs(const int16_t *in, __m128i index, __m128d *from, __m128d *to)
{
    int32_t left;
    int32_t right;
    memcpy(&left, in + _mm_cvtsi128_si32(index), sizeof left);
    memcpy(&right, in + _mm_cvtsi128_si32(_mm_shuffle_epi32(index, 1)), sizeof right);
    __m128i pairs = _mm_unpacklo_epi32(_mm_cvtsi32_si128(left), _mm_cvtsi32_si128(right));
    *from = _mm_cvtepi32_pd(_mm_srai_epi32(_mm_slli_epi32(pairs, 16), 16));
    *to = _mm_cvtepi32_pd(_mm_srai_epi32(pairs, 16));
}

/* Two rounded outputs in the low two 32-bit lanes. */
static __m128i interpolate_pair(const int16_t *in, __m128d pos)
{
    __m128d from;
    __m128d to;
    __m128i index = _mm_cvttpd_epi32(pos);
    load_pairs(in, index, &from, &to);
    __m128d fraction = _mm_sub_pd(pos, _mm_cvtepi32_pd(index));
    return _mm_cvtpd_epi32(_mm_add_pd(from, _mm_mul_pd(_mm_sub_pd(to, from), fraction)));
}

/* Does the outputs whose two neighbours both exist, four at a time; returns how many. */
static int64_t interpolate_vectors(int16_t *out, int64_t out_count, const int16_t *in,
                                   int64_t in_count, double ratio)
{
    const __m128d ratios = _mm_set1_pd(ratio);
    const __m128d two = _mm_set1_pd(2.0);
    __m128d at = _mm_set_pd(1.0, 0.0);
    int64_t i = 0;
    for (; i + 4 <= out_count; i += 4) {
        if ((int64_t)((double)(i + 3) * ratio) >= in_count - 1)
            break;
        __m128d next = _mm_add_pd(at, two);
        __m128i low = interpolate_pair(in, _mm_mul_pd(at, ratios));
        __m128i high = interpolate_pair(in, _mm_mul_pd(next, ratios));
        __m128i four = _mm_unpacklo_epi64(low, high);
        _mm_storel_epi64((__m128i *)(void *)(out + i), _mm_packs_epi32(four, four));
        at = _mm_add_pd(next, two);
    }
    return i;
}

#else

static int64_t interpolate_vectors(int16_t *out, int64_t out_count, const int16_t *in,
                                   int64_t in_count, double ratio)
{
    (void)out, (void)out_count, (void)in, (void)in_count, (void)ratio;
    return 0;
}

#endif

static void interpolate(int16_t *out, int64_t out_count, const int16_t *in, int64_t in_count,
                        double ratio)
{
    for (int64_t i = interpolate_vectors(out, out_count, in, in_count, ratio); i < out_count; i++)
        out[i] = sample_at(in, in_count, (double)i * ratio);
}

int64_t resample_linear(int16_t *out, const int16_t *in, size_t in_count, int64_t in_rate,
                        int64_t out_rate)
{
    int64_t out_count = resample_linear_count(in_count, in_rate, out_rate);
    if (out_count <= 0)
        return out_count;
    int64_t count = (int64_t)in_count;
    if (in_rate == out_rate)
        memcpy(out, in, in_count * sizeof *in);
    else if (in_rate % out_rate == 0)
        pick(out, out_count, in, count, in_rate / out_rate);
    else if (out_rate % 2 == 0 && out_rate / 2 == in_rate)
        double_up(out, in, count);
    else
        interpolate(out, out_count, in, count, (double)in_rate / (double)out_rate);
    return out_count;
}
