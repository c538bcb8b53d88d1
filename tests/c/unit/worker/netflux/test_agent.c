/* The engine "netflux" in a real worker: what goes out, what comes in, what is told of it
 * and asked of it. */
#include "unit/worker/netflux/netflux_link.h"

/* --- what goes out ------------------------------------------------------------------------- */

static void test_sending_begins_with_the_first_values(void)
{
    REQUIRE(begin());
    CHECK(nft_silence(partner, 100));
    nft_put_value(&ch, 7);
    for (unsigned i = 1; i <= 600; i++) { /* over the wrap, twice */
        nft_packet_t p = nft_recv(partner);
        CHECK_EQ(p.number, (uint8_t)i);
        CHECK_EQ(p.feedback, 0);
        CHECK_EQ(nft_value(&p), 7);
    }
    CHECK(nft_count_to(&ch, NFX_COUNT_sent, 600)); /* counted behind the send */
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_sent, 600));
    CHECK(wt_count_to(&ch, SHM_COUNT_tx_bytes, 600 * 6));
    CHECK(rt_load_relaxed(&ch.segment.stats->hists[SHM_HIST_lateness].count) >= 600);
    end();
}

static void test_without_values_to_send_it_begins_at_once(void)
{
    shm_netflux_config_t link = nft_link();
    link.tx_payload_bytes = 0;
    REQUIRE(begin_with(&link));
    nft_packet_t p = nft_recv(partner);
    CHECK_EQ(p.bytes, 0);
    CHECK_EQ(p.number, 1);
    end();
}

/* Whatever was put in between, what goes out never goes back, and ends with the last. */
static void test_the_latest_values_go_out(void)
{
    REQUIRE(begin());
    for (uint32_t i = 1; i <= 20000; i++)
        nft_put_value(&ch, i);
    uint32_t last = 0;
    uint8_t number = 0;
    while (last < 20000) {
        nft_packet_t p = nft_recv(partner);
        REQUIRE(p.bytes == NFT_BYTES);
        CHECK_EQ(p.number, (uint8_t)(number + 1));
        CHECK(nft_value(&p) >= last);
        number = p.number;
        last = nft_value(&p);
    }
    CHECK_EQ(last, 20000);
    end();
}

static int64_t origin_of(const wt_channel_t *link)
{
    shm_netflux_state_t state = {.origin_mono_ns = RT_NEVER_NS};
    for (int i = 0; i < 1000 && state.origin_mono_ns == RT_NEVER_NS; i++) {
        (void)shm_netflux_state_get(link->segment.engine, &state);
        wt_nap_ms(1);
    }
    return state.origin_mono_ns;
}

static void test_links_that_begin_together_are_not_due_together(void)
{
    enum { LINKS = 8 };
    static wt_channel_t links[LINKS];
    shm_netflux_config_t link = nft_link();
    partner = wt_udp(&partner_port);
    for (unsigned i = 0; i < LINKS; i++) {
        char name[] = "link0";
        name[4] = (char)('0' + i);
        links[i] = (wt_channel_t){.config = nft_config(name, partner_port, &link)};
        links[i].config.held = 1;
        REQUIRE(wt_open(&w, &links[i]));
        nft_put_value(&links[i], i);
    }
    for (unsigned i = 0; i < LINKS; i++)
        CHECK_EQ(wt_command(&w, &links[i], CTL_RELEASE), 0);
    for (unsigned i = 0; i < LINKS; i++)
        for (unsigned k = 0; k < i; k++)
            CHECK((origin_of(&links[i]) - origin_of(&links[k])) % link.settings.cycle_ns != 0);
    for (unsigned i = 0; i < LINKS; i++)
        nft_close(&w, &links[i]);
    close(partner);
}

