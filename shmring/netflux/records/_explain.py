"""Finds the field of a record that was wrong, after encoding or decoding failed."""

from __future__ import annotations

import dataclasses
import operator
import struct
from typing import Any

from shmring.netflux.records._layout import (
    ArrayNode,
    BitsNode,
    EnumNode,
    Layout,
    Node,
    RecordNode,
    RunNode,
    ScalarNode,
    StringNode,
)
from shmring.netflux.records.errors import RecordError, within
from shmring.netflux.records.field_types import ENCODING, Scalar, int_range

_SHOWN = 60
"""Number of characters of a value that a message shows."""


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


# --- values ---------------------------------------------------------------------------------------


def check_kind(record: type, value: Any) -> None:
    """Raise RecordError for an object that is no record of this kind."""
    names = [field.name for field in dataclasses.fields(record)]
    missing = [name for name in names if not hasattr(value, name)]
    if missing and not isinstance(value, record):
        raise RecordError(
            f"{_show(value)} has no {missing[0]!r}: give a {record.__name__}, or an object with "
            f"the fields {', '.join(names)}"
        )


def check_value(node: Node, value: Any) -> None:
    """Raise RecordError for the first value that does not fit."""
    if isinstance(node, ScalarNode):
        _check_scalar(node.type, node.code, value)
    elif isinstance(node, EnumNode):
        _check_member(node, value)
    elif isinstance(node, StringNode):
        _check_string(node, value)
    elif isinstance(node, RunNode):
        for index, item in enumerate(_checked_length(node.count, value)):
            with within(f"[{index}]"):
                _check_scalar(node.type, node.code, item)
    elif isinstance(node, ArrayNode):
        items = _checked_length(node.count, value)
        if not isinstance(node.items[0], BitsNode):
            for index, (inner, item) in enumerate(zip(node.items, items, strict=True)):
                with within(f"[{index}]"):
                    check_value(inner, item)
    elif isinstance(node, RecordNode):
        _check_record(node, value)


def _check_record(node: RecordNode, value: Any) -> None:
    for names, _, member in node.members:
        for name in names:
            if not hasattr(value, name):
                raise RecordError(f"{_show(value)} has no such field", name)
        if not isinstance(member, BitsNode):
            with within(names[0]):
                check_value(member, getattr(value, names[0]))


def _checked_length(count: int, value: Any) -> list[Any]:
    try:
        length = len(value)
        items = list(value)
    except TypeError:
        raise RecordError(f"{_show(value)} is not a list") from None
    if length != count:
        raise RecordError(f"there are {length} values; it takes {count}")
    return items


def _check_scalar(kind: Scalar, code: str, value: Any) -> None:
    if code == "?":
        return
    if code == "c":
        _check_text(kind.name, value)
        if len(value) != 1:
            raise RecordError(f"{_show(value)} is not one character")
    elif code in "fd":
        _check_float(kind, code, value)
    else:
        try:
            number = operator.index(value)
        except TypeError:
            text = f"{_show(value)} is not valid for {kind.name}; give an integer"
            raise RecordError(text) from None
        low, high = int_range(code)
        if not low <= number <= high:
            raise RecordError(f"{number} is outside of {kind.name}'s {low} .. {high}")


def _check_float(kind: Scalar, code: str, value: Any) -> None:
    try:
        struct.pack("<" + code, value)
    except (OverflowError, TypeError, struct.error):
        if hasattr(value, "__float__") or hasattr(value, "__index__"):
            raise RecordError(f"{_show(value)} is too large for {kind.name}") from None
        raise RecordError(f"{_show(value)} is not valid for {kind.name}; give a number") from None


def _check_member(node: EnumNode, value: Any) -> None:
    members = node.type.members
    if value not in [member.value for member in members]:
        raise RecordError(f"{_show(value)} is not a member of {members.__name__}")


def _check_text(what: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise RecordError(f"{_show(value)} is not valid for {what}; give a str")
    try:
        return value.encode(ENCODING)
    except UnicodeEncodeError as error:
        bad = value[error.start]
        raise RecordError(f"{bad!r} is not a character of {ENCODING}") from None


def _check_string(node: StringNode, value: Any) -> None:
    what = f"STRING[{node.length}]"
    data = _check_text(what, value)
    if len(data) > node.length:
        raise RecordError(f"{_show(value)} has {len(data)} characters; {what} takes {node.length}")
    if not node.counted and 0 in data:
        raise RecordError(f"{_show(value)} contains a zero, which ends a {what}")


# --- payloads -------------------------------------------------------------------------------------


def check_payload(layout: Layout, data: Any) -> None:
    """Raise RecordError for the first part that cannot be decoded."""
    try:
        raw = bytes(memoryview(data))
    except TypeError:
        raise RecordError(f"{_show(data)} is not a bytes-like object") from None
    if len(raw) != layout.size:
        name = layout.root.type.__name__
        raise RecordError(f"the payload has {len(raw)} bytes; {name} takes {layout.size}")
    _check_part(layout.root, raw, "<" if layout.order == "little" else ">")


def _check_part(node: Node, raw: bytes, order: str) -> None:
    if isinstance(node, EnumNode):
        (number,) = struct.unpack_from(order + node.code, raw, node.offset)
        _check_member(node, number)
    elif isinstance(node, StringNode) and node.counted:
        used = raw[node.offset + 1]
        if used > node.length:
            raise RecordError(f"{used} characters in use, more than STRING[{node.length}] holds")
    elif isinstance(node, ArrayNode):
        for index, item in enumerate(node.items):
            with within(f"[{index}]"):
                _check_part(item, raw, order)
    elif isinstance(node, RecordNode):
        for names, _, member in node.members:
            with within(names[0]):
                _check_part(member, raw, order)
