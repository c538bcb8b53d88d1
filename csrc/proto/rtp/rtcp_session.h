/* rtcp_session.h: the RTCP side of one RTP session (RFC 3550 section 6, NACK of RFC 4585, reduced
 * size of RFC 5506): when to report what, the members, and others' reports about us.
 *
 *     media sent ----- rtcp_session_sent_t, as of now --.
 *     media received - rtcp_session_media ------------.  \
 *     rtp_source_t --- loss, jitter, LSR and DLSR ---. \  \
 *                                                     v v  v
 *     compound received --> rtcp_session_receive --> session --> rtcp_session_emit --> compound
 *                             |                         |
 *                             v                         v
 *           rtcp_session_got_t: BYE, what          rtcp_session_due_ns
 *           to send again
 *
 * Reports follow the schedule of rtcp_schedule.h. Requests for missing packets do not wait for it:
 * rtp_nack.h decides when to send them, at most one compound every RTCP_SESSION_NACK_GAP_NS.
 *
 * Members beyond the table are counted (`unlisted`) but not listed. Such a session gets reports as
 * if it had as many members as the table has room for.
 *
 * Caller's memory, one thread, no clock, no allocation: now_mono_ns is CLOCK_MONOTONIC, now_real_ns
 * CLOCK_REALTIME of the same instant. */
#ifndef RTCP_SESSION_H
#define RTCP_SESSION_H

#include "proto/rtp/rtcp.h"
#include "proto/rtp/rtcp_members.h"
#include "proto/rtp/rtcp_schedule.h"
#include "proto/rtp/rtp_nack.h"
#include "proto/rtp/rtp_source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTCP_SESSION_ROOM_BYTES 640u /* no compound of ours is longer */
#define RTCP_SESSION_MAX_RESEND 256u /* sequence numbers handed out for one compound */
#define RTCP_SESSION_SRS 8u          /* of ours, remembered for the round trip */
#define RTCP_SESSION_NACK_GAP_NS INT64_C(5000000)

typedef struct rtcp_session_config {
    uint32_t ssrc;           /* ours */
    const char *cname;       /* 1 .. 255 bytes; copied */
    double bandwidth_bps;    /* as in rtcp_schedule_config_t */
    int64_t min_interval_ns; /* as in rtcp_schedule_config_t */
    bool reduced_size;       /* NACKs are sent without RR and SDES, and may be received so */
    bool nack_send;          /* return what others request from us */
    bool nack_receive;       /* request missing packets */
    rtp_nack_config_t nack;  /* retry_ns rises to the round trip if that is known and longer */
    rtcp_member_t *members;  /* memory for the table of other members, kept by the caller */
    uint32_t max_members;    /* 1 .. RTCP_MAX_MEMBERS */
    uint64_t seed;
} rtcp_session_config_t;

/* Since the start. */
typedef struct rtcp_session_counters {
    uint64_t sent;      /* compounds */
    uint64_t nack_sent; /* of those, with a request */
    uint64_t received;  /* valid compounds */
    uint64_t malformed; /* malformed compounds, which were ignored completely */
    uint64_t sr_received;
    uint64_t rr_received;
    uint64_t bye_received;
    uint64_t app_received;   /* ignored */
    uint64_t other_received; /* ignored: other feedback, types not known */
    uint64_t collisions;     /* compounds and packets with our SSRC, members with another CNAME */
    uint64_t unlisted;       /* SSRCs for which the table had no room, each time */
    uint64_t timed_out;      /* members */
    uint64_t nack_heard;     /* packets that others requested from us */
    uint64_t nack_dropped;   /* of those, beyond RTCP_SESSION_MAX_RESEND or with nack_send off */
} rtcp_session_counters_t;

/* The last report block about our media. */
typedef struct rtcp_session_reported {
    int64_t mono_ns; /* when it came; 0: none yet */
    int64_t rtt_ns;  /* of the last one that names a sender report of ours; -1: none */
    rtcp_report_t report;
} rtcp_session_reported_t;

typedef struct rtcp_session_sr {
    uint32_t ntp_mid; /* 0: none */
    int64_t mono_ns;
} rtcp_session_sr_t;

