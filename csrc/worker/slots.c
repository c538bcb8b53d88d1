#include "worker/slots.h"

#include "base/rt_err.h"
#include "worker/channel.h"

#include "shm/ctl_msg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKS_ON_NEED 64u         /* some 0.5 us each */
#define CHANNELS_PER_TURN 256u    /* searched for one with orphans */
#define LOOK_SOON_NS RT_NS_PER_MS /* a process that ends closes its connection first */

static const char *const NAMES[] = {[WRK_PRODUCERS] = "producer", [WRK_READERS] = "reader"};

static wrk_slots_t *slots_of(wrk_channel_t *ch, wrk_slot_kind_t kind)
{
    return &ch->slots[kind];
}

/* Slot 0 of the producers is the worker's own. */
static uint32_t first_of(wrk_slot_kind_t kind)
{
    return kind == WRK_PRODUCERS ? SHM_WORKER_PRODUCER + 1 : 0;
}

static bool has(const uint64_t *set, uint32_t slot)
{
    return set[slot / 64] >> slot % 64 & 1;
}

static void put(uint64_t *set, uint32_t slot, bool in)
{
    uint64_t bit = UINT64_C(1) << slot % 64;
    set[slot / 64] = in ? set[slot / 64] | bit : set[slot / 64] & ~bit;
}

static rt_a32_t *owner_word(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot)
{
    return kind == WRK_PRODUCERS ? &ch->segment.producers[slot].owner
                                 : &ch->segment.readers[slot].owner;
}

/* --- orphans ------------------------------------------------------------------------------- */

static void set_orphaned(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot, bool orphaned)
{
    wrk_slots_t *s = slots_of(ch, kind);
    if (has(s->orphaned, slot) == orphaned)
        return;
    put(s->orphaned, slot, orphaned);
    s->orphans += orphaned ? 1 : UINT32_MAX;
    ch->worker->orphans += orphaned ? 1 : UINT32_MAX;
}

static struct flock lock_of(wrk_slot_kind_t kind, uint32_t slot, short type)
{
    return (struct flock){
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)(SHM_SLOT_LOCKS + (uint64_t)kind * SHM_MAX_SLOTS + slot),
        .l_len = 1,
    };
}

/* If nobody can tell, the owner counts as alive: a slot too few does less harm than one with two
 * owners.
 */
