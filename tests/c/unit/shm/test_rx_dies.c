/* The rx ring's writer dies at every single step of a run, and a successor goes on: no reader
 * of any kind may get a torn packet, one twice, or one out of order, and each must be told
 * exactly how many it missed. Then a shared reader dies at every step: at worst the packet it
 * had just taken goes with it. */
#include "shm_test.h"

#include "crash.h"
#include "shm/rx_ring.c"

#include <limits.h>

enum { RING_BYTES = 4096, MAX_PAYLOAD = 200, PUTS = 90, MAX_SEQUENCES = 1 << 12, EAGER = 0, SLOW = 1, TAP = 2 };

typedef struct follower {
    rx_reader_t reader;
    uint64_t next, taken, told;
} follower_t;

static shm_segment_t seg, read_only;
static rx_writer_t writer;
static follower_t followers[3];
static rx_reader_t group[2];
static uint64_t group_taken, group_next;
static uint32_t content[MAX_SEQUENCES]; /* of each sequence, as last put */
static uint32_t put_n;
static bool purges;
static char label[128];

static bool expect(bool holds, const char *what)
{
    if (!holds)
        rt_test_fail(__FILE__, __LINE__, "%s: %s", label, what);
    return holds;
}

static void put(void)
{
    uint8_t payload[MAX_PAYLOAD];
    uint32_t n = put_n++;
    uint32_t bytes = shm_test_length(1, n, MAX_PAYLOAD);
    unsigned long left = crash_left;
    crash_left = 0;
    shm_test_fill(payload, bytes, 1, n);
    rx_item_t item = {
        .payload = payload, .payload_bytes = bytes, .source = {.family = n % 2 ? 4 : 6, .port = (uint16_t)n}};
    content[writer.sequence % MAX_SEQUENCES] = n;
    crash_left = left;
    expect(rx_writer_put(&writer, &item) == 0, "a packet is refused");
}

static bool check_packet(const uint8_t *payload, const rx_packet_t *p)
{
    uint32_t sender = 0, n = 0;
    return expect(shm_test_check(payload, p->payload_bytes, MAX_PAYLOAD, &sender, &n), "a torn packet") &&
           expect(n == content[p->sequence % MAX_SEQUENCES], "a packet under another's number") &&
           expect(p->source.family == (n % 2 ? 4 : 6) && p->source.port == (uint16_t)n, "another's address");
}

static void follow(follower_t *f, unsigned max)
{
    uint8_t payload[MAX_PAYLOAD];
    rx_packet_t p;
    uint64_t lost;
    while (max-- > 0 && rx_reader_next(&f->reader, payload, sizeof payload, &p, &lost) == 1) {
        check_packet(payload, &p);
        expect(purges ? p.sequence >= f->next + lost : p.sequence == f->next + lost, "a wrong count of lost ones");
        f->next = p.sequence + 1;
        f->taken++;
        f->told += lost;
    }
}

static void follow_as_group(rx_reader_t *r, unsigned max)
{
    uint8_t payload[MAX_PAYLOAD];
    rx_packet_t p;
    while (max-- > 0 && rx_reader_next(r, payload, sizeof payload, &p, NULL) == 1) {
        check_packet(payload, &p);
        expect(p.sequence >= group_next, "a packet of the group twice, or out of order");
        group_next = p.sequence + 1;
        group_taken++;
    }
}

static void read_some(unsigned n)
{
    unsigned long left = crash_left;
    crash_left = 0;
    follow(&followers[EAGER], UINT_MAX);
    follow(&followers[TAP], 3);
    follow_as_group(&group[n % 2], 2);
    if (n % 40 == 39)
        follow(&followers[SLOW], UINT_MAX);
    crash_left = left;
}

static int open_all(uint32_t place)
{
    shm_config_t c = shm_test_config(RING_BYTES, MAX_PAYLOAD);
    int fd = shm_test_open(&seg, &c);
    expect(shm_segment_map(&read_only, fd, 0) == 0, "no second mapping");
    rt_store_relaxed(&seg.rx->tail, shm_cursor(0, place));
    rt_store_relaxed(&seg.rx->floor, shm_cursor(0, place));
    rt_store_relaxed(&seg.rx->shared_head, shm_cursor(0, place));
    for (uint32_t i = 0; i < 3; i++) {
        followers[i] = (follower_t){.next = 0};
        (void)rx_reader_init(&followers[i].reader, i == TAP ? &read_only : &seg, i == TAP ? CTL_NO_SLOT : i,
                             SHM_READ_EACH, 1);
    }
    for (uint32_t i = 0; i < 2; i++)
        (void)rx_reader_init(&group[i], &seg, 4 + i, SHM_READ_SHARED, 0);
    group_taken = group_next = put_n = 0;
    return fd;
}

static void close_all(int fd)
{
    shm_segment_unmap(&read_only);
    shm_test_close(&seg, fd);
}

