"""Print the names of channels, one per line: namespace/name, pool, engine, health.

examples:
  rtstat list                           every channel
  rtstat list --pool plant              the channels of one pool
  rtstat list --unhealthy               only channels that have a trouble
  rtstat list -q | xargs -n 1 rtstat show
"""

from __future__ import annotations

import argparse
import time

from rtstat.selection import (
    Selection,
    add_filters,
    add_namespace,
    namespace_of,
    warn_of_absence,
    warn_of_namespace,
)
from rtstat.snapshot import Watch

_PAUSE_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="names only")
    add_namespace(parser)
    add_filters(parser)


def run(arguments: argparse.Namespace) -> int:
    warn_of_namespace(arguments)
    selection = Selection(arguments)
    with Watch(namespace_of(arguments)) as watch:
        shot = watch.read()
        if arguments.unhealthy:  # for what grows
            time.sleep(_PAUSE_S)
            shot = watch.read()
        for channel in selection.channels(shot):
            name = f"{channel.namespace}/{channel.name}"
            if arguments.quiet:
                print(name)
            else:
                print(name, channel.pool, channel.engine, channel.health, sep="\t")
        warn_of_absence(selection, shot)
        return selection.exit_code(shot)
