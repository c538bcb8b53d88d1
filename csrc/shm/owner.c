#include "shm/owner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_FIELD 3
#define START_FIELD 22

static bool read_stat(uint32_t pid, char *text, size_t bytes)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, bytes - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

uint64_t owner_start_time(uint32_t pid)
{
    char text[1024];
    if (!read_stat(pid, text, sizeof text))
        return 0;
    /* Field 2 is the program's name in parentheses and may contain anything: count from its end. */
    const char *p = strrchr(text, ')');
    if (p == NULL || p[1] == '\0' || p[2] == 'Z' || p[2] == 'X')
        return 0;
    for (int field = STATE_FIELD - 1; field < START_FIELD; field++) {
        p = strchr(p + 1, ' ');
        if (p == NULL)
            return 0;
    }
    return strtoull(p + 1, NULL, 10);
}

bool owner_alive(uint32_t pid, uint64_t start)
{
    if (access("/proc/self/stat", R_OK) != 0)
        return true;
    uint64_t now = owner_start_time(pid);
    return now != 0 && (start == 0 || now == start);
}
