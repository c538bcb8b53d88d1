/* udt_app.h: an application of a UDT connection. It sends messages
 * and reads into its own memory. */
#ifndef UDT_APP_H
#define UDT_APP_H

#include "proto/udt/udt_conn.h"

#include <string.h>

/* Returns as udt_conn_commit_message. */
static inline int app_send_message(udt_conn_t *c, const void *data, uint32_t bytes, int32_t ttl_ms,
                                   bool in_order, int64_t now_ns)
{
    udt_sndbuf_t *b = udt_conn_send_buffer(c);
    if (bytes <= udt_sndbuf_free_bytes(b))
        udt_sndbuf_copy_at(b, 0, data, bytes);
    return udt_conn_commit_message(c, bytes, ttl_ms, in_order, now_ns);
}

/* Takes the next message out, cut to room. Returns its bytes, 0: there is none now. */
static inline size_t app_take_message(udt_rcvbuf_t *b, void *out, size_t room)
{
    udt_message_t message;
    size_t taken = 0;
    if (udt_rcvbuf_message(b, &message) == 0)
        return 0;
    for (uint32_t i = 0; i < message.packets && taken < room; i++) {
        const uint8_t *at;
        size_t n = udt_rcvbuf_message_piece(b, &message, i, &at);
        n = n < room - taken ? n : room - taken;
        memcpy((uint8_t *)out + taken, at, n);
        taken += n;
    }
    udt_rcvbuf_message_done(b, &message);
    return taken;
}

/* Bytes of the stream, or the next message. Returns how many, 0: none now. */
static inline size_t app_read(udt_conn_t *c, void *out, size_t room, int64_t now_ns)
{
    udt_rcvbuf_t *b = udt_conn_receive_buffer(c);
    size_t taken =
        b->is_stream ? udt_rcvbuf_read(b, out, room) : app_take_message(b, out, room);
    udt_conn_was_read(c, now_ns);
    return taken;
}

#endif
