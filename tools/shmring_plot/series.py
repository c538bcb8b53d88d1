"""The data of a picture: the rows of a recording that belong together, and their sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from rtworkers.verdicts import LATE
from shmring.recording import Header, Recording, Row
from shmring_plot.distribution import Distribution

NS_PER_S = 1_000_000_000

PERCENTILES = ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max"))
MAX_SLOTS = 400


@dataclass(frozen=True, slots=True)
class Slot:
    """Some consecutive intervals, as one point of a time line."""

    start_ns: int
    """Time since the start of the recording."""
    end_ns: int
    lateness: Distribution
    sent: int
    late: dict[str, int]
    """Packets per verdict that means late."""
    covered_ns: int
    """The time that its intervals cover, without gaps between them."""
    restarted: bool
    """Whether a new worker took over during these intervals."""


@dataclass(frozen=True, eq=False)
class Series:
    """Rows of one recording: a channel, or several combined."""

    label: str
    header: Header
    rows: list[Row]

    @cached_property
    def lateness(self) -> Distribution:
        return _lateness(self.rows)

    @cached_property
    def start_ns(self) -> int:
        """Start of the first interval, since the start of the recording."""
        return min((self._begin(row) for row in self.rows), default=0)

    @cached_property
    def end_ns(self) -> int:
        """End of the last interval, since the start of the recording."""
        return max((self._end(row) for row in self.rows), default=0)

    @cached_property
    def covered_ns(self) -> int:
        """The time that its intervals cover, without gaps between them."""
        return self._covered_ns(self.rows)

    @property
    def sent(self) -> int:
        return sum(row.tx_sent for row in self.rows)

    def counts(self) -> dict[str, int]:
        """Packets per verdict that means late."""
        return {name: sum(getattr(row, name) for row in self.rows) for name in LATE}

    def facts(self) -> dict[str, int | float | str]:
        """Return the values that people compare, in base units."""
        seconds = max(self.end_ns - self.start_ns, 1) / NS_PER_S
        facts: dict[str, int | float | str] = {
            "series": self.label,
            "seconds": round(seconds, 3),
            "packets": len(self.lateness),
            "tx_pps": round(self.sent * NS_PER_S / max(self.covered_ns, 1), 1),
            **self.counts(),
        }
        for share, name in PERCENTILES:
            key = name.replace(".", "") if share < 1 else name
            facts[f"lateness_{key}_ns"] = self.lateness.quantile_ns(share)
        return facts

    @cached_property
    def timeline(self) -> list[Slot]:
        """`slots`, cached."""
        return self.slots()

    def slots(self, limit: int = MAX_SLOTS) -> list[Slot]:
        """Return the time line in about `limit` points at most. Points without rows are
        left out."""
        if not self.rows:
            return []
        interval = max(1, self.header.interval_ns)
        span = self.end_ns - self.start_ns
        width = interval * max(1, -(-span // (interval * limit)))
        groups: dict[int, list[Row]] = {}
        for row in self.rows:
            # An interval belongs where its middle is: its end may be slightly late or early.
            middle = (self._begin(row) + self._end(row)) // 2
            groups.setdefault((middle - self.start_ns) // width, []).append(row)
        return list(self._slots(groups))

    def _slots(self, groups: dict[int, list[Row]]) -> Iterator[Slot]:
        epochs: dict[tuple[str, str], int] = {}
        for index in sorted(groups):
            rows = groups[index]
            restarted = False
            for row in rows:
                key = (row.namespace, row.channel)
                restarted |= row.worker_epoch > epochs.get(key, row.worker_epoch)
                epochs[key] = row.worker_epoch
            yield Slot(
                min(map(self._begin, rows)),
                max(map(self._end, rows)),
                _lateness(rows),
                sum(row.tx_sent for row in rows),
                {name: sum(getattr(row, name) for row in rows) for name in LATE},
                self._covered_ns(rows),
                restarted,
            )

    def _covered_ns(self, rows: Iterable[Row]) -> int:
        """Return the length of the union of their intervals."""
        spans = sorted((self._begin(row), self._end(row)) for row in rows)
        covered, until = 0, spans[0][0]
        for begin, end in spans:
            covered += max(0, end - max(begin, until))
            until = max(until, end)
        return covered

    def _begin(self, row: Row) -> int:
        return self._end(row) - row.interval_ns

    def _end(self, row: Row) -> int:
        return row.mono_time_ns - self.header.started_mono_ns


def worst_first(series: Iterable[Series]) -> list[Series]:
    """Sort by the share of late packets, then by the p99 of lateness."""
    return sorted(series, key=_badness, reverse=True)


def _badness(one: Series) -> tuple[float, int]:
    return sum(one.counts().values()) / max(1, len(one.lateness)), one.lateness.quantile_ns(0.99)


def _lateness(rows: Iterable[Row]) -> Distribution:
    return Distribution((row.lateness_buckets, row.lateness_max_ns) for row in rows)


def split(recording: Recording, name: Callable[[Row], str]) -> list[Series]:
    """Return one series per name that `name` gives the rows, in order of their first row."""
    groups: dict[str, list[Row]] = {}
    for row in recording.rows:
        groups.setdefault(name(row), []).append(row)
    return [Series(label, recording.header, rows) for label, rows in groups.items()]
