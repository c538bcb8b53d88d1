/* readiness.h: one descriptor that is readable when an endpoint wants attention.
 *
 * It is an epoll of the bell that the worker rings, of one that the endpoint itself rings, and of
 * the control connection, whose hang-up means that the worker is gone. A timer makes it readable
 * from the end of a connection until the next worker's bell is there. It takes the place of what
 * hung up, because that would always be readable. The caller serialises calls. */
#ifndef CLIENT_READINESS_H
#define CLIENT_READINESS_H

#include <stdbool.h>

typedef struct readiness {
    int epoll_fd;   /* -1: not open */
    int own_fd;     /* eventfd of the endpoint */
    int bell_fd;    /* the worker's: watched, or -1 */
    int control_fd; /* likewise */
    int timer_fd;   /* -1: it does not run */
} readiness_t;

#define READINESS_NONE ((readiness_t){-1, -1, -1, -1, -1})

/* Returns 0; -errno with a text. */
int readiness_open(readiness_t *r);

/* From now on watches this bell, which stays the caller's, and not the timer. Clears the own bell:
 * the endpoint looks for packets afterwards. Returns 0; -errno with a text. */
int readiness_watch_bell(readiness_t *r, int bell_fd);

/* From now on watches this control connection, too. Returns 0; -errno with a text. */
int readiness_watch(readiness_t *r, int control_fd);

/* Clears what the timer did. Returns whether the connection or the bell has hung up. */
bool readiness_clear(readiness_t *r);

/* From now on watches neither bell nor connection, and is readable at once and every 10 ms. Call it
 * before one of them is closed. */
void readiness_await_successor(readiness_t *r);

/* Any number of times. In a child after fork it does not change the parent's. */
void readiness_close(readiness_t *r);

#endif
