/* The engine "netflux" in a real worker: writers that die or fall silent, workers that die, hostile
 * clients, configurations that cannot be. */
#include "unit/worker/netflux/netflux_link.h"

/* --- values that nobody renews ------------------------------------------------------------- */

#define AGE_NS (500 * RT_NS_PER_MS)

static bool begin_stale(uint32_t on_stale, int64_t stale_ns)
{
    shm_netflux_config_t link = nft_link();
    link.settings.on_stale = on_stale;
    link.settings.stale_ns = stale_ns;
    return begin_with(&link) && CHECK_EQ(nft_failsafe(&w, &ch, 0xfa11), 0);
}

static void test_old_values_are_kept(void)
{
    REQUIRE(begin_stale(SHM_NETFLUX_CONTINUE, AGE_NS));
    nft_put_value(&ch, 5);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_STALE, &r));
    CHECK(nft_count_to(&ch, NFX_COUNT_sent_stale, 20));
    nft_packet_t p = nft_recv(partner);
    CHECK_EQ(nft_value(&p), 5);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_sent_failsafe), 0);
    CHECK_EQ(nft_gauge(&ch, NFX_GAUGE_fresh), 0);
    end();
}

static void test_old_values_are_replaced(void)
{
    REQUIRE(begin_stale(SHM_NETFLUX_FAILSAFE, AGE_NS));
    int64_t before_ns = rt_mono_ns();
    nft_put_value(&ch, 5);
    int64_t behind_ns = rt_mono_ns();
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_STALE, &r));
    CHECK(r.head.at_mono_ns >= before_ns + AGE_NS && r.head.at_mono_ns <= behind_ns + AGE_NS);
    nft_recv_value(partner, 0xfa11);
    CHECK_EQ(nft_failsafe(&w, &ch, 0xfa12), 0);
    nft_recv_value(partner, 0xfa12);
    nft_put_value(&ch, 6);
    nft_recv_value(partner, 6);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_FRESH, &r));
    nft_recv_value(partner, 0xfa12); /* and again */
    end();
}

static void test_old_values_end_the_sending(void)
{
    REQUIRE(begin_stale(SHM_NETFLUX_STOP, AGE_NS));
    nft_put_value(&ch, 5);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_STALE, &r));
    nft_drain(partner);
    uint64_t sent = nft_count(&ch, NFX_COUNT_sent);
    CHECK(nft_silence(partner, 100));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_sent), sent);
    nft_put_value(&ch, 6);
    nft_packet_t p = nft_recv(partner);
    CHECK_EQ(nft_value(&p), 6);
    CHECK_EQ(p.number, (uint8_t)(sent + 1));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_sent_failsafe), 0);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_FRESH, &r));
    end();
}

/* A second client, with a connection of its own. */
static int attach_writer(wt_channel_t *second)
{
    int fd = wt_connect(&w);
    *second = ch;
    CHECK(fd >= 0);
    CHECK_EQ(wt_attach(&w, fd, second, NULL), 0);
    CHECK(second->producer_slot != ch.producer_slot);
    return fd;
}

static void writer_dies(uint32_t on_stale, int64_t stale_ns)
{
    wt_channel_t writer;
    REQUIRE(begin_stale(on_stale, stale_ns));
    int fd = attach_writer(&writer);
    nft_put_value(&ch, 1);
    nft_put_value(&writer, 2);
    nft_recv_value(partner, 2);
    int64_t before_ns = rt_mono_ns();
    wt_die(&writer, fd);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_STALE, &r));
    CHECK(r.head.at_mono_ns >= before_ns || stale_ns != 0);
    switch (on_stale) {
    case SHM_NETFLUX_CONTINUE:
        CHECK(nft_count_to(&ch, NFX_COUNT_sent_stale, 1));
        break;
    case SHM_NETFLUX_FAILSAFE:
        nft_recv_value(partner, 0xfa11);
        break;
    default:
        nft_drain(partner);
        CHECK(nft_silence(partner, 60));
        break;
    }
    nft_put_value(&ch, 3); /* a successor */
    nft_recv_value(partner, 3);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_FRESH, &r));
    end();
}

static void test_a_writer_that_dies_leaves_what_was_chosen(void)
{
    for (uint32_t on_stale = SHM_NETFLUX_CONTINUE; on_stale <= SHM_NETFLUX_STOP; on_stale++)
        for (int64_t stale_ns = 0; stale_ns <= AGE_NS; stale_ns += AGE_NS)
            writer_dies(on_stale, stale_ns);
}

