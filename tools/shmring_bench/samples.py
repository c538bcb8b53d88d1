"""Lateness samples of one run and their statistics."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise


class Lateness:
    """Kernel receive timestamp minus deadline of every packet of a run, in ns, negative
    if early."""

    def __init__(self, values_ns: Iterable[int]) -> None:
        self.values_ns = array("q", sorted(values_ns))
        self._errors_ns = array("q", sorted(map(abs, self.values_ns)))

    def __len__(self) -> int:
        return len(self.values_ns)

    def signed_ns(self, share: float) -> int:
        """Return the value below which the share (0 to 1) of the packets is. Early ones are
        negative."""
        return quantile(self.values_ns, share)

    def error_ns(self, share: float) -> int:
        """Return the same for the absolute distance to the deadline."""
        return quantile(self._errors_ns, share)

    @property
    def max_ns(self) -> int:
        """Return the largest absolute distance to the deadline."""
        return self._errors_ns[-1] if self._errors_ns else 0

    def shares(self, edges_ns: Sequence[int]) -> list[float]:
        """Return the share of the packets whose error is below each edge and not below the previous
        one. The last share is of those at or above the last edge."""
        if not self._errors_ns:
            return [0.0] * (len(edges_ns) + 1)
        below = [0, *(bisect_left(self._errors_ns, edge) for edge in edges_ns), len(self)]
        return [(b - a) / len(self) for a, b in pairwise(below)]


def quantile(ordered: Sequence[int], share: float) -> int:
    """Return the quantile of an ordered sequence, by nearest rank. 0 for an empty one."""
    if not ordered:
        return 0
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
