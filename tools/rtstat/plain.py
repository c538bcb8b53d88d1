"""Snapshots as plain text: tables for people, without terminal control."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rtstat import columns
from rtstat.columns import Column
from rtstat.selection import Selection
from rtstat.snapshot import Snapshot
from rtstat.trouble_text import WIDTH, headline, paragraphs
from rtstat.views import ChannelView
from rtstat.worst import Worst
from shmring_cli.output import text_table

_GAP = 2


def overview(shot: Snapshot, selection: Selection, width: int = WIDTH) -> str:
    """Return the troubles, and the tables of workers, channels, and their engines' parts.

    No line is longer than `width`, at least 40: a table has as many of its columns as fit.
    """
    channels = selection.worst_first(shot)
    worst = Worst(shot.troubles)
    tables = [
        _table(columns.WORKER, ((view, view) for view in selection.workers(shot)), width, worst),
        _table(columns.CHANNEL, ((view, view) for view in channels), width, worst),
        *(_engine(engine, channels, width) for engine in columns.ENGINES),
        _table(columns.UNREADABLE, ((view, view) for view in shot.unreadable), width),
    ]
    shown = [table for table in tables if table]
    troubles = selection.troubles(shot)
    head = f"{headline(troubles, empty=shot.is_empty)}\n{_what(shot, channels, width)}"
    found = [paragraphs(troubles, width)] if troubles else []
    return "\n\n".join([head, *found, *(shown or ["nothing to show"])])


def _what(shot: Snapshot, channels: list[ChannelView], width: int) -> str:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(shot.real_ns / 1e9))
    where = "every namespace" if shot.namespace is None else f"namespace {shot.namespace}"
    text = (
        f"{clock}  {where}: {len(shot.pools)} pools, {len(shot.workers)} workers, "
        f"{len(channels)} channels"
    )
    errors = f"\n{len(shot.errors)} distinct errors (rtstat errors)" if shot.errors else ""
    return textwrap.fill(text, width, subsequent_indent="  ") + errors


def _engine(engine: str, channels: Sequence[ChannelView], width: int) -> str:
    """Return the table of the parts of an engine's channels, whose names come first."""
    name = columns.CHANNEL[0]._replace(head=engine, get=_name_of_part)
    rows = ((channel, channel.part) for channel in channels if channel.engine == engine)
    return _table((name, *columns.ENGINES[engine]), rows, width)


def _name_of_part(channel: ChannelView) -> str:
    return columns.name_of(channel) + (" (stale)" if channel.figures_stale else "")


def _table(
    shown: Sequence[Column],
    views: Iterable[tuple[Any, Any]],
    width: int,
    worst: Worst | None = None,
) -> str:
    """Return the first columns of a table, as many as fit.

    views: for each row, the view that the first column shows, and the view that the others show.
    """
    pairs = list(views)
    if not pairs:
        return ""
    found: list[list[str]] = []
    used = -_GAP
    for column in shown:
        cells = [_cell(column, other if found else one, worst) for one, other in pairs]
        used += _GAP + max(len(column.head), *map(len, cells))
        if found and used > width:
            break
        found.append([column.head, *cells])
    heads, *rows = zip(*found, strict=True)
    lines = text_table(heads, rows).splitlines()
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in lines)


def _cell(column: Column, view: Any, worst: Worst | None) -> str:
    text, mood = column.cell(view, worst)
    if text == columns.NOTHING:
        return "-"
    return f"{text} (!)" if mood == "bad" else text
