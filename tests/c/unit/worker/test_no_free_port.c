/* Ports that the kernel is to choose, and none is left: the error does not advise to let it choose.
 */
#include "unit/worker/rtp/rtp_test.h"

#include <sched.h>
#include <sys/ioctl.h>

#include <net/if.h>

enum { FIRST = 50000 };

static wt_worker_t worker;

/* A network of our own whose kernel chooses from two ports. */
static bool own_network(void)
{
    static const char range[] = "50000 50001";
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    close(fd);
    fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
    bool set = fd >= 0 && write(fd, range, sizeof range - 1) == (ssize_t)sizeof range - 1;
    close(fd);
    return up && set;
}

static int bound_to(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void refused(shm_config_t config, const char *text)
{
    wt_channel_t ch = {.config = config};
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&worker, &ch, 0), -EADDRINUSE);
    if (!CHECK(strstr(worker.text, text) != NULL) || !CHECK(strstr(worker.text, "or 0") == NULL))
        (void)fprintf(stderr, "%s\n", worker.text);
    wt_drop(&ch);
}

static void test_all_ports_are_in_use(void)
{
    int first = bound_to(FIRST), second = bound_to(FIRST + 1);
    refused(wt_config("none", 0), "50000 to 50001");
    close(first);
    close(second);
}

static void test_the_port_that_was_named_is_in_use(void)
{
    int first = bound_to(FIRST);
    wt_channel_t ch = {.config = wt_config("named", 0)};
    ch.config.local.port = FIRST;
    REQUIRE(wt_segment(&ch));
    CHECK_EQ(wt_send_open(&worker, &ch, 0), -EADDRINUSE);
    CHECK(strstr(worker.text, "choose another port or 0") != NULL);
    wt_drop(&ch);
    close(first);
}

static void test_no_port_has_a_free_one_behind_it(void)
{
    int odd = bound_to(FIRST + 1);
    shm_rtp_config_t stream = rtpt_stream();
    stream.rtcp = SHM_RTP_RTCP_NEXT_PORT;
    refused(rtpt_config("pair", 9, SHM_DUPLEX, &stream), "free port after it");
    close(odd);
}

int main(void)
{
    TEST_NEEDS("netns", own_network()); /* with a /proc/sys that can be written */
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_all_ports_are_in_use);
    RUN(test_the_port_that_was_named_is_in_use);
    RUN(test_no_port_has_a_free_one_behind_it);
    wt_stop(&worker);
    return rt_test_result();
}
