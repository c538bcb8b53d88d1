/* ctl_msg.h: messages of the control plane, one SOCK_SEQPACKET datagram each way per request.
 *
 * A worker listens on <runtime>/<namespace>/<pool>/worker-<slot>.sock. It answers every request
 * with one reply that has the same request number. A reply with result < 0 carries a text that
 * names the value, the limit and the fix. File descriptors are attached as SCM_RIGHTS where the
 * table says so. The worker never sends requests to a client. A hang-up is a hint that a client
 * died: what it held in any channel is repaired and freed as soon as the locks of its slots are
 * released. Requests that were not read by then are carried out only if they are the pool's.
 *
 *   op        request body                  fds in                       reply body    fds out
 *   OPEN      ctl_open_t + shm_config_t     segment, bell [, socket]     ctl_opened_t  socket
 *   CLOSE     ctl_channel_t                 -                            -             -
 *   ATTACH    ctl_attach_t                  -                            ctl_attached_t  [bell,] [own bell,] [locks]
 *   DETACH    ctl_attached_t                -                            -             -
 *   HOLD      ctl_channel_t                 -                            -             -
 *   RELEASE   ctl_channel_t                 -                            -             -
 *   PURGE     ctl_channel_t                 -                            -             -
 *   RESET     ctl_channel_t                 -                            -             -
 *   LIST      ctl_list_t                    -                            ctl_channel_t[] -
 *   EXPORT    ctl_channel_t                 -                            shm_config_t  segment, bell, socket
 *   PING      -                             -                            ctl_pong_t    -
 *   ADOPT     -                             -                            -             receive buffers
 *   QUIT      -                             -                            -             -
 *   ENGINE    ctl_channel_t + the engine's  -                            the engine's  -
 *   TAP       ctl_tap_t                     -                            ctl_tapped_t  memory
 *   MARK      ctl_channel_t + text          -                            -             -
 *   HELLO     ctl_hello_t                   -                            ctl_pong_t    -
 *   CLIENT    ctl_client_t                  -                            no answer     -
 *
 * OPEN with CTL_OPEN_TAKEOVER and a socket is answered without a socket: the pool already has it.
 *
 * The descriptor "locks" of ATTACH only holds the slots, as long as it or a copy of it is open. A
 * process that closes it or dies releases them. A hang-up alone leaves the slots to any process
 * that still holds them, which may attach again and ask for the same slots.
 *
 * ATTACH hands out the bell that wakes the worker to a producer, an own bell to a reader or a watcher,
 * and the locks to all but a watcher.
 *
 * The own bell is the receiving end of a pair of stream sockets. It is readable after the worker has
 * rung it, and hung up when the worker is gone or does not serve the channel any more. Nothing can be
 * sent to the worker's end. A reader that takes its slot again finds the bell rung, because packets
 * may have come without a signal.
 *
 * A watcher takes no slot. The worker rings its bell once after a client called
 * tx_ring_ask_watch, when there is room, a verdict or a late report, or the channel ends. A watcher
 * finds its bell rung after it has attached. It stays attached until it hangs up.
 *
 * The result of LIST is the number of channels. Its body names those from first on, as many as a
 * message holds. Ask again with a higher first for the rest.
 *
 * TAP makes the worker copy the channel's datagrams into memory (tap_ring.h) until the connection
 * ends or the channel is closed. The worker makes the memory and hands out a descriptor that can only
 * be read. After a hang-up its pages are freed, so the client must read them first. MARK puts a text
 * into every log of the channel. Its result is the number of logs.
 *
 * Other users reach neither this socket nor the pool's. They connect to door.sock beside it, which
 * members of the pool's group may use, and begin with HELLO: it names a worker, or the pool. A
 * process of their own, a relay (worker/door/relay.h), answers with the process that it has connected to,
 * and then passes each request on and each answer back. It passes no descriptors on to a worker, and
 * to the pool only a UDP socket. It begins its own connection with CLIENT, which only a process of
 * the worker's user may send: from then on the connection is that client's.
 *
 * ADOPT makes this connection the worker's pool: OPEN, CLOSE, EXPORT and QUIT are accepted only
 * from it and from connections of the same user. The pool of a private pool passes one end of a
 * socket pair at start instead: its hang-up ends the worker. */
