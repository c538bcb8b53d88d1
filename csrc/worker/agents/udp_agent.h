/* udp_agent.h: the engine "udp": timed transmission and stamped reception on one socket. Shared by
 * its parts only:
 *
 *   udp_agent.c          life: open, close, hold, release, purge, gauges
 *   udp_agent_config.c   channel configuration -> socket configuration, addresses; the engine "mux"
 *                        uses it, too
 *   udp_agent_tx.c       tx ring -> schedule -> socket
 *   udp_agent_verdict.c  what became of each packet: counters, histograms, reports, stamps
 *   udp_agent_rx.c       socket -> rx ring
 *   udp_agent_link.c     the emulated link in either direction
 *
 * Times are CLOCK_MONOTONIC where a name says so, else the channel's clock. */
#ifndef UDP_AGENT_H
#define UDP_AGENT_H

#include "proto/impair/impair.h"
#include "proto/pacing/due_heap.h"
#include "proto/pacing/verdict.h"
#include "proto/pacing/wire_offset.h"
#include "worker/agent.h"

enum {
    UDP_AGENT_BATCH = 64,   /* packets in one send or receive call, at most */
    UDP_AGENT_STAMPS = 256, /* sent packets whose stamp is awaited, at most */
};

/* OVERFLOW_WAIT: a full ring is looked at again after this. */
#define UDP_AGENT_RX_RETRY_NS RT_NS_PER_MS

/* A sent packet whose stamp is not there yet. */
typedef struct udp_awaited {
    shm_report_t report;
    int64_t send_start_mono_ns;
    uint32_t stamp_id;
    bool teaches; /* the way to the wire is learnt from it */
    bool settled;
} udp_awaited_t;

/* A packet without a deadline, taken in and not yet sent. */
typedef struct udp_ready {
    uint64_t ref;
    int64_t queued_mono_ns; /* that is when it is due */
} udp_ready_t;

/* Packets that go out together. */
typedef struct udp_batch {
    unsigned count;
    tx_item_t items[UDP_AGENT_BATCH];
    int64_t start_mono_ns[UDP_AGENT_BATCH]; /* when each ought to start, 0: as soon as possible */
    udp_tx_t messages[UDP_AGENT_BATCH];
    udp_addr_t dests[UDP_AGENT_BATCH];
} udp_batch_t;

typedef struct udp_agent {
    udp_t udp;
    wrk_source_t socket;
    const phc_t *phc; /* NULL: none */
    bool sends;
    bool receives;
    bool held;

    /* sending */
    due_heap_t schedule; /* due times in the channel's clock, order by sequence */
    udp_ready_t ready[UDP_AGENT_BATCH]; /* in the order of the ring */
    unsigned ready_count;
    bool blocked;         /* the kernel has no room */
    uint64_t refused_ref; /* of the packet it refused; verdict: send_slow */
    int64_t retry_mono_ns;
    int64_t retry_after_ns;
    bool purging;
    uint64_t purge_before; /* sequence */
    int64_t send_cost_ns;  /* per packet, smoothed */
    udp_batch_t batch;

    /* stamps of sent packets */
    wire_offset_t wire;
    uint32_t unstamped;        /* packets since the last one that was to be stamped */
    bool stamp_next;           /* the second of a pair is to come */
    bool last_message_stamped; /* of those sent */
    double stamp_tokens;
    int64_t stamp_tokens_at_mono_ns;
    udp_awaited_t awaited[UDP_AGENT_STAMPS];
    uint32_t awaited_head; /* oldest */
    uint32_t awaited_count;
    uint64_t net_errors_seen;

    /* receiving */
    bool rx_stopped; /* OVERFLOW_WAIT: readers must catch up first */
    int64_t rx_retry_mono_ns;
    uint64_t drops_base;  /* the kernel's count when statistics were reset */
    udp_addr_t only_from; /* set: everything else is filtered */
    udp_rx_t arrivals[UDP_AGENT_BATCH];

    /* emulated link */
    impair_t *link_tx; /* NULL: none */
    impair_t *link_rx;
    void *link_memory[2];
    impair_counters_t link_base[2]; /* counts at the last statistics reset */
    int64_t link_rx_retry_mono_ns;  /* OVERFLOW_WAIT: nothing comes out of link_rx before this */
    uint64_t link_refused;          /* came out of it, and the kernel had no room */
} udp_agent_t;

