/* stamp_probes.h: what a channel sent, reported and received, as statistics of its probes. The
 * payloads are STAMP requests and replies (stamp_packet.h). The flow with SSID n is flows[n - 1].
 *
 * The channel has one sender, so its packets have consecutive sequence numbers, and a ring of
 * `window` entries finds the probe of a report. One thread. No allocation. */
#ifndef PYTHON_STAMP_PROBES_H
#define PYTHON_STAMP_PROBES_H

#include "client/endpoint.h"
#include "proto/stamp/stamp_stats.h"

typedef struct stamp_probes {
    stamp_stats_t *flows; /* the caller's, as the next two */
    uint64_t *sent;       /* window entries: flow << 48 | number of the probe */
    uint32_t flow_count;
    uint32_t window;       /* a power of two */
    uint64_t next;         /* sequence in the channel of the packet that is planned next */
    int64_t utc_offset_ns; /* the channel's clock minus UTC: for timestamps in NTP's format */
    int64_t tai_offset_ns; /* the channel's clock minus TAI: for those in PTP's */
    bool use_stamps;       /* departures are the kernel's timestamps, where there are any */
    shm_addr_t sender;     /* stamp_probes_arrived: the first that was heard, family 0: none */
    uint64_t strangers;    /* packets of other senders */
    uint64_t malformed;    /* packets that are no STAMP packets, or have an unknown SSID */
} stamp_probes_t;

/* Packets that were queued, with consecutive sequences from `first`. Each payload is count of the
 * columns of send_many: offsets[i] in data, due at due_ns[i]. */
void stamp_probes_planned(stamp_probes_t *p, uint64_t first, const uint8_t *data,
                          uint64_t data_bytes, const uint32_t *offsets, const int64_t *due_ns,
                          uint64_t count);

/* Reports of the channel. Their content is unchecked. */
void stamp_probes_reported(stamp_probes_t *p, const shm_report_t *reports, uint64_t count);

/* Packets that endpoint_take_many returned: replies. */
void stamp_probes_replied(stamp_probes_t *p, const uint8_t *data, uint64_t data_bytes,
                          const packet_record_t *packets, uint64_t count);

/* The same for requests of somebody else, as stamp_stats_arrival. The first sender is the only one.
 */
void stamp_probes_arrived(stamp_probes_t *p, const uint8_t *data, uint64_t data_bytes,
                          const packet_record_t *packets, uint64_t count);

/* stamp_stats_settle and stamp_stats_finish of all flows. */
void stamp_probes_settle(stamp_probes_t *p, int64_t now_ns);
void stamp_probes_finish(stamp_probes_t *p);

#endif
