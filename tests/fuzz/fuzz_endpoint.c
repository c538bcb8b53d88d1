/* What of shmring runs inside of a client: its ends of channels of every engine, while other
 * clients write anything anywhere in the segment, between two loads as well, and cut its file
 * short. What must hold: no access outside of a part or of a buffer of the caller's, every call
 * ends, lengths are those that were agreed, and a tap writes nothing.
 *
 *      input:  configuration, then step step ...   each a kind and what it needs, see play()
 *
 * The parts lie in heap blocks of their own, so that AddressSanitizer sees their edges, or in a
 * real file that is mapped once for the worker, once for clients and once read-only for a tap.
 * Bells, sleeping and the clock are the target's. */
#include "hostile.h"

#include "base/rt_clock.h"
#include "base/rt_futex.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS (50 * RT_NS_PER_US) /* between two looks at the clock */

static int64_t clock_ns;
static bool bell_rung;

static int64_t mono_of_fuzz(void)
{
    hostile_turn();
    return clock_ns += TICK_NS;
}

static int nap_of_fuzz(const struct timespec *length, struct timespec *rest)
{
    (void)rest;
    hostile_turn();
    clock_ns += length->tv_nsec;
    return 0;
}

static int wait_of_fuzz(rt_a32_t *word, uint32_t value, int64_t until_mono_ns)
{
    (void)until_mono_ns;
    hostile_turn();
    return atomic_load(word) == value ? -ETIMEDOUT : 0;
}

static int wake_of_fuzz(rt_a32_t *word)
{
    (void)word;
    return 0;
}

static ssize_t read_of_fuzz(int fd, void *to, size_t bytes)
{
    (void)fd;
    hostile_turn();
    memset(to, 0, bytes);
    bool rung = bell_rung;
    bell_rung = false;
    return rung ? 1 : -1;
}

static ssize_t write_of_fuzz(int fd, const void *from, size_t bytes)
{
    (void)fd;
    (void)from;
    hostile_turn();
    bell_rung = true;
    return (ssize_t)bytes;
}

#define rt_mono_ns() mono_of_fuzz()
#define rt_tai_ns() mono_of_fuzz()
#define rt_futex_wait(word, value, until) wait_of_fuzz(word, value, until)
#define rt_futex_wake_all(word) wake_of_fuzz(word)
#define nanosleep(length, rest) nap_of_fuzz(length, rest)
#define read(fd, to, bytes) read_of_fuzz(fd, to, bytes)
#define write(fd, from, bytes) write_of_fuzz(fd, from, bytes)

#include "shm/rx_ring.c"
#undef ATTEMPTS
#include "shm/tx_ring.c"
#undef ATTEMPTS
#undef ATTEMPTS
#include "shm/slot_ring.c"
#undef ATTEMPTS
#include "shm/netflux_shm.c"

#include "client/channel_stats.c"
#include "client/endpoint.c"
#include "client/endpoint_mux.c"
#include "client/endpoint_box.c"
#include "client/endpoint_netflux.c"
#include "client/endpoint_recv.c"
#include "client/endpoint_send.c"
#include "client/endpoint_udt.c"
#include "client/endpoint_wait.c"
#include "client/engine_stats.c"
#include "client/rtp_rows.c"
#include "shm/mux_layout.h"
#include "shm/shm_engine.h"
#include "shm/tx_queue.h"
#undef read
#undef write

#define RING_BYTES 1024u /* smaller than a real one, so that its end is near */
#define FILE_RING_BYTES 4096u
#define PRODUCERS 3u
#define READERS 3u
#define SLOTS 4u /* of reports and of late packets */
#define PORTS 3u
#define MOST_PAYLOAD 100u
#define BATCH_MOST 8u
#define PRODUCER_BELL 3
#define READER_BELL 4

enum { OWN, OTHER, TAP, ENDS };
enum { UDP, NETFLUX, UDT, RTP, MUX, UDT_PORT, ENGINES };

