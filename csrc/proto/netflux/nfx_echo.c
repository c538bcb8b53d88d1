#include "proto/netflux/nfx_echo.h"

void nfx_echo_resume(nfx_echo_t *e, uint8_t number)
{
    e->sent = NFX_NUMBERS + number;
    e->covered = e->sent;
    e->primed = false;
}

bool nfx_echo_sent(nfx_echo_t *e, int64_t sent_ns)
{
    e->sent++;
    e->sent_ns[e->sent % NFX_NUMBERS] = sent_ns;
    if (e->sent - e->covered <= NFX_NUMBERS)
        return false;
    e->covered++;
    return true;
}

bool nfx_echo_feedback(nfx_echo_t *e, uint8_t feedback, int64_t arrival_ns, nfx_ack_t *ack)
{
    bool again = e->primed && feedback == e->feedback;
    bool first = !e->primed;
    e->feedback = feedback;
    e->primed = true;
    if (first || again)
        return false;

    uint64_t back = (uint8_t)(e->sent - feedback);
    if (back >= e->sent - e->covered)
        return false;
    uint64_t number = e->sent - back;
    int64_t rtt_ns = arrival_ns - e->sent_ns[number % NFX_NUMBERS];
    if (rtt_ns < 0)
        return false;
    *ack = (nfx_ack_t){.rtt_ns = rtt_ns, .passed_over = (uint32_t)(number - e->covered - 1)};
    e->covered = number;
    return true;
}
