"""Keeps the raw data that was read in the last seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from shmring.net.tap.log import Batch


class Keeper:
    """Batches of the last `keep_ns`, in at most `limit_bytes` of memory. The oldest are dropped
    first."""

    def __init__(self, keep_ns: int, limit_bytes: int) -> None:
        self._keep_ns = keep_ns
        self._limit_bytes = limit_bytes
        self._batches: deque[tuple[int, Batch]] = deque()
        self._bytes = 0
        self.dropped = 0
        """Datagrams that were dropped because of `limit_bytes`."""

    def add(self, batch: Batch, now_ns: int) -> None:
        """Add what was read at `now_ns`, and drop what is too old by then."""
        self._batches.append((now_ns, batch))
        self._bytes += len(batch.raw)
        self.expire(now_ns)
        while self._bytes > self._limit_bytes and len(self._batches) > 1:
            self.dropped += self._drop().datagrams

    def expire(self, now_ns: int) -> None:
        """Drop what was read longer than the time to keep before `now_ns`."""
        while self._batches and self._batches[0][0] < now_ns - self._keep_ns:
            self._drop()

    def _drop(self) -> Batch:
        _, batch = self._batches.popleft()
        self._bytes -= len(batch.raw)
        return batch

    def take_all(self) -> Iterator[Batch]:
        """Return everything, oldest first."""
        while self._batches:
            yield self._drop()

    @property
    def held_bytes(self) -> int:
        return self._bytes
