"""Statistics of a link: the results, and a tracker that the program drives."""

from __future__ import annotations

import bisect
import dataclasses
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

NUMBERS = 256
_NS_PER_MS = 1_000_000
_HALF = NUMBERS // 2


@dataclass
class NetfluxStatistics:
    """The statistics of a link. Times are in ms. 0.0 means not measured yet."""

    avg_partner_interval: float = 0.0
    """Time between two datagrams of the partner, counting lost ones."""
    avg_own_interval: float = 0.0
    """Time between two of our datagrams."""
    last_rtt: float = 0.0
    """Time from one of our datagrams to the first of the partner's that acknowledges it."""
    total_partner_lost_packets: int = 0
    """Datagrams of the partner that are missing between those that arrived."""
    total_feedback_lost_packets: int = 0
    """Our datagrams that no feedback covered before their number was used again."""

    min_partner_interval: float = 0.0
    max_partner_interval: float = 0.0
    p50_partner_interval: float = 0.0
    p99_partner_interval: float = 0.0
    min_own_interval: float = 0.0
    max_own_interval: float = 0.0
    p50_own_interval: float = 0.0
    p99_own_interval: float = 0.0
    avg_rtt: float = 0.0
    min_rtt: float = 0.0
    max_rtt: float = 0.0
    p50_rtt: float = 0.0
    p99_rtt: float = 0.0


class _Recent:
    """The last 256 values, in ms, each with a weight that counts in the mean."""

    def __init__(self, what: str) -> None:
        """what: the end of the names of the results."""
        self._avg, self._min, self._max, self._p50, self._p99 = (
            f"{kind}_{what}" for kind in ("avg", "min", "max", "p50", "p99")
        )
        self._values: deque[tuple[float, int]] = deque()
        self._sorted: list[float] = []
        self._sum = 0.0
        self._weight = 0

    def clear(self) -> None:
        self._values.clear()
        self._sorted.clear()
        self._sum = 0.0
        self._weight = 0

    def add(self, value: float, weight: int = 1) -> None:
        if len(self._values) == NUMBERS:
            oldest, its_weight = self._values.popleft()
            del self._sorted[bisect.bisect_left(self._sorted, oldest)]
            self._sum -= oldest * its_weight
            self._weight -= its_weight
        self._values.append((value, weight))
        bisect.insort(self._sorted, value)
        self._sum += value * weight
        self._weight += weight

    def write_to(self, stats: NetfluxStatistics) -> None:
        """Write the results, if there are values."""
        if not self._sorted:
            return
        last = len(self._sorted) - 1
        setattr(stats, self._avg, max(0.0, self._sum / self._weight))
        setattr(stats, self._min, self._sorted[0])
        setattr(stats, self._max, self._sorted[-1])
        setattr(stats, self._p50, self._sorted[last // 2])
        setattr(stats, self._p99, self._sorted[last * 99 // 100])


class NetfluxStatisticsTracker:
    """Computes statistics from numbers that its caller samples. Call `update` cyclically.

    It sees only the samples: numbers of the partner between two samples count as lost. (A
    `NetfluxMain` measures at each datagram instead, see its `statistics`.) Intervals and round
    trips cover the last 256 changes. There is no lock.
    """

    def __init__(
        self, cycle_time_ms: float = 1.0, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """cycle_time_ms: intended interval between calls of `update`. Time is measured anyway.

        clock: returns ns, and never goes back.
        """
        self.cycle_time_ms = cycle_time_ms
        self._stats = NetfluxStatistics()
        self._clock = clock
        self._updated_ns: int | None = None
        # The partner's side: the number of the sample before, and when it changed.
        self._partner = 0
        self._partner_known = False
        self._partner_ns: int | None = None
        self._partner_intervals = _Recent("partner_interval")
        # Ours, counted on beyond 255, with the time at which each of the last 256 was first seen.
        self._sent = 0
        self._sent_known = False
        self._covered = 0
        self._sent_ns: list[int] = [0] * NUMBERS
        self._own_ns: int | None = None
        self._own_intervals = _Recent("own_interval")
        self._feedback = 0
        self._round_trips = _Recent("rtt")

    @property
    def stats(self) -> NetfluxStatistics:
        """The results. `update` changes them, `reset` replaces them."""
        return self._stats

    def update(self, recv_seq_number: int, send_seq_number: int, feedback_seq_number: int) -> None:
        """Take a sample: the partner's number, ours, and the partner's feedback, each 0 to 255."""
        now_ns = self._clock()
        self._sample_own(send_seq_number % NUMBERS, now_ns)
        self._sample_partner(recv_seq_number % NUMBERS, now_ns)
        self._sample_feedback(feedback_seq_number % NUMBERS, now_ns)
        self._updated_ns = now_ns

    def get_stats(self) -> NetfluxStatistics:
        """Return a copy of `stats`."""
        return dataclasses.replace(self._stats)

    def reset(self) -> None:
        """Set all results to 0. The next samples are still compared with the last one."""
        self._stats = NetfluxStatistics()
        for recent in (self._partner_intervals, self._own_intervals, self._round_trips):
            recent.clear()

    def _sample_own(self, number: int, now_ns: int) -> None:
        if not self._sent_known:
            # It was sent some time before this sample: its round trip is at least what it seems.
            self._sent_known = True
            self._sent = NUMBERS + number
            self._covered = self._sent - (number != 0)
            self._sent_ns[number] = now_ns
            return
        advance = (number - self._sent) % NUMBERS
        if not advance:
            return
        assert self._updated_ns is not None
        before_ns = self._updated_ns
        for step in range(1, advance + 1):
            self._sent += 1
            if self._sent - NUMBERS > self._covered:
                self._covered = self._sent - NUMBERS
                self._stats.total_feedback_lost_packets += 1
            self._sent_ns[self._sent % NUMBERS] = before_ns + (now_ns - before_ns) * step // advance
        if self._own_ns is not None:
            self._own_intervals.add((now_ns - self._own_ns) / advance / _NS_PER_MS, advance)
            self._own_intervals.write_to(self._stats)
        self._own_ns = now_ns

    def _sample_partner(self, number: int, now_ns: int) -> None:
        advance = (number - self._partner) % NUMBERS
        self._partner = number
        if not advance:
            return
        goes_on = self._partner_known and advance < _HALF
        self._partner_known = True
        if goes_on:
            self._stats.total_partner_lost_packets += advance - 1
            if self._partner_ns is not None:
                interval_ms = (now_ns - self._partner_ns) / advance / _NS_PER_MS
                self._partner_intervals.add(interval_ms, advance)
                self._partner_intervals.write_to(self._stats)
        # Else this is the first one, or the partner restarted. If the first one was there before
        # this tracker, its time is unknown.
        self._partner_ns = None if self._updated_ns is None else now_ns

    def _sample_feedback(self, number: int, now_ns: int) -> None:
        if number == self._feedback:
            return
        self._feedback = number
        behind = (self._sent - number) % NUMBERS
        acknowledged = self._sent - behind
        if acknowledged <= self._covered:
            return
        self._covered = acknowledged
        if self._updated_ns is None:
            return
        self._stats.last_rtt = (now_ns - self._sent_ns[number]) / _NS_PER_MS
        self._round_trips.add(self._stats.last_rtt)
        self._round_trips.write_to(self._stats)