static void test_the_longest_payload(void)
{
    shm_netflux_config_t link = nft_link();
    link.tx_payload_bytes = link.rx_payload_bytes = SHM_NETFLUX_MAX_PAYLOAD;
    REQUIRE(begin_with(&link));
    uint8_t values[NFX_MAX_DATAGRAM_BYTES];
    for (size_t i = 0; i < sizeof values; i++)
        values[i] = (uint8_t)(i * 7);
    nft_put(&ch, values, SHM_NETFLUX_MAX_PAYLOAD);
    nft_packet_t p = nft_recv(partner);
    CHECK_EQ(p.bytes, SHM_NETFLUX_MAX_PAYLOAD);
    CHECK_MEM_EQ(p.payload, values, SHM_NETFLUX_MAX_PAYLOAD);
    shm_addr_t to = nft_bound(&ch);
    nft_send_bytes(partner, &to, values, sizeof values);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.bytes, SHM_NETFLUX_MAX_PAYLOAD);
    CHECK_MEM_EQ(r.values, values + NFX_HEADER_BYTES, SHM_NETFLUX_MAX_PAYLOAD);
    end();
}

/* --- what comes in ------------------------------------------------------------------------- */

static void test_the_first_datagram_in_is_told_published_and_echoed(void)
{
    REQUIRE(begin());
    nft_put_value(&ch, 1);
    answer(0, 0, 42); /* number 0 first: some partners do that */
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    CHECK_EQ(r.bytes, 0);
    CHECK_EQ(r.head.published, 0);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.head.flags, SHM_NETFLUX_FIRST);
    CHECK_EQ(r.head.number, 0);
    CHECK_EQ(r.head.published, 1);
    CHECK_EQ(r.head.payload_bytes, NFT_BYTES);
    CHECK_EQ(r.record.source.port, partner_port);
    CHECK(r.head.at_mono_ns <= rt_mono_ns());
    CHECK_MEM_EQ(r.values, &(uint32_t){42}, NFT_BYTES);

    answer(1, 0, 43);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.head.flags, 0);
    CHECK_EQ(r.head.published, 2);
    shm_netflux_rx_t head;
    uint32_t stamp = 0;
    uint32_t value = 0;
    CHECK_EQ(shm_netflux_snapshot(ch.segment.engine, &head, &stamp, &value, sizeof value), 1);
    CHECK_EQ(value, 43);
    CHECK_EQ(head.published, 2);
    CHECK_EQ(head.at_mono_ns, r.head.at_mono_ns);
    CHECK_EQ(stamp, r.record.stamp);
    CHECK_EQ(nft_recv_feedback(partner, 1).feedback, 1);
    end();
}

static void test_a_partner_that_hears_us_is_told(void)
{
    shm_netflux_config_t link = nft_link();
    link.settings.cycle_ns = 50 * RT_NS_PER_MS; /* what we answer to is not old before */
    REQUIRE(begin_with(&link));
    nft_put_value(&ch, 1);
    nft_packet_t p = nft_recv(partner);
    answer(1, 0, 0);
    answer(2, p.number, 0);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_HEARD, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.head.number, 2);
    CHECK_EQ(r.head.feedback, p.number);
    CHECK_EQ(nft_gauge(&ch, NFX_GAUGE_heard), 1);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_acknowledged), 1);
    CHECK(nft_gauge(&ch, NFX_GAUGE_last_rtt_ns) > 0);
    end();
}

static void test_what_is_no_news_changes_nothing(void)
{
    REQUIRE(begin());
    shm_addr_t to = nft_bound(&ch);
    uint16_t port = 0;
    int stranger = wt_udp(&port);
    answer(200, 0, 1);
    nft_send_value(stranger, &to, 201, 0, 2);
    nft_send_bytes(partner, &to, "", 0);
    nft_send_bytes(partner, &to, "\311abcd", 5);
    answer(200, 0, 3);
    answer(199, 0, 4);
    answer(72, 0, 5); /* 128 ahead */
    nft_send_bytes(partner, &to, "\311\0fourmore", 10);
    CHECK(nft_count_to(&ch, NFX_COUNT_accepted, 2));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_rejected_foreign), 1);
    CHECK_EQ(wt_exact(&w, &ch, SHM_COUNT_rx_filtered), 1);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_rejected_short), 2);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_rejected_repeated), 1);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_rejected_old), 2);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_oversize), 1);
    CHECK_EQ(wt_exact(&w, &ch, SHM_COUNT_rx_received), 8);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.head.number, 200);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.head.number, 201);
    CHECK_EQ(r.head.flags, SHM_NETFLUX_OVERSIZE);
    CHECK_EQ(r.head.published, 2);
    CHECK_MEM_EQ(r.values, "four", NFT_BYTES);
    close(stranger);
    end();
}

