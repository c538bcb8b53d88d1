"""The contents of a text: types, constants, initial values, each with its position."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, TypeAlias


class Token(NamedTuple):
    """A word and its position, from 1. quoted: as in SCL, where it is never a keyword."""

    text: str
    line: int
    column: int
    quoted: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Time:
    """A duration."""

    ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A name that may be an enumeration's."""

    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A constant."""

    token: Token
    value: bool | int | float | str | Time | Member


@dataclasses.dataclass(frozen=True, slots=True)
class Values:
    """``[1, 2(0)]``: pairs of a count and a value."""

    token: Token
    items: tuple[tuple[int, Initial], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Fields:
    """``(a := 1, b := 2)``."""

    token: Token
    items: tuple[tuple[Token, Initial], ...]


Initial: TypeAlias = Value | Values | Fields


@dataclasses.dataclass(frozen=True, slots=True)
class NamedType:
    """An elementary type or one defined elsewhere."""

    token: Token


@dataclasses.dataclass(frozen=True, slots=True)
class StringType:
    """``STRING[20]``."""

    token: Token
    length: int


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayType:
    """``ARRAY[0..3, 1..2] OF ...``."""

    token: Token
    lengths: tuple[int, ...]
    element: TypeTree


@dataclasses.dataclass(frozen=True, slots=True)
class FieldTree:
    """A field of a structure."""

    token: Token
    type: TypeTree
    initial: Initial | None


@dataclasses.dataclass(frozen=True, slots=True)
class StructType:
    """``STRUCT ... END_STRUCT``. pack: 0 if the text does not say."""

    token: Token
    fields: tuple[FieldTree, ...]
    pack: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class EnumType:
    """``(Idle, Run := 5) UINT``."""

    token: Token
    members: tuple[tuple[Token, int], ...]
    base: Token | None


TypeTree: TypeAlias = NamedType | StringType | ArrayType | StructType | EnumType


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """A type and its name."""

    token: Token
    type: TypeTree
    initial: Initial | None = None
