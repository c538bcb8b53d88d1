#include "worker/agent.h"

#include "base/rt_err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The linker makes these two symbols for every section whose name is a C identifier. They are weak,
 * because a test program without any agent has no such section. */
extern const agent_ops_t *const __start_wrk_agents[] __attribute__((weak));
extern const agent_ops_t *const __stop_wrk_agents[] __attribute__((weak));

static void list_engines(char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (const agent_ops_t *const *a = __start_wrk_agents; a < __stop_wrk_agents; a++) {
        int n = snprintf(text + used, bytes - used, " %s", (*a)->engine);
        if (n < 0 || (size_t)n >= bytes - used)
            return;
        used += (size_t)n;
    }
}

const agent_ops_t *agent_find(const char *engine)
{
    for (const agent_ops_t *const *a = __start_wrk_agents; a < __stop_wrk_agents; a++)
        if (strcmp((*a)->engine, engine) == 0)
            return *a;
    char engines[256];
    list_engines(engines, sizeof engines);
    (void)rt_err_set(-EINVAL,
                     "engine \"%.16s\" is unknown to this worker, which has:%s; install a version "
                     "that has it",
                     engine, engines);
    return NULL;
}
