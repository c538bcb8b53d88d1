"""Sequence numbers: what each end sends, takes and echoes."""

from __future__ import annotations

import pytest
from netflux_session import Session

from shmring.testing import Exchange
from shmring.testing.plc import PARTNERS, PythonPartner

KINDS = ("codesys5", "codesys4", "siemens", "python")
ENDS = (*KINDS, "ours")
MS = 1_000_000
SECOND = 1000 * MS
PC, PLC = ("192.0.2.1", 2000), ("192.0.2.2", 2000)


# --- sending --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENDS)
def test_the_first_number_and_those_behind_it(kind, bench):
    end = bench(kind, cycle_ns=2 * MS)
    end.wait(2 * SECOND)
    first = 0 if kind == "siemens" else 1
    assert end.numbers() == [(first + i) % 256 for i in range(len(end.sent))]
    assert len(end.sent) > 300


def test_python_uses_up_a_number_for_each_attempt(bench):
    end = bench("python", cycle_ns=2 * MS)
    end.wait(50 * MS)
    number = end.end.sequence_number
    end.end.send_fails = True
    while end.end.sequence_number < number + 3:
        end.step()
    assert end.end.total_send_errors == 3
    assert end.end.sender_error_message.startswith("Socket send error: ")
    end.end.send_fails = False
    end.end.to_send = b"four"
    while end.end.sequence_number < number + 5:
        end.step()
    assert end.end.total_send_errors == 3, "an error of the provider is not counted"
    assert end.end.sender_error_message == (
        "Data provider error: Data provider returned 4 bytes, expected 20"
    )
    end.end.to_send = bytes(20)
    end.wait(10 * MS)
    assert end.numbers()[: number + 1] == [*range(1, number + 1), number + 6], "a gap of five"
    assert (end.end.sender_error, end.end.sender_error_message) == (False, "")


def test_siemens_repeats_a_number_that_was_not_confirmed(bench):
    end = bench("siemens", cycle_ns=2 * MS, unconfirmed=0.3, seed=1)
    end.wait(2 * SECOND)
    steps = [(b - a) % 256 for a, b in zip(end.numbers(), end.numbers()[1:], strict=False)]
    assert set(steps) == {0, 1}
    assert 0.2 < steps.count(0) / len(steps) < 0.4


def test_siemens_uses_up_no_number_for_a_send_that_fails(bench):
    end = bench("siemens", cycle_ns=2 * MS)
    end.wait(100 * MS)
    last = end.numbers()[-1]
    end.end.send_code = 0x80C4
    count = len(end.sent)
    end.wait(100 * MS)
    assert len(end.sent) == count
    end.end.send_code = 0
    end.wait(100 * MS)
    assert end.numbers()[count] == last + 1


def test_ours_uses_up_no_number_for_a_send_that_fails(bench):
    end = bench("ours")
    end.wait(10 * MS)
    last = end.numbers()[-1]
    end.end.send_fails = True
    end.wait(10 * MS)
    end.end.send_fails = False
    end.wait(10 * MS)
    assert end.numbers() == list(range(1, last + 11))
    assert end.end.count("send_failed") == 10


# --- accepting: every cell ------------------------------------------------------------------------

TAKEN, REFUSED, IGNORED = "taken", "refused", "ignored"

# (number accepted last, how far ahead the next one is): with and without a wrap between them
WITHOUT_WRAP = [(100, d) for d in (0, 1, 2, 126, 127)]
WITH_WRAP = [(255, 1), (255, 127), (200, 56), (200, 127), (129, 127)]
HALF = [(100, 128), (1, 128), (200, 128)]
OLD = [(100, 129), (100, 255), (3, 254), (200, 157), (200, 255)]


def fate(kind, last, ahead):
    if kind == "codesys5":
        return TAKEN
    if ahead == 0:
        return IGNORED
    if ahead > 127:
        return REFUSED
    return TAKEN if kind != "codesys4" or last + ahead < 256 else REFUSED


