#include "librtpsynth/rtp_info.h"

#include "librtpsynth/rtpjbuf.h"
#include "proto/rtp/rtp_packet.h"
#include "proto/rtp/rtp_payload_list.h"

#define PROFILE_OF(pt, rate, channels, kind) [pt] = {rate, rate, channels, RTP_PTK_##kind},
const struct rtp_profile rtp_profiles[128] = {RTP_PAYLOAD_LIST(PROFILE_OF)};
#undef PROFILE_OF

_Static_assert((int)RTP_PARSER_PTOOSHRT == (int)RTP_PARSE_TOO_SHORT, "one number for both");
_Static_assert((int)RTP_PARSER_IHDRVER == (int)RTP_PARSE_VERSION, "one number for both");
_Static_assert((int)RTP_PARSER_PTOOSHRTXS == (int)RTP_PARSE_EXT_CUT, "one number for both");
_Static_assert((int)RTP_PARSER_PTOOSHRTXH == (int)RTP_PARSE_HEADER_CUT, "one number for both");
_Static_assert((int)RTP_PARSER_PTOOSHRTPS == (int)RTP_PARSE_PADDING_CUT, "one number for both");
_Static_assert((int)RTP_PARSER_PTOOSHRTP == (int)RTP_PARSE_PADDING_LONG, "one number for both");
_Static_assert((int)RTP_PARSER_IPS == (int)RTP_PARSE_PADDING_ZERO, "one number for both");
_Static_assert(sizeof(struct rtp_hdr) == RTP_HEADER_BYTES, "overlays the wire");
_Static_assert(sizeof(struct rtp_hdr_ext) == 4, "overlays the wire");

rtp_parser_err_t rtp_packet_parse_raw(const unsigned char *buf, size_t size, struct rtp_info *out)
{
    rtp_view_t view;
    out->data_size = 0;
    out->data_offset = 0;
    out->appendable = 1;
    out->nsamples = RTP_NSAMPLES_UNKNOWN;
    rtp_parse_t error = rtp_packet_parse(buf, size, &view);
    if (error != RTP_PARSE_OK)
        return (rtp_parser_err_t)error;
    bool appendable;
    out->data_size = view.payload_bytes;
    out->data_offset = view.payload_offset;
    out->nsamples = rtp_payload_samples(view.payload_type, rtp_view_payload(&view),
                                        view.payload_bytes, &appendable);
    out->appendable = appendable;
    out->ts = view.ts;
    out->seq = view.seq;
    out->ssrc = view.ssrc;
    out->rtp_profile = &rtp_profiles[view.payload_type];
    return RTP_PARSER_OK;
}

const char *rtp_parser_strerror(int error)
{
    if (error == RTP_PARSER_OK)
        return rtp_parse_text(RTP_PARSE_OK);
    if (error == RJB_ENOMEM)
        return "out of memory";
    return rtp_parse_text(error == RTP_PARSER_NOTPARSED ? 1 : error);
}
