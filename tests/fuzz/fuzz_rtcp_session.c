/* A session that gets any compounds, media and times.
 *
 *     byte 0: bit 0 reduced size, bit 1 NACK to be served, bit 2 NACK to be sent, bit 3 we send
 *     media; byte 1: members in the table; then steps:
 *       0  a datagram: length (2), bytes, put into a block of exactly that length
 *       1  media: SSRC (1), how far the sequence number moves (1)
 *       2  time goes on: milliseconds (2), and what is due is sent
 *       3  we leave, or join again
 *       4  a compound of a sound form: SSRC (1), then a CNAME of one letter (1), a report about us
 *          (8), NACK (4), or BYE by the bits of one byte
 *
 * What it sends is sound, fits and can be read by a session of the same kind; counts stay within
 * the table and add up; nothing is due twice in one instant. */
#include "base/rt_clock.h"
#include "proto/rtp/rtcp_session.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

#define OUR_SSRC 1u
#define START_NS INT64_C(1000000000)
#define REAL_LESS_MONO_NS INT64_C(1700000000000000000)

enum { MEMBERS = 64, MAX_STEPS = 2000 };

typedef struct input {
    const uint8_t *at;
    size_t left;
} input_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static rtcp_session_t session;
static rtcp_session_t peer;
static rtcp_member_t members[MEMBERS];
static rtcp_member_t peer_members[2];
static rtp_source_t source;
static rtcp_session_sent_t sent;
static bool sends;
static uint16_t seq;
static int64_t now_ns;
static rtcp_session_got_t got;

static uint32_t take(input_t *in, unsigned bytes)
{
    uint32_t value = 0;
    for (; bytes > 0; bytes--) {
        value = value << 8 | (in->left > 0 ? *in->at : 0);
        if (in->left > 0) {
            in->at++;
            in->left--;
        }
    }
    return value;
}

static void start(uint8_t flags, uint8_t max_members)
{
    rtcp_session_config_t c = {
        .ssrc = OUR_SSRC,
        .cname = "a@b",
        .bandwidth_bps = 3200,
        .reduced_size = flags & 1,
        .nack_send = flags & 2,
        .nack_receive = flags & 4,
        .members = members,
        .max_members = 1 + max_members % MEMBERS,
        .seed = flags,
    };
    now_ns = START_NS;
    sends = flags & 8;
    seq = 0;
    sent = (rtcp_session_sent_t){0};
    rtp_source_config_t s = {.clock_rate = 8000};
    rtp_source_init(&source, &s);
    rtcp_session_init(&session, &c, now_ns);
    c.ssrc = 2;
    c.members = peer_members;
    c.max_members = 2;
    rtcp_session_init(&peer, &c, now_ns);
}

static void check_state(void)
{
    const rtcp_members_t *t = &session.members;
    uint32_t present = 0;
    uint32_t senders = 0;
    REQUIRE(t->count <= t->max);
    for (uint32_t i = 0; i < t->count; i++) {
        const rtcp_member_t *m = &t->slots[t->order[i]];
        REQUIRE(i == 0 || t->slots[t->order[i - 1]].ssrc < m->ssrc);
        REQUIRE(m->ssrc != OUR_SSRC);
        REQUIRE(memchr(m->cname, 0, sizeof m->cname) != NULL);
        present += m->state == RTCP_MEMBER_PRESENT;
        senders += m->is_sender;
    }
    REQUIRE(present == t->present && senders == t->senders && senders <= present);
    const rtp_nack_counters_t *n = &session.nack.counters;
    REQUIRE(n->missing == n->recovered + n->reordered + n->given_up + session.nack.count);
    REQUIRE(session.counters.nack_dropped <= session.counters.nack_heard);
    REQUIRE(session.reported.rtt_ns >= -1 && session.reported.rtt_ns <= now_ns);
}

static void receive(const uint8_t *data, size_t bytes)
{
    bool sound = rtcp_check(data, bytes, session.config.reduced_size) == RTCP_OK;
    uint64_t before = session.counters.received + session.counters.malformed;
    int rc = rtcp_session_receive(&session, data, bytes, now_ns, &source, &got);
    REQUIRE(sound == (rc == 0) && rc <= 0);
    REQUIRE(session.counters.received + session.counters.malformed == before + 1);
    REQUIRE(got.resend_count <= RTCP_SESSION_MAX_RESEND);
    REQUIRE(got.resend_count == 0 || session.config.nack_send);
}

