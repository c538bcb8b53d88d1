/* shmring.h: send and receive on a channel of shmring from C and C++.
 *
 * A channel is opened in Python (shmring.open, `shmring up`). Any process may then attach to it by
 * its name, send packets with deadlines, receive packets with timestamps, and read the verdict of
 * each packet it sent:
 *
 *     shmring_t *channel = shmring_attach("ctl", NULL);
 *     if (channel == NULL)
 *         errx(1, "%s", shmring_error());
 *     shmring_terms_t terms = {.due_ns = shmring_now_ns(channel) + 1000000};
 *     if (shmring_send(channel, "hello", 5, &terms, NULL) < 0)
 *         errx(1, "%s", shmring_error());
 *     shmring_close(channel);
 *
 * Times are integers in nanoseconds. Deadlines and timestamps are in the channel's clock
 * (shmring_now_ns). A timeout is a duration: 0 does not wait, SHMRING_FOREVER waits without limit.
 *
 * Errors. Calls return 0 or a count, and a negative errno value when they fail. shmring_error says
 * what was wrong and what to do. These values mean the same in all calls:
 *
 *     -EAGAIN       timeout 0, and there is no packet, or no room for one
 *     -ETIMEDOUT    the timeout is over
 *     -EINTR        a signal handler ran while the call waited
 *     -EPIPE        the channel was closed for everybody, or its pool has ended
 *     -ECONNRESET   no worker serves the channel, and none came within 3 s
 *     -EPERM        the channel has no such direction, or is attached with readonly
 *
 * Another errno value gives the reason why the channel failed.
 *
 * A worker that died is replaced. The next call attaches to its successor automatically. That may
 * take up to 3 s, and up to 5 s more if the successor does not answer, with any timeout.
 *
 * Threads. One thread at a time may use one shmring_t. Every thread may have its own. The library
 * starts no threads. The first attachment installs a handler for SIGBUS, because a process that may
 * write to a channel's file can also cut it short. Any other SIGBUS goes to the handler that was
 * installed before.
 *
 * The library and the workers must have one version of shmring. Another version is refused with
 * -EPROTO. */
#ifndef SHMRING_H
#define SHMRING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SHMRING_API __attribute__((visibility("default")))
#else
#define SHMRING_API
#endif

#define SHMRING_FOREVER ((int64_t)-1)

/* One process's end of a channel. */
typedef struct shmring shmring_t;

/* The version of the library, such as "0.1.0". */
SHMRING_API const char *shmring_version(void);

/* The text of the last failed call on this thread: one line, "" if no call failed. Valid until the
 * next call on this thread. */
SHMRING_API const char *shmring_error(void);

/* --- attaching -------------------------------------------------------------------------------- */

typedef enum shmring_reading {
    SHMRING_AS_OPENED = 0, /* as the channel was opened; with readonly: each */
    SHMRING_EACH = 1,      /* this end gets every packet */
    SHMRING_SHARED = 2,    /* each packet goes to one of the shared readers */
} shmring_reading_t;

/* All fields 0: the defaults. */
typedef struct shmring_options {
    const char *name_space; /* NULL: $SHMRING_NAMESPACE, or "default" */
    int32_t readonly;       /* 1: only observes. Cannot send, and cannot disturb other ends */
    int32_t reading;        /* shmring_reading_t */
    uint32_t owner;         /* a user's id, see shmring_attach */
    uint32_t reserved[7];   /* 0 */
} shmring_options_t;

/* Attaches to an open channel. Packets that arrive from now on can be received. options may be
 * NULL. The channel must belong to this user or root, or be shared with a group of this process
 * other than its primary one. options->owner allows the channels of one more user. Returns NULL
 * with errno set: ENOENT (no such channel), EACCES and EPERM (another user's), EPROTO (another
 * version of shmring), EINVAL (an invalid name or option), EPIPE, ECONNRESET, ENOMEM. */
SHMRING_API shmring_t *shmring_attach(const char *name, const shmring_options_t *options);

/* Leaves the channel, which stays open for others. Queued packets are sent. NULL: does nothing. */
SHMRING_API void shmring_close(shmring_t *channel);

/* Call this first in a child after fork, for every channel that the parent has attached to. Then
 * the child has its own end. The descriptor of shmring_fileno belongs to the parent. */
SHMRING_API void shmring_after_fork(shmring_t *channel);

/* --- what it is ------------------------------------------------------------------------------- */

/* An IP address and a port. family 0: none. */
typedef struct shmring_address {
    uint16_t family; /* 4 or 6 */
    uint16_t port;   /* 1 to 65535, in the machine's byte order */
    uint32_t scope;  /* IPv6: interface index, otherwise 0 */
    uint8_t ip[16];  /* network order; IPv4 in the first 4 bytes */
} shmring_address_t;

/* Parses a numeric address such as "127.0.0.1" or "::1". Returns 0, -EINVAL. */
SHMRING_API int shmring_address(shmring_address_t *out, const char *ip, uint16_t port);

