"""A record written down in a controller's language and read again has the same layout; any text is
read or refused with a place in it."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmring.netflux import records
from shmring.netflux.records import ARRAY, STRING, Codec, RecordError
from shmring.netflux.records.field_types import SCALARS
from shmring_plc import DefinitionError, read_scl, read_structured_text

pytestmark = pytest.mark.check

Read = Callable[..., dict[str, type[Any]]]


@dataclasses.dataclass
class Written:
    """A type here and in both languages; `define` is what must be written before."""

    annotation: Any
    text: str
    define: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()


def scalar(name: str) -> Written:
    return Written(getattr(records, name), name)


def array(inner: Written, length: int, low: int) -> Written:
    text = f"ARRAY[{low}..{low + length - 1}] OF {inner.text}"
    return Written(ARRAY[inner.annotation, length], text, inner.define)


def struct(fields: list[Written]) -> Written:
    named = [(f"F{index}", field) for index, field in enumerate(fields)]
    made = dataclasses.make_dataclass("Made", [(name, field.annotation) for name, field in named])
    define = tuple(dict.fromkeys(item for field in fields for item in field.define))
    name = f"T{zlib.crc32(repr((define, [field.text for field in fields])).encode())}"
    body = tuple((name, field.text) for name, field in named)
    return Written(made, name, (*define, (name, body)))


common = sorted(set(SCALARS) - {"BIT"})
leaves = st.sampled_from(common).map(scalar) | st.integers(1, 20).map(
    lambda n: Written(STRING[n], f"STRING[{n}]")
)
inner_types = st.recursive(
    leaves,
    lambda inner: (
        st.builds(array, inner, st.integers(1, 5), st.integers(-3, 3))
        | st.lists(inner, min_size=1, max_size=4).map(struct)
    ),
    max_leaves=8,
)
structs = st.lists(inner_types, min_size=1, max_size=6).map(struct)


def write_st(written: Written) -> str:
    return "\n".join(
        f"TYPE {name} : STRUCT\n"
        + "".join(f"  {field} : {text};\n" for field, text in body)
        + "END_STRUCT END_TYPE"
        for name, body in reversed(written.define)
    )


def write_scl(written: Written) -> str:
    return "\n".join(
        f'TYPE "{name}"\nVERSION : 0.1\nSTRUCT\n'
        + "".join(f'  "{field}" {{ X := 1 }} : {text};\n' for field, text in body)
        + "END_STRUCT;\nEND_TYPE"
        for name, body in written.define
    )


def attempt(record: Any, order: Any) -> tuple[Codec[Any] | None, str]:
    """A codec, or the field that is refused."""
    try:
        return Codec(record, order=order), ""
    except RecordError as error:
        return None, error.path or "size"


@settings(deadline=None)
@given(structs)
@pytest.mark.parametrize(
    ("read", "write", "order"),
    [
        (read_structured_text, write_st, "little"),
        (read_scl, write_scl, "big"),
    ],
)
def test_the_layout_survives(
    read: Read, write: Callable[[Written], str], order: Any, written: Written
) -> None:
    types = read(write(written))
    by_hand, refused = attempt(written.annotation, order)
    codec, refused_too = attempt(types[written.text], order)
    assert refused == refused_too
    if codec is None or by_hand is None:
        return
    assert codec.layout_hash(names=True) == by_hand.layout_hash(names=True)
    value = types[written.text]()
    assert codec.encode(value) == bytes(codec.size) or order == "big"
    assert codec.decode(codec.encode(value)) == value


WORDS = [
    *("TYPE", "END_TYPE", "STRUCT", "END_STRUCT", "ARRAY", "OF", "STRING", "INT", "A", "B", "x"),
    *(":", ";", ":=", "..", ",", "(", ")", "[", "]", ".", "#", "+", "-", "*", "1", "2.5", "16#F"),
    *("__class__", "__x__", "_value_", "mro", "\u00b5", "x\u00b2", "POİNTER", "9" * 5000),
    *("T#1s", "'s'", '"q"', "TRUE", "{p}", "// c\n", "(* c *)", "\n", "VERSION", "TITLE", "="),
]
readers = st.sampled_from([read_structured_text, read_scl])


@settings(deadline=None, max_examples=300)
@given(readers, st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text(max_size=60))
def test_any_text(read: Read, text: str) -> None:
    lines = text.split("\n")
    try:
        types = read(text)
    except DefinitionError as error:
        place = (error.line, error.column)
    else:
        for made in types.values():
            assert made() if dataclasses.is_dataclass(made) else len(made)
        return
    assert 1 <= place[0] <= len(lines)
    assert 1 <= place[1] <= len(lines[place[0] - 1]) + 1


@settings(deadline=None, max_examples=300)
@given(st.data(), readers, structs)
def test_a_damaged_text(data: st.DataObject, read: Read, written: Written) -> None:
    text = write_st(written) if read is read_structured_text else write_scl(written)
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 5))
    damaged = text[:at] + data.draw(st.text(max_size=3)) + text[at + length :]
    try:
        types = read(damaged)
    except DefinitionError:
        return
    for made in types.values():
        made()
