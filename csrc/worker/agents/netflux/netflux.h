/* netflux.h: the engine "netflux": cyclic exchange of the latest values with one partner.
 * Used by its parts only:
 *
 *   agent.c    life: open, close, hold, release, duties
 *   state.c    how a link begins, or continues after a dead worker
 *   tx.c       out box -> session -> socket, in cycles
 *   rx.c       socket -> session -> in box and rx ring
 *   request.c  client requests, and the death of the values' writer
 *
 *                       out box                     in box   rx ring
 *                          | look at it                ^        ^
 *                          v                           |        |
 *     deadline ---> [ values | fail-safe ]         publish    record
 *                          |                           ^        ^
 *                          v        nfx_session_t      |        | events
 *                   header + payload <--- emit    receive ------+
 *                          |                           ^
 *                          v                           |
 *                        socket, or the impaired path, both ways
 *
 * What a successor needs is in the engine's part of the segment: settings, remote, origin of the
 * grid and fail-safe values in the state, numbers and flags in the gauges. A gauge is written
 * before the datagram that it describes is sent, so no number is sent twice.
 *
 * Times are CLOCK_MONOTONIC, except those of stamps, records and reports, which are in the
 * channel's clock. */
#ifndef NETFLUX_AGENT_H
#define NETFLUX_AGENT_H

#include "proto/netflux/nfx_session.h"
#include "shm/netflux_shm.h"
#include "worker/agents/common/receive.h"
#include "worker/agents/common/rhythm.h"
#include "worker/agents/common/send.h"

/* A record of the rx ring under construction. Its values are those of the in box. */
typedef struct netflux_record {
    shm_netflux_rx_t head;
    uint8_t values[SHM_NETFLUX_MAX_PAYLOAD];
} netflux_record_t;

typedef struct netflux_agent {
    udp_t udp;
    wrk_source_t socket;
    const phc_t *phc; /* NULL: none */
    bool sends;
    bool receives;
    uint8_t *engine;
    shm_netflux_config_t config;
    shm_netflux_state_t state; /* as last put */
    nfx_session_t session;

    /* sending */
    udp_addr_t remote; /* none: nothing is sent. Set by netflux_agent_set_remote */
    udp_addr_t
        local; /* what the partner sends to: values leave from there. Not set: there is one */
    bool has_values;
    uint64_t ticket; /* of the values; 0: none yet */
    uint32_t writer; /* producer slot of their writer */
    int64_t written_ns;
    agent_rhythm_t rhythm;
    uint64_t sequence;       /* of the next report */
    agent_ledger_t ledger;
    agent_batch_t batch;
    agent_block_t block;                      /* never lasts: the next cycle has newer values */
    uint8_t datagram[NFX_MAX_DATAGRAM_BYTES]; /* a header, then the values */
    uint8_t failsafe[NFX_MAX_DATAGRAM_BYTES];

    /* receiving */
    bool unpublished;    /* records were put that readers do not see yet */
    netflux_record_t record;
    agent_receiver_t receiver;

    agent_path_t path;
} netflux_agent_t;

static inline netflux_agent_t *netflux_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

/* Fills state and session from the configuration or from the predecessor's state. config and engine
 * are set. Returns 0 or -EINVAL with a text. */
int netflux_agent_session_open(wrk_channel_t *ch, int64_t now_mono_ns);

/* --- sending --- */

void netflux_agent_tx_open(wrk_channel_t *ch, int64_t now_mono_ns);
/* Called shortly before a send: touches the memory that it will use. Returns false if there is
 * nothing to prepare, or no time for it. */
bool netflux_agent_prepare(wrk_channel_t *ch, int64_t now_mono_ns);
/* Serves the send grid and the watchdogs. May spin for the last AGENT_LEAD_NS. */
void netflux_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t netflux_agent_tx_deadline_ns(const wrk_channel_t *ch);
/* Takes over values that were put into the out box since the last check. After the first values the
 * channel no longer needs to be rung for them. */
void netflux_agent_check_values(wrk_channel_t *ch, int64_t now_mono_ns);
/* From now on values are sent, or waited for. */
void netflux_agent_resume(wrk_channel_t *ch, int64_t now_mono_ns);

/* --- receiving --- */

void netflux_agent_rx_open(wrk_channel_t *ch);
/* Reads arrivals: one batch, or all of them if the watchdog waits for that. */
void netflux_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns);
/* An arrival that left the impaired path. As agent_path_t.deliver. */
bool netflux_agent_arrived(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);
/* What the partner sends to, NULL: not known. The caller puts the state. */
void netflux_agent_set_local(netflux_agent_t *a, const shm_addr_t *local);
/* Puts records of the link's changes. */
void netflux_agent_put_events(wrk_channel_t *ch);
/* Makes new records visible to readers, and wakes them. */
void netflux_agent_publish(wrk_channel_t *ch);

/* --- requests --- */

nfx_config_t netflux_agent_session_config(const shm_netflux_config_t *config,
                                          const shm_netflux_settings_t *settings);
void netflux_agent_set_remote(netflux_agent_t *a, const udp_addr_t *remote);
/* From now on sends to state.remote. Returns 0 or -errno with a text, and then nothing changed. */
int netflux_agent_aim(wrk_channel_t *ch, const shm_addr_t *remote);
/* Checks state.feedback. Returns 0 or -EINVAL with a text. */
int netflux_agent_feedback_check(uint32_t feedback);
int netflux_agent_request(wrk_channel_t *ch, const uint8_t *body, size_t bytes, uint8_t *reply,
                          uint32_t *reply_bytes);
void netflux_agent_producer_gone(wrk_channel_t *ch, uint32_t slot, int64_t now_mono_ns);

#endif
