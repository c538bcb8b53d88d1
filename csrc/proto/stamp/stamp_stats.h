/* stamp_stats.h: what became of the probes of one flow: delay, jitter, loss, reordering and
 * duplicates. Plain numbers in; no clock, no socket, no allocation after init. One thread.
 *
 * Two accounts of each probe meet here: what this host did (stamp_stats_sent, from the report of
 * the packet itself) and what came back (stamp_stats_reply). So a fault of the sender is not blamed
 * on the network:
 *
 *   refused, dropped, cancelled here    not sent, and no loss
 *   left more than late_ns too late     sent and counted, but left out of delays and jitter
 *   delay                               from the true departure, not from the deadline T1
 *
 * Terms. A probe is lost if no reply came within timeout_ns of its departure (RFC 7680). A reply
 * after that is overdue, and the probe stays lost. A duplicate is each further copy of a reply (RFC
 * 5560). A reply is reordered if one with a higher sequence came before it. Its extent says how
 * many replies came from the first of those on (RFC 4737, 4.2): a receiver that restores the order
 * must hold back that many packets. Jitter is that of RFC 3550, 6.4.1. Percentiles of the delay,
 * less its minimum, are the delay variation PDV of RFC 5481.
 *
 * Direction. A reflector that counts its own replies (RFC 8762, stateful) tells which way a probe
 * was lost: a number missing among its replies was lost on the way back. Probes behind the last
 * reply remain without a direction. A reflector that copies the sequence (stateless) tells nothing.
 *
 * Memory: 48 bytes for each probe of the window. A reply that is older than the window is only
 * counted. */
#ifndef PROTO_STAMP_STATS_H
#define PROTO_STAMP_STATS_H

#include "base/rt_hist.h"
#include "proto/stamp/stamp_packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAMP_LEAST_WINDOW 64u
#define STAMP_MOST_WINDOW (1u << 22)

/* Delays in one direction, or both ways. */
typedef struct stamp_delay {
    uint64_t count;
    int64_t min_ns; /* below 0 if the clocks differ */
    int64_t max_ns;
    uint64_t negative;  /* delays below 0: in hist they count as 0 */
    int64_t last_ns;    /* of the reply before */
    uint64_t jitter_16; /* RFC 3550, in 1/16 ns */
    uint64_t most_jitter_16;
    rt_hist_t hist;
    rt_hist_t recent; /* the same since the caller emptied it last */
} stamp_delay_t;

/* Counts of probes and replies since init. sent = received + lost once the flow is finished, if no
 * report is missing. */
typedef struct stamp_counts {
    uint64_t planned;
    uint64_t sent;       /* left this host, as far as is known */
    uint64_t late;       /* of those, left too late because of this host */
    uint64_t failed;     /* refused by the kernel */
    uint64_t not_sent;   /* dropped because they were late, or cancelled */
    uint64_t unreported; /* without a report: it was overwritten before it was read */
    uint64_t received;
    uint64_t lost;
    uint64_t lost_forward;  /* toward the reflector */
    uint64_t lost_backward; /* on the way back */
    uint64_t overdue;       /* of the lost ones, came after the time-out */
    uint64_t bursts;        /* runs of lost probes */
    uint64_t longest_burst; /* probes */
    uint64_t duplicates;
    uint64_t duplicates_forward;
    uint64_t duplicates_backward;
    uint64_t reordered;
    uint64_t reordered_forward;
    uint64_t reordered_backward;
    uint64_t most_extent;
    uint64_t foreign;    /* replies to a probe that was never sent, or with a T1 that is not ours */
    uint64_t impossible; /* replies whose times contradict themselves */
    uint64_t too_old;    /* replies older than the window */
    uint64_t restarts;   /* of the reflector, or of the sender of a stream */
} stamp_counts_t;

/* What is known of one probe. */
typedef struct stamp_probe {
    int64_t due_ns;
    int64_t left_ns;
    int64_t t2_ns;
    int64_t t3_ns;
    int64_t t4_ns;
    uint32_t reflected;      /* the reflector's number */
    uint32_t overtaken : 24; /* low bits of the number of replies when it was overtaken */
    uint32_t flags : 8;
} stamp_probe_t;

typedef struct stamp_settings {
    uint32_t window;       /* probes, a power of two */
    bool reflector_counts; /* known to be stateful. It is found out, too, at the first loss */
    int64_t late_ns;       /* a departure this far behind its deadline is still in time */
    int64_t timeout_ns;
} stamp_settings_t;

