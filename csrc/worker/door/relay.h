/* relay.h: passes one client's requests on to a worker or to the pool, and their answers back
 * (ctl_msg.h, HELLO). A process of its own, forked by the door.
 *
 * It passes one request at a time, and all relays of a user together a bounded number a second, so
 * that they are counted before a real-time thread sees them. It hangs up when its client is dead,
 * even if another process holds the client's end of the connection. */
#ifndef WRK_RELAY_H
#define WRK_RELAY_H

#include "base/rt_atomic.h"
#include "base/rt_clock.h"

#include <stddef.h>
#include <sys/socket.h>

#define RELAY_BURST 64
#define RELAY_PERIOD_NS RT_NS_PER_MS /* between two requests of a user, in the long run */

/* Takes the next place in the schedule of a user's requests. schedule: shared by all relays of the
 * user, at first 0. Returns how long the request must wait, ns. Any thread. */
int64_t relay_take_turn(rt_a64_t *schedule, int64_t now_mono_ns);

/* Whether a message of a client is one that a relay passes on. to_pool: to the pool, else to a
 * worker. Returns 0 or -errno with a text. Pure. */
int relay_check(const void *message, size_t bytes, bool to_pool);

/* Whether a descriptor is a UDP socket, which any process may receive and close. */
bool relay_is_udp(int fd);

/* Serves a connection of another user until it ends. directory: the pool's. */
void relay_run(int client_fd, const struct ucred *client, const char *directory,
               rt_a64_t *schedule);

#endif
