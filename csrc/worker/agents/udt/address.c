/* address.c: converts addresses between the forms of clients, of the port's socket and of the
 * protocol. */
#include "worker/agents/common/socket.h"
#include "worker/agents/udt/udt.h"

#include <string.h>

static bool speaks_ipv6(const udt_port_agent_t *p)
{
    return p->udp.eff.local.sa.sa_family == AF_INET6;
}

static void map_to_ipv6(udp_addr_t *a)
{
    udp_addr_t v4 = *a;
    memset(a, 0, sizeof *a);
    a->v6.sin6_family = AF_INET6;
    a->v6.sin6_port = v4.v4.sin_port;
    a->v6.sin6_addr.s6_addr[10] = a->v6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&a->v6.sin6_addr.s6_addr[12], &v4.v4.sin_addr, 4);
}

void udt_port_agent_address(const udt_port_agent_t *p, const shm_addr_t *in, udp_addr_t *out)
{
    agent_addr_in(out, in);
    if (out->sa.sa_family == AF_INET && speaks_ipv6(p))
        map_to_ipv6(out);
}

shm_addr_t udt_plain_address(const udp_addr_t *in)
{
    shm_addr_t out;
    agent_addr_out(&out, in);
    if (out.family != 6 || !IN6_IS_ADDR_V4MAPPED(&in->v6.sin6_addr))
        return out;
    shm_addr_t v4 = {.family = 4, .port = out.port};
    memcpy(v4.ip, &out.ip[12], 4);
    return v4;
}

udt_address_t udt_address_of(const udp_addr_t *in)
{
    shm_addr_t plain = udt_plain_address(in);
    udt_address_t out = {.port = plain.port, .is_ipv6 = plain.family == 6};
    memcpy(out.ip, plain.ip, plain.family == 6 ? 16 : 4);
    return out;
}
