/* channel_stats.h: copies what the worker reports about a channel in its segment, word by word. Any
 * mapping, also a read-only one. Any thread. Any process may have overwritten the numbers. */
#ifndef CLIENT_CHANNEL_STATS_H
#define CLIENT_CHANNEL_STATS_H

#include "base/rt_hist.h"
#include "shm/shm_segment.h"
#include "shm/slot_ring.h"

/* Copies all counters to out, SHM_COUNTER_TOTAL of them. */
void channel_read_counters(const shm_stats_t *stats, uint64_t *out);

/* Copies a histogram that its owner may be changing. */
void channel_copy_hist(rt_hist_t *to, const rt_hist_t *from);

/* Adds the entries of `from` to a private histogram. */
void channel_add_hist(rt_hist_t *to, const rt_hist_t *from);

/* The count in a bucket, 0 to RT_HIST_BUCKETS - 1. */
uint64_t channel_hist_bucket(const rt_hist_t *h, unsigned bucket);

/* Packets overwritten before any shared reader took them. If the channel has shared reading, this
 * includes packets that no reader has noticed yet. The packets that a reader is skipping at this
 * moment may be missing. Nothing counts twice. */
uint64_t channel_shared_lost(const shm_segment_t *s);

/* Packets that have their verdict, but whose report is not in the ring yet, because it waits for
 * the kernel's stamp. Only meaningful if every packet is reported. A packet that its sender gave up
 * counts, too. */
uint64_t channel_reports_awaited(const shm_segment_t *s);

/* Reads shm_report_t, the oldest still held first. */
void channel_report_reader_init(slot_reader_t *reader, const shm_segment_t *s);

/* Reads on until the report of one packet. Returns 1 and *out; 0: it is not there yet. */
int channel_find_report(slot_reader_t *reader, uint64_t sequence, shm_report_t *out);

/* How much the gap before a packet differed from its gap on the schedule, in ns without sign. */
typedef struct channel_gaps {
    uint64_t next_sequence; /* the packet behind the last one seen; at first 0 */
    int64_t late_ns;        /* of the last one seen */
    rt_hist_t errors;
} channel_gaps_t;

/* Adds reports in the order of sending. A gap counts if both of its packets had a deadline and were
 * sent, one right after the other by their numbers. */
void channel_gaps_add(channel_gaps_t *g, const shm_report_t *reports, uint32_t count);

/* Reads shm_late_packet_t, the oldest still held first. */
void channel_late_reader_init(slot_reader_t *reader, const shm_segment_t *s);

/* For a second no worker has reported that it serves the channel. Its pool and its workers may have
 * died, or its worker may be stopped. Find out (attachment_check_deserted) before waiting longer.
 */
bool channel_is_unheard(const shm_segment_t *s);

/* The present time in ns of the channel's clock. */
int64_t channel_now_ns(const shm_segment_t *s);

#endif
