#include "worker/slots.h"

#include "base/rt_err.h"
#include "worker/channels.h"

#include "shm/ctl_msg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHECKS_ON_NEED 64u /* about 1 us each */
#define CHECKS_LEAST 8u    /* of ATTACH, however slow the machine is at the moment */
#define CHECKS_NS \
    (50 * RT_NS_PER_US) /* of a pass, or of ATTACH: no further check begins after it */
/* A check is expensive if it costs more than both of these: EXPENSIVE_NS plus EXPENSIVE_PER_SLOT_NS
 * for each slot, because the kernel may walk over the lock of each, and EXPENSIVE_TIMES as much as
 * a check of another file. */
#define EXPENSIVE_NS (20 * RT_NS_PER_US)
#define EXPENSIVE_PER_SLOT_NS 100
#define EXPENSIVE_TIMES 8
#define EXPENSIVE_IN_A_ROW 4u /* often enough to exclude coincidence */
#define CHANNELS_PER_TURN 256u    /* searched for one with orphans */
#define CHECK_SOON_NS RT_NS_PER_MS /* a process that ends closes its connection first */

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

/* Any process that can open the segment can lock a million of its bytes, and the kernel walks over
 * all of these locks in each call. So the calls are timed, with the CPU clock of this thread, which
 * does not advance while others have the core. */
static int64_t expensive_ns(const wrk_channel_t *ch)
{
    int64_t slots = (int64_t)ch->config.producers + ch->config.readers;
    return EXPENSIVE_NS + slots * EXPENSIVE_PER_SLOT_NS;
}

static bool may_call(const wrk_channel_t *ch)
{
    return ch->expensive_checks < EXPENSIVE_IN_A_ROW;
}

/* Returns the cost. */
static int64_t timed_call(int fd, int op, struct flock *lock, int *rc)
{
    int64_t began_ns = rt_thread_cpu_ns();
    *rc = fcntl(fd, op, lock) == 0 ? 0 : -errno;
    return rt_thread_cpu_ns() - began_ns;
}

/* On a slow machine every call costs much. So the check is compared with one on a file that no
 * client can open, made directly after it. */
static bool is_expensive(const wrk_channel_t *ch, int64_t cost_ns)
{
    int rc;
    struct flock lock = lock_of(WRK_PRODUCERS, 0, F_WRLCK);
    return cost_ns > expensive_ns(ch) &&
           cost_ns > EXPENSIVE_TIMES * timed_call(ch->worker->args.rx_fd, F_OFD_GETLK, &lock, &rc);
}

void slots_check_cost(wrk_channel_t *ch)
{
    char reason[SHM_REASON_BYTES];
    if (ch->failed || may_call(ch))
        return;
    (void)snprintf(reason, sizeof reason,
                   "one check of a slot took over %lld us: a process holds too many file locks on the segment",
                   (long long)(expensive_ns(ch) / RT_NS_PER_US));
    wrk_channel_fail(ch, ENOLCK, reason);
}

/* If it cannot be determined, the owner counts as alive: one slot too few does less harm than a
 * slot with two owners.
 */
static bool is_held(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot)
{
    int rc;
    struct flock lock = lock_of(kind, slot, F_WRLCK);
    if (!may_call(ch))
        return true;
    rt_bump(&ch->worker->page->slot_checks, 1);
    int64_t cost_ns = timed_call(ch->segment_fd, F_OFD_GETLK, &lock, &rc);
    ch->worker->checks_ns += cost_ns;
    ch->expensive_checks = is_expensive(ch, cost_ns) ? ch->expensive_checks + 1 : 0;
    return rc != 0 || lock.l_type != F_UNLCK;
}

/* Like is_held, if a later pass may check again. */
static bool seems_held(wrk_channel_t *ch, wrk_slot_kind_t kind, uint32_t slot)
{
    return ch->worker->checks_ns >= CHECKS_NS || is_held(ch, kind, slot);
}

