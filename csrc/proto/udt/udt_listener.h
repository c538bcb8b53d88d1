/* udt_listener.h: how a listening port answers connection requests.
 *
 *     request  1, cookie 0  ----> REPLY   (the same with a cookie; nothing is kept)
 *     request -1, its cookie ---> version and mode?
 *                                   no:  REPLY (refused)
 *                                   yes: REQUEST
 *     anything else         ----> IGNORE
 *
 * No reply is a request, so two listeners cannot answer each other for ever, whatever source is
 * forged: a reply has a cookie or says "refused", and goes to the id of a socket, never to id 0.
 *
 * At REQUEST the caller looks for a connection with the same address, socket id and first packet
 * number. If it has one, the client did not get the answer: udt_conn_answer_again. If it has none
 * and room for one more, it makes one with udt_conn_accept. If it has no room: udt_listener_refuse.
 *
 * Caller's memory, one thread, no clock. */
#ifndef UDT_LISTENER_H
#define UDT_LISTENER_H

#include "proto/udt/udt_cookie.h"
#include "proto/udt/udt_packet.h"

typedef enum udt_listener_verdict {
    UDT_LISTENER_IGNORE = 0,
    UDT_LISTENER_REPLY = 1,   /* send the reply to where the datagram came from */
    UDT_LISTENER_REQUEST = 2, /* a valid one: see above */
} udt_listener_verdict_t;

typedef struct udt_listener_counters {
    uint64_t cookies;     /* first requests, answered */
    uint64_t requests;    /* valid ones */
    uint64_t bad_parse;   /* not a handshake, or not of 48 bytes */
    uint64_t bad_cookie;  /* none, a wrong one, or an expired one; or no request at all */
    uint64_t bad_version; /* refused: not version 4, or a stream where messages are expected */
    uint64_t bad_values;  /* ignored: an invalid packet size, window or id */
} udt_listener_counters_t;

typedef struct udt_listener {
    udt_mode_t mode;
    udt_secret_t secret;
    udt_listener_counters_t counters;
} udt_listener_t;

void udt_listener_init(udt_listener_t *l, udt_mode_t mode, const udt_secret_t *secret);

/* A datagram for socket id 0. With REPLY, reply is filled in; with REQUEST, *request. */
udt_listener_verdict_t udt_listener_receive(udt_listener_t *l, const void *data, size_t size,
                                            const udt_address_t *from, int64_t now_mono_ns,
                                            uint8_t reply[UDT_HANDSHAKE_BYTES],
                                            udt_handshake_t *request);

/* The answer to a valid request that is refused. */
void udt_listener_refuse(const udt_handshake_t *request, uint8_t reply[UDT_HANDSHAKE_BYTES]);

#endif
