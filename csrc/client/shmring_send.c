#include "client/shmring_private.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "shm/shm_engine.h"

#include <errno.h>

_Static_assert(sizeof(tx_claim_t) <= sizeof(((shmring_claim_t *)0)->reserved), "kept there");

/* Terms, checked and copied: another thread must not change them during the call. */
typedef struct order {
    int64_t due_ns;
    int64_t until_mono_ns;
    shm_addr_t to;
    shm_addr_t source;
    tx_route_t route; /* to these */
} order_t;

static int refuse_family(const shmring_t *c, unsigned family, unsigned own)
{
    return rt_err_set(-EAFNOSUPPORT,
                      "the address is IPv%u, channel \"%s\" is IPv%u: use an address of its family",
                      family, c->segment.config.name, own);
}

static int check_address(const shmring_t *c, const shm_addr_t *to)
{
    const shm_config_t *config = &c->segment.config;
    unsigned own = config->local.family ? config->local.family : config->remote.family;
    if (!shm_engine_has_addresses(config))
        return rt_err_set(-EINVAL,
                          "channel \"%s\" delivers on this host and has no addresses: leave out "
                          "terms->to",
                          config->name);
    if ((to->family != 4 && to->family != 6) || to->port == 0)
        return rt_err_set(-EINVAL,
                          "address family %u or port %u is invalid: use 4 or 6, and 1 to 65535",
                          to->family, to->port);
    return own != 0 && own != to->family ? refuse_family(c, to->family, own) : 0;
}

static int refuse_time(const shmring_t *c, int64_t due_ns)
{
    return rt_err_set(
        -ERANGE,
        "due_ns is %lld: it is below 0, in seconds, or more than a year ahead of channel \"%s\", "
        "which has %lld ns now (shmring_now_ns)",
        (long long)due_ns, c->segment.config.name, (long long)shmring_now_ns(c));
}

static int take_order(const shmring_t *c, const shmring_terms_t *terms, order_t *o)
{
    *o = (order_t){0};
    if (terms == NULL)
        return 0;
    o->due_ns = terms->due_ns;
    o->until_mono_ns = shmring_until(terms->timeout_ns);
    if (o->due_ns < 0)
        return refuse_time(c, o->due_ns);
    if (terms->source != NULL) {
        memcpy(&o->source, terms->source, sizeof o->source);
        o->route.source = &o->source;
        int rc = endpoint_check_source(&c->end, &o->source);
        if (rc < 0)
            return rc;
    }
    if (terms->to == NULL)
        return 0;
    memcpy(&o->to, terms->to, sizeof o->to);
    o->route.dest = &o->to;
    return check_address(c, &o->to);
}

/* Handles an error of a send. Returns 0: try again; or the return value of the call. */
static int after_failed_send(shmring_t *c, int rc, const order_t *o)
{
    switch (rc) {
    case -ESTALE:
        return shmring_attach_as(c, ENDPOINT_TX, RT_NEVER_NS);
    case -ENOBUFS:
        return shmring_wait_more(c, ENDPOINT_TX, o->until_mono_ns);
    case -EDESTADDRREQ:
        return rt_err_set(rc,
                          "channel \"%s\" has no remote address: give terms->to, or open it "
                          "with remote=",
                          c->segment.config.name);
    case -ERANGE:
        return refuse_time(c, o->due_ns);
    case -ENOENT:
        return rt_err_set(rc, "the packet no longer waits: it was sent or cancelled");
    default:
        return rc; /* the text is set */
    }
}

/* --- one packet ----------------------------------------------------------------------------- */

int shmring_send(shmring_t *c, const void *data, size_t bytes, const shmring_terms_t *terms,
                 uint64_t *sequence)
{
    order_t o;
    uint64_t number;
    int rc = take_order(c, terms, &o);
    while (rc == 0) {
        rc = endpoint_send(&c->end, data, bytes, o.due_ns, &o.route, &number);
        if (rc == 0)
            break;
        rc = after_failed_send(c, rc, &o);
    }
    if (rc == 0 && sequence != NULL)
        *sequence = number;
    return rc;
}

int shmring_replace(shmring_t *c, uint64_t old, const void *data, size_t bytes,
                    const shmring_terms_t *terms, uint64_t *sequence)
{
    order_t o;
    uint64_t number;
    int rc = take_order(c, terms, &o);
    while (rc == 0) {
        rc =
            endpoint_replace(&c->end, old, data, bytes, o.due_ns == 0, o.due_ns, &o.route, &number);
        if (rc == 0)
            break;
        rc = after_failed_send(c, rc, &o);
    }
    if (rc == 0 && sequence != NULL)
        *sequence = number;
    return rc;
}