def refused(end):
    if end.kind == "python":
        return end.end.total_packets_rejected
    if end.kind == "ours":
        return end.end.count("rejected_old")
    return getattr(end.end, "refused", 0)


@pytest.mark.parametrize(("last", "ahead"), WITHOUT_WRAP + WITH_WRAP + HALF + OLD)
@pytest.mark.parametrize("kind", ENDS)
def test_what_is_taken(kind, last, ahead, bench):
    end = bench(kind)
    assert end.takes(last, 1)
    number = (last + ahead) % 256
    before = end.end.received
    took = end.takes(number, 2, bytes([77]) * 20)
    expected = fate(kind, last, ahead)
    assert took == (expected == TAKEN)
    assert end.end.received == (bytes([77]) * 20 if took else before)
    assert refused(end) == (expected == REFUSED)


@pytest.mark.parametrize("kind", ["codesys5", "siemens", "python", "ours"])
def test_what_is_late_by_more_than_half_a_round_looks_new(kind, bench):
    """Eight bits tell no more: whoever delays for so long defeats the window."""
    end = bench(kind)
    assert end.takes(200, 1)
    assert end.takes(200 - 130, 1)
    if kind == "ours":
        assert end.end.count("partner_lost") == 125


@pytest.mark.parametrize("number", [0, 1, 127, 128, 255])
@pytest.mark.parametrize("kind", ENDS)
def test_what_is_taken_first(kind, number, bench):
    end = bench(kind)
    loses_a_zero = kind in ("python", "codesys4") and number == 0
    assert end.takes(number) != loses_a_zero
    assert refused(end) == 0, "what was lost is counted nowhere"
    assert end.takes(1 if number == 0 else number, 2) == (number == 0 or kind == "codesys5")


@pytest.mark.parametrize("kind", ENDS)
def test_a_repeat_feeds_nothing(kind, bench):
    end = bench(kind)
    assert end.takes(9, 1)
    for _ in range(5):
        assert end.takes(9, 2) == (kind == "codesys5")
    if kind == "python":
        assert (end.end.total_packets_received, end.end.total_packets_rejected) == (1, 0)
        assert end.end.current_feedback_seq_number == 1
    if kind == "ours":
        assert end.end.count("rejected_repeated") == 5
        assert end.end.count("accepted") == 1


def time_out(end):
    """Let the watchdog run out: nobody is there any more."""
    end.wait(SECOND + 500 * MS)
    if end.kind == "ours":
        assert not end.end.gauge("alive")
    elif end.kind == "python":
        assert end.end.watchdog_timeout
    elif end.kind != "codesys5":
        assert end.end.error


@pytest.mark.parametrize("ahead", [1, 127, 128, 200, 255])
@pytest.mark.parametrize("kind", ENDS)
def test_behind_a_time_out_the_next_is_the_first(kind, ahead, bench):
    end = bench(kind)
    assert end.takes(100, 1)
    time_out(end)
    assert end.takes((100 + ahead) % 256, 1)


def test_behind_a_time_out_python_and_ours_still_ignore_the_same_number(bench):
    for kind in ("python", "ours"):
        end = bench(kind)
        assert end.takes(100, 1)
        time_out(end)
        assert not end.takes(100, 1), kind
        assert end.takes(99, 1), kind


def test_python_that_keeps_its_values_keeps_its_window(bench):
    end = bench("python", keep_values=True)
    assert end.takes(100, 1)
    time_out(end)
    assert not end.takes(50, 1)
    assert end.takes(101, 1)


def test_codesys4_takes_a_zero_never_as_the_first_behind_a_time_out(bench):
    end = bench("codesys4")
    assert end.takes(100, 1)
    time_out(end)
    assert not end.takes(0, 1)


