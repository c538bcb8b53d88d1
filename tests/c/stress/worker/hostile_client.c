/* A worker, and a client that may do anything to the memory and the files of its own channels:
 * while it scribbles over every byte it can write, cuts files short and grows them again, the
 * worker goes on, and a channel beside it, the oracle, loses nothing and changes nothing. One
 * spoiled channel of each engine; "udp" sends to a link without room (EAGAIN), where this process
 * may make one. Workers are killed and replaced in between. The same process reads what the spoiled
 * channels hand to clients, into buffers without a spare byte, so that a sanitizer watches the
 * client side as well. How long a turn of the worker's loop takes is judged by its CPU time: a busy
 * machine may stop the worker at any time, for long.
 *
 * RT_TEST_SEED repeats the choice of mutations, not their times.
 * RT_TEST_ROUNDS: the number of mutations. */
#include "unit/worker/netflux/netflux_test.h"
#include "unit/worker/rtp/rtp_test.h"
#include "unit/worker/worker_test.h"

#include "shm/mux_layout.h"
#include "shm/proxy_shm.h"
#include "shm/recorder.h"
#include "shm/slot_ring.h"
#include "shm/tx_ring.h"
#include "shm/udt_shm.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

enum {
    MUTATIONS = 10000,
    PER_BATCH = 200,
    PER_LONG_BATCH = 2000, /* in a long run: most of a batch's time is the oracle's */
    LONG_RUN = 200000,
    BATCHES_PER_LIFE = 4, /* of a spoiled channel, before it is closed and made anew */
    BATCHES_PER_WORKER = 25,
    MUX_PORTS = 16,
    ORACLE_PACKETS = 4, /* per batch */
};

/* How much CPU time one turn of the worker's loop may take: whoever
 * shares the core does not count. */
#ifdef __SANITIZE_ADDRESS__
#define TURN_CPU_NS (200 * RT_NS_PER_MS)
#else
#define TURN_CPU_NS (20 * RT_NS_PER_MS)
#endif
/* spoiled channels send small numbers, 0 above all */
#define ORACLE_MARK UINT64_C(0x6f7261636c650000)
#define LOOK_NS (RT_NS_PER_MS / 2)
#define ORACLE_TOLERANCE_NS RT_NS_PER_MS /* beyond it a packet is counted as
                                            late here, and nothing more */

typedef enum kind { UDP, MUX, RTP, NETFLUX, UDT_PORT, UDT, PROXY, KINDS } kind_t;

static const char *const NAMES[KINDS] = {"udp", "mux", "rtp", "netflux", "udt-port", "udt", "proxy"};

static wt_worker_t worker;
static wt_channel_t oracle;
static wt_channel_t spoiled[KINDS];
static bool is_open[KINDS];
static unsigned age[KINDS];
static uint64_t rng;
static int sink;
static uint16_t sink_port;
static bool slow_link;
static unsigned udp_lives; /* every other one sends to the slow link */
static uint64_t oracle_sent;
static struct {
    uint64_t mutations, cuts, opens, refused, failed, takeovers, packets_read, longest_loop_ns, no_room;
} figures;

/* CPU time of the worker's turns, as the watch sees it: the longest took at least so much,
 * and none took more than that. */
typedef struct turns {
    int64_t least_ns, most_ns;
    uint64_t looks;
} turns_t;

static turns_t *turns; /* written by the watch, which is a process of its own */
static pid_t watch;

/* --- the place ------------------------------------------------------------------------------- */

static bool run(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c) */
}

/* A network of our own with a slow link that leads nowhere: packets that wait for it fill the send
 * buffer of their socket. Returns false, in the network as it was, if it cannot be made. */
static bool make_slow_link(void)
{
    int before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (before < 0 || unshare(CLONE_NEWNET) != 0)
        return false;
    bool made = run("ip link set lo up 2>/dev/null") &&
                run("ip link add slow type veth peer name nowhere 2>/dev/null") &&
                run("ip addr add 198.18.0.1/30 dev slow 2>/dev/null") &&
                run("ip link set slow up && ip link set nowhere up") &&
                run("ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:01 dev slow nud permanent "
                    "2>/dev/null") &&
                run("tc qdisc add dev slow root tbf rate 4mbit burst 2k limit 8m 2>/dev/null");
    if (!made && setns(before, CLONE_NEWNET) != 0)
        abort(); /* without a loopback nothing below means anything */
    (void)close(before);
    return made;
}

