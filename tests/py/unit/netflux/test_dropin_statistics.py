"""What is left of a histogram behind `reset`: arithmetic on buckets."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from netflux._statistics import _summary

MS = 1_000_000


@dataclass
class Buckets:
    """A histogram whose buckets hold one value each, as a `Histogram` shows itself."""

    values: list[int] = field(default_factory=list)

    @property
    def count(self):
        return len(self.values)

    @property
    def sum(self):
        return sum(self.values)

    @property
    def mean(self):
        return self.sum / self.count if self.count else 0.0

    @property
    def min(self):
        return min(self.values, default=0)

    @property
    def max(self):
        return max(self.values, default=0)

    def percentile(self, percent):
        ordered = sorted(self.values)
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0

    def buckets(self):
        return [(value, self.values.count(value)) for value in sorted(set(self.values))]


def test_without_an_earlier_copy():
    now = Buckets([MS, 2 * MS, 3 * MS])
    expected = {"avg": 2.0, "min": 1.0, "max": 3.0, "p50": 2.0, "p99": 3.0}
    assert _summary(now, None) == expected
    assert _summary(now, Buckets()) == expected
    assert set(_summary(Buckets(), None).values()) == {0.0}


def test_nothing_new():
    values = Buckets([MS, 2 * MS])
    assert set(_summary(values, Buckets([MS, 2 * MS])).values()) == {0.0}


@pytest.mark.parametrize("seed", range(20))
def test_what_came_since(seed):
    chance = random.Random(seed)
    before = [chance.randrange(1, 30) * MS for _ in range(chance.randrange(1, 300))]
    since = [chance.randrange(1, 30) * MS for _ in range(chance.randrange(1, 300))]
    assert _summary(Buckets(before + since), Buckets(before)) == pytest.approx(
        _summary(Buckets(since), None)
    )
