/* judge.c: what must hold. It hears what the clients asked for and were told, and what came to the
 * wire, and it reads counters, reports and cursors as data. It calls nothing of the product.
 *
 *     asked --> told: accepted --> exactly one of: on the wire once, cancelled, dropped, failed
 *          \--> told: refused  --> never on the wire
 *           \-> never told (the sender died): at most once on the wire
 *
 * While the run goes on: no packet twice, none early, none that was cancelled, replaced or refused,
 * no byte changed, none after one of the same sender that was asked for later (without deadlines),
 * none after one that was due later, where both had waited for long.
 *
 * At rest: the verdicts' counters are as many as the packets, there is one report for each, the
 * ring is empty and all zero, no claim and no owner is left. A worker that died may have left some
 * packets uncertain: sent or not, counted as failed. That is its promise, and no more than a batch
 * for each death.
 *
 * Arrivals are known by their number. What a reader gets is in the order of the socket's queue,
 * each once, and what is missing was counted as lost. */
#include "sim.h"

#include "shm/shm_segment.h"

#include <errno.h>
#include <string.h>

#define MAGIC_OUT 0x51a0u
#define MAGIC_IN 0x51a1u
#define BATCH 64u /* packets that one worker may have in hand */
#define LONG_NS (3 * NS_PER_MS)
#define CLAIM_NS NS_PER_MS
#define READING_NS NS_PER_US
#define ORDER_NS (100 * NS_PER_US)
#define PROMPT_NS (5 * NS_PER_MS / 2)
#define SEQUENCES_MOST 16384u
#define ARRIVALS_MOST 16384u

typedef enum answer { ANSWER_NONE, ANSWER_YES, ANSWER_NO } answer_t;

typedef struct packet {
    int64_t due_ns, asked_ns; /* in the channel's clock */
    int64_t told_ns, passed_ns;
    uint64_t sequence;
    uint32_t bytes, sender, replaces, passed_by;
    answer_t told;
    unsigned wire, reports, readers; /* readers: a bit for each that has it */
    uint8_t verdict;
    int32_t error;
    bool cancelled, aborted;
} packet_t;

typedef struct head {
    uint32_t magic, number;
    uint64_t check;
} head_t;

#define NOBODY UINT32_MAX

static packet_t packets[PACKETS_MOST * SENDERS_MOST];
static uint32_t packet_count;
static uint32_t last_at_once[READERS_MOST][SENDERS_MOST]; /* without a network, for each reader */
static bool sender_died[SENDERS_MOST];
static uint32_t of_sequence[SEQUENCES_MOST];
static uint64_t wire_count;

static uint32_t queued, dropped;
static int64_t arrived_ns[ARRIVALS_MOST];
static bool taken[ARRIVALS_MOST], purged;

typedef struct reader {
    bool reads, left;
    uint32_t at;
    uint64_t got, skipped, lost;
} reader_t;

static reader_t readers[READERS_MOST];

/* --- payloads --------------------------------------------------------------------------------- */

static void fill(uint8_t *payload, uint32_t bytes, uint32_t magic, uint32_t number)
{
    chance_t c = {sim.plan.seed ^ (uint64_t)magic << 32 ^ number};
    head_t head = {.magic = magic, .number = number, .check = chance_next(&c)};
    memcpy(payload, &head, sizeof head);
    for (uint32_t i = sizeof head; i < bytes; i++)
        payload[i] = (uint8_t)(head.check + i);
}

/* Returns its number, or NOBODY. */
static uint32_t recognise(const uint8_t *payload, size_t bytes, uint32_t magic, uint32_t count)
{
    head_t head;
    if (bytes < sizeof head)
        return NOBODY;
    memcpy(&head, payload, sizeof head);
    chance_t c = {sim.plan.seed ^ (uint64_t)magic << 32 ^ head.number};
    if (head.magic != magic || head.number >= count || head.check != chance_next(&c))
        return NOBODY;
    for (size_t i = sizeof head; i < bytes; i++)
        if (payload[i] != (uint8_t)(head.check + i))
            return NOBODY;
    return head.number;
}

void judge_begin(void)
{
    memset(packets, 0, packet_count * sizeof *packets);
    memset(of_sequence, 0xff, sizeof of_sequence);
    memset(last_at_once, 0, sizeof last_at_once);
    memset(sender_died, 0, sizeof sender_died);
    memset(readers, 0, sizeof readers);
    memset(taken, 0, sizeof taken);
    packet_count = queued = dropped = 0;
    wire_count = 0;
    purged = false;
}

