"""The same as rtstat, which has another name here because iproute2 has an rtstat, too.

All commands and options of rtstat follow: shmring top show ctl is rtstat show ctl.

examples:
  shmring top                    full screen, once a second
  shmring top --plain            one overview as plain text
  shmring top why ctl            why packets of a channel were late
"""

from __future__ import annotations

import argparse

from rtstat.cli import main


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "shmring top [options of rtstat]"


def run(arguments: argparse.Namespace) -> int:
    return main([])