static inline udp_agent_t *udp_agent_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

/* --- configuration --- */

void udp_agent_addr_in(udp_addr_t *out, const shm_addr_t *in);
void udp_agent_addr_out(shm_addr_t *out, const udp_addr_t *in);
udp_config_t udp_agent_config(wrk_channel_t *ch, const phc_t *phc);

/* --- sending --- */

unsigned udp_agent_take_in(wrk_channel_t *ch, int64_t now_mono_ns);
/* Gives cancelled packets their verdict and frees finished space, a piece of it. Returns how many
 * records it looked at or freed. */
unsigned udp_agent_free_space(wrk_channel_t *ch, int64_t now_mono_ns);
void udp_agent_send_due(wrk_channel_t *ch, int64_t now_mono_ns);
void udp_agent_unblock(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t udp_agent_tx_deadline_ns(const wrk_channel_t *ch);
int udp_agent_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);

/* --- verdicts --- */

/* When the packet was queued, as far as that can be believed: not ahead of now. */
int64_t udp_agent_enqueued_mono_ns(const tx_item_t *item, int64_t now_mono_ns);
/* Packets that end without having been sent. error: errno of VERDICT_FAILED. */
void udp_agent_not_sent(wrk_channel_t *ch, const tx_item_t *item, verdict_t verdict, int error,
                        int64_t now_mono_ns);
/* What tx_queue_next or tx_queue_take said of an item that cannot be sent. */
void udp_agent_refused(wrk_channel_t *ch, const tx_item_t *item, int why, int64_t now_mono_ns);
/* Packets first .. first + count - 1 of the batch left in one call. */
void udp_agent_sent(wrk_channel_t *ch, const udp_batch_t *batch, unsigned first, unsigned count,
                    int64_t start_mono_ns, int64_t end_mono_ns);
/* Chooses the packets of the batch that are to be stamped. */
void udp_agent_choose_stamps(wrk_channel_t *ch, int64_t now_mono_ns);
void udp_agent_collect_stamps(wrk_channel_t *ch, int64_t now_mono_ns);
/* All that still waits goes out without a stamp. */
void udp_agent_give_up_stamps(wrk_channel_t *ch);
int64_t udp_agent_stamp_deadline_ns(const wrk_channel_t *ch);

/* --- receiving --- */

void udp_agent_receive(wrk_channel_t *ch, int64_t now_mono_ns);
void udp_agent_watch_input(wrk_channel_t *ch); /* by held, rx_stopped and blocked */
/* OVERFLOW_WAIT: looks whether reading may go on. */
void udp_agent_rx_retry(wrk_channel_t *ch, int64_t now_mono_ns);
/* One packet into the ring. Returns false when it must wait (OVERFLOW_WAIT). */
bool udp_agent_deliver(wrk_channel_t *ch, const rx_item_t *item);

/* --- emulated link --- */

int udp_agent_link_open(wrk_channel_t *ch);
void udp_agent_link_close(wrk_channel_t *ch);
void udp_agent_link_clear(wrk_channel_t *ch);
void udp_agent_link_reset(wrk_channel_t *ch);
/* Offers packets of the batch instead of handing them to the kernel. Takes all of them. */
void udp_agent_link_offer_tx(wrk_channel_t *ch, const udp_batch_t *batch, int64_t now_mono_ns);
void udp_agent_link_offer_rx(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);
/* Lets out what is due in either direction. */
void udp_agent_link_emit(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t udp_agent_link_deadline_ns(const wrk_channel_t *ch);
void udp_agent_link_counters(wrk_channel_t *ch);

#endif
