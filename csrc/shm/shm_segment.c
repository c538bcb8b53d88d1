#include "shm/shm_segment.h"

#include "base/rt_err.h"
#include "shm/shm_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The offsets of the parts: a pure function of the configuration, so that no process has to trust
 * the offsets in a mapping. */
typedef struct geometry {
    uint64_t status, tx_cursors, rx_cursors, report_cursors, producers, readers, stats, reports,
        late, tx, rx, engine, total;
} geometry_t;

static uint64_t align_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static geometry_t geometry_of(const shm_config_t *c)
{
    geometry_t g;
    g.status = SHM_PAGE_BYTES;
    g.tx_cursors = align_up(g.status + sizeof(shm_status_t), RT_LINE_BYTES);
    g.rx_cursors = g.tx_cursors + sizeof(shm_tx_cursors_t);
    g.report_cursors = g.rx_cursors + sizeof(shm_rx_cursors_t);
    g.producers = g.report_cursors + sizeof(shm_slot_cursors_t);
    g.readers = g.producers + c->producers * sizeof(shm_producer_t);
    g.stats = g.readers + c->readers * sizeof(shm_reader_t);
    g.reports = align_up(g.stats + sizeof(shm_stats_t), RT_LINE_BYTES);
    g.late = align_up(g.reports + c->report_slots * sizeof(shm_report_t), RT_LINE_BYTES);
    uint64_t late_bytes = sizeof(shm_slot_cursors_t) + c->late_slots * sizeof(shm_late_packet_t);
    g.tx = align_up(g.late + late_bytes, SHM_PAGE_BYTES);
    g.rx = g.tx + c->tx_bytes;
    g.engine = g.rx + c->rx_bytes;
    g.total = g.engine + c->engine_bytes;
    return g;
}

uint64_t shm_segment_bytes(const shm_config_t *c)
{
    return geometry_of(c).total;
}

static void find_parts(shm_segment_t *s, uint64_t segment_id, const shm_config_t *c)
{
    s->segment_id = segment_id;
    s->config = *c;
    geometry_t g = geometry_of(c);
    s->identity = (shm_identity_t *)s->base;
    s->status = (shm_status_t *)(s->base + g.status);
    s->tx = (shm_tx_cursors_t *)(s->base + g.tx_cursors);
    s->rx = (shm_rx_cursors_t *)(s->base + g.rx_cursors);
    s->report = (shm_slot_cursors_t *)(s->base + g.report_cursors);
    s->producers = (shm_producer_t *)(s->base + g.producers);
    s->readers = (shm_reader_t *)(s->base + g.readers);
    s->stats = (shm_stats_t *)(s->base + g.stats);
    s->reports = (shm_report_t *)(s->base + g.reports);
    s->late = (shm_slot_cursors_t *)(s->base + g.late);
    s->late_packets = (shm_late_packet_t *)(s->base + g.late + sizeof(shm_slot_cursors_t));
    s->tx_data = s->base + g.tx;
    s->rx_data = s->base + g.rx;
    s->engine = s->config.engine_bytes > 0 ? s->base + g.engine : NULL;
}

