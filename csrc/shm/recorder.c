#include "shm/recorder.h"

#define TOKEN_NS (RT_NS_PER_S / RECORDER_PER_S)
#define MOST_TOKENS_NS (RECORDER_AT_ONCE * TOKEN_NS)

shm_event_kind_t shm_event_kind(unsigned id)
{
    static const shm_event_kind_t kinds[SHM_EVENT_TOTAL] = {
#define EVENT_KIND(id, what, text, a, b, c) SHM_EVENT_KIND_##what,
        SHM_EVENTS(EVENT_KIND)
#undef EVENT_KIND
    };
    return id < SHM_EVENT_TOTAL ? kinds[id] : SHM_EVENT_KIND_FACT;
}

void recorder_init(recorder_t *r, shm_recorder_t *shared, uint32_t pid, int64_t now_mono_ns)
{
    *r = (recorder_t){.pid = pid, .tokens_ns = MOST_TOKENS_NS, .tokens_at_mono_ns = now_mono_ns};
    slot_writer_init(&r->writer, &shared->cursors, shared->events, SHM_RECORDER_EVENTS,
                     (uint32_t)sizeof(shm_event_t));
}

static uint64_t write_event(recorder_t *r, const recorder_burst_t *what,
                            const recorder_subject_t *subject, int64_t c)
{
    shm_event_t event = {
        .mono_ns = what->first_mono_ns,
        .last_mono_ns = what->last_mono_ns,
        .count = what->count,
        .a = what->a,
        .b = what->b,
        .c = c,
        .id = what->id,
        .pid = r->pid,
        .channel_id = what->channel_id,
    };
    if (subject->channel != NULL)
        memcpy(event.channel, subject->channel, strnlen(subject->channel, sizeof event.channel));
    return slot_writer_put(&r->writer, &event);
}

static recorder_burst_t *burst_of(recorder_t *r, const recorder_burst_t *what)
{
    uint64_t mixed = what->channel_id ^ what->id ^ (uint64_t)what->a << 8;
    mixed *= UINT64_C(0x9e3779b97f4a7c15);
    return &r->bursts[mixed >> 32 & (RECORDER_BURSTS - 1)];
}

/* Adds the event to a burst that is still active. Returns false if there is none. */
static bool add_to_burst(recorder_t *r, recorder_burst_t *burst, const recorder_burst_t *what)
{
    if (burst->id != what->id || burst->channel_id != what->channel_id || burst->a != what->a ||
        what->last_mono_ns - burst->last_mono_ns > RECORDER_GAP_NS ||
        what->last_mono_ns - burst->first_mono_ns > RECORDER_SPAN_NS)
        return false;
    shm_event_t *event = slot_writer_at(&r->writer, burst->number);
    if (event == NULL)
        return false;
    burst->last_mono_ns = what->last_mono_ns;
    burst->count += what->count;
    burst->b = what->b > burst->b ? what->b : burst->b;
    rt_store_relaxed(&event->last_mono_ns, burst->last_mono_ns);
    rt_store_relaxed(&event->count, burst->count);
    rt_store_relaxed(&event->b, burst->b);
    return true;
}

static bool take_token(recorder_t *r, int64_t now_mono_ns)
{
    int64_t passed_ns = now_mono_ns - r->tokens_at_mono_ns;
    r->tokens_at_mono_ns = now_mono_ns;
    if (passed_ns > 0)
        r->tokens_ns += passed_ns < MOST_TOKENS_NS ? passed_ns : MOST_TOKENS_NS;
    if (r->tokens_ns > MOST_TOKENS_NS)
        r->tokens_ns = MOST_TOKENS_NS;
    if (r->tokens_ns < TOKEN_NS)
        return false;
    r->tokens_ns -= TOKEN_NS;
    return true;
}

void recorder_note(recorder_t *r, shm_event_id_t id, const recorder_subject_t *subject,
                   uint64_t count, int64_t a, int64_t b, int64_t c, int64_t now_mono_ns)
{
    if (r->writer.slots == NULL)
        return;
    recorder_burst_t what = {
        .id = id,
        .channel_id = subject->channel_id,
        .a = a,
        .b = b,
        .count = count,
        .first_mono_ns = now_mono_ns,
        .last_mono_ns = now_mono_ns,
    };
    if (shm_event_kind(id) == SHM_EVENT_KIND_FACT) {
        (void)write_event(r, &what, subject, c);
        return;
    }
    recorder_burst_t *burst = burst_of(r, &what);
    if (add_to_burst(r, burst, &what))
        return;
    if (!take_token(r, now_mono_ns)) {
        rt_bump(&r->writer.cursors->suppressed, 1);
        return;
    }
    what.number = write_event(r, &what, subject, c);
    *burst = what;
}