#ifndef CTL_MSG_H
#define CTL_MSG_H

#include "rows/control.h"
#include "shm/shm_config.h"

#define CTL_TEXT_BYTES 512u
#define CTL_MARK_BYTES 256u
#define CTL_ENGINE_BYTES 4096u /* longest engine part of a request and of its answer */

typedef struct ctl_header {
    uint32_t magic;
    uint32_t op;
    uint32_t request;
    int32_t result;      /* replies: count or 0, -errno */
    uint32_t body_bytes; /* bytes after this header */
    uint32_t until_ms;   /* requests: not carried out after this time of CLOCK_MONOTONIC in
                          * milliseconds (its low 32 bits), because nobody waits for it then; 0: no
                          * limit */
} ctl_header_t;

typedef struct ctl_channel {
    char name[SHM_NAME_BYTES];
    uint8_t pad[7];
} ctl_channel_t;

typedef struct ctl_list {
    uint32_t first; /* index of the first channel to name; the order is
                       stable until a channel is closed */
    uint32_t reserved;
} ctl_list_t;

typedef struct ctl_open {
    uint32_t flags;
    uint32_t reserved;
    uint64_t memory_limit_bytes; /* the most that the worker may take for the channel beside its
                                    segment; 0: no limit */
} ctl_open_t;
typedef struct ctl_opened {
    uint64_t memory_bytes; /* what of that counts for the user who opened the channel */
} ctl_opened_t;

#define CTL_NO_SLOT UINT32_MAX
#define CTL_ATTACH_PRODUCER 1u
#define CTL_ATTACH_READER 2u
#define CTL_ATTACH_WATCHER 4u /* alone: takes no slot */
typedef struct ctl_attach {
    ctl_channel_t channel;
    uint32_t what;     /* CTL_ATTACH_* */
    uint32_t producer; /* slot held before a worker restart, or CTL_NO_SLOT */
    uint32_t reader;   /* likewise */
    uint32_t reserved;
} ctl_attach_t;
typedef struct ctl_attached {
    ctl_channel_t channel;
    uint32_t producer; /* slot, or CTL_NO_SLOT */
    uint32_t reader;   /* slot, or CTL_NO_SLOT */
    uint32_t epoch;
    uint32_t reserved;
} ctl_attached_t;

#define CTL_TAP_TX 1u
#define CTL_TAP_RX 2u
#define CTL_TAP_NOT_SENT 4u /* also packets that have a verdict but
                               were not sent, without payload */
typedef struct ctl_tap {
    ctl_channel_t channel;
    uint32_t what;       /* CTL_TAP_* */
    uint32_t snap_bytes; /* maximum from each datagram; 0: all of it */
    uint64_t memory_bytes;
} ctl_tap_t;
typedef struct ctl_tapped {
    uint32_t epoch;
    uint32_t taps; /* taps of this channel, including this one */
} ctl_tapped_t;

typedef struct ctl_hello {
    uint32_t slot; /* of the worker, or CTL_HELLO_POOL */
    uint32_t reserved;
} ctl_hello_t;

#define CTL_MOST_GROUPS 256u /* of a client with more, only the primary one counts */
typedef struct ctl_client {
    uint32_t pid; /* 0: the client is in another pid namespace */
    uint32_t uid;
    uint32_t gid;
    uint32_t group_count;
    uint32_t groups[CTL_MOST_GROUPS];
} ctl_client_t;

typedef struct ctl_pong {
    uint32_t pid;
    uint32_t channels;
    int64_t now_mono_ns;
} ctl_pong_t;

#endif
