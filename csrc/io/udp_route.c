#include "io/udp_route.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REPLY_BYTES 32768 /* what the kernel fills one dump message with at most */

typedef struct route_request {
    struct nlmsghdr head;
    struct rtmsg route;
    char attributes[3 * RTA_SPACE(sizeof(struct in6_addr))];
} route_request_t;

typedef struct qdisc_request {
    struct nlmsghdr head;
    struct tcmsg tc;
} qdisc_request_t;

/* Called for each message of a reply. */
typedef void (*reply_fn)(const struct nlmsghdr *message, void *context);

/* To open and close a socket takes longer than a question and its answer, and opening a channel
 * asks up to seven: so this one is kept. Interface ioctls go through
 * any socket, also through it. */
static _Thread_local int asker_fd = -1;

int udp_route_open(void)
{
    if (asker_fd < 0)
        asker_fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_ROUTE);
    return asker_fd < 0 ? -errno : 0;
}

/* After a failure: the rest of an answer must not come up as that to the next question. */
static void drop_answer(void)
{
    char begin[16];
    while (recv(asker_fd, begin, sizeof begin, MSG_DONTWAIT) > 0)
        ;
}

/* Returns 1 when the reply is complete, 0 when more comes, or -errno. */
static int read_messages(const char *reply, size_t bytes, reply_fn each, void *context)
{
    const struct nlmsghdr *head;
    for (size_t at = 0; at + sizeof *head <= bytes; at += NLMSG_ALIGN(head->nlmsg_len)) {
        head = (const struct nlmsghdr *)(const void *)(reply + at);
        if (head->nlmsg_len < sizeof *head || head->nlmsg_len > bytes - at)
            return -EBADMSG;
        if (head->nlmsg_type == NLMSG_DONE)
            return 1;
        if (head->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *error = NLMSG_DATA(head);
            if (head->nlmsg_len < NLMSG_LENGTH(sizeof error->error))
                return -EBADMSG;
            return error->error < 0 ? error->error : 1;
        }
        each(head, context);
        if ((head->nlmsg_flags & NLM_F_MULTI) == 0)
            return 1;
    }
    return 0;
}

static int ask(const struct nlmsghdr *request, reply_fn each, void *context)
{
    int rc = udp_route_open();
    if (rc < 0)
        return rc;
    _Alignas(struct nlmsghdr) char reply[REPLY_BYTES];
    rc = send(asker_fd, request, request->nlmsg_len, 0) < 0 ? -errno : 0;
    while (rc == 0) {
        ssize_t got = recv(asker_fd, reply, sizeof reply, 0);
        rc = got < 0 ? -errno : read_messages(reply, (size_t)got, each, context);
    }
    if (rc >= 0)
        return 0;
    drop_answer();
    return rc;
}

static void add_attribute(route_request_t *request, unsigned short type, const void *data,
                          size_t len)
{
    struct rtattr head = {.rta_type = type, .rta_len = (unsigned short)RTA_LENGTH(len)};
    char *to = (char *)request + NLMSG_ALIGN(request->head.nlmsg_len);
    memcpy(to, &head, sizeof head);
    memcpy(to + RTA_LENGTH(0), data, len);
    request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(head.rta_len);
}

/* The first attribute of this type after a message's fixed part, NULL if there is none. */
static const struct rtattr *find_attribute(const struct nlmsghdr *message, size_t fixed_bytes,
                                           unsigned short type)
{
    const struct rtattr *a;
    size_t at = NLMSG_LENGTH(fixed_bytes);
    for (; at + sizeof *a <= message->nlmsg_len; at += RTA_ALIGN(a->rta_len)) {
        a = (const struct rtattr *)(const void *)((const char *)message + at);
        if (a->rta_len < sizeof *a || a->rta_len > message->nlmsg_len - at)
            return NULL;
        if (a->rta_type == type)
            return a;
    }
    return NULL;
}

static void add_address(route_request_t *request, unsigned short type, const udp_addr_t *addr)
{
    if (addr->sa.sa_family == AF_INET)
        add_attribute(request, type, &addr->v4.sin_addr, sizeof addr->v4.sin_addr);
    else
        add_attribute(request, type, &addr->v6.sin6_addr, sizeof addr->v6.sin6_addr);
}

static unsigned char address_bits(const udp_addr_t *addr)
{
    return addr->sa.sa_family == AF_INET ? 32 : 128;
}

static void take_out_interface(const struct nlmsghdr *message, void *context)
{
    uint32_t *ifindex = context;
    if (message->nlmsg_type != RTM_NEWROUTE)
        return;
    const struct rtattr *oif = find_attribute(message, sizeof(struct rtmsg), RTA_OIF);
    if (oif != NULL && RTA_PAYLOAD(oif) >= sizeof *ifindex)
        memcpy(ifindex, RTA_DATA(oif), sizeof *ifindex);
}

