"""Makes the rows of `rtstat.table`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from rtstat.frozen import Frozen
from shmring.observe.reading import Word as NamedWord

Kind = Literal["fixed", "instantaneous", "accumulated", "interval"]
Value = str | int | float | bool | list[Any] | None

KINDS: dict[Kind, str] = {
    "fixed": "a property that changes seldom or never",
    "instantaneous": "the value at this snapshot",
    "accumulated": "counted since the channel was opened or its counters were reset",
    "interval": "about the time between two snapshots; empty at the first snapshot",
}


class Field(Frozen):
    """A value that is shown."""

    name: str
    """The name in JSON and CSV."""
    label: str
    """A short name for people."""
    unit: str
    """The base unit, empty for texts and plain numbers."""
    kind: Kind
    help: str
    get: Callable[[Any], Value]
    """Return the field's value in a view."""


# --- what gets a value out of a view --------------------------------------------------------------


def attribute(name: str) -> Callable[[Any], Value]:
    def get(view: Any) -> Value:
        value: Value = getattr(view, name)
        return value

    return get


class Word:
    """Return a plain number of a view's row. interval: None at the first snapshot."""

    __slots__ = ("interval", "name")

    def __init__(self, name: str, *, interval: bool = False) -> None:
        self.name = name
        self.interval = interval

    def __call__(self, view: Any) -> Value:
        if self.interval and view.before is None:
            return None
        value: int = view.now[view.places[self.name]]
        return value


def or_none(name: str, nothing: int) -> Callable[[Any], Value]:
    def get(view: Any) -> Value:
        value: int = view.now[view.places[name]]
        return None if value == nothing else value

    return get


def flag(name: str) -> Callable[[Any], Value]:
    return lambda view: view[name] != 0


def readable(name: str) -> str:
    plain = name.removesuffix("_ns").removesuffix("_bytes").replace("_", " ")
    return plain.replace("rtt", "RTT")


# --- rows -----------------------------------------------------------------------------------------


def _sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"": []}
    lines = found[""]
    with open(os.path.join(os.path.dirname(__file__), "table.txt"), encoding="utf-8") as file:
        for line in filter(None, map(str.strip, file)):
            if line.startswith("["):
                lines = found[line.strip("[]")] = []
            else:
                lines.append(line)
    return found


_SECTIONS = _sections()


def section(name: str) -> list[str]:
    """Return the lines of a section of table.txt, such as ``channel fixed``."""
    return _SECTIONS[name]


Gets = dict[str, Callable[[Any], Value]]
"""Getters of fields, by name."""


def rows(scope: str, kind: Kind, gets: Gets | None = None) -> Iterator[Field]:
    """Return the fields of a section. gets: of those that are not attributes of the view."""
    for line in section(f"{scope} {kind}"):
        name, label, unit, about = (cell.strip() for cell in line.split("|"))
        yield Field(name, label, unit, kind, about, (gets or {}).get(name) or attribute(name))


def words(table: Iterable[NamedWord], kind: Kind | None = None) -> Iterator[Field]:
    """Return fields for words of `shmring.observe.monitor`. kind: None for that in its table."""
    for name, unit, none, text, counts in table:
        get: Callable[[Any], Value] = Word(name)
        if none is not None:
            get = or_none(name, none)
        elif unit == "flag":
            get = flag(name)
        its_kind = kind or ("accumulated" if counts else "instantaneous")
        yield Field(name, readable(name), unit, its_kind, text, get)


TIMES = {
    "count": ("entries", "number of values"),
    "min_ns": ("ns", "shortest"),
    "max_ns": ("ns", "longest"),
    "p50_ns": ("ns", "median"),
    "p90_ns": ("ns", "90th percentile"),
    "p99_ns": ("ns", "99th percentile"),
    "p999_ns": ("ns", "99.9th percentile"),
}


def times(name: str, text: str) -> Iterator[Field]:
    """Return the fields of a histogram: accumulated, and of the interval."""
    label = readable(name)
    for part, (unit, meaning) in TIMES.items():
        key = f"{name}_{part}"
        about = f"{text}: {meaning}"
        yield Field(key, f"{label} {_short(part)}", unit, "accumulated", about, Word(key))
    yield Field(
        f"{name}_mean_ns", f"{label} mean", "ns", "accumulated", f"{text}: mean", _mean(name)
    )
    for part, (unit, meaning) in TIMES.items():
        if part == "min_ns":
            continue
        key = f"{name}_interval_{part}"
        about = f"{text}, since the last snapshot: {meaning}"
        yield Field(
            key, f"{label} {_short(part)} now", unit, "interval", about, Word(key, interval=True)
        )


def _mean(name: str) -> Callable[[Any], Value]:
    count, total = f"{name}_count", f"{name}_sum_ns"

    def get(view: Any) -> Value:
        return view[total] / view[count] if view[count] else 0.0

    return get


def _short(part: str) -> str:
    return {"p999_ns": "p99.9"}.get(part, part.removesuffix("_ns"))


def words_of(table: list[NamedWord], names: Iterable[str]) -> list[NamedWord]:
    """Rows of `shmring.observe.reading`, by name."""
    by_name = {row[0]: row for row in table}
    return [by_name[name] for name in names]
