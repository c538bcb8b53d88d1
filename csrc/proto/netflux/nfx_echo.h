/* nfx_echo.h: what the partner's feedback says about our own datagrams.
 *
 * Numbers are counted in 64 bits, and datagrams carry the low eight. The send times of the last 256
 * numbers are stored:
 *
 *     ... covered |  in flight: sent, no feedback has reached them yet  | next
 *     ------------+-----------------------------------------------------+-----
 *                 ^ covered                                             ^ sent
 *
 * A feedback that differs from the one before it, and names a number in flight, covers this number
 * and all before it. It gives one round trip (send call to arrival, including the partner's wait
 * for its next cycle). Numbers between them were skipped: the partner did not receive them, or it
 * reads less often than we send. The protocol cannot distinguish these.
 *
 * A number that is about to be reused while still in flight was never covered: its acknowledgement
 * is lost. So a round trip of 256 cycles or more cannot be measured: only its remainder shows.
 *
 * These feedbacks are ignored:
 *   - the same feedback again: a partner that hears nothing repeats it forever, and every 256th
 *     of our datagrams would seem to be acknowledged
 *   - a number that was sent after the feedback had arrived
 *   - the feedback of a partner's first datagram, which is from before a restart of either side
 *
 * Caller's memory, one thread, no clock: times are of one clock that does not go back. */
#ifndef NFX_ECHO_H
#define NFX_ECHO_H

#include <stdbool.h>
#include <stdint.h>

#define NFX_NUMBERS 256u

/* All zero: nothing was sent, the first number is 1. */
typedef struct nfx_echo {
    uint64_t sent;    /* number sent last, extended */
    uint64_t covered; /* neither this one nor any before it is in flight */
    uint8_t feedback; /* the partner's last */
    bool primed;      /* feedback is of this life of the partner */
    int64_t sent_ns[NFX_NUMBERS];
} nfx_echo_t;

typedef struct nfx_ack {
    int64_t rtt_ns;
    uint32_t passed_over;
} nfx_ack_t;

/* Number of the next datagram. */
static inline uint8_t nfx_echo_next(const nfx_echo_t *e)
{
    return (uint8_t)(e->sent + 1);
}

/* Continues after a number, as if it had been sent and covered long ago. */
void nfx_echo_resume(nfx_echo_t *e, uint8_t number);

/* The next number went out. Returns whether that loses an older datagram's acknowledgement. */
bool nfx_echo_sent(nfx_echo_t *e, int64_t sent_ns);

/* The feedback of a datagram that is news. Returns whether it acknowledges anything; if so, *ack is
 * filled in. */
bool nfx_echo_feedback(nfx_echo_t *e, uint8_t feedback, int64_t arrival_ns, nfx_ack_t *ack);

/* The partner restarts: its next feedback is only remembered. */
static inline void nfx_echo_unprime(nfx_echo_t *e)
{
    e->primed = false;
}

#endif