/* Maps this many bytes of the file. The bus guard watches them before the first access. */
static int map_file(shm_segment_t *s, int fd, uint64_t bytes, int writable)
{
    int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *base = mmap(NULL, (size_t)bytes, prot, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return rt_err_set(-errno, "mapping a segment of %llu bytes: %s", (unsigned long long)bytes,
                          strerror(errno));
    struct stat st;
    *s = (shm_segment_t){.base = base, .bytes = bytes, .writable = writable};
    s->owner_uid = fstat(fd, &st) == 0 ? st.st_uid : UINT32_MAX;
    int rc = bus_guard_add(base, bytes, &s->guard);
    s->torn = bus_guard_torn(s->guard);
    if (rc < 0)
        shm_segment_unmap(s);
    return rc;
}

/* --- making ------------------------------------------------------------------------------- */

/* posix_fallocate makes a full /dev/shm an error here and not a SIGBUS at some later store. */
static int reserve(int fd, uint64_t from, uint64_t bytes)
{
    int err;
    do {
        err = posix_fallocate(fd, (off_t)from, (off_t)bytes);
    } while (err == EINTR);
    if (err == 0)
        return 0;

    struct statvfs vfs;
    uint64_t free_bytes = fstatvfs(fd, &vfs) == 0 ? (uint64_t)vfs.f_bavail * vfs.f_frsize : 0;
    return rt_err_set(-err,
                      "a segment of %llu bytes cannot be reserved (%llu bytes are free in shared "
                      "memory): lower the capacity, close channels, or enlarge /dev/shm "
                      "(mount -o remount,size=...)",
                      (unsigned long long)bytes, (unsigned long long)free_bytes);
}

/* The time is stored before the process: a reader that sees only one of both takes the new time for
 * that of the dead process, and not the new process for one that started too late. */
void shm_segment_change_opener(shm_segment_t *s, uint32_t pid)
{
    shm_identity_t *identity = s->identity;
    rt_store_relaxed(&identity->opener_mono_ns, (uint64_t)rt_mono_ns());
    rt_fence_full();
    *(volatile uint32_t *)&identity->config.opener_pid = pid;
    rt_store_release(&identity->openers, rt_load_relaxed(&identity->openers) + 1);
}

void shm_segment_opener(const shm_segment_t *s, shm_opener_t *out)
{
    const shm_identity_t *identity = s->identity;
    out->count = rt_load_acquire(&identity->openers);
    out->pid = *(const volatile uint32_t *)&identity->config.opener_pid;
    rt_fence_full();
    out->since_mono_ns = (int64_t)rt_load_relaxed(&identity->opener_mono_ns);
}

int shm_segment_format(shm_segment_t *s, int fd, const shm_config_t *c, uint64_t segment_id)
{
    int rc = shm_config_check(c);
    if (rc < 0)
        return rc;
    geometry_t g = geometry_of(c);
    uint64_t bytes = g.total;
    bool grows = shm_engine_grows(c);
    rc = reserve(fd, 0, grows ? g.stats : bytes);
    rc = rc || !grows ? rc : reserve(fd, g.engine, bytes - g.engine);
    if (rc < 0)
        return rc;

    rc = map_file(s, fd, bytes, 1);
    if (rc < 0)
        return rc;
    find_parts(s, segment_id, c);
    s->identity->magic = SHM_MAGIC;
    s->identity->segment_bytes = bytes;
    s->identity->segment_id = segment_id;
    s->identity->config = *c;
    shm_segment_change_opener(s, c->opener_pid);
    rt_store_relaxed(&s->status->worker_slot, UINT32_MAX);
    rt_store_relaxed(&s->status->cpu, UINT32_MAX);
    for (uint32_t i = 0; i < c->producers; i++)
        rt_store_relaxed(&s->producers[i].intent, SHM_INTENT_NONE);
    /* V1: everything above is whole before the version is; pairs with V2 in read_identity. */
    rt_store_release(&s->identity->version, SHM_LAYOUT_VERSION);
    return 0;
}

/* --- mapping ------------------------------------------------------------------------------ */

static int check_version(uint64_t magic, uint32_t version)
{
    if (version == 0)
        return rt_err_set(-EPROTO,
                          "not a finished shmring segment: its creator is still writing it or "
                          "died; try again, or remove it with \"shmring gc\"");
    if (magic != SHM_MAGIC)
        return rt_err_set(-EPROTO, "not a shmring segment (magic number 0x%016llx)",
                          (unsigned long long)magic);
    if (version != SHM_LAYOUT_VERSION)
        return rt_err_set(-EPROTO,
                          "segment has layout version %u, this build understands %u: use the same "
                          "shmring version in all processes",
                          version, SHM_LAYOUT_VERSION);
    return 0;
}

/* Reads the first page with system calls: if the file is cut short meanwhile, that causes an error,
 * not a signal, and the copy cannot change. */
static int read_identity(int fd, shm_identity_t *id)
{
    struct {
        uint64_t magic;
        uint32_t version;
    } head;
    ssize_t got = pread(fd, &head, sizeof head, 0);
    if (got < 0)
        return rt_err_set(-errno, "reading the segment: %s", strerror(errno));
    if ((size_t)got < sizeof head)
        return rt_err_set(-EPROTO, "not a finished shmring segment: %zd bytes long", got);
    int rc = check_version(head.magic, head.version);
    if (rc < 0)
        return rc;
    rt_fence_acquire(); /* V2: pairs with V1 in shm_segment_format. */
    got = pread(fd, id, sizeof *id, 0);
    if (got != (ssize_t)sizeof *id)
        return rt_err_set(-EPROTO, "segment is cut short: its first page has %zd bytes", got);
    return 0;
}

static int check_identity(const shm_identity_t *id, uint64_t file_bytes)
{
    int rc = shm_config_check(&id->config);
    rc = rc ? rc : shm_engine_check(&id->config);
    if (rc < 0) {
        rt_err_append("segment's configuration");
        return rc;
    }
    uint64_t needed = shm_segment_bytes(&id->config);
    if (needed == id->segment_bytes && needed <= file_bytes)
        return 0;
    return rt_err_set(-EINVAL,
                      "segment claims %llu bytes, its configuration needs %llu, its file has "
                      "%llu: it is damaged; close the channel and open it again",
                      (unsigned long long)id->segment_bytes, (unsigned long long)needed,
                      (unsigned long long)file_bytes);
}

static int file_size(int fd, uint64_t *bytes)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return rt_err_set(-errno, "reading the segment's size: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return rt_err_set(-EPROTO, "not a shmring segment: not a regular file");
    *bytes = (uint64_t)st.st_size;
    return 0;
}

int shm_segment_map(shm_segment_t *s, int fd, int writable)
{
    shm_identity_t id = {0};
    uint64_t file_bytes = 0;
    *s = (shm_segment_t){0};
    int rc = file_size(fd, &file_bytes);
    rc = rc ? rc : read_identity(fd, &id);
    rc = rc ? rc : check_identity(&id, file_bytes);
    rc = rc ? rc : map_file(s, fd, id.segment_bytes, writable);
    if (rc < 0)
        return rc;
    find_parts(s, id.segment_id, &id.config);
    return 0;
}

int shm_segment_map_as(shm_segment_t *s, int fd, const shm_config_t *c)
{
    shm_identity_t id = {0};
    uint64_t file_bytes = 0;
    uint64_t needed = shm_segment_bytes(c);
    *s = (shm_segment_t){0};
    int rc = file_size(fd, &file_bytes);
    rc = rc ? rc : read_identity(fd, &id);
    if (rc == 0 && file_bytes < needed)
        rc = rt_err_set(-EPROTO,
                        "the segment's file has %llu bytes, channel \"%s\" needs %llu: it was cut "
                        "short; close the channel and open it again",
                        (unsigned long long)file_bytes, c->name, (unsigned long long)needed);
    rc = rc ? rc : map_file(s, fd, needed, 1);
    if (rc < 0)
        return rc;
    find_parts(s, id.segment_id, c);
    return 0;
}

bool shm_segment_is(const shm_segment_t *s, const char *name_space, const char *name)
{
    return strcmp(s->config.name_space, name_space) == 0 && strcmp(s->config.name, name) == 0;
}

void shm_segment_unmap(shm_segment_t *s)
{
    bus_guard_remove(s->guard);
    if (s->base)
        munmap(s->base, s->bytes);
    *s = (shm_segment_t){0};
}

static int write_at(int fd, const void *from, size_t bytes, size_t at)
{
    if (pwrite(fd, from, bytes, (off_t)at) == (ssize_t)bytes)
        return 0;
    return rt_err_set(errno ? -errno : -EIO, "writing to the segment: %s", strerror(errno));
}

int shm_segment_write_state(int fd, shm_channel_state_t state, uint32_t error, const char *reason)
{
    const size_t status = SHM_PAGE_BYTES; /* as geometry_of says */
    char text[SHM_REASON_BYTES] = "";
    uint32_t number = state;
    for (size_t i = 0; i + 1 < sizeof text && reason[i] != '\0'; i++)
        text[i] = reason[i];
    int rc = write_at(fd, text, sizeof text, status + offsetof(shm_status_t, reason));
    rc = rc ? rc : write_at(fd, &error, sizeof error, status + offsetof(shm_status_t, error));
    return rc ? rc : write_at(fd, &number, sizeof number, status + offsetof(shm_status_t, state));
}
