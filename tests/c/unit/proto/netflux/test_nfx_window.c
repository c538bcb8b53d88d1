#include "proto/netflux/nfx_window.h"

#include "rt_test.h"

static void test_the_first_is_accepted_whatever_its_number(void)
{
    for (unsigned number = 0; number < 256; number++) {
        nfx_window_t w = {0};
        uint8_t advance = 77;
        CHECK_EQ(nfx_window_judge(&w, (uint8_t)number, &advance), NFX_FIRST);
        CHECK_EQ(advance, 77);
        CHECK_EQ(w.last, number);
        CHECK(w.open && w.known);
    }
}

/* Every pair of numbers, against the rule in plain integers. */
static void test_every_distance_from_every_number(void)
{
    for (int last = 0; last < 256; last++) {
        for (int number = 0; number < 256; number++) {
            nfx_window_t w = {.last = (uint8_t)last, .known = true, .open = true};
            uint8_t advance = 0;
            nfx_verdict_t verdict = nfx_window_judge(&w, (uint8_t)number, &advance);
            int d = number >= last ? number - last : number - last + 256;
            if (d == 0)
                CHECK_EQ(verdict, NFX_REPEATED);
            else if (d <= 127)
                CHECK_EQ(verdict, NFX_ACCEPTED);
            else
                CHECK_EQ(verdict, NFX_OLD);
            CHECK_EQ(advance, verdict == NFX_ACCEPTED ? d : 0);
            CHECK_EQ(w.last, verdict == NFX_ACCEPTED ? number : last);
        }
    }
}

static void test_reopened_it_takes_any_but_the_last_again(void)
{
    for (unsigned number = 0; number < 256; number++) {
        nfx_window_t w = {.last = 200, .known = true, .open = true};
        uint8_t advance = 0;
        nfx_window_reopen(&w);
        nfx_verdict_t verdict = nfx_window_judge(&w, (uint8_t)number, &advance);
        CHECK_EQ(verdict, number == 200 ? NFX_REPEATED : NFX_FIRST);
        CHECK_EQ(advance, 0);
        CHECK_EQ(w.open, number != 200);
    }
}

static void test_reopened_before_the_first_nothing_is_repeated(void)
{
    nfx_window_t w = {0};
    uint8_t advance = 0;
    nfx_window_reopen(&w);
    CHECK_EQ(nfx_window_judge(&w, 0, &advance), NFX_FIRST);
}

/* A partner that starts anew without a time-out between: at most 129 datagrams are refused,
 * the last of them as a repeat. */
static void test_a_partner_started_anew_is_back_within_129(void)
{
    for (int last = 0; last < 256; last++) {
        nfx_window_t w = {.last = (uint8_t)last, .known = true, .open = true};
        uint8_t advance = 0;
        int refused = 0;
        for (unsigned number = 1; nfx_window_judge(&w, (uint8_t)number, &advance) < 0; number++)
            refused++;
        CHECK_EQ(refused, last <= 129 ? last : 0);
    }
}

int main(void)
{
    RUN(test_the_first_is_accepted_whatever_its_number);
    RUN(test_every_distance_from_every_number);
    RUN(test_reopened_it_takes_any_but_the_last_again);
    RUN(test_reopened_before_the_first_nothing_is_repeated);
    RUN(test_a_partner_started_anew_is_back_within_129);
    return rt_test_result();
}
