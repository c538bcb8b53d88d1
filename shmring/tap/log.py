"""The log of a tap, in the process that made its memory."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from dataclasses import dataclass

from shmring import _check
from shmring._ring import ffi, lib

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
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


class TapLog:
    """Memory to which only a worker writes. It is sealed, reserved, and accounted to
    this process."""

    def __init__(self, size_bytes: int) -> None:
        """Raises `BadConfig`, `NoSpace`."""
        size = -(-size_bytes // PAGE_BYTES) * PAGE_BYTES + int(lib.TAP_HEAD_BYTES)
        _check.check(lib.tap_bytes_check(size))
        self.fd = os.memfd_create("shmring-tap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(self.fd, 0, size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEALS)
            self._memory = mmap.mmap(self.fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
        except OSError as reason:
            os.close(self.fd)
            raise _check.error(
                reason.errno or errno.ENOMEM,
                f"{size} bytes of memory for a tap: {reason.strerror}: use a smaller buffer",
            ) from None
        self._size = size
        self._view = ffi.from_buffer(self._memory)
        self._reader = ffi.new("tap_reader_t *")
        self._batch = ffi.new("tap_batch_t *")
        self._buffer = ffi.new("uint8_t[]", TAKE_BYTES)

    def begin(self) -> None:
        """Called after a worker has made the memory its log. Raises `LayoutMismatch`."""
        _check.check(lib.tap_reader_init(self._reader, self._view, self._size))

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
        """Give the memory back. The worker must have been told before."""
        if self.fd >= 0:
            ffi.release(self._view)
            self._memory.close()
            os.close(self.fd)
            self.fd = -1
