"""Any record with any values comes back the same; any bytes decode or are refused."""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from shmring.netflux import records
from shmring.netflux.records import ARRAY, ENUM, STRING, UINT, Codec, RecordError
from shmring.netflux.records.field_types import SCALARS, int_range

pytestmark = pytest.mark.check


class Colour(enum.IntEnum):
    RED = 0
    BLUE = 300


@dataclasses.dataclass
class Kind:
    """A type, and values of it that all rules take."""

    annotation: Any
    values: st.SearchStrategy[Any]


def scalar_kind(name: str) -> Kind:
    code = SCALARS[name].code
    values: st.SearchStrategy[Any]
    if code in ("", "?"):
        values = st.booleans()
    elif code == "c":
        values = st.characters(max_codepoint=255)
    elif code in ("f", "d"):
        values = st.floats(width=32 if code == "f" else 64, allow_nan=False)
    else:
        low, high = int_range(code)
        if name in ("TIME", "LTIME"):
            high //= 2
        values = st.integers(low, high)
    return Kind(getattr(records, name), values)


def string_kind(length: int) -> Kind:
    letters = st.characters(min_codepoint=1, max_codepoint=255)
    return Kind(STRING[length], st.text(letters, max_size=length))


def record_kind(kinds: list[Kind]) -> Kind:
    fields = [(f"f{index}", kind.annotation) for index, kind in enumerate(kinds)]
    record = dataclasses.make_dataclass("Record", fields)
    return Kind(record, st.builds(record, *(kind.values for kind in kinds)))


def array_kind(kind: Kind, length: int) -> Kind:
    values = st.lists(kind.values, min_size=length, max_size=length)
    return Kind(ARRAY[kind.annotation, length], values)


single = (
    st.sampled_from(sorted(SCALARS)).map(scalar_kind)
    | st.integers(1, 6).map(string_kind)
    | st.just(Kind(Colour, st.sampled_from(Colour)))
    | st.just(Kind(ENUM[Colour, UINT], st.sampled_from(Colour)))
)
kinds = st.recursive(
    single,
    lambda inner: (
        st.builds(array_kind, inner, st.integers(1, 12))
        | st.lists(inner, min_size=1, max_size=5).map(record_kind)
    ),
    max_leaves=12,
)
record_kinds = st.lists(kinds, min_size=1, max_size=8).map(record_kind)
options = st.fixed_dictionaries(
    {"order": st.sampled_from(["little", "big"]), "rules": st.sampled_from(["codesys", "s7"])}
)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def codec_of(record: Any, given_options: dict[str, Any]) -> Codec[Any]:
    try:
        return Codec(record, **given_options)
    except RecordError as error:
        text = str(error)
        assert "several dimensions" in text or "bytes" in text
        assume(False)
        raise


def attempt(function: Callable[[Any], Any], argument: Any) -> tuple[Any, RecordError | None]:
    try:
        return function(argument), None
    except RecordError as error:
        return None, error


@relaxed
@given(st.data(), record_kinds, options)
def test_round_trip(data: st.DataObject, kind: Kind, given_options: dict[str, Any]) -> None:
    codec = codec_of(kind.annotation, given_options)
    value = data.draw(kind.values)
    payload = codec.encode(value)
    assert len(payload) == codec.size
    assert codec.decode(payload) == value
    assert codec.encode(codec.decode(payload)) == payload


@relaxed
@given(st.data(), record_kinds, options)
def test_any_bytes(data: st.DataObject, kind: Kind, given_options: dict[str, Any]) -> None:
    codec = codec_of(kind.annotation, given_options)
    payload = data.draw(st.binary(min_size=codec.size, max_size=codec.size))
    value, error = attempt(codec.decode, payload)
    if error is not None:
        assert error.path
        return
    assert repr(codec.decode(codec.encode(value))) == repr(value)


@relaxed
@given(record_kinds, options)
def test_fields_do_not_overlap(kind: Kind, given_options: dict[str, Any]) -> None:
    codec = codec_of(kind.annotation, given_options)
    sizes = {"u": 0, "i": 0, "f": 0, "char": 1, "bool": 1}
    taken: set[tuple[int, int]] = set()
    for leaf in codec.fields():
        if leaf.bit is not None:
            places = {(leaf.offset, leaf.bit)}
        else:
            if leaf.wire.startswith("s7str"):
                size = int(leaf.wire[5:]) + 2
            elif leaf.wire.startswith("str"):
                size = int(leaf.wire[3:]) + 1
            else:
                size = sizes.get(leaf.wire) or int(leaf.wire[1:]) // 8
            places = {(leaf.offset + i, bit) for i in range(size) for bit in range(8)}
        assert not places & taken
        taken |= places
    assert max(offset for offset, _ in taken) < codec.size
    assert len({leaf.path for leaf in codec.fields()}) == len(codec.fields())


@relaxed
@given(record_kinds)
def test_byte_order_turns_each_number_round(kind: Kind) -> None:
    little = codec_of(kind.annotation, {"order": "little", "rules": "codesys"})
    big = codec_of(kind.annotation, {"order": "big", "rules": "codesys"})
    assert [leaf[:3] for leaf in little.fields()] == [leaf[:3] for leaf in big.fields()]
    assert little.layout_hash() != big.layout_hash()


def test_numbers_of_the_edges() -> None:
    for name, scalar in SCALARS.items():
        if scalar.code in set("BHIQbhiq"):
            record = dataclasses.make_dataclass("Edge", [("x", getattr(records, name))])
            for edge in int_range(scalar.code):
                expected = struct.pack("<" + scalar.code, edge)
                assert Codec(record).encode(record(edge)) == expected
                outside = edge + (1 if edge > 0 else -1)
                with pytest.raises(RecordError, match=r"^x: .* is outside of"):
                    Codec(record).encode(record(outside))
