/* parked_sockets.h: keeps the sockets of an engine that opens more than one. Shared by the engines.
 * Cold.
 *
 * The pool keeps a duplicate of one descriptor of each channel (wrk_channel_t.socket_fd), so that
 * its socket outlives a worker. A park is a Unix socket connected to itself: descriptors that are
 * sent into it are in flight as long as a process holds the park, and sockets in flight continue to
 * receive. A successor takes them out. A descriptor that is taken out and closed is closed for
 * good, because no other process holds it.
 *
 * The kernel counts descriptors in flight for each user. A program may not send descriptors while
 * the count is above its own soft limit RLIMIT_NOFILE. So all parks of a worker together hold an
 * eighth of the limit that it was started with, and never more than AGENT_PARK_FILES_MOST: a pool
 * with a raised limit shares the count with programs that have the usual one of 1024. One park
 * holds about 250, because the send buffer of a Unix socket bounds it. A socket that does not fit
 * is not kept, and a successor opens a new one. */
#ifndef AGENT_PARK_H
#define AGENT_PARK_H

#include <stdbool.h>
#include <stdint.h>

#define AGENT_PARK_MOST 512u
#define AGENT_PARK_SHARE 8u /* the share of RLIMIT_NOFILE: one of this many parts */
#define AGENT_PARK_FILES_MOST 256u

typedef struct parked {
    uint32_t key;
    int fd;
} parked_t;

/* The soft limit RLIMIT_NOFILE that this worker was started with, before it raised its own. */
void agent_park_limit(uint64_t files);

/* Returns the descriptor, or -errno with a text. */
int agent_park_open(void);

/* Whether this descriptor is a park, not a UDP socket. */
bool agent_is_park(int fd);

/* Keeps a duplicate of fd under the key. Returns false: there is no room, or park is -1. */
bool agent_park_put(int park, uint32_t key, int fd);

/* Duplicates of all descriptors there, up to AGENT_PARK_MOST. The caller owns them. Returns how
 * many. */
unsigned agent_park_list(int park, parked_t out[AGENT_PARK_MOST]);

/* Removes the socket of this key. Costs a few system calls for each that was put before it. */
void agent_park_drop(int park, uint32_t key);

/* Removes all sockets, and closes the park. -1 is fine. */
void agent_park_close(int park);

/* The descriptor of this key, taken out of what agent_park_list returned; -1: there is none. */
int agent_parked_take(parked_t *parked, unsigned count, uint32_t key);

/* Removes the ones that were not taken. */
void agent_parked_drop(int park, parked_t *parked, unsigned count);

#endif
