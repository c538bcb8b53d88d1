"""The pool's side of the log of distinct errors: what its workers cannot say of themselves.

Each problem stands there once, with how often, first and last time. The log lies in the worker's
page (``shm_error_log_t`` at ``pool_errors``, ``csrc/shm/observe_layout.h``), where it can be read
when pool and worker are dead; this process is its one writer. `shmring.observe` reads it.
"""

from __future__ import annotations

import mmap
import struct
import threading
import time
from enum import IntEnum

OFFSET = 163840
LOG_BYTES = 16512
ERRORS = 64

_HEAD_BYTES = 128
_ENTRY = struct.Struct("=4xIQqqqQ64s144s")  # all but its state
_ENTRY_BYTES = 256


class Kind(IntEnum):
    """Rows of the table ``SHM_EVENTS`` that a pool writes."""

    WORKER_DIED = 35
    WORKER_NOT_STARTED = 36
    WORKER_STALLED = 37
    WORKER_GIVEN_UP = 38
    CHANNEL_GIVEN_UP = 39
    TAKEOVER_FAILED = 40


class ErrorLog:
    """The log in the page behind a descriptor, which stays the caller's. Any thread."""

    def __init__(self, page_fd: int) -> None:
        self._map = mmap.mmap(page_fd, LOG_BYTES, mmap.MAP_SHARED, offset=OFFSET)
        self._words = memoryview(self._map).cast("Q")
        self._halves = memoryview(self._map).cast("I")
        self._lock = threading.Lock()
        self._places: dict[tuple[int, int, bytes], int] = {}
        while len(self._places) < ERRORS and self._halves[_start(len(self._places)) // 4]:
            place = len(self._places)
            kind, _, _, _, number, _, channel, _ = _ENTRY.unpack_from(self._map, _start(place))
            self._places[kind, number, channel] = place

    def note(self, kind: Kind, text: str = "", *, number: int = 0, channel: str = "") -> None:
        """Count a problem; the first time, with these words. `number`: as the table says of `a`.

        After `close`: nothing.
        """
        name = channel.encode("ascii", "replace")[:64].ljust(64, b"\0")
        with self._lock:
            if not self._words:
                return
            now_ns = time.monotonic_ns()
            place = self._places.get((kind, number, name))
            if place is not None:
                self._count(_start(place) // 8 + 1, _start(place) // 8 + 3, now_ns)
                return
            if len(self._places) == ERRORS:
                self._count(0, 1, now_ns)
                return
            place = len(self._places)
            words = text.encode("utf-8", "replace")[:143]
            _ENTRY.pack_into(
                self._map, _start(place), kind, 1, now_ns, now_ns, number, 0, name, words
            )
            self._places[kind, number, name] = place
        # A lock given back and taken again: what was stored before it is seen before what follows.
        with self._lock:
            if self._halves:
                self._halves[_start(place) // 4] = 1

    def _count(self, times: int, last: int, now_ns: int) -> None:
        self._words[times] += 1
        self._words[last] = now_ns

    def close(self) -> None:
        """Let go of the mapping; a second call does nothing."""
        with self._lock:
            self._words.release()
            self._halves.release()
            self._words = self._halves = memoryview(b"")
            self._map.close()


def _start(place: int) -> int:
    return _HEAD_BYTES + place * _ENTRY_BYTES
