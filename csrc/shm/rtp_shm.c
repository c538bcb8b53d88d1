#include "shm/rtp_shm.h"

#include "base/rt_err.h"
#include "shm/layout_assert.h"

#include <errno.h>

_Static_assert(sizeof(shm_rtp_config_t) <= SHM_ENGINE_CONFIG_BYTES, "fits the channel's configuration");
_Static_assert(SHM_RTP_COUNTER_TOTAL <= SHM_RTP_COUNTER_SPACE, "not enough room for the counters");
_Static_assert(SHM_RTP_GAUGE_TOTAL <= SHM_RTP_GAUGE_SPACE, "not enough room for the gauges");

AT(shm_rtp_config_t, ssrc, 16);
AT(shm_rtp_config_t, first_seq, 24);
AT(shm_rtp_config_t, delivery, 28);
AT(shm_rtp_config_t, start_delay_ns, 32);
AT(shm_rtp_config_t, expected_ssrc, 40);
AT(shm_rtp_config_t, underrun, 52);
AT(shm_rtp_config_t, switch_silence_ns, 56);
AT(shm_rtp_config_t, percentile, 64);
AT(shm_rtp_config_t, rtcp_bandwidth_bps, 120);
AT(shm_rtp_config_t, rtcp_local, 136);
AT(shm_rtp_config_t, cname, 184);
AT(shm_rtp_config_t, history_packets, 312);
AT(shm_rtp_config_t, event_types, 344);
SIZE(shm_rtp_config_t, 360);

SIZE(shm_rtp_tx_t, 28);
AT(shm_rtp_tx_t, samples, 4);
AT(shm_rtp_tx_t, bytes_per_packet, 8);
AT(shm_rtp_tx_t, offset_ns, 12);
AT(shm_rtp_tx_t, header, 16);

SIZE(shm_rtp_rx_t, 48);
AT(shm_rtp_rx_t, ssrc, 4);
AT(shm_rtp_rx_t, seq, 8);
AT(shm_rtp_rx_t, ts, 16);
AT(shm_rtp_rx_t, frames, 24);
AT(shm_rtp_rx_t, extension_profile, 28);
AT(shm_rtp_rx_t, due_ns, 32);
AT(shm_rtp_rx_t, csrc_count, 40);

SIZE(shm_rtp_sender_t, 48);
AT(shm_rtp_sender_t, block_sequence, 32);
AT(shm_rtp_sender_t, seq, 44);
AT(shm_rtp_state_t, cname_changes, 4);
AT(shm_rtp_state_t, sender, 8);
AT(shm_rtp_state_t, counters, 104);
AT(shm_rtp_state_t, gauges, 616);
AT(shm_rtp_state_t, remote_cname, 1128);

static int check_stream(const shm_rtp_config_t *c)
{
    int rc = shm_check_range("clock_rate", c->clock_rate, 1, INT32_MAX);
    /* a day of samples: more is a mistake, and would overflow the grid's arithmetic */
    rc = rc ? rc : shm_check_range("samples_per_packet", c->samples_per_packet, 1,
                               INT64_C(86400) * c->clock_rate < UINT32_MAX
                                   ? INT64_C(86400) * c->clock_rate
                                   : UINT32_MAX);
    rc = rc ? rc : shm_check_range("bytes_per_packet", c->bytes_per_packet, 0,
                               SHM_MAX_PAYLOAD - SHM_RTP_HEAD_BYTES);
    rc = rc ? rc : shm_check_range("payload_type", c->payload_type, 0, 127);
    rc = rc ? rc : shm_check_range("flags", c->flags, 0, SHM_RTP_FLAGS);
    rc = rc ? rc : shm_check_range("delivery", c->delivery, 0, SHM_RTP_AS_ARRIVED);
    rc = rc ? rc : shm_check_range("max_frames", c->max_frames, 0, 4096);
    rc = rc ? rc : shm_check_range("underrun", c->underrun, 0, SHM_RTP_FILL);
    if (rc == 0 && c->underrun == SHM_RTP_FILL && c->bytes_per_packet == 0)
        return rt_err_set(-EINVAL, "underruns are filled, but bytes_per_packet is 0: give the length of "
                                   "a filling packet");
    return rc ? rc : shm_check_range("start_delay_ns", c->start_delay_ns, 0, 10 * RT_NS_PER_S);
}

/* RFC 5761 section 4: on a shared port these payload types, marker set, look like RTCP. */
static int check_mux(const shm_rtp_config_t *c)
{
    if (c->rtcp != SHM_RTP_RTCP_MUX || c->payload_type < 64 || c->payload_type > 95)
        return 0;
    return rt_err_set(-EINVAL,
                      "payload_type %u cannot share its port with RTCP (RFC 5761): use one outside 64 "
                      "to 95, or RTCP on the next port",
                      c->payload_type);
}

static int check_numbers(const shm_rtp_config_t *c)
{
    if (!(c->percentile >= 0.0 && c->percentile <= 1.0))
        return rt_err_set(-EINVAL, "percentile is %g; it must be above 0 and at most 1", c->percentile);
    int rc = 0;
#define LIMIT(field, shown, low, high, power) \
    rc = rc ? rc : shm_check_number(shown, (int64_t)c->field, low, high, power);
    SHM_RTP_LIMITS(LIMIT)
#undef LIMIT
    return rc;
}

static int check_rtcp(const shm_rtp_config_t *c)
{
    int rc = shm_check_range("rtcp", c->rtcp, 0, SHM_RTP_RTCP_NEXT_PORT);
    rc = rc ? rc : check_mux(c);
    rc = rc ? rc : shm_check_family("rtcp_local", c->rtcp_local.family);
    rc = rc ? rc : shm_check_family("rtcp_remote", c->rtcp_remote.family);
    if (rc)
        return rc;
    if (!(c->rtcp_bandwidth_bps >= 0.0 && c->rtcp_bandwidth_bps <= 1e12))
        return rt_err_set(-EINVAL, "rtcp_bandwidth_bps is %g; it must be between 0 and 1e12",
                          c->rtcp_bandwidth_bps);
    if (memchr(c->cname, 0, sizeof c->cname) == NULL)
        return rt_err_set(-EINVAL, "cname is longer than %zu bytes", sizeof c->cname - 1);
    return 0;
}

static int check_nack(const shm_rtp_config_t *c)
{
    if (c->flags & (SHM_RTP_NACK_SEND | SHM_RTP_NACK_RECEIVE) && c->rtcp == SHM_RTP_RTCP_OFF)
        return rt_err_set(-EINVAL, "NACK needs RTCP, which is off: switch it on");
    return 0;
}

int shm_rtp_config_check(const shm_rtp_config_t *c)
{
    int rc = shm_check_config_bytes("RTP", c->config_bytes, sizeof *c);
    rc = rc ? rc : check_stream(c);
    rc = rc ? rc : check_numbers(c);
    rc = rc ? rc : check_rtcp(c);
    return rc ? rc : check_nack(c);
}