/* --- channels --------------------------------------------------------------------------------- */

static shm_config_t udp_channel(void)
{
    shm_config_t c = wt_config(NAMES[UDP], sink_port);
    c.late_slots = 64;
    if (slow_link && ++udp_lives % 2 == 0) {
        c.local = (shm_addr_t){.family = 4};
        c.remote = (shm_addr_t){.family = 4, .port = 9, .ip = {198, 18, 0, 2}};
        c.sndbuf_bytes = 2304; /* some three packets */
    }
    return c;
}

static shm_config_t mux_channel(void)
{
    shm_config_t c = wt_config(NAMES[MUX], 0);
    mux_config_t mux = {.ports = MUX_PORTS};
    (void)snprintf(c.engine, sizeof c.engine, MUX_ENGINE);
    memcpy(c.engine_config, &mux, sizeof mux);
    c.engine_bytes = mux_bytes(MUX_PORTS);
    c.local = (shm_addr_t){.family = 0};
    c.overflow = SHM_OVERFLOW_WAIT;
    c.max_payload_bytes = SHM_MAX_RECORD;
    return c;
}

static shm_config_t udt_port_channel(void)
{
    shm_config_t c = wt_config(NAMES[UDT_PORT], 0);
    shm_udt_port_config_t port = {
        .config_bytes = sizeof port, .max_sockets = 64, .listens = SHM_UDT_STREAM, .backlog = 8};
    (void)snprintf(c.engine, sizeof c.engine, SHM_UDT_PORT_ENGINE);
    memcpy(c.engine_config, &port, sizeof port);
    c.engine_bytes = SHM_PAGE_BYTES;
    c.rx_bytes = 65536;
    c.tx_bytes = 16384;
    return c;
}

static shm_config_t udt_channel(void)
{
    shm_config_t c = wt_config(NAMES[UDT], sink_port);
    shm_udt_config_t u = {.config_bytes = sizeof u, .mode = SHM_UDT_STREAM, .burst_ns = -1};
    (void)snprintf(u.port, sizeof u.port, "%s", NAMES[UDT_PORT]);
    (void)snprintf(c.engine, sizeof c.engine, SHM_UDT_ENGINE);
    memcpy(c.engine_config, &u, sizeof u);
    c.engine_bytes = SHM_PAGE_BYTES;
    c.local = (shm_addr_t){.family = 0};
    c.overflow = SHM_OVERFLOW_WAIT;
    c.max_payload_bytes = SHM_MAX_RECORD;
    return c;
}

/* From whoever sends to it, on to the sink, which never answers. */
static shm_config_t proxy_channel(void)
{
    shm_config_t c = wt_config(NAMES[PROXY], 0);
    shm_proxy_config_t proxy = {.config_bytes = sizeof proxy,
                                .flows = 4,
                                .idle_ns = 5 * RT_NS_PER_MS,
                                .to = wt_loopback(sink_port)};
    (void)snprintf(c.engine, sizeof c.engine, SHM_PROXY_ENGINE);
    memcpy(c.engine_config, &proxy, sizeof proxy);
    c.engine_bytes = SHM_PAGE_BYTES;
    return c;
}

static shm_config_t config_of(kind_t kind)
{
    shm_rtp_config_t stream = rtpt_stream();
    shm_netflux_config_t link = nft_link();
    switch (kind) {
    case MUX:
        return mux_channel();
    case RTP:
        return rtpt_config(NAMES[RTP], sink_port, SHM_DUPLEX, &stream);
    case NETFLUX:
        return nft_config(NAMES[NETFLUX], sink_port, &link);
    case UDT_PORT:
        return udt_port_channel();
    case UDT:
        return udt_channel();
    case PROXY:
        return proxy_channel();
    default:
        return udp_channel();
    }
}

