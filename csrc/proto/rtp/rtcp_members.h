/* rtcp_members.h: the members of an RTP session (RFC 3550 sections 6.2.1 and 6.3.3 to 6.3.5): a
 * table of a fixed size, ordered by SSRC, with the last report of each member about itself.
 *
 *   unproved --CNAME, or media, or a second compound--> present --silence, BYE--> off the table
 *
 * One member may stay in the table although it is gone (`keep`): the source that is received, for
 * the facts about it. Unproved and gone ones do not count as members, so that occasional forged
 * packets do not lengthen the interval of all members.
 *
 * Caller's memory, one thread, no clock: times are of any clock that does not go back. */
#ifndef RTCP_MEMBERS_H
#define RTCP_MEMBERS_H

#include "proto/rtp/rtcp.h"

#include <stdbool.h>
#include <stdint.h>

#define RTCP_MAX_MEMBERS 256u

typedef enum rtcp_member_state {
    RTCP_MEMBER_UNPROVED = 0,
    RTCP_MEMBER_PRESENT = 1,
    RTCP_MEMBER_GONE = 2, /* said goodbye or fell silent, and is kept for its facts */
} rtcp_member_state_t;

typedef struct rtcp_member {
    uint32_t ssrc;
    rtcp_member_state_t state;
    bool is_sender;
    uint64_t compound;                   /* number of the last compound in
                                            which it was heard; 0: none */
    int64_t heard_ns;                    /* last time anything of it came */
    int64_t media_ns;                    /* last time RTP of it came */
    int64_t bye_ns;                      /* 0: it did not say goodbye */
    rtcp_sender_t sr;                    /* its last sender report */
    int64_t sr_ns;                       /* when that came; 0: none yet */
    char cname[RTCP_MAX_TEXT_BYTES + 1]; /* terminated; "": not known */
} rtcp_member_t;

typedef struct rtcp_members {
    rtcp_member_t *slots;
    uint32_t max;
    uint32_t count;                  /* in the table */
    uint32_t present;                /* of those, the ones that count */
    uint32_t senders;                /* of those present */
    uint8_t order[RTCP_MAX_MEMBERS]; /* slots: `count` by ascending SSRC, then the free ones */
} rtcp_members_t;

/* slots: max of them, 1 .. RTCP_MAX_MEMBERS, kept by the caller. */
void rtcp_members_init(rtcp_members_t *t, rtcp_member_t *slots, uint32_t max);

/* NULL: not in the table. Pointers to members stay valid until that member is removed. */
rtcp_member_t *rtcp_members_find(const rtcp_members_t *t, uint32_t ssrc);

/* The one in the table, or a new one, unproved. NULL: the table is full. */
rtcp_member_t *rtcp_members_add(rtcp_members_t *t, uint32_t ssrc, int64_t now_ns);

/* Removes the member that was silent longest from a full table. Does nothing if there is room.
 */
void rtcp_members_make_room(rtcp_members_t *t);

void rtcp_members_set_present(rtcp_members_t *t, rtcp_member_t *m);
void rtcp_members_set_sender(rtcp_members_t *t, rtcp_member_t *m);

/* The member is gone: removes it from the table, or keeps it with `keep`, uncounted. */
void rtcp_members_drop(rtcp_members_t *t, rtcp_member_t *m, bool keep);

typedef struct rtcp_members_limits {
    int64_t silent_ns;    /* nothing heard for this long: gone */
    int64_t no_media_ns;  /* no RTP for this long: not a sender any more */
    const uint32_t *keep; /* SSRC of the one that stays in the table; NULL: none */
} rtcp_members_limits_t;

/* Returns how many of those present were dropped. */
uint32_t rtcp_members_sweep(rtcp_members_t *t, const rtcp_members_limits_t *limits, int64_t now_ns);

#endif
