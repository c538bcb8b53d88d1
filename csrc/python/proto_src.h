/* proto_src.h: the C side of shmring._proto (cffi, API mode). proto_cdef.txt lists the part that
 * Python sees. */
#include "base/rt_err.h"
#include "proto/capture/capture_plan.h"
#include "proto/impair/impair.h"
#include "proto/netflux/nfx_session.h"
#include "proto/stamp/stamp_clock.h"
#include "proto/stamp/stamp_reflector.h"
#include "proto/traffic/traffic.h"
#include "shm/shm_config.h"

/* Columns of received packets are read as they are. */
_Static_assert(offsetof(stamp_end_t, family) == offsetof(shm_addr_t, family) &&
                   offsetof(stamp_end_t, port) == offsetof(shm_addr_t, port) &&
                   offsetof(stamp_end_t, scope) == offsetof(shm_addr_t, scope) &&
                   offsetof(stamp_end_t, ip) == offsetof(shm_addr_t, ip) &&
                   sizeof(stamp_end_t) == sizeof(shm_addr_t),
               "the same bytes");