static int64_t channel_now_ns(void)
{
    return sim_clock.now_ns + sim_channel_offset_ns();
}

/* --- sending ---------------------------------------------------------------------------------- */

uint32_t judge_ask(unsigned sender, uint8_t *payload, uint32_t bytes, int64_t due_ns)
{
    uint32_t number = packet_count++;
    packets[number] = (packet_t){.due_ns = due_ns,
                                 .asked_ns = sim_clock.now_ns + sim_channel_offset_ns(),
                                 .bytes = bytes,
                                 .sender = sender,
                                 .replaces = NOBODY,
                                 .passed_by = NOBODY};
    fill(payload, bytes, MAGIC_OUT, number);
    return number;
}

void judge_replacing(uint32_t packet, uint32_t old)
{
    packets[packet].replaces = old;
}

void judge_cancelled(uint32_t packet)
{
    sim_trace("cancelled #%u", packet);
    packets[packet].cancelled = true;
    if (packets[packet].wire > 0)
        sim_fail("#%u was sent, and then cancelled", packet);
}

void judge_told(uint32_t packet, int rc, uint64_t sequence)
{
    packet_t *p = &packets[packet];
    sim_trace("asks #%u, %u bytes, due %+.3f us: %d, sequence %llu", packet, p->bytes,
              p->due_ns != 0 ? (double)(p->due_ns - channel_now_ns()) / 1e3 : 0.0, rc,
              (unsigned long long)sequence);
    p->told = rc == 0 ? ANSWER_YES : ANSWER_NO;
    p->told_ns = sim_clock.now_ns;
    p->aborted = rc == -ECANCELED || (p->replaces != NOBODY && (rc == -ENOENT || rc == -EBUSY));
    if (rc != 0 && p->wire > 0)
        sim_fail("#%u was refused with %d, and sent", packet, rc);
    if (rc != 0)
        return;
    p->sequence = sequence;
    if (sequence >= SEQUENCES_MOST)
        sim_fail("#%u got the sequence %llu", packet, (unsigned long long)sequence);
    else if (of_sequence[sequence] != NOBODY)
        sim_fail("#%u and #%u got one sequence", packet, of_sequence[sequence]);
    else
        of_sequence[sequence] = packet;
    if (p->replaces != NOBODY)
        judge_cancelled(p->replaces);
}

void judge_sender_left(unsigned sender, bool died)
{
    sender_died[sender] = died;
}

/* How early a packet may leave. A worker learns of a step of the clock at once, but not while it
 * sends. It then knows the new time only as exactly as one reading of two clocks. */
static int64_t allowed_early_ns(void)
{
    if (sim.stepped_ns == 0)
        return 0;
    int64_t learnt = sim.stepped_ns < sim.halted_until_ns ? sim.halted_until_ns : sim.stepped_ns;
    return sim_clock.now_ns < learnt + CLAIM_NS ? NEVER : READING_NS;
}

/* A packet that was queued after its deadline counts as due then. */
static int64_t counts_as_due(const packet_t *p)
{
    return p->due_ns > p->asked_ns ? p->due_ns : p->asked_ns;
}

/* Where nothing goes wrong, nobody waits for long. Returns how long somebody has who could go on
 * from then. */
static int64_t waited_ns(int64_t since_ns)
{
    const plan_t *p = &sim.plan;
    if (sim.no_worker || p->send_trouble != 0 || p->commands != 0 || p->clock_steps != 0 ||
        p->wait_for_readers)
        return 0;
    return sim_clock.now_ns - (since_ns > sim.calm_from_ns ? since_ns : sim.calm_from_ns);
}

