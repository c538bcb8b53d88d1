/* rtp.h: RTP header and payload types, with librtpsynth's names. C and C++. */
#ifndef RTPSYNTH_RTP_H
#define RTPSYNTH_RTP_H

#include <stddef.h>
#include <stdint.h>

#if defined(__has_include)
#if __has_include(<endian.h>)
#include <endian.h> /* BYTE_ORDER, unless the language is strict */
#endif
#endif
#ifndef BYTE_ORDER
#ifndef __BYTE_ORDER__
#error "define BYTE_ORDER and BIG_ENDIAN: this compiler does not define the byte order"
#endif
#define BYTE_ORDER __BYTE_ORDER__
#define BIG_ENDIAN __ORDER_BIG_ENDIAN__
#define LITTLE_ENDIAN __ORDER_LITTLE_ENDIAN__
#endif

/* PACKED_STRUCT(name) { ... }; is a struct without holes. */
#ifndef PACKED_STRUCT
#define PACKED_STRUCT(name) struct __attribute__((__packed__)) name
#endif

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

/* By payload type. All zero if RFC 3551 assigns nothing. */
extern const struct rtp_profile rtp_profiles[128];

/* Overlays the wire; seq, ts, ssrc and csrc are in network order. */
struct rtp_hdr {
#if BYTE_ORDER == BIG_ENDIAN
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
#ifndef rtp_hdr_t_DEFINED
#define rtp_hdr_t_DEFINED 1
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

/* The distance from a to b, modulo 65536. */
#define SEQ_DIST(a, b) ((uint16_t)((uint16_t)(b) - (uint16_t)(a)))

/* Whether timestamp a comes before b. */
#define ts_less(a, b) ((uint32_t)((uint32_t)(a) - (uint32_t)(b)) > UINT32_C(0x80000000))

typedef enum rtp_parser_err {
    RTP_PARSER_NOTPARSED = 0, /* never returned */
    RTP_PARSER_OK = 1,
    RTP_PARSER_PTOOSHRT = -1,   /* shorter than a header */
    RTP_PARSER_IHDRVER = -2,    /* not version 2 */
    RTP_PARSER_PTOOSHRTXS = -3, /* ends within the head of the extension */
    RTP_PARSER_PTOOSHRTXH = -4, /* ends within the CSRCs or the extension */
    RTP_PARSER_PTOOSHRTPS = -5, /* padding announced, but there is none */
    RTP_PARSER_PTOOSHRTP = -6,  /* more padding than there is */
    RTP_PARSER_IPS = -7         /* padding of 0 bytes */
} rtp_parser_err_t;

struct rtp_packet; /* rtpjbuf.h */
struct rtp_info;   /* rtp_info.h */

/* Returns RTP_PARSER_OK or the error. After an error ts, seq, ssrc
 * and rtp_profile are unchanged. */
rtp_parser_err_t rtp_packet_parse_raw(const unsigned char *buf, size_t size, struct rtp_info *out);

#ifdef __cplusplus
}
#endif

#endif
