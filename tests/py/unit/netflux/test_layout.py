"""Where fields lie: against ctypes for CODESYS structures, against tables for S7."""

from __future__ import annotations

import ctypes
import dataclasses
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmring.netflux import records
from shmring.netflux.records import (
    ARRAY,
    BIT,
    BOOL,
    BYTE,
    CHAR,
    DINT,
    INT,
    LREAL,
    REAL,
    STRING,
    TIME,
    Codec,
)
from shmring.netflux.records.field_types import SCALARS

# --- CODESYS: as a C compiler does it -------------------------------------------------------------

CTYPES = {
    "BOOL": ctypes.c_bool,
    "BYTE": ctypes.c_uint8,
    "WORD": ctypes.c_uint16,
    "DWORD": ctypes.c_uint32,
    "LWORD": ctypes.c_uint64,
    "SINT": ctypes.c_int8,
    "INT": ctypes.c_int16,
    "DINT": ctypes.c_int32,
    "LINT": ctypes.c_int64,
    "REAL": ctypes.c_float,
    "LREAL": ctypes.c_double,
    "TIME": ctypes.c_uint32,
    "LTIME": ctypes.c_uint64,
    "CHAR": ctypes.c_char,
}


@dataclasses.dataclass
class Pair:
    """The same type here and in ctypes."""

    annotation: Any
    ctype: Any
    python: Any


def struct_of(fields: list[Pair], pack: int) -> Pair:
    names = [f"f{index}" for index in range(len(fields))]
    ours = dataclasses.make_dataclass(
        "Ours",
        [(name, pair.annotation) for name, pair in zip(names, fields, strict=True)],
        namespace={"_pack_": pack},
    )
    theirs = type(
        "Theirs",
        (ctypes.LittleEndianStructure,),
        {
            "_pack_": pack,
            "_fields_": [(name, pair.ctype) for name, pair in zip(names, fields, strict=True)],
        },
    )
    return Pair(ours, theirs, None)


scalars = st.sampled_from([Pair(getattr(records, n), CTYPES[n], None) for n in CTYPES])
strings = st.integers(1, 9).map(lambda n: Pair(STRING[n], ctypes.c_char * (n + 1), None))
packs = st.sampled_from([1, 2, 4, 8])


