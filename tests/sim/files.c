/* files.c: descriptors, memory files and locks of the simulated kernel.
 *
 * A descriptor is a number that one process owns, and names a file. Numbers are unique in the
 * simulation, so that one that is used by mistake in another process is noticed. A file is freed
 * with its last descriptor, message or mapping of a name. A memory file's bytes lie at one address
 * for all processes, because futexes are known by their address. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_FD 3
#define NODES_MOST 8
#define KERNEL_BYTES (UINT64_C(64) << 20)

typedef struct descriptor {
    file_t *file;
    const actor_t *owner;
} descriptor_t;

static descriptor_t fds[FDS_MOST];
static file_t files[FILES_MOST];
static node_t nodes[NODES_MOST];
static unsigned node_count;
static size_t shared_used;
static uint8_t *kernel_memory;
static size_t kernel_used;
static watch_t watch_space[8][WATCHES_MOST];
static uint64_t cookie;

/* --- memory ----------------------------------------------------------------------------------- */

void *kernel_alloc(size_t bytes)
{
    size_t at = (kernel_used + 15) & ~(size_t)15;
    if (at + bytes > KERNEL_BYTES) {
        sim_fail("the kernel's memory is used up");
        sim_over();
    }
    kernel_used = at + bytes;
    memset(kernel_memory + at, 0, bytes);
    return kernel_memory + at;
}

void files_move(void)
{
    kernel_memory = sim_reserve(KERNEL_BYTES);
    sim_clock.shared = (uintptr_t)sim_reserve(SIM_SHARED_BYTES);
}

void files_begin(void)
{
    (void)madvise((void *)sim_clock.shared, SIM_SHARED_BYTES, MADV_DONTNEED);
    memset(fds, 0, sizeof fds);
    memset(files, 0, sizeof files);
    memset(nodes, 0, sizeof nodes);
    node_count = 0;
    shared_used = kernel_used = 0;
    cookie = 0;
}

int memory_file(size_t room)
{
    node_t *n = &nodes[node_count++];
    room = (room + 4095) & ~(size_t)4095;
    if (node_count > NODES_MOST || shared_used + room > SIM_SHARED_BYTES) {
        sim_fail("more memory files than the simulation has");
        sim_over();
    }
    *n = (node_t){
        .base = (uint8_t *)sim_clock.shared + shared_used, .room = room, .number = node_count};
    shared_used += room;
    file_t *f = file_new(FILE_MEMORY);
    f->node = n;
    return fd_new(f);
}

node_t *node_named(const char *name)
{
    for (unsigned i = 0; i < node_count; i++)
        if (nodes[i].name[0] != '\0' && strcmp(nodes[i].name, name) == 0)
            return &nodes[i];
    return NULL;
}

/* --- files ------------------------------------------------------------------------------------ */

file_t *file_new(file_kind_t kind)
{
    for (unsigned i = 0; i < FILES_MOST; i++) {
        file_t *f = &files[i];
        if (f->kind != FILE_FREE)
            continue;
        *f = (file_t){.kind = kind, .refs = 1, .locks = {-1, -1}};
        f->cookie = ++cookie;
        if (kind == FILE_EPOLL)
            for (unsigned k = 0; k < 8 && f->watches == NULL; k++) {
                bool used = false;
                for (unsigned j = 0; j < FILES_MOST; j++)
                    used |= files[j].kind == FILE_EPOLL && files[j].watches == watch_space[k];
                if (!used) {
                    f->watches = watch_space[k];
                    memset(watch_space[k], 0, sizeof watch_space[k]);
                }
            }
        if (kind == FILE_EPOLL && f->watches == NULL)
            break;
        return f;
    }
    sim_fail("more open files than the simulation has");
    sim_over();
}

void file_release(file_t *file)
{
    if (--file->refs > 0)
        return;
    waits_forget(file);
    if (file->kind == FILE_CONN || file->kind == FILE_STREAM || file->kind == FILE_LISTENER)
        unix_hang_up(file);
    file->kind = FILE_FREE;
    file->watches = NULL;
}

uint32_t file_events(const file_t *file)
{
    uint32_t events = 0;
    switch (file->kind) {
    case FILE_EVENT:
        return (file->count > 0 ? EPOLLIN : 0) | EPOLLOUT;
    case FILE_QUIET:
        return file->set ? EPOLLIN : 0;
    case FILE_LISTENER:
        return file->waiting > 0 ? EPOLLIN : 0;
    case FILE_CONN:
    case FILE_STREAM:
        if (file->first != NULL || file->count > 0)
            events |= EPOLLIN;
        if (file->peer == NULL || file->shut || file->peer->shut)
            return events | EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLOUT;
        return events | EPOLLOUT;
    case FILE_UDP:
        if (file->rx_first != NULL)
            events |= EPOLLIN;
        return sim_clock.now_ns >= file->blocked_until_ns ? events | EPOLLOUT : events;
    default:
        return 0;
    }
}

void file_edge(file_t *file)
{
    file->edges++;
    sim_changed();
}

/* The time of day was set: timers that watch for it are ready. */
void files_clock_set(void)
{
    for (unsigned i = 0; i < FILES_MOST; i++)
        if (files[i].kind == FILE_QUIET && files[i].timer) {
            files[i].set = true;
            files[i].edges++;
        }
    sim_changed();
}

/* --- descriptors ------------------------------------------------------------------------------ */

int fd_new(file_t *file)
{
    for (int fd = FIRST_FD; fd < FDS_MOST; fd++) {
        if (fds[fd].file != NULL)
            continue;
        fds[fd] = (descriptor_t){.file = file, .owner = sim.running};
        return fd;
    }
    file_release(file);
    errno = EMFILE;
    return -1;
}

file_t *fd_file(int fd)
{
    if (fd >= FIRST_FD && fd < FDS_MOST && fds[fd].file != NULL && fds[fd].owner == sim.running)
        return fds[fd].file;
    if (fd >= 0)
        sim_fail("descriptor %d is used by %s, which has no such one", fd, sim.running->name);
    errno = EBADF;
    return NULL;
}

/* A copy for a new process, as fork leaves it. */
int fd_give(int fd, actor_t *to)
{
    file_t *file = fd_file(fd);
    file->refs++;
    int copy = fd_new(file);
    fds[copy].owner = to;
    return copy;
}

int fd_close(int fd)
{
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    fds[fd].file = NULL;
    file_release(file);
    return 0;
}

void fds_close_all(const actor_t *of)
{
    for (int fd = FIRST_FD; fd < FDS_MOST; fd++) {
        file_t *file = fds[fd].file;
        if (file == NULL || fds[fd].owner != of)
            continue;
        fds[fd].file = NULL;
        file_release(file);
    }
}

int fd_replace(int fd, file_t *with)
{
    file_t *before = fd_file(fd);
    if (before == NULL)
        return -1;
    with->refs++;
    fds[fd].file = with;
    file_release(before);
    return fd;
}

/* Whether another open file of this node holds a lock of that byte. */
bool node_is_locked(const file_t *file, int64_t at)
{
    for (unsigned i = 0; i < FILES_MOST; i++) {
        const file_t *f = &files[i];
        if (f == file || f->kind != FILE_MEMORY || f->node != file->node)
            continue;
        if (f->locks[0] == at || f->locks[1] == at)
            return true;
    }
    return false;
}

file_t *listener_at(const char *path)
{
    for (unsigned i = 0; i < FILES_MOST; i++)
        if (files[i].kind == FILE_LISTENER && strcmp(files[i].path, path) == 0)
            return &files[i];
    return NULL;
}

file_t *file_at(unsigned i)
{
    return &files[i];
}
