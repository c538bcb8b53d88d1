#include "shm/recorder.h"

#define TOKEN_NS (RT_NS_PER_S / RECORDER_PER_S)
#define MOST_TOKENS_NS (RECORDER_AT_ONCE * TOKEN_NS)

typedef struct event_row {
    const char *name;
    const char *text;
    shm_event_kind_t kind;
    const char *numbers[3];
} event_row_t;

static const event_row_t TABLE[SHM_EVENT_TOTAL] = {
#define EVENT_ROW(id, what, text, a, b, c) {#id, text, SHM_EVENT_KIND_##what, {a, b, c}},
    SHM_EVENTS(EVENT_ROW)
#undef EVENT_ROW
};

static const event_row_t *row_of(unsigned id)
{
    return &TABLE[id < SHM_EVENT_TOTAL ? id : SHM_EVENT_none];
}

const char *shm_event_name(unsigned id)
{
    return row_of(id)->name;
}

const char *shm_event_text(unsigned id)
{
    return row_of(id)->text;
}

shm_event_kind_t shm_event_kind(unsigned id)
{
    return row_of(id)->kind;
}

const char *shm_event_number(unsigned id, unsigned which)
{
    return which < 3 ? row_of(id)->numbers[which] : "";
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

/* Counts it in the burst that goes on. Returns false when there is none. */
static bool goes_on(recorder_t *r, recorder_burst_t *burst, const recorder_burst_t *what)
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
    if (TABLE[id].kind == SHM_EVENT_KIND_FACT) {
        (void)write_event(r, &what, subject, c);
        return;
    }
    recorder_burst_t *burst = burst_of(r, &what);
    if (goes_on(r, burst, &what))
        return;
    if (!take_token(r, now_mono_ns)) {
        rt_bump(&r->writer.cursors->suppressed, 1);
        return;
    }
    what.number = write_event(r, &what, subject, c);
    *burst = what;
}

uint64_t recorder_suppressed(const shm_recorder_t *shared)
{
    return rt_load_relaxed(&shared->cursors.suppressed);
}
