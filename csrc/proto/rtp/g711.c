/* Both laws are floating point numbers of 8 bits: a sign, three bits of exponent and four of
 * mantissa. So the vector paths let the machine's own float do the work: a magnitude converted to
 * float has the exponent and the four mantissa bits side by side in bits 26 .. 19, and a code
 * shifted up there is, but for the bias, the float of its magnitude. Both conversions are exact:
 * the integers have 15 bits, a float 24. */
#include "proto/rtp/g711.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#define G711_SSE2 1
#endif

#define ULAW_CLIP 32635
#define ULAW_BIAS 132
#define ALAW_EVEN_BITS 0x55
#define SIGN_BIT 0x80

static unsigned highest_bit(uint32_t v)
{
    return 31u - (unsigned)__builtin_clz(v);
}

uint8_t g711_linear_to_ulaw(int64_t sample)
{
    unsigned sign = sample < 0 ? SIGN_BIT : 0;
    int64_t clipped = sample;
    if (clipped > ULAW_CLIP)
        clipped = ULAW_CLIP;
    if (clipped < -ULAW_CLIP)
        clipped = -ULAW_CLIP;
    uint32_t biased = (uint32_t)(clipped < 0 ? -clipped : clipped) + ULAW_BIAS;
    unsigned exponent = highest_bit(biased) - 7;
    unsigned mantissa = biased >> (exponent + 3) & 0x0f;
    return (uint8_t) ~(sign | exponent << 4 | mantissa);
}

int16_t g711_ulaw_to_linear(uint8_t code)
{
    unsigned bits = ~(unsigned)code;
    int magnitude = (int)(((bits & 0x0f) << 3) + ULAW_BIAS) << (bits >> 4 & 7);
    magnitude -= ULAW_BIAS;
    return (int16_t)(bits & SIGN_BIT ? -magnitude : magnitude);
}

uint8_t g711_linear_to_alaw(int64_t sample)
{
    /* One's complement: A-law has no zero, -1 mirrors 0. */
    int64_t magnitude = sample < 0 ? ~sample : sample;
    uint32_t steps = (uint32_t)(magnitude > INT16_MAX ? INT16_MAX : magnitude) >> 4;
    /* Below 32 steps the code is the step itself: segments 0 and 1 have the same width. */
    unsigned shift = steps < 32 ? 0 : highest_bit(steps) - 4;
    unsigned code = shift == 0 ? steps : (shift + 1) << 4 | (steps >> shift & 0x0f);
    return (uint8_t)((code | (sample < 0 ? 0 : SIGN_BIT)) ^ ALAW_EVEN_BITS);
}

int16_t g711_alaw_to_linear(uint8_t code)
{
    unsigned bits = (unsigned)code ^ ALAW_EVEN_BITS;
    unsigned exponent = bits >> 4 & 7;
    unsigned magnitude = (bits & 0x0f) << 4 | 8;
    if (exponent > 0)
        magnitude = (magnitude | 0x100) << (exponent - 1);
    return (int16_t)(bits & SIGN_BIT ? (int)magnitude : -(int)magnitude);
}

#ifdef G711_SSE2

/* Four magnitudes with their bias (132 .. 32767) to exponent << 4 | mantissa. The bias is why the
 * exponent of the float is at least 7, which means 0 here. */
static __m128i ulaw_of_magnitudes(__m128i biased)
{
    __m128i bits = _mm_castps_si128(_mm_cvtepi32_ps(biased));
    return _mm_sub_epi32(_mm_srli_epi32(bits, 19), _mm_set1_epi32((127 + 7) << 4));
}

/* Eight samples to eight codes, each in 16 bits. */
static __m128i ulaw_of_samples(__m128i samples)
{
    __m128i zero = _mm_setzero_si128();
    __m128i clip = _mm_set1_epi16(ULAW_CLIP);
    __m128i negative = _mm_srai_epi16(samples, 15);
    samples = _mm_min_epi16(_mm_max_epi16(samples, _mm_sub_epi16(zero, clip)), clip);
    __m128i magnitude = _mm_sub_epi16(_mm_xor_si128(samples, negative), negative);
    __m128i biased = _mm_add_epi16(magnitude, _mm_set1_epi16(ULAW_BIAS));
    __m128i codes = _mm_packs_epi32(ulaw_of_magnitudes(_mm_unpacklo_epi16(biased, zero)),
                                    ulaw_of_magnitudes(_mm_unpackhi_epi16(biased, zero)));
    codes = _mm_or_si128(codes, _mm_and_si128(negative, _mm_set1_epi16(SIGN_BIT)));
    return _mm_xor_si128(codes, _mm_set1_epi16(0xff));
}