static void test_the_death_of_others_changes_nothing(void)
{
    wt_channel_t other;
    REQUIRE(begin_stale(SHM_NETFLUX_FAILSAFE, 0));
    int fd = attach_writer(&other);
    nft_put_value(&other, 1);
    nft_recv_value(partner, 1);
    nft_put_value(&ch, 2); /* the last writer is another one now */
    wt_die(&other, fd);
    nft_recv_value(partner, 2);
    uint64_t sent = nft_count(&ch, NFX_COUNT_sent);
    CHECK(nft_count_to(&ch, NFX_COUNT_sent, sent + 50));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_stale), 0);
    end();
}

static void test_fail_safe_values_are_zeros_unless_given(void)
{
    shm_netflux_config_t link = nft_link();
    link.settings.on_stale = SHM_NETFLUX_FAILSAFE;
    link.settings.stale_ns = AGE_NS;
    REQUIRE(begin_with(&link));
    nft_put_value(&ch, 5);
    nft_recv_value(partner, 0);
    end();
}

/* --- another worker ------------------------------------------------------------------------ */

static void attach_again(void)
{
    CHECK_EQ(wt_attach(&w, w.pool, &ch, NULL), 0);
}

static void test_a_successor_goes_on(void)
{
    REQUIRE(begin());
    nft_put_value(&ch, 1);
    answer(77, 0, 42);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK(nft_count_to(&ch, NFX_COUNT_sent, 20));
    uint8_t number = 0;
    for (int life = 0; life < 5; life++) {
        nft_stop_worker(&w);
        answer((uint8_t)(78 + life), 0, 43);
        REQUIRE(nft_replace_worker(&w, &ch));
        uint64_t sent = nft_count(&ch, NFX_COUNT_sent);
        CHECK(nft_count_to(&ch, NFX_COUNT_sent, sent + 10));
        uint64_t skipped = 0;
        for (nft_packet_t p = nft_recv(partner); p.bytes >= 0; p = nft_recv_within(partner, 0)) {
            uint8_t ahead = (uint8_t)(p.number - number);
            CHECK(ahead >= 1 && ahead <= 3); /* one that was built and not sent, at each death */
            skipped += ahead - 1u;
            number = p.number;
            CHECK_EQ(nft_value(&p), 1);
        }
        CHECK(skipped <= 2);
    }
    CHECK_EQ(nft_recv_feedback(partner, 82).feedback, 82);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_accepted), 6);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_partner_lost), 0);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_firsts), 1);
    shm_netflux_rx_t head;
    uint32_t stamp, value;
    CHECK_EQ(shm_netflux_snapshot(ch.segment.engine, &head, &stamp, &value, sizeof value), 1);
    CHECK_EQ(head.published, 6);
    end();
}

static void test_a_successor_keeps_what_was_asked_for(void)
{
    shm_netflux_config_t link = nft_link();
    REQUIRE(begin_with(&link));
    uint16_t port = 0;
    int other = wt_udp(&port);
    shm_netflux_settings_t s = link.settings;
    s.cycle_ns = RT_NS_PER_MS;
    s.on_stale = SHM_NETFLUX_FAILSAFE;
    CHECK_EQ(nft_set(&w, &ch, s), 0);
    CHECK_EQ(nft_failsafe(&w, &ch, 0xfa11), 0);
    CHECK_EQ(nft_aim(&w, &ch, wt_loopback(port)), 0);
    CHECK_EQ(nft_send(&w, &ch, 0), 0);
    nft_put_value(&ch, 1);
    REQUIRE(nft_replace_worker(&w, &ch));
    attach_again();
    CHECK(nft_silence(other, 60));
    CHECK_EQ(nft_send(&w, &ch, 1), 0);
    nft_recv_value(other, 1);
    shm_netflux_state_t state;
    CHECK_EQ(shm_netflux_state_get(ch.segment.engine, &state), 1);
    CHECK_MEM_EQ(&state.settings, &s, sizeof s);
    CHECK(nft_silence(partner, 10));

    /* its writer goes, then the worker: fail-safe before and behind */
    ctl_attached_t slots = {.producer = ch.producer_slot, .reader = ch.reader_slot};
    nft_put_value(&ch, 2);
    nft_recv_value(other, 2);
    memcpy(slots.channel.name, ch.config.name, sizeof slots.channel.name);
    CHECK_EQ(wt_ask(&w, w.pool, CTL_DETACH, &slots, sizeof slots, NULL, 0, NULL, 0, NULL), 0);
    nft_recv_value(other, 0xfa11);
    REQUIRE(nft_replace_worker(&w, &ch));
    nft_drain(other);
    for (int i = 0; i < 20; i++) {
        nft_packet_t p = nft_recv(other);
        CHECK_EQ(nft_value(&p), 0xfa11);
    }
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_stale), 1);
    close(other);
    end();
}

