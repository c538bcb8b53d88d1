"""The log of a tap, in the process that reads it."""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import dataclass

from shmring import _check
from shmring._ring import ffi, lib

TAKE_BYTES = 1 << 20
PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Batch:
    """Records as they were copied from the log."""

    raw: bytes
    datagrams: int
    late: int
    """How many of the packets have a verdict that means late."""
    marks: int
    lost_before: int
    """Datagrams that were overwritten before the first of these was read."""


def memory_bytes(buffer_bytes: int) -> int:
    """Return the size of the memory of a log with a buffer of this size. Raises `BadConfig`."""
    size = -(-buffer_bytes // PAGE_BYTES) * PAGE_BYTES + int(lib.TAP_HEAD_BYTES)
    _check.check(lib.tap_bytes_check(size))
    return size


class TapLog:
    """Memory to which only a worker writes, and which it has made a log."""

    def __init__(self, fd: int, size: int) -> None:
        """Takes `fd` over. Raises `NoSpace`, `LayoutMismatch`."""
        try:
            self._memory = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
        except OSError as reason:
            raise _check.error(
                reason.errno or errno.ENOMEM,
                f"mapping {size} bytes of a tap: {reason.strerror}: use a smaller buffer",
            ) from None
        finally:
            os.close(fd)
        self._view = ffi.from_buffer(self._memory)
        self._reader = ffi.new("tap_reader_t *")
        self._batch = ffi.new("tap_batch_t *")
        self._buffer = ffi.new("uint8_t[]", TAKE_BYTES)
        _check.check(lib.tap_reader_init(self._reader, self._view, size))

    def take(self) -> Batch | None:
        """Return some of the next records, or None if there are none now."""
        batch = self._batch
        if lib.tap_reader_take(self._reader, self._buffer, TAKE_BYTES, batch) == 0:
            return None
        raw = bytes(ffi.buffer(self._buffer, batch.bytes))
        return Batch(raw, batch.datagrams, batch.late, batch.marks, batch.lost_before)

    @property
    def state(self) -> int:
        """``TAP_LIVE``, ``TAP_CLOSED`` or ``TAP_FAILED``."""
        return int(lib.tap_reader_state(self._reader))

    @property
    def untold(self) -> int:
        """Datagrams that were overwritten after the last record that is left."""
        return int(lib.tap_reader_unreported(self._reader))

    def close(self) -> None:
        """Unmap the memory. The worker frees it after the connection has ended."""
        if not self._memory.closed:
            ffi.release(self._view)
            self._memory.close()
