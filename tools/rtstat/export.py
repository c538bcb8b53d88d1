"""Snapshots for programs: one JSON object each, or CSV rows. `rtstat.table` has the fields."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rtstat.fields import Field, Value
from rtstat.selection import Selection
from rtstat.snapshot import Snapshot
from rtstat.table import FIELD, FIELDS, values
from rtstat.troubles import verdict
from rtstat.views import ChannelView
from rtworkers.similar import did_you_mean

SCHEMA = 1
"""Changes when a name is removed or changes its meaning, but not when a name is added."""


def facts(shot: Snapshot, selection: Selection) -> dict[str, Any]:
    """Return a snapshot as values that `json` accepts."""
    found = selection.troubles(shot)
    return {
        "schema": SCHEMA,
        "host": os.uname().nodename,
        **values("snapshot", shot),
        "namespace": shot.namespace,
        "verdict": verdict(found),
        "troubles": [values("trouble", trouble) for trouble in found],
        "pools": [values("pool", pool) for pool in shot.pools],
        "workers": [values("worker", worker) for worker in selection.workers(shot)],
        "channels": [channel_facts(channel) for channel in selection.channels(shot)],
        "errors": [values("error", error) for error in shot.errors],
        "unreadable": [values("unreadable", item) for item in shot.unreadable],
        "events": [values("event", event) for event in shot.events],
    }


def channel_facts(channel: ChannelView) -> dict[str, Any]:
    """Return a channel, its readers (``attached``) and its engine's part (under the
    engine's name). ``figures_stale`` tells whether all of them are of the past."""
    row: dict[str, Any] = values("channel", channel)
    row["attached"] = [values("reader", reader) for reader in channel.readers]
    part = channel.part
    if part is not None:
        row[channel.engine] = values(channel.engine, part)
    return row


def print_json(shot: Snapshot, selection: Selection, to: TextIO) -> None:
    """Write one line."""
    to.write(json.dumps(facts(shot, selection), separators=(",", ":")) + "\n")
    to.flush()


# --- CSV ------------------------------------------------------------------------------------------


class CsvWriter:
    """Rows of one scope, ``channel`` or ``worker``. Each row begins with its time."""

    def __init__(self, to: TextIO, scope: str, names: Sequence[str] | None) -> None:
        """names: names of fields, with the form ``rtp.lost`` for an engine's part. None: all fields
        of the scope.

        Raises ValueError for an unknown field.
        """
        import csv

        self._scope = scope
        self._to = to
        self._writer = csv.writer(to, lineterminator="\n")
        self._columns = [_column(scope, name) for name in names or _all(scope)]
        self._head_written = False

    def write(self, shot: Snapshot, selection: Selection) -> None:
        """Write the rows of one snapshot. The first call writes the header before them."""
        if not self._head_written:
            self._writer.writerow(["time_ns", *(name for name, _, _ in self._columns)])
            self._head_written = True
        views: Iterable[Any] = (
            selection.workers(shot) if self._scope == "worker" else selection.channels(shot)
        )
        for view in views:
            self._writer.writerow([shot.real_ns, *self._cells(view)])
        self._to.flush()

    def _cells(self, view: Any) -> list[str]:
        cells = []
        for _, engine, field in self._columns:
            source = view
            if engine is not None:
                source = view.part if view.engine == engine else None
            cells.append("" if source is None else _cell(field.get(source)))
        return cells


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return repr(round(value, 9))
    return str(value)


def _all(scope: str) -> list[str]:
    return [field.name for field in FIELDS[scope]]


def _column(scope: str, name: str) -> tuple[str, str | None, Field]:
    engine, dot, part = name.partition(".")
    if dot and scope == "channel" and (engine, part) in FIELD:
        return name, engine, FIELD[engine, part]
    if (scope, name) in FIELD:
        return name, None, FIELD[scope, name]
    known = [field if space == scope else f"{space}.{field}" for space, field in FIELD]
    hint = did_you_mean(name, known)
    raise ValueError(f"{scope}s have no field {name!r}: see `shmring help rtstat`{hint}")
