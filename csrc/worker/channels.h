/* channels.h: all channels of the worker: by name, by deadline, and the set of those that are
 * polled. channel.h has the life of a single channel. Worker's thread. */
#ifndef WRK_CHANNELS_H
#define WRK_CHANNELS_H

#include "worker/worker.h"

/* Makes the empty tables, in fixed memory. Returns 0 or -ENOMEM with a text. */
int channels_init(worker_t *w);

void channels_add(wrk_channel_t *ch);
void channels_remove(wrk_channel_t *ch);

/* NULL: no such channel. */
wrk_channel_t *channel_find(worker_t *w, const char *name);

/* Removes it from the set of polled channels. wrk_activate adds it. */
void channel_deactivate(wrk_channel_t *ch);

/* Before sleeping: arms the channel's bell, so that producers ring, and removes it from the active
 * set. Returns false, and leaves it active and not armed, if work came meanwhile. If an uncommitted
 * claim is next, it sets worker.nap_ns and the channel stays active, armed. */
bool channel_arm_bell(wrk_channel_t *ch, int64_t now_mono_ns);

/* When on_deadline is due. */
void channel_set_deadline(wrk_channel_t *ch, int64_t at_mono_ns);

/* Wakes everything that waits for the channel, to check its state. */
void channel_wake_all(wrk_channel_t *ch);

/* Frees a producer slot whose owner is gone, and tells the engine. Returns as
 * tx_queue_free_producer. */
int channel_free_producer(wrk_channel_t *ch, uint32_t slot);

#endif
