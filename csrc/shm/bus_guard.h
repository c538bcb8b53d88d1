/* bus_guard.h: a process that may write to a file in shared memory may also cut it short. An access
 * beyond the new end then kills a process with SIGBUS. The guard keeps a table of the mappings of
 * this process. On a fault inside one of them it replaces the whole mapping with zeroed private
 * memory and marks it as torn. Any other SIGBUS goes to the handler that was installed before.
 *
 * Any thread. The first mapping installs the handler. Each later mapping checks that it is still
 * installed. Each shared library has its own copy of this code, so only one in a process should map
 * channels: two that install their handlers in turn would each pass a foreign fault to the other,
 * until the default action follows. */
#ifndef SHM_BUS_GUARD_H
#define SHM_BUS_GUARD_H

#include "base/rt_atomic.h"

#include <stdint.h>

#define BUS_GUARD_PLACES 16384u

/* Watches a mapping. Call it before the first access. Returns 0 and a place above 0; -ENOSPC
 * (BUS_GUARD_PLACES) or -errno of sigaction, with a text. */
int bus_guard_add(void *base, uint64_t bytes, uint32_t *place);

/* Replaces the mapping as a fault would: this process no longer touches the file. place 0: does
 * nothing. */
void bus_guard_tear(uint32_t place);

/* Call it before the mapping is unmapped. place 0: was never watched. */
void bus_guard_remove(uint32_t place);

/* A word that is 1 once the mapping was replaced by private memory. place 0: NULL. Another shared
 * library that is handed the mapping reads this word: the place means nothing in its own table. */
const rt_a32_t *bus_guard_torn(uint32_t place);

#endif
