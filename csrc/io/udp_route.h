/* udp_route.h: the route of packets: interface, its MTU, its queueing discipline. Cold. */
#ifndef UDP_ROUTE_H
#define UDP_ROUTE_H

#include "io/udp_addr.h"

#include <net/if.h>
#include <stdint.h>

typedef struct udp_route {
    uint32_t ifindex;
    uint32_t mtu; /* of the interface, bytes */
    char device[IFNAMSIZ];
} udp_route_t;

/* Opens the socket of this thread through which the functions below ask, if it has none. They call
 * it themselves. A process that loses the right to open one calls it before, and without any
 * capability in effect: the kernel then takes questions from this socket, and no changes. Returns 0
 * or -errno. */
int udp_route_open(void);

/* Queries the kernel's routing table (rtnetlink). source: source address, NULL or wildcard if
 * any; ifindex: interface they are bound to, 0 for any. Returns 0, -ENETUNREACH, or -errno of
 * netlink. No text is set. */
int udp_route_find(udp_route_t *route, const udp_addr_t *dest, const udp_addr_t *source,
                   uint32_t ifindex);

/* Name and MTU of a known interface. Returns 0 or -ENODEV. */
int udp_route_of_interface(udp_route_t *route, uint32_t ifindex);

/* Kind of the queueing discipline of an interface ("fq", "noqueue"). If the root
 * only spreads over hardware queues (mq, mqprio, taprio), the kind below it, or "mixed".
 * Returns 0, -ENOENT (none found), or -errno of netlink. */
int udp_qdisc_kind(uint32_t ifindex, char kind[16]);

#endif
