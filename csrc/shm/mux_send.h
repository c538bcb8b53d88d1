/* mux_send.h: the client's way into the tx ring of a channel with engine "mux". */
#ifndef SHM_MUX_SEND_H
#define SHM_MUX_SEND_H

#include "shm/mux_layout.h"
#include "shm/tx_ring.h"

#define MUX_MAX_DATAGRAM \
    (SHM_MAX_RECORD - (uint32_t)sizeof(mux_head_t)) /* as long as IPv6 has them */

/* Queues one datagram. Returns 0, -ENOBUFS (ring full), -EMSGSIZE, as tx_producer_claim. The caller
 * rings the bell where tx_producer_must_ring says so. */
static inline int mux_send(tx_producer_t *p, const mux_head_t *head, const void *data,
                           uint32_t bytes, int64_t now_mono_ns)
{
    tx_claim_t claim;
    if (bytes <= p->max_payload_bytes)
        tx_producer_touch(data, bytes);
    int rc = tx_producer_claim(p, bytes + (uint32_t)sizeof *head, 0, now_mono_ns, NULL, &claim);
    if (rc < 0)
        return rc;
    memcpy(claim.payload, head, sizeof *head);
    memcpy(claim.payload + sizeof *head, data, bytes);
    claim.commit_word |= (uint64_t)SHM_TX_ENGINE << 8;
    tx_producer_commit(p, &claim);
    return 0;
}

#endif
