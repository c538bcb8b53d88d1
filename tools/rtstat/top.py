"""The same as rtstat, which has another name here because iproute2 has an rtstat, too.

All commands and options of rtstat follow: shmring top show ctl is rtstat show ctl.

examples:
  shmring top                    full screen, once a second
  shmring top --once             one overview as plain text
  shmring top why ctl            why packets of a channel were late
"""

from __future__ import annotations

import argparse

from rtstat import overview
from rtstat.overview import run
from rtstat.screen.keys import epilog

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    overview.add_arguments(parser)
    parser.epilog = epilog()
