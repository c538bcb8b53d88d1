/* udt_conn_setup.h: connecting. Part of udt_conn.h. */
#ifndef UDT_CONN_SETUP_H
#define UDT_CONN_SETUP_H

#include "proto/udt/udt_conn_state.h"

/* Begins to connect, as a client or as a side of a rendezvous. */
void udt_conn_connect(udt_conn_t *c, int64_t now_mono_ns);

/* From now on this is the server's end for a request that a listener has accepted. Returns 0, or
 * -EINVAL: invalid values (a listener does not accept those). */
int udt_conn_accept(udt_conn_t *c, const udt_handshake_t *request, int64_t now_mono_ns);

/* The client has repeated its request: repeats the answer. */
void udt_conn_answer_again(udt_conn_t *c);

#endif
