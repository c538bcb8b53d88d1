"""Functions that encode and decode one record, written and compiled for it.

A record's values go through one `struct.Struct`. The code around it is straight-line Python that is
generated for the record, as `dataclasses` generates ``__init__``. For five numbers it takes 74 ns.
Reading the attributes through an `operator.attrgetter` takes 133 ns, and a loop over the fields
takes longer.

The generated code uses the names of fields, which are identifiers because the record is a
dataclass, and no other input from outside.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from collections.abc import Callable
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
from shmring.netflux.records.field_types import ENCODING

FAULTS = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
)
"""The exceptions of the functions for values that do not fit."""


@functools.cache
def _bit_table(count: int) -> tuple[tuple[bool, ...], ...]:
    """Return the lowest bits of each byte value, as arguments of a constructor."""
    return tuple(tuple(bool(byte >> bit & 1) for bit in range(count)) for byte in range(256))


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(ENCODING)


def _counted_text(used: int, data: bytes) -> str:
    if used > len(data):
        raise ValueError(used)
    return data[:used].decode(ENCODING)


def _plain_bytes(text: str, length: int) -> bytes:
    data = text.encode(ENCODING)
    if len(data) > length or 0 in data:
        raise ValueError(text)
    return data


def _counted_bytes(text: str, length: int) -> bytes:
    data = text.encode(ENCODING)
    if len(data) > length:
        raise ValueError(text)
    return data


@dataclasses.dataclass
class _Source:
    """A function under construction, and its `struct` format."""

    names: dict[str, Any]
    format: str = ""
    end: int = 0
    """Size of the format so far."""
    slots: int = 0
    """Number of values of the format so far."""
    lines: list[str] = dataclasses.field(default_factory=list)

    def slot(self, offset: int, code: str, slots: int = 1) -> int:
        """Add to the format. Return the number of the first new value."""
        if offset > self.end:
            self.format += f"{offset - self.end}x"
        self.format += code
        self.end = offset + struct.calcsize("<" + code)
        self.slots += slots
        return self.slots - slots

    def name(self, prefix: str, value: Any) -> str:
        """A name for an object that the function uses."""
        for name, known in self.names.items():
            if known is value:
                return name
        name = f"{prefix}{len(self.names)}"
        self.names[name] = value
        return name

    def local(self, expression: str) -> str:
        """A local variable with the value of an expression."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {expression}")
        return name


# --- encoding -------------------------------------------------------------------------------------


def _encode(node: Node, value: str, source: _Source) -> list[str]:
    """Return the values for the format; value: an expression."""
    if isinstance(node, ScalarNode):
        source.slot(node.offset, node.code)
        return [f"{value}.encode({ENCODING!r})" if node.code == "c" else value]
    if isinstance(node, EnumNode):
        source.slot(node.offset, node.code)
        values = source.name("e", {member.value: member.value for member in node.type.members})
        return [f"{values}[{value}]"]
    if isinstance(node, StringNode):
        return _encode_string(node, value, source)
    if isinstance(node, RunNode):
        source.slot(node.offset, f"{node.count}{node.code}", node.count)
        run = source.local(value)
        source.lines.append(f"if len({run}) != {node.count}: raise ValueError")
        return [f"*{run}"]
    if isinstance(node, ArrayNode):
        return _encode_array(node, value, source)
    if isinstance(node, RecordNode):
        return _encode_record(node, value, source)
    raise TypeError(node)


def _encode_string(node: StringNode, value: str, source: _Source) -> list[str]:
    if not node.counted:
        source.slot(node.offset, f"{node.length}sx")
        return [f"{source.name('f', _plain_bytes)}({value}, {node.length})"]
    source.slot(node.offset, f"BB{node.length}s", 3)
    data = source.local(f"{source.name('f', _counted_bytes)}({value}, {node.length})")
    return [str(node.length), f"len({data})", data]


def _encode_array(node: ArrayNode, value: str, source: _Source) -> list[str]:
    items = [f"v{len(source.lines)}_{index}" for index in range(node.count)]
    source.lines.append(f"({', '.join(items)},) = {value}")
    arguments = []
    for item in node.items:
        if isinstance(item, BitsNode):
            arguments.append(_encode_bits(item, items[: item.count], source))
            del items[: item.count]
        else:
            arguments += _encode(item, items.pop(0), source)
    return arguments


