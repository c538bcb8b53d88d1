"""Remove what dead processes left behind: shared memory and runtime directories.

Pools and workers hold a lock on everything they own, and a lock ends with its holder,
even if that was killed. The command removes what no process holds. It touches nothing
that is in use and nothing of other users, so it is always safe to run.

A channel whose program has died is in use as long as its pool serves it. The command
leaves it, and names it with the command that ends it: shmring end.

examples:
  shmring gc --dry-run        show what would be removed
  shmring gc                  remove it
  shmring gc --namespace ci   only what belongs to one namespace
"""

from __future__ import annotations

import argparse

import shmring
from rtworkers import paths
from shmring_cli import options
from shmring_cli.common import FINE
from shmring_cli.output import json_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_dry_run(parser, "only show what would be removed")
    options.add_namespace(parser, "all")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    namespace = options.namespace_of(arguments, None)
    removed = shmring.gc(namespace=namespace, dry_run=arguments.dry_run)
    left = [
        info
        for info in shmring.channels(namespace)
        if info.opener_alive is False
        and paths.channel_segment(info.namespace, info.name) not in removed.segments
    ]
    if arguments.json:
        json_line(
            {
                "dry_run": arguments.dry_run,
                "segments": list(removed.segments),
                "directories": list(removed.directories),
                "skipped": list(removed.skipped),
                "left": [f"{info.namespace}/{info.name}" for info in left],
            }
        )
        return FINE
    verb = "would remove" if arguments.dry_run else "removed"
    for name in removed.segments:
        print(f"{verb} shared memory {name}")
    for directory in removed.directories:
        print(f"{verb} {directory}")
    for reason in removed.skipped:
        print(f"skipped {reason}")
    if not (removed.segments or removed.directories or removed.skipped):
        print("nothing to remove: everything here belongs to a living pool or worker")
    for info in left:
        print(
            f"left {info.namespace}/{info.name}: pool {info.pool!r} serves it, but process "
            f"{info.opener_pid}, which opened it, has died: end it with shmring end "
            f"{info.namespace}/{info.name}"
        )
    return FINE
