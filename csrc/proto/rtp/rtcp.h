/* rtcp.h: RTCP on the wire: SR, RR, SDES, BYE (RFC 3550 section 6) and the generic NACK (RFC 4585
 * section 6.2.1), read and built.
 *
 *   compound packet:  | SR or RR | SDES | ... | BYE |     BYE or APP may also come first
 *   each of these:    |V=2|P| count | type | words - 1 |  body
 *
 * A compound is checked as a whole first (rtcp_check); then each packet is read by the function for
 * its type. Nothing is copied, nothing outside the datagram is read. Pure; any thread. */
#ifndef RTCP_H
#define RTCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTCP_MAX_REPORTS 31u
#define RTCP_MAX_TEXT_BYTES 255u
#define RTCP_NTP_UNIX_OFFSET_S UINT64_C(2208988800) /* 1900 to 1970 */

typedef enum rtcp_type {
    RTCP_SR = 200,
    RTCP_RR = 201,
    RTCP_SDES = 202,
    RTCP_BYE = 203,
    RTCP_APP = 204,
    RTCP_RTPFB = 205, /* transport layer feedback */
} rtcp_type_t;

#define RTCP_FMT_NACK 1u

/* Types of SDES items. Items other than the CNAME are skipped. */
#define RTCP_SDES_END 0
#define RTCP_SDES_CNAME 1

typedef enum rtcp_error {
    RTCP_OK = 0,
    RTCP_ERR_SHORT = -1,   /* no room for a header */
    RTCP_ERR_VERSION = -2, /* a packet that is not version 2 */
    RTCP_ERR_FIRST = -3,   /* the first one is none of SR, RR, BYE and APP */
    RTCP_ERR_LENGTH = -4,  /* lengths do not add up to the datagram */
    RTCP_ERR_PADDING = -5, /* padding before the last packet, of 0 bytes, odd, or too long */
    RTCP_ERR_BODY = -6,    /* shorter than its count implies, or a broken list inside */
} rtcp_error_t;

typedef struct rtcp_packet {
    const uint8_t *body; /* after the four bytes of header */
    uint32_t body_bytes; /* without padding */
    uint8_t type;
    uint8_t count; /* reports, chunks or sources; for feedback the format */
} rtcp_packet_t;

typedef struct rtcp_reader {
    const uint8_t *at;
    const uint8_t *end;
} rtcp_reader_t;

/* Makes the validity checks of appendix A.2 on a whole datagram, and checks the body of every
 * packet of a known type against its count. A BYE or APP may come first, as baresip sends them.
 * reduced_size: any type may (RFC 5506). Returns RTCP_OK or the first error. The functions that
 * read a packet need a datagram that has passed, and do not fail. */
rtcp_error_t rtcp_check(const uint8_t *data, size_t size, bool reduced_size);

/* True if a datagram on a port shared by both (rtcp-mux) is RTCP: RFC 5761 section 4. */
bool rtcp_is_rtcp(const uint8_t *data, size_t size);

void rtcp_reader_init(rtcp_reader_t *reader, const uint8_t *data, size_t size);

/* Returns 1 and the next packet, 0 at the end, or an rtcp_error_t (the reader is at its end). */
int rtcp_next(rtcp_reader_t *reader, rtcp_packet_t *packet);

typedef struct rtcp_sender {
    uint32_t ssrc;
    uint64_t ntp; /* seconds since 1900 and 32 bits of fraction */
    uint32_t rtp_ts;
    uint32_t packets;
    uint32_t octets;
} rtcp_sender_t;

typedef struct rtcp_report {
    uint32_t ssrc;
    uint8_t fraction_lost;   /* in 1/256 */
    int32_t cumulative_lost; /* 24 bits, signed */
    uint32_t highest_seq;    /* extended */
    uint32_t jitter;         /* clock units */
    uint32_t last_sr;        /* LSR, 0: none received */
    uint32_t delay_since_sr; /* DLSR, 1/65536 s */
} rtcp_report_t;

