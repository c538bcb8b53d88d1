"""What each end says of the link, and how far it may be believed."""

from __future__ import annotations

import pytest
from netflux_session import Session

from shmring import Impairment
from shmring.testing import Exchange
from shmring.testing.plc import PARTNERS, Codesys4Statistics, PythonStatistics

pytestmark = pytest.mark.check

KINDS = ("codesys5", "codesys4", "siemens", "python")
MS = 1_000_000
SECOND = 1000 * MS
PC, PLC = ("192.0.2.1", 2000), ("192.0.2.2", 2000)


def exchange(
    kind, duration_ns, *, to_ours=None, to_plc=None, cycle_ns=2 * MS, plc_cycle_ns=2 * MS, **options
):
    ours = Session(remote=PLC, cycle_ns=cycle_ns, watch_ns=0)
    plc = PARTNERS[kind](remote=PC, cycle_ns=plc_cycle_ns, **options)
    plc.power_on(300_000)
    link = Exchange(ours, plc, to_a=to_ours, to_b=to_plc, address_a=PC, address_b=PLC)
    link.run(duration_ns)
    return ours, plc, link


# --- python: as it works out ----------------------------------------------------------------------


def test_pythons_averages_are_negative(bench):
    end = bench("python", cycle_ns=5 * MS, seed=1)
    end.wait(4 * SECOND)
    statistics = end.end.statistics
    assert statistics.avg_own_interval == pytest.approx(5.5 - 2 * 5.0, abs=0.1)


def test_pythons_average_of_the_partner_is_negative_as_well():
    _, plc, _ = exchange("python", 6 * SECOND, cycle_ns=5 * MS, plc_cycle_ns=5 * MS, seed=2)
    assert plc.statistics.avg_partner_interval == pytest.approx(5.0 - 2 * 5.0, abs=0.1)


def test_pythons_losses_and_round_trips_are_always_0():
    lossy = Impairment(loss=0.1, seed=3)
    _, plc, link = exchange("python", 10 * SECOND, to_plc=lossy)
    assert link.to_b.counts.lost > 100
    assert plc.statistics.total_partner_lost_packets == 0
    assert plc.statistics.last_rtt == 0.0


def test_python_takes_skipped_samples_for_lost_feedback():
    """Nothing is lost; the partner's feedback steps by more than one between two looks."""
    tracker = PythonStatistics(5.0)
    for i in range(60):
        tracker.update(i, i, 3 * i % 256, 5 * MS * i)
    assert tracker.total_feedback_lost_packets == 2 * 59
    tracker.update(60, 60, 250, 300 * MS)
    lost = tracker.total_feedback_lost_packets
    assert lost > 0
    tracker.update(61, 61, 5, 305 * MS)
    assert tracker.total_feedback_lost_packets == 0, "forgotten at the wrap"


def test_python_doubles_an_average_where_it_misses_a_wrap():
    tracker = PythonStatistics(5.0)
    number = at_ms = 0
    averages = []
    for step in [1] * 500 + [10, 10] + [1] * 300:  # 500 is 244: the steps lead from there to 264
        number = (number + step) % 256
        at_ms += 5
        tracker.update(0, number, 0, at_ms * MS)
        if tracker.avg_own_interval not in averages:
            averages.append(tracker.avg_own_interval)
    first, doubled = averages[1:]
    assert first == pytest.approx(5.0 - 10.0, abs=0.1)
    assert doubled == pytest.approx(2 * 5.0 - 10.0, abs=0.5)


# --- codesys4: the statistics block ---------------------------------------------------------------


def test_codesys4_averages_over_a_round(bench):
    end = bench("codesys4", cycle_ns=2 * MS)
    end.wait(3 * SECOND)
    statistics = end.end.statistics
    assert statistics.own_interval == pytest.approx(4.0, abs=0.02)
    assert statistics.partner_interval == pytest.approx(0.0, abs=0.01), "no partner: one look"


def test_codesys4_averages_what_ours_sends():
    """Also of numbers that it refuses. What it counts as lost starts anew with each round."""
    lossy = Impairment(loss=0.1, seed=8)
    _, plc, link = exchange("codesys4", 20 * SECOND, to_plc=lossy, cycle_ns=5 * MS)
    assert link.to_b.counts.lost > 300
    assert plc.statistics.partner_interval == pytest.approx(5.0, rel=0.03)
    assert plc.statistics.partner_lost < 60


