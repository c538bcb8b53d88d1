"""Record fields with their unit and meaning."""

import dataclasses
from collections.abc import Iterable
from typing import Any


def fact(
    unit: str, meaning: str, *, none: int | None = None, scale: float | None = None
) -> Any:
    """A field of a dataclass. `none`: the number that means "not known" in C. `scale`: the factor
    of the value in C."""
    return dataclasses.field(
        metadata={"unit": unit, "meaning": meaning, "none": none, "scale": scale}
    )


def names(kind: type[Any]) -> tuple[str, ...]:
    """Return the fields of a class of `shmring._numbers`, in the order of its C tables."""
    return tuple(item.name for item in dataclasses.fields(kind))


def values(kind: type[Any], raw: Iterable[int]) -> dict[str, Any]:
    """Read the fields of such a class from C words in the same order."""
    fields = dataclasses.fields(kind)
    return {item.name: _value(item.metadata, n) for item, n in zip(fields, raw, strict=True)}


def _value(metadata: Any, number: int) -> Any:
    if metadata["unit"] == "flag":
        return number != 0
    if number == metadata["none"]:
        return None
    return number if metadata["scale"] is None else number * metadata["scale"]