static void test_any_source_if_it_is_asked_for(void)
{
    shm_netflux_config_t link = nft_link();
    link.any_source = 1;
    REQUIRE(begin_with(&link));
    shm_addr_t to = nft_bound(&ch);
    uint16_t port = 0;
    int stranger = wt_udp(&port);
    nft_send_value(stranger, &to, 1, 0, 2);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.record.source.port, port);
    close(stranger);
    end();
}

/* --- watchdog ------------------------------------------------------------------------------ */

static void silent_partner(uint32_t flags)
{
    shm_netflux_config_t link = nft_link();
    link.settings.watch_ns = 150 * RT_NS_PER_MS;
    link.settings.flags = flags;
    REQUIRE(begin_with(&link));
    answer(5, 0, 77);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    int64_t arrival_ns = r.head.at_mono_ns;
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_TIMEOUT, &r));
    CHECK_EQ(r.head.at_mono_ns, arrival_ns + 150 * RT_NS_PER_MS);
    CHECK_EQ(r.head.published, 2);
    bool keep = flags & SHM_NETFLUX_KEEP_VALUES;
    CHECK_EQ(r.head.flags, keep ? 0 : SHM_NETFLUX_VOID);
    CHECK_MEM_EQ(r.values, &(uint32_t){keep ? 77 : 0}, NFT_BYTES);
    shm_netflux_rx_t head;
    uint32_t stamp, value = 1;
    CHECK_EQ(shm_netflux_snapshot(ch.segment.engine, &head, &stamp, &value, sizeof value), 1);
    CHECK_EQ(value, keep ? 77 : 0);
    CHECK_EQ(head.kind, SHM_NETFLUX_TIMEOUT);
    CHECK_EQ(nft_gauge(&ch, NFX_GAUGE_alive), 0);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_timeouts), 1);

    answer(100, 0, 78); /* started anew */
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.head.flags, flags & SHM_NETFLUX_KEEP_WINDOW ? 0 : SHM_NETFLUX_FIRST);
    end();
}

static void test_a_silent_partner_is_told_at_its_time_and_its_values_are_void(void)
{
    silent_partner(0);
}

static void test_a_silent_partners_values_may_be_kept(void)
{
    silent_partner(SHM_NETFLUX_KEEP_VALUES);
    silent_partner(SHM_NETFLUX_KEEP_VALUES | SHM_NETFLUX_KEEP_WINDOW);
}

/* --- requests ------------------------------------------------------------------------------ */

static void test_settings_change_while_it_runs(void)
{
    shm_netflux_config_t link = nft_link();
    link.settings.cycle_ns = 3600 * RT_NS_PER_S;
    REQUIRE(begin_with(&link));
    nft_put_value(&ch, 1);
    CHECK_EQ(nft_recv(partner).number, 1);
    shm_netflux_settings_t s = link.settings;
    s.cycle_ns = RT_NS_PER_MS;
    CHECK_EQ(nft_set(&w, &ch, s), 0);
    for (uint8_t i = 2; i < 50; i++)
        CHECK_EQ(nft_recv(partner).number, i);

    /* a watchdog, and then none */
    answer(1, 0, 5);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_VALUES, &r));
    s.watch_ns = 50 * RT_NS_PER_MS;
    CHECK_EQ(nft_set(&w, &ch, s), 0);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_TIMEOUT, &r));
    s.watch_ns = 0;
    CHECK_EQ(nft_set(&w, &ch, s), 0);
    answer(2, 0, 6);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    wt_nap_ms(150);
    CHECK_EQ(nft_gauge(&ch, NFX_GAUGE_alive), 1);
    shm_netflux_state_t state;
    CHECK_EQ(shm_netflux_state_get(ch.segment.engine, &state), 1);
    CHECK_MEM_EQ(&state.settings, &s, sizeof s);
    end();
}

