"""Draw what rtstat --record FILE has recorded.

  time      lateness over time: p50, p99 and max of each interval, and the late packets
  hist      how many packets were how late, with percentiles
  cdf       which share of the packets was no later than x
  compare   two recordings on the same axes, and a table of the differences
  all       time, hist and cdf on one page

One FILE is drawn as all, two as compare. Lateness is the time from a packet's deadline to
the start of its send call. A recording has the histogram of every interval, so percentiles
cover all packets of the range. They are not means of percentiles.

Of more than 6 channels it draws the worst 6: those with the largest share of late packets, then
with the largest p99. --channel chooses others, '*' all of up to 24.

examples:
  shmring plot night.csv                       writes night.png
  shmring plot night.csv -o night.svg          PNG or SVG, as the suffix says
  shmring plot night.csv --channel ctl --range 60..2m
  shmring plot night.csv --kind time --range 2026-03-01T02:00..2026-03-01T03:00
  shmring plot before.csv after.csv            same axes, and what changed
  shmring plot night.csv --json                the figures, for a program

Needs matplotlib: pip install "shmring[plot]". Parquet needs pyarrow: "shmring[parquet]".
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from rtworkers import units
from rtworkers.similar import did_you_mean
from shmring import recording
from shmring_cli import options
from shmring_cli.common import FINE
from shmring_cli.output import JsonRows, table
from shmring_plot import tables
from shmring_plot.series import NS_PER_S, Series, split, worst_first

KINDS = ("time", "hist", "cdf", "compare", "all")
SUFFIXES = (".png", ".svg")
WORST = 6
"""So many channels are drawn by default."""
MAX_SERIES = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="a recording, .csv or .parquet")
    parser.add_argument(
        "second", metavar="FILE2", type=Path, nargs="?", help="another one, for a comparison"
    )
    parser.add_argument("--kind", choices=KINDS, help="default: all, for two files compare")
    parser.add_argument(
        "-o",
        "--output",
        metavar="PICTURE",
        type=Path,
        help="file for the picture, .png or .svg (default: FILE with .png)",
    )
    parser.add_argument(
        "--channel",
        metavar="NAME",
        action="append",
        default=[],
        help="only these: NAME, NAMESPACE/NAME or a pattern, '*' for all; may be repeated",
    )
    parser.add_argument("--together", action="store_true", help="draw all channels as one")
    parser.add_argument(
        "--range",
        metavar="FROM..TO",
        type=_range,
        default=(None, None),
        help="each a time since the start (90, 5m, 2h), a date and time, or nothing",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    files = [path for path in (arguments.file, arguments.second) if path is not None]
    kind = arguments.kind or ("all" if len(files) == 1 else "compare")
    if kind == "compare" and len(files) == 1:
        raise ValueError("--kind compare needs two recordings: shmring plot FILE FILE2")
    picture = arguments.output or files[0].with_suffix(".png")
    if not arguments.json:
        _check_picture(picture, files)
    series = _series(files, arguments, together=arguments.together or kind == "compare")
    if arguments.json:
        rows = JsonRows(arguments.json)
        for one in series:
            rows.add(one.facts())
        rows.end()
        return FINE
    drawn = _drawn(series, everything=bool(arguments.channel))
    _draw(kind, drawn, picture, len(series))
    lines = tables.difference(*series) if kind == "compare" else tables.summary(series)
    print(table(lines[0], lines[1:]))
    print(f"\n{picture}")
    return FINE


def _check_picture(picture: Path, files: list[Path]) -> None:
    """Raise an error if the picture cannot be written, before anything is read."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError(
            'pictures need matplotlib, which is not installed: pip install "shmring[plot]" '
            "(--json needs none)"
        )
    if picture.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{picture}: the name must end in {' or '.join(SUFFIXES)}")
    if picture in files:
        raise ValueError(f"{picture} is a recording: choose another name with -o")
    if not os.access(picture if picture.exists() else picture.parent, os.W_OK):
        raise ValueError(f"{picture} cannot be written: choose an existing folder")


# --- choosing -------------------------------------------------------------------------------------


_At = Callable[[recording.Header], int] | None


