/* udt_conn_setup.h: how a connection comes to be connected. Part of udt_conn.h. */
#ifndef UDT_CONN_SETUP_H
#define UDT_CONN_SETUP_H

#include "proto/udt/udt_conn_state.h"

/* Begins to connect, as a client or as a side of a rendezvous. */
void udt_conn_connect(udt_conn_t *c, int64_t now_mono_ns);

/* Is the server's end of what request asks for, which a listener has found good, from now on.
 * Returns 0, -EINVAL: its values cannot be (a listener does not let those pass). */
int udt_conn_accept(udt_conn_t *c, const udt_handshake_t *request, int64_t now_mono_ns);

/* The client has repeated its request: the answer is given again. */
void udt_conn_answer_again(udt_conn_t *c);

#endif
