/* netflux_put.h: puts values into the out box of a link, as a client's endpoint does. */
#ifndef NETFLUX_PUT_H
#define NETFLUX_PUT_H

#include "shm/netflux_shm.h"

static inline uint64_t netflux_put(uint8_t *engine, uint32_t slot, const void *values,
                                   uint32_t bytes, int64_t now_mono_ns)
{
    shm_box_t out = shm_netflux_box(engine, SHM_MAX_SLOTS);
    return shm_box_put(&out, slot, values, bytes, now_mono_ns);
}

#endif
