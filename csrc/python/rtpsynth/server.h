/* server.h: the classes of RtpServer.py.
 *
 *   server.c            RtpServer
 *   server_channel.c    RtpChannel
 *   server_exchange.c   Exchange: the rings, the owner of each place, and the thread that calls
 *                       back
 *   _mux.py             names of hosts, requests to the worker
 *
 *       RtpServer -----> mux (_mux.Mux, Python: the shmring channel, requests to the worker)
 *        ^   |            |
 *        |   +-----> Exchange <------ dispatch thread (a daemon, _mux.Mux._serve)
 *        |                |
 *        +---- RtpChannel <  while it is open
 *
 * A server whose last channel is closed and that has no other references dies by reference
 * counting. Its thread then ends and closes the worker's side. While a channel is open, the
 * exchange, which the thread keeps alive, refers to it, and it to its server. The garbage collector
 * sees none of these objects. Otherwise it would collect an open channel that only the thread
 * refers to.
 *
 * Threads. Everything below is used with the global lock held. It is given up while waiting, while
 * resolving names and by the Python code of _mux. After that, values that were read before may have
 * changed. The reader's end of the rx ring belongs to the dispatch thread, which waits on it
 * without the lock.
 *
 * Everything here returns -1 or NULL with a Python exception set, unless it says otherwise. */
#ifndef PYTHON_RTPSYNTH_SERVER_H
#define PYTHON_RTPSYNTH_SERVER_H

#include "python/rtpsynth/core.h"

#include "client/endpoint_mux.h"
#include "python/rtpsynth/waits.h"

#define SERVER_STOPPED "RtpServer is shutting down"

typedef struct exchange exchange_t;

typedef struct server {
    PyObject_HEAD PyObject *mux; /* _mux.Mux */
    exchange_t *exchange;
    unsigned long tick_ns;
} server_t;

typedef struct channel {
    PyObject_HEAD server_t *server;
    exchange_t *exchange;
    PyObject *callback;   /* NULL: closed, or the server is shut down */
    PyObject *local_addr; /* (host, port) */
    uint32_t queue_size;
    uint32_t pushed;       /* packets ever queued, mod 2^32 */
    uint32_t drained_seen; /* packets of these that the worker had finished when last read */
    uint16_t place;
    uint16_t generation;
    int family; /* of socket.socket */
    bool aimed; /* has a target */
    bool closed;
    shm_addr_t last_source; /* of the last arrival, and the pair made of it */
    PyObject *last_address;
} channel_t;

struct exchange {
    PyObject_HEAD PyObject *owner; /* keeps end and segment mapped */
    endpoint_t *end;
    shm_segment_t *segment;
    rt_a32_t *drained; /* of the worker, by place */
    bool stopping;     /* no more commands, no more packets */
    bool forked;       /* this process is a child of the one that has the thread */

    /* places */
    uint32_t places;
    uint32_t fresh;       /* places from here on were never used */
    channel_t **channels; /* by place: the open channel, a reference */
    uint16_t *generations;
    uint16_t *freed; /* a ring of places to use again */
    uint32_t freed_first;
    uint32_t freed_count;

    /* dispatch thread */
    channel_t *running;   /* the channel whose callback runs */
    unsigned long thread; /* its id; 0: it does not run */
    turns_t turns;        /* of callbacks, and of the thread */
    bool finished;
    int64_t last_rtime_ns;
    uint8_t *buffer; /* SHM_MAX_RECORD */
};

/* --- server_channel.c ----------------------------------------------------------------------- */

/* Adds RtpChannel and RtpQueueFullError to the module. */
int add_server_channel(PyObject *module);

/* A channel without a place. New reference. */
channel_t *channel_make(server_t *server, PyObject *callback, uint32_t queue_size);

/* Number of a channel's port in requests of _mux.Mux. */
static inline unsigned channel_tag(const channel_t *channel)
{
    return mux_tag(channel->place, channel->generation);
}

/* Removes the channel from its place and makes the worker close its port. No packet is delivered to
 * it any more, even if the request fails. */
int channel_close_port(channel_t *channel);

/* --- server_exchange.c ---------------------------------------------------------------------- */

int add_exchange(PyObject *module);

/* Gives the channel a place. From then on arrivals are handed to it. -1 with OSError EMFILE: there
 * is none left. */
int exchange_enter(exchange_t *x, channel_t *channel);

/* Removes the channel from its place: its callback is not called any more, though it may still be
 * running. The place stays taken until exchange_free_place. Does nothing for one that has left
 * already. */
void exchange_leave(exchange_t *x, channel_t *channel);
void exchange_free_place(exchange_t *x, uint16_t place);

/* Removes every channel from its place and releases the callbacks. */
void exchange_leave_all(exchange_t *x);

/* Raises RuntimeError if the worker died once too often and is not replaced, if this server was
 * shut down, or if its channel was closed by the whole pool. */
int exchange_check(const exchange_t *x);

/* Makes the thread end. Nothing is queued any more. */
void exchange_stop(exchange_t *x);

/* Waits until the callback of channel, or with NULL the thread, is over. Returns at once in the
 * thread itself, and if waiting would close a circle of threads that wait for each other. -1: a
 * signal handler raised. */
int exchange_wait(exchange_t *x, const channel_t *channel);

#endif
