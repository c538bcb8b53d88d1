/* channel_stats.h: what the worker says of a channel in its segment, copied word by word. Any
 * mapping, also a read-only one; any thread. Any process may have overwritten the numbers. */
#ifndef CLIENT_CHANNEL_STATS_H
#define CLIENT_CHANNEL_STATS_H

#include "base/rt_hist.h"
#include "shm/shm_segment.h"
#include "shm/slot_ring.h"

/* All counters into out, SHM_COUNTER_TOTAL of them. */
void channel_read_counters(const shm_stats_t *stats, uint64_t *out);

/* Copies a histogram that its owner may be changing. */
void channel_copy_hist(rt_hist_t *to, const rt_hist_t *from);

/* The count in a bucket, 0 to RT_HIST_BUCKETS - 1. */
uint64_t channel_hist_bucket(const rt_hist_t *h, unsigned bucket);

/* Packets that the reader in this slot has before it; broadcast mode. */
uint32_t channel_reader_waiting(const shm_segment_t *s, uint32_t slot);

/* Packets overwritten before any shared reader took them. If the channel is one of shared reading,
 * packets that no reader has come across yet are included. What a reader is stepping over at this
 * moment may be missing; nothing counts twice. */
uint64_t channel_shared_lost(const shm_segment_t *s);

/* Packets that have their verdict and whose report is not in the ring yet, because it waits for the
 * kernel's stamp. Meaningful where every packet is reported. A packet that its sender gave up
 * counts, too. */
uint64_t channel_reports_awaited(const shm_segment_t *s);

/* Reads shm_late_packet_t, the oldest still held first. */
void channel_late_reader_init(slot_reader_t *reader, const shm_segment_t *s);

/* Now, in ns of the clock that the channel counts in. */
int64_t channel_now_ns(const shm_segment_t *s);

#endif
