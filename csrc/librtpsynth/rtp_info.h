/* rtp_info.h: what the parser of librtpsynth finds in a datagram. C and C++. */
#ifndef RTPSYNTH_RTP_INFO_H
#define RTPSYNTH_RTP_INFO_H

#include "rtp.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rtp_info {
    size_t data_size;     /* of the payload, padding taken off; 0 is valid */
    unsigned data_offset; /* of the payload */
    int nsamples;         /* RTP_NSAMPLES_UNKNOWN where the payload type does not tell */
    uint32_t ts;          /* this and the next two: in the order of this machine */
    uint16_t seq;
    uint32_t ssrc;
    int appendable; /* 0: ends with a comfort noise frame */
    const struct rtp_profile *rtp_profile;
};

typedef enum rtp_parser_err {
    RTP_PARSER_NOTPARSED = 0, /* never returned */
    RTP_PARSER_OK = 1,
    RTP_PARSER_PTOOSHRT = -1,   /* shorter than a header */
    RTP_PARSER_IHDRVER = -2,    /* not version 2 */
    RTP_PARSER_PTOOSHRTXS = -3, /* ends within the head of the extension */
    RTP_PARSER_PTOOSHRTXH = -4, /* ends within the CSRCs or the extension */
    RTP_PARSER_PTOOSHRTPS = -5, /* padding announced, nothing there */
    RTP_PARSER_PTOOSHRTP = -6,  /* more padding than there is */
    RTP_PARSER_IPS = -7         /* padding of 0 bytes */
} rtp_parser_err_t;

/* Returns RTP_PARSER_OK or why not. Where not, ts, seq, ssrc and rtp_profile stay as they were. */
rtp_parser_err_t rtp_packet_parse_raw(const unsigned char *buf, size_t size, struct rtp_info *out);

/* English for what the parser or rtpjbuf_udp_in returned; any other number gives
 * "unknown error". Never NULL. Since 1.4. */
const char *rtp_parser_strerror(int error);

#ifdef __cplusplus
}
#endif

#endif