def _range(text: str) -> tuple[_At, _At]:
    first, dots, last = text.partition("..")
    if not dots:
        raise argparse.ArgumentTypeError(f"{text!r} is no range: use FROM..TO, FROM.. or ..TO")
    return _instant(first), _instant(last)


def _instant(text: str) -> _At:
    """Return the CLOCK_MONOTONIC in ns of a time on the command line, once the recording
    is known."""
    if not text:
        return None
    try:
        offset_ns = units.nanoseconds(text)
        return lambda header: header.started_mono_ns + offset_ns
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: use a time since the start (90, 5m, 2h) or a date and time "
            "(2026-03-01T02:00, UTC unless it has a zone)"
        ) from None
    at = at.replace(tzinfo=at.tzinfo or UTC)
    wall_ns = round(at.timestamp() * NS_PER_S)
    return lambda header: header.started_mono_ns + wall_ns - header.started_wall_ns


def _series(files: list[Path], arguments: argparse.Namespace, *, together: bool) -> list[Series]:
    found: list[Series] = []
    for path in files:
        read = recording.read(path, lambda row: _wanted(row, arguments.channel))
        first, last = (at and at(read.header) for at in arguments.range)
        rows = [
            row
            for row in read.rows
            if row.lateness_count
            and (first is None or row.mono_time_ns > first)
            and (last is None or row.mono_time_ns - row.interval_ns < last)
        ]
        if not rows:
            raise ValueError(_nothing(path, read, arguments))
        name = _namer(rows, path.stem if len(files) > 1 else "", together=together)
        found += split(recording.Recording(path, read.header, rows), name)
    return found


def _drawn(series: list[Series], *, everything: bool) -> list[Series]:
    """Return what the picture shows: all channels that were asked for, or the worst."""
    if everything and len(series) > MAX_SERIES:
        raise ValueError(
            f"{len(series)} channels are too many for one picture, at most {MAX_SERIES}: choose "
            "with --channel, draw the worst 6 without it, or combine all with --together"
        )
    if everything or len(series) <= WORST:
        return series
    worst = worst_first(series)[:WORST]
    print(
        f"shmring plot: the picture shows the worst {WORST} of {len(series)} channels "
        f"({', '.join(one.label for one in worst)}); --channel NAME draws others, '*' all",
        file=sys.stderr,
    )
    return worst


def _wanted(row: recording.Row, channels: list[str]) -> bool:
    names = row.channel, f"{row.namespace}/{row.channel}"
    return not channels or any(fnmatchcase(name, one) for one in channels for name in names)


def _nothing(path: Path, read: recording.Recording, arguments: argparse.Namespace) -> str:
    if not read.rows:
        channels = {row.channel for row in recording.read(path).rows}
        known = ", ".join(sorted(channels)) or "none"
        hint = did_you_mean(arguments.channel[0], channels) if arguments.channel else ""
        named = ", ".join(arguments.channel) or "any channel"
        return f"{path}: no rows of {named}: it has {known}{hint}"
    seconds = (max(row.mono_time_ns for row in read.rows) - read.header.started_mono_ns) / NS_PER_S
    return (
        f"{path}: no packet with a deadline was sent in that time (it covers {seconds:.0f} s): "
        "only send(..., at=...) has lateness"
    )


def _namer(
    rows: list[recording.Row], file: str, *, together: bool
) -> Callable[[recording.Row], str]:
    """Return labels of the series, as short as possible but distinct."""
    channels = {(row.namespace, row.channel) for row in rows}
    with_namespace = len({namespace for namespace, _ in channels}) > 1
    prefix = f"{file}: " if file else ""
    if together and len(channels) > 1:
        label = file or f"{len(channels)} channels together"
        return lambda row: label
    if together and file:
        return lambda row: file
    return lambda row: prefix + (f"{row.namespace}/" if with_namespace else "") + row.channel


def _draw(kind: str, series: list[Series], picture: Path, of: int) -> None:
    from shmring_plot import charts, style

    if kind == "compare":
        figure = charts.compare_chart(*series)
    else:
        draw = {
            "time": charts.time_chart,
            "hist": charts.hist_chart,
            "cdf": charts.cdf_chart,
            "all": charts.sheet,
        }[kind]
        figure = draw(series, of)
    style.save(figure, picture)
