/* endpoint_udt.h: converts between the bytes and messages of an application and the records of a
 * channel of the engine "udt". The rules of endpoint.h hold: the caller has one lock for all calls
 * that send and one for all that receive, and holds both while the endpoint is closed or attached.
 */
#ifndef CLIENT_ENDPOINT_UDT_H
#define CLIENT_ENDPOINT_UDT_H

#include "client/endpoint.h"
#include "shm/udt_shm.h"

#define UDT_NO_RECORD UINT32_MAX /* in place of a tag: there is no record */

typedef struct udt_endpoint {
    endpoint_t *end;
    uint32_t spare_used; /* bytes of the record in end->spare that were handed out */
} udt_endpoint_t;

/* Queues a part of the stream, or a message, as far as there is room. *done, 0 at first, says how
 * many bytes are queued and where the next call continues, also after an error. ttl_ms, flags: as
 * shm_udt_tx_t. Returns 0: all of it; -ENOBUFS, -ESTALE as endpoint_send; -ENOTCONN: not connected,
 * or not any more. */
int udt_endpoint_send(udt_endpoint_t *u, const uint8_t *data, uint64_t bytes, int32_t ttl_ms,
                      uint32_t flags, int is_message, uint64_t *done);

/* 1: a record of any length can be queued now. */
int udt_endpoint_has_room(udt_endpoint_t *u);

/* 1: a record is there. */
int udt_endpoint_has_data(const udt_endpoint_t *u);

/* Takes up to bytes of the stream. Returns how many. If that is 0, *tag is the tag of the event
 * that was taken instead, or UDT_NO_RECORD. */
uint64_t udt_endpoint_read(udt_endpoint_t *u, uint8_t *to, uint64_t bytes, uint32_t *tag);

/* Takes the next record if it is an event, and returns its tag; otherwise UDT_NO_RECORD. */
uint32_t udt_endpoint_event(udt_endpoint_t *u);

/* Takes one record of a connection that sends messages. Returns its bytes in to, which has room for
 * the longest record. *tag is UDT_NO_RECORD if there was none. */
uint64_t udt_endpoint_take(udt_endpoint_t *u, uint8_t *to, uint32_t *tag);

#endif
