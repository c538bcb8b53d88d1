/* parked_sockets.h: keeps the sockets of an engine that opens more than one. Shared by the engines. Cold.
 *
 * The pool keeps a duplicate of one descriptor of each channel (agent_ops_t.socket_fd), so that what
 * that one is outlives a worker. A park is a Unix socket connected to itself: descriptors that are put
 * into it are under way for as long as anybody holds the park, and sockets under way go on receiving.
 * A successor takes them out. What is taken out and closed is closed for good: nobody else holds it.
 *
 * The kernel counts descriptors under way for each user, and above the soft limit RLIMIT_NOFILE of a program
 * it lets that program pass none on. So all parks of a worker together hold an eighth of the limit that it was
 * started with, and never more than AGENT_PARK_FILES_MOST: a pool with a raised limit shares the count with
 * programs that have the usual one of 1024. One park holds some 250: it is bounded by the send buffer of a Unix
 * socket. What does not fit is not kept, and a successor opens it anew. */
#ifndef AGENT_PARK_H
#define AGENT_PARK_H

#include <stdbool.h>
#include <stdint.h>

#define AGENT_PARK_MOST 512u
#define AGENT_PARK_SHARE 8u /* of RLIMIT_NOFILE, one such part */
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

/* Duplicates of all that is there, up to AGENT_PARK_MOST; they are the caller's. Returns how many. */
unsigned agent_park_look(int park, parked_t out[AGENT_PARK_MOST]);

/* Lets the socket of this key go. Costs a few system calls for each that was put before it. */
void agent_park_drop(int park, uint32_t key);

/* Lets all sockets go, and the park. -1 is fine. */
void agent_park_close(int park);

/* The descriptor of this key, taken out of what agent_park_look returned; -1: there is none. */
int agent_parked_take(parked_t *parked, unsigned count, uint32_t key);

/* Lets go of what was not taken. */
void agent_parked_drop(int park, parked_t *parked, unsigned count);

#endif