/* A writer that died together with the worker: nobody hangs up at the successor. */
static void test_a_successor_finds_the_writer_dead(void)
{
    REQUIRE(begin_stale(SHM_NETFLUX_FAILSAFE, 0));
    pid_t child = fork();
    if (child == 0) {
        wt_channel_t writer;
        (void)attach_writer(&writer);
        nft_put_value(&writer, 3);
        (void)pause();
        _exit(0);
    }
    nft_recv_value(partner, 3);
    CHECK_EQ(kill(w.pid, SIGSTOP), 0);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    REQUIRE(nft_replace_worker(&w, &ch));
    nft_recv_value(partner, 0xfa11);
    end();
}

static void test_a_successor_tells_that_the_partner_is_silent(void)
{
    shm_netflux_config_t link = nft_link();
    link.settings.watch_ns = 300 * RT_NS_PER_MS;
    REQUIRE(begin_with(&link));
    answer(1, 0, 42);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    int64_t arrival_ns = r.head.at_mono_ns;
    REQUIRE(nft_replace_worker(&w, &ch));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_TIMEOUT, &r));
    CHECK_EQ(r.head.at_mono_ns, arrival_ns + 300 * RT_NS_PER_MS);
    CHECK_EQ(r.head.published, 2);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_timeouts), 1);
    REQUIRE(nft_replace_worker(&w, &ch));
    answer(9, 0, 43);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r)); /* told once */
    end();
}

/* --- workers that stand still -------------------------------------------------------------- */

/* The partner sends all the time. With another link that is overdue as well the worker must not
 * look at a part of that only, and accuse the partner. */
static void test_a_worker_that_stood_still_accuses_nobody(void)
{
    shm_netflux_config_t link = nft_link();
    wt_channel_t beside;
    link.settings.watch_ns = 300 * RT_NS_PER_MS;
    REQUIRE(begin_with(&link));
    link.settings.watch_ns = 0;
    beside = (wt_channel_t){.config = nft_config("beside", partner_port, &link)};
    REQUIRE(wt_open(&w, &beside));
    answer(0, 0, 1);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    int status = 0;
    CHECK_EQ(kill(w.pid, SIGSTOP), 0);
    CHECK_EQ(waitpid(w.pid, &status, WUNTRACED), w.pid);
    for (uint8_t number = 1; number <= 150; number++) {
        answer(number, 0, number);
        wt_nap_ms(4);
    }
    CHECK_EQ(kill(w.pid, SIGCONT), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_rx_received, 151));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_timeouts), 0);
    nft_close(&w, &beside);
    end();
}

/* --- hostile clients ----------------------------------------------------------------------- */

static void test_a_hostile_client_spoils_its_own_link_only(void)
{
    REQUIRE(begin());
    uint16_t port = 0;
    int peer = wt_udp(&port);
    shm_netflux_config_t link = nft_link();
    wt_channel_t good = {.config = nft_config("good", port, &link)};
    REQUIRE(wt_open(&w, &good));
    nft_put_value(&good, 11);
    nft_put_value(&ch, 1);
    CHECK_EQ(nft_recv(partner).number, 1);
    uint64_t random = rt_test_env_u64("RT_TEST_SEED", 1);
    uint8_t *engine = ch.segment.engine;
    rt_a64_t *words = (rt_a64_t *)(void *)engine;
    size_t count = ch.config.engine_bytes / sizeof *words;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 20000; i++) {
            uint64_t n = rt_test_rand(&random);
            size_t at = n % 3 == 0 ? n / 3 % 64 : n / 3 % count;
            rt_store_relaxed(&words[at], rt_test_rand(&random) >> (n >> 58));
            if (i % 1000 == 0) {
                answer((uint8_t)i, (uint8_t)(i >> 8), 0);
                wt_nap_ms(1);
            }
        }
        if (round % 2 == 0)
            continue;
        REQUIRE(nft_replace_worker(&w, &good));
        (void)wt_send_open(&w, &ch, CTL_OPEN_TAKEOVER); /* it may refuse what is left of it */
    }
    uint64_t sent = nft_count(&good, NFX_COUNT_sent);
    CHECK(nft_count_to(&good, NFX_COUNT_sent, sent + 20));
    nft_drain(peer);
    nft_packet_t p = nft_recv(peer);
    CHECK_EQ(nft_value(&p), 11);
    CHECK_EQ(nft_exact(&w, &good, NFX_COUNT_stale), 0);
    nft_close(&w, &good);
    (void)wt_command(&w, &ch, CTL_CLOSE);
    wt_drop(&ch);
    close(peer);
    close(partner);
}