typedef struct rtcp_session {
    rtcp_session_config_t config; /* cname points to the copy below */
    char cname[RTCP_MAX_TEXT_BYTES + 1];
    rtcp_schedule_t schedule;
    rtcp_members_t members;
    rtp_nack_receiver_t nack;
    rtcp_session_counters_t counters;
    rtcp_session_reported_t reported;
    rtcp_session_sr_t srs[RTCP_SESSION_SRS]; /* the last ones sent, in turn */
    uint32_t sr_count;
    bool has_source;
    uint32_t source_ssrc; /* of the media received, while has_source */
    int64_t nack_sent_ns;
    uint64_t reported_packets[2]; /* sent until the last report, and until the one before */
    bool we_sent;                 /* since the report before the last: an SR is due, not an RR */
    bool spoke;                   /* anything was sent, RTP or RTCP:
                                     otherwise there is no goodbye */
    bool has_left;
} rtcp_session_t;

/* The caller has checked the configuration. The first report is due after half an interval. */
void rtcp_session_init(rtcp_session_t *s, const rtcp_session_config_t *config,
                       int64_t now_mono_ns);

/* Joins (again, after rtcp_session_leave): a first report is due after half an interval. Facts
 * about the others and the counters stay. */
void rtcp_session_join(rtcp_session_t *s, int64_t now_mono_ns);

/* A packet that rtp_source_packet has judged. Verdicts below 0 are ignored. Returns true if the
 * packet had been requested. */
bool rtcp_session_media(rtcp_session_t *s, rtp_verdict_t verdict, uint32_t ssrc,
                        uint64_t extended_seq, int64_t now_mono_ns);

/* Everything below that number was played or skipped: it is not requested any more. */
static inline void rtcp_session_forget_before(rtcp_session_t *s, uint64_t extended_seq)
{
    rtp_nack_forget_before(&s->nack, extended_seq);
}

typedef struct rtcp_session_got {
    bool source_left;      /* the source received said goodbye */
    bool is_about_us;      /* `reported` is new */
    bool has_our_ssrc;     /* another member uses it, or this is an echo of ours */
    uint32_t resend_count; /* sequence numbers that were requested, in order of the request */
    uint16_t resend[RTCP_SESSION_MAX_RESEND];
} rtcp_session_got_t;

/* One datagram, with its arrival time. received: takes the source's sender reports, for LSR and
 * DLSR; may be NULL. Returns 0 and *got, or rtcp_error_t (below 0: counted, nothing else). */
int rtcp_session_receive(rtcp_session_t *s, const uint8_t *data, size_t size, int64_t now_mono_ns,
                         rtp_source_t *received, rtcp_session_got_t *got);

/* When to call rtcp_session_emit; RT_NEVER_NS once we have left. */
int64_t rtcp_session_due_ns(const rtcp_session_t *s);

/* Our media as of now. */
typedef struct rtcp_session_sent {
    uint64_t packets;
    uint64_t octets; /* of payload */
    uint32_t rtp_ts; /* media time of this instant: rtp_stream_ts_at */
} rtcp_session_sent_t;

/* Returns what is due as one compound: a report (SR or RR, SDES), a request for missing packets, or
 * both. received may be NULL. room: at least RTCP_SESSION_ROOM_BYTES. Returns its length, 0 if
 * nothing is due (then rtcp_session_due_ns is after now_mono_ns), or -ENOSPC. The returned compound
 * counts as sent. */
int rtcp_session_emit(rtcp_session_t *s, const rtcp_session_sent_t *sent, rtp_source_t *received,
                      int64_t now_mono_ns, int64_t now_real_ns, uint8_t *out, size_t room);

/* We leave. Returns the length of a compound with BYE to send now. 0: we never sent anything, so
 * there is nothing to say, or more than 50 members would hear it. In the second case it is due like
 * a report, and rtcp_session_emit returns it. -ENOSPC as above. */
int rtcp_session_leave(rtcp_session_t *s, const rtcp_session_sent_t *sent, rtp_source_t *received,
                       int64_t now_mono_ns, int64_t now_real_ns, uint8_t *out, size_t room);

static inline uint32_t rtcp_session_members(const rtcp_session_t *s)
{
    return s->members.present + 1;
}

static inline uint32_t rtcp_session_senders(const rtcp_session_t *s)
{
    return s->members.senders + (s->we_sent ? 1 : 0);
}

/* The source's own facts, when it was heard and whether it left. NULL: there is none. Valid until
 * the next call. */
const rtcp_member_t *rtcp_session_source(const rtcp_session_t *s);

#endif
