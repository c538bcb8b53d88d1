#include "client/endpoint.h"

#include "base/rt_clock.h"

#include <errno.h>
#include <unistd.h>

/* How often a batch reads the clock and checks whether the worker sleeps. */
#define BATCH_STRIDE 64u

void endpoint_ring_bell(endpoint_t *e)
{
    uint64_t one = 1;
    if (!tx_producer_must_ring(&e->tx))
        return;
    /* The counter is only for waking: a full one (EAGAIN) also wakes, and a vanished worker sees
     * the ring when it is replaced. */
    ssize_t ignored = write(e->bell_fd, &one, sizeof one);
    (void)ignored;
    tx_producer_rang(&e->tx);
}

int endpoint_may_send(const endpoint_t *e)
{
    return e->tx_ready && endpoint_in_force(e);
}

static bool is_in_seconds(int64_t due_ns, int64_t now_mono_ns)
{
    return due_ns > 0 && due_ns < ENDPOINT_SECONDS_NS && now_mono_ns - due_ns > ENDPOINT_PAST_NS;
}

/* Whether due_ns is plausible. Only channels with CLOCK_MONOTONIC can tell other clocks: there a
 * deadline from any of them is decades ahead. */
static bool is_plausible(const endpoint_t *e, int64_t due_ns, int64_t now_mono_ns)
{
    if (is_in_seconds(due_ns, now_mono_ns))
        return false;
    return e->segment->config.clock != RT_CLOCK_MONOTONIC ||
           due_ns - now_mono_ns < ENDPOINT_HORIZON_NS;
}

/* The ring refuses a packet longer than any record, with a text. */
static uint32_t as_length(uint64_t bytes)
{
    return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}

/* Returns 0, or the error that prevents sending: as endpoint_send. */
static int check_ready(const endpoint_t *e, const shm_addr_t *dest)
{
    if (!endpoint_may_send(e))
        return -ESTALE;
    return dest == NULL && !e->has_remote ? -EDESTADDRREQ : 0;
}

int endpoint_send(endpoint_t *e, const void *payload, size_t bytes, int64_t due_ns,
                  const shm_addr_t *dest, uint64_t *sequence)
{
    int rc = check_ready(e, dest);
    if (rc < 0)
        return rc;
    int64_t now = rt_mono_ns();
    if (!is_plausible(e, due_ns, now))
        return -ERANGE;
    rc = tx_producer_push(&e->tx, payload, as_length(bytes), due_ns, now, dest, sequence);
    if (rc == 0)
        endpoint_ring_bell(e);
    return rc;
}

/* --- many packets --------------------------------------------------------------------------- */

int64_t send_batch_due_ns(const send_batch_t *b, uint64_t i)
{
    int64_t due_ns;
    if (b->dues.width)
        return int_at(&b->dues, i);
    if (b->due_ns == 0)
        return 0;
    if (__builtin_mul_overflow((int64_t)i, b->span_ns, &due_ns))
        return -1;
    if (b->span_packets > 1)
        due_ns /= (int64_t)b->span_packets;
    return __builtin_add_overflow(due_ns, b->due_ns, &due_ns) ? -1 : due_ns;
}

void send_batch_advance(send_batch_t *b, uint64_t sequence)
{
    if (b->done == 0)
        b->first_sequence = sequence;
    if (b->sequences)
        b->sequences[b->done] = sequence;
    b->done++;
}

/* The destination of packet i, perhaps in *own. NULL: the channel's remote. */
static const shm_addr_t *dest_of(const send_batch_t *b, uint64_t i, shm_addr_t *own)
{
    if (b->dests == NULL)
        return b->dest;
    memcpy(own, b->dests + i * sizeof *own, sizeof *own);
    return own;
}

/* Whether packets of this channel may go there. */
static bool may_go_to(const endpoint_t *e, const shm_addr_t *dest)
{
    const shm_config_t *config = &e->segment->config;
    unsigned own = config->local.family ? config->local.family : config->remote.family;
    return dest == NULL || ((dest->family == 4 || dest->family == 6) && dest->port != 0 &&
                            (own == 0 || own == dest->family));
}

