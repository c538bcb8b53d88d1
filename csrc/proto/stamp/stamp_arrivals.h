/* stamp_arrivals.h: received datagrams as columns, which a batch of received packets already has.
 */
#ifndef PROTO_STAMP_ARRIVALS_H
#define PROTO_STAMP_ARRIVALS_H

#include <stddef.h>
#include <stdint.h>

/* One end of a datagram: a due_address_t, as the send ring takes it. */
typedef struct stamp_end {
    uint16_t family; /* 4 or 6, 0: not known */
    uint16_t port;
    uint32_t scope;
    uint8_t ip[16]; /* network order, IPv4 in the first four bytes */
} stamp_end_t;

/* Entry i of a column lies i * stride bytes after its first one. The columns may be fields of
 * records, therefore. */
typedef struct stamp_arrivals {
    uint8_t *payload;
    uint64_t payload_bytes; /* a datagram beyond them counts as empty */
    uint32_t count;
    uint32_t stride;
    const uint64_t *offset;
    const uint32_t *length;
    const int64_t *time_ns;
    const stamp_end_t *source; /* NULL: not known */
    const stamp_end_t *local;  /* the address of this host that each came to; NULL: not known */
} stamp_arrivals_t;

static inline const void *stamp_entry(const stamp_arrivals_t *a, const void *column, uint32_t i)
{
    return (const uint8_t *)column + (size_t)i * a->stride;
}

/* Datagram number i, and its length. */
static inline uint8_t *stamp_datagram(const stamp_arrivals_t *a, uint32_t i, uint32_t *length)
{
    uint64_t offset = *(const uint64_t *)stamp_entry(a, a->offset, i);
    *length = *(const uint32_t *)stamp_entry(a, a->length, i);
    if (offset > a->payload_bytes || *length > a->payload_bytes - offset) {
        *length = 0;
        offset = 0;
    }
    return a->payload + offset;
}

static inline int64_t stamp_arrival_ns(const stamp_arrivals_t *a, uint32_t i)
{
    return *(const int64_t *)stamp_entry(a, a->time_ns, i);
}

#endif
