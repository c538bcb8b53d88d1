#include "proto/netflux/nfx_frame.h"

#include <errno.h>

int nfx_frame_parse(const void *data, size_t size, uint32_t payload_bytes, nfx_frame_t *frame)
{
    const uint8_t *bytes = data;
    size_t wanted = NFX_HEADER_BYTES + (size_t)payload_bytes;
    if (size < wanted)
        return -EMSGSIZE;
    *frame = (nfx_frame_t){
        .number = bytes[0],
        .feedback = bytes[1],
        .payload = bytes + NFX_HEADER_BYTES,
        .payload_bytes = payload_bytes,
    };
    return (int)(size - wanted);
}
