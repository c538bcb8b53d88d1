/* rtpsynth.h: a generator of RTP packets. Needs no other header of this library. C and C++.
 *
 * Only one thread at a time may use an instance. The timestamp moves by 8 units per millisecond of
 * packet time, whatever the sample rate, which only matters in rsynth_resync. */
#ifndef RTPSYNTH_RTPSYNTH_H
#define RTPSYNTH_RTPSYNTH_H

#include <stddef.h>
#include <stdint.h>

#ifndef EXPORT
#define EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct rsynth_seq {
    unsigned long long ts;
    unsigned long long seq;
};

typedef uint32_t (*rsynth_randfunc_t)(void *arg);

/* ptime in ms. Draws SSRC, first timestamp, first sequence number, in this order. Returns NULL if
 * there is no memory. */
EXPORT void *rsynth_ctor(int srate, int ptime);
EXPORT void rsynth_dtor(void *ri);

/* 12 + plen bytes with a payload of zeroes, for rsynth_pkt_free. NULL: no memory, or plen < 0. */
EXPORT void *rsynth_next_pkt(void *ri, int plen, int pt);
EXPORT void rsynth_pkt_free(void *rnp);

/* The same into buf of blen bytes. pa != 0: the payload is at the start of buf, and is moved behind
 * the header. The rest of buf is zeroed. Returns 12 + plen, or -1 if that exceeds blen or plen < 0:
 * then nothing has changed. */
EXPORT int rsynth_next_pkt_pa(void *ri, int plen, int pt, char *buf, unsigned int blen, int pa);

/* npkts packets of 12 + plen bytes at buf, buf + stride, ... payload: npkts times plen bytes, or
 * NULL for zeroes. Returns npkts, or 0 if stride < 12 + plen. Since 1.4. */
EXPORT size_t rsynth_next_pkts(void *ri, size_t npkts, size_t plen, int pt, const void *payload,
                               void *buf, size_t stride);

/* Moves the timestamp by npkts packets, also backwards. */
EXPORT void rsynth_skip(void *ri, int npkts);

/* The lowest bit of new_st marks the next packet. Returns the bit as it was; it is 1 at first and 0
 * after each packet. */
EXPORT unsigned int rsynth_set_mbt(void *ri, unsigned int new_st);

/* Writes timestamp and sequence number of the next packet to *rsp (may be NULL), then moves the
 * timestamp by the time since the last packet. If several packets were made within one tick of the
 * kernel (1 to 10 ms), the time of the first one counts. */
EXPORT void rsynth_resync(void *ri, struct rsynth_seq *rsp);

/* The source of random numbers for all later instances of the process.
 * NULL: the system's entropy. */
EXPORT void rsynth_set_randfunc(rsynth_randfunc_t f, void *arg);

#ifdef __cplusplus
}
#endif

#endif