static bool lies_inside(const send_batch_t *b, int64_t offset, int64_t size)
{
    return size >= 0 && offset >= 0 && (uint64_t)offset <= b->data_bytes &&
           (uint64_t)size <= b->data_bytes - (uint64_t)offset;
}

/* Where packet i begins. A wrong one is found by lies_inside. */
static int64_t send_batch_offset(const send_batch_t *b, uint64_t i)
{
    if (b->offsets.width)
        return int_at(&b->offsets, i);
    return (int64_t)(b->row_stride ? i * b->row_stride : b->data_done);
}

/* Queues packet `done`. */
static int send_next(endpoint_t *e, send_batch_t *b, int64_t now)
{
    uint64_t i = b->done;
    int64_t size = b->sizes.width ? int_at(&b->sizes, i) : b->size;
    int64_t offset = send_batch_offset(b, i);
    int64_t due_ns = send_batch_due_ns(b, i);
    uint64_t sequence;
    shm_addr_t own;
    const shm_addr_t *dest = dest_of(b, i, &own);
    if (!lies_inside(b, offset, size))
        return -EFAULT;
    if (b->dests != NULL && !may_go_to(e, dest))
        return -EAFNOSUPPORT;
    if (due_ns < 0 || !is_plausible(e, due_ns, now))
        return -ERANGE;
    int rc = tx_producer_push(&e->tx, b->data + offset, as_length((uint64_t)size), due_ns, now,
                              dest, &sequence);
    if (rc < 0)
        return rc;
    send_batch_advance(b, sequence);
    b->data_done += (uint64_t)size;
    return 0;
}

int endpoint_send_batch(endpoint_t *e, send_batch_t *b)
{
    shm_addr_t own;
    int rc = check_ready(e, dest_of(b, b->done, &own));
    if (rc < 0)
        return rc;
    int64_t now = rt_mono_ns();
    while (rc == 0 && b->done < b->count) {
        bool look_up = b->done % BATCH_STRIDE == 0;
        rc = send_next(e, b, now);
        if (rc == 0 && look_up) {
            endpoint_ring_bell(e);
            now = rt_mono_ns();
        }
    }
    endpoint_ring_bell(e);
    return rc;
}

/* --- claims --------------------------------------------------------------------------------- */

int endpoint_claim(endpoint_t *e, size_t bytes, int64_t due_ns, const shm_addr_t *dest,
                   tx_claim_t *claim)
{
    int rc = check_ready(e, dest);
    if (rc < 0)
        return rc;
    int64_t now = rt_mono_ns();
    if (!is_plausible(e, due_ns, now))
        return -ERANGE;
    return tx_producer_claim(&e->tx, as_length(bytes), due_ns, now, dest, claim);
}

void endpoint_commit(endpoint_t *e, tx_claim_t *claim)
{
    tx_producer_commit(&e->tx, claim);
    endpoint_ring_bell(e);
}

void endpoint_abort(endpoint_t *e, tx_claim_t *claim)
{
    tx_producer_abort(&e->tx, claim);
    endpoint_ring_bell(e);
}

int endpoint_replace(endpoint_t *e, uint64_t old, const void *payload, size_t bytes, int keep_due,
                     int64_t due_ns, const shm_addr_t *dest, uint64_t *sequence)
{
    tx_claim_t claim;
    if (e->tx_ready && bytes <= e->tx.max_payload_bytes)
        tx_producer_touch(payload, bytes);
    int rc = endpoint_claim(e, bytes, due_ns, dest, &claim);
    if (rc < 0)
        return rc;
    memcpy(claim.payload, payload, bytes);
    int replaced = tx_producer_replace(&e->tx, e->segment, &claim, old, keep_due);
    endpoint_ring_bell(e);
    if (replaced <= 0)
        return replaced < 0 ? replaced : -ENOENT;
    *sequence = claim.sequence;
    return 0;
}
