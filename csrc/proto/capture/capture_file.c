#include "proto/capture/capture_file.h"

#include "base/rt_clock.h"
#include "base/rt_err.h"
#include "proto/capture/capture_number.h"
#include "proto/capture/capture_pcapng.h"

#include <errno.h>
#include <inttypes.h>

#define PCAP_MAGIC_US 0xA1B2C3D4u
#define PCAP_MAGIC_NS 0xA1B23C4Du
#define PCAP_HEAD_BYTES 24u
#define PCAP_RECORD_BYTES 16u

static int is_pcap(capture_file_t *f, const uint8_t *p)
{
    for (int swapped = 0; swapped < 2; swapped++) {
        f->swapped = swapped;
        uint32_t magic = capture_get32(f, p);
        f->unit_ns = magic == PCAP_MAGIC_US ? 1000 : 1;
        if (magic == PCAP_MAGIC_US || magic == PCAP_MAGIC_NS)
            return 1;
    }
    f->swapped = false;
    return 0;
}

static int refuse_format(const uint8_t *p)
{
    return rt_err_set(-EBADMSG,
                      "the file begins with %02x%02x%02x%02x: this is neither pcap (a1b2c3d4, "
                      "a1b23c4d) nor pcapng (0a0d0d0a). Convert it with `editcap -F pcapng`",
                      p[0], p[1], p[2], p[3]);
}

/* Looks at the head of the file. Returns 1: it is known; 0: more bytes are needed; -EBADMSG. */
static int take_head(capture_file_t *f, const uint8_t *data, size_t bytes, size_t *at)
{
    const uint8_t *p = data + *at;
    if (bytes - *at < 4)
        return 0;
    if (capture_get32(f, p) == PCAPNG_SECTION) { /* the same in both byte orders */
        f->format = CAPTURE_PCAPNG;
        return 1;
    }
    if (!is_pcap(f, p))
        return refuse_format(p);
    if (bytes - *at < PCAP_HEAD_BYTES)
        return 0;
    f->format = CAPTURE_PCAP;
    f->link = (uint16_t)capture_get32(f, p + 20); /* the upper half says how long the checksum is */
    *at += PCAP_HEAD_BYTES;
    f->taken_bytes += PCAP_HEAD_BYTES;
    return 1;
}

static int next_record(capture_file_t *f, const uint8_t *data, size_t bytes, size_t *at,
                       capture_frame_t *frame)
{
    const uint8_t *p = data + *at;
    size_t left = bytes - *at;
    if (left < PCAP_RECORD_BYTES)
        return 0;
    uint32_t captured = capture_get32(f, p + 8);
    uint32_t original = capture_get32(f, p + 12);
    if (captured > CAPTURE_MAX_FRAME_BYTES)
        return rt_err_set(-EBADMSG,
                          "the capture is damaged at byte %" PRIu64 " (packet %" PRIu64
                          "): it has %" PRIu32 " bytes, and at most %u are possible. Cut the file "
                          "before it with `editcap -r FILE OUT 1-%" PRIu64 "`",
                          f->taken_bytes, f->frames + 1, captured, CAPTURE_MAX_FRAME_BYTES,
                          f->frames);
    if (left - PCAP_RECORD_BYTES < captured)
        return 0;
    *frame = (capture_frame_t){
        .time_ns = (int64_t)capture_get32(f, p) * RT_NS_PER_S +
                   (int64_t)capture_get32(f, p + 4) * f->unit_ns,
        .data = p + PCAP_RECORD_BYTES,
        .captured_bytes = captured,
        .original_bytes = original > captured ? original : captured,
        .link = f->link,
    };
    *at += PCAP_RECORD_BYTES + captured;
    f->taken_bytes += PCAP_RECORD_BYTES + captured;
    f->frames++;
    return 1;
}

/* Passes over a block that nobody needs. */
static void skip(capture_file_t *f, size_t bytes, size_t *at)
{
    size_t n = bytes - *at;
    if (n > f->skip_bytes)
        n = (size_t)f->skip_bytes;
    *at += n;
    f->taken_bytes += n;
    f->skip_bytes -= n;
    f->skipped_bytes = f->skip_bytes > 0 ? f->skipped_bytes + n : 0;
}

int capture_file_next(capture_file_t *f, const uint8_t *data, size_t bytes, size_t *at,
                      capture_frame_t *frame)
{
    int rc = f->format == CAPTURE_UNKNOWN ? take_head(f, data, bytes, at) : 1;
    if (rc != 1)
        return rc;
    if (f->format == CAPTURE_PCAP)
        return next_record(f, data, bytes, at, frame);
    do { /* each turn takes at least 12 bytes, or ends */
        skip(f, bytes, at);
        if (f->skip_bytes > 0)
            return 0;
        rc = capture_pcapng_block(f, data, bytes, at, frame);
    } while (rc == 2);
    return rc;
}
