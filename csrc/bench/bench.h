/* bench.h: what the programs of `shmring-floor` share. They do the product's work in bare C, with
 * nothing between it and the kernel, so that one run gives a ratio.
 *
 * Each prints one JSON object a line on standard output; errors go to standard error, exit code 1.
 */
#ifndef BENCH_H
#define BENCH_H

#include "proto/impair/impair.h"

#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>

/* "name value" pairs after the subcommand: --port 9000 --count 1000. */
int64_t bench_option(int argc, char **argv, const char *name, int64_t fallback);

/* Prints the reason and exits. */
_Noreturn void bench_fail(const char *what);

void bench_pin(int cpu);
void bench_fifo(int priority); /* no effect if it is not allowed */

/* On loopback, or on all addresses. port 0: any free one. */
int bench_udp_bound(uint16_t port, int rcvbuf_bytes);
int bench_udp_bound_any(uint16_t port, int rcvbuf_bytes);
uint16_t bench_udp_port(int fd);
int bench_udp_connected(uint16_t port);
struct sockaddr_in bench_loopback(uint16_t port);

/* CLOCK_REALTIME minus CLOCK_MONOTONIC, from the narrowest of many bracketed pairs. */
int64_t bench_real_minus_mono_ns(void);

/* Sorts values and prints {"case":..., "n", "min", "p50", "p90", "p99", "p999", "max", "mean"}. */
void bench_print_distribution(const char *name, int64_t *values_ns, size_t n);
void bench_print_value(const char *name, const char *metric, double value, const char *unit);

/* Two emulated links of one kind: --delay-us (one way) --loss-ppm --rate-bps --queue-bytes --seed.
 */
void bench_open_links(impair_t *there, impair_t *back, uint32_t max_datagram_bytes, int argc,
                      char **argv);
/* Waits until a datagram arrives or is due on a link, at most a second. */
void bench_wait_for_links(const impair_t *there, const impair_t *back, struct pollfd *ends,
                          size_t count);

int bench_receive(int argc, char **argv);
int bench_timed(int argc, char **argv);
int bench_bulk(int argc, char **argv);
int bench_tick(int argc, char **argv);
int bench_rtt(int argc, char **argv);
int bench_hops(int argc, char **argv);
int bench_ipc(int argc, char **argv);
int bench_ring(int argc, char **argv);
int bench_relay(int argc, char **argv);
int bench_tunnel(int argc, char **argv);
int bench_rtp(int argc, char **argv);
int bench_rtp_synth(int argc, char **argv);
int bench_rtp_synth_many(int argc, char **argv);

#endif