/* The source that an RR, an SR or feedback is from. */
uint32_t rtcp_packet_source(const rtcp_packet_t *packet);

void rtcp_read_sr(const rtcp_packet_t *packet, rtcp_sender_t *sender);

/* Report i of an SR or RR, i < packet->count. */
void rtcp_read_report(const rtcp_packet_t *packet, unsigned i, rtcp_report_t *report);

typedef struct rtcp_sdes_item {
    uint32_t ssrc;
    uint8_t type;
    uint8_t bytes;
    const uint8_t *text; /* UTF-8, not terminated */
} rtcp_sdes_item_t;

typedef struct rtcp_sdes_reader {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    uint32_t ssrc;
    unsigned chunks_left;
    bool in_chunk;
} rtcp_sdes_reader_t;

void rtcp_sdes_reader_init(rtcp_sdes_reader_t *reader, const rtcp_packet_t *packet);

/* Returns 1 and the next item, 0 at the end, or in an unchecked datagram RTCP_ERR_BODY for a list
 * that is broken. */
int rtcp_sdes_next(rtcp_sdes_reader_t *reader, rtcp_sdes_item_t *item);

/* Source i of a BYE, i < packet->count. */
uint32_t rtcp_bye_source(const rtcp_packet_t *packet, unsigned i);

/* One entry of a NACK: pid is lost, and pid + 1 + i for each bit i of blp. */
typedef struct rtcp_nack_pair {
    uint16_t pid;
    uint16_t blp;
} rtcp_nack_pair_t;

/* Of a NACK: the source whose packets are requested, and what is requested. */
uint32_t rtcp_nack_media_source(const rtcp_packet_t *packet);
unsigned rtcp_nack_pair_count(const rtcp_packet_t *packet);
rtcp_nack_pair_t rtcp_nack_pair(const rtcp_packet_t *packet, unsigned i);

/* Packs count ascending (modulo 2^16) sequence numbers into at most as many pairs. Returns how many
 * pairs. */
size_t rtcp_nack_pack(const uint16_t *seqs, size_t count, rtcp_nack_pair_t *pairs);

/* A compound under construction in the caller's memory. Each put returns 0, -ENOSPC (the packet
 * does not fit: nothing is written) or -EINVAL (a value out of its range: nothing is written). */
typedef struct rtcp_writer {
    uint8_t *out;
    size_t room;
    size_t used;
} rtcp_writer_t;

void rtcp_writer_init(rtcp_writer_t *writer, uint8_t *out, size_t room);
int rtcp_put_sr(rtcp_writer_t *writer, const rtcp_sender_t *sender, const rtcp_report_t *reports,
                size_t report_count);
int rtcp_put_rr(rtcp_writer_t *writer, uint32_t ssrc, const rtcp_report_t *reports,
                size_t report_count);

/* SDES with the CNAME of one source, of 0 .. 255 bytes. */
int rtcp_put_cname(rtcp_writer_t *writer, uint32_t ssrc, const char *cname, size_t bytes);
int rtcp_put_bye(rtcp_writer_t *writer, uint32_t ssrc);
int rtcp_put_nack(rtcp_writer_t *writer, uint32_t sender_ssrc, uint32_t media_ssrc,
                  const rtcp_nack_pair_t *pairs, size_t count);

/* CLOCK_REALTIME to the NTP format of SR. Rounded to the nearest fraction. */
uint64_t rtcp_ntp_from_real_ns(int64_t real_ns);

static inline uint32_t rtcp_ntp_mid(uint64_t ntp)
{
    return (uint32_t)(ntp >> 16);
}

/* A span in units of 1/65536 s, as in DLSR. Below 0 counts as 0, above 18 h as 18 h. */
uint32_t rtcp_ns_to_mid(int64_t ns);

#endif