static int ask_mux(const wt_channel_t *ch, mux_request_t request)
{
    uint8_t message[sizeof(ctl_channel_t) + sizeof request] = {0};
    memcpy(message, ch->config.name, sizeof ch->config.name);
    memcpy(message + sizeof(ctl_channel_t), &request, sizeof request);
    mux_reply_t reply;
    return wt_ask(&worker, worker.pool, CTL_ENGINE, message, sizeof message, NULL, 0, &reply,
                  sizeof reply, NULL);
}

static void add_mux_ports(const wt_channel_t *ch)
{
    for (uint16_t i = 0; i < MUX_PORTS / 2; i++) {
        mux_request_t request = {
            .op = MUX_ADD, .port = i, .generation = 1, .address = wt_loopback(0)};
        (void)ask_mux(ch, request);
        request.op = MUX_AIM;
        request.address = wt_loopback(sink_port);
        (void)ask_mux(ch, request);
    }
}

static void open_spoiled(kind_t kind)
{
    wt_channel_t *ch = &spoiled[kind];
    *ch = (wt_channel_t){.config = config_of(kind)};
    is_open[kind] = wt_open(&worker, ch);
    if (!is_open[kind])
        (void)fprintf(stderr, "%s does not open: %s\n", NAMES[kind], worker.text);
    if (is_open[kind] && kind == MUX)
        add_mux_ports(ch);
    age[kind] = 0;
    figures.opens++;
}

static void close_spoiled(kind_t kind)
{
    if (!is_open[kind])
        return;
    int rc = wt_command(&worker, &spoiled[kind], CTL_CLOSE);
    if (rc != 0 && rc != -ENOENT)
        CHECK_EQ(rc, 0);
    wt_drop(&spoiled[kind]);
    is_open[kind] = false;
}

/* --- mutations -------------------------------------------------------------------------------- */

static uint64_t strange_value(uint64_t *r, uint64_t was)
{
    switch (rt_test_rand(r) % 8) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return was + 1;
    case 3:
        return was - 1;
    case 4:
        return rt_test_rand(r) % 65536;
    case 5:
        return was ^ UINT64_C(1) << rt_test_rand(r) % 64;
    case 6:
        return (uint64_t)rt_mono_ns() + rt_test_rand(r) % RT_NS_PER_S;
    default:
        return rt_test_rand(r);
    }
}

/* Mostly where cursors, slots and records are. */
static uint64_t somewhere(const shm_segment_t *s, uint64_t *r)
{
    uint64_t from = 0, bytes = s->bytes;
    switch (rt_test_rand(r) % 8) {
    case 0:
        bytes = SHM_PAGE_BYTES;
        break;
    case 1:
        from = SHM_PAGE_BYTES;
        bytes = (uint64_t)(s->tx_data - s->base) - from;
        break;
    case 2:
        from = (uint64_t)((uint8_t *)s->tx - s->base);
        bytes = 2048;
        break;
    case 3:
        from = (uint64_t)(s->tx_data - s->base);
        bytes = 4096;
        break;
    case 4:
        from = (uint64_t)(s->rx_data - s->base);
        bytes = 4096;
        break;
    case 5:
        if (s->engine != NULL) {
            from = (uint64_t)(s->engine - s->base);
            bytes = s->config.engine_bytes;
        }
        break;
    default:
        break;
    }
    return from + rt_test_rand(r) % bytes;
}

static void scribble(const shm_segment_t *s, uint64_t *r)
{
    static const uint8_t widths[] = {1, 2, 4, 8};
    uint64_t width = widths[rt_test_rand(r) % 4];
    uint64_t at = somewhere(s, r) / width * width;
    if (at + width > s->bytes)
        return;
    uint64_t value = 0;
    memcpy(&value, s->base + at, width);
    value = strange_value(r, value);
    memcpy(s->base + at, &value, width);
}

