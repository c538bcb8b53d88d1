"""The offset of each field in the payload.

Rules ``codesys`` (memory of a CODESYS structure):

* The offset of a value is a multiple of its size. The alignment of an array is that of its element,
  and that of a record is its strictest field's. None is stricter than `pack` (1, 2, 4 or 8, by
  default 8).
* A record is padded at its end to a multiple of its alignment.
* BOOL is a byte. Consecutive BITs share bytes, the lowest bit first.
* STRING[n] is n + 1 bytes and ends with a zero byte. TIME and LTIME are unsigned.

Rules ``s7`` (data blocks and PLC data types with standard access):

* Values of one byte may have any offset. Longer values, strings, arrays and records have even ones.
* Strings, arrays and records end at even offsets.
* Consecutive BOOLs, of a record or of an array, share bytes, the lowest bit first.
* STRING[n] is n + 2 bytes: n, the length in use, the characters. TIME and LTIME are signed.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
import typing
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from shmring.netflux.records.errors import RecordError, within
from shmring.netflux.records.field_types import (
    MAX_PAYLOAD_BYTES,
    Array,
    Enumeration,
    FieldType,
    RuleName,
    Scalar,
    String,
)
from shmring.netflux.records.field_types import field_type as resolve

Order: TypeAlias = Literal["little", "big"]

_MAX_S7_STRING = 254


@dataclasses.dataclass(frozen=True, slots=True)
class ScalarNode:
    """A number, truth value or character."""

    offset: int
    code: str
    type: Scalar


@dataclasses.dataclass(frozen=True, slots=True)
class RunNode:
    """An array of numbers or truth values."""

    offset: int
    code: str
    count: int
    type: Scalar


@dataclasses.dataclass(frozen=True, slots=True)
class BitsNode:
    """A byte with `count` bits in use, from the lowest on."""

    offset: int
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class StringNode:
    """Text. If `counted`, two bytes with lengths precede it."""

    offset: int
    length: int
    counted: bool


@dataclasses.dataclass(frozen=True, slots=True)
class EnumNode:
    """A member of an enumeration."""

    offset: int
    code: str
    type: Enumeration


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayNode:
    """An array of anything else. Its items are its elements, or bytes of bits."""

    count: int
    items: tuple[Node, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class RecordNode:
    """A record: the names of each field or byte of bits, and whether they are keyword-only."""

    type: type[Any]
    members: tuple[tuple[tuple[str, ...], bool, Node], ...]


Node: TypeAlias = ScalarNode | RunNode | BitsNode | StringNode | EnumNode | ArrayNode | RecordNode


class Leaf(typing.NamedTuple):
    """A single value of a record, as `records.Codec.fields` gives it."""

    path: str
    """For example ``axes[2].position``. The index counts from 0."""
    offset: int
    """Offset from the start of the payload, bytes."""
    bit: int | None
    """Bit in that byte, 0 is the lowest. None unless it is a single bit."""
    wire: str
    """The type at this offset, see `records.Codec.layout_hash`."""


def _round_up(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) // alignment * alignment


class _Field(typing.NamedTuple):
    name: str
    keyword_only: bool
    kind: FieldType


def _fields_of(record: type[Any]) -> list[_Field]:
    if not dataclasses.is_dataclass(record):
        raise RecordError(f"{record.__name__} is not a dataclass")
    try:
        hints = typing.get_type_hints(record, include_extras=True)
    except NameError as error:
        raise RecordError(
            f"{record.__name__}: {error}; define it outside of any function, or leave out "
            "'from __future__ import annotations'"
        ) from error
    fields = []
    for field in dataclasses.fields(record):
        if not field.init:
            raise RecordError("a field with init=False cannot be set", field.name)
        with within(field.name):
            fields.append(_Field(field.name, field.kw_only is True, resolve(hints[field.name])))
    if not fields:
        raise RecordError(f"{record.__name__} has no fields")
    return fields


class Layout:
    """Offsets of one record under one set of rules."""

    def __init__(self, record: type[Any], order: Order, rules: RuleName, pack: int) -> None:
        """Raise RecordError, which names the field, for a type without a layout."""
        self.order: Order = order
        self.rules: RuleName = rules
        self._pack = pack
        self._fields: dict[type[Any], list[_Field]] = {}
        self._alignments: dict[type[Any], int] = {}
        self._read(record, ())
        self.root, self.size = self._place_record(record, 0)
        if self.size > MAX_PAYLOAD_BYTES:
            raise RecordError(
                f"{record.__name__} takes {self.size} bytes; a datagram carries at most "
                f"{MAX_PAYLOAD_BYTES}"
            )

    # --- fields of a class ------------------------------------------------------------------------

    def _read(self, record: type[Any], trail: tuple[type[Any], ...]) -> None:
        """Fill in `_fields` for this record and its inner records."""
        if record in trail:
            raise RecordError(f"{record.__name__} contains itself")
        if record in self._fields:
            return
        fields = _fields_of(record)
        for field in fields:
            kind = field.kind
            while isinstance(kind, Array):
                kind = kind.element
            if isinstance(kind, type):
                with within(field.name):
                    self._read(kind, (*trail, record))
        self._fields[record] = fields

    def _pack_of(self, record: type[Any]) -> int:
        pack = getattr(record, "_pack_", self._pack)
        if pack not in (1, 2, 4, 8):
            raise RecordError(f"{record.__name__}: pack is {pack!r}; it must be 1, 2, 4 or 8")
        return int(pack)

    # --- alignment --------------------------------------------------------------------------------

    def _is_bit(self, kind: FieldType) -> bool:
        return isinstance(kind, Scalar) and self._code(kind) == ""

    def _code(self, kind: Scalar) -> str:
        return kind.s7_code if self.rules == "s7" else kind.code

    def _alignment(self, kind: FieldType) -> int:
        if self.rules == "s7":
            narrow = isinstance(kind, Scalar) and struct.calcsize("<" + self._code(kind)) <= 1
            narrow |= isinstance(kind, Enumeration) and struct.calcsize("<" + kind.base.code) == 1
            return 1 if narrow else 2
        if isinstance(kind, Scalar):
            return max(1, struct.calcsize("<" + kind.code))
        if isinstance(kind, Enumeration):
            return self._alignment(kind.base)
        if isinstance(kind, Array):
            return self._alignment(kind.element)
        if isinstance(kind, String):
            return 1
        return self._record_alignment(kind)

    def _record_alignment(self, record: type[Any]) -> int:
        if self.rules == "s7":
            return 2
        known = self._alignments.get(record)
        if known is None:
            pack = self._pack_of(record)
            known = max(min(self._alignment(f.kind), pack) for f in self._fields[record])
            self._alignments[record] = known
        return known

    def _end(self, kind: FieldType, end: int) -> int:
        """The lowest offset of the next field."""
        ends_even = isinstance(kind, String | Array | type)
        return _round_up(end, 2) if self.rules == "s7" and ends_even else end

    # --- placing ----------------------------------------------------------------------------------

    def _place(self, kind: FieldType, offset: int) -> tuple[Node, int]:
        """Place an aligned value. Return it and its end."""
        if isinstance(kind, Scalar):
            code = self._code(kind)
            return ScalarNode(offset, code, kind), offset + struct.calcsize("<" + code)
        if isinstance(kind, Enumeration):
            code = kind.base.code
            return EnumNode(offset, code, kind), offset + struct.calcsize("<" + code)
        if isinstance(kind, String):
            return self._place_string(kind, offset)
        if isinstance(kind, Array):
            return self._place_array(kind, offset)
        return self._place_record(kind, offset)

    def _place_string(self, kind: String, offset: int) -> tuple[Node, int]:
        counted = self.rules == "s7"
        if counted and kind.length > _MAX_S7_STRING:
            raise RecordError(f"{kind}: a string of S7 has at most {_MAX_S7_STRING} characters")
        end = offset + kind.length + (2 if counted else 1)
        return StringNode(offset, kind.length, counted), end

    def _place_bits(self, count: int, offset: int) -> Iterator[BitsNode]:
        for first in range(0, count, 8):
            yield BitsNode(offset + first // 8, min(8, count - first))

    def _place_array(self, kind: Array, offset: int) -> tuple[Node, int]:
        element = kind.element
        if self._is_bit(element):
            bytes_of_bits = tuple(self._place_bits(kind.length, offset))
            return ArrayNode(kind.length, bytes_of_bits), offset + len(bytes_of_bits)
        if isinstance(element, Array) and self._is_bit(element.element) and self.rules == "s7":
            raise RecordError("an array of BOOL with several dimensions has no agreed layout")
        if isinstance(element, Scalar) and self._code(element) != "c":
            code = self._code(element)
            end = offset + kind.length * struct.calcsize("<" + code)
            return RunNode(offset, code, kind.length, element), end
        items = []
        end = offset
        for index in range(kind.length):
            if end > MAX_PAYLOAD_BYTES:
                raise RecordError(f"{kind} is longer than a datagram, {MAX_PAYLOAD_BYTES} bytes")
            with within(f"[{index}]"):
                node, end = self._place(element, end)
            items.append(node)
            if not isinstance(element, Array):  # rows of an array follow each other without a gap
                end = self._end(element, end)
        return ArrayNode(kind.length, tuple(items)), end

    def _place_record(self, record: type[Any], offset: int) -> tuple[RecordNode, int]:
        pack = 2 if self.rules == "s7" else self._pack_of(record)
        members: list[tuple[tuple[str, ...], bool, Node]] = []
        end = offset
        bits: list[tuple[str, bool]] = []

        def close_bits() -> None:
            nonlocal end
            for node in self._place_bits(len(bits), end):
                taken, bits[:8] = bits[:8], []
                names = tuple(name for name, _ in taken)
                members.append((names, any(keyword for _, keyword in taken), node))
                end += 1

        for name, keyword_only, kind in self._fields[record]:
            if self._is_bit(kind):
                bits.append((name, keyword_only))
                continue
            close_bits()
            with within(name):
                end = offset + _round_up(end - offset, min(self._alignment(kind), pack))
                node, end = self._place(kind, end)
            end = self._end(kind, end)
            members.append(((name,), keyword_only, node))
        close_bits()
        alignment = self._record_alignment(record)
        return RecordNode(record, tuple(members)), offset + _round_up(end - offset, alignment)


# --- offsets --------------------------------------------------------------------------------------

_WIRE = {
    "B": "u8",
    "H": "u16",
    "I": "u32",
    "Q": "u64",
    "b": "i8",
    "h": "i16",
    "i": "i32",
    "q": "i64",
    "f": "f32",
    "d": "f64",
    "c": "char",
    "?": "bool",
}


def leaves(node: Node, path: str = "") -> Iterator[Leaf]:
    """Every single value, in the order of offsets."""
    if isinstance(node, ScalarNode | EnumNode):
        yield Leaf(path, node.offset, None, _WIRE[node.code])
    elif isinstance(node, RunNode):
        size = struct.calcsize("<" + node.code)
        for index in range(node.count):
            yield Leaf(f"{path}[{index}]", node.offset + index * size, None, _WIRE[node.code])
    elif isinstance(node, StringNode):
        wire = f"{'s7str' if node.counted else 'str'}{node.length}"
        yield Leaf(path, node.offset, None, wire)
    elif isinstance(node, ArrayNode):
        paths = (f"{path}[{index}]" for index in range(node.count))
        for item in node.items:
            yield from _member_leaves(item, paths)
    elif isinstance(node, RecordNode):
        for names, _, member in node.members:
            yield from _member_leaves(member, (f"{path}.{n}" if path else n for n in names))


def _member_leaves(node: Node, paths: Iterator[str]) -> Iterator[Leaf]:
    """paths: of this value, or of each bit, and of what follows."""
    if isinstance(node, BitsNode):
        for bit, path in enumerate(itertools.islice(paths, node.count)):
            yield Leaf(path, node.offset, bit, "bit")
    else:
        yield from leaves(node, next(paths))
