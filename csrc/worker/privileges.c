#include "worker/privileges.h"

#include "base/rt_err.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define HIGHEST_PRIORITY 99

/* Whether the program's file gave this process more than its caller has. */
static bool comes_from_file(void)
{
    return getauxval(AT_SECURE) != 0 && getuid() != 0;
}

int privileges_check_file(void)
{
    struct stat file;
    if (!comes_from_file())
        return 0;
    bool known = stat("/proc/self/exe", &file) == 0;
    if (known && (file.st_mode & S_IXOTH) == 0)
        return 0;
    int rc = rt_caps_set(&(rt_caps_t){0});
    if (rc < 0)
        return rt_err_set(rc, "capset: %s", strerror(-rc));
    if (!known)
        return rt_err_set(-EPERM, "the worker's file capabilities are not used: who may run it "
                                  "cannot be seen without /proc: mount it");
    return rt_err_set(-EPERM,
                      "the worker's file capabilities are not used: any user may run it (mode "
                      "%04o): chgrp it to a group, chmod 0750, setcap again",
                      file.st_mode & 07777u);
}

int privileges_highest_priority(void)
{
    struct rlimit limit = {0};
    if (!comes_from_file())
        return HIGHEST_PRIORITY;
    (void)getrlimit(RLIMIT_RTPRIO, &limit);
    if (limit.rlim_cur >= HIGHEST_PRIORITY)
        return HIGHEST_PRIORITY;
    return limit.rlim_cur > PRIVILEGES_FILE_PRIORITY ? (int)limit.rlim_cur
                                                     : PRIVILEGES_FILE_PRIORITY;
}

/* Locking later mappings needs CAP_IPC_LOCK at each mmap, unless there is no limit anyway. */
static uint64_t needed_always(void)
{
    struct rlimit limit = {0};
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    return limit.rlim_cur == RLIM_INFINITY ? 0 : RT_CAP(CAP_IPC_LOCK);
}

static const uint64_t NEEDED_AT_TIMES =
    RT_CAP(CAP_NET_ADMIN) /* large buffers, priorities above 6, launch times in TAI, stamps */
    | RT_CAP(CAP_NET_BIND_SERVICE) /* ports below 1024 */
    | RT_CAP(CAP_NET_RAW);         /* SO_BINDTODEVICE on a socket that is bound to another device */

/* These sets are of no use to a process that cannot gain privileges, but they are emptied, too.
 * Removing from the bounding set needs CAP_SETPCAP, which a capability
 * of the file does not bring. */
static void empty_other_sets(void)
{
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
        ;
}

int privileges_drop(void)
{
    rt_caps_t caps = rt_caps_get();
    uint64_t always = needed_always();
    empty_other_sets();
    caps.permitted &= always | NEEDED_AT_TIMES;
    caps.effective = caps.permitted & always;
    caps.inheritable = 0;
    int rc = rt_caps_set(&caps);
    if (rc < 0)
        return rt_err_set(rc, "capset: %s", strerror(-rc));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return rt_err_set(-errno, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
    return 0;
}