typedef struct fuzz {
    fuzz_input_t in;
    unsigned engine;
    bool in_file;
    int fd;
    shm_config_t config;
    shm_segment_t served;  /* as the worker has it */
    shm_segment_t clients; /* as clients have it */
    shm_segment_t taps;    /* read-only */
    rx_writer_t writer;
    tx_queue_t queue;
    slot_writer_t reports;
    slot_writer_t late;
    endpoint_t ends[ENDS];
    udt_endpoint_t udt[ENDS];
    slot_reader_t report_reader;
    slot_reader_t late_reader;
    uint64_t sequence; /* of the last packet queued */
} fuzz_t;

static uint8_t take1(fuzz_t *f)
{
    return (uint8_t)fuzz_take(&f->in, 1);
}

/* Of exactly so many bytes: AddressSanitizer watches its end. */
static void *block(size_t bytes)
{
    void *made = malloc(bytes);
    if (made == NULL)
        abort();
    memset(made, 0xa5, bytes);
    return made;
}

/* --- the channel --------------------------------------------------------------------------- */

static const char *const ENGINE_NAMES[ENGINES] = {"udp", "netflux", "udt",
                                                  "rtp", "mux",     "udt-port"};

static void choose_netflux(fuzz_t *f)
{
    shm_netflux_config_t own = {.config_bytes = sizeof own};
    own.tx_payload_bytes = (uint32_t)fuzz_take(&f->in, 2) % (SHM_NETFLUX_MAX_PAYLOAD + 1);
    own.rx_payload_bytes = (uint32_t)fuzz_take(&f->in, 2) % (SHM_NETFLUX_MAX_PAYLOAD + 1);
    memcpy(f->config.engine_config, &own, sizeof own);
}

static uint64_t engine_bytes(const fuzz_t *f)
{
    switch (f->engine) {
    case NETFLUX:
        return shm_netflux_bytes(PRODUCERS);
    case UDT:
        return sizeof(shm_udt_state_t);
    case RTP:
        return sizeof(shm_rtp_state_t);
    case MUX:
        return mux_bytes(PORTS);
    case UDT_PORT:
        return sizeof(shm_udt_port_state_t);
    default:
        return 0;
    }
}

static void choose_engine(fuzz_t *f)
{
    shm_config_t *c = &f->config;
    f->engine = take1(f) % ENGINES;
    memcpy(c->engine, ENGINE_NAMES[f->engine], strlen(ENGINE_NAMES[f->engine]) + 1);
    if (f->engine == NETFLUX)
        choose_netflux(f);
    if (f->engine == MUX)
        memcpy(c->engine_config, &(mux_config_t){.ports = PORTS}, sizeof(mux_config_t));
    c->engine_bytes = engine_bytes(f);
    if (f->in_file)
        c->engine_bytes = (c->engine_bytes + SHM_PAGE_BYTES - 1) / SHM_PAGE_BYTES * SHM_PAGE_BYTES;
}

static void choose(fuzz_t *f)
{
    shm_config_t *c = &f->config;
    unsigned how = take1(f);
    shm_config_init(c);
    f->in_file = how & 1;
    c->direction = SHM_DUPLEX;
    c->tx_bytes = c->rx_bytes = f->in_file ? FILE_RING_BYTES : RING_BYTES;
    c->producers = PRODUCERS;
    c->readers = READERS;
    c->report_slots = how & 2 ? SLOTS : 0;
    c->late_slots = how & 4 ? SLOTS : 0;
    c->overflow = how & 8 ? SHM_OVERFLOW_WAIT : SHM_OVERFLOW_OLDEST;
    c->read_mode = how & 16 ? SHM_READ_SHARED : SHM_READ_EACH;
    if (how & 32)
        c->remote = (shm_addr_t){.family = 4, .port = 9, .ip = {127, 0, 0, 1}};
    c->profile = how >> 6 == 3 ? SHM_PROFILE_POWER : (uint8_t)(how >> 6);
    c->tx_capacity = take1(f) % 16;
    c->rx_capacity = take1(f) % 16;
    c->max_payload_bytes = take1(f) % (MOST_PAYLOAD + 1);
    memcpy(c->name, "fuzz", 5);
    memcpy(c->name_space, "fuzz", 5);
    memcpy(c->pool, "fuzz", 5);
    choose_engine(f);
}

static void make_in_file(fuzz_t *f)
{
    f->fd = memfd_create("fuzz", MFD_CLOEXEC);
    fuzz_require(f->fd >= 0 && shm_segment_format(&f->served, f->fd, &f->config, 1) == 0 &&
                     shm_segment_map(&f->clients, f->fd, 1) == 0 &&
                     shm_segment_map(&f->taps, f->fd, 0) == 0,
                 "a file is mapped");
}

