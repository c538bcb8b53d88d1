/* Any datagram as a test packet of STAMP. Nothing beyond its end is read, what was read is written
 * again to the same bytes, a request becomes a reply that has its fields, and a reply is never
 * taken for a request again. */
#include "proto/stamp/stamp_packet.h"

#include <stdlib.h>
#include <string.h>

#define LAST_NS INT64_C(4233462143999999999)

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reflect(const uint8_t *data, size_t size, const stamp_request_t *request)
{
    uint8_t *packet = malloc(size);
    REQUIRE(packet != NULL);
    memcpy(packet, data, size);
    stamp_reflection_t how = {
        .sequence = request->sequence,
        .request_ttl = STAMP_TTL_UNKNOWN,
        .error = stamp_error_from_ns(request->t1_ns % 1000000, true, request->error.format),
        .t2_ns = request->t1_ns,
        .t3_ns = request->t1_ns,
    };
    stamp_reflect(packet, size, &how);
    stamp_reply_t reply;
    REQUIRE(stamp_get_reply(packet, size, &reply) == STAMP_FINE);
    REQUIRE(reply.request_sequence == request->sequence && reply.ssid == request->ssid);
    REQUIRE(reply.t1_ns == request->t1_ns && reply.t2_ns == how.t2_ns);
    REQUIRE(stamp_error_raw(reply.request_error) == stamp_error_raw(request->error));
    if (size > STAMP_BYTES)
        REQUIRE(memcmp(packet + STAMP_BYTES, data + STAMP_BYTES, size - STAMP_BYTES) == 0);
    REQUIRE(stamp_is_reply(packet, size));
    free(packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    stamp_request_t request;
    stamp_fault_t fault = stamp_get_request(data, size, &request);
    REQUIRE((fault == STAMP_TOO_SHORT) == (size < STAMP_LEAST_BYTES));
    if (fault != STAMP_FINE) {
        REQUIRE(!stamp_is_reply(data, size));
        return 0;
    }
    if (request.t1_ns > LAST_NS) /* the last ns of 2104 is rounded to one beyond the range */
        return 0;
    uint8_t again[STAMP_BYTES];
    stamp_put_request(again, &request);
    REQUIRE(memcmp(again, data, 4) == 0 && memcmp(again + 12, data + 12, 4) == 0);
    stamp_request_t read;
    REQUIRE(stamp_get_request(again, sizeof again, &read) == STAMP_FINE);
    REQUIRE(read.t1_ns == request.t1_ns);
    REQUIRE(stamp_error_ns(request.error) > 0);
    reflect(data, size, &request);
    return 0;
}
