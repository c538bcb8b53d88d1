/* Against the laws in words: the segment by comparison with its ends, step by step, where the code
 * under test counts bits and does eight at once. */
#include "proto/rtp/g711.h"

#include "rt_test.h"

static int16_t every_sample[65536];
static uint8_t codes[65536];

static uint8_t ulaw_in_words(int sample)
{
    int sign = sample < 0 ? 0x80 : 0;
    int magnitude = sample < 0 ? -sample : sample;
    magnitude = (magnitude > 32635 ? 32635 : magnitude) + 132;
    int exponent = 7;
    while (exponent > 0 && magnitude < 1 << (exponent + 7))
        exponent--;
    int mantissa = magnitude >> (exponent + 3) & 15;
    return (uint8_t)(255 - (sign + 16 * exponent + mantissa));
}

/* G.711 table 1a: decision values of the positive half, in 1/2048 of full scale. */
static uint8_t alaw_in_words(int sample)
{
    int positive = sample >= 0;
    int steps = (positive ? sample : -sample - 1) / 16;
    int segment = 0;
    int low = 0;
    int width = 1;
    while (steps >= low + 16 * width) {
        low += 16 * width;
        segment++;
        if (segment > 1)
            width *= 2;
    }
    int code = 16 * segment + (steps - low) / width;
    return (uint8_t)((code + (positive ? 128 : 0)) ^ 0x55);
}

static void test_ulaw_of_every_sample(void)
{
    g711_ulaw_encode(codes, every_sample, 65536);
    for (int i = 0; i < 65536; i++) {
        if (codes[i] != ulaw_in_words(i - 32768) || codes[i] != g711_linear_to_ulaw(i - 32768)) {
            CHECK_EQ(codes[i], ulaw_in_words(i - 32768));
            CHECK_EQ(codes[i], g711_linear_to_ulaw(i - 32768));
            return;
        }
    }
    CHECK_EQ(g711_linear_to_ulaw(0), 255);
    CHECK_EQ(g711_linear_to_ulaw(-1), 127);
    CHECK_EQ(g711_linear_to_ulaw(INT64_MAX), 128);
    CHECK_EQ(g711_linear_to_ulaw(INT64_MIN), 0);
}

static void test_alaw_of_every_sample(void)
{
    g711_alaw_encode(codes, every_sample, 65536);
    for (int i = 0; i < 65536; i++) {
        if (codes[i] != alaw_in_words(i - 32768)) {
            CHECK_EQ(codes[i], alaw_in_words(i - 32768));
            return;
        }
    }
    CHECK_EQ(g711_linear_to_alaw(0), 0xd5);
    CHECK_EQ(g711_linear_to_alaw(-1), 0x55);
    CHECK_EQ(g711_linear_to_alaw(INT64_MAX), 0xaa);
    CHECK_EQ(g711_linear_to_alaw(INT64_MIN), 0x2a);
}

static void test_codes_survive_the_way_there_and_back(void)
{
    uint8_t in[256];
    int16_t u[256];
    int16_t a[256];
    for (unsigned i = 0; i < 256; i++)
        in[i] = (uint8_t)i;
    g711_ulaw_decode(u, in, 256);
    g711_alaw_decode(a, in, 256);
    for (unsigned i = 0; i < 256; i++) {
        CHECK_EQ(u[i], g711_ulaw_to_linear((uint8_t)i));
        CHECK_EQ(a[i], g711_alaw_to_linear((uint8_t)i));
        CHECK_EQ(g711_linear_to_alaw(a[i]), i);
        CHECK_EQ(g711_linear_to_ulaw(u[i]), i == 127 ? 255 : i);
        CHECK_EQ(u[i], (int16_t)-u[i ^ 0x80]);
        CHECK_EQ(a[i], (int16_t)-a[i ^ 0x80]);
    }
    CHECK_EQ(u[0], -32124);
    CHECK_EQ(u[128], 32124);
    CHECK_EQ(u[255], 0);
    CHECK_EQ(u[127], 0);
    CHECK_EQ(a[0xaa], 32256);
    CHECK_EQ(a[0xd5], 8);
}

static void test_any_length_and_place(void)
{
    uint8_t code[80];
    int16_t back[80];
    for (size_t count = 0; count <= 40; count++) {
        memset(code, 0xee, sizeof code);
        memset(back, 0x11, sizeof back);
        g711_ulaw_encode(code + 1, every_sample + 777 * count, count);
        g711_ulaw_decode(back + 1, code + 1, count);
        CHECK_EQ(code[0], 0xee);
        CHECK_EQ(code[count + 1], 0xee);
        CHECK_EQ(back[count + 1], 0x1111);
        for (size_t i = 0; i < count; i++) {
            CHECK_EQ(code[i + 1], g711_linear_to_ulaw(every_sample[777 * count + i]));
            CHECK_EQ(back[i + 1], g711_ulaw_to_linear(code[i + 1]));
        }
    }
}

int main(void)
{
    for (int i = 0; i < 65536; i++)
        every_sample[i] = (int16_t)(i - 32768);
    RUN(test_ulaw_of_every_sample);
    RUN(test_alaw_of_every_sample);
    RUN(test_codes_survive_the_way_there_and_back);
    RUN(test_any_length_and_place);
    return rt_test_result();
}
