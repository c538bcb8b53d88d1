/* cyclic.h: the engine "cyclic": the newest payload in every cycle. Used by its parts only:
 *
 *   agent.c  life: open, close, hold, release, duties, requests, the death of the payload's writer
 *   tx.c     box -> cycle -> socket, or -> rx ring if the channel has no remote address
 *
 * Datagrams that arrive are passed on as in the engine udp (common/input.h).
 *
 *                 box               datagrams
 *                  | look at it          |
 *                  v                     v
 *     deadline -> [ payload | fail-safe ] -> verdict -> socket, impaired path or rx ring
 *
 * What a successor needs is in the engine's part of the segment: the payload in the box, the origin
 * of the grid and the number of the last cycle in the gauges. A client that overwrites them damages
 * only its own channel. */
#ifndef CYCLIC_AGENT_H
#define CYCLIC_AGENT_H

#include "proto/pacing/cycle.h"
#include "shm/cyclic_shm.h"
#include "worker/agents/common/input.h"
#include "worker/agents/common/rhythm.h"

typedef struct cyclic_payload {
    uint8_t *data; /* payload_bytes of memory */
    uint32_t bytes;
} cyclic_payload_t;

typedef struct cyclic_agent {
    udp_t udp; /* all zero without a remote address */
    wrk_source_t socket;
    const phc_t *phc; /* NULL: none */
    bool local;       /* no remote address: cycles go into the rx ring */
    shm_cyclic_config_t config;
    shm_cyclic_head_t *head;
    shm_box_t box;

    /* sending */
    cycle_t cycle;
    agent_rhythm_t rhythm;
    cyclic_payload_t payload[2]; /* the one in use, and room for the next */
    cyclic_payload_t failsafe;
    unsigned in_use; /* of payload */
    bool has_failsafe;
    shm_box_found_t found; /* of the payload in use; ticket 0: none yet */
    uint64_t stale_counted;
    int64_t early_ns; /* without a remote: how early the next cycle is shown */
    agent_ledger_t ledger;
    agent_batch_t batch;
    agent_block_t block; /* never lasts: the next cycle comes */
    cycle_out_t out;     /* the cycle of the batch */

    agent_input_t input;
    agent_path_t path;
} cyclic_agent_t;

static inline cyclic_agent_t *cyclic_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

static inline void cyclic_agent_count(cyclic_agent_t *a, shm_cyclic_counter_id_t id, uint64_t n)
{
    rt_bump(&a->head->counters[id], n);
}

/* Begins, or continues after a predecessor. */
void cyclic_agent_tx_open(wrk_channel_t *ch, int64_t now_mono_ns);
/* Sending stops or continues, as ch->held says. */
void cyclic_agent_tx_run(wrk_channel_t *ch, int64_t now_mono_ns);
/* Called shortly before a send: touches the memory that it will use. Returns false if there is
 * nothing to prepare, or no time for it. */
bool cyclic_agent_prepare(wrk_channel_t *ch, int64_t now_mono_ns);
/* Serves the grid. May spin for the last AGENT_LEAD_NS. */
void cyclic_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t cyclic_agent_tx_deadline_ns(const wrk_channel_t *ch);
/* Takes over a payload that was put since the last check. Returns whether there was one. */
bool cyclic_agent_check_payload(wrk_channel_t *ch, int64_t now_mono_ns);
/* The writer of this slot is gone. */
void cyclic_agent_writer_gone(wrk_channel_t *ch, uint32_t slot, int64_t now_mono_ns);
/* Shows the state of the payload in the counters and gauges. */
void cyclic_agent_show(wrk_channel_t *ch);
/* Sets the counters to zero. */
void cyclic_agent_reset(wrk_channel_t *ch);

#endif
