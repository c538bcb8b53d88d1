/* ledger.h: counts, measures and reports each packet. Shared by the engines that send at deadlines.
 *
 * Every packet ends in agent_not_sent, agent_refused or agent_sent, exactly once. A report whose
 * packet gets a stamp waits in the ledger for it. Times are CLOCK_MONOTONIC if a name says so,
 * otherwise in the channel's clock. */
#ifndef AGENT_LEDGER_H
#define AGENT_LEDGER_H

#include "proto/pacing/verdict.h"
#include "proto/pacing/wire_offset.h"
#include "worker/agents/common/purge.h"

enum {
    AGENT_BATCH = 64,   /* most packets in one send or receive call */
    AGENT_STAMPS = 256, /* most sent packets that wait for their stamp */
    AGENT_STRAYS = 64,
};

/* Packets that go out together. */
typedef struct agent_batch {
    unsigned count;
    tx_item_t items[AGENT_BATCH];
    int64_t start_mono_ns[AGENT_BATCH]; /* when each should start, 0: as soon as possible */
    udp_tx_t messages[AGENT_BATCH];
    udp_addr_t dests[AGENT_BATCH];
    udp_addr_t sources[AGENT_BATCH];
} agent_batch_t;

/* Sets dest and source of a message from its item. */
void agent_batch_address(agent_batch_t *b, unsigned index);

/* A sent packet whose stamp has not come yet. */
typedef struct agent_awaited {
    shm_report_t report;
    bool keeps_late;   /* for observers; then: */
    uint32_t producer; /* slot, and its owner */
    uint32_t producer_pid;
    int64_t send_start_mono_ns;
    int64_t sent_until_mono_ns;
    uint64_t tap_number; /* 0: not tapped */
    uint32_t stamp_id;
    bool teaches; /* the wire offset is learnt from it */
    bool settled;
} agent_awaited_t;

typedef struct agent_ledger {
    udp_t *udp;
    bool unstamped_path;  /* packets leave through an impaired path: no stamp would be theirs */
    uint64_t refused_ref; /* of the packet that the kernel refused; verdict: send_slow */
    wire_offset_t wire;
    uint32_t unstamped;        /* packets since the last one with a stamp */
    bool stamp_next;           /* the second of a pair comes next */
    bool last_message_stamped; /* of those sent */
    double stamp_tokens;
    int64_t stamp_tokens_at_mono_ns;
    agent_awaited_t awaited[AGENT_STAMPS];
    uint32_t awaited_head; /* oldest */
    uint32_t awaited_count;
} agent_ledger_t;

/* udp: all zero if the engine has no socket. */
void agent_ledger_init(agent_ledger_t *l, udp_t *udp, bool unstamped_path, int64_t now_mono_ns);

/* When the packet was queued. Trusts the producer's timestamp unless it is in the future. */
int64_t agent_enqueued_mono_ns(const tx_item_t *item, int64_t now_mono_ns);
/* Packets that end without being sent. error: errno of VERDICT_FAILED. */
void agent_not_sent(wrk_channel_t *ch, const tx_item_t *item, verdict_t verdict, int error,
                    int64_t now_mono_ns);
/* As agent_end_t. */
void agent_refused(wrk_channel_t *ch, const tx_item_t *item, int why, int64_t now_mono_ns);
/* For engines that do not use the tx ring: a packet that is queued there anyway gets the verdict
 * failed. Examines up to AGENT_STRAYS. Returns how many: below that, none is left. */
unsigned agent_fail_strays(wrk_channel_t *ch, int64_t now_mono_ns);
/* Packets first .. first + count - 1 of the batch left in one call. The caller finishes their
 * records. */
void agent_sent(wrk_channel_t *ch, agent_ledger_t *l, const agent_batch_t *batch, unsigned first,
                unsigned count, int64_t start_mono_ns, int64_t end_mono_ns);

/* Chooses the packets of the batch that get a stamp. */
void agent_choose_stamps(wrk_channel_t *ch, agent_ledger_t *l, agent_batch_t *batch,
                         int64_t now_mono_ns);
void agent_collect_stamps(wrk_channel_t *ch, agent_ledger_t *l, int64_t now_mono_ns);
/* EPOLLERR of the ledger's socket: stamps came, or the ICMP error of an earlier packet. */
void agent_take_errors(wrk_channel_t *ch, agent_ledger_t *l, int64_t now_mono_ns);
/* Reports everything that still waits without a stamp. */
void agent_give_up_stamps(wrk_channel_t *ch, agent_ledger_t *l);
/* If a stamp is overdue. */
void agent_collect_overdue_stamps(wrk_channel_t *ch, agent_ledger_t *l, int64_t now_mono_ns);
int64_t agent_stamp_deadline_ns(const agent_ledger_t *l);

/* Bounds on times that are converted with the channel's clock: within them no sum overflows. */
int64_t agent_bounded_due(int64_t due_ns);

/* What to add to a packet's deadline to get its start on CLOCK_MONOTONIC. */
int64_t agent_start_shift_ns(const wrk_channel_t *ch, const agent_ledger_t *l);

/* If the queueing discipline launches packets itself (txtime), they are handed over this long
 * before the start, without spinning. */
#define AGENT_HANDOVER_AHEAD_NS (1500 * RT_NS_PER_US)

static inline void agent_spin_until(int64_t start_mono_ns)
{
    while (rt_mono_ns() < start_mono_ns)
        rt_cpu_relax();
}

#endif