typedef enum shmring_state {
    SHMRING_OPENING = 0,
    SHMRING_OPEN = 1,
    SHMRING_HELD = 2, /* queues packets and does not send them */
    SHMRING_CLOSED = 3,
    SHMRING_FAILED = 4,
} shmring_state_t;

typedef struct shmring_info {
    char name[72];
    char pool[72];
    char engine[16];          /* "udp", "rtp", "netflux", ... */
    uint32_t direction;       /* 1 sends, 2 receives, 3 both */
    uint32_t state;           /* shmring_state_t */
    uint32_t max_payload;     /* bytes */
    uint32_t epoch;           /* how many workers have served it */
    shmring_address_t local;  /* in use */
    shmring_address_t remote; /* for packets without a destination */
} shmring_info_t;

/* Returns 0. */
SHMRING_API int shmring_info(const shmring_t *channel, shmring_info_t *out);

/* The present time in the channel's clock, ns. */
SHMRING_API int64_t shmring_now_ns(const shmring_t *channel);

/* --- sending ---------------------------------------------------------------------------------- */

/* How to send. All fields 0: at once, to the channel's remote, without waiting for room. */
typedef struct shmring_terms {
    int64_t due_ns;              /* deadline in the channel's clock; 0: as soon as possible */
    int64_t timeout_ns;          /* how long to wait for room in the ring */
    const shmring_address_t *to; /* NULL: the channel's remote */
    /* The address of the worker's host that the packet leaves from, such as shmring_packet_t.local
     * of the one that is answered. Its port must be 0 or the channel's. NULL: the kernel's choice.
     * A packet whose source is not an address of that host gets the verdict SHMRING_SEND_FAILED
     * with EADDRNOTAVAIL. */
    const shmring_address_t *source;
} shmring_terms_t;

/* Queues one packet, which the worker sends. terms and sequence may be NULL. sequence gets the
 * packet's number in the channel. A due_ns that has passed is sent at once and counted as late.
 * Returns 0; -EAGAIN, -ETIMEDOUT (no room), -EMSGSIZE (longer than max_payload), -EDESTADDRREQ (no
 * remote and no terms->to), -EAFNOSUPPORT, -EINVAL (an address that the channel cannot use),
 * -ERANGE (due_ns is below 0, more than a year ahead, or less than 10 s in a clock that has run for
 * longer: another clock or unit?). */
SHMRING_API int shmring_send(shmring_t *channel, const void *data, size_t bytes,
                             const shmring_terms_t *terms, uint64_t *sequence);

/* Packets that follow each other in one buffer. */
typedef struct shmring_batch {
    const void *data;
    size_t size;           /* bytes of each packet */
    size_t count;          /* packets, at least 1 */
    const uint32_t *sizes; /* NULL: each packet has size bytes; otherwise count sizes, in bytes */
    int64_t interval_ns;   /* packet i is due at terms->due_ns + i * interval_ns */
    int64_t spread_ns;     /* instead of it: at terms->due_ns + i * spread_ns / count */
    uint64_t *sequences;   /* NULL, or room for count */
} shmring_batch_t;

/* Queues many packets. *sent (may be NULL) gets how many, also if the call fails. Returns 0: all of
 * them; otherwise as shmring_send. */
SHMRING_API int shmring_send_batch(shmring_t *channel, const shmring_batch_t *batch,
                                   const shmring_terms_t *terms, size_t *sent);

/* Room in the ring for one packet, claimed and not committed. */
typedef struct shmring_claim {
    void *data; /* where to write it */
    size_t bytes;
    uint64_t sequence;
    uint64_t reserved[6];
} shmring_claim_t;

/* Reserves room for one packet of this many bytes, which the caller writes to out->data. The next
 * call on the channel is shmring_commit or shmring_abort, and must follow at once, without waiting
 * or page faults: the worker passes a claim that stays open, but frees no room behind it. Returns
 * as shmring_send. */
SHMRING_API int shmring_claim(shmring_t *channel, size_t bytes, const shmring_terms_t *terms,
                              shmring_claim_t *out);
SHMRING_API void shmring_commit(shmring_t *channel, shmring_claim_t *claim);
SHMRING_API void shmring_abort(shmring_t *channel, shmring_claim_t *claim);

/* Takes back a packet that waits. Returns 1: its verdict is "cancelled"; 0: too late, or there is
 * no such packet; -EBUSY: the queue could not be searched within 10 ms. */
SHMRING_API int shmring_cancel(shmring_t *channel, uint64_t sequence);

/* Replaces a packet that waits with a new one: either both happen, or the old one is sent
 * unchanged. terms->due_ns 0: the new packet gets the old one's deadline. Returns 0; -ENOENT (the
 * old packet no longer waits), -EBUSY as shmring_cancel, otherwise as shmring_send. */
SHMRING_API int shmring_replace(shmring_t *channel, uint64_t old, const void *data, size_t bytes,
                                const shmring_terms_t *terms, uint64_t *sequence);

/* Queued packets of all senders that have no verdict yet. */
SHMRING_API uint64_t shmring_unsent(const shmring_t *channel);

