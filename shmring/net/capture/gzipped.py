"""Decompresses a file that gzip has compressed, in pieces of bounded size, also from a pipe."""

import zlib
from collections.abc import Callable

GZIP = b"\x1f\x8b"
"""The first bytes of such a file."""

_FORMAT = 16 + zlib.MAX_WBITS  # header and trailer of gzip
_READ_BYTES = 1 << 16


class Gunzip:
    """Reads what was compressed."""

    def __init__(self, read: Callable[[int], bytes], first: bytes) -> None:
        """read: of the compressed file, which began with `first`."""
        self._read, self._left = read, first
        self._member = zlib.decompressobj(_FORMAT)
        self.taken_bytes = len(first)
        """How much of the compressed file was read."""

    def read_into(self, into: memoryview) -> int:
        """Return how many bytes it wrote, 0 at the end. Raises `ValueError`, and what `read`
        raises."""
        while True:
            try:
                data = self._member.decompress(self._left, len(into))
            except zlib.error as damage:
                raise ValueError(f"the gzip data is damaged: {damage}") from None
            self._left = self._member.unconsumed_tail
            if data:
                into[: len(data)] = data
                return len(data)
            if self._member.eof:  # gzip may append a file to another
                self._left = self._member.unused_data
                self._member = zlib.decompressobj(_FORMAT)
            if not self._left:
                self._left = self._read(_READ_BYTES) or b""
                self.taken_bytes += len(self._left)
                if not self._left:
                    return 0
