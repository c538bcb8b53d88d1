/* rtp_synth.h: a generator of RTP packets of one source, the arithmetic of the C library's rsynth_
 * calls and of the Python class RtpSynth.
 *
 * Compatibility fixes these points: the timestamp advances by 8 * ptime units per packet whatever
 * the clock rate. Only rtp_synth_resync uses the rate. Timestamp and sequence are 64-bit counters,
 * truncated to their fields when written. rtp_stream.h is the generator that uses clock rates.
 *
 * Caller's memory, one thread at a time. No clock: now_ns is CLOCK_MONOTONIC of the caller. */
#ifndef RTP_SYNTH_H
#define RTP_SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_SYNTH_DRAWS 3u

typedef struct rtp_synth {
    uint64_t ts;  /* of the next packet */
    uint64_t seq; /* of the next packet */
    int64_t ts_step;
    int64_t last_ns; /* when the last packet was made, at first: when this was initialised */
    uint32_t ssrc;   /* in the order of bytes of this machine, see rtp_synth_init */
    uint32_t clock_rate;
    bool marker; /* of the next packet; true at first */
} rtp_synth_t;

/* draws: SSRC, first timestamp (bit 0 is cleared), first sequence number (low 16 bits). The SSRC's
 * draw goes into the header in memory order: least significant byte first on a little-endian
 * machine. clock_rate below 0 counts as 0. */
void rtp_synth_init(rtp_synth_t *s, int clock_rate, int ptime_ms,
                    const uint32_t draws[RTP_SYNTH_DRAWS], int64_t now_ns);

/* One packet of 12 + payload_bytes bytes into out[0 .. room). payload_in_place: the payload is
 * at the start of out and is moved after the header. Otherwise it is zeroes. All of out after the
 * packet is zeroed, too. Returns the length of the packet, or -EMSGSIZE (longer than room) or
 * -EINVAL (payload_bytes < 0); after a failure nothing has changed. */
int rtp_synth_next(rtp_synth_t *s, int payload_bytes, int payload_type, uint8_t *out, size_t room,
                   bool payload_in_place, int64_t now_ns);

/* count packets, each of 12 + payload_bytes bytes, one every stride bytes from out on. payload:
 * count times payload_bytes, or NULL for zeroes. The marker goes to the first. The bytes between
 * two packets (stride > 12 + payload_bytes) are left as they are. Returns count; 0 where
 * stride < 12 + payload_bytes. */
size_t rtp_synth_next_many(rtp_synth_t *s, size_t count, size_t payload_bytes, int payload_type,
                           const uint8_t *payload, uint8_t *out, size_t stride, int64_t now_ns);

/* Moves the timestamp by that many packets, also backwards. Nothing else. */
void rtp_synth_skip(rtp_synth_t *s, int packets);

/* Marker of the next packet; returns its previous value. */
bool rtp_synth_set_marker(rtp_synth_t *s, bool marker);

/* Moves the timestamp by the time since the last packet, at clock_rate, rounded down. Two calls
 * without a packet between them add that time twice: compatibility. */
void rtp_synth_resync(rtp_synth_t *s, int64_t now_ns);

#endif
