"""The same as rtstat, which has another name here because iproute2 has an rtstat, too.

All commands and options of rtstat follow: shmring top show ctl is rtstat show ctl.

examples:
  shmring top                    full screen, once a second
  shmring top --once             one overview as plain text
  shmring top why ctl            why packets of a channel were late
"""

from __future__ import annotations

from rtstat.overview import add_arguments, run

__all__ = ["add_arguments", "run"]
