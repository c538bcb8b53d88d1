/* card_clock.h: one phc_t per network interface and channel clock, shared by all sockets that use
 * it, because reading a card's clock takes an ioctl of about 20 us. Worker's thread. */
#ifndef WRK_CARD_CLOCK_H
#define WRK_CARD_CLOCK_H

#include "worker/agent.h"

/* Cold. The clock of the interface's card for a channel with the given clock. NULL if the card has
 * none or this process may not use it (text set). Release it with card_clock_put. */
const phc_t *card_clock_get(wrk_channel_t *ch, const char *device);
void card_clock_put(const phc_t *phc);

/* Housekeeping: reads the cards whose time has come. */
void card_clock_refresh(worker_t *w, int64_t now_mono_ns);

#endif
