"""The payload: the record of the original, or a class that replaces it."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

_RECORD = struct.Struct("<ffIII")
_UINT_MAX = 2**32 - 1
_FLOATS = ("value1", "value2")
_INTEGERS = ("value3", "value4", "flags")


@dataclass
class NetfluxData:
    """Two 32-bit floats and three unsigned 32-bit integers, little-endian: 20 bytes."""

    value1: float = 0.0
    value2: float = 0.0
    value3: int = 0
    value4: int = 0
    flags: int = 0

    def to_bytes(self) -> bytes:
        """Return the payload. Raises struct.error, and OverflowError for a number that is too large
        for a 32-bit float. Both name the field."""
        try:
            return _RECORD.pack(self.value1, self.value2, self.value3, self.value4, self.flags)
        except (struct.error, OverflowError):
            self._explain()

    @classmethod
    def from_bytes(cls, data: bytes) -> NetfluxData:
        """Make an object from a payload. A shorter one is filled up with zeros, and the rest of a
        longer one is ignored."""
        return cls(*_RECORD.unpack(bytes(data[: _RECORD.size]).ljust(_RECORD.size, b"\0")))

    @staticmethod
    def get_size() -> int:
        """Return the size of the payload: 20."""
        return _RECORD.size

    def _explain(self) -> NoReturn:
        for name in _FLOATS:
            value = getattr(self, name)
            try:
                struct.pack("<f", value)
            except OverflowError:
                raise OverflowError(f"{name} is {value!r}, too large for a 32-bit float") from None
            except struct.error:
                raise struct.error(f"{name} is {value!r}; it must be a number") from None
        for name in _INTEGERS:
            value = getattr(self, name)
            try:
                struct.pack("<I", value)
            except struct.error:
                raise struct.error(
                    f"{name} is {value!r}; it must be an integer from 0 to {_UINT_MAX}"
                ) from None
        raise struct.error("a field changed while it was written")


@dataclass(frozen=True, slots=True)
class Payload:
    """Converts objects of a class to payloads, and payloads to objects."""

    size: int
    make: Callable[[], Any]
    """An object with the class's defaults."""
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def payload_of(data_class: Any) -> Payload:
    """Return the converter of a data class, see `NetfluxMain`. Raises TypeError, RecordError."""
    if isinstance(data_class, type):
        if all(hasattr(data_class, name) for name in ("to_bytes", "from_bytes", "get_size")):
            sample = data_class()
            return Payload(
                sample.get_size(), data_class, lambda value: value.to_bytes(), sample.from_bytes
            )
        if dataclasses.is_dataclass(data_class):
            from shmring.netflux.records import Codec

            return payload_of(Codec(data_class))
    elif all(hasattr(data_class, name) for name in ("encode", "decode", "size", "record")):
        return Payload(data_class.size, data_class.record, data_class.encode, data_class.decode)
    raise TypeError(
        f"data_class is {data_class!r}; it must be a class with to_bytes, from_bytes and get_size, "
        "a dataclass with the types of shmring.netflux.records, or a shmring.netflux.records.Codec"
    )
