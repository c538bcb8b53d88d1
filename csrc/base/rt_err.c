#include "base/rt_err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
