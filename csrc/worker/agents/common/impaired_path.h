/* impaired_path.h: the impaired path (proto/impair) between ring and socket, in either direction.
 * Shared by the engines. */
#ifndef AGENT_IMPAIRED_PATH_H
#define AGENT_IMPAIRED_PATH_H

#include "proto/impair/impair.h"
#include "worker/agent.h"

/* OVERFLOW_WAIT: a full ring is checked again after this time. */
#define AGENT_RX_RETRY_NS RT_NS_PER_MS

typedef struct agent_path {
    udp_t *udp;
    /* An arrival that leaves the path. Returns false if there was no room for it: it is lost. */
    bool (*deliver)(wrk_channel_t *ch, const rx_item_t *item, int64_t now_mono_ns);
    /* Counts each arrival that was delivered, and a successor finds it as it was last published.
     * NULL: the engine has no such number. */
    const uint64_t *delivered;
    impair_t *tx; /* NULL: none */
    impair_t *rx;
    impair_counters_t base[2]; /* counts at the last statistics reset */
    int64_t rx_retry_mono_ns;  /* OVERFLOW_WAIT: nothing leaves rx before this */
    uint64_t rx_taken;         /* arrivals offered, for a successor; 32 bits of it */
    uint64_t refused;          /* left the path, but the kernel had no room */
} agent_path_t;

/* The path's part of a channel's configuration. */
impair_config_t agent_path_config(const shm_impair_t *c);

/* Shows the path's counters in the channel's, from `first` (impair_*_offered) on, less `base`. */
void agent_path_show(wrk_channel_t *ch, const impair_t *path, const impair_counters_t *base,
                     shm_counter_id_t first);
/* Sets *base so that the counters of a new path continue those of a predecessor's. */
void agent_path_resume(const wrk_channel_t *ch, impair_counters_t *base, shm_counter_id_t first);

/* Whether the configuration asks for a path. */
bool agent_path_is_impaired(const shm_config_t *c);

/* The caller has set udp, deliver and delivered. Creates the paths that the configuration asks for.
 * Returns 0 or -errno with a text. */
int agent_path_open(wrk_channel_t *ch, agent_path_t *l);
void agent_path_clear(wrk_channel_t *ch, agent_path_t *l);
void agent_path_reset(agent_path_t *l);
/* Offers datagrams instead of handing them to the kernel. Takes all of them. */
void agent_path_offer_tx(agent_path_t *l, const udp_tx_t *messages, unsigned count,
                         int64_t now_mono_ns);
/* It counts as offered now, not when this pass of the loop began,
 * because it may have come since. */
void agent_path_offer_rx(agent_path_t *l, const rx_item_t *item);
/* Takes what was offered so far into the path: a successor counts what is still in it as lost. */
void agent_path_took_rx(wrk_channel_t *ch, agent_path_t *l);
/* Sends and delivers what is due in both directions. */
void agent_path_emit(wrk_channel_t *ch, agent_path_t *l, int64_t now_mono_ns);
int64_t agent_path_deadline_ns(const agent_path_t *l);
void agent_path_counters(wrk_channel_t *ch, const agent_path_t *l);

#endif
