"""Watchdogs: what feeds each, when it runs out, and what happens then."""

from __future__ import annotations

import pytest
from netflux_session import Session

from shmring import Impairment
from shmring.testing import Exchange
from shmring.testing.plc import PARTNERS, Siemens

MS = 1_000_000
SECOND = 1000 * MS
PC, PLC = ("192.0.2.1", 2000), ("192.0.2.2", 2000)
ZEROS = bytes(20)


def feed(end, duration_ns, every_ns, datagram):
    """Datagrams of `datagram(i)`, (number, feedback), for a while."""
    for i in range(duration_ns // every_ns):
        end.arrive(*datagram(i))
        end.wait(every_ns)


# --- codesys5 -------------------------------------------------------------------------------------


def test_codesys5_seems_connected_for_a_second_behind_opening(bench):
    end = bench("codesys5")
    opened_ns = end.now_ns
    end.wait(999 * MS)
    assert end.end.connected
    end.wait(2 * MS)
    assert not end.end.connected
    assert end.now_ns - opened_ns == 1001 * MS
    assert not end.end.error


@pytest.mark.parametrize(
    "datagram",
    [bytes(22), bytes([5, 5]), bytes([5, 5]) + bytes(30), bytes([0, 0])],
    ids=["whole", "header", "long", "repeat"],
)
def test_codesys5_is_fed_by_whatever_has_two_bytes(datagram, bench):
    end = bench("codesys5")
    end.wait(2 * SECOND)
    assert not end.end.connected
    end.arrive_raw(datagram)
    end.look()
    assert end.end.connected
    end.wait(999 * MS)
    assert end.end.connected
    end.wait(2 * MS)
    assert not end.end.connected


def test_codesys5_is_not_fed_by_a_single_byte(bench):
    end = bench("codesys5")
    end.wait(2 * SECOND)
    end.arrive_raw(b"x")
    end.wait(MS)
    assert not end.end.connected


def test_codesys5_never_clears_its_values(bench):
    end = bench("codesys5")
    assert end.takes(1, 1, b"a" * 20)
    end.wait(10 * SECOND)
    assert not end.end.connected
    assert end.end.received == b"a" * 20
    assert not end.end.error


# --- codesys4 -------------------------------------------------------------------------------------


def test_codesys4_does_not_watch_before_the_first(bench):
    end = bench("codesys4")
    end.wait(5 * SECOND)
    assert (end.end.error, end.end.timeouts) == (False, 0)


@pytest.mark.parametrize("keep", [False, True])
def test_codesys4_watches_the_feedback(keep, bench):
    end = bench("codesys4", keep_values=keep)
    feed(end, 200 * MS, 2 * MS, lambda i: (1 + i, 1 + i))
    assert not end.end.error
    value = end.end.received
    feed(end, 900 * MS, 10 * MS, lambda i: (101 + i, 100))
    assert not end.end.error
    assert end.end.received != value, "values come, and nobody hears us"
    while not end.end.error:
        end.step()
    assert end.end.timeouts == 1
    assert (end.end.received == ZEROS) == (not keep)
    assert not end.end.first_seen
    assert end.takes(50, 100), "counts as the first"
    assert end.end.error, "until it is heard again"
    assert end.takes(51, 101)
    assert not end.end.error


def test_codesys4_runs_out_a_second_behind_the_last_change(bench):
    end = bench("codesys4")
    assert end.takes(1, 7)
    at_ns = end.now_ns
    while not end.end.error:
        end.step()
    assert SECOND <= end.now_ns - at_ns <= SECOND + 2 * end.end.scan_ns


# --- siemens --------------------------------------------------------------------------------------


def test_siemens_watches_from_its_start_on(bench):
    end = bench("siemens", cycle_ns=2 * MS)
    end.wait(9 * MS)
    assert not end.end.error
    end.wait(2 * MS)
    assert (end.end.error, end.end.timeouts) == (True, 1)


@pytest.mark.parametrize("keep", [False, True])
def test_siemens_watches_the_feedback(keep, bench):
    end = bench("siemens", cycle_ns=2 * MS, keep_values=keep)
    feed(end, 100 * MS, 2 * MS, lambda i: (i, 1 + i))
    assert not end.end.error
    feed(end, 20 * MS, 2 * MS, lambda i: (50 + i, 50))
    assert (end.end.error, end.end.timeouts) == (True, 1)
    assert (end.end.received == ZEROS) == (not keep)
    assert end.takes(7, 50), "each counts as the first meanwhile"
    assert end.takes(200, 50)
    assert end.end.error
    assert end.takes(8, 51)
    assert not end.end.error
    assert end.end.received == bytes([8]) * 20


def test_siemens_runs_out_ten_milliseconds_behind_the_last_change(bench):
    end = bench("siemens", cycle_ns=2 * MS)
    assert end.takes(1, 7)
    at_ns = end.now_ns
    while not end.end.error:
        end.step()
    assert 10 * MS <= end.now_ns - at_ns <= 10 * MS + 2 * end.end.scan_ns


def test_siemens_defaults_do_not_go_together():
    """10 ms between sends are 12 by its timer, and what it watches changes no faster."""
    errors = {}
    for cycle_ns in (2 * MS, 10 * MS):
        ours = Session(remote=PLC, cycle_ns=MS)
        plc = Siemens(remote=PC, cycle_ns=cycle_ns)
        plc.power_on(0)
        Exchange(ours, plc, address_a=PC, address_b=PLC).run(2 * SECOND)
        errors[cycle_ns] = plc.timeouts
    assert errors[2 * MS] <= 1
    assert errors[10 * MS] > 100


# --- python, rule by rule -------------------------------------------------------------------------


def test_python_says_that_nothing_came_yet(bench):
    end = bench("python")
    assert (end.end.error, end.end.error_message) == (True, ""), "since it was started"
    end.wait(99 * MS)
    assert end.end.error_message == ""
    end.wait(2 * MS)
    assert end.end.error_message == "No valid packet received yet"
    assert not end.end.watchdog_timeout


def test_python_looks_only_where_100_ms_brought_nothing(bench):
    end = bench("python", watch_ns=30 * MS)
    assert end.takes(1, 0)
    assert (end.end.error, end.end.error_message) == (False, "")
    end.wait(99 * MS)
    assert not end.end.watchdog_timeout, "30 ms are long past"
    end.wait(2 * MS)
    assert end.end.watchdog_timeout
    assert end.end.error_message == "Watchdog timeout (0.03s)"


@pytest.mark.parametrize(
    "useless",
    [bytes([9, 1]) + ZEROS, bytes([8, 1]) + ZEROS, bytes([11, 1])],
    ids=["repeated", "old", "short"],
)
def test_python_is_starved_by_useless_datagrams(useless, bench):
    end = bench("python")
    assert end.takes(9, 0)
    for _ in range(100):
        end.arrive_raw(useless)
        end.wait(90 * MS)
    assert not end.end.watchdog_timeout
    end.wait(102 * MS)
    assert end.end.watchdog_timeout


def test_python_needs_a_round_more_behind_traffic(bench):
    end = bench("python")
    assert end.takes(1, 1), "a feedback that is not the one remembered"
    end.wait(150 * MS)
    assert not end.end.watchdog_timeout
    end.wait(100 * MS)
    assert end.end.watchdog_timeout


def test_python_clears_its_values_unless_told_to_keep_them(bench):
    end = bench("python")
    assert end.takes(5, 0, b"a" * 20)
    end.wait(150 * MS)
    assert end.end.received == ZEROS
    assert not end.end.first_packet_received

    end = bench("python", keep_values=True)
    assert end.takes(5, 0, b"a" * 20)
    end.wait(150 * MS)
    assert end.end.watchdog_timeout
    assert end.end.received == b"a" * 20
    assert end.end.first_packet_received


def test_pythons_flag_outlives_the_recovery(bench):
    end = bench("python")
    assert end.takes(5, 0)
    end.wait(150 * MS)
    assert end.takes(6, 1)
    assert (end.end.error, end.end.error_message) == (False, "")
    assert end.end.watchdog_timeout, "while values come"
    feed(end, 10 * SECOND, 50 * MS, lambda i: ((7 + i) % 256, 1))
    assert end.end.watchdog_timeout
    end.wait(110 * MS)
    assert not end.end.watchdog_timeout, "the first idle look saw another feedback"


# --- ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("watch_ms", [1, 30, 1000])
def test_ours_runs_out_to_the_nanosecond(watch_ms, bench):
    end = bench("ours", watch_ns=watch_ms * MS)
    end.wait(MS // 3)
    assert end.takes(5, 0)
    at_ns = end.now_ns
    end.wait(10 * watch_ms * MS)
    timeout = next(event for event in end.end.events if event.what == "timeout")
    assert timeout.at_ns - at_ns == watch_ms * MS
    assert end.end.count("timeouts") == 1


@pytest.mark.parametrize(
    "useless",
    [bytes([9, 1]) + ZEROS, bytes([8, 1]) + ZEROS, bytes([11, 1])],
    ids=["repeated", "old", "short"],
)
def test_ours_is_neither_fed_nor_starved_by_useless_datagrams(useless, bench):
    end = bench("ours", watch_ns=30 * MS)
    assert end.takes(9, 0)
    at_ns = end.now_ns
    for _ in range(30):
        end.arrive_raw(useless)
        end.wait(MS)
    assert [(event.what, event.at_ns - at_ns) for event in end.end.events] == [
        ("alive", 0),
        ("timeout", 30 * MS),
    ]


def test_the_flag_of_ours_is_cleared_by_the_recovery(bench):
    end = bench("ours", watch_ns=30 * MS)
    assert end.takes(9, 0)
    end.wait(100 * MS)
    assert end.takes(3, 0)
    assert [event.what for event in end.end.events] == ["alive", "timeout", "alive"]
    assert end.end.gauge("alive") == 1


def test_a_partner_that_no_longer_hears_us(bench):
    """It sends on, with the same feedback: alive, and not heard."""
    end = bench("ours", watch_ns=30 * MS)
    end.wait(MS)
    feed(end, 100 * MS, MS, lambda i: (1 + i, end.sent[-1][1][0]))
    deaf_ns = end.now_ns
    assert [event.what for event in end.end.events] == ["alive", "heard"]
    feed(end, 100 * MS, MS, lambda i: (101 + i, 100))
    assert end.end.gauge("alive") == 1
    (unheard,) = (event for event in end.end.events if event.what == "unheard")
    assert 28 * MS <= unheard.at_ns - deaf_ns <= 30 * MS
    feed(end, 5 * MS, MS, lambda i: (201 + i, end.sent[-1][1][0]))
    assert end.end.events[-1].what == "heard"


@pytest.mark.parametrize("kind", ["codesys4", "siemens"])
def test_who_watches_the_feedback_hears_that_ours_is_deaf(kind):
    """What ours sends arrives, what the partner sends does not."""
    ours = Session(remote=PLC, cycle_ns=2 * MS)
    plc = PARTNERS[kind](remote=PC, cycle_ns=2 * MS)
    plc.power_on(0)
    Exchange(ours, plc, to_a=Impairment(loss=1.0), address_a=PC, address_b=PLC).run(
        100 * MS if kind == "siemens" else 1500 * MS
    )
    assert plc.taken > 10
    assert plc.error
    assert ours.events == []


@pytest.mark.parametrize("kind", ["codesys5", "python"])
def test_who_watches_datagrams_does_not(kind):
    ours = Session(remote=PLC, cycle_ns=2 * MS)
    plc = PARTNERS[kind](remote=PC, cycle_ns=2 * MS)
    plc.power_on(0)
    Exchange(ours, plc, to_a=Impairment(loss=1.0), address_a=PC, address_b=PLC).run(3 * SECOND)
    assert not plc.error


@pytest.mark.parametrize("kind", ["codesys5", "codesys4", "siemens", "python"])
def test_a_partner_that_stops_is_missed_within_the_time_set(kind):
    ours = Session(remote=PLC, cycle_ns=MS, watch_ns=30 * MS)
    plc = PARTNERS[kind](remote=PC, cycle_ns=2 * MS)
    plc.power_on(0)
    link = Exchange(ours, plc, address_a=PC, address_b=PLC)
    link.run(500 * MS)
    plc.power_off()
    last_ns = ours.gauge("last_accepted_mono_ns")
    link.run(SECOND)
    what = [event for event in ours.events if event.what == "timeout"]
    assert [event.at_ns - last_ns for event in what] == [30 * MS]
    plc.power_on(link.now_ns)
    link.run(500 * MS)
    assert ours.events[-2].what == "alive" or ours.events[-1].what == "alive"
    assert ours.gauge("alive") == ours.gauge("heard") == 1
    assert ours.count("firsts") == 2


@pytest.mark.parametrize("kind", ["codesys5", "codesys4", "siemens", "python"])
def test_a_quick_restart_is_over_in_half_a_round_without_a_watchdog(kind):
    ours = Session(remote=PLC, cycle_ns=MS, watch_ns=0)
    plc = PARTNERS[kind](remote=PC, cycle_ns=2 * MS)
    plc.power_on(0)
    link = Exchange(ours, plc, address_a=PC, address_b=PLC)
    link.run(500 * MS, until=lambda: ours.gauge("partner_number") == 100)
    plc.power_on(link.now_ns)
    before = ours.count("accepted")
    link.run(5 * SECOND)
    refused = ours.count("rejected_old") + ours.count("rejected_repeated")
    assert refused == (101 if kind == "siemens" else 100)
    assert ours.count("accepted") > before + 500
