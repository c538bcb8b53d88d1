/* channels.h: all channels of the worker: by name, by deadline, and the set of those that are polled. What happens
 * to one of them in its life: channel.h. Worker's thread. */
#ifndef WRK_CHANNELS_H
#define WRK_CHANNELS_H

#include "worker/worker.h"

/* Makes the empty tables, in fixed memory. Returns 0 or -ENOMEM with a text. */
int channels_init(worker_t *w);

void channels_add(wrk_channel_t *ch);
void channels_remove(wrk_channel_t *ch);

/* NULL: no such channel. */
wrk_channel_t *channel_find(worker_t *w, const char *name);

/* Puts the channel's deadline into the schedule anew, after anything of it ran. */
void channel_reschedule(wrk_channel_t *ch);

/* Out of the set of those that are polled (wrk_activate: into it). */
void channel_deactivate(wrk_channel_t *ch);

/* Before sleeping: arms the channel's bell, so that producers ring, and takes it out of the active set.
 * Returns false, and leaves it active and not armed, if something came in between. With an uncommitted claim in
 * the way worker.nap_ns is set and the channel stays active, armed. */
bool channel_arm_bell(wrk_channel_t *ch, int64_t now_mono_ns);

/* Everybody who waits for the channel looks at its state. */
void channel_wake_everybody(wrk_channel_t *ch);

/* Frees a producer slot whose owner is gone, and tells the engine. Returns as
 * tx_queue_free_producer. */
int channel_free_producer(wrk_channel_t *ch, uint32_t slot);

#endif
