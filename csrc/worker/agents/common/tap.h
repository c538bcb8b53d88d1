/* tap.h: what the engines show to taps: datagrams where they leave and where they arrive. Shared by
 * the engines. Hot on a tapped channel. Without a tap it only costs one call of agent_tapped per
 * batch.
 *
 * An impaired path counts as the network: taps see sent packets before it and arrivals after it. */
#ifndef AGENT_TAP_H
#define AGENT_TAP_H

#include "worker/agent.h"

static inline bool agent_tapped(const wrk_channel_t *ch)
{
    return __builtin_expect(ch->taps != NULL, 0);
}

/* A packet with its verdict that left alone or with others. awaits_stamp: agent_tap_stamped
 * follows. Returns the packet's number for that call. */
uint64_t agent_tap_sent(wrk_channel_t *ch, const udp_t *udp, const udp_tx_t *message,
                        const shm_report_t *report, bool awaits_stamp);

/* Datagrams that left in one call and have neither verdict nor sequence. */
void agent_tap_left(wrk_channel_t *ch, const udp_t *udp, const udp_tx_t *messages, unsigned count,
                    int64_t start_mono_ns, int64_t end_mono_ns);

/* The stamp of a packet that was sent has come, or is given up (report->stamp NONE). */
void agent_tap_stamped(wrk_channel_t *ch, uint64_t number, const shm_report_t *report);

/* A packet that got its verdict and was not sent. */
void agent_tap_not_sent(wrk_channel_t *ch, const tx_item_t *item, const shm_report_t *report);

#define AGENT_TAP_NO_SEQUENCE UINT64_MAX

/* Datagrams from the socket. only_from: others were filtered. NULL or not set: none were filtered.
 * sequence: of the first of them that was put into the rx ring (the others follow it), or
 * AGENT_TAP_NO_SEQUENCE. */
void agent_tap_arrived(wrk_channel_t *ch, const udp_t *udp, const udp_rx_t *in, unsigned count,
                       const udp_addr_t *only_from, uint64_t sequence);

/* One that left the impaired path. sequence: likewise. */
void agent_tap_item(wrk_channel_t *ch, const udp_t *udp, const rx_item_t *item, uint64_t sequence);

#endif