static void check_times(uint32_t number, packet_t *p, unsigned reader)
{
    if (p->due_ns != 0 && p->due_ns - channel_now_ns() > allowed_early_ns())
        sim_fail("#%u leaves %lld ns before its deadline", number,
                 (long long)(p->due_ns - channel_now_ns()));
    int64_t due = counts_as_due(p) - sim_channel_offset_ns();
    int64_t since = due > p->told_ns ? due : p->told_ns;
    if (!sim.plan.local && p->told == ANSWER_YES && waited_ns(since) > PROMPT_NS)
        sim_fail("#%u leaves only %lld ns after it could", number,
                 (long long)(sim_clock.now_ns - since));
    /* A successor waits once for the claims that nobody finishes, as long as TX_CLAIM_TIMEOUT_NS
     * and a nap. Meanwhile it sends what is due of the packets before them. */
    if (p->passed_by != NOBODY && sim_clock.now_ns > p->passed_ns + ORDER_NS)
        sim_fail("#%u leaves %lld ns after #%u, which is due later", number,
                 (long long)(sim_clock.now_ns - p->passed_ns), p->passed_by);
    if (p->due_ns == 0) {
        uint32_t *last = &last_at_once[reader][p->sender];
        if (number < *last)
            sim_fail("#%u leaves after #%u of its sender", number, *last);
        *last = number > *last ? number : *last;
        return;
    }
    if (sim.plan.local || sim.stepped_ns != 0) /* read later than delivered; due at other times */
        return;
    /* Who has waited for long, and was due well before? */
    for (uint32_t i = 0; i < packet_count; i++) {
        packet_t *q = &packets[i];
        if (q->due_ns != 0 && q->told == ANSWER_YES && q->wire == 0 && q->passed_by == NOBODY &&
            !q->cancelled && q->told_ns + LONG_NS < sim_clock.now_ns &&
            q->due_ns + LONG_NS < p->due_ns && counts_as_due(q) + LONG_NS < counts_as_due(p)) {
            q->passed_by = number;
            q->passed_ns = sim_clock.now_ns;
        }
    }
}

void judge_wire(const uint8_t *data, size_t bytes, uint16_t to)
{
    uint32_t number = recognise(data, bytes, MAGIC_OUT, packet_count);
    sim_mix((uint64_t)number << 20 ^ (uint64_t)sim_clock.now_ns);
    wire_count++;
    if (number == NOBODY) {
        sim_fail("a datagram that nobody asked for, of %zu bytes", bytes);
        return;
    }
    packet_t *p = &packets[number];
    sim_trace("wire: #%u", number);
    if (bytes != p->bytes || to != PEER_PORT)
        sim_fail("#%u leaves with %zu bytes of %u, to port %u", number, bytes, p->bytes, to);
    if (p->wire++ > 0)
        sim_fail("#%u leaves twice", number);
    if (p->told == ANSWER_NO)
        sim_fail("#%u was refused, and leaves", number);
    if (p->cancelled)
        sim_fail("#%u was cancelled, and leaves", number);
    check_times(number, p, 0);
}

/* Without a network: what a reader gets is on the wire. */
static void judge_delivered(unsigned reader, const uint8_t *data, size_t bytes)
{
    uint32_t number = recognise(data, bytes, MAGIC_OUT, packet_count);
    sim_mix((uint64_t)number << 4 ^ reader);
    if (number == NOBODY) {
        sim_fail("a reader gets %zu bytes that nobody sent", bytes);
        return;
    }
    packet_t *p = &packets[number];
    sim_trace("gets #%u", number);
    unsigned all = sim.plan.shared ? UINT32_MAX : 1u << reader;
    if (p->readers & all)
        sim_fail("reader %u gets #%u again", reader + 1, number);
    if (p->told == ANSWER_NO || p->cancelled || bytes != p->bytes)
        sim_fail("#%u of %u bytes was refused or cancelled, or is read with %zu", number, p->bytes,
                 bytes);
    wire_count += p->wire == 0;
    p->readers |= 1u << reader;
    p->wire = 1;
    if (!sim.plan.shared)
        check_times(number, p, reader);
}

/* --- arrivals --------------------------------------------------------------------------------- */

void judge_arrival(uint8_t *payload, uint32_t bytes)
{
    sim_trace("arrives @%u", queued);
    if (queued == ARRIVALS_MOST) {
        sim_fail("more arrivals than the judge can keep");
        return;
    }
    arrived_ns[queued] = sim_clock.now_ns;
    fill(payload, bytes, MAGIC_IN, queued++);
}

void judge_no_room(void)
{
    sim_trace("arrives, and finds no room");
    dropped++;
}

void judge_purged(void)
{
    purged = true;
}

void judge_reads(unsigned reader)
{
    readers[reader].reads = true;
}

void judge_reader_left(unsigned reader)
{
    readers[reader].left = true;
}