def _encode_bits(node: BitsNode, values: list[str], source: _Source) -> str:
    source.slot(node.offset, "B")
    return " | ".join(f"({1 << bit} if {value} else 0)" for bit, value in enumerate(values))


def _encode_record(node: RecordNode, value: str, source: _Source) -> list[str]:
    if not value.isidentifier():
        value = source.local(value)
    arguments = []
    for names, _, member in node.members:
        values = [f"{value}.{name}" for name in names]
        if isinstance(member, BitsNode):
            arguments.append(_encode_bits(member, values, source))
        else:
            arguments += _encode(member, values[0], source)
    return arguments


def encoder(layout: Layout) -> Callable[[Any], bytes]:
    """Return a function that encodes a record. It raises one of `FAULTS`."""
    source = _Source({})
    arguments = _encode(layout.root, "value", source)
    source.slot(layout.size, "", 0)
    packer = _struct(layout, source)
    source.lines.append(f"return {source.name('f', packer.pack)}({', '.join(arguments)})")
    return _compile("value", source)


# --- decoding -------------------------------------------------------------------------------------


def _decode(node: Node, source: _Source) -> str:
    """Return an expression for the value; ``t`` holds the values of the format."""
    if isinstance(node, ScalarNode):
        at = source.slot(node.offset, node.code)
        return f"t[{at}].decode({ENCODING!r})" if node.code == "c" else f"t[{at}]"
    if isinstance(node, EnumNode):
        at = source.slot(node.offset, node.code)
        members = source.name("e", {member.value: member for member in node.type.members})
        return f"{members}[t[{at}]]"
    if isinstance(node, StringNode):
        if not node.counted:
            at = source.slot(node.offset, f"{node.length}sx")
            return f"{source.name('f', _text)}(t[{at}])"
        at = source.slot(node.offset, f"BB{node.length}s", 3)
        return f"{source.name('f', _counted_text)}(t[{at + 1}], t[{at + 2}])"
    if isinstance(node, RunNode):
        at = source.slot(node.offset, f"{node.count}{node.code}", node.count)
        return f"[*t[{at}:{at + node.count}]]"
    if isinstance(node, ArrayNode):
        items = [_decode(item, source) for item in node.items]
        return f"[{', '.join(items)}]"
    if isinstance(node, BitsNode):
        at = source.slot(node.offset, "B")
        return f"*{source.name('b', _bit_table(node.count))}[t[{at}]]"
    if isinstance(node, RecordNode):
        return _decode_record(node, source)
    raise TypeError(node)


def _decode_record(node: RecordNode, source: _Source) -> str:
    by_keyword = any(keyword_only for _, keyword_only, _ in node.members)
    arguments = []
    for names, _, member in node.members:
        if not by_keyword:
            arguments.append(_decode(member, source))
        elif isinstance(member, BitsNode):
            at = source.slot(member.offset, "B")
            arguments += [f"{name}=t[{at}] & {1 << i} != 0" for i, name in enumerate(names)]
        else:
            arguments.append(f"{names[0]}={_decode(member, source)}")
    return f"{source.name('c', node.type)}({', '.join(arguments)})"


def decoder(layout: Layout) -> Callable[[Any], Any]:
    """Return a function that decodes a payload. It raises one of `FAULTS`."""
    source = _Source({})
    record = _decode(layout.root, source)
    source.slot(layout.size, "", 0)
    unpack = source.name("f", _struct(layout, source).unpack)
    if _is_flat(layout.root):
        source.lines = [f"return {source.name('c', layout.root.type)}(*{unpack}(data))"]
    else:
        source.lines = [f"t = {unpack}(data)", f"return {record}"]
    return _compile("data", source)


def _is_flat(root: RecordNode) -> bool:
    """Whether the values of the format are the arguments of the constructor."""
    return all(
        isinstance(member, ScalarNode) and member.code != "c" and not keyword_only
        for _, keyword_only, member in root.members
    )


# --- both -----------------------------------------------------------------------------------------


def _struct(layout: Layout, source: _Source) -> struct.Struct:
    return struct.Struct(("<" if layout.order == "little" else ">") + source.format)


def _compile(argument: str, source: _Source) -> Callable[[Any], Any]:
    body = "\n    ".join(source.lines)
    made: dict[str, Any] = {}
    exec(f"def function({argument}):\n    {body}\n", source.names, made)
    function: Callable[[Any], Any] = made["function"]
    return function