/* --- receiving -------------------------------------------------------------------------------- */

typedef enum shmring_stamp {
    SHMRING_STAMP_NONE = 0,
    SHMRING_STAMP_USER = 1, /* taken by the worker */
    SHMRING_STAMP_KERNEL = 2,
    SHMRING_STAMP_HARDWARE = 3, /* taken by the network card */
} shmring_stamp_t;

/* Flags of a packet. */
#define SHMRING_SHARED_STAMP 0x02u /* packets that arrived in one batch share a timestamp */
#define SHMRING_TRUNCATED 0x04u    /* the datagram was longer than the channel's max_payload */

typedef struct shmring_packet {
    uint64_t sequence;    /* counts the channel's packets from 0; see shmring_lost */
    int64_t timestamp_ns; /* arrival, in the channel's clock */
    uint64_t offset;      /* of the payload in the buffer */
    uint32_t bytes;       /* of the payload */
    uint8_t stamp;        /* shmring_stamp_t: what took the timestamp */
    uint8_t flags;
    uint8_t tos; /* type of service or traffic class; DSCP is tos >> 2 */
    uint8_t reserved;
    shmring_address_t source;
    /* The address that it came to, for terms->source of the answer. family 0: the channel is bound
     * to one address, and sends from it. */
    shmring_address_t local;
} shmring_packet_t;

/* Takes the next packet and copies its payload to buffer. timeout_ns: as above. Returns 0; -EAGAIN,
 * -ETIMEDOUT, -EMSGSIZE (the buffer is too short: the packet stays, and packet->bytes is its
 * length). */
SHMRING_API int shmring_recv(shmring_t *channel, void *buffer, size_t bytes, int64_t timeout_ns,
                             shmring_packet_t *packet);

/* Takes the packets that are there, at least 1 and at most max, and copies their payloads one after
 * the other to buffer. Waits for the first of them. Returns how many; -EAGAIN, -ETIMEDOUT,
 * -EMSGSIZE (not even the first fits; packets[0].bytes is its length). */
SHMRING_API int64_t shmring_recv_many(shmring_t *channel, void *buffer, size_t bytes,
                                      int64_t timeout_ns, shmring_packet_t *packets, size_t max);

/* Packets that could be taken now. */
SHMRING_API uint64_t shmring_unread(const shmring_t *channel);

/* Packets of this channel that were overwritten before this end took them. */
SHMRING_API uint64_t shmring_lost(const shmring_t *channel);

/* --- waiting ---------------------------------------------------------------------------------- */

typedef enum shmring_event {
    SHMRING_ROOM = 1,   /* room to queue a packet */
    SHMRING_PACKET = 2, /* a packet to receive */
} shmring_event_t;

/* Waits for one event, shmring_event_t. Another end may use the room, or take the packet, before
 * the caller does. Returns 0; -EAGAIN, -ETIMEDOUT. */
SHMRING_API int shmring_wait(shmring_t *channel, int event, int64_t timeout_ns);

/* A descriptor for poll and epoll that is readable while there may be packets. To clear it, receive
 * with timeout 0 until -EAGAIN. It belongs to the channel. Returns it; -EPERM with readonly,
 * -EMFILE. */
SHMRING_API int shmring_fileno(shmring_t *channel);

/* --- send reports ----------------------------------------------------------------------------- */

typedef enum shmring_verdict {
    SHMRING_ON_TIME = 0,
    SHMRING_ENQUEUED_LATE = 1,
    SHMRING_WOKE_LATE = 2,
    SHMRING_SEND_SLOW = 3,
    SHMRING_QUEUED_BEHIND = 4,
    SHMRING_DROPPED_LATE = 5,
    SHMRING_CANCELLED = 6,
    SHMRING_SEND_FAILED = 7, /* error has the reason */
    SHMRING_PRODUCER_HALTED = 8,
} shmring_verdict_t;

/* The verdict and the times of one packet of any sender. Times are in the channel's clock. */
typedef struct shmring_report {
    uint64_t sequence;
    int64_t scheduled_ns; /* its deadline; 0: as soon as possible */
    int64_t enqueued_ns;
    int64_t woken_ns;   /* when the worker started to handle this packet */
    int64_t sent_ns;    /* start of the send call */
    int64_t handed_ns;  /* return of the send call */
    int64_t stamped_ns; /* on the wire; 0: there is no timestamp */
    int32_t error;      /* errno of SHMRING_SEND_FAILED */
    uint8_t verdict;    /* shmring_verdict_t */
    uint8_t stamp;      /* shmring_stamp_t of stamped_ns */
    uint16_t batch;     /* packets that left in the same call */
} shmring_report_t;

/* Takes up to max reports that this end has not read, oldest first, without waiting. Returns how
 * many; -ENOTSUP: the channel was opened without reports. */
SHMRING_API int64_t shmring_reports(shmring_t *channel, shmring_report_t *out, size_t max);

/* Reports that were overwritten before this end read them. */
SHMRING_API uint64_t shmring_reports_lost(const shmring_t *channel);

#ifdef __cplusplus
}
#endif

#endif
