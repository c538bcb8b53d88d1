/* tx.c: from the tx ring into the send buffer, and from there to the port.
 *
 * Records are taken in ring order, copied once, and finished: then their space in the ring is free,
 * and the connection has the bytes. If the send buffer has no room, the record waits in the state
 * SENDING, and the ring fills up behind it until the peer has acknowledged something.
 *
 * A message of several records is gathered in free room after the data given to send, and is given
 * when its last record is there. Nothing else is written there meanwhile. */
#include "worker/agents/udt/udt.h"

#include "base/rt_seq.h"

#include <errno.h>
#include <string.h>

#define TAKE_IN_BYTES (512u << 10)
#define TAKE_IN_RECORDS 256u

/* --- records ------------------------------------------------------------------------------- */

static void finish_item(wrk_channel_t *ch, bool sent)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (sent) {
        wrk_count(ch, SHM_COUNT_tx_sent, 1);
        wrk_count(ch, SHM_COUNT_tx_bytes, a->item.payload_bytes - sizeof(shm_udt_tx_t));
    }
    tx_queue_finish(&ch->tx, a->item.ref);
    a->has_item = false;
}

static void fail_item(wrk_channel_t *ch, shm_counter_id_t why)
{
    wrk_count(ch, why, 1);
    finish_item(ch, false);
}

static void end_message(udt_agent_t *a)
{
    a->has_first = a->skips = false;
    a->gathered = 0;
}

/* A record in the middle of a message is lost. The message is incomplete: the part before is
 * dropped, and so is the rest up to its end. A client that died sends no rest. */
static void note_hole(udt_agent_t *a, int why)
{
    bool goes_on = a->has_first && why != -EOWNERDEAD;
    end_message(a);
    a->has_first = a->skips = goes_on;
}

/* Returns whether there was a record. If so, a->has_item tells whether to send it. */
static bool next_item(wrk_channel_t *ch, unsigned *budget, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    int rc = tx_queue_next(&ch->tx, now_mono_ns, budget, &a->item);
    if (rc == 0)
        return false;
    if (rc == 1) {
        rc = tx_queue_take(&ch->tx, a->item.ref, &a->item);
        if (rc == -ESTALE)
            return true;
    }
    if (rc < 0) {
        agent_count_unsent(ch, &a->item, rc, now_mono_ns);
        note_hole(a, rc);
        return true;
    }
    a->has_item = true;
    a->item_at = sizeof(shm_udt_tx_t);
    if (!(a->item.flags & SHM_TX_ENGINE) || a->item.payload_bytes < sizeof(shm_udt_tx_t)) {
        fail_item(ch, SHM_COUNT_tx_corrupt);
        note_hole(a, -EBADMSG);
    }
    return true;
}

/* --- streams ------------------------------------------------------------------------------- */

/* Returns false if it must wait. */
static bool send_bytes(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    uint32_t left = a->item.payload_bytes - a->item_at;
    int64_t sent = udt_conn_send(&a->conn, a->item.payload + a->item_at, left, now_mono_ns);
    if (sent < 0) {
        fail_item(ch, SHM_COUNT_tx_failed);
        return true;
    }
    a->item_at += (uint32_t)sent;
    if (sent == left) {
        finish_item(ch, true);
        return true;
    }
    a->waits_for_room = true;
    return false;
}

/* --- messages ------------------------------------------------------------------------------ */

static void give_message(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    int32_t ttl_ms = a->first.ttl_ms >= 0 ? a->first.ttl_ms : -1;
    bool in_order = (a->first.flags & SHM_UDT_IN_ORDER) != 0;
    int rc = udt_conn_commit_message(&a->conn, a->gathered, ttl_ms, in_order, now_mono_ns);
    end_message(a);
    if (rc < 0)
        fail_item(ch, SHM_COUNT_tx_failed);
    else
        finish_item(ch, true);
}

static bool send_piece(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    udt_sndbuf_t *b = udt_conn_send_buffer(&a->conn);
    shm_udt_tx_t head;
    memcpy(&head, a->item.payload, sizeof head);
    uint32_t bytes = a->item.payload_bytes - (uint32_t)sizeof head;
    bool more = (head.flags & SHM_UDT_MORE) != 0;
    if (!a->has_first)
        a->first = head;
    a->has_first = true;
    if (a->skips || a->gathered + bytes > udt_sndbuf_max_message_bytes(b)) {
        a->skips = true;
        fail_item(ch, SHM_COUNT_tx_failed);
        if (!more)
            end_message(a);
        return true;
    }
    if (a->gathered + bytes > udt_sndbuf_free_bytes(b)) {
        a->waits_for_room = true;
        return false;
    }
    udt_sndbuf_copy_at(b, a->gathered, a->item.payload + sizeof head, bytes);
    a->gathered += bytes;
    if (more)
        finish_item(ch, true);
    else
        give_message(ch, now_mono_ns);
    return true;
}

/* --- taking in ----------------------------------------------------------------------------- */

/* Returns false if it must wait for room. */
static bool send_item(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (a->port == NULL || a->conn.state != UDT_CONN_CONNECTED) {
        fail_item(ch, SHM_COUNT_tx_failed);
        return true;
    }
    return a->config.mode == SHM_UDT_STREAM ? send_bytes(ch, now_mono_ns)
                                            : send_piece(ch, now_mono_ns);
}

unsigned udt_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    unsigned budget = TAKE_IN_RECORDS;
    uint64_t bytes = 0;
    while (budget > 0 && bytes < TAKE_IN_BYTES) {
        if (a->has_item)
            budget--;
        else if (!next_item(ch, &budget, now_mono_ns))
            break;
        if (!a->has_item)
            continue;
        bytes += a->item.payload_bytes;
        if (!send_item(ch, now_mono_ns))
            break;
    }
    return TAKE_IN_RECORDS - budget;
}

/* --- purge --------------------------------------------------------------------------------- */

static void drop_item(wrk_channel_t *ch)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (a->has_item)
        fail_item(ch, SHM_COUNT_tx_cancelled);
    a->skips = a->has_first;
    a->gathered = 0;
    a->waits_for_room = false;
}

int udt_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    if (agent_purge_begin(ch, &a->purge))
        drop_item(ch);
    a->purge.on = !agent_purge_unread(ch, &a->purge, max, agent_count_unsent, NULL, now_mono_ns);
    (void)agent_free_space(ch, 0, agent_refused, now_mono_ns);
    return !a->purge.on;
}

/* --- emission ------------------------------------------------------------------------------ */

void udt_agent_emit(wrk_channel_t *ch, int64_t now_mono_ns)
{
    udt_agent_t *a = udt_agent_of(ch);
    udt_port_agent_t *p = a->port;
    if (p == NULL)
        return;
    if (p->block.now) {
        udt_port_agent_touch(p, a);
        return;
    }
    size_t n = udt_conn_emit(&a->conn, p->out, UDT_AGENT_BATCH, now_mono_ns);
    if (n > 0)
        udt_port_agent_send(p, ch, p->out, n, &a->ends);
    a->more = n == UDT_AGENT_BATCH;
}