static void test_sending_stops_and_starts_on_request(void)
{
    REQUIRE(begin());
    nft_put_value(&ch, 1);
    CHECK_EQ(nft_recv(partner).number, 1);
    CHECK_EQ(nft_send(&w, &ch, 0), 0);
    uint64_t sent = nft_count(&ch, NFX_COUNT_sent);
    nft_drain(partner);
    CHECK(nft_silence(partner, 100));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_sent), sent);
    nft_put_value(&ch, 2);
    CHECK(nft_silence(partner, 50));
    CHECK_EQ(nft_send(&w, &ch, 1), 0);
    nft_packet_t p = nft_recv(partner);
    CHECK_EQ(p.number, (uint8_t)(sent + 1));
    CHECK_EQ(nft_value(&p), 2);
    end();
}

static void test_it_aims_at_another_partner(void)
{
    REQUIRE(begin());
    nft_put_value(&ch, 1);
    answer(200, 0, 5);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(nft_recv(partner).number, 1);
    uint16_t port = 0;
    int other = wt_udp(&port);
    CHECK_EQ(nft_aim(&w, &ch, wt_loopback(port)), 0);
    CHECK(nft_recv(other).number > 1);
    nft_drain(partner);
    CHECK(nft_silence(partner, 30));
    answer(201, 0, 6); /* no partner of ours any more */
    shm_addr_t to = nft_bound(&ch);
    nft_send_value(other, &to, 7, 0, 7); /* its numbers are its own */
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.head.number, 7);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_rejected_foreign), 1);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_timeouts), 0);
    close(other);
    end();
}

static void test_numbers_go_on_where_an_earlier_link_was(void)
{
    shm_netflux_config_t link = nft_link();
    link.own_number = 254;
    link.partner_number = 9;
    link.partner_known = 1;
    link.settings.flags = SHM_NETFLUX_KEEP_WINDOW;
    REQUIRE(begin_with(&link));
    answer(9, 0, 1);
    answer(8, 0, 1);
    answer(10, 0, 1);
    CHECK(nft_count_to(&ch, NFX_COUNT_accepted, 1));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_rejected_repeated), 1);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_rejected_old), 1);
    nft_put_value(&ch, 1);
    CHECK_EQ(nft_recv(partner).number, 255);
    CHECK_EQ(nft_recv(partner).number, 0);
    REQUIRE(nft_replace_worker(&w, &ch)); /* which goes on where the link is now */
    CHECK(nft_recv(partner).number < 200);
    end();
}

static int give_feedback(uint32_t feedback)
{
    shm_netflux_request_t request = {.op = SHM_NETFLUX_FEEDBACK, .on = feedback};
    return nft_ask(&w, &ch, &request, NULL, 0);
}

static void test_feedback_may_be_given_by_hand(void)
{
    REQUIRE(begin());
    nft_put_value(&ch, 1);
    answer(9, 0, 1);
    nft_recv_feedback(partner, 9);
    CHECK_EQ(give_feedback(SHM_NETFLUX_GIVEN | 200), 0);
    nft_recv_feedback(partner, 200);
    REQUIRE(nft_replace_worker(&w, &ch));
    nft_drain(partner);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(nft_recv(partner).feedback, 200);
    CHECK_EQ(give_feedback(0), 0);
    nft_recv_feedback(partner, 9);
    end();
}

static void test_without_a_remote_it_waits_for_one(void)
{
    shm_netflux_config_t link = nft_link();
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", 0, &link)};
    REQUIRE(wt_open(&w, &ch));
    nft_put_value(&ch, 9);
    answer(1, 0, 1);
    CHECK(nft_count_to(&ch, NFX_COUNT_rejected_foreign, 1));
    CHECK_EQ(nft_aim(&w, &ch, wt_loopback(partner_port)), 0);
    nft_packet_t p = nft_recv(partner);
    CHECK_EQ(p.number, 1);
    CHECK_EQ(nft_value(&p), 9);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_send_failed), 0);
    end();
}

static void check_refused(int rc, int expected, const char *word)
{
    CHECK_EQ(rc, expected);
    if (!CHECK(strstr(w.text, word) != NULL))
        (void)fprintf(stderr, "%s\n", w.text);
}

