/* purge.h: packets that leave the tx ring unsent, and freeing the space of all that have left it.
 * Shared by the engines. */
#ifndef AGENT_PURGE_H
#define AGENT_PURGE_H

#include "worker/agent.h"

/* Gives a packet that ends unsent its verdict. It is finished already. why: the result of
 * tx_queue_next or tx_queue_take, or -ECANCELED, or -EOPNOTSUPP: this engine sends nothing from the
 * ring. */
typedef void agent_end_t(wrk_channel_t *ch, const tx_item_t *item, int why, int64_t now_mono_ns);

/* Counts it by its verdict. For engines that neither report nor note each packet. */
agent_end_t agent_count_unsent;

/* Takes in a record that was queued after the purge began. */
typedef void agent_keep_t(wrk_channel_t *ch, const tx_item_t *item, int64_t now_mono_ns);

/* Frees a bounded amount of finished space in the tx ring, and ends cancelled packets. max_moves 0:
 * packets keep the order in which they were queued. Returns how many
 * records it examined or freed. */
unsigned agent_free_space(wrk_channel_t *ch, unsigned max_moves, agent_end_t *end, int64_t now_mono_ns);

/* Ends up to max records of an engine that does not use the tx ring. Returns how many it examined:
 * below max, the ring was read to its end. */
unsigned agent_refuse_strays(wrk_channel_t *ch, unsigned max, agent_end_t *end, int64_t now_mono_ns);

/* The sequence that the next packet queued will have. */
uint64_t agent_sequence_at_tail(const wrk_channel_t *ch);

typedef struct agent_purge {
    bool on;
    uint64_t before; /* sequence: packets before it waited when the purge began */
} agent_purge_t;

/* Returns true at the first call of a purge. */
bool agent_purge_begin(const wrk_channel_t *ch, agent_purge_t *p);

/* Cancels a record that was taken in. sequence: as tx_queue_next said. */
void agent_purge_taken(wrk_channel_t *ch, uint64_t ref, uint64_t sequence, agent_end_t *end,
                       int64_t now_mono_ns);

/* Cancels up to max records that were not taken in. Returns true if none of those that waited is
 * left. keep gets the first one that was queued later. NULL: that one stays unread. */
bool agent_purge_unread(wrk_channel_t *ch, const agent_purge_t *p, unsigned max, agent_end_t *end,
                        agent_keep_t *keep, int64_t now_mono_ns);

#endif
