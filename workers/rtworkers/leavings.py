"""Gives back the memory of closed channels, although clients still hold it.

A reader may read the rest of a closed channel, so its file stays whole for some seconds. Then the
pool cuts it, whoever has it mapped (`csrc/shm/bus_guard.h`). A file that has another name was
linked by a client and is cut at once. Only pools with a group do this: on others all clients belong
to one user.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

KEPT_S = 5.0
HEAD_BYTES = 2 * 4096
"""Identity and state of a segment, so that its clients still read that it is closed."""


@dataclass(frozen=True, slots=True)
class _Left:
    fd: int
    uid: int
    bytes: int
    until_s: float

    def cut(self) -> None:
        try:
            os.ftruncate(self.fd, HEAD_BYTES)
        finally:
            os.close(self.fd)


class Leavings:
    """The files of closed channels that are not cut yet. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[_Left] = []

    def add(self, fd: int, uid: int) -> None:
        """Take over the file of a closed channel, which has lost its name. `uid` opened it."""
        facts = os.fstat(fd)
        left = _Left(fd, uid, facts.st_blocks * 512, time.monotonic() + KEPT_S)
        if facts.st_nlink:
            left.cut()
            return
        with self._lock:
            self._left.append(left)

    def bytes_of(self, uid: int) -> int:
        """Return how much memory the closed channels of a user still have."""
        with self._lock:
            return sum(left.bytes for left in self._left if left.uid == uid)

    def give_back_of(self, uid: int) -> None:
        """Cut all files of a user now."""
        self._cut(lambda left: left.uid == uid)

    def give_back_due(self) -> float | None:
        """Cut the files whose time has come. Return the seconds until the next one."""
        now_s = time.monotonic()
        self._cut(lambda left: left.until_s <= now_s)
        with self._lock:
            return min((left.until_s - now_s for left in self._left), default=None)

    def give_back(self) -> None:
        """Cut all files now."""
        self._cut(lambda _: True)

    def forget(self) -> None:
        """In a forked child: close the files, and leave them whole."""
        for left in self._left:
            os.close(left.fd)
        self._left = []

    def _cut(self, chosen: Callable[[_Left], bool]) -> None:
        with self._lock:
            cut = [left for left in self._left if chosen(left)]
            self._left = [left for left in self._left if not chosen(left)]
        for left in cut:
            left.cut()
