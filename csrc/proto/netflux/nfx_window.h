/* nfx_window.h: which of the partner's datagrams are new.
 *
 * Let d be the number received less the number accepted last, modulo 256:
 *
 *     d          0           1 .. 127               128 .. 255
 *          |  repeat  |  new; d - 1 lost   |  old: overtaken, or the partner restarted      |
 *
 * The first datagram is new whatever its number, including 0. So is the first one after the window
 * was reopened (the link had timed out), unless it repeats the number accepted last: that is nearly
 * always the same datagram again. A partner that restarts without a timeout before it is rejected
 * until its numbers are past the one accepted last: at most 129 datagrams.
 *
 * Caller's memory, one thread, no clock. */
#ifndef NFX_WINDOW_H
#define NFX_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

typedef enum nfx_verdict {
    NFX_ACCEPTED = 0,
    NFX_FIRST = 1,     /* accepted; the numbers before it are unknown */
    NFX_REPEATED = -1, /* the number accepted last, again */
    NFX_OLD = -2,
    NFX_SHORT = -3, /* shorter than agreed */
} nfx_verdict_t;

/* All zero: nothing was accepted yet. */
typedef struct nfx_window {
    uint8_t last; /* number accepted last; 0 before the first */
    bool known;   /* something was accepted */
    bool open;    /* active: the next number is compared with last */
} nfx_window_t;

/* Judges a number, and advances if it is new. *advance: how far, 1 .. 127 if the verdict is
 * NFX_ACCEPTED; that many less one are missing. Otherwise it is unchanged. */
nfx_verdict_t nfx_window_judge(nfx_window_t *w, uint8_t number, uint8_t *advance);

/* The next datagram counts as the first. */
static inline void nfx_window_reopen(nfx_window_t *w)
{
    w->open = false;
}

#endif
