"""Lateness of many intervals together: exact sums of their histograms.

The buckets are those of ``csrc/base/rt_hist.h``: one for each of 0 to 63 ns, then 32 per octave.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from math import floor

Buckets = tuple[tuple[int, int], ...]
_LINEAR = 64
_OCTAVE_BITS = 5
BINS_PER_DECADE = 12


def bucket_lower_ns(upper_ns: int) -> int:
    """Return the smallest value of the bucket whose largest value is `upper_ns`."""
    if upper_ns < _LINEAR:
        return upper_ns
    return upper_ns - (1 << (upper_ns.bit_length() - 1 - _OCTAVE_BITS)) + 1


class Distribution:
    """The distribution of values in ns: buckets, and the exact largest value."""

    def __init__(self, parts: Iterable[tuple[Buckets, int]]) -> None:
        """parts: (buckets, largest value) of each interval."""
        total: Counter[int] = Counter()
        self.max_ns = 0
        for buckets, max_ns in parts:
            for upper, count in buckets:
                total[upper] += count
            if buckets:
                self.max_ns = max(self.max_ns, max_ns)
        self._uppers = sorted(total)
        self._below = list(accumulate(total[upper] for upper in self._uppers))

    def __len__(self) -> int:
        return self._below[-1] if self._below else 0

    @property
    def low_ns(self) -> int:
        """Lower end of the lowest bucket that is not empty. 0 if all are empty."""
        return bucket_lower_ns(self._uppers[0]) if self._uppers else 0

    def quantile_ns(self, share: float) -> int:
        """Return the value below which the share (0 to 1) of the values is: the middle of its
        bucket, for 1 the largest value, 0 without values. Like ``Histogram.percentile``, the error
        is at most 1.6 %."""
        if not self._uppers or share >= 1:
            return self.max_ns
        upper = self._uppers[bisect_left(self._below, share * len(self))]
        return min((bucket_lower_ns(upper) + upper) // 2, self.max_ns)

    def shares(self, edges_ns: Sequence[float]) -> list[float]:
        """Return the share of the values from each edge to below the next one. A bucket that
        contains an edge counts on both sides, in proportion to its width there."""
        below = [self._below_value(edge) for edge in edges_ns]
        return [(b - a) / max(1, len(self)) for a, b in pairwise(below)]

    def _below_value(self, limit_ns: float) -> float:
        at = bisect_left(self._uppers, floor(limit_ns))
        whole = self._below[at - 1] if at else 0
        if at == len(self._uppers):
            return whole
        upper = self._uppers[at]
        lower = bucket_lower_ns(upper)
        inside = min(max((limit_ns - lower) / (upper + 1 - lower), 0.0), 1.0)
        return whole + inside * (self._below[at] - whole)

    def steps(self) -> list[tuple[int, float]]:
        """Return (value in ns, share of the values that are not larger), ascending up to
        share 1."""
        total = len(self)
        return [
            (min(upper, self.max_ns), below / total)
            for upper, below in zip(self._uppers, self._below, strict=True)
        ]


def log_edges(low: float, high: float) -> list[float]:
    """Return the edges of bins on a log axis, equally many per decade, from `low` to
    above `high`."""
    edges = [low]
    while edges[-1] <= 1.3 * high:
        edges.append(edges[-1] * 10 ** (1 / BINS_PER_DECADE))
    return edges
