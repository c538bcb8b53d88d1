"""Show each distinct error of workers and channels: how often, first and last time, in words.

Workers and pools keep their errors in shared memory, and they stay there after a process died. The
latest error comes first. Past errors do not count as failure: the exit code is 0 if the requested
pools and channels exist.

examples:
  rtstat errors                     of every worker
  rtstat errors ctl                 of one channel
  rtstat errors --json              for programs; fields: shmring help rtstat
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rtstat.selection import add_namespace, namespace_of, warn_of_namespace
from rtstat.snapshot import Watch
from rtstat.table import values
from shmring_cli import options
from shmring_cli.common import FAILED, FINE

if TYPE_CHECKING:
    from rtworkers.history import DistinctError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_placed(parser, "channel", "CHANNEL", "only errors of this one", nargs="?")
    parser.add_argument("--pool", metavar="POOL", help="only errors of this pool's workers")
    add_namespace(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    warn_of_namespace(arguments)
    with Watch(namespace_of(arguments)) as watch:
        shot = watch.read()
        found = [
            error
            for error in shot.errors
            if arguments.channel in (None, error.channel) and arguments.pool in (None, error.pool)
        ]
        missing = arguments.pool is not None and not any(
            pool.name == arguments.pool for pool in shot.pools
        )
        if arguments.json:
            print(json.dumps([values("error", error) for error in found]))
        else:
            print(text(found))
        return FAILED if missing else FINE


def text(errors: Iterable[DistinctError]) -> str:
    """Return all errors as text, in the given order."""
    return "\n".join(map(_lines, errors)) or "no errors"


def _lines(error: DistinctError) -> str:
    where = f"{error.namespace}/{error.pool}:{error.slot}"
    about = f"{error.namespace}/{error.channel}" if error.channel else f"worker {where}"
    times = "once" if error.count == 1 else f"{error.count} times"
    lines = [
        f"{_when(error.last_mono_ns)}  {about}: {error.text} ({error.kind}), {times}"
        + ("" if error.count == 1 else f" since {_when(error.first_mono_ns)}")
    ]
    if error.number_name:
        lines.append(f"    {error.number_name}: {_number(error)}")
    if error.detail:
        lines.append(f"    {error.detail}")
    return "\n".join(lines)


def _number(error: DistinctError) -> str:
    if error.number_name == "errno" and error.number in errno.errorcode:
        return f"{errno.errorcode[error.number]}, {os.strerror(error.number)}"
    return str(error.number)


def _when(mono_ns: int) -> str:
    """Return a time of CLOCK_MONOTONIC as local time of day."""
    seconds = time.time() - (time.monotonic_ns() - mono_ns) / 1e9
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(max(0.0, seconds)))
