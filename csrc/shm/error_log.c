#include "shm/error_log.h"

void error_log_init(error_log_t *l, shm_error_log_t *shared)
{
    *l = (error_log_t){.shared = shared};
    while (l->count < SHM_ERRORS && rt_load_relaxed(&shared->errors[l->count].state) != 0)
        l->count++;
}

static bool is_same(const shm_error_t *e, shm_event_id_t id, uint64_t channel_id, int64_t a)
{
    return e->id == (uint32_t)id && e->channel_id == channel_id && e->a == a;
}

static shm_error_t *find(error_log_t *l, shm_event_id_t id, uint64_t channel_id, int64_t a)
{
    if (l->latest < l->count && is_same(&l->shared->errors[l->latest], id, channel_id, a))
        return &l->shared->errors[l->latest];
    for (unsigned i = 0; i < l->count; i++) {
        if (is_same(&l->shared->errors[i], id, channel_id, a)) {
            l->latest = i;
            return &l->shared->errors[i];
        }
    }
    return NULL;
}

static void fill_text(char *to, size_t bytes, const char *text)
{
    memset(to, 0, bytes);
    if (text != NULL)
        memcpy(to, text, strnlen(text, bytes - 1));
}

static void add(error_log_t *l, shm_event_id_t id, const recorder_subject_t *subject,
                uint64_t count, int64_t a, const char *text, int64_t now_mono_ns)
{
    shm_error_t *e = &l->shared->errors[l->count];
    e->id = (uint32_t)id;
    e->first_mono_ns = now_mono_ns;
    e->a = a;
    e->channel_id = subject->channel_id;
    memset(e->channel, 0, sizeof e->channel);
    if (subject->channel != NULL)
        memcpy(e->channel, subject->channel, strnlen(subject->channel, sizeof e->channel));
    fill_text(e->text, sizeof e->text, text);
    rt_store_relaxed(&e->count, count);
    rt_store_relaxed(&e->last_mono_ns, now_mono_ns);
    rt_store_release(&e->state, 1); /* E1: the entry is whole; readers copy the page and check it */
    l->latest = l->count++;
}

void error_log_note(error_log_t *l, shm_event_id_t id, const recorder_subject_t *subject,
                    uint64_t count, int64_t a, const char *text, int64_t now_mono_ns)
{
    if (l->shared == NULL)
        return;
    shm_error_t *e = find(l, id, subject->channel_id, a);
    if (e != NULL) {
        rt_bump(&e->count, count);
        rt_store_relaxed(&e->last_mono_ns, now_mono_ns);
    } else if (l->count < SHM_ERRORS) {
        add(l, id, subject, count, a, text, now_mono_ns);
    } else {
        rt_bump(&l->shared->others, count);
        rt_store_relaxed(&l->shared->others_last_mono_ns, now_mono_ns);
    }
}
