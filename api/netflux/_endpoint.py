"""The base of receiver and sender: a link that is opened and closed, and counters that continue."""

from __future__ import annotations

import itertools
import math
import operator
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from ._link import Link

if TYPE_CHECKING:
    from shmring import netflux

JOIN_S = 2.0
RETRY_S = 0.1
_MAX_PAYLOAD_BYTES = 1499
_LONGEST_S = 3600.0
NS_PER_S = 1_000_000_000

_COUNTERS = (
    *("sent", "send_failed", "accepted", "oversize", "timeouts", "partner_lost", "ack_lost"),
    *("rejected_short", "rejected_repeated", "rejected_old", "rejected_foreign"),
)

_numbers = itertools.count(1)


class Endpoint:
    """One end, with or without a link."""

    def __init__(self, pool: Any, name: str | None, verbose: bool | None) -> None:
        self.pool = pool
        self.name = name
        self.verbose = verbose
        # Of start and stop. Never held while the user's functions run.
        self._lifecycle = threading.RLock()
        self._running = False
        self._link: Link | None = None
        # What must be added to the link's counters.
        self._before: dict[str, int] = {}
        self._stamp = (0, 0.0)

    @property
    def running(self) -> bool:
        """True from `start` to `stop`."""
        return self._running

    @property
    def channel(self) -> Any:
        """The `shmring.netflux.Channel` while it runs, otherwise None."""
        return self._link.channel if self._running and self._link is not None else None

    def _use(self, link: Link) -> None:
        """Continue with this link, whose counters may not start at 0."""
        total, look = self._count(*_COUNTERS), link.look()
        self._before = {
            name: count - getattr(look, name) for name, count in zip(_COUNTERS, total, strict=True)
        }
        self._link = link

    def _need_link(self) -> Link:
        assert self._link is not None
        return self._link

    def _is_broken(self) -> bool:
        return self._link is not None and self._link.broken

    def _look(self) -> netflux.Link | None:
        return None if self._link is None else self._link.look()

    def _count(self, *names: str) -> list[int]:
        """Sum of the counters of all links so far."""
        link = self._link
        look = None if link is None else link.look()
        return [self._total(name, look) for name in names]

    def _total(self, counter: str, look: netflux.Link | None) -> int:
        before = self._before.get(counter, 0)
        return before if look is None else before + getattr(look, counter)

    def _channel_name(self) -> str:
        return self.name or f"netflux-{os.getpid()}-{next(_numbers)}"

    def _wall_time(self, mono_ns: int) -> float:
        """Seconds of the wall clock. Equal for equal arguments."""
        if mono_ns == 0:
            return 0.0
        if self._stamp[0] != mono_ns:
            age_ns = time.monotonic_ns() - mono_ns
            self._stamp = (mono_ns, (time.time_ns() - age_ns) / NS_PER_S)
        return self._stamp[1]


def check_size(size: Any) -> int:
    """Return a payload's size. Raises ValueError, TypeError."""
    number: int = operator.index(size)
    if not 0 <= number <= _MAX_PAYLOAD_BYTES:
        raise ValueError(f"data_size is {size}; it must be 0 to {_MAX_PAYLOAD_BYTES}")
    return number


def interval_ns(name: str, interval: float, least_s: float, *, endless: bool = False) -> int:
    """Return an interval of seconds in ns. endless: math.inf is 0. Raises ValueError, TypeError."""
    if endless and interval == math.inf:
        return 0
    try:
        fits = least_s <= interval <= _LONGEST_S
    except TypeError:
        raise TypeError(f"{name} is {interval!r}; it must be a number of seconds") from None
    if not fits:
        limits = f"{least_s:g} to {_LONGEST_S:g}" + (", or math.inf" if endless else "")
        raise ValueError(f"{name} is {interval!r} s; it must be {limits}")
    return round(interval * NS_PER_S)
