#include "worker/pool_files.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHM_DIRECTORY "/dev/shm"
#define NOTE_SUFFIX ".channel" /* the same as SUFFIX of records.py */
#define POLL_MS 1
/* A pool that was killed closes its descriptors one after the other: the connection's hang-up may
 * come a few milliseconds before the last of its locks ends. */
#define SWEEP_NS (INT64_C(100) * 1000000)

typedef struct path {
    char text[4096 + 2 + NAME_MAX];
} path_t;

static path_t channel_path(const shm_config_t *config)
{
    path_t path;
    (void)snprintf(path.text, sizeof path.text, SHM_DIRECTORY "/shmring:%s:c:%s",
                   config->name_space, config->name);
    return path;
}

static path_t page_path(const worker_t *w)
{
    path_t path;
    (void)snprintf(path.text, sizeof path.text, SHM_DIRECTORY "/shmring:%s:w:%s:%u",
                   w->args.name_space, w->args.pool, w->args.slot);
    return path;
}

static bool names(const path_t *path, int fd)
{
    struct stat named, ours;
    return lstat(path->text, &named) == 0 && fstat(fd, &ours) == 0 && named.st_ino == ours.st_ino &&
           named.st_dev == ours.st_dev;
}

/* --- publish, withdraw --------------------------------------------------------------------- */

static int publish(int fd, const path_t *path)
{
    char file[32];
    (void)snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, file, AT_FDCWD, path->text, AT_SYMLINK_FOLLOW) == 0 || errno == EXDEV)
        return 0;
    int err = errno;
    if (err == EEXIST && names(path, fd))
        return 0;
    return rt_err_set(-err, "%s: %s", path->text, strerror(err));
}

static void remove_in(const char *directory, const char *name)
{
    path_t path;
    (void)snprintf(path.text, sizeof path.text, "%.4096s/%s", directory, name);
    (void)unlink(path.text);
}

static void withdraw(int fd, const path_t *path)
{
    if (names(path, fd))
        (void)unlink(path->text);
}

static void remove_note(const worker_t *w, const shm_config_t *config)
{
    char note[SHM_NAME_BYTES + sizeof NOTE_SUFFIX];
    (void)snprintf(note, sizeof note, "%s" NOTE_SUFFIX, config->name);
    remove_in(w->args.runtime_dir, note);
}

int pool_file_publish_channel(int fd, const shm_config_t *config)
{
    path_t path = channel_path(config);
    int rc = publish(fd, &path);
    if (rc == -EEXIST)
        return rt_err_set(rc,
                          "channel \"%s\" is open already in namespace \"%s\": choose another "
                          "name, attach to it, or end it: shmring end %s/%s",
                          config->name, config->name_space, config->name_space, config->name);
    return rc;
}

bool pool_file_is_published(int fd, const shm_config_t *config)
{
    path_t path = channel_path(config);
    return names(&path, fd);
}

int pool_file_publish_page(const worker_t *w)
{
    path_t path = page_path(w);
    return publish(w->args.page_fd, &path);
}

void pool_file_withdraw_channel(const worker_t *w, int fd, const shm_config_t *config)
{
    path_t path = channel_path(config);
    if (!names(&path, fd))
        return;
    if (!w->args.private_pool)
        remove_note(w, config);
    (void)unlink(path.text);
}

void pool_file_withdraw_page(const worker_t *w)
{
    path_t path = page_path(w);
    withdraw(w->args.page_fd, &path);
}

/* --- the runtime directory ----------------------------------------------------------------- */

static bool pool_hung_up(const worker_t *w)
{
    struct pollfd pool = {.fd = w->args.pool_fd, .events = POLLRDHUP};
    return poll(&pool, 1, POLL_MS) > 0 && pool.revents != 0;
}

static int open_lock(worker_t *w, const path_t *path)
{
    for (;;) {
        w->lock_fd = open(path->text, O_RDWR | O_CLOEXEC);
        if (w->lock_fd >= 0)
            return 0;
        int err = errno;
        if (err != ENOENT || !w->args.private_pool)
            return rt_err_set(-err, "%s: %s; the pool makes this file before it starts workers",
                              path->text, strerror(err));
        if (pool_hung_up(w))
            return rt_err_set(-ECONNRESET, "the pool ended while its worker started");
    }
}

static int lock_path(const worker_t *w, path_t *path)
{
    int n = snprintf(path->text, sizeof path->text, "%s/lock", w->args.runtime_dir);
    if (n < 0 || n >= 4096)
        return rt_err_set(-ENAMETOOLONG, "--runtime is longer than 4090 characters");
    return 0;
}

