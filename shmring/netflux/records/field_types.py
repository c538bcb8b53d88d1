"""Types of fields: the implementation of `records.REAL` and the others."""

from __future__ import annotations

import dataclasses
import enum
import struct
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from shmring.netflux.records.errors import RecordError

MAX_PAYLOAD_BYTES = 1499
"""Longest payload of a datagram, and so of a record."""

ENCODING = "latin-1"
"""Of strings and characters."""

RuleName: TypeAlias = Literal["codesys", "s7"]
"""Whose rules lay a record out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `code` and `s7_code` are its codes in `struct`, `""` for a single bit."""

    name: str
    code: str
    s7_code: str

    def __repr__(self) -> str:
        """The notation in an annotation."""
        return self.name


def _scalar(name: str, code: str, s7_code: str | None = None) -> Scalar:
    return Scalar(name, code, code if s7_code is None else s7_code)


SCALARS = {
    scalar.name: scalar
    for scalar in (
        _scalar("BOOL", "?", ""),
        _scalar("BIT", ""),
        _scalar("BYTE", "B"),
        _scalar("WORD", "H"),
        _scalar("DWORD", "I"),
        _scalar("LWORD", "Q"),
        _scalar("SINT", "b"),
        _scalar("USINT", "B"),
        _scalar("INT", "h"),
        _scalar("UINT", "H"),
        _scalar("DINT", "i"),
        _scalar("UDINT", "I"),
        _scalar("LINT", "q"),
        _scalar("ULINT", "Q"),
        _scalar("REAL", "f"),
        _scalar("LREAL", "d"),
        _scalar("CHAR", "c"),
        _scalar("TIME", "I", "i"),
        _scalar("LTIME", "Q", "q"),
    )
}


def int_range(code: str) -> tuple[int, int]:
    """Lowest and highest value of an integer type of `struct`."""
    bits = 8 * struct.calcsize("<" + code)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if code.islower() else (0, (1 << bits) - 1)


class String:
    """Text of at most `length` characters."""

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        """Raise RecordError unless 1 <= length <= 1497."""
        if not 1 <= length <= MAX_PAYLOAD_BYTES - 2:
            raise RecordError(
                f"STRING[{length}]: the length must be between 1 and {MAX_PAYLOAD_BYTES - 2}"
            )
        self.length = length

    def __class_getitem__(cls, length: int) -> Any:
        """``STRING[20]``."""
        return Annotated[str, cls(length)]

    def __repr__(self) -> str:
        """The notation in an annotation."""
        return f"STRING[{self.length}]"


class Array:
    """`length` values of one type; with several lengths, the first one is the number of rows."""

    __slots__ = ("element", "length")

    def __init__(self, element: Any, length: int, *more: int) -> None:
        """element: an annotation. Raise RecordError for a length below 1."""
        if not 1 <= length <= 8 * MAX_PAYLOAD_BYTES:
            raise RecordError(
                f"ARRAY[..., {length}]: a length must be between 1 and {8 * MAX_PAYLOAD_BYTES}"
            )
        self.element: FieldType = Array(element, *more) if more else field_type(element)
        self.length = length
        inner: FieldType = self
        count = 1
        while isinstance(inner, Array):
            count *= inner.length
            inner = inner.element
        if count > 8 * MAX_PAYLOAD_BYTES:
            raise RecordError(f"{self} has {count} elements; they do not fit in a datagram")

    def __class_getitem__(cls, arguments: tuple[Any, ...]) -> Any:
        """``ARRAY[REAL, 4]``."""
        return Annotated[list[Any], cls(*arguments)]

    def __repr__(self) -> str:
        """The notation in an annotation."""
        return f"ARRAY[{self.element}, {self.length}]"


class Enumeration:
    """A value of an `enum.IntEnum`, stored as `base`."""

    __slots__ = ("base", "members")

    def __init__(self, members: type[enum.IntEnum], base: Any) -> None:
        """base: INT or another integer type. Raise RecordError if a member does not fit."""
        scalar = field_type(base)
        if not isinstance(scalar, Scalar) or scalar.code not in set("BHIQbhiq"):
            raise RecordError(f"{members.__name__}: {scalar} is not an integer type")
        low, high = int_range(scalar.code)
        for member in members:
            if not low <= member.value <= high:
                raise RecordError(
                    f"{members.__name__}.{member.name} is {member.value}, "
                    f"outside of {scalar.name}'s {low} .. {high}"
                )
        self.members = members
        self.base = scalar

    def __class_getitem__(cls, arguments: tuple[type[enum.IntEnum], Any]) -> Any:
        """``ENUM[Mode, UINT]``."""
        return Annotated[arguments[0], cls(*arguments)]

    def __repr__(self) -> str:
        """The notation in an annotation."""
        return f"ENUM[{self.members.__name__}, {self.base}]"


FieldType: TypeAlias = Scalar | String | Array | Enumeration | type[Any]
"""Any type. The last one is a dataclass: a record within the record."""


def field_type(annotation: Any) -> FieldType:
    """Return the type of an annotation. RecordError if it has no fixed size."""
    if isinstance(annotation, Scalar | String | Array | Enumeration):
        return annotation
    if get_origin(annotation) is Annotated:
        base, *marks = get_args(annotation)
        for mark in marks:
            if isinstance(mark, Scalar | String | Array | Enumeration):
                return mark
        annotation = base
    if isinstance(annotation, type):
        if issubclass(annotation, enum.IntEnum):
            return Enumeration(annotation, SCALARS["INT"])
        if dataclasses.is_dataclass(annotation):
            return annotation
    name = getattr(annotation, "__name__", repr(annotation))
    raise RecordError(f"{name} has no size on the wire; {_ADVICE.get(name, _ADVICE[''])}")


_ADVICE = {
    "float": "use REAL or LREAL",
    "int": "use INT, DINT, UDINT, BYTE ...",
    "bool": "use BOOL or BIT",
    "str": "use STRING[n] or CHAR",
    "String": "give its length: STRING[n]",
    "Array": "give its type and length: ARRAY[REAL, n]",
    "list": "use ARRAY[type, n]",
    "": "use a type of netflux.records, a dataclass or an enum.IntEnum",
}
