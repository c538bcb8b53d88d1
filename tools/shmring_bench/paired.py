"""Comparing systems that took turns: the ratio of a figure of all turns of one system to that of
another, how sure it is, and whether that decides a goal.

A virtual machine takes its cores away for milliseconds, in bursts. Such a burst hits a turn as a
whole, so packets are no independent samples. Turns are: the interval of a ratio comes from drawing
whole turns with replacement (a block bootstrap), the same turns for all systems, and computing the
figure of all packets of the drawn turns anew. 95 % of those ratios lie within the interval.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

MET, NOT_DECIDED, MISSED = 1, 0, -1
"""What an interval says about a limit. Their names are in `shmring_cli.output`."""

LEAST_TURNS = 20
"""Fewer decide nothing: what they did not meet, no drawing of them meets either."""
DRAWS = 1000
_DOUBT = 0.05
_SEED = 1

Turn = TypeVar("Turn")
Figure = Callable[[Sequence[Turn], Sequence[int]], float]
"""The figure of all packets of some turns together, each turn as often as its weight says."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of two figures, and bounds of it (95 % confidence)."""

    value: float
    low: float
    high: float
    turns: int

    def decides(self, limit: float) -> int:
        """Return whether the ratio is below the limit for sure, not below it for sure, or
        neither."""
        if self.turns < LEAST_TURNS:
            return NOT_DECIDED
        if self.high < limit:
            return MET
        return MISSED if self.low >= limit else NOT_DECIDED


def ratios(
    turns: Mapping[str, Sequence[Turn]],
    figure: Figure[Turn],
    pairs: Sequence[tuple[str, str]],
    draws: int = DRAWS,
) -> dict[tuple[str, str], Ratio]:
    """Return the ratio of each pair of systems. Turns of one number belong together."""
    count = min(len(own) for own in turns.values())
    all_once = {system: figure(own, [1] * len(own)) for system, own in turns.items()}
    drawn: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    rng = random.Random(_SEED)
    for _ in range(draws):
        times = Counter(rng.choices(range(count), k=count))
        weights = list(times.values())
        values = {
            system: figure([own[at] for at in times], weights) for system, own in turns.items()
        }
        for a, b in pairs:
            drawn[a, b].append(values[a] / values[b])
    cut = round(draws * _DOUBT / 2)
    result = {}
    for a, b in pairs:
        ordered = sorted(drawn[a, b])
        result[a, b] = Ratio(all_once[a] / all_once[b], ordered[cut], ordered[-1 - cut], count)
    return result


def pooled_quantile(turns: Sequence[Sequence[int]], weights: Sequence[int], share: float) -> float:
    """Return the quantile of all values together, by nearest rank, at least 1. The values of each
    turn are ordered and not negative."""
    total = sum(len(turn) * weight for turn, weight in zip(turns, weights, strict=True))
    rank = min(int(share * total), total - 1)
    low, high = 0, max((turn[-1] for turn in turns if turn), default=0)
    while low < high:
        middle = (low + high) // 2
        below = 0
        for turn, weight in zip(turns, weights, strict=True):
            below += weight * bisect_right(turn, middle)
        if below > rank:
            high = middle
        else:
            low = middle + 1
    return max(low, 1)


# --- holes ----------------------------------------------------------------------------------------


def holes(late_ns: Sequence[int], interval_ns: int, least_ns: int) -> list[range]:
    """Return the holes in a schedule: consecutive packets, each late by more than the interval, so
    that the next one already waits, and one of them by more than `least_ns`. What took the core
    away does not matter."""
    found = []
    begun, longest = 0, 0
    for at, late in enumerate((*late_ns, 0)):
        if late > interval_ns:
            begun = begun if longest else at
            longest = max(longest, late)
        elif longest:
            if longest > least_ns:
                found.append(range(begun, at))
            longest = 0
    return found
