/* rx.c: from the receive buffer into the rx ring.
 *
 * A record contains as much as there is to put into it, so a stream that is read slower than it
 * comes needs few records. The rest stays in the receive buffer, whose room is advertised to the
 * peer. A reader that makes room does not ring: the ring is checked again soon, then less and less
 * often.
 *
 * Order: connected; bytes and messages; the end. */
#include "worker/agents/udt/udt.h"

#include <string.h>

#define RETRY_FIRST_NS (100 * RT_NS_PER_US)
#define RETRY_LONGEST_NS (5 * RT_NS_PER_MS)

/* --- records ------------------------------------------------------------------------------- */

static void wait_for_readers(udt_agent_t *a, int64_t now_mono_ns)
{
    a->rx_retry_ns = a->rx_retry_ns != 0 ? 2 * a->rx_retry_ns : RETRY_FIRST_NS;
    if (a->rx_retry_ns > RETRY_LONGEST_NS)
        a->rx_retry_ns = RETRY_LONGEST_NS;
    a->rx_waits = true;
    a->rx_retry_mono_ns = now_mono_ns + a->rx_retry_ns;
}

/* The place of a record's payload. NULL: no room now. */
static uint8_t *begin_record(wrk_channel_t *ch, uint32_t tag, uint32_t bytes, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    uint8_t *at = NULL;
    rx_item_t item = {
        .payload_bytes = bytes,
        .source = a->peer_shm,
        .time_ns = now_mono_ns - wrk_clock_shift_ns(ch),
        .stamp = SHM_STAMP_USER,
        .tag = tag,
    };
    if (rx_writer_room(&ch->rx, 1, bytes) == 0 || rx_writer_begin(&ch->rx, &item, &at) < 0)
        return NULL;
    a->rx_retry_ns = 0;
    wrk_count(ch, SHM_COUNT_rx_received, 1);
    wrk_count(ch, SHM_COUNT_rx_bytes, bytes);
    return at;
}

static bool put_notice(wrk_channel_t *ch, unsigned what, shm_udt_got_t got, uint32_t error,
                       int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (!(a->notices & what))
        return true;
    if (begin_record(ch, (uint32_t)got | error << 8, 0, now_mono_ns) == NULL)
        return false;
    a->notices &= ~what;
    return true;
}

/* --- streams ------------------------------------------------------------------------------- */

static bool deliver_bytes(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    udt_rcvbuf_t *b = udt_conn_receive_buffer(&a->conn);
    while (b->ready_bytes > 0) {
        uint32_t most = ch->rx.max_payload_bytes;
        uint32_t bytes = b->ready_bytes < most ? (uint32_t)b->ready_bytes : most;
        uint8_t *to = begin_record(ch, SHM_UDT_GOT_BYTES, bytes, now_mono_ns);
        if (to == NULL)
            return false;
        (void)udt_rcvbuf_read(b, to, bytes);
    }
    return true;
}

/* --- messages ------------------------------------------------------------------------------ */

static void copy_message(udt_agent_t *a, uint8_t *to, uint32_t bytes)
{
    udt_rcvbuf_t *b = udt_conn_receive_buffer(&a->conn);
    a->message_left -= bytes;
    while (bytes > 0) {
        const uint8_t *from;
        uint32_t size = udt_rcvbuf_message_piece(b, &a->message, a->message_piece, &from);
        uint32_t n = size - a->message_at < bytes ? size - a->message_at : bytes;
        memcpy(to, from + a->message_at, n);
        to += n;
        bytes -= n;
        a->message_at += n;
        if (a->message_at < size)
            continue;
        a->message_at = 0;
        a->message_piece++;
    }
}

static bool next_message(udt_agent_t *a)
{
    udt_rcvbuf_t *b = udt_conn_receive_buffer(&a->conn);
    if (a->has_message)
        return true;
    if (!udt_rcvbuf_is_readable(b) || udt_rcvbuf_message(b, &a->message) == 0)
        return false;
    udt_rcvbuf_message_keep(b, &a->message);
    a->has_message = true;
    a->message_piece = a->message_at = 0;
    a->message_left = a->message.bytes;
    return true;
}

static bool deliver_messages(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    uint32_t most = ch->rx.max_payload_bytes;
    while (next_message(a)) {
        uint32_t bytes = a->message_left < most ? (uint32_t)a->message_left : most;
        bool last = bytes == a->message_left;
        uint8_t *to =
            begin_record(ch, last ? SHM_UDT_GOT_MESSAGE : SHM_UDT_GOT_PIECE, bytes, now_mono_ns);
        if (to == NULL)
            return false;
        copy_message(a, to, bytes);
        if (!last)
            continue;
        udt_rcvbuf_message_done(udt_conn_receive_buffer(&a->conn), &a->message);
        a->has_message = false;
    }
    return true;
}

/* --- all of it ----------------------------------------------------------------------------- */

static bool deliver_data(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (a->memory == NULL)
        return true;
    bool all = a->config.mode == SHM_UDT_STREAM ? deliver_bytes(ch, now_mono_ns)
                                                : deliver_messages(ch, now_mono_ns);
    if (a->port != NULL)
        udt_conn_was_read(&a->conn, now_mono_ns);
    return all;
}

static bool deliver(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    uint32_t error = a->notice_error;
    return put_notice(ch, UDT_NOTICE_CONNECTED, SHM_UDT_GOT_CONNECTED, 0, now_mono_ns) &&
           put_notice(ch, UDT_NOTICE_FAILED, SHM_UDT_GOT_FAILED, error, now_mono_ns) &&
           put_notice(ch, UDT_NOTICE_PEER_ERROR, SHM_UDT_GOT_PEER_ERROR, 0, now_mono_ns) &&
           deliver_data(ch, now_mono_ns) &&
           put_notice(ch, UDT_NOTICE_BROKEN, SHM_UDT_GOT_BROKEN, error, now_mono_ns) &&
           put_notice(ch, UDT_NOTICE_CLOSED, SHM_UDT_GOT_CLOSED, error, now_mono_ns);
}

void udt_agent_deliver(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (ch->held || (a->rx_waits && now_mono_ns < a->rx_retry_mono_ns))
        return;
    a->rx_waits = false;
    if (!deliver(ch, now_mono_ns))
        wait_for_readers(a, now_mono_ns);
    wrk_rx_publish(ch);
}
