/* rtp.h as the only header: what programs of the original find in it. They may have named the
 * header themselves before. */
typedef struct rtp_hdr rtp_hdr_t;
#define rtp_hdr_t_DEFINED 1
#include <rtp.h>

#include <stdio.h>
#include <string.h>

PACKED_STRUCT(three_bytes)
{
    uint8_t first;
    uint16_t second;
};

static int expect(long got, long wanted, const char *what)
{
    if (got != wanted)
        (void)fprintf(stderr, "%s: %ld, expected %ld\n", what, got, wanted);
    return got == wanted ? 0 : 1;
}

int main(void)
{
    const rtp_parser_err_t codes[] = {
        RTP_PARSER_OK,         RTP_PARSER_NOTPARSED,  RTP_PARSER_PTOOSHRT,
        RTP_PARSER_IHDRVER,    RTP_PARSER_PTOOSHRTXS, RTP_PARSER_PTOOSHRTXH,
        RTP_PARSER_PTOOSHRTPS, RTP_PARSER_PTOOSHRTP,  RTP_PARSER_IPS,
    };
    unsigned char packet[sizeof(rtp_hdr_t) + 1];
    uint64_t room[16]; /* for a struct rtp_info, which rtp.h does not define */
    rtp_hdr_t header;
    int failed = 0, i;

    for (i = 0; i < 9; i++)
        failed += expect(codes[i], 1 - i, "a code of the parser");
    failed += expect(sizeof(struct three_bytes), 3, "size of a packed struct");
    failed += expect(sizeof(rtp_hdr_t), 12, "size of the header");
    failed += expect(sizeof(rtp_hdr_ext_t), 4, "size of the head of an extension");

    memset(&header, 0, sizeof header);
    header.version = 2;
    header.mbt = 1;
    header.pt = RTP_G729;
    memset(packet, 0, sizeof packet);
    memcpy(packet, &header, sizeof header);
    failed += expect(packet[0], 0x80, "first byte");
    failed += expect(packet[1], 0x80 | RTP_G729, "second byte");
#if BYTE_ORDER == BIG_ENDIAN
    failed += expect(*(const uint8_t *)&(const uint16_t){1}, 0, "first byte of a number");
#else
    failed += expect(*(const uint8_t *)&(const uint16_t){1}, 1, "first byte of a number");
#endif
    failed += expect(rtp_packet_parse_raw(packet, sizeof packet, (struct rtp_info *)room),
                     RTP_PARSER_OK, "a packet");
    failed += expect(rtp_packet_parse_raw(packet, 11, (struct rtp_info *)room), RTP_PARSER_PTOOSHRT,
                     "a short packet");
    return failed != 0;
}