static void make_in_blocks(fuzz_t *f)
{
    hostile_segment_make(&f->served, &f->config);
    f->served.engine = f->config.engine_bytes > 0 ? hostile_part(f->config.engine_bytes) : NULL;
    f->clients = f->taps = f->served;
    f->taps.writable = 0;
}

static void let_others_write(const shm_segment_t *s)
{
    const shm_config_t *c = &s->config;
    hostile_may_write(s->status, sizeof *s->status);
    hostile_may_write(s->tx, sizeof *s->tx);
    hostile_may_write(s->rx, sizeof *s->rx);
    hostile_may_write(s->report, sizeof *s->report);
    hostile_may_write(s->producers, c->producers * sizeof *s->producers);
    hostile_may_write(s->readers, c->readers * sizeof *s->readers);
    hostile_may_write(s->stats, sizeof *s->stats);
    hostile_may_write(s->late, sizeof *s->late);
    hostile_may_write(s->tx_data, c->tx_bytes);
    hostile_may_write(s->rx_data, c->rx_bytes);
    if (c->report_slots > 0)
        hostile_may_write(s->reports, c->report_slots * sizeof *s->reports);
    if (c->late_slots > 0)
        hostile_may_write(s->late_packets, c->late_slots * sizeof *s->late_packets);
    if (s->engine != NULL)
        hostile_may_write(s->engine, c->engine_bytes);
    if (s->identity != NULL)
        hostile_may_write(s->identity, sizeof *s->identity);
}

static bool all_alive(void *of, uint32_t slot)
{
    (void)of;
    (void)slot;
    return true;
}

static void start_worker(fuzz_t *f)
{
    shm_segment_t *s = &f->served;
    atomic_store(&s->status->state, SHM_STATE_OPEN);
    atomic_store(&s->status->epoch, 1);
    atomic_store(&s->status->heartbeat_mono_ns, (uint64_t)clock_ns);
    if (f->engine == UDT)
        atomic_store(&((shm_udt_state_t *)(void *)s->engine)->state, SHM_UDT_CONNECTED);
    fuzz_require(rx_writer_init(&f->writer, s) == 0 && tx_queue_init(&f->queue, s, 0) == 0,
                 "fresh rings");
    tx_queue_ask_slots(&f->queue, all_alive, NULL);
    slot_writer_init(&f->reports, s->report, s->reports, s->config.report_slots,
                     (uint32_t)sizeof(shm_report_t));
    slot_writer_init(&f->late, s->late, s->late_packets, f->config.late_slots,
                     (uint32_t)sizeof(shm_late_packet_t));
}

/* --- life of an end ------------------------------------------------------------------------ */

static void open_end(fuzz_t *f, unsigned i, int mode, int from_oldest)
{
    int rc = endpoint_open(&f->ends[i], i == TAP ? &f->taps : &f->clients, mode, from_oldest);
    fuzz_require(rc == 0, "an end opens");
    f->udt[i] = (udt_endpoint_t){.end = &f->ends[i]};
}

static void attach_end(endpoint_t *e, uint32_t producer, uint32_t reader)
{
    int rc = endpoint_attach_producer(e, producer, PRODUCER_BELL);
    bool good = e->segment->writable && producer > 0 && producer < PRODUCERS;
    fuzz_require((rc == 0) == good, "a slot that is there, and only such a one");
    if (e->rx.mode == SHM_READ_SHARED || !e->segment->writable)
        return;
    rc = endpoint_attach_reader(e, reader);
    if (rc == 0)
        endpoint_select(e, READER_BELL, READER_BELL);
    fuzz_require((rc == 0) == (reader < READERS), "likewise of readers");
}

static void life(fuzz_t *f)
{
    unsigned how = take1(f);
    unsigned i = how % ENDS;
    endpoint_t *e = &f->ends[i];
    switch (how >> 5) {
    case 0:
        endpoint_shut(e);
        endpoint_close(e);
        open_end(f, i, how & 8 && i != TAP ? SHM_READ_SHARED : SHM_READ_EACH, how & 16);
        break;
    case 1:
        endpoint_forget_slots(e);
        break;
    default:
        attach_end(e, how >> 3 & 3, take1(f) % (READERS + 1));
        break;
    }
}

