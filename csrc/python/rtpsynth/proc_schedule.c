#include "python/rtpsynth/proc_schedule.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_ROOM 16

int schedule_reserve(schedule_t *s, size_t entries)
{
    if (entries <= s->room)
        return 0;
    size_t room = s->room > 0 ? 2 * s->room : FIRST_ROOM;
    if (room < entries)
        room = entries;
    schedule_entry_t **grown = realloc(s->entries, room * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    s->entries = grown;
    s->room = room;
    return 0;
}

void schedule_close(schedule_t *s)
{
    free(s->entries);
    *s = (schedule_t){0};
}

static bool is_before(const schedule_entry_t *a, const schedule_entry_t *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void put(schedule_t *s, size_t index, schedule_entry_t *entry)
{
    s->entries[index] = entry;
    entry->place = index + 1;
}

static void sift_up(schedule_t *s, size_t index, schedule_entry_t *entry)
{
    while (index > 0 && is_before(entry, s->entries[(index - 1) / 2])) {
        put(s, index, s->entries[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    put(s, index, entry);
}

static void sift_down(schedule_t *s, size_t index, schedule_entry_t *entry)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child + 1 < s->count && is_before(s->entries[child + 1], s->entries[child]))
            child++;
        if (child >= s->count || !is_before(s->entries[child], entry))
            break;
        put(s, index, s->entries[child]);
        index = child;
    }
    put(s, index, entry);
}

void schedule_push(schedule_t *s, schedule_entry_t *entry, int64_t due_ns)
{
    entry->due_ns = due_ns;
    entry->order = s->next_order++;
    sift_up(s, s->count++, entry);
}

void schedule_remove(schedule_t *s, schedule_entry_t *entry)
{
    if (entry->place == 0)
        return;
    size_t hole = entry->place - 1;
    schedule_entry_t *last = s->entries[--s->count];
    entry->place = 0;
    if (last == entry)
        return;
    if (hole > 0 && is_before(last, s->entries[(hole - 1) / 2]))
        sift_up(s, hole, last);
    else
        sift_down(s, hole, last);
}
