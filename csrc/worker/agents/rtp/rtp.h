/* rtp.h: the engine "rtp": it sends a media stream on the grid of its clock, receives another one
 * through its jitter buffer into the rx ring, and runs RTCP for both. shm/rtp_shm.h describes what
 * clients and worker share. Used by its parts only:
 *
 *   agent.c    life: open, close, hold, release, purge, gauges
 *   plan.c     records -> packets on the grid
 *   tx.c       tx ring -> plan -> socket
 *   rx.c       socket -> source, jitter buffer -> rx ring
 *   sockets.c  the pair of sockets: opened, kept for a successor
 *   rtcp.c     reports, goodbyes, NACK
 *
 * Times are CLOCK_MONOTONIC if a name says so, otherwise in the channel's clock. */
#ifndef RTP_AGENT_H
#define RTP_AGENT_H

#include "proto/pacing/catch_up.h"
#include "worker/agents/common/send.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/rtp/plan.h"
#include "worker/agents/rtp/control.h"
#include "worker/agents/rtp/receiver.h"

enum { RTP_AGENT_BATCH = 16 }; /* most packets in one send call */

typedef struct rtp_agent {
    shm_rtp_config_t config; /* with the defaults filled in */
    shm_rtp_state_t *state;
    udp_t udp;
    wrk_source_t socket;
    const phc_t *phc; /* NULL: none */
    agent_path_t path;

    /* The address of this host that the remote sends to: packets leave from there. Not set: there
     * is one, or the remote has sent nothing yet. In both forms. */
    shm_addr_t asked;
    udp_addr_t asked_at;

    /* sending */
    rtp_plan_t plan;
    rtp_plan_t before[RTP_AGENT_BATCH]; /* each packet of the batch: for the kernel's refusals */
    bool ends_record[RTP_AGENT_BATCH];
    agent_batch_t batch;
    catch_up_t left;    /* of the packets that left: due in the channel's clock, start mono */
    catch_up_t planned; /* and with those of the batch */
    catch_up_t after[RTP_AGENT_BATCH]; /* each packet of the batch */
    agent_ledger_t ledger;
    agent_block_t block; /* the kernel has no room */
    agent_purge_t purge;
    uint64_t purge_ref;       /* the records before it are cancelled */
    int64_t searched_mono_ns; /* for the next record */
    uint8_t *filling;         /* one packet, header included; NULL: none is ever sent */

    rtp_receiver_t rx;
    rtp_control_t control;

    /* The part of the parts' own counters that is in the state already. */
    uint64_t published[SHM_RTP_COUNTER_TOTAL];
} rtp_agent_t;

static inline rtp_agent_t *rtp_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

static inline void rtp_agent_count(rtp_agent_t *a, shm_rtp_counter_id_t id, uint64_t n)
{
    rt_bump(&a->state->counters[id], n);
}

/* Sets a part's own counter to this value. One that decreased is not counted below 0. */
static inline void rtp_agent_publish_counter(rtp_agent_t *a, shm_rtp_counter_id_t id, uint64_t now)
{
    int64_t step = (int64_t)(now - a->published[id]);
    int64_t value = (int64_t)rt_load_relaxed(&a->state->counters[id]) + step;
    a->published[id] = now;
    rt_store_relaxed(&a->state->counters[id], value > 0 ? (uint64_t)value : 0);
}

static inline void rtp_agent_gauge(rtp_agent_t *a, shm_rtp_gauge_id_t id, int64_t value)
{
    rt_store_relaxed(&a->state->gauges[id], value);
}

/* Whether the media socket is read. */
static inline bool rtp_agent_listens(const wrk_channel_t *ch)
{
    const rtp_agent_t *a = rtp_agent_of(ch);
    return (a->rx.on || a->control.mux) && !ch->held;
}

/* NULL: not known. */
static inline void rtp_agent_set_asked(rtp_agent_t *a, const shm_addr_t *local)
{
    a->asked = local != NULL ? *local : (shm_addr_t){.family = 0};
    agent_addr_in(&a->asked_at, &a->asked);
}

/* --- sockets --- */

int rtp_agent_open_sockets(wrk_channel_t *ch);
void rtp_agent_watch(wrk_channel_t *ch); /* depends on direction, held and block */

/* --- sending --- */

int rtp_agent_tx_open(wrk_channel_t *ch, int64_t now_mono_ns);
unsigned rtp_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns);
void rtp_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t rtp_agent_tx_deadline_ns(const wrk_channel_t *ch);
void rtp_agent_unblock(wrk_channel_t *ch, int64_t now_mono_ns);
/* Transmission stops here. When it continues it begins with a talk spurt. */
void rtp_agent_tx_hold(wrk_channel_t *ch);
void rtp_agent_tx_release(wrk_channel_t *ch, int64_t now_mono_ns);
int rtp_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);
void rtp_agent_tx_gauges(wrk_channel_t *ch);

/* --- receiving --- */

int rtp_agent_rx_open(wrk_channel_t *ch);
void rtp_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns);
/* A datagram of the media socket, as agent_path_t.deliver. */
bool rtp_agent_arrived(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);
/* Delivers what is due by now. */
void rtp_agent_play(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t rtp_agent_rx_deadline_ns(const wrk_channel_t *ch);
/* The source said goodbye: readers get that after all frames that came before it. */
void rtp_agent_source_left(wrk_channel_t *ch, int64_t now_mono_ns);
/* Puts counters and gauges into the state, including RTCP's. */
void rtp_agent_publish_stats(wrk_channel_t *ch);
void rtp_agent_rx_reset(wrk_channel_t *ch);
void rtp_agent_rx_refresh(wrk_channel_t *ch);

/* --- RTCP --- */

/* Opens the RTCP socket if there is one. Called before everything else. fd: one to continue with,
 * owned from now on, also on failure; or -1. */
int rtp_agent_rtcp_socket(wrk_channel_t *ch, int fd);
int rtp_agent_rtcp_open(wrk_channel_t *ch, int64_t now_mono_ns);
void rtp_agent_rtcp_close(wrk_channel_t *ch);
void rtp_agent_rtcp_watch(wrk_channel_t *ch);
/* Returns whether the source has said goodbye. */
bool rtp_agent_on_rtcp(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);
/* Sends the reports and requests that are due. */
void rtp_agent_rtcp_due(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t rtp_agent_rtcp_deadline_ns(const wrk_channel_t *ch);
/* Leaves the session. The next media packet joins again. */
void rtp_agent_bye(wrk_channel_t *ch, int64_t now_mono_ns);
/* A media packet has left, with its header. */
void rtp_agent_media_sent(rtp_agent_t *a, const uint8_t *packet, uint32_t bytes,
                          int64_t now_mono_ns);
/* A packet of the source came. Returns whether it had been requested. */
bool rtp_agent_note_valid(rtp_agent_t *a, rtp_verdict_t verdict, uint32_t ssrc, uint64_t seq,
                          int64_t now_mono_ns);
/* Delivered packets need not be requested any more. */
void rtp_agent_note_played(rtp_agent_t *a);
void rtp_agent_rtcp_publish_stats(rtp_agent_t *a);

#endif
