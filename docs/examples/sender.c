/* sender.c: sends packets on a channel that a Python program has opened, one each millisecond, and
 * prints what became of them.
 *
 *     python reader.py &                              opens the channel "example"
 *     cc -o sender sender.c $(shmring cflags)
 *     ./sender example 100                            sends 100 packets
 *
 * The reader prints when each packet was due and when it arrived. */
#include <shmring.h>

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define INTERVAL_NS INT64_C(1000000)
#define AHEAD_NS INT64_C(20000000)

static void check(int64_t rc)
{
    if (rc < 0)
        errx(1, "%s", shmring_error());
}

/* Queues all packets at once: the worker keeps the schedule, whatever this process does meanwhile.
 */
static void send_packets(shmring_t *channel, int count)
{
    int64_t first_ns = shmring_now_ns(channel) + AHEAD_NS;
    for (int i = 0; i < count; i++) {
        int64_t due_ns = first_ns + i * INTERVAL_NS;
        shmring_terms_t terms = {.due_ns = due_ns, .timeout_ns = SHMRING_FOREVER};
        check(shmring_send(channel, &due_ns, sizeof due_ns, &terms, NULL));
    }
}

/* Reads the reports until each packet has one. Returns how many were late. */
static int count_late(shmring_t *channel, int count)
{
    shmring_report_t reports[64];
    int late = 0;
    while (count > 0) {
        int64_t n = shmring_reports(channel, reports, 64);
        check(n);
        for (int64_t i = 0; i < n; i++)
            late += reports[i].verdict != SHMRING_ON_TIME;
        count -= (int)n;
    }
    return late;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(1, "usage: sender CHANNEL COUNT");
    int count = atoi(argv[2]);
    shmring_t *channel = shmring_attach(argv[1], NULL);
    if (channel == NULL)
        errx(1, "%s", shmring_error());
    send_packets(channel, count);
    printf("sent %d packets, %d of them late\n", count, count_late(channel, count));
    shmring_close(channel);
    return 0;
}
