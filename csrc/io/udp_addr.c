#include "io/udp_addr.h"

#include "base/rt_err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part after '%': an interface name or number. 0 when there is none such. */
static uint32_t zone_index(const char *zone)
{
    unsigned index = if_nametoindex(zone);
    if (index != 0)
        return index;
    char *end;
    unsigned long number = strtoul(zone, &end, 10);
    return *zone != '\0' && *end == '\0' && number <= UINT32_MAX ? (uint32_t)number : 0;
}

static int parse_v6(udp_addr_t *addr, const char *host)
{
    char plain[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    if (snprintf(plain, sizeof plain, "%s", host) >= (int)sizeof plain)
        return -EINVAL;
    char *zone = strchr(plain, '%');
    if (zone != NULL)
        *zone++ = '\0';
    if (inet_pton(AF_INET6, plain, &addr->v6.sin6_addr) != 1)
        return -EINVAL;
    if (zone != NULL && (addr->v6.sin6_scope_id = zone_index(zone)) == 0)
        return rt_err_set(-ENODEV, "address %s: no interface \"%s\" on this host", host, zone);
    addr->v6.sin6_family = AF_INET6;
    return 0;
}

int udp_addr_parse(udp_addr_t *addr, const char *host, uint16_t port)
{
    memset(addr, 0, sizeof *addr);
    if (inet_pton(AF_INET, host, &addr->v4.sin_addr) == 1) {
        addr->v4.sin_family = AF_INET;
    } else {
        int rc = parse_v6(addr, host);
        if (rc == -EINVAL)
            rt_err_set(rc,
                       "address \"%s\" is not a numeric IPv4 or IPv6 address; resolve names first",
                       host);
        if (rc < 0) {
            memset(addr, 0, sizeof *addr);
            return rc;
        }
    }
    udp_addr_set_port(addr, port);
    return 0;
}

uint16_t udp_addr_port(const udp_addr_t *addr)
{
    if (addr->sa.sa_family == AF_INET)
        return ntohs(addr->v4.sin_port);
    return addr->sa.sa_family == AF_INET6 ? ntohs(addr->v6.sin6_port) : 0;
}

void udp_addr_set_port(udp_addr_t *addr, uint16_t port)
{
    if (addr->sa.sa_family == AF_INET)
        addr->v4.sin_port = htons(port);
    else if (addr->sa.sa_family == AF_INET6)
        addr->v6.sin6_port = htons(port);
}

bool udp_addr_equal(const udp_addr_t *a, const udp_addr_t *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    if (a->sa.sa_family == AF_INET6)
        return a->v6.sin6_port == b->v6.sin6_port && a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
               memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
    return true;
}

bool udp_addr_is_multicast(const udp_addr_t *addr)
{
    if (addr->sa.sa_family == AF_INET)
        return IN_MULTICAST(ntohl(addr->v4.sin_addr.s_addr));
    return addr->sa.sa_family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&addr->v6.sin6_addr);
}

bool udp_addr_is_wildcard(const udp_addr_t *addr)
{
    if (addr->sa.sa_family == AF_INET)
        return addr->v4.sin_addr.s_addr == htonl(INADDR_ANY);
    return addr->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&addr->v6.sin6_addr);
}

udp_addr_t udp_addr_any(sa_family_t family)
{
    udp_addr_t addr;
    memset(&addr, 0, sizeof addr);
    addr.sa.sa_family = family;
    return addr;
}

const char *udp_addr_format(const udp_addr_t *addr, char text[UDP_ADDR_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN];
    if (addr->sa.sa_family == AF_INET) {
        inet_ntop(AF_INET, &addr->v4.sin_addr, host, sizeof host);
        snprintf(text, UDP_ADDR_TEXT_BYTES, "%s:%u", host, udp_addr_port(addr));
    } else if (addr->sa.sa_family == AF_INET6 && addr->v6.sin6_scope_id != 0) {
        inet_ntop(AF_INET6, &addr->v6.sin6_addr, host, sizeof host);
        snprintf(text, UDP_ADDR_TEXT_BYTES, "[%s%%%u]:%u", host, addr->v6.sin6_scope_id,
                 udp_addr_port(addr));
    } else if (addr->sa.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &addr->v6.sin6_addr, host, sizeof host);
        snprintf(text, UDP_ADDR_TEXT_BYTES, "[%s]:%u", host, udp_addr_port(addr));
    } else {
        snprintf(text, UDP_ADDR_TEXT_BYTES, "none");
    }
    return text;
}