static void change_file(const wt_channel_t *ch, uint64_t *r)
{
    off_t whole = (off_t)ch->segment.bytes;
    off_t to = (off_t)(rt_test_rand(r) % (uint64_t)(whole + SHM_PAGE_BYTES));
    switch (rt_test_rand(r) % 3) {
    case 0:
        (void)!ftruncate(ch->segment_fd, to);
        break;
    case 1:
        (void)!ftruncate(ch->segment_fd, to / 2);
        (void)!ftruncate(ch->segment_fd, whole);
        break;
    default:
        (void)fallocate(ch->segment_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, to + 1);
    }
}

/* Runs in a process of its own, at the same time as the worker and the client below. */
static pid_t begin_mutations(kind_t kind, unsigned count, bool cuts)
{
    uint64_t r = rt_test_rand(&rng);
    fflush(NULL);
    pid_t child = fork();
    if (child != 0)
        return child;
    for (unsigned i = 0; i < count; i++) {
        if (cuts && rt_test_rand(&r) % 64 == 0)
            change_file(&spoiled[kind], &r);
        else
            scribble(&spoiled[kind].segment, &r);
        if (i % 16 == 0)
            (void)!write(spoiled[kind].bell_fd, &(uint64_t){1}, sizeof(uint64_t));
        if (i % 64 == 0)
            wt_nap_ms(1); /* the others are to run in between */
    }
    _exit(0);
}

/* --- the client ------------------------------------------------------------------------------- */

static void send_something(kind_t kind)
{
    wt_channel_t *ch = &spoiled[kind];
    static uint8_t data[1024];
    uint32_t bytes = (uint32_t)(rt_test_rand(&rng) % sizeof data);
    int64_t now = rt_mono_ns();
    int64_t due = rt_test_rand(&rng) % 2 ? now + (int64_t)(rt_test_rand(&rng) % RT_NS_PER_MS) : 0;
    switch (kind) {
    case MUX: {
        mux_head_t head = {.number = age[MUX], .port = (uint16_t)(bytes % MUX_PORTS), .generation = 1};
        (void)tx_producer_push_engine(&ch->producer, &head, sizeof head, data, bytes, now);
        break;
    }
    case NETFLUX:
        nft_put_value(ch, bytes);
        break;
    case UDT: {
        shm_udt_tx_t head = {.ttl_ms = -1};
        (void)tx_producer_push_engine(&ch->producer, &head, sizeof head, data, bytes, now);
        break;
    }
    default:
        (void)wt_push(ch, data, bytes, due, NULL);
    }
    (void)!write(ch->bell_fd, &(uint64_t){1}, sizeof(uint64_t));
}

/* Into a buffer that ends where the longest packet does. */
static void read_something(kind_t kind)
{
    wt_channel_t *ch = &spoiled[kind];
    uint32_t longest = ch->config.max_payload_bytes;
    uint8_t *buffer = malloc(longest);
    rx_packet_t packet;
    shm_report_t reports[4];
    shm_late_packet_t late[4];
    slot_reader_t late_reader;
    for (unsigned i = 0; i < 8 && rx_reader_next(&ch->reader, buffer, longest, &packet, NULL) == 1;
         i++) {
        CHECK(packet.payload_bytes <= longest);
        figures.packets_read++;
    }
    (void)slot_reader_next(&ch->reports, reports, 4);
    slot_reader_init(&late_reader, ch->segment.late, ch->segment.late_packets,
                     ch->config.late_slots, (uint32_t)sizeof(shm_late_packet_t));
    (void)slot_reader_next(&late_reader, late, 4);
    (void)tx_ring_waiting(&ch->segment);
    if (kind == NETFLUX) {
        shm_netflux_rx_t head;
        uint32_t stamp;
        (void)shm_netflux_snapshot(ch->segment.engine, &head, &stamp, buffer, NFT_BYTES);
    }
    free(buffer);
}

static void send_to(kind_t kind)
{
    struct sockaddr_in at;
    socklen_t bytes = sizeof at;
    static const uint8_t data[300] = {0x80};
    int fd = spoiled[kind].socket_fd;
    if (fd >= 0 && getsockname(fd, (struct sockaddr *)&at, &bytes) == 0)
        for (int i = 0; i < 3; i++)
            (void)sendto(sink, data, 12 + rt_test_rand(&rng) % 200, MSG_DONTWAIT,
                         (struct sockaddr *)&at, bytes);
}

