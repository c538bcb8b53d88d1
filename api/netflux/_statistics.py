"""The tracker of a running link. It reads what the worker measures at each datagram."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from ._tracker import NetfluxStatistics, NetfluxStatisticsTracker

if TYPE_CHECKING:
    from shmring import netflux
    from shmring.histogram import Histogram

    from ._link import Link
    from ._receiver import NetfluxReceiver

_NS_PER_MS = 1e6
_KINDS = ("avg", "min", "max", "p50", "p99")
_MEASURED = ("partner_interval", "own_interval", "rtt")


class LinkStatistics(NetfluxStatisticsTracker):
    """Statistics of the link that a receiver and a sender share.

    Own intervals come from the sends. The partner's intervals and round trips come from the
    kernel's receive timestamps. They start at `start` or `reset`. The two totals continue after a
    restart.
    """

    def __init__(self, receiver: NetfluxReceiver, cycle_time_ms: float) -> None:
        super().__init__(cycle_time_ms)
        self._receiver = receiver
        self._reset_link: Link | None = None
        self._reset_look: netflux.Stats | None = None
        self._reset_lost = (0, 0)

    def update(self, recv_seq_number: int, send_seq_number: int, feedback_seq_number: int) -> None:
        """Does nothing: this link needs no samples."""

    @property
    def stats(self) -> NetfluxStatistics:
        """As `get_stats`."""
        return self.get_stats()

    def get_stats(self) -> NetfluxStatistics:
        """Return a copy of the results."""
        link = self._receiver._link
        if link is None:
            return NetfluxStatistics()
        look = link.stats()
        before = self._reset_look if link is self._reset_link else None
        partner_lost, ack_lost = self._lost()
        found: dict[str, Any] = {}
        for what in _MEASURED:
            base = None if before is None else getattr(before, what)
            for kind, value_ms in _summary(getattr(look, what), base).items():
                found[f"{kind}_{what}"] = value_ms
        return NetfluxStatistics(
            last_rtt=(look.last_rtt_ns or 0) / _NS_PER_MS if found["avg_rtt"] else 0.0,
            total_partner_lost_packets=partner_lost - self._reset_lost[0],
            total_feedback_lost_packets=ack_lost - self._reset_lost[1],
            **found,
        )

    def reset(self) -> None:
        """Set all results to 0."""
        self._reset_link = self._receiver._link
        self._reset_look = None if self._reset_link is None else self._reset_link.stats()
        self._reset_lost = self._lost()

    def _lost(self) -> tuple[int, int]:
        partner_lost, ack_lost = self._receiver._count("partner_lost", "ack_lost")
        return partner_lost, ack_lost


def _summary(now: Histogram, base: Histogram | None) -> dict[str, float]:
    """Mean, extremes and percentiles, in ms, of a histogram minus an earlier copy of it."""
    if base is None or not base.count:
        values_ns = (now.mean, now.min, now.max, now.percentile(50), now.percentile(99))
    else:
        more = Counter(dict(now.buckets()))
        more.subtract(dict(base.buckets()))
        rows = sorted((value_ns, count) for value_ns, count in more.items() if count > 0)
        total = sum(count for _, count in rows)
        if not total:
            return dict.fromkeys(_KINDS, 0.0)
        values_ns = (
            (now.sum - base.sum) / total,
            rows[0][0],
            rows[-1][0],
            _rank(rows, total * 0.5),
            _rank(rows, total * 0.99),
        )
    return dict(zip(_KINDS, (value_ns / _NS_PER_MS for value_ns in values_ns), strict=True))


def _rank(rows: list[tuple[int, int]], rank: float) -> int:
    """The first value whose cumulative count reaches this number."""
    below = itertools.accumulate(count for _, count in rows)
    return next(value for (value, _), so_far in zip(rows, below, strict=True) if so_far >= rank)
