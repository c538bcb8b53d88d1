/* control.h: what accompanies the media: an RTCP session, its socket, and the packets that are kept
 * for retransmission. */
#ifndef RTP_AGENT_RTCP_H
#define RTP_AGENT_RTCP_H

#include "proto/rtp/rtcp_session.h"
#include "shm/rtp_shm.h"
#include "worker/agent.h"

typedef struct rtp_control {
    bool on;
    bool mux;
    int park;  /* keeps both sockets for a successor; -1: RTCP has no socket of its own */
    bool open; /* a socket of its own: */
    udp_t udp;
    wrk_source_t socket;
    udp_addr_t remote; /* not set: uses heard */
    udp_addr_t heard;  /* source of the last valid compound, or of the media */
    udp_addr_t heard_at; /* what it was sent to: answers leave from there. Not set: there is one */
    rtcp_session_t session;
    rtcp_member_t *members;

    /* packets that others may ask for */
    rtp_history_t history;
    void *history_memory; /* NULL: no retransmissions */
    double resend_tokens;
    int64_t resend_tokens_at_mono_ns;
} rtp_control_t;

#endif
