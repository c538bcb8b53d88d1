/* proto_src.h: the C side of shmring._proto (cffi, API mode). proto_cdef.txt lists the part that
 * Python sees. */
#include "base/rt_err.h"
#include "proto/capture/capture_plan.h"
#include "proto/impair/impair.h"
#include "proto/netflux/nfx_session.h"
#include "proto/traffic/traffic.h"
