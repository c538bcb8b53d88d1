/* channel.h: the life of a channel in its worker: open, take over, hold,
 * purge, close. Worker's thread. */
#ifndef WRK_CHANNEL_H
#define WRK_CHANNEL_H

#include "shm/ctl_msg.h"
#include "worker/worker.h"

/* Opens a channel. Owns the descriptors from now on: they are closed on failure. socket_fd -1: none
 * given. *memory_bytes: what counts for its user beside the segment. Returns 0; -ENOMEM (none, or
 * more than how->memory_limit_bytes), -EEXIST, -ENOSPC (WRK_MAX_CHANNELS), -ENOENT (engine),
 * -EPROTO (segment does not belong to this configuration), or an error of mapping or opening; with
 * a text. */
int channel_open(worker_t *w, const shm_config_t *config, const ctl_open_t *how, int segment_fd,
                 int bell_fd, int socket_fd, uint64_t *memory_bytes);

/* Ends it for good: state CLOSED, all waiters are woken. Packets that still waited in the tx ring
 * have been purged before. channel_free follows when nothing of the channel is held any more
 * (control_close_channel). */
void channel_end(wrk_channel_t *ch);
/* Removes its name and frees its memory. */
void channel_free(wrk_channel_t *ch);

/* Makes a part of the memory of a channel of w->absent present: about 10 us. */
void channel_prefault_step(worker_t *w);

void channel_hold(wrk_channel_t *ch);
void channel_release(wrk_channel_t *ch);
void channel_reset_stats(wrk_channel_t *ch);

/* Cancels a bounded number of waiting packets: 1 when done. */
int channel_purge_step(wrk_channel_t *ch, int64_t now_mono_ns);

/* Empties the rx ring. Not part of closing: readers read the rest of it. */
void channel_purge_rx(wrk_channel_t *ch);

/* Rotating duties: heartbeat in the status, gauges. */
void channel_housekeep(wrk_channel_t *ch, int64_t now_mono_ns);

#endif