bool slots_alive(void *of, uint32_t slot)
{
    wrk_channel_t *ch = of;
    const wrk_slots_t *s = slots_of(ch, WRK_PRODUCERS);
    bool taken = slot < s->count && (has(s->given, slot) || has(s->orphaned, slot));
    return taken && seems_held(ch, WRK_PRODUCERS, slot);
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
    if (!seems_held(ch, kind, slot)) {
        slots_free(ch, kind, slot);
        return;
    }
    put(s->given, slot, false);
    set_orphaned(ch, kind, slot, true);
    s->next = slot;
    w->orphan_place = ch->place;
    int64_t soon = rt_mono_ns() + CHECK_SOON_NS;
    if (soon < w->next_housekeeping_mono_ns)
        w->next_housekeeping_mono_ns = soon;
}

/* Checks orphans of the channel from s->next on: a few, or more as long as that is cheap. */
static void check_orphans(wrk_channel_t *ch, wrk_slot_kind_t kind, unsigned looks)
{
    wrk_slots_t *s = slots_of(ch, kind);
    int64_t until_ns = ch->worker->checks_ns + CHECKS_NS;
    unsigned looked = 0;
    for (uint32_t i = 0; i < s->count && looks > 0 && s->orphans > 0; i++) {
        uint32_t slot = s->next < s->count ? s->next : 0;
        s->next = slot + 1;
        if (!has(s->orphaned, slot))
            continue;
        looks--;
        if (!is_held(ch, kind, slot))
            slots_free(ch, kind, slot);
        if (++looked >= CHECKS_LEAST && ch->worker->checks_ns >= until_ns)
            return;
    }
}

void slots_check_orphan(worker_t *w)
{
    for (unsigned i = 0; i < CHANNELS_PER_TURN && w->orphans > 0; i++) {
        uint32_t place = w->orphan_place < w->channel_count ? w->orphan_place : 0;
        wrk_channel_t *ch = w->channels[place];
        /* Its readers, if it has no orphaned producers. Otherwise both in turn, so that neither
         * starves. */
        bool readers = ch->slots[WRK_READERS].orphans > 0 &&
                       (ch->readers_next || ch->slots[WRK_PRODUCERS].orphans == 0);
        wrk_slot_kind_t kind = readers ? WRK_READERS : WRK_PRODUCERS;
        ch->readers_next = !readers;
        w->orphan_place = place + 1;
        if (ch->slots[kind].orphans == 0)
            continue;
        check_orphans(ch, kind, 1);
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

/* Returns an orphaned slot to its process, if the slot is still held. */
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
    check_orphans(ch, kind, CHECKS_ON_NEED);
    if (give_free(ch, kind, pid, slot))
        return 0;
    uint32_t slots = slots_of(ch, kind)->count - first_of(kind);
    return rt_err_set(-EUSERS,
                      "channel \"%s\" has no free %s slot of %u: close some of its ends, or open "
                      "it with more %ss",
                      ch->config.name, NAMES[kind], slots, NAMES[kind]);
}

/* Taking a lock allocates memory, which may be slow for reasons of its own. So a slow call does not
 * fail the channel: it leads to a check, which decides. */
static int lock_slot(wrk_channel_t *ch, int fd, wrk_slot_kind_t kind, uint32_t slot)
{
    int rc;
    struct flock lock = lock_of(kind, slot, F_RDLCK);
    if (slot == CTL_NO_SLOT)
        return 0;
    if (!may_call(ch))
        return -ENOLCK;
    int64_t cost_ns = timed_call(fd, F_OFD_SETLK, &lock, &rc);
    ch->worker->checks_ns += cost_ns;
    if (cost_ns > expensive_ns(ch))
        (void)is_held(ch, kind, slot);
    return rc;
}

int slots_lock(wrk_channel_t *ch, uint32_t producer, uint32_t reader)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", ch->segment_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC); /* a separate open file description */
    int rc = fd >= 0 ? lock_slot(ch, fd, WRK_PRODUCERS, producer) : -errno;
    rc = rc ? rc : lock_slot(ch, fd, WRK_READERS, reader);
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
        if (pid == 0 || pid == UINT32_MAX) /* the latter: known to be dead */
            continue;
        s->pids[i] = pid;
        set_orphaned(ch, kind, i, true);
    }
}

int slots_open(wrk_channel_t *ch, bool takeover)
{
    uint32_t producers = ch->config.producers;
    uint32_t readers = ch->config.readers;
    uint32_t *pids = wrk_take_memory(ch, (producers + readers) * sizeof *pids);
    if (pids == NULL)
        return -ENOMEM;
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