void judge_got(unsigned reader, const uint8_t *data, size_t bytes, uint64_t lost_so_far,
               int64_t called_ns)
{
    reader_t *r = &readers[reader];
    if (sim.plan.local) {
        judge_delivered(reader, data, bytes);
        return;
    }
    uint32_t number = recognise(data, bytes, MAGIC_IN, queued);
    sim_mix((uint64_t)number << 4 ^ reader);
    sim_trace("gets @%u", number);
    r->lost = lost_so_far;
    if (number == NOBODY) {
        sim_fail("a reader gets %zu bytes that did not arrive", bytes);
        return;
    }
    if (sim.plan.shared && taken[number])
        sim_fail("@%u is read twice", number);
    if (!sim.plan.shared && number < r->at)
        sim_fail("reader %u gets @%u behind @%u", reader + 1, number, r->at - 1);
    int64_t since = called_ns > arrived_ns[number] ? called_ns : arrived_ns[number];
    int64_t halted = sim.running->halted_until_ns;
    since = halted > since ? halted : since;
    if (waited_ns(since) > PROMPT_NS)
        sim_fail("reader %u gets @%u only %lld ns after it could", reader + 1, number,
                 (long long)(sim_clock.now_ns - since));
    taken[number] = true;
    r->skipped += r->got > 0 ? number - r->at : 0;
    r->got++;
    r->at = number + 1;
}

/* --- at rest ---------------------------------------------------------------------------------- */

static uint64_t count(const shm_segment_t *s, shm_counter_id_t id)
{
    return s->stats->counters[id];
}

static bool is_sent(unsigned verdict)
{
    return verdict <= 4 || verdict == 8;
}

static void take_reports(const shm_segment_t *s)
{
    uint64_t tail = s->report->tail;
    for (uint64_t i = 0; i < tail; i++) {
        const shm_report_t *r = &s->reports[i % s->config.report_slots];
        uint32_t number = r->sequence < SEQUENCES_MOST ? of_sequence[r->sequence] : NOBODY;
        if (number == NOBODY)
            continue; /* of a sender that died before it was told */
        packet_t *p = &packets[number];
        p->verdict = r->verdict;
        p->error = r->error;
        if (p->reports++ > 0)
            sim_fail("#%u has two reports", number);
    }
}

/* Of an accepted packet, with its report. */
static void check_verdict(uint32_t number, const packet_t *p)
{
    bool sent = is_sent(p->verdict);
    bool uncertain = p->verdict == 7 && p->error == EOWNERDEAD;
    if (sent && p->wire == 0 && !sim.plan.local)
        sim_fail("#%u has the verdict %u, and did not leave", number, p->verdict);
    if (!sent && !uncertain && p->wire > 0)
        sim_fail("#%u left, and has the verdict %u (error %d)", number, p->verdict, p->error);
    if (p->cancelled && p->verdict != 6)
        sim_fail("#%u was cancelled, and has the verdict %u", number, p->verdict);
}

typedef struct tally {
    uint64_t accepted, unsure, aborted, missing, uncertain;
} tally_t;

static tally_t check_packets(bool reports)
{
    tally_t t = {0};
    for (uint32_t i = 0; i < packet_count; i++) {
        const packet_t *p = &packets[i];
        t.accepted += p->told == ANSWER_YES;
        t.unsure += p->told == ANSWER_NONE;
        t.aborted += p->aborted;
        if (p->told == ANSWER_NONE && !sender_died[p->sender])
            sim_fail("#%u got no answer", i);
        if (p->told != ANSWER_YES || !reports)
            continue;
        if (p->reports == 0)
            t.missing++;
        else
            check_verdict(i, p);
        t.uncertain += p->reports > 0 && p->verdict == 7 && p->error == EOWNERDEAD;
    }
    return t;
}

static void check_sums(const shm_segment_t *s, const tally_t *t)
{
    uint64_t sent = count(s, SHM_COUNT_tx_sent), verdicts = 0, by_sent = 0;
    for (unsigned v = 0; v <= 8; v++) {
        uint64_t n = s->stats->counters[SHM_COUNT_tx_on_time + v];
        verdicts += n;
        by_sent += is_sent(v) ? n : 0;
    }
    uint64_t failed = count(s, SHM_COUNT_tx_failed);
    uint64_t lost = count(s, SHM_COUNT_tx_orphans), aborted = count(s, SHM_COUNT_tx_aborted);
    uint64_t allowed = (uint64_t)sim.worker_deaths * BATCH;
    if (sent != by_sent)
        sim_fail("tx_sent is %llu, the verdicts of sent packets are %llu", (unsigned long long)sent,
                 (unsigned long long)by_sent);
    /* Of a packet that a worker ended and did not count before it died, the successor knows only
     * that there was one: it counts as failed, also if its producer had aborted it. */
    uint64_t ends = verdicts + lost + aborted, claims = t->accepted + t->aborted;
    if (verdicts < t->accepted || ends < claims || ends > claims + t->unsure ||
        aborted > t->aborted + t->unsure || aborted + sim.worker_deaths < t->aborted)
        sim_fail(
            "%llu verdicts, %llu orphans and %llu aborted claims for %llu packets, %llu claims "
            "given up and %llu packets of dead senders",
            (unsigned long long)verdicts, (unsigned long long)lost, (unsigned long long)aborted,
            (unsigned long long)t->accepted, (unsigned long long)t->aborted,
            (unsigned long long)t->unsure);
    if ((sent > wire_count && !sim.plan.local) || wire_count > sent + failed ||
        (sim.worker_deaths == 0 && wire_count != sent && !sim.plan.local))
        sim_fail("%llu packets left, %llu are counted as sent and %llu as failed",
                 (unsigned long long)wire_count, (unsigned long long)sent,
                 (unsigned long long)failed);
    if (t->missing > allowed || t->uncertain > allowed)
        sim_fail("%llu packets have no report and %llu are uncertain, after %u deaths of workers",
                 (unsigned long long)t->missing, (unsigned long long)t->uncertain,
                 sim.worker_deaths);
    if (count(s, SHM_COUNT_tx_corrupt) != 0)
        sim_fail("%llu records are corrupt", (unsigned long long)count(s, SHM_COUNT_tx_corrupt));
}

