"""Record fields with their unit and meaning."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any


def fact(
    unit: str, meaning: str, *, none: int | None = None, scale: float | None = None
) -> Any:
    """A field of a dataclass. `none`: the number that means "not known" in C. `scale`: the factor
    of the value in C."""
    return dataclasses.field(
        metadata={"unit": unit, "meaning": meaning, "none": none, "scale": scale}
    )


@cache
def names(kind: Any) -> tuple[str, ...]:
    """Return the fields of a class of `shmring._numbers`, in the order of its rows."""
    return tuple(item.name for item in dataclasses.fields(kind))


@cache
def _converted(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return the fields that are no plain numbers, with their metadata."""
    return tuple(
        (item.name, item.metadata)
        for item in dataclasses.fields(kind)
        if item.metadata["unit"] == "flag"
        or (item.metadata["none"], item.metadata["scale"]) != (None, None)
    )


def values(kind: Any, raw: Iterable[int]) -> dict[str, Any]:
    """Read the fields of such a class from C words in the same order."""
    found: dict[str, Any] = dict(zip(names(kind), raw, strict=True))
    for name, metadata in _converted(kind):
        found[name] = _value(metadata, found[name])
    return found


def values_at(kind: Any, words: Sequence[int], places: Mapping[str, int]) -> dict[str, Any]:
    """Read them from a row of words. places: where each name is."""
    return values(kind, [words[places[name]] for name in names(kind)])


def _value(metadata: Any, number: int) -> Any:
    if metadata["unit"] == "flag":
        return number != 0
    if number == metadata["none"]:
        return None
    return number if metadata["scale"] is None else number * metadata["scale"]
