/* rtp_info.h: the result of librtpsynth's parser for a datagram. C and C++. */
#ifndef RTPSYNTH_RTP_INFO_H
#define RTPSYNTH_RTP_INFO_H

#include "rtp.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rtp_info {
    size_t data_size;     /* of the payload without padding; 0 is valid */
    unsigned data_offset; /* of the payload */
    int nsamples;         /* RTP_NSAMPLES_UNKNOWN if the payload type does not determine it */
    uint32_t ts;          /* this and the next two: in the byte order of this machine */
    uint16_t seq;
    uint32_t ssrc;
    int appendable; /* 0: ends with a comfort noise frame */
    const struct rtp_profile *rtp_profile;
};

/* English text for a result of the parser or of rtpjbuf_udp_in. Any other number gives "unknown
 * error". Never NULL. Since 1.4. */
const char *rtp_parser_strerror(int error);

#ifdef __cplusplus
}
#endif

#endif
