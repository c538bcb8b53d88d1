/* udt_send.h: a client's record for a channel of the engine "udt". Producer side; errors and
 * threads as tx_ring.h says. */
#ifndef SHM_UDT_SEND_H
#define SHM_UDT_SEND_H

#include "shm/tx_ring.h"
#include "shm/udt_shm.h"

#include <string.h>

/* Queues bytes of a stream, or a message or a piece of one. data is read before the call returns.
 * Returns 0; -ENOBUFS, -EMSGSIZE, -EPROTO as tx_producer_claim. */
static inline int udt_send(tx_producer_t *p, shm_udt_tx_t head, const void *data, uint32_t bytes,
                           int64_t now_mono_ns)
{
    tx_claim_t claim;
    if (bytes <= p->max_payload_bytes)
        tx_producer_touch(data, bytes);
    int rc = tx_producer_claim(p, (uint32_t)sizeof head + bytes, 0, now_mono_ns, NULL, &claim);
    if (rc < 0)
        return rc;
    memcpy(claim.payload, &head, sizeof head);
    if (bytes > 0)
        memcpy(claim.payload + sizeof head, data, bytes);
    claim.commit_word |= (uint64_t)SHM_TX_ENGINE << 8;
    tx_producer_commit(p, &claim);
    return 0;
}

#endif
