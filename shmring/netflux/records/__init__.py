"""A dataclass as a payload: types with a size, and the codec between objects and bytes.

    @dataclass
    class Axis:
        position: LREAL = 0.0
        speed: REAL = 0.0
        homed: BOOL = False
        name: STRING[16] = ""

    codec = Codec(Axis)                  # a CODESYS structure: little-endian
    payload = codec.encode(Axis(1.5))
    axis = codec.decode(payload)

``Codec(Axis, order="big")`` is a data block of S7. `Codec.describe` shows the
offset of each field. Two ends agree if their `Codec.layout_hash` is equal. The package
`shmring_plc` reads definitions in the controller's own language.

Types, and what they are in Python: BOOL and BIT (a bit that shares its byte with its neighbours):
bool; BYTE WORD DWORD LWORD SINT USINT INT UINT DINT UDINT LINT ULINT: int; REAL LREAL: float;
CHAR: str of one character; TIME: int, milliseconds; LTIME: int, nanoseconds; STRING[n]: str
(latin-1); ARRAY[type, n, ...]: list; an `enum.IntEnum`: stored as INT, as another type with
ENUM[Mode, UINT]; a dataclass: a record in the record.

A type checker does not know ``STRING[16]``. ``Annotated[str, STRING(16)]`` is the same and works
for both, as do ``Annotated[list[float], ARRAY(REAL, 4)]`` and
``Annotated[Mode, ENUM(Mode, UINT)]``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from shmring.netflux.records import _codegen, _explain
from shmring.netflux.records._layout import Layout, Leaf, Order, leaves
from shmring.netflux.records.errors import RecordError
from shmring.netflux.records.field_types import SCALARS, Array, Enumeration, RuleName, String

__all__ = [
    "ARRAY",
    "BIT",
    "BOOL",
    "BYTE",
    "CHAR",
    "DINT",
    "DWORD",
    "ENUM",
    "INT",
    "LINT",
    "LREAL",
    "LTIME",
    "LWORD",
    "REAL",
    "SINT",
    "STRING",
    "TIME",
    "UDINT",
    "UINT",
    "ULINT",
    "USINT",
    "WORD",
    "Codec",
    "Leaf",
    "RecordError",
]

BOOL: TypeAlias = Annotated[bool, SCALARS["BOOL"]]
BIT: TypeAlias = Annotated[bool, SCALARS["BIT"]]
BYTE: TypeAlias = Annotated[int, SCALARS["BYTE"]]
WORD: TypeAlias = Annotated[int, SCALARS["WORD"]]
DWORD: TypeAlias = Annotated[int, SCALARS["DWORD"]]
LWORD: TypeAlias = Annotated[int, SCALARS["LWORD"]]
SINT: TypeAlias = Annotated[int, SCALARS["SINT"]]
USINT: TypeAlias = Annotated[int, SCALARS["USINT"]]
INT: TypeAlias = Annotated[int, SCALARS["INT"]]
UINT: TypeAlias = Annotated[int, SCALARS["UINT"]]
DINT: TypeAlias = Annotated[int, SCALARS["DINT"]]
UDINT: TypeAlias = Annotated[int, SCALARS["UDINT"]]
LINT: TypeAlias = Annotated[int, SCALARS["LINT"]]
ULINT: TypeAlias = Annotated[int, SCALARS["ULINT"]]
REAL: TypeAlias = Annotated[float, SCALARS["REAL"]]
LREAL: TypeAlias = Annotated[float, SCALARS["LREAL"]]
CHAR: TypeAlias = Annotated[str, SCALARS["CHAR"]]
TIME: TypeAlias = Annotated[int, SCALARS["TIME"]]
LTIME: TypeAlias = Annotated[int, SCALARS["LTIME"]]
STRING = String
ARRAY = Array
ENUM = Enumeration

T = TypeVar("T")

_DEFAULT_PACK = 8
_HASH_DIGITS = 16


class Codec(Generic[T]):
    """Converts between objects of a dataclass and payloads of a fixed size.

    It is immutable, and any thread may use it.
    """

    def __init__(
        self,
        record: type[T],
        *,
        order: Order | None = None,
        rules: RuleName | None = None,
        pack: int | None = None,
    ) -> None:
        """record: a dataclass whose fields have types of this module.

        order: byte order, "little" or "big". Default: the class attribute ``_order_``, which
        definitions in SCL have, otherwise "little". rules: how fields are placed, "codesys" or
        "s7". Default: ``_rules_``, otherwise "s7" for "big" and "codesys" for "little". pack: the
        strictest alignment of codesys, 1, 2, 4 or 8 (the default, also in CODESYS), for classes
        without a class attribute ``_pack_``.

        Raises RecordError, which names the field, for a class that cannot be a payload.
        """
        order = order if order is not None else getattr(record, "_order_", "little")
        if order not in ("little", "big"):
            raise RecordError(f"order is {order!r}; it must be 'little' or 'big'")
        if rules is None:
            rules = getattr(record, "_rules_", "s7" if order == "big" else "codesys")
        if rules not in ("codesys", "s7"):
            raise RecordError(f"rules is {rules!r}; it must be 'codesys' or 's7'")
        if pack is not None and rules == "s7":
            raise RecordError("pack has no meaning with the rules of s7")
        self._layout = Layout(record, order, rules, _DEFAULT_PACK if pack is None else pack)
        self._encode = _codegen.encoder(self._layout)
        self._decode = _codegen.decoder(self._layout)
        self.record = record
        self._given = (order, rules, pack)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Codec) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> tuple[Any, ...]:
        order, rules, pack = self._given
        return partial(Codec, self.record, order=order, rules=rules, pack=pack), ()

    def _identity(self) -> tuple[Any, ...]:
        order, rules, pack = self._given
        return self.record, order, rules, _DEFAULT_PACK if pack is None else pack

    @property
    def size(self) -> int:
        """Size of the payload in bytes, 1 to 1499."""
        return self._layout.size

    @property
    def order(self) -> Order:
        """Byte order of numbers."""
        return self._layout.order

    @property
    def rules(self) -> RuleName:
        """Rules by which fields are placed."""
        return self._layout.rules

    def encode(self, value: T) -> bytes:
        """Return the payload, `size` bytes. RecordError names the field that does not fit."""
        try:
            return self._encode(value)
        except _codegen.FAULTS as fault:
            _explain.check_kind(self.record, value)
            _explain.check_value(self._layout.root, value)
            raise RecordError(f"{self.record.__name__}: {fault}") from fault

    def decode(self, payload: Any) -> T:
        """Return a new object from a bytes-like payload of `size` bytes.

        Raises RecordError for another size, or names the field whose value its type cannot hold.
        """
        try:
            value: T = self._decode(payload)
        except _codegen.FAULTS as fault:
            _explain.check_payload(self._layout, payload)
            raise RecordError(f"{self.record.__name__}: {fault}") from fault
        return value

    def fields(self) -> tuple[Leaf, ...]:
        """Every single value with its offset, in the order of offsets."""
        return tuple(leaves(self._layout.root))

    def layout_hash(self, *, names: bool = False) -> str:
        """Return 16 hexadecimal digits that are the same for the same layout.

        They are the first of the SHA-256 of a text in UTF-8. Its first line is ``netflux 1``, the
        order and the size, with a space between. Then comes a line for each single value in the
        order of offsets (elements of arrays and fields of inner records each have their own): the
        offset, for a bit followed by a dot and the number of the bit; a space; and the type there:
        ``u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 char bool bit str<n> s7str<n>``. names: followed by
        a space and the path in lower case. Each line ends in a line feed.

        The types' names do not matter (BYTE and USINT are both ``u8``), nor do the fields' unless
        names is True.
        """
        text = "".join(self._hashed_lines(names))
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]

    def _hashed_lines(self, names: bool) -> Iterable[str]:
        yield f"netflux 1 {self.order} {self.size}\n"
        for leaf in self.fields():
            place = leaf.offset if leaf.bit is None else f"{leaf.offset}.{leaf.bit}"
            yield f"{place} {leaf.wire}{' ' + leaf.path.lower() if names else ''}\n"

    def describe(self) -> str:
        """A table of offsets, to compare with that of the controller."""
        rows = [(f"{leaf.offset}.{leaf.bit or 0}", leaf.wire, leaf.path) for leaf in self.fields()]
        wide = max(len(wire) for _, wire, _ in rows)
        title = f"{self.record.__name__}: {self.size} bytes, {self.order}, {self.rules}"
        return "\n".join([title, *(f"{at:>8}  {wire:{wide}}  {path}" for at, wire, path in rows)])

    def __repr__(self) -> str:
        """Name, order, rules and size."""
        name = self.record.__name__
        return f"<Codec {name} order={self.order} rules={self.rules} size={self.size}>"
