/* uncounted.h: packets that a dead worker finished and did not count. Its successor counts them. */
#ifndef WRK_UNCOUNTED_H
#define WRK_UNCOUNTED_H

#include "worker/agent.h"

/* Before the agent opens: its rings are ready, and nothing is counted yet. */
void uncounted_open(wrk_channel_t *ch, bool takeover);

/* Between calls of the agent. Counts once, as soon as no packet of the dead worker is in progress.
 */
void uncounted_count(wrk_channel_t *ch, int64_t now_mono_ns);

#endif