/* Returns the steps of the last life. */
static unsigned long run(unsigned long step, uint32_t place, bool with_purge)
{
    static volatile unsigned n;
    static volatile bool died;
    purges = with_purge;
    int fd = open_all(place);
    n = 0;
    died = false;
    if (setjmp(crash_exit) != 0) {
        died = true;
        crash_left = 0;
        read_some(n);
    }
    crash_at(died ? 0 : step);
    expect(rx_writer_init(&writer, &seg) == 0, "a successor refuses the ring");
    for (; n < PUTS; n++) {
        put();
        bool long_burst = n >= PUTS / 4 && n < PUTS - PUTS / 4; /* more than a lap */
        if (!long_burst && n % 3 == 0)
            (void)rx_writer_publish(&writer);
        if (with_purge && n % 30 == 10)
            rx_writer_purge(&writer);
        read_some(n);
    }
    (void)rx_writer_publish(&writer);
    unsigned long done = crash_steps;
    crash_at(0);
    for (int i = 0; i < 3; i++) {
        follow(&followers[i], UINT_MAX);
        if (!with_purge)
            expect(followers[i].taken + followers[i].told == writer.sequence, "taken and lost do not add up");
        expect(followers[i].next == writer.sequence, "the last packet was not read");
    }
    follow_as_group(&group[0], UINT_MAX);
    if (!with_purge)
        expect(group_taken + rt_load_relaxed(&seg.rx->shared_lost) == writer.sequence,
               "the group's taken and lost do not add up");
    close_all(fd);
    return done;
}

static void meddle(void)
{
    for (int i = 0; i < 3; i++)
        follow(&followers[i], UINT_MAX);
    follow_as_group(&group[0], 1);
    follow_as_group(&group[1], UINT_MAX);
}

/* From where the ring's end comes at different moments. One thread: nothing
 * for ThreadSanitizer to see. */
#ifdef RT_TSAN
static const uint32_t places[] = {301};
#else
static const uint32_t places[] = {0, 127, 301, 509};
#endif

static void die_everywhere(bool with_purge)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0] && rt_test_result() == 0; i++) {
        uint32_t place = places[i];
        (void)snprintf(label, sizeof label, "start at %u, nobody dies", place);
        unsigned long all = run(0, place, with_purge);
        CHECK(all > PUTS);
        for (unsigned long step = 1; step <= all && rt_test_result() == 0; step++) {
            (void)snprintf(label, sizeof label, "start at %u, death at step %lu", place, step);
            (void)run(step, place, with_purge);
        }
    }
}

static void test_the_writer_dies_at_every_step(void)
{
    die_everywhere(false);
}

static void test_the_writer_dies_at_every_step_with_purges(void)
{
    die_everywhere(true);
}

static void test_all_read_at_every_step_of_the_writer(void)
{
    crash_meddle = meddle;
    die_everywhere(false);
    die_everywhere(true);
    crash_meddle = NULL;
}

/* --- shared readers --------------------------------------------------------------------------- */

static bool lapped;

/* Packets for two shared readers; the first dies at a step of its reading, of five at most. */
static unsigned long read_and_die(unsigned long step)
{
    static volatile unsigned n;
    uint8_t payload[MAX_PAYLOAD];
    rx_packet_t p;
    purges = false;
    int fd = open_all(0);
    (void)rx_writer_init(&writer, &seg);
    for (n = 0; n < (lapped ? PUTS : 12); n++)
        put();
    (void)rx_writer_publish(&writer);
    unsigned long done = 0;
    crash_at(step);
    if (setjmp(crash_exit) == 0) {
        for (n = 0; n < 5; n++)
            (void)rx_reader_next(&group[0], payload, sizeof payload, &p, NULL);
        done = crash_steps;
    }
    crash_at(0);
    uint64_t taken_by_dead = n;
    follow_as_group(&group[1], UINT_MAX);
    uint64_t lost = rt_load_relaxed(&seg.rx->shared_lost);
    uint64_t accounted = taken_by_dead + group_taken + lost;
    expect(group_next == writer.sequence, "the survivor did not get the last packet");
    /* What it dies over is one packet, or the count of those that the group had lost before. */
    expect(accounted == writer.sequence || (step != 0 && (lapped || accounted + 1 == writer.sequence)),
           "more is gone than the one packet in the dead one's hands");
    close_all(fd);
    return done;
}

static void test_a_shared_reader_dies_at_every_step(void)
{
    for (int i = 0; i < 2; i++) {
        lapped = i == 1;
        (void)snprintf(label, sizeof label, "nobody dies");
        unsigned long all = read_and_die(0);
        CHECK(all >= 5);
        for (unsigned long step = 1; step <= all; step++) {
            (void)snprintf(label, sizeof label, "lapped %d, death at step %lu", lapped, step);
            (void)read_and_die(step);
        }
    }
}

int main(void)
{
    RUN(test_the_writer_dies_at_every_step);
    RUN(test_the_writer_dies_at_every_step_with_purges);
    RUN(test_all_read_at_every_step_of_the_writer);
    RUN(test_a_shared_reader_dies_at_every_step);
    return rt_test_result();
}
