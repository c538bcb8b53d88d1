/* shm_engine.h: what the engines' own structs need in a segment. */
#ifndef SHM_ENGINE_H
#define SHM_ENGINE_H

#include "shm/shm_config.h"

#include <stdbool.h>

/* Delivers what is sent to the readers of the same channel: no socket, no addresses. It has no
 * structs of its own. */
#define SHM_LOCAL_ENGINE "local"

/* Whether packets of the channel have a destination and a source. */
int shm_engine_has_addresses(const shm_config_t *c);

/* Whether the memory of statistics and rings is taken page by page when it is first used, and not
 * when the channel opens: for UDT connections that a stranger began, who may never send anything.
 * If /dev/shm is full then, the channel fails as if its file had been cut short. */
bool shm_engine_grows(const shm_config_t *c);

/* Checks that the engine's part of a segment is as long as the engine's own structs,
 * and a record as long as their head. Engines that this code does not know have no such structs.
 * Returns 0 or -EINVAL with a text. */
int shm_engine_check(const shm_config_t *c);

#endif
