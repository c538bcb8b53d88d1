/* udp_txtime.h: launch by the queueing discipline or the card (SO_TXTIME).
 *
 * A packet with a launch time can be passed to the kernel early. Its sender then depends on the
 * queueing discipline of the egress interface:
 *
 *   fq    CLOCK_MONOTONIC, software timer; packets more than 10 s ahead are dropped
 *   etf   CLOCK_TAI, software or the card's own launch time; late packets are dropped and reported
 *   rest  ignore the time and send at once (like an interface without one, such as lo)
 *
 * Therefore it is used only if the interface is known to have fq or etf.
 */
#ifndef UDP_TXTIME_H
#define UDP_TXTIME_H

#include "io/udp_io.h"
#include "io/udp_route.h"

/* Which clock a queueing discipline launches by. Returns 0 and the clock, or -ENOTSUP. Pure. */
int udp_txtime_clock_of(const char *qdisc, rt_clock_id_t *clock);

/* Decides by cfg.txtime and the path (route may be NULL: unknown), sets it, and fills udp->eff.
 * Returns 0 (used or not, see udp->eff.txtime and txtime_reason), or with UDP_TXTIME_REQUIRE
 * -ENOTSUP or -EPERM, text set. */
int udp_txtime_enable(udp_t *udp, const udp_config_t *cfg, const udp_route_t *route);

#endif
