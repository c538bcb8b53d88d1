/* The rx ring while its clients write anything anywhere: the worker's writer, a broadcast reader in
 * a slot, two shared readers and a tap. What must hold: no access outside of the part it belongs
 * to, every call ends, a packet is not longer than a datagram can be, a tap changes nothing, and
 * once the others stop writing every reader comes to the end of the ring. */
#include "hostile.h"

#include "shm/rx_ring.c"

#define RING_BYTES 1024u /* smaller than a real one, so that its end is near */
#define READERS 3u
#define MAX_PAYLOAD 100u
#define BUFFER_BYTES 64u /* shorter than the longest payload */

enum { BROADCAST, SHARED, SHARED_TOO, TAP, ALL_READERS };

typedef struct fuzz {
    fuzz_input_t in;
    shm_segment_t segment;
    shm_segment_t read_only;
    rx_writer_t writer;
    rx_reader_t readers[ALL_READERS];
    uint8_t *buffer; /* on the heap: AddressSanitizer watches its end */
} fuzz_t;

static void open_reader(fuzz_t *f, unsigned i, int from_oldest)
{
    const shm_segment_t *s = i == TAP ? &f->read_only : &f->segment;
    bool shared = i == SHARED || i == SHARED_TOO;
    uint32_t slot = i == BROADCAST ? 0 : i == SHARED_TOO ? 1 : CTL_NO_SLOT;
    int rc = rx_reader_init(&f->readers[i], s, slot, shared ? SHM_READ_SHARED : SHM_READ_EACH,
                            from_oldest);
    fuzz_require(rc == 0, "a reader opens");
}

static void start(fuzz_t *f)
{
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    shm_config_t config;
    shm_config_init(&config);
    config.tx_bytes = config.rx_bytes = RING_BYTES;
    config.producers = 1;
    config.readers = READERS;
    config.report_slots = 1;
    config.max_payload_bytes = MAX_PAYLOAD;
    config.rx_capacity = how >> 4;
    config.overflow = how & 1 ? SHM_OVERFLOW_WAIT : SHM_OVERFLOW_OLDEST;
    config.read_mode = how & 2 ? SHM_READ_SHARED : SHM_READ_EACH;
    hostile_reset();
    hostile_segment_make(&f->segment, &config);
    f->read_only = f->segment;
    f->read_only.writable = 0;
    hostile_may_write(f->segment.rx, sizeof *f->segment.rx);
    hostile_may_write(f->segment.readers, READERS * sizeof *f->segment.readers);
    hostile_may_write(f->segment.rx_data, RING_BYTES);
    atomic_store(&f->segment.readers[0].owner, 1);
    f->buffer = malloc(BUFFER_BYTES);
    fuzz_require(f->buffer != NULL && rx_writer_init(&f->writer, &f->segment) == 0, "a fresh ring");
    for (unsigned i = 0; i < ALL_READERS; i++)
        open_reader(f, i, 0);
}

/* --- worker -------------------------------------------------------------------------------- */

static void put(fuzz_t *f)
{
    static const uint8_t payload[MAX_PAYLOAD + 1];
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    uint32_t bytes = (uint32_t)fuzz_take(&f->in, 1) % (sizeof payload + 1);
    rx_item_t item = {.payload = payload,
                      .payload_bytes = bytes,
                      .source = {.family = how & 1 ? 6 : 4, .port = 9, .ip = {127, 0, 0, 1}},
                      .local = {.family = how & 4   ? 6
                                          : how & 8 ? 4
                                                    : 0,
                                .ip = {127, 0, 0, 2}},
                      .time_ns = 1,
                      .stamp = SHM_STAMP_KERNEL};
    int rc = rx_writer_put(&f->writer, &item);
    fuzz_require(rc == 0 || rc == (bytes > MAX_PAYLOAD ? -EMSGSIZE : -ENOBUFS), "a put's answer");
    fuzz_require(rc != -ENOBUFS || f->writer.wait_for_readers, "an overwriting ring is never full");
    if (how & 2)
        (void)rx_writer_publish(&f->writer);
}

/* The worker died at this point and another goes on, or fails the channel. */
static void restart(fuzz_t *f)
{
    rx_writer_t successor;
    if (rx_writer_init(&successor, &f->segment) == 0)
        f->writer = successor;
}

/* --- readers ------------------------------------------------------------------------------- */

static int next(fuzz_t *f, unsigned i)
{
    rx_packet_t packet;
    uint64_t lost;
    hostile_new_call();
    int rc = rx_reader_next(&f->readers[i], f->buffer, BUFFER_BYTES, &packet, &lost);
    fuzz_require(rc == 0 || packet.payload_bytes <= MAX_PAYLOAD, "a packet's length");
    return rc;
}

static void wait_for_data(fuzz_t *f, unsigned i)
{
    int rc = rx_reader_wait(&f->readers[i], 0, 0);
    fuzz_require(rc == 0 || rc == -ETIMEDOUT || rc == -EINTR, "a wait's answer");
}

static void read_once(fuzz_t *f)
{
    unsigned how = (unsigned)fuzz_take(&f->in, 1);
    unsigned i = how % ALL_READERS;
    shm_rx_cursors_t cursors = *f->segment.rx;
    bool still = i == TAP && hostile_is_quiet();
    switch (how >> 4) {
    case 0:
        wait_for_data(f, i);
        break;
    case 1:
    case 2:
        (void)rx_reader_waiting(&f->readers[i]);
        break;
    case 3:
        open_reader(f, i, how & 8);
        break;
    default:
        (void)next(f, i);
    }
    fuzz_require(!still || memcmp(&cursors, f->segment.rx, sizeof cursors) == 0,
                 "a tap changes nothing");
}

static void play(fuzz_t *f)
{
    enum { PUT, PUT_MORE, PUBLISH, HAS_ROOM, PURGE, TAKE_OVER, READ, READ_MORE, HOSTILE, OPS };
    hostile_new_call();
    switch (fuzz_take(&f->in, 1) % OPS) {
    case PUT:
    case PUT_MORE:
        put(f);
        break;
    case PUBLISH:
        (void)rx_writer_publish(&f->writer);
        break;
    case HAS_ROOM:
        (void)rx_writer_room(&f->writer, 1, 100);
        break;
    case PURGE:
        rx_writer_purge(&f->writer);
        break;
    case TAKE_OVER:
        restart(f);
        break;
    case READ:
    case READ_MORE:
        read_once(f);
        break;
    default:
        hostile_plan(&f->in, shm_cursor_seq(f->writer.tail), f->writer.units);
    }
    fuzz_require(shm_cursor_place(f->writer.tail) < f->writer.units &&
                     shm_cursor_place(f->writer.floor) < f->writer.units,
                 "the writer stays inside of its ring");
}

/* Each packet takes at least a record's header of the ring, or the reader starts again at its end.
 */
static void read_to_the_end(fuzz_t *f)
{
    hostile_stop();
    for (unsigned i = 0; i < ALL_READERS; i++) {
        unsigned packets = 0;
        while (next(f, i) == 1)
            fuzz_require(++packets <= 2 * f->writer.units, "a reader comes to the end");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    f = (fuzz_t){.in = {.at = data, .left = bytes}};
    start(&f);
    while (f.in.left > 0)
        play(&f);
    read_to_the_end(&f);
    free(f.buffer);
    hostile_segment_free(&f.segment);
    return 0;
}