static void test_requests_that_make_no_sense(void)
{
    shm_netflux_config_t link = nft_link();
    REQUIRE(begin_with(&link));
    shm_netflux_settings_t s = link.settings;
    s.cycle_ns = 99999;
    check_refused(nft_set(&w, &ch, s), -EINVAL, "cycle_ns is 99999");
    s = link.settings;
    s.watch_ns = -1;
    check_refused(nft_set(&w, &ch, s), -EINVAL, "-1");
    s = link.settings;
    s.on_stale = 3;
    check_refused(nft_set(&w, &ch, s), -EINVAL, "on_stale is 3");
    check_refused(nft_send(&w, &ch, 2), -EINVAL, "on is 2");
    check_refused(nft_aim(&w, &ch, wt_loopback(0)), -EINVAL, "port 0");
    check_refused(nft_aim(&w, &ch, (shm_addr_t){.family = 7, .port = 9}), -EINVAL, "family 7");
    shm_addr_t v6 = {.family = 6, .port = 9, .ip = {[15] = 1}};
    check_refused(nft_aim(&w, &ch, v6), -EINVAL, "IPv6");
    shm_netflux_request_t failsafe = {.op = SHM_NETFLUX_SET_FAILSAFE};
    check_refused(nft_ask(&w, &ch, &failsafe, "abc", 3), -EINVAL, "have 3 bytes, this link sends 4");
    check_refused(nft_ask(&w, &ch, &failsafe, NULL, 0), -EINVAL, "have 0 bytes");
    check_refused(give_feedback(7), -EINVAL, "feedback is 0x7");
    check_refused(give_feedback(0x300), -EINVAL, "feedback is 0x300");
    shm_netflux_request_t unknown = {.op = 77};
    check_refused(nft_ask(&w, &ch, &unknown, NULL, 0), -EINVAL, "request 77 is unknown");
    shm_netflux_request_t send = {.op = SHM_NETFLUX_SEND, .on = 1};
    check_refused(nft_ask(&w, &ch, &send, "x", 1), -EINVAL, "1 bytes follow");
    ctl_channel_t body = {.name = "link"};
    check_refused(wt_ask(&w, w.pool, CTL_ENGINE, &body, sizeof body, NULL, 0, NULL, 0, NULL),
                  -EPROTO, "has 0 bytes");
    struct {
        ctl_channel_t channel;
        shm_netflux_request_t request;
    } whole = {.channel = body, .request = send};
    check_refused(wt_ask(&w, w.pool, CTL_ENGINE, &whole, sizeof whole, &partner, 1, NULL, 0, NULL),
                  -EPROTO, "descriptor");
    nft_put_value(&ch, 1); /* and the link is as it was */
    CHECK_EQ(nft_recv(partner).number, 1);
    end();
}

/* --- what all engines do ------------------------------------------------------------------- */

static void test_each_send_is_reported(void)
{
    shm_netflux_config_t link = nft_link();
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, &link)};
    ch.config.reports = SHM_REPORTS_ALL;
    ch.config.report_slots = 4096;
    ch.config.stamp_every = 1;
    REQUIRE(wt_open(&w, &ch));
    nft_put_value(&ch, 1);
    CHECK(nft_count_to(&ch, NFX_COUNT_sent, 50));
    shm_report_t reports[50];
    unsigned got = 0;
    for (int i = 0; i < 1000 && got < 50; i++) {
        got += slot_reader_next(&ch.reports, reports + got, 50 - got);
        wt_nap_ms(1);
    }
    REQUIRE(got == 50);
    for (unsigned i = 0; i < 50; i++) {
        const shm_report_t *p = &reports[i];
        CHECK_EQ(p->sequence, i);
        CHECK(p->scheduled_ns > 0 && p->sent_ns >= p->scheduled_ns);
        CHECK(p->enqueued_ns <= p->scheduled_ns && p->handed_ns >= p->sent_ns);
        if (i > 0)
            CHECK_EQ((p->scheduled_ns - reports[0].scheduled_ns) % link.settings.cycle_ns, 0);
    }
    end();
}

static void test_it_learns_the_way_to_the_wire(void)
{
    shm_netflux_config_t link = nft_link();
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, &link)};
    ch.config.align = SHM_ALIGN_WIRE;
    REQUIRE(wt_open(&w, &ch));
    nft_put_value(&ch, 1);
    for (unsigned i = 1; i <= 200; i++)
        CHECK_EQ(nft_recv(partner).number, (uint8_t)i);
    CHECK(rt_load_relaxed(&ch.segment.stats->wire_offset_ns) > 0);
    CHECK(wt_counter(&ch, SHM_COUNT_tx_stamped) > 0);
    end();
}

