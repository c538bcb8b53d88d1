/* engine_stats.h: what an engine reports about a channel in its own part of the segment. The caller
 * checks that the channel has that engine (shm_engine_check). Otherwise as channel_stats.h. */
#ifndef CLIENT_ENGINE_STATS_H
#define CLIENT_ENGINE_STATS_H

#include "proto/netflux/nfx_stats.h"
#include "proto/udt/udt_stats.h"
#include "shm/cyclic_shm.h"
#include "shm/netflux_shm.h"
#include "shm/proxy_shm.h"
#include "shm/rtp_shm.h"
#include "shm/shm_segment.h"
#include "shm/udt_shm.h"

/* counters: SHM_RTP_COUNTER_TOTAL, gauges: SHM_RTP_GAUGE_TOTAL of them. */
void rtp_read_stats(const shm_rtp_state_t *state, uint64_t *counters, int64_t *gauges);

/* The source's CNAME, into out[256]. "" while it is being written. */
void rtp_read_cname(const shm_rtp_state_t *state, char *out);

/* counters: NFX_COUNTER_TOTAL, gauges: NFX_GAUGE_TOTAL of them. Returns the histograms' place.
 */
const nfx_stats_t *netflux_read_stats(uint8_t *engine, uint64_t *counters, uint64_t *gauges);

/* Number of the partner's datagrams that were published. */
uint64_t netflux_published(const uint8_t *engine);

/* counters: SHM_CYCLIC_COUNTER_TOTAL, gauges: SHM_CYCLIC_GAUGE_TOTAL of them. */
void cyclic_read_stats(const uint8_t *engine, uint64_t *counters, uint64_t *gauges);

/* counters: SHM_PROXY_COUNTER_TOTAL, gauges: SHM_PROXY_GAUGE_TOTAL of them. */
void proxy_read_stats(const shm_segment_t *s, uint64_t *counters, uint64_t *gauges);

/* The impairments in effect, by shm_proxy_way_t. */
void proxy_read_impair(const shm_segment_t *s, unsigned way, shm_impair_t *out);

/* What the worker reports about a UDT connection. */
typedef struct udt_facts {
    uint32_t state; /* shm_udt_conn_state_t */
    uint32_t error; /* the protocol's number, 0: none */
    uint32_t socket_id;
    uint32_t peer_id;
    uint32_t mss_bytes;
    uint64_t unsent_bytes;
    uint64_t unread_bytes;
    shm_addr_t peer;
} udt_facts_t;

void udt_read_facts(const shm_segment_t *s, udt_facts_t *out);

/* shm_udt_conn_state_t */
uint32_t udt_read_state(const shm_segment_t *s);

/* How often the peer reported that it could not store received data. */
uint32_t udt_read_peer_errors(const shm_segment_t *s);

/* counters: UDT_COUNTER_TOTAL, gauges: UDT_GAUGE_TOTAL of them. */
void udt_read_stats(const shm_segment_t *s, uint64_t *counters, uint64_t *gauges);

/* The counters of a port: SHM_UDT_PORT_COUNTER_TOTAL of them. */
void udt_read_port(const shm_segment_t *s, uint64_t *counters);

#endif