static void cut_short(fuzz_t *f)
{
    off_t size = (off_t)(fuzz_take(&f->in, 3) % (f->served.bytes + 1));
    if (f->in_file)
        fuzz_require(ftruncate(f->fd, size) == 0, "a file is cut");
}

static void start(fuzz_t *f)
{
    clock_ns = RT_NS_PER_S;
    bell_rung = false;
    choose(f);
    hostile_reset();
}

static void open_all(fuzz_t *f)
{
    if (f->in_file)
        make_in_file(f);
    else
        make_in_blocks(f);
    let_others_write(&f->served);
    start_worker(f);
    open_end(f, OWN, f->config.read_mode, 0);
    open_end(f, OTHER, SHM_READ_EACH, 1);
    open_end(f, TAP, SHM_READ_EACH, 1);
    attach_end(&f->ends[OWN], 1, 0);
    attach_end(&f->ends[OTHER], 2, 1);
    slot_reader_init(&f->report_reader, f->taps.report, f->taps.reports,
                     f->taps.config.report_slots, (uint32_t)sizeof(shm_report_t));
    channel_late_reader_init(&f->late_reader, &f->taps);
}

static void close_all(fuzz_t *f)
{
    for (unsigned i = 0; i < ENDS; i++) {
        endpoint_shut(&f->ends[i]);
        endpoint_close(&f->ends[i]);
    }
    if (!f->in_file) {
        free(f->served.engine);
        hostile_segment_free(&f->served);
        return;
    }
    shm_segment_unmap(&f->taps);
    shm_segment_unmap(&f->clients);
    shm_segment_unmap(&f->served);
    close(f->fd);
}

/* --- worker -------------------------------------------------------------------------------- */

static void put(fuzz_t *f)
{
    unsigned how = take1(f);
    uint32_t bytes = take1(f) % (f->config.max_payload_bytes + 1);
    uint8_t *payload = block(bytes);
    rx_item_t item = {.payload = payload,
                      .payload_bytes = bytes,
                      .source = {.family = how & 1 ? 6 : 4, .port = 9, .ip = {127, 0, 0, 1}},
                      .local = {.family = how & 4   ? 6
                                          : how & 8 ? 4
                                                    : 0,
                                .ip = {127, 0, 0, 2}},
                      .time_ns = 1,
                      .tag = how >> 4,
                      .stamp = SHM_STAMP_KERNEL};
    if (f->engine == RTP && bytes > 0)
        payload[offsetof(shm_rtp_rx_t, csrc_count) % bytes] = (uint8_t)(how & 15);
    (void)rx_writer_put(&f->writer, &item);
    if (how & 2)
        (void)rx_writer_publish(&f->writer);
    free(payload);
}

static void serve(fuzz_t *f)
{
    tx_item_t item;
    unsigned moved, budget = 64;
    if (tx_queue_next(&f->queue, 1, &budget, &item) == 1 &&
        tx_queue_take(&f->queue, item.ref, &item) == 0)
        tx_queue_finish(&f->queue, item.ref);
    (void)tx_queue_release(&f->queue, 0, RING_BYTES, 1, &moved);
}

/* Reports, late packets, values: what a worker says besides. */
static void say(fuzz_t *f)
{
    shm_report_t report = {.sequence = f->sequence};
    shm_late_packet_t late = {.report = report};
    (void)slot_writer_put(&f->reports, &report);
    (void)slot_writer_put(&f->late, &late);
    atomic_store(&f->served.status->heartbeat_mono_ns, (uint64_t)clock_ns);
    if (f->engine != NETFLUX)
        return;
    shm_netflux_rx_t head = {.kind = SHM_NETFLUX_VALUES};
    const shm_netflux_config_t *n = (const void *)f->config.engine_config;
    uint8_t *values = block(n->rx_payload_bytes);
    shm_netflux_publish(f->served.engine, &head, 0, values, n->rx_payload_bytes);
    free(values);
}

/* --- sending ------------------------------------------------------------------------------- */

