"""Joins sent packets with their timestamps, which arrive later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from shmring.net.tap import records
from shmring.net.tap.records import Record

PATIENCE_NS = 1_000_000_000
"""A timestamp that has not come after this time was lost with a worker, or overwritten."""


class StampMerger:
    """Records go in as they are read, and come out in the same order, each with its timestamp.

    A packet that waits for its timestamp delays those after it. The worker waits some ms for a
    timestamp and then reports that none came.
    """

    def __init__(self) -> None:
        self._queue: deque[Record] = deque()
        self._first = 0
        self._waiting: dict[int, int] = {}

    def feed(self, record: Record) -> None:
        """Add a record of any kind, in the order of the log."""
        if record.kind == records.STAMPED:
            place = self._waiting.pop(record.number, None)
            if place is not None:
                before = self._queue[place - self._first]
                stamped_ns, stamp = record.stamped_ns, record.stamp
                self._queue[place - self._first] = before._replace(
                    stamped_ns=stamped_ns, stamp=stamp, flags=before.flags & ~records.AWAITS_STAMP
                )
            return
        if record.flags & records.AWAITS_STAMP:
            self._waiting[record.number] = self._first + len(self._queue)
        self._queue.append(record)

    def ready(self, now_ns: int) -> Iterator[Record]:
        """Return the records that need not wait any more. `now_ns`: in the channel's clock."""
        while self._queue:
            first = self._queue[0]
            if first.flags & records.AWAITS_STAMP:
                if now_ns - first.sent_ns < PATIENCE_NS:
                    return
                self._waiting.pop(first.number, None)
            self._queue.popleft()
            self._first += 1
            yield first

    def rest(self) -> Iterator[Record]:
        """Return all records, with or without timestamps, because no more will come."""
        self._waiting.clear()
        while self._queue:
            first = self._queue.popleft()
            self._first += 1
            yield first

    def __len__(self) -> int:
        return len(self._queue)