int udp_route_of_interface(udp_route_t *route, uint32_t ifindex)
{
    *route = (udp_route_t){.ifindex = ifindex};
    struct ifreq ifr = {.ifr_ifindex = (int)ifindex};
    if (udp_route_open() < 0 || ioctl(asker_fd, SIOCGIFNAME, &ifr) < 0)
        return -ENODEV;
    memcpy(route->device, ifr.ifr_name, sizeof route->device);
    if (ioctl(asker_fd, SIOCGIFMTU, &ifr) == 0)
        route->mtu = (uint32_t)ifr.ifr_mtu;
    return 0;
}

int udp_route_find(udp_route_t *route, const udp_addr_t *dest, const udp_addr_t *source,
                   uint32_t ifindex)
{
    route_request_t request = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof request.route),
                 .nlmsg_type = RTM_GETROUTE,
                 .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = (unsigned char)dest->sa.sa_family,
                  .rtm_dst_len = address_bits(dest)},
    };
    if (dest->sa.sa_family == AF_INET6 && ifindex == 0)
        ifindex = dest->v6.sin6_scope_id;
    add_address(&request, RTA_DST, dest);
    if (source != NULL && source->sa.sa_family == dest->sa.sa_family &&
        !udp_addr_is_wildcard(source) && !udp_addr_is_multicast(source)) {
        request.route.rtm_src_len = address_bits(source);
        add_address(&request, RTA_SRC, source);
    }
    if (ifindex != 0)
        add_attribute(&request, RTA_OIF, &ifindex, sizeof ifindex);

    uint32_t out = 0;
    int rc = ask(&request.head, take_out_interface, &out);
    if (rc < 0)
        return rc;
    return out == 0 ? -ENETUNREACH : udp_route_of_interface(route, out);
}

/* The result of one dump of queueing disciplines for one interface. */
typedef struct qdisc_tree {
    uint32_t ifindex;
    uint32_t root_handle;
    char root[16];
    char leaves[16]; /* the kind below the root, "" none seen, "mixed" */
} qdisc_tree_t;

static void note_qdisc(qdisc_tree_t *tree, const struct tcmsg *tc, const char kind[16])
{
    if (tc->tcm_parent == TC_H_ROOT) {
        tree->root_handle = tc->tcm_handle;
        memcpy(tree->root, kind, sizeof tree->root);
    } else if (tree->root[0] != '\0' && TC_H_MAJ(tc->tcm_parent) == TC_H_MAJ(tree->root_handle)) {
        bool other = tree->leaves[0] != '\0' && strcmp(tree->leaves, kind) != 0;
        snprintf(tree->leaves, sizeof tree->leaves, "%s", other ? "mixed" : kind);
    }
}

static void take_qdisc(const struct nlmsghdr *message, void *context)
{
    qdisc_tree_t *tree = context;
    if (message->nlmsg_type != RTM_NEWQDISC ||
        message->nlmsg_len < NLMSG_LENGTH(sizeof(struct tcmsg)))
        return;
    const struct tcmsg *tc = NLMSG_DATA(message);
    if ((uint32_t)tc->tcm_ifindex != tree->ifindex)
        return;
    const struct rtattr *name = find_attribute(message, sizeof *tc, TCA_KIND);
    if (name == NULL)
        return;
    char kind[16];
    snprintf(kind, sizeof kind, "%.*s", (int)RTA_PAYLOAD(name), (const char *)RTA_DATA(name));
    note_qdisc(tree, tc, kind);
}

static bool only_spreads(const char *kind)
{
    return strcmp(kind, "mq") == 0 || strcmp(kind, "mqprio") == 0 || strcmp(kind, "taprio") == 0;
}

int udp_qdisc_kind(uint32_t ifindex, char kind[16])
{
    kind[0] = '\0';
    qdisc_request_t request = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof request.tc),
                 .nlmsg_type = RTM_GETQDISC,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .tc = {.tcm_family = AF_UNSPEC, .tcm_ifindex = (int)ifindex},
    };
    qdisc_tree_t tree = {.ifindex = ifindex};
    int rc = ask(&request.head, take_qdisc, &tree);
    if (rc < 0)
        return rc;
    bool leaves = only_spreads(tree.root) && tree.leaves[0] != '\0';
    memcpy(kind, leaves ? tree.leaves : tree.root, 16);
    return kind[0] == '\0' ? -ENOENT : 0;
}