static void check_sent(int rc)
{
    fuzz_require(rc == 0 || rc == -ESTALE || rc == -EDESTADDRREQ || rc == -ERANGE ||
                     rc == -ENOBUFS || rc == -EMSGSIZE || rc == -EPROTO,
                 "a send's answer");
}

static int64_t some_due(fuzz_t *f, unsigned how)
{
    return how & 1 ? (int64_t)(fuzz_take(&f->in, 8) >> 1) : how & 2 ? clock_ns : 0;
}

static void send_one(fuzz_t *f, endpoint_t *e, bool replace)
{
    static const shm_addr_t dest = {.family = 6, .port = 9, .ip = {[15] = 1}};
    static const shm_addr_t source = {.family = 6, .ip = {[15] = 2}};
    unsigned how = take1(f);
    size_t bytes = take1(f);
    uint8_t *payload = block(bytes);
    int64_t due_ns = some_due(f, how);
    const tx_route_t route = {.dest = how & 4 ? &dest : NULL, .source = how & 16 ? &source : NULL};
    int rc = replace ? endpoint_replace(e, f->sequence - (how >> 5), payload, bytes, how & 8,
                                        due_ns, &route, &f->sequence)
                     : endpoint_send(e, payload, bytes, due_ns, &route, &f->sequence);
    fuzz_require(bytes <= f->config.max_payload_bytes || rc != 0, "what is too long is refused");
    if (!replace || (rc != -ENOENT && rc != -EBUSY))
        check_sent(rc);
    free(payload);
}

static int_array_t some_numbers(fuzz_t *f, uint64_t count, unsigned how)
{
    static const uint32_t widths[] = {0, 0, 0, 1, 1, 2, 4, 8};
    int_array_t a = {.width = widths[how & 7], .is_signed = how >> 3 & 1};
    a.stride = (int64_t)a.width * (1 + (how >> 4 & 1));
    size_t bytes = a.width && count ? (size_t)a.stride * (count - 1) + a.width : 0;
    uint8_t *base = block(bytes);
    memset(base, 0, bytes);
    for (uint64_t i = 0; a.width && i < count; i++)
        base[(size_t)a.stride * i] = take1(f);
    if (a.width && count && how & 32)
        base[a.width - 1] = 0x80;
    a.base = (const char *)base;
    return a;
}

static const uint8_t *some_addresses(fuzz_t *f, uint64_t count)
{
    shm_addr_t *addresses = block(count * sizeof *addresses);
    for (uint64_t i = 0; i < count; i++)
        addresses[i] =
            (shm_addr_t){.family = take1(f) % 8, .port = take1(f), .ip = {take1(f), [15] = 1}};
    return (const uint8_t *)addresses;
}

static void send_many(fuzz_t *f, endpoint_t *e)
{
    unsigned how = take1(f);
    send_batch_t b = {.count = take1(f) % (BATCH_MOST + 1)};
    b.data_bytes = take1(f);
    b.size = (int64_t)(int8_t)take1(f);
    b.due_ns = some_due(f, how);
    b.span_ns = how & 4 ? (int64_t)fuzz_take(&f->in, 8) : take1(f);
    b.span_packets = how & 16 ? b.count : 1;
    b.sizes = some_numbers(f, b.count, take1(f));
    b.offsets = some_numbers(f, b.count, take1(f));
    b.dues = some_numbers(f, b.count, take1(f));
    b.sequences = how & 8 ? block(b.count * sizeof *b.sequences) : NULL;
    b.dests = how & 32 ? some_addresses(f, b.count) : NULL;
    b.sources = how & 64 ? some_addresses(f, b.count) : NULL;
    uint8_t *data = block(b.data_bytes);
    b.data = data;
    int rc = endpoint_send_batch(e, &b);
    if (rc != -EFAULT && rc != -EAFNOSUPPORT && rc != -EADDRNOTAVAIL)
        check_sent(rc);
    fuzz_require(b.done <= b.count && (rc != 0 || b.done == b.count), "a batch's progress");
    free(data);
    free(b.sequences);
    free((void *)(uintptr_t)b.dests);
    free((void *)(uintptr_t)b.sources);
    free((void *)(uintptr_t)b.sizes.base);
    free((void *)(uintptr_t)b.offsets.base);
    free((void *)(uintptr_t)b.dues.base);
}

