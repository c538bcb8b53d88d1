#include "worker/agents/common/intake.h"

#define MOST_NS (300 * RT_NS_PER_US)
/* 64 KiB in datagrams of 1500 bytes cost this much. A longer measurement was interrupted. */
#define MESSAGE_COST_MOST_NS (25 * RT_NS_PER_US)

unsigned agent_intake_begin(agent_intake_t *in, const wrk_channel_t *ch, unsigned most)
{
    int64_t now = rt_mono_ns();
    int64_t free_until = wrk_free_until_ns(ch);
    int64_t until = free_until < now + MOST_NS ? free_until : now + MOST_NS;
    in->from_mono_ns = now;
    return agent_pieces_before(until, now, in->cost_ns, most);
}

void agent_intake_end(agent_intake_t *in, unsigned messages)
{
    if (messages == 0)
        return;
    in->cost_ns = agent_cost_learnt_ns(in->cost_ns, rt_mono_ns() - in->from_mono_ns, messages,
                                       MESSAGE_COST_MOST_NS);
}
