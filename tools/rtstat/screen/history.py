"""A few numbers of each channel at each snapshot, for the sparklines."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from rtstat.snapshot import Event, Snapshot
from rtstat.views import LOST, ChannelView

SNAPSHOTS = 120
EVENTS = 100


class Moment(NamedTuple):
    """One channel between two snapshots."""

    tx_pps: float
    rx_pps: float
    p99_ns: int
    max_ns: int
    late: int
    lost: int
    seconds: float
    """Time since the snapshot before."""


class Happened(NamedTuple):
    """An event, and when a snapshot found it."""

    real_ns: int
    event: Event


class History:
    """The last `SNAPSHOTS` moments of every channel."""

    def __init__(self) -> None:
        self._moments: dict[tuple[str, str], deque[Moment]] = {}
        self._happened: deque[Happened] = deque(maxlen=EVENTS)

    def add(self, shot: Snapshot) -> None:
        """Add a snapshot, and forget the channels that are gone."""
        self._happened.extendleft(Happened(shot.real_ns, event) for event in shot.events)
        before, self._moments = self._moments, {}
        for channel in shot.channels:
            moments = before.get(channel.key) or deque(maxlen=SNAPSHOTS)
            self._moments[channel.key] = moments
            if channel.seconds is not None:
                moments.append(_moment(channel))

    @property
    def happened(self) -> list[Happened]:
        """The latest events, newest first."""
        return list(self._happened)

    def of(self, key: tuple[str, str]) -> list[Moment]:
        """The moments of a channel, oldest first. Empty for an unknown channel."""
        return list(self._moments.get(key, ()))


def _moment(channel: ChannelView) -> Moment:
    return Moment(
        channel.tx_pps or 0.0,
        channel.rx_pps or 0.0,
        channel["lateness_interval_p99_ns"],
        channel["lateness_interval_max_ns"],
        channel.late_delta or 0,
        sum(channel.delta(name) or 0 for name in LOST),
        channel.seconds or 0.0,
    )
