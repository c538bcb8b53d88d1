/* rtp_payload_list.h: the static payload types of RFC 3551, one line each:
 *
 *     X(payload type, clock rate in Hz, channels, kind)
 *
 * for every type that has an entry; all others are zero. It generates two tables: one here in
 * the core, one with the type names of the C library. */
#ifndef RTP_PAYLOAD_LIST_H
#define RTP_PAYLOAD_LIST_H

#define RTP_PAYLOAD_LIST(X) \
    X(0, 8000, 1, AUDIO)    \
    X(1, 0, 0, RES)         \
    X(2, 0, 0, RES)         \
    X(3, 8000, 1, AUDIO)    \
    X(4, 8000, 1, AUDIO)    \
    X(5, 8000, 1, AUDIO)    \
    X(6, 16000, 1, AUDIO)   \
    X(7, 8000, 1, AUDIO)    \
    X(8, 8000, 1, AUDIO)    \
    X(9, 8000, 1, AUDIO)    \
    X(10, 44100, 1, AUDIO)  \
    X(11, 44100, 2, AUDIO)  \
    X(12, 8000, 1, AUDIO)   \
    X(13, 8000, 1, AUDIO)   \
    X(14, 90000, 2, AUDIO)  \
    X(15, 8000, 1, AUDIO)   \
    X(16, 11025, 1, AUDIO)  \
    X(17, 22050, 1, AUDIO)  \
    X(18, 8000, 1, AUDIO)

#endif
