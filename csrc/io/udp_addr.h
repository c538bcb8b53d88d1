/* udp_addr.h: an IPv4 or IPv6 address with port, 28 bytes, in the kernel's format. Pure; any
 * thread. */
#ifndef UDP_ADDR_H
#define UDP_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Enough for "[v6 address%4294967295]:65535" and the final zero. */
#define UDP_ADDR_TEXT_BYTES 72

typedef union udp_addr {
    struct sockaddr sa; /* sa.sa_family: AF_INET, AF_INET6, or AF_UNSPEC for "none" */
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} udp_addr_t;

static inline bool udp_addr_is_set(const udp_addr_t *addr)
{
    return addr->sa.sa_family != AF_UNSPEC;
}

/* Size of the address for the kernel; 0 for "none". */
static inline socklen_t udp_addr_len(const udp_addr_t *addr)
{
    if (addr->sa.sa_family == AF_INET)
        return sizeof addr->v4;
    return addr->sa.sa_family == AF_INET6 ? (socklen_t)sizeof addr->v6 : 0;
}

/* Fills addr from a numeric address ("127.0.0.1", "::1", "fe80::1%eth0") and a port in host order.
 * Returns 0, -EINVAL (not a numeric address; text recorded), -ENODEV (unknown zone). */
int udp_addr_parse(udp_addr_t *addr, const char *host, uint16_t port);

/* Host byte order; 0 for "none". */
uint16_t udp_addr_port(const udp_addr_t *addr);
void udp_addr_set_port(udp_addr_t *addr, uint16_t port);

/* Address, port and (IPv6) zone are the same; flow labels are not compared. */
bool udp_addr_equal(const udp_addr_t *a, const udp_addr_t *b);

bool udp_addr_is_multicast(const udp_addr_t *addr);
bool udp_addr_is_wildcard(const udp_addr_t *addr);

/* The wildcard address and port 0 of a family. */
udp_addr_t udp_addr_any(sa_family_t family);

/* Writes "127.0.0.1:5000", "[::1]:5000" or "none" into text; returns text. */
const char *udp_addr_format(const udp_addr_t *addr, char text[UDP_ADDR_TEXT_BYTES]);

#endif
