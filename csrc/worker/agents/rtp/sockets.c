/* sockets.c: the media socket and, if it has its own, the RTCP socket: opened as a pair, kept for a
 * successor. */
#include "worker/agents/common/parked_sockets.h"
#include "worker/agents/common/socket.h"
#include "worker/agents/rtp/rtp.h"

#include "base/rt_err.h"

#include <errno.h>
#include <unistd.h>

#define PORT_ATTEMPTS 64

enum { PARKED_MEDIA, PARKED_RTCP }; /* keys in the park */

void rtp_agent_watch(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    uint32_t events = a->block.now ? EPOLLOUT : 0;
    if (rtp_agent_listens(ch))
        events |= EPOLLIN;
    wrk_rewatch(ch, &a->socket, events);
    rtp_agent_rtcp_watch(ch);
}

static int open_pair(wrk_channel_t *ch, int socket_fd, int rtcp_fd)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    bool both_ways = a->config.rtcp == SHM_RTP_RTCP_MUX;
    int rc = agent_socket_open(ch, socket_fd, both_ways, &a->udp, &a->phc);
    if (rc < 0) {
        if (rtcp_fd >= 0)
            close(rtcp_fd);
        return rc;
    }
    rc = rtp_agent_rtcp_socket(ch, rtcp_fd);
    if (rc < 0)
        agent_socket_close(&a->udp, a->phc);
    return rc;
}

/* If the kernel chooses the port, RTP takes an even one and RTCP the next (RFC 3550 section 11).
 */
static bool ports_fit(const rtp_agent_t *a)
{
    return udp_addr_port(&a->udp.eff.local) % 2 == 0;
}

static bool put_pair(const rtp_control_t *c, int media, int rtcp)
{
    return (media < 0 || agent_park_put(c->park, PARKED_MEDIA, media)) &&
           (rtcp < 0 || agent_park_put(c->park, PARKED_RTCP, rtcp));
}

/* If RTCP has its own socket, both go into a park that the pool keeps. If they do not fit into a
 * new park, the pool keeps the media socket, and a successor opens a new RTCP socket. */
static void park_pair(wrk_channel_t *ch, bool media_is_there, bool rtcp_is_there)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    rtp_control_t *c = &a->control;
    bool is_new = c->park < 0;
    if (!c->open)
        return;
    if (is_new)
        c->park = agent_park_open();
    if (put_pair(c, media_is_there ? -1 : a->udp.fd, rtcp_is_there ? -1 : c->udp.fd))
        return;
    wrk_note(ch, SHM_EVENT_socket_not_held, 1, 0, 0, udp_addr_port(&c->udp.eff.local),
             rt_mono_ns());
    if (is_new) {
        agent_park_close(c->park);
        c->park = -1;
    }
}

/* Takes the sockets that a predecessor left. The pool keeps a park. A socket may be any that the
 * application bound. */
static void take_pair(rtp_agent_t *a, int *socket_fd, int *rtcp_fd)
{
    parked_t parked[AGENT_PARK_MOST];
    a->control.park = *rtcp_fd = -1;
    if (!agent_is_park(*socket_fd))
        return;
    a->control.park = *socket_fd;
    unsigned count = agent_park_list(a->control.park, parked);
    *socket_fd = agent_parked_take(parked, count, PARKED_MEDIA);
    *rtcp_fd = agent_parked_take(parked, count, PARKED_RTCP);
    agent_parked_drop(a->control.park, parked, count);
}

static int no_pair(void)
{
    return rt_err_set(-EADDRINUSE,
                      "no free even port with a free port after it was found in %d tries; close "
                      "sockets, give a port, widen net.ipv4.ip_local_port_range, or do without "
                      "an RTCP port of its own (rtcp=\"mux\")",
                      PORT_ATTEMPTS);
}

int rtp_agent_open_sockets(wrk_channel_t *ch)
{
    rtp_agent_t *a = rtp_agent_of(ch);
    int socket_fd = wrk_take_socket(ch);
    int rtcp_fd;
    take_pair(a, &socket_fd, &rtcp_fd);
    bool parked = a->control.park >= 0;
    bool choose = socket_fd < 0 && ch->config.local.port == 0 &&
                  a->config.rtcp == SHM_RTP_RTCP_NEXT_PORT && a->config.rtcp_local.family == 0;
    int rc = open_pair(ch, socket_fd, rtcp_fd);
    for (int i = 0; choose && i < PORT_ATTEMPTS; i++) {
        if (rc == 0 && ports_fit(a))
            break;
        if (rc == 0) {
            rtp_agent_rtcp_close(ch);
            agent_socket_close(&a->udp, a->phc);
        }
        rc = open_pair(ch, -1, -1);
    }
    if (choose && rc == -EADDRINUSE)
        rc = no_pair();
    if (rc == 0)
        park_pair(ch, parked && socket_fd >= 0, parked && rtcp_fd >= 0);
    else
        agent_park_close(a->control.park);
    return rc;
}