def test_codesys4_is_deaf_behind_a_wrap_until_its_watchdog_resets_it(bench):
    end = bench("codesys4", cycle_ns=2 * MS)
    number = 250
    taken = []
    for i in range(600):
        if end.takes(number % 256, i % 256):
            taken.append(number)
        number += 1
        end.wait(2 * MS)
    behind = [n for n in taken if n > 255]
    assert taken[:6] == [250, 251, 252, 253, 254, 255]
    assert end.end.timeouts == 1
    assert end.end.refused >= 300, "a second of 3 ms each"
    assert behind[0] > 255 + 300
    assert behind == list(range(behind[0], 768)), "and till the next wrap all is well"


def test_codesys5_reads_21_in_a_scan_and_the_last_one_wins(bench):
    end = bench("codesys5")
    for number in range(1, 31):
        end.arrive(number, number)
    end.look()
    assert (end.end.packets_per_cycle, end.end.last_partner_number) == (21, 21)
    assert end.end.received == bytes([21]) * 20
    end.look()
    assert (end.end.packets_per_cycle, end.end.last_partner_number) == (9, 30)
    end.arrive(40)
    end.arrive(20)
    end.look()
    assert end.end.received == bytes([20]) * 20, "older values replace newer ones"


@pytest.mark.parametrize("kind", ["python", "siemens", "ours"])
def test_a_partner_started_anew_is_refused_for_half_a_round_at_most(kind, bench):
    lost = []
    for last in range(1, 256):
        end = bench(kind, watch_ns=10 * SECOND)
        assert end.takes(last, 1)
        number = 1
        while not end.takes(number % 256, 2):
            number += 1
        lost.append(number - 1)
    assert max(lost) == 129
    assert lost == [last if last <= 129 else 0 for last in range(1, 256)]


# --- feedback -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENDS)
def test_what_is_echoed(kind, bench):
    end = bench(kind, cycle_ns=2 * MS)
    assert end.takes(100, 1)
    end.takes(60, 2)
    end.wait(20 * MS)
    old_is_echoed = kind in ("python", "codesys5", "codesys4")
    assert end.next_feedback() == (60 if old_is_echoed else 100)


