/* endpoint_netflux.h: the partner's last values on a channel of the engine "netflux".
 * endpoint_box.h has the other call that a control loop makes in each cycle. The rules of
 * endpoint.h on threads and attaching hold. */
#ifndef CLIENT_ENDPOINT_NETFLUX_H
#define CLIENT_ENDPOINT_NETFLUX_H

#include "client/endpoint.h"
#include "shm/netflux_shm.h"

typedef struct netflux_snapshot {
    shm_netflux_rx_t head;
    uint32_t stamp; /* shm_stamp_t, or any number if another process overwrote it */
    uint32_t bytes; /* of values */
    uint8_t values[SHM_NETFLUX_MAX_PAYLOAD + 1];
} netflux_snapshot_t;

/* Copies the partner's last values. Returns 1; 0: no values came yet; -EPIPE: the channel was
 * closed or failed, so the values would never change; -ECONNRESET, -EAGAIN, -EINVAL with a text. */
int endpoint_snapshot(const endpoint_t *e, netflux_snapshot_t *out);

#endif
