/* Any bytes as an RTP datagram: the view stays within it, and what was read is built again to the
 * same bytes, padding's contents aside. */
#include "proto/rtp/rtp_packet.h"

#include "../c/rtp_build.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build_again(const rtp_view_t *view, size_t size)
{
    uint32_t csrc[15];
    for (unsigned i = 0; i < view->csrc_count; i++)
        csrc[i] = rtp_csrc(view, i);
    rtp_fields_t fields = {
        .ts = view->ts,
        .ssrc = view->ssrc,
        .seq = view->seq,
        .payload_type = view->payload_type,
        .marker = view->marker,
        .csrc_count = view->csrc_count,
        .csrc = csrc,
        .has_ext = view->has_ext,
        .ext_profile = view->ext_profile,
        .ext = view->data + view->ext_offset,
        .ext_bytes = view->ext_bytes,
        .padding_bytes = (uint8_t)view->padding_bytes,
    };
    uint8_t *out = malloc(size);
    REQUIRE(rtp_build(&fields, rtp_view_payload(view), view->payload_bytes, out, size) == size);
    REQUIRE(memcmp(out, view->data, size - view->padding_bytes) == 0);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rtp_view_t view;
    rtp_parse_t error = rtp_packet_parse(data, size, &view);
    REQUIRE(error <= 0 && error > -(int)RTP_PARSE_CODES);
    if (error != RTP_PARSE_OK)
        return 0;
    REQUIRE((size_t)view.payload_offset + view.payload_bytes + view.padding_bytes == size);
    bool appendable;
    for (unsigned pt = 0; pt < 128; pt++)
        (void)rtp_payload_samples(pt, rtp_view_payload(&view), view.payload_bytes, &appendable);
    build_again(&view, size);
    return 0;
}