typedef struct stamp_stats {
    stamp_settings_t settings;
    stamp_probe_t *probes;
    int64_t offset_ns; /* the other clock minus ours, as taken for one-way delays.
                          The caller sets it: at most 73 years */
    /* The offset is within these bounds, as far as the replies since the last
     * stamp_stats_forget_offset tell. low > high: the clocks moved against each other. */
    int64_t offset_low_ns;
    int64_t offset_high_ns;
    stamp_counts_t counts;
    stamp_delay_t forward;
    stamp_delay_t backward;
    stamp_delay_t round;
    rt_hist_t extents;     /* of reordered replies, packets */
    rt_hist_t burst_sizes; /* probes */
    /* Numbers of probes: 64 bits, whose low half is the sequence. */
    uint64_t first;    /* there was none before this one */
    uint64_t next;     /* is planned next */
    uint64_t head;     /* the oldest whose fate is open */
    uint64_t expected; /* RFC 4737: behind the highest that was received */
    uint64_t burst;    /* lost probes right before head */
    uint64_t tail;     /* lost probes behind the last reply */
    uint32_t arrivals; /* first replies */
    /* When the first and the last probe left. Of a stream: arrived. */
    int64_t began_ns;
    int64_t ended_ns;
    /* The reflector's own numbers, since it started. */
    uint64_t reflected_base;
    uint64_t reflected_next; /* behind the highest; 0: none yet */
    int64_t reflected_t3_ns;
    uint64_t reflected;       /* different ones that came */
    uint64_t backward_before; /* lost on the way back before it started */
    uint32_t restart_at;      /* a number that may be the second after a restart */
    bool restart_seen;
    bool stream_seen; /* as restart_at, for a stream whose sequence jumped */
    uint32_t stream_at;
} stamp_stats_t;

typedef enum stamp_outcome {
    STAMP_RECEIVED = 0,
    STAMP_DUPLICATE = 1,
    STAMP_OVERDUE = 2,
    STAMP_FOREIGN = 3,
    STAMP_TOO_OLD = 4
} stamp_outcome_t;

/* The size of the memory for a window. */
size_t stamp_stats_bytes(uint32_t window);

/* probes: stamp_stats_bytes(settings->window), aligned to 8, the caller's. The first probe has this
 * sequence. Returns 0; -EINVAL with a text: a setting is out of its range. */
int stamp_stats_init(stamp_stats_t *s, const stamp_settings_t *settings, stamp_probe_t *probes,
                     uint32_t sequence);

/* The next probe was queued, with this deadline as its T1. Returns its number. If the window is
 * full, the fate of its oldest probe is decided with what is known. */
uint64_t stamp_stats_plan(stamp_stats_t *s, int64_t due_ns);

/* The report of a probe: it left then, or (left_ns = 0) it did not. Unknown numbers are ignored. */
void stamp_stats_sent(stamp_stats_t *s, uint64_t number, int64_t left_ns);
void stamp_stats_not_sent(stamp_stats_t *s, uint64_t number, bool failed);

/* Whether a reply with this sequence and T1 can be of this flow. answered: whether its probe has
 * been answered before. */
bool stamp_stats_expects(const stamp_stats_t *s, uint32_t sequence, int64_t t1_ns, bool answered);

/* A reply arrived at t4_ns. Its times are in the clock of the departures, except that the
 * reflector's clock may differ. All of its fields may be lies. */
stamp_outcome_t stamp_stats_reply(stamp_stats_t *s, const stamp_reply_t *reply, int64_t t4_ns);

/* A probe of somebody else's stream arrived, T1 in it. There is no report: T1 is taken for the
 * departure, and probes that did not come for sent. A jump of the sequence by a window or more
 * counts as a new stream if the next one follows it. */
stamp_outcome_t stamp_stats_arrival(stamp_stats_t *s, uint32_t sequence, int64_t t1_ns,
                                    int64_t t4_ns);

/* Decides what has timed out by now_ns, in the clock of the departures. */
void stamp_stats_settle(stamp_stats_t *s, int64_t now_ns);

/* Decides everything. What comes later is counted as overdue or too old. */
void stamp_stats_finish(stamp_stats_t *s);

/* The counts, with the losses by direction up to now. Until the flow is finished, replies under way
 * may count as lost on the way back. */
void stamp_stats_count(const stamp_stats_t *s, stamp_counts_t *out);

/* Begins new bounds of the clock's offset. */
void stamp_stats_forget_offset(stamp_stats_t *s);

#endif
