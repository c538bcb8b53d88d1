/* The engine "netflux" in a real worker: what goes out, what comes in, and what is told of it. */
#include "netflux_test.h"

static wt_worker_t w;
static wt_channel_t ch;
static int partner;
static uint16_t partner_port;
static nft_record_t r;

static bool begin_with(const shm_netflux_config_t *link)
{
    partner = wt_udp(&partner_port);
    ch = (wt_channel_t){.config = nft_config("link", partner_port, link)};
    return CHECK(partner >= 0) && wt_open(&w, &ch);
}

static bool begin(void)
{
    shm_netflux_config_t link = nft_link();
    return begin_with(&link);
}

static void end(void)
{
    nft_close(&w, &ch);
    close(partner);
}

static void answer(uint8_t number, uint8_t feedback, uint32_t value)
{
    shm_addr_t to = nft_bound(&ch);
    nft_send_value(partner, &to, number, feedback, value);
}

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
    CHECK(nft_count(&ch, NFX_COUNT_sent) >= 600);
    CHECK(wt_counter(&ch, SHM_COUNT_tx_sent) >= 600);
    CHECK(wt_counter(&ch, SHM_COUNT_tx_bytes) >= 600 * 6);
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
    nft_packet_t p;
    do
        p = nft_recv(partner);
    while (p.bytes >= 0 && p.feedback != 1);
    CHECK_EQ(p.feedback, 1);
    end();
}

static void test_a_partner_that_hears_us_is_told(void)
{
    REQUIRE(begin());
    nft_put_value(&ch, 1);
    nft_packet_t p = nft_recv(partner);
    answer(1, 0, 0);
    answer(2, p.number, 0);
    REQUIRE(nft_get_kind(&ch, SHM_NETFLUX_HEARD, &r));
    REQUIRE(nft_get_is(&ch, SHM_NETFLUX_VALUES, &r));
    CHECK_EQ(r.head.number, 2);
    CHECK_EQ(r.head.feedback, p.number);
    CHECK_EQ(nft_gauge(&ch, NFX_GAUGE_heard), 1);
    CHECK_EQ(nft_count(&ch, NFX_COUNT_acknowledged), 1);
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
    CHECK_EQ(nft_count(&ch, NFX_COUNT_rejected_foreign), 1);
    CHECK_EQ(wt_counter(&ch, SHM_COUNT_rx_filtered), 1);
    CHECK_EQ(nft_count(&ch, NFX_COUNT_rejected_short), 2);
    CHECK_EQ(nft_count(&ch, NFX_COUNT_rejected_repeated), 1);
    CHECK_EQ(nft_count(&ch, NFX_COUNT_rejected_old), 2);
    CHECK_EQ(nft_count(&ch, NFX_COUNT_oversize), 1);
    CHECK_EQ(wt_counter(&ch, SHM_COUNT_rx_received), 8);
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
    CHECK_EQ(nft_count(&ch, NFX_COUNT_timeouts), 1);

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
    RUN(test_sending_begins_with_the_first_values);
    RUN(test_without_values_to_send_it_begins_at_once);
    RUN(test_the_latest_values_go_out);
    RUN(test_the_longest_payload);
    RUN(test_the_first_datagram_in_is_told_published_and_echoed);
    RUN(test_a_partner_that_hears_us_is_told);
    RUN(test_what_is_no_news_changes_nothing);
    RUN(test_any_source_if_it_is_asked_for);
    RUN(test_a_silent_partner_is_told_at_its_time_and_its_values_are_void);
    RUN(test_a_silent_partners_values_may_be_kept);
    RUN(test_configurations_it_cannot_serve);
    wt_stop(&w);
    return rt_test_result();
}
