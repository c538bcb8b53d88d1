"""Print the names of channels, one per line: namespace/name, pool, engine, health.

examples:
  rtstat list                           every channel
  rtstat list 'axis-*'                  only matching names
  rtstat list --pool plant              the channels of one pool
  rtstat list --unhealthy               only channels that have a trouble
  rtstat list -q | xargs -n 1 rtstat show
"""

from __future__ import annotations

import argparse
import time

from rtstat.selection import (
    Selection,
    add_namespace,
    add_narrowing,
    namespace_of,
    warn_of_absence,
    warn_of_namespace,
)
from rtstat.snapshot import Watch
from shmring_cli import options
from shmring_cli.output import JsonRows

_PAUSE_S = 0.2
_FACTS = ("namespace", "name", "pool", "engine", "health")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "channel", metavar="PATTERN", nargs="*", help="only matching names, such as 'axis-*'"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="names only")
    add_namespace(parser)
    add_narrowing(parser)
    options.add_json(parser)
    parser.set_defaults(sort=None)


def run(arguments: argparse.Namespace) -> int:
    warn_of_namespace(arguments)
    selection = Selection(arguments)
    with Watch(namespace_of(arguments)) as watch:
        shot = watch.read()
        if arguments.unhealthy:  # for what grows
            time.sleep(_PAUSE_S)
            shot = watch.read()
        rows = JsonRows(arguments.json)
        for channel in selection.channels(shot):
            name = f"{channel.namespace}/{channel.name}"
            rows.add({one: getattr(channel, one) for one in _FACTS})
            if arguments.json:
                continue
            if arguments.quiet:
                print(name)
            else:
                print(name, channel.pool, channel.engine, channel.health, sep="\t")
        rows.end()
        warn_of_absence(selection, shot)
        return selection.exit_code(shot)
