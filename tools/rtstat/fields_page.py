"""The fields of `rtstat.table` as Markdown tables.

They are the section "Fields" of docs/reference/rtstat.md. `make schema` writes them there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rtstat.fields import KINDS, TIMES, Field
from rtstat.table import FIELDS

_TITLES = {
    "snapshot": "A snapshot",
    "pool": "`pools`",
    "worker": "`workers`",
    "channel": "`channels`",
    "reader": "`attached` of a channel: its readers",
    "rtp": "`rtp` of a channel",
    "cyclic": "`cyclic` of a channel",
    "netflux": "`netflux` of a channel",
    "udt": "`udt` of a channel: a connection",
    "udt-port": "`udt-port` of a channel: a port of connections",
    "proxy": "`proxy` of a channel: a UDP proxy",
    "mux": "`mux` of a channel: many sockets",
    "trouble": "`troubles`: what is wrong, the worst first",
    "error": "`errors`: distinct problems of workers, the latest first",
    "unreadable": "`unreadable`",
    "event": "`events`: what happened since the snapshot before",
}


def page() -> str:
    """Return all tables."""
    parts = [_kinds(), _times()]
    for scope, title in _TITLES.items():
        parts.append(f"### {title}\n\n{_table(FIELDS[scope])}")
    return "\n\n".join(parts) + "\n"


def _kinds() -> str:
    rows = [f"| {kind} | {meaning} |" for kind, meaning in KINDS.items()]
    return "\n".join(["| kind | meaning |", "|---|---|", *rows])


def _times() -> str:
    rows = [f"| `{part}` | {unit} | {meaning} |" for part, (unit, meaning) in TIMES.items()]
    rows.append("| `mean_ns` | ns | mean; accumulated only |")
    return "\n".join(
        [
            "`X_*` stands for a histogram of durations: `X_count`, `X_p99_ns` and so on are "
            "accumulated, `X_interval_count`,\n`X_interval_p99_ns` and so on (no minimum) of the "
            "interval:\n",
            "| part | unit | meaning |",
            "|---|---|---|",
            *rows,
        ]
    )


def _table(fields: Iterable[Field]) -> str:
    lines = ["| name | unit | kind | meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *_rows(list(fields))])


def _rows(fields: list[Field]) -> Iterator[str]:
    names = {field.name for field in fields}
    histograms = {name.removesuffix("_p999_ns") for name in names if name.endswith("_p999_ns")}
    histograms = {name for name in histograms if not name.endswith("_interval")}
    for field in fields:
        head = next((name for name in histograms if _is_part(field.name, name)), None)
        if head is None:
            yield f"| `{field.name}` | {field.unit} | {field.kind} | {field.help} |"
        elif field.name == f"{head}_count":
            meaning = field.help.partition(":")[0]
            yield f"| `{head}_*` | ns | accumulated, interval | {meaning} |"


def _is_part(name: str, histogram: str) -> bool:
    rest = name.removeprefix(f"{histogram}_")
    return rest != name and rest.removeprefix("interval_") in {*TIMES, "mean_ns"}