static void test_held_it_neither_sends_nor_receives(void)
{
    shm_netflux_config_t link = nft_link();
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, &link)};
    ch.config.held = 1;
    REQUIRE(wt_open(&w, &ch));
    nft_put_value(&ch, 1);
    answer(1, 0, 5);
    CHECK(nft_silence(partner, 60));
    CHECK_EQ(wt_exact(&w, &ch, SHM_COUNT_rx_received), 0);
    CHECK_EQ(wt_command(&w, &ch, CTL_RELEASE), 0);
    CHECK_EQ(nft_recv(partner).number, 1);
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_ALIVE, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(wt_command(&w, &ch, CTL_HOLD), 0);
    uint8_t number = (uint8_t)nft_count(&ch, NFX_COUNT_sent);
    nft_drain(partner);
    CHECK(nft_silence(partner, 60));
    CHECK_EQ(nft_gauge(&ch, NFX_GAUGE_alive), 0);
    CHECK_EQ(wt_command(&w, &ch, CTL_RELEASE), 0);
    CHECK_EQ(nft_recv(partner).number, (uint8_t)(number + 1));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_timeouts), 0);
    end();
}

static void test_reset_and_purge(void)
{
    REQUIRE(begin());
    nft_put_value(&ch, 1);
    answer(1, 0, 5);
    CHECK(nft_count_to(&ch, NFX_COUNT_accepted, 1));
    CHECK(nft_count_to(&ch, NFX_COUNT_sent, 30));
    CHECK_EQ(wt_command(&w, &ch, CTL_RESET), 0);
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_accepted), 0);
    CHECK(nft_count_to(&ch, NFX_COUNT_sent, 1));
    CHECK_EQ(nft_gauge(&ch, NFX_GAUGE_partner_number), 1);
    CHECK_EQ(wt_command(&w, &ch, CTL_PURGE), 0);
    CHECK_EQ(nft_recv(partner).number, 1);
    end();
}

static void test_nothing_is_sent_at_close(void)
{
    REQUIRE(begin());
    nft_put_value(&ch, 1);
    nft_recv_value(partner, 1);
    CHECK_EQ(wt_command(&w, &ch, CTL_CLOSE), 0);
    uint64_t sent = nft_count(&ch, NFX_COUNT_sent);
    for (uint64_t i = 1; i < sent; i++)
        (void)nft_recv(partner);
    CHECK(nft_silence(partner, 50));
    wt_drop(&ch);
    close(partner);
}

static void test_an_emulated_link_both_ways(void)
{
    shm_netflux_config_t link = nft_link();
    link.settings.watch_ns = 10 * RT_NS_PER_S;
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, &link)};
    ch.config.impair_tx = (shm_impair_t){.loss = 0.2, .delay_ns = 5 * RT_NS_PER_MS, .seed = 3};
    ch.config.impair_rx = (shm_impair_t){.loss = 0.2, .delay_ns = 40 * RT_NS_PER_MS, .seed = 4};
    REQUIRE(wt_open(&w, &ch));
    nft_put_value(&ch, 1);
    int64_t before_ns = rt_mono_ns();
    for (uint8_t i = 1; i <= 100; i++) /* the last of them arrives, by this seed */
        answer(i, 0, i);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK(r.head.at_mono_ns >= before_ns + 40 * RT_NS_PER_MS);
    CHECK(wt_count_to(&ch, SHM_COUNT_impair_rx_offered, 100));
    uint64_t lost = wt_counter(&ch, SHM_COUNT_impair_rx_lost);
    CHECK(lost > 5 && lost < 40);
    CHECK(nft_count_to(&ch, NFX_COUNT_accepted, 100 - lost));
    CHECK(wt_count_to(&ch, SHM_COUNT_impair_tx_offered, 100));
    uint64_t got = 0;
    for (nft_packet_t p = nft_recv(partner); p.bytes >= 0 && got < 60; p = nft_recv(partner))
        got++;
    CHECK(wt_exact(&w, &ch, SHM_COUNT_impair_tx_lost) > 5);
    end();
}

