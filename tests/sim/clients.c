/* clients.c: programs that send and receive with libshmring. A client that is killed gets no
 * successor. One that ends may close its end, or just end. */
#include "sim.h"

#include "client/shmring.h"

#include <errno.h>
#include <string.h>

#define KEPT 8u
#define BATCH_MOST 8u
#define READ_MOST 8u
#define LAST_NS (200 * NS_PER_MS) /* a takeover takes less */
#define HOUR_NS (3600 * NS_PER_S)

static const char *const NAMES[2][4] = {{"sender 1", "sender 2", "sender 3", "sender 4"},
                                        {"reader 1", "reader 2", "reader 3", "reader 4"}};

typedef struct client {
    chance_t chance;
    shmring_t *ring;
    struct {
        uint32_t packet;
        uint64_t sequence;
    } kept[KEPT]; /* of packets that may still wait */
    unsigned kept_count;
} client_t;

static void pause_for(int64_t ns)
{
    sim_sleep_until(sim_clock.now_ns + ns);
}

static bool attach(client_t *c, bool shared)
{
    const shmring_options_t options = {.name_space = NAME_SPACE,
                                       .reading = shared ? SHMRING_SHARED : SHMRING_EACH};
    for (unsigned i = 0; i < 200; i++) {
        c->ring = shmring_attach(CHANNEL, &options);
        if (c->ring != NULL)
            return true;
        pause_for(NS_PER_MS);
    }
    sim_fail("%s cannot attach: %s", sim.running->name, shmring_error());
    return false;
}

/* --- senders ---------------------------------------------------------------------------------- */

static int64_t draw_due(client_t *c)
{
    int64_t now = sim_clock.now_ns + sim_channel_offset_ns();
    switch (chance_below(&c->chance, sim.plan.far ? 10 : 8)) {
    case 0:
    case 1:
    case 2:
        return 0;
    case 3:
        return now - chance_between(&c->chance, 0, 10 * NS_PER_MS);
    case 8:
    case 9:
        return now + HOUR_NS + chance_between(&c->chance, 0, NS_PER_S);
    default:
        return now + chance_between(&c->chance, 0, 5 * NS_PER_MS);
    }
}

/* Or nothing to read, or a signal. */
static bool is_no_room(int rc)
{
    return rc == -EAGAIN || rc == -ETIMEDOUT || rc == -EINTR;
}

static void keep(client_t *c, uint32_t packet, uint64_t sequence)
{
    unsigned i = c->kept_count < KEPT ? c->kept_count++ : (unsigned)chance_below(&c->chance, KEPT);
    c->kept[i].packet = packet;
    c->kept[i].sequence = sequence;
}

static shmring_terms_t draw_terms(client_t *c)
{
    return (shmring_terms_t){.due_ns = draw_due(c),
                             .timeout_ns = chance_between(&c->chance, 0, 20 * NS_PER_MS)};
}

static uint32_t draw_bytes(client_t *c)
{
    return PAYLOAD_LEAST +
           (uint32_t)chance_between(&c->chance, 0, sim.plan.payload_most - PAYLOAD_LEAST);
}

static void check_refusal(int rc, const char *what)
{
    if (rc != 0 && !is_no_room(rc))
        sim_fail("%s: %s: %s", sim.running->name, what, shmring_error());
}

static void send_one(client_t *c, unsigned index)
{
    uint8_t payload[2048];
    uint64_t sequence = 0;
    shmring_terms_t terms = draw_terms(c);
    uint32_t bytes = draw_bytes(c);
    uint32_t packet = judge_ask(index, payload, bytes, terms.due_ns);
    int rc = shmring_send(c->ring, payload, bytes, &terms, &sequence);
    judge_told(packet, rc, sequence);
    if (rc == 0)
        keep(c, packet, sequence);
    check_refusal(rc, "send");
}

static void replace_one(client_t *c, unsigned index)
{
    uint8_t payload[2048];
    uint64_t sequence = 0;
    unsigned old = (unsigned)chance_below(&c->chance, c->kept_count);
    shmring_terms_t terms = draw_terms(c);
    uint32_t bytes = draw_bytes(c);
    if (terms.due_ns == 0)
        terms.due_ns = sim_clock.now_ns + sim_channel_offset_ns(); /* 0 would mean the old one's */
    uint32_t packet = judge_ask(index, payload, bytes, terms.due_ns);
    judge_replacing(packet, c->kept[old].packet);
    int rc = shmring_replace(c->ring, c->kept[old].sequence, payload, bytes, &terms, &sequence);
    judge_told(packet, rc, sequence);
    if (rc == 0)
        keep(c, packet, sequence);
    else if (rc != -ENOENT && rc != -EBUSY)
        check_refusal(rc, "replace");
}

/* Claims room, writes, and commits or gives up. */
static void claim_one(client_t *c, unsigned index)
{
    uint8_t payload[2048];
    shmring_claim_t claim;
    shmring_terms_t terms = draw_terms(c);
    uint32_t bytes = draw_bytes(c);
    uint32_t packet = judge_ask(index, payload, bytes, terms.due_ns);
    int rc = shmring_claim(c->ring, bytes, &terms, &claim);
    if (rc != 0) {
        judge_told(packet, rc, 0);
        check_refusal(rc, "claim");
        return;
    }
    memcpy(claim.data, payload, bytes);
    if (chance_permille(&c->chance, 200)) {
        shmring_abort(c->ring, &claim);
        judge_told(packet, -ECANCELED, 0);
        return;
    }
    shmring_commit(c->ring, &claim);
    judge_told(packet, 0, claim.sequence);
    keep(c, packet, claim.sequence);
}

