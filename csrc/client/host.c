#include "client/host.h"

#include "base/rt_err.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_GROUPS 65536 /* NGROUPS_MAX of Linux */
#define PASSWD_BYTES 16384

const char *host_namespace(const char *given)
{
    if (given != NULL)
        return given;
    const char *chosen = secure_getenv("SHMRING_NAMESPACE");
    return chosen != NULL && chosen[0] != '\0' ? chosen : "default";
}

/* --- the segment's file --------------------------------------------------------------------- */

static int refuse_open(int error, const char *name_space, const char *name, int writable)
{
    if (error == ENOENT)
        return rt_err_set(-ENOENT,
                          "no channel \"%s\" is open in namespace \"%s\": open it first, or see "
                          "\"shmring ls\" for what there is",
                          name, name_space);
    if (error == EACCES || error == EPERM)
        return rt_err_set(-EACCES,
                          "channel \"%s\" belongs to another user: %shave it opened with a group "
                          "and mode",
                          name, writable ? "attach with readonly = 1, or " : "");
    if (error == EWOULDBLOCK)
        return rt_err_set(-EBUSY, "channel \"%s\": a process holds a lease on its file", name);
    return rt_err_set(-error, "opening channel \"%s\": %s", name, strerror(error));
}

int host_open_segment(const char *name_space, const char *name, int writable)
{
    char path[sizeof "/dev/shm/shmring::c:" + 2 * SHM_NAME_MAX];
    int rc = shm_name_check("namespace", name_space);
    rc = rc ? rc : shm_name_check("channel name", name);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "/dev/shm/shmring:%s:c:%s", name_space, name);
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (writable ? O_RDWR : O_RDONLY);
    int fd = open(path, flags);
    if (fd < 0)
        return refuse_open(errno, name_space, name, writable);
    struct stat facts;
    if (fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode))
        return fd;
    close(fd);
    return rt_err_set(-EPROTO, "channel \"%s\": %s is not a regular file", name, path);
}

/* --- whose it is ---------------------------------------------------------------------------- */

/* The primary group that the user database names, or the group of this process. */
static gid_t primary_group(void)
{
    struct passwd entry, *found = NULL;
    char *text = malloc(PASSWD_BYTES);
    gid_t group = getegid();
    if (text != NULL && getpwuid_r(geteuid(), &entry, text, PASSWD_BYTES, &found) == 0 &&
        found != NULL)
        group = found->pw_gid;
    free(text);
    return group;
}

static bool is_among(gid_t group, const gid_t *groups, int count)
{
    for (int i = 0; i < count; i++)
        if (groups[i] == group)
            return true;
    return false;
}

static bool is_other_group(gid_t group)
{
    if (group == getegid() || group == primary_group())
        return false;
    gid_t *groups = malloc(MOST_GROUPS * sizeof *groups);
    int count = groups != NULL ? getgroups(MOST_GROUPS, groups) : 0;
    bool found = is_among(group, groups, count);
    free(groups);
    return found;
}

int host_is_trusted(const struct stat *facts, uid_t also)
{
    uid_t owner = facts->st_uid;
    if (owner == 0 || owner == geteuid() || owner == also)
        return 1;
    return (facts->st_mode & (S_IRGRP | S_IXGRP)) != 0 && is_other_group(facts->st_gid);
}

/* --- the worker's socket -------------------------------------------------------------------- */

/* The folder that contains a folder for each namespace of this user. */
static void runtime_base(char *out)
{
    const char *chosen = secure_getenv("SHMRING_RUNTIME_DIR");
    const char *session = secure_getenv("XDG_RUNTIME_DIR");
    if (chosen != NULL && chosen[0] != '\0')
        snprintf(out, HOST_PATH_BYTES, "%s", chosen);
    else if (session != NULL && session[0] != '\0')
        snprintf(out, HOST_PATH_BYTES, "%s/shmring", session);
    else if (geteuid() == 0)
        snprintf(out, HOST_PATH_BYTES, "/run/shmring");
    else
        snprintf(out, HOST_PATH_BYTES, "/tmp/shmring-%u", (unsigned)geteuid());
}

int host_worker_socket(const char *name_space, const char *pool, uint32_t slot, char *out)
{
    char base[HOST_PATH_BYTES];
    runtime_base(base);
    int length =
        snprintf(out, HOST_PATH_BYTES, "%s/%s/%s/worker-%u.sock", base, name_space, pool, slot);
    if (length < 0 || (size_t)length >= HOST_PATH_BYTES)
        return rt_err_set(-ENAMETOOLONG,
                          "the folder of pool \"%s\" has too long a path: set "
                          "SHMRING_RUNTIME_DIR to a shorter one",
                          pool);
    return 0;
}
