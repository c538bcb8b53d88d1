/* control.h: what goes beside the media: an RTCP session, the socket it takes, and the
 * packets that are kept to be sent again. */
#ifndef RTP_AGENT_RTCP_H
#define RTP_AGENT_RTCP_H

#include "proto/rtp/rtcp_session.h"
#include "shm/rtp_shm.h"
#include "worker/agent.h"

typedef struct rtp_control {
    bool on;
    bool mux;
    int park;  /* keeps both sockets for a successor; -1: RTCP has none of its own */
    bool open; /* a socket of its own: */
    udp_t udp;
    wrk_source_t socket;
    udp_addr_t remote; /* not set: as heard */
    udp_addr_t heard;  /* where the last sound compound came from, or the media */
    rtcp_session_t session;
    rtcp_member_t *members;

    /* what others may ask for */
    rtp_history_t history;
    void *history_memory; /* NULL: nothing is sent again */
    double resend_tokens;
    int64_t resend_tokens_at_mono_ns;
} rtp_control_t;

#endif