static void take_datagram(input_t *in)
{
    size_t bytes = take(in, 2);
    if (bytes > in->left)
        bytes = in->left;
    uint8_t *exact = malloc(bytes > 0 ? bytes : 1);
    memcpy(exact, in->at, bytes);
    in->at += bytes;
    in->left -= bytes;
    receive(exact, bytes);
    free(exact);
}

static void take_media(input_t *in)
{
    rtp_view_t view = {.ssrc = take(in, 1)};
    uint64_t extended = 0;
    seq = (uint16_t)(seq + (int8_t)take(in, 1));
    view.seq = seq;
    rtp_verdict_t verdict = rtp_source_packet(&source, &view, now_ns, &extended);
    (void)rtcp_session_media(&session, verdict, view.ssrc, extended, now_ns);
}

static void went_out(const uint8_t *out, int bytes)
{
    REQUIRE(bytes >= 0 && bytes <= (int)RTCP_SESSION_ROOM_BYTES && bytes % 4 == 0);
    if (bytes == 0)
        return;
    REQUIRE(rtcp_session_receive(&peer, out, (size_t)bytes, now_ns, NULL, &got) == 0);
    REQUIRE(peer.counters.other_received == 0 && peer.counters.collisions == 0);
}

static void let_time_pass(input_t *in)
{
    static uint8_t out[RTCP_SESSION_ROOM_BYTES];
    now_ns += take(in, 2) * RT_NS_PER_MS;
    sent.packets += sends;
    for (unsigned i = 0; rtcp_session_due_ns(&session) <= now_ns; i++) {
        REQUIRE(i < 4);
        went_out(out, rtcp_session_emit(&session, &sent, &source, now_ns,
                                        now_ns + REAL_LESS_MONO_NS, out, sizeof out));
    }
}

static void leave_or_join(void)
{
    static uint8_t out[RTCP_SESSION_ROOM_BYTES];
    if (session.has_left)
        rtcp_session_join(&session, now_ns);
    else
        went_out(out, rtcp_session_leave(&session, &sent, &source, now_ns,
                                         now_ns + REAL_LESS_MONO_NS, out, sizeof out));
}

static void take_sound(input_t *in)
{
    static uint8_t data[256];
    rtcp_writer_t w;
    uint32_t ssrc = take(in, 1);
    uint32_t parts = take(in, 1);
    rtcp_writer_init(&w, data, sizeof data);
    if (parts & 1) {
        rtcp_report_t report = {.ssrc = OUR_SSRC};
        report.last_sr = parts & 2 ? session.srs[0].ntp_mid : take(in, 4);
        report.delay_since_sr = take(in, 4);
        (void)rtcp_put_rr(&w, ssrc, &report, 1);
    } else {
        rtcp_sender_t sender = {.ssrc = ssrc, .ntp = (uint64_t)now_ns << 16};
        (void)rtcp_put_sr(&w, &sender, NULL, 0);
    }
    if (parts & 4) {
        char letter = (char)take(in, 1);
        (void)rtcp_put_cname(&w, ssrc, &letter, 1);
    }
    if (parts & 8) {
        rtcp_nack_pair_t pair = {.pid = (uint16_t)take(in, 2), .blp = (uint16_t)take(in, 2)};
        (void)rtcp_put_nack(&w, ssrc, OUR_SSRC, &pair, 1);
    }
    if (parts & 16)
        (void)rtcp_put_bye(&w, ssrc);
    receive(data, w.used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t in = {.at = data, .left = size};
    uint8_t flags = (uint8_t)take(&in, 1);
    start(flags, (uint8_t)take(&in, 1));
    for (unsigned i = 0; i < MAX_STEPS && in.left > 0; i++) {
        switch (take(&in, 1) % 5) {
        case 0:
            take_datagram(&in);
            break;
        case 1:
            take_media(&in);
            break;
        case 2:
            let_time_pass(&in);
            break;
        case 3:
            leave_or_join();
            break;
        default:
            take_sound(&in);
            break;
        }
        check_state();
    }
    return 0;
}
