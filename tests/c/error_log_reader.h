/* error_log_reader.h: reads a log of distinct errors as the Python package observe does. */
#ifndef TEST_ERROR_LOG_READER_H
#define TEST_ERROR_LOG_READER_H

#include "shm/error_log.h"

/* Copies the complete entries in the order of their first time. Returns how many. */
static inline unsigned error_log_read(const shm_error_log_t *shared, shm_error_t out[SHM_ERRORS])
{
    unsigned n = 0;
    for (unsigned i = 0; i < SHM_ERRORS; i++) {
        const shm_error_t *e = &shared->errors[i];
        if (rt_load_acquire(&e->state) == 0) /* E1 */
            continue;
        out[n].id = e->id;
        out[n].first_mono_ns = e->first_mono_ns;
        out[n].a = e->a;
        out[n].channel_id = e->channel_id;
        memcpy(out[n].channel, e->channel, sizeof e->channel);
        memcpy(out[n].text, e->text, sizeof e->text);
        out[n].text[sizeof out[n].text - 1] = '\0';
        rt_store_relaxed(&out[n].state, 1);
        rt_store_relaxed(&out[n].count, rt_load_relaxed(&e->count));
        rt_store_relaxed(&out[n].last_mono_ns, rt_load_relaxed(&e->last_mono_ns));
        n++;
    }
    return n;
}

#endif
