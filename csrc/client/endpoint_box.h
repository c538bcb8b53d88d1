/* endpoint_box.h: puts the newest payload of a channel whose engine sends in cycles: netflux or
 * cyclic. The rules of endpoint.h on threads and attaching hold. */
#ifndef CLIENT_ENDPOINT_BOX_H
#define CLIENT_ENDPOINT_BOX_H

#include "client/endpoint.h"

/* Puts a payload to be sent from the next cycle on. With netflux, bytes must be the configured
 * size, with cyclic at most that. Returns 0; -ESTALE: attach, and put it again (if the endpoint was
 * attached to a worker that is gone, it is there already); -EMSGSIZE, -EINVAL, -ECONNRESET with a
 * text. */
int endpoint_put(endpoint_t *e, const void *payload, size_t bytes);

/* Returns 0, or -ECONNRESET with a text: no worker serves the channel. */
int endpoint_check_served(const endpoint_t *e, int64_t now_mono_ns);

#endif
