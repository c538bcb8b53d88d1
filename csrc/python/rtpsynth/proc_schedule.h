/* proc_schedule.h: a binary heap of due times. Its entries are embedded in their owners, so that
 * one can be removed from the middle. Among equal due times the one pushed first comes first.
 *
 * One thread at a time. */
#ifndef PYTHON_RTPSYNTH_PROC_SCHEDULE_H
#define PYTHON_RTPSYNTH_PROC_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct schedule_entry {
    int64_t due_ns;
    uint64_t order;
    size_t place; /* counted from 1; 0: is in no schedule, also after zeroing */
} schedule_entry_t;

typedef struct schedule {
    schedule_entry_t **entries;
    size_t count;
    size_t room;
    uint64_t next_order;
} schedule_t;

/* A zeroed struct is an empty schedule. Makes room for that many entries in all. Returns 0, or
 * -ENOMEM with nothing changed. */
int schedule_reserve(schedule_t *s, size_t entries);

/* Frees the memory. */
void schedule_close(schedule_t *s);

/* There must be room, and the entry must be in no schedule. */
void schedule_push(schedule_t *s, schedule_entry_t *entry, int64_t due_ns);

/* Removes an entry, wherever it is. Does nothing if it is in none. */
void schedule_remove(schedule_t *s, schedule_entry_t *entry);

/* NULL: empty. */
static inline schedule_entry_t *schedule_first(const schedule_t *s)
{
    return s->count > 0 ? s->entries[0] : NULL;
}

#endif