static void test_what_is_queued_all_the_same_fails(void)
{
    shm_netflux_config_t link = nft_link();
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, &link)};
    ch.config.reports = SHM_REPORTS_ALL;
    ch.config.report_slots = 64;
    REQUIRE(wt_open(&w, &ch));
    uint64_t sequence = 0;
    CHECK_EQ(wt_push(&ch, "stray", 5, 0, &sequence), 0);
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_failed, 1));
    shm_report_t report;
    CHECK_EQ(wt_reports(&ch, &report, 1), 1);
    CHECK_EQ(report.error, EOPNOTSUPP);
    CHECK_EQ(report.sequence, sequence);
    nft_put_value(&ch, 1);
    CHECK_EQ(nft_recv(partner).number, 1);
    CHECK_EQ(wt_push(&ch, "stray", 5, 0, &sequence), 0); /* while it sends, too */
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_failed, 2));
    end();
}

/* --- what is refused ----------------------------------------------------------------------- */

static int refused(const shm_config_t *config, const char *word)
{
    wt_channel_t bad = {.config = *config};
    int rc = wt_segment(&bad) ? wt_send_open(&w, &bad, 0) : 0;
    CHECK(rc < 0 && strstr(w.text, word) != NULL);
    if (rc < 0 && strstr(w.text, word) == NULL)
        (void)fprintf(stderr, "%s\n", w.text);
    wt_drop(&bad);
    return rc;
}

static void test_configurations_it_cannot_serve(void)
{
    shm_netflux_config_t link = nft_link();
    shm_config_t good = nft_config("bad", 9, &link);
    shm_config_t c = good;
    c.overflow = SHM_OVERFLOW_WAIT;
    CHECK_EQ(refused(&c, "overflow"), -EINVAL);
    c = good;
    c.late = SHM_LATE_DROP;
    CHECK_EQ(refused(&c, "late"), -EINVAL);
    c = good;
    c.txtime = SHM_TXTIME_REQUIRE;
    CHECK_EQ(refused(&c, "txtime"), -EINVAL);
    c = good;
    c.max_payload_bytes = (uint32_t)sizeof(shm_netflux_rx_t) + NFT_BYTES - 1;
    CHECK_EQ(refused(&c, "max_payload"), -EINVAL);
    c = good;
    c.engine_bytes -= SHM_PAGE_BYTES;
    CHECK_EQ(refused(&c, "shared memory"), -EINVAL);
    c.engine_bytes = 0;
    CHECK_EQ(refused(&c, "shared memory"), -EINVAL);
    link.settings.cycle_ns = 99999;
    c = nft_config("bad", 9, &link);
    CHECK_EQ(refused(&c, "cycle_ns"), -EINVAL);
}

int main(void)
{
    if (!CHECK(wt_start(&w, NULL)))
        return rt_test_result();
    RUN(test_old_values_are_kept);
    RUN(test_old_values_are_replaced);
    RUN(test_old_values_end_the_sending);
    RUN(test_a_writer_that_dies_leaves_what_was_chosen);
    RUN(test_the_death_of_others_changes_nothing);
    RUN(test_fail_safe_values_are_zeros_unless_given);
    RUN(test_a_successor_goes_on);
    RUN(test_a_successor_keeps_what_was_asked_for);
    RUN(test_a_successor_finds_the_writer_dead);
    RUN(test_a_successor_tells_that_the_partner_is_silent);
    RUN(test_a_worker_that_stood_still_accuses_nobody);
    RUN(test_a_hostile_client_spoils_its_own_link_only);
    RUN(test_what_is_queued_all_the_same_fails);
    RUN(test_configurations_it_cannot_serve);
    wt_stop(&w);
    return rt_test_result();
}
