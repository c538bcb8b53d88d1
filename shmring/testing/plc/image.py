"""What a partner's values look like on the wire."""

from __future__ import annotations

import struct
from typing import Any, Literal, Protocol, TypeAlias

Order: TypeAlias = Literal["little", "big"]


class Record(Protocol):
    """A codec of whatever makes payloads, such as ``netflux.records.Codec``."""

    @property
    def size(self) -> int:
        """Of the payload, bytes."""

    def encode(self, record: Any, /) -> bytes:
        """Return the payload."""

    def decode(self, payload: bytes, /) -> Any:
        """Return what it says."""


Layout: TypeAlias = int | str | Record


class _Raw:
    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, record: Any, /) -> bytes:
        return bytes(record)

    def decode(self, payload: bytes, /) -> Any:
        return payload


class _Image:
    def __init__(self, layout: str, order: Order) -> None:
        self._struct = struct.Struct(("<" if order == "little" else ">") + layout)
        self.size = self._struct.size

    def encode(self, record: Any, /) -> bytes:
        return self._struct.pack(*record)

    def decode(self, payload: bytes, /) -> Any:
        return self._struct.unpack(payload)


def record_of(layout: Layout, order: Order) -> Record:
    """int: so many bytes, as they are. str: formats of `struct`, in the partner's byte order and
    without padding; values are tuples. Else a codec, which brings its own order.

    Raises ValueError for a negative size or a bad format.
    """
    if isinstance(layout, str):
        try:
            return _Image(layout, order)
        except struct.error as reason:
            raise ValueError(f"layout {layout!r}: {reason}; give formats without order") from None
    if isinstance(layout, int):
        if layout < 0:
            raise ValueError(f"layout is {layout}; a size in bytes is at least 0")
        return _Raw(layout)
    return layout
