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
                          "\"shmring ls\" for the open ones",
                          name, name_space);
    if (error == EACCES || error == EPERM)
        return rt_err_set(-EACCES,
                          "channel \"%s\" belongs to another user: %shave it opened with "
                          "Share(group=..., permissions=...)",
                          name, writable ? "attach with readonly, or " : "");
    if (error == EWOULDBLOCK)
        return rt_err_set(-EBUSY, "channel \"%s\": a process holds a lease on this file", name);
    int rc = rt_err_system(error, "opening its file");
    rt_err_append("channel \"%s\"", name);
    return rc;
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

/* Finds a user in the user database. text has PASSWD_BYTES. Returns NULL: it is not there. */
static const struct passwd *find_user(uid_t user, struct passwd *entry, char *text)
{
    struct passwd *found = NULL;
    return getpwuid_r(user, entry, text, PASSWD_BYTES, &found) == 0 ? found : NULL;
}

/* The primary group that the user database names, or the group of this process. */
static gid_t primary_group(void)
{
    struct passwd entry;
    char text[PASSWD_BYTES];
    const struct passwd *found = find_user(geteuid(), &entry, text);
    return found != NULL ? found->pw_gid : getegid();
}

const char *host_user_text(uid_t user, char *out)
{
    struct passwd entry;
    char text[PASSWD_BYTES];
    const struct passwd *found = find_user(user, &entry, text);
    if (found != NULL)
        snprintf(out, HOST_USER_BYTES, "%.32s (uid %u)", found->pw_name, (unsigned)user);
    else
        snprintf(out, HOST_USER_BYTES, "uid %u", (unsigned)user);
    return out;
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

static int check_owner(int fd, const char *name, uid_t also)
{
    struct stat facts;
    char user[HOST_USER_BYTES];
    if (fstat(fd, &facts) < 0)
        return rt_err_set(-errno, "channel \"%s\": %s", name, strerror(errno));
    if (host_is_trusted(&facts, also))
        return 0;
    return rt_err_set(-EPERM,
                      "channel \"%s\" belongs to another user, %s: its contents may be forged. "
                      "If you trust them, attach with owner=%u",
                      name, host_user_text(facts.st_uid, user), (unsigned)facts.st_uid);
}

static int check_name(const shm_segment_t *s, const char *name_space, const char *name)
{
    if (shm_segment_is(s, name_space, name))
        return 0;
    return rt_err_set(-ENOENT,
                      "the file of channel \"%s\" in namespace \"%s\" is another name of channel "
                      "\"%s\" in \"%s\": remove it with \"shmring gc\"",
                      name, name_space, s->config.name, s->config.name_space);
}

int host_map_segment(shm_segment_t *s, const char *name_space, const char *name, int writable,
                     uint32_t also)
{
    int fd = host_open_segment(name_space, name, writable);
    if (fd < 0)
        return fd;
    int rc = check_owner(fd, name, also);
    rc = rc ? rc : shm_segment_map(s, fd, writable);
    close(fd);
    if (rc < 0)
        return rc;
    rc = check_name(s, name_space, name);
    if (rc < 0)
        shm_segment_unmap(s);
    return rc;
}

/* --- the worker's socket -------------------------------------------------------------------- */

/* The folder that contains a folder for each namespace of this user. */
static void usual_base(char *out)
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

int host_worker_socket(const char *base, const char *name_space, const char *pool, uint32_t slot,
                       char *out)
{
    char usual[HOST_PATH_BYTES];
    if (base == NULL)
        usual_base(usual);
    int length = snprintf(out, HOST_PATH_BYTES, "%s/%s/%s/worker-%u.sock",
                          base != NULL ? base : usual, name_space, pool, slot);
    if (length < 0 || (size_t)length >= HOST_PATH_BYTES)
        return rt_err_set(-ENAMETOOLONG,
                          "the folder of pool \"%s\" has too long a path: set "
                          "SHMRING_RUNTIME_DIR to a shorter one",
                          pool);
    return 0;
}
