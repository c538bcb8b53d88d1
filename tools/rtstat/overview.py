"""`rtstat` without a command: everything, once or repeatedly, as text, JSON or CSV."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rtstat.pace import next_due
from rtstat.selection import (
    Selection,
    add_filters,
    add_namespace,
    namespace_of,
    warn_of_absence,
    warn_of_namespace,
)
from rtstat.snapshot import Snapshot, Watch
from shmring_cli import options
from shmring_cli.common import FAILED, FINE
from shmring_cli.ending import Told

_ONCE_S = 0.2
_CHECK_S = 1.0
_LOOP_S = 1.0

Writer = Callable[[Snapshot], None]


class Mode(NamedTuple):
    """An option with a value that does something else than show an overview."""

    option: str
    metavar: str
    module: str
    help: str

    @property
    def destination(self) -> str:
        """Its name among the arguments."""
        return self.option.removeprefix("--").replace("-", "_")


MODES = (
    Mode("--record", "FILE", "rtstat.record", "into a .csv or .parquet file, for shmring plot"),
    Mode("--serve-metrics", "[HOST:]PORT", "rtstat.metrics", "a page for Prometheus"),
    Mode("--serve-web", "[HOST:]PORT", "rtstat.web", "a live page for the browser, and metrics"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--plain", action="store_true", help="one overview as plain text")
    how.add_argument(
        "--check",
        action="store_true",
        help="one line for monitoring: the verdict and the three worst troubles",
    )
    options.add_json(how, lines="snapshot")
    how.add_argument(
        "--csv",
        nargs="?",
        const="channel",
        choices=("channel", "worker"),
        help="a row per channel (or worker) and snapshot",
    )
    options.add_interval(
        parser,
        "repeat after this time (default 1s if the output repeats anyway). For one snapshot, as "
        "with --json, --check or -n 1: read twice, this far apart, for rates, intervals and what "
        "grows (default 0.2s, with --check 1s, with --csv 0: read once, without them)",
        read=options.limited("the interval", 0, 86400),
    )
    options.add_count(parser, "end after this many snapshots")
    parser.add_argument(
        "--fields",
        type=lambda text: [name.strip() for name in text.split(",")],
        metavar="A,B",
        help="columns of --csv (default: all); for an engine: rtp.loss",
    )
    add_namespace(parser)
    add_filters(parser)
    for mode in MODES:
        how.add_argument(mode.option, metavar=mode.metavar, help=mode.help)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.check:  # which says it on its one line
        warn_of_namespace(arguments)
    for mode in MODES:
        if getattr(arguments, mode.destination) is not None:
            return int(importlib.import_module(mode.module).run(arguments))
    if arguments.json == "document" and (arguments.count or 1) > 1:
        raise ValueError("--json is one snapshot: use --json-lines for several")
    selection = Selection(arguments)
    if _wants_screen(arguments):
        from rtstat.screen import app

        pace_s = arguments.interval or _LOOP_S
        return app.run(namespace_of(arguments), selection, pace_s, arguments.told)
    write = _writer(arguments, selection)
    code = FAILED if _is_single(arguments) else FINE
    latest: Snapshot | None = None
    with Watch(namespace_of(arguments)) as watch:
        for latest in _snapshots(watch, arguments):
            write(latest)
            code = selection.exit_code(latest)
    if latest is not None and not arguments.check:
        warn_of_absence(selection, latest)
    return code


def _wants_screen(arguments: argparse.Namespace) -> bool:
    """Return whether no output option is given, stdout is a terminal, and Textual is installed."""
    chosen = (arguments.plain, arguments.check, arguments.json, arguments.csv)
    if any(chosen) or arguments.fields:
        return False
    if arguments.count or os.environ.get("TERM") in (None, "dumb"):
        return False
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    from importlib.util import find_spec

    if find_spec("textual") is not None:
        return True
    hint = (
        'the full screen needs textual: pip install "shmring[screen]" (--plain hides this line)'
    )
    print(f"rtstat: {hint}", file=sys.stderr)
    return False


def _writer(arguments: argparse.Namespace, selection: Selection) -> Writer:
    if arguments.fields and not arguments.csv:
        raise ValueError("--fields needs --csv")
    if arguments.json:
        from rtstat.export import print_json

        return lambda shot: print_json(shot, selection, sys.stdout)
    if arguments.csv:
        from rtstat.export import CsvWriter

        table = CsvWriter(sys.stdout, arguments.csv, arguments.fields)
        return lambda shot: table.write(shot, selection)
    if arguments.check:
        return lambda shot: print(_check_line(shot, selection), flush=True)
    from rtstat.plain import overview
    from shmring_cli.output import text_width

    width = text_width()
    return lambda shot: print(overview(shot, selection, width) + "\n", flush=True)


def _check_line(shot: Snapshot, selection: Selection) -> str:
    from rtstat.trouble_text import line

    absence = selection.absence(shot)
    return f"UNKNOWN: {absence}" if absence else line(selection.troubles(shot))


def _first_s(arguments: argparse.Namespace) -> float:
    """Return the time between the first two snapshots. 0: there is only one at first."""
    if arguments.interval is not None and _is_single(arguments):
        return float(arguments.interval)
    if arguments.check:
        return _CHECK_S
    return 0.0 if arguments.csv or arguments.json == "lines" else _ONCE_S


def _is_single(arguments: argparse.Namespace) -> bool:
    """Return whether one snapshot is all."""
    if arguments.json == "document" or arguments.count == 1:
        return True
    if arguments.count or arguments.json:
        return False
    return bool(arguments.check or ((arguments.plain or arguments.csv) and not arguments.interval))


def _snapshots(watch: Watch, arguments: argparse.Namespace) -> Iterator[Snapshot]:
    """Print one snapshot, or one every interval. The times do not drift."""
    told: Told = arguments.told
    once = _is_single(arguments)
    first_s = _first_s(arguments)
    if once or first_s:
        shot = watch.read()
        if first_s:
            if told.wait(first_s):
                return
            shot = watch.read()
        yield shot
        if once:
            return
    interval_s = arguments.interval or _LOOP_S
    left = None if arguments.count is None else arguments.count - (1 if first_s else 0)
    due = time.monotonic() + (interval_s if first_s else 0)
    while left is None or left > 0:
        if told.wait(max(0.0, due - time.monotonic())):
            return
        yield watch.read()
        due = next_due(due, interval_s, time.monotonic())
        if left is not None:
            left -= 1
