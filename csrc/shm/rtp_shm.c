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

static int check_source(const shm_rtp_config_t *c)
{
    int rc = shm_check_range("min_sequential", c->min_sequential, 0, 1000);
    rc = rc ? rc : shm_check_range("max_dropout", c->max_dropout, 0, 32767);
    rc = rc ? rc : shm_check_range("max_misorder", c->max_misorder, 0, 32767);
    return rc ? rc : shm_check_range("switch_silence_ns", c->switch_silence_ns, 0, 3600 * RT_NS_PER_S);
}

static int check_buffer(const shm_rtp_config_t *c)
{
    if (!(c->percentile >= 0.0 && c->percentile <= 1.0))
        return rt_err_set(-EINVAL, "percentile is %g; it must be above 0 and at most 1", c->percentile);
    int64_t most = 60 * RT_NS_PER_S;
    int rc = shm_check_range("min_delay_ns", c->min_delay_ns, -1, most);
    rc = rc ? rc : shm_check_range("max_delay_ns", c->max_delay_ns, 0, most);
    rc = rc ? rc : shm_check_range("first_delay_ns", c->first_delay_ns, 0, most);
    rc = rc ? rc : shm_check_range("shrink_ns_per_s", c->shrink_ns_per_s, 0, RT_NS_PER_S);
    rc = rc ? rc : shm_check_range("conceal_ns", c->conceal_ns, -1, most);
    return rc ? rc : shm_check_range("resync_ns", c->resync_ns, 0, 10 * most);
}

static int check_rtcp(const shm_rtp_config_t *c)
{
    int rc = shm_check_range("rtcp", c->rtcp, 0, SHM_RTP_RTCP_NEXT_PORT);
    rc = rc ? rc : check_mux(c);
    rc = rc ? rc : shm_check_range("rtcp_interval_ns", c->rtcp_interval_ns, 0, 3600 * RT_NS_PER_S);
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
    int64_t most = 60 * RT_NS_PER_S;
    int rc = shm_check_range("history_packets", c->history_packets, 0, SHM_RTP_MAX_HISTORY);
    rc = rc ? rc : shm_check_range("nack_max_requests", c->nack_max_requests, 0, 100);
    rc = rc ? rc : shm_check_range("nack_first_wait_ns", c->nack_first_wait_ns, 0, most);
    rc = rc ? rc : shm_check_range("nack_retry_ns", c->nack_retry_ns, 0, most);
    rc = rc ? rc : shm_check_range("nack_give_up_ns", c->nack_give_up_ns, 0, most);
    if (rc == 0 && (c->history_packets & (c->history_packets - 1)))
        return rt_err_set(-EINVAL, "history_packets is %u; it must be a power of two or 0",
                          c->history_packets);
    return rc;
}

int shm_rtp_config_check(const shm_rtp_config_t *c)
{
    int rc = shm_check_config_bytes("RTP", c->config_bytes, sizeof *c);
    rc = rc ? rc : check_stream(c);
    rc = rc ? rc : check_source(c);
    rc = rc ? rc : check_buffer(c);
    rc = rc ? rc : check_rtcp(c);
    return rc ? rc : check_nack(c);
}
