#include "worker/bus_guard.h"

#include "base/rt_err.h"
#include "worker/tap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

static worker_t *guarded;

/* Runs in the middle of an access, so only mmap (a plain system call) and stores are allowed here.
 * An address outside of all segments is a real fault: the default action is put back and the access
 * repeated. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    const uint8_t *at = info->si_addr;
    for (uint32_t i = 0; i < guarded->channel_count; i++) {
        wrk_channel_t *ch = guarded->channels[i];
        if (at < ch->segment.base || at >= ch->segment.base + ch->segment.bytes)
            continue;
        void *memory = mmap(ch->segment.base, ch->segment.bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (memory == MAP_FAILED)
            break;
        ch->torn = true;
        return;
    }
    /* A tool gave the pages of its log back and there is no memory for new ones. */
    const wrk_tap_t *tap = tap_at(guarded, at);
    if (tap != NULL && mmap(tap->memory, tap->bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
        return;
    (void)signal(number, SIG_DFL);
}

int bus_guard_install(worker_t *w)
{
    guarded = w;
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, NULL) != 0)
        return rt_err_set(-errno, "sigaction(SIGBUS): %s", strerror(errno));
    return 0;
}
