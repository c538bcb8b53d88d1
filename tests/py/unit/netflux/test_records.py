"""Records: what a dataclass becomes on the wire, and what is refused by the field's name."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import math
import pickle
import struct
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from shmring.errors import ShmringError
from shmring.netflux.records import (
    ARRAY,
    BIT,
    BOOL,
    BYTE,
    CHAR,
    DINT,
    DWORD,
    ENUM,
    INT,
    LINT,
    LREAL,
    LTIME,
    LWORD,
    REAL,
    SINT,
    STRING,
    TIME,
    UDINT,
    UINT,
    ULINT,
    USINT,
    WORD,
    Codec,
    RecordError,
)


@dataclass
class Default:
    value1: REAL = 0.0
    value2: REAL = 0.0
    value3: UDINT = 0
    value4: UDINT = 0
    flags: UDINT = 0


class Mode(enum.IntEnum):
    IDLE = 0
    RUN = 5


@dataclass
class Point:
    x: REAL = 0.0
    y: REAL = 0.0


@dataclass
class Everything:
    ok: BOOL = False
    a: BIT = False
    b: BIT = False
    byte: BYTE = 0
    word: WORD = 0
    dword: DWORD = 0
    lword: LWORD = 0
    sint: SINT = 0
    usint: USINT = 0
    int_: INT = 0
    uint: UINT = 0
    dint: DINT = 0
    udint: UDINT = 0
    lint: LINT = 0
    ulint: ULINT = 0
    real: REAL = 0.0
    lreal: LREAL = 0.0
    char: CHAR = "\0"
    time: TIME = 0
    ltime: LTIME = 0
    text: STRING[5] = ""
    mode: Mode = Mode.IDLE
    wide: ENUM[Mode, UDINT] = Mode.IDLE
    point: Point = field(default_factory=Point)
    row: ARRAY[INT, 3] = field(default_factory=lambda: [0] * 3)
    table: ARRAY[INT, 2, 3] = field(default_factory=lambda: [[0] * 3, [0] * 3])
    path: ARRAY[Point, 2] = field(default_factory=lambda: [Point(), Point()])
    words: ARRAY[STRING[2], 2] = field(default_factory=lambda: ["", ""])
    bits: ARRAY[BIT, 10] = field(default_factory=lambda: [False] * 10)
    bools: ARRAY[BOOL, 3] = field(default_factory=lambda: [False] * 3)
    letters: ARRAY[CHAR, 2] = field(default_factory=lambda: ["\0"] * 2)


def full() -> Everything:
    return Everything(
        *(True, False, True, 255, 65535, 2**32 - 1, 2**64 - 1, -128, 255, -32768, 65535),
        *(-(2**31), 2**32 - 1, -(2**63), 2**64 - 1, 1.5, math.pi, "é", 86_400_000, 10**15),
        *("grün", Mode.RUN, Mode.RUN, Point(1, 2), [1, -2, 3], [[1, 2, 3], [4, 5, 6]]),
        *([Point(3, 4), Point(5, 6)], ["a", "bc"], [index % 3 == 0 for index in range(10)]),
        *([True, False, True], ["x", "y"]),
    )


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("rules", ["codesys", "s7"])
def test_every_type_comes_back(order: Any, rules: Any) -> None:
    codec = Codec(Everything, order=order, rules=rules)
    assert codec.decode(codec.encode(full())) == full()
    assert codec.decode(bytes(codec.size)) == Everything()
    assert len(codec.encode(full())) == codec.size


def test_types_in_python() -> None:
    codec = Codec(Everything)
    back = codec.decode(codec.encode(full()))
    for leaf in dataclasses.fields(Everything):
        assert type(getattr(back, leaf.name)) is type(getattr(full(), leaf.name))
    assert back.mode is Mode.RUN
    assert back.a is False
    assert type(back.point.x) is float


def test_the_default_record() -> None:
    codec = Codec(Default)
    assert codec.encode(Default(1.5, -2.25, 3, 4, 5)) == struct.pack("<ffIII", 1.5, -2.25, 3, 4, 5)
    assert codec.size == 20
    big = Codec(Default, order="big")
    assert big.encode(Default(1.5, -2.25, 3, 4, 5)) == struct.pack(">ffIII", 1.5, -2.25, 3, 4, 5)


def test_equal_codecs_are_equal() -> None:
    codec, big = Codec(Default), Codec(Default, order="big")
    assert codec == Codec(Default, order="little", pack=8) == pickle.loads(pickle.dumps(codec))
    assert hash(codec) == hash(Codec(Default))
    assert codec != big == pickle.loads(pickle.dumps(big))
    assert Codec(Everything) != codec != Codec(Default, pack=1)


@pytest.mark.parametrize("count", [28, 30, 32, 33])
def test_packed_bits(count: int) -> None:
    record = dataclasses.make_dataclass("Bits", [(f"b{i}", BIT) for i in range(count)])
    codec = Codec(record)
    assert codec.size == (count + 7) // 8
    values = [index % 5 in (0, 3) for index in range(count)]
    payload = codec.encode(record(*values))
    assert int.from_bytes(payload, "little") == sum(bit << i for i, bit in enumerate(values))
    assert codec.decode(payload) == record(*values)
    assert codec.decode(b"\xff" * codec.size) == record(*[True] * count)


def test_records_may_be_immutable_slotted_and_by_keyword() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Keyword:
        a: BIT
        b: BIT = True
        c: INT
        d: Point

    @dataclass
    class Mixed:
        a: BIT
        b: BIT = field(kw_only=True)
        c: INT

    codec = Codec(Keyword)
    value = Keyword(a=False, c=-7, d=Point(1, 2))
    assert codec.decode(codec.encode(value)) == value
    mixed = Codec(Mixed)
    assert mixed.decode(mixed.encode(Mixed(True, -1, b=False))) == Mixed(True, -1, b=False)


def test_annotations_that_please_type_checkers() -> None:
    @dataclass
    class Checked:
        name: Annotated[str, STRING(3)] = ""
        mode: Annotated[Mode, ENUM(Mode, BYTE)] = Mode.IDLE
        row: Annotated[list[int], ARRAY(INT, 2)] = field(default_factory=lambda: [0, 0])

    codec = Codec(Checked)
    assert codec.encode(Checked("abc", Mode.RUN, [1, -1])).hex() == "6162630005000100ffff"[:10] + (
        "00" + "0100ffff"
    )


def test_a_sequence_or_a_truth_value_of_another_type_will_do() -> None:
    codec = Codec(Everything)
    value = full()
    value.row = (1, -2, 3)  # type: ignore[assignment]
    value.ok = "yes"  # type: ignore[assignment]
    value.mode = 5  # type: ignore[assignment]
    assert codec.decode(codec.encode(value)) == full()


def test_duck_typing() -> None:
    class Elsewhere:
        x = 1.0
        y = 2.0

    assert Codec(Point).encode(Elsewhere()) == struct.pack("<ff", 1, 2)  # type: ignore[arg-type]


# --- values that do not fit -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"byte": 256}, r"^byte: 256 is outside of BYTE's 0 \.\. 255$"),
        ({"byte": -1}, r"^byte: -1 is outside"),
        ({"int_": 40000}, r"^int_: 40000 is outside of INT's -32768 \.\. 32767$"),
        ({"ulint": 2**64}, r"^ulint: "),
        ({"uint": "7"}, r"^uint: '7' is not valid for UINT; give an integer$"),
        ({"udint": 1.0}, r"^udint: 1\.0 is not valid for UDINT"),
        ({"real": 1e39}, r"^real: 1e\+39 is too large for REAL$"),
        ({"real": "1"}, r"^real: '1' is not valid for REAL; give a number$"),
        ({"lreal": None}, r"^lreal: None is not valid for LREAL"),
        ({"lreal": 10**400}, r"^lreal: 1000.*is too large for LREAL"),
        ({"char": "ab"}, r"^char: 'ab' is not one character$"),
        ({"char": ""}, r"^char: '' is not one character$"),
        ({"char": 5}, r"^char: 5 is not valid for CHAR; give a str$"),
        ({"time": -1}, r"^time: -1 is outside of TIME's 0"),
        ({"text": "123456"}, r"^text: '123456' has 6 characters; STRING\[5\] takes 5$"),
        ({"text": "a\0b"}, r"^text: .*contains a zero"),
        ({"text": "€"}, r"^text: '€' is not a character of latin-1$"),
        ({"text": b"abc"}, r"^text: b'abc' is not valid for STRING\[5\]; give a str$"),
        ({"mode": 3}, r"^mode: 3 is not a member of Mode$"),
        ({"mode": [1]}, r"^mode: \[1\] is not a member of Mode$"),
        ({"wide": None}, r"^wide: None is not a member of Mode$"),
        ({"point": None}, r"^point\.x: None has no such field$"),
        ({"point": Point(y="z")}, r"^point\.y: 'z' is not valid"),  # type: ignore[arg-type]
        ({"row": [1, 2]}, r"^row: there are 2 values; it takes 3$"),
        ({"row": [1, 2, 3, 4]}, r"^row: there are 4 values"),
        ({"row": 7}, r"^row: 7 is not a list$"),
        ({"row": iter([1, 2, 3])}, r"^row: .* is not a list$"),
        ({"row": [1, 2, 99999]}, r"^row\[2\]: 99999 is outside of INT"),
        ({"table": [[1, 2, 3], [4, 5]]}, r"^table\[1\]: there are 2 values"),
        ({"table": [[1, 2, 3], [4, 5, "x"]]}, r"^table\[1\]\[2\]: 'x' is not valid for INT"),
        ({"path": [Point(), Point(1, None)]}, r"^path\[1\]\.y: None"),  # type: ignore[arg-type]
        ({"words": ["abc", ""]}, r"^words\[0\]: 'abc' has 3 characters"),
        ({"bits": [True] * 9}, r"^bits: there are 9 values; it takes 10$"),
        ({"letters": ["a", "bb"]}, r"^letters\[1\]: 'bb' is not one character"),
    ],
)
def test_the_field_is_named(change: dict[str, Any], text: str) -> None:
    codec = Codec(Everything)
    with pytest.raises(RecordError, match=text):
        codec.encode(dataclasses.replace(full(), **change))
    codec.encode(full())


def test_lengths_that_make_up_for_each_other_are_noticed() -> None:
    @dataclass
    class Two:
        a: ARRAY[INT, 2]
        b: ARRAY[INT, 2]

    with pytest.raises(RecordError, match=r"^a: there are 1 values"):
        Codec(Two).encode(Two([1], [2, 3, 4]))


def test_a_missing_field_is_named() -> None:
    for wrong in (object(), {"x": 1, "y": 2}):
        with pytest.raises(RecordError, match=r"has no 'x': give a Point, or an object .* x, y"):
            Codec(Point).encode(wrong)  # type: ignore[arg-type]


def test_long_values_are_shown_in_part() -> None:
    with pytest.raises(RecordError) as caught:
        Codec(Everything).encode(dataclasses.replace(full(), text="x" * 10000))
    assert len(str(caught.value)) < 200


# --- payloads that do not fit ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 19, 21])
def test_a_payload_of_another_size(size: int) -> None:
    with pytest.raises(RecordError, match=rf"^the payload has {size} bytes; Default takes 20$"):
        Codec(Default).decode(bytes(size))


def test_payloads_may_be_any_buffer() -> None:
    codec = Codec(Point)
    payload = codec.encode(Point(1, 2))
    assert codec.decode(bytearray(payload)) == codec.decode(memoryview(payload)) == Point(1, 2)
    with pytest.raises(RecordError, match="not a bytes-like object"):
        codec.decode("12345678")


def test_numbers_that_are_no_member() -> None:
    codec = Codec(Everything)
    payload = bytearray(codec.encode(full()))
    at = next(leaf.offset for leaf in codec.fields() if leaf.path == "mode")
    payload[at] = 9
    with pytest.raises(RecordError, match=r"^mode: 9 is not a member of Mode$"):
        codec.decode(payload)


def test_a_string_of_s7_that_is_longer_than_itself() -> None:
    @dataclass
    class Names:
        names: ARRAY[STRING[3], 2]

    codec = Codec(Names, order="big")
    payload = bytearray(codec.encode(Names(["abc", "x"])))
    assert payload.hex() == "0303616263000301780000" + "00"
    payload[7] = 4
    with pytest.raises(RecordError, match=r"^names\[1\]: 4 characters in use"):
        codec.decode(payload)
    assert codec.decode(bytes(12)) == Names(["", ""])  # never written: maximum 0, too


def test_any_byte_of_a_bool_but_0_is_true() -> None:
    @dataclass
    class Flag:
        flag: BOOL

    assert Codec(Flag).decode(b"\x80") == Flag(True)


def test_text_ends_at_the_first_zero() -> None:
    @dataclass
    class Text:
        text: STRING[4]

    assert Codec(Text).decode(b"a\0bc\0") == Text("a")
    assert Codec(Text).decode(b"abcde") == Text("abcd")


# --- classes that do not fit ----------------------------------------------------------------------


def one(annotation: Any) -> type[Any]:
    return dataclasses.make_dataclass("One", [("field", annotation)])


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (float, "^field: float has no size on the wire; use REAL or LREAL$"),
        (int, "^field: int .*use INT"),
        (bool, "^field: bool .*BOOL or BIT"),
        (str, r"^field: str .*STRING\[n\]"),
        (list[int], r"^field: list .*ARRAY"),
        (STRING, r"^field: String .*give its length"),
        (ARRAY, r"^field: Array .*give its type"),
        (Annotated[int, "mm"], "^field: int has no size"),
        (enum.Enum("Plain", "A B"), "^field: Plain has no size"),
    ],
)
def test_annotations_without_a_size(annotation: Any, text: str) -> None:
    with pytest.raises(RecordError, match=text):
        Codec(one(annotation))


@pytest.mark.parametrize(
    "make",
    [
        lambda: STRING[0],
        lambda: STRING[1498],
        lambda: ARRAY[INT, 0],
        lambda: ARRAY[INT, -1],
        lambda: ARRAY[INT, 10**9],
        lambda: ARRAY[BYTE, 200, 200],
        lambda: ENUM[Mode, REAL],
        lambda: ENUM[enum.IntEnum("Large", {"A": 300}), BYTE],
    ],
)
def test_types_that_cannot_be(make: Any) -> None:
    with pytest.raises(RecordError):
        make()


def test_classes_that_cannot_be() -> None:
    class Plain:
        pass

    @dataclass
    class Empty:
        pass

    @dataclass
    class NoInit:
        x: INT = field(init=False, default=0)

    @dataclass
    class Unknown:
        x: NoSuchType  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(RecordError, match="Plain is not a dataclass"):
        Codec(Plain)
    with pytest.raises(RecordError, match="Empty has no fields"):
        Codec(Empty)
    with pytest.raises(RecordError, match=r"^x: a field with init=False"):
        Codec(NoInit)
    with pytest.raises(RecordError, match=r"^field\.x: a field with init=False"):
        Codec(one(ARRAY[NoInit, 2]))
    with pytest.raises(RecordError, match=r"NoSuchType.*outside of any function"):
        Codec(Unknown)


@dataclass
class Itself:
    x: INT
    inner: Itself


def test_a_record_in_itself() -> None:
    for rules in ("codesys", "s7"):
        with pytest.raises(RecordError, match=r"^inner: Itself contains itself$"):
            Codec(Itself, rules=rules)


def test_options_out_of_range() -> None:
    with pytest.raises(RecordError, match="order is 'middle'"):
        Codec(Point, order="middle")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="rules is 'c'"):
        Codec(Point, rules="c")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="pack is 3"):
        Codec(Point, pack=3)
    with pytest.raises(RecordError, match="pack has no meaning"):
        Codec(Point, order="big", pack=1)


def test_the_longest_payload() -> None:
    assert Codec(one(ARRAY[BYTE, 1499])).size == 1499
    with pytest.raises(RecordError, match="One takes 1500 bytes; a datagram carries at most 1499"):
        Codec(one(ARRAY[BYTE, 1500]))
    with pytest.raises(RecordError, match=r"^field: .*longer than a datagram"):
        Codec(one(ARRAY[Point, 2000]))
    with pytest.raises(RecordError, match=r"^field: .*at most 254"):
        Codec(one(STRING[255]), order="big")
    assert Codec(one(STRING[255])).size == 256


def test_errors_are_what_they_are_elsewhere() -> None:
    error = RecordError("too long", "a.b")
    assert isinstance(error, ShmringError)
    assert isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path) == ("a.b: too long", "a.b")


# --- hash and table -------------------------------------------------------------------------------


def test_the_hash_is_as_documented() -> None:
    @dataclass
    class Small:
        speed: REAL
        run: BIT
        stop: BIT
        name: STRING[3]
        row: ARRAY[INT, 2]

    lines = ["netflux 1 little 16", "0 f32", "4.0 bit", "4.1 bit", "5 str3", "10 i16", "12 i16"]
    text = "".join(f"{line}\n" for line in lines)
    assert Codec(Small).layout_hash() == hashlib.sha256(text.encode()).hexdigest()[:16]
    paths = ["", " speed", " run", " stop", " name", " row[0]", " row[1]"]
    text = "".join(f"{line}{path}\n" for line, path in zip(lines, paths, strict=True))
    assert Codec(Small).layout_hash(names=True) == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_hash_tells_layouts_apart_and_names_only_if_asked() -> None:
    @dataclass
    class Renamed:
        X: REAL
        other: REAL

    @dataclass
    class Swapped:
        y: REAL
        x: REAL

    @dataclass
    class AnArray:
        xy: ARRAY[REAL, 2]

    plain = Codec(Point).layout_hash()
    named = Codec(Point).layout_hash(names=True)
    assert Codec(Renamed).layout_hash() == Codec(AnArray).layout_hash() == plain
    assert Codec(Renamed).layout_hash(names=True) != named
    assert Codec(Swapped).layout_hash(names=True) != named
    assert Codec(Point, order="big").layout_hash() != plain
    assert Codec(Default).layout_hash() != plain


def test_description() -> None:
    @dataclass
    class Small:
        run: BOOL
        speed: REAL

    assert Codec(Small).describe().splitlines() == [
        "Small: 8 bytes, little, codesys",
        "     0.0  bool  run",
        "     4.0  f32   speed",
    ]
    assert repr(Codec(Small)) == "<Codec Small order=little rules=codesys size=8>"