static void test_ipv6(void)
{
    partner = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t bytes = sizeof at;
    if (bind(partner, (struct sockaddr *)&at, sizeof at) != 0) {
        (void)printf("no IPv6 here: left out\n");
        close(partner);
        return;
    }
    CHECK_EQ(getsockname(partner, (struct sockaddr *)&at, &bytes), 0);
    shm_netflux_config_t link = nft_link();
    ch = (wt_channel_t){.config = nft_config("link", 0, &link)};
    ch.config.local = (shm_addr_t){.family = 6, .ip = {[15] = 1}};
    ch.config.remote = (shm_addr_t){.family = 6, .port = ntohs(at.sin6_port), .ip = {[15] = 1}};
    REQUIRE(wt_open(&w, &ch));
    nft_put_value(&ch, 1);
    CHECK_EQ(nft_recv(partner).number, 1);
    at.sin6_port = htons(nft_bound(&ch).port);
    CHECK_EQ(sendto(partner, "\5\1four", 6, 0, (struct sockaddr *)&at, sizeof at), 6);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.record.source.family, 6);
    CHECK_MEM_EQ(r.values, "four", 4);
    end();
}

static void test_one_way_links(void)
{
    shm_netflux_config_t link = nft_link();
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, &link)};
    ch.config.direction = SHM_TX;
    REQUIRE(wt_open(&w, &ch));
    answer(1, 0, 5);
    nft_put_value(&ch, 1);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(nft_recv(partner).feedback, 0);
    CHECK_EQ(wt_exact(&w, &ch, SHM_COUNT_rx_calls), 0); /* the socket's other owner reads it */
    end();

    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, &link)};
    ch.config.direction = SHM_RX;
    REQUIRE(wt_open(&w, &ch));
    nft_put_value(&ch, 1);
    answer(1, 0, 5);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK(nft_silence(partner, 60));
    end();
}

static void test_a_closed_partner_port_does_no_harm(void)
{
    shm_netflux_config_t link = nft_link();
    uint16_t port = 0;
    partner = wt_udp(&port);
    close(partner);
    ch = (wt_channel_t){.config = nft_config("link", port, &link)};
    ch.config.connect = 1;
    REQUIRE(wt_open(&w, &ch));
    nft_put_value(&ch, 1);
    CHECK(nft_count_to(&ch, NFX_COUNT_sent, 50));
    CHECK_EQ(nft_exact(&w, &ch, NFX_COUNT_send_failed), 0);
    nft_close(&w, &ch);
}

int main(void)
{
    if (!CHECK(wt_start(&w, NULL)))
        return rt_test_result();
    RUN(test_sending_begins_with_the_first_values);
    RUN(test_without_values_to_send_it_begins_at_once);
    RUN(test_the_latest_values_go_out);
    RUN(test_links_that_begin_together_are_not_due_together);
    RUN(test_the_longest_payload);
    RUN(test_the_first_datagram_in_is_told_published_and_echoed);
    RUN(test_a_partner_that_hears_us_is_told);
    RUN(test_what_is_no_news_changes_nothing);
    RUN(test_any_source_if_it_is_asked_for);
    RUN(test_a_silent_partner_is_told_at_its_time_and_its_values_are_void);
    RUN(test_a_silent_partners_values_may_be_kept);
    RUN(test_settings_change_while_it_runs);
    RUN(test_sending_stops_and_starts_on_request);
    RUN(test_it_aims_at_another_partner);
    RUN(test_numbers_go_on_where_an_earlier_link_was);
    RUN(test_feedback_may_be_given_by_hand);
    RUN(test_without_a_remote_it_waits_for_one);
    RUN(test_requests_that_make_no_sense);
    RUN(test_each_send_is_reported);
    RUN(test_it_learns_the_way_to_the_wire);
    RUN(test_held_it_neither_sends_nor_receives);
    RUN(test_reset_and_purge);
    RUN(test_nothing_is_sent_at_close);
    RUN(test_an_emulated_link_both_ways);
    RUN(test_ipv6);
    RUN(test_one_way_links);
    RUN(test_a_closed_partner_port_does_no_harm);
    wt_stop(&w);
    return rt_test_result();
}