int shmring_cancel(shmring_t *c, uint64_t sequence)
{
    if (!c->end.tx_ready) {
        int rc = shmring_attach_as(c, ENDPOINT_TX, RT_NEVER_NS);
        if (rc < 0)
            return rc;
    }
    int cancelled = tx_ring_cancel(&c->segment, sequence, NULL);
    if (cancelled == 1) /* a worker that sleeps until that packet's time frees its room now */
        endpoint_ring_bell(&c->end);
    return cancelled;
}

uint64_t shmring_unsent(const shmring_t *c)
{
    return tx_ring_waiting(&c->segment);
}

/* --- claims --------------------------------------------------------------------------------- */

int shmring_claim(shmring_t *c, size_t bytes, const shmring_terms_t *terms, shmring_claim_t *out)
{
    order_t o;
    tx_claim_t claim;
    int rc = take_order(c, terms, &o);
    while (rc == 0) {
        rc = endpoint_claim(&c->end, bytes, o.due_ns, &o.route, &claim);
        if (rc == 0)
            break;
        rc = after_failed_send(c, rc, &o);
    }
    if (rc != 0)
        return rc;
    out->data = claim.payload;
    out->bytes = bytes;
    out->sequence = claim.sequence;
    memcpy(out->reserved, &claim, sizeof claim);
    return 0;
}

static tx_claim_t claim_in(const shmring_claim_t *from)
{
    tx_claim_t claim;
    memcpy(&claim, from->reserved, sizeof claim);
    return claim;
}

void shmring_commit(shmring_t *c, shmring_claim_t *from)
{
    tx_claim_t claim = claim_in(from);
    endpoint_commit(&c->end, &claim);
    from->data = NULL;
}

void shmring_abort(shmring_t *c, shmring_claim_t *from)
{
    tx_claim_t claim = claim_in(from);
    endpoint_abort(&c->end, &claim);
    from->data = NULL;
}

/* --- many packets --------------------------------------------------------------------------- */

static uint64_t bytes_of(const shmring_batch_t *from)
{
    uint64_t sum = 0;
    if (from->sizes == NULL) /* a packet longer than any buffer is refused as too long */
        return __builtin_mul_overflow((uint64_t)from->size, from->count, &sum) ? UINT64_MAX : sum;
    for (size_t i = 0; i < from->count; i++)
        sum += from->sizes[i];
    return sum;
}

static send_batch_t as_batch(const shmring_batch_t *from, const order_t *o)
{
    send_batch_t b = {
        .data = from->data,
        .data_bytes = bytes_of(from),
        .count = from->count,
        .size = (int64_t)from->size,
        .due_ns = o->due_ns,
        .span_ns = from->spread_ns != 0 ? from->spread_ns : from->interval_ns,
        .span_packets = from->spread_ns != 0 ? from->count : 1,
        .route = o->route,
        .sequences = from->sequences,
    };
    if (from->sizes != NULL)
        b.sizes =
            (int_array_t){(const char *)from->sizes, sizeof *from->sizes, sizeof *from->sizes, 0};
    return b;
}

static int check_batch(const shmring_batch_t *from)
{
    if (from->count == 0)
        return rt_err_set(-EINVAL, "the batch has no packets");
    if (from->spread_ns < 0)
        return rt_err_set(-EINVAL, "spread_ns is %lld: it is a length of time, 0 or more",
                          (long long)from->spread_ns);
    if (from->spread_ns != 0 && from->interval_ns != 0)
        return rt_err_set(-EINVAL, "interval_ns and spread_ns are both set: leave one of them 0");
    return 0;
}

int shmring_send_batch(shmring_t *c, const shmring_batch_t *from, const shmring_terms_t *terms,
                       size_t *sent)
{
    order_t o;
    send_batch_t b = {0};
    int rc = take_order(c, terms, &o);
    rc = rc ? rc : check_batch(from);
    if (rc == 0)
        b = as_batch(from, &o);
    while (rc == 0 && b.done < b.count) {
        rc = endpoint_send_batch(&c->end, &b);
        if (rc < 0)
            rc = after_failed_send(c, rc, &o);
    }
    if (sent != NULL)
        *sent = b.done;
    return rc;
}