static size_t ulaw_encode_vectors(uint8_t *out, const int16_t *in, size_t count)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        __m128i low = ulaw_of_samples(_mm_loadu_si128((const __m128i *)(const void *)(in + i)));
        __m128i high =
            ulaw_of_samples(_mm_loadu_si128((const __m128i *)(const void *)(in + i + 8)));
        _mm_storeu_si128((__m128i *)(void *)(out + i), _mm_packus_epi16(low, high));
    }
    return i;
}

/* Four times exponent << 4 | mantissa to ((mantissa << 3) + 132) << exponent, which is
 * 2^(exponent + 7) * (1 + mantissa / 16 + 1 / 32). */
static __m128i magnitudes_of_ulaw(__m128i codes)
{
    __m128i bits = _mm_slli_epi32(_mm_add_epi32(codes, _mm_set1_epi32((127 + 7) << 4)), 19);
    bits = _mm_or_si128(bits, _mm_set1_epi32(1 << 18));
    return _mm_cvttps_epi32(_mm_castsi128_ps(bits));
}

/* Eight complemented codes, each in 16 bits, to eight samples. */
static __m128i samples_of_ulaw(__m128i codes)
{
    __m128i zero = _mm_setzero_si128();
    __m128i negative = _mm_cmpgt_epi16(codes, _mm_set1_epi16(SIGN_BIT - 1));
    __m128i parts = _mm_and_si128(codes, _mm_set1_epi16(SIGN_BIT - 1));
    __m128i magnitude = _mm_packs_epi32(magnitudes_of_ulaw(_mm_unpacklo_epi16(parts, zero)),
                                        magnitudes_of_ulaw(_mm_unpackhi_epi16(parts, zero)));
    magnitude = _mm_sub_epi16(magnitude, _mm_set1_epi16(ULAW_BIAS));
    return _mm_sub_epi16(_mm_xor_si128(magnitude, negative), negative);
}

static size_t ulaw_decode_vectors(int16_t *out, const uint8_t *in, size_t count)
{
    __m128i zero = _mm_setzero_si128();
    __m128i ones = _mm_set1_epi8(-1);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        codes = _mm_xor_si128(codes, ones);
        __m128i low = samples_of_ulaw(_mm_unpacklo_epi8(codes, zero));
        __m128i high = samples_of_ulaw(_mm_unpackhi_epi8(codes, zero));
        _mm_storeu_si128((__m128i *)(void *)(out + i), low);
        _mm_storeu_si128((__m128i *)(void *)(out + i + 8), high);
    }
    return i;
}

#else

static size_t ulaw_encode_vectors(uint8_t *out, const int16_t *in, size_t count)
{
    (void)out, (void)in, (void)count;
    return 0;
}

static size_t ulaw_decode_vectors(int16_t *out, const uint8_t *in, size_t count)
{
    (void)out, (void)in, (void)count;
    return 0;
}

#endif

void g711_ulaw_encode(uint8_t *out, const int16_t *in, size_t count)
{
    for (size_t i = ulaw_encode_vectors(out, in, count); i < count; i++)
        out[i] = g711_linear_to_ulaw(in[i]);
}

void g711_ulaw_decode(int16_t *out, const uint8_t *in, size_t count)
{
    for (size_t i = ulaw_decode_vectors(out, in, count); i < count; i++)
        out[i] = g711_ulaw_to_linear(in[i]);
}

void g711_alaw_encode(uint8_t *out, const int16_t *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = g711_linear_to_alaw(in[i]);
}

void g711_alaw_decode(int16_t *out, const uint8_t *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = g711_alaw_to_linear(in[i]);
}
