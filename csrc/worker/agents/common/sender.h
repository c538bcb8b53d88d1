/* sender.h: sends the packets of the tx ring, as they are, at their deadlines. Shared by the
 * engines "udp" and "local".
 *
 * The sender is the first member of the engine's state. Times are CLOCK_MONOTONIC if a name says
 * so, otherwise in the channel's clock. */
#ifndef AGENT_SENDER_H
#define AGENT_SENDER_H

#include "proto/pacing/catch_up.h"
#include "worker/agents/common/schedule.h"
#include "worker/agents/common/send.h"

/* A packet as it was when it was taken in. Clients can write to its header: the values that were
 * read from it once are used, also to put the packet back. */
typedef struct agent_waiting {
    due_entry_t entry; /* due_ns without a deadline: when it was queued, CLOCK_MONOTONIC */
    bool has_deadline; /* it came from the schedule, otherwise from ready[] */
    catch_up_t after;  /* in a batch, with a deadline: what catching up
                          continues from when it left */
} agent_waiting_t;

typedef struct agent_sender {
    /* Set by the engine. */
    udp_t *udp; /* all zero if the engine has no socket */
    agent_path_t *path;
    agent_put_t *put;                         /* the way out without a socket; NULL: the socket */
    void (*block_changed)(wrk_channel_t *ch); /* block.now is another one. NULL: nothing to do */

    agent_schedule_t schedule;      /* due times in the channel's clock, order by sequence */
    due_entry_t ready[AGENT_BATCH]; /* without a deadline, in the order of the ring */
    unsigned ready_count;
    bool reading_up;         /* after a stall: the ring is taken in before anything is sent */
    uint64_t read_up_to_ref; /* its end when that was noticed */
    int64_t read_up_mono_ns; /* the last part of that */
    catch_up_t left;         /* of the packets that left: due in the channel's clock, start mono */
    catch_up_t planned;      /* and with those of the batch */
    agent_block_t block;     /* there is no room */
    agent_purge_t purge;
    int64_t send_cost_ns; /* per packet, smoothed */
    agent_batch_t batch;
    agent_waiting_t from[AGENT_BATCH]; /* where the packets of the batch came from */
    agent_ledger_t ledger;
} agent_sender_t;

static inline agent_sender_t *agent_sender_of(const wrk_channel_t *ch)
{
    return ch->agent;
}

/* Cold. unstamped_path: as agent_ledger_init. Returns 0 or -errno with a text. */
int agent_sender_open(wrk_channel_t *ch, bool unstamped_path, int64_t now_mono_ns);
/* Safe after a failed open. */
void agent_sender_close(wrk_channel_t *ch);
/* After a hold: as agent_ops_t.release. */
void agent_sender_release(wrk_channel_t *ch);

/* As agent_ops_t.do_work, on_deadline, deadline_ns and purge. */
unsigned agent_sender_take_in(wrk_channel_t *ch, int64_t now_mono_ns);
void agent_sender_on_deadline(wrk_channel_t *ch, int64_t now_mono_ns);
int64_t agent_sender_deadline_ns(const wrk_channel_t *ch);
int agent_sender_purge(wrk_channel_t *ch, unsigned max, int64_t now_mono_ns);

/* A few times a second: the gauge of scheduled packets, and space is freed even if held. */
void agent_sender_refresh(wrk_channel_t *ch, int64_t now_mono_ns);

/* There may be room again. */
void agent_sender_unblock(wrk_channel_t *ch, int64_t now_mono_ns);

#endif
