/* Workers are killed again and again under links that exchange values every millisecond with
 * partners that answer each datagram. No number may go out twice, no partner may be taken for a new
 * one, and what was in the sockets at a death is read by the successor. */
#include "unit/worker/netflux/netflux_test.h"

#include <pthread.h>

enum { LINKS = 4, DEATHS = 40, WRITES = 20 };

typedef struct partner {
    int fd;
    uint16_t port;
    bool started;
    uint8_t heard;  /* number of the last datagram of the link */
    uint8_t number; /* of our own last one */
    uint32_t value; /* seen last */
    unsigned got;
    unsigned sent;
    unsigned repeated;
    unsigned skipped;
    unsigned back; /* values that are older than one seen before */
} partner_t;

static partner_t partners[LINKS];
static wt_channel_t links[LINKS];
static atomic_bool over;

static void answer(partner_t *p, const struct sockaddr_in *to)
{
    uint8_t data[NFX_HEADER_BYTES + NFT_BYTES] = {++p->number, p->heard};
    memcpy(data + NFX_HEADER_BYTES, &p->sent, NFT_BYTES);
    if (sendto(p->fd, data, sizeof data, 0, (const struct sockaddr *)to, sizeof *to) > 0)
        p->sent++;
}

static void take(partner_t *p)
{
    uint8_t data[64];
    struct sockaddr_in from;
    socklen_t bytes = sizeof from;
    ssize_t n = recvfrom(p->fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&from, &bytes);
    if (n != NFX_HEADER_BYTES + NFT_BYTES)
        return;
    uint8_t ahead = (uint8_t)(data[0] - p->heard);
    uint32_t value;
    memcpy(&value, data + NFX_HEADER_BYTES, sizeof value);
    if (p->started) {
        p->repeated += ahead == 0 || ahead >= 128;
        p->skipped += ahead > 0 && ahead < 128 ? ahead - 1u : 0;
        p->back += value < p->value;
    }
    p->started = true;
    p->heard = data[0];
    p->value = value;
    p->got++;
    answer(p, &from);
}

static void *play_partners(void *none)
{
    (void)none;
    struct pollfd fds[LINKS];
    while (!over) {
        for (unsigned i = 0; i < LINKS; i++)
            fds[i] = (struct pollfd){.fd = partners[i].fd, .events = POLLIN};
        if (poll(fds, LINKS, 20) <= 0)
            continue;
        for (unsigned i = 0; i < LINKS; i++)
            if (fds[i].revents & POLLIN)
                take(&partners[i]);
    }
    return NULL;
}

static bool open_links(wt_worker_t *w)
{
    shm_netflux_config_t link = nft_link();
    link.settings.cycle_ns = RT_NS_PER_MS;
    for (unsigned i = 0; i < LINKS; i++) {
        char name[] = "link0";
        name[4] = (char)('0' + i);
        partners[i].fd = wt_udp(&partners[i].port);
        links[i] = (wt_channel_t){.config = nft_config(name, partners[i].port, &link)};
        if (!wt_open(w, &links[i]))
            return false;
        nft_put_value(&links[i], 0);
    }
    return true;
}

static bool replace_worker(wt_worker_t *w)
{
    bool ok = nft_replace_worker(w, &links[0]);
    for (unsigned i = 1; ok && i < LINKS; i++)
        ok = CHECK_EQ(wt_send_open(w, &links[i], CTL_OPEN_TAKEOVER), 0);
    return ok;
}

/* Values go on being written over each death. */
static bool live(wt_worker_t *w, uint64_t *seed)
{
    uint32_t value = 0;
    for (unsigned death = 0; death < DEATHS; death++) {
        uint64_t pause_us = rt_test_rand(seed) % 1000;
        for (unsigned k = 0; k < WRITES; k++) {
            value++;
            for (unsigned i = 0; i < LINKS; i++)
                nft_put_value(&links[i], value);
            struct timespec nap = {.tv_nsec = (long)(pause_us * 1000)};
            (void)nanosleep(&nap, NULL);
        }
        if (!replace_worker(w))
            return false;
    }
    for (unsigned i = 0; i < LINKS; i++)
        CHECK(nft_count_to(&links[i], NFX_COUNT_sent, nft_count(&links[i], NFX_COUNT_sent) + 50));
    return true;
}

static void check_link(unsigned i)
{
    const partner_t *p = &partners[i];
    const wt_channel_t *ch = &links[i];
    CHECK_EQ(p->repeated, 0);
    CHECK_EQ(p->back, 0);
    CHECK(p->skipped <= DEATHS); /* built, and then its worker was dead */
    CHECK_EQ(nft_count(ch, NFX_COUNT_firsts), 1);
    CHECK_EQ(nft_count(ch, NFX_COUNT_rejected_old) + nft_count(ch, NFX_COUNT_rejected_repeated), 0);
    /* A worker may die between a step and its counter. */
    uint64_t found = nft_count(ch, NFX_COUNT_accepted) + nft_count(ch, NFX_COUNT_partner_lost);
    CHECK(found <= p->sent && found + 3 * DEATHS >= p->sent);
    uint64_t sent = nft_count(ch, NFX_COUNT_sent);
    CHECK(sent <= p->got && sent + DEATHS >= p->got);
    (void)printf("link %u: %u datagrams, %u skipped; %u answers, %" PRIu64 " lost\n", i, p->got,
                 p->skipped, p->sent, nft_count(ch, NFX_COUNT_partner_lost));
}

/* Sending stops, and what is under way arrives. */
static void settle(wt_worker_t *w)
{
    for (unsigned i = 0; i < LINKS; i++)
        CHECK_EQ(nft_send(w, &links[i], 0), 0);
    for (unsigned i = 0; i < LINKS; i++) {
        uint64_t last;
        do {
            last = nft_count(&links[i], NFX_COUNT_accepted);
            wt_nap_ms(200);
        } while (nft_count(&links[i], NFX_COUNT_accepted) != last);
    }
}

int main(void)
{
    uint64_t seed = rt_test_env_u64("RT_TEST_SEED", 1);
    (void)printf("seed %" PRIu64 "\n", seed);
    wt_worker_t w;
    pthread_t thread;
    if (!CHECK(wt_start(&w, NULL)) || !open_links(&w) ||
        !CHECK_EQ(pthread_create(&thread, NULL, play_partners, NULL), 0))
        return rt_test_result();
    bool lived = live(&w, &seed);
    if (lived)
        settle(&w);
    over = true;
    (void)pthread_join(thread, NULL);
    for (unsigned i = 0; i < LINKS && lived; i++)
        check_link(i);
    for (unsigned i = 0; i < LINKS && lived; i++)
        nft_close(&w, &links[i]);
    wt_stop(&w);
    return rt_test_result();
}
