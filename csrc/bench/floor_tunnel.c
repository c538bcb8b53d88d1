/* An emulated link between two network namespaces, for IP packets of any kind, so that TCP and UDP
 * share the same bottleneck.
 *
 *    namespace "near"                                             namespace "far"
 *    10.83.0.1  tun device --- this process --- [ link ] --- tun device  10.83.0.2
 *
 * Both namespaces belong to this process and end with it. Others enter them by their files, which
 * are printed. Needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and /dev/net/tun. Runs until it is killed. */
#include "bench/bench.h"

#include "base/rt_clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEAR_ADDRESS "10.83.0.1"
#define FAR_ADDRESS "10.83.0.2"
#define MAX_PACKET_BYTES 2048
#define READS 64
#define BATCH 32

typedef struct side {
    int tun;
    int net_ns;
} side_t;

static void set_address(int control, struct ifreq *request, unsigned long what, const char *address)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
        bench_fail(address);
    memcpy(&request->ifr_addr, &a, sizeof a);
    if (ioctl(control, what, request) < 0)
        bench_fail("the address of the tun device");
}

static void set_up(int control, const char *device)
{
    struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};
    memcpy(request.ifr_name, device, strlen(device) + 1);
    if (ioctl(control, SIOCSIFFLAGS, &request) < 0)
        bench_fail("SIOCSIFFLAGS");
}

/* This process stays in the new namespace. */
static side_t make_side(const char *address, const char *peer)
{
    side_t s;
    if (unshare(CLONE_NEWNET) < 0)
        bench_fail("unshare");
    s.net_ns = open("/proc/self/ns/net", O_RDONLY);
    s.tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    struct ifreq request = {.ifr_name = "link", .ifr_flags = IFF_TUN | IFF_NO_PI};
    if (s.net_ns < 0 || s.tun < 0 || ioctl(s.tun, TUNSETIFF, &request) < 0)
        bench_fail("/dev/net/tun");
    int control = socket(AF_INET, SOCK_DGRAM, 0);
    if (control < 0)
        bench_fail("socket");
    set_address(control, &request, SIOCSIFADDR, address);
    set_address(control, &request, SIOCSIFDSTADDR, peer);
    set_up(control, "link");
    set_up(control, "lo");
    close(control);
    return s;
}

static void take_in(int tun, impair_t *link)
{
    uint8_t packet[MAX_PACKET_BYTES];
    for (unsigned i = 0; i < READS; i++) {
        ssize_t n = read(tun, packet, sizeof packet);
        if (n <= 0)
            return;
        impair_in_t in = {.data = packet, .len = (uint32_t)n};
        impair_offer(link, &in, rt_mono_ns());
    }
}

/* A packet that the device has no room for is lost, as on any link. */
static void send_due(impair_t *link, int tun)
{
    impair_out_t out[BATCH];
    size_t n;
    while ((n = impair_emit(link, out, BATCH, rt_mono_ns())) > 0)
        for (size_t i = 0; i < n; i++)
            if (write(tun, out[i].data, out[i].len) < 0 && errno == EBADFD)
                bench_fail("write");
}

int bench_tunnel(int argc, char **argv)
{
    static impair_t there, back;
    bench_open_links(&there, &back, MAX_PACKET_BYTES, argc, argv);
    bench_pin((int)bench_option(argc, argv, "--cpu", -1));
    side_t near = make_side(NEAR_ADDRESS, FAR_ADDRESS);
    side_t far = make_side(FAR_ADDRESS, NEAR_ADDRESS);
    bench_fifo((int)bench_option(argc, argv, "--priority", 0));
    int pid = (int)getpid();
    printf("{\"near\": \"/proc/%d/fd/%d\", \"far\": \"/proc/%d/fd/%d\", \"address\": \"%s\"}\n",
           pid, near.net_ns, pid, far.net_ns, FAR_ADDRESS);
    fflush(stdout);
    struct pollfd ends[2] = {{.fd = near.tun, .events = POLLIN}, {.fd = far.tun, .events = POLLIN}};
    for (;;) {
        bench_wait_for_links(&there, &back, ends, 2);
        take_in(near.tun, &there);
        take_in(far.tun, &back);
        send_due(&there, far.tun);
        send_due(&back, near.tun);
    }
}
