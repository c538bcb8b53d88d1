"""The figures of `shmring bench replay`, from arrivals that are known to the nanosecond."""

from __future__ import annotations

from array import array
from itertools import pairwise

from shmring_bench.floor import Arrivals
from shmring_bench.replay import judge, poisson

TIMES_NS = [index * 10_000 for index in range(1000)]


def arrivals(times_ns: list[int], numbers: list[int] | None = None) -> Arrivals:
    return Arrivals(array("q", numbers or range(len(times_ns))), array("q", times_ns))


def test_gaps_as_in_the_capture_have_no_error() -> None:
    assert judge(TIMES_NS, arrivals([7 + time for time in TIMES_NS])) == ([0] * 999, 0)


def test_a_late_packet_makes_two_gaps_wrong() -> None:
    times_ns = list(TIMES_NS)
    times_ns[500] += 300
    errors_ns, drift_ns = judge(TIMES_NS, arrivals(times_ns))
    assert errors_ns[-3:] == [0, 300, 300]
    assert drift_ns == 0


def test_a_slow_clock_is_a_drift() -> None:
    errors_ns, drift_ns = judge(TIMES_NS, arrivals([time + time // 1000 for time in TIMES_NS]))
    assert errors_ns[-1] == 10
    assert 9_800 <= drift_ns <= 10_000


def test_gaps_around_a_missing_packet_do_not_count() -> None:
    numbers = [number for number in range(1000) if number != 400]
    errors_ns, _ = judge(TIMES_NS, arrivals([TIMES_NS[number] for number in numbers], numbers))
    assert len(errors_ns) == 997


def test_nothing_arrived() -> None:
    assert judge(TIMES_NS, arrivals([])) == ([], 0)


def test_the_gaps_of_the_capture_are_exponential() -> None:
    times_ns = poisson(20_000, 100_000)
    gaps_ns = sorted(b - a for a, b in pairwise(times_ns))
    assert times_ns[0] == 0
    assert 9_700 < times_ns[-1] / 20_000 < 10_300
    assert 6_600 < gaps_ns[10_000] < 7_260  # ln 2 of the mean
