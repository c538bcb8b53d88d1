#include "base/rt_err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define TEXT_BYTES 512

static _Thread_local char text[TEXT_BYTES];

int rt_err_set(int neg_errno, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return neg_errno;
}

int rt_err_system(int error, const char *what)
{
    struct rlimit files = {0};
    if (error != EMFILE)
        return rt_err_set(-error, "%s: %s", what, strerror(error));
    (void)getrlimit(RLIMIT_NOFILE, &files);
    return rt_err_set(-EMFILE,
                      "%s: process %d is at its limit of %llu open files: close channels, or raise "
                      "the limit (ulimit -n, LimitNOFILE= of the service)",
                      what, (int)getpid(), (unsigned long long)files.rlim_cur);
}

void rt_err_append(const char *fmt, ...)
{
    char inner[TEXT_BYTES];
    memcpy(inner, text, sizeof inner);

    va_list ap;
    va_start(ap, fmt);
    int used = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (used < 0 || used >= (int)sizeof text)
        return;
    snprintf(text + used, sizeof text - (size_t)used, ": %s", inner);
}

const char *rt_err_text(void)
{
    return text;
}

void rt_err_clear(void)
{
    text[0] = '\0';
}
