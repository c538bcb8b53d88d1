"""Histograms of durations, in the format of the C code."""

from typing import Any

from shmring._ring import ffi, lib

# The copy overwrites all of its 8 kB.
_new: Any = ffi.new_allocator(should_clear_after_alloc=False)

_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


class Histogram:
    """A copy of a histogram of durations from 1 ns to 137 s, with an error of at most 1.6 %."""

    __slots__ = ("_hist",)

    def __init__(self, source: Any) -> None:
        """source: a cdata ``rt_hist_t *``. It is copied."""
        self._hist = _new("rt_hist_t *")
        lib.channel_copy_hist(self._hist, source)

    @property
    def count(self) -> int:
        """Number of values."""
        return int(self._hist.count)

    @property
    def sum(self) -> int:
        """Sum of all values, ns."""
        return int(self._hist.sum_ns)

    @property
    def min(self) -> int:
        """Lowest value, ns. 0 if there is none."""
        return int(self._hist.min_ns)

    @property
    def max(self) -> int:
        """Highest value, ns. 0 if there is none."""
        return int(self._hist.max_ns)

    @property
    def mean(self) -> float:
        """Mean, ns. 0.0 if there is no value."""
        return self.sum / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int:
        """Return the duration, in ns, below which `percent` (0 to 100) of the values are.

        Returns 0 for an empty histogram. Raises ValueError outside of 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percentile is {percent!r}: it must be 0 to 100")
        return int(lib.rt_hist_quantile_ns(self._hist, percent / 100))

    def __add__(self, other: "Histogram") -> "Histogram":
        """Return a histogram with the values of both."""
        both = Histogram(self._hist)
        lib.channel_add_hist(both._hist, other._hist)
        return both

    def buckets(self) -> list[tuple[int, int]]:
        """Return (largest value of the bucket in ns, entries in it) for each bucket that is not
        empty."""
        counts = ((i, lib.channel_hist_bucket(self._hist, i)) for i in range(lib.RT_HIST_BUCKETS))
        return [(lib.rt_hist_lower_ns(i + 1) - 1, n) for i, n in counts if n]

    def to_dict(self) -> dict[str, float]:
        """Return count, min, max, mean and some percentiles, in ns."""
        facts: dict[str, float] = {
            "count": self.count,
            "min_ns": self.min,
            "max_ns": self.max,
            "mean_ns": self.mean,
        }
        for percent in _PERCENTILES:
            facts[f"p{percent:g}_ns"] = self.percentile(percent)
        return facts

    def __reduce__(self) -> tuple[Any, ...]:
        return _histogram, (bytes(ffi.buffer(self._hist)),)

    def __repr__(self) -> str:
        if not self.count:
            return "<Histogram, empty>"
        return (
            f"<Histogram of {self.count}: p50 {self.percentile(50)} ns, "
            f"p99 {self.percentile(99)} ns, max {self.max} ns>"
        )


def _histogram(raw: bytes) -> Histogram:
    """Recreate a pickled histogram."""
    return Histogram(ffi.from_buffer("rt_hist_t *", bytearray(raw)))