static void command_something(kind_t kind)
{
    static const uint32_t ops[] = {CTL_HOLD, CTL_RELEASE, CTL_PURGE, CTL_RESET, CTL_RELEASE};
    int rc = wt_command(&worker, &spoiled[kind], ops[rt_test_rand(&rng) % 5]);
    CHECK(rc != -ECONNRESET && rc != -ETIMEDOUT);
}

/* --- the oracle ------------------------------------------------------------------------------- */

static void check_oracle(void)
{
    uint64_t numbers[ORACLE_PACKETS];
    int64_t due = rt_mono_ns() + 2 * RT_NS_PER_MS;
    for (unsigned i = 0; i < ORACLE_PACKETS; i++) {
        numbers[i] = ORACLE_MARK + oracle_sent + i;
        CHECK_EQ(wt_push(&oracle, &numbers[i], sizeof numbers[i], due + i * 100000, NULL), 0);
    }
    uint64_t got = 0;
    for (unsigned i = 0; i < ORACLE_PACKETS;) {
        uint8_t data[2048];
        int bytes = wt_recv(sink, data, sizeof data, WT_TIMEOUT_MS);
        if (!CHECK(bytes >= 0))
            return;
        memcpy(&got, data, sizeof got);
        if (bytes != 8 || got < numbers[0] || got > numbers[ORACLE_PACKETS - 1])
            continue; /* of a spoiled channel, which sends there, too */
        CHECK_EQ(got, numbers[i]);
        i++;
    }
    oracle_sent += ORACLE_PACKETS;
}

/* As busy as the machine is: the worker's own share is in the turns' CPU time. */
static uint64_t oracle_late(void)
{
    return wt_counter(&oracle, SHM_COUNT_tx_enqueued_late) +
           wt_counter(&oracle, SHM_COUNT_tx_woke_late) + wt_counter(&oracle, SHM_COUNT_tx_send_slow) +
           wt_counter(&oracle, SHM_COUNT_tx_queued_behind);
}

static void check_oracle_counters(void)
{
    CHECK_EQ(wt_exact(&worker, &oracle, SHM_COUNT_tx_sent), oracle_sent);
    CHECK_EQ(wt_counter(&oracle, SHM_COUNT_tx_on_time) + oracle_late(), oracle_sent);
    CHECK_EQ(wt_counter(&oracle, SHM_COUNT_tx_failed), 0);
    CHECK_EQ(wt_counter(&oracle, SHM_COUNT_tx_corrupt), 0);
    CHECK_EQ(rt_load_acquire(&oracle.segment.status->state), SHM_STATE_OPEN);
}

/* --- the worker ------------------------------------------------------------------------------- */

/* A turn lasts as long as the count of turns stands. Looks see less of it, and with what was used
 * before the first of them and behind the last one more. */
typedef struct turn {
    uint64_t number;
    int64_t first_ns, last_ns; /* the first and the last look at it */
    int64_t before_ns;         /* the look before */
} turn_t;

static void note_turn(const turn_t *turn, int64_t cpu_ns)
{
    int64_t least_ns = turn->last_ns - turn->first_ns, most_ns = cpu_ns - turn->before_ns;
    turns->looks++;
    turns->least_ns = least_ns > turns->least_ns ? least_ns : turns->least_ns;
    turns->most_ns = most_ns > turns->most_ns ? most_ns : turns->most_ns;
}

static void look_at_turn(turn_t *turn, int64_t cpu_ns)
{
    uint64_t number = rt_load_relaxed(&worker.page->loops);
    bool began = turn->number != 0;
    if (began)
        note_turn(turn, cpu_ns);
    if (number != turn->number)
        *turn = (turn_t){number, cpu_ns, cpu_ns, began ? turn->last_ns : cpu_ns};
    turn->last_ns = cpu_ns;
}

