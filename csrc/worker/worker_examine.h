/* worker_examine.h: examines this machine in a worker's place, for `shmring doctor`.
 *
 * It is the same program, so it has the same file capabilities, limits and security policy: what it
 * gets here, a worker gets. It serves no channel, touches no shared memory and sends over loopback
 * only. */
#ifndef WRK_EXAMINE_H
#define WRK_EXAMINE_H

#include "worker/worker_args.h"

/* Sets the process up as a worker (core, class, memory), and prints the result, one JSON object a
 * line, distinguished by "fact":
 *
 *   setup     policy, priority, cpu (null: not pinned),
 *             memory_locked, capabilities (effective ones)
 *   clock     read_ns, tick_ns, tai_offset_s, synchronised, max_error_ns
 *   feature   name, works, reason: one for each of udp_probe.h; args->device for those of a card
 *   latency   on_tick (the deadlines fell on the kernel's tick), n, min_ns, p50_ns, p99_ns, max_ns,
 *             beyond_margin (wake-ups later than the largest margin a worker sleeps with)
 *   confinement  files (file_guard.h), calls (syscall_filter.h): why it is not restricted, or empty
 *
 * Latency is printed twice, and only with args->examine_ms > 0: it sleeps until deadlines 1 ms
 * apart, for that long. Returns 0, or -EIO if standard output could not be written. */
int worker_examine(const worker_args_t *args);

#endif
