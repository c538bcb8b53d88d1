/* endpoint_mux.h: the datagrams of many ports on one channel of the engine "mux"; mux_layout.h says
 * who numbers what. Over endpoint.h, whose rules hold; here sending and receiving may have a lock
 * each. */
#ifndef CLIENT_ENDPOINT_MUX_H
#define CLIENT_ENDPOINT_MUX_H

#include "client/endpoint.h"
#include "shm/mux_layout.h"

/* Queues one datagram, of MUX_MAX_DATAGRAM bytes at most. The endpoint is attached as producer.
 * Returns 0; -ENOBUFS (the ring is full); -EMSGSIZE, -EPROTO with a text. */
int mux_endpoint_send(endpoint_t *e, const mux_head_t *head, const void *data, uint32_t bytes);

/* Takes the next arrival, its datagram to `to`, which has room for SHM_MAX_RECORD bytes; its tag
 * says to which port it belongs (mux_tag_port). Returns 1; 0: there is none. */
int mux_endpoint_take(endpoint_t *e, uint8_t *to, rx_packet_t *packet);

/* Sleeps until an arrival may be there, or until until_mono_ns. Without the lock of those who
 * receive, while nobody else does. */
void mux_endpoint_wait(endpoint_t *e, int64_t until_mono_ns);

#endif
