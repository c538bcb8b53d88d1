"""Print the names of channels, one per line: namespace/name, pool, engine, health.

examples:
  rtstat list                           every channel
  rtstat list --pool plant              the channels of one pool
  rtstat list --unhealthy               only unhealthy channels
  rtstat list -q | xargs -n 1 rtstat show
"""

from __future__ import annotations

import argparse

from rtstat.selection import Selection, add_filters, add_namespace, namespace_of
from rtstat.snapshot import Watch
from shmring_cli.common import FAILED, FINE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="names only")
    add_namespace(parser)
    add_filters(parser)


def run(arguments: argparse.Namespace) -> int:
    selection = Selection(arguments)
    with Watch(namespace_of(arguments)) as watch:
        shot = watch.read()
        for channel in selection.channels(shot):
            name = f"{channel.namespace}/{channel.name}"
            if arguments.quiet:
                print(name)
            else:
                print(name, channel.pool, channel.engine, channel.health, sep="\t")
        return FINE if selection.healthy(shot) else FAILED
