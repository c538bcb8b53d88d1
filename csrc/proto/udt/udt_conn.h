/* udt_conn.h: one end of a UDT connection.
 *
 *        connect, or accept         send, commit              receive buffer, close
 *              |                        |                            ^
 *              v                        v                            |
 *     [ handshake ]        [ send buffer, loss list,        [ receive buffer, loss list,
 *              |             congestion control, pace ]       ACK, NAK, estimates     ]
 *              |                        |                            ^
 *              +------------------------+---- emit: datagrams        +---- receive: datagrams
 *
 * What the caller does (an agent with clock, socket and memory for the bytes):
 *
 *   a datagram for this socket id, from   udt_conn_receive
 *   the peer's address
 *   at udt_conn_deadline_ns, and after    udt_conn_emit until it gives fewer than asked for; send
 *   each of the other calls               what it gave, in that order
 *   then                                  udt_conn_take_events
 *
 * Emission copies no payload: each packet is a header in udt_out_t and a part of the send buffer.
 * Consecutive packets of one emission that have the same size may leave as one segmented send. The
 * memory that they point to stays unchanged until the next call of any function of the connection.
 *
 * The bytes of both buffers are the caller's memory and may be shared with an application: the
 * engine never reads them back unchecked, and keeps its own record of their positions.
 *
 * Caller's memory, one thread, no clock, no allocation. Times are of CLOCK_MONOTONIC or of any
 * other clock that never goes back. A now_mono_ns below an earlier one counts as that one. Arrival
 * times may come from the kernel and be older than now_mono_ns. */
#ifndef UDT_CONN_H
#define UDT_CONN_H

#include "proto/udt/udt_conn_setup.h"

/* The connection's own memory besides udt_conn_t. */
size_t udt_conn_memory_bytes(const udt_conn_config_t *config);

/* The caller's memory for received bytes. The memory for bytes to send has config->send_bytes. */
size_t udt_conn_receive_bytes(const udt_conn_config_t *config);

typedef struct udt_conn_memory {
    void *own; /* udt_conn_memory_bytes, aligned to 8 */
    uint8_t *send;
    uint8_t *receive;
    bool own_is_zero; /* fresh from the kernel: not touched before it is needed */
} udt_conn_memory_t;

/* stats: zeroed, owned by the caller. All memory is in use until the caller stops using the
 * connection. The caller has checked the configuration. Returns as udt_cc_init. */
int udt_conn_init(udt_conn_t *c, const udt_conn_config_t *config, const udt_conn_memory_t *memory,
                  udt_stats_t *stats, int64_t now_mono_ns);

/* Handles a datagram for this socket id (or, in a rendezvous that is connecting, for id 0) from the
 * peer's address. arrival_mono_ns: when it arrived. Returns 0, a udt_parse_t, or -EPROTO: refused,
 * counted, and without effect. */
int udt_conn_receive(udt_conn_t *c, const void *data, size_t size, int64_t arrival_mono_ns,
                     int64_t now_mono_ns);

/* Runs the timers that have expired, and returns at most max datagrams to send now. Returns how
 * many. Fewer than max: there are no more now, unless the deadline is still past (for a second long
 * NAK, because all NAKs use one place for their bodies). */
size_t udt_conn_emit(udt_conn_t *c, udt_out_t *out, size_t max, int64_t now_mono_ns);

/* When to call udt_conn_emit next. At or before now: at once. RT_NEVER_NS: there is nothing to wait
 * for. */
int64_t udt_conn_deadline_ns(const udt_conn_t *c);

/* UDT_EVENT_*: what happened since the last call. */
uint32_t udt_conn_take_events(udt_conn_t *c);

/* No more data will be given to send. The data given so far is sent within linger_ns. Then the peer
 * is told. A second call can only shorten the time to linger_ns from now. */
void udt_conn_close(udt_conn_t *c, int64_t now_mono_ns);

/* From now on: how long a later close waits, and how fast packets may leave. As in the
 * configuration. */
void udt_conn_set_linger(udt_conn_t *c, int64_t linger_ns);
void udt_conn_set_bandwidth(udt_conn_t *c, uint64_t max_bandwidth);

/* --- the application's bytes --- */

/* Stream mode: copies bytes. Returns how many there was room for, -ENOTCONN (not connected, or no
 * more), -EINVAL (message mode). */
int64_t udt_conn_send(udt_conn_t *c, const void *data, uint32_t bytes, int64_t now_mono_ns);

/* Message mode: the bytes that udt_sndbuf_copy_at stored are one message. Returns as
 * udt_sndbuf_commit_message, -ENOTCONN, or -EINVAL (stream mode). */
int udt_conn_commit_message(udt_conn_t *c, uint32_t bytes, int32_t ttl_ms, bool in_order,
                            int64_t now_mono_ns);

/* Call it after reading from the receive buffer: the peer may learn of the room. */
void udt_conn_was_read(udt_conn_t *c, int64_t now_mono_ns);

/* Received data could not be stored: tells the peer. */
void udt_conn_report_error(udt_conn_t *c);

static inline udt_sndbuf_t *udt_conn_send_buffer(udt_conn_t *c)
{
    return &c->snd.buffer;
}

static inline udt_rcvbuf_t *udt_conn_receive_buffer(udt_conn_t *c)
{
    return &c->rcv.buffer;
}

#endif
