/* ledger.h: what became of each packet: counted, measured, reported. Shared by the engines
 * that send at deadlines.
 *
 * Every packet ends in agent_not_sent, agent_refused or agent_sent, exactly once. A report whose
 * packet was to be stamped waits in the ledger for the stamp. Times are CLOCK_MONOTONIC where a
 * name says so, else the channel's clock. */
#ifndef AGENT_LEDGER_H
#define AGENT_LEDGER_H

#include "proto/pacing/verdict.h"
#include "proto/pacing/wire_offset.h"
#include "worker/agents/common/purge.h"

enum {
    AGENT_BATCH = 64,   /* packets in one send or receive call, at most */
    AGENT_STAMPS = 256, /* sent packets whose stamp is awaited, at most */
};

/* Packets that go out together. */
typedef struct agent_batch {
    unsigned count;
    tx_item_t items[AGENT_BATCH];
    int64_t start_mono_ns[AGENT_BATCH]; /* when each ought to start, 0: as soon as possible */
    udp_tx_t messages[AGENT_BATCH];
    udp_addr_t dests[AGENT_BATCH];
} agent_batch_t;

/* A sent packet whose stamp is not there yet. */
typedef struct agent_awaited {
    shm_report_t report;
    bool keeps_late;   /* for those who look on; then: */
    uint32_t producer; /* slot, and whose it was */
    uint32_t producer_pid;
    int64_t send_start_mono_ns;
    int64_t sent_until_mono_ns;
    uint64_t tap_number; /* 0: nobody tapped it */
    uint32_t stamp_id;
    bool teaches; /* the way to the wire is learnt from it */
    bool settled;
} agent_awaited_t;

typedef struct agent_ledger {
    udp_t *udp;
    bool unstamped_path;  /* packets leave through an impaired path: no stamp would be theirs */
    uint64_t refused_ref; /* of the packet the kernel refused; verdict: send_slow */
    wire_offset_t wire;
    uint32_t unstamped;        /* packets since the last one that was to be stamped */
    bool stamp_next;           /* the second of a pair is to come */
    bool last_message_stamped; /* of those sent */
    double stamp_tokens;
    int64_t stamp_tokens_at_mono_ns;
    agent_awaited_t awaited[AGENT_STAMPS];
    uint32_t awaited_head; /* oldest */
    uint32_t awaited_count;
} agent_ledger_t;

/* udp: all zero if the engine has no socket. Returns 0 or -EINVAL with a text. */
int agent_ledger_init(agent_ledger_t *l, udp_t *udp, bool unstamped_path, int64_t now_mono_ns);

/* When the packet was queued, as far as that can be believed: not ahead of now. */
int64_t agent_enqueued_mono_ns(const tx_item_t *item, int64_t now_mono_ns);
/* Packets that end without having been sent. error: errno of VERDICT_FAILED. */
void agent_not_sent(wrk_channel_t *ch, const tx_item_t *item, verdict_t verdict, int error,
                    int64_t now_mono_ns);
/* As agent_end_t. */
void agent_refused(wrk_channel_t *ch, const tx_item_t *item, int why, int64_t now_mono_ns);
/* Packets first .. first + count - 1 of the batch left in one call. Their records are the caller's
 * to finish. */
void agent_sent(wrk_channel_t *ch, agent_ledger_t *l, const agent_batch_t *batch, unsigned first,
                unsigned count, int64_t start_mono_ns, int64_t end_mono_ns);

/* Chooses the packets of the batch that are to be stamped. */
void agent_choose_stamps(wrk_channel_t *ch, agent_ledger_t *l, agent_batch_t *batch,
                         int64_t now_mono_ns);
void agent_collect_stamps(wrk_channel_t *ch, agent_ledger_t *l, int64_t now_mono_ns);
/* All that still waits goes out without a stamp. */
void agent_give_up_stamps(wrk_channel_t *ch, agent_ledger_t *l);
int64_t agent_stamp_deadline_ns(const agent_ledger_t *l);

/* Times on their way through the channel's clock: within these no sum of them overflows. */
int64_t agent_bounded_due(int64_t due_ns);

/* What to add to a packet's deadline to get its start on CLOCK_MONOTONIC. */
int64_t agent_start_shift_ns(const wrk_channel_t *ch, const agent_ledger_t *l);

/* Where the queueing discipline launches packets by itself (txtime), they are handed over so much
 * before the start, and nobody spins. */
#define AGENT_HANDOVER_AHEAD_NS (1500 * RT_NS_PER_US)

static inline void agent_spin_until(int64_t start_mono_ns)
{
    while (rt_mono_ns() < start_mono_ns)
        rt_cpu_relax();
}

#endif
