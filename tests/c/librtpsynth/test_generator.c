/* Needs rtpsynth.h and nothing else of the library. */
#include <rtpsynth.h>

#include "rt_test.h"

#include <time.h>

static unsigned draw_count;

static uint32_t counted_draws(void *arg)
{
    const uint32_t *draws = arg;
    return draws[draw_count++];
}

static const uint32_t draws[] = {0x11223344, 0xaabbccdd, 0x99998765};

static void *begin(void)
{
    draw_count = 0;
    rsynth_set_randfunc(counted_draws, (void *)(uintptr_t)draws);
    void *ri = rsynth_ctor(8000, 20);
    rsynth_set_randfunc(NULL, NULL);
    CHECK_EQ(draw_count, 3);
    return ri;
}

static uint32_t ts_of(const unsigned char *p)
{
    return (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
}

static void test_packets(void)
{
    char buf[20] = "abcd";
    void *ri = begin();
    CHECK_EQ(rsynth_next_pkt_pa(ri, 4, 200, buf, 20, 1), 16);
    CHECK_MEM_EQ(buf,
                 "\x80\xC8\x87\x65\xAA\xBB\xCC\xDC\x44\x33\x22\x11"
                 "abcd\0\0\0\0",
                 20);
    unsigned char *p = rsynth_next_pkt(ri, 4, 200);
    CHECK_MEM_EQ(p, "\x80\x48\x87\x66\xAA\xBB\xCD\x7C\x44\x33\x22\x11\0\0\0\0", 16);
    rsynth_pkt_free(p);
    CHECK_EQ(draw_count, 3);
    rsynth_dtor(ri);
}

static void test_refusals(void)
{
    char buf[20];
    void *ri = begin();
    CHECK_EQ(rsynth_next_pkt_pa(ri, 9, 0, buf, 20, 0), -1);
    CHECK_EQ(rsynth_next_pkt_pa(ri, -1, 0, buf, 20, 0), -1);
    CHECK_EQ(rsynth_next_pkt_pa(ri, -12, 0, buf, 20, 1), -1);
    CHECK(rsynth_next_pkt(ri, -1, 0) == NULL);
    unsigned char *p = rsynth_next_pkt(ri, 0, 0);
    CHECK_EQ(p[3], 0x65);
    rsynth_pkt_free(p);
    rsynth_dtor(ri);
}

static void test_marker_and_skip(void)
{
    unsigned char *p;
    void *ri = begin();
    CHECK_EQ(rsynth_set_mbt(ri, 2), 1);
    CHECK_EQ(rsynth_set_mbt(ri, 3), 0);
    p = rsynth_next_pkt(ri, 0, 0);
    CHECK_EQ(p[1], 0x80);
    rsynth_pkt_free(p);
    CHECK_EQ(rsynth_set_mbt(ri, 0), 0);
    rsynth_skip(ri, -1);
    p = rsynth_next_pkt(ri, 0, 0);
    CHECK_EQ(ts_of(p), 0xaabbccdc);
    rsynth_pkt_free(p);
    rsynth_dtor(ri);
}

static void test_resync_follows_the_clock(void)
{
    struct rsynth_seq seq = {1, 1};
    struct timespec pause = {.tv_nsec = 60000000};
    void *ri = begin();
    rsynth_pkt_free(rsynth_next_pkt(ri, 0, 0));
    (void)nanosleep(&pause, NULL);
    rsynth_resync(ri, &seq);
    CHECK_EQ(seq.ts, 0xaabbccdcu + 160);
    CHECK_EQ(seq.seq, 0x8766);
    unsigned char *p = rsynth_next_pkt(ri, 0, 0);
    uint32_t moved = ts_of(p) - (0xaabbccdcu + 160);
    CHECK(moved >= 479 && moved < 8000 * 30); /* 60 ms, and whatever a busy machine adds */
    rsynth_pkt_free(p);
    rsynth_resync(ri, NULL);
    rsynth_dtor(ri);
}

static void test_batch(void)
{
    unsigned char block[5 * 20];
    void *ri = begin();
    CHECK_EQ(rsynth_next_pkts(ri, 5, 8, 9, "12345678abcdefgh12345678abcdefgh12345678", block, 20),
             5);
    CHECK_EQ(block[1], 0x89);
    CHECK_EQ(block[21], 9);
    CHECK_EQ(block[20 * 4 + 3], 0x69);
    CHECK_MEM_EQ(block + 32, "abcdefgh", 8);
    CHECK_EQ(rsynth_next_pkts(ri, 5, 8, 9, NULL, block, 19), 0);
    rsynth_dtor(ri);
}

static void test_streams_differ_without_a_random_function(void)
{
    unsigned char first[12];
    unsigned same = 0;
    for (unsigned i = 0; i < 4; i++) {
        void *ri = rsynth_ctor(8000, 20);
        unsigned char *p = rsynth_next_pkt(ri, 0, 0);
        if (i == 0)
            memcpy(first, p, 12);
        else
            same += memcmp(first + 2, p + 2, 10) == 0;
        rsynth_pkt_free(p);
        rsynth_dtor(ri);
    }
    CHECK_EQ(same, 0);
}

int main(void)
{
    RUN(test_packets);
    RUN(test_refusals);
    RUN(test_marker_and_skip);
    RUN(test_resync_follows_the_clock);
    RUN(test_batch);
    RUN(test_streams_differ_without_a_random_function);
    return rt_test_result();
}