static void cancel(fuzz_t *f, endpoint_t *e)
{
    int64_t due_ns;
    if (e->segment->writable)
        (void)tx_ring_cancel(e->segment, f->sequence - take1(f), &due_ns);
}

static void send_by_mux(fuzz_t *f, endpoint_t *e)
{
    mux_head_t head = {.number = 1, .port = take1(f) % PORTS};
    uint32_t bytes = take1(f);
    uint8_t *data = block(bytes);
    if (endpoint_may_send(e))
        check_sent(mux_endpoint_send(e, &head, data, bytes));
    free(data);
}

static void send_by_udt(fuzz_t *f, unsigned i)
{
    unsigned how = take1(f);
    uint64_t bytes = fuzz_take(&f->in, 2) % 1024;
    uint64_t done = 0;
    uint8_t *data = block(bytes);
    int rc = udt_endpoint_send(&f->udt[i], data, bytes, -1, how & 3, how & 4, &done);
    fuzz_require(done <= bytes && (rc != 0 || done == bytes), "a stream's progress");
    if (rc != -ENOTCONN)
        check_sent(rc);
    if (f->ends[i].tx_ready)
        (void)udt_endpoint_has_room(&f->udt[i]);
    free(data);
}

static void put_values(fuzz_t *f, endpoint_t *e)
{
    const shm_netflux_config_t *n = (const void *)f->config.engine_config;
    unsigned how = take1(f);
    size_t bytes = how < 16 ? how : n->tx_payload_bytes;
    uint8_t *values = block(bytes);
    int rc = endpoint_put(e, values, bytes);
    fuzz_require(rc == 0 || rc == -ESTALE || rc == -EMSGSIZE || rc == -ECONNRESET,
                 "a put's answer");
    free(values);
}

/* --- receiving ----------------------------------------------------------------------------- */

static bool peek(fuzz_t *f, endpoint_t *e)
{
    if (!endpoint_may_read(e) || !endpoint_peek(e))
        return false;
    fuzz_require(e->spare_packet.payload_bytes <= f->config.max_payload_bytes, "a packet's length");
    return true;
}

static bool receive(fuzz_t *f, endpoint_t *e)
{
    if (!peek(f, e))
        return false;
    uint8_t *copy = block(e->spare_packet.payload_bytes);
    memcpy(copy, e->spare, e->spare_packet.payload_bytes);
    free(copy);
    endpoint_taken(e);
    return true;
}

static void check_rows(const uint8_t *buffer, const packet_record_t *records, uint64_t n)
{
    rtp_row_t *rows = block(n * sizeof *rows);
    rtp_rows(buffer, records, n, rows);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t before = rows[i].offset - records[i].offset;
        fuzz_require(before + rows[i].length == records[i].length, "a row ends with its record");
        fuzz_require(rows[i].csrc_count * 4u + rows[i].extension_bytes <= before,
                     "what stands before a payload fits there");
    }
    free(rows);
}

static void receive_many(fuzz_t *f, endpoint_t *e)
{
    uint64_t bytes = fuzz_take(&f->in, 2) % 512;
    uint64_t max = take1(f) % 16;
    if (!peek(f, e))
        return;
    uint64_t waiting = endpoint_waiting(e);
    fuzz_require(waiting >= 1 && waiting <= e->rx.units + 1u, "what waits fits in the ring");
    uint64_t most = waiting < max ? waiting : max;
    packet_record_t *records = block(most * sizeof *records);
    uint8_t *to = block(bytes);
    uint64_t used, end = 0;
    uint64_t n = endpoint_take_many(e, to, bytes, 0, records, most, &used);
    fuzz_require(n <= most && used <= bytes, "a batch fits");
    for (uint64_t i = 0; i < n; i++) {
        fuzz_require(records[i].offset == end, "payloads lie one behind the other");
        end += records[i].length;
    }
    fuzz_require(end == used, "and fill what was used");
    if (f->engine == RTP)
        check_rows(to, records, n);
    free(to);
    free(records);
}

