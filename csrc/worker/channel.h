/* channel.h: the worker's table of channels: open, take over, close, hold, and the set of those
 * that are polled. Worker's thread. */
#ifndef WRK_CHANNEL_H
#define WRK_CHANNEL_H

#include "worker/worker.h"

/* Makes the empty tables, in fixed memory. Returns 0 or -ENOMEM with a text. */
int channel_tables_init(worker_t *w);

/* Opens a channel. Takes the descriptors over: they are closed on failure. socket_fd -1: none
 * given. Returns 0; -EEXIST, -ENOSPC (WRK_MAX_CHANNELS), -ENOENT (engine), -EPROTO (segment does
 * not belong to this configuration), or what mapping and opening say; with a text. */
int channel_open(worker_t *w, const shm_config_t *config, bool takeover, int segment_fd,
                 int bell_fd, int socket_fd);

/* Closes it for good: state CLOSED, everybody who waits is woken, memory freed. What still waited
 * in the tx ring has been purged before. */
void channel_close(wrk_channel_t *ch);

/* Makes a piece of the memory of a channel of w->absent present: some 10 us. */
void channel_prefault_step(worker_t *w);

/* NULL: no such channel. */
wrk_channel_t *channel_find(worker_t *w, const char *name);

void channel_hold(wrk_channel_t *ch);
void channel_release(wrk_channel_t *ch);
void channel_reset_stats(wrk_channel_t *ch);

/* Frees a producer slot whose owner is gone, and tells the engine. Returns as
 * tx_queue_free_producer. */
int channel_free_producer(wrk_channel_t *ch, uint32_t slot);

/* One piece of cancelling what waits to be sent: 1 when done. */
int channel_purge_step(wrk_channel_t *ch, int64_t now_mono_ns);

/* Empties the rx ring. Not part of closing: readers drain what is left there. */
void channel_purge_rx(wrk_channel_t *ch);

/* Puts the channel's deadline into the schedule anew, after anything of it ran. */
void channel_ran(wrk_channel_t *ch);

/* Before sleeping: the channel's producers ring from now on, and it leaves the active set. Returns
 * false, and leaves it active, if something came in between. With an uncommitted claim in the way
 * worker.nap_ns is set and the channel stays active, armed. */
bool channel_disarm_active(wrk_channel_t *ch, int64_t now_mono_ns);

/* Rotating duties: heartbeat in the status, gauges. */
void channel_housekeep(wrk_channel_t *ch, int64_t now_mono_ns);

#endif
