/* udp_probe.h: tests over loopback which UDP features work here, and why others do not. Cold.
 */
#ifndef UDP_PROBE_H
#define UDP_PROBE_H

#include <stdbool.h>

#define UDP_PROBE_REASON_BYTES 192

typedef enum udp_feature {
    UDP_FEATURE_IPV6,
    UDP_FEATURE_GSO,          /* many datagrams in one call */
    UDP_FEATURE_GRO,          /* and taken in as one */
    UDP_FEATURE_RX_STAMPS,    /* kernel receive stamps */
    UDP_FEATURE_TX_STAMPS,    /* kernel transmit stamps */
    UDP_FEATURE_TX_STAMP_IDS, /* with ids of our own (Linux 6.13) */
    UDP_FEATURE_BUFFERS,      /* socket buffers above net.core.rmem_max (CAP_NET_ADMIN) */
    UDP_FEATURE_TAI,          /* the kernel knows the TAI offset */
    UDP_FEATURE_TXTIME,       /* the given interface launches by time */
    UDP_FEATURE_HW_STAMPS,    /* the given interface stamps in hardware */
    UDP_FEATURES
} udp_feature_t;

typedef struct udp_probe_result {
    const char *name; /* stable, for machine output: "gso", "rx_stamps", ... */
    bool works;
    char reason[UDP_PROBE_REASON_BYTES]; /* why not, "" when it works */
} udp_probe_result_t;

/* Tries each feature; device: interface for the last two, "" for none. Takes a few milliseconds, at
 * most 0.2 s. Any thread. */
void udp_probe(udp_probe_result_t results[UDP_FEATURES], const char *device);

#endif