static void read_by_udt(fuzz_t *f, unsigned i)
{
    udt_endpoint_t *u = &f->udt[i];
    unsigned how = take1(f);
    uint64_t bytes = how & 1 ? f->config.max_payload_bytes : take1(f);
    uint8_t *to = block(bytes);
    uint32_t tag;
    if (!endpoint_may_read(u->end))
        tag = UDT_NO_RECORD;
    else if (how & 2)
        tag = udt_endpoint_event(u);
    else if (how & 1)
        fuzz_require(udt_endpoint_take(u, to, &tag) <= bytes, "a record's length");
    else
        fuzz_require(udt_endpoint_read(u, to, bytes, &tag) <= bytes, "a stream's part");
    (void)udt_endpoint_has_data(u);
    free(to);
}

static void look_at_values(endpoint_t *e)
{
    netflux_snapshot_t *out = block(sizeof *out);
    int rc = endpoint_snapshot(e, out);
    fuzz_require(rc == 0 || rc == -EPIPE || rc == -ECONNRESET || rc == -EAGAIN ||
                     (rc == 1 && out->bytes <= SHM_NETFLUX_MAX_PAYLOAD),
                 "a snapshot's answer");
    free(out);
}

static void sleep_a_while(fuzz_t *f, endpoint_t *e)
{
    unsigned how = take1(f);
    endpoint_sleep_t sleep;
    int what = how & 1 && e->tx_ready ? ENDPOINT_TX : ENDPOINT_RX;
    endpoint_before_sleep(e, what, how & 2 ? RT_NEVER_NS : clock_ns + (how >> 2) * RT_NS_PER_MS,
                          &sleep);
    int rc = endpoint_sleep(&sleep);
    fuzz_require(rc == 0 || rc == -ETIMEDOUT, "a sleep's answer");
    endpoint_after_sleep(e, &sleep);
    endpoint_rearm(e);
}

/* --- statistics ---------------------------------------------------------------------------- */

static void look_at_engine(fuzz_t *f, const shm_segment_t *s)
{
    uint64_t *counters = block(sizeof *counters * SHM_RTP_COUNTER_TOTAL);
    uint64_t *gauges = block(sizeof *gauges * SHM_RTP_GAUGE_TOTAL);
    uint64_t *few = block(sizeof *few * UDT_COUNTER_TOTAL);
    uint64_t *values = block(sizeof *values * UDT_GAUGE_TOTAL);
    uint64_t *mine = block(sizeof *mine * NFX_COUNTER_TOTAL);
    uint64_t *now = block(sizeof *now * NFX_GAUGE_TOTAL);
    uint64_t *port = block(sizeof *port * SHM_UDT_PORT_COUNTER_TOTAL);
    char *name = block(256);
    udt_facts_t facts;
    if (f->engine == RTP) {
        rtp_read_stats((const shm_rtp_state_t *)(const void *)s->engine, counters,
                       (int64_t *)gauges);
        rtp_read_cname((const shm_rtp_state_t *)(const void *)s->engine, name);
        fuzz_require(strnlen(name, 256) < 256, "a name ends");
    } else if (f->engine == UDT) {
        udt_read_facts(s, &facts);
        udt_read_stats(s, few, values);
        (void)udt_read_peer_errors(s);
    } else if (f->engine == UDT_PORT) {
        udt_read_port(s, port);
    } else if (f->engine == NETFLUX) {
        const nfx_stats_t *stats = netflux_read_stats(s->engine, mine, now);
        rt_hist_t copy;
        channel_copy_hist(&copy, &stats->hists[NFX_HIST_TOTAL - 1]);
        (void)netflux_published(s->engine);
    }
    void *blocks[] = {counters, gauges, few, values, mine, now, port, name};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
}

static void look_at_statistics(fuzz_t *f, const endpoint_t *e)
{
    const shm_segment_t *s = e->segment;
    uint64_t *counters = block(sizeof *counters * SHM_COUNTER_TOTAL);
    rt_hist_t *hist = block(sizeof *hist);
    channel_read_counters(s->stats, counters);
    channel_copy_hist(hist, &s->stats->hists[take1(f) % SHM_HIST_TOTAL]);
    (void)rt_hist_quantile_ns(hist, 0.5);
    (void)channel_shared_lost(s);
    (void)channel_reports_awaited(s);
    (void)tx_ring_waiting(s);
    (void)endpoint_in_force(e);
    fuzz_require(endpoint_waiting(e) <= e->rx.units + 1u, "what waits fits in the ring");
    look_at_engine(f, s);
    free(hist);
    free(counters);
}

