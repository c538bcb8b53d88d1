"""The pool's part of the log of distinct errors: errors that its workers cannot record themselves.

Each error is recorded once, with count, first and last time. The log is in the worker's page
(``shm_error_log_t`` at ``pool_errors``, ``csrc/shm/observe_layout.h``), where it can be read after
the death of pool and worker. Only this process writes it. `rtworkers.history` reads it.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time

from rtworkers import layout
from rtworkers.layout import SHM_ERROR_LOG_BYTES, SHM_ERRORS, EventId
from rtworkers.layout import SHM_POOL_ERRORS_OFFSET as OFFSET

_ENTRY = struct.Struct(layout.ERROR)
_WORD = struct.Struct("=Q")
_WHOLE = struct.pack("=I", 1)  # the state of an entry
_COUNT, _LAST = 8, 24  # offsets in an entry
_MOST = 2**64 - 1


class ErrorLog:
    """The log in the page of a descriptor, which the caller keeps owning. Any thread may use it.

    It uses system calls, so a truncated file causes an error instead of SIGBUS.
    """

    def __init__(self, page_fd: int) -> None:
        self._fd = page_fd
        self._lock = threading.Lock()
        self._places: dict[tuple[int, int, bytes], int] = {}
        log = os.pread(page_fd, SHM_ERROR_LOG_BYTES, OFFSET).ljust(SHM_ERROR_LOG_BYTES, b"\0")
        for place in range(SHM_ERRORS):
            state, kind, _, _, _, number, _, channel, _ = _ENTRY.unpack_from(log, _start(place))
            if not state:
                break
            self._places[kind, number, channel] = place

    def note(self, kind: EventId, text: str = "", *, number: int = 0, channel: str = "") -> None:
        """Count an error. At the first time it is recorded with this text. `number`: the table
        gives its meaning.

        After `close`, or if the page cannot be written, it does nothing.
        """
        name = channel.encode("ascii", "replace")[:64].ljust(64, b"\0")
        with self._lock, contextlib.suppress(OSError, struct.error):
            if self._fd >= 0:
                self._note(kind, text, number, name)

    def _note(self, kind: EventId, text: str, number: int, name: bytes) -> None:
        now_ns = time.monotonic_ns()
        place = self._places.get((kind, number, name))
        if place is not None:
            self._count(_start(place) + _COUNT, _start(place) + _LAST, now_ns)
        elif len(self._places) == SHM_ERRORS:
            self._count(0, 8, now_ns)
        else:
            self._add(len(self._places), kind, text, number, name, now_ns)

    def _add(
        self, place: int, kind: EventId, text: str, number: int, name: bytes, now_ns: int
    ) -> None:
        words = text.encode("utf-8", "replace")[:143]
        entry = _ENTRY.pack(0, kind, 1, now_ns, now_ns, number, 0, name, words)
        os.pwrite(self._fd, entry, OFFSET + _start(place))
        os.pwrite(self._fd, _WHOLE, OFFSET + _start(place))
        self._places[kind, number, name] = place

    def _count(self, times: int, last: int, now_ns: int) -> None:
        (count,) = _WORD.unpack(os.pread(self._fd, _WORD.size, OFFSET + times))
        os.pwrite(self._fd, _WORD.pack((count + 1) & _MOST), OFFSET + times)
        os.pwrite(self._fd, _WORD.pack(now_ns), OFFSET + last)

    def close(self) -> None:
        """Write nothing from now on. May be called more than once."""
        with self._lock:
            self._fd = -1


def _start(place: int) -> int:
    return layout.SHM_SLOT_CURSORS_BYTES + place * _ENTRY.size