def test_codesys4_sees_the_jitter_of_its_task(bench):
    end = bench("codesys4", cycle_ns=2 * MS, scan_jitter_ns=MS // 2, seed=1)
    end.wait(3 * SECOND)
    mean_ms = (end.sent[-1][0] - end.sent[0][0]) / (len(end.sent) - 1) / MS
    assert mean_ms > 4.2, "a timer that a scan just misses waits for the next"
    assert end.end.statistics.own_interval == pytest.approx(mean_ms, rel=0.02)


def test_codesys4_losses_are_differences_and_start_anew_at_the_wrap():
    block = Codesys4Statistics()
    for number in (1, 2, 3, 10, 11):
        block.update(number, 0, number, 1.0)
    assert (block.partner_lost, block.feedback_lost) == (6, 6)
    block.update(5, 0, 5, 1.0)
    assert block.partner_lost == 6, "a step back is none"
    block.update(255, 0, 255, 1.0)
    assert block.partner_lost == (6 + 249) % 256
    block.update(3, 0, 14, 1.0)
    assert (block.partner_lost, block.feedback_lost) == (0, 0)
    block.update(200, 0, 200, 1.0)
    block.update(255, 0, 255, 1.0)
    assert block.partner_lost == 196 + 54
    block = Codesys4Statistics()
    for number in (5, 200, 6, 100):
        block.update(number, 0, number, 1.0)
    assert block.partner_lost == (4 + 194 + 93) % 256, "a byte"


def test_codesys4_round_trip_is_in_scans():
    block = Codesys4Statistics()
    block.update(0, 1, 0, 1.0)
    for _ in range(7):
        block.update(0, 1, 0, 1.0)
    block.update(0, 2, 1, 1.0)
    assert block.rtt == 8.0
    block.update(0, 2, 1, 1.0)
    assert block.rtt == 8.0


def test_codesys4_round_trip_against_ours():
    way = Impairment(delay_ns=20 * MS)
    _, plc, _ = exchange("codesys4", SECOND, to_ours=way, to_plc=way, cycle_ns=MS)
    assert plc.statistics.rtt == pytest.approx(41.5, abs=2)


# --- codesys5: Statistics() -----------------------------------------------------------------------


def test_codesys5_shows_ages_not_periods():
    """Both ends send every 4 ms, with 1 ms between the datagram and the send behind it."""
    _, plc, link = exchange("codesys5", SECOND, cycle_ns=4 * MS)
    seen = set()
    for _ in range(40):
        link.run(MS)
        seen.add((plc.partner_tx_period_ms, plc.own_tx_period_ms))
    assert {partner for partner, _ in seen} == {1, 2, 3}, "never 4; 0 is not taken over"
    assert {own for _, own in seen} == {1, 2, 3}


def test_codesys5_rtt_is_no_round_trip():
    way = Impairment(delay_ns=50 * MS)
    _, plc, link = exchange("codesys5", SECOND, to_ours=way, to_plc=way)
    seen = set()
    for _ in range(40):
        link.run(MS)
        seen.add(plc.instant_rtt_ms == plc.own_tx_period_ms)
        assert plc.instant_rtt_ms < 4
    assert seen == {True}
    assert plc.round_trip_time_ms == 0


def test_codesys5_rtt_is_half_an_age_while_the_partners_number_is_0(bench):
    end = bench("codesys5")
    end.arrive(0)
    end.wait(7 * MS)
    assert end.end.partner_tx_period_ms == 6
    assert end.end.own_tx_period_ms > 0
    assert end.end.instant_rtt_ms == 3


def test_codesys5_keeps_ages_up_to_ten_seconds(bench):
    end = bench("codesys5")
    end.arrive(1)
    end.wait(20 * SECOND)
    assert end.end.partner_tx_period_ms == 9999


@pytest.mark.parametrize(
    ("numbers", "skipped"),
    [
        ([5, 6], 0),
        ([5, 8], 2),
        ([5, 5], 0),
        ([250, 3], 8),
        ([8, 5], 252),
        ([0, 9], 0),
    ],
    ids=["next", "gap", "repeat", "wrap", "back", "behind 0"],
)
def test_codesys5_skips(numbers, skipped, bench):
    end = bench("codesys5")
    for number in numbers:
        end.arrive(number)
        end.look()
    assert end.end.rx_skipped == skipped


def test_codesys5_takes_several_in_a_scan_for_skips(bench):
    end = bench("codesys5")
    end.arrive(1)
    end.look()
    for number in (2, 3, 4):
        end.arrive(number)
    end.look()
    assert end.end.rx_skipped == 2
    assert (end.end.rx_count, end.end.packets_per_cycle) == (4, 3)


def test_codesys5_counts_attempts(bench):
    end = bench("codesys5", remote=None)
    end.wait(100 * MS)
    assert end.end.tx_count == len(end.sent) > 20
    assert set(end.to) == {None}


# --- ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_intervals(kind):
    ours, plc, _ = exchange(kind, 20 * SECOND, cycle_ns=5 * MS)
    own = ours.durations("own_interval")
    assert (own.mean_ns, own.min_ns, own.max_ns) == (5 * MS, 5 * MS, 5 * MS)
    assert own.samples == ours.count("sent") - 1
    partner = ours.durations("partner_interval")
    assert partner.mean_ns == pytest.approx(plc.period_ns, rel=0.01)
    assert partner.median_ns == pytest.approx(plc.period_ns, rel=0.05)
    assert partner.min_ns > 0.9 * plc.period_ns
    assert partner.max_ns < 1.1 * plc.period_ns


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", [0.01, 0.1, 0.3])
def test_partner_losses_over_many_rounds(kind, loss):
    lossy = Impairment(loss=loss, seed=5)
    ours, plc, link = exchange(kind, 60 * SECOND, to_ours=lossy)
    lost = link.to_a.counts.lost
    assert ours.count("partner_lost") == pytest.approx(lost, abs=5), "those at the ends"
    share = lost / plc.sent
    assert ours.count("partner_lost") / plc.sent == pytest.approx(share, rel=0.05)
    partner = ours.durations("partner_interval")
    assert partner.mean_ns == pytest.approx(plc.period_ns, rel=0.05), "whatever is lost"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("delay_ms", [30, 100])
def test_round_trips(kind, delay_ms):
    """Both ways, and the partner's wait for its next scan and its next send: here it is fast."""
    way = Impairment(delay_ns=delay_ms * MS)
    scan = {} if kind == "python" else {"scan_ns": MS // 10}
    ours, _, _ = exchange(
        kind, 10 * SECOND, to_ours=way, to_plc=way, cycle_ns=MS, plc_cycle_ns=MS, **scan
    )
    rtt = ours.durations("rtt")
    assert rtt.samples == ours.count("acknowledged") > 1000
    assert rtt.min_ns >= 2 * delay_ms * MS
    assert rtt.mean_ns == pytest.approx(2 * delay_ms * MS, rel=0.05)
    assert ours.gauge("last_rtt_ns") == pytest.approx(2 * delay_ms * MS, rel=0.08)


@pytest.mark.parametrize("kind", ["codesys5", "siemens", "python"])
def test_round_trips_are_those_of_what_came_through(kind):
    way = Impairment(delay_ns=50 * MS, loss=0.2, seed=6)
    scan = {} if kind == "python" else {"scan_ns": MS // 10}
    ours, _, _ = exchange(
        kind, 20 * SECOND, to_ours=way, to_plc=way, cycle_ns=MS, plc_cycle_ns=MS, **scan
    )
    assert ours.durations("rtt").mean_ns == pytest.approx(100 * MS, rel=0.05)


def test_a_round_trip_of_a_round_cannot_be_told(bench):
    """256 cycles and more read as what is left of them: the numbers were used again."""
    way = Impairment(delay_ns=150 * MS)
    ours, _, _ = exchange(
        "codesys5", 10 * SECOND, to_ours=way, to_plc=way, cycle_ns=MS, plc_cycle_ns=MS
    )
    assert ours.durations("rtt").mean_ns == pytest.approx((300 - 256) * MS, abs=4 * MS)
    assert ours.count("ack_lost") > 0


def test_skipped_feedback_of_a_slower_partner_is_no_loss():
    ours, plc, _ = exchange("codesys5", 20 * SECOND, cycle_ns=MS, plc_cycle_ns=6 * MS)
    assert plc.period_ns == 8 * MS
    assert ours.count("ack_lost") == 0
    assert ours.count("passed_over") == pytest.approx(7 / 8 * ours.count("sent"), rel=0.01)


def test_what_was_never_covered_is_a_lost_acknowledgement():
    """The partner is away for longer than a round of numbers."""
    ours, plc, link = exchange("codesys5", SECOND, cycle_ns=MS)
    assert ours.count("ack_lost") == 0
    plc.power_off()
    link.run(SECOND)
    in_flight = 256
    assert ours.count("ack_lost") == pytest.approx(1000 - in_flight, abs=6)
    plc.power_on(link.now_ns)
    link.run(SECOND)
    assert ours.count("ack_lost") <= 1000, "the rest was covered by what came then"
    assert ours.gauge("heard") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_repeats_are_counted(kind):
    ours, _, link = exchange(kind, 20 * SECOND, to_ours=Impairment(duplicate=0.1, seed=7))
    copies = link.to_a.counts.duplicated
    assert ours.count("rejected_repeated") == pytest.approx(copies, abs=2)
    assert ours.count("accepted") + ours.count("rejected_repeated") == link.to_a.counts.passed
    assert ours.count("partner_lost") == 0