/* Some packets of one length in one call. */
static void send_batch(client_t *c, unsigned index)
{
    uint8_t payload[BATCH_MOST * 512];
    uint32_t packets[BATCH_MOST];
    uint64_t sequences[BATCH_MOST];
    size_t sent = 0, count = 2 + chance_below(&c->chance, BATCH_MOST - 1);
    shmring_terms_t terms = draw_terms(c);
    uint32_t bytes = draw_bytes(c);
    int64_t interval = terms.due_ns != 0 ? chance_between(&c->chance, 0, NS_PER_MS) : 0;
    for (size_t i = 0; i < count; i++)
        packets[i] = judge_ask(index, payload + i * bytes, bytes,
                               terms.due_ns != 0 ? terms.due_ns + (int64_t)i * interval : 0);
    const shmring_batch_t batch = {.data = payload,
                                   .size = bytes,
                                   .count = count,
                                   .interval_ns = interval,
                                   .sequences = sequences};
    int rc = shmring_send_batch(c->ring, &batch, &terms, &sent);
    for (size_t i = 0; i < count; i++)
        judge_told(packets[i], i < sent ? 0 : rc, i < sent ? sequences[i] : 0);
    check_refusal(rc, "send_batch");
}

static void send_some(client_t *c, unsigned index)
{
    uint64_t what = chance_below(&c->chance, 100);
    if (what < 12 && c->kept_count > 0)
        replace_one(c, index);
    else if (what < 25)
        claim_one(c, index);
    else if (what < 32)
        send_batch(c, index);
    else
        send_one(c, index);
}

static void cancel_one(client_t *c)
{
    unsigned i = (unsigned)chance_below(&c->chance, c->kept_count);
    int rc = shmring_cancel(c->ring, c->kept[i].sequence);
    if (rc == 1)
        judge_cancelled(c->kept[i].packet);
    else if (rc != 0 && rc != -EBUSY)
        sim_fail("%s: cancel: %s", sim.running->name, shmring_error());
    c->kept[i] = c->kept[--c->kept_count];
}

static void run_sender(actor_t *a)
{
    client_t c = {.chance = {sim.plan.seed ^ 0x5e4d ^ (uint64_t)a->index << 40}};
    if (!attach(&c, false))
        sim_exit(1);
    for (uint32_t i = 0; i < sim.plan.packets; i++) {
        send_some(&c, a->index);
        if (c.kept_count > 0 && chance_permille(&c.chance, sim.plan.cancels))
            cancel_one(&c);
        if (chance_permille(&c.chance, 400))
            pause_for(chance_between(&c.chance, 0, sim.plan.gap_ns));
    }
    if (chance_permille(&c.chance, 500))
        shmring_close(c.ring);
    judge_sender_left(a->index, false);
}

/* --- readers ---------------------------------------------------------------------------------- */

/* Returns as shmring_recv. */
static int read_some(client_t *c, unsigned index)
{
    uint8_t buffer[READ_MOST * 512];
    shmring_packet_t packets[READ_MOST];
    int64_t called = sim_clock.now_ns;
    int64_t timeout = chance_between(&c->chance, 0, 40 * NS_PER_MS);
    int64_t got;
    if (chance_permille(&c->chance, 700)) {
        got = shmring_recv(c->ring, buffer, sizeof buffer, timeout, packets);
        packets[0].offset = 0;
        got = got == 0 ? 1 : got;
    } else {
        got = shmring_recv_many(c->ring, buffer, sizeof buffer, timeout, packets,
                                1 + chance_below(&c->chance, READ_MOST));
    }
    for (int64_t i = 0; i < got; i++)
        judge_got(index, buffer + packets[i].offset, packets[i].bytes, shmring_lost(c->ring),
                  called);
    if (got <= 0 && !is_no_room((int)got))
        sim_fail("%s: recv: %s", sim.running->name, shmring_error());
    return got > 0 ? 0 : (int)got;
}

static void run_reader(actor_t *a)
{
    client_t c = {.chance = {sim.plan.seed ^ 0x4ead ^ (uint64_t)a->index << 40}};
    unsigned idle = 0;
    if (!attach(&c, sim.plan.shared))
        sim_exit(1);
    judge_reads(a->index);
    while (idle < 2) {
        int rc = read_some(&c, a->index);
        /* It stays as long as somebody sends or something may come. */
        bool over = clients_left(ROLE_SENDER) == 0 && sim_clock.now_ns > sim.net_until_ns + LAST_NS;
        idle = rc == 0 || !over ? 0 : idle + 1;
        if (rc != 0 || chance_permille(&c.chance, 50))
            pause_for(chance_between(&c.chance, 0, 2 * NS_PER_MS));
    }
    judge_reader_left(a->index);
    if (chance_permille(&c.chance, 500))
        shmring_close(c.ring);
}

/* --- both ------------------------------------------------------------------------------------- */

void client_spawn(role_t role, unsigned index)
{
    bool sends = role == ROLE_SENDER;
    (void)sim_spawn(NAMES[sends ? 0 : 1][index], role, index, sends ? run_sender : run_reader);
}

unsigned clients_left(unsigned roles)
{
    unsigned left = 0;
    for (unsigned i = 0; i < ACTORS_MOST; i++) {
        const actor_t *a = &sim.actors[i];
        left += (a->role & roles) != 0 && (a->state == ACTOR_READY || a->state == ACTOR_BLOCKED);
    }
    return left;
}
