/* rtp_agent_rtcp.h: what goes beside the media: reports, goodbyes, and packets asked for again. */
#ifndef RTP_AGENT_RTCP_H
#define RTP_AGENT_RTCP_H

#include "proto/rtp/rtcp.h"
#include "proto/rtp/rtcp_schedule.h"
#include "proto/rtp/rtp_nack.h"
#include "shm/rtp_shm.h"
#include "worker/agent.h"

enum { RTP_AGENT_MEMBERS = 128 }; /* of a session that are told apart */

typedef struct rtp_member {
    uint32_t ssrc;
    int64_t heard_mono_ns;
    int64_t sent_mono_ns; /* media, as its SRs show; 0: never */
} rtp_member_t;

typedef struct rtp_control {
    bool on;
    bool mux;
    bool open; /* a socket of its own: */
    udp_t udp;
    wrk_source_t socket;
    udp_addr_t remote;          /* not set: the media's, or as heard */
    udp_addr_t heard;           /* where the last sound compound came from */
    bool left;                  /* BYE was said, and nothing sent since */
    bool spoken;                /* a compound or a media packet has left */
    int64_t media_sent_mono_ns; /* last; 0: never */
    uint64_t reported_valid;    /* packets of the source up to the last report */
    rtcp_schedule_config_t schedule_config;
    rtcp_schedule_t schedule;
    uint32_t member_count;
    rtp_member_t members[RTP_AGENT_MEMBERS];
    char cname[SHM_RTP_CNAME_BYTES];

    /* NACK: what we ask for */
    bool asks;
    rtp_nack_receiver_t missing;
    /* NACK: what we are asked for */
    rtp_history_t history;
    void *history_memory; /* NULL: nothing is sent again */
    double resend_tokens;
    int64_t resend_tokens_at_mono_ns;
} rtp_control_t;

#endif
