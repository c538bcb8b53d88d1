"""The RTP headers (RFC 3550 section 5.1) of many packets that lie in one buffer, as one table.

The original has no such module. With NumPy the table is a structured array of `header_dtype()`.
Without it the table has the same bytes, which `HEADER_STRUCT.iter_unpack` decodes in the order of
`HEADER_FIELDS`.

Columns:

    version, padding, extension, cc, marker, payload_type, seq, ts, ssrc    as in the header
    data_offset     offset of the payload, bytes from the start of the packet
    data_size       bytes of payload, without padding
    error           0, or the reason why it is not RTP: one of `ERRORS`

If `error` is not 0, `data_offset` and `data_size` are 0. All other columns are 0, too, if there are
fewer than 12 bytes (-1).
"""

from __future__ import annotations

import functools
import struct
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rtpsynth import _core
from shmring.extras import missing

if TYPE_CHECKING:
    from typing_extensions import Buffer

# In the order of a row, without padding.
_COLUMNS = {
    "ts": "u4",
    "ssrc": "u4",
    "data_offset": "u4",
    "data_size": "u4",
    "seq": "u2",
    "version": "u1",
    "padding": "?",
    "extension": "?",
    "cc": "u1",
    "marker": "?",
    "payload_type": "u1",
    "error": "i1",
}
# In the order of the header, as in the table.
_ORDER = "version padding extension cc marker payload_type seq ts ssrc data_offset data_size error"

HEADER_FIELDS = tuple(_COLUMNS)
"""Names of the values that `HEADER_STRUCT` unpacks a row into."""

HEADER_STRUCT = struct.Struct("=IIIIHB??B?Bb3x")
"""A row of the table without NumPy."""

ERRORS = {
    -1: "fewer than 12 bytes",
    -2: "not version 2",
    -3: "cut off within the extension's header",
    -4: "cut off within the CSRC list or the extension",
    -5: "the padding flag is set, and nothing follows the header",
    -6: "more padding than bytes after the header",
    -7: "the padding flag is set, and the padding's count is 0",
}
"""Meanings of the numbers in the column `error`."""


@functools.cache
def header_dtype() -> Any:
    """The NumPy type of a row. Raises ImportError without NumPy."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        raise missing("numpy", "numpy", "the table of headers") from None

    table: Any = np.dtype([*_COLUMNS.items(), ("unused", "V3")])
    return table[_ORDER.split()]


def parse_headers(
    buffer: Buffer,
    offsets: Buffer | Iterable[int] | None = None,
    sizes: Buffer | Iterable[int] | int | None = None,
    *,
    stride: int | None = None,
    count: int | None = None,
) -> Any:
    """Read the headers of all packets in a buffer into one table, a row each.

    There are two ways to give the packets:

    * ``offsets`` and ``sizes``: the offset in `buffer` and the size of each packet. Arrays
      of integers of any width, such as those of `shmring.PacketBatch`, or other iterables of ints.
    * ``stride``: one packet every ``stride`` bytes, `count` of them, or as many as there are sizes,
      or as many as fit into `buffer`. Without ``sizes`` each packet has `stride` bytes.

    ``sizes`` may be one int for all.

    Returns a NumPy array of `header_dtype()`. Without NumPy it returns a bytearray, see
    `HEADER_STRUCT`.

    Raises ValueError for a packet outside of the buffer, TypeError for missing or conflicting
    arguments, BufferError for a buffer that is not contiguous.
    """
    if (offsets is None) == (stride is None):
        raise TypeError("parse_headers() takes either offsets or stride")
    if offsets is not None and sizes is None:
        raise TypeError("parse_headers() takes sizes with offsets")
    if count is not None and count < 0:
        raise ValueError(f"count is {count}: use 0 or more")
    size, each = (sizes, None) if isinstance(sizes, int) else (stride, sizes)
    if stride is not None and count is None and each is None:
        count = _rows_in(buffer, stride, size or 0)
    rows = _core.parse_headers(
        buffer,
        _integers(offsets),
        _integers(each),
        0 if stride is None else stride,
        0 if size is None else size,
        -1 if count is None else count,
    )
    try:
        import numpy as np
    except ImportError:
        return rows
    return np.frombuffer(rows, header_dtype())


def _rows_in(buffer: Buffer, stride: int, size: int) -> int:
    if stride <= 0:
        raise ValueError(f"stride is {stride}: use 1 or more, or give count")
    behind_first = memoryview(buffer).nbytes - size
    return behind_first // stride + 1 if behind_first >= 0 else 0


def _integers(values: Buffer | Iterable[int] | None) -> Buffer | None:
    if values is None:
        return None
    try:
        return memoryview(values)  # type: ignore[arg-type]
    except TypeError:
        return array("q", values)  # type: ignore[arg-type]
