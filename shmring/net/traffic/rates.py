"""Rates that change: phases, one after the other."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from shmring._proto import lib

MAX_SECONDS: int = lib.TRAFFIC_MAX_SPAN_NS // 1_000_000_000
_NS_PER_S = 1_000_000_000
_UPPS: int = lib.TRAFFIC_UPPS
_MOST_PPS: int = lib.TRAFFIC_MAX_UPPS // _UPPS


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a rate. In it the rate stays, or changes linearly to `to_pps`."""

    seconds: float
    pps: float
    """Packets a second, 0 to 10**9."""
    to_pps: float | None = None
    """At the end. None: as at the begin."""

    @property
    def duration_ns(self) -> int:
        """How long it lasts."""
        return duration_ns(self.seconds, "seconds of a phase")

    @property
    def upps(self) -> tuple[int, int]:
        """Rate at the begin and at the end, in millionths of packets a second."""
        to_pps = self.pps if self.to_pps is None else self.to_pps
        return upps(self.pps), upps(to_pps)

    def packets(self, ns: int) -> Fraction:
        """Return how many packets are due in the first `ns` of the phase."""
        (begin, end), whole_ns = self.upps, self.duration_ns
        return (begin + Fraction((end - begin) * ns, 2 * whole_ns)) * ns / 10**15


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate that changes. After the last phase its last value stays, or all phases repeat."""

    phases: tuple[Phase, ...]
    """1 to 64 of them."""
    repeat: bool = False

    @property
    def seconds(self) -> float:
        """How long the phases last once."""
        return sum(phase.duration_ns for phase in self.phases) / _NS_PER_S

    @property
    def highest_pps(self) -> float:
        """The highest value, packets a second."""
        return max(max(phase.upps) for phase in self.phases) / _UPPS

    def packets(self, ns: int) -> Fraction:
        """Return how many packets are due until `ns` after the begin."""
        once_ns = sum(phase.duration_ns for phase in self.phases)
        rounds, rest_ns = divmod(ns, once_ns) if self.repeat else (0, ns)
        count = Fraction(0)
        for phase in self.phases:
            count += rounds * phase.packets(phase.duration_ns)
            part_ns = min(rest_ns, phase.duration_ns)
            count += phase.packets(part_ns)
            rest_ns -= part_ns
        return count + Fraction(self.phases[-1].upps[1] * rest_ns, 10**15)


def steady(pps: float) -> Rate:
    """Return a rate that does not change."""
    return Rate((Phase(1.0, pps),))


def ramp(pps: float, to_pps: float, seconds: float) -> Rate:
    """Return a rate that changes linearly from `pps` to `to_pps`, and stays there."""
    return Rate((Phase(seconds, pps, to_pps),))


def steps(pps: Iterable[float], seconds: float) -> Rate:
    """Return a rate that has each of some values for `seconds`. The last one stays."""
    return Rate(tuple(Phase(seconds, each) for each in pps))


def on_off(pps: float, on_seconds: float, off_seconds: float) -> Rate:
    """Return a rate that is `pps` for `on_seconds`, 0 for `off_seconds`, and so on."""
    return Rate((Phase(on_seconds, pps), Phase(off_seconds, 0)), repeat=True)


def upps(pps: float) -> int:
    """Return a rate in millionths of packets a second. Raises `ValueError`."""
    if not 0 <= pps <= _MOST_PPS:
        raise ValueError(f"pps is {pps}: it must be 0 to {_MOST_PPS} packets a second")
    return round(pps * _UPPS)


def duration_ns(seconds: float, name: str, *, zero: bool = False) -> int:
    """Return a duration in ns. Raises `ValueError` if it is not above 0 (`zero`: or 0)."""
    fine = math.isfinite(seconds) and (seconds > 0 or (zero and seconds == 0))
    if not fine or seconds > MAX_SECONDS:
        least = "0 to" if zero else "above 0, at most"
        raise ValueError(f"{name} is {seconds}: it must be {least} {MAX_SECONDS} s (365 days)")
    return max(0 if zero else 1, round(seconds * _NS_PER_S))
