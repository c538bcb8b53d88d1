/* readiness.h: one descriptor that is readable when an endpoint wants attention.
 *
 * It is an epoll of the doorbell that the worker rings, and of the control connection, whose
 * hang-up means that the worker is gone. From then on, until another worker has taken the channel
 * over, a timer replaces the connection in the epoll: a dead connection would always be readable.
 * The caller serialises calls. */
#ifndef CLIENT_READINESS_H
#define CLIENT_READINESS_H

#include <stdbool.h>

typedef struct readiness {
    int epoll_fd;   /* -1: not open */
    int control_fd; /* watched, or -1 */
    int timer_fd;   /* -1: none */
} readiness_t;

/* A descriptor that is readable after a process, such as a worker, has written to it: a datagram
 * socket that is connected to itself, so that only holders of the descriptor can ring it. An
 * eventfd is not suitable, because a write to it may wait. Returns the descriptor; -errno with a
 * text.
 */
int doorbell_open(void);

/* Never waits. */
void doorbell_ring(int fd);

/* Takes all rings. */
void doorbell_clear(int fd);

/* Watches the doorbell, which stays the caller's. Returns 0; -errno with a text. */
int readiness_open(readiness_t *r, int doorbell_fd);

/* From now on watches this control connection and not the timer. Returns 0; -errno with a text. */
int readiness_watch(readiness_t *r, int control_fd);

/* Call it before the control connection is closed. */
void readiness_unwatch(readiness_t *r);

/* Clears everything but packets that made it readable. Returns whether the connection hung up. */
bool readiness_clear(readiness_t *r);

/* Makes it readable every 10 ms until readiness_watch is called. Returns 0; -errno with a text. */
int readiness_await_successor(readiness_t *r);

/* Any number of times. In a child after fork it does not change the parent's. */
void readiness_close(readiness_t *r);

#endif
