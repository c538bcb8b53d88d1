/* owner.h: which process holds a slot, in a way that survives the reuse of process ids. Cold path:
 * reads /proc. Any thread. */
#ifndef SHM_OWNER_H
#define SHM_OWNER_H

#include <stdbool.h>
#include <stdint.h>

/* Start time of a process in clock ticks since boot (proc(5), stat field 22); 0 when there is none
 * or it is a zombie. */
uint64_t owner_start_time(uint32_t pid);

/* Whether pid runs and is the process that started at start. Without /proc every owner counts as
 * alive: a slot is then freed by its connection's hang-up alone. */
bool owner_alive(uint32_t pid, uint64_t start);

#endif