static void check_ring(const shm_segment_t *s)
{
    const shm_tx_cursors_t *tx = s->tx;
    uint32_t tail = (uint32_t)tx->tail;
    if (tail != tx->head_place)
        sim_fail("the send ring is not empty: its head is at %u, its tail at %u", tx->head_place,
                 tail);
    for (uint64_t i = 0; i < s->config.tx_bytes; i++)
        if (s->tx_data[i] != 0) {
            sim_fail("the send ring is not all zero: at %llu of %llu", (unsigned long long)i,
                     (unsigned long long)s->config.tx_bytes);
            break;
        }
    for (uint32_t i = 0; i < s->config.producers; i++) {
        if (s->producers[i].intent != SHM_INTENT_NONE)
            sim_fail("producer slot %u still announces a claim", i);
        if (i > 0 && s->producers[i].owner != 0)
            sim_fail("producer slot %u still has an owner", i);
    }
    for (uint32_t i = 0; i < s->config.readers; i++)
        if (s->readers[i].owner != 0)
            sim_fail("reader slot %u still has an owner", i);
    if (s->status->state != SHM_STATE_OPEN)
        sim_fail("the channel's state is %u: %.90s", s->status->state, s->status->reason);
}

static void check_arrivals(const shm_segment_t *s)
{
    uint64_t received = count(s, SHM_COUNT_rx_received);
    uint64_t lost = count(s, SHM_COUNT_rx_lost_takeover);
    /* Where it waits for a group of readers who all died, the rest stays in the socket. */
    uint64_t left = sim.plan.wait_for_readers && sim.plan.shared ? net_waiting() : 0;
    if (received + lost + left != queued)
        sim_fail("%u datagrams were queued at the socket, %llu are received and %llu lost", queued,
                 (unsigned long long)received, (unsigned long long)lost);
    if (count(s, SHM_COUNT_rx_kernel_drops) != dropped)
        sim_fail("the kernel dropped %u datagrams, %llu are counted", dropped,
                 (unsigned long long)count(s, SHM_COUNT_rx_kernel_drops));
    for (unsigned i = 0; i < READERS_MOST && !sim.plan.shared && !purged; i++) {
        const reader_t *r = &readers[i];
        if (!r->left || r->got == 0)
            continue;
        if (r->skipped > r->lost + lost)
            sim_fail("reader %u missed %llu datagrams, %llu are counted as lost", i + 1,
                     (unsigned long long)r->skipped, (unsigned long long)(r->lost + lost));
        if (r->at + lost < queued)
            sim_fail("reader %u did not get the last %llu datagrams", i + 1,
                     (unsigned long long)(queued - r->at));
    }
}

void judge_at_rest(const void *segment)
{
    const shm_segment_t *s = segment;
    take_reports(s);
    tally_t t = check_packets(sim.plan.reports);
    check_sums(s, &t);
    check_ring(s);
    if (sim.plan.readers > 0 && !sim.plan.local)
        check_arrivals(s);
    for (unsigned i = 0; i < SHM_COUNTER_TOTAL; i++)
        sim_mix(s->stats->counters[i]);
}

judge_sums_t judge_sums(void)
{
    judge_sums_t sums = {.sent = packet_count, .wire = wire_count, .arrived = queued};
    for (unsigned i = 0; i < READERS_MOST; i++)
        sums.delivered += readers[i].got;
    return sums;
}
