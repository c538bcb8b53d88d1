"""The format of a partner's values on the wire."""

from __future__ import annotations

import struct
from typing import Any, Literal, Protocol, TypeAlias

Order: TypeAlias = Literal["little", "big"]


class Record(Protocol):
    """A codec for payloads, such as ``shmring.netflux.records.Codec``."""

    @property
    def size(self) -> int:
        """Size of the payload, bytes."""
        ...

    def encode(self, record: Any, /) -> bytes:
        """Return the payload."""
        ...

    def decode(self, payload: bytes, /) -> Any:
        """Return the values of a payload."""
        ...


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
    """Return the codec of a layout. int: that many raw bytes. str: a format of `struct` in the
    partner's byte order and without padding, whose values are tuples. Anything else is a codec,
    with a byte order of its own.

    Raises ValueError for a negative size or a bad format.
    """
    if isinstance(layout, str):
        try:
            return _Image(layout, order)
        except struct.error as reason:
            raise ValueError(f"layout is {layout!r}: {reason}, and no byte order") from None
    if isinstance(layout, int):
        if layout < 0:
            raise ValueError(f"layout is {layout}: a size in bytes must be at least 0")
        return _Raw(layout)
    return layout