int runtime_dir_hold(worker_t *w)
{
    path_t path;
    int rc = lock_path(w, &path);
    while (rc == 0) {
        rc = open_lock(w, &path);
        if (rc < 0)
            return rc;
        /* A collector that removes the directory holds the lock for a moment. */
        if (flock(w->lock_fd, LOCK_SH) != 0)
            return rt_err_set(-errno, "flock %s: %s", path.text, strerror(errno));
        if (names(&path, w->lock_fd))
            return 0;
        close(w->lock_fd);
        w->lock_fd = -1;
    }
    return rc;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* The same as remove_directory of liveness.py: what pools and workers put there. */
static void remove_content(const char *directory)
{
    DIR *all = opendir(directory);
    if (all == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
        const char *name = entry->d_name;
        if (ends_with(name, ".sock") || ends_with(name, NOTE_SUFFIX) || ends_with(name, ".new") ||
            strcmp(name, "owner") == 0)
            remove_in(directory, name);
    }
    closedir(all);
}

static void remove_directory(const char *directory)
{
    path_t parent;
    (void)snprintf(parent.text, sizeof parent.text, "%.4096s", directory);
    (void)rmdir(directory);
    char *end = strrchr(parent.text, '/');
    if (end == NULL || end == parent.text)
        return;
    *end = '\0';
    (void)rmdir(parent.text); /* the namespace's directory, which stays
                                 while it contains other pools */
}

static bool lock_until(int fd, int64_t until_mono_ns)
{
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || rt_mono_ns() >= until_mono_ns)
            return false;
        (void)poll(NULL, 0, POLL_MS);
    }
    return true;
}

/* The process that gets the lock exclusively is the last. A worker that never held it tries as
 * well: its pool may have died between creating the directory and locking it. */
static void leave_directory(worker_t *w, int64_t until_mono_ns)
{
    path_t path;
    if (lock_path(w, &path) < 0)
        return;
    if (w->lock_fd < 0)
        w->lock_fd = open(path.text, O_RDWR | O_CLOEXEC);
    if (w->lock_fd >= 0) {
        if (!lock_until(w->lock_fd, until_mono_ns) || !names(&path, w->lock_fd))
            return;
        remove_content(w->args.runtime_dir);
        remove_in(w->args.runtime_dir, "lock");
    }
    remove_directory(w->args.runtime_dir);
}

void runtime_dir_leave(worker_t *w)
{
    leave_directory(w, 0);
}

/* --- what nobody holds ----------------------------------------------------------------------- */

static bool is_channel_of(int fd, const worker_t *w)
{
    char pool[SHM_NAME_BYTES];
    off_t at = (off_t)(offsetof(shm_identity_t, config) + offsetof(shm_config_t, pool));
    return pread(fd, pool, sizeof pool, at) == (ssize_t)sizeof pool &&
           memcmp(pool, w->args.pool, strlen(w->args.pool) + 1) == 0;
}

/* A file that its pool and its workers held is locked as long as one of them lives. */
static void remove_deserted(const char *name, bool is_page, const worker_t *w,
                            int64_t until_mono_ns)
{
    path_t path;
    struct stat s;
    (void)snprintf(path.text, sizeof path.text, SHM_DIRECTORY "/%s", name);
    int fd = open(path.text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() &&
        (is_page || is_channel_of(fd, w)) && lock_until(fd, until_mono_ns))
        withdraw(fd, &path);
    close(fd);
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void sweep_names(const worker_t *w, int64_t until_mono_ns)
{
    char channels[sizeof "shmring::c:" + SHM_NAME_BYTES];
    char pages[sizeof "shmring::w::" + 2 * SHM_NAME_BYTES];
    (void)snprintf(channels, sizeof channels, "shmring:%s:c:", w->args.name_space);
    (void)snprintf(pages, sizeof pages, "shmring:%s:w:%s:", w->args.name_space, w->args.pool);
    DIR *shm = opendir(SHM_DIRECTORY);
    if (shm == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(shm)) != NULL;) {
        bool is_page = starts_with(entry->d_name, pages);
        if (is_page || starts_with(entry->d_name, channels))
            remove_deserted(entry->d_name, is_page, w, until_mono_ns);
    }
    closedir(shm);
}

void pool_files_sweep(worker_t *w)
{
    int64_t until = rt_mono_ns() + SWEEP_NS;
    sweep_names(w, until);
    leave_directory(w, until);
}
