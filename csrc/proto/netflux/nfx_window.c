#include "proto/netflux/nfx_window.h"

#define WINDOW 127u

nfx_verdict_t nfx_window_judge(nfx_window_t *w, uint8_t number, uint8_t *advance)
{
    uint8_t ahead = (uint8_t)(number - w->last);
    if (w->known && ahead == 0)
        return NFX_REPEATED;
    if (w->open && ahead > WINDOW)
        return NFX_OLD;
    nfx_verdict_t verdict = w->open ? NFX_ACCEPTED : NFX_FIRST;
    if (w->open)
        *advance = ahead;
    *w = (nfx_window_t){.last = number, .known = true, .open = true};
    return verdict;
}
