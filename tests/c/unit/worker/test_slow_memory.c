/* A client whose payload lies in memory that comes late, as that of a file on a slow disk: it waits
 * before it claims room, so packets of others leave meanwhile. */
#include "unit/worker/worker_test.h"

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

enum { BYTES = 2 * SHM_PAGE_BYTES, PAYLOAD = 1500, OTHERS = 20 };

static wt_worker_t worker;

typedef struct job {
    wt_channel_t *ch;
    const uint8_t *data;
    int result;
} job_t;

/* Memory whose pages nobody has until they are put there. Returns -1: not to be had here. */
static int late_memory(uint8_t **at)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API};
    *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || *at == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) != 0)
        return -1;
    struct uffdio_register pages = {.range = {.start = (uintptr_t)*at, .len = BYTES},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    return ioctl(fd, UFFDIO_REGISTER, &pages) == 0 ? fd : -1;
}

static bool somebody_waits(int late)
{
    struct pollfd p = {.fd = late, .events = POLLIN};
    return poll(&p, 1, WT_TIMEOUT_MS) == 1;
}

static void bring(int late, const uint8_t *at)
{
    struct uffdio_zeropage pages = {.range = {.start = (uintptr_t)at, .len = BYTES}};
    CHECK_EQ(ioctl(late, UFFDIO_ZEROPAGE, &pages), 0);
}

static void *send_late(void *argument)
{
    job_t *job = argument;
    job->result = wt_push(job->ch, job->data, PAYLOAD, 0, NULL);
    return NULL;
}

static void check_others(wt_channel_t *ch, int sink)
{
    for (int i = 0; i < OTHERS; i++) {
        int got = -1;
        CHECK_EQ(wt_push(ch, &i, sizeof i, 0, NULL), 0);
        CHECK_EQ(wt_recv(sink, &got, sizeof got, WT_TIMEOUT_MS), (int)sizeof got);
        CHECK_EQ(got, i);
    }
    CHECK(wt_count_to(ch, SHM_COUNT_tx_sent, OTHERS));
}

static void test_others_do_not_wait_for_it(void)
{
    uint16_t port = 0;
    int sink = wt_udp(&port);
    uint8_t *data = NULL;
    int late = late_memory(&data);
    wt_channel_t ch = {.config = wt_config("slow", port)};
    REQUIRE(late >= 0);
    REQUIRE(wt_open(&worker, &ch));
    wt_channel_t client = ch;
    CHECK_EQ(wt_attach(&worker, worker.pool, &client, NULL), 0);
    job_t job = {.ch = &client, .data = data, .result = 1};
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, send_late, &job) == 0);
    CHECK(somebody_waits(late));
    check_others(&ch, sink);
    CHECK_EQ(tx_ring_waiting(&ch.segment), 0); /* it has claimed nothing yet */
    bring(late, data);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(job.result, 0);
    CHECK_EQ(wt_recv(sink, data, PAYLOAD, WT_TIMEOUT_MS), PAYLOAD);
    CHECK_EQ(wt_exact(&worker, &ch, SHM_COUNT_tx_sent), OTHERS + 1);
    CHECK_EQ(wt_command(&worker, &ch, CTL_CLOSE), 0);
    close(client.locks_fd);
    wt_drop(&ch);
    close(late);
    (void)munmap(data, BYTES);
    close(sink);
}

int main(void)
{
    uint8_t *at = NULL;
    int late = late_memory(&at);
    TEST_NEEDS("userfaultfd", late >= 0);
    close(late);
    (void)munmap(at, BYTES);
    if (!wt_start(&worker, NULL))
        return 1;
    RUN(test_others_do_not_wait_for_it);
    wt_stop(&worker);
    return rt_test_result();
}