static void read_reports(fuzz_t *f)
{
    unsigned max = take1(f) % 8;
    shm_report_t *reports = block(max * sizeof *reports);
    shm_late_packet_t *late = block(max * sizeof *late);
    fuzz_require(slot_reader_next(&f->report_reader, reports, max) <= max &&
                     slot_reader_next(&f->late_reader, late, max) <= max,
                 "not more than there is room for");
    free(late);
    free(reports);
}

/* --- steps --------------------------------------------------------------------------------- */

static void scribble(fuzz_t *f)
{
    hostile_area_t *area = &hostile.areas[take1(f) % hostile.area_count];
    size_t at = fuzz_take(&f->in, 2) % area->bytes;
    size_t bytes = fuzz_take(&f->in, 2) % (area->bytes - at + 1);
    memset(area->at + at, take1(f), bytes);
}

static void send_something(fuzz_t *f, unsigned i)
{
    endpoint_t *e = &f->ends[i];
    if (f->engine == UDT)
        send_by_udt(f, i);
    else if (f->engine == MUX)
        send_by_mux(f, e);
    else if (f->engine == NETFLUX)
        put_values(f, e);
    else
        send_one(f, e, false);
}

static void receive_something(fuzz_t *f, unsigned i)
{
    endpoint_t *e = &f->ends[i];
    if (f->engine == UDT)
        read_by_udt(f, i);
    else
        (void)receive(f, e);
    if (f->engine == NETFLUX)
        look_at_values(e);
}

static void play(fuzz_t *f)
{
    enum {
        PUT,
        PUT_MORE,
        PUBLISH,
        SERVE,
        SAY,
        SEND,
        RECEIVE,
        SEND_MANY,
        REPLACE,
        CANCEL,
        RECEIVE_MANY,
        SLEEP,
        LOOK,
        REPORTS,
        LIFE,
        CUT,
        SCRIBBLE,
        HOSTILE,
        HOSTILE_TX,
        STEPS
    };
    unsigned how = take1(f);
    unsigned i = how / 32 % ENDS;
    endpoint_t *e = &f->ends[i];
    bool records_of_its_own = f->engine == UDT;
    hostile_new_call();
    switch (how % 32 % STEPS) {
    case PUT:
    case PUT_MORE:
        put(f);
        break;
    case PUBLISH:
        (void)rx_writer_publish(&f->writer);
        break;
    case SERVE:
        serve(f);
        break;
    case SAY:
        say(f);
        break;
    case SEND:
        send_something(f, i);
        break;
    case RECEIVE:
        receive_something(f, i);
        break;
    case SEND_MANY:
        send_many(f, e);
        break;
    case REPLACE:
        send_one(f, e, true);
        break;
    case CANCEL:
        cancel(f, e);
        break;
    case RECEIVE_MANY:
        if (!records_of_its_own)
            receive_many(f, e);
        break;
    case SLEEP:
        sleep_a_while(f, e);
        break;
    case LOOK:
        look_at_statistics(f, e);
        break;
    case REPORTS:
        read_reports(f);
        break;
    case LIFE:
        life(f);
        break;
    case CUT:
        cut_short(f);
        break;
    case SCRIBBLE:
        scribble(f);
        break;
    case HOSTILE:
        hostile_plan(&f->in, shm_cursor_seq(f->writer.tail), f->writer.units);
        break;
    default:
        hostile_plan(&f->in, (uint32_t)f->sequence, f->queue.units);
    }
}

/* Each packet takes at least a unit of the ring, or the reader starts again at its end. */
static void read_to_the_end(fuzz_t *f)
{
    hostile_stop();
    for (unsigned i = 0; i < ENDS; i++) {
        hostile_new_call();
        unsigned packets = 0;
        while (receive(f, &f->ends[i]))
            fuzz_require(++packets <= 2 * f->writer.units, "a reader comes to the end");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static fuzz_t f;
    f = (fuzz_t){.in = {.at = data, .left = bytes}, .fd = -1};
    start(&f);
    if (shm_engine_check(&f.config) < 0)
        return 0;
    open_all(&f);
    while (f.in.left > 0)
        play(&f);
    read_to_the_end(&f);
    close_all(&f);
    return 0;
}
