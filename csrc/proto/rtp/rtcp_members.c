#include "proto/rtp/rtcp_members.h"

#include <string.h>

void rtcp_members_init(rtcp_members_t *t, rtcp_member_t *slots, uint32_t max)
{
    memset(t, 0, sizeof *t);
    t->slots = slots;
    t->max = max;
    for (uint32_t i = 0; i < max; i++)
        t->order[i] = (uint8_t)i;
}

static rtcp_member_t *member_at(const rtcp_members_t *t, uint32_t position)
{
    return &t->slots[t->order[position]];
}

/* The position of that SSRC, or where to insert it. */
static uint32_t position_of(const rtcp_members_t *t, uint32_t ssrc)
{
    uint32_t low = 0;
    uint32_t high = t->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (member_at(t, middle)->ssrc < ssrc)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const rtcp_members_t *t, uint32_t position, uint32_t ssrc)
{
    return position < t->count && member_at(t, position)->ssrc == ssrc;
}

rtcp_member_t *rtcp_members_find(const rtcp_members_t *t, uint32_t ssrc)
{
    uint32_t position = position_of(t, ssrc);
    return is_at(t, position, ssrc) ? member_at(t, position) : NULL;
}

rtcp_member_t *rtcp_members_add(rtcp_members_t *t, uint32_t ssrc, int64_t now_ns)
{
    uint32_t position = position_of(t, ssrc);
    if (is_at(t, position, ssrc))
        return member_at(t, position);
    if (t->count == t->max)
        return NULL;
    uint8_t slot = t->order[t->count];
    memmove(&t->order[position + 1], &t->order[position], t->count - position);
    t->order[position] = slot;
    t->count++;
    t->slots[slot] = (rtcp_member_t){.ssrc = ssrc, .heard_ns = now_ns};
    return &t->slots[slot];
}

static void clear_sender(rtcp_members_t *t, rtcp_member_t *m)
{
    if (!m->is_sender)
        return;
    m->is_sender = false;
    t->senders--;
}

static void stop_counting(rtcp_members_t *t, rtcp_member_t *m)
{
    clear_sender(t, m);
    if (m->state == RTCP_MEMBER_PRESENT)
        t->present--;
    m->state = RTCP_MEMBER_GONE;
}

static void remove_at(rtcp_members_t *t, uint32_t position)
{
    uint8_t slot = t->order[position];
    stop_counting(t, &t->slots[slot]);
    t->count--;
    memmove(&t->order[position], &t->order[position + 1], t->count - position);
    t->order[t->count] = slot;
}

void rtcp_members_make_room(rtcp_members_t *t)
{
    if (t->count < t->max)
        return;
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < t->count; i++) {
        if (member_at(t, i)->heard_ns < member_at(t, oldest)->heard_ns)
            oldest = i;
    }
    remove_at(t, oldest);
}

void rtcp_members_set_present(rtcp_members_t *t, rtcp_member_t *m)
{
    if (m->state == RTCP_MEMBER_PRESENT)
        return;
    m->state = RTCP_MEMBER_PRESENT;
    m->bye_ns = 0;
    t->present++;
}

void rtcp_members_set_sender(rtcp_members_t *t, rtcp_member_t *m)
{
    rtcp_members_set_present(t, m);
    if (m->is_sender)
        return;
    m->is_sender = true;
    t->senders++;
}

void rtcp_members_drop(rtcp_members_t *t, rtcp_member_t *m, bool keep)
{
    if (keep)
        stop_counting(t, m);
    else
        remove_at(t, position_of(t, m->ssrc));
}

uint32_t rtcp_members_sweep(rtcp_members_t *t, const rtcp_members_limits_t *limits, int64_t now_ns)
{
    uint32_t before = t->present;
    for (uint32_t i = t->count; i-- > 0;) {
        rtcp_member_t *m = member_at(t, i);
        if (now_ns - m->media_ns >= limits->no_media_ns)
            clear_sender(t, m);
        if (now_ns - m->heard_ns < limits->silent_ns)
            continue;
        if (limits->keep != NULL && m->ssrc == *limits->keep)
            stop_counting(t, m);
        else
            remove_at(t, i);
    }
    return before - t->present;
}
