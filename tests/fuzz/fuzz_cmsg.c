/* Control messages of received datagrams and of the error queue, as the kernel lays them out: any
 * kind, any content, and the last one cut off where the buffer ended (a socket that was handed over
 * may have options set that make the kernel say more than there is room for).
 *
 *      input:  message message ...     each  kind, bytes (1), content */
#include "io/rx_timestamp.c"
#include "io/tx_timestamp.c"

#include <stdlib.h>

typedef struct kind {
    int level, type;
} kind_t;

static const kind_t KINDS[] = {
    {SOL_SOCKET, SCM_TIMESTAMPING},
    {SOL_SOCKET, SO_RXQ_OVFL},
    {SOL_SOCKET, SCM_TIMESTAMPING_PKTINFO},
    {SOL_UDP, UDP_GRO},
    {SOL_IP, IP_TOS},
    {SOL_IPV6, IPV6_TCLASS},
    {SOL_IP, IP_RECVERR},
    {SOL_IPV6, IPV6_RECVERR},
    {SOL_SOCKET, SCM_CREDENTIALS},
    {SOL_IP, IP_PKTINFO},
};
#define KIND_COUNT (sizeof KINDS / sizeof KINDS[0])

/* The kernel makes a stamp from nanoseconds in 64 bits, so it is always a whole time. */
static void make_stamps_whole(uint8_t *content, size_t bytes)
{
    for (size_t at = 0; at + sizeof(struct timespec) <= bytes; at += sizeof(struct timespec)) {
        struct timespec ts;
        memcpy(&ts, content + at, sizeof ts);
        ts.tv_sec = (time_t)((uint64_t)ts.tv_sec % 4000000000u);
        ts.tv_nsec = (long)((uint64_t)ts.tv_nsec % 1000000000u);
        memcpy(content + at, &ts, sizeof ts);
    }
}

/* As put_cmsg in the kernel. Returns what of the buffer is used. */
static size_t lay_out(const uint8_t *data, size_t left, uint8_t *buffer, size_t bytes)
{
    size_t used = 0;
    while (left >= 2 && bytes - used >= sizeof(struct cmsghdr)) {
        kind_t kind = KINDS[data[0] % KIND_COUNT];
        size_t content = data[1] % 64;
        data += 2;
        left -= 2;
        if (content > left)
            content = left;
        size_t room = bytes - used - sizeof(struct cmsghdr);
        size_t kept = content < room ? content : room;
        struct cmsghdr head = {
            .cmsg_len = sizeof head + kept, .cmsg_level = kind.level, .cmsg_type = kind.type};
        memcpy(buffer + used, &head, sizeof head);
        memcpy(buffer + used + sizeof head, data, kept);
        if (kind.type == SCM_TIMESTAMPING)
            make_stamps_whole(buffer + used + sizeof head, kept);
        data += content;
        left -= content;
        size_t space = CMSG_SPACE(kept);
        used += space < bytes - used ? space : bytes - used;
    }
    return used;
}

static void parse(udp_t *udp, struct msghdr *msg)
{
    udp_rx_control_t control;
    udp_rx_control_parse(msg, &control);
    int64_t time_ns = 0;
    udp_stamp_t stamp;
    (void)udp_rx_stamp(udp, &control, &time_ns, &stamp);
    udp_tx_stamp_t sent;
    (void)take_entry(udp, msg, &sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1)
        return 0;
    clock_map_t map = {.target = RT_CLOCK_MONOTONIC, .offset_ns = RT_NS_PER_S};
    udp_t udp = {.clock_map = &map, .own_stamp_ids = data[0] & 1};
    size_t room = data[0] % (UDP_RX_CONTROL_BYTES + 1);
    uint8_t *buffer = malloc(room ? room : 1);
    if (buffer == NULL)
        return 0;
    struct msghdr msg = {.msg_control = buffer,
                         .msg_controllen = lay_out(data + 1, bytes - 1, buffer, room)};
    parse(&udp, &msg);
    free(buffer);
    return 0;
}