/* Ends with the worker. */
static void watch_turns(pid_t parent)
{
    clockid_t clock;
    struct timespec cpu, pause = {.tv_nsec = LOOK_NS};
    struct sched_param priority = {.sched_priority = 1};
    turn_t turn = {.number = 0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* looks are closer together, where it is allowed */
    (void)sched_setscheduler(0, SCHED_FIFO, &priority);
    if (clock_getcpuclockid(worker.pid, &clock) != 0)
        _exit(0);
    while (getppid() == parent && clock_gettime(clock, &cpu) == 0) {
        look_at_turn(&turn, cpu.tv_sec * RT_NS_PER_S + cpu.tv_nsec);
        (void)nanosleep(&pause, NULL);
    }
    _exit(0);
}

static void begin_watch(void)
{
    pid_t parent = getpid();
    fflush(NULL);
    watch = fork();
    if (watch == 0)
        watch_turns(parent);
    REQUIRE(watch > 0);
}

/* The worker has been waited for. */
static void end_watch(void)
{
    CHECK_EQ(waitpid(watch, NULL, 0), watch);
    CHECK(turns->looks > 0);
    CHECK(turns->least_ns < TURN_CPU_NS);
}

static void note_loop(void)
{
    uint64_t longest = (uint64_t)rt_load_relaxed(&worker.page->longest_loop_ns);
    if (longest > figures.longest_loop_ns)
        figures.longest_loop_ns = longest;
}

static void count_events(void)
{
    static slot_reader_t reader;
    static shm_worker_segment_t *segment;
    static pid_t of;
    shm_event_t events[64];
    if (of != worker.pid) {
        if (segment != NULL)
            (void)munmap(segment, sizeof *segment);
        segment = mmap(NULL, sizeof *segment, PROT_READ, MAP_SHARED, worker.page_fd, 0);
        REQUIRE(segment != MAP_FAILED);
        slot_reader_init(&reader, &segment->recorder.cursors, segment->recorder.events,
                         SHM_RECORDER_EVENTS, sizeof events[0]);
        of = worker.pid;
    }
    for (unsigned n; (n = slot_reader_next(&reader, events, 64)) > 0;)
        for (unsigned i = 0; i < n; i++) {
            figures.failed += events[i].id == SHM_EVENT_channel_failed;
            figures.no_room += events[i].id == SHM_EVENT_send_no_room;
        }
}

/* In the slots it had. */
static int attach_oracle_again(void)
{
    ctl_attach_t ask = {.what = CTL_ATTACH_PRODUCER | CTL_ATTACH_READER,
                        .producer = oracle.producer_slot,
                        .reader = oracle.reader_slot};
    memcpy(ask.channel.name, oracle.config.name, sizeof ask.channel.name);
    ctl_attached_t got;
    int rc = wt_ask(&worker, worker.pool, CTL_ATTACH, &ask, sizeof ask, NULL, 0, &got, sizeof got,
                    NULL);
    if (rc == 0)
        CHECK_EQ(got.producer, oracle.producer_slot);
    return rc;
}

static bool replace_worker(void)
{
    wt_settle(&worker); /* what was sent has its verdict: a packet
                           under way would count as failed */
    note_loop();
    (void)kill(worker.pid, SIGKILL);
    int status = 0;
    (void)waitpid(worker.pid, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* it had not ended by itself */
    end_watch();
    wt_forget(&worker);
    if (!wt_launch(&worker, NULL) || wt_reply(&worker, worker.pool, 0, NULL, 0, NULL, NULL) != 0)
        return false;
    begin_watch();
    figures.takeovers++;
    /* In the order in which they were opened: each lies below the one before it. */
    CHECK_EQ(wt_send_open(&worker, &oracle, CTL_OPEN_TAKEOVER), 0);
    CHECK_EQ(attach_oracle_again(), 0);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (!is_open[kind])
            continue;
        if (wt_send_open(&worker, &spoiled[kind], CTL_OPEN_TAKEOVER) == 0)
            continue;
        figures.refused++;
        wt_drop(&spoiled[kind]);
        is_open[kind] = false;
    }
    return true;
}

/* --- rounds ----------------------------------------------------------------------------------- */

static void spoil(kind_t kind, unsigned count)
{
    bool cuts = age[kind] == BATCHES_PER_LIFE - 1;
    pid_t child = begin_mutations(kind, count, cuts);
    for (int i = 0; i < 12; i++) {
        send_something(kind);
        send_to(kind);
        read_something(kind);
    }
    if (rt_test_rand(&rng) % 4 == 0)
        command_something(kind);
    check_oracle();
    int status = -1;
    (void)waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
    figures.mutations += count;
    figures.cuts += cuts;
    age[kind]++;
}

static void test_nobody_else_notices(void)
{
    uint64_t mutations = rt_test_env_u64("RT_TEST_ROUNDS", MUTATIONS);
    unsigned per_batch = mutations < LONG_RUN ? PER_BATCH : PER_LONG_BATCH;
    slow_link = TEST_HAS("qdisc tbf", make_slow_link());
    turns = mmap(NULL, sizeof *turns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(turns != MAP_FAILED);
    REQUIRE(wt_start(&worker, NULL));
    begin_watch();
    sink = wt_udp(&sink_port);
    oracle = (wt_channel_t){.config = wt_config("oracle", sink_port)};
    oracle.config.tolerance_ns = ORACLE_TOLERANCE_NS;
    REQUIRE(wt_open(&worker, &oracle));
    shm_identity_t identity = *oracle.segment.identity;
    for (unsigned batch = 0; figures.mutations < mutations && atomic_load(&rt_test_failure_count) == 0; batch++) {
        if (!is_open[UDT]) /* it needs a port that has not failed */
            close_spoiled(UDT_PORT);
        for (unsigned kind = 0; kind < KINDS; kind++)
            if (!is_open[kind])
                open_spoiled((kind_t)kind);
        kind_t kind = (kind_t)(batch % KINDS);
        spoil(kind, per_batch);
        count_events();
        if (batch % BATCHES_PER_WORKER == BATCHES_PER_WORKER - 1)
            REQUIRE(replace_worker());
        if (age[kind] >= BATCHES_PER_LIFE)
            close_spoiled(kind);
        check_oracle_counters();
        CHECK_MEM_EQ(oracle.segment.identity, &identity, sizeof identity);
    }
    note_loop();
    for (unsigned kind = KINDS; kind-- > 0;)
        close_spoiled((kind_t)kind);
    uint64_t late = oracle_late();
    CHECK_EQ(wt_command(&worker, &oracle, CTL_CLOSE), 0);
    wt_drop(&oracle);
    wt_stop(&worker);
    end_watch();
    close(sink);
    CHECK(udp_lives < 20 || figures.no_room > 0);
    const char *room = slow_link ? "" : ", no slow link here (needs root and tc), so no EAGAIN";
    printf("%llu mutations, %llu batches with files cut short, %llu channels spoiled (%llu fenced, %llu "
           "refused at a takeover), %llu takeovers, %llu oracle packets (%llu more than 1 ms late), %llu packets "
           "read by the client, longest turn of the loop %.1f to %.1f ms of CPU time in %llu looks (%.1f ms on "
           "the clock), %llu times without room in the kernel%s\n",
           (unsigned long long)figures.mutations, (unsigned long long)figures.cuts,
           (unsigned long long)figures.opens, (unsigned long long)figures.failed,
           (unsigned long long)figures.refused, (unsigned long long)figures.takeovers,
           (unsigned long long)oracle_sent, (unsigned long long)late,
           (unsigned long long)figures.packets_read, (double)turns->least_ns / 1e6,
           (double)turns->most_ns / 1e6, (unsigned long long)turns->looks,
           (double)figures.longest_loop_ns / 1e6, (unsigned long long)figures.no_room, room);
}

int main(void)
{
    rng = rt_test_env_u64("RT_TEST_SEED", (uint64_t)rt_mono_ns());
    printf("RT_TEST_SEED=%llu\n", (unsigned long long)rng);
    (void)fflush(stdout);
    RUN(test_nobody_else_notices);
    return rt_test_result();
}