def age_of_feedback(end, numbers=200):
    """Numbers arrive every 100 us; how far back is the feedback when it is sent, at most."""
    ages = set()
    for i in range(numbers * 10):
        end.arrive(i % 256)
        count = len(end.sent)
        end.wait(MS // 10)
        if len(end.sent) > count and i > 100:
            ages.add((i - end.sent[-1][1][1]) % 256)
    return ages


def test_codesys5_echoes_what_this_scan_has_read(bench):
    assert max(age_of_feedback(bench("codesys5", cycle_ns=2 * MS))) <= 1


def test_siemens_echoes_what_the_scan_before_has_accepted(bench):
    end = bench("siemens", cycle_ns=2 * MS)
    for _ in range(50):
        assert end.takes((end.end.accepted_number + 1) % 256, 1)
        assert all(at < end.now_ns for at, data in end.sent if data[1] == end.end.accepted_number)


def test_codesys4_echoes_what_this_scan_has_read(bench):
    end = bench("codesys4", cycle_ns=2 * MS)
    seen = 0
    for number in range(1, 200):
        count = len(end.sent)
        assert end.takes(number, number)
        if len(end.sent) > count:
            seen += 1
            assert end.sent[-1][1][1] == number
    assert seen > 40


def test_python_echoes_up_to_an_interval_late(bench):
    ages = age_of_feedback(bench("python", cycle_ns=5 * MS, seed=1))
    assert max(ages) > 20, "2 ms and more at 100 us a number"
    assert max(ages) <= 55


def test_ours_echoes_what_was_accepted_when_it_sends(bench):
    assert age_of_feedback(bench("ours", cycle_ns=5 * MS)) <= {0, 1}


# --- ours against each ----------------------------------------------------------------------------


def exchange(kind, duration_ns=20 * SECOND, **options):
    ours = Session(remote=PLC, cycle_ns=2 * MS)
    plc = PARTNERS[kind](remote=PC, **({"cycle_ns": 2 * MS} | options))
    plc.power_on(100_000)
    link = Exchange(ours, plc, address_a=PC, address_b=PLC)
    link.run(duration_ns)
    return ours, plc


@pytest.mark.parametrize("kind", KINDS)
def test_ours_takes_all_that_each_sends(kind):
    ours, plc = exchange(kind)
    assert ours.count("accepted") == plc.sent > 1000
    assert ours.count("partner_lost") == 0
    assert [event.what for event in ours.events] == ["alive", "heard"]
    assert ours.count("firsts") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_each_takes_what_ours_sends(kind):
    ours, plc = exchange(kind)
    assert ours.count("sent") == 10_001
    if kind == "codesys4":
        assert 0 < plc.taken < 10_001 / 2
        assert plc.timeouts > 10
        return
    opening_scans = 5 if kind == "codesys5" else 0
    assert 10_000 - opening_scans <= plc.taken <= 10_001
    assert not plc.error
    assert getattr(plc, "timeouts", 0) <= 1, "siemens watches from its start on"


def test_numbers_that_siemens_repeats_are_no_news():
    ours, plc = exchange("siemens", unconfirmed=0.2, seed=3)
    assert ours.count("rejected_repeated") > 500
    assert ours.count("accepted") + ours.count("rejected_repeated") == plc.sent
    assert ours.count("partner_lost") == 0


def test_a_failure_of_pythons_provider_looks_like_a_loss():
    ours = Session(remote=PLC, cycle_ns=2 * MS)
    calls = iter(range(10**9))

    def provider(plc):
        plc.to_send = bytes(20) if next(calls) % 10 else b""

    plc = PythonPartner(remote=PC, cycle_ns=2 * MS, program=provider)
    plc.power_on(0)
    Exchange(ours, plc, address_a=PC, address_b=PLC).run(10 * SECOND)
    assert ours.count("partner_lost") == pytest.approx(plc.sent / 9, abs=2)


@pytest.mark.check
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_partners_talk_to_each_other_as_well(kind, other):
    here = PARTNERS[kind](remote=PLC, cycle_ns=2 * MS)
    there = PARTNERS[other](remote=PC, cycle_ns=2 * MS)
    here.power_on(0)
    there.power_on(130_000)
    Exchange(here, there, address_a=PC, address_b=PLC).run(10 * SECOND)
    for partner, peer in ((here, there), (there, here)):
        share = partner.taken / peer.sent
        assert share < 0.6 if partner.kind == "codesys4" else share > 0.99


def test_codesys5_answers_to_whoever_sent_last(bench):
    stranger = ("198.51.100.7", 4711)
    end = bench("codesys5")
    end.wait(20 * MS)
    assert end.to[-1] == end.HERE
    end.arrive_raw(bytes(22), stranger)
    end.wait(20 * MS)
    assert end.to[-1] == stranger
    end.arrive_raw(b"", end.THERE)
    end.wait(20 * MS)
    assert end.to[-1] == end.THERE, "even to an empty datagram"


@pytest.mark.parametrize("kind", ["codesys4", "siemens", "python"])
def test_the_others_answer_to_their_remote(kind, bench):
    end = bench(kind)
    end.arrive_raw(bytes([5, 0]) + bytes(20), ("198.51.100.7", 4711))
    end.wait(100 * MS)
    assert end.end.taken == 1, "and take values from anybody"
    assert set(end.to) == {end.HERE}


def test_ours_takes_values_from_its_partner_only(bench):
    end = bench("ours")
    end.arrive_raw(bytes([5, 0]) + bytes(20), ("198.51.100.7", 4711))
    end.wait(100 * MS)
    assert (end.end.taken, end.end.count("rejected_foreign")) == (0, 1)
    assert set(end.to) == {end.HERE}
