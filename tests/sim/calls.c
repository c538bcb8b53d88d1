/* calls.c: the system calls of the product. The linker sends each call of NAME to __wrap_NAME. What
 * the product cannot do without is simulated; what makes a process a real-time one, or takes rights
 * from it, succeeds and does nothing. Each call takes some time, and the process may give way, or
 * die, before it and after it. */
#include "sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define OWN_UID 1000

#define TICK_NS (4 * NS_PER_MS)

#define IN(ns) (SIM_POINT, sim_clock.now_ns += (ns))
#define OUT SIM_POINT

#define WRAP(type, name, ...)        \
    type __wrap_##name(__VA_ARGS__); \
    type __real_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)
/* Succeeds, and does nothing. */
#define IDLE(name, ...) WRAP(int, name, __VA_ARGS__)

static int64_t ns_of(const struct timespec *t)
{
    return (int64_t)t->tv_sec * NS_PER_S + t->tv_nsec;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

/* --- time ------------------------------------------------------------------------------------- */

WRAP(int, clock_gettime, clockid_t id, struct timespec *out)
{
    IN(18);
    int64_t now = sim_clock.now_ns;
    if (id == CLOCK_MONOTONIC_COARSE)
        now -= now % TICK_NS;
    else if (id == CLOCK_REALTIME)
        now += sim.real_offset_ns;
    else if (id == CLOCK_TAI)
        now += sim.real_offset_ns + TAI_S * NS_PER_S;
    else if (id == CLOCK_THREAD_CPUTIME_ID)
        now = sim.running->cpu_ns + now - sim.slice_ns;
    *out = (struct timespec){.tv_sec = now / NS_PER_S, .tv_nsec = now % NS_PER_S};
    return 0;
}

WRAP(int, clock_getres, clockid_t id, struct timespec *out)
{
    (void)id;
    *out = (struct timespec){.tv_nsec = TICK_NS};
    return 0;
}

WRAP(int, adjtimex, struct timex *t)
{
    *t = (struct timex){.tai = TAI_S};
    return 0;
}

WRAP(int, clock_nanosleep, clockid_t id, int flags, const struct timespec *at,
     struct timespec *left)
{
    (void)id;
    (void)flags;
    (void)left;
    IN(400);
    sim_sleep_until(ns_of(at));
    OUT;
    return 0;
}

WRAP(int, nanosleep, const struct timespec *length, struct timespec *left)
{
    (void)left;
    IN(400);
    sim_sleep_until(sim_clock.now_ns + ns_of(length));
    OUT;
    return 0;
}

WRAP(int, sched_yield, void)
{
    SIM_RELAX;
    return 0;
}

/* --- memory ----------------------------------------------------------------------------------- */

WRAP(void *, malloc, size_t bytes)
{
    return sim.running != NULL ? sim_alloc(bytes, 16) : __real_malloc(bytes);
}

WRAP(void *, calloc, size_t count, size_t bytes)
{
    return sim.running != NULL ? sim_alloc(count * bytes, 16) : __real_calloc(count, bytes);
}

WRAP(int, posix_memalign, void **out, size_t align, size_t bytes)
{
    *out = sim_alloc(bytes, align);
    return *out != NULL ? 0 : ENOMEM;
}

WRAP(void, free, void *at)
{
    if (sim.running == NULL)
        __real_free(at);
}

WRAP(void *, mmap, void *at, size_t bytes, int prot, int flags, int fd, off_t from)
{
    if (sim.running == NULL)
        return __real_mmap(at, bytes, prot, flags, fd, from);
    IN(900);
    if (fd < 0)
        return sim_alloc(bytes, 4096);
    file_t *file = fd_file(fd);
    return file != NULL && file->node != NULL ? file->node->base + from : MAP_FAILED;
}

WRAP(int, madvise, void *at, size_t bytes, int advice)
{
    return sim.running != NULL ? 0 : __real_madvise(at, bytes, advice);
}

IDLE(munmap, void *at, size_t bytes)
{
    (void)at;
    (void)bytes;
    return 0;
}
IDLE(munlock, const void *at, size_t bytes)
{
    (void)at;
    (void)bytes;
    return 0;
}
IDLE(mlockall, int flags)
{
    (void)flags;
    return 0;
}

/* --- the process ------------------------------------------------------------------------------ */

WRAP(pid_t, getpid, void)
{
    return sim.running != NULL ? (pid_t)sim.running->pid : 1;
}
WRAP(uid_t, geteuid, void)
{
    return OWN_UID;
}
WRAP(uid_t, getuid, void)
{
    return OWN_UID;
}
WRAP(gid_t, getegid, void)
{
    return OWN_UID;
}
WRAP(char *, secure_getenv, const char *name)
{
    if (strcmp(name, "SHMRING_RUNTIME_DIR") == 0)
        return (char *)(uintptr_t)RUNTIME;
    return strcmp(name, "SHMRING_SYSCALL_FILTER") == 0 ? (char *)(uintptr_t) "off" : NULL;
}
WRAP(int, prctl, int option, ...)
{
    return option == PR_CAPBSET_DROP ? fail(EPERM) : 0;
}
WRAP(int, getrlimit, int resource, struct rlimit *out)
{
    rlim_t most = resource == RLIMIT_NOFILE ? FDS_MOST : RLIM_INFINITY;
    *out = (struct rlimit){.rlim_cur = most, .rlim_max = most};
    return 0;
}
IDLE(setrlimit, int resource, const struct rlimit *limit)
{
    (void)resource;
    (void)limit;
    return 0;
}
IDLE(sched_setaffinity, pid_t pid, size_t bytes, const void *set)
{
    (void)pid;
    (void)bytes;
    (void)set;
    return 0;
}
IDLE(sigaction, int number, const struct sigaction *now, struct sigaction *before)
{
    (void)number;
    (void)now;
    if (before != NULL)
        memset(before, 0, sizeof *before);
    return 0;
}
IDLE(sigprocmask, int how, const void *set, void *before)
{
    (void)how;
    (void)set;
    (void)before;
    return 0;
}
WRAP(void *, signal, int number, void *handler)
{
    (void)number;
    (void)handler;
    return NULL;
}

/* --- files ------------------------------------------------------------------------------------ */

static void fill_stat(const node_t *n, struct stat *out)
{
    *out = (struct stat){.st_dev = 1,
                         .st_ino = n->number,
                         .st_mode = S_IFREG | 0600,
                         .st_size = (off_t)n->bytes,
                         .st_blocks = (blkcnt_t)(n->bytes / 512),
                         .st_uid = OWN_UID,
                         .st_gid = OWN_UID};
}

WRAP(int, fstat, int fd, struct stat *out)
{
    IN(300);
    file_t *file = fd_file(fd);
    if (file == NULL || file->node == NULL)
        return fail(EBADF);
    fill_stat(file->node, out);
    return 0;
}

WRAP(int, lstat, const char *path, struct stat *out)
{
    IN(700);
    const node_t *n = node_named(path);
    if (n == NULL)
        return fail(ENOENT);
    fill_stat(n, out);
    return 0;
}

WRAP(int, open, const char *path, int flags, ...)
{
    static const char own[] = "/proc/self/fd/";
    (void)flags;
    IN(1500);
    file_t *of =
        strncmp(path, own, sizeof own - 1) == 0 ? fd_file(atoi(path + sizeof own - 1)) : NULL;
    node_t *n = of != NULL ? of->node : node_named(path);
    if (n == NULL)
        return fail(ENOENT);
    file_t *file = file_new(FILE_MEMORY);
    file->node = n;
    return fd_new(file);
}

WRAP(int, linkat, int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    (void)from_fd;
    (void)to_fd;
    (void)flags;
    IN(2000);
    file_t *file = fd_file(atoi(strrchr(from, '/') + 1));
    if (file == NULL || file->node == NULL)
        return fail(ENOENT);
    if (node_named(to) != NULL)
        return fail(EEXIST);
    (void)snprintf(file->node->name, sizeof file->node->name, "%s", to);
    OUT;
    return 0;
}

WRAP(int, unlink, const char *path)
{
    IN(1500);
    node_t *n = node_named(path);
    file_t *listener = listener_at(path);
    if (n != NULL)
        n->name[0] = '\0';
    if (listener != NULL)
        listener->path[0] = '\0';
    OUT;
    return n != NULL || listener != NULL ? 0 : fail(ENOENT);
}

static int set_bytes(int fd, size_t bytes, bool shrinks)
{
    file_t *file = fd_file(fd);
    if (file == NULL || file->node == NULL || bytes > file->node->room)
        return ENOSPC;
    node_t *n = file->node;
    if (shrinks && bytes < n->bytes)
        (void)__real_madvise(n->base, n->room, MADV_DONTNEED);
    if (bytes > n->bytes || shrinks)
        n->bytes = bytes;
    return 0;
}

WRAP(int, ftruncate, int fd, off_t bytes)
{
    IN(900);
    int error = set_bytes(fd, (size_t)bytes, true);
    return error != 0 ? fail(error) : 0;
}

WRAP(int, posix_fallocate, int fd, off_t from, off_t bytes)
{
    IN(900);
    return set_bytes(fd, (size_t)(from + bytes), false);
}

WRAP(int, fallocate, int fd, int mode, off_t from, off_t bytes)
{
    (void)fd;
    (void)mode;
    (void)from;
    (void)bytes;
    return fail(EOPNOTSUPP);
}

WRAP(ssize_t, pread, int fd, void *to, size_t bytes, off_t from)
{
    IN(500);
    file_t *file = fd_file(fd);
    if (file == NULL || file->node == NULL)
        return fail(EBADF);
    size_t left = (size_t)from < file->node->bytes ? file->node->bytes - (size_t)from : 0;
    bytes = bytes < left ? bytes : left;
    memcpy(to, file->node->base + from, bytes);
    return (ssize_t)bytes;
}

WRAP(ssize_t, read, int fd, void *to, size_t bytes)
{
    IN(300);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (file->kind == FILE_QUIET) {
        bool set = file->set;
        file->set = false;
        return fail(set ? ECANCELED : EAGAIN);
    }
    if (file->kind == FILE_STREAM) {
        struct iovec part = {.iov_base = to, .iov_len = bytes};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
        return unix_receive(file, &m);
    }
    if (file->kind != FILE_EVENT || file->count == 0)
        return fail(EAGAIN);
    memcpy(to, &file->count, sizeof file->count);
    file->count = 0;
    return sizeof file->count;
}

WRAP(ssize_t, write, int fd, const void *from, size_t bytes)
{
    IN(500);
    file_t *file = fd_file(fd);
    uint64_t more = 0;
    if (file == NULL || file->kind != FILE_EVENT || bytes != sizeof more)
        return fail(EBADF);
    memcpy(&more, from, sizeof more);
    file->count += more;
    file_edge(file);
    OUT;
    return sizeof more;
}

WRAP(int, close, int fd)
{
    IN(400);
    return fd_close(fd);
}

WRAP(int, dup3, int from, int to, int flags)
{
    (void)flags;
    IN(300);
    file_t *file = fd_file(from);
    return file != NULL ? fd_replace(to, file) : -1;
}

WRAP(int, flock, int fd, int how)
{
    (void)fd;
    return how & LOCK_EX ? fail(EWOULDBLOCK) : 0; /* the pool holds all of them */
}

WRAP(int, fcntl, int fd, int op, ...)
{
    va_list args;
    va_start(args, op);
    struct flock *lock =
        op == F_OFD_SETLK || op == F_OFD_GETLK ? va_arg(args, struct flock *) : NULL;
    va_end(args);
    IN(500);
    file_t *file = fd_file(fd);
    if (file == NULL)
        return -1;
    if (op == F_DUPFD_CLOEXEC) {
        file->refs++;
        return fd_new(file);
    }
    if (op == F_OFD_GETLK && !node_is_locked(file, lock->l_start))
        lock->l_type = F_UNLCK;
    if (op == F_OFD_SETLK)
        file->locks[file->locks[0] < 0 ? 0 : 1] = lock->l_start;
    OUT;
    return 0;
}

IDLE(rmdir, const char *path)
{
    (void)path;
    return fail(ENOENT);
}
WRAP(void *, opendir, const char *path)
{
    (void)path;
    return NULL;
}
WRAP(mode_t, umask, mode_t mode)
{
    return mode;
}
IDLE(ioctl, int fd, unsigned long op, ...)
{
    (void)fd;
    (void)op;
    return fail(ENODEV);
}
WRAP(unsigned, if_nametoindex, const char *name)
{
    (void)name;
    return 0;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int new_file(file_kind_t kind)
{
    IN(900);
    return fd_new(file_new(kind));
}

WRAP(int, eventfd, unsigned first, int flags)
{
    (void)first;
    (void)flags;
    return new_file(FILE_EVENT);
}
WRAP(int, epoll_create1, int flags)
{
    (void)flags;
    return new_file(FILE_EPOLL);
}
WRAP(int, signalfd, int fd, const void *set, int flags)
{
    (void)fd;
    (void)set;
    (void)flags;
    return new_file(FILE_QUIET);
}
WRAP(int, timerfd_create, int clock, int flags)
{
    (void)flags;
    int fd = new_file(FILE_QUIET);
    fd_file(fd)->timer = clock == CLOCK_REALTIME;
    return fd;
}
IDLE(timerfd_settime, int fd, int flags, const void *at, void *before)
{
    (void)fd;
    (void)flags;
    (void)at;
    (void)before;
    return 0;
}

WRAP(int, epoll_ctl, int epoll, int op, int fd, struct epoll_event *event)
{
    IN(400);
    file_t *e = fd_file(epoll), *file = fd_file(fd);
    return e != NULL && file != NULL ? waits_control(e, op, file, event) : -1;
}

static int wait_on(int epoll, struct epoll_event *out, int most, int64_t until_ns)
{
    file_t *e = fd_file(epoll);
    if (until_ns != 0 && chance_permille(&sim.calls, sim.plan.send_trouble / 8))
        return fail(EINTR);
    int count = e != NULL ? waits_epoll(e, out, most, until_ns) : -1;
    OUT;
    return count;
}

WRAP(int, epoll_wait, int epoll, struct epoll_event *out, int most, int timeout_ms)
{
    (void)timeout_ms; /* the product waits so for nothing: 0 */
    IN(500);
    return wait_on(epoll, out, most, 0);
}

WRAP(int, poll, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    IN(500);
    int64_t until = timeout_ms < 0    ? NEVER
                    : timeout_ms == 0 ? 0
                                      : sim_clock.now_ns + timeout_ms * NS_PER_MS;
    int ready = waits_poll(fds, (unsigned)count, until);
    OUT;
    return ready;
}

static long futex(uint32_t *word, int op, uint32_t value, const struct timespec *until)
{
    if (op == FUTEX_WAKE)
        return (long)sim_wake(word);
    if (*word != value)
        return fail(EAGAIN);
    if (chance_permille(&sim.calls, sim.plan.send_trouble / 8))
        return chance_permille(&sim.calls, 500) ? 0 : fail(EINTR); /* woken for nothing */
    bool woken = sim_block(until != NULL ? ns_of(until) : NEVER, word, NULL, NULL);
    return woken ? 0 : fail(ETIMEDOUT);
}

WRAP(long, syscall, long number, ...)
{
    va_list args;
    long rc = -1;
    va_start(args, number);
    IN(400);
    if (number == SYS_futex) {
        uint32_t *word = va_arg(args, uint32_t *);
        int op = va_arg(args, int);
        uint32_t value = va_arg(args, uint32_t);
        rc =
            futex(word, op, value, op == FUTEX_WAKE ? NULL : va_arg(args, const struct timespec *));
    } else if (number == SYS_epoll_pwait2) {
        int epoll = va_arg(args, int);
        struct epoll_event *out = va_arg(args, struct epoll_event *);
        int most = va_arg(args, int);
        const struct timespec *limit = va_arg(args, const struct timespec *);
        rc = wait_on(epoll, out, most, sim_clock.now_ns + ns_of(limit));
    } else if (number == SYS_capget || number == SYS_capset) {
        rc = 0;
    } else {
        rc = fail(ENOSYS);
    }
    va_end(args);
    OUT;
    return rc;
}
