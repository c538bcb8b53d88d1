#include "client/endpoint.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "shm/shm_engine.h"

#include <errno.h>
#include <string.h>
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
static int check_ready(const endpoint_t *e, const tx_route_t *route)
{
    if (!endpoint_may_send(e))
        return -ESTALE;
    bool has_dest = route != NULL && route->dest != NULL;
    return !has_dest && !e->has_remote ? -EDESTADDRREQ : 0;
}

int endpoint_send(endpoint_t *e, const void *payload, size_t bytes, int64_t due_ns,
                  const tx_route_t *route, uint64_t *sequence)
{
    int rc = check_ready(e, route);
    if (rc < 0)
        return rc;
    int64_t now = rt_mono_ns();
    if (!is_plausible(e, due_ns, now))
        return -ERANGE;
    rc = tx_producer_push(&e->tx, payload, as_length(bytes), due_ns, now, route, sequence);
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

/* The addresses of one packet. */
typedef struct ends {
    shm_addr_t dest;
    shm_addr_t source;
    tx_route_t route;
} ends_t;

/* The route of packet i: that of the batch, or its own in *own. */
static const tx_route_t *route_of(const send_batch_t *b, uint64_t i, ends_t *own)
{
    if (b->dests == NULL && b->sources == NULL)
        return &b->route;
    own->route = b->route;
    if (b->dests != NULL) {
        memcpy(&own->dest, b->dests + i * sizeof own->dest, sizeof own->dest);
        own->route.dest = &own->dest;
    }
    if (b->sources != NULL) {
        memcpy(&own->source, b->sources + i * sizeof own->source, sizeof own->source);
        own->route.source = own->source.family != 0 ? &own->source : NULL;
    }
    return &own->route;
}

/* The family of its addresses; 0: not known. */
static unsigned own_family(const endpoint_t *e)
{
    const shm_config_t *config = &e->segment->config;
    return config->local.family ? config->local.family : config->remote.family;
}

static bool is_address(const endpoint_t *e, const shm_addr_t *address)
{
    unsigned own = own_family(e);
    return (address->family == 4 || address->family == 6) && (own == 0 || own == address->family);
}

/* Whether the address stands for one host: it is no wildcard, group or broadcast address. */
static bool is_of_one_host(const shm_addr_t *address)
{
    static const uint8_t ZERO[16], ONES[4] = {255, 255, 255, 255};
    size_t bytes = address->family == 6 ? 16 : 4;
    if (memcmp(address->ip, ZERO, bytes) == 0)
        return false;
    if (address->family == 6)
        return address->ip[0] != 0xff;
    return (address->ip[0] & 0xf0) != 0xe0 && memcmp(address->ip, ONES, sizeof ONES) != 0;
}

int endpoint_check_source(const endpoint_t *e, const shm_addr_t *source)
{
    const shm_config_t *config = &e->segment->config;
    unsigned port = e->segment->status->bound.port;
    if (!shm_engine_has_addresses(config))
        return rt_err_set(-EINVAL,
                          "channel \"%s\" delivers on this host and has no addresses: leave out "
                          "source",
                          config->name);
    if (!is_address(e, source))
        return rt_err_set(-EAFNOSUPPORT,
                          "source is of family IPv%u, but channel \"%s\" is IPv%u: use an address "
                          "of its family",
                          source->family, config->name, own_family(e) ? own_family(e) : 4);
    if (!is_of_one_host(source))
        return rt_err_set(-EINVAL, "source is a wildcard, multicast or broadcast address: use one "
                                   "address of this host, such as that of packet.local, or none");
    if (source->port != 0 && source->port != port)
        return rt_err_set(-EINVAL,
                          "source has port %u: channel \"%s\" sends from port %u alone, so use "
                          "this or 0",
                          source->port, config->name, port);
    return 0;
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
    ends_t own;
    const tx_route_t *route = route_of(b, i, &own);
    if (!lies_inside(b, offset, size))
        return -EFAULT;
    if (b->dests != NULL && (!is_address(e, route->dest) || route->dest->port == 0))
        return -EAFNOSUPPORT;
    if (b->sources != NULL && route->source != NULL && endpoint_check_source(e, route->source) < 0)
        return -EADDRNOTAVAIL;
    if (due_ns < 0 || !is_plausible(e, due_ns, now))
        return -ERANGE;
    int rc = tx_producer_push(&e->tx, b->data + offset, as_length((uint64_t)size), due_ns, now,
                              route, &sequence);
    if (rc < 0)
        return rc;
    send_batch_advance(b, sequence);
    b->data_done += (uint64_t)size;
    return 0;
}

int endpoint_send_batch(endpoint_t *e, send_batch_t *b)
{
    ends_t own;
    if (b->done == b->count)
        return endpoint_may_send(e) ? 0 : -ESTALE;
    int rc = check_ready(e, route_of(b, b->done, &own));
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

int endpoint_claim(endpoint_t *e, size_t bytes, int64_t due_ns, const tx_route_t *route,
                   tx_claim_t *claim)
{
    int rc = check_ready(e, route);
    if (rc < 0)
        return rc;
    int64_t now = rt_mono_ns();
    if (!is_plausible(e, due_ns, now))
        return -ERANGE;
    return tx_producer_claim(&e->tx, as_length(bytes), due_ns, now, route, claim);
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
                     int64_t due_ns, const tx_route_t *route, uint64_t *sequence)
{
    tx_claim_t claim;
    if (e->tx_ready && bytes <= e->tx.max_payload_bytes)
        tx_producer_touch(payload, bytes);
    int rc = endpoint_claim(e, bytes, due_ns, route, &claim);
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
