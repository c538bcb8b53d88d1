#include "librtpsynth/rtpjbuf.h"

#include "proto/rtp/rtp_jbuf.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ENTRIES 64u

typedef struct instance {
    rtp_jbuf_t core;
    struct rtp_frame erasure;
} instance_t;

_Static_assert(sizeof(struct rtpjbuf_counters) == sizeof(rtp_jbuf_counters_t),
               "rtpjbuf_get_counters copies one to the other");

void *rtpjbuf_ctor(unsigned int capacity)
{
    instance_t *jb = malloc(sizeof *jb);
    uint32_t count = rtp_jbuf_entries_for(capacity);
    if (count == 0 || count > FIRST_ENTRIES)
        count = FIRST_ENTRIES;
    rtp_jbuf_entry_t *entries = malloc(count * sizeof *entries);
    if (jb == NULL || entries == NULL) {
        free(entries);
        free(jb);
        return NULL;
    }
    rtp_jbuf_init(&jb->core, capacity, entries, count);
    return jb;
}

void rtpjbuf_frame_dtor(void *rfp)
{
    free(rfp);
}

static struct rtp_frame *frame_of(const rtp_jbuf_entry_t *entry)
{
    return (struct rtp_frame *)(uintptr_t)entry->item;
}

void rtpjbuf_dtor(void *rjbp)
{
    instance_t *jb = rjbp;
    rtp_jbuf_result_t r;
    if (jb == NULL)
        return;
    while (rtp_jbuf_drain(&jb->core, &r)) {
        for (uint32_t i = 0; i < r.ready_count; i++)
            free(frame_of(&r.ready[i]));
    }
    free(jb->core.entries);
    free(jb);
}

/* Links the frames of the entries before tail. */
static struct rtp_frame *link_frames(const rtp_jbuf_entry_t *entries, uint32_t count,
                                     struct rtp_frame *tail)
{
    for (uint32_t i = count; i-- > 0;) {
        struct rtp_frame *frame = frame_of(&entries[i]);
        frame->rtp.lseq = entries[i].lseq;
        frame->rtp.jbcnt = entries[i].age;
        frame->next = tail;
        tail = frame;
    }
    return tail;
}

static struct rjb_udp_in_r hand_out(instance_t *jb, const rtp_jbuf_result_t *r, int error)
{
    struct rjb_udp_in_r out = {
        .error = error,
        .ready = link_frames(r->ready, r->ready_count, NULL),
        .drop = link_frames(r->dropped, r->dropped_count, NULL),
    };
    if (r->has_erasure) {
        jb->erasure = (struct rtp_frame){.type = RFT_ERS, .next = out.ready};
        jb->erasure.ers.lseq_start = r->erasure.first;
        jb->erasure.ers.lseq_end = r->erasure.last;
        jb->erasure.ers.ts_diff = r->erasure.ts_diff;
        out.ready = &jb->erasure;
    }
    return out;
}

static bool make_room(rtp_jbuf_t *core)
{
    if (!rtp_jbuf_is_full(core))
        return true;
    if (core->entry_count > UINT32_MAX / 2)
        return false;
    uint32_t count = 2 * core->entry_count;
    rtp_jbuf_entry_t *entries = malloc(count * sizeof *entries);
    if (entries == NULL)
        return false;
    rtp_jbuf_entry_t *old = core->entries;
    rtp_jbuf_grow(core, entries, count);
    free(old);
    return true;
}

static struct rtp_frame *make_frame(const struct rtp_info *info, const unsigned char *data)
{
    struct rtp_frame *frame = malloc(sizeof *frame);
    if (frame == NULL)
        return NULL;
    frame->type = RFT_RTP;
    frame->rtp.info = *info;
    frame->rtp.data = data;
    return frame;
}

struct rjb_udp_in_r rtpjbuf_udp_in(void *rjbp, const unsigned char *data, size_t size)
{
    instance_t *jb = rjbp;
    struct rtp_info info;
    rtp_jbuf_result_t r;
    struct rtp_frame *frame = NULL;
    int error = rtp_packet_parse_raw(data, size, &info);
    if (error == RTP_PARSER_OK) {
        frame = make_room(&jb->core) ? make_frame(&info, data) : NULL;
        error = frame != NULL ? 0 : RJB_ENOMEM;
    }
    if (error == 0)
        (void)rtp_jbuf_offer(&jb->core, info.seq, info.ts, (uintptr_t)frame, &r);
    else
        rtp_jbuf_offer_bad(&jb->core, &r);
    return hand_out(jb, &r, error);
}

struct rjb_udp_in_r rtpjbuf_flush(void *rjbp)
{
    instance_t *jb = rjbp;
    rtp_jbuf_result_t r;
    rtp_jbuf_flush(&jb->core, &r);
    return hand_out(jb, &r, 0);
}

struct rjb_udp_in_r rtpjbuf_drain(void *rjbp)
{
    instance_t *jb = rjbp;
    rtp_jbuf_result_t r;
    (void)rtp_jbuf_drain(&jb->core, &r);
    return hand_out(jb, &r, 0);
}

void rtpjbuf_get_counters(const void *rjbp, struct rtpjbuf_counters *counters)
{
    const instance_t *jb = rjbp;
    memcpy(counters, &jb->core.counters, sizeof *counters);
}
