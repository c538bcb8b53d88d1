"""The fields of `rtstat.table` as Markdown tables.

They are the section "Fields" of docs/reference/rtstat.md. `make schema` writes them there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from rtstat.fields import KINDS, TIMES, Field
from rtstat.table import FIELDS
from shmring import cyclic, netflux, proxy, rtp
from shmring.observe.engines import PARTS
from shmring.stats import ChannelStats

_TITLES = {
    "snapshot": "A snapshot",
    "pool": "`pools`",
    "worker": "`workers`",
    "channel": "`channels`",
    "reader": "`attached` of a channel: its readers",
    **{
        name: f"`{name}` of a channel" + (f": {row.about}" if row.about else "")
        for name, row in PARTS.items()
    },
    "trouble": "`troubles`: what is wrong, the worst first",
    "error": "`errors`: distinct problems of workers, the latest first",
    "unreadable": "`unreadable`",
    "event": "`events`: what happened since the snapshot before",
}


_ELSEWHERE: dict[str, tuple[str, tuple[Any, ...]]] = {
    "channel": (
        "The [counters](statistics.md#counters) (accumulated) and the "
        "[histograms](statistics.md#histograms), and:",
        (ChannelStats,),
    ),
    "rtp": (
        "The [counters](rtp.md#rtp-counters) (accumulated) and the "
        "[values now](rtp.md#rtp-now) (instantaneous), and:",
        (rtp.Stats,),
    ),
    "cyclic": (
        "The [counters](cyclic.md#cyclic-counters) (accumulated) and the "
        "[values now](cyclic.md#cyclic-now) (instantaneous), and:",
        (cyclic.Stats,),
    ),
    "netflux": (
        "The [counters](netflux.md#netflux-counters) (accumulated), the "
        "[values now](netflux.md#netflux-now)\n(instantaneous) and the "
        "[histograms](netflux.md#netflux-histograms), and:",
        (netflux.Link, netflux.Stats),
    ),
    "proxy": (
        "The [counters](../howto/impair.md#proxy-counters) (accumulated) and the "
        "[values now](../howto/impair.md#proxy-now) (instantaneous).",
        (proxy.Stats,),
    ),
}
"""What another page explains of a scope: the sentence that says so, and the classes that inherit
its numbers."""


def page() -> str:
    """Return all tables."""
    parts = [_kinds(), _times()]
    for scope, title in _TITLES.items():
        said, elsewhere = _ELSEWHERE.get(scope, ("", ()))
        parts.append(f"### {title}")
        if said:
            parts.append(said)
        known = {name for kind in elsewhere for name in _inherited(kind)}
        if any(field.name not in known for field in FIELDS[scope]):
            parts.append(_table(FIELDS[scope], known))
    return "\n\n".join(parts) + "\n"


def _kinds() -> str:
    rows = [f"| {kind} | {meaning} |" for kind, meaning in KINDS.items()]
    return "\n".join(["| kind | meaning |", "|---|---|", *rows])


def _times() -> str:
    parts = ", ".join(f"`{part}`" for part in TIMES)
    return (
        "`X_*` stands for a histogram of durations: `X_count`, `X_p99_ns` and so on are "
        "accumulated, `X_interval_count`,\n`X_interval_p99_ns` and so on (no minimum) of the "
        f"interval. The parts are\n{parts} (the 99.9th percentile)\nand `mean_ns` "
        "(accumulated only)."
    )


def _inherited(kind: Any) -> set[str]:
    numbers = (base for base in kind.__bases__ if dataclasses.is_dataclass(base))
    return {field.name for base in numbers for field in dataclasses.fields(base)}


def _table(fields: Iterable[Field], known: set[str]) -> str:
    lines = ["| name | unit | meaning |", "|---|---|---|"]
    return "\n".join([*lines, *_rows(list(fields), known)])


def _rows(fields: list[Field], known: set[str]) -> Iterator[str]:
    """A row for each field that is not `known` from another page, below the name of its kind."""
    ends = {field.name.removesuffix("_p999_ns") for field in fields}
    histograms = {name for name in ends if f"{name}_interval" in ends}
    kind = ""
    for field in fields:
        head = next((name for name in histograms if _is_part(field.name, name)), None)
        name, unit, meaning = f"`{field.name}`", field.unit, field.help
        of: str = field.kind
        if head is not None:
            if head in known or field.name != f"{head}_count":
                continue
            name, unit, meaning = f"`{head}_*`", "ns", field.help.partition(":")[0]
            of = "accumulated, interval"
        elif field.name in known:
            continue
        if of != kind:
            kind = of
            yield f"| *{kind}* | | |"
        yield f"| {name} | {unit} | {meaning} |"


def _is_part(field: str, histogram: str) -> bool:
    rest = field.removeprefix(f"{histogram}_")
    return rest != field and rest.removeprefix("interval_") in {*TIMES, "mean_ns"}
