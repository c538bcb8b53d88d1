/* udp.h: the engine "udp": timed transmission and timestamped reception on one socket. Used by its
 * parts only:
 *
 *   agent.c  life: open, close, hold, release, purge, gauges
 *   tx.c     tx ring -> schedule -> socket
 *   rx.c     socket -> rx ring
 *
 * Times are CLOCK_MONOTONIC if a name says so, otherwise in the channel's clock. */
#ifndef UDP_AGENT_H
#define UDP_AGENT_H

#include "worker/agents/common/receive.h"
#include "worker/agents/common/send.h"
#include "worker/agents/udp/schedule.h"

/* A packet as it was when it was taken in. Clients can write to its header: the values that were
 * read from it once are used, also to put the packet back. */
typedef struct udp_waiting {
    due_entry_t entry; /* due_ns without a deadline: when it was queued, CLOCK_MONOTONIC */
    bool has_deadline; /* it came from the schedule, otherwise from ready[] */
} udp_waiting_t;

typedef struct udp_agent {
    udp_t udp;
    wrk_source_t socket;
    const phc_t *phc; /* NULL: none */
    bool sends;
    bool receives;

    /* sending */
    udp_schedule_t schedule;        /* due times in the channel's clock, order by sequence */
    due_entry_t ready[AGENT_BATCH]; /* without a deadline, in the order of the ring */
    unsigned ready_count;
    bool catching_up;          /* after a stall: the ring is taken in before anything is sent */
    uint32_t catch_up_before;  /* sequence up to which it is taken in */
    int64_t caught_up_mono_ns; /* the last part of that */
    agent_block_t block;       /* the kernel has no room */
    agent_purge_t purge;
    int64_t send_cost_ns;  /* per packet, smoothed */
    agent_batch_t batch;
    udp_waiting_t from[AGENT_BATCH]; /* where the packets of the batch came from */
    agent_ledger_t ledger;

    /* receiving */
    agent_stop_t stop; /* OVERFLOW_WAIT: readers must catch up first */
    agent_receiver_t receiver;

    agent_path_t path;
} udp_agent_t;

static inline udp_agent_t *udp_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

/* --- sending --- */

unsigned udp_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns);
/* As agent_free_space. */
unsigned udp_agent_free_space(wrk_channel_t *ch, int64_t now_mono_ns);
void udp_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns);
void udp_agent_unblock(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t udp_agent_tx_deadline_ns(const wrk_channel_t *ch);
int udp_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);

/* --- receiving --- */

void udp_agent_rx_open(wrk_channel_t *ch);
void udp_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns);
/* Handles datagrams that a predecessor took from the kernel and did not publish: no event announces
 * them. */
void udp_agent_take_left(wrk_channel_t *ch, int64_t now_mono_ns);
void udp_agent_watch_input(wrk_channel_t *ch); /* depends on held, stop and block */
/* OVERFLOW_WAIT: checks whether reading may continue. */
void udp_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns);
/* Puts one packet into the ring. Returns false if it must wait (OVERFLOW_WAIT). */
bool udp_agent_deliver(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);

#endif
