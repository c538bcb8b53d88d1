/* socket.h: makes UDP sockets from a channel's configuration, and converts addresses between the
 * form in shared memory and the kernel's. Shared by the engines. Cold, except for the addresses. */
#ifndef AGENT_SOCKET_H
#define AGENT_SOCKET_H

#include "worker/agent.h"

void agent_addr_in(udp_addr_t *out, const shm_addr_t *in);
void agent_addr_out(shm_addr_t *out, const udp_addr_t *in);

/* The channel's configuration of a socket. phc: the card's clock, or NULL. */
udp_config_t agent_udp_config(wrk_channel_t *ch, const phc_t *phc);

/* Opens the channel's socket, or continues with socket_fd (-1: none; owned from now on, also on
 * failure). *phc gets the clock of the card that can take timestamps, or NULL. both_ways: a channel
 * that only sends must also receive. Returns 0 or -errno with a text; then nothing is left open. */
int agent_socket_open(wrk_channel_t *ch, int socket_fd, bool both_ways, udp_t *udp,
                      const phc_t **phc);
void agent_socket_close(udp_t *udp, const phc_t *phc);

/* Fills the facts about the socket in ch->segment.status, and ch->socket_fd. */
void agent_socket_facts(wrk_channel_t *ch, const udp_t *udp);

/* Takes the ICMP error that an earlier packet caused: until it is
 * taken the socket stays "ready". */
void agent_socket_take_error(const udp_t *udp);

/* Fills *item with an arrival in the form that the rx ring needs. Its payload stays in place.
 * Returning the struct would copy fields that were just written, and such a copy waits until the
 * processor has stored them. */
void agent_rx_item(rx_item_t *item, const udp_rx_t *in);

#endif
