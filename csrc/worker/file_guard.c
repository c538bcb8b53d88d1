/* linux/landlock.h has the same numbers, and older kernel headers lack it. Only rights of its first
 * version are used. Links between folders are refused by every ruleset. */
#include "worker/file_guard.h"

#include "base/rt_err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#endif

#define RULE_PATH_BENEATH 1
#define REMOVE_DIR (UINT64_C(1) << 4)
#define REMOVE_FILE (UINT64_C(1) << 5)
#define MAKE_REG (UINT64_C(1) << 8)
#define MAKE_ANYTHING (UINT64_C(0x7f) << 6)

/* As the kernel has it, which looks at no byte behind it. */
typedef struct rule {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed)) rule_t;

static int allow(int ruleset_fd, const char *folder, const char *below, uint64_t allowed)
{
    char path[4096 + 8];
    (void)snprintf(path, sizeof path, "%.4096s%s", folder, below);
    rule_t rule = {.allowed = allowed, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
    if (rule.parent_fd < 0)
        return -errno;
    long rc = syscall(__NR_landlock_add_rule, ruleset_fd, RULE_PATH_BENEATH, &rule, 0);
    int err = errno;
    close(rule.parent_fd);
    return rc == 0 ? 0 : -err;
}

static int restrict_self(const char *runtime_dir)
{
    const uint64_t handled = REMOVE_DIR | REMOVE_FILE | MAKE_ANYTHING;
    int fd = (int)syscall(__NR_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (fd < 0)
        return -errno;
    int rc = allow(fd, "/dev/shm", "", REMOVE_FILE | MAKE_REG);
    if (runtime_dir != NULL) {
        rc = rc ? rc : allow(fd, runtime_dir, "", REMOVE_FILE);
        /* the pool's folder and its namespace's, once they are empty */
        rc = rc ? rc : allow(fd, runtime_dir, "/../..", REMOVE_DIR);
    }
    if (rc == 0 && syscall(__NR_landlock_restrict_self, fd, 0) != 0)
        rc = -errno;
    close(fd);
    return rc;
}

int file_guard_install(const char *runtime_dir)
{
    int rc = restrict_self(runtime_dir);
    if (rc == 0)
        return 0;
    const char *why = rc == -ENOSYS ? "the kernel is older than Linux 5.13, or has no Landlock"
                      : rc == -EOPNOTSUPP ? "Landlock is switched off (lsm= of the kernel)"
                      : rc == -EPERM      ? "a container's filter refuses Landlock"
                                          : strerror(-rc);
    return rt_err_set(rc, "%s", why);
}
