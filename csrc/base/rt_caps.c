#include "base/rt_caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct __user_cap_header_struct head_t;
typedef struct __user_cap_data_struct data_t;

static uint64_t both(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

rt_caps_t rt_caps_get(void)
{
    head_t head = {.version = _LINUX_CAPABILITY_VERSION_3};
    data_t data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &head, data) != 0)
        return (rt_caps_t){0};
    return (rt_caps_t){.effective = both(data[0].effective, data[1].effective),
                       .permitted = both(data[0].permitted, data[1].permitted),
                       .inheritable = both(data[0].inheritable, data[1].inheritable)};
}

int rt_caps_set(const rt_caps_t *caps)
{
    head_t head = {.version = _LINUX_CAPABILITY_VERSION_3};
    data_t data[_LINUX_CAPABILITY_U32S_3];
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        data[i] = (data_t){.effective = (uint32_t)(caps->effective >> 32 * i),
                           .permitted = (uint32_t)(caps->permitted >> 32 * i),
                           .inheritable = (uint32_t)(caps->inheritable >> 32 * i)};
    return syscall(SYS_capset, &head, data) == 0 ? 0 : -errno;
}

uint64_t rt_caps_raise(uint64_t wanted)
{
    if (wanted == 0)
        return 0;
    rt_caps_t caps = rt_caps_get();
    uint64_t raised = wanted & caps.permitted & ~caps.effective;
    caps.effective |= raised;
    return raised != 0 && rt_caps_set(&caps) == 0 ? raised : 0;
}

void rt_caps_lower(uint64_t raised)
{
    if (raised == 0)
        return;
    rt_caps_t caps = rt_caps_get();
    caps.effective &= ~raised;
    (void)rt_caps_set(&caps);
}
