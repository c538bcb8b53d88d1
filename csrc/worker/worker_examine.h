/* worker_examine.h: a look at this machine with a worker's eyes, for `shmring doctor`.
 *
 * The same program, so the same file capabilities, limits and security policy: what it gets here a
 * worker gets. It serves nobody, touches no shared memory and sends over loopback only. */
#ifndef WRK_EXAMINE_H
#define WRK_EXAMINE_H

#include "worker/worker_args.h"

/* Sets the process up as a worker (core, class, memory), and prints what that gave, one JSON object
 * a line, told apart by "fact":
 *
 *   setup     policy, priority, cpu (null: not pinned), memory_locked, capabilities (effective ones)
 *   clock     read_ns, tick_ns, tai_offset_s, synchronised, max_error_ns
 *   feature   name, works, reason: one for each of udp_probe.h; args->device for those of a card
 *   latency   on_tick (the deadlines fell on the kernel's tick), n, min_ns, p50_ns, p99_ns, max_ns,
 *             beyond_margin (wake-ups later than the largest margin a worker sleeps with)
 *
 * The last one, twice, only with args->examine_ms > 0: sleeps until deadlines 1 ms apart, for so
 * long. Returns 0, or -EIO when standard output could not be written. */
int worker_examine(const worker_args_t *args);

#endif
