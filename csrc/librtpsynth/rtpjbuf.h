/* rtpjbuf.h: jitter buffer with a capacity in packets. C and C++.
 *
 * Datagrams are not copied: the caller keeps the bytes until their frame comes back as ready or as
 * dropped, or the buffer is destroyed. Only one thread at a time may use an instance. */
#ifndef RTPSYNTH_RTPJBUF_H
#define RTPSYNTH_RTPJBUF_H

#include "rtp_info.h"

#include <stddef.h>
#include <stdint.h>

#ifndef EXPORT
#define EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum rtp_frame_type { RFT_RTP = 0, RFT_ERS = 1 };

struct rtp_packet {
    struct rtp_info info;
    uint64_t lseq;             /* sequence number, including wraps */
    uint64_t jbcnt;            /* how long the frame was the far end of a nearly full buffer */
    const unsigned char *data; /* as passed to rtpjbuf_udp_in */
};

struct ers_frame {
    uint64_t lseq_start;
    uint64_t lseq_end; /* inclusive */
    uint32_t ts_diff;  /* timestamp units that belong to the missing frames */
};

struct rtp_frame {
    enum rtp_frame_type type;
    __extension__ union {
        struct rtp_packet rtp;
        struct ers_frame ers;
    };
    struct rtp_frame *next;
};

/* Frames of type RFT_RTP belong to the caller, who releases them with rtpjbuf_frame_dtor. The one
 * of type RFT_ERS, always the first of ready, belongs to the buffer and becomes invalid at the next
 * call: read its `next` before that, and do not release it. */
struct rjb_udp_in_r {
    int error; /* 0, or why the datagram was not accepted: rtp_parser_err_t or RJB_ENOMEM */
    struct rtp_frame *ready;
    struct rtp_frame *drop;
};

#define RJB_ENOMEM (RTP_PARSER_IPS - 1000)

/* capacity: frames that end the wait for a missing one; 0: no limit. NULL: no memory. */
EXPORT void *rtpjbuf_ctor(unsigned int capacity);

/* Also releases the frames that are still held. */
EXPORT void rtpjbuf_dtor(void *rjbp);
EXPORT void rtpjbuf_frame_dtor(void *rfp);

EXPORT struct rjb_udp_in_r rtpjbuf_udp_in(void *rjbp, const unsigned char *data, size_t size);

/* Returns the held frames: of several runs of frames the last as ready, all others as dropped. */
EXPORT struct rjb_udp_in_r rtpjbuf_flush(void *rjbp);

/* Returns the next run of held frames, with the erasure before it, and drops nothing. Call it until
 * ready is NULL. Since 1.4. */
EXPORT struct rjb_udp_in_r rtpjbuf_drain(void *rjbp);

/* offered = delivered + dropped + parse_errors + frames still held; dropped = duplicates + late +
 * purged + flush_lost. Since 1.4. */
struct rtpjbuf_counters {
    uint64_t offered;
    uint64_t parse_errors; /* also counts missing memory */
    uint64_t delivered;
    uint64_t erasures;
    uint64_t erased; /* frames in them */
    uint64_t dropped;
    uint64_t duplicates;
    uint64_t late;
    uint64_t purged; /* too far ahead for too long */
    uint64_t flush_lost;
    uint64_t wraps;
};

EXPORT void rtpjbuf_get_counters(const void *rjbp, struct rtpjbuf_counters *counters);

#ifdef __cplusplus
}
#endif

#endif
