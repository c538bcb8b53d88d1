"""Rows of named numbers, which `shmring.observe.monitor` read: the last ones and those before.

A number is converted when it is used, because most are not used.
"""

from __future__ import annotations

from collections.abc import Iterator

from rtstat.frozen import Frozen
from shmring.observe import monitor, reading

NS_PER_S = 1_000_000_000

Words = dict[str, int]
"""Name of a number: its position in a row."""


CHANNEL_WORDS = reading.PLACES
WORKER_WORDS = {name: i for i, name in enumerate(monitor.WORKER_WORDS)}
ENGINE_WORDS = {
    engine: reading.places(words, len(CHANNEL_WORDS))
    for engine, words in monitor.ENGINE_WORDS.items()
}
CHANNEL_HISTOGRAMS = tuple(word[0] for word in reading.CHANNEL_HISTOGRAMS)
NETFLUX_HISTOGRAMS = tuple(word[0] for word in monitor.ENGINE_HISTOGRAMS["netflux"])


def name_of(names: tuple[str, ...] | dict[int, str], number: int) -> str:
    """Return the name of a number, or the number itself if it has no name."""
    known = names if isinstance(names, dict) else dict(enumerate(names))
    return known.get(number, str(number))


class Times(Frozen):
    """A summary of a histogram of durations, ns. All values are 0 if nothing was measured."""

    count: int
    min_ns: int
    max_ns: int
    mean_ns: float
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int

    @classmethod
    def make(cls, numbers: Numbers, name: str, interval: bool) -> Times | None:
        """Return the summary of an interval, or None without a previous snapshot."""
        if interval:
            if numbers.seconds is None:
                return None
            head = f"{name}_interval_"
            total = numbers.delta(f"{name}_sum_ns") or 0
            least = 0
        else:
            head = f"{name}_"
            total = numbers[f"{name}_sum_ns"]
            least = numbers[f"{name}_min_ns"]
        count = numbers[head + "count"]
        return cls(
            count,
            least,
            numbers[head + "max_ns"],
            total / count if count else 0.0,
            numbers[head + "p50_ns"],
            numbers[head + "p90_ns"],
            numbers[head + "p99_ns"],
            numbers[head + "p999_ns"],
        )


class Numbers(Frozen):
    """Numbers by name, at this snapshot and at the previous one."""

    now: memoryview
    before: memoryview | None
    """None: there was no previous snapshot, or the values were reset since then."""
    places: Words
    """Name of a number: its position in the row."""
    seconds: float | None
    """Time between the two snapshots."""

    def __getitem__(self, name: str) -> int:
        value: int = self.now[self.places[name]]
        return value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self.places)} numbers>"

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def delta(self, name: str) -> int | None:
        """Return how much a counter grew since the previous snapshot, or None if there was none."""
        if self.before is None:
            return None
        place = self.places[name]
        grown: int = self.now[place] - self.before[place]
        return max(0, grown)

    def rate(self, name: str) -> float | None:
        """The same per second."""
        grown = self.delta(name)
        return grown / self.seconds if grown is not None and self.seconds else None

    def times(self, name: str, *, interval: bool = False) -> Times | None:
        """Return the summary of a histogram. None: an interval without a previous snapshot."""
        return Times.make(self, name, interval)
