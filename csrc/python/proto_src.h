/* proto_src.h: the C side of shmring._proto (cffi, API mode); proto_cdef.h says what Python sees of
 * it. */
#include "base/rt_err.h"
#include "proto/impair/impair.h"
#include "proto/netflux/nfx_session.h"

#define PROTO_COUNTER_NAME(id, unit, text) #id,
static const char *const proto_nfx_counters[] = {NFX_COUNTERS(PROTO_COUNTER_NAME) NULL};
#define PROTO_NAME(id, text) #id,
static const char *const proto_nfx_gauges[] = {NFX_GAUGES(PROTO_NAME) NULL};
static const char *const proto_nfx_hists[] = {NFX_HISTOGRAMS(PROTO_NAME) NULL};
