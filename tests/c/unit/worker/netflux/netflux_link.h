/* netflux_link.h: the one link that a test of the engine "netflux" has at a time, its worker, and
 * the socket of its partner. */
#ifndef NETFLUX_LINK_H
#define NETFLUX_LINK_H

#include "unit/worker/netflux/netflux_test.h"

static wt_worker_t w;
static wt_channel_t ch;
static int partner;
static uint16_t partner_port;
static nft_record_t r;

static bool begin_with(const shm_netflux_config_t *link)
{
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, link)};
    return CHECK(partner >= 0) && wt_open(&w, &ch);
}

static bool begin(void)
{
    shm_netflux_config_t link = nft_link();
    return begin_with(&link);
}

static void end(void)
{
    nft_close(&w, &ch);
    close(partner);
}

static void answer(uint8_t number, uint8_t feedback, uint32_t value)
{
    shm_addr_t to = nft_bound(&ch);
    nft_send_value(partner, &to, number, feedback, value);
}

#endif
