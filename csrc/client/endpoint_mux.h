/* endpoint_mux.h: the datagrams of many ports on one channel of the engine "mux". mux_layout.h says
 * who assigns which numbers. The rules of endpoint.h hold, except that sending and receiving may
 * have separate locks. */
#ifndef CLIENT_ENDPOINT_MUX_H
#define CLIENT_ENDPOINT_MUX_H

#include "client/endpoint.h"
#include "shm/mux_layout.h"

/* Queues one datagram, of MUX_MAX_DATAGRAM bytes at most. The endpoint is attached as producer.
 * Returns 0; -ENOBUFS (the ring is full); -EMSGSIZE, -EPROTO with a text. */
int mux_endpoint_send(endpoint_t *e, const mux_head_t *head, const void *data, uint32_t bytes);

/* Takes the next received datagram to `to`, which has room for SHM_MAX_RECORD bytes. Its tag
 * contains its port (mux_tag_port). Returns 1; 0: there is none. */
int mux_endpoint_take(endpoint_t *e, uint8_t *to, rx_packet_t *packet);

/* Sleeps until a datagram may be there, or until until_mono_ns. The caller releases the lock for
 * receiving, and no other thread receives meanwhile. */
void mux_endpoint_wait(endpoint_t *e, int64_t until_mono_ns);

#endif