def grow(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    arrays = st.builds(
        lambda pair, n: Pair(ARRAY[pair.annotation, n], pair.ctype * n, None),
        inner,
        st.integers(1, 4),
    )
    structs = st.builds(struct_of, st.lists(inner, min_size=1, max_size=4), packs)
    return arrays | structs


types = st.recursive(scalars | strings, grow, max_leaves=6)


def offsets_in_c(ctype: Any, base: int = 0) -> list[int]:
    if hasattr(ctype, "_fields_"):
        return [
            offset
            for name, inner in ctype._fields_
            for offset in offsets_in_c(inner, base + getattr(ctype, name).offset)
        ]
    is_text = hasattr(ctype, "_length_") and ctype._type_ is ctypes.c_char and ctype._length_ > 1
    if hasattr(ctype, "_length_") and not is_text:
        size = ctypes.sizeof(ctype._type_)
        return [
            offset
            for index in range(ctype._length_)
            for offset in offsets_in_c(ctype._type_, base + index * size)
        ]
    return [base]


@settings(deadline=None)
@given(st.lists(types, min_size=1, max_size=6), packs)
def test_codesys_places_fields_as_c_does(fields: list[Pair], pack: int) -> None:
    both = struct_of(fields, pack)
    size = ctypes.sizeof(both.ctype)
    if size > 1499:
        with pytest.raises(records.RecordError):
            Codec(both.annotation)
        return
    codec = Codec(both.annotation)
    assert codec.size == size
    ours = [leaf.offset for leaf in codec.fields()]
    # An ARRAY OF CHAR is text to ctypes, and letters to us.
    assert set(offsets_in_c(both.ctype)) <= set(ours)
    assert ours == sorted(ours)


def leaves_of(record: Any, **options: Any) -> list[tuple[str, str, str]]:
    return [
        (leaf.path, f"{leaf.offset}.{leaf.bit or 0}", leaf.wire)
        for leaf in Codec(record, **options).fields()
    ]


def make(**fields: Any) -> Any:
    return dataclasses.make_dataclass("Made", list(fields.items()))


def test_codesys_bits_share_bytes_and_end_with_their_row() -> None:
    record = make(a=BIT, b=BIT, c=BYTE, d=BIT, e=INT, **{f"f{i}": BIT for i in range(9)})
    assert leaves_of(record)[:6] == [
        ("a", "0.0", "bit"),
        ("b", "0.1", "bit"),
        ("c", "1.0", "u8"),
        ("d", "2.0", "bit"),
        ("e", "4.0", "i16"),
        ("f0", "6.0", "bit"),
    ]
    assert leaves_of(record)[-1] == ("f8", "7.0", "bit")
    assert Codec(record).size == 8


def test_codesys_padding_and_pack() -> None:
    record = make(a=BOOL, b=LREAL, c=BYTE)
    assert Codec(record).size == 24
    assert Codec(record, pack=4).size == 16
    assert Codec(record, pack=2).size == 12
    assert Codec(record, pack=1).size == 10
    record._pack_ = 1
    assert Codec(record).size == Codec(record, pack=8).size == 10


def test_a_strict_record_in_a_loose_one_keeps_its_own_gaps() -> None:
    inner = make(a=BYTE, b=DINT)
    inner._pack_ = 8
    outer = make(x=BYTE, inner=inner, y=BYTE)
    outer._pack_ = 1
    assert leaves_of(outer) == [
        ("x", "0.0", "u8"),
        ("inner.a", "1.0", "u8"),
        ("inner.b", "5.0", "i32"),
        ("y", "9.0", "u8"),
    ]


# --- S7: standard access --------------------------------------------------------------------------


def test_s7_places_fields_as_step_7_shows_them() -> None:
    inner = make(x=BYTE)
    record = make(
        run=BOOL,
        stop=BOOL,
        mode=BYTE,
        one=BOOL,
        count=INT,
        letter=CHAR,
        real=REAL,
        name=STRING[5],
        after=BYTE,
        flags=ARRAY[BOOL, 11],
        more=BOOL,
        bytes_=ARRAY[BYTE, 3],
        last=BYTE,
        inner=inner,
        inners=ARRAY[inner, 2],
        long=LREAL,
        names=ARRAY[STRING[3], 2],
        t=TIME,
    )
    at = {path: place for path, place, _ in leaves_of(record, order="big")}
    assert at["run"] == "0.0"
    assert at["stop"] == "0.1"
    assert at["mode"] == "1.0"
    assert at["one"] == "2.0"
    assert at["count"] == "4.0"
    assert at["letter"] == "6.0"
    assert at["real"] == "8.0"
    assert at["name"] == "12.0"  # 7 bytes
    assert at["after"] == "20.0"
    assert at["flags[0]"] == "22.0"
    assert at["flags[10]"] == "23.2"
    assert at["more"] == "24.0"
    assert at["bytes_[0]"] == "26.0"
    assert at["last"] == "30.0"
    assert at["inner.x"] == "32.0"
    assert at["inners[0].x"] == "34.0"
    assert at["inners[1].x"] == "36.0"
    assert at["long"] == "38.0"
    assert at["names[1]"] == "52.0"
    assert at["t"] == "58.0"
    assert Codec(record, order="big").size == 62


def test_s7_records_have_an_even_size() -> None:
    assert Codec(make(a=BYTE), order="big").size == 2
    assert Codec(make(a=BOOL), order="big").size == 2
    assert Codec(make(a=BYTE), order="little").size == 1


def test_s7_rows_of_bools_are_refused() -> None:
    with pytest.raises(records.RecordError, match=r"^grid: .*several dimensions"):
        Codec(make(grid=ARRAY[BOOL, 2, 3]), order="big")
    assert Codec(make(grid=ARRAY[BYTE, 3, 3]), order="big").size == 10


def test_times_are_signed_with_s7_only() -> None:
    record = make(t=TIME)
    assert Codec(record, order="big").encode(record(-1)) == b"\xff" * 4
    assert Codec(record).encode(record(2**32 - 1)) == b"\xff" * 4
    with pytest.raises(records.RecordError):
        Codec(record).encode(record(-1))


def test_rules_follow_the_order_unless_told() -> None:
    record = make(flag=BOOL, x=Annotated[int, SCALARS["INT"]])
    assert Codec(record).rules == "codesys"
    assert Codec(record, order="big").rules == "s7"
    assert Codec(record, order="big", rules="codesys").encode(record(True, 258)).hex() == "01000102"
    assert Codec(record, rules="s7").encode(record(True, 258)).hex() == "01000201"
    record._order_ = "big"
    assert Codec(record).rules == "s7"
    record._rules_ = "codesys"
    assert Codec(record).rules == "codesys"
    assert Codec(record, order="little").order == "little"