static bool is_held(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot)
{
    struct flock lock = lock_of(kind, slot, F_WRLCK);
    rt_bump(&ch->worker->page->slot_looks, 1);
    return fcntl(ch->segment_fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

bool slots_alive(void *of, uint32_t slot)
{
    wrk_channel_t *ch = of;
    const wrk_slots_t *s = slots_of(ch, WRK_PRODUCERS);
    bool taken = slot < s->count && (has(s->given, slot) || has(s->orphaned, slot));
    return taken && is_held(ch, WRK_PRODUCERS, slot);
}

/* --- free ---------------------------------------------------------------------------------- */

void slots_free(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot)
{
    wrk_slots_t *s = slots_of(ch, kind);
    if (slot >= s->count)
        return;
    put(s->given, slot, false);
    set_orphaned(ch, kind, slot, false);
    s->pids[slot] = 0;
    if (kind == WRK_PRODUCERS) {
        (void)channel_free_producer(ch, slot);
        return;
    }
    rt_store_relaxed(&ch->segment.readers[slot].bell_want, 0);
    rt_store_release(owner_word(ch, kind, slot), 0);
}

void slots_hung_up(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot)
{
    wrk_slots_t *s = slots_of(ch, kind);
    worker_t *w = ch->worker;
    if (slot >= s->count)
        return;
    if (!is_held(ch, kind, slot)) {
        slots_free(ch, kind, slot);
        return;
    }
    put(s->given, slot, false);
    set_orphaned(ch, kind, slot, true);
    s->next = slot;
    w->orphan_place = ch->place;
    int64_t soon = rt_mono_ns() + LOOK_SOON_NS;
    if (soon < w->next_housekeeping_mono_ns)
        w->next_housekeeping_mono_ns = soon;
}

/* Looks at orphans of the channel from s->next on, at most so many. */
static void look_at(wrk_channel_t *ch, wrk_slot_kind_t kind, unsigned looks)
{
    wrk_slots_t *s = slots_of(ch, kind);
    for (uint32_t i = 0; i < s->count && looks > 0 && s->orphans > 0; i++) {
        uint32_t slot = s->next < s->count ? s->next : 0;
        s->next = slot + 1;
        if (!has(s->orphaned, slot))
            continue;
        looks--;
        if (!is_held(ch, kind, slot))
            slots_free(ch, kind, slot);
    }
}

void slots_look(worker_t *w)
{
    for (unsigned i = 0; i < CHANNELS_PER_TURN && w->orphans > 0; i++) {
        uint32_t place = w->orphan_place < w->channel_count ? w->orphan_place : 0;
        wrk_channel_t *ch = w->channels[place];
        /* Its readers, if it has none among the producers: in turn, so that neither starves. */
        bool readers = ch->slots[WRK_READERS].orphans > 0 &&
                       (ch->readers_next || ch->slots[WRK_PRODUCERS].orphans == 0);
        wrk_slot_kind_t kind = readers ? WRK_READERS : WRK_PRODUCERS;
        ch->readers_next = !readers;
        w->orphan_place = place + 1;
        if (ch->slots[kind].orphans == 0)
            continue;
        look_at(ch, kind, 1);
        return;
    }
}

/* --- give ---------------------------------------------------------------------------------- */

static void begin(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot)
{
    if (kind == WRK_PRODUCERS) {
        rt_store_relaxed(&ch->segment.producers[slot].intent, SHM_INTENT_NONE);
        return;
    }
    shm_reader_t *r = &ch->segment.readers[slot];
    rt_store_relaxed(&r->cursor, rt_load_relaxed(&ch->segment.rx->tail));
    rt_store_relaxed(&r->lost, 0);
    rt_store_relaxed(&r->taken, 0);
    rt_store_relaxed(&r->bell_want, 0);
}

static void take(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t pid, uint32_t slot)
{
    wrk_slots_t *s = slots_of(ch, kind);
    put(s->given, slot, true);
    set_orphaned(ch, kind, slot, false);
    s->pids[slot] = pid;
    rt_store_release(owner_word(ch, kind, slot), pid);
}

/* A slot whose owner word is not 0 yet has a dead owner's claim in the ring. */
static bool give_free(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t pid, uint32_t *slot)
{
    wrk_slots_t *s = slots_of(ch, kind);
    for (uint32_t i = first_of(kind); i < s->count; i++) {
        if (has(s->given, i) || has(s->orphaned, i) ||
            rt_load_relaxed(owner_word(ch, kind, i)) != 0)
            continue;
        begin(ch, kind, i);
        take(ch, kind, pid, i);
        *slot = i;
        return true;
    }
    return false;
}

/* Whose slot an orphan is: the same process, as long as somebody holds it. */
static bool give_back(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t pid, uint32_t wanted)
{
    const wrk_slots_t *s = slots_of(ch, kind);
    if (wanted >= s->count || !has(s->orphaned, wanted) || s->pids[wanted] != pid ||
        !is_held(ch, kind, wanted))
        return false;
    take(ch, kind, pid, wanted);
    return true;
}

int slots_give(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t pid, uint32_t wanted,
               uint32_t *slot)
{
    if (give_back(ch, kind, pid, wanted)) {
        *slot = wanted;
        return 0;
    }
    if (give_free(ch, kind, pid, slot))
        return 0;
    look_at(ch, kind, LOOKS_ON_NEED);
    if (give_free(ch, kind, pid, slot))
        return 0;
    uint32_t slots = slots_of(ch, kind)->count - first_of(kind);
    return rt_err_set(-EUSERS,
                      "channel \"%s\" has no free %s slot of %u: close some of its ends, or open "
                      "it with more %ss",
                      ch->config.name, NAMES[kind], slots, NAMES[kind]);
}

static int lock_slot(int fd, wrk_slot_kind_t kind, uint32_t slot)
{
    struct flock lock = lock_of(kind, slot, F_RDLCK);
    return slot == CTL_NO_SLOT || fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

int slots_lock(const wrk_channel_t *ch, uint32_t producer, uint32_t reader)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", ch->segment_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC); /* an open file description of its own */
    int rc = fd >= 0 ? lock_slot(fd, WRK_PRODUCERS, producer) : -errno;
    rc = rc ? rc : lock_slot(fd, WRK_READERS, reader);
    if (rc == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return rt_err_set(rc, "lock for the slots of channel \"%s\": %s", ch->config.name,
                      strerror(-rc));
}

/* --- life ---------------------------------------------------------------------------------- */

static void adopt(wrk_channel_t *ch, wrk_slot_kind_t kind)
{
    wrk_slots_t *s = slots_of(ch, kind);
    for (uint32_t i = first_of(kind); i < s->count; i++) {
        uint32_t pid = rt_load_relaxed(owner_word(ch, kind, i));
        if (pid == 0 || pid == UINT32_MAX) /* the latter: known dead */
            continue;
        s->pids[i] = pid;
        set_orphaned(ch, kind, i, true);
    }
}

int slots_open(wrk_channel_t *ch, bool takeover)
{
    uint32_t producers = ch->config.producers;
    uint32_t readers = ch->config.readers;
    uint32_t *pids = calloc((size_t)producers + readers, sizeof *pids);
    if (pids == NULL)
        return rt_err_set(-ENOMEM, "no memory for %u slots", producers + readers);
    ch->slots[WRK_PRODUCERS] = (wrk_slots_t){.count = producers, .pids = pids};
    ch->slots[WRK_READERS] = (wrk_slots_t){.count = readers, .pids = pids + producers};
    if (takeover) {
        adopt(ch, WRK_PRODUCERS);
        adopt(ch, WRK_READERS);
    }
    return 0;
}

void slots_close(wrk_channel_t *ch)
{
    ch->worker->orphans -= ch->slots[WRK_PRODUCERS].orphans + ch->slots[WRK_READERS].orphans;
    free(ch->slots[WRK_PRODUCERS].pids);
    memset(ch->slots, 0, sizeof ch->slots);
}

bool wrk_producer_alive(wrk_channel_t *ch, uint32_t slot)
{
    return slots_alive(ch, slot);
}

uint32_t wrk_producer_pid(const wrk_channel_t *ch, uint32_t slot)
{
    const wrk_slots_t *s = &ch->slots[WRK_PRODUCERS];
    return slot < s->count ? s->pids[slot] : 0;
}
