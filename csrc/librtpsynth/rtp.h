/* rtp.h: RTP header and payload types, as librtpsynth names them. C and C++. */
#ifndef RTPSYNTH_RTP_H
#define RTPSYNTH_RTP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum rtp_type {
    RTP_UNKN = -1,
    RTP_PCMU = 0,
    RTP_GSM = 3,
    RTP_G723 = 4,
    RTP_DVI4_8000 = 5,
    RTP_DVI4_16000 = 6,
    RTP_LPC = 7,
    RTP_PCMA = 8,
    RTP_G722 = 9,
    RTP_L16_MONO = 10,
    RTP_L16_STEREO = 11,
    RTP_QCELP = 12,
    RTP_CN = 13,
    RTP_MPA = 14,
    RTP_G728 = 15,
    RTP_DVI4_11025 = 16,
    RTP_DVI4_22050 = 17,
    RTP_G729 = 18,
    RTP_TSE = 100,
    RTP_TSE_CISCO = 101
} rtp_type_t;

enum rtp_pt_kind {
    RTP_PTK_AUDIO = 0,
    RTP_PTK_VIDEO = 1,
    RTP_PTK_SIGN = 2,
    RTP_PTK_RES = 3,
    RTP_PTK_UNK = 0
};

struct rtp_profile {
    int ts_rate;
    int sample_rate;
    int nchannels;
    enum rtp_pt_kind pt_kind;
};

/* By payload type; all zero where RFC 3551 assigns nothing. */
extern const struct rtp_profile rtp_profiles[128];

/* Overlays the wire; seq, ts, ssrc and csrc are in network order. */
#ifndef rtp_hdr_t_DEFINED
#define rtp_hdr_t_DEFINED 1
struct rtp_hdr {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    unsigned int version : 2;
    unsigned int p : 1;
    unsigned int x : 1;
    unsigned int cc : 4;
    unsigned int mbt : 1;
    unsigned int pt : 7;
#else
    unsigned int cc : 4;
    unsigned int x : 1;
    unsigned int p : 1;
    unsigned int version : 2;
    unsigned int pt : 7;
    unsigned int mbt : 1;
#endif
    unsigned int seq : 16;
    uint32_t ts;
    uint32_t ssrc;
    __extension__ uint32_t csrc[];
} __attribute__((__packed__));
typedef struct rtp_hdr rtp_hdr_t;
#endif

/* Both in network order; length counts 32-bit words. */
struct rtp_hdr_ext {
    uint16_t profile;
    uint16_t length;
    __extension__ uint32_t extension[];
} __attribute__((__packed__));
typedef struct rtp_hdr_ext rtp_hdr_ext_t;

#define RTP_NSAMPLES_UNKNOWN (-1)
#define RTP_HDR_LEN(h) (sizeof(*(h)) + (size_t)(h)->cc * sizeof(uint32_t))

/* How far it is from a on to b, modulo 65536. */
#define SEQ_DIST(a, b) ((uint16_t)((uint16_t)(b) - (uint16_t)(a)))

/* Whether timestamp a comes before b. */
#define ts_less(a, b) ((uint32_t)((uint32_t)(a) - (uint32_t)(b)) > UINT32_C(0x80000000))

#ifdef __cplusplus
}
#endif

#endif
